//! YAML as a tree that knows where each value and each key stands.
//!
//! The parser gives events with positions; nothing else here knows YAML. Scalars mean what YAML 1.2's core schema says
//! (`yes` and `on` are texts). What a file can cost is bounded: its size, its depth, and what its aliases expand to.

use serde_json::{Map, Number, Value as Json};

use super::problem::Place;

mod build;
mod scalar;

pub use build::{MAX_BYTES, MAX_DEPTH, MAX_NODES, parse};

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Its first character.
    pub place: Place,
    /// What it is.
    pub value: Value,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A single value.
    Scalar(Scalar),
    /// A list.
    List(Vec<Node>),
    /// Keys with values, in the order of the file; no key twice.
    Map(Vec<Entry>),
}

/// A single value as it is written, and what it means.
#[derive(Debug, Clone, PartialEq)]
pub struct Scalar {
    /// Its characters, without quotes.
    pub text: String,
    /// Null, a truth value, a number or a text.
    pub meaning: Json,
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub place: Place,
    /// The value.
    pub value: Node,
}

/// The way from the root to a value.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(Vec<Segment>);

/// One step of a [`Path`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Segment {
    Key(String),
    Index(usize),
}

impl Path {
    /// The root.
    #[must_use]
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// The value of a key.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.with(Segment::Key(key.to_owned()))
    }

    /// An item of a list, from 0.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(Segment::Index(index))
    }

    /// Several keys, one in the other.
    #[must_use]
    pub fn keys(&self, keys: &[&str]) -> Self {
        keys.iter().fold(self.clone(), |path, key| path.key(key))
    }

    fn with(&self, segment: Segment) -> Self {
        let mut segments = self.0.clone();
        segments.push(segment);
        Self(segments)
    }
}

impl Node {
    /// The value of a key, where this is a map that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// A key with its value.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// The items, where this is a list.
    #[must_use]
    pub fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// The text, where this is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(Scalar { meaning: Json::String(text), .. }) => Some(text),
            _ => None,
        }
    }

    /// The place of a value: of itself where it is a single value, otherwise of the key it belongs to. Of what is
    /// around it, where it does not exist.
    #[must_use]
    pub fn place_of(&self, path: &Path) -> Place {
        let mut node = self;
        let mut place = self.place;
        for segment in &path.0 {
            let next = match segment {
                Segment::Key(key) => node.entry(key).map(|entry| (&entry.value, entry.place)),
                Segment::Index(index) => node.items().get(*index).map(|item| (item, item.place)),
            };
            let Some((value, owner)) = next else { return place };
            place = if matches!(value.value, Value::Scalar(_)) { value.place } else { owner };
            node = value;
        }
        place
    }

    /// The place of a key, where it exists; otherwise as [`Self::place_of`] the map that it is missing in.
    #[must_use]
    pub fn place_of_key(&self, path: &Path, key: &str) -> Place {
        let owner = self.at(path).and_then(|map| map.entry(key)).map(|entry| entry.place);
        owner.unwrap_or_else(|| self.place_of(path))
    }

    /// The value at a path.
    #[must_use]
    pub fn at(&self, path: &Path) -> Option<&Self> {
        path.0.iter().try_fold(self, |node, segment| match segment {
            Segment::Key(key) => node.get(key),
            Segment::Index(index) => node.items().get(*index),
        })
    }

    /// The value as JSON, without the keys that `leave_out` names by the place where they stand.
    #[must_use]
    pub fn to_json(&self, leave_out: &[Place]) -> Json {
        match &self.value {
            Value::Scalar(scalar) => scalar.meaning.clone(),
            Value::List(items) => items.iter().map(|item| item.to_json(leave_out)).collect(),
            Value::Map(entries) => {
                let kept = entries.iter().filter(|entry| !leave_out.contains(&entry.place));
                Json::Object(kept.map(|one| (one.key.clone(), one.value.to_json(leave_out))).collect::<Map<_, _>>())
            }
        }
    }

    /// What it is, in words for a message: `a list`, `the number 200`.
    #[must_use]
    pub fn in_words(&self) -> String {
        match &self.value {
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map of keys".to_owned(),
            Value::Scalar(scalar) => match &scalar.meaning {
                Json::Null => "nothing".to_owned(),
                Json::Bool(_) => format!("the truth value {}", scalar.text),
                Json::Number(_) => format!("the number {}", scalar.text),
                _ => format!("the text {:?}", scalar.text),
            },
        }
    }
}

/// A number as JSON has it; not-a-number and infinity are none.
fn number(value: f64) -> Option<Json> {
    Number::from_f64(value).map(Json::Number)
}

#[cfg(test)]
mod tests;
