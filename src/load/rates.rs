//! How the rate of a lane goes over time, and how many requests fall due by then: pure arithmetic, both ways.

use serde::{Deserialize, Serialize};

use crate::experiment::{
    traffic::{RateJump, RateShape},
    units::Rate,
};

/// How the rate of a lane goes. Its own rate is the one that it ends at, or reaches.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// The same all the time.
    #[default]
    Constant,
    /// It rises (or falls) evenly, and then stays.
    Ramp {
        /// Where it begins, in requests per second.
        from_per_second: f64,
        /// How long it takes, in microseconds.
        over_us: i64,
    },
    /// It rises (or falls) evenly, again and again.
    SawTooth {
        /// Where each tooth begins, in requests per second.
        from_per_second: f64,
        /// How long a tooth takes, in microseconds.
        every_us: i64,
    },
    /// It jumps.
    Steps(Vec<RateStep>),
    /// No rate: each connection sends its next request when it has the answer to the last one.
    Max,
}

impl From<&RateShape> for Shape {
    fn from(shape: &RateShape) -> Self {
        let from_per_second = |from: Option<Rate>| from.map_or(0.0, Rate::per_second);
        match shape {
            RateShape::Ramp(ramp) => {
                Self::Ramp { from_per_second: from_per_second(ramp.from), over_us: ramp.over.micros() }
            }
            RateShape::SawTooth(teeth) => {
                Self::SawTooth { from_per_second: from_per_second(teeth.from), every_us: teeth.every.micros() }
            }
            RateShape::Steps(jumps) => {
                let step = |jump: &RateJump| RateStep { at_us: jump.at.micros(), per_second: jump.rate.per_second() };
                Self::Steps(jumps.iter().map(step).collect())
            }
        }
    }
}

/// A jump of the rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RateStep {
    /// When, in microseconds since the lane began.
    pub at_us: i64,
    /// The rate from there on, in requests per second.
    pub per_second: f64,
}

/// A rate over time, as stretches in each of which it changes evenly. The last one goes on for ever, or all of them are
/// repeated.
#[derive(Debug, Clone, PartialEq)]
pub struct Rates {
    stretches: Vec<Stretch>,
    repeated: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Stretch {
    // Seconds since the beginning, and requests that have fallen due by then.
    start: f64,
    before: f64,
    length: f64,
    from: f64,
    to: f64,
}

impl Stretch {
    /// Requests that fall due in the first `seconds` of it.
    fn count(&self, seconds: f64) -> f64 {
        if self.is_even() { seconds * self.from } else { seconds * (self.from + self.slope() * seconds / 2.0) }
    }

    /// When so many of its requests have fallen due, in seconds since it began.
    fn seconds(&self, count: f64) -> f64 {
        if count <= 0.0 {
            return 0.0;
        }
        if self.is_even() {
            return count / self.from;
        }
        // The root of slope/2 t² + from t = count, in the form that does not cancel for a slope near zero.
        2.0 * count / (self.from + (self.from * self.from + 2.0 * self.slope() * count).max(0.0).sqrt())
    }

    fn is_even(&self) -> bool {
        self.from.total_cmp(&self.to).is_eq()
    }

    /// The change of the rate per second.
    fn slope(&self) -> f64 {
        (self.to - self.from) / self.length
    }

    /// Requests that have fallen due by its end; no number for a rate of 0 that goes on for ever.
    fn end(&self) -> f64 {
        self.before + self.count(self.length)
    }
}

impl Rates {
    /// A rate that goes as `shape` says. Nothing when a rate is not a number from 0 up, when all are 0, or a time is not
    /// above zero; steps must be in order. [`Shape::Max`] has no rates.
    #[must_use]
    pub fn new(per_second: f64, shape: &Shape) -> Option<Self> {
        let valid = |rate: f64| rate.is_finite() && rate >= 0.0;
        let seconds = |us: i64| (us > 0).then_some(us as f64 / 1e6);
        if !valid(per_second) || per_second == 0.0 {
            return None;
        }
        let mut rates = Self { stretches: Vec::new(), repeated: false };
        match shape {
            Shape::Constant => {}
            Shape::Ramp { from_per_second, over_us } if valid(*from_per_second) => {
                rates.push(seconds(*over_us)?, *from_per_second, per_second);
            }
            Shape::SawTooth { from_per_second, every_us } if valid(*from_per_second) => {
                rates.push(seconds(*every_us)?, *from_per_second, per_second);
                rates.repeated = true;
                return Some(rates);
            }
            Shape::Steps(steps) => {
                let (mut at, mut rate) = (0.0, per_second);
                for step in steps {
                    let next = seconds(step.at_us).filter(|next| *next > at && valid(step.per_second))?;
                    rates.push(next - at, rate, rate);
                    (at, rate) = (next, step.per_second);
                }
                rates.push(f64::INFINITY, rate, rate);
                return Some(rates);
            }
            Shape::Max | Shape::Ramp { .. } | Shape::SawTooth { .. } => return None,
        }
        rates.push(f64::INFINITY, per_second, per_second);
        Some(rates)
    }

    fn push(&mut self, length: f64, from: f64, to: f64) {
        let (start, before) = self.stretches.last().map_or((0.0, 0.0), |last| (last.start + last.length, last.end()));
        self.stretches.push(Stretch { start, before, length, from, to });
    }

    /// The highest rate.
    #[must_use]
    pub fn highest(&self) -> f64 {
        self.stretches.iter().map(|stretch| stretch.from.max(stretch.to)).fold(0.0, f64::max)
    }

    /// When so many requests have fallen due, in seconds since the beginning; infinite where that never happens.
    #[must_use]
    pub fn seconds(&self, count: f64) -> f64 {
        let (rounds, count) = self.rounds(count, Stretch::end);
        let last = self.stretches.last().filter(|_| self.repeated);
        // In a round that is full but for rounding, the last stretch has it.
        let found = self.stretches.iter().find(|stretch| stretch.end() > count).or(last);
        let Some(stretch) = found else { return f64::INFINITY };
        rounds * self.length() + stretch.start + stretch.seconds(count - stretch.before)
    }

    /// Requests that have fallen due in the first `seconds`, the one at their very end not among them.
    #[must_use]
    pub fn count(&self, seconds: f64) -> f64 {
        let (rounds, seconds) = self.rounds(seconds, |stretch| stretch.start + stretch.length);
        let found = self.stretches.iter().rev().find(|stretch| stretch.start <= seconds);
        let Some(stretch) = found else { return 0.0 };
        let round = self.stretches.last().map_or(0.0, Stretch::end);
        let whole = if self.repeated { rounds * round } else { 0.0 };
        whole + stretch.before + stretch.count(seconds - stretch.start)
    }

    fn length(&self) -> f64 {
        if self.repeated { self.stretches.last().map_or(0.0, |last| last.start + last.length) } else { 0.0 }
    }

    /// Whole rounds in an amount, and what is left of it.
    fn rounds(&self, amount: f64, end_of: impl Fn(&Stretch) -> f64) -> (f64, f64) {
        match self.stretches.last() {
            Some(last) if self.repeated => {
                let round = end_of(last);
                let rounds = (amount / round).floor();
                (rounds, (amount - rounds * round).max(0.0))
            }
            _ => (0.0, amount),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rates(per_second: f64, shape: Shape) -> Rates {
        Rates::new(per_second, &shape).expect("a rate that can be")
    }

    #[test]
    fn each_shape_lets_as_many_fall_due_as_lie_under_its_curve() {
        let ramp = Shape::Ramp { from_per_second: 0.0, over_us: 10_000_000 };
        let teeth = Shape::SawTooth { from_per_second: 20.0, every_us: 2_000_000 };
        let steps = Shape::Steps(vec![
            RateStep { at_us: 1_000_000, per_second: 0.0 },
            RateStep { at_us: 3_000_000, per_second: 50.0 },
        ]);
        for (per_second, shape, seconds, wanted) in [
            (100.0, Shape::Constant, 7.0, 700.0),
            (100.0, ramp.clone(), 5.0, 125.0),
            (100.0, ramp.clone(), 10.0, 500.0),
            (100.0, ramp, 12.0, 700.0),
            (100.0, teeth.clone(), 1.0, 40.0),
            (100.0, teeth.clone(), 2.0, 120.0),
            (100.0, teeth, 5.0, 280.0),
            (10.0, steps.clone(), 1.0, 10.0),
            (10.0, steps.clone(), 2.5, 10.0),
            (10.0, steps, 4.0, 60.0),
        ] {
            let counted = rates(per_second, shape.clone()).count(seconds);
            assert!((counted - wanted).abs() < 1e-6, "{shape:?} in {seconds} s: {counted}");
        }
    }

    #[test]
    fn what_falls_due_after_a_pause_waits_for_its_end() {
        let steps = Shape::Steps(vec![
            RateStep { at_us: 1_000_000, per_second: 0.0 },
            RateStep { at_us: 3_000_000, per_second: 50.0 },
        ]);
        let rates = rates(10.0, steps);
        assert!((rates.seconds(9.0) - 0.9).abs() < 1e-9);
        assert!((rates.seconds(10.0) - 3.0).abs() < 1e-9, "{}", rates.seconds(10.0));
        assert!((rates.seconds(11.0) - 3.02).abs() < 1e-9);
        assert!((rates.highest() - 50.0).abs() < 1e-9);
    }

    #[test]
    fn a_rate_that_cannot_be_has_none() {
        let ramp = |from_per_second, over_us| Shape::Ramp { from_per_second, over_us };
        let backwards = Shape::Steps(vec![
            RateStep { at_us: 2_000_000, per_second: 1.0 },
            RateStep { at_us: 1_000_000, per_second: 1.0 },
        ]);
        for (per_second, shape) in [
            (0.0, Shape::Constant),
            (f64::NAN, Shape::Constant),
            (10.0, ramp(-1.0, 1)),
            (10.0, ramp(1.0, 0)),
            (10.0, backwards),
            (10.0, Shape::Max),
        ] {
            assert_eq!(Rates::new(per_second, &shape), None, "{per_second} {shape:?}");
        }
    }

    proptest! {
        #[test]
        fn the_moment_of_a_request_and_the_count_at_a_moment_agree(
            per_second in 1.0..5_000.0_f64, from in 0.0..5_000.0_f64, over_us in 100_000i64..60_000_000, n in 1u32..1_000_000,
            tooth in any::<bool>(),
        ) {
            let shape = if tooth {
                Shape::SawTooth { from_per_second: from, every_us: over_us }
            } else {
                Shape::Ramp { from_per_second: from, over_us }
            };
            let rates = rates(per_second, shape);
            let seconds = rates.seconds(f64::from(n));
            prop_assert!((rates.count(seconds) - f64::from(n)).abs() < 1e-3 * f64::from(n).max(1.0), "at {seconds}");
            prop_assert!(rates.seconds(f64::from(n) + 1.0) > seconds);
        }
    }
}
