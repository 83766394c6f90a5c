//! Defaults of what makes pods and of what scales it (k/pkg/apis/{apps/v1,batch/v1,autoscaling/v2}/defaults.go,
//! v1.34.4).

use serde_json::{Value, json};

use super::{
    super::json::{default_to, each, items, object_at, text},
    core,
};

pub(super) fn deployment(deployment: &mut Value) {
    let Some(spec) = object_at(deployment, "spec") else { return };
    default_to(spec, "replicas", 1);
    if let Some(strategy) = object_at(spec, "strategy") {
        default_to(strategy, "type", "RollingUpdate");
        if text(strategy, "type") == "RollingUpdate"
            && let Some(rolling) = object_at(strategy, "rollingUpdate")
        {
            default_to(rolling, "maxUnavailable", "25%");
            default_to(rolling, "maxSurge", "25%");
        }
    }
    default_to(spec, "revisionHistoryLimit", 10);
    default_to(spec, "progressDeadlineSeconds", 600);
}

pub(super) fn replica_set(set: &mut Value) {
    if let Some(spec) = object_at(set, "spec") {
        default_to(spec, "replicas", 1);
    }
}

pub(super) fn stateful_set(set: &mut Value) {
    let Some(spec) = object_at(set, "spec") else { return };
    default_to(spec, "podManagementPolicy", "OrderedReady");
    if let Some(strategy) = object_at(spec, "updateStrategy") {
        if text(strategy, "type").is_empty() {
            default_to(strategy, "type", "RollingUpdate");
            object_at(strategy, "rollingUpdate");
        }
        if text(strategy, "type") == "RollingUpdate"
            && let Some(rolling) = strategy.get_mut("rollingUpdate")
        {
            default_to(rolling, "partition", 0);
        }
    }
    if let Some(retention) = object_at(spec, "persistentVolumeClaimRetentionPolicy") {
        default_to(retention, "whenDeleted", "Retain");
        default_to(retention, "whenScaled", "Retain");
    }
    default_to(spec, "replicas", 1);
    default_to(spec, "revisionHistoryLimit", 10);
    for claim in each(spec, "volumeClaimTemplates") {
        default_to(claim, "apiVersion", "v1");
        default_to(claim, "kind", "PersistentVolumeClaim");
        core::claim(claim);
    }
}

pub(super) fn daemon_set(set: &mut Value) {
    let Some(spec) = object_at(set, "spec") else { return };
    if let Some(strategy) = object_at(spec, "updateStrategy") {
        default_to(strategy, "type", "RollingUpdate");
        if text(strategy, "type") == "RollingUpdate"
            && let Some(rolling) = object_at(strategy, "rollingUpdate")
        {
            default_to(rolling, "maxUnavailable", 1);
            default_to(rolling, "maxSurge", 0);
        }
    }
    default_to(spec, "revisionHistoryLimit", 10);
}

pub(super) fn job(job: &mut Value) {
    let template_labels = job["spec"]["template"]["metadata"]["labels"].clone();
    let Some(spec) = object_at(job, "spec") else { return };
    if spec.get("completions").is_none() && spec.get("parallelism").is_none() {
        default_to(spec, "completions", 1);
    }
    default_to(spec, "parallelism", 1);
    let retries = if spec.get("backoffLimitPerIndex").is_some() { i32::MAX } else { 6 };
    default_to(spec, "backoffLimit", retries);
    default_to(spec, "completionMode", "NonIndexed");
    default_to(spec, "suspend", false);
    let policy = spec.get_mut("podFailurePolicy");
    let replacement = if policy.is_some() { "Failed" } else { "TerminatingOrFailed" };
    for rule in policy.into_iter().flat_map(|policy| each(policy, "rules")) {
        each(rule, "onPodConditions").for_each(|pattern| default_to(pattern, "status", "True"));
    }
    default_to(spec, "podReplacementPolicy", replacement);
    default_to(spec, "manualSelector", false);
    // Without labels of its own a Job has those of its pods; the server gives these theirs only later.
    let complete =
        spec["manualSelector"] == true || template_labels.get("batch.kubernetes.io/controller-uid").is_some();
    if complete
        && template_labels.is_object()
        && let Some(metadata) = object_at(job, "metadata")
    {
        default_to(metadata, "labels", template_labels);
    }
}

pub(super) fn autoscaler(autoscaler: &mut Value) {
    let Some(spec) = object_at(autoscaler, "spec") else { return };
    default_to(spec, "minReplicas", 1);
    if items(spec, "metrics").is_empty() {
        let target = json!({"type": "Utilization", "averageUtilization": 80});
        let metric = json!({"type": "Resource", "resource": {"name": "cpu", "target": target}});
        default_to(spec, "metrics", json!([metric]));
    }
    let Some(behavior) = spec.get_mut("behavior").filter(|behavior| behavior.is_object()) else { return };
    let percent = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
    if let Some(up) = object_at(behavior, "scaleUp") {
        default_to(up, "stabilizationWindowSeconds", 0);
        default_to(up, "selectPolicy", "Max");
        default_to(up, "policies", json!([{"type": "Pods", "value": 4, "periodSeconds": 15}, percent]));
    }
    if let Some(down) = object_at(behavior, "scaleDown") {
        default_to(down, "selectPolicy", "Max");
        default_to(down, "policies", json!([percent]));
    }
}
