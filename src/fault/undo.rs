//! What puts the cluster back, as data that can be written down, and the stack of it.
//!
//! Every act registers its undo first. What is registered is a state from before, not the reverse of an act: so an
//! undo can be carried out twice, or after a crash by somebody else, and is checked against that state. Of one object
//! the first state counts, whatever was done to it later.

use serde::{Deserialize, Serialize};

use crate::{
    experiment::{
        schema::Labels,
        units::{WorkloadRef, is_object_name},
    },
    model::selector::labels_in_words,
};

mod carry_out;
mod stack;
mod template;

pub use carry_out::{UndoError, carry_out};
pub use stack::{UndoReport, UndoStack};
pub use template::KeptTemplate;
pub(in crate::fault) use template::revisions_kept;

/// A state from before an act, to be restored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "undo", rename_all = "snake_case")]
pub enum Undo {
    /// The node was schedulable.
    Uncordon {
        /// The node.
        node: String,
    },
    /// The node was cordoned.
    Cordon {
        /// The node.
        node: String,
    },
    /// The workload had this `spec.template`.
    RestoreTemplate {
        /// The workload.
        workload: WorkloadRef,
        /// Its namespace.
        namespace: String,
        /// `spec.template`; written down by its fingerprint alone.
        template: KeptTemplate,
    },
    /// The workload had this many replicas.
    RestoreReplicas {
        /// The workload.
        workload: WorkloadRef,
        /// Its namespace.
        namespace: String,
        /// `spec.replicas`.
        replicas: i64,
    },
    /// So many pods with these labels were ready. Their controllers make them again; this sees it.
    AwaitPods {
        /// Their namespace.
        namespace: String,
        /// Their labels.
        selector: Labels,
        /// How many were ready.
        ready: u32,
    },
    /// The object did not exist.
    RemoveObject {
        /// Such as `batch/v1`.
        api_version: String,
        /// Such as `Job`.
        kind: String,
        /// Such as `jobs`.
        plural: String,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// The namespace did not exist.
    RemoveNamespace {
        /// The namespace.
        name: String,
    },
}

impl Undo {
    /// What it does, such as `uncordon node/worker2`.
    #[must_use]
    pub fn action(&self) -> String {
        match self {
            Self::Uncordon { node } => format!("uncordon node/{node}"),
            Self::Cordon { node } => format!("cordon node/{node}"),
            Self::RestoreTemplate { workload, .. } => format!("restore the template of {workload}"),
            Self::RestoreReplicas { workload, replicas, .. } => format!("scale {workload} back to {replicas}"),
            Self::AwaitPods { selector, ready, .. } => {
                let pods = if *ready == 1 { "pod" } else { "pods" };
                format!("see {ready} {pods} with {} ready again", labels_in_words(selector))
            }
            Self::RemoveObject { kind, name, .. } => format!("remove {}/{name}", kind.to_lowercase()),
            Self::RemoveNamespace { name } => format!("remove namespace/{name}"),
        }
    }

    /// The command that does it by hand.
    #[must_use]
    pub fn by_hand(&self) -> String {
        match self {
            Self::Uncordon { node } => format!("kubectl uncordon {node}"),
            Self::Cordon { node } => format!("kubectl cordon {node}"),
            Self::RestoreTemplate { workload, namespace, .. } => {
                format!("kubectl -n {namespace} rollout undo {workload}")
            }
            Self::RestoreReplicas { workload, namespace, replicas } => {
                format!("kubectl -n {namespace} scale {workload} --replicas={replicas}")
            }
            Self::AwaitPods { namespace, selector, .. } => {
                let labels: Vec<String> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
                format!("kubectl -n {namespace} get pods -l {} says why they are not", labels.join(","))
            }
            Self::RemoveObject { plural, namespace, name, .. } => {
                format!("kubectl -n {namespace} delete {plural} {name}")
            }
            Self::RemoveNamespace { name } => format!("kubectl delete namespace {name}"),
        }
    }

    /// The namespace whose removal takes this along.
    fn namespace(&self) -> Option<&str> {
        match self {
            Self::Uncordon { .. } | Self::Cordon { .. } | Self::RemoveNamespace { .. } => None,
            Self::RestoreTemplate { namespace, .. }
            | Self::RestoreReplicas { namespace, .. }
            | Self::AwaitPods { namespace, .. }
            | Self::RemoveObject { namespace, .. } => Some(namespace),
        }
    }

    /// Puts back what a step changed, so it belongs into the undo phase, under load.
    const fn is_of_a_step(&self) -> bool {
        !matches!(self, Self::RemoveObject { .. } | Self::RemoveNamespace { .. })
    }

    /// What comes first, whatever was done first: pods need nodes that take them, and are waited for last.
    const fn turn(&self) -> u8 {
        match self {
            Self::Uncordon { .. } => 0,
            Self::AwaitPods { .. } => 2,
            _ => 1,
        }
    }

    /// Whether every name in it is one that an object can have. What has been written down may have been changed
    /// since, and a name with a slash in it would be another path of the API.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let names: &[&str] = match self {
            Self::Uncordon { node } | Self::Cordon { node } => &[node],
            Self::RestoreTemplate { workload, namespace, .. } | Self::RestoreReplicas { workload, namespace, .. } => {
                &[&workload.name, namespace]
            }
            Self::AwaitPods { namespace, .. } => &[namespace],
            // Nothing but the Job of the agents is ever made outside a namespace of ours.
            Self::RemoveObject { api_version, kind, plural, namespace, name } => {
                if (api_version.as_str(), kind.as_str(), plural.as_str()) != ("batch/v1", "Job", "jobs") {
                    return false;
                }
                &[namespace, name]
            }
            Self::RemoveNamespace { name } => &[name],
        };
        names.iter().all(|name| is_object_name(name))
    }

    /// Whether both are about the same thing of the same object.
    pub(super) fn is_about_the_same(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Uncordon { node: a } | Self::Cordon { node: a },
                Self::Uncordon { node: b } | Self::Cordon { node: b },
            ) => a == b,
            (
                Self::RestoreTemplate { workload: a, namespace: in_a, .. },
                Self::RestoreTemplate { workload: b, namespace: in_b, .. },
            )
            | (
                Self::RestoreReplicas { workload: a, namespace: in_a, .. },
                Self::RestoreReplicas { workload: b, namespace: in_b, .. },
            ) => (a, in_a) == (b, in_b),
            (
                Self::AwaitPods { selector: a, namespace: in_a, .. },
                Self::AwaitPods { selector: b, namespace: in_b, .. },
            ) => (a, in_a) == (b, in_b),
            (a, b) => a == b,
        }
    }
}

#[cfg(test)]
mod tests;
