//! `PodMetrics` and `NodeMetrics` of `metrics.k8s.io/v1beta1`, as metrics-server writes them.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Node, Pod},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde_json::{Value, json};

use super::{PodMetrics as _, PodUsage, Sampler};
use crate::sandbox::{names, registry::Registry};

/// `PodMetrics` of a pod with a rate.
pub(super) fn pod(sampler: &Sampler, pod: &Pod) -> Option<Value> {
    let (namespace, name) = (pod.metadata.namespace.as_deref(), pod.metadata.name.as_deref());
    let usage = sampler.usage(namespace.unwrap_or_default(), name.unwrap_or_default())?;
    let containers = usage.containers.iter().map(
        |one| json!({"name": one.container, "usage": {"cpu": cores(one.cpu_nanos), "memory": bytes(one.memory_bytes)}}),
    );
    let containers: Vec<Value> = containers.collect();
    let mut object = object("PodMetrics", &pod.metadata, usage.at, usage.window);
    object["containers"] = json!(containers);
    Some(object)
}

/// `NodeMetrics` of the nodes that have pods with a rate. Nothing runs on a node but its pods.
pub(super) fn nodes(sampler: &Sampler, registry: &Registry) -> Vec<Value> {
    let mut by_node: BTreeMap<String, Vec<PodUsage>> = BTreeMap::new();
    for pod in registry.all::<Pod>(None) {
        let (namespace, name) = (pod.metadata.namespace.as_deref(), pod.metadata.name.as_deref());
        let usage = sampler.usage(namespace.unwrap_or_default(), name.unwrap_or_default());
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
        if let (Some(node), Some(usage)) = (node, usage) {
            by_node.entry(node).or_default().push(usage);
        }
    }
    let of = |node: &Node| {
        let usages = by_node.get(node.metadata.name.as_deref()?)?;
        let latest = usages.iter().max_by_key(|usage| usage.at)?;
        let containers = || usages.iter().flat_map(|usage| &usage.containers);
        let cpu = containers().fold(0_i64, |sum, one| sum.saturating_add(one.cpu_nanos));
        let memory = containers().fold(0_i64, |sum, one| sum.saturating_add(one.memory_bytes));
        let mut object = object("NodeMetrics", &node.metadata, latest.at, latest.window);
        object["usage"] = json!({"cpu": cores(cpu), "memory": bytes(memory)});
        Some(object)
    };
    registry.all::<Node>(None).iter().filter_map(|node| of(node)).collect()
}

fn object(kind: &str, of: &ObjectMeta, at: Timestamp, window: Duration) -> Value {
    let mut metadata = json!({"name": of.name});
    if let Some(namespace) = &of.namespace {
        metadata["namespace"] = json!(namespace);
    }
    metadata["creationTimestamp"] = json!(names::now_seconds());
    if let Some(labels) = of.labels.as_ref().filter(|labels| !labels.is_empty()) {
        metadata["labels"] = json!(labels);
    }
    let timestamp = Timestamp::from_second(at.as_second()).unwrap_or_default().to_string();
    json!({
        "kind": kind,
        "apiVersion": "metrics.k8s.io/v1beta1",
        "metadata": metadata,
        "timestamp": timestamp,
        "window": duration(window),
    })
}

/// Billionths of a core, in the largest unit that they are whole in.
pub(super) fn cores(nanos: i64) -> String {
    let units = [(1_000_000_000, ""), (1_000_000, "m"), (1_000, "u")];
    let whole = units.into_iter().find(|(unit, _)| nanos % unit == 0);
    whole.map_or_else(|| format!("{nanos}n"), |(unit, suffix)| format!("{}{suffix}", nanos / unit))
}

/// Bytes, in the largest power of 1024 that they are whole in.
pub(super) fn bytes(count: i64) -> String {
    let (mut value, mut suffixes) = (count, ["", "Ki", "Mi", "Gi", "Ti"].into_iter());
    let mut suffix = suffixes.next().unwrap_or_default();
    while value != 0 && value % 1024 == 0 {
        let Some(next) = suffixes.next() else { break };
        value /= 1024;
        suffix = next;
    }
    format!("{value}{suffix}")
}

/// A duration as Go writes it: `15.02s`, `1m0s`.
pub(super) fn duration(of: Duration) -> String {
    let minutes = of.as_secs() / 60;
    let seconds = of.as_secs() % 60;
    let millis = of.subsec_millis();
    let mut text = if minutes > 0 { format!("{minutes}m{seconds}") } else { seconds.to_string() };
    if millis > 0 {
        text.push_str(format!(".{millis:03}").trim_end_matches('0'));
    }
    text.push('s');
    text
}
