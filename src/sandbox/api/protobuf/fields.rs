//! The fields of messages, from `fields.txt`: a message a line, `NAME=NUMBER:TYPE` a field. `+` as the name means that its
//! fields stand in the message itself; `*` before the type a list, `%` a map; `-` after it that the field is left out
//! where it is empty. Types: `s` text, `b` flag, `i` number, `y` bytes, `T` time, `M` time with microseconds, `Q` amount,
//! `I` number or text, `R` any JSON, `E` texts, else a message.

use std::{collections::HashMap, sync::LazyLock};

/// The type of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Flag,
    Number,
    Bytes,
    Time,
    MicroTime,
    Quantity,
    IntOrString,
    Raw,
    Texts,
    Message(&'static str),
}

/// How often a field can be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Count {
    One,
    Many,
    ByKey,
}

/// A field.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Field {
    number: u64,
    /// Its name in JSON.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) count: Count,
    /// Its own fields stand in the message.
    pub(super) inline: bool,
    /// It is left out where it is empty.
    pub(super) dropped: bool,
}

/// Groups and versions by the names that `fields.txt` has for them.
const PACKAGES: [(&str, &str); 11] = [
    ("v1", "core"),
    ("apps/v1", "apps"),
    ("authentication.k8s.io/v1", "authentication"),
    ("authorization.k8s.io/v1", "authorization"),
    ("autoscaling/v1", "scale"),
    ("autoscaling/v2", "autoscaling"),
    ("batch/v1", "batch"),
    ("coordination.k8s.io/v1", "coordination"),
    ("discovery.k8s.io/v1", "discovery"),
    ("events.k8s.io/v1", "events"),
    ("policy/v1", "policy"),
];

static MESSAGES: LazyLock<HashMap<&'static str, Vec<Field>>> = LazyLock::new(|| {
    let lines = include_str!("fields.txt").lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some((words.next()?, words.filter_map(field).collect()))
        })
        .collect()
});

fn field(word: &'static str) -> Option<Field> {
    let (name, rest) = word.split_once('=')?;
    let (number, kind) = rest.split_once(':')?;
    let (count, kind) = match (kind.strip_prefix('*'), kind.strip_prefix('%')) {
        (Some(kind), _) => (Count::Many, kind),
        (_, Some(kind)) => (Count::ByKey, kind),
        _ => (Count::One, kind),
    };
    let (kind, dropped) = kind.strip_suffix('-').map_or((kind, false), |kind| (kind, true));
    let kind = match kind {
        "s" => Kind::Text,
        "b" => Kind::Flag,
        "i" => Kind::Number,
        "y" => Kind::Bytes,
        "T" => Kind::Time,
        "M" => Kind::MicroTime,
        "Q" => Kind::Quantity,
        "I" => Kind::IntOrString,
        "R" => Kind::Raw,
        "E" => Kind::Texts,
        message => Kind::Message(message),
    };
    Some(Field { number: number.parse().ok()?, name, kind, count, inline: name == "+", dropped })
}

/// The message of a kind. The options of a deletion go by the version of what is deleted.
pub(super) fn message_of(api_version: &str, kind: &str) -> Option<&'static str> {
    if kind == "DeleteOptions" {
        return Some("meta.DeleteOptions");
    }
    let (_, package) = PACKAGES.iter().find(|(known, _)| *known == api_version)?;
    MESSAGES.get_key_value(format!("{package}.{kind}").as_str()).map(|(name, _)| *name)
}

/// A field of a message by its number.
pub(super) fn find(message: &str, number: u64) -> Option<&'static Field> {
    MESSAGES.get(message)?.iter().find(|field| field.number == number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::kinds;

    #[test]
    fn every_stored_kind_has_a_message() {
        for kind in kinds::ALL {
            assert!(message_of(&kind.api_version(), kind.kind).is_some(), "{}", kind.kind);
        }
    }

    #[test]
    fn every_message_that_a_field_has_is_known() {
        for (message, fields) in MESSAGES.iter() {
            assert!(!fields.iter().any(|field| field.number == 0), "{message}");
            for field in fields {
                if let Kind::Message(name) = field.kind {
                    assert!(MESSAGES.contains_key(name), "{message}.{}: {name}", field.name);
                }
            }
        }
    }
}
