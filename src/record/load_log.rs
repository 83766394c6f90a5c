//! The histograms of a load, as an `HdrHistogram` interval log V2 that its Java tools read: `load.hlog`.

use std::{
    fs::File,
    io::BufWriter,
    path::Path,
    time::{Duration, SystemTime},
};

use hdrhistogram::{
    Histogram,
    serialization::{
        V2DeflateSerializer,
        interval_log::{IntervalLogWriterBuilder, Tag},
    },
};

use super::{error::RecordError, event::Micros, out::Out};
use crate::load::message::ClosedInterval;

/// A log that is being written.
#[derive(Debug)]
pub struct LoadLog {
    out: Out,
    deflate: Deflate,
    // The calendar time at which the clock of the intervals read zero, once it is known.
    wall_clock: Option<SystemTime>,
    begun: bool,
}

// The library's serialiser has no Debug.
struct Deflate(V2DeflateSerializer);

impl std::fmt::Debug for Deflate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Deflate")
    }
}

impl LoadLog {
    /// A log of this name in a directory, which must not hold one yet.
    pub(super) fn create(dir: &Path, name: &str) -> Result<Self, RecordError> {
        Ok(Self::over(Out::create(dir, name)?))
    }

    /// A log of its own, in place of whatever the file held.
    pub fn replace(path: &Path, wall_clock: SystemTime) -> Result<Self, RecordError> {
        let file = File::create(path);
        let file = file.map_err(|source| RecordError::Io { doing: "create", path: path.to_owned(), source })?;
        let mut log = Self::over(Out { path: path.to_owned(), file: BufWriter::new(file) });
        log.set_wall_clock(wall_clock);
        Ok(log)
    }

    fn over(out: Out) -> Self {
        Self { out, deflate: Deflate(V2DeflateSerializer::new()), wall_clock: None, begun: false }
    }

    /// The calendar time at which the clock of the intervals reads zero.
    pub(super) fn set_wall_clock(&mut self, wall_clock: SystemTime) {
        self.wall_clock = Some(wall_clock);
    }

    /// Writes the two histograms of an interval in which requests fell due.
    pub fn interval(&mut self, interval: &ClosedInterval) -> Result<(), RecordError> {
        let counts = &interval.counts;
        if interval.response.is_empty() {
            return Ok(());
        }
        self.begin()?;
        let (start, length) = (log_time(counts.start_us), log_time(counts.length_us));
        let tag = log_tag(&counts.lane);
        self.histogram(&interval.response, start, length, &tag)?;
        self.histogram(&interval.service, start, length, &format!("{tag}.service"))
    }

    /// Hands all lines to the operating system.
    pub fn flush(&mut self) -> Result<(), RecordError> {
        self.out.flush()
    }

    /// Writes what is left and waits for the disk.
    pub fn finish(mut self) -> Result<(), RecordError> {
        self.begin()?;
        self.out.close()
    }

    /// The head of the log. `BaseTime` makes the times of the intervals those of the run's clock.
    fn begin(&mut self) -> Result<(), RecordError> {
        if self.begun {
            return Ok(());
        }
        self.begun = true;
        let mut head = IntervalLogWriterBuilder::new();
        head.add_comment("[Histogram log format version 1.3]").add_comment(
            "evenkeel: microseconds; tag LANE from the intended send time, LANE.service from the request's first byte",
        );
        if let Some(wall_clock) = self.wall_clock {
            head.with_start_time(wall_clock).with_base_time(wall_clock);
        }
        let written = head.begin_log_with(&mut self.out.file, &mut self.deflate.0).map(drop);
        written.map_err(|source| self.out.error("write", source))?;
        // The Java tools look for this line to tell a log from other files.
        self.out.write(b"\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n")
    }

    fn histogram(
        &mut self,
        histogram: &Histogram<u64>,
        start: Duration,
        length: Duration,
        tag: &str,
    ) -> Result<(), RecordError> {
        let written = IntervalLogWriterBuilder::new()
            .begin_log_with(&mut self.out.file, &mut self.deflate.0)
            .map_err(hdrhistogram::serialization::interval_log::IntervalLogWriterError::IoError)
            .and_then(|mut log| log.write_histogram(histogram, start, length, Tag::new(tag)));
        match written {
            Ok(()) => Ok(()),
            Err(hdrhistogram::serialization::interval_log::IntervalLogWriterError::IoError(source)) => {
                Err(self.out.error("write", source))
            }
            Err(error) => Err(RecordError::Encode {
                what: "a histogram",
                path: self.out.path.clone(),
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
#[must_use]
pub fn log_tag(lane: &str) -> String {
    lane.chars().map(|c| if c == ',' || c.is_whitespace() || c.is_control() { '_' } else { c }).collect()
}
