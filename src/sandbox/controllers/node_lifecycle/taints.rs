//! The taints that this controller owns: `NoSchedule` by a node's conditions and `spec.unschedulable`, at once
//! (`doNoScheduleTaintingPass`); `NoExecute` for nodes that are not ready or silent.

use k8s_openapi::api::core::v1::Node;
use serde_json::{Value, json};

use super::{NodeLifecycle, condition};
use crate::sandbox::{
    controllers::taint_eviction::taints_of,
    error::ApiError,
    kinds, names,
    registry::{Part, WriteOptions},
};

/// The key of the taint for a kubelet that says that it is not ready.
pub(super) const NOT_READY: &str = "node.kubernetes.io/not-ready";

/// The key of the taint for a kubelet that says nothing.
pub(super) const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

/// The key of the taint of a cordoned node.
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Conditions with the status under which they are a taint, and its key.
const BY_CONDITION: [(&str, &str, &str); 6] = [
    ("Ready", "False", NOT_READY),
    ("Ready", "Unknown", UNREACHABLE),
    ("MemoryPressure", "True", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    ("NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
];

/// Labels that are kept under an older name too.
const LABELS: [(&str, &str); 2] =
    [("kubernetes.io/os", "beta.kubernetes.io/os"), ("kubernetes.io/arch", "beta.kubernetes.io/arch")];

impl NodeLifecycle {
    /// Brings the `NoSchedule` taints and the older labels of a node up to date.
    pub(super) fn follow_conditions(&self, name: &str) -> Result<(), ApiError> {
        let Some(node) = self.registry.find::<Node>("", name) else { return Ok(()) };
        let wanted = no_schedule(&node);
        let owned =
            |key: &str| key == UNSCHEDULABLE || BY_CONDITION.iter().any(|(_, _, of_condition)| *of_condition == key);
        let is: Vec<String> = taints_of(&node)
            .into_iter()
            .filter(|taint| taint.effect == "NoSchedule" && owned(&taint.key))
            .map(|taint| taint.key)
            .collect();
        if is.len() == wanted.len() && wanted.iter().all(|key| is.iter().any(|one| one == key)) {
            return self.keep_labels(name, &node);
        }
        self.change_taints(name, |taints| {
            taints.retain(|taint| {
                let key = taint["key"].as_str().unwrap_or_default();
                taint["effect"] != "NoSchedule" || !owned(key) || wanted.contains(&key)
            });
            for key in &wanted {
                if !taints.iter().any(|taint| taint["key"] == **key && taint["effect"] == "NoSchedule") {
                    taints.push(json!({"key": key, "effect": "NoSchedule", "timeAdded": names::now_seconds()}));
                }
            }
        })?;
        self.keep_labels(name, &node)
    }

    fn keep_labels(&self, name: &str, node: &Node) -> Result<(), ApiError> {
        let labels = node.metadata.labels.clone().unwrap_or_default();
        let missing: Vec<(&str, String)> = LABELS
            .iter()
            .filter_map(|(new, old)| {
                labels.get(*new).filter(|value| labels.get(*old) != Some(*value)).map(|value| (*old, value.clone()))
            })
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let options = WriteOptions::default();
        let changed = self.registry.change(&kinds::NODE, "", name, Part::Main, &options, |mut node| {
            for (key, value) in missing {
                node["metadata"]["labels"][key] = json!(value);
            }
            Ok(node)
        });
        changed.map(drop)
    }

    /// Whether a node has this `NoExecute` taint.
    pub(super) fn has_no_execute(&self, name: &str, key: &str) -> bool {
        let node = self.registry.find::<Node>("", name);
        node.is_some_and(|node| taints_of(&node).iter().any(|taint| taint.key == key && taint.effect == "NoExecute"))
    }

    /// Gives a node one `NoExecute` taint and takes the other.
    pub(super) fn swap_taint(&self, name: &str, wanted: &str, opposite: &str) {
        let swapped = self.change_taints(name, |taints| {
            taints
                .retain(|taint| taint["effect"] != "NoExecute" || (taint["key"] != wanted && taint["key"] != opposite));
            taints.push(json!({"key": wanted, "effect": "NoExecute", "timeAdded": names::now_seconds()}));
        });
        if let Err(error) = swapped {
            tracing::debug!(%error, name, "a node was not tainted; again with the next look");
        }
    }

    /// Takes both `NoExecute` taints from a node.
    pub(super) fn clear_taints(&self, name: &str) {
        if !self.has_no_execute(name, NOT_READY) && !self.has_no_execute(name, UNREACHABLE) {
            return;
        }
        let cleared = self.change_taints(name, |taints| {
            taints.retain(|taint| {
                taint["effect"] != "NoExecute" || (taint["key"] != NOT_READY && taint["key"] != UNREACHABLE)
            });
        });
        if let Err(error) = cleared {
            tracing::debug!(%error, name, "a node's taints were not removed; again with the next look");
        }
    }

    fn change_taints(&self, name: &str, change: impl FnOnce(&mut Vec<Value>)) -> Result<(), ApiError> {
        let options = WriteOptions::default();
        let changed = self.registry.change(&kinds::NODE, "", name, Part::Main, &options, |mut node| {
            if !node["spec"].is_object() {
                node["spec"] = json!({});
            }
            let mut taints = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
            change(&mut taints);
            match node["spec"].as_object_mut() {
                Some(spec) if taints.is_empty() => {
                    spec.shift_remove("taints");
                }
                _ => node["spec"]["taints"] = Value::Array(taints),
            }
            Ok(node)
        });
        changed.map(drop)
    }
}

/// The keys of the `NoSchedule` taints that a node is to have.
fn no_schedule(node: &Node) -> Vec<&'static str> {
    let by_condition = BY_CONDITION
        .iter()
        .filter(|(kind, status, _)| condition(node, kind).is_some_and(|condition| condition.status == *status));
    let mut keys: Vec<&'static str> = by_condition.map(|(_, _, key)| *key).collect();
    if node.spec.as_ref().is_some_and(|spec| spec.unschedulable == Some(true)) {
        keys.push(UNSCHEDULABLE);
    }
    keys
}
