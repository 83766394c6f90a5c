//! `IntOrString` where it stands for a number of pods: `1` or `25%`, and how a percentage becomes pods.
//!
//! Rounding is the caller's choice, since upstream rounds the same notation up in one place and down in another
//! (apimachinery/pkg/util/intstr/intstr.go, `GetScaledValueFromIntOrPercent`).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A number of pods, or a percentage of some whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntOrPercent {
    /// So many.
    Int(i32),
    /// So many of 100; Kubernetes takes whole numbers only, and lets them exceed 100.
    Percent(i32),
}

/// Which way a fraction of a pod goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    /// To the next larger whole pod.
    Up,
    /// To the next smaller whole pod.
    Down,
}

/// Why a text is not a number of pods.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is neither a whole number nor a whole percentage such as 25%")]
pub struct NotIntOrPercent {
    /// The text as it was found.
    pub found: String,
}

impl IntOrPercent {
    /// The number of pods that this is of `total`.
    #[must_use]
    pub fn of(self, total: i32, round: Round) -> i32 {
        match self {
            Self::Int(pods) => pods,
            Self::Percent(percent) => {
                let hundredths = i64::from(percent) * i64::from(total);
                let pods = match round {
                    Round::Up => -(-hundredths).div_euclid(100),
                    Round::Down => hundredths.div_euclid(100),
                };
                i32::try_from(pods).unwrap_or(if pods < 0 { i32::MIN } else { i32::MAX })
            }
        }
    }

    /// Reads the value from JSON, where it is a number or a text.
    pub fn from_json(value: &serde_json::Value) -> Result<Self, NotIntOrPercent> {
        match value {
            serde_json::Value::String(text) => text.parse(),
            other => other
                .as_i64()
                .and_then(|number| i32::try_from(number).ok())
                .map(Self::Int)
                .ok_or_else(|| NotIntOrPercent { found: other.to_string() }),
        }
    }
}

impl FromStr for IntOrPercent {
    type Err = NotIntOrPercent;

    fn from_str(text: &str) -> Result<Self, NotIntOrPercent> {
        let refuse = || NotIntOrPercent { found: text.to_owned() };
        let (digits, of_hundred) = text.strip_suffix('%').map_or((text, false), |digits| (digits, true));
        // Only digits: `i32` would also take a sign.
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(refuse());
        }
        let number = digits.parse().map_err(|_| refuse())?;
        Ok(if of_hundred { Self::Percent(number) } else { Self::Int(number) })
    }
}

impl fmt::Display for IntOrPercent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(pods) => write!(f, "{pods}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl Serialize for IntOrPercent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Int(pods) => serializer.serialize_i32(*pods),
            Self::Percent(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for IntOrPercent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        Self::from_json(&value).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_round_the_way_they_are_told() {
        let table = [
            ("25%", 3, 1, 0),
            ("25%", 4, 1, 1),
            ("50%", 7, 4, 3),
            ("100%", 3, 3, 3),
            ("0%", 3, 0, 0),
            ("1%", 1, 1, 0),
            ("34%", 3, 2, 1),
            ("150%", 2, 3, 3),
            ("2", 7, 2, 2),
        ];
        for (text, total, up, down) in table {
            let value: IntOrPercent = text.parse().unwrap();
            assert_eq!((value.of(total, Round::Up), value.of(total, Round::Down)), (up, down), "{text} of {total}");
        }
    }

    #[test]
    fn what_kubernetes_refuses_is_refused() {
        for text in ["", "%", "-1", "+1", "1.5", "25 %", "25%%", "a", "99999999999"] {
            assert!(text.parse::<IntOrPercent>().is_err(), "{text}");
        }
        assert!(IntOrPercent::from_json(&serde_json::json!(true)).is_err());
        assert!(IntOrPercent::from_json(&serde_json::json!(1.5)).is_err());
    }

    #[test]
    fn json_keeps_a_number_a_number_and_a_percentage_a_text() {
        for (value, json) in [(IntOrPercent::Int(1), "1"), (IntOrPercent::Percent(25), "\"25%\"")] {
            assert_eq!(serde_json::to_string(&value).unwrap(), json);
            assert_eq!(serde_json::from_str::<IntOrPercent>(json).unwrap(), value);
        }
    }
}
