//! Small steps on JSON objects that defaults, validation and admission share. None of them panics on a value of another
//! type than expected: it is then taken as absent.

use serde_json::{Map, Value};

use crate::sandbox::kinds::Kind;

/// Whether a member counts as left out: not there, null, or the empty text.
pub(super) fn is_absent(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(_) => false,
    }
}

/// What a value is called in Go's complaints about its type.
pub(super) const fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Gives a member a value where it has none.
pub(super) fn default_to(value: &mut Value, key: &str, default: impl Into<Value>) {
    if let Some(map) = value.as_object_mut()
        && is_absent(map.get(key))
    {
        map.insert(key.to_owned(), default.into());
    }
}

/// A member that is an object; it is made where it is absent.
pub(super) fn object_at<'a>(value: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    let map = value.as_object_mut()?;
    let member = map.entry(key).or_insert(Value::Null);
    if member.is_null() {
        *member = Value::Object(Map::new());
    }
    member.is_object().then_some(member)
}

/// The items of a list.
pub(super) fn each<'a>(value: &'a mut Value, key: &str) -> impl Iterator<Item = &'a mut Value> + use<'a> {
    value.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten()
}

/// The items of a list.
pub(super) fn items<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A text, empty where there is none.
pub(super) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Removes a member.
pub(super) fn remove(value: &mut Value, key: &str) -> Option<Value> {
    value.as_object_mut()?.shift_remove(key)
}

/// The way from an object of a kind to the pod spec within it.
pub(super) fn way_to_pod_spec(kind: &Kind) -> Option<&'static [&'static str]> {
    match kind.kind {
        "Pod" => Some(&["spec"]),
        "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" | "Job" => Some(&["spec", "template", "spec"]),
        _ => None,
    }
}

/// The pod spec within an object, where there is one.
pub(super) fn pod_spec<'a>(kind: &Kind, value: &'a mut Value) -> Option<&'a mut Value> {
    way_to_pod_spec(kind)?.iter().try_fold(value, |at, key| at.get_mut(key)).filter(|spec| spec.is_object())
}

/// The same value with the members of each object in the order of their names, as Go writes maps.
pub(super) fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(&String, &Value)> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            Value::Object(entries.into_iter().map(|(key, value)| (key.clone(), sorted(value))).collect())
        }
        Value::Array(all) => all.iter().map(sorted).collect(),
        other => other.clone(),
    }
}
