//! How an autoscaler comes to the number of replicas that it wants: after recent wishes, within its bounds, no faster than
//! its policies say (`k/pkg/controller/podautoscaler/horizontal.go`, v1.34.4).

use std::time::Duration;

use jiff::Timestamp;

/// For how long a smaller number is hesitated about (`--horizontal-pod-autoscaler-downscale-stabilization`).
pub const DOWN_STABILIZATION: Duration = Duration::from_secs(300);

/// Recommendations and changes that are kept of one autoscaler; one is made every 15 s, and no window is longer than an
/// hour.
const MEMORY_MAX: usize = 1_024;

/// Which of several policies counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Select {
    /// The one that lets the most change.
    Max,
    /// The one that lets the least change.
    Min,
    /// None: there is no change in this direction.
    Disabled,
}

/// How much change is let through in a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// The amount.
    pub amount: Amount,
    /// The period.
    pub period: Duration,
}

/// An amount of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// So many pods.
    Pods(i32),
    /// So many percent of the pods at the beginning of the period.
    Percent(i32),
}

/// The rules of one direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Of the wishes in this window the one that changes the least counts.
    pub window: Duration,
    /// Which policy counts.
    pub select: Select,
    /// The policies.
    pub policies: Vec<Policy>,
}

/// The rules of both directions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behavior {
    /// Upwards.
    pub up: Rules,
    /// Downwards.
    pub down: Rules,
}

impl Rules {
    /// Upwards at once, by four pods or to the double within 15 s.
    #[must_use]
    pub fn up() -> Self {
        let policy = |amount| Policy { amount, period: Duration::from_secs(15) };
        let policies = vec![policy(Amount::Pods(4)), policy(Amount::Percent(100))];
        Self { window: Duration::ZERO, select: Select::Max, policies }
    }

    /// Downwards after five minutes, then at once.
    #[must_use]
    pub fn down() -> Self {
        let policies = vec![Policy { amount: Amount::Percent(100), period: Duration::from_secs(15) }];
        Self { window: DOWN_STABILIZATION, select: Select::Max, policies }
    }

    fn longest_period(&self) -> Duration {
        self.policies.iter().map(|policy| policy.period).max().unwrap_or_default()
    }
}

/// The bounds of an autoscaler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// At least.
    pub min: i32,
    /// At most.
    pub max: i32,
}

/// What a number became, with the reasons and messages of the conditions that tell of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Normalized {
    /// The number of replicas.
    pub replicas: i32,
    /// The condition `AbleToScale`.
    pub stabilized: (&'static str, &'static str),
    /// The condition `ScalingLimited`, and whether it is true.
    pub limited: (bool, &'static str, &'static str),
}

/// What an autoscaler wished and did lately.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    wishes: Vec<(Timestamp, i32)>,
    ups: Vec<(Timestamp, i32)>,
    downs: Vec<(Timestamp, i32)>,
}

const READY: (&str, &str) = ("ReadyForNewScale", "recommended size matches current size");
const DOWN_STABILIZED: (&str, &str) = (
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
);
const UP_STABILIZED: (&str, &str) = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
);
const IN_RANGE: (&str, &str) = ("DesiredWithinRange", "the desired count is within the acceptable range");
const UP_LIMIT: (&str, &str) =
    ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate");
const DOWN_LIMIT: (&str, &str) =
    ("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate");
const TOO_MANY: (&str, &str) = ("TooManyReplicas", "the desired replica count is more than the maximum replica count");
const TOO_FEW: (&str, &str) = ("TooFewReplicas", "the desired replica count is less than the minimum replica count");

impl Memory {
    /// The first number that is known of; later ones do not change it.
    pub fn begin(&mut self, current: i32, now: Timestamp) {
        if self.wishes.is_empty() {
            self.wishes.push((now, current));
        }
    }

    /// Remembers a change of the number of replicas.
    pub fn changed(&mut self, behavior: Option<&Behavior>, from: i32, to: i32, now: Timestamp) {
        // Without rules nobody asks for it.
        let Some(behavior) = behavior else { return };
        let (list, rules) = if to > from { (&mut self.ups, &behavior.up) } else { (&mut self.downs, &behavior.down) };
        forget(list, now, rules.longest_period());
        list.push((now, to.abs_diff(from).try_into().unwrap_or(i32::MAX)));
    }

    /// What a wish becomes (`normalizeDesiredReplicas`, `normalizeDesiredReplicasWithBehaviors`).
    pub fn normalize(
        &mut self,
        behavior: Option<&Behavior>,
        bounds: Bounds,
        current: i32,
        wished: i32,
        now: Timestamp,
    ) -> Normalized {
        let (stable, why) = match behavior {
            None => self.stabilize_simply(wished, now),
            Some(behavior) => self.stabilize(behavior, current, wished, now),
        };
        let (replicas, limit) = match behavior {
            None => limit_simply(bounds, current, stable),
            Some(behavior) => self.limit(behavior, bounds, current, stable, now),
        };
        Normalized {
            replicas,
            stabilized: if stable == wished { READY } else { why },
            limited: (replicas != stable, limit.0, limit.1),
        }
    }

    fn stabilize_simply(&mut self, wished: i32, now: Timestamp) -> (i32, (&'static str, &'static str)) {
        let cutoff = before(now, DOWN_STABILIZATION);
        let recent = self.wishes.iter().filter(|(at, _)| *at >= cutoff).map(|(_, wish)| *wish);
        let stable = recent.chain([wished]).max().unwrap_or(wished);
        forget(&mut self.wishes, now, DOWN_STABILIZATION);
        self.wishes.push((now, wished));
        (stable, DOWN_STABILIZED)
    }

    fn stabilize(
        &mut self,
        behavior: &Behavior,
        current: i32,
        wished: i32,
        now: Timestamp,
    ) -> (i32, (&'static str, &'static str)) {
        let within = |window: Duration| {
            let cutoff = before(now, window);
            self.wishes.iter().filter(move |(at, _)| *at > cutoff).map(|(_, wish)| *wish).chain([wished])
        };
        let up = within(behavior.up.window).min().unwrap_or(wished);
        let down = within(behavior.down.window).max().unwrap_or(wished);
        let stable = current.max(up).min(down);
        forget(&mut self.wishes, now, behavior.up.window.max(behavior.down.window));
        self.wishes.push((now, wished));
        (stable, if wished >= current { UP_STABILIZED } else { DOWN_STABILIZED })
    }

    fn limit(
        &self,
        behavior: &Behavior,
        bounds: Bounds,
        current: i32,
        wished: i32,
        now: Timestamp,
    ) -> (i32, (&'static str, &'static str)) {
        if wished > current {
            let limit = self.bound(&behavior.up, true, current, now).max(current);
            let (most, why) = if bounds.max > limit { (limit, UP_LIMIT) } else { (bounds.max, TOO_MANY) };
            if wished > most {
                return (most, why);
            }
        } else if wished < current {
            let limit = self.bound(&behavior.down, false, current, now).min(current);
            let (least, why) = if bounds.min < limit { (limit, DOWN_LIMIT) } else { (bounds.min, TOO_FEW) };
            if wished < least {
                return (least, why);
            }
        }
        (wished, IN_RANGE)
    }

    /// The number that may be come to now in one direction.
    fn bound(&self, rules: &Rules, is_up: bool, current: i32, now: Timestamp) -> i32 {
        let proposals = rules.policies.iter().map(|policy| {
            let sum = |list: &[(Timestamp, i32)]| -> i64 {
                let cutoff = before(now, policy.period);
                list.iter().filter(|(at, _)| *at > cutoff).map(|(_, change)| i64::from(*change)).sum()
            };
            let start = i64::from(current) - sum(&self.ups) + sum(&self.downs);
            let (sign, part) = if is_up { (1, 1.0) } else { (-1, -1.0) };
            match policy.amount {
                Amount::Pods(pods) => clamp(start.saturating_add(sign * i64::from(pods))),
                Amount::Percent(percent) => {
                    let wanted = start as f64 * (1.0 + part * f64::from(percent) / 100.0);
                    // Upwards it rounds up, so that a single pod can ever become two.
                    let wanted = if is_up { wanted.ceil() } else { wanted };
                    #[expect(clippy::cast_possible_truncation, reason = "a conversion from float saturates")]
                    let wanted = wanted as i32;
                    wanted
                }
            }
        });
        let most_change = |is_up: bool, proposals: Vec<i32>| {
            if is_up { proposals.into_iter().max() } else { proposals.into_iter().min() }
        };
        let proposals: Vec<i32> = proposals.collect();
        match rules.select {
            Select::Disabled => current,
            Select::Max => most_change(is_up, proposals).unwrap_or(current),
            Select::Min => most_change(!is_up, proposals).unwrap_or(current),
        }
    }
}

/// Without rules: to the double or to four, within the bounds (`convertDesiredReplicasWithRules`).
fn limit_simply(bounds: Bounds, current: i32, wished: i32) -> (i32, (&'static str, &'static str)) {
    let limit = current.saturating_mul(2).max(4);
    let (most, why) = if bounds.max > limit { (limit, UP_LIMIT) } else { (bounds.max, TOO_MANY) };
    if wished < bounds.min {
        (bounds.min, TOO_FEW)
    } else if wished > most {
        (most, why)
    } else {
        (wished, IN_RANGE)
    }
}

fn clamp(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(if number < 0 { i32::MIN } else { i32::MAX })
}

fn before(now: Timestamp, window: Duration) -> Timestamp {
    now.checked_sub(window).unwrap_or(Timestamp::MIN)
}

/// Drops what no window reaches any more, and in any case what is too much.
fn forget(list: &mut Vec<(Timestamp, i32)>, now: Timestamp, window: Duration) {
    let cutoff = before(now, window);
    list.retain(|(at, _)| *at >= cutoff);
    let excess = list.len().saturating_sub(MEMORY_MAX - 1);
    list.drain(..excess);
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: Bounds = Bounds { min: 1, max: 100 };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn rules(window: u64, select: Select, policies: &[(Amount, u64)]) -> Rules {
        let policy =
            |(amount, period): &(Amount, u64)| Policy { amount: *amount, period: Duration::from_secs(*period) };
        Rules { window: Duration::from_secs(window), select, policies: policies.iter().map(policy).collect() }
    }

    #[test]
    fn without_rules_it_doubles_at_most_and_stays_within_its_bounds() {
        let table = [
            (1, 10, 4, Some("ScaleUpLimit")),
            (3, 10, 6, Some("ScaleUpLimit")),
            (60, 200, 100, Some("TooManyReplicas")),
            (3, 0, 1, Some("TooFewReplicas")),
            (3, 5, 5, None),
        ];
        for (current, wished, wanted, why) in table {
            let mut memory = Memory::default();
            let became = memory.normalize(None, WIDE, current, wished, at(0));
            let limited = Some(became.limited.1).filter(|_| became.limited.0);
            assert_eq!((became.replicas, limited), (wanted, why), "{current} to {wished}");
        }
    }

    #[test]
    fn without_rules_a_smaller_number_waits_five_minutes_and_a_larger_one_does_not() {
        let mut memory = Memory::default();
        memory.begin(6, at(0));
        let early = memory.normalize(None, WIDE, 6, 2, at(15));
        assert_eq!((early.replicas, early.stabilized.0), (6, "ScaleDownStabilized"));
        assert_eq!(memory.normalize(None, WIDE, 6, 8, at(30)).replicas, 8);
        assert_eq!(memory.normalize(None, WIDE, 8, 2, at(329)).replicas, 8);
        let late = memory.normalize(None, WIDE, 8, 2, at(631));
        assert_eq!((late.replicas, late.stabilized.0), (2, "ReadyForNewScale"));
    }

    #[test]
    fn the_window_of_each_direction_is_its_own() {
        let behavior = Behavior {
            up: rules(60, Select::Max, &[(Amount::Percent(1_000), 15)]),
            down: rules(0, Select::Max, &[(Amount::Percent(100), 15)]),
        };
        let mut memory = Memory::default();
        memory.begin(3, at(0));
        let early = memory.normalize(Some(&behavior), WIDE, 3, 9, at(30));
        assert_eq!((early.replicas, early.stabilized.0), (3, "ScaleUpStabilized"));
        assert_eq!(memory.normalize(Some(&behavior), WIDE, 3, 9, at(61)).replicas, 9);
        assert_eq!(memory.normalize(Some(&behavior), WIDE, 9, 2, at(62)).replicas, 2);
    }

    #[test]
    fn policies_count_what_has_changed_in_their_period() {
        let behavior = Behavior {
            up: rules(0, Select::Max, &[(Amount::Pods(4), 60), (Amount::Percent(50), 60)]),
            down: rules(0, Select::Min, &[(Amount::Pods(2), 60), (Amount::Percent(50), 60)]),
        };
        let mut memory = Memory::default();
        let mut step = |current, wished, second| {
            let became = memory.normalize(Some(&behavior), WIDE, current, wished, at(second)).replicas;
            if became != current {
                memory.changed(Some(&behavior), current, became, at(second));
            }
            became
        };
        assert_eq!(step(10, 90, 0), 15, "half as many again is more than four");
        assert_eq!(step(15, 90, 30), 15, "that was all for this minute");
        assert_eq!(step(15, 90, 61), 23);
        assert_eq!(step(23, 1, 130), 21, "two pods are less than half");
        assert_eq!(step(21, 1, 140), 21);
        assert_eq!(step(21, 1, 191), 19);
    }

    #[test]
    fn a_disabled_direction_does_not_move() {
        let behavior =
            Behavior { up: rules(0, Select::Disabled, &[]), down: Rules { window: Duration::ZERO, ..Rules::down() } };
        let mut memory = Memory::default();
        let up = memory.normalize(Some(&behavior), WIDE, 3, 9, at(0));
        assert_eq!((up.replicas, up.limited), (3, (true, UP_LIMIT.0, UP_LIMIT.1)));
        assert_eq!(memory.normalize(Some(&behavior), WIDE, 3, 0, at(1)).replicas, 1);
    }

    #[test]
    fn the_defaults_double_or_add_four_within_fifteen_seconds() {
        let behavior = Behavior { up: Rules::up(), down: Rules::down() };
        for (current, wanted) in [(1, 5), (3, 7), (10, 20)] {
            assert_eq!(Memory::default().normalize(Some(&behavior), WIDE, current, 90, at(0)).replicas, wanted);
        }
        let mut memory = Memory::default();
        memory.begin(10, at(0));
        assert_eq!(memory.normalize(Some(&behavior), WIDE, 10, 2, at(15)).replicas, 10);
        assert_eq!(memory.normalize(Some(&behavior), WIDE, 10, 2, at(316)).replicas, 2);
    }
}
