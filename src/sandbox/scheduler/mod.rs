//! The scheduler: gives each pod the node that upstream's default scheduler would give it, by the same rules and scores
//! (k/pkg/scheduler, v1.34.4), except that it never preempts: where upstream would, the pod's condition says so.
//!
//! * [`pod`], [`node`], [`cache`]: pods and nodes as rules see them.
//! * [`resources`], [`node_affinity`], [`pod_affinity`], [`spread`], and small ones in [`node`]: a rule each, with its score.
//! * [`cycle`]: one pod's turn. [`diagnosis`]: why there was no node, in words.
//! * [`queue`], [`hints`]: whose turn it is, and what is worth another try.

mod cache;
mod cycle;
mod diagnosis;
mod hints;
mod node;
pub(in crate::sandbox) mod node_affinity;
mod plugin;
mod pod;
mod pod_affinity;
mod queue;
mod resources;
mod selector;
mod spread;

use std::{convert::Infallible, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Node;
use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use self::{
    cache::Cache,
    diagnosis::Diagnosis,
    hints::{Event, helps},
    pod::PodInfo,
    queue::Queue,
};
use super::{
    controllers::{Key, events},
    kinds,
    random::Random,
    registry::{
        Part, Registry, WriteOptions,
        subresources::conditions::{self, Condition},
    },
    store::{Change, Fallen, Object, Op, Watcher},
};

/// The highest score of a plugin (`MaxNodeScore`).
const SCORE_MAX: i64 = 100;

const COMPONENT: &str = "default-scheduler";

/// Pods that are placed in one go, before others get their turn on the thread, and how long that may take. Nobody else
/// changes anything meanwhile, so nothing is missed by it.
const PLACED_AT_ONCE: usize = 32;
const PLACING_MAX: Duration = Duration::from_millis(4);

/// Starts the scheduler; among equally good nodes it chooses by `seed`.
pub fn start(tasks: &mut JoinSet<()>, registry: &Arc<Registry>, seed: u64) {
    let mut scheduler = Scheduler::new(Arc::clone(registry), seed);
    tasks.spawn(async move {
        loop {
            // Only a reader that has fallen behind the changes ends; then everything is read again.
            let Err(fallen) = scheduler.run().await;
            tracing::debug!(%fallen, "the scheduler reads everything again");
        }
    });
}

struct Scheduler {
    registry: Arc<Registry>,
    cache: Cache,
    queue: Queue,
    random: Random,
    start: usize,
}

impl Scheduler {
    fn new(registry: Arc<Registry>, seed: u64) -> Self {
        let random = Random::for_name(seed, COMPONENT);
        Self { registry, cache: Cache::default(), queue: Queue::default(), random, start: 0 }
    }

    /// Reads all there is, and follows the changes from there.
    fn read_all(&mut self) -> Result<[Watcher; 4], Fallen> {
        self.cache = Cache::default();
        self.queue = Queue::default();
        let store = Arc::clone(self.registry.store());
        let (namespaces_at, namespaces) = store.list(&kinds::NAMESPACE, None);
        let (nodes_at, nodes) = store.list(&kinds::NODE, None);
        let (pods_at, pods) = store.list(&kinds::POD, None);
        // Claims are looked up when a pod's turn comes; their changes are only a reason to try again.
        let (claims_at, _) = store.list(&kinds::PERSISTENT_VOLUME_CLAIM, None);
        for object in namespaces.into_iter().chain(nodes).chain(pods) {
            self.take_in(&Change { op: Op::Added, object, before: None });
        }
        Ok([
            store.watch(&kinds::NAMESPACE, namespaces_at)?,
            store.watch(&kinds::NODE, nodes_at)?,
            store.watch(&kinds::POD, pods_at)?,
            store.watch(&kinds::PERSISTENT_VOLUME_CLAIM, claims_at)?,
        ])
    }

    async fn run(&mut self) -> Result<Infallible, Fallen> {
        let [mut namespaces, mut nodes, mut pods, mut claims] = self.read_all()?;
        loop {
            let due = self.queue.next_at();
            let turn = async {
                match due {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            // Changes come first, so that no pod is placed by what is known to be over.
            let changes = tokio::select! {
                biased;
                changes = namespaces.next() => changes?,
                changes = nodes.next() => changes?,
                changes = pods.next() => changes?,
                changes = claims.next() => changes?,
                () = turn => Vec::new(),
            };
            if changes.is_empty() {
                self.place_some();
            }
            for change in changes {
                self.take_in(&change);
            }
            // The others' turn: all share one thread.
            tokio::task::yield_now().await;
        }
    }

    fn take_in(&mut self, change: &Change) {
        let object = &change.object;
        match object.kind.kind {
            "Namespace" if change.op == Op::Deleted => {
                self.cache.namespaces.remove(&object.name);
            }
            "Namespace" => {
                self.cache.namespaces.insert(object.name.clone(), object.labels.clone());
            }
            "Node" => self.take_in_node(change),
            "PersistentVolumeClaim" if change.op == Op::Deleted => {}
            "PersistentVolumeClaim" => self.tell(Event::Claim(&object.namespace, &object.name)),
            _ => self.take_in_pod(change),
        }
    }

    fn take_in_node(&mut self, change: &Change) {
        let name = &change.object.name;
        if change.op == Op::Deleted {
            self.cache.remove_node(name);
            self.tell(Event::NodeGone);
            return;
        }
        let Some(node) = change.object.typed::<Node>() else { return };
        let before = self.cache.put_node(name, &node);
        let Some(now) = self.cache.node_named(name) else { return };
        // Most changes of nodes are heartbeats.
        if before.as_ref().is_none_or(|before| !before.is_like(now)) {
            let cache = &self.cache;
            self.queue.changed(|waiting| helps(cache, Event::Node(before.as_ref(), now), waiting));
        }
    }

    fn take_in_pod(&mut self, change: &Change) {
        let Some(pod) = PodInfo::read(&change.object).map(Arc::new) else { return };
        let key = Key::of(&change.object);
        if self.cache.pod(&pod.uid).is_some_and(|known| known.version >= pod.version) {
            return;
        }
        let gone = change.op == Op::Deleted || pod.finished;
        if gone {
            self.queue.remove(&key);
            if let Some(known) = self.cache.remove_pod(&pod.uid) {
                self.tell(Event::PodGone(&known));
            }
        } else if pod.node.is_some() {
            self.queue.remove(&key);
            self.put(&pod);
        } else if pod.is_ours() && !pod.deleting {
            if pod.gated {
                self.say_gated(&change.object);
            }
            self.queue.put(&key, pod);
        } else {
            self.queue.remove(&key);
        }
    }

    fn put(&mut self, pod: &Arc<PodInfo>) {
        let before = self.cache.put_pod(pod);
        match before {
            None => self.tell(Event::PodCame(pod)),
            Some(before) if before.labels != pod.labels => {
                self.tell(Event::PodGone(&before));
                self.tell(Event::PodCame(pod));
            }
            // A pod on its way out does not count for spreading any more.
            Some(before) if before.deleting != pod.deleting => self.tell(Event::PodCame(pod)),
            Some(_) => {}
        }
    }

    fn tell(&mut self, event: Event<'_>) {
        let cache = &self.cache;
        self.queue.changed(|waiting| helps(cache, event, waiting));
    }

    /// Places the pods whose turn it is, as many as go at once.
    fn place_some(&mut self) {
        let began = Instant::now();
        self.cache.set_in_order();
        for _ in 0..PLACED_AT_ONCE {
            let Some((key, pod)) = self.queue.pop() else { return };
            self.place(&key, &pod);
            if began.elapsed() > PLACING_MAX {
                return;
            }
        }
    }

    fn place(&mut self, key: &Key, pod: &Arc<PodInfo>) {
        if let Some(why) = self.missing_claim(pod) {
            let diagnosis =
                Diagnosis::before_nodes(self.cache.count(), pod.never_preempts, plugin::Plugin::VolumeBinding, why);
            self.give_up(key, pod, &diagnosis);
            return;
        }
        let defaults = if pod.spread.is_empty() { self.default_constraints(pod) } else { Vec::new() };
        let found = cycle::place(&self.cache, pod, &defaults, &mut self.start, &self.random);
        match found.map(|node| node.name.clone()) {
            Ok(node) => self.bind(key, pod, &node),
            Err(diagnosis) => self.give_up(key, pod, &diagnosis),
        }
    }

    /// The first of a pod's volume claims that it cannot use, in words
    /// (`k/pkg/scheduler/framework/plugins/volumebinding/volume_binding.go` `podHasPVCs`).
    fn missing_claim(&self, pod: &PodInfo) -> Option<String> {
        pod.claims.iter().find_map(|name| {
            match self.registry.store().get(&kinds::PERSISTENT_VOLUME_CLAIM, &pod.namespace, name) {
                None => Some(format!("persistentvolumeclaim {name:?} not found")),
                Some(claim) if claim.going => Some(format!("persistentvolumeclaim {name:?} is being deleted")),
                Some(_) => None,
            }
        })
    }

    fn default_constraints(&self, pod: &PodInfo) -> Vec<spread::Constraint> {
        selector::of_owners(&self.registry, pod)
            .map(|selector| spread::Constraint::defaults(&selector))
            .unwrap_or_default()
    }

    fn bind(&mut self, key: &Key, pod: &Arc<PodInfo>, node: &str) {
        let binding = json!({
            "metadata": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
            "target": {"kind": "Node", "name": node},
        });
        if let Err(error) = self.registry.bind(&pod.namespace, &pod.name, &binding) {
            tracing::debug!(%error, ?key, "a pod was not bound");
            if error.is_not_found() {
                self.queue.remove(key);
            } else {
                self.say_of_pod(pod, events::Severity::Warning, "FailedScheduling", &error.message);
                self.queue.again(key);
            }
            return;
        }
        self.queue.remove(key);
        // The next pod is placed with this one in mind, before the change is heard of.
        if let Some(bound) = self.registry.store().get(&kinds::POD, &pod.namespace, &pod.name) {
            if let Some(bound) = PodInfo::read(&bound).filter(|bound| bound.node.is_some()).map(Arc::new) {
                self.put(&bound);
            }
            let message = format!("Successfully assigned {}/{} to {node}", pod.namespace, pod.name);
            events::record(&self.registry, &bound, events::Severity::Normal, COMPONENT, "Scheduled", &message);
        }
    }

    fn give_up(&mut self, key: &Key, pod: &PodInfo, diagnosis: &Diagnosis) {
        let message = diagnosis.message();
        self.queue.failed(key, diagnosis);
        self.say_of_pod(pod, events::Severity::Warning, "FailedScheduling", &message);
        let condition = Condition { kind: "PodScheduled", status: "False", reason: "Unschedulable", message: &message };
        self.set_condition(&pod.namespace, &pod.name, condition);
    }

    fn say_gated(&self, pod: &Object) {
        let value = pod.value();
        if conditions::find(&value, "PodScheduled").is_none() {
            self.set_condition(
                &pod.namespace,
                &pod.name,
                Condition {
                    kind: "PodScheduled",
                    status: "False",
                    reason: "SchedulingGated",
                    message: "Scheduling is blocked due to non-empty scheduling gates",
                },
            );
        }
    }

    fn say_of_pod(&self, pod: &PodInfo, severity: events::Severity, reason: &str, message: &str) {
        if let Some(object) = self.registry.store().get(&kinds::POD, &pod.namespace, &pod.name) {
            events::record(&self.registry, &object, severity, COMPONENT, reason, message);
        }
    }

    fn set_condition(&self, namespace: &str, name: &str, condition: Condition<'_>) {
        let options = WriteOptions::default();
        let written = self.registry.change(&kinds::POD, namespace, name, Part::Status, &options, |mut pod| {
            conditions::set_on_pod(&mut pod, condition);
            Ok(pod)
        });
        if let Err(error) = written {
            tracing::debug!(%error, namespace, name, "a pod's condition was not written");
        }
    }
}

#[cfg(test)]
mod tests;
