//! The experiment file, first in the data flow: text in, a checked [`schema::Experiment`] or every problem out.
//!
//! * [`schema`]: what may be written, as types; [`steps`]: what every step has; [`findings`]: what can be found.
//! * [`traffic`]: what lanes may have beside the usual.
//! * [`guards`]: what a run must not do, and on what it stops.
//! * [`units`]: durations, rates, percentages and workloads as people write them.
//! * [`read`]: text to types, with every problem; inside it, what is wrong between values.
//! * [`json_schema`]: the JSON Schema, generated from the types.
//! * [`tree`]: YAML with the place of each value; [`problem`]: what is wrong, and where.
//! * [`manifests`]: what matters of the Kubernetes objects that a file applies.

mod check;
pub mod findings;
pub mod guards;
pub mod json_schema;
pub mod manifests;
pub mod problem;
pub mod read;
pub mod schema;
pub mod steps;
pub mod traffic;
pub mod tree;
pub mod units;
mod validate;

pub use json_schema::schema_json;
pub use read::{is_experiment, read};
