//! The stack of what has to be put back: registered before each act, carried out in the end, and after a crash again.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Undo, carry_out};
use crate::{
    failure::chain,
    fault::ledger::{Ledger, LedgerError, Point, Settled, crash},
    record::{
        clock::Sink,
        event::{UndoChange, UndoState, What},
    },
};

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
    ledger: Ledger,
    entries: Mutex<Vec<(Undo, Standing)>>,
    // One at a time: who is told that something is registered may act on it, so it must be written down by then.
    registering: tokio::sync::Mutex<()>,
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
    /// An empty stack, written down in a ledger.
    #[must_use]
    pub fn new(client: kube::Client, sink: Sink, ledger: Ledger) -> Self {
        Self::resumed(client, sink, ledger, Vec::new())
    }

    /// The stack of a run that was interrupted, oldest first.
    #[must_use]
    pub fn resumed(client: kube::Client, sink: Sink, ledger: Ledger, due: Vec<Undo>) -> Self {
        Self {
            client,
            sink,
            ledger,
            entries: Mutex::new(due.into_iter().map(|undo| (undo, Standing::Due)).collect()),
            registering: tokio::sync::Mutex::new(()),
            busy: tokio::sync::Mutex::new(()),
        }
    }

    /// Registers what an act is about to change, and writes it down, on disk and into the cluster. Must return before
    /// the act begins. Of one object the first call counts.
    ///
    /// # Errors
    /// When it cannot be written down; then the act must not take place.
    pub async fn register(&self, undo: Undo) -> Result<(), LedgerError> {
        let _one_at_a_time = self.registering.lock().await;
        if self.entries().iter().any(|(known, _)| known.is_about_the_same(&undo)) {
            return Ok(());
        }
        // From here on it is undone, also when the caller is dropped while it is being written down.
        self.entries().push((undo.clone(), Standing::Due));
        if let Err(error) = self.ledger.intend(&undo).await {
            self.entries().retain(|(known, _)| *known != undo);
            return Err(error);
        }
        self.record(&undo, UndoState::Registered, String::new());
        crash::at(Point::Intent);
        Ok(())
    }

    /// Takes back a registration whose act certainly did not take place, such as a namespace that turned out to be
    /// somebody else's.
    pub async fn withdraw(&self, undo: &Undo) {
        let known = self.entries().iter().position(|(known, _)| known == undo);
        if let Some(index) = known {
            self.entries().remove(index);
            self.record(undo, UndoState::Verified, "the act did not take place".into());
            self.ledger.settle(undo, Settled::Withdrawn).await;
        }
    }

    /// Closes the ledger: nothing more is registered or undone.
    pub async fn close(&self, report: &UndoReport) {
        self.ledger.close(report.complete).await;
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
        failed.extend(self.settle_what_went_with_namespaces().await);
        UndoReport { complete: failed.is_empty(), failed }
    }

    async fn undo_where(&self, due: impl Fn(&Undo, &Self) -> bool) -> UndoReport {
        let mut failed = Vec::new();
        let mut todo: Vec<Undo> = self.left().into_iter().rev().filter(|undo| due(undo, self)).collect();
        todo.sort_by_key(Undo::turn);
        for undo in todo {
            crash::at(Point::Undo);
            match carry_out(&self.client, &undo).await {
                Ok(seen) => self.settle(&undo, Standing::Verified, seen).await,
                Err(error) => {
                    let why = format!("{}; by hand: {}", chain(&error), undo.by_hand());
                    failed.push(format!("{}: {why}", undo.action()));
                    self.settle(&undo, Standing::Failed, why).await;
                }
            }
        }
        UndoReport { complete: failed.is_empty(), failed }
    }

    /// What lay in a namespace of ours is as it was once the namespace is gone.
    async fn settle_what_went_with_namespaces(&self) -> Vec<String> {
        let mut failed = Vec::new();
        for undo in self.left().into_iter().rev() {
            let Some(namespace) = undo.namespace().filter(|_| self.goes_with_a_namespace(&undo)) else { continue };
            let gone = self.entries().iter().any(|(known, standing)| {
                *standing == Standing::Verified && matches!(known, Undo::RemoveNamespace { name } if name == namespace)
            });
            if gone {
                self.settle(&undo, Standing::Verified, format!("removed with namespace {namespace}")).await;
            } else {
                let why = format!("namespace {namespace} could not be removed");
                failed.push(format!("{}: {why}", undo.action()));
                self.settle(&undo, Standing::Failed, why).await;
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

    async fn settle(&self, undo: &Undo, standing: Standing, detail: String) {
        crash::at(Point::Undone);
        for entry in self.entries().iter_mut().filter(|(known, _)| known == undo) {
            entry.1 = standing;
        }
        let (state, settled) = match standing {
            Standing::Verified => (UndoState::Verified, Settled::Verified),
            Standing::Due | Standing::Failed => (UndoState::Failed, Settled::Failed),
        };
        self.record(undo, state, detail);
        self.ledger.settle(undo, settled).await;
    }

    fn record(&self, undo: &Undo, state: UndoState, detail: String) {
        self.sink.record(What::Undo(UndoChange { action: undo.action(), state, detail }));
    }

    fn entries(&self) -> MutexGuard<'_, Vec<(Undo, Standing)>> {
        // No holder of this lock can leave the list half-changed.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
