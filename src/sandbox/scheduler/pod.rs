//! What the scheduler reads of a pod, once per version.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

use super::{
    node_affinity::NodeAffinity,
    pod_affinity::PodAffinity,
    resources::{self, Resources},
    spread::Constraint,
};
use crate::{
    model::taints::Toleration,
    sandbox::{controllers::taint_eviction::tolerations_of, store::Object},
};

/// A port of the node that a pod takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostPort {
    pub(super) address: String,
    pub(super) protocol: String,
    pub(super) port: i32,
}

impl HostPort {
    /// Whether both cannot be on one node: the same port, and the same address or one that stands for all.
    pub(super) fn conflicts(&self, other: &Self) -> bool {
        const ALL: &str = "0.0.0.0";
        self.port == other.port
            && self.protocol == other.protocol
            && (self.address == other.address || self.address == ALL || other.address == ALL)
    }
}

/// A pod as the scheduler sees it.
#[derive(Debug, Clone, Default)]
pub(super) struct PodInfo {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) version: u64,
    pub(super) generation: i64,
    pub(super) labels: BTreeMap<String, String>,
    /// The managing controller: API version, kind, name.
    pub(super) controller: Option<(String, String, String)>,
    pub(super) node: Option<String>,
    /// `spec.schedulerName`; empty for the default.
    pub(super) scheduler: String,
    pub(super) priority: i32,
    /// `preemptionPolicy: Never`.
    pub(super) never_preempts: bool,
    pub(super) requests: Resources,
    /// What scoring takes a pod for that asks for nothing.
    pub(super) scored: (i64, i64),
    pub(super) host_ports: Vec<HostPort>,
    /// The volume claims that it mounts, in order.
    pub(super) claims: Vec<String>,
    pub(super) tolerations: Vec<Toleration>,
    pub(super) node_affinity: NodeAffinity,
    pub(super) affinity: PodAffinity,
    pub(super) spread: Vec<Constraint>,
    /// It has scheduling gates.
    pub(super) gated: bool,
    pub(super) deleting: bool,
    pub(super) finished: bool,
}

impl PodInfo {
    /// Reads a pod; nothing where it is none.
    pub(super) fn read(object: &Object) -> Option<Self> {
        let pod = object.typed::<Pod>()?;
        let empty = PodSpec::default();
        let spec = pod.spec.as_ref().unwrap_or(&empty);
        let status = pod.status.as_ref();
        let affinity = spec.affinity.as_ref();
        let labels = object.labels.clone();
        let (requests, scored) = resources::of_pod(spec);
        Some(Self {
            namespace: object.namespace.clone(),
            name: object.name.clone(),
            uid: object.uid.clone(),
            version: object.version,
            generation: pod.metadata.generation.unwrap_or_default(),
            controller: object
                .controller()
                .map(|owner| (owner.api_version.clone(), owner.kind.clone(), owner.name.clone())),
            node: object.node.clone(),
            scheduler: spec.scheduler_name.clone().unwrap_or_default(),
            priority: spec.priority.unwrap_or_default(),
            never_preempts: spec.preemption_policy.as_deref() == Some("Never"),
            requests,
            scored,
            host_ports: host_ports(spec),
            claims: spec
                .volumes
                .iter()
                .flatten()
                .filter_map(|volume| Some(volume.persistent_volume_claim.as_ref()?.claim_name.clone()))
                .collect(),
            tolerations: tolerations_of(spec.tolerations.as_deref()),
            node_affinity: NodeAffinity::read(spec),
            affinity: PodAffinity::read(affinity, &object.namespace, &labels),
            spread: spec
                .topology_spread_constraints
                .iter()
                .flatten()
                .map(|constraint| Constraint::read(constraint, &labels))
                .collect(),
            gated: spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty()),
            deleting: pod.metadata.deletion_timestamp.is_some(),
            finished: matches!(status.and_then(|status| status.phase.as_deref()), Some("Succeeded" | "Failed")),
            labels,
        })
    }

    /// Whether the default scheduler is to place it.
    pub(super) fn is_ours(&self) -> bool {
        self.scheduler.is_empty() || self.scheduler == "default-scheduler"
    }

    /// Whether it tolerates that a node takes no new pods.
    pub(super) fn tolerates_unschedulable(&self) -> bool {
        let taint = crate::model::taints::Taint {
            key: "node.kubernetes.io/unschedulable".to_owned(),
            value: String::new(),
            effect: "NoSchedule".to_owned(),
        };
        self.tolerations.iter().any(|toleration| toleration.tolerates(&taint))
    }
}

/// The ports of the node that a pod takes, those of its init containers that stay too.
fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let staying = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    let all = spec.init_containers.iter().flatten().filter(staying).chain(&spec.containers);
    let ports = all.flat_map(|container| container.ports.iter().flatten());
    ports
        .filter(|port| port.host_port.is_some_and(|port| port > 0))
        .map(|port| HostPort {
            address: port.host_ip.clone().filter(|ip| !ip.is_empty()).unwrap_or_else(|| "0.0.0.0".to_owned()),
            protocol: port.protocol.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| "TCP".to_owned()),
            port: port.host_port.unwrap_or_default(),
        })
        .collect()
}
