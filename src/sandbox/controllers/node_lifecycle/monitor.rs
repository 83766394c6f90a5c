//! The periodic look at all nodes: who is silent, whose pods are not ready any more, which zones are broken.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Node, Pod},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    COMPONENT, Health, LEASE_NAMESPACE, NODE_STARTUP_GRACE_PERIOD, NodeLifecycle, Reported, State, condition,
    taints::{NOT_READY, UNREACHABLE},
    zone_of,
};
use crate::{
    model::node_health::{ZoneState, tainting_rate, zone_state},
    sandbox::{
        controllers::{Key, events},
        error::ApiError,
        kinds, names,
        registry::{Part, WriteOptions, subresources::conditions},
    },
};

/// Nodes with this label do not count when a zone's health is worked out.
const EXCLUDED: &str = "node.kubernetes.io/exclude-disruption";

/// What a look at one node found.
struct Seen {
    /// The status of its Ready condition before this look.
    observed: String,
    /// After it; nothing where it never had one and still has time.
    current: Option<String>,
}

impl NodeLifecycle {
    /// Looks at all nodes once (`monitorNodeHealth`).
    pub(super) fn monitor(&self, state: &mut State) {
        let nodes = self.registry.all::<Node>(None);
        self.greet(state, &nodes);
        let mut zones: BTreeMap<String, Vec<bool>> = BTreeMap::new();
        for node in &nodes {
            let name = node.metadata.name.clone().unwrap_or_default();
            let seen = match self.update_health(state, &name, node) {
                Ok(seen) => seen,
                Err(error) => {
                    tracing::debug!(%error, name, "a node's health was not written; again with the next look");
                    continue;
                }
            };
            let zone = zone_of(node);
            if node.metadata.labels.as_ref().is_none_or(|labels| !labels.contains_key(EXCLUDED)) {
                zones.entry(zone.clone()).or_default().push(seen.current.as_deref() == Some("True"));
            }
            let Some(current) = &seen.current else { continue };
            self.taint_or_clear(state, &name, &zone, &seen.observed);
            let turned = current != "True" && seen.observed == "True";
            if turned {
                let message = format!("Node {name} status is now: NodeNotReady");
                self.say_of_node(&name, "NodeNotReady", &message);
            }
            if (turned || (state.to_retry.contains(&name) && seen.observed != "True"))
                && self.mark_pods_not_ready(&name).is_err()
            {
                state.to_retry.insert(name);
                continue;
            }
            state.to_retry.remove(&name);
        }
        self.handle_disruption(state, &zones, &nodes);
    }

    fn greet(&self, state: &mut State, nodes: &[Arc<Node>]) {
        let now: BTreeMap<String, String> = nodes
            .iter()
            .map(|node| (node.metadata.name.clone().unwrap_or_default(), node.metadata.uid.clone().unwrap_or_default()))
            .collect();
        for node in nodes {
            let name = node.metadata.name.clone().unwrap_or_default();
            state.zones.entry(zone_of(node)).or_default();
            if !state.known.contains_key(&name) {
                let message = format!("Node {name} event: Registered Node {name} in Controller");
                self.say_of_node(&name, "RegisteredNode", &message);
                self.mark_reachable(state, &name, &zone_of(node));
            }
        }
        for (name, uid) in &state.known {
            if !now.contains_key(name) {
                let message = format!("Node {name} event: Removing Node {name} from Controller");
                let about = json!({"kind": "Node", "apiVersion": "v1", "name": name, "uid": uid});
                events::record_about(
                    &self.registry,
                    &about,
                    events::Severity::Normal,
                    COMPONENT,
                    "RemovingNode",
                    &message,
                );
            }
        }
        state.health.retain(|name, _| now.contains_key(name));
        state.to_retry.retain(|name| now.contains_key(name));
        state.known = now;
    }

    pub(super) fn say_of_node(&self, name: &str, reason: &str, message: &str) {
        if let Some(node) = self.registry.store().get(&kinds::NODE, "", name) {
            events::record(&self.registry, &node, events::Severity::Normal, COMPONENT, reason, message);
        }
    }

    /// Notes what a node has reported, and says that it is unknown if that was too long ago
    /// (`tryUpdateNodeHealth`).
    fn update_health(&self, state: &mut State, name: &str, node: &Node) -> Result<Seen, ApiError> {
        let now = Instant::now();
        let ready = condition(node, "Ready").map(|ready| Reported {
            heartbeat: ready.last_heartbeat_time.as_ref().map(|time| time.0),
            status: ready.status.clone(),
        });
        let grace = if ready.is_some() { self.grace } else { NODE_STARTUP_GRACE_PERIOD };
        let health = state.health.entry(name.to_owned()).or_insert_with(|| Health {
            probed: now,
            ready: ready.clone(),
            renewed: None,
        });
        let heard = match (&health.ready, &ready) {
            (Some(saved), Some(reported)) => saved.heartbeat != reported.heartbeat,
            (None, Some(_)) | (Some(_), None) => true,
            (None, None) => false,
        };
        if heard {
            health.probed = now;
        }
        health.ready.clone_from(&ready);
        let lease = self.registry.find::<Lease>(LEASE_NAMESPACE, name);
        let renewed = lease.and_then(|lease| lease.spec.as_ref().and_then(|spec| spec.renew_time.clone()));
        if renewed.as_ref().is_some_and(|new| health.renewed.as_ref().is_none_or(|saved| saved.0 < new.0)) {
            health.probed = now;
            health.renewed = renewed;
        }
        let silent = now.duration_since(health.probed);
        let observed = ready.as_ref().map_or_else(|| "Unknown".to_owned(), |ready| ready.status.clone());
        if silent <= grace {
            return Ok(Seen { observed, current: ready.map(|ready| ready.status) });
        }
        self.write_unknown(name, silent)?;
        if let Some(ready) = &mut health.ready {
            "Unknown".clone_into(&mut ready.status);
        }
        Ok(Seen { observed, current: Some("Unknown".to_owned()) })
    }

    fn write_unknown(&self, name: &str, silent: Duration) -> Result<(), ApiError> {
        tracing::debug!(name, ?silent, "a node has not reported");
        let options = WriteOptions::default();
        let written = self.registry.change(&kinds::NODE, "", name, Part::Status, &options, |mut node| {
            let created = node["metadata"]["creationTimestamp"].clone();
            for kind in ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"] {
                set_unknown(&mut node, kind, &created);
            }
            Ok(node)
        });
        written.map(drop)
    }

    /// By what a node's Ready condition was: into the queue for a taint, or free of taints
    /// (`processTaintBaseEviction`).
    fn taint_or_clear(&self, state: &mut State, name: &str, zone: &str, observed: &str) {
        let (wanted, opposite) = match observed {
            "False" => (NOT_READY, UNREACHABLE),
            "Unknown" => (UNREACHABLE, NOT_READY),
            _ => return self.mark_reachable(state, name, zone),
        };
        if self.has_no_execute(name, opposite) {
            // The node stays tainted all the time, so there is no reason to wait for a turn.
            self.swap_taint(name, wanted, opposite);
        } else if !self.has_no_execute(name, wanted) {
            state.zones.entry(zone.to_owned()).or_default().add(name);
        }
    }

    pub(super) fn mark_reachable(&self, state: &mut State, name: &str, zone: &str) {
        self.clear_taints(name);
        if let Some(zone) = state.zones.get_mut(zone) {
            zone.remove(name);
        }
    }

    /// Gives taints to the nodes whose turn it is; says whether some still wait.
    pub(super) fn taint_from_queues(&self, state: &mut State) -> bool {
        let mut waiting = false;
        for zone in state.zones.values_mut() {
            while let Some(name) = zone.next() {
                let node = self.registry.find::<Node>("", &name);
                match node.as_deref().and_then(|node| condition(node, "Ready")).map(|ready| ready.status.as_str()) {
                    Some("False") => self.swap_taint(&name, NOT_READY, UNREACHABLE),
                    Some("Unknown") => self.swap_taint(&name, UNREACHABLE, NOT_READY),
                    _ => {}
                }
            }
            waiting |= zone.waits();
        }
        waiting
    }

    /// Sets the rates by how the zones are (`handleDisruption`).
    fn handle_disruption(&self, state: &mut State, zones: &BTreeMap<String, Vec<bool>>, nodes: &[Arc<Node>]) {
        let new: BTreeMap<&String, (ZoneState, usize)> = zones
            .iter()
            .map(|(name, ready)| {
                let count = ready.iter().filter(|ready| **ready).count();
                (name, (zone_state(count, ready.len() - count), ready.len()))
            })
            .collect();
        state.zones.retain(|name, _| zones.contains_key(name));
        let all_are = new.values().all(|(state, _)| *state == ZoneState::Full);
        let all_were = state.zones.values().all(|zone| zone.state == Some(ZoneState::Full));
        if all_are && all_were {
            return;
        }
        if all_are {
            tracing::debug!("no node is ready: tainting stops");
            for node in nodes {
                let name = node.metadata.name.clone().unwrap_or_default();
                self.mark_reachable(state, &name, &zone_of(node));
            }
            for zone in state.zones.values_mut() {
                zone.set_rate(0.0);
                zone.state = Some(ZoneState::Full);
            }
            return;
        }
        if all_were {
            // Whoever could not report while all were away gets the whole time again.
            let now = Instant::now();
            for health in state.health.values_mut() {
                health.probed = now;
            }
        }
        for (name, (now, size)) in new {
            let zone = state.zones.entry(name.clone()).or_default();
            if all_were || zone.state != Some(now) {
                zone.set_rate(tainting_rate(now, size));
                zone.state = Some(now);
            }
        }
    }

    /// Marks all pods of a node as not ready (`MarkPodsNotReady`).
    fn mark_pods_not_ready(&self, node: &str) -> Result<(), ApiError> {
        let mut result = Ok(());
        for pod in self.registry.store().pods_on(node) {
            if let Err(error) = self.mark_pod_not_ready(&Key::of(&pod)) {
                result = Err(error);
            }
        }
        result
    }

    /// A pod that comes to a node which is known to be down is not ready from the start.
    pub(super) fn mark_new_pod(&self, key: &Key) -> Result<(), ApiError> {
        let Some(pod) = self.registry.find::<Pod>(&key.namespace, &key.name) else { return Ok(()) };
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
        let down = self
            .state()
            .health
            .get(&node)
            .and_then(|health| health.ready.as_ref())
            .is_some_and(|ready| ready.status != "True");
        if down { self.mark_pod_not_ready(key) } else { Ok(()) }
    }

    fn mark_pod_not_ready(&self, key: &Key) -> Result<(), ApiError> {
        let mut marked = false;
        let options = WriteOptions::default();
        let written =
            self.registry.change(&kinds::POD, &key.namespace, &key.name, Part::Status, &options, |mut pod| {
                marked = set_not_ready(&mut pod);
                Ok(pod)
            });
        match written {
            Ok(pod) if marked => {
                let message = "Node is not ready";
                events::record(&self.registry, &pod, events::Severity::Warning, COMPONENT, "NodeNotReady", message);
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Sets a pod's Ready condition, if it has one, to False. Reason and message stay what they were.
fn set_not_ready(pod: &mut Value) -> bool {
    let Some(known) = conditions::find(pod, "Ready").cloned() else { return false };
    if known["status"] == "False" {
        return false;
    }
    let words = |key: &str| known[key].as_str().unwrap_or_default().to_owned();
    let (reason, message) = (words("reason"), words("message"));
    let wanted = conditions::Condition { kind: "Ready", status: "False", reason: &reason, message: &message };
    conditions::set_on_pod(pod, wanted)
}

fn set_unknown(node: &mut Value, kind: &str, created: &Value) {
    let now = names::now_seconds();
    if !node["status"].is_object() {
        node["status"] = json!({});
    }
    if !node["status"]["conditions"].is_array() {
        node["status"]["conditions"] = json!([]);
    }
    let Some(all) = node["status"]["conditions"].as_array_mut() else { return };
    match all.iter_mut().find(|one| one["type"] == kind) {
        Some(known) if known["status"] == "Unknown" => {}
        Some(known) => {
            known["status"] = json!("Unknown");
            known["reason"] = json!("NodeStatusUnknown");
            known["message"] = json!("Kubelet stopped posting node status.");
            known["lastTransitionTime"] = json!(now);
        }
        None => all.push(json!({
            "type": kind,
            "status": "Unknown",
            "reason": "NodeStatusNeverUpdated",
            "message": "Kubelet never posted node status.",
            "lastHeartbeatTime": created,
            "lastTransitionTime": now,
        })),
    }
}
