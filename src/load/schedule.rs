//! When each request of a lane is due, as a pure function of its number.
//!
//! The open loop rests on this: a request's intended moment never depends on what became of the ones before, and it
//! is computed from its number rather than by adding a period up, so that a long run does not drift.

use super::rates::{Rates, Shape};

/// The highest rate of one lane, in requests per second; beyond it one generator thread cannot keep to its plan.
pub const RATE_MAX: f64 = 100_000.0;

const NANOS_PER_SECOND: f64 = 1e9;

/// The plan of one lane. Times are nanoseconds of the generator's clock.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    start_ns: u64,
    rates: Rates,
}

impl Schedule {
    /// The plan of lane `index` of `lanes`, none of which begins before `start_ns`. Lanes of one rate are spread
    /// evenly over the period, so that they do not all fire at the same instant.
    ///
    /// Nothing when the rate is not above zero and at most [`RATE_MAX`], or its shape cannot be.
    #[must_use]
    pub fn new(start_ns: u64, rate_per_second: f64, shape: &Shape, index: usize, lanes: usize) -> Option<Self> {
        let rates = Rates::new(rate_per_second, shape).filter(|rates| rates.highest() <= RATE_MAX)?;
        let offset = index as f64 / lanes.max(1) as f64;
        Some(Self { start_ns: start_ns + nanos(offset / rates.highest()), rates })
    }

    /// When request `n`, counted from 0, is due: when the rate has let `n` others fall due; at a constant rate, at
    /// start + n / rate.
    #[must_use]
    pub fn due_ns(&self, n: u64) -> u64 {
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
            let schedule = Schedule::new(START, rate, &Shape::Constant, 0, 1).expect("a valid rate");
            assert_eq!(schedule.due_ns(n), START + wanted_ns, "request {n} at {rate}/s");
        }
    }

    #[test]
    fn lanes_of_one_rate_share_the_period_evenly() {
        let first_dues: Vec<u64> = (0..4)
            .map(|index| {
                Schedule::new(START, 100.0, &Shape::Constant, index, 4).expect("a valid rate").due_ns(0) - START
            })
            .collect();
        assert_eq!(first_dues, [0, 2_500_000, 5_000_000, 7_500_000]);
    }

    #[test]
    fn a_rate_that_cannot_be_kept_has_no_schedule() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, RATE_MAX * 1.01] {
            assert_eq!(Schedule::new(START, rate, &Shape::Constant, 0, 1), None, "{rate}/s");
        }
        assert!(Schedule::new(START, RATE_MAX, &Shape::Constant, 0, 1).is_some());
    }
}
