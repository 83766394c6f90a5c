//! What puts the cluster back, as data that can be written down, and the stack of it.
//!
//! Every act registers its undo first. What is registered is a state from before, not the reverse of an act: so an
//! undo can be carried out twice, or after a crash by somebody else, and is checked against that state. Of one object
//! the first state counts, whatever was done to it later.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    experiment::units::WorkloadRef,
    failure::chain,
    record::{
        clock::Sink,
        event::{UndoChange, UndoState, What},
    },
};

mod carry_out;

pub use carry_out::{UndoError, carry_out};

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
        /// `spec.template`, as the API server gave it.
        template: Value,
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
    /// The object did not exist.
    RemoveObject {
        /// Such as `v1` or `apps/v1`.
        api_version: String,
        /// Such as `Pod`.
        kind: String,
        /// Such as `pods`.
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
            | Self::RemoveObject { namespace, .. } => Some(namespace),
        }
    }

    /// Puts back what a step changed, so it belongs into the undo phase, under load.
    const fn is_of_a_step(&self) -> bool {
        !matches!(self, Self::RemoveObject { .. } | Self::RemoveNamespace { .. })
    }

    /// Whether both are about the same thing of the same object.
    fn is_about_the_same(&self, other: &Self) -> bool {
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
            (a, b) => a == b,
        }
    }
}

/// How an entry of the stack stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Due,
    Verified,
    Failed,
}

/// All that has to be put back, in the order in which it was registered.
pub struct UndoStack {
    client: kube::Client,
    sink: Sink,
    entries: Mutex<Vec<(Undo, Standing)>>,
    // One at a time: two would race for the same objects.
    busy: tokio::sync::Mutex<()>,
}

/// What came of undoing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndoReport {
    /// Everything that was due is as it was.
    pub complete: bool,
    /// What is not, each with the reason and what to do by hand.
    pub failed: Vec<String>,
}

impl UndoStack {
    /// An empty stack.
    #[must_use]
    pub fn new(client: kube::Client, sink: Sink) -> Self {
        Self { client, sink, entries: Mutex::new(Vec::new()), busy: tokio::sync::Mutex::new(()) }
    }

    /// Registers what an act is about to change. Must be called before the act. Of one object the first call counts.
    pub fn register(&self, undo: Undo) {
        let mut entries = self.entries();
        if entries.iter().any(|(known, _)| known.is_about_the_same(&undo)) {
            return;
        }
        self.record(&undo, UndoState::Registered, String::new());
        entries.push((undo, Standing::Due));
    }

    /// Takes back a registration whose act certainly did not happen, such as a namespace that turned out to be
    /// somebody else's.
    pub fn withdraw(&self, undo: &Undo) {
        let mut entries = self.entries();
        if let Some(index) = entries.iter().position(|(known, _)| known == undo) {
            entries.remove(index);
            self.record(undo, UndoState::Verified, "the act did not take place".into());
        }
    }

    /// All that is registered and not verified, oldest first: what would be left if everything ended now.
    #[must_use]
    pub fn left(&self) -> Vec<Undo> {
        self.entries()
            .iter()
            .filter(|(_, standing)| *standing != Standing::Verified)
            .map(|(undo, _)| undo.clone())
            .collect()
    }

    /// Puts back what steps changed, the newest first, but for what goes with a namespace of ours.
    pub async fn undo_cluster(&self) -> UndoReport {
        let _one_at_a_time = self.busy.lock().await;
        self.undo_where(|undo, stack| undo.is_of_a_step() && !stack.goes_with_a_namespace(undo)).await
    }

    /// Puts back all that is left: first as [`Self::undo_cluster`], once more what failed there, then the objects and
    /// namespaces that were made. It runs to its end; each undo is bounded in time.
    pub async fn undo_all(&self) -> UndoReport {
        let _one_at_a_time = self.busy.lock().await;
        let mut failed =
            self.undo_where(|undo, stack| undo.is_of_a_step() && !stack.goes_with_a_namespace(undo)).await.failed;
        failed.extend(
            self.undo_where(|undo, stack| !undo.is_of_a_step() && !stack.goes_with_a_namespace(undo)).await.failed,
        );
        failed.extend(self.settle_what_went_with_namespaces());
        UndoReport { complete: failed.is_empty(), failed }
    }

    async fn undo_where(&self, due: impl Fn(&Undo, &Self) -> bool) -> UndoReport {
        let mut failed = Vec::new();
        let todo: Vec<Undo> = self.left().into_iter().rev().filter(|undo| due(undo, self)).collect();
        for undo in todo {
            match carry_out(&self.client, &undo).await {
                Ok(seen) => self.settle(&undo, Standing::Verified, seen),
                Err(error) => {
                    let why = format!("{}; by hand: {}", chain(&error), undo.by_hand());
                    failed.push(format!("{}: {why}", undo.action()));
                    self.settle(&undo, Standing::Failed, why);
                }
            }
        }
        UndoReport { complete: failed.is_empty(), failed }
    }

    /// What lay in a namespace of ours is as it was once the namespace is gone.
    fn settle_what_went_with_namespaces(&self) -> Vec<String> {
        let mut failed = Vec::new();
        for undo in self.left().into_iter().rev() {
            let Some(namespace) = undo.namespace().filter(|_| self.goes_with_a_namespace(&undo)) else { continue };
            let gone = self.entries().iter().any(|(known, standing)| {
                *standing == Standing::Verified && matches!(known, Undo::RemoveNamespace { name } if name == namespace)
            });
            if gone {
                self.settle(&undo, Standing::Verified, format!("removed with namespace {namespace}"));
            } else {
                let why = format!("namespace {namespace} could not be removed");
                failed.push(format!("{}: {why}", undo.action()));
                self.settle(&undo, Standing::Failed, why);
            }
        }
        failed
    }

    fn goes_with_a_namespace(&self, undo: &Undo) -> bool {
        let removed = |wanted: &str| {
            self.entries().iter().any(|(known, _)| matches!(known, Undo::RemoveNamespace { name } if name == wanted))
        };
        undo.namespace().is_some_and(removed)
    }

    fn settle(&self, undo: &Undo, standing: Standing, detail: String) {
        for entry in self.entries().iter_mut().filter(|(known, _)| known == undo) {
            entry.1 = standing;
        }
        let state = if standing == Standing::Verified { UndoState::Verified } else { UndoState::Failed };
        self.record(undo, state, detail);
    }

    fn record(&self, undo: &Undo, state: UndoState, detail: String) {
        self.sink.record(What::Undo(UndoChange { action: undo.action(), state, detail }));
    }

    fn entries(&self) -> MutexGuard<'_, Vec<(Undo, Standing)>> {
        // No holder of this lock can leave the list half-changed.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
