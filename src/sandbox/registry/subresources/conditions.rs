//! Conditions in objects' JSON, set as upstream's helpers do: the time of transition changes with the status only
//! (k/pkg/api/v1/pod/util.go `UpdatePodCondition`, apimachinery/pkg/api/meta/conditions.go, component-helpers' pdb).

use serde_json::{Value, json};

use crate::sandbox::names;

/// A condition that is to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition<'a> {
    /// Its type, such as `Ready`.
    pub kind: &'a str,
    /// `True`, `False` or `Unknown`.
    pub status: &'a str,
    /// Why, in one word; left out when empty.
    pub reason: &'a str,
    /// Why, in a sentence; left out when empty.
    pub message: &'a str,
}

/// The status of a condition in a list of them.
#[must_use]
pub fn status_of<'a>(object: &'a Value, kind: &str) -> Option<&'a str> {
    find(object, kind)?["status"].as_str()
}

/// A condition of an object.
#[must_use]
pub fn find<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|one| one["type"] == kind)
}

/// Whether a pod is Ready.
#[must_use]
pub fn is_ready(pod: &Value) -> bool {
    status_of(pod, "Ready") == Some("True")
}

/// Sets a pod's condition; says whether that changed anything. `observedGeneration` is the pod's generation.
pub fn set_on_pod(pod: &mut Value, wanted: Condition<'_>) -> bool {
    let generation = pod["metadata"]["generation"].as_i64();
    let known = find(pod, wanted.kind).cloned();
    let mut new = json!({
        "type": wanted.kind,
        "status": wanted.status,
        "lastProbeTime": null,
        "lastTransitionTime": names::now_seconds(),
    });
    put_words(&mut new, wanted);
    if let Some(generation) = generation {
        new["observedGeneration"] = json!(generation);
    }
    if let Some(known) = &known {
        if known["status"] == new["status"] {
            new["lastTransitionTime"] = known["lastTransitionTime"].clone();
        }
        new["lastProbeTime"] = known["lastProbeTime"].clone();
        if *known == new {
            return false;
        }
    }
    put(pod, new);
    true
}

/// Sets one of the conditions of the newer shape (`metav1.Condition`).
pub fn set_on(object: &mut Value, wanted: Condition<'_>, observed_generation: i64) {
    let known = find(object, wanted.kind).cloned();
    let mut new = json!({
        "type": wanted.kind,
        "status": wanted.status,
        "observedGeneration": observed_generation,
        "lastTransitionTime": names::now_seconds(),
        "reason": wanted.reason,
        "message": wanted.message,
    });
    if let Some(known) = known.filter(|known| known["status"] == new["status"]) {
        new["lastTransitionTime"] = known["lastTransitionTime"].clone();
    }
    put(object, new);
}

/// Sets a budget's condition `DisruptionAllowed` from what its status says (`UpdateDisruptionAllowedCondition`).
pub fn set_disruption_allowed(budget: &mut Value) {
    let allowed = budget["status"]["disruptionsAllowed"].as_i64().unwrap_or_default() > 0;
    let (status, reason) = if allowed { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    let observed = budget["status"]["observedGeneration"].as_i64().unwrap_or_default();
    set_on(budget, Condition { kind: "DisruptionAllowed", status, reason, message: "" }, observed);
}

fn put_words(condition: &mut Value, wanted: Condition<'_>) {
    for (key, words) in [("reason", wanted.reason), ("message", wanted.message)] {
        if !words.is_empty() {
            condition[key] = json!(words);
        }
    }
}

fn put(object: &mut Value, condition: Value) {
    if !object["status"].is_object() {
        object["status"] = json!({});
    }
    let status = &mut object["status"];
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
    }
    if let Some(all) = status["conditions"].as_array_mut() {
        match all.iter_mut().find(|one| one["type"] == condition["type"]) {
            Some(known) => *known = condition,
            None => all.push(condition),
        }
    }
}
