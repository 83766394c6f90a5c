//! Walks over values along their types: which fields a value has, what differs between two, what applying makes of
//! them, and a value without some of its fields (structured-merge-diff/typed/{tofieldset,compare,merge,remove}.go,
//! v6.3.0).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{
    field_set::{Element, FieldSet, Node, path_text},
    schema::{At, Form, Shape, keys_of},
};

/// How deep fields are told apart: what is further below is one value with it. The entries of `managedFields` then stay
/// within what a reader of JSON takes.
const FIELD_DEPTH_MAX: usize = 64;

/// What differs between two values.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Fields that only the new one has.
    pub added: FieldSet,
    /// Fields that differ.
    pub modified: FieldSet,
    /// Fields that only the old one has.
    pub removed: FieldSet,
}

/// The fields of a value, as an applier owns them: its leaves and the elements of its lists.
#[must_use]
pub fn fields_of(at: At, value: &Value) -> FieldSet {
    node_of(at, value, 0).below
}

fn node_of(at: At, value: &Value, depth: usize) -> Node {
    match at.form(value) {
        _ if depth >= FIELD_DEPTH_MAX => Node::leaf(),
        Form::Leaf => Node::leaf(),
        Form::Object(map) if map.is_empty() => Node::leaf(),
        Form::Object(map) => {
            let mut below = FieldSet::default();
            for (name, value) in map {
                below.add(Element::field(name), node_of(at.child(name), value, depth + 1));
            }
            Node { member: false, below }
        }
        Form::Elements(items) => {
            let mut below = FieldSet::default();
            let mut seen = BTreeSet::new();
            let twice: BTreeSet<&Element> =
                items.iter().filter(|(element, _)| !seen.insert(element)).map(|(element, _)| element).collect();
            for (element, item) in &items {
                let node = if twice.contains(element) {
                    Node::leaf()
                } else {
                    Node { member: true, ..node_of(at.item(), item, depth + 1) }
                };
                below.add(element.clone(), node);
            }
            Node { member: false, below }
        }
    }
}

/// What differs between two objects.
#[must_use]
pub fn compare(at: At, old: &Value, new: &Value) -> Comparison {
    let mut comparison = Comparison::default();
    compare_at(at, Some(old), Some(new), &mut Vec::new(), &mut comparison);
    comparison
}

fn compare_at(at: At, old: Option<&Value>, new: Option<&Value>, path: &mut Vec<Element>, found: &mut Comparison) {
    let (old, new) = (old.filter(|value| !value.is_null()), new.filter(|value| !value.is_null()));
    let is_empty = |value: Option<&Value>| match value {
        None => true,
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        Some(_) => false,
    };
    // An empty list or object is a leaf, so that it differs from none at all.
    let descend = path.len() < FIELD_DEPTH_MAX;
    if descend && !(is_empty(old) && is_empty(new)) {
        match (old.map(|value| at.form(value)), new.map(|value| at.form(value))) {
            (None | Some(Form::Object(_)), Some(Form::Object(_))) | (Some(Form::Object(_)), None) => {
                compare_objects(at, old, new, path, found);
            }
            (old @ (None | Some(Form::Elements(_))), new @ Some(Form::Elements(_)))
            | (old @ Some(Form::Elements(_)), new @ None) => compare_elements(at, old, new, path, found),
            _ => {}
        }
    }
    match (old, new) {
        (None, None) => {}
        (None, _) => found.added.insert(path),
        (_, None) => found.removed.insert(path),
        (Some(old), Some(new)) => {
            let merged = matches!(
                (at.form(old), at.form(new)),
                (Form::Object(_), Form::Object(_)) | (Form::Elements(_), Form::Elements(_))
            );
            if !(descend && merged) && old != new {
                found.modified.insert(path);
            }
        }
    }
}

fn compare_objects(at: At, old: Option<&Value>, new: Option<&Value>, path: &mut Vec<Element>, found: &mut Comparison) {
    let empty = Value::Object(Map::new());
    let (old, new) = (old.and_then(Value::as_object), new.and_then(Value::as_object));
    let names: BTreeSet<&String> = old.into_iter().chain(new).flat_map(Map::keys).collect();
    for name in names {
        // A struct that the server's own type always has is there, if empty, in every object.
        let always = at.always_has(name).then_some(&empty);
        path.push(Element::field(name));
        compare_at(
            at.child(name),
            old.and_then(|old| old.get(name).or(always)),
            new.and_then(|new| new.get(name).or(always)),
            path,
            found,
        );
        path.pop();
    }
}

fn compare_elements(
    at: At,
    old: Option<Form<'_>>,
    new: Option<Form<'_>>,
    path: &mut Vec<Element>,
    found: &mut Comparison,
) {
    let (old, new) = (grouped(old), grouped(new));
    let names: BTreeSet<&Element> = old.keys().chain(new.keys()).collect();
    for name in names {
        path.push(name.clone());
        let [old, new] = [&old, &new].map(|side| side.get(name).map(Vec::as_slice).unwrap_or_default());
        match (old, new) {
            ([] | [_], [] | [_]) => {
                compare_at(at.item(), old.first().copied(), new.first().copied(), path, found);
            }
            ([], _) => found.added.insert(path),
            (_, []) => found.removed.insert(path),
            // Elements that are there twice are compared as a whole.
            _ if old != new => found.modified.insert(path),
            _ => {}
        }
        path.pop();
    }
}

fn grouped(form: Option<Form<'_>>) -> BTreeMap<Element, Vec<&Value>> {
    let mut groups: BTreeMap<Element, Vec<&Value>> = BTreeMap::new();
    if let Some(Form::Elements(items)) = form {
        for (element, item) in items {
            groups.entry(element).or_default().push(item);
        }
    }
    groups
}

/// What applying a configuration to a live value makes of it. What only the live value has stays.
#[must_use]
pub fn merge(at: At, live: Option<&Value>, config: &Value) -> Value {
    match at.form(config) {
        // Null in a configuration leaves out a field that would be one value, and says nothing of other ones.
        Form::Leaf if config.is_null() => match live.map(|live| (live, at.form(live))) {
            Some((live, Form::Object(_) | Form::Elements(_))) => live.clone(),
            _ => Value::Null,
        },
        Form::Leaf => config.clone(),
        Form::Object(fields) => {
            let mut merged = live.and_then(Value::as_object).cloned().unwrap_or_default();
            for (name, value) in fields {
                match merge(at.child(name), merged.get(name), value) {
                    Value::Null => {
                        merged.shift_remove(name);
                    }
                    value => {
                        merged.insert(name.clone(), value);
                    }
                }
            }
            Value::Object(merged)
        }
        Form::Elements(items) => match live.map(|live| at.form(live)) {
            Some(Form::Elements(live)) => merge_elements(at, &live, &items),
            _ => items.iter().map(|(_, item)| merge(at.item(), None, item)).collect(),
        },
    }
}

/// The configuration's order is kept, and each of the live list's own elements stays behind the one it followed.
fn merge_elements(at: At, live: &[(Element, &Value)], config: &[(Element, &Value)]) -> Value {
    let wanted: BTreeSet<&Element> = config.iter().map(|(element, _)| element).collect();
    let known: BTreeMap<&Element, &Value> = live.iter().rev().map(|(element, item)| (element, *item)).collect();
    let mut merged = Vec::with_capacity(live.len() + config.len());
    let mut done = BTreeSet::new();
    let mut rest = config.iter();
    let mut take = |merged: &mut Vec<Value>, done: &mut BTreeSet<Element>| {
        let Some((element, item)) = rest.next() else { return false };
        done.insert(element.clone());
        merged.push(merge(at.item(), known.get(element).copied(), item));
        true
    };
    for (element, item) in live {
        if !wanted.contains(element) {
            merged.push((*item).clone());
            continue;
        }
        while !done.contains(element) && take(&mut merged, &mut done) {}
    }
    while take(&mut merged, &mut done) {}
    Value::Array(merged)
}

/// What becomes of an object or list of which nothing is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emptied {
    /// It is null, so that it still counts as a field.
    Null,
    /// It goes too.
    Gone,
}

/// A value without the fields of a set.
#[must_use]
pub fn without(at: At, value: &Value, fields: &FieldSet, emptied: Emptied) -> Option<Value> {
    let keep = |element: &Element, at: At, value: &Value| match fields.node(element) {
        None => Some(value.clone()),
        Some(node) if node.member => None,
        Some(node) => without(at, value, &node.below, emptied),
    };
    let left = match at.form(value) {
        Form::Leaf => return Some(value.clone()),
        Form::Object(map) => {
            let left: Map<String, Value> = map
                .iter()
                .filter_map(|(name, value)| Some((name.clone(), keep(&Element::field(name), at.child(name), value)?)))
                .collect();
            (!left.is_empty()).then_some(Value::Object(left))
        }
        Form::Elements(items) => {
            let left: Vec<Value> = items.iter().filter_map(|(element, item)| keep(element, at.item(), item)).collect();
            (!left.is_empty()).then_some(Value::Array(left))
        }
    };
    left.or_else(|| (emptied == Emptied::Null).then_some(Value::Null))
}

/// The set with every declared field in it that has something below it: unlike the keys of a map, such a field goes
/// when all below it goes.
#[must_use]
pub fn with_named_fields(at: At, fields: &FieldSet) -> FieldSet {
    let mut all = FieldSet::default();
    for (element, node) in fields.nodes() {
        let named = matches!(element, Element::Field(_)) && at.has_named_fields();
        let below = with_named_fields(at.step(element), &node.below);
        all.add(element.clone(), Node { member: node.member || named, below });
    }
    all
}

/// What is wrong with an applied configuration's lists: elements without keys, or the same one twice.
///
/// # Errors
/// The first such element, as upstream names it.
pub fn check_lists(at: At, value: &Value, path: &mut Vec<Element>) -> Result<(), String> {
    if let (Shape::Keyed(keys), Value::Array(items)) = (at.shape, value) {
        for (index, item) in items.iter().enumerate() {
            keys_of(keys, item).map_err(|why| format!("{}: element {index}: {why}", path_text(path)))?;
        }
    }
    match at.form(value) {
        Form::Leaf => Ok(()),
        Form::Object(map) => map.iter().try_for_each(|(name, value)| {
            path.push(Element::field(name));
            let checked = check_lists(at.child(name), value, path);
            path.pop();
            checked
        }),
        Form::Elements(items) => {
            let mut seen = BTreeSet::new();
            items.iter().try_for_each(|(element, item)| {
                if !seen.insert(element) {
                    return Err(format!("{}: duplicate entries for key {element}", path_text(path)));
                }
                path.push(element.clone());
                let checked = check_lists(at.item(), item, path);
                path.pop();
                checked
            })
        }
    }
}
