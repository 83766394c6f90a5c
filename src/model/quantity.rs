//! `resource.Quantity`: amounts such as `100m`, `1.5` or `64Mi`, exact down to a billionth, and the one spelling that
//! Kubernetes writes for each (apimachinery/pkg/api/resource/{quantity,suffix}.go, v0.34.4).

use std::{cmp::Ordering, fmt, str::FromStr};

/// Nanos in one.
const NANO: i128 = 1_000_000_000;

/// The largest amount that is told apart: 2^63 - 1, where upstream caps too.
const MAX: i128 = i64::MAX as i128 * NANO;

/// How an amount was spelled, which decides how it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `1500m`, `2k`.
    Decimal,
    /// `64Mi`.
    Binary,
    /// `1e3`.
    Exponent,
}

/// An amount.
#[derive(Debug, Clone, Copy)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

/// Why a text is not an amount, in upstream's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotQuantity {
    /// It does not look like one.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    /// The number is fine, what follows is not.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self { nanos: 0, format: Format::Decimal };

    /// So many whole ones.
    #[must_use]
    pub const fn whole(value: i64) -> Self {
        Self { nanos: value as i128 * NANO, format: Format::Decimal }
    }

    /// So many thousandths.
    #[must_use]
    pub const fn milli(value: i64) -> Self {
        Self { nanos: value as i128 * (NANO / 1000), format: Format::Decimal }
    }

    /// The amount in whole ones, rounded up (`Value`).
    #[must_use]
    pub fn value(self) -> i64 {
        narrow(ceil(self.nanos, NANO))
    }

    /// The amount in thousandths, rounded up (`MilliValue`).
    #[must_use]
    pub fn milli_value(self) -> i64 {
        narrow(ceil(self.nanos, NANO / 1000))
    }

    /// Rounded up to whole thousandths, as amounts in resource lists are.
    #[must_use]
    pub fn in_millis(self) -> Self {
        Self { nanos: ceil(self.nanos, NANO / 1000) * (NANO / 1000), ..self }
    }

    /// Whether it is less than nothing.
    #[must_use]
    pub const fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// Whether it is nothing.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// Whether it is a number of whole ones.
    #[must_use]
    pub const fn is_whole(self) -> bool {
        self.nanos % NANO == 0
    }

    /// The sum, in the format of the first.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { nanos: (self.nanos + other.nanos).clamp(-MAX, MAX), ..self }
    }
}

/// The amount that a text spells in whole ones, rounded up; nothing where it is no amount.
#[must_use]
pub fn value(text: &str) -> Option<i64> {
    text.parse().ok().map(Quantity::value)
}

/// The amount that a text spells in thousandths, rounded up; nothing where it is no amount.
#[must_use]
pub fn milli_value(text: &str) -> Option<i64> {
    text.parse().ok().map(Quantity::milli_value)
}

fn ceil(nanos: i128, unit: i128) -> i128 {
    -(-nanos).div_euclid(unit)
}

fn narrow(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl FromStr for Quantity {
    type Err = NotQuantity;

    fn from_str(text: &str) -> Result<Self, NotQuantity> {
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.len() + fraction.len() == 0 || fraction.contains('.') || !looks_like_a_suffix(suffix) {
            return Err(NotQuantity::Format);
        }
        let (base, exponent, format) = scale(suffix)?;
        let nanos = scaled(whole, fraction, base, exponent);
        Ok(Self { nanos: if text.starts_with('-') { -nanos } else { nanos }, format })
    }
}

fn looks_like_a_suffix(suffix: &str) -> bool {
    let rest = suffix.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
    let rest = rest.strip_prefix(['+', '-']).unwrap_or(rest);
    rest.bytes().all(|byte| byte.is_ascii_digit())
}

/// What a suffix stands for: base, exponent and format.
fn scale(suffix: &str) -> Result<(i128, i32, Format), NotQuantity> {
    let binary = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    if let Some(at) = binary.iter().position(|one| *one == suffix) {
        return Ok((2, 10 * (i32::try_from(at).unwrap_or(0) + 1), Format::Binary));
    }
    let decimal = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
    if let Some(at) = decimal.iter().position(|one| *one == suffix) {
        return Ok((10, 3 * (i32::try_from(at).unwrap_or(0) - 3), Format::Decimal));
    }
    let digits = suffix.strip_prefix(['e', 'E']).ok_or(NotQuantity::Suffix)?;
    let exponent = digits.parse().map_err(|_| NotQuantity::Suffix)?;
    Ok((10, exponent, Format::Exponent))
}

/// The number in nanos, rounded up, and capped.
fn scaled(whole: &str, fraction: &str, base: i128, exponent: i32) -> i128 {
    // Digits past these can neither reach the cap nor a nano.
    const DIGITS: usize = 28;
    let whole = whole.trim_start_matches('0');
    let fraction = fraction.trim_end_matches('0');
    if whole.is_empty() && fraction.is_empty() {
        return 0;
    }
    if whole.len() > DIGITS && exponent >= 0 {
        return MAX;
    }
    let kept = &fraction[..fraction.len().min(DIGITS.saturating_sub(whole.len()))];
    let mut number: i128 = format!("{whole}{kept}").parse().unwrap_or(MAX);
    // What is cut off still rounds up.
    let rest = i128::from(kept.len() < fraction.len());
    let (mut power, shift) = if base == 2 { (0, exponent) } else { (exponent, 0) };
    power += 9 - i32::try_from(kept.len()).unwrap_or(0);
    for _ in 0..shift {
        number = number.saturating_mul(2);
    }
    let factor = 10_i128.checked_pow(power.unsigned_abs());
    let nanos = match factor {
        Some(factor) if power >= 0 => number.saturating_mul(factor).saturating_add(rest),
        Some(factor) => ceil(number.saturating_add(rest), factor),
        None if power >= 0 => MAX,
        None => 1,
    };
    nanos.min(MAX)
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let value = self.nanos / NANO;
        if self.format == Format::Binary && self.is_whole() && value.abs() >= 1024 {
            let (mut number, mut step) = (value, 0);
            while number % 1024 == 0 && step < 6 {
                number /= 1024;
                step += 1;
            }
            return write!(f, "{number}{}", ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][step]);
        }
        let (mut number, mut step) = (self.nanos, 0);
        while number % 1000 == 0 && step < 9 {
            number /= 1000;
            step += 1;
        }
        if self.format == Format::Exponent {
            let exponent = 3 * (i32::try_from(step).unwrap_or(0) - 3);
            return if exponent == 0 { write!(f, "{number}") } else { write!(f, "{number}e{exponent}") };
        }
        write!(f, "{number}{}", ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"][step])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_amount_has_one_spelling() {
        let table = [
            ("1000m", "1"),
            ("0.5", "500m"),
            ("1.5", "1500m"),
            ("100m", "100m"),
            ("1024Mi", "1Gi"),
            ("64Mi", "64Mi"),
            ("1536Mi", "1536Mi"),
            ("1.5Gi", "1536Mi"),
            ("0.5Ki", "512"),
            ("1000", "1k"),
            ("1024", "1024"),
            ("1e3", "1e3"),
            ("10e3", "10e3"),
            ("0", "0"),
            ("0Gi", "0"),
            ("-1", "-1"),
            ("+2", "2"),
            (".5", "500m"),
            ("5.", "5"),
            ("0.0000000001", "1n"),
            ("128974848000m", "128974848"),
        ];
        for (text, spelling) in table {
            assert_eq!(text.parse::<Quantity>().unwrap().to_string(), spelling, "{text}");
        }
    }

    #[test]
    fn what_is_no_amount_is_refused_in_upstreams_words() {
        for text in ["", "a", "1 Mi", "1..2", "--1", "1Mi2x", "."] {
            assert_eq!(text.parse::<Quantity>().unwrap_err(), NotQuantity::Format, "{text}");
        }
        for text in ["1mi", "1K", "1e", "1Kim", "1i"] {
            assert_eq!(text.parse::<Quantity>().unwrap_err(), NotQuantity::Suffix, "{text}");
        }
    }

    #[test]
    fn amounts_compare_by_what_they_are_and_round_up() {
        let read = |text: &str| text.parse::<Quantity>().unwrap();
        assert_eq!(read("1Gi"), read("1073741824"));
        assert!(read("1G") < read("1Gi"));
        assert_eq!((read("1500m").value(), read("1.0001").milli_value()), (2, 1001));
        assert_eq!(read("1.0001").in_millis().to_string(), "1001m");
        assert_eq!(read("99999999999999999999999999999E").value(), i64::MAX);
        assert_eq!(read("1e999999999").value(), i64::MAX);
        assert_eq!(read("1e-999999999").milli_value(), 1);
    }
}
