//! When each request of a lane is due, as a pure function of its number.
//!
//! The open loop rests on this: a request's intended moment never depends on what became of the ones before, and it
//! is computed from its number rather than by adding a period up, so that a long run does not drift.

use super::{
    rates::{Rates, Shape},
    share::Share,
};

/// The highest rate of one generator's lane, in requests per second; beyond it one generator thread cannot keep to its
/// plan.
pub const RATE_MAX: f64 = 100_000.0;

const NANOS_PER_SECOND: f64 = 1e9;

/// The plan of one lane. Times are nanoseconds of the generator's clock.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    start_ns: u64,
    rates: Rates,
    share: Share,
}

impl Schedule {
    /// The plan of lane `index` of `lanes`, none of which begins before `start_ns`. Lanes of one rate are spread
    /// evenly over the period, so that they do not all fire at the same instant. It is the plan of a `share` of the lane.
    ///
    /// Nothing when the share's rate is not above zero and at most [`RATE_MAX`], or its shape cannot be.
    #[must_use]
    pub fn new(
        start_ns: u64,
        rate_per_second: f64,
        shape: &Shape,
        share: Share,
        index: usize,
        lanes: usize,
    ) -> Option<Self> {
        let rate_max = RATE_MAX * f64::from(share.of().get());
        let rates = Rates::new(rate_per_second, shape).filter(|rates| rates.highest() <= rate_max)?;
        let offset = index as f64 / lanes.max(1) as f64;
        Some(Self { start_ns: start_ns + nanos(offset / rates.highest()), rates, share })
    }

    /// When request `n` of the share, counted from 0, is due: when the rate has let those of the lane before it fall
    /// due; for a whole lane of a constant rate, at start + n / rate.
    #[must_use]
    pub fn due_ns(&self, n: u64) -> u64 {
        self.whole_due_ns(self.share.number(n))
    }

    /// How many of the share's requests are due before a moment: exactly those of which [`Self::due_ns`] says so.
    #[must_use]
    pub fn due_before(&self, moment_ns: u64) -> u64 {
        let seconds = moment_ns.saturating_sub(self.start_ns) as f64 / NANOS_PER_SECOND;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count: not negative, far below 2^52"
        )]
        let mut due = self.rates.count(seconds) as u64;
        // The count and the moments are rounded each in its own way.
        while due > 0 && self.whole_due_ns(due - 1) >= moment_ns {
            due -= 1;
        }
        while self.whole_due_ns(due) < moment_ns {
            due += 1;
        }
        self.share.of_first(due)
    }

    /// When request `n` of the whole lane is due.
    fn whole_due_ns(&self, n: u64) -> u64 {
        self.start_ns.saturating_add(nanos(self.rates.seconds(n as f64)))
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "never negative, and below 2^53 for the first hundred days"
)]
fn nanos(seconds: f64) -> u64 {
    (seconds * NANOS_PER_SECOND).round() as u64
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    const START: u64 = 1_000_000_000;

    #[test]
    fn a_request_is_due_at_start_plus_n_over_rate() {
        for (rate, n, wanted_ns) in [
            (200.0, 0, 0),
            (200.0, 1, 5_000_000),
            (3.0, 1, 333_333_333),
            (3.0, 2, 666_666_667),
            (3.0, 3, 1_000_000_000),
            (0.5, 1, 2_000_000_000),
            (10_000.0, 10_000 * 3_600, 3_600_000_000_000),
            (7.0, 7 * 86_400, 86_400_000_000_000),
        ] {
            let schedule = Schedule::new(START, rate, &Shape::Constant, Share::default(), 0, 1).expect("a valid rate");
            assert_eq!(schedule.due_ns(n), START + wanted_ns, "request {n} at {rate}/s");
        }
    }

    #[test]
    fn lanes_of_one_rate_share_the_period_evenly() {
        let first_dues: Vec<u64> = (0..4)
            .map(|index| {
                Schedule::new(START, 100.0, &Shape::Constant, Share::default(), index, 4)
                    .expect("a valid rate")
                    .due_ns(0)
                    - START
            })
            .collect();
        assert_eq!(first_dues, [0, 2_500_000, 5_000_000, 7_500_000]);
    }

    #[test]
    fn a_rate_that_cannot_be_kept_has_no_schedule() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, RATE_MAX * 1.01] {
            assert_eq!(Schedule::new(START, rate, &Shape::Constant, Share::default(), 0, 1), None, "{rate}/s");
        }
        assert!(Schedule::new(START, RATE_MAX, &Shape::Constant, Share::default(), 0, 1).is_some());
    }

    /// The schedules of all shares of a lane of this rate, the second of three lanes.
    fn shared(rate: f64, shape: &Shape, of: u32) -> Vec<Schedule> {
        let plan = |share| Schedule::new(START, rate, shape, share, 1, 3).expect("a valid rate");
        Share::all(NonZeroU32::new(of).unwrap()).map(plan).collect()
    }

    fn shapes() -> [Shape; 3] {
        let ramp = Shape::Ramp { from_per_second: 10.0, over_us: 700_000 };
        [Shape::Constant, ramp, Shape::SawTooth { from_per_second: 0.0, every_us: 300_000 }]
    }

    #[test]
    fn the_shares_of_a_lane_are_together_its_one_schedule() {
        for shape in shapes() {
            for of in [2, 3, 7] {
                let whole = shared(333.0, &shape, 1);
                let wanted: Vec<u64> = (0..210).map(|n| whole[0].due_ns(n)).collect();
                let shares = shared(333.0, &shape, of);
                let mut together: Vec<u64> =
                    shares.iter().flat_map(|share| (0..210 / u64::from(of)).map(|n| share.due_ns(n))).collect();
                together.sort_unstable();
                assert_eq!(together, wanted, "{shape:?} by {of}");
            }
        }
    }

    #[test]
    fn what_is_due_before_a_moment_is_what_the_moments_say() {
        for shape in shapes() {
            for of in [1, 3] {
                for share in shared(333.0, &shape, of) {
                    for n in 0..100 {
                        let due_ns = share.due_ns(n);
                        assert_eq!(share.due_before(due_ns), n, "{shape:?} by {of}: {n} at its moment");
                        assert_eq!(share.due_before(due_ns + 1), n + 1, "{shape:?} by {of}: {n} right after it");
                    }
                    assert_eq!(share.due_before(0), 0);
                }
            }
        }
    }

    #[test]
    fn the_highest_rate_is_that_of_each_generator() {
        let plan = |rate, of| Schedule::new(0, rate, &Shape::Constant, Share::all(of).last().unwrap(), 0, 1);
        let three = NonZeroU32::new(3).unwrap();
        assert!(plan(RATE_MAX * 3.0, three).is_some());
        assert!(plan(RATE_MAX * 3.01, three).is_none());
    }
}
