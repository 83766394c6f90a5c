//! The kubelet's events about a pod and its containers.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::sandbox::{
    controllers::events::{self, Severity},
    registry::Registry,
};

/// Records events about one pod.
#[derive(Clone)]
pub struct Recorder {
    registry: Arc<Registry>,
    involved: Value,
}

impl Recorder {
    /// A recorder for a pod.
    #[must_use]
    pub fn new(registry: Arc<Registry>, pod: &Pod) -> Self {
        let involved = json!({
            "kind": "Pod",
            "apiVersion": "v1",
            "namespace": pod.metadata.namespace,
            "name": pod.metadata.name,
            "uid": pod.metadata.uid,
            "resourceVersion": pod.metadata.resource_version,
        });
        Self { registry, involved }
    }

    /// An event about the pod.
    pub fn pod(&self, severity: Severity, reason: &str, message: &str) {
        events::record_about(&self.registry, &self.involved, severity, "kubelet", reason, message);
    }

    /// An event about one of its containers; `field` is its place, such as `spec.containers{shop}`.
    pub fn container(&self, field: &str, severity: Severity, reason: &str, message: &str) {
        let mut involved = self.involved.clone();
        involved["fieldPath"] = json!(field);
        events::record_about(&self.registry, &involved, severity, "kubelet", reason, message);
    }
}
