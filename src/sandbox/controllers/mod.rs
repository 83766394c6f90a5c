//! Controllers: each watches some kinds, turns changes into keys, and brings one key at a time to where it should be.
//!
//! The frame is the same for all ([`run`]): a queue without doubles, retries with growing delays, and a panic in one of
//! them is an error of that key, not the end of the sandbox. What each does is upstream's, in order and arithmetic.
//!
//! * [`start`]: the list of them.
//! * [`deployment`], [`replica_set`]: workloads; [`pods`] is what owners of pods share.
//! * [`stateful_set`], [`daemon_set`] with their [`revisions`], [`job`], [`autoscaler`]: further workloads.
//! * [`garbage`], [`namespace`]: what goes with what.
//! * [`service_account`]: what each namespace holds.

pub mod autoscaler;
#[cfg(test)]
mod bench;
pub mod daemon_set;
pub mod deployment;
pub mod disruption;
pub mod endpoint_slice;
pub mod endpoints;
pub mod events;
pub mod garbage;
pub mod job;
pub mod namespace;
pub mod node_lifecycle;
mod owned;
mod pace;
pub mod pod_gc;
pub mod pods;
mod queue;
pub mod replica_set;
pub mod revisions;
pub mod service_account;
pub mod start;
pub mod stateful_set;
pub mod taint_eviction;
#[cfg(test)]
pub(crate) mod test_cluster;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use tokio::task::JoinSet;

pub use queue::{Key, Queue};

use super::{
    error::ApiError,
    kinds::Kind,
    registry::Registry,
    store::{Change, Op},
};

/// When a key is to be looked at again by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// With its next change.
    Settled,
    /// After a while at the latest.
    After(Duration),
}

/// One controller.
pub trait Controller: Send + Sync + 'static {
    /// Its name, for logs.
    fn name(&self) -> &'static str;

    /// The kinds whose changes it hears of.
    fn watches(&self) -> &'static [&'static Kind];

    /// What a change gives to look at.
    fn keys(&self, change: &Change) -> Vec<Key>;

    /// Brings one key nearer to where it should be. It is called again after an error, sooner for a conflict.
    ///
    /// # Errors
    /// What the API refused.
    fn reconcile(&self, key: &Key) -> Result<Next, ApiError>;
}

/// Runs a controller until the tasks are dropped.
pub fn run(tasks: &mut JoinSet<()>, registry: &Arc<Registry>, controller: Arc<dyn Controller>) {
    let queue = Arc::new(Queue::default());
    for kind in controller.watches() {
        tasks.spawn(feed(Arc::clone(registry), kind, Arc::clone(&controller), Arc::clone(&queue)));
    }
    tasks.spawn(work(controller, queue));
}

/// Turns a kind's changes into keys, beginning with all that is there; after falling behind, with all that is there
/// again, and all that had been there before.
async fn feed(registry: Arc<Registry>, kind: &'static Kind, controller: Arc<dyn Controller>, queue: Arc<Queue>) {
    let mut known: std::collections::HashMap<Key, Arc<super::store::Object>> = std::collections::HashMap::new();
    loop {
        let (version, objects) = registry.store().list(kind, None);
        let now = objects.into_iter().map(|object| (Key::of(&object), object)).collect();
        let before = std::mem::replace(&mut known, now);
        for (key, object) in &before {
            if !known.contains_key(key) {
                let gone = Change { op: Op::Deleted, object: Arc::clone(object), before: Some(Arc::clone(object)) };
                queue.add_all(controller.keys(&gone));
            }
        }
        for (key, object) in &known {
            let added = Change { op: Op::Added, object: Arc::clone(object), before: before.get(key).cloned() };
            queue.add_all(controller.keys(&added));
        }
        let Ok(mut watcher) = registry.store().watch(kind, version) else { continue };
        while let Ok(changes) = watcher.next().await {
            for change in changes {
                let key = Key::of(&change.object);
                match change.op {
                    Op::Deleted => known.remove(&key),
                    Op::Added | Op::Modified => known.insert(key, Arc::clone(&change.object)),
                };
                queue.add_all(controller.keys(&change));
            }
        }
    }
}

async fn work(controller: Arc<dyn Controller>, queue: Arc<Queue>) {
    loop {
        let key = queue.next().await;
        let result = catch_unwind(AssertUnwindSafe(|| controller.reconcile(&key)));
        match result {
            Ok(Ok(next)) => {
                queue.done(&key);
                if let Next::After(delay) = next {
                    queue.add_after(key, delay);
                }
            }
            Ok(Err(error)) => {
                tracing::debug!(controller = controller.name(), ?key, %error, "tried again later");
                queue.failed(key);
            }
            Err(_panic) => {
                tracing::error!(controller = controller.name(), ?key, "panicked; tried again later");
                queue.failed(key);
            }
        }
        // The others' turn: all controllers share one thread.
        tokio::task::yield_now().await;
    }
}
