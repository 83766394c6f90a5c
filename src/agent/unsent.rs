//! What an agent that died did not send. Those requests fell due and nobody asked the service: they are *not sent*, for
//! a reason of ours, and never lost by the service.

use crate::{
    load::{lane::LaneSpec, schedule::Schedule},
    record::event::Micros,
};

/// When the requests of one agent's lane fall due, on the run's clock.
#[derive(Debug, Clone)]
pub(super) struct Dues {
    // Nothing for a lane without a rate, of which nothing falls due by itself.
    schedule: Option<Schedule>,
    begin_us: Micros,
}

impl Dues {
    /// Of the lane `index` of an agent's `lanes`, which begins at a time of the run's clock.
    pub(super) fn of(spec: &LaneSpec, index: usize, lanes: usize, begin_us: Micros) -> Self {
        let options = &spec.options;
        let schedule = Schedule::new(0, spec.rate_per_second, &options.shape, options.share, index, lanes);
        Self { schedule, begin_us }
    }

    /// How many fall due from one time of the run's clock on and before another.
    pub(super) fn between(&self, from_us: Micros, to_us: Micros) -> u64 {
        let Some(schedule) = &self.schedule else { return 0 };
        let before = |at_us: Micros| {
            let since_us = u64::try_from(at_us.saturating_sub(self.begin_us)).unwrap_or(0);
            schedule.due_before(since_us.saturating_mul(1_000))
        };
        before(to_us).saturating_sub(before(from_us))
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::{
        agent::tests::lane,
        load::lane::{Shape, Share},
    };

    #[test]
    fn what_falls_due_in_a_stretch_of_time_has_its_begin_and_not_its_end() {
        let dues = Dues::of(&lane("new", 25.0), 0, 1, 1_000_000);
        for (from_us, to_us, wanted) in [
            (1_000_000, 1_000_000, 0),
            (1_000_000, 1_000_001, 1),
            (1_000_001, 1_040_000, 0),
            (1_000_000, 2_000_000, 25),
            (2_000_000, 3_030_000, 26),
            (0, 1_000_000, 0),
            (3_000_000, 2_000_000, 0),
        ] {
            assert_eq!(dues.between(from_us, to_us), wanted, "{from_us} to {to_us}");
        }
    }

    #[test]
    fn the_shares_of_a_lane_miss_together_what_the_whole_lane_would() {
        let whole = lane("new", 37.0);
        let missed = |spec: &LaneSpec| Dues::of(spec, 1, 2, 0).between(123_456, 7_654_321);
        let shares = Share::all(NonZeroU32::new(3).unwrap());
        let each: Vec<u64> = shares.map(|share| missed(&whole.shared(share))).collect();
        assert_eq!(each.iter().sum::<u64>(), missed(&whole), "{each:?}");
        assert!(each.iter().all(|one| (92..=93).contains(one)), "{each:?}");
    }

    #[test]
    fn of_a_lane_without_a_rate_nothing_falls_due_by_itself() {
        let mut spec = lane("max", 1.0);
        spec.options.shape = Shape::Max;
        assert_eq!(Dues::of(&spec, 0, 1, 0).between(0, 1_000_000), 0);
    }
}
