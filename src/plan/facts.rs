//! What is known of a cluster at one moment, as plain values: the only way in which planning sees a cluster.
//!
//! Gathered by `cluster`, from one list of each kind. Pods, workloads, budgets and Services are those of the
//! experiment's namespace; nodes are all there are.

use serde::{Deserialize, Serialize};

pub use crate::experiment::manifests::{BudgetFact, ServiceFact, ServicePortFact, Strategy, Template, WorkloadFact};
use crate::experiment::schema::Labels;

/// A cluster at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ClusterFacts {
    /// The cluster as `--on` names it, such as `kind:NAME`.
    pub on: String,
    /// The API server's version, such as `v1.34.0`.
    pub server_version: String,
    /// All nodes.
    pub nodes: Vec<NodeFact>,
    /// The experiment's namespace exists.
    pub namespace_exists: bool,
    /// The namespace's pods.
    pub pods: Vec<PodFact>,
    /// The namespace's workloads.
    pub workloads: Vec<WorkloadFact>,
    /// The namespace's budgets.
    pub budgets: Vec<BudgetFact>,
    /// The namespace's Services.
    pub services: Vec<ServiceFact>,
}

/// A node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeFact {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
    /// Condition Ready is True.
    pub ready: bool,
    /// It is cordoned.
    pub unschedulable: bool,
    /// It has the label [`CONTROL_PLANE_LABEL`].
    pub control_plane: bool,
    /// Its taints as `key:effect`.
    pub taints: Vec<String>,
}

/// The label that marks the nodes of the control plane.
pub const CONTROL_PLANE_LABEL: &str = "node-role.kubernetes.io/control-plane";

/// A pod.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PodFact {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
    /// The node it is bound to.
    pub node: Option<String>,
    /// Its phase is Running.
    pub running: bool,
    /// It has a `deletionTimestamp`.
    pub terminating: bool,
    /// Condition Ready is True.
    pub ready: bool,
    /// Its controller as `kind/name` in lower case, such as `replicaset/shop-7d9f`.
    pub owner: Option<String>,
    /// `metadata.creationTimestamp` as the cluster states it: RFC 3339 in UTC, so that it sorts as text.
    pub created: String,
}
