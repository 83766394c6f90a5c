//! A node as the scheduler sees it, with the pods that are on it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use k8s_openapi::api::core::v1::Node;

use super::{
    cache::ClassId,
    diagnosis::Rejection,
    plugin::Plugin,
    pod::{HostPort, PodInfo},
    resources::Resources,
};
use crate::{
    model::taints::{self, Taint},
    sandbox::controllers::{node_lifecycle::zone_of, taint_eviction::taints_of},
};

/// The label that names a node.
pub(super) const HOSTNAME: &str = "kubernetes.io/hostname";

/// A node.
#[derive(Debug, Clone, Default)]
pub(super) struct NodeInfo {
    pub(super) name: String,
    /// Its place in the cache.
    pub(super) at: usize,
    /// Whether the node itself is there; pods can be bound to one that is not.
    pub(super) exists: bool,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) zone: String,
    pub(super) taints: Vec<Taint>,
    pub(super) unschedulable: bool,
    pub(super) allocatable: Resources,
    pub(super) requested: Resources,
    /// What scoring takes its pods for: CPU, memory.
    pub(super) scored: (i64, i64),
    /// Its pods by uid.
    pub(super) pods: HashMap<String, (Arc<PodInfo>, ClassId)>,
    pub(super) ports: Vec<HostPort>,
}

impl NodeInfo {
    /// Takes over what the node object says.
    pub(super) fn read(&mut self, node: &Node) {
        let spec = node.spec.as_ref();
        self.exists = true;
        self.labels = node.metadata.labels.clone().unwrap_or_default();
        self.zone = zone_of(node);
        self.taints = taints_of(node);
        self.unschedulable = spec.is_some_and(|spec| spec.unschedulable == Some(true));
        self.allocatable = Resources::of_node(node.status.as_ref().and_then(|status| status.allocatable.as_ref()));
    }

    /// Whether what counts for scheduling is the same.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.exists == other.exists
            && self.labels == other.labels
            && self.taints == other.taints
            && self.unschedulable == other.unschedulable
            && self.allocatable == other.allocatable
    }

    pub(super) fn add(&mut self, pod: &Arc<PodInfo>, class: ClassId) {
        self.requested.add(&pod.requests);
        self.scored.0 = self.scored.0.saturating_add(pod.scored.0);
        self.scored.1 = self.scored.1.saturating_add(pod.scored.1);
        self.ports.extend(pod.host_ports.iter().cloned());
        self.pods.insert(pod.uid.clone(), (Arc::clone(pod), class));
    }

    pub(super) fn remove(&mut self, uid: &str) -> Option<(Arc<PodInfo>, ClassId)> {
        let (pod, class) = self.pods.remove(uid)?;
        self.requested.subtract(&pod.requests);
        self.scored.0 = self.scored.0.saturating_sub(pod.scored.0);
        self.scored.1 = self.scored.1.saturating_sub(pod.scored.1);
        for port in &pod.host_ports {
            if let Some(at) = self.ports.iter().position(|known| known == port) {
                self.ports.swap_remove(at);
            }
        }
        Some((pod, class))
    }
}

/// `NodeUnschedulable`: a cordoned node takes only pods that tolerate it.
pub(super) fn filter_unschedulable(pod: &PodInfo, node: &NodeInfo) -> Option<Rejection> {
    (node.unschedulable && !pod.tolerates_unschedulable())
        .then(|| Rejection::never(Plugin::NodeUnschedulable, "node(s) were unschedulable"))
}

/// `TaintToleration`: the first taint that keeps the pod away.
pub(super) fn filter_taints(pod: &PodInfo, node: &NodeInfo) -> Option<Rejection> {
    let taint = taints::first_untolerated(&node.taints, &pod.tolerations)?;
    let reason = format!("node(s) had untolerated taint {{{}: {}}}", taint.key, taint.value);
    Some(Rejection::never(Plugin::TaintToleration, reason))
}

/// How many taints would rather not have the pod; fewer are better.
pub(super) fn count_reluctant_taints(pod: &PodInfo, node: &NodeInfo) -> i64 {
    let prefers = |taint: &&Taint| taint.effect == "PreferNoSchedule";
    let tolerated = |taint: &Taint| {
        let usable = pod.tolerations.iter().filter(|one| one.effect.is_empty() || one.effect == "PreferNoSchedule");
        usable.into_iter().any(|one| one.tolerates(taint))
    };
    let count = node.taints.iter().filter(prefers).filter(|taint| !tolerated(taint)).count();
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// `NodePorts`: no two pods of a node can have the same port of it.
pub(super) fn filter_ports(pod: &PodInfo, node: &NodeInfo) -> Option<Rejection> {
    let taken = pod.host_ports.iter().any(|port| node.ports.iter().any(|other| port.conflicts(other)));
    let reason = "node(s) didn't have free ports for the requested pod ports";
    taken.then(|| Rejection::now(Plugin::NodePorts, reason))
}
