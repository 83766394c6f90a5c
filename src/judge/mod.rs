//! The judgement: a function from a record to a verdict. No clock, no network, nothing but the record.
//!
//! * [`verdict`]: what it says.
//! * [`answer`]: [`judge`] itself, and the rule for its answer.
//! * [`facts`], [`timeline`], [`life`], [`endpoint`]: the record by subject.
//! * [`tally`], [`outage`], [`budget`], [`recovery`]: what was measured.
//! * [`cause`], with [`peer`], [`gap`] and [`candidate`]: why a request was lost.
//! * [`finding`], [`wording`]: what explains the losses or stands out, and what to change.
//! * [`expectation`], [`doubt`]: what was expected, and whether the measurement can be trusted.

pub mod answer;
pub mod budget;
pub mod candidate;
pub mod cause;
pub mod doubt;
pub mod endpoint;
pub mod expectation;
pub mod facts;
pub mod finding;
pub mod gap;
pub mod life;
pub mod outage;
pub mod peer;
pub mod recovery;
pub mod tally;
pub mod timeline;
pub mod verdict;
pub mod wording;

pub use answer::judge;

#[cfg(test)]
pub(crate) mod tests;
