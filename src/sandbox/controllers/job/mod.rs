//! Jobs: pods that are to end (`k/pkg/controller/{job,ttlafterfinished}`, v1.34.4).
//!
//! * `sync`, `manage`, `track`: one pass: judging, creating and deleting, counting.
//! * [`members`], [`conditions`]: what is asked of pods and written into them and into the Job.
//! * [`indexes`], [`policy`], [`backoff`]: completion indexes, policies, delays; pure.
//!
//! Upstream gathers the changes of pods for a second before it looks at their Job; here it looks at once.

pub mod backoff;
pub mod conditions;
pub mod indexes;
mod manage;
pub mod members;
pub mod policy;
mod sync;
#[cfg(test)]
mod tests;
mod track;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::{
    Resource as _,
    api::{batch::v1::Job, core::v1::Pod},
};

use super::{Controller, Key, Next, events::Severity, owned, pods};
use crate::sandbox::{
    error::ApiError,
    kinds::{self, Kind},
    names,
    registry::{DeleteOptions, Propagation, Registry, typed::Served},
    store::{Change, Object},
};
use backoff::Record;
use sync::Pass;

/// Who records its events.
const COMPONENT: &str = "job-controller";

/// The manager that this controller is (`batch.JobControllerName`).
const OWN_MANAGER: &str = "kubernetes.io/job-controller";

/// The controller of Jobs.
pub struct Jobs {
    registry: Arc<Registry>,
    /// Failures of each Job since its last success.
    records: Mutex<HashMap<Key, Record>>,
}

impl Jobs {
    /// A controller on this registry.
    #[must_use]
    pub fn new(registry: Arc<Registry>) -> Self {
        Self { registry, records: Mutex::default() }
    }

    fn records(&self) -> MutexGuard<'_, HashMap<Key, Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The Job's pods, after adoption, which gives them the finalizer, and release.
    fn pods(&self, job: &Job) -> Result<Vec<Arc<Pod>>, ApiError> {
        let selector = job.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        let selector = selector.map(pods::selector).transpose()?;
        let candidates = pods::candidates(&self.registry, job);
        let orphans = candidates.iter().filter(|pod| pods::controller_of(&pod.metadata).is_none());
        let orphans: BTreeSet<String> = orphans.map(|pod| members::uid_of(pod).to_owned()).collect();
        let own = pods::claim(&self.registry, job, candidates, |pod: &Pod| {
            // A Job without a selector selects nothing.
            selector.as_ref().is_some_and(|selector| selector.matches(pods::labels(&pod.metadata)))
        })?;
        let track = |pod: Arc<Pod>| {
            if !orphans.contains(members::uid_of(&pod)) || members::is_tracked(&pod) {
                return Ok(pod);
            }
            let (namespace, name) = (pod.metadata.namespace.as_deref(), pod.metadata.name.as_deref());
            self.registry.change_as::<Pod>(namespace.unwrap_or_default(), name.unwrap_or_default(), |stored| {
                stored.metadata.finalizers.get_or_insert_default().push(members::FINALIZER.to_owned());
                Ok(())
            })
        };
        own.into_iter().map(track).collect()
    }
}

/// Whether another controller than this one is to care for a Job.
fn is_managed_by_another(job: &Job) -> bool {
    let manager = job.spec.as_ref().and_then(|spec| spec.managed_by.as_deref());
    manager.is_some_and(|manager| manager != OWN_MANAGER)
}

impl Controller for Jobs {
    fn name(&self) -> &'static str {
        "job"
    }

    fn watches(&self) -> &'static [&'static Kind] {
        static WATCHES: [&Kind; 2] = [&kinds::JOB, &kinds::POD];
        &WATCHES
    }

    fn keys(&self, change: &Change) -> Vec<Key> {
        if change.object.kind == &kinds::JOB {
            return vec![Key::of(&change.object)];
        }
        owned::keys::<Job>(&self.registry, change, |job| job.spec.as_ref()?.selector.as_ref())
    }

    fn reconcile(&self, key: &Key) -> Result<Next, ApiError> {
        let Some(job) = self.registry.find::<Job>(&key.namespace, &key.name) else {
            self.records().remove(key);
            return Ok(Next::Settled);
        };
        if is_managed_by_another(&job) {
            return Ok(Next::Settled);
        }
        if conditions::finished(&job).is_some() {
            self.records().remove(key);
            return Ok(Next::Settled);
        }
        let mode = job.spec.as_ref().and_then(|spec| spec.completion_mode.as_deref());
        if !matches!(mode, None | Some("NonIndexed" | "Indexed")) {
            let message = "Skipped Job sync because completion mode is unknown";
            pods::record(&self.registry, &*job, Severity::Warning, COMPONENT, "UnknownCompletionMode", message);
            return Ok(Next::Settled);
        }
        let known = self.records().get(key).copied().unwrap_or_default();
        let mut pass = Pass::new(&self.registry, &job, self.pods(&job)?, known, names::now());
        let done = pass.run();
        if done.is_ok() {
            self.records().insert(key.clone(), pass.record);
        }
        done.map(|()| pass.again.map_or(Next::Settled, Next::After))
    }
}

/// Frees pods that no Job will count any more: those of Jobs that are gone or have ended (`syncOrphanPod`).
pub struct OrphanPods {
    registry: Arc<Registry>,
}

impl OrphanPods {
    /// A controller on this registry.
    #[must_use]
    pub fn new(registry: Arc<Registry>) -> Self {
        Self { registry }
    }

    /// Whether a Job of this uid is there and will count its pods itself.
    fn is_cared_for(&self, pod: &Pod) -> bool {
        let Some(owner) = pods::controller_of(&pod.metadata) else { return false };
        if owner.kind != Job::KIND || owner.api_version != Job::API_VERSION {
            return true;
        }
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let job = self.registry.find::<Job>(namespace, &owner.name);
        job.filter(|job| job.metadata.uid.as_ref() == Some(&owner.uid))
            .is_some_and(|job| is_managed_by_another(&job) || conditions::finished(&job).is_none())
    }
}

impl Controller for OrphanPods {
    fn name(&self) -> &'static str {
        "job-orphan-pods"
    }

    fn watches(&self) -> &'static [&'static Kind] {
        static WATCHES: [&Kind; 2] = [&kinds::JOB, &kinds::POD];
        &WATCHES
    }

    fn keys(&self, change: &Change) -> Vec<Key> {
        let is_tracked = |object: &Arc<Object>| object.typed::<Pod>().is_some_and(|pod| members::is_tracked(&pod));
        if change.object.kind == &kinds::POD {
            return if is_tracked(&change.object) { vec![Key::of(&change.object)] } else { Vec::new() };
        }
        let owned = self.registry.store().owned_by(&kinds::POD, &change.object.uid);
        owned.iter().filter(|pod| is_tracked(pod)).map(Key::of).collect()
    }

    fn reconcile(&self, key: &Key) -> Result<Next, ApiError> {
        let pod = self.registry.find::<Pod>(&key.namespace, &key.name);
        if let Some(pod) = pod.filter(|pod| members::is_tracked(pod) && !self.is_cared_for(pod)) {
            manage::remove_finalizer(&self.registry, &pod)?;
        }
        Ok(Next::Settled)
    }
}

/// Deletes Jobs some time after they have ended, where they say so (k/pkg/controller/ttlafterfinished).
pub struct FinishedJobs {
    registry: Arc<Registry>,
}

impl FinishedJobs {
    /// A controller on this registry.
    #[must_use]
    pub fn new(registry: Arc<Registry>) -> Self {
        Self { registry }
    }
}

/// When a Job is to be deleted.
fn due(job: &Job) -> Option<Timestamp> {
    let seconds = job.spec.as_ref()?.ttl_seconds_after_finished?;
    let finished = conditions::finished(job)?.last_transition_time.as_ref()?.0;
    finished.checked_add(Duration::from_secs(u64::try_from(seconds).unwrap_or(0))).ok()
}

impl Controller for FinishedJobs {
    fn name(&self) -> &'static str {
        "ttl-after-finished"
    }

    fn watches(&self) -> &'static [&'static Kind] {
        static WATCHES: [&Kind; 1] = [&kinds::JOB];
        &WATCHES
    }

    fn keys(&self, change: &Change) -> Vec<Key> {
        let is_due = change.object.typed::<Job>().is_some_and(|job| due(&job).is_some());
        if is_due { vec![Key::of(&change.object)] } else { Vec::new() }
    }

    fn reconcile(&self, key: &Key) -> Result<Next, ApiError> {
        let Some(job) = self.registry.find::<Job>(&key.namespace, &key.name) else { return Ok(Next::Settled) };
        let Some(due) = due(&job).filter(|_| job.metadata.deletion_timestamp.is_none()) else {
            return Ok(Next::Settled);
        };
        let left = Duration::try_from(due.duration_since(names::now())).unwrap_or_default();
        if !left.is_zero() {
            return Ok(Next::After(left));
        }
        let options = DeleteOptions {
            uid: job.metadata.uid.clone(),
            propagation: Propagation::Foreground,
            ..DeleteOptions::default()
        };
        match self.registry.delete(Job::served(), &key.namespace, &key.name, &options) {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(Next::Settled),
        }
    }
}
