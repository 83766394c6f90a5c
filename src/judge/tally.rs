//! The requests of a run, counted by lane, phase, kind and cause, with what may be held against the service kept
//! apart from what may be our own fault.
//!
//! The intervals count the requests; the lost ones are also there one by one, with their causes. Where the two
//! disagree (an agent that died, a file cut off) the larger number counts, and what is not described is unexplained:
//! so `sent = ok + lost`, and the causes always add up to the losses.

use std::collections::BTreeMap;

use super::{
    cause::{Attribution, Cause, attribute},
    confidence::upper_95,
    control::Trouble,
    timeline::Timeline,
    verdict::{Latency, Requests, TaintedBy},
};
use crate::{
    experiment::schema::{Lane, Phase},
    record::{
        Record,
        event::{LostRequest, Micros, NoteKind, Outcome, What},
        samples::Samples,
    },
};

/// A request sent later than this after it was due was held up by us: its loss and its time prove nothing about the
/// service. Pacing keeps within a millisecond; a tenth of a second is a stall.
pub const SEND_LAG_MAX_US: i64 = 100_000;

/// Which requests are meant; nothing means all but those of control lanes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scope<'s> {
    /// Of this lane, which may be a control.
    pub lane: Option<&'s str>,
    /// Due in this phase.
    pub phase: Option<Phase>,
    /// Only those that may be held against the service.
    pub untainted: bool,
}

impl Scope<'_> {
    pub(super) fn takes(&self, lane: &str, is_control: bool, phase: Option<Phase>, tainted: bool) -> bool {
        self.lane.map_or(!is_control, |wanted| wanted == lane)
            && self.phase.is_none_or(|wanted| Some(wanted) == phase)
            && !(self.untainted && tainted)
    }
}

/// One lost request with all that was worked out for it.
#[derive(Debug, Clone)]
pub struct Loss<'a> {
    /// What the client knows.
    pub request: &'a LostRequest,
    /// The phase in which it was due.
    pub phase: Option<Phase>,
    /// Its lane is a control.
    pub is_control: bool,
    /// It may be our own fault.
    pub tainted: bool,
    /// Why it was lost.
    pub why: Attribution<'a>,
}

/// The requests of one lane that fell due in one interval.
#[derive(Debug)]
struct Slot<'a> {
    lane: &'a str,
    is_control: bool,
    start_us: Micros,
    length_us: i64,
    phase: Option<Phase>,
    // How late we may have been with any of its requests.
    delay_us: i64,
    tainted: bool,
    kinds: BTreeMap<Outcome, u64>,
    described: BTreeMap<Outcome, u64>,
    // Lost requests that may be our own fault though the interval as a whole isn't.
    doubtful: BTreeMap<Outcome, u64>,
    // Lost requests that were due in another phase than the one in which the interval begins, and count there.
    moved: BTreeMap<Outcome, u64>,
    response: Option<&'a Samples>,
}

impl Slot<'_> {
    /// One more of its lost requests is described: where the interval counted fewer, it counts as well.
    fn describe(&mut self, outcome: Outcome, elsewhere: bool, tainted: bool) {
        let described = self.described.entry(outcome).or_default();
        *described += 1;
        let counted = self.kinds.entry(outcome).or_default();
        *counted = (*counted).max(*described);
        if elsewhere {
            *self.moved.entry(outcome).or_default() += 1;
        } else if tainted && !self.tainted {
            *self.doubtful.entry(outcome).or_default() += 1;
        }
    }
}

/// An interval with requests that took longer than a bound.
#[derive(Debug, Clone, Copy)]
pub struct Slow<'a> {
    /// The lane.
    pub lane: &'a str,
    /// Its start.
    pub start_us: Micros,
    /// Its end.
    pub end_us: Micros,
    /// Its phase.
    pub phase: Option<Phase>,
    /// Requests that took longer.
    pub over: u64,
}

/// Intervals of one lane, one after another, whose requests prove nothing about the service.
#[derive(Debug, Clone, Copy)]
pub struct Stretch<'a> {
    /// The lane.
    pub lane: &'a str,
    /// The start of the first interval.
    pub from_us: Micros,
    /// The end of the last one.
    pub to_us: Micros,
    /// How late we may have been with a request of them, at most.
    pub delay_us: i64,
    /// Why they prove nothing.
    pub by: TaintedBy,
}

/// All requests of a run.
#[derive(Debug, Default)]
pub struct Tally<'a> {
    slots: Vec<Slot<'a>>,
    /// The lost requests by the time at which they were due.
    pub losses: Vec<Loss<'a>>,
    /// Since when the measurement itself is in doubt, by a note.
    pub tainted_since: Option<Micros>,
    /// How many intervals there are, and in how many of them we were too late.
    pub intervals: usize,
    /// Intervals in which we were later than [`SEND_LAG_MAX_US`].
    pub late_intervals: usize,
    lanes: BTreeMap<&'a str, &'a Lane>,
    trouble: Trouble,
}

impl<'a> Tally<'a> {
    /// Counts a record's requests and finds the cause of each that was lost. Before the first phase the load only waits
    /// for the service to be steady, and counts for nothing; but where the times of a record contradict each other,
    /// nothing is left out on their word.
    #[must_use]
    pub fn of(record: &'a Record, timeline: &Timeline<'a>) -> Self {
        let taint = |event: &&crate::record::event::Event| matches!(&event.what, What::Note(note) if note.kind == NoteKind::Taint);
        let mut tally =
            Self { tainted_since: record.events.iter().find(taint).map(|event| event.at_us), ..Self::default() };
        let lanes = record.experiment.spec.load.iter();
        tally.lanes = lanes.map(|lane| (lane.name.as_str(), lane)).collect();
        tally.trouble = Trouble::of(record);
        tally.take_intervals(record, timeline);
        tally.take_losses(record, timeline);
        tally
    }

    fn take_intervals(&mut self, record: &'a Record, timeline: &Timeline<'a>) {
        let mut responses: BTreeMap<(&str, Micros), Vec<&Samples>> = BTreeMap::new();
        for interval in record.intervals.iter().rev() {
            responses.entry((&interval.lane, interval.start_us)).or_default().push(&interval.response);
        }
        for event in &record.events {
            let What::Load(counts) = &event.what else { continue };
            let phase = timeline.phase_at(counts.start_us);
            if phase.is_none() && !timeline.contradicts_itself {
                continue;
            }
            let late = counts.own_delay_us() > SEND_LAG_MAX_US;
            self.intervals += 1;
            self.late_intervals += usize::from(late);
            let end_us = counts.start_us.saturating_add(counts.length_us);
            self.slots.push(Slot {
                lane: &counts.lane,
                is_control: self.is_control(&counts.lane),
                start_us: counts.start_us,
                length_us: counts.length_us,
                phase,
                delay_us: counts.own_delay_us(),
                tainted: late
                    || self.tainted_since.is_some_and(|since| counts.start_us >= since)
                    || self.is_in_trouble(&counts.lane, counts.start_us, end_us),
                kinds: counts.by_outcome.clone(),
                described: BTreeMap::new(),
                doubtful: BTreeMap::new(),
                moved: BTreeMap::new(),
                response: responses.get_mut(&(counts.lane.as_str(), counts.start_us)).and_then(Vec::pop),
            });
        }
        // In order already where there is one lane, as a rule; sorting takes half as much memory again.
        if !self.slots.is_sorted_by_key(|slot| (slot.lane, slot.start_us)) {
            self.slots.sort_by_key(|slot| (slot.lane, slot.start_us));
        }
    }

    /// The intervals are not cut at the changes of phases, so a request that was answered has the phase in which its
    /// interval began. A lost one is known to the microsecond and has the phase in which it was due: the first loss of
    /// a fault must not pass as one before it.
    fn take_losses(&mut self, record: &'a Record, timeline: &Timeline<'a>) {
        for event in &record.events {
            let What::Lost(request) = &event.what else { continue };
            let too_early = timeline.phase_at(request.intended_us).is_none() && !timeline.contradicts_itself;
            if !request.outcome.is_lost() || too_early {
                continue;
            }
            let slot = self.slot_of(&request.lane, request.intended_us);
            let tainted = self.is_tainted(&request.lane, [request.intended_us, request.sent_us, request.ended_us]);
            let is_control = self.is_control(&request.lane);
            let why = match self.lanes.get(request.lane.as_str()) {
                Some(lane) if !tainted && !is_control => attribute(timeline, &lane.service, request),
                _ => Attribution::UNEXPLAINED,
            };
            let phase = timeline.phase_at(request.intended_us);
            let single = |tainted: bool| Slot {
                lane: &request.lane,
                is_control,
                start_us: request.intended_us,
                length_us: 0,
                phase,
                delay_us: 0,
                tainted,
                kinds: BTreeMap::from([(request.outcome, 1)]),
                described: BTreeMap::new(),
                doubtful: BTreeMap::new(),
                moved: BTreeMap::new(),
                response: None,
            };
            match slot {
                Some(at) => {
                    let of_interval = self.slots[at].tainted;
                    let elsewhere = self.slots[at].phase != phase;
                    self.slots[at].describe(request.outcome, elsewhere, tainted);
                    if elsewhere {
                        let mut own = single(of_interval);
                        own.doubtful.extend((tainted && !of_interval).then_some((request.outcome, 1)));
                        self.slots.push(own);
                    }
                }
                None => self.slots.push(single(tainted)),
            }
            self.losses.push(Loss { request, phase, is_control, tainted, why });
        }
        for slot in &mut self.slots {
            for (outcome, moved) in std::mem::take(&mut slot.moved) {
                // Not below zero: each that was moved had been counted when it was described.
                slot.kinds.entry(outcome).and_modify(|count| *count = count.saturating_sub(moved));
            }
        }
        self.losses.sort_by_key(|loss| loss.request.intended_us);
    }

    /// Whether a request of a lane, by when it was due, was sent and ended, may be slow or lost for a reason of ours.
    pub(super) fn is_tainted(&self, lane: &str, [intended, sent, ended]: [Micros; 3]) -> bool {
        sent.saturating_sub(intended) > SEND_LAG_MAX_US
            || self.slot_of(lane, intended).is_some_and(|at| self.slots[at].tainted)
            || self.tainted_since.is_some_and(|since| ended >= since)
            || self.is_in_trouble(lane, intended, ended)
    }

    fn is_control(&self, lane: &str) -> bool {
        self.lanes.get(lane).is_some_and(|lane| lane.control)
    }

    /// Whether a control lane lost requests of the same vantage somewhere between two times.
    fn is_in_trouble(&self, lane: &str, begin: Micros, end: Micros) -> bool {
        self.lanes.get(lane).is_some_and(|lane| !lane.control && self.trouble.touches(lane.from, begin, end))
    }

    /// The interval in which a request fell due. Only those of the record, which come first and are in order.
    fn slot_of(&self, lane: &str, intended: Micros) -> Option<usize> {
        let ordered = &self.slots[..self.intervals];
        let until = ordered.partition_point(|slot| (slot.lane, slot.start_us) <= (lane, intended));
        let at = until.checked_sub(1)?;
        let slot = &ordered[at];
        let inside = intended < slot.start_us.saturating_add(slot.length_us);
        (slot.lane == lane && inside).then_some(at)
    }

    /// Whether a client would have had an answer that sends again, until its timeout, what is safe to send again: one
    /// of the lane's requests that were due between the loss and that timeout was answered.
    fn is_recovered(&self, request: &LostRequest) -> bool {
        let Some(lane) = self.lanes.get(request.lane.as_str()) else { return false };
        let gives_up = request.intended_us.saturating_add(lane.timeout.micros());
        let ordered = &self.slots[..self.intervals];
        let first = ordered.partition_point(|slot| (slot.lane, slot.start_us) < (&request.lane, request.ended_us));
        request.retry_safe.allows_retry(lane.protocol.is_idempotent())
            && ordered[first..]
                .iter()
                .take_while(|slot| slot.lane == request.lane && slot.start_us < gives_up)
                .any(|slot| slot.kinds.get(&Outcome::Ok).is_some_and(|ok| *ok > 0))
    }

    /// The requests of a scope.
    #[must_use]
    pub fn requests(&self, scope: Scope<'_>) -> Requests {
        let mut requests = Requests::default();
        for slot in self.slots.iter().filter(|slot| scope.takes(slot.lane, slot.is_control, slot.phase, slot.tainted)) {
            for (kind, count) in &slot.kinds {
                let doubtful = if scope.untainted { slot.doubtful.get(kind).copied().unwrap_or(0) } else { 0 };
                let count = count.saturating_sub(doubtful);
                match kind {
                    Outcome::Ok => requests.ok = requests.ok.saturating_add(count),
                    Outcome::NotSent => requests.unsent = requests.unsent.saturating_add(count),
                    lost if count > 0 => {
                        let sum = requests.by_kind.entry(*lost).or_default();
                        *sum = sum.saturating_add(count);
                    }
                    _ => {}
                }
            }
        }
        let mut recovered: u64 = 0;
        for loss in self.losses(scope) {
            recovered += u64::from(self.is_recovered(loss.request));
            requests.lost_tainted += u64::from(loss.tainted);
            *requests.by_cause.entry(loss.why.cause.as_str().to_owned()).or_default() += 1;
        }
        requests.lost = requests.by_kind.values().fold(0, |sum, count| sum.saturating_add(*count));
        requests.lost_after_retry = requests.lost.saturating_sub(recovered);
        requests.sent = requests.ok.saturating_add(requests.lost);
        let described: u64 = requests.by_cause.values().sum();
        if requests.lost > described {
            let unexplained = requests.by_cause.entry(Cause::Unexplained.as_str().to_owned()).or_default();
            *unexplained += requests.lost - described;
        }
        requests.loss_bound_95 = (requests.sent > 0).then(|| upper_95(requests.lost, requests.sent));
        requests
    }

    /// The lost requests of a scope that are described one by one.
    pub fn losses<'t>(&'t self, scope: Scope<'t>) -> impl Iterator<Item = &'t Loss<'a>> {
        self.losses
            .iter()
            .filter(move |loss| scope.takes(&loss.request.lane, loss.is_control, loss.phase, loss.tainted))
    }

    /// The intervals that prove nothing, those that touch and have the same reason put together; by lane and time.
    #[must_use]
    pub fn stretches(&self) -> Vec<Stretch<'a>> {
        let mut stretches: Vec<Stretch<'a>> = Vec::new();
        for slot in self.slots[..self.intervals].iter().filter(|slot| slot.tainted) {
            let by = if slot.delay_us > SEND_LAG_MAX_US {
                TaintedBy::OwnDelay
            } else if self.tainted_since.is_some_and(|since| slot.start_us >= since) {
                TaintedBy::Note
            } else {
                TaintedBy::Control
            };
            let to_us = slot.start_us.saturating_add(slot.length_us.max(0));
            match stretches.last_mut() {
                Some(last) if (last.lane, last.by) == (slot.lane, by) && slot.start_us <= last.to_us => {
                    last.to_us = last.to_us.max(to_us);
                    last.delay_us = last.delay_us.max(slot.delay_us);
                }
                _ => stretches.push(Stretch {
                    lane: slot.lane,
                    from_us: slot.start_us,
                    to_us,
                    delay_us: slot.delay_us,
                    by,
                }),
            }
        }
        stretches
    }

    /// How late we were at most with a request of a lane, in sending it or in seeing its answer, in microseconds.
    #[must_use]
    pub fn delay_max_us(&self, lane: &str) -> i64 {
        let of_lane = self.slots.iter().filter(|slot| slot.lane == lane);
        of_lane.map(|slot| slot.delay_us).max().unwrap_or(0).max(0)
    }

    /// How much time the intervals of a lane cover, in microseconds.
    #[must_use]
    pub fn covered_us(&self, lane: &str) -> i64 {
        let of_lane = self.slots.iter().filter(|slot| slot.lane == lane);
        of_lane.fold(0, |sum, slot| sum.saturating_add(slot.length_us.max(0)))
    }

    /// The response times of a scope.
    #[must_use]
    pub fn response(&self, scope: Scope<'_>) -> Samples {
        let wanted = self.slots.iter().filter(|slot| scope.takes(slot.lane, slot.is_control, slot.phase, slot.tainted));
        Samples::merged(wanted.filter_map(|slot| slot.response))
    }

    /// The intervals of a scope with requests that took longer than so many microseconds, by their start.
    #[must_use]
    pub fn slow(&self, scope: Scope<'_>, most_us: u64) -> Vec<Slow<'a>> {
        let over = |samples: &Samples| {
            let late = samples.iter().filter(|(value, _)| *value > most_us);
            late.fold(0_u64, |sum, (_, count)| sum.saturating_add(count))
        };
        let wanted = self.slots.iter().filter(|slot| scope.takes(slot.lane, slot.is_control, slot.phase, slot.tainted));
        let mut slow: Vec<Slow> = wanted
            .filter_map(|slot| {
                let over = slot.response.map_or(0, over);
                let end_us = slot.start_us.saturating_add(slot.length_us);
                (over > 0).then_some(Slow { lane: slot.lane, start_us: slot.start_us, end_us, phase: slot.phase, over })
            })
            .collect();
        slow.sort_by_key(|slot| slot.start_us);
        slow
    }

    /// The names of all lanes that have requests.
    #[must_use]
    pub fn lanes(&self) -> Vec<&'a str> {
        let mut lanes: Vec<&str> = self.slots.iter().map(|slot| slot.lane).collect();
        lanes.sort_unstable();
        lanes.dedup();
        lanes
    }
}

/// Percentiles in milliseconds.
#[must_use]
pub fn latency(samples: &Samples) -> Latency {
    let at = |quantile: f64| samples.value_at_quantile(quantile) as f64 / 1_000.0;
    Latency { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: samples.max() as f64 / 1_000.0 }
}
