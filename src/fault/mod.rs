//! The steps of an experiment, and the undo of each.
//!
//! * [`steps`]: runs a list of steps, in sequence and in parallel, and records how each stands.
//! * [`stage`]: what every step needs; [`abort`]: how all of them are broken off.
//! * [`undo`]: what puts things back, as data, registered before each act. [`ledger`]: where it is written down.
//! * [`error`]: why a step failed; [`api`]: why a request did.
//! * `drain`, `drain_filter`, `drain_error`, `evict`, `node`, `delete_pods`, `rolling_update`, `scale`, `wait`: one
//!   file per kind of step or part of one.
//! * `guard`: whether an act is still no more than the file allows.
//! * `condition`, `workload`, `target`, `words`: what steps have in common.

pub mod abort;
pub mod api;
mod condition;
mod delete_pods;
mod drain;
pub mod drain_error;
mod drain_filter;
pub mod error;
mod evict;
mod guard;
pub mod ledger;
mod node;
mod rolling_update;
mod scale;
pub mod stage;
pub mod steps;
mod target;
pub mod undo;
mod wait;
mod words;
mod workload;

#[cfg(test)]
mod scripted;

pub use abort::{Abort, AbortHandle};
pub use error::StepError;
pub use stage::Stage;
pub use steps::run_steps;
pub use undo::{Undo, UndoReport, UndoStack};
