//! The conditions of `abort` that the load itself can meet: shares of lost requests and percentiles of the last while.
//! Pure: it is fed with each closed interval and says when a run must stop.

use std::collections::VecDeque;

use hdrhistogram::Histogram;

use crate::{
    experiment::{
        guards::{AbortLatency, AbortLost, AbortWhen},
        schema::{Lane, Phase},
    },
    load::message::ClosedInterval,
    record::event::{Micros, Outcome},
};

/// The conditions, each with the requests of its last while.
#[derive(Debug, Default)]
pub struct Vitals {
    conditions: Vec<(Condition, VecDeque<Piece>)>,
    controls: Vec<String>,
    listening: bool,
}

#[derive(Debug)]
enum Condition {
    Lost(AbortLost),
    Latency(AbortLatency),
}

/// What one interval of one lane adds to a while.
#[derive(Debug)]
struct Piece {
    start_us: Micros,
    end_us: Micros,
    sent: u64,
    lost: u64,
    response: Option<Histogram<u64>>,
}

impl Condition {
    fn over_us(&self) -> i64 {
        let (Self::Lost(AbortLost { over, .. }) | Self::Latency(AbortLatency { over, .. })) = self;
        i64::try_from(over.duration().as_micros()).unwrap_or(i64::MAX)
    }

    fn is_about(&self, lane: &str, is_control: bool) -> bool {
        let (Self::Lost(AbortLost { lane: wanted, .. }) | Self::Latency(AbortLatency { lane: wanted, .. })) = self;
        wanted.as_deref().map_or(!is_control, |wanted| wanted == lane)
    }

    /// Why the run must stop, where it must.
    fn met(&self, pieces: &VecDeque<Piece>) -> Option<String> {
        let sent: u64 = pieces.iter().map(|piece| piece.sent).sum();
        match self {
            Self::Lost(AbortLost { above, over, lane }) => {
                let lost: u64 = pieces.iter().map(|piece| piece.lost).sum();
                let share = lost as f64 / sent.max(1) as f64;
                (share > above.fraction()).then(|| {
                    let of = of_lane(lane.as_deref());
                    format!(
                        "{lost} of the {sent} requests{of} of the last {over} were lost, which is more than {above}"
                    )
                })
            }
            Self::Latency(AbortLatency { percentile, above, over, lane }) => {
                let mut all = Histogram::<u64>::new(3).ok()?;
                for histogram in pieces.iter().filter_map(|piece| piece.response.as_ref()) {
                    // Both have three digits, and this one grows.
                    all.add(histogram).ok()?;
                }
                let micros = all.value_at_quantile(percentile.quantile());
                (!all.is_empty() && i128::from(micros) > i128::from(above.micros())).then(|| {
                    let of = of_lane(lane.as_deref());
                    let name = format!("{percentile:?}").to_lowercase();
                    format!(
                        "{name} of the requests{of} of the last {over} was {} ms, which is more than {above}",
                        micros / 1_000
                    )
                })
            }
        }
    }
}

fn of_lane(lane: Option<&str>) -> String {
    lane.map_or_else(String::new, |lane| format!(" of lane {lane}"))
}

impl Vitals {
    /// Those of the conditions that the load can meet. Control lanes count only where one is named.
    #[must_use]
    pub fn new(abort: &[AbortWhen], lanes: &[Lane]) -> Self {
        let controls = lanes.iter().filter(|lane| lane.control).map(|lane| lane.name.clone()).collect();
        let conditions = abort.iter().filter_map(|when| match when {
            AbortWhen::Lost(lost) => Some(Condition::Lost(lost.clone())),
            AbortWhen::Latency(latency) => Some(Condition::Latency(latency.clone())),
            AbortWhen::Http(_) | AbortWhen::Prometheus(_) => None,
        });
        let conditions = conditions.map(|condition| (condition, VecDeque::new())).collect();
        Self { conditions, controls, listening: false }
    }

    /// A phase begins. Before the first the service need not be steady, and from the undo on there is nothing to stop.
    pub fn phase(&mut self, phase: Phase) {
        self.listening = matches!(phase, Phase::Before | Phase::Fault);
    }

    /// Why the run must stop, as soon as a while is so that it must.
    pub fn interval(&mut self, interval: &ClosedInterval) -> Option<String> {
        if !self.listening {
            return None;
        }
        let counts = &interval.counts;
        let due: u64 = counts.by_outcome.values().sum();
        let not_sent = counts.by_outcome.get(&Outcome::NotSent).copied().unwrap_or_default();
        let sent = due - not_sent;
        let lost = sent - counts.by_outcome.get(&Outcome::Ok).copied().unwrap_or_default();
        let end_us = counts.start_us.saturating_add(counts.length_us);
        let mut first = None;
        let is_control = self.controls.contains(&counts.lane);
        for (condition, pieces) in &mut self.conditions {
            if !condition.is_about(&counts.lane, is_control) {
                continue;
            }
            let response = matches!(condition, Condition::Latency(_)).then(|| interval.response.clone());
            pieces.push_back(Piece { start_us: counts.start_us, end_us, sent, lost, response });
            let since = end_us.saturating_sub(condition.over_us());
            let whole = pieces.front().is_some_and(|piece| piece.start_us <= since);
            pieces.retain(|piece| piece.end_us > since);
            // A while that is not over yet says little: a single loss would be all of it.
            if whole && first.is_none() {
                first = condition.met(pieces);
            }
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::record::event::LaneInterval;

    fn vitals(abort: serde_json::Value) -> Vitals {
        let mut vitals = Vitals::new(&serde_json::from_value::<Vec<AbortWhen>>(abort).unwrap(), &[]);
        vitals.phase(Phase::Before);
        vitals
    }

    fn interval(number: i64, ok: u64, lost: u64, response_us: u64) -> ClosedInterval {
        let mut response = Histogram::new(3).unwrap();
        response.record_n(response_us, ok + lost).unwrap();
        ClosedInterval {
            counts: LaneInterval {
                lane: "a".to_owned(),
                start_us: number * 100_000,
                length_us: 100_000,
                by_outcome: [(Outcome::Ok, ok), (Outcome::Refused, lost), (Outcome::NotSent, 5)].into(),
                ..LaneInterval::default()
            },
            response: response.clone(),
            service: response,
        }
    }

    #[test]
    fn losses_count_over_a_whole_while_and_what_was_not_sent_does_not() {
        let mut vitals = vitals(json!([{"lost": {"above": "50%", "over": "1s"}}]));
        // Ten intervals without a loss, then only losses: more than half of a second after five and a bit of those.
        for number in 0..10 {
            assert_eq!(vitals.interval(&interval(number, 10, 0, 1_000)), None);
        }
        let met = (10..20).find(|number| vitals.interval(&interval(*number, 0, 10, 1_000)).is_some());
        assert_eq!(met, Some(15));
    }

    #[test]
    fn the_first_loss_of_a_run_is_not_a_whole_while() {
        let mut vitals = vitals(json!([{"lost": {"above": "10%", "over": "1s"}}]));
        assert_eq!(vitals.interval(&interval(0, 0, 10, 1_000)), None);
    }

    #[test]
    fn a_control_lane_stops_nothing() {
        let lane = json!([{"name": "a", "from": "inside", "service": "s", "rate": "1/s", "connections": "new",
            "control": true}]);
        let abort = json!([{"lost": {"above": "10%", "over": "300ms"}}]);
        let (abort, lanes): (Vec<AbortWhen>, Vec<Lane>) =
            (serde_json::from_value(abort).unwrap(), serde_json::from_value(lane).unwrap());
        for (lanes, stops) in [(&lanes[..], false), (&[], true)] {
            let mut vitals = Vitals::new(&abort, lanes);
            vitals.phase(Phase::Fault);
            let met = (0..9).any(|number| vitals.interval(&interval(number, 0, 10, 1_000)).is_some());
            assert_eq!(met, stops);
        }
    }

    #[test]
    fn a_percentile_counts_and_only_of_its_lane() {
        let abort = json!([{"latency": {"percentile": "p90", "above": "100ms", "over": "300ms"}}]);
        let run = |abort: serde_json::Value, response_us| {
            let mut vitals = vitals(abort);
            (0..5).find_map(|number| vitals.interval(&interval(number, 10, 0, response_us)))
        };
        assert_eq!(run(abort.clone(), 99_000), None);
        let why = run(abort, 150_000).unwrap();
        assert!(why.starts_with("p90 of the requests of the last 300ms was 150 ms"), "{why}");
        let other = json!([{"latency": {"percentile": "p90", "above": "100ms", "over": "300ms", "lane": "b"}}]);
        assert_eq!(run(other, 150_000), None);
    }

    #[test]
    fn from_the_undo_on_nothing_stops_the_run() {
        let mut vitals = vitals(json!([{"lost": {"above": "0%", "over": "100ms"}}]));
        vitals.phase(Phase::Undo);
        assert!((0..5).all(|number| vitals.interval(&interval(number, 0, 10, 1_000)).is_none()));
    }
}
