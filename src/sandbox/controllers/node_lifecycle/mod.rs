//! The node lifecycle controller: notices nodes that stopped reporting, says so on them and on their pods, and taints
//! them (`k/pkg/controller/nodelifecycle/node_lifecycle_controller.go`, v1.34.4).
//!
//! * [`monitor`](self): every five seconds the health of all nodes, by their heartbeats as seen from here.
//! * [`queue`]: `NoExecute` taints go out at the rate of a node's zone.
//! * [`taints`]: `NoSchedule` taints follow a node's conditions at once.

mod monitor;
mod queue;
mod taints;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Node, NodeCondition},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use tokio::time::Instant;

use self::queue::Zone;
use super::{Controller, Key, Next};
use crate::sandbox::{
    error::ApiError,
    kinds::{self, Kind},
    registry::Registry,
    store::{Change, Op},
};

/// How long a node may be silent before it counts as unknown (`--node-monitor-grace-period`, v1.34).
pub const NODE_MONITOR_GRACE_PERIOD: Duration = Duration::from_secs(50);

/// How long a node may take until it reports for the first time (`--node-startup-grace-period`).
const NODE_STARTUP_GRACE_PERIOD: Duration = Duration::from_secs(60);

/// How often the nodes' health is looked at (`--node-monitor-period`).
const NODE_MONITOR_PERIOD: Duration = Duration::from_secs(5);

/// How often nodes are taken from the queues (`NodeEvictionPeriod`).
const TAINTING_PERIOD: Duration = Duration::from_millis(100);

/// The namespace of the nodes' leases.
const LEASE_NAMESPACE: &str = "kube-node-lease";

const COMPONENT: &str = "node-controller";

/// What is remembered of a node.
#[derive(Debug, Clone)]
struct Health {
    /// When it was last heard of.
    probed: Instant,
    /// The Ready condition's last heartbeat and status, as last seen.
    ready: Option<Reported>,
    /// The renewal of its lease, as last seen.
    renewed: Option<MicroTime>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Reported {
    heartbeat: Option<Timestamp>,
    status: String,
}

#[derive(Default)]
struct State {
    looked: Option<Instant>,
    health: HashMap<String, Health>,
    /// Nodes that have been greeted, with their uid.
    known: BTreeMap<String, String>,
    zones: BTreeMap<String, Zone>,
    /// Nodes whose pods could not be marked; again with the next look.
    to_retry: std::collections::HashSet<String>,
}

/// The controller.
pub struct NodeLifecycle {
    registry: Arc<Registry>,
    grace: Duration,
    state: Mutex<State>,
}

impl NodeLifecycle {
    /// The controller of this cluster; a node is unknown after it has been silent for `grace`
    /// ([`NODE_MONITOR_GRACE_PERIOD`]).
    #[must_use]
    pub fn new(registry: Arc<Registry>, grace: Duration) -> Self {
        Self { registry, grace, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One look at everything, if it is time, and one at the queues.
    fn tick(&self) -> Next {
        let mut state = self.state();
        let now = Instant::now();
        let left = |state: &State| {
            state.looked.map(|at| (at + NODE_MONITOR_PERIOD).saturating_duration_since(now)).unwrap_or_default()
        };
        if left(&state).is_zero() {
            state.looked = Some(now);
            self.monitor(&mut state);
        }
        let waiting = self.taint_from_queues(&mut state);
        let next = left(&state);
        Next::After(if waiting { next.min(TAINTING_PERIOD) } else { next })
    }
}

/// The key of the periodic look; no object has an empty name.
fn tick_key() -> Key {
    Key::new("", "")
}

impl Controller for NodeLifecycle {
    fn name(&self) -> &'static str {
        "node-lifecycle"
    }

    fn watches(&self) -> &'static [&'static Kind] {
        static WATCHES: &[&Kind] = &[&kinds::NODE, &kinds::POD];
        WATCHES
    }

    fn keys(&self, change: &Change) -> Vec<Key> {
        let object = &change.object;
        if object.kind == &kinds::NODE {
            let mut keys = vec![tick_key()];
            if change.op != Op::Deleted {
                keys.push(Key::of(object));
            }
            return keys;
        }
        let newly_bound = change.op != Op::Deleted
            && object.node.is_some()
            && change.before.as_ref().is_none_or(|before| before.node != object.node);
        if newly_bound { vec![Key::of(object)] } else { Vec::new() }
    }

    fn reconcile(&self, key: &Key) -> Result<Next, ApiError> {
        if *key == tick_key() {
            return Ok(self.tick());
        }
        if key.namespace.is_empty() {
            self.follow_conditions(&key.name)?;
        } else {
            self.mark_new_pod(key)?;
        }
        Ok(Next::Settled)
    }
}

/// A condition of a node.
fn condition<'a>(node: &'a Node, kind: &str) -> Option<&'a NodeCondition> {
    node.status.as_ref()?.conditions.as_ref()?.iter().find(|one| one.type_ == kind)
}

/// Whether a node is Ready.
pub(in crate::sandbox) fn is_ready(node: &Node) -> bool {
    condition(node, "Ready").is_some_and(|ready| ready.status == "True")
}

/// The zone that a node is counted in (component-helpers/node/topology `GetZoneKey`); empty without labels.
pub(in crate::sandbox) fn zone_of(node: &Node) -> String {
    let labels = node.metadata.labels.as_ref();
    let label = |new: &str, old: &str| {
        labels.and_then(|labels| labels.get(old).or_else(|| labels.get(new))).cloned().unwrap_or_default()
    };
    let region = label("topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region");
    let zone = label("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone");
    if region.is_empty() && zone.is_empty() { String::new() } else { format!("{region}:\0:{zone}") }
}

#[cfg(test)]
mod tests;
