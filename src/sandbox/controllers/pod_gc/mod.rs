//! The pod garbage collector: pods of nodes that are gone, terminating pods that nothing will ever finish, and finished
//! pods beyond a number (`k/pkg/controller/podgc/gc_controller.go`, v1.34.4).

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::json;
use tokio::time::Instant;

use super::{Controller, Key, Next};
use crate::sandbox::{
    error::ApiError,
    kinds::{self, Kind},
    registry::{
        DeleteOptions, Part, Registry, WriteOptions,
        subresources::conditions::{self, Condition},
    },
    store::{Change, Op},
};

/// How often it looks (`gcCheckPeriod`).
const PERIOD: Duration = Duration::from_secs(20);

/// How long a node must have been gone before its pods go (`quarantineTime`).
const QUARANTINE: Duration = Duration::from_secs(40);

/// Finished pods that are kept (`--terminated-pod-gc-threshold`).
const FINISHED_MAX: usize = 12_500;

/// The controller.
pub struct PodGc {
    registry: Arc<Registry>,
    finished_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    looked: Option<Instant>,
    /// Nodes that pods are bound to and that are not there, with the time that was first seen.
    missing: HashMap<String, Instant>,
}

impl PodGc {
    /// The controller of this cluster.
    #[must_use]
    pub fn new(registry: Arc<Registry>) -> Self {
        Self { registry, finished_max: FINISHED_MAX, state: Mutex::default() }
    }

    fn look(&self) {
        let pods = self.registry.all::<Pod>(None);
        self.finished(&pods);
        self.on_out_of_service_nodes(&pods);
        self.orphaned(&pods);
        for pod in &pods {
            if node_of(pod).is_empty() && pod.metadata.deletion_timestamp.is_some() {
                self.fail_and_delete(pod, None);
            }
        }
    }

    fn finished(&self, pods: &[Arc<Pod>]) {
        let mut finished: Vec<&Arc<Pod>> = pods.iter().filter(|pod| is_finished(pod)).collect();
        let Some(more) = finished.len().checked_sub(self.finished_max) else { return };
        finished.sort_by_key(|pod| {
            (pod.metadata.creation_timestamp.as_ref().map(|time| time.0), pod.metadata.name.clone())
        });
        for pod in finished.into_iter().take(more) {
            self.fail_and_delete(pod, None);
        }
    }

    fn on_out_of_service_nodes(&self, pods: &[Arc<Pod>]) {
        for pod in pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_some() && !node_of(pod).is_empty()) {
            let Some(node) = self.registry.find::<Node>("", node_of(pod)) else { continue };
            let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
            let out_of_service = taints.iter().any(|taint| taint.key == "node.kubernetes.io/out-of-service");
            if out_of_service && !super::node_lifecycle::is_ready(&node) {
                self.fail_and_delete(pod, None);
            }
        }
    }

    fn orphaned(&self, pods: &[Arc<Pod>]) {
        let nodes: HashSet<String> =
            self.registry.store().list(&kinds::NODE, None).1.iter().map(|node| node.name.clone()).collect();
        let now = Instant::now();
        let gone: HashSet<String> = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.missing.retain(|name, _| !nodes.contains(name));
            for pod in pods {
                let node = node_of(pod);
                if !node.is_empty() && !nodes.contains(node) {
                    state.missing.entry(node.to_owned()).or_insert(now);
                }
            }
            let long = state.missing.iter().filter(|(_, since)| now.duration_since(**since) >= QUARANTINE);
            long.map(|(name, _)| name.clone()).collect()
        };
        for pod in pods.iter().filter(|pod| gone.contains(node_of(pod))) {
            self.fail_and_delete(
                pod,
                Some(Condition {
                    kind: "DisruptionTarget",
                    status: "True",
                    reason: "DeletionByPodGC",
                    message: "PodGC: node no longer exists",
                }),
            );
        }
    }

    /// Says that the pod has failed, unless it has finished, and removes it without grace.
    fn fail_and_delete(&self, pod: &Pod, condition: Option<Condition<'_>>) {
        let (namespace, name) =
            (pod.metadata.namespace.as_deref().unwrap_or_default(), pod.metadata.name.as_deref().unwrap_or_default());
        if !is_finished(pod) {
            let options = WriteOptions::default();
            let marked = self.registry.change(&kinds::POD, namespace, name, Part::Status, &options, |mut pod| {
                if !pod["status"].is_object() {
                    pod["status"] = json!({});
                }
                pod["status"]["phase"] = json!("Failed");
                if let Some(condition) = condition {
                    conditions::set_on_pod(&mut pod, condition);
                }
                Ok(pod)
            });
            if let Err(error) = marked {
                tracing::debug!(%error, namespace, name, "not collected yet");
                return;
            }
        }
        let options = DeleteOptions { grace_seconds: Some(0), ..DeleteOptions::default() };
        if let Err(error) = self.registry.remove::<Pod>(namespace, name, &options) {
            tracing::debug!(%error, namespace, name, "not collected yet");
        }
    }
}

impl Controller for PodGc {
    fn name(&self) -> &'static str {
        "pod-gc"
    }

    fn watches(&self) -> &'static [&'static Kind] {
        // Namespaces are there in every cluster, so that the first look comes even before any node.
        static WATCHES: &[&Kind] = &[&kinds::NODE, &kinds::NAMESPACE];
        WATCHES
    }

    fn keys(&self, change: &Change) -> Vec<Key> {
        if change.op == Op::Modified { Vec::new() } else { vec![Key::new("", "")] }
    }

    fn reconcile(&self, _key: &Key) -> Result<Next, ApiError> {
        let left = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let left = state.looked.map(|at| (at + PERIOD).saturating_duration_since(now)).unwrap_or_default();
            if left.is_zero() {
                state.looked = Some(now);
            }
            left
        };
        if left.is_zero() {
            self.look();
            return Ok(Next::After(PERIOD));
        }
        Ok(Next::After(left))
    }
}

fn node_of(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

fn is_finished(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

#[cfg(test)]
mod tests;
