//! What the registry of each kind does before it looks at an object (`PrepareForCreate` and `PrepareForUpdate` in
//! k/pkg/registry/*/*/strategy.go, v1.34.4), and claims, which the sandbox binds at once.

use serde_json::{Value, json};

use super::super::json::{default_to, each, items, object_at, pod_spec, remove, text};
use crate::{model::quantity::Quantity, sandbox::kinds::Kind};

/// The finalizer of namespaces.
const FINALIZER: &str = "kubernetes";

/// Takes away fields whose feature is off in v1.34, as the real server does without a word.
pub(super) fn drop_disabled(kind: &Kind, value: &mut Value) {
    if let Some(spec) = pod_spec(kind, value) {
        // HostnameOverride, ContainerStopSignals, ContainerRestartRules, EnvFiles: alpha.
        remove(spec, "hostnameOverride");
        for list in ["initContainers", "containers"] {
            for container in each(spec, list) {
                remove(container, "restartPolicyRules");
                if let Some(lifecycle) = container.get_mut("lifecycle") {
                    remove(lifecycle, "stopSignal");
                }
                for variable in each(container, "env") {
                    if let Some(source) = variable.get_mut("valueFrom") {
                        remove(source, "fileKeyRef");
                    }
                }
            }
        }
    }
    let Some(spec) = value.get_mut("spec") else { return };
    match kind.kind {
        // MaxUnavailableStatefulSet: alpha.
        "StatefulSet" => {
            if let Some(rolling) = spec.get_mut("updateStrategy").and_then(|strategy| strategy.get_mut("rollingUpdate"))
            {
                remove(rolling, "maxUnavailable");
            }
        }
        // HPAConfigurableTolerance: alpha.
        "HorizontalPodAutoscaler" => {
            for rules in ["scaleUp", "scaleDown"] {
                if let Some(rules) = spec.get_mut("behavior").and_then(|behavior| behavior.get_mut(rules)) {
                    remove(rules, "tolerance");
                }
            }
        }
        _ => {}
    }
}

pub(super) fn namespace(namespace: &mut Value) {
    if let Some(spec) = object_at(namespace, "spec") {
        default_to(spec, "finalizers", json!([]));
        if let Some(all) = spec.get_mut("finalizers").and_then(Value::as_array_mut)
            && !all.iter().any(|one| one == FINALIZER)
        {
            all.push(json!(FINALIZER));
        }
    }
    if let Some(map) = namespace.as_object_mut() {
        map.insert("status".to_owned(), json!({"phase": "Active"}));
    }
}

/// Finalizers of a namespace are the server's, until it is being deleted: then its controller takes them away (upstream
/// through the subresource `finalize`).
pub(super) fn namespace_change(old: &Value, namespace: &mut Value) {
    if !old["metadata"]["deletionTimestamp"].is_null() {
        return;
    }
    let kept = old["spec"].get("finalizers").cloned();
    let Some(spec) = object_at(namespace, "spec") else { return };
    match kept {
        Some(kept) => spec["finalizers"] = kept,
        None => drop(remove(spec, "finalizers")),
    }
}

/// Labels by which a Job finds its pods, and the selector for them (`generateSelector`).
pub(super) fn job(job: &mut Value) {
    let (name, uid) = (text(&job["metadata"], "name").to_owned(), text(&job["metadata"], "uid").to_owned());
    let Some(spec) = object_at(job, "spec") else { return };
    if spec.get("manualSelector") == Some(&json!(true)) {
        return;
    }
    let labels = object_at(spec, "template")
        .and_then(|template| object_at(template, "metadata"))
        .and_then(|metadata| object_at(metadata, "labels"));
    if let Some(labels) = labels {
        for key in ["job-name", "batch.kubernetes.io/job-name"] {
            default_to(labels, key, name.as_str());
        }
        for key in ["controller-uid", "batch.kubernetes.io/controller-uid"] {
            default_to(labels, key, uid.as_str());
        }
    }
    if let Some(wanted) = object_at(spec, "selector").and_then(|selector| object_at(selector, "matchLabels")) {
        default_to(wanted, "batch.kubernetes.io/controller-uid", uid);
    }
    let template = job["spec"]["template"]["metadata"]["labels"].clone();
    if let Some(metadata) = object_at(job, "metadata") {
        default_to(metadata, "labels", template);
    }
}

/// A claim is bound at once, to a volume that nobody sees.
pub(super) fn claim(claim: &mut Value) {
    let uid = text(&claim["metadata"], "uid").to_owned();
    if let Some(spec) = object_at(claim, "spec") {
        default_to(spec, "volumeName", format!("pvc-{uid}"));
    }
    let (modes, size) =
        (claim["spec"]["accessModes"].clone(), claim["spec"]["resources"]["requests"]["storage"].clone());
    if items(&claim["spec"], "accessModes").is_empty() || !size.is_string() {
        return;
    }
    let status = json!({"phase": "Bound", "accessModes": modes, "capacity": {"storage": size}});
    if let Some(map) = claim.as_object_mut() {
        map.insert("status".to_owned(), status);
    }
}

/// A claim that grows has what it asks for at once.
pub(super) fn claim_change(claim: &mut Value) {
    let wanted = claim["spec"]["resources"]["requests"]["storage"].clone();
    let read = |amount: &Value| amount.as_str().and_then(|text| text.parse::<Quantity>().ok());
    let grows = read(&wanted) > read(&claim["status"]["capacity"]["storage"]);
    if grows && let Some(capacity) = object_at(claim, "status").and_then(|status| object_at(status, "capacity")) {
        capacity["storage"] = wanted;
    }
}
