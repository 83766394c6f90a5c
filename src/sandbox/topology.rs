//! The nodes and namespaces that a cluster has when it is new, named as kind names them.

use serde_json::{Value, json};

use super::{
    Block,
    error::ApiError,
    kinds, names,
    registry::{Registry, WriteOptions},
};

/// The label and the taint of the control plane's nodes.
const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";

/// What every node has: more than the experiments ask for, and the same on every machine, so that no verdict hangs on
/// the size of a laptop.
const NODE_CPUS: &str = "8";
const NODE_MEMORY: &str = "16Gi";
/// The kubelet's own limit (k/pkg/kubelet/apis/config/v1beta1/defaults.go, v1.34.4).
const PODS_MAX: &str = "110";

/// How many nodes, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Topology {
    /// Nodes of the control plane.
    pub control_planes: u16,
    /// Nodes that run pods.
    pub workers: u16,
    /// Zones that the workers are spread over, in turn; none where left out.
    pub zones: Option<u16>,
}

impl Default for Topology {
    fn default() -> Self {
        Self { control_planes: 1, workers: 3, zones: None }
    }
}

/// A node of a topology.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeShape {
    /// Its name.
    pub name: String,
    /// Of the control plane.
    pub control_plane: bool,
    /// Its zone.
    pub zone: Option<String>,
}

impl Topology {
    /// The nodes, the control plane first.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeShape> {
        let numbered = |role: &str, number: u16| match number {
            0 => format!("sandbox-{role}"),
            more => format!("sandbox-{role}{}", more + 1),
        };
        let control_planes = (0..self.control_planes).map(|number| NodeShape {
            name: numbered("control-plane", number),
            control_plane: true,
            zone: None,
        });
        let workers = (0..self.workers).map(|number| NodeShape {
            name: numbered("worker", number),
            control_plane: false,
            zone: self.zones.map(|zones| format!("zone-{}", letter(number % zones.max(1)))),
        });
        control_planes.chain(workers).collect()
    }
}

/// `a`, `b`, … and numbers beyond the alphabet.
fn letter(number: u16) -> String {
    u8::try_from(number)
        .ok()
        .filter(|number| *number < 26)
        .map_or_else(|| number.to_string(), |number| char::from(b'a' + number).to_string())
}

/// Creates the namespaces and nodes of a new cluster.
pub(super) fn create(registry: &Registry, topology: &Topology, block: &Block) -> Result<(), ApiError> {
    let options = WriteOptions::default();
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        registry.create(&kinds::NAMESPACE, "", json!({"metadata": {"name": name}}), &options)?;
    }
    for (number, node) in (0..).zip(topology.nodes()) {
        registry.create(&kinds::NODE, "", node_object(&node, &block.node(number).to_string()), &options)?;
    }
    let ports = json!([{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}]);
    let service = json!({
        "metadata": {"name": "kubernetes", "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {"type": "ClusterIP", "ports": ports},
    });
    registry.create(&kinds::SERVICE, "default", service, &options)?;
    Ok(())
}

fn node_object(node: &NodeShape, address: &str) -> Value {
    let mut labels = json!({
        "kubernetes.io/hostname": node.name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": arch(),
        "beta.kubernetes.io/os": "linux",
        "beta.kubernetes.io/arch": arch(),
    });
    let mut spec = json!({"providerID": format!("sandbox://{}", node.name)});
    if node.control_plane {
        labels[CONTROL_PLANE] = json!("");
        spec["taints"] = json!([{"key": CONTROL_PLANE, "effect": "NoSchedule"}]);
    }
    if let Some(zone) = &node.zone {
        labels["topology.kubernetes.io/zone"] = json!(zone);
    }
    let capacity = json!({"cpu": NODE_CPUS, "memory": NODE_MEMORY, "pods": PODS_MAX, "ephemeral-storage": "100Gi"});
    let now = names::now_seconds();
    json!({
        "metadata": {"name": node.name, "labels": labels},
        "spec": spec,
        "status": {
            "capacity": capacity,
            "allocatable": capacity,
            "addresses": [
                {"type": "InternalIP", "address": address},
                {"type": "Hostname", "address": node.name},
            ],
            "conditions": [{
                "type": "Ready",
                "status": "True",
                "reason": "KubeletReady",
                "message": "kubelet is posting ready status",
                "lastHeartbeatTime": now,
                "lastTransitionTime": now,
            }],
            "nodeInfo": {
                "architecture": arch(),
                "operatingSystem": "linux",
                "osImage": "evenkeel sandbox",
                "kernelVersion": "",
                "machineID": "",
                "systemUUID": "",
                "bootID": "",
                "containerRuntimeVersion": "process://1",
                "kubeletVersion": super::VERSION,
                "kubeProxyVersion": "",
            },
        },
    })
}

/// The machine's architecture, as Kubernetes names it.
const fn arch() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_spread_over_the_zones_in_turn() {
        let nodes = Topology { control_planes: 1, workers: 4, zones: Some(3) }.nodes();
        let found: Vec<(&str, Option<&str>)> =
            nodes.iter().map(|node| (node.name.as_str(), node.zone.as_deref())).collect();
        let wanted = [
            ("sandbox-control-plane", None),
            ("sandbox-worker", Some("zone-a")),
            ("sandbox-worker2", Some("zone-b")),
            ("sandbox-worker3", Some("zone-c")),
            ("sandbox-worker4", Some("zone-a")),
        ];
        assert_eq!(found, wanted);
    }
}
