//! One pass over a `DaemonSet`: its pods by node, what the nodes need, the next step of an update, the status
//! (`syncDaemonSet` of `k/pkg/controller/daemon/daemon_controller.go`, v1.34.4).

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, DaemonSetStatus},
        core::v1::{Node, Pod, PodTemplateSpec},
    },
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{
    super::{Next, events::Severity, pods, revisions::POD_REVISION},
    BURST, COMPONENT, DaemonSets, TEMPLATE_GENERATION, history, nodes,
    rolling::{self, ByNode, View},
};
use crate::{
    model::{
        int_or_percent::{IntOrPercent, Round},
        rollout::{Fenceposts, daemon_set_fenceposts},
    },
    sandbox::{error::ApiError, registry::Registry},
};

/// One pass over a set.
pub(super) struct Pass<'a> {
    pub controller: &'a DaemonSets,
    pub set: &'a DaemonSet,
    pub nodes: Vec<Arc<Node>>,
    pub now: Timestamp,
}

/// What a set's nodes need.
#[derive(Default)]
struct Needs {
    create: Vec<String>,
    delete: Vec<Arc<Pod>>,
    /// When to look again.
    again: Option<Duration>,
}

impl Pass<'_> {
    fn registry(&self) -> &Registry {
        &self.controller.registry
    }

    pub fn run(&self) -> Result<Next, ApiError> {
        let own = self.pods()?;
        let history = history::construct(self.registry(), self.set, &own)?;
        let hash = history.hash.clone();
        let own = self.pods()?;
        let (again, done) = self.update(&by_node(&own), &hash);
        let truncated = if done.is_ok() { history.truncate(self.registry(), self.set, &own) } else { Ok(()) };
        let status = self.write_status(&by_node(&self.pods()?), &hash);
        done.and(truncated)?;
        let waits = status?;
        let again = again.into_iter().chain(waits).min();
        Ok(again.map_or(Next::Settled, Next::After))
    }

    /// The set's pods, after adoption and release.
    fn pods(&self) -> Result<Vec<Arc<Pod>>, ApiError> {
        let selector = pods::selector(&self.set.spec.clone().unwrap_or_default().selector)?;
        let candidates = pods::candidates(self.registry(), self.set);
        pods::claim(self.registry(), self.set, candidates, |pod| selector.matches(pods::labels(&pod.metadata)))
    }

    /// Creates and deletes what the nodes need; where that is nothing, takes the next step of an update.
    fn update(&self, own: &ByNode, hash: &str) -> (Option<Duration>, Result<(), ApiError>) {
        let needs = self.needs(own, hash);
        let again = needs.again;
        if !needs.create.is_empty() || !needs.delete.is_empty() {
            // The step follows with the pods' own changes.
            return (again, self.apply(&needs.create, &needs.delete, hash));
        }
        let strategy = self.set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
        if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete") {
            return (again, Ok(()));
        }
        let step = self.rolling_step(own, hash);
        (again, self.apply(&step.create, &step.delete, hash))
    }

    fn surges(&self) -> bool {
        let rolling = self.set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref()?.rolling_update.as_ref());
        let surge = rolling.and_then(|rolling| int_or_percent(rolling.max_surge.as_ref()));
        surge.is_some_and(|surge| surge.of(100, Round::Up) > 0)
    }

    fn bounds(&self, desired: usize) -> Fenceposts {
        let rolling = self.set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref()?.rolling_update.as_ref());
        let surge = rolling.and_then(|rolling| int_or_percent(rolling.max_surge.as_ref()));
        let unavailable = rolling.and_then(|rolling| int_or_percent(rolling.max_unavailable.as_ref()));
        daemon_set_fenceposts(i32::try_from(desired).unwrap_or(i32::MAX), surge, unavailable)
    }

    fn is_available(&self, pod: &Pod) -> bool {
        let seconds = self.set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
        pods::is_available(pod, seconds, self.now)
    }

    fn rolling_step(&self, own: &ByNode, hash: &str) -> rolling::Step {
        let running: BTreeSet<&str> =
            self.nodes.iter().filter(|node| nodes::wanted(self.set, node).run).map(|node| name_of(node)).collect();
        let mut all = own.clone();
        for node in &running {
            all.entry((*node).to_owned()).or_default();
        }
        let view = View {
            hash,
            bounds: self.bounds(running.len()),
            desired: running.len(),
            available: &|pod| self.is_available(pod),
            runs: &|node| running.contains(node),
        };
        view.step(&all)
    }

    /// Which nodes lack a pod, and which pods are too many or have ended (`podsShouldBeOnNode`).
    fn needs(&self, own: &ByNode, hash: &str) -> Needs {
        let mut needs = Needs::default();
        for node in &self.nodes {
            let wanted = nodes::wanted(self.set, node);
            match own.get(name_of(node)) {
                None if wanted.run => needs.create.push(name_of(node).to_owned()),
                None => {}
                Some(there) if wanted.stay => self.needs_of_node(node, there, wanted.run, hash, &mut needs),
                Some(there) => needs.delete.extend(there.iter().filter(|pod| !is_going(pod)).cloned()),
            }
        }
        // Pods that wait for a node that is gone are never bound, and nobody else deletes them.
        let known: BTreeSet<&str> = self.nodes.iter().map(|node| name_of(node)).collect();
        for (_, there) in own.iter().filter(|(node, _)| !known.contains(node.as_str())) {
            let unbound = |pod: &&Arc<Pod>| pod.spec.as_ref().is_none_or(|spec| spec.node_name.is_none());
            needs.delete.extend(there.iter().filter(unbound).filter(|pod| !is_going(pod)).cloned());
        }
        needs
    }

    fn needs_of_node(&self, node: &Node, there: &[Arc<Pod>], run: bool, hash: &str, needs: &mut Needs) {
        let mut running = Vec::new();
        for pod in there.iter().filter(|pod| !is_going(pod)) {
            match pods::phase(pod) {
                "Failed" => {
                    if let Some(delay) = self.controller.hold_back(self.set, name_of(node)) {
                        needs.again = needs.again.into_iter().chain([delay]).min();
                    } else {
                        self.tell_ended(pod, node, Severity::Warning, "FailedDaemonPod", "failed", "kill");
                        needs.delete.push(Arc::clone(pod));
                    }
                }
                "Succeeded" => {
                    self.tell_ended(pod, node, Severity::Normal, "SucceededDaemonPod", "succeeded", "delete");
                    needs.delete.push(Arc::clone(pod));
                }
                _ => running.push(Arc::clone(pod)),
            }
        }
        sort_oldest_first(&mut running);
        if !self.surges() {
            needs.delete.extend(running.into_iter().skip(1));
            return;
        }
        if running.is_empty() && run {
            needs.create.push(name_of(node).to_owned());
        }
        if running.len() > 1 {
            needs.delete.extend(self.too_many(&running, hash));
        }
    }

    /// With surge two pods may be on a node: the oldest new one, until it is available, and the oldest old one, while
    /// it is ready.
    fn too_many(&self, running: &[Arc<Pod>], hash: &str) -> Vec<Arc<Pod>> {
        let (new, old): (Vec<&Arc<Pod>>, Vec<&Arc<Pod>>) =
            running.iter().partition(|pod| rolling::is_updated(pod, hash));
        let mut delete: Vec<Arc<Pod>> =
            new.iter().skip(1).chain(old.iter().skip(1)).map(|pod| Arc::clone(pod)).collect();
        if let (Some(new), Some(old)) = (new.first(), old.first())
            && (!pods::is_ready(old) || self.is_available(new))
        {
            delete.push(Arc::clone(old));
        }
        delete
    }

    fn tell_ended(&self, pod: &Pod, node: &Node, severity: Severity, reason: &str, how: &str, verb: &str) {
        let (namespace, name) = (pod.metadata.namespace.as_deref(), pod.metadata.name.as_deref());
        let message = format!(
            "Found {how} daemon pod {}/{} on node {}, will try to {verb} it",
            namespace.unwrap_or_default(),
            name.unwrap_or_default(),
            name_of(node),
        );
        pods::record(self.registry(), self.set, severity, COMPONENT, reason, &message);
    }

    /// Creates pods on nodes and deletes others (`syncNodes`).
    fn apply(&self, create: &[String], delete: &[Arc<Pod>], hash: &str) -> Result<(), ApiError> {
        let mut rest = create.iter();
        let template = self.template(hash);
        let (_, refused) = pods::slow_start(create.len().min(BURST), || {
            let Some(node) = rest.next() else { return Ok(()) };
            match self.create(&template, node) {
                Err(error) if !pods::is_namespace_terminating(&error) => Err(error),
                _ => Ok(()),
            }
        });
        let mut result = refused.map_or(Ok(()), Err);
        for pod in delete.iter().take(BURST) {
            result = result.and(pods::delete(self.registry(), COMPONENT, self.set, pod));
        }
        result
    }

    fn template(&self, hash: &str) -> PodTemplateSpec {
        let mut template = self.set.spec.clone().unwrap_or_default().template;
        nodes::tolerate_what_daemons_do(template.spec.get_or_insert_default());
        let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
        let annotations = self.set.metadata.annotations.as_ref();
        if let Some(generation) = annotations.and_then(|all| all.get(TEMPLATE_GENERATION)) {
            labels.insert("pod-template-generation".to_owned(), generation.clone());
        }
        labels.insert(POD_REVISION.to_owned(), hash.to_owned());
        template
    }

    fn create(&self, template: &PodTemplateSpec, node: &str) -> Result<(), ApiError> {
        let namespace = self.set.metadata.namespace.as_deref().unwrap_or_default();
        let mut pod = pods::from_template(template, namespace, pods::controller_ref(self.set));
        nodes::pin(pod.spec.get_or_insert_default(), node);
        pods::create(self.registry(), COMPONENT, self.set, &pod).map(drop)
    }

    /// Counts into the status; when to look again for pods that are ready and not available yet.
    fn write_status(&self, own: &ByNode, hash: &str) -> Result<Option<Duration>, ApiError> {
        let known = self.set.status.clone().unwrap_or_default();
        let status = DaemonSetStatus { conditions: known.conditions.clone(), ..self.count(own, hash) };
        let waits = status.number_ready != status.number_available.unwrap_or(0);
        let (namespace, name) = (self.set.metadata.namespace.as_deref(), self.set.metadata.name.as_deref());
        if (DaemonSetStatus { collision_count: known.collision_count, ..status.clone() }) != known {
            let changed = self.registry().change_status::<DaemonSet>(
                namespace.unwrap_or_default(),
                name.unwrap_or_default(),
                |stored| {
                    if stored.metadata.uid == self.set.metadata.uid {
                        let before = stored.status.take().unwrap_or_default();
                        let (collision_count, conditions) = (before.collision_count, before.conditions);
                        stored.status = Some(DaemonSetStatus { collision_count, conditions, ..status.clone() });
                    }
                    Ok(())
                },
            );
            if let Err(error) = changed
                && !error.is_not_found()
            {
                return Err(error);
            }
        }
        let seconds = self.set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
        let wait = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        Ok((waits && !wait.is_zero()).then_some(wait))
    }

    fn count(&self, own: &ByNode, hash: &str) -> DaemonSetStatus {
        let mut status =
            DaemonSetStatus { observed_generation: self.set.metadata.generation, ..DaemonSetStatus::default() };
        let (mut available, mut updated) = (0, 0);
        for node in &self.nodes {
            let mut there = own.get(name_of(node)).cloned().unwrap_or_default();
            let is_there = !there.is_empty();
            if !nodes::wanted(self.set, node).run {
                status.number_misscheduled += i32::from(is_there);
                continue;
            }
            status.desired_number_scheduled += 1;
            sort_oldest_first(&mut there);
            let Some(oldest) = there.first() else { continue };
            status.current_number_scheduled += 1;
            status.number_ready += i32::from(pods::is_ready(oldest));
            available += i32::from(self.is_available(oldest));
            updated += i32::from(rolling::is_updated(oldest, hash));
        }
        let some = |count: i32| (count != 0).then_some(count);
        status.number_available = some(available);
        status.updated_number_scheduled = some(updated);
        status.number_unavailable = some(status.desired_number_scheduled - available);
        status
    }
}

fn name_of(node: &Node) -> &str {
    node.metadata.name.as_deref().unwrap_or_default()
}

fn is_going(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

fn int_or_percent(value: Option<&IntOrString>) -> Option<IntOrPercent> {
    match value? {
        IntOrString::Int(pods) => Some(IntOrPercent::Int(*pods)),
        IntOrString::String(text) => text.parse().ok(),
    }
}

/// Pods by the node that they are on or tied to, without those that have ended and only wait to be removed.
fn by_node(own: &[Arc<Pod>]) -> ByNode {
    let mut nodes = ByNode::new();
    for pod in own.iter().filter(|pod| !(pods::is_finished(pod) && is_going(pod))) {
        if let Some(node) = nodes::target(pod) {
            nodes.entry(node.to_owned()).or_default().push(Arc::clone(pod));
        }
    }
    nodes
}

/// Bound pods first, then the older ones (`podByCreationTimestampAndPhase`).
fn sort_oldest_first(pods: &mut [Arc<Pod>]) {
    pods.sort_by_cached_key(|pod| {
        let bound =
            pod.spec.as_ref().is_some_and(|spec| spec.node_name.as_deref().is_some_and(|node| !node.is_empty()));
        let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (!bound, created, pod.metadata.name.clone())
    });
}
