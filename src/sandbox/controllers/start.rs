//! The list of controllers that a cluster runs.

use std::sync::Arc;

use super::{
    Controller,
    daemon_set::DaemonSets,
    deployment::Deployments,
    garbage::Garbage,
    job::{FinishedJobs, Jobs, OrphanPods},
    namespace::Namespaces,
    replica_set::ReplicaSets,
    service_account::ServiceAccounts,
    stateful_set::StatefulSets,
};
use crate::sandbox::registry::Registry;

/// What controllers have to know beside the objects.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The certificate, as PEM, that clients in pods are to trust: the `ConfigMap` `kube-root-ca.crt`.
    pub root_ca: String,
}

/// All controllers of these objects.
#[must_use]
pub fn all(registry: &Arc<Registry>, options: &Options) -> Vec<Arc<dyn Controller>> {
    vec![
        Arc::new(Namespaces::new(Arc::clone(registry))),
        Arc::new(ServiceAccounts::new(Arc::clone(registry), options.root_ca.clone())),
        Arc::new(Garbage::new(Arc::clone(registry))),
        Arc::new(Deployments::new(Arc::clone(registry))),
        Arc::new(ReplicaSets::new(Arc::clone(registry))),
        Arc::new(StatefulSets::new(Arc::clone(registry))),
        Arc::new(DaemonSets::new(Arc::clone(registry))),
        Arc::new(Jobs::new(Arc::clone(registry))),
        Arc::new(OrphanPods::new(Arc::clone(registry))),
        Arc::new(FinishedJobs::new(Arc::clone(registry))),
    ]
}
