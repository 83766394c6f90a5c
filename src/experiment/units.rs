//! The units of an experiment file, written as people write them: `500ms`, `200/s`, `25%`, `deployment/shop`.
//!
//! Each type has one way in, its parser, and says in its error what to write instead; so a value that exists is a
//! value that is valid. The JSON Schema carries the same rule as a pattern, for editors.

use std::{fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Why a text is not a value of its unit: what was found, and what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not {wanted}")]
pub struct UnitError {
    /// The text as it stands in the file.
    pub found: String,
    /// The unit with an example, as in "a duration such as 500ms, 10s or 2m".
    pub wanted: &'static str,
}

/// A text form that parses, prints, and has a pattern for the schema.
trait Unit: FromStr<Err = UnitError> + fmt::Display {
    const NAME: &'static str;
    const WANTED: &'static str;
    const PATTERN: &'static str;

    fn refuse(found: &str) -> UnitError {
        UnitError { found: found.to_owned(), wanted: Self::WANTED }
    }
}

macro_rules! unit_in_serde_and_schema {
    ($type:ty) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                <$type as Unit>::NAME.into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string",
                    "pattern": <$type as Unit>::PATTERN,
                    "description": <$type as Unit>::WANTED,
                })
            }
        }
    };
}

/// A length of time, to the millisecond: `500ms`, `10s`, `1.5s`, `2m`, `1h`. A bare number is refused: its unit
/// would have to be guessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(Duration);

impl Span {
    /// A span of whole milliseconds.
    #[must_use]
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(Duration::from_millis(milliseconds))
    }

    /// The span as the standard library's duration.
    #[must_use]
    pub const fn duration(self) -> Duration {
        self.0
    }

    /// The span in whole microseconds, the record's unit of time.
    #[must_use]
    pub fn micros(self) -> i64 {
        i64::try_from(self.0.as_micros()).unwrap_or(i64::MAX)
    }
}

impl Unit for Span {
    const NAME: &'static str = "Span";
    const WANTED: &'static str = "a duration such as 500ms, 10s, 1.5s, 2m or 1h";
    const PATTERN: &'static str = r"^[0-9]{1,9}(\.[0-9]{1,3})?(ms|s|m|h)$";
}

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(|| Self::refuse(text))?;
        let (number, unit) = text.split_at(unit_at);
        let milliseconds_per_unit = match unit {
            "ms" => 1.0,
            "s" => 1_000.0,
            "m" => 60_000.0,
            "h" => 3_600_000.0,
            _ => return Err(Self::refuse(text)),
        };
        let number = plain_number(number).ok_or_else(|| Self::refuse(text))?;
        let milliseconds = (number * milliseconds_per_unit).round();
        // A year is far beyond any experiment, and keeps the conversion below exact.
        if milliseconds > 365.0 * 24.0 * 3_600_000.0 {
            return Err(Self::refuse(text));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "bounded just above, never negative"
        )]
        Ok(Self::from_millis(milliseconds as u64))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_millis() {
            0 => f.write_str("0s"),
            ms if ms % 3_600_000 == 0 => write!(f, "{}h", ms / 3_600_000),
            ms if ms % 60_000 == 0 => write!(f, "{}m", ms / 60_000),
            ms if ms % 1_000 == 0 => write!(f, "{}s", ms / 1_000),
            ms => write!(f, "{ms}ms"),
        }
    }
}

unit_in_serde_and_schema!(Span);

/// A rate of requests of an open-loop lane: `200/s`, `0.5/s`, `600/m`. Always held per second.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Rate(f64);

impl Rate {
    /// Requests per second; above zero.
    #[must_use]
    pub const fn per_second(self) -> f64 {
        self.0
    }
}

impl Unit for Rate {
    const NAME: &'static str = "Rate";
    const WANTED: &'static str = "a rate above zero such as 200/s, 0.5/s or 600/m, at most 100000/s";
    const PATTERN: &'static str = r"^[0-9]{1,9}(\.[0-9]{1,3})?/(s|m)$";
}

impl FromStr for Rate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let (number, unit) = text.split_once('/').ok_or_else(|| Self::refuse(text))?;
        let seconds = match unit {
            "s" => 1.0,
            "m" => 60.0,
            _ => return Err(Self::refuse(text)),
        };
        let per_second = plain_number(number).ok_or_else(|| Self::refuse(text))? / seconds;
        if per_second > 0.0 && per_second <= 100_000.0 { Ok(Self(per_second)) } else { Err(Self::refuse(text)) }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", (self.0 * 1_000.0).round() / 1_000.0)
    }
}

unit_in_serde_and_schema!(Rate);

/// A share of a whole, from `0%` to `100%`, to a thousandth of a percent.
#[derive(Debug, Clone, Copy, Default, PartialEq, PartialOrd)]
pub struct Percent(f64);

impl Percent {
    /// The share as a fraction from 0 to 1.
    #[must_use]
    pub fn fraction(self) -> f64 {
        self.0 / 100.0
    }
}

impl Unit for Percent {
    const NAME: &'static str = "Percent";
    const WANTED: &'static str = "a percentage from 0% to 100%, such as 0.1%";
    const PATTERN: &'static str = r"^[0-9]{1,3}(\.[0-9]{1,3})?%$";
}

impl FromStr for Percent {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let number = text.strip_suffix('%').and_then(plain_number).ok_or_else(|| Self::refuse(text))?;
        if number <= 100.0 { Ok(Self(number)) } else { Err(Self::refuse(text)) }
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

unit_in_serde_and_schema!(Percent);

/// The kinds of workload that steps act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkloadKind {
    /// `apps/v1` Deployment.
    Deployment,
    /// `apps/v1` `StatefulSet`.
    StatefulSet,
    /// `apps/v1` `DaemonSet`.
    DaemonSet,
}

impl WorkloadKind {
    /// The word before the slash, in lower case as kubectl writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "deployment",
            Self::StatefulSet => "statefulset",
            Self::DaemonSet => "daemonset",
        }
    }
}

/// A workload by kind and name, as kubectl writes it: `deployment/shop`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkloadRef {
    /// What it is.
    pub kind: WorkloadKind,
    /// Its `metadata.name`.
    pub name: String,
}

impl Unit for WorkloadRef {
    const NAME: &'static str = "WorkloadRef";
    const WANTED: &'static str = "a workload such as deployment/shop, statefulset/store or daemonset/proxy";
    const PATTERN: &'static str = r"^(deployment|statefulset|daemonset)/[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$";
}

impl FromStr for WorkloadRef {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let (kind, name) = text.split_once('/').ok_or_else(|| Self::refuse(text))?;
        let kind = match kind {
            "deployment" => WorkloadKind::Deployment,
            "statefulset" => WorkloadKind::StatefulSet,
            "daemonset" => WorkloadKind::DaemonSet,
            _ => return Err(Self::refuse(text)),
        };
        if !is_object_name(name) {
            return Err(Self::refuse(text));
        }
        Ok(Self { kind, name: name.to_owned() })
    }
}

impl fmt::Display for WorkloadRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.as_str(), self.name)
    }
}

unit_in_serde_and_schema!(WorkloadRef);

/// The parsers by the name that each unit has in the schema, for a check that knows only the schema.
///
/// Nothing where there is no unit of that name.
#[must_use]
pub(super) fn check(unit: &str, text: &str) -> Option<Result<(), UnitError>> {
    fn parses<U: Unit>(text: &str) -> Result<(), UnitError> {
        text.parse::<U>().map(|_| ())
    }
    Some(match unit {
        Span::NAME => parses::<Span>(text),
        Rate::NAME => parses::<Rate>(text),
        Percent::NAME => parses::<Percent>(text),
        WorkloadRef::NAME => parses::<WorkloadRef>(text),
        _ => return None,
    })
}

/// Digits with at most three decimals; no sign, no exponent, nothing that `f64` would also take.
fn plain_number(text: &str) -> Option<f64> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let digits =
        |part: &str, most: usize| !part.is_empty() && part.len() <= most && part.bytes().all(|b| b.is_ascii_digit());
    if digits(whole, 9) && digits(decimals, 3) { text.parse().ok() } else { None }
}

/// Whether a text is a DNS subdomain as RFC 1123 has it, the rule for most object names.
#[must_use]
pub fn is_object_name(name: &str) -> bool {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= 253
        && name.chars().next().is_some_and(edge)
        && name.chars().next_back().is_some_and(edge)
        && name.chars().all(|c| edge(c) || c == '-' || c == '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        let table = [("500ms", 500), ("10s", 10_000), ("1.5s", 1_500), ("2m", 120_000), ("1h", 3_600_000), ("0s", 0)];
        for (text, milliseconds) in table {
            assert_eq!(text.parse::<Span>(), Ok(Span::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn a_duration_without_a_unit_a_sign_or_an_exponent_is_refused() {
        for text in ["10", "-1s", "+1s", "1e3s", "", "s", "1 s", "1d", "1.2345s", "9999999999s", "infs", "999999999h"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_printed_duration_reads_back_as_itself() {
        for milliseconds in [0, 1, 999, 1_000, 1_500, 60_000, 90_000, 3_600_000] {
            let span = Span::from_millis(milliseconds);
            assert_eq!(span.to_string().parse(), Ok(span));
        }
    }

    #[test]
    fn rates_and_percentages_keep_their_bounds() {
        assert_eq!("600/m".parse::<Rate>().map(Rate::per_second), Ok(10.0));
        assert!(["0/s", "200", "200/h", "-1/s", "100001/s"].iter().all(|text| text.parse::<Rate>().is_err()));
        assert_eq!("0.1%".parse::<Percent>().map(|p| (p.fraction() * 1e6).round()), Ok(1_000.0));
        assert!(["101%", "5", "-1%", "%"].iter().all(|text| text.parse::<Percent>().is_err()));
    }

    #[test]
    fn a_workload_is_a_kind_and_a_name() {
        let shop: WorkloadRef = "deployment/shop".parse().unwrap();
        assert_eq!((shop.kind, shop.name.as_str()), (WorkloadKind::Deployment, "shop"));
        assert!(
            ["shop", "pod/shop", "deployment/", "deployment/Shop", "deployment/a/b"]
                .iter()
                .all(|t| t.parse::<WorkloadRef>().is_err())
        );
    }
}
