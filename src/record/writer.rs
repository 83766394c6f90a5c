//! The run directory, written while the run goes on: `plan.json`, `events.jsonl` and `load.hlog`.
//!
//! Lines reach the disk at each phase and step, and at least once a second of the run's clock, so that a crash loses
//! little. A full disk is an error with its path, never a panic. What is written here, `reader` reads.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use hdrhistogram::{
    Histogram,
    serialization::{
        V2DeflateSerializer,
        interval_log::{IntervalLogWriterBuilder, Tag},
    },
};
use serde_json::json;

use super::{
    EVENTS_FILE, LOAD_FILE, PLAN_FILE,
    error::RecordError,
    event::{Event, FORMAT, Micros, What},
    secrets::without_secrets,
};
use crate::{experiment::schema::Experiment, load::message::ClosedInterval};

/// The longest that an event stays in memory only, by the run's clock.
const FLUSH_EVERY_US: Micros = 1_000_000;

/// A run directory that is being written.
#[derive(Debug)]
pub struct Writer {
    events: Out,
    load: Out,
    deflate: Deflate,
    // The calendar time at which the run's clock read zero, once it is known.
    wall_clock: Option<SystemTime>,
    load_begun: bool,
    flushed_at: Micros,
}

/// A file and its path, for errors that name it.
#[derive(Debug)]
struct Out {
    path: PathBuf,
    file: BufWriter<File>,
}

// The library's serialiser has no Debug.
struct Deflate(V2DeflateSerializer);

impl std::fmt::Debug for Deflate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Deflate")
    }
}

impl Out {
    fn create(dir: &Path, name: &str) -> Result<Self, RecordError> {
        let path = dir.join(name);
        match File::create_new(&path) {
            Ok(file) => Ok(Self { path, file: BufWriter::new(file) }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(RecordError::Exists { path: dir.to_owned() })
            }
            Err(source) => Err(RecordError::Io { doing: "create", path, source }),
        }
    }

    fn write(&mut self, line: &[u8]) -> Result<(), RecordError> {
        self.file.write_all(line).map_err(|source| self.error("write", source))
    }

    fn flush(&mut self) -> Result<(), RecordError> {
        self.file.flush().map_err(|source| self.error("write", source))
    }

    fn close(mut self) -> Result<(), RecordError> {
        self.flush()?;
        // Some file systems say only here that the disk was full.
        self.file.get_ref().sync_all().map_err(|source| self.error("write", source))
    }

    fn error(&self, doing: &'static str, source: io::Error) -> RecordError {
        RecordError::Io { doing, path: self.path.clone(), source }
    }
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
            load: Out::create(dir, LOAD_FILE)?,
            deflate: Deflate(V2DeflateSerializer::new()),
            wall_clock: None,
            load_begun: false,
            flushed_at: Micros::MIN,
        })
    }

    /// Writes one event. Phases, steps and the end reach the disk at once.
    pub fn event(&mut self, event: &Event) -> Result<(), RecordError> {
        if let What::Started(started) = &event.what {
            self.wall_clock = started.wall_clock.parse::<jiff::Timestamp>().ok().map(SystemTime::from);
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
        let counts = &interval.counts;
        if !interval.response.is_empty() {
            self.begin_load()?;
            let (start, length) = (log_time(counts.start_us), log_time(counts.length_us));
            let tag = log_tag(&counts.lane);
            self.histogram(&interval.response, start, length, &tag)?;
            self.histogram(&interval.service, start, length, &format!("{tag}.service"))?;
        }
        // Last, so that an event's histograms are never missing from a record that has the event.
        self.event(&Event { at_us, what: What::Load(counts.clone()) })
    }

    /// Hands all lines to the operating system.
    pub fn flush(&mut self) -> Result<(), RecordError> {
        self.load.flush()?;
        self.events.flush()
    }

    /// Writes what is left and waits for the disk.
    pub fn finish(mut self) -> Result<(), RecordError> {
        self.begin_load()?;
        self.load.close()?;
        self.events.close()
    }

    /// Writes events to another file from here on, such as one that is always full.
    #[cfg(test)]
    pub(super) fn divert_events(&mut self, path: &str) {
        let file = File::options().write(true).open(path).unwrap();
        self.events = Out { path: path.into(), file: BufWriter::new(file) };
    }

    /// The head of the log. `BaseTime` makes the times of the intervals those of the run's clock.
    fn begin_load(&mut self) -> Result<(), RecordError> {
        if self.load_begun {
            return Ok(());
        }
        self.load_begun = true;
        let mut head = IntervalLogWriterBuilder::new();
        head.add_comment("[Histogram log format version 1.3]").add_comment(
            "evenkeel: microseconds; tag LANE from the intended send time, LANE.service from the first byte",
        );
        if let Some(wall_clock) = self.wall_clock {
            head.with_start_time(wall_clock).with_base_time(wall_clock);
        }
        let written = head.begin_log_with(&mut self.load.file, &mut self.deflate.0).map(drop);
        written.map_err(|source| self.load.error("write", source))?;
        // The Java tools look for this line to tell a log from other files.
        self.load.write(b"\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n")
    }

    fn histogram(
        &mut self,
        histogram: &Histogram<u64>,
        start: Duration,
        length: Duration,
        tag: &str,
    ) -> Result<(), RecordError> {
        let written = IntervalLogWriterBuilder::new()
            .begin_log_with(&mut self.load.file, &mut self.deflate.0)
            .map_err(hdrhistogram::serialization::interval_log::IntervalLogWriterError::IoError)
            .and_then(|mut log| log.write_histogram(histogram, start, length, Tag::new(tag)));
        match written {
            Ok(()) => Ok(()),
            Err(hdrhistogram::serialization::interval_log::IntervalLogWriterError::IoError(source)) => {
                Err(self.load.error("write", source))
            }
            Err(error) => Err(RecordError::Encode {
                what: "a histogram",
                path: self.load.path.clone(),
                source: error.to_string().into(),
            }),
        }
    }
}

/// A time as a log has it, in whole milliseconds. A log cannot have a time before its base.
pub(super) fn log_time(at: Micros) -> Duration {
    Duration::from_millis(u64::try_from(at.div_euclid(1_000)).unwrap_or(0))
}

/// A lane's name as a tag: a log has no place for commas and white space.
pub(super) fn log_tag(lane: &str) -> String {
    lane.chars().map(|c| if c == ',' || c.is_whitespace() || c.is_control() { '_' } else { c }).collect()
}
