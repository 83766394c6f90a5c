//! The record of a run: what was seen, kept so that it can be judged again.
//!
//! * [`event`]: one versioned enum of everything that is recorded; [`slow`]: a request that was answered late.
//! * [`clock`]: the one clock, and the way onto the timeline.
//! * [`error`]: what can go wrong with a record on disk.
//! * [`samples`]: a histogram as it is kept in memory, and its form in `load.hlog`.
//! * [`percentiles`]: the table of percentiles that `HdrHistogram`'s tools plot.
//! * `secrets`: what is left out of it.
//! * [`load_log`]: `load.hlog` while it is written; `out`: a file whose errors name it.
//! * [`writer`]: the run directory, written while the run goes on.
//! * [`reader`]: the run directory, read back as a [`Record`]; [`load_reader`]: `load.hlog` of it; `calm`: which of its
//!   intervals are held as one.

mod calm;
pub mod clock;
pub mod error;
pub mod event;
pub mod load_log;
pub mod load_reader;
mod out;
pub mod percentiles;
pub mod reader;
pub mod samples;
mod secrets;
pub mod slow;
pub mod writer;

pub use reader::{Record, RecordedInterval};

/// What is to be done, and by which file: the experiment and its plan.
pub const PLAN_FILE: &str = "plan.json";
/// The events, a line of JSON each.
pub const EVENTS_FILE: &str = "events.jsonl";
/// The histograms of each lane and interval, as an `HdrHistogram` interval log V2.
pub const LOAD_FILE: &str = "load.hlog";

/// The note with which the clean-up begins: what the cluster does after it, evenkeel does itself.
pub const LOAD_ENDED: &str = "load has ended; cleaning up";

#[cfg(test)]
mod tests;
