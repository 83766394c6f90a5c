//! Defaults of the kinds that make no pods (k/pkg/apis/{core,discovery}/v1/defaults.go, v1.34.4).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::super::json::{default_to, each, items, object_at, remove, text};

/// Seconds for which a client stays with its endpoint where `sessionAffinity` is `ClientIP`.
const AFFINITY_SECONDS: i32 = 10_800;

pub(super) fn service(service: &mut Value) {
    let Some(spec) = object_at(service, "spec") else { return };
    default_to(spec, "sessionAffinity", "None");
    let affinity = text(spec, "sessionAffinity").to_owned();
    match affinity.as_str() {
        "None" => drop(remove(spec, "sessionAffinityConfig")),
        "ClientIP" if spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"].is_null() => {
            let config = json!({"clientIP": {"timeoutSeconds": AFFINITY_SECONDS}});
            if let Some(map) = spec.as_object_mut() {
                map.insert("sessionAffinityConfig".to_owned(), config);
            }
        }
        _ => {}
    }
    default_to(spec, "type", "ClusterIP");
    for port in each(spec, "ports") {
        default_to(port, "protocol", "TCP");
        if port.get("targetPort") == Some(&json!(0)) {
            remove(port, "targetPort");
        }
        if let Some(number) = port.get("port").cloned() {
            default_to(port, "targetPort", number);
        }
    }
    let kind = text(spec, "type").to_owned();
    let outside = matches!(kind.as_str(), "NodePort" | "LoadBalancer")
        || (kind == "ClusterIP" && !items(spec, "externalIPs").is_empty());
    if outside {
        default_to(spec, "externalTrafficPolicy", "Cluster");
    }
    if matches!(kind.as_str(), "ClusterIP" | "NodePort" | "LoadBalancer") {
        default_to(spec, "internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        default_to(spec, "allocateLoadBalancerNodePorts", true);
    }
}

pub(super) fn namespace(namespace: &mut Value) {
    let name = text(&namespace["metadata"], "name").to_owned();
    if !name.is_empty()
        && let Some(metadata) = object_at(namespace, "metadata")
        && let Some(Value::Object(labels)) = object_at(metadata, "labels")
    {
        labels.insert("kubernetes.io/metadata.name".to_owned(), json!(name));
    }
    if let Some(status) = object_at(namespace, "status") {
        default_to(status, "phase", "Active");
    }
}

pub(super) fn node(node: &mut Value) {
    if let Some(status) = node.get_mut("status")
        && let Some(capacity) = status.get("capacity").cloned()
    {
        default_to(status, "allocatable", capacity);
    }
}

/// `stringData` is for writing only: its texts become `data` (k/pkg/apis/core/v1/conversion.go).
pub(super) fn secret(secret: &mut Value) {
    if let Some(Value::Object(texts)) = remove(secret, "stringData")
        && let Some(Value::Object(data)) = object_at(secret, "data")
    {
        for (key, value) in texts {
            data.insert(key, json!(STANDARD.encode(value.as_str().unwrap_or_default())));
        }
    }
    default_to(secret, "type", "Opaque");
}

pub(super) fn claim(claim: &mut Value) {
    if let Some(spec) = object_at(claim, "spec") {
        default_to(spec, "volumeMode", "Filesystem");
    }
    if let Some(status) = object_at(claim, "status") {
        default_to(status, "phase", "Pending");
    }
}

pub(super) fn endpoints(endpoints: &mut Value) {
    for subset in each(endpoints, "subsets") {
        each(subset, "ports").for_each(|port| default_to(port, "protocol", "TCP"));
    }
}

pub(super) fn endpoint_slice(slice: &mut Value) {
    for port in each(slice, "ports") {
        if let Some(port) = port.as_object_mut() {
            port.entry("name").or_insert_with(|| json!(""));
        }
        default_to(port, "protocol", "TCP");
    }
}
