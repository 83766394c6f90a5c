//! The intervals of one lane that are still open, as a pure account: what fell due, what became of it, and when an
//! interval is complete.
//!
//! A request belongs to the interval of its intended time, so a stall shows where it began. Samples stay a short
//! list until an interval closes; only then is there a histogram, and it leaves at once.

use std::{
    collections::{BTreeMap, VecDeque},
    num::NonZeroU32,
};

use hdrhistogram::{CreationError, Histogram};

use super::message::ClosedInterval;
use crate::record::{
    event::{INTERVAL_US, LaneInterval, Micros, Outcome, PodAnswers},
    samples::{LONGEST_US, SIGNIFICANT_DIGITS, Samples, empty_histogram},
};

const NANOS_PER_MICRO: u64 = 1_000;

/// The length of an interval in nanoseconds.
pub(super) const INTERVAL_NS: u64 = INTERVAL_US.unsigned_abs() * NANOS_PER_MICRO;

/// Pods that are counted in one interval; a server may name itself as it likes.
const PODS_MAX: usize = 200;

/// Slow requests of a lane that are told one by one: the first of each interval, and of the whole load. They say where
/// the time went; how many there were is in the histograms.
const SLOW_TOLD_MAX: u64 = 20;
const SLOW_TOLD_IN_ALL_MAX: u64 = 10_000;

/// A request's end, as it enters the account.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// When it was due, in nanoseconds of the generator's clock.
    pub(super) intended_ns: u64,
    /// What became of it.
    pub(super) outcome: Outcome,
    /// Response time in microseconds; nothing for a request that was never sent.
    pub(super) response_us: Option<u64>,
    /// Service time in microseconds; nothing for a request of which nothing was written.
    pub(super) service_us: Option<u64>,
    /// How far its send lay behind its intended moment.
    pub(super) send_lag_us: u64,
    /// Its answer said `Connection: close`.
    pub(super) says_close: bool,
    /// How long the generator had stood still when it saw the end.
    pub(super) stalled_us: u64,
}

/// The account of one lane.
#[derive(Debug)]
pub(super) struct Ledger {
    lane: String,
    // The number of the first open interval: interval k covers k × 100 ms to (k + 1) × 100 ms.
    first: u64,
    open: VecDeque<Tally>,
    // Connections opened while no interval was open; the next one has them.
    opened_before: u64,
    total: Counts,
    connections_opened: u64,
    slow_told: u64,
    // Of all requests that were sent; its bounds are constants that a histogram can have.
    send_lag: Option<Histogram<u64>>,
}

/// Requests by what became of them; a place each, since it is counted in for every request.
#[derive(Debug, Clone, Copy, Default)]
struct Counts([u64; Outcome::ALL.len()]);

impl Counts {
    fn add(&mut self, outcome: Outcome) {
        if let Some(count) = self.0.get_mut(outcome as usize) {
            *count += 1;
        }
    }

    /// Those that occurred.
    fn to_map(self) -> BTreeMap<Outcome, u64> {
        Outcome::ALL.into_iter().zip(self.0).filter(|(_, count)| *count > 0).collect()
    }
}

#[derive(Debug, Default)]
struct Tally {
    due: u64,
    ended: u64,
    by_outcome: Counts,
    response_us: Vec<u64>,
    service_us: Vec<u64>,
    connections_opened: u64,
    closed_politely: u64,
    send_lag_max_us: u64,
    stalled_us: u64,
    slow_told: u64,
    // A short list, searched from its begin: a Service has few pods, and this is done for every answer.
    by_pod: Vec<(String, PodAnswers)>,
}

impl Ledger {
    /// The account of a lane that has not begun.
    pub(super) fn new(lane: String) -> Self {
        Self {
            lane,
            first: 0,
            open: VecDeque::new(),
            opened_before: 0,
            total: Counts::default(),
            connections_opened: 0,
            slow_told: 0,
            send_lag: empty_histogram().ok(),
        }
    }

    /// The lane begins: its first interval is the one that `start_ns` lies in.
    pub(super) fn begin(&mut self, start_ns: u64) {
        self.first = start_ns / INTERVAL_NS;
    }

    /// A request has fallen due.
    pub(super) fn due(&mut self, intended_ns: u64) {
        self.tally(intended_ns).due += 1;
    }

    /// A request has ended.
    pub(super) fn ended(&mut self, entry: Entry) {
        self.total.add(entry.outcome);
        if let Some(send_lag) = self.send_lag.as_mut().filter(|_| entry.response_us.is_some()) {
            send_lag.saturating_record(entry.send_lag_us.max(1));
        }
        let tally = self.tally(entry.intended_ns);
        tally.ended += 1;
        tally.by_outcome.add(entry.outcome);
        tally.response_us.extend(entry.response_us);
        tally.service_us.extend(entry.service_us);
        tally.closed_politely += u64::from(entry.says_close);
        tally.send_lag_max_us = tally.send_lag_max_us.max(entry.send_lag_us);
        tally.stalled_us = tally.stalled_us.max(entry.stalled_us);
    }

    /// The pod that named itself has answered a request as it was asked for.
    pub(super) fn answered_by(&mut self, intended_ns: u64, pod: &str, answer: PodAnswers) {
        let by_pod = &mut self.tally(intended_ns).by_pod;
        if let Some(at) = by_pod.iter().position(|(known, _)| known == pod) {
            by_pod[at].1.add(answer);
        } else if by_pod.len() < PODS_MAX {
            by_pod.push((pod.to_owned(), answer));
        }
    }

    /// Whether a slow request is told one by one, and counts it where it is. Of a lane that so many generators send
    /// together, each has its share of the bounds.
    pub(super) fn tells_slow(&mut self, intended_ns: u64, generators: NonZeroU32) -> bool {
        let mine = |bound: u64| (bound / u64::from(generators.get())).max(1);
        let in_all = self.slow_told;
        let tally = self.tally(intended_ns);
        let tells = tally.slow_told < mine(SLOW_TOLD_MAX) && in_all < mine(SLOW_TOLD_IN_ALL_MAX);
        tally.slow_told += u64::from(tells);
        self.slow_told += u64::from(tells);
        tells
    }

    /// The generator itself stood still for so long: whatever was open meanwhile may have waited for us, not for the
    /// service.
    pub(super) fn stalled(&mut self, for_us: u64) {
        for tally in self.open.iter_mut().filter(|tally| tally.ended < tally.due) {
            tally.stalled_us = tally.stalled_us.max(for_us);
        }
    }

    /// A connection has been opened; it counts in the newest interval.
    pub(super) fn connection_opened(&mut self) {
        self.connections_opened += 1;
        match self.open.back_mut() {
            Some(tally) => tally.connections_opened += 1,
            None => self.opened_before += 1,
        }
    }

    /// The next interval that is complete: it lies before `now_ns`, everything that was due until then has been
    /// entered, and its requests have ended.
    pub(super) fn close_next(&mut self, now_ns: u64) -> Result<Option<ClosedInterval>, CreationError> {
        let end_ns = (self.first + 1) * INTERVAL_NS;
        let pending = self.open.front().is_some_and(|tally| tally.ended < tally.due);
        if end_ns > now_ns || pending {
            return Ok(None);
        }
        self.close_first(end_ns).map(Some)
    }

    /// The next of the last intervals, when nothing falls due any more and every request has ended: those that begin
    /// before `end_ns`, the last one cut off there.
    pub(super) fn finish_next(&mut self, end_ns: u64) -> Result<Option<ClosedInterval>, CreationError> {
        if self.first * INTERVAL_NS >= end_ns && self.open.is_empty() {
            return Ok(None);
        }
        self.close_first(end_ns.min((self.first + 1) * INTERVAL_NS)).map(Some)
    }

    /// All requests so far by what became of them, and the connections opened.
    pub(super) fn totals(&self) -> (BTreeMap<Outcome, u64>, u64) {
        (self.total.to_map(), self.connections_opened)
    }

    /// How far each request's send lay behind its intended moment, in microseconds from 1 up.
    pub(super) fn send_lag(&self) -> Samples {
        self.send_lag.as_ref().map(Samples::from).unwrap_or_default()
    }

    fn tally(&mut self, intended_ns: u64) -> &mut Tally {
        // A request cannot end in an interval that has closed, since that waits for it.
        let place = usize::try_from((intended_ns / INTERVAL_NS).saturating_sub(self.first)).unwrap_or(usize::MAX);
        while self.open.len() <= place {
            let connections_opened = std::mem::take(&mut self.opened_before);
            self.open.push_back(Tally { connections_opened, ..Tally::default() });
        }
        &mut self.open[place]
    }

    fn close_first(&mut self, end_ns: u64) -> Result<ClosedInterval, CreationError> {
        let start_ns = self.first * INTERVAL_NS;
        let tally = self.open.pop_front().unwrap_or_else(|| Tally {
            connections_opened: std::mem::take(&mut self.opened_before),
            ..Tally::default()
        });
        self.first += 1;
        Ok(ClosedInterval {
            counts: LaneInterval {
                lane: self.lane.clone(),
                start_us: micros(start_ns),
                length_us: micros(end_ns.saturating_sub(start_ns)),
                by_outcome: tally.by_outcome.to_map(),
                connections_opened: tally.connections_opened,
                closed_politely: tally.closed_politely,
                send_lag_max_us: i64::try_from(tally.send_lag_max_us).unwrap_or(i64::MAX),
                stalled_us: i64::try_from(tally.stalled_us).unwrap_or(i64::MAX),
                by_pod: tally.by_pod.into_iter().collect(),
            },
            response: histogram(&tally.response_us)?,
            service: histogram(&tally.service_us)?,
        })
    }
}

/// Nanoseconds of the generator's clock in the record's unit.
pub(super) fn micros(nanos: u64) -> Micros {
    i64::try_from(nanos / NANOS_PER_MICRO).unwrap_or(i64::MAX)
}

// As large as its samples need, since most are far below five minutes and every lane makes twenty a second.
fn histogram(samples_us: &[u64]) -> Result<Histogram<u64>, CreationError> {
    let clamped = |sample: &u64| (*sample).clamp(1, LONGEST_US);
    let highest = samples_us.iter().map(clamped).max().unwrap_or(1);
    let mut histogram = Histogram::new_with_bounds(1, highest.max(2), SIGNIFICANT_DIGITS)?;
    histogram.auto(true);
    for sample in samples_us {
        histogram.saturating_record(clamped(sample));
    }
    Ok(histogram)
}

#[cfg(test)]
mod tests;
