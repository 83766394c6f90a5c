//! The run directory, written while the run goes on: `plan.json`, `events.jsonl` and `load.hlog`.
//!
//! Lines reach the disk at each phase and step, and at least once a second of the run's clock, so that a crash loses
//! little. A full disk is an error with its path, never a panic. What is written here, `reader` reads.

use std::{fs, path::Path, time::SystemTime};
#[cfg(test)]
use std::{fs::File, io::BufWriter};

use serde_json::json;

use super::{
    EVENTS_FILE, LOAD_FILE, PLAN_FILE,
    error::RecordError,
    event::{Event, FORMAT, Micros, What},
    load_log::LoadLog,
    out::Out,
    secrets::without_secrets,
};
use crate::{experiment::schema::Experiment, load::message::ClosedInterval};

/// The longest that an event stays in memory only, by the run's clock.
const FLUSH_EVERY_US: Micros = 1_000_000;

/// A run directory that is being written.
#[derive(Debug)]
pub struct Writer {
    events: Out,
    load: LoadLog,
    flushed_at: Micros,
}

impl Writer {
    /// Makes the directory, with all above it, and writes `plan.json` into it. A directory that holds a record
    /// already is refused.
    pub fn create(dir: &Path, experiment: &Experiment, plan: &serde_json::Value) -> Result<Self, RecordError> {
        fs::create_dir_all(dir).map_err(|source| RecordError::Io {
            doing: "create the directory",
            path: dir.to_owned(),
            source,
        })?;
        let mut paper = Out::create(dir, PLAN_FILE)?;
        let content = json!({ "format": FORMAT, "experiment": without_secrets(experiment), "plan": plan });
        let mut text = serde_json::to_vec_pretty(&content).map_err(|source| RecordError::Encode {
            what: "the plan",
            path: paper.path.clone(),
            source: source.into(),
        })?;
        text.push(b'\n');
        paper.write(&text)?;
        paper.close()?;
        Ok(Self {
            events: Out::create(dir, EVENTS_FILE)?,
            load: LoadLog::create(dir, LOAD_FILE)?,
            flushed_at: Micros::MIN,
        })
    }

    /// Writes one event. Phases, steps and the end reach the disk at once.
    pub fn event(&mut self, event: &Event) -> Result<(), RecordError> {
        if let What::Started(started) = &event.what
            && let Ok(wall_clock) = started.wall_clock.parse::<jiff::Timestamp>()
        {
            self.load.set_wall_clock(SystemTime::from(wall_clock));
        }
        let mut line = serde_json::to_vec(event).map_err(|source| RecordError::Encode {
            what: "an event",
            path: self.events.path.clone(),
            source: source.into(),
        })?;
        line.push(b'\n');
        self.events.write(&line)?;
        let at_once = matches!(event.what, What::Phase { .. } | What::Step(_) | What::Ended(_));
        if at_once || event.at_us >= self.flushed_at.saturating_add(FLUSH_EVERY_US) {
            self.flushed_at = self.flushed_at.max(event.at_us);
            self.flush()?;
        }
        Ok(())
    }

    /// Writes an interval whose times are on the run's clock, seen at `at_us`: its counts as an event and, when
    /// requests fell due in it, its two histograms.
    pub fn interval(&mut self, at_us: Micros, interval: &ClosedInterval) -> Result<(), RecordError> {
        self.load.interval(interval)?;
        // Last, so that an event's histograms are never missing from a record that has the event.
        self.event(&Event { at_us, what: What::Load(interval.counts.clone()) })
    }

    /// Hands all lines to the operating system.
    pub fn flush(&mut self) -> Result<(), RecordError> {
        self.load.flush()?;
        self.events.flush()
    }

    /// Writes what is left and waits for the disk.
    pub fn finish(self) -> Result<(), RecordError> {
        self.load.finish()?;
        self.events.close()
    }

    /// Writes events to another file from here on, such as one that is always full.
    #[cfg(test)]
    pub(super) fn divert_events(&mut self, path: &str) {
        let file = File::options().write(true).open(path).unwrap();
        self.events = Out { path: path.into(), file: BufWriter::new(file) };
    }
}
