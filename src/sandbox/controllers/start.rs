//! The list of controllers that a cluster runs.

use std::{sync::Arc, time::Duration};

use super::{
    Controller,
    autoscaler::{self, Autoscalers},
    daemon_set::DaemonSets,
    deployment::Deployments,
    disruption::Disruption,
    endpoint_slice::EndpointSlices,
    endpoints::EndpointsController,
    garbage::Garbage,
    job::{FinishedJobs, Jobs, OrphanPods},
    namespace::Namespaces,
    node_lifecycle::NodeLifecycle,
    pod_gc::PodGc,
    replica_set::ReplicaSets,
    service_account::ServiceAccounts,
    stateful_set::StatefulSets,
    taint_eviction::TaintEviction,
};
use crate::sandbox::{metrics::PodMetrics, registry::Registry};

/// What controllers have to know beside the objects.
#[derive(Clone)]
pub struct Sources {
    /// The certificate, as PEM, that clients in pods are to trust: the `ConfigMap` `kube-root-ca.crt`.
    pub root_ca: String,
    /// What pods use.
    pub metrics: Arc<dyn PodMetrics>,
    /// How long a node may be silent before it counts as lost (`node-monitor-grace-period`).
    pub node_grace: Duration,
}

/// All controllers.
#[must_use]
pub fn all(registry: &Arc<Registry>, sources: &Sources) -> Vec<Arc<dyn Controller>> {
    let own = || Arc::clone(registry);
    vec![
        Arc::new(Namespaces::new(own())),
        Arc::new(ServiceAccounts::new(own(), sources.root_ca.clone())),
        Arc::new(Garbage::new(own())),
        Arc::new(Deployments::new(own())),
        Arc::new(ReplicaSets::new(own())),
        Arc::new(StatefulSets::new(own())),
        Arc::new(DaemonSets::new(own())),
        Arc::new(Jobs::new(own())),
        Arc::new(OrphanPods::new(own())),
        Arc::new(FinishedJobs::new(own())),
        Arc::new(Disruption::new(own())),
        Arc::new(EndpointSlices::new(own())),
        Arc::new(EndpointsController::new(own())),
        Arc::new(NodeLifecycle::new(own(), sources.node_grace)),
        Arc::new(TaintEviction::new(own())),
        Arc::new(PodGc::new(own())),
        Arc::new(Autoscalers::new(own(), Arc::clone(&sources.metrics), autoscaler::PERIOD)),
    ]
}
