//! What pods are given: an account, a priority, tolerations, a status
//! (k/plugin/pkg/admission/{serviceaccount,priority,defaulttolerationseconds,runtimeclass},
//! k/pkg/registry/core/pod/strategy.go, v1.34.4).
//!
//! Other than upstream, no volume with the account's token is added: nothing here could mount it. And the account
//! `default` counts as there in every namespace, since a controller makes it, and upstream waits for it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::{
    Registry,
    json::{default_to, each, items, object_at, text},
};
use crate::{
    model::quantity::Quantity,
    sandbox::{error::ApiError, kinds},
};

/// Seconds for which a pod stays on a node that is not ready or not heard of.
const TOLERATED_SECONDS: i32 = 300;

/// The priority classes that every cluster has.
const PRIORITIES: [(&str, i32); 2] =
    [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];

/// Completes a new pod, or refuses it.
pub(super) fn on_create(registry: &Registry, namespace: &str, pod: &mut Value) -> Result<(), ApiError> {
    let name = text(&pod["metadata"], "name").to_owned();
    let labels = pod["metadata"]["labels"].clone();
    let Some(spec) = object_at(pod, "spec") else { return Ok(()) };
    account(registry, namespace, &name, spec)?;
    priority(&name, spec)?;
    runtime_class(&name, spec)?;
    tolerations(spec);
    apply_label_keys(spec, &labels);
    let mut status = json!({"phase": "Pending", "qosClass": quality_of_service(spec)});
    if !items(spec, "schedulingGates").is_empty() {
        status["conditions"] = json!([{
            "type": "PodScheduled",
            "status": "False",
            "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates",
            "lastTransitionTime": pod["metadata"]["creationTimestamp"],
        }]);
    }
    pod["status"] = status;
    Ok(())
}

/// Keeps what a pod was given where a client leaves it out.
pub(super) fn on_update(old: &Value, pod: &mut Value) {
    let Some(spec) = pod.get_mut("spec").filter(|spec| spec.is_object()) else { return };
    for member in ["priority", "preemptionPolicy"] {
        if let Some(given) = old["spec"].get(member) {
            default_to(spec, member, given.clone());
        }
    }
    tolerations(spec);
}

fn account(registry: &Registry, namespace: &str, name: &str, spec: &mut Value) -> Result<(), ApiError> {
    default_to(spec, "serviceAccountName", "default");
    let account = text(spec, "serviceAccountName").to_owned();
    default_to(spec, "serviceAccount", account.as_str());
    if account == "default" || registry.store().get(&kinds::SERVICE_ACCOUNT, namespace, &account).is_some() {
        return Ok(());
    }
    let why = format!("error looking up service account {namespace}/{account}: serviceaccount {account:?} not found");
    Err(ApiError::forbidden("", "pods", name, why))
}

fn priority(name: &str, spec: &mut Value) -> Result<(), ApiError> {
    let forbidden = |why: String| Err(ApiError::forbidden("", "pods", name, why));
    let class = text(spec, "priorityClassName");
    let computed = match PRIORITIES.iter().find(|(known, _)| *known == class) {
        Some((_, value)) => *value,
        None if class.is_empty() => 0,
        None => return forbidden(format!("no PriorityClass with name {class} was found")),
    };
    if let Some(stated) = spec["priority"].as_i64().filter(|stated| *stated != i64::from(computed)) {
        return forbidden(format!(
            "the integer value of priority ({stated}) must not be provided in pod spec; priority admission controller computed {computed} from the given PriorityClass name"
        ));
    }
    let policy = text(spec, "preemptionPolicy");
    if !policy.is_empty() && policy != "PreemptLowerPriority" {
        return forbidden(format!(
            "the string value of PreemptionPolicy ({policy}) must not be provided in pod spec; priority admission controller computed PreemptLowerPriority from the given PriorityClass name"
        ));
    }
    default_to(spec, "priority", computed);
    default_to(spec, "preemptionPolicy", "PreemptLowerPriority");
    Ok(())
}

/// There are no runtime classes.
fn runtime_class(name: &str, spec: &Value) -> Result<(), ApiError> {
    let class = text(spec, "runtimeClassName");
    if !class.is_empty() {
        return Err(ApiError::forbidden("", "pods", name, format!("pod rejected: RuntimeClass {class:?} not found")));
    }
    if spec.get("overhead").is_some() {
        let why = "pod rejected: Pod overhead set without corresponding RuntimeClass defined Overhead";
        return Err(ApiError::forbidden("", "pods", name, why));
    }
    Ok(())
}

fn tolerations(spec: &mut Value) {
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let tolerated = items(spec, "tolerations").iter().any(|toleration| {
            ["", key].contains(&text(toleration, "key")) && ["", "NoExecute"].contains(&text(toleration, "effect"))
        });
        if tolerated {
            continue;
        }
        let added = json!({"key": key, "operator": "Exists", "effect": "NoExecute",
            "tolerationSeconds": TOLERATED_SECONDS});
        default_to(spec, "tolerations", json!([]));
        if let Some(all) = spec.get_mut("tolerations").and_then(Value::as_array_mut) {
            all.push(added);
        }
    }
}

/// `matchLabelKeys` and `mismatchLabelKeys` become requirements on the pod's own labels.
fn apply_label_keys(spec: &mut Value, labels: &Value) {
    each(spec, "topologySpreadConstraints").for_each(|constraint| into_selector(constraint, labels));
    let Some(affinity) = spec.get_mut("affinity") else { return };
    for kind in ["podAffinity", "podAntiAffinity"] {
        let Some(terms) = affinity.get_mut(kind) else { continue };
        each(terms, "requiredDuringSchedulingIgnoredDuringExecution").for_each(|term| into_selector(term, labels));
        for weighted in each(terms, "preferredDuringSchedulingIgnoredDuringExecution") {
            if let Some(term) = weighted.get_mut("podAffinityTerm") {
                into_selector(term, labels);
            }
        }
    }
}

fn into_selector(term: &mut Value, labels: &Value) {
    let mut added = Vec::new();
    for (keys, operator) in [("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")] {
        for key in items(term, keys).iter().filter_map(Value::as_str) {
            if let Some(value) = labels.get(key) {
                added.push(json!({"key": key, "operator": operator, "values": [value]}));
            }
        }
    }
    let Some(selector) = term.get_mut("labelSelector").filter(|_| !added.is_empty()) else { return };
    default_to(selector, "matchExpressions", json!([]));
    if let Some(all) = selector.get_mut("matchExpressions").and_then(Value::as_array_mut) {
        all.extend(added);
    }
}

/// The class by which pods go first when a node runs short (k/pkg/apis/core/helper/qos/qos.go).
fn quality_of_service(spec: &Value) -> &'static str {
    let mut sums = [BTreeMap::new(), BTreeMap::new()];
    let mut guaranteed = true;
    for container in ["containers", "initContainers"].into_iter().flat_map(|list| items(spec, list)) {
        for (sum, list) in sums.iter_mut().zip(["requests", "limits"]) {
            let mut found = 0;
            for name in ["cpu", "memory"] {
                let amount = text(&container["resources"][list], name).parse().unwrap_or(Quantity::ZERO);
                if amount > Quantity::ZERO {
                    found += 1;
                    let before = sum.entry(name).or_insert(Quantity::ZERO);
                    *before = before.plus(amount);
                }
            }
            guaranteed &= list == "requests" || found == 2;
        }
    }
    let [requests, limits] = sums;
    if requests.is_empty() && limits.is_empty() {
        return "BestEffort";
    }
    if guaranteed && requests == limits { "Guaranteed" } else { "Burstable" }
}
