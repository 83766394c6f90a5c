//! The run directory, read back. The files are not trusted: sizes, times and counts have bounds, an unknown format is
//! refused by its number, and what a crash has cut off at the end is left out and said so.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
};

use serde::Deserialize;

use super::{
    EVENTS_FILE, PLAN_FILE,
    error::RecordError,
    event::{Event, FORMAT, Micros, What},
    load_reader::read_intervals,
    samples::Samples,
};
use crate::experiment::schema::Experiment;

/// The largest file of a record: an hour at 20,000 requests a second stays far below.
const FILE_MAX: u64 = 1 << 30;
/// The largest plan.
const PLAN_MAX: u64 = 64 << 20;
/// The longest line: an event holds a few names and a message, a histogram at most 160 KB of counters.
const LINE_MAX: u64 = 1 << 20;
/// The most lines of a file.
const LINES_MAX: usize = 5_000_000;
/// The furthest time from the beginning of a run: ten years.
const TIME_MAX_US: Micros = 10 * 366 * 86_400 * 1_000_000;
/// The most requests of one lane in one interval.
const COUNT_MAX: u64 = 1 << 32;

/// A run as it was recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The experiment that ran.
    pub experiment: Experiment,
    /// Its plan, as `plan` printed it.
    pub plan: serde_json::Value,
    /// All events by time; those of one moment in the order in which they were written.
    pub events: Vec<Event>,
    /// The intervals of all lanes with their histograms, by time. The counts of each are in `events`.
    pub intervals: Vec<RecordedInterval>,
    /// What is missing from the files, one sentence each. Empty for a record that is whole.
    pub damage: Vec<String>,
}

/// The response times of a lane's requests that fell due in one interval, or, in a long record, in several of them
/// between which nothing happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedInterval {
    /// The lane.
    pub lane: String,
    /// Start of the first interval on the run's clock.
    pub start_us: Micros,
    /// The length of all of them.
    pub length_us: i64,
    /// From the intended send time to the end of the answer. The service times are not held, since only their sums are
    /// asked for: [`service_times`](super::load_reader::service_times).
    pub response: Samples,
}

/// Reads a run directory.
pub fn read(dir: &Path) -> Result<Record, RecordError> {
    let (experiment, plan) = read_plan(&dir.join(PLAN_FILE))?;
    let mut damage = Vec::new();
    let mut events = read_events(&dir.join(EVENTS_FILE), &mut damage)?;
    let intervals = read_intervals(dir, &events, &mut damage)?;
    events.sort_by_key(|event| event.at_us);
    Ok(Record { experiment, plan, events, intervals, damage })
}

#[derive(Deserialize)]
struct PlanFile {
    experiment: Experiment,
    #[serde(default)]
    plan: serde_json::Value,
}

#[derive(Deserialize)]
struct Versioned {
    format: u64,
}

fn read_plan(path: &Path) -> Result<(Experiment, serde_json::Value), RecordError> {
    let mut bytes = Vec::new();
    open(path)?.take(PLAN_MAX + 1).read_to_end(&mut bytes).map_err(|source| unreadable(path, source))?;
    if bytes.len() as u64 > PLAN_MAX {
        return Err(RecordError::TooLarge { path: path.to_owned(), limit: PLAN_MAX });
    }
    let malformed = |error: &serde_json::Error| malformed(path, error.line(), error.to_string());
    // The version first: another version may have another shape.
    let version: Versioned = serde_json::from_slice(&bytes).map_err(|error| malformed(&error))?;
    supported(path, version.format)?;
    let content: PlanFile = serde_json::from_slice(&bytes).map_err(|error| malformed(&error))?;
    Ok((content.experiment, content.plan))
}

fn read_events(path: &Path, damage: &mut Vec<String>) -> Result<Vec<Event>, RecordError> {
    let mut events = Vec::new();
    let mut cut = false;
    each_line(path, |number, line, whole| {
        let mut event: Event = match serde_json::from_slice(line) {
            Ok(event) => event,
            Err(_) if !whole => {
                cut = true;
                return Ok(());
            }
            Err(error) => {
                // The first line carries the version, and a newer one may have fields of another shape.
                if let Ok(version) = serde_json::from_slice::<Versioned>(line) {
                    supported(path, version.format)?;
                }
                return Err(malformed(path, number, error.to_string()));
            }
        };
        if let What::Started(started) = &event.what {
            supported(path, u64::from(started.format))?;
        }
        plausible(&event).map_err(|problem| malformed(path, number, problem))?;
        // There are tens of thousands of these in a long record, each with room for more pods than it has.
        if let What::Load(counts) = &mut event.what {
            counts.by_pod.shrink_to_fit();
        }
        events.push(event);
        Ok(())
    })?;
    if cut {
        damage.push(format!("the last line of {EVENTS_FILE} is cut off"));
    }
    Ok(events)
}

/// Hands out each line with its number and whether it ends as a line does.
pub(super) fn each_line(
    path: &Path,
    mut take: impl FnMut(usize, &[u8], bool) -> Result<(), RecordError>,
) -> Result<(), RecordError> {
    let mut file = BufReader::new(open(path)?);
    let mut line = Vec::new();
    let mut total = 0_u64;
    for number in 1..=LINES_MAX {
        line.clear();
        (&mut file).take(LINE_MAX).read_until(b'\n', &mut line).map_err(|source| unreadable(path, source))?;
        if line.is_empty() {
            return Ok(());
        }
        total += line.len() as u64;
        if total > FILE_MAX {
            return Err(RecordError::TooLarge { path: path.to_owned(), limit: FILE_MAX });
        }
        if line.len() as u64 == LINE_MAX {
            return Err(malformed(path, number, format!("longer than {LINE_MAX} bytes")));
        }
        take(number, &line, line.ends_with(b"\n"))?;
    }
    Err(RecordError::TooLarge { path: path.to_owned(), limit: FILE_MAX })
}

/// Times and counts that a run can have: sums and differences of them cannot overflow.
fn plausible(event: &Event) -> Result<(), String> {
    let times = |times: &[i64]| match times.iter().find(|time| time.unsigned_abs() > TIME_MAX_US.unsigned_abs()) {
        Some(time) => Err(format!("{time} µs is no time of a run")),
        None => Ok(()),
    };
    times(&[event.at_us])?;
    match &event.what {
        What::Lost(lost) => times(&[lost.intended_us, lost.sent_us, lost.ended_us, lost.connection_age_us]),
        What::Slow(slow) => {
            times(&[slow.intended_us, slow.sent_us, slow.ended_us, slow.connection_age_us])?;
            times(&slow.connected_us.into_iter().chain(slow.written_us).collect::<Vec<_>>())
        }
        What::Load(counts) => {
            times(&[counts.start_us, counts.length_us, counts.send_lag_max_us, counts.stalled_us])?;
            let of_pods = || counts.by_pod.values();
            times(&of_pods().flat_map(|pod| pod.first_us.into_iter().chain(pod.last_us)).collect::<Vec<_>>())?;
            let by_pod = of_pods().flat_map(|pod| [pod.answered, pod.new_connections]);
            match counts.by_outcome.values().copied().chain(by_pod).find(|count| *count > COUNT_MAX) {
                Some(count) => Err(format!("{count} requests in one interval")),
                None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

fn supported(path: &Path, format: u64) -> Result<(), RecordError> {
    if format == u64::from(FORMAT) {
        return Ok(());
    }
    Err(RecordError::Format { path: path.to_owned(), found: format })
}

fn open(path: &Path) -> Result<File, RecordError> {
    File::open(path).map_err(|source| RecordError::Io { doing: "open", path: path.to_owned(), source })
}

fn unreadable(path: &Path, source: std::io::Error) -> RecordError {
    RecordError::Io { doing: "read", path: path.to_owned(), source }
}

pub(super) fn malformed(path: &Path, line: usize, problem: String) -> RecordError {
    RecordError::Malformed { path: path.to_owned(), line, problem }
}
