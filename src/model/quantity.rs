//! Quantities of resources such as `250m`, `1.5Gi` or `1e3`, as whole numbers
//! (apimachinery/pkg/api/resource/quantity.go, v0.34.4). Fractions round up, as `Value` and `MilliValue` do.

/// Parts of one that are told apart: upstream goes down to nano.
const NANO: i128 = 1_000_000_000;

/// Digits beyond which a number is no quantity that a cluster has.
const DIGITS_MAX: usize = 24;

/// A quantity in billionths, or nothing where the text is none.
fn nanos(text: &str) -> Option<i128> {
    let text = text.trim();
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || number.len() > DIGITS_MAX {
        return None;
    }
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let mut numerator = digits.checked_mul(NANO)?;
    let mut denominator = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let (times, over) = scale_of(suffix)?;
    numerator = numerator.checked_mul(times)?;
    denominator = denominator.checked_mul(over)?;
    // What is finer than a billionth rounds up, away from zero.
    let nanos = numerator.checked_add(denominator - 1)? / denominator;
    Some(if negative { -nanos } else { nanos })
}

fn scale_of(suffix: &str) -> Option<(i128, i128)> {
    let power = |base: i128, exponent: u32| base.checked_pow(exponent).map(|times| (times, 1));
    match suffix {
        "" => Some((1, 1)),
        "n" => Some((1, NANO)),
        "u" => Some((1, 1_000_000)),
        "m" => Some((1, 1_000)),
        "k" => power(1000, 1),
        "M" => power(1000, 2),
        "G" => power(1000, 3),
        "T" => power(1000, 4),
        "P" => power(1000, 5),
        "E" => power(1000, 6),
        "Ki" => power(1024, 1),
        "Mi" => power(1024, 2),
        "Gi" => power(1024, 3),
        "Ti" => power(1024, 4),
        "Pi" => power(1024, 5),
        "Ei" => power(1024, 6),
        other => {
            let exponent: i32 = other.strip_prefix(['e', 'E'])?.parse().ok()?;
            let times = 10_i128.checked_pow(exponent.unsigned_abs().min(18))?;
            Some(if exponent < 0 { (1, times) } else { (times, 1) })
        }
    }
}

fn rounded_up(nanos: i128, unit: i128) -> i64 {
    let whole = nanos.div_euclid(unit) + i128::from(nanos.rem_euclid(unit) != 0);
    i64::try_from(whole).unwrap_or(if whole < 0 { i64::MIN } else { i64::MAX })
}

/// The quantity in whole units: bytes, pods. Nothing where the text is no quantity.
#[must_use]
pub fn value(text: &str) -> Option<i64> {
    nanos(text).map(|nanos| rounded_up(nanos, NANO))
}

/// The quantity in thousandths: millicores.
#[must_use]
pub fn milli_value(text: &str) -> Option<i64> {
    nanos(text).map(|nanos| rounded_up(nanos, NANO / 1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_as_upstream_reads_them() {
        let table = [
            ("0", 0, 0),
            ("1", 1, 1000),
            ("250m", 1, 250),
            ("0.1", 1, 100),
            (".5", 1, 500),
            ("1.5Gi", 1_610_612_736, 1_610_612_736_000),
            ("128Mi", 134_217_728, 134_217_728_000),
            ("1e3", 1000, 1_000_000),
            ("1E", 1_000_000_000_000_000_000, i64::MAX),
            ("100n", 1, 1),
            ("-1", -1, -1000),
            ("110", 110, 110_000),
        ];
        for (text, whole, milli) in table {
            assert_eq!((value(text), milli_value(text)), (Some(whole), Some(milli)), "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in ["", ".", "1.2.3", "Gi", "1 Gi", "1x", "--1", "1ee3", "99999999999999999999999999"] {
            assert_eq!(value(text), None, "{text}");
        }
    }
}
