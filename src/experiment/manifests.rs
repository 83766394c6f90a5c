//! What matters of a Kubernetes object to an experiment: the same reading for objects that a file applies and for those
//! that a cluster has. Defaults are the API server's; what cannot be read is left out, since it is not refused here.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{
    schema::Labels,
    units::{WorkloadKind, WorkloadRef},
};
use crate::model::{int_or_percent::IntOrPercent, selector::LabelSelector};

/// A workload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkloadFact {
    /// Its kind and name.
    pub workload: WorkloadRef,
    /// `spec.replicas`; for a `DaemonSet` the nodes that should run it, 0 where no cluster has said.
    pub replicas: i32,
    /// `spec.selector`.
    pub selector: LabelSelector,
    /// How it replaces its pods.
    pub strategy: Strategy,
    /// `spec.minReadySeconds`.
    pub min_ready_seconds: i32,
    /// Its pod template.
    pub template: Template,
}

/// How a workload replaces its pods.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Strategy {
    /// `RollingUpdate`, `Recreate` or `OnDelete`.
    pub kind: String,
    /// `maxSurge`, where it is set.
    pub max_surge: Option<IntOrPercent>,
    /// `maxUnavailable`, where it is set.
    pub max_unavailable: Option<IntOrPercent>,
}

/// What matters of a pod template.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Template {
    /// The labels of its pods.
    pub labels: Labels,
    /// Its containers' names, in order.
    pub containers: Vec<String>,
    /// `terminationGracePeriodSeconds`.
    pub grace_seconds: i64,
    /// The longest `preStop` sleep of its containers in seconds, where it can be told.
    pub pre_stop_seconds: Option<i64>,
    /// Seconds until its readiness probe can have succeeded, from delay, period and threshold; 0 without one.
    pub boot_seconds: i64,
}

/// A `PodDisruptionBudget`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BudgetFact {
    /// Its name.
    pub name: String,
    /// Its selector; an absent one selects nothing, an empty one every pod.
    pub selector: Option<LabelSelector>,
    /// `minAvailable`, where it is set.
    pub min_available: Option<IntOrPercent>,
    /// `maxUnavailable`, where it is set.
    pub max_unavailable: Option<IntOrPercent>,
}

/// A Service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceFact {
    /// Its name.
    pub name: String,
    /// `spec.type`, such as `NodePort`.
    pub kind: String,
    /// `spec.clusterIP`, where it has one; `None` (the word) for a headless Service.
    pub cluster_ip: Option<String>,
    /// Its ports.
    pub ports: Vec<ServicePortFact>,
    /// Its selector; empty selects nothing.
    pub selector: Labels,
}

/// A port of a Service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicePortFact {
    /// `port`.
    pub port: u16,
    /// `nodePort`, where it has one.
    pub node_port: Option<u16>,
}

impl ServiceFact {
    /// Whether it can be reached from outside the cluster at a port of every node.
    #[must_use]
    pub fn has_node_ports(&self) -> bool {
        self.kind == "NodePort" || self.kind == "LoadBalancer"
    }

    /// Whether it has no address of its own.
    #[must_use]
    pub fn is_headless(&self) -> bool {
        self.cluster_ip.as_deref() == Some("None")
    }
}

/// The grace period of pods that set none (k/pkg/apis/core/v1/defaults.go).
const DEFAULT_GRACE_SECONDS: i64 = 30;
/// A probe's `periodSeconds` where it sets none (same file).
const DEFAULT_PROBE_PERIOD_SECONDS: i64 = 10;

/// `apiVersion` of an object; empty where it has none.
#[must_use]
pub fn api_version(object: &Json) -> &str {
    object.get("apiVersion").and_then(Json::as_str).unwrap_or_default()
}

/// `kind` of an object; empty where it has none.
#[must_use]
pub fn kind(object: &Json) -> &str {
    object.get("kind").and_then(Json::as_str).unwrap_or_default()
}

/// `metadata.name` of an object; empty where it has none.
#[must_use]
pub fn name(object: &Json) -> &str {
    object.pointer("/metadata/name").and_then(Json::as_str).unwrap_or_default()
}

/// Which workload an object is, where it is one that steps act on.
#[must_use]
pub fn workload_ref(object: &Json) -> Option<WorkloadRef> {
    let workload_kind = match (api_version(object), kind(object)) {
        ("apps/v1", "Deployment") => WorkloadKind::Deployment,
        ("apps/v1", "StatefulSet") => WorkloadKind::StatefulSet,
        ("apps/v1", "DaemonSet") => WorkloadKind::DaemonSet,
        _ => return None,
    };
    Some(WorkloadRef { kind: workload_kind, name: name(object).to_owned() })
}

/// A Deployment, `StatefulSet` or `DaemonSet`.
#[must_use]
pub fn workload(object: &Json) -> Option<WorkloadFact> {
    let workload = workload_ref(object)?;
    let spec = object.get("spec")?;
    let is_daemon_set = workload.kind == WorkloadKind::DaemonSet;
    let replicas = if is_daemon_set { object.pointer("/status/desiredNumberScheduled") } else { spec.get("replicas") };
    let strategy = spec.get("strategy").or_else(|| spec.get("updateStrategy"));
    let rolling = |key: &str| {
        strategy.and_then(|one| one.pointer(&format!("/rollingUpdate/{key}"))).and_then(|value| amount(Some(value)))
    };
    Some(WorkloadFact {
        replicas: replicas.and_then(Json::as_i64).map_or(i32::from(!is_daemon_set), saturating),
        selector: spec.get("selector").and_then(parsed).unwrap_or_default(),
        strategy: Strategy {
            kind: strategy.and_then(|one| one.get("type")).and_then(Json::as_str).unwrap_or("RollingUpdate").to_owned(),
            max_surge: rolling("maxSurge"),
            max_unavailable: rolling("maxUnavailable"),
        },
        min_ready_seconds: spec.get("minReadySeconds").and_then(Json::as_i64).map_or(0, saturating),
        template: template(spec.get("template")?),
        workload,
    })
}

/// The labels of the pods that an object is, or brings about.
#[must_use]
pub fn pod_labels(object: &Json) -> Option<Labels> {
    let labels = match kind(object) {
        "Pod" => "/metadata/labels",
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "ReplicationController" | "Job" => {
            "/spec/template/metadata/labels"
        }
        "CronJob" => "/spec/jobTemplate/spec/template/metadata/labels",
        _ => return None,
    };
    Some(object.pointer(labels).and_then(parsed).unwrap_or_default())
}

/// A `PodDisruptionBudget`.
#[must_use]
pub fn budget(object: &Json) -> Option<BudgetFact> {
    if kind(object) != "PodDisruptionBudget" {
        return None;
    }
    let spec = object.get("spec");
    let of = |key: &str| amount(spec.and_then(|spec| spec.get(key)));
    Some(BudgetFact {
        name: name(object).to_owned(),
        selector: spec.and_then(|spec| spec.get("selector")).and_then(parsed),
        min_available: of("minAvailable"),
        max_unavailable: of("maxUnavailable"),
    })
}

/// A Service.
#[must_use]
pub fn service(object: &Json) -> Option<ServiceFact> {
    if (api_version(object), kind(object)) != ("v1", "Service") {
        return None;
    }
    let text = |key: &str| object.pointer(&format!("/spec/{key}")).and_then(Json::as_str);
    let ports = object.pointer("/spec/ports").and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
    let number = |port: &Json, key: &str| port.get(key).and_then(Json::as_u64).and_then(|n| u16::try_from(n).ok());
    Some(ServiceFact {
        name: name(object).to_owned(),
        kind: text("type").unwrap_or("ClusterIP").to_owned(),
        cluster_ip: text("clusterIP").filter(|ip| !ip.is_empty()).map(str::to_owned),
        ports: ports
            .iter()
            .filter_map(|port| {
                Some(ServicePortFact { port: number(port, "port")?, node_port: number(port, "nodePort") })
            })
            .collect(),
        selector: object.pointer("/spec/selector").and_then(parsed).unwrap_or_default(),
    })
}

fn parsed<T: serde::de::DeserializeOwned>(value: &Json) -> Option<T> {
    T::deserialize(value).ok()
}

fn amount(value: Option<&Json>) -> Option<IntOrPercent> {
    value.and_then(|value| IntOrPercent::from_json(value).ok())
}

fn saturating(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn template(template: &Json) -> Template {
    let containers = template.pointer("/spec/containers").and_then(Json::as_array).map(Vec::as_slice);
    let containers = containers.unwrap_or_default();
    let grace = template.pointer("/spec/terminationGracePeriodSeconds").and_then(Json::as_i64);
    Template {
        labels: template.pointer("/metadata/labels").and_then(parsed).unwrap_or_default(),
        containers: containers
            .iter()
            .filter_map(|one| one.get("name").and_then(Json::as_str).map(str::to_owned))
            .collect(),
        grace_seconds: grace.unwrap_or(DEFAULT_GRACE_SECONDS),
        pre_stop_seconds: containers.iter().filter_map(pre_stop_seconds).max(),
        boot_seconds: containers.iter().map(boot_seconds).max().unwrap_or(0),
    }
}

fn pre_stop_seconds(container: &Json) -> Option<i64> {
    let hook = container.pointer("/lifecycle/preStop")?;
    if let Some(seconds) = hook.pointer("/sleep/seconds").and_then(Json::as_i64) {
        return Some(seconds);
    }
    let command = hook.pointer("/exec/command")?.as_array()?;
    let words: Vec<&str> = command.iter().filter_map(Json::as_str).flat_map(str::split_whitespace).collect();
    let sleep = words.iter().position(|word| *word == "sleep" || word.ends_with("/sleep"))?;
    words.get(sleep + 1)?.trim_end_matches('s').parse().ok()
}

fn boot_seconds(container: &Json) -> i64 {
    let Some(probe) = container.get("readinessProbe") else { return 0 };
    let seconds = |key: &str, default: i64| probe.get(key).and_then(Json::as_i64).unwrap_or(default);
    let rounds = seconds("successThreshold", 1).saturating_mul(seconds("periodSeconds", DEFAULT_PROBE_PERIOD_SECONDS));
    seconds("initialDelaySeconds", 0).saturating_add(rounds)
}

#[cfg(test)]
mod tests;
