//! The words for an object that cannot be read: those of Go's decoder, with the struct and the path of the field
//! (apiserver/pkg/endpoints/handlers/rest.go `transformDecodeError`, v0.34.4).

use std::fmt;

use serde_json::{Error, Map, Value};

use super::{super::json::json_type, types};
use crate::sandbox::{error::ApiError, kinds::Kind};

/// A step from an object to something in it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Member(String),
    Item,
}

/// The refusal of an object that is not of its type.
pub(super) fn cannot_be_handled(kind: &Kind, why: impl fmt::Display) -> ApiError {
    ApiError::bad_request(format!(
        "{} in version {:?} cannot be handled as a {}: {why}",
        kind.kind, kind.version, kind.kind
    ))
}

/// The refusal of an object whose reading failed.
pub(super) fn unreadable(kind: &Kind, value: &Value, error: &Error) -> ApiError {
    let (way, culprit) = find(kind, value);
    let words = error_of(kind, &way, culprit).unwrap_or_else(|| error.to_string());
    let Some(expected) = words.strip_prefix("invalid type: ").and_then(|text| text.rsplit_once(", expected ")) else {
        return cannot_be_handled(kind, words);
    };
    let (owner, path) = go_field(kind, &way);
    let found = json_type(culprit);
    let wanted = go_type(expected.1);
    if path.is_empty() {
        return cannot_be_handled(kind, format!("json: cannot unmarshal {found} into Go value of type {wanted}"));
    }
    let why = format!("json: cannot unmarshal {found} into Go struct field {owner}.{path} of type {wanted}");
    cannot_be_handled(kind, why)
}

/// The innermost thing that cannot be read on its own. All of a type's fields may be left out, so that anything can be
/// tried alone.
fn find<'a>(kind: &Kind, value: &'a Value) -> (Vec<Step>, &'a Value) {
    let (mut way, mut at) = (Vec::new(), value);
    loop {
        let empty = match at {
            Value::Object(_) => Value::Object(Map::new()),
            Value::Array(_) => Value::Array(Vec::new()),
            _ => return (way, at),
        };
        // Nothing within it is to blame where not even an empty one may be there.
        if error_of(kind, &way, &empty).is_some() {
            return (way, at);
        }
        let members = at.as_object().into_iter().flatten().map(|(key, member)| (Step::Member(key.clone()), member));
        let items = at.as_array().into_iter().flatten().map(|item| (Step::Item, item));
        let next = members.chain(items).find(|(step, inner)| {
            way.push(step.clone());
            let fails = error_of(kind, &way, inner).is_some();
            way.pop();
            fails
        });
        let Some((step, inner)) = next else { return (way, at) };
        way.push(step);
        at = inner;
    }
}

/// What is wrong with a thing alone in its place.
fn error_of(kind: &Kind, way: &[Step], inner: &Value) -> Option<String> {
    let object = way.iter().rev().fold(inner.clone(), |inner, step| match step {
        Step::Member(key) => Value::Object(Map::from_iter([(key.clone(), inner)])),
        Step::Item => Value::Array(vec![inner]),
    });
    types::read(kind, &object).err().map(|error| error.to_string())
}

/// The struct that has the field, and the field's path as Go writes it: without indices, and up to the map where it is
/// in one.
fn go_field(kind: &Kind, way: &[Step]) -> (String, String) {
    let mut names: Vec<&str> = way
        .iter()
        .filter_map(|step| match step {
            Step::Member(key) => Some(key.as_str()),
            Step::Item => None,
        })
        .collect();
    let in_map = names.iter().position(|name| {
        ["labels", "annotations", "matchLabels", "nodeSelector", "data", "limits", "requests"].contains(name)
    });
    if let Some(at) = in_map {
        names.truncate(at + 1);
    }
    let owners = &names[..names.len().saturating_sub(1)];
    (struct_name(kind, owners), names.join("."))
}

fn struct_name(kind: &Kind, way: &[&str]) -> String {
    let Some((last, before)) = way.split_last() else { return kind.kind.to_owned() };
    match (*last, before.last()) {
        ("metadata", _) => "ObjectMeta".to_owned(),
        ("spec", Some(&"template")) => "PodSpec".to_owned(),
        ("spec" | "status", None) => format!("{}{}", kind.kind, capital(last)),
        ("template", _) => "PodTemplateSpec".to_owned(),
        ("selector", _) => "LabelSelector".to_owned(),
        ("containers" | "initContainers", _) => "Container".to_owned(),
        ("env", _) => "EnvVar".to_owned(),
        ("ports", Some(&"spec")) => "ServicePort".to_owned(),
        ("ports", Some(&"containers" | &"initContainers")) => "ContainerPort".to_owned(),
        ("resources", _) => "ResourceRequirements".to_owned(),
        ("livenessProbe" | "readinessProbe" | "startupProbe", _) => "Probe".to_owned(),
        ("strategy", _) => "DeploymentStrategy".to_owned(),
        ("volumes" | "volumeMounts" | "tolerations", _) => capital(last.trim_end_matches('s')),
        _ => capital(last),
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// Go's name of a type, from serde's words for it.
fn go_type(expected: &str) -> String {
    match expected {
        "i32" => "int32".to_owned(),
        "i64" => "int64".to_owned(),
        "a string" => "string".to_owned(),
        "a boolean" => "bool".to_owned(),
        "a map" => "map[string]string".to_owned(),
        "a sequence" => "[]interface {}".to_owned(),
        name if name.starts_with(char::is_uppercase) => format!("v1.{name}"),
        other => other.to_owned(),
    }
}
