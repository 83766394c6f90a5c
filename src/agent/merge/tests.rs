use std::num::NonZeroU32;

use hdrhistogram::Histogram;
use indexmap::IndexMap;
use proptest::prelude::*;

use super::*;
use crate::{
    agent::tests::{lane, lost},
    load::lane::Share,
    record::{
        event::PodAnswers,
        samples::{SIGNIFICANT_DIGITS, Samples},
    },
};

const RATE: f64 = 90.0;

/// As a load core makes one: no larger than its samples need.
fn histogram(values: &[u64]) -> Histogram<u64> {
    let highest = values.iter().copied().max().unwrap_or(1).max(2);
    let mut histogram = Histogram::new_with_bounds(1, highest, SIGNIFICANT_DIGITS).unwrap();
    histogram.auto(true);
    for value in values {
        histogram.record(*value).unwrap();
    }
    histogram
}

/// All of a pod; their first and last times are what makes them differ.
fn answers(values: &[u64]) -> PodAnswers {
    let time = |value: Option<&u64>| value.and_then(|value| i64::try_from(*value).ok());
    PodAnswers {
        answered: values.len() as u64,
        new_connections: 1,
        first_us: time(values.iter().min()),
        last_us: time(values.iter().max()),
    }
}

fn interval(start_us: Micros, values: &[u64]) -> Said {
    let counts = LaneInterval {
        lane: "new".to_owned(),
        start_us,
        length_us: 100_000,
        by_outcome: BTreeMap::from([(Outcome::Ok, values.len() as u64)]),
        connections_opened: 2,
        closed_politely: 1,
        send_lag_max_us: start_us / 1_000 + i64::try_from(values.len()).unwrap(),
        by_pod: IndexMap::from([("pod-a".to_owned(), answers(values))]),
        stalled_us: 5,
    };
    let (response, service) = (histogram(values), histogram(values));
    Said::Load(LoadMessage::Interval(Box::new(ClosedInterval { counts, response, service })))
}

struct Merging {
    merger: Merger,
    passed: mpsc::UnboundedReceiver<LoadMessage>,
}

impl Merging {
    /// Of so many agents that send a lane of 90 requests a second from 1 s on: 9 in each interval, dealt out in turn.
    fn of(agents: u32) -> Self {
        let (messages, passed) = mpsc::unbounded_channel();
        let all = Share::all(NonZeroU32::new(agents).unwrap()).map(|share| vec![lane("new", RATE).shared(share)]);
        Self { merger: Merger::new(&all.collect::<Vec<_>>(), 1_000_000, messages), passed }
    }

    fn passed(&mut self) -> Vec<ClosedInterval> {
        std::iter::from_fn(|| self.passed.try_recv().ok())
            .filter_map(|message| match message {
                LoadMessage::Interval(interval) => Some(*interval),
                _ => None,
            })
            .collect()
    }

    /// What passed on: start, answered and not sent.
    fn counts(&mut self) -> Vec<(Micros, u64, u64)> {
        let of = |interval: &ClosedInterval, outcome| interval.counts.by_outcome.get(&outcome).copied().unwrap_or(0);
        let one = |interval: &ClosedInterval| {
            (interval.counts.start_us, of(interval, Outcome::Ok), of(interval, Outcome::NotSent))
        };
        self.passed().iter().map(one).collect()
    }

    /// The end of all followers, and what passes on then.
    fn finish(self) -> Vec<(Micros, u64, u64)> {
        let Self { merger, passed } = self;
        merger.finish();
        let mut after = Self::of(1);
        after.passed = passed;
        after.counts()
    }
}

#[test]
fn an_interval_waits_for_the_last_agent_and_is_the_sum_of_all() {
    let mut merging = Merging::of(3);
    merging.merger.take(1, interval(1_000_000, &[10, 20]));
    merging.merger.take(0, interval(1_000_000, &[5]));
    merging.merger.take(0, interval(1_100_000, &[7]));
    assert!(merging.passed().is_empty(), "one agent has not told");
    merging.merger.take(2, interval(1_000_000, &[90_000, 20, 1]));
    let passed = merging.passed();
    assert_eq!(passed.len(), 1);
    let counts = LaneInterval {
        lane: "new".to_owned(),
        start_us: 1_000_000,
        length_us: 100_000,
        by_outcome: BTreeMap::from([(Outcome::Ok, 6)]),
        connections_opened: 6,
        closed_politely: 3,
        send_lag_max_us: 1_003,
        by_pod: IndexMap::from([(
            "pod-a".to_owned(),
            PodAnswers { answered: 6, new_connections: 3, first_us: Some(1), last_us: Some(90_000) },
        )]),
        stalled_us: 5,
    };
    assert_eq!(passed[0].counts, counts);
    assert_eq!(Samples::from(&passed[0].response), Samples::from(&histogram(&[1, 5, 10, 20, 20, 90_000])));
}

#[test]
fn losses_and_notes_go_on_at_once() {
    let mut merging = Merging::of(2);
    merging.merger.take(1, Said::Load(lost("new", 7)));
    assert!(matches!(merging.passed.try_recv(), Ok(LoadMessage::Lost(_))));
}

#[test]
fn the_last_interval_of_each_may_be_cut_off_elsewhere() {
    let mut merging = Merging::of(2);
    merging.merger.take(0, interval(1_000_000, &[1]));
    merging.merger.take(1, interval(1_000_000, &[1]));
    merging.merger.take(1, interval(1_100_000, &[1]));
    assert_eq!(merging.counts(), [(1_000_000, 2, 0)]);
    merging.merger.take(0, Said::Over { at_us: 1_100_000 });
    assert_eq!(merging.counts(), [(1_100_000, 1, 0)], "nothing more comes of the other");
    assert_eq!(merging.finish(), []);
}

/// The known-bad twin: of nine requests in each interval, the dead one had every third.
#[test]
fn what_a_dead_agent_did_not_tell_of_is_unsent_and_the_others_go_on() {
    let mut merging = Merging::of(3);
    for agent in 0..3 {
        merging.merger.take(agent, interval(1_000_000, &[1; 3]));
    }
    for agent in [0, 1] {
        merging.merger.take(agent, interval(1_100_000, &[1; 3]));
    }
    assert_eq!(merging.counts(), [(1_000_000, 9, 0)]);
    merging.merger.take(2, Said::Died);
    assert_eq!(merging.counts(), [(1_100_000, 6, 3)], "what waited for it goes on at once");
    for agent in [0, 1] {
        merging.merger.take(agent, interval(1_200_000, &[1; 3]));
    }
    assert_eq!(merging.counts(), [(1_200_000, 6, 3)]);
    for agent in 0..3 {
        merging.merger.take(agent, Said::Over { at_us: 1_300_000 });
    }
    assert_eq!(merging.finish(), []);
}

#[test]
fn when_all_have_died_everything_up_to_the_end_is_unsent() {
    let mut merging = Merging::of(2);
    merging.merger.take(0, interval(1_000_000, &[1; 5]));
    merging.merger.take(0, Said::Died);
    merging.merger.take(1, Said::Died);
    assert_eq!(merging.counts(), [(1_000_000, 5, 4)], "the other told of nothing");
    merging.merger.take(0, Said::Over { at_us: 1_250_000 });
    merging.merger.take(1, Said::Over { at_us: 1_250_000 });
    // The request at 1.2 s and those 11.1 ms apart after it.
    assert_eq!(merging.finish(), [(1_100_000, 0, 9), (1_200_000, 0, 5)]);
}

#[test]
fn a_follower_that_broke_off_holds_nothing_back_in_the_end() {
    let mut merging = Merging::of(2);
    merging.merger.take(0, interval(1_000_000, &[1; 5]));
    assert_eq!(merging.finish(), [(1_000_000, 5, 0)]);
}

proptest! {
    /// However the requests are dealt out, what passes on has the values, and so every percentile, of one histogram.
    #[test]
    fn merged_histograms_are_bit_for_bit_one_that_holds_all(
        parts in prop::collection::vec(prop::collection::vec(1u64..300_000_000, 0..60), 1..6),
    ) {
        let mut merging = Merging::of(u32::try_from(parts.len()).unwrap());
        for (agent, values) in parts.iter().enumerate() {
            merging.merger.take(agent, interval(1_000_000, values));
        }
        let passed = merging.passed();
        let all = parts.concat();
        let mut whole = empty_histogram().unwrap();
        for value in &all {
            whole.record(*value).unwrap();
        }
        prop_assert_eq!(passed.len(), 1);
        prop_assert_eq!(passed[0].counts.by_outcome.get(&Outcome::Ok), Some(&(all.len() as u64)));
        for merged in [&passed[0].response, &passed[0].service] {
            prop_assert_eq!(Samples::from(merged), Samples::from(&whole));
            for quantile in [0.5, 0.9, 0.99, 0.999, 1.0] {
                prop_assert_eq!(merged.value_at_quantile(quantile), whole.value_at_quantile(quantile));
            }
        }
    }
}
