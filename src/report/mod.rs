//! What people and CI servers look at. Everything here is made from a record and its verdict, and can be made again.
//!
//! * [`wording`]: numbers, times and kinds as every report writes them.
//! * [`story`]: the record's events told as moments, in a sentence each.
//! * [`terminal`]: the summary after a run.
//! * [`live`]: the view while it runs.
//! * [`html`]: the page to send round, `report.html`.
//! * [`comparison`]: two runs held against each other.
//! * [`junit`]: the results as CI servers read them, `junit.xml`.
//! * [`markdown`]: the summary for a pull request, `summary.md`.
//! * [`prometheus`]: the figures for a monitoring system, `metrics.prom`.
//! * [`suite`]: what stands beside several experiments, `summary.json` and `index.html`.

pub mod comparison;
pub mod html;
pub mod junit;
pub mod live;
pub mod markdown;
pub mod prometheus;
pub mod story;
pub mod suite;
pub mod terminal;
pub mod wording;

#[cfg(test)]
mod sample;
