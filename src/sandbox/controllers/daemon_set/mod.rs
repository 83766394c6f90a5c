//! `DaemonSet`s: one pod on each node that they are for (`k/pkg/controller/daemon`, v1.34.4).
//!
//! * [`nodes`]: which nodes those are, and how pods are tied to them; the scheduler binds them.
//! * [`rolling`]: the steps of an update.
//! * `history`: revisions.
//! * `pass`: one pass over a set.

mod history;
pub mod nodes;
mod pass;
pub mod rolling;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::{
    api::{apps::v1::DaemonSet, core::v1::Node},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use tokio::time::Instant;

use super::{Controller, Key, Next, events::Severity, owned, pods};
use crate::sandbox::{
    error::ApiError,
    kinds::{self, Kind},
    names,
    registry::Registry,
    store::{Change, Op},
};
use pass::Pass;

/// Who records its events.
const COMPONENT: &str = "daemonset-controller";

/// Pods created or deleted in one pass (`BurstReplicas`).
const BURST: usize = 250;

/// The annotation with the generation of the template, which pods carry on as a label.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// The controller.
pub struct DaemonSets {
    registry: Arc<Registry>,
    /// Delays before the next failed pod of a set on a node is deleted.
    backoff: Mutex<HashMap<String, Backoff>>,
}

/// `flowcontrol.Backoff`, from 1 s to 15 min.
#[derive(Debug, Clone, Copy)]
struct Backoff {
    delay: Duration,
    updated: Instant,
}

const BACKOFF_FIRST: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(15 * 60);

impl DaemonSets {
    /// A controller on this registry.
    #[must_use]
    pub fn new(registry: Arc<Registry>) -> Self {
        Self { registry, backoff: Mutex::default() }
    }
}

impl Controller for DaemonSets {
    fn name(&self) -> &'static str {
        "daemonset"
    }

    fn watches(&self) -> &'static [&'static Kind] {
        static WATCHES: [&Kind; 3] = [&kinds::DAEMON_SET, &kinds::POD, &kinds::NODE];
        &WATCHES
    }

    fn keys(&self, change: &Change) -> Vec<Key> {
        match change.object.kind.kind {
            "DaemonSet" => vec![Key::of(&change.object)],
            "Node" if is_news_of_node(change) => {
                self.registry.all::<DaemonSet>(None).iter().map(|set| key(set)).collect()
            }
            "Node" => Vec::new(),
            _ => owned::keys::<DaemonSet>(&self.registry, change, |set| Some(&set.spec.as_ref()?.selector)),
        }
    }

    fn reconcile(&self, key: &Key) -> Result<Next, ApiError> {
        let Some(set) = self.registry.find::<DaemonSet>(&key.namespace, &key.name) else {
            return Ok(Next::Settled);
        };
        let spec = set.spec.clone().unwrap_or_default();
        if spec.selector == LabelSelector::default() {
            let message = "This daemon set is selecting all pods. A non-empty selector is required.";
            pods::record(&self.registry, &*set, Severity::Warning, COMPONENT, "SelectingAll", message);
            return Ok(Next::Settled);
        }
        if set.metadata.deletion_timestamp.is_some() {
            return Ok(Next::Settled);
        }
        let pass = Pass { controller: self, set: &set, nodes: self.registry.all::<Node>(None), now: names::now() };
        pass.run()
    }
}

fn key(set: &DaemonSet) -> Key {
    let metadata = &set.metadata;
    Key::new(metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

/// Heartbeats are not: only what decides whether a pod is to run on the node.
fn is_news_of_node(change: &Change) -> bool {
    if change.op != Op::Modified {
        return true;
    }
    let (Some(after), Some(before)) =
        (change.object.typed::<Node>(), change.before.as_ref().and_then(|before| before.typed::<Node>()))
    else {
        return true;
    };
    after.metadata.labels != before.metadata.labels || after.spec != before.spec
}

impl DaemonSets {
    /// Whether the next failed pod of a set on a node has to wait, and for how long; if not, the next but one will.
    fn hold_back(&self, set: &DaemonSet, node: &str) -> Option<Duration> {
        let generation = set.status.as_ref().and_then(|status| status.observed_generation).unwrap_or(0);
        let key = format!("{}/{generation}/{node}", set.metadata.uid.as_deref().unwrap_or_default());
        let now = Instant::now();
        let mut backoff = self.backoff.lock().unwrap_or_else(PoisonError::into_inner);
        // What has been quiet for long is forgotten.
        backoff.retain(|_, known| now.duration_since(known.updated) <= 2 * BACKOFF_MAX);
        let known = backoff.get(&key).copied();
        if let Some(known) = known.filter(|known| now.duration_since(known.updated) < known.delay) {
            return Some(known.delay);
        }
        let delay = known.map_or(BACKOFF_FIRST, |known| (known.delay * 2).min(BACKOFF_MAX));
        backoff.insert(key, Backoff { delay, updated: now });
        None
    }
}
