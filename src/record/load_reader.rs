//! `load.hlog`, read back: the response times of each interval, those of long calm stretches as one, and the sums of
//! the service times. Like the rest of a record it is not trusted.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    path::Path,
};

use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

use super::{
    LOAD_FILE, RecordedInterval,
    calm::{interval, stretches},
    error::RecordError,
    event::{Event, Outcome},
    load_log::{log_tag, log_time},
    reader::{each_line, malformed},
    samples::{Samples, Sum},
};

/// An interval of a log: its lane's tag, and its start in milliseconds.
type Key = (String, u128);

/// What a histogram of a log holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Times {
    Response,
    Service,
}

/// The intervals of `events` with their response times, by time. What is missing is added to `damage`.
pub(super) fn read_intervals(
    dir: &Path,
    events: &[Event],
    damage: &mut Vec<String>,
) -> Result<Vec<RecordedInterval>, RecordError> {
    let mut intervals = Intervals::of(events);
    let cut = each_histogram(&dir.join(LOAD_FILE), |key, times, encoded| {
        match times {
            Times::Response => intervals.take(key, Samples::from_log(encoded)?),
            Times::Service => Samples::check(encoded)?,
        }
        Ok(())
    })?;
    if cut {
        damage.push(format!("the last line of {LOAD_FILE} is cut off"));
    }
    let (held, missing) = intervals.finish();
    if missing > 0 {
        damage.push(format!("{LOAD_FILE} lacks the histograms of {missing} intervals"));
    }
    Ok(held)
}

/// The intervals of a record while their histograms come.
#[derive(Debug, Default)]
struct Intervals {
    held: Vec<RecordedInterval>,
    // Where the next histogram of a lane's interval belongs.
    places: HashMap<Key, VecDeque<usize>>,
    // Those of which requests were sent, and of which no histogram has come.
    missing: usize,
    // By lane, the pieces of what is held as one, and where they belong.
    open: HashMap<String, (usize, Vec<Samples>)>,
}

impl Intervals {
    fn of(events: &[Event]) -> Self {
        let mut intervals = Self::default();
        let mut place_of = Vec::new();
        for (number, (counts, first)) in events.iter().filter_map(interval).zip(stretches(events)).enumerate() {
            let place = if first == number { intervals.held.len() } else { place_of[first] };
            place_of.push(place);
            match intervals.held.get_mut(place) {
                Some(held) => held.length_us = held.length_us.saturating_add(counts.length_us),
                None => intervals.held.push(RecordedInterval {
                    lane: counts.lane.clone(),
                    start_us: counts.start_us,
                    length_us: counts.length_us,
                    response: Samples::default(),
                }),
            }
            // An interval in which nothing fell due, or nothing was sent, has no histogram.
            if counts.by_outcome.iter().any(|(kind, n)| *n > 0 && *kind != Outcome::NotSent) {
                intervals.missing += 1;
                let key = (log_tag(&counts.lane), log_time(counts.start_us).as_millis());
                intervals.places.entry(key).or_default().push_back(place);
            }
        }
        intervals
    }

    /// The next histogram of an interval; one of an interval of which the events say nothing is left out.
    fn take(&mut self, key: &Key, samples: Samples) {
        let Some(place) = self.places.get_mut(key).and_then(VecDeque::pop_front) else { return };
        self.missing -= 1;
        let lane = self.held[place].lane.clone();
        match self.open.get_mut(&lane) {
            Some((open, pieces)) if *open == place => pieces.push(samples),
            _ => {
                if let Some((place, pieces)) = self.open.insert(lane, (place, vec![samples])) {
                    self.close(place, pieces);
                }
            }
        }
    }

    fn close(&mut self, place: usize, mut pieces: Vec<Samples>) {
        let response = &mut self.held[place].response;
        // Whole already only where the log is not in order.
        if !response.is_empty() {
            pieces.push(std::mem::take(response));
        }
        *response = if pieces.len() == 1 { pieces.remove(0) } else { Samples::merged(pieces.iter()) };
    }

    /// What is held, by time, and how many histograms have not come.
    fn finish(mut self) -> (Vec<RecordedInterval>, usize) {
        for (_, (place, pieces)) in std::mem::take(&mut self.open) {
            self.close(place, pieces);
        }
        self.held.sort_by_key(|interval| interval.start_us);
        (self.held, self.missing)
    }
}

/// The service times of a run's lanes by their tags in the log ([`log_tag`]): from the first byte of a request written
/// to the end of its answer; fewer than the response times by the requests of which nothing was written. Of the
/// intervals that begin in the millisecond `from_ms` of the run's clock or later.
pub fn service_times(dir: &Path, from_ms: Option<f64>) -> Result<BTreeMap<String, Samples>, RecordError> {
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    each_histogram(&dir.join(LOAD_FILE), |(tag, start_ms), times, encoded| {
        if times == Times::Service && from_ms.is_none_or(|from| *start_ms as f64 >= from.floor()) {
            sums.entry(tag.clone()).or_default().add(&Samples::from_log(encoded)?);
        }
        Ok(())
    })?;
    Ok(sums.into_iter().map(|(tag, sum)| (tag, sum.samples())).collect())
}

/// Hands out the histograms of a log as they are encoded; whether its last line is cut off.
fn each_histogram(
    path: &Path,
    mut take: impl FnMut(&Key, Times, &str) -> Result<(), String>,
) -> Result<bool, RecordError> {
    // After the response times of an interval its service times are always the next line.
    let mut waiting: Option<Key> = None;
    let mut cut = false;
    each_line(path, |number, line, whole| {
        if !whole {
            cut = true;
            return Ok(());
        }
        let entry = match IntervalLogIterator::new(line).next() {
            Some(Ok(LogEntry::Interval(entry))) => entry,
            Some(Ok(_)) | None => return Ok(()),
            Some(Err(_)) => return Err(malformed(path, number, "not a line of an interval log".to_owned())),
        };
        let problem = |problem: String| malformed(path, number, problem);
        let tag = entry.tag().map(|tag| tag.as_str().to_owned()).unwrap_or_default();
        let encoded = entry.encoded_histogram();
        match waiting.take() {
            None => {
                let key = waiting.insert((tag, entry.start_timestamp().as_millis()));
                take(key, Times::Response, encoded).map_err(problem)
            }
            Some(key) if tag == format!("{}.service", key.0) => take(&key, Times::Service, encoded).map_err(problem),
            Some((lane, _)) => Err(problem(format!("service times of lane {lane} are missing before this line"))),
        }
    })?;
    Ok(cut || waiting.is_some())
}
