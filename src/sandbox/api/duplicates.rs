//! Keys that a body has twice. Readers keep the last of them, as Go's do; `fieldValidation` is told of the others
//! (sigs.k8s.io/json `UnmarshalStrict`, sigs.k8s.io/yaml `YAMLToJSONStrict`, as apiserver v0.34.4 uses them).

use std::{cell::RefCell, collections::HashSet, fmt};

use granit_parser::{Event, Parser};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// Places that are told; nobody reads more.
const TOLD_MAX: usize = 100;

/// The paths of keys that stand twice in one object, such as `spec.containers[0].image`, in the order of the text and
/// each once. None where the text is no JSON.
pub(super) fn in_json(bytes: &[u8]) -> Vec<String> {
    let found = RefCell::new(Vec::new());
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let walk = Walk { path: String::new(), found: &found };
    match walk.deserialize(&mut reader) {
        Ok(()) => found.into_inner(),
        Err(_) => Vec::new(),
    }
}

/// The lines on which a key stands that its map has already, with the keys. None where the text is no YAML.
pub(super) fn in_yaml(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    // The maps and lists that are open: of a map its keys and whether a key comes next.
    let mut open: Vec<Option<(HashSet<String>, bool)>> = Vec::new();
    for next in Parser::new_from_str(text) {
        let Ok((event, span)) = next else { return Vec::new() };
        let (opens, ends, key) = match &event {
            Event::MappingStart(..) => (Some(Some((HashSet::new(), true))), false, None),
            Event::SequenceStart(..) => (Some(None), false, None),
            Event::MappingEnd | Event::SequenceEnd => (None, true, None),
            Event::Scalar(text, ..) => (None, false, Some(text.to_string())),
            Event::Alias(_) => (None, false, None),
            _ => continue,
        };
        if ends {
            open.pop();
            continue;
        }
        // Whatever begins here is the next key or value of the map around it.
        if let Some(Some((keys, is_key))) = open.last_mut() {
            if let Some(key) = key.filter(|_| *is_key)
                && !keys.insert(key.clone())
                && found.len() < TOLD_MAX
            {
                found.push((span.start.line().max(1), key));
            }
            *is_key = !*is_key;
        }
        open.extend(opens);
    }
    found
}

/// What Go's YAML library says of them; nothing where there are none.
pub(super) fn yaml_words(found: &[(usize, String)]) -> Option<String> {
    if found.is_empty() {
        return None;
    }
    let lines: Vec<String> =
        found.iter().map(|(line, key)| format!("\n  line {line}: key {key:?} already set in map")).collect();
    Some(format!("yaml: unmarshal errors:{}", lines.concat()))
}

/// A walk through a JSON value that only looks at its keys.
struct Walk<'a> {
    path: String,
    found: &'a RefCell<Vec<String>>,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut keys = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            let path = if self.path.is_empty() { key.clone() } else { format!("{}.{key}", self.path) };
            if !keys.insert(key) {
                let mut found = self.found.borrow_mut();
                if found.len() < TOLD_MAX && !found.contains(&path) {
                    found.push(path.clone());
                }
            }
            map.next_value_seed(Walk { path, found: self.found })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut at = 0;
        while list.next_element_seed(Walk { path: format!("{}[{at}]", self.path), found: self.found })?.is_some() {
            at += 1;
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_stand_twice_are_found_where_they_are() {
        let json = br#"{"data": {"a": "1", "b": "2", "a": "3", "a": "4"}, "list": [{"x": 1}, {"x": 1, "x": null}],
            "once": {"a": true}, "also": {"a": 1.5}}"#;
        assert_eq!(in_json(json), ["data.a", "list[1].x"]);
        assert_eq!(in_json(br#"[{"op": "add", "op": "add"}]"#), ["[0].op"]);
        assert_eq!(in_json(br#"{"a": 1, "a": "#), Vec::<String>::new());
    }

    #[test]
    fn in_yaml_they_have_lines() {
        let yaml = "data:\n  a: b\n  b: a\n  a: c\nlist:\n- {x: 1}\n- x: 1\n  x: [y, y]\nmore: {a: 1, ? [k] : v}\n";
        let found = in_yaml(yaml);
        assert_eq!(found, [(4, "a".to_owned()), (8, "x".to_owned())]);
        assert_eq!(
            yaml_words(&found).unwrap(),
            "yaml: unmarshal errors:\n  line 4: key \"a\" already set in map\n  line 8: key \"x\" already set in map"
        );
        assert_eq!(yaml_words(&in_yaml("a: 1\nb: 1\n")), None);
        assert_eq!(in_yaml("a: [1\n"), Vec::new());
    }
}
