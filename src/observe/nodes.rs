//! Nodes: ready, cordoned, tainted. Their heartbeats change nothing of that, and so are not recorded.

use k8s_openapi::api::core::v1::Node;

use super::book::Projection;
use crate::record::event::{NodeSeen, What};

/// The label with a node's zone.
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

pub(super) struct Nodes;

impl Projection for Nodes {
    type Object = Node;
    type Seen = NodeSeen;

    fn key(node: &Node) -> String {
        node.metadata.name.clone().unwrap_or_default()
    }

    fn seen(node: &Node) -> NodeSeen {
        node_seen(node)
    }

    fn changed(seen: NodeSeen) -> What {
        What::Node(seen)
    }

    fn gone(seen: NodeSeen) -> What {
        What::Node(NodeSeen { gone: true, ..seen })
    }
}

/// A node as it is recorded.
#[must_use]
pub fn node_seen(node: &Node) -> NodeSeen {
    let (spec, status) = (node.spec.as_ref(), node.status.as_ref());
    let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let taints = spec.and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    NodeSeen {
        name: node.metadata.name.clone().unwrap_or_default(),
        ready: conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True"),
        unschedulable: spec.and_then(|spec| spec.unschedulable).unwrap_or(false),
        taints: taints.iter().map(|taint| format!("{}:{}", taint.key, taint.effect)).collect(),
        zone: node.metadata.labels.as_ref().and_then(|labels| labels.get(ZONE_LABEL)).cloned(),
        gone: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::book::{Book, Latest};
    use serde_json::json;

    fn node(ready: &str, heartbeat: &str, cordoned: bool) -> Node {
        let taints = if cordoned {
            json!([{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}])
        } else {
            json!([])
        };
        serde_json::from_value(json!({
            "metadata": {"name": "worker", "labels": {"topology.kubernetes.io/zone": "a"}, "resourceVersion": heartbeat},
            "spec": {"unschedulable": cordoned, "taints": taints},
            "status": {"conditions": [{"type": "MemoryPressure", "status": "False"},
                {"type": "Ready", "status": ready, "lastHeartbeatTime": heartbeat}]},
        }))
        .unwrap()
    }

    #[test]
    fn only_what_matters_of_a_node_is_recorded() {
        let (mut book, mut out) = (Latest::<Nodes>::new(), Vec::new());
        book.applied(&node("True", "2026-01-01T00:00:00Z", false), &mut out);
        book.applied(&node("True", "2026-01-01T00:05:00Z", false), &mut out);
        assert_eq!(out.len(), 1, "a heartbeat is no change");
        book.applied(&node("True", "2026-01-01T00:05:01Z", true), &mut out);
        book.applied(&node("Unknown", "2026-01-01T00:05:01Z", true), &mut out);
        let seen = |ready, cordoned: bool| {
            let taints =
                if cordoned { vec!["node.kubernetes.io/unschedulable:NoSchedule".to_owned()] } else { Vec::new() };
            What::Node(NodeSeen {
                name: "worker".to_owned(),
                ready,
                unschedulable: cordoned,
                taints,
                zone: Some("a".to_owned()),
                gone: false,
            })
        };
        assert_eq!(out, [seen(true, false), seen(true, true), seen(false, true)]);
    }
}
