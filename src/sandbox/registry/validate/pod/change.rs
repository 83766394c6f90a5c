//! What may change in a pod (`ValidatePodUpdate`).

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::{
    super::{
        field::{Errors, Field},
        syntax,
    },
    pod_spec, scheduling,
};

/// What clients may change, in upstream's words.
const MAY_CHANGE: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
    `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
    `spec.tolerations` (only additions to existing tolerations),\
    `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// The new version of a pod, but for its metadata.
pub(in super::super) fn update(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    let (spec, before) = (new.child("spec"), old.child("spec"));
    if spec.value() == before.value() {
        return;
    }
    pod_spec(&spec, errors);
    for list in ["containers", "initContainers"] {
        if !same_containers(&spec.child(list), &before.child(list), errors) {
            return;
        }
    }
    if !deadline(&spec.child("activeDeadlineSeconds"), &before.child("activeDeadlineSeconds"), errors) {
        return;
    }
    only_added_tolerations(&spec.child("tolerations"), &before.child("tolerations"), errors);
    only_deleted_gates(&spec.child("schedulingGates"), &before.child("schedulingGates"), errors);
    let munged = munged(spec.value(), before.value());
    if munged != *before.value() {
        errors.push(spec.forbidden(format!("{MAY_CHANGE}\n{}", difference(before.value(), &munged))));
    }
}

fn same_containers(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) -> bool {
    if new.len() != old.len() {
        errors.push(new.forbidden("pod updates may not add or remove containers"));
        return false;
    }
    new.each(|_, container| {
        let image = container.child("image");
        if image.text().trim() != image.text() {
            errors.push(image.invalid("must not have leading or trailing whitespace"));
        }
    });
    true
}

fn deadline(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) -> bool {
    let most = super::DEADLINE_MAX;
    match (new.some_int(), old.some_int()) {
        (Some(seconds), _) if !(0..=most).contains(&seconds) => {
            errors.push(new.invalid(syntax::in_range(0, most)));
            false
        }
        (Some(seconds), Some(earlier)) if seconds > earlier => {
            errors.push(new.invalid("must be less than or equal to previous value"));
            false
        }
        (None, Some(_)) => {
            errors.push(new.invalid("must not update from a positive integer to nil value"));
            true
        }
        _ => true,
    }
}

fn only_added_tolerations(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    let without_seconds = |toleration: &Value| {
        let mut toleration = toleration.clone();
        if let Some(map) = toleration.as_object_mut() {
            map.shift_remove("tolerationSeconds");
        }
        toleration
    };
    let list = |field: &Field<'_>| -> Vec<Value> {
        field.value().as_array().into_iter().flatten().map(without_seconds).collect()
    };
    let now = list(new);
    if list(old).iter().any(|earlier| !now.contains(earlier)) {
        errors.push(new.forbidden("existing toleration can not be modified except its tolerationSeconds"));
        return;
    }
    scheduling::tolerations(new, errors);
}

fn only_deleted_gates(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    let known: Vec<&Value> = old.value().as_array().into_iter().flatten().map(|gate| &gate["name"]).collect();
    new.each(|_, gate| {
        let name = gate.child("name");
        if !known.contains(&name.value()) {
            let detail = format!("only deletion is allowed, but found new scheduling gate '{}'", name.text());
            errors.push(name.forbidden(detail));
        }
    });
}

/// The new spec with what may change as it was.
fn munged(new: &Value, old: &Value) -> Value {
    let mut spec = new.as_object().cloned().unwrap_or_default();
    for list in ["containers", "initContainers"] {
        let Some(Value::Array(containers)) = spec.get_mut(list) else { continue };
        for (index, container) in containers.iter_mut().enumerate() {
            if let Some(map) = container.as_object_mut() {
                restore(map, &old[list][index], "image");
            }
        }
    }
    for name in ["activeDeadlineSeconds", "schedulingGates", "tolerations"] {
        restore(&mut spec, old, name);
    }
    let grace = "terminationGracePeriodSeconds";
    if old[grace].as_i64().is_some_and(|seconds| seconds < 0) && spec.get(grace).and_then(Value::as_i64) == Some(1) {
        restore(&mut spec, old, grace);
    }
    // While a pod is held back by a gate, where it may go can still be narrowed.
    if old["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty()) {
        let narrowed = old["nodeSelector"]
            .as_object()
            .into_iter()
            .flatten()
            .all(|(key, value)| new["nodeSelector"].get(key) == Some(value));
        if narrowed {
            restore(&mut spec, old, "nodeSelector");
        }
    }
    Value::Object(spec)
}

fn restore(map: &mut Map<String, Value>, old: &Value, name: &str) {
    match old.get(name) {
        Some(value) => {
            map.insert(name.to_owned(), value.clone());
        }
        None => {
            map.shift_remove(name);
        }
    }
}

/// The fields of a spec that differ, one line each for what goes and what comes.
pub(in super::super) fn difference(old: &Value, new: &Value) -> String {
    let mut lines = String::new();
    let empty = Map::new();
    let (old, new) = (old.as_object().unwrap_or(&empty), new.as_object().unwrap_or(&empty));
    let mut names: Vec<&String> = old.keys().chain(new.keys().filter(|key| !old.contains_key(*key))).collect();
    names.sort();
    for name in names.into_iter().filter(|name| old.get(*name) != new.get(*name)) {
        for (sign, side) in [('-', old), ('+', new)] {
            if let Some(value) = side.get(name) {
                // Writing to a text does not fail.
                let _ = writeln!(lines, "{sign} {name}: {value}");
            }
        }
    }
    lines
}
