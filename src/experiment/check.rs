//! A file's tree against the JSON Schema: unknown and missing keys, wrong types, unknown words, units.
//!
//! It walks the schema that is generated from the types, so what an editor underlines, what is refused here and what
//! the types take are the same. It knows the parts of JSON Schema that the generator writes, and no others.

use serde_json::{Map, Value as Json};

use super::{
    problem::{Place, Problem},
    tree::{Entry, Node, Scalar, Value},
    units,
};

pub(super) mod words;

/// What is wrong with a tree.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// All problems.
    pub problems: Vec<Problem>,
    /// The places of keys that nobody knows: without them the rest can still be understood.
    pub unknown_keys: Vec<Place>,
}

/// Holds a tree against the schema of an experiment.
pub(super) fn check(root: &Node) -> Checked {
    let schema = super::json_schema::schema();
    let mut checker = Checker { root: schema.as_value(), checked: Checked::default() };
    checker.value(schema.as_value(), root, &Label::new("the file", root.place));
    checker.checked
}

/// What a value is called in messages, and where the key stands that it belongs to.
struct Label {
    name: String,
    place: Place,
}

impl Label {
    fn new(name: impl Into<String>, place: Place) -> Self {
        Self { name: name.into(), place }
    }

    fn key(entry: &Entry) -> Self {
        Self::new(format!("`{}`", entry.key), entry.place)
    }
}

struct Checker<'a> {
    root: &'a Json,
    checked: Checked,
}

impl<'a> Checker<'a> {
    fn problem(&mut self, place: Place, what: impl Into<String>, instead: impl Into<String>) {
        self.checked.problems.push(Problem { place, what: what.into(), instead: instead.into() });
    }

    fn value(&mut self, schema: &'a Json, node: &Node, label: &Label) {
        let (name, schema) = words::resolve(self.root, schema);
        if let Some(members) = schema.get("oneOf").and_then(Json::as_array) {
            return self.union(name, members, schema, node, label);
        }
        match schema.get("type").and_then(Json::as_str) {
            Some("object") => self.object(schema, node, label),
            Some("array") => self.list(schema, node, label),
            Some("string") => self.text(name, schema, node, label),
            Some("integer") => self.integer(schema, node, label),
            Some("boolean") if !matches!(meaning(node), Some(Json::Bool(_))) => self.wrong_type(schema, node, label),
            _ => {}
        }
    }

    fn wrong_type(&mut self, schema: &'a Json, node: &Node, label: &Label) {
        let wanted = words::wanted(self.root, schema);
        if matches!(meaning(node), Some(Json::Null)) {
            // An empty value has no place of its own to point at.
            return self.problem(label.place, format!("{} has no value", label.name), format!("write {wanted}"));
        }
        self.problem(node.place, format!("{} is {}", label.name, node.in_words()), format!("write {wanted}"));
    }

    fn text(&mut self, name: Option<&str>, schema: &'a Json, node: &Node, label: &Label) {
        let Value::Scalar(Scalar { text, meaning }) = &node.value else {
            return self.wrong_type(schema, node, label);
        };
        let unit = name.and_then(|name| units::check(name, text));
        match (meaning, unit) {
            (Json::String(_), Some(Err(error))) => {
                let what = format!("{} is {:?}", label.name, error.found);
                self.problem(node.place, what, format!("write {}", error.wanted));
            }
            (Json::String(_), _) => {}
            (Json::Number(_) | Json::Bool(_), None) => {
                let what = format!("{} is {}, not a text", label.name, node.in_words());
                self.problem(node.place, what, format!("write it in quotes: {text:?}"));
            }
            _ => self.wrong_type(schema, node, label),
        }
    }

    fn integer(&mut self, schema: &'a Json, node: &Node, label: &Label) {
        let number = match meaning(node) {
            Some(Json::Number(number)) if number.is_i64() || number.is_u64() => number,
            _ => return self.wrong_type(schema, node, label),
        };
        // All integers of the format are unsigned; a negative one is below every minimum.
        let (least, most) = words::bounds(schema);
        if number.as_u64().is_none_or(|number| number < least || number > most) {
            self.wrong_type(schema, node, label);
        }
    }

    fn list(&mut self, schema: &'a Json, node: &Node, label: &Label) {
        let Value::List(items) = &node.value else { return self.wrong_type(schema, node, label) };
        let least = schema.get("minItems").and_then(Json::as_u64).unwrap_or(0);
        if (items.len() as u64) < least {
            let what = match items.len() {
                0 => format!("{} is empty", label.name),
                one => format!("{} has only {one}", label.name),
            };
            self.problem(label.place, what, format!("write at least {least}"));
        }
        let Some(of) = schema.get("items") else { return };
        for item in items {
            self.value(of, item, &Label::new(format!("an item of {}", label.name), item.place));
        }
    }

    fn object(&mut self, schema: &'a Json, node: &Node, label: &Label) {
        let Value::Map(entries) = &node.value else { return self.wrong_type(schema, node, label) };
        let no_keys = Map::new();
        let known = schema.get("properties").and_then(Json::as_object);
        if entries.is_empty() && schema.get("minProperties").is_some() {
            self.problem(label.place, format!("{} is empty", label.name), "write at least one `key: value` in it");
        }
        for entry in entries {
            let property = known.and_then(|known| known.get(&entry.key));
            match (property, schema.get("additionalProperties")) {
                (Some(property), _) => self.value(property, &entry.value, &Label::key(entry)),
                (None, Some(Json::Bool(false))) => {
                    self.unknown_key(entry, label, known.unwrap_or(&no_keys));
                }
                (None, Some(others @ Json::Object(_))) => self.value(others, &entry.value, &Label::key(entry)),
                _ => {}
            }
        }
        let required = schema.get("required").and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
        for key in required.iter().filter_map(Json::as_str) {
            if node.get(key).is_none() {
                let wanted = known.and_then(|known| known.get(key)).map(|one| words::wanted(self.root, one));
                let instead = format!("add `{key}:` with {}", wanted.unwrap_or_else(|| "a value".to_owned()));
                self.problem(label.place, format!("{} lacks the key `{key}`", label.name), instead);
            }
        }
    }

    fn unknown_key(&mut self, entry: &Entry, label: &Label, known: &Map<String, Json>) {
        let names: Vec<&str> = known.keys().map(String::as_str).collect();
        let what = format!("unknown key `{}` in {}", entry.key, label.name);
        self.problem(entry.place, what, words::did_you_mean(&entry.key, &names));
        self.checked.unknown_keys.push(entry.place);
    }

    /// An enum: some words, some single keys with a value, or both.
    fn union(&mut self, name: Option<&str>, members: &'a [Json], schema: &'a Json, node: &Node, label: &Label) {
        let noun = words::noun(name);
        let keys: Vec<(&str, &'a Json)> = members.iter().filter_map(words::single_key).collect();
        let consts: Vec<&str> = members.iter().filter_map(|one| one.get("const").and_then(Json::as_str)).collect();
        match &node.value {
            Value::Scalar(Scalar { meaning: Json::String(text), .. }) => {
                if consts.contains(&text.as_str()) {
                    return;
                }
                let choices = words::choices(members);
                let all: Vec<&str> = choices.iter().map(String::as_str).collect();
                if keys.iter().any(|(key, _)| key == text) {
                    let what = format!("{noun} `{text}` has no settings");
                    return self.problem(node.place, what, format!("write `{text}:` and its settings under it"));
                }
                let what = if consts.is_empty() {
                    format!("unknown {noun} `{text}`")
                } else {
                    format!("{} is {text:?}", label.name)
                };
                self.problem(node.place, what, words::did_you_mean(text, &all));
            }
            Value::Map(entries) if !keys.is_empty() => self.single_key(noun, &keys, members, entries, label),
            _ => self.wrong_type(schema, node, label),
        }
    }

    fn single_key(
        &mut self,
        noun: &str,
        keys: &[(&str, &'a Json)],
        members: &'a [Json],
        entries: &[Entry],
        label: &Label,
    ) {
        let find = |entry: &Entry| keys.iter().find(|(key, _)| *key == entry.key).map(|(_, schema)| *schema);
        let known: Vec<(&Entry, &'a Json)> =
            entries.iter().filter_map(|entry| find(entry).map(|schema| (entry, schema))).collect();
        let choices = words::choices(members);
        let all: Vec<&str> = choices.iter().map(String::as_str).collect();
        if let [_, (second, _), ..] = known.as_slice() {
            let what = format!("`{}` stands in the same item as `{}`", second.key, known[0].0.key);
            self.problem(second.place, what, format!("make it an item of its own: `- {}:`", second.key));
        }
        for (entry, schema) in &known {
            let is_empty = matches!(meaning(&entry.value), Some(Json::Null));
            // The indentation of a list item is easily taken for that of its key.
            if let Some(beside) = entries.iter().find(|other| is_empty && find(other).is_none()) {
                let what = format!("`{}` stands beside `{}`, not under it", beside.key, entry.key);
                return self.problem(beside.place, what, format!("indent it further than `{}:`", entry.key));
            }
            self.value(schema, &entry.value, &Label::key(entry));
        }
        for entry in entries.iter().filter(|entry| find(entry).is_none()) {
            let what = format!("unknown {noun} `{}`", entry.key);
            self.problem(entry.place, what, words::did_you_mean(&entry.key, &all));
            if !known.is_empty() {
                self.checked.unknown_keys.push(entry.place);
            }
        }
        if entries.is_empty() {
            self.problem(label.place, format!("{} is empty", label.name), words::one_of(&all));
        }
    }
}

fn meaning(node: &Node) -> Option<&Json> {
    match &node.value {
        Value::Scalar(scalar) => Some(&scalar.meaning),
        _ => None,
    }
}
