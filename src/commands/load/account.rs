//! What a load by itself comes to: sums that stay small however long it runs, and the answer that they allow.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};

use hdrhistogram::{CreationError, Histogram};
use serde::Serialize;

use crate::{
    judge::{
        confidence::upper_95,
        tally::{SEND_LAG_MAX_US, latency},
        verdict::{Answer, Latency, Requests},
    },
    load::{
        LoadTotals,
        lane::LaneSpec,
        message::{ClosedInterval, LoadMessage},
    },
    record::{
        event::{INTERVAL_US, LostRequest, Micros, NoteKind, Outcome, RetrySafe},
        percentiles,
        samples::{Samples, empty_histogram},
    },
};

/// Losses that lie no further apart than this, from the end of one to the intended moment of the next, are one outage.
const OUTAGE_GAP_US: Micros = 100_000;

/// Outages that are kept; beyond them the last one goes on.
const OUTAGES_MAX: usize = 10_000;

/// Kinds of loss that are quoted in the error's own words.
const QUOTED_MAX: usize = 8;

/// The account of a load.
#[derive(Debug)]
pub(super) struct Account {
    is_idempotent: bool,
    timeout_us: Micros,
    for_us: Micros,
    begun_us: Option<Micros>,
    ended_us: Micros,
    by_outcome: BTreeMap<Outcome, u64>,
    // Losses in intervals in which we were too late ourselves.
    doubtful: u64,
    late_intervals: u64,
    intervals: u64,
    send_lag: Samples,
    connections_opened: u64,
    response: Histogram<u64>,
    service: Histogram<u64>,
    taints: Vec<String>,
    examples: BTreeMap<Outcome, String>,
    marks: Marks,
    outages: Vec<(Micros, Micros, u64)>,
    // Losses that may be sent again, by the first interval in which that could have had an answer, and the one in which
    // its client would have given up; and the intervals with answers.
    again: BTreeMap<(Micros, Micros), u64>,
    answered: BTreeSet<Micros>,
}

/// What a load came to; the JSON of `--json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Summary {
    /// What was asked.
    pub(super) url: String,
    /// `held`: every request was answered as asked; `broken`: some were lost; `inconclusive`: it cannot be told.
    pub(super) verdict: Answer,
    /// Why, one sentence each.
    pub(super) reasons: Vec<String>,
    /// How long requests fell due.
    pub(super) seconds: f64,
    /// Requests sent per second.
    pub(super) sent_per_second: f64,
    /// As in `verdict.json`.
    pub(super) requests: Requests,
    /// As in `verdict.json`: response times, from the intended send time.
    pub(super) latency_ms: Latency,
    /// The same from the first byte of the request written, of those of which something was.
    pub(super) service_ms: Latency,
    /// When requests are lost, as in `verdict.json`, in milliseconds since the load began.
    pub(super) outages: Vec<Gap>,
    /// The calendar time at which the load began.
    pub(super) began: String,
    /// Connections opened.
    pub(super) connections_opened: u64,
    /// How far sends lay behind their intended moments; with `--rate max` nothing.
    pub(super) send_lag_ms: Latency,
    /// Lost requests by whether they could be sent again.
    pub(super) retry_safe: Marks,
    /// An error of each kind in its own words.
    pub(super) errors: BTreeMap<Outcome, String>,
}

/// A stretch of time in which requests are lost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Gap {
    /// The intended moment of the first of them.
    start_ms: f64,
    /// The end of the last of them.
    end_ms: f64,
    /// How many.
    lost: u64,
}

/// Lost requests by whether they could be sent again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Marks {
    /// Nothing of them reached the service.
    yes: u64,
    /// Where doing it twice does no harm.
    idempotent: u64,
    /// The service may have acted on them, or has answered.
    no: u64,
}

impl Account {
    /// Nothing has happened yet.
    pub(super) fn new(lane: &LaneSpec) -> Result<Self, CreationError> {
        let empty = empty_histogram()?;
        Ok(Self {
            is_idempotent: lane.options.protocol.is_idempotent(),
            timeout_us: lane.timeout_us,
            for_us: lane.options.for_us.unwrap_or(Micros::MAX),
            begun_us: None,
            ended_us: 0,
            by_outcome: BTreeMap::new(),
            doubtful: 0,
            late_intervals: 0,
            intervals: 0,
            send_lag: Samples::default(),
            connections_opened: 0,
            response: empty.clone(),
            service: empty,
            taints: Vec::new(),
            examples: BTreeMap::new(),
            marks: Marks::default(),
            outages: Vec::new(),
            again: BTreeMap::new(),
            answered: BTreeSet::new(),
        })
    }

    /// Enters what the generator said. With the first interval: when the load began, on the generator's clock.
    pub(super) fn take(&mut self, message: &LoadMessage) -> Option<u64> {
        match message {
            LoadMessage::Interval(interval) => return self.interval(interval),
            LoadMessage::Lost(lost) => self.lost(lost),
            LoadMessage::Note(note) if note.kind == NoteKind::Taint => self.taints.push(note.text.clone()),
            LoadMessage::Slow(_) | LoadMessage::Note(_) => {}
        }
        None
    }

    /// The generator has ended with these totals.
    pub(super) fn end(&mut self, totals: &LoadTotals) {
        self.send_lag = Samples::merged(totals.lanes.iter().map(|lane| &lane.send_lag));
    }

    fn interval(&mut self, interval: &ClosedInterval) -> Option<u64> {
        let counts = &interval.counts;
        let late = counts.own_delay_us() > SEND_LAG_MAX_US;
        for (&outcome, &count) in &counts.by_outcome {
            *self.by_outcome.entry(outcome).or_default() += count;
            if late && outcome.is_lost() {
                self.doubtful += count;
            }
        }
        if counts.by_outcome.get(&Outcome::Ok).is_some_and(|ok| *ok > 0) {
            self.answered.insert(counts.start_us / INTERVAL_US);
        }
        self.intervals += 1;
        self.late_intervals += u64::from(late);
        self.connections_opened += counts.connections_opened;
        // Of the same bounds and digits, so that nothing can be out of range.
        self.response.add(&interval.response).ok();
        self.service.add(&interval.service).ok();
        self.ended_us = self.ended_us.max(counts.start_us + counts.length_us);
        let first = self.begun_us.is_none();
        let begun = *self.begun_us.get_or_insert(counts.start_us);
        first.then(|| u64::try_from(begun).unwrap_or_default())
    }

    fn lost(&mut self, lost: &LostRequest) {
        if self.examples.len() < QUOTED_MAX && !lost.error.is_empty() {
            self.examples.entry(lost.outcome).or_insert_with(|| lost.error.clone());
        }
        self.outage(lost);
        match lost.retry_safe {
            RetrySafe::Yes => self.marks.yes += 1,
            RetrySafe::Idempotent => self.marks.idempotent += 1,
            RetrySafe::No => self.marks.no += 1,
        }
        if lost.retry_safe.allows_retry(self.is_idempotent) {
            let up = |at: Micros| at.saturating_add(INTERVAL_US - 1) / INTERVAL_US;
            let window = (up(lost.ended_us), up(lost.intended_us.saturating_add(self.timeout_us)));
            *self.again.entry(window).or_default() += 1;
        }
    }

    fn outage(&mut self, lost: &LostRequest) {
        let full = self.outages.len() >= OUTAGES_MAX;
        match self.outages.last_mut() {
            Some((start, end, count)) if full || lost.intended_us <= end.saturating_add(OUTAGE_GAP_US) => {
                *start = (*start).min(lost.intended_us);
                *end = (*end).max(lost.ended_us);
                *count += 1;
            }
            _ => self.outages.push((lost.intended_us, lost.ended_us, 1)),
        }
    }

    /// Losses that a client would not have seen which sends again, until its timeout, what is safe to send again.
    fn recovered(&self) -> u64 {
        let answered = |from: Micros, to: Micros| from < to && self.answered.range(from..to).next().is_some();
        self.again.iter().filter(|((from, to), _)| answered(*from, *to)).map(|(_, count)| count).sum()
    }

    fn requests(&self) -> Requests {
        let count = |outcome: Outcome| self.by_outcome.get(&outcome).copied().unwrap_or_default();
        let by_kind: BTreeMap<_, _> =
            self.by_outcome.iter().filter(|(kind, _)| kind.is_lost()).map(|(kind, count)| (*kind, *count)).collect();
        let lost: u64 = by_kind.values().sum();
        let sent = count(Outcome::Ok) + lost;
        Requests {
            sent,
            ok: count(Outcome::Ok),
            lost,
            lost_after_retry: lost.saturating_sub(self.recovered()),
            unsent: count(Outcome::NotSent),
            lost_tainted: 0,
            by_kind,
            by_cause: BTreeMap::new(),
            loss_bound_95: (sent > 0).then(|| upper_95(lost, sent)),
        }
    }

    /// What it came to, where the generator's clock read zero at `origin`.
    pub(super) fn summary(&self, url: &str, origin: SystemTime) -> Summary {
        let requests = self.requests();
        let begun_us = self.begun_us.unwrap_or_default();
        let began = u64::try_from(begun_us).ok().map(|us| origin + Duration::from_micros(us));
        let began = began.and_then(|began| jiff::Timestamp::try_from(began).ok());
        let gap = |start: Micros, end: Micros, lost| Gap {
            start_ms: (start - begun_us) as f64 / 1e3,
            end_ms: (end - begun_us) as f64 / 1e3,
            lost,
        };
        let (verdict, reasons) = self.answer(&requests);
        let seconds = (self.ended_us - self.begun_us.unwrap_or(self.ended_us)).min(self.for_us) as f64 / 1e6;
        Summary {
            url: url.to_owned(),
            verdict,
            reasons,
            seconds,
            sent_per_second: if seconds > 0.0 { requests.sent as f64 / seconds } else { 0.0 },
            requests,
            latency_ms: latency(&Samples::from(&self.response)),
            service_ms: latency(&Samples::from(&self.service)),
            outages: self.outages.iter().map(|&(start, end, lost)| gap(start, end, lost)).collect(),
            began: began.map_or_else(String::new, |began| began.to_string()),
            connections_opened: self.connections_opened,
            send_lag_ms: latency(&self.send_lag),
            retry_safe: self.marks,
            errors: self.examples.clone(),
        }
    }

    /// What the doubts about ourselves leave to be said: a loss counts only where we were on time.
    fn answer(&self, requests: &Requests) -> (Answer, Vec<String>) {
        let mut doubts = self.taints.clone();
        if requests.unsent > 0 {
            doubts.push(format!("{} requests that were due were never sent, for a reason of ours", requests.unsent));
        }
        if self.late_intervals > 0 {
            doubts.push(format!(
                "requests were sent more than {} ms late in {} of {} intervals: the load generator was held up",
                SEND_LAG_MAX_US / 1_000,
                self.late_intervals,
                self.intervals
            ));
        }
        if requests.sent == 0 {
            doubts.push("not one request was sent".to_owned());
        }
        let certain = requests.lost.saturating_sub(self.doubtful);
        if certain > 0 && self.taints.is_empty() {
            doubts.insert(0, format!("{} of {} requests were lost", requests.lost, requests.sent));
            (Answer::Broken, doubts)
        } else if doubts.is_empty() {
            (Answer::Held, doubts)
        } else {
            (Answer::Inconclusive, doubts)
        }
    }

    /// The response times as `HdrHistogram`'s tools print percentiles, in milliseconds.
    pub(super) fn percentiles(&self) -> String {
        percentiles::hgrm(&self.response, 1_000.0)
    }
}

#[cfg(test)]
mod tests;
