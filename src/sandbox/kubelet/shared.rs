//! What all parts of the kubelet share.

use std::sync::Arc;

use super::{address::Addresses, options::KubeletOptions, pods::Pods, power::Nodes, process::Live};
use crate::sandbox::registry::Registry;

/// What all parts of the kubelet share.
pub struct Shared {
    /// The API.
    pub registry: Arc<Registry>,
    /// How it was started.
    pub options: KubeletOptions,
    /// Pods' addresses.
    pub addresses: Addresses,
    /// Nodes' addresses.
    pub node_addresses: Addresses,
    /// Processes that have not been reaped.
    pub live: Arc<Live>,
    /// The nodes.
    pub nodes: Nodes,
    /// The pods that it has taken on.
    pub pods: Pods,
}

impl Shared {
    pub(super) fn new(registry: Arc<Registry>, options: KubeletOptions) -> Self {
        Self {
            registry,
            addresses: Addresses::new(options.pod_base),
            node_addresses: Addresses::new(options.node_base),
            options,
            live: Arc::default(),
            nodes: Nodes::default(),
            pods: Pods::default(),
        }
    }
}
