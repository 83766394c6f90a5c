//! The nodes and namespaces that a cluster has when it is new, named as kind names them.

use serde_json::{Value, json};

use super::{
    error::ApiError,
    kinds,
    registry::{Registry, WriteOptions},
};

/// The label and the taint of the control plane's nodes.
const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";

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
    pub fn nodes(self) -> Vec<NodeShape> {
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
pub(super) fn create(registry: &Registry, topology: Topology) -> Result<(), ApiError> {
    let options = WriteOptions::default();
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        registry.create(&kinds::NAMESPACE, "", json!({"metadata": {"name": name}}), &options)?;
    }
    for node in topology.nodes() {
        registry.create(&kinds::NODE, "", node_object(&node), &options)?;
    }
    Ok(())
}

/// The Service `kubernetes`, with the API's port behind it where there is one.
pub(super) fn publish_api(registry: &Registry, port: Option<u16>) -> Result<(), ApiError> {
    let options = WriteOptions::default();
    let port = port.unwrap_or(6443);
    let service = json!({
        "metadata": {"name": "kubernetes", "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": registry.allocator.first().to_string(),
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}],
        },
    });
    registry.create(&kinds::SERVICE, "default", service, &options)?;
    // Upstream's API server writes these itself (k/pkg/controlplane/reconcilers, v1.34.4).
    let address = "127.0.0.1";
    let endpoints = json!({
        "metadata": {"name": "kubernetes", "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": [{
            "addresses": [{"ip": address}],
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        }],
    });
    let slice = json!({
        "metadata": {"name": "kubernetes", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    });
    registry.create(&kinds::ENDPOINTS, "default", endpoints, &options)?;
    registry.create(&kinds::ENDPOINT_SLICE, "default", slice, &options)?;
    Ok(())
}

/// A node as it is before its kubelet has told of itself.
fn node_object(node: &NodeShape) -> Value {
    let mut labels = json!({
        "beta.kubernetes.io/arch": arch(),
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": arch(),
        "kubernetes.io/hostname": node.name,
        "kubernetes.io/os": "linux",
    });
    let mut spec = json!({"providerID": format!("sandbox://{}", node.name)});
    if node.control_plane {
        labels[CONTROL_PLANE] = json!("");
        spec["taints"] = json!([{"key": CONTROL_PLANE, "effect": "NoSchedule"}]);
    }
    if let Some(zone) = &node.zone {
        labels["topology.kubernetes.io/zone"] = json!(zone);
    }
    json!({"metadata": {"name": node.name, "labels": labels}, "spec": spec})
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
