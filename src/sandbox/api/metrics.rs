//! `metrics.k8s.io/v1beta1`: what nodes and pods use (metrics-server's answers).

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::{
    access::{Measured, Used},
    answer::Answer,
    call::Call,
    selection::Selection,
};
use crate::sandbox::{error::ApiError, kinds};

/// Answers a request for measurements.
pub(super) fn answer(call: &Call<'_>) -> Result<Answer, ApiError> {
    if !matches!(call.method, Method::GET | Method::HEAD) || !call.path.subresource.is_empty() {
        return Err(ApiError::method_not_allowed());
    }
    let nodes = call.resource.plural == "nodes";
    let kind = if nodes { &kinds::NODE } else { &kinds::POD };
    let namespace = Some(call.path.namespace.as_str()).filter(|namespace| !namespace.is_empty());
    let measured = match &call.api.usage {
        Some(usage) if nodes => usage.nodes(),
        Some(usage) => usage.pods(namespace),
        None => Vec::new(),
    };
    let selection = Selection::of(&call.query, "", kind.plural, &call.path.namespace)?;
    let store = call.api.registry.store();
    let one = &call.path.name;
    let mut items = Vec::new();
    for measured in measured.iter().filter(|measured| one.is_empty() || measured.name == *one) {
        // Labels are those of the object; what is gone has no metrics.
        let Some(object) = store.get(kind, &measured.namespace, &measured.name) else { continue };
        if selection.matches(&object) {
            items.push(entry(call, measured, &object.labels));
        }
    }
    if !one.is_empty() {
        let item = items.pop().ok_or_else(|| call.not_found())?;
        return call.value(StatusCode::OK, &item);
    }
    let list = json!({
        "kind": format!("{}List", call.resource.kind),
        "apiVersion": call.resource.api_version(),
        "metadata": {},
        "items": items,
    });
    call.value(StatusCode::OK, &list)
}

fn entry(call: &Call<'_>, measured: &Measured, labels: &std::collections::BTreeMap<String, String>) -> Value {
    let mut metadata = json!({"name": measured.name, "creationTimestamp": measured.timestamp});
    if !measured.namespace.is_empty() {
        metadata["namespace"] = json!(measured.namespace);
    }
    if !labels.is_empty() {
        metadata["labels"] = json!(labels);
    }
    let mut entry = json!({
        "kind": call.resource.kind,
        "apiVersion": call.resource.api_version(),
        "metadata": metadata,
        "timestamp": measured.timestamp,
        "window": format!("{}.{:03}s", measured.window_ms / 1000, measured.window_ms % 1000),
    });
    if call.resource.plural == "nodes" {
        entry["usage"] = measured.containers.first().map_or_else(|| usage(&Used::default()), |(_, used)| usage(used));
    } else {
        let containers = measured.containers.iter().map(|(name, used)| json!({"name": name, "usage": usage(used)}));
        entry["containers"] = containers.collect();
    }
    entry
}

fn usage(used: &Used) -> Value {
    json!({"cpu": format!("{}n", used.cpu_nanocores), "memory": format!("{}Ki", used.memory_bytes / 1024)})
}
