//! Verdicts of every kind, and a whole record as a drain with a rollout after it leaves it: for tests, and for
//! looking at the reports.

mod record;
mod verdicts;

pub use record::record;
pub use verdicts::{broken, error, held, inconclusive};
