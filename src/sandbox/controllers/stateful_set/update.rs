//! One pass over a `StatefulSet`'s pods: create, wait, scale down, update, in this order, one pod at a time unless the
//! policy is `Parallel` (`k/pkg/controller/statefulset/stateful_set_control.go`, v1.34.4).

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{StatefulSet, StatefulSetStatus},
    core::v1::{Pod, PodTemplateSpec},
};

use super::{
    super::{events::Severity, pods},
    COMPONENT, claims, identity,
};
use crate::sandbox::{
    error::ApiError,
    registry::{DeleteOptions, Registry},
};

/// A revision of a set: its name and its template.
#[derive(Debug, Clone)]
pub(super) struct Revision {
    pub name: String,
    pub template: PodTemplateSpec,
}

/// One pass.
pub(super) struct Pass<'a> {
    pub registry: &'a Registry,
    pub set: &'a StatefulSet,
    pub current: Revision,
    pub update: Revision,
    pub now: Timestamp,
}

/// Whether the pass goes on with the next pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Next,
    Wait,
}

/// The pods of a set.
struct Partition {
    /// Those asked for, by ordinal, with new ones where there are none yet.
    replicas: Vec<Arc<Pod>>,
    /// Those that are too many, the highest first.
    condemned: Vec<Arc<Pod>>,
    /// Whether `replicas` are all that are asked for.
    is_whole: bool,
}

/// What a pass did: the status to be written and what was refused on the way.
pub(super) type Outcome = (StatefulSetStatus, Option<ApiError>);

impl Pass<'_> {
    fn min_ready_seconds(&self) -> i32 {
        self.set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0)
    }

    fn is_monotonic(&self) -> bool {
        let policy = self.set.spec.as_ref().and_then(|spec| spec.pod_management_policy.as_deref());
        policy != Some("Parallel")
    }

    /// Runs the pass over the set's pods.
    pub fn run(&self, pods: &[Arc<Pod>], collisions: i32) -> Outcome {
        let set = self.set;
        let mut status = StatefulSetStatus {
            observed_generation: set.metadata.generation,
            current_revision: Some(self.current.name.clone()),
            update_revision: Some(self.update.name.clone()),
            collision_count: Some(collisions),
            ..StatefulSetStatus::default()
        };
        self.count(&mut status, pods);
        let Partition { replicas, condemned, is_whole } = self.partition(pods);
        let first_unavailable = self.first_unavailable(&replicas, &condemned);
        if set.metadata.deletion_timestamp.is_some() {
            return (status, None);
        }
        let result = self.scale(&replicas, &condemned, first_unavailable.as_deref());
        let all: Vec<Arc<Pod>> = replicas.iter().chain(&condemned).cloned().collect();
        self.count(&mut status, &all);
        match result {
            Err(error) => (status, Some(error)),
            Ok(Step::Next) if is_whole => {
                let refused = self.roll(&replicas, &mut status).err();
                (status, refused)
            }
            Ok(_) => (status, None),
        }
    }

    /// Sorts the set's pods into those asked for and those that are too many.
    fn partition(&self, pods: &[Arc<Pod>]) -> Partition {
        let mut known: BTreeMap<usize, Arc<Pod>> = BTreeMap::new();
        let mut condemned = Vec::new();
        for pod in pods {
            let Some(ordinal) = identity::ordinal_of(pod) else { continue };
            match identity::slot_of(self.set, ordinal) {
                Some(slot) => drop(known.insert(slot, Arc::clone(pod))),
                None => condemned.push(Arc::clone(pod)),
            }
        }
        condemned.sort_by_key(|pod| std::cmp::Reverse(identity::ordinal_of(pod)));
        let (mut replicas, mut missing) = (Vec::new(), 0);
        for slot in 0..usize::try_from(identity::replicas(self.set)).unwrap_or(0) {
            if missing == pods::BURST {
                // Any number of replicas may be asked for; the rest has its turn when these are there.
                replicas.extend(known.into_values());
                return Partition { replicas, condemned, is_whole: false };
            }
            replicas.push(known.remove(&slot).unwrap_or_else(|| {
                missing += 1;
                let ordinal = i32::try_from(slot).unwrap_or(i32::MAX);
                Arc::new(self.new_pod(identity::first_ordinal(self.set).saturating_add(ordinal)))
            }));
        }
        Partition { replicas, condemned, is_whole: true }
    }

    /// A new pod: of the current revision below the partition, else of the new one (`newVersionedStatefulSetPod`).
    fn new_pod(&self, ordinal: i32) -> Pod {
        let strategy = self.set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        let is_rolling = strategy.and_then(|strategy| strategy.type_.as_deref()) != Some("OnDelete");
        let current = self.set.status.as_ref().and_then(|status| status.current_replicas).unwrap_or(0);
        let slot = ordinal.saturating_sub(identity::first_ordinal(self.set));
        let is_old = match rolling {
            Some(rolling) => slot < rolling.partition.unwrap_or(0),
            None => is_rolling && slot < current,
        };
        let revision = if is_old { &self.current } else { &self.update };
        identity::new_pod(self.set, &revision.template, ordinal, &revision.name)
    }

    fn first_unavailable(&self, replicas: &[Arc<Pod>], condemned: &[Arc<Pod>]) -> Option<String> {
        let in_order = replicas.iter().chain(condemned.iter().rev());
        let mut unavailable = in_order.filter(|pod| self.is_unavailable(pod));
        unavailable.next().map(|pod| identity::name_of(pod).to_owned())
    }

    fn is_unavailable(&self, pod: &Pod) -> bool {
        !self.is_running_and_available(pod) || is_terminating(pod)
    }

    fn is_running_and_available(&self, pod: &Pod) -> bool {
        is_running_and_ready(pod) && pods::is_available(pod, self.min_ready_seconds(), self.now)
    }

    /// Creates and repairs the pods asked for, then removes those that are too many.
    fn scale(
        &self,
        replicas: &[Arc<Pod>],
        condemned: &[Arc<Pod>],
        first_unavailable: Option<&str>,
    ) -> Result<Step, ApiError> {
        if self.for_all(replicas, |pod| self.process_replica(pod))? == Step::Wait {
            return Ok(Step::Wait);
        }
        let repaired = self.for_all(condemned, |pod| {
            if !claims::match_policy(self.registry, self.set, pod) {
                claims::apply_policy(self.registry, self.set, pod)?;
            }
            Ok(Step::Next)
        })?;
        if repaired == Step::Wait {
            return Ok(Step::Wait);
        }
        self.for_all(condemned, |pod| self.process_condemned(pod, first_unavailable))
    }

    /// One after another up to the first that has to be waited for; all of them where the policy is `Parallel`.
    fn for_all(
        &self,
        pods: &[Arc<Pod>],
        mut process: impl FnMut(&Arc<Pod>) -> Result<Step, ApiError>,
    ) -> Result<Step, ApiError> {
        if self.is_monotonic() {
            for pod in pods {
                if process(pod)? == Step::Wait {
                    return Ok(Step::Wait);
                }
            }
            return Ok(Step::Next);
        }
        let mut rest = pods.iter();
        let one = || rest.next().map_or(Ok(()), |pod| process(pod).map(drop));
        match pods::slow_start(pods.len(), one) {
            (_, Some(error)) => Err(error),
            (_, None) => Ok(Step::Next),
        }
    }

    fn process_replica(&self, pod: &Arc<Pod>) -> Result<Step, ApiError> {
        let (registry, set) = (self.registry, self.set);
        if is_created(pod) && pods::is_finished(pod) {
            // The new one comes once this one is gone, whatever its exit code was.
            if !is_terminating(pod) {
                self.delete(pod)?;
            }
            return Ok(Step::Wait);
        }
        if !is_created(pod) {
            if claims::wait_for_an_earlier_pod(registry, set, pod) {
                return Ok(Step::Wait);
            }
            self.create(pod)?;
            if self.is_monotonic() {
                return Ok(Step::Wait);
            }
        }
        if is_created(pod) && pods::phase(pod) == "Pending" {
            claims::create(registry, set, pod)?;
            claims::apply_policy(registry, set, pod)?;
        }
        let must_wait = is_terminating(pod) || !self.is_running_and_available(pod);
        if must_wait && self.is_monotonic() {
            return Ok(Step::Wait);
        }
        if is_created(pod) {
            self.repair(pod)?;
        }
        Ok(Step::Next)
    }

    fn process_condemned(&self, pod: &Arc<Pod>, first_unavailable: Option<&str>) -> Result<Step, ApiError> {
        if is_terminating(pod) {
            // In order, it is waited for before the next one goes.
            return Ok(if self.is_monotonic() { Step::Wait } else { Step::Next });
        }
        let is_first = first_unavailable == Some(identity::name_of(pod));
        if self.is_monotonic() && !is_first && !self.is_running_and_available(pod) {
            return Ok(Step::Wait);
        }
        self.delete(pod)?;
        Ok(Step::Wait)
    }

    /// Deletes the highest pod that is not of the new revision; one that is unavailable above it holds it back.
    fn roll(&self, replicas: &[Arc<Pod>], status: &mut StatefulSetStatus) -> Result<(), ApiError> {
        let strategy = self.set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
        if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete") {
            return Ok(());
        }
        let partition = strategy.and_then(|strategy| strategy.rolling_update.as_ref()?.partition).unwrap_or(0);
        let lowest = usize::try_from(partition).unwrap_or(0);
        for pod in replicas.iter().skip(lowest).rev() {
            if identity::revision_of(pod) != self.update.name && !is_terminating(pod) {
                self.delete(pod)?;
                status.current_replicas = status.current_replicas.map(|count| count - 1);
                return Ok(());
            }
            if self.is_unavailable(pod) {
                return Ok(());
            }
        }
        Ok(())
    }

    fn create(&self, pod: &Pod) -> Result<(), ApiError> {
        let (registry, set) = (self.registry, self.set);
        if let Err(error) = claims::create(registry, set, pod) {
            self.record("create", pod, Some(&error));
            return Err(error);
        }
        let created = registry.create_as(pod);
        match created {
            Err(error) => {
                // Whoever has taken the name is seen in the next pass.
                if !error.is_already_exists() {
                    self.record("create", pod, Some(&error));
                }
                Err(error)
            }
            Ok(created) => {
                if let Err(error) = claims::apply_policy(registry, set, &created) {
                    self.record("update", pod, Some(&error));
                    return Err(error);
                }
                self.record("create", pod, None);
                Ok(())
            }
        }
    }

    fn delete(&self, pod: &Pod) -> Result<(), ApiError> {
        let namespace = self.set.metadata.namespace.as_deref().unwrap_or_default();
        let options = DeleteOptions { uid: pod.metadata.uid.clone(), ..DeleteOptions::default() };
        match self.registry.remove::<Pod>(namespace, identity::name_of(pod), &options) {
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => {
                self.record("delete", pod, Some(&error));
                Err(error)
            }
            Ok(_) => {
                self.record("delete", pod, None);
                Ok(())
            }
        }
    }

    /// Writes back what a pod has lost of its identity, its volumes or its claims.
    fn repair(&self, pod: &Arc<Pod>) -> Result<(), ApiError> {
        let (registry, set) = (self.registry, self.set);
        let (is_known, has_volumes) = (identity::matches(set, pod), identity::volumes_match(set, pod));
        let has_policy = claims::match_policy(registry, set, pod);
        if is_known && has_volumes && has_policy {
            return Ok(());
        }
        let mut repaired = Ok(());
        if !has_volumes {
            repaired = claims::create(registry, set, pod);
        }
        if repaired.is_ok() && !has_policy {
            repaired = claims::apply_policy(registry, set, pod);
        }
        if repaired.is_ok() {
            let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
            let changed = registry.change_as::<Pod>(namespace, identity::name_of(pod), |stored| {
                identity::write(set, stored);
                if !identity::volumes_match(set, stored) {
                    identity::write_volumes(set, stored);
                }
                Ok(())
            });
            repaired = changed.map(drop);
        }
        self.record("update", pod, repaired.as_ref().err());
        repaired
    }

    fn record(&self, verb: &str, pod: &Pod, error: Option<&ApiError>) {
        let (pod, set) = (identity::name_of(pod), identity::set_name(self.set));
        let title = match verb {
            "create" => "Create",
            "delete" => "Delete",
            _ => "Update",
        };
        let (severity, reason, message) = match error {
            None => (
                Severity::Normal,
                format!("Successful{title}"),
                format!("{verb} Pod {pod} in StatefulSet {set} successful"),
            ),
            Some(error) => (
                Severity::Warning,
                format!("Failed{title}"),
                format!("{verb} Pod {pod} in StatefulSet {set} failed error: {}", error.message),
            ),
        };
        pods::record(self.registry, self.set, severity, COMPONENT, &reason, &message);
    }

    /// Counts pods into a status (`updateStatus`).
    fn count(&self, status: &mut StatefulSetStatus, pods: &[Arc<Pod>]) {
        let count = |matching: &dyn Fn(&Pod) -> bool| {
            let matching = pods.iter().filter(|pod| is_created(pod) && matching(pod)).count();
            i32::try_from(matching).unwrap_or(i32::MAX)
        };
        let of = |name: &str| count(&|pod| !is_terminating(pod) && identity::revision_of(pod) == name);
        status.replicas = count(&|_| true);
        status.ready_replicas = Some(count(&is_running_and_ready));
        status.available_replicas = Some(count(&|pod| self.is_running_and_available(pod)));
        status.current_replicas = Some(of(&self.current.name));
        status.updated_replicas = Some(of(&self.update.name));
    }
}

fn is_created(pod: &Pod) -> bool {
    pod.metadata.uid.is_some()
}

fn is_terminating(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

fn is_running_and_ready(pod: &Pod) -> bool {
    pods::phase(pod) == "Running" && pods::is_ready(pod)
}
