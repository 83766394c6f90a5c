//! What counts as left out: Go's types do not tell null, empty and absent apart (`omitempty`), so neither must what is
//! stored. A client that reads an object and writes it back would otherwise change it.

use serde_json::Value;

use super::super::json::pod_spec;
use crate::sandbox::kinds::Kind;

/// Fields of pod specs whose Go type is no pointer: there zero, false and the empty text are the same as absent.
const ZERO_IS_ABSENT: [&str; 33] = [
    "effect",
    "failureThreshold",
    "host",
    "hostIP",
    "hostIPC",
    "hostNetwork",
    "hostPID",
    "hostPort",
    "hostname",
    "image",
    "imagePullPolicy",
    "initialDelaySeconds",
    "key",
    "medium",
    "name",
    "nodeName",
    "operator",
    "periodSeconds",
    "priorityClassName",
    "protocol",
    "readOnly",
    "schedulerName",
    "serviceAccountName",
    "stdin",
    "stdinOnce",
    "subPath",
    "subPathExpr",
    "subdomain",
    "successThreshold",
    "timeoutSeconds",
    "tty",
    "value",
    "workingDir",
];

/// Fields of specs outside of pods for which the same holds.
const ZERO_IS_ABSENT_IN_SPECS: [&str; 8] = [
    "clusterIP",
    "externalName",
    "externalTrafficPolicy",
    "minReadySeconds",
    "paused",
    "publishNotReadyAddresses",
    "sessionAffinity",
    "unschedulable",
];

/// Maps of texts, which may have any key; empty they are absent.
const MAPS: [&str; 6] = ["annotations", "labels", "limits", "matchLabels", "nodeSelector", "requests"];

/// Members whose content is none of the type's business.
const OPAQUE: [&str; 2] = ["fieldsV1", "data"];

/// How deep an object may be; deeper ones are not read at all.
const DEPTH_MAX: usize = 64;

/// Takes away what counts as left out.
pub(super) fn prune(kind: &Kind, value: &mut Value) {
    drop_empty(value, DEPTH_MAX);
    if let Some(map) = value.get_mut("spec").and_then(Value::as_object_mut) {
        map.retain(|key, member| !(is_zero(member) && ZERO_IS_ABSENT_IN_SPECS.contains(&key.as_str())));
    }
    if let Some(spec) = pod_spec(kind, value) {
        drop_zeros(spec, DEPTH_MAX);
    }
}

fn drop_empty(value: &mut Value, depth: usize) {
    match value {
        Value::Object(map) if depth > 0 => {
            map.retain(|key, member| match member {
                Value::Null => false,
                Value::Array(all) => !all.is_empty(),
                Value::Object(inner) => !(inner.is_empty() && MAPS.contains(&key.as_str())),
                _ => true,
            });
            for (key, member) in map.iter_mut() {
                if !OPAQUE.contains(&key.as_str()) {
                    drop_empty(member, depth - 1);
                }
            }
        }
        Value::Array(all) if depth > 0 => all.iter_mut().for_each(|item| drop_empty(item, depth - 1)),
        _ => {}
    }
}

fn drop_zeros(value: &mut Value, depth: usize) {
    match value {
        Value::Object(map) if depth > 0 => {
            map.retain(|key, member| !(is_zero(member) && ZERO_IS_ABSENT.contains(&key.as_str())));
            for (key, member) in map.iter_mut() {
                if !MAPS.contains(&key.as_str()) {
                    drop_zeros(member, depth - 1);
                }
            }
        }
        Value::Array(all) if depth > 0 => all.iter_mut().for_each(|item| drop_zeros(item, depth - 1)),
        _ => {}
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}
