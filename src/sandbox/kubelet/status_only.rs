//! Pods that run nothing, for clusters of a size that no machine could run: bound, they are running and ready at once;
//! deleted, they are gone at once. One task for all of them.

use std::{collections::HashMap, net::Ipv4Addr, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{Container, Pod, PodStatus};
use tokio::time::{MissedTickBehavior, interval};

use super::{
    facts::{self, Ended, Facts, Role, State, container_id},
    power::Power,
    shared::Shared,
    status::{PodFacts, pod_status},
    time_now,
};
use crate::sandbox::{
    error::ApiError,
    kinds,
    registry::DeleteOptions,
    store::{Change, Object, Op},
};

/// How often nodes are looked at that may have come back.
const NODES_EVERY: Duration = Duration::from_millis(500);

/// Pods that are done in one go, before others get their turn on the thread.
const BATCH: usize = 64;

/// Makes pods run on paper until it is dropped.
pub(super) async fn run(shared: Arc<Shared>) {
    let store = Arc::clone(shared.registry.store());
    let mut known: HashMap<String, Power> = HashMap::new();
    let mut looks = interval(NODES_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        let (version, objects) = store.list(&kinds::POD, None);
        all(&shared, &objects).await;
        let Ok(mut watcher) = store.watch(&kinds::POD, version) else { continue };
        loop {
            tokio::select! {
                changes = watcher.next() => {
                    let Ok(changes) = changes else { break };
                    for batch in changes.chunks(BATCH) {
                        for change in batch {
                            take(&shared, change);
                        }
                        tokio::task::yield_now().await;
                    }
                }
                _ = looks.tick() => {
                    for node in shared.nodes.all() {
                        let now = node.power();
                        let before = known.insert(node.spec.name.clone(), now);
                        if now.works() && before.is_some_and(|before| before != now) {
                            all(&shared, &store.pods_on(&node.spec.name)).await;
                        }
                    }
                }
            }
        }
    }
}

async fn all(shared: &Shared, objects: &[Arc<Object>]) {
    for batch in objects.chunks(BATCH) {
        for object in batch {
            settle(shared, object);
        }
        tokio::task::yield_now().await;
    }
}

fn take(shared: &Shared, change: &Change) {
    if change.op != Op::Deleted {
        settle(shared, &change.object);
        return;
    }
    let status = change.object.typed::<Pod>().and_then(|pod| pod.status.clone());
    let address = status.and_then(|status| status.pod_ip).and_then(|ip| ip.parse::<Ipv4Addr>().ok());
    if let Some(address) = address {
        shared.addresses.give_back(address);
    }
}

/// Brings one pod to where it should be, if its node works.
fn settle(shared: &Shared, object: &Object) {
    let Some(node) = object.node.as_deref().and_then(|name| shared.nodes.get(name)) else { return };
    if !node.power().works() {
        return;
    }
    let Some(pod) = object.typed::<Pod>() else { return };
    if pod.metadata.deletion_timestamp.is_some() {
        let options =
            DeleteOptions { grace_seconds: Some(0), uid: Some(object.uid.clone()), ..DeleteOptions::default() };
        if let Err(error) = shared.registry.remove::<Pod>(&object.namespace, &object.name, &options) {
            tracing::debug!(pod = object.name, %error, "a pod was not removed");
        }
        return;
    }
    let status = pod.status.clone().unwrap_or_default();
    let ready = status.conditions.iter().flatten().any(|one| one.type_ == "ContainersReady" && one.status == "True");
    let finished = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    if finished || (ready && status.observed_generation == pod.metadata.generation) {
        return;
    }
    if let Err(error) = run_on_paper(shared, &pod, &node.address.to_string()) {
        tracing::debug!(pod = object.name, %error, "a pod does not run");
    }
}

fn run_on_paper(shared: &Shared, pod: &Pod, host_ip: &str) -> Result<(), ApiError> {
    let known = pod.status.as_ref().and_then(|status| status.pod_ip.clone());
    let pod_ip = match known {
        Some(ip) => ip,
        None => shared.addresses.take().map_err(ApiError::internal)?.to_string(),
    };
    let own = PodFacts { pod_ip: Some(pod_ip), host_ip: host_ip.to_owned(), ..PodFacts::default() };
    let now = time_now();
    let (containers, facts): (Vec<Container>, Vec<Facts>) = facts::containers(pod)
        .into_iter()
        .map(|(container, role)| {
            let mut facts = Facts::new(&container, role, false);
            let id = container_id();
            facts.id = Some(id.clone());
            facts.startup_ok = true;
            facts.readiness_ok = true;
            facts.state = match role {
                Role::Init => State::Ended(Ended {
                    code: 0,
                    reason: "Completed".to_owned(),
                    message: None,
                    started: now.0,
                    finished: now.0,
                    id,
                }),
                Role::Sidecar | Role::Main => State::Running { since: now.0 },
            };
            (container, facts)
        })
        .unzip();
    let (namespace, name) =
        (pod.metadata.namespace.clone().unwrap_or_default(), pod.metadata.name.clone().unwrap_or_default());
    let uid = pod.metadata.uid.clone();
    let written = shared.registry.change_status::<Pod>(&namespace, &name, |pod| {
        if pod.metadata.uid != uid {
            return Err(ApiError::not_found("", "pods", &name));
        }
        let before: PodStatus = pod.status.take().unwrap_or_default();
        pod.status = Some(pod_status(pod, &containers, &facts, &own, &before, &now));
        Ok(())
    });
    written.map(drop)
}
