//! The `ReplicaSet` controller: as many active pods as wanted (`k/pkg/controller/replicaset/{replica_set`,
//! `replica_set_utils}.go`, v1.34.4).
//!
//! Pods that have ended or are being deleted do not count, so their replacements come at once. Which pods go first is
//! `model::deletion_rank`. Upstream's expectations, which keep it from acting twice on a cache that lags, are not
//! needed: the pods are read where they are written.

mod status;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc, time::Duration};

use k8s_openapi::api::{
    apps::v1::ReplicaSet,
    core::v1::{Pod, PodSpec},
};

use super::{Controller, Key, Next, pods};
use crate::{
    model::deletion_rank::{Candidate, deletion_cost, to_delete},
    sandbox::{
        error::ApiError,
        kinds::{self, Kind},
        names,
        registry::Registry,
        store::{Change, Object},
    },
};

const COMPONENT: &str = "replicaset-controller";
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

const WATCHED: &[&Kind] = &[&kinds::REPLICA_SET, &kinds::POD];

/// The controller.
pub struct ReplicaSets {
    registry: Arc<Registry>,
}

impl ReplicaSets {
    /// The controller of these objects.
    #[must_use]
    pub const fn new(registry: Arc<Registry>) -> Self {
        Self { registry }
    }

    /// The `ReplicaSets` that a pod concerns: its own, or those that could adopt it.
    fn of_pod(&self, pod: &Object) -> Vec<Key> {
        if let Some(owner) = pod.controller() {
            let ours = owner.kind == kinds::REPLICA_SET.kind;
            return ours.then(|| Key::new(&pod.namespace, &owner.name)).into_iter().collect();
        }
        let all = self.registry.all::<ReplicaSet>(Some(&pod.namespace));
        let matching = all.iter().filter(|set| {
            let selector = set.spec.as_ref().and_then(|spec| pods::selector(&spec.selector).ok());
            selector.is_some_and(|selector| selector.matches(&pod.labels))
        });
        matching.map(|set| Key::new(&pod.namespace, set.metadata.name.as_deref().unwrap_or_default())).collect()
    }
}

impl Controller for ReplicaSets {
    fn name(&self) -> &'static str {
        "replicaset"
    }

    fn watches(&self) -> &'static [&'static Kind] {
        WATCHED
    }

    fn keys(&self, change: &Change) -> Vec<Key> {
        if change.object.kind.kind != kinds::POD.kind {
            return vec![Key::of(&change.object)];
        }
        let mut keys = self.of_pod(&change.object);
        if let Some(before) = change.before.as_deref().filter(|before| before.owners != change.object.owners) {
            keys.extend(self.of_pod(before));
        }
        keys
    }

    fn reconcile(&self, key: &Key) -> Result<Next, ApiError> {
        match self.registry.find::<ReplicaSet>(&key.namespace, &key.name) {
            Some(set) => sync(&self.registry, &set),
            None => Ok(Next::Settled),
        }
    }
}

/// `syncReplicaSet`.
fn sync(registry: &Registry, set: &ReplicaSet) -> Result<Next, ApiError> {
    let Some(spec) = &set.spec else { return Ok(Next::Settled) };
    let selector = pods::selector(&spec.selector)?;
    let mut candidates = pods::candidates(registry, set);
    candidates.retain(|pod| pods::is_active(pod));
    let active = pods::claim(registry, set, candidates, |pod: &Pod| selector.matches(pods::labels(&pod.metadata)))?;
    let failure = if set.metadata.deletion_timestamp.is_none() { manage(registry, set, &active).err() } else { None };
    // The status is that of the pods before this change; the pods' own changes bring the next one.
    status::update(registry, set, &active, failure.as_ref())?;
    if let Some(failure) = failure {
        return Err(failure);
    }
    Ok(next_availability(&active, spec.min_ready_seconds.unwrap_or(0)))
}

/// When the next ready pod becomes available.
fn next_availability(active: &[Arc<Pod>], min_ready_seconds: i32) -> Next {
    let now = names::now();
    let waits = active.iter().filter_map(|pod| pods::until_available(pod, min_ready_seconds, now));
    waits
        .filter(|wait| !wait.is_zero())
        .min()
        .map_or(Next::Settled, |wait| Next::After(wait + Duration::from_millis(1)))
}

/// A set's `spec.replicas`.
fn wanted(set: &ReplicaSet) -> usize {
    let replicas = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    usize::try_from(replicas).unwrap_or(0)
}

/// `manageReplicas`: creates what is missing, deletes what is too much.
fn manage(registry: &Registry, set: &ReplicaSet, active: &[Arc<Pod>]) -> Result<(), ApiError> {
    let wanted = wanted(set);
    if active.len() < wanted {
        let missing = (wanted - active.len()).min(pods::BURST);
        let template = set.spec.as_ref().and_then(|spec| spec.template.clone()).unwrap_or_default();
        let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
        let pod = pods::from_template(&template, namespace, pods::controller_ref(set));
        let (_, failure) = pods::slow_start(missing, || match pods::create(registry, COMPONENT, set, &pod) {
            Err(error) if !pods::is_namespace_terminating(&error) => Err(error),
            _ => Ok(()),
        });
        return failure.map_or(Ok(()), Err);
    }
    let surplus = (active.len() - wanted).min(pods::BURST);
    let mut refused = None;
    for pod in choose(registry, set, active, surplus) {
        if let Err(error) = pods::delete(registry, COMPONENT, set, pod) {
            refused = refused.or(Some(error));
        }
    }
    refused.map_or(Ok(()), Err)
}

/// The pods to delete (`getPodsToDelete`).
fn choose<'a>(registry: &Registry, set: &ReplicaSet, active: &'a [Arc<Pod>], count: usize) -> Vec<&'a Arc<Pod>> {
    if count == 0 {
        return Vec::new();
    }
    let on_node = related_on_nodes(registry, set);
    let candidates: Vec<Candidate> = active.iter().map(|pod| candidate(pod, &on_node)).collect();
    to_delete(&candidates, count, names::now()).into_iter().map(|at| &active[at]).collect()
}

/// How many active pods of all the sets of this set's owner there are on each node. A set of its own has no relatives,
/// not even itself.
fn related_on_nodes(registry: &Registry, set: &ReplicaSet) -> HashMap<String, usize> {
    let mut on_node = HashMap::new();
    let Some(owner) = pods::controller_of(&set.metadata) else { return on_node };
    for relative in registry.controlled_by::<ReplicaSet>(&owner.uid) {
        for pod in registry.controlled_by::<Pod>(relative.metadata.uid.as_deref().unwrap_or_default()) {
            if pods::is_active(&pod) {
                *on_node.entry(node(&pod).to_owned()).or_default() += 1;
            }
        }
    }
    on_node
}

fn node(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

fn candidate(pod: &Pod, on_node: &HashMap<String, usize>) -> Candidate {
    let cost = pod.metadata.annotations.as_ref().and_then(|annotations| annotations.get(DELETION_COST));
    let (restarts, sidecar_restarts) = restarts(pod);
    Candidate {
        node: node(pod).to_owned(),
        phase: pods::phase(pod).to_owned(),
        ready: pods::is_ready(pod),
        ready_since: pods::ready_since(pod),
        cost: deletion_cost(cost.map(String::as_str)),
        neighbours: on_node.get(node(pod)).copied().unwrap_or(0),
        restarts,
        sidecar_restarts,
        created: pod.metadata.creation_timestamp.as_ref().map(|time| time.0),
        uid: pod.metadata.uid.clone().unwrap_or_default(),
    }
}

/// The highest counts of restarts among a pod's containers, and among its sidecars (`maxContainerRestarts`).
fn restarts(pod: &Pod) -> (i32, i32) {
    let Some(status) = &pod.status else { return (0, 0) };
    let regular = status.container_statuses.iter().flatten().map(|one| one.restart_count).max();
    let is_sidecar = |spec: &PodSpec, name: &str| {
        let mut inits = spec.init_containers.iter().flatten();
        inits.any(|one| one.name == name && one.restart_policy.as_deref() == Some("Always"))
    };
    let inits = status.init_container_statuses.iter().flatten();
    let sidecars = inits.filter(|one| pod.spec.as_ref().is_some_and(|spec| is_sidecar(spec, &one.name)));
    (regular.unwrap_or(0), sidecars.map(|one| one.restart_count).max().unwrap_or(0))
}
