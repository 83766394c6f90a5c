//! The judgement: a function from a record to a verdict. No clock, no network, nothing but the record.
//!
//! * [`verdict`]: what it says.
//! * [`answer`]: [`judge`] itself, and the rule for its answer.
//! * [`facts`], [`timeline`], [`life`], [`endpoint`]: the record by subject.
//! * [`tally`], [`outage`], [`budget`], [`claims`], [`recovery`], [`confidence`]: what was measured, how sure it is.
//! * [`cause`], with [`peer`], [`gap`], [`departure`], [`health`] and [`candidate`]: why a request was lost.
//! * [`slowness`], [`late`]: why a request was answered late.
//! * [`finding`], [`evidence`], [`remedy`], [`slow`], [`killed`], [`wording`]: what explains the losses or stands
//!   out, and what to change.
//! * [`compare`]: two sets of runs held against each other.
//! * [`expectation`], [`doubt`]: what was expected, and whether the measurement can be trusted.

pub mod answer;
pub mod budget;
pub mod candidate;
pub mod cause;
pub mod claims;
pub mod compare;
pub mod confidence;
pub mod control;
pub mod departure;
pub mod doubt;
pub mod endpoint;
pub mod evidence;
pub mod expectation;
pub mod facts;
pub mod finding;
pub mod gap;
pub mod health;
pub mod killed;
pub mod late;
pub mod life;
pub mod outage;
pub mod peer;
pub mod recovery;
pub mod remedy;
pub mod slow;
pub mod slowness;
pub mod tally;
pub mod timeline;
pub mod verdict;
pub mod wording;

pub use answer::judge;

#[cfg(test)]
pub(crate) mod tests;
