//! Strategic merge patch, as kubectl sends it: a merge patch that knows the keys of lists, with directives
//! (apimachinery/pkg/util/strategicpatch/patch.go, v0.34.4).
//!
//! `$patch: delete|replace` in an object or a list's element, `$retainKeys`, `$deleteFromPrimitiveList/F` and
//! `$setElementOrder/F` beside a field F.

use serde_json::{Map, Value};

use super::{
    json::cannot_be_applied,
    schema::{At, Strategy},
    strategic_lists::{self, Keyed},
    unexplained,
};
use crate::sandbox::error::ApiError;

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const SET_ORDER: &str = "$setElementOrder/";

/// Patches an object.
///
/// # Errors
/// 400 for a directive that cannot be understood, 422 for lists of lists, 500 (as upstream) for elements without their
/// key and orders that contradict the patch.
pub fn apply(at: At, original: Map<String, Value>, patch: Map<String, Value>) -> Result<Map<String, Value>, ApiError> {
    merge_objects(at, original, patch)
}

/// Merges one object.
pub(super) fn merge_objects(
    at: At,
    mut original: Map<String, Value>,
    mut patch: Map<String, Value>,
) -> Result<Map<String, Value>, ApiError> {
    if let Some(directive) = patch.shift_remove(PATCH) {
        return match directive.as_str() {
            Some("replace") => Ok(without_directives(patch)),
            Some("delete") => Ok(Map::new()),
            _ => Err(unknown_directive(&directive, &patch)),
        };
    }
    retain_keys(&mut original, &mut patch)?;
    set_orders(at, &mut original, &mut patch)?;
    for (name, value) in patch {
        if let Some(name) = name.strip_prefix(DELETE_FROM) {
            delete_from(at, &mut original, name, value)?;
            continue;
        }
        if value.is_null() {
            original.shift_remove(&name);
            continue;
        }
        let place = at.child(&name);
        let merged = match (original.get_mut(&name).map(Value::take), value) {
            (Some(Value::Object(_)), Value::Object(value)) if place.strategy == Strategy::Replace => {
                Some(Value::Object(without_directives(value)))
            }
            (Some(Value::Object(original)), Value::Object(value)) => {
                Some(Value::Object(merge_objects(place, original, value)?))
            }
            (Some(Value::Array(original)), Value::Array(value)) => {
                Some(Value::Array(merge_lists(place, original, value)?))
            }
            (_, value) => cleaned(value),
        };
        match merged {
            Some(merged) => {
                original.insert(name, merged);
            }
            None => {
                original.shift_remove(&name);
            }
        }
    }
    Ok(original)
}

fn unknown_directive(directive: &Value, patch: &Map<String, Value>) -> ApiError {
    let shown = directive.as_str().map_or_else(|| directive.to_string(), str::to_owned);
    unexplained(format!("unknown patch type: {shown} in map: {}", Value::Object(patch.clone())))
}

/// Keeps only the named fields of the original. What the patch sets must be among them.
fn retain_keys(original: &mut Map<String, Value>, patch: &mut Map<String, Value>) -> Result<(), ApiError> {
    let Some(retained) = patch.shift_remove(RETAIN_KEYS) else { return Ok(()) };
    let malformed = || ApiError::bad_request("invalid patch format of retainKeys");
    let retained = retained.as_array().ok_or_else(malformed)?;
    let is_retained = |name: &str| retained.iter().any(|one| one == name);
    let is_directive = |name: &str| name.starts_with(DELETE_FROM) || name.starts_with(SET_ORDER);
    if patch.iter().any(|(name, value)| !value.is_null() && !is_directive(name) && !is_retained(name)) {
        return Err(malformed());
    }
    original.retain(|name, _| is_retained(name));
    Ok(())
}

fn set_orders(at: At, original: &mut Map<String, Value>, patch: &mut Map<String, Value>) -> Result<(), ApiError> {
    let directives: Vec<String> = patch.keys().filter(|name| name.starts_with(SET_ORDER)).cloned().collect();
    for directive in directives {
        let order = patch.shift_remove(&directive).unwrap_or_default();
        let name = directive.strip_prefix(SET_ORDER).unwrap_or_default();
        let Value::Array(order) = order else { return Err(not_a_list(&order)) };
        let (live, wanted) = (list_at(original, name)?, list_at(patch, name)?);
        let place = at.child(name);
        let keyed = Keyed::of(place.strategy);
        keyed.check_order(wanted.as_deref().unwrap_or_default(), &order)?;
        patch.shift_remove(name);
        let merged = match (live.clone(), wanted) {
            (None, None) => continue,
            (Some(live), None) => live,
            (None, Some(wanted)) => cleaned_list(wanted),
            (Some(live), Some(wanted)) => merge_lists(place, live, wanted)?,
        };
        let ordered = keyed.in_order(merged, &order, &live.unwrap_or_default())?;
        original.insert(name.to_owned(), Value::Array(ordered));
    }
    Ok(())
}

fn list_at(object: &Map<String, Value>, name: &str) -> Result<Option<Vec<Value>>, ApiError> {
    match object.get(name) {
        None => Ok(None),
        Some(Value::Array(items)) => Ok(Some(items.clone())),
        Some(other) => Err(not_a_list(other)),
    }
}

fn not_a_list(value: &Value) -> ApiError {
    let found = match value {
        Value::Null => "nil",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "slice",
        Value::Object(_) => "map",
    };
    unexplained(format!("expected a slice, but received a {found}"))
}

fn delete_from(at: At, original: &mut Map<String, Value>, name: &str, gone: Value) -> Result<(), ApiError> {
    if name.is_empty() {
        return Err(ApiError::bad_request("invalid patch format of primitive list"));
    }
    let (Some(Value::Array(live)), Value::Array(gone)) = (original.get_mut(name), gone) else { return Ok(()) };
    if matches!(at.child(name).strategy, Strategy::Merge(_)) {
        strategic_lists::delete_from(live, &gone);
    } else {
        *live = cleaned_list(gone);
    }
    Ok(())
}

fn merge_lists(at: At, original: Vec<Value>, patch: Vec<Value>) -> Result<Vec<Value>, ApiError> {
    if !matches!(at.strategy, Strategy::Merge(_)) {
        return Ok(cleaned_list(patch));
    }
    if original.iter().chain(&patch).any(Value::is_array) {
        // Upstream: "lists of lists are not supported".
        return Err(cannot_be_applied());
    }
    if original.iter().chain(&patch).all(|item| !item.is_object()) {
        return Keyed::scalars().merge_scalars(&original, &patch);
    }
    let Strategy::Merge(key) = at.strategy else { return Ok(cleaned_list(patch)) };
    if key.is_empty() {
        return Err(unexplained("cannot merge lists without merge key for type map"));
    }
    if !original.iter().chain(&patch).all(Value::is_object) {
        let all: Value = vec![Value::Array(original), Value::Array(patch)].into();
        return Err(unexplained(format!("list element types are not identical: {all}")));
    }
    merge_keyed(at.item(), Keyed::by(key), original, patch)
}

fn merge_keyed(at: At, keyed: Keyed, mut live: Vec<Value>, patch: Vec<Value>) -> Result<Vec<Value>, ApiError> {
    let mut wanted = Vec::with_capacity(patch.len());
    let mut replace = false;
    for item in patch {
        match item.get(PATCH).map(|directive| directive.as_str().unwrap_or_default()) {
            None => wanted.push(item),
            Some("delete") => {
                let gone = keyed.of_item(&item)?;
                live.retain(|one| keyed.of_item(one).ok().as_deref() != Some(&*gone));
            }
            Some("replace") => replace = true,
            Some("merge") => return Err(unexplained("merging lists cannot yet be specified in the patch")),
            Some(_) => return Err(unknown_directive(&item[PATCH], item.as_object().unwrap_or(&Map::new()))),
        }
    }
    if replace {
        return Ok(cleaned_list(wanted));
    }
    let names: Vec<Value> = wanted.iter().map(|item| keyed.bare(item)).collect::<Result<_, _>>()?;
    let before: Vec<Value> = live.iter().map(|item| keyed.bare(item)).collect::<Result<_, _>>()?;
    let mut places = keyed.places(&live)?;
    for item in wanted {
        let name = keyed.of_item(&item)?;
        match (places.get(&name), item) {
            (Some(&place), Value::Object(item)) => {
                let Value::Object(one) = live[place].take() else { continue };
                live[place] = Value::Object(merge_objects(at, one, item)?);
            }
            (_, item) => {
                places.insert(name, live.len());
                live.extend(cleaned(item));
            }
        }
    }
    keyed.in_order(live, &names, &before)
}

/// A new value without the directives and nulls in it; nothing where it is itself one to delete.
fn cleaned(value: Value) -> Option<Value> {
    match value {
        Value::Object(map) if map.contains_key(PATCH) => None,
        Value::Object(map) => Some(Value::Object(without_directives(map))),
        Value::Array(items) => Some(Value::Array(cleaned_list(items))),
        scalar => Some(scalar),
    }
}

fn cleaned_list(items: Vec<Value>) -> Vec<Value> {
    items.into_iter().filter_map(cleaned).collect()
}

fn without_directives(map: Map<String, Value>) -> Map<String, Value> {
    let is_directive = |name: &str| name == RETAIN_KEYS || name.starts_with(DELETE_FROM) || name.starts_with(SET_ORDER);
    map.into_iter()
        .filter(|(name, value)| !value.is_null() && !is_directive(name))
        .filter_map(|(name, value)| Some((name, cleaned(value)?)))
        .collect()
}

#[cfg(test)]
#[path = "tests/strategic.rs"]
mod tests;
