//! How sure a count makes a rate: exact binomial bounds (Clopper and Pearson, 1934), one-sided at 95 %.
//!
//! With k losses in n requests, the upper bound is the rate at which k or fewer would be seen in 5 of 100 runs. With
//! none it is `1 - 0.05^(1/n)`, the rule of three's 3/n. The bounds take requests as independent, which requests of one
//! outage are not: they say how much was looked at, not how often outages come.

/// The chance of being wrong that a bound leaves.
const ALPHA: f64 = 0.05;

/// Halvings of the interval from 0 to 1: beyond what a double can tell apart.
const HALVINGS: u32 = 200;

/// Steps of the continued fraction; it converges within some hundred even for millions of requests.
const STEPS_MAX: u32 = 10_000;

/// The rate that is not exceeded, at 95 %, by what lost `lost` of `sent` requests. 1 with none sent.
#[must_use]
pub fn upper_95(lost: u64, sent: u64) -> f64 {
    if sent == 0 || lost >= sent {
        return 1.0;
    }
    if lost == 0 {
        return -(ALPHA.ln() / sent as f64).exp_m1();
    }
    // P(X <= lost) at rate p is I(1-p; sent-lost, lost+1).
    bisect(|rate| beta(1.0 - rate, (sent - lost) as f64, lost as f64 + 1.0) > ALPHA)
}

/// The rate that is exceeded, at 95 %, by what lost `lost` of `sent` requests. 0 with none lost.
#[must_use]
pub fn lower_95(lost: u64, sent: u64) -> f64 {
    if lost == 0 || sent == 0 {
        return 0.0;
    }
    let lost = lost.min(sent);
    // P(X >= lost) at rate p is I(p; lost, sent-lost+1).
    bisect(|rate| beta(rate, lost as f64, (sent - lost) as f64 + 1.0) <= ALPHA)
}

/// How many requests without a loss bring the upper bound down to a rate.
#[must_use]
pub fn needed_for(rate: f64) -> u64 {
    if rate <= 0.0 {
        return u64::MAX;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and a cast saturates")]
    let needed = (ALPHA.ln() / (-rate.min(1.0)).ln_1p()).ceil() as u64;
    needed.max(1)
}

/// The chance that, of `one + other` losses, `other` or more fall on the second of two runs with the same rate: the
/// exact conditional test of two rates.
#[must_use]
pub fn chance_of_more(one: (u64, u64), other: (u64, u64)) -> f64 {
    let (lost, sent) = (one.0.saturating_add(other.0), one.1 as f64 + other.1 as f64);
    if other.0 == 0 || sent <= 0.0 {
        return 1.0;
    }
    beta(other.1 as f64 / sent, other.0 as f64, (lost - other.0) as f64 + 1.0)
}

/// The largest rate at which `below` holds, where it holds up to some rate and not beyond.
fn bisect(below: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if below(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

/// The regularised incomplete beta function I(x; a, b), by Lentz's continued fraction (DLMF 8.17.22).
fn beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    // The fraction converges fast on this side of the mean; the other side is its mirror.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - fraction(1.0 - x, b, a);
    }
    fraction(x, a, b)
}

fn fraction(x: f64, a: f64, b: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let kept = |value: f64| if value.abs() < TINY { TINY } else { value };
    let front = (a * x.ln() + b * (-x).ln_1p() - (ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b))).exp() / a;
    let (mut above, mut below) = (1.0, 1.0 / kept(1.0 - (a + b) * x / (a + 1.0)));
    let mut value = below;
    for step in 1..STEPS_MAX {
        let step = f64::from(step);
        let even = step * (b - step) * x / ((a + 2.0 * step - 1.0) * (a + 2.0 * step));
        let odd = -(a + step) * (a + b + step) * x / ((a + 2.0 * step) * (a + 2.0 * step + 1.0));
        let mut factor = 1.0;
        for term in [even, odd] {
            below = 1.0 / kept(1.0 + term * below);
            above = kept(1.0 + term / above);
            factor = below * above;
            value *= factor;
        }
        if (factor - 1.0).abs() < 1e-15 {
            break;
        }
    }
    (front * value).clamp(0.0, 1.0)
}

/// The logarithm of the gamma function of a positive number: Stirling's series, shifted to where it is exact.
fn ln_gamma(mut x: f64) -> f64 {
    let mut shift = 0.0;
    while x < 15.0 {
        shift += x.ln();
        x += 1.0;
    }
    let series =
        1.0 / (12.0 * x) - 1.0 / (360.0 * x.powi(3)) + 1.0 / (1_260.0 * x.powi(5)) - 1.0 / (1_680.0 * x.powi(7));
    (x - 0.5) * x.ln() - x + 0.5 * std::f64::consts::TAU.ln() + series - shift
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers are sums of the binomial distribution at 60 digits, bisected.
    #[test]
    fn the_bounds_are_those_of_clopper_and_pearson() {
        for (lost, sent, lower, upper) in TABLE {
            assert!((lower_95(*lost, *sent) - lower).abs() < 1e-9, "{lost} of {sent}: {}", lower_95(*lost, *sent));
            assert!((upper_95(*lost, *sent) - upper).abs() < 1e-9, "{lost} of {sent}: {}", upper_95(*lost, *sent));
        }
    }

    const TABLE: &[(u64, u64, f64, f64)] = &[
        (0, 300, 0.0, 0.009_936_081_944_46),
        (1, 300, 0.000_170_963_032_113, 0.015_714_554_891_6),
        (5, 1_000, 0.001_972_153_141_81, 0.010_484_076_911_4),
        (12, 6_000, 0.001_154_427_683_96, 0.003_238_418_378_01),
        (143, 12_000, 0.010_334_068_381_7, 0.013_678_676_977_2),
        (50, 60, 0.733_709_201_627, 0.906_693_067_295),
        (3, 1_000_000, 8.176_919_305_46e-7, 7.753_638_098_84e-6),
    ];

    #[test]
    fn with_no_loss_the_bound_is_the_rule_of_three() {
        for sent in [300_u64, 10_000, 1_000_000] {
            let ratio = upper_95(0, sent) * sent as f64 / 3.0;
            assert!((0.99..1.0).contains(&ratio), "{sent}: {ratio}");
            assert!(upper_95(0, needed_for(3.0 / sent as f64)) <= 3.0 / sent as f64);
        }
        assert_eq!((needed_for(0.01), needed_for(0.001), needed_for(0.0)), (299, 2_995, u64::MAX));
    }

    #[test]
    fn extremes_have_bounds_too() {
        for (lost, sent) in [(0, 0), (5, 5), (7, 5), (1, 1), (u64::MAX, u64::MAX), (1, u64::MAX)] {
            let (lower, upper) = (lower_95(lost, sent), upper_95(lost, sent));
            assert!((0.0..=1.0).contains(&lower) && (0.0..=1.0).contains(&upper), "{lost} of {sent}: {lower} {upper}");
        }
    }

    #[test]
    fn more_losses_than_before_are_less_likely_by_chance_the_more_there_are() {
        // 1 - CDF of the binomial distribution: 3 of 3 on one of two equal halves is 1 in 8.
        assert!((chance_of_more((0, 1_000), (3, 1_000)) - 0.125).abs() < 1e-12);
        assert!(chance_of_more((0, 1_000), (10, 1_000)) < 0.001);
        assert!(chance_of_more((10, 1_000), (10, 1_000)) > 0.5);
        assert!((chance_of_more((10, 1_000), (0, 1_000)) - 1.0).abs() < 1e-12);
    }
}
