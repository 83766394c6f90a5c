//! What the lanes of an agent that died did not send. Those requests fell due and nobody asked the service: they are
//! *not sent*, for a reason of ours, and never lost by the service.

use std::collections::BTreeMap;

use hdrhistogram::{CreationError, Histogram};

use crate::{
    load::{
        lane::LaneSpec,
        message::{ClosedInterval, LoadMessage},
        rates::Rates,
    },
    record::{
        event::{INTERVAL_US, LaneInterval, Micros, Outcome},
        samples::empty_histogram,
    },
};

/// Up to when each lane has told what became of its requests.
#[derive(Debug, Clone)]
pub(super) struct Coverage {
    lanes: BTreeMap<String, Covered>,
    empty: Histogram<u64>,
}

#[derive(Debug, Clone)]
struct Covered {
    // Nothing for a lane without a rate, of which nothing falls due by itself.
    rates: Option<Rates>,
    begin_us: Micros,
    until_us: Micros,
}

impl Coverage {
    /// Nothing is told yet of lanes that begin at a time of the run's clock.
    pub(super) fn from(lanes: &[LaneSpec], begin_us: Micros) -> Result<Self, CreationError> {
        let rates = |lane: &LaneSpec| Rates::new(lane.rate_per_second, &lane.options.shape);
        let covered = |lane: &LaneSpec| Covered { rates: rates(lane), begin_us, until_us: begin_us };
        Ok(Self {
            lanes: lanes.iter().map(|lane| (lane.name.clone(), covered(lane))).collect(),
            empty: empty_histogram()?,
        })
    }

    /// An interval has come, in times of the run's clock.
    pub(super) fn cover(&mut self, interval: &LaneInterval) {
        if let Some(lane) = self.lanes.get_mut(&interval.lane) {
            lane.until_us = lane.until_us.max(interval.start_us + interval.length_us);
        }
    }

    /// The requests of each lane that fell due from there on to a time of the run's clock, none of them sent, as
    /// intervals of the usual length.
    pub(super) fn unsent_until(&self, end_us: Micros) -> Vec<LoadMessage> {
        let mut messages = Vec::new();
        for (name, lane) in &self.lanes {
            let due_at = |at_us: Micros| due_before(lane.rates.as_ref(), at_us - lane.begin_us);
            let mut start_us = lane.until_us;
            while start_us < end_us {
                let stop_us = (start_us + INTERVAL_US).min(end_us);
                let due = due_at(stop_us) - due_at(start_us);
                let counts = LaneInterval {
                    lane: name.clone(),
                    start_us,
                    length_us: stop_us - start_us,
                    by_outcome: BTreeMap::from([(Outcome::NotSent, due)]),
                    ..LaneInterval::default()
                };
                messages.push(LoadMessage::Interval(Box::new(ClosedInterval {
                    counts,
                    response: self.empty.clone(),
                    service: self.empty.clone(),
                })));
                start_us = stop_us;
            }
        }
        messages
    }
}

/// Requests that fall due in a stretch of time, the first of them at its start.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count: not negative, far below 2^52")]
fn due_before(rates: Option<&Rates>, length_us: i64) -> u64 {
    rates.map_or(0, |rates| rates.count(length_us.max(0) as f64 / 1e6).ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::tests::lane;

    fn intervals(coverage: &Coverage, end_us: Micros) -> Vec<LaneInterval> {
        let counts = |message: LoadMessage| match message {
            LoadMessage::Interval(interval) => interval.counts,
            other => panic!("not an interval: {other:?}"),
        };
        coverage.unsent_until(end_us).into_iter().map(counts).collect()
    }

    #[test]
    fn what_falls_due_after_the_last_interval_is_unsent_and_nothing_else() {
        let mut coverage = Coverage::from(&[lane("new", 25.0)], 1_000_000).unwrap();
        let told = LaneInterval { lane: "new".into(), start_us: 1_900_000, length_us: 100_000, ..Default::default() };
        coverage.cover(&told);
        let unsent = intervals(&coverage, 3_030_000);
        assert_eq!(unsent.first().map(|one| one.start_us), Some(2_000_000));
        assert_eq!(unsent.last().map(|one| (one.start_us, one.length_us)), Some((3_000_000, 30_000)));
        assert!(unsent.iter().all(|one| one.by_outcome.keys().all(|kind| *kind == Outcome::NotSent)));
        let due: u64 = unsent.iter().map(|one| one.by_outcome[&Outcome::NotSent]).sum();
        assert_eq!(due, 26, "25 in the second, and the one at its end");
    }

    #[test]
    fn an_agent_that_told_everything_leaves_nothing_unsent() {
        let mut coverage = Coverage::from(&[lane("new", 25.0)], 0).unwrap();
        let told = LaneInterval { lane: "new".into(), start_us: 0, length_us: 500_000, ..Default::default() };
        coverage.cover(&told);
        assert!(intervals(&coverage, 500_000).is_empty());
        assert!(!intervals(&coverage, 500_001).is_empty());
    }
}
