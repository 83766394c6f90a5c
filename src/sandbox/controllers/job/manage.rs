//! How many pods a Job runs: it creates those that it lacks, after the back-off, and deletes those that are too many
//! (`manageJob` of `k/pkg/controller/job/job_controller.go`, v1.34.4).

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};

use super::{
    super::pods,
    COMPONENT, backoff,
    members::{self, FINALIZER},
    sync::Pass,
};
use crate::sandbox::{error::ApiError, registry::Registry};

/// Pods created or deleted in one pass (`MaxPodCreateDeletePerSync`).
const BURST: i32 = 500;

/// No pass follows another sooner where it only waits (`syncJobBatchPeriod`).
const BATCH: Duration = Duration::from_secs(1);

impl Pass<'_> {
    /// Brings the number of active pods to what it should be.
    pub(super) fn manage(&mut self, active: &mut i32) -> Result<(), ApiError> {
        if self.asked.suspended {
            let pods = self.superfluous(*active);
            return self.give_up(&pods, active);
        }
        let wanted = self.wanted(*active);
        let mut pods = self.superfluous((*active - wanted).max(0));
        pods.truncate(usize::try_from(BURST).unwrap_or(0));
        if !pods.is_empty() {
            // Creating has its turn in another pass.
            return self.give_up(&pods, active);
        }
        let terminating = if self.asked.only_failed { self.terminating } else { 0 };
        let lacking = (wanted - terminating - *active).min(BURST);
        if lacking <= 0 {
            return Ok(());
        }
        if self.asked.per_index.is_none() {
            let wait = self.record.remaining(self.now);
            if !wait.is_zero() {
                self.look_again_in(wait.max(BATCH));
                return Ok(());
            }
        }
        self.create(usize::try_from(lacking).unwrap_or(0), active)
    }

    fn wanted(&self, active: i32) -> i32 {
        match self.asked.spec.completions {
            // One success is enough, and then those that run may end.
            None if self.succeeded > 0 => active,
            None => self.asked.parallelism,
            Some(completions) => completions.saturating_sub(self.succeeded).clamp(0, self.asked.parallelism.max(0)),
        }
    }

    /// At least so many active pods that go: doubles of an index and those without a valid one in any case, then those
    /// in the earliest stages (`activePodsForRemoval`).
    fn superfluous(&self, at_least: i32) -> Vec<Arc<Pod>> {
        let at_least = usize::try_from(at_least).unwrap_or(0);
        let mut sorted = self.active.clone();
        sorted.sort_by_cached_key(|pod| members::removal_order(pod));
        let mut remove = Vec::new();
        if self.asked.indexed.is_some() {
            let mut seen = BTreeSet::new();
            // Of doubles the one in the latest stage stays.
            let (kept, doubles): (Vec<_>, Vec<_>) = sorted.into_iter().rev().partition(|pod| {
                self.asked.is_valid(pod) && members::index_of(pod).is_some_and(|index| seen.insert(index))
            });
            remove = doubles;
            sorted = kept.into_iter().rev().collect();
        }
        let missing = at_least.saturating_sub(remove.len());
        remove.extend(sorted.into_iter().take(missing));
        remove
    }

    /// Deletes pods that shall not be counted.
    fn give_up(&mut self, pods: &[Arc<Pod>], active: &mut i32) -> Result<(), ApiError> {
        let mut result = Ok(());
        let mut released = Vec::with_capacity(pods.len());
        for pod in pods {
            match self.release(pod) {
                Ok(()) => released.push(Arc::clone(pod)),
                Err(error) => result = result.and(Err(error)),
            }
        }
        result.and(self.delete(&released, active))
    }

    /// Removes the tracking finalizer from a pod; one that is gone is fine.
    pub(super) fn release(&self, pod: &Pod) -> Result<(), ApiError> {
        remove_finalizer(self.registry, pod)
    }

    fn create(&mut self, lacking: usize, active: &mut i32) -> Result<(), ApiError> {
        let mut template = self.asked.spec.template.clone();
        members::prepare(&mut template, self.asked.indexed.is_some());
        let indexes: Vec<Option<i32>> = match self.asked.indexed {
            None => vec![None; lacking],
            Some(completions) => self.pending_indexes(lacking, completions).into_iter().map(Some).collect(),
        };
        let mut rest = indexes.iter();
        let mut created = 0;
        let this = &*self;
        let (_, refused) = pods::slow_start(indexes.len(), || {
            let Some(index) = rest.next() else { return Ok(()) };
            match this.create_one(&template, *index) {
                Err(error) if !pods::is_namespace_terminating(&error) => Err(error),
                _ => {
                    created += 1;
                    Ok(())
                }
            }
        });
        *active += created;
        refused.map_or(Ok(()), Err)
    }

    fn create_one(&self, template: &PodTemplateSpec, index: Option<i32>) -> Result<(), ApiError> {
        let namespace = self.job.metadata.namespace.as_deref().unwrap_or_default();
        let mut pod = pods::from_template(template, namespace, pods::controller_ref(&self.job));
        if let Some(index) = index {
            members::index(&mut pod, self.job.metadata.name.as_deref().unwrap_or_default(), index);
            if self.asked.per_index.is_some() {
                members::count_failures(&mut pod, &self.asked, self.delayed.get(&index).map(|pod| &**pod));
            }
        }
        pods::create(self.registry, COMPONENT, &self.job, &pod).map(drop)
    }

    /// The first indexes that have neither ended nor a pod (`firstPendingIndexes`); where failures count per index,
    /// those whose back-off is over, or else when the first one's is.
    fn pending_indexes(&mut self, lacking: usize, completions: i32) -> Vec<i32> {
        let Some(state) = &self.indexes else { return Vec::new() };
        let mut taken = state.succeeded.with(self.active.iter().filter_map(|pod| members::index_of(pod)));
        if self.asked.only_failed {
            let terminating = self.pods.iter().filter(|pod| members::is_terminating(pod));
            taken = taken.with(terminating.filter_map(|pod| members::index_of(pod)));
        }
        if let Some(failed) = &state.failed {
            taken = taken.merge(failed);
        }
        let pending = taken.first_missing(lacking, completions);
        if self.asked.per_index.is_none() {
            return pending;
        }
        let waits: Vec<(i32, Duration)> = pending.into_iter().map(|index| (index, self.wait_of(index))).collect();
        let now: Vec<i32> = waits.iter().filter(|(_, wait)| wait.is_zero()).map(|(index, _)| *index).collect();
        if now.is_empty()
            && let Some(wait) = waits.iter().map(|(_, wait)| *wait).min()
        {
            self.look_again_in(wait.max(BATCH));
        }
        now
    }

    fn wait_of(&self, index: i32) -> Duration {
        let Some(failed) = self.delayed.get(&index) else { return Duration::ZERO };
        let failures = u32::try_from(members::index_failures(failed)).unwrap_or(0).saturating_add(1);
        backoff::remaining(failures, backoff::finished_at(failed), self.now)
    }
}

/// Removes the tracking finalizer from a pod; one that is gone, or another of its name, is let alone.
pub(super) fn remove_finalizer(registry: &Registry, pod: &Pod) -> Result<(), ApiError> {
    let (namespace, name) = (pod.metadata.namespace.as_deref(), pod.metadata.name.as_deref());
    let changed = registry.change_as::<Pod>(namespace.unwrap_or_default(), name.unwrap_or_default(), |stored| {
        if stored.metadata.uid == pod.metadata.uid
            && let Some(finalizers) = &mut stored.metadata.finalizers
        {
            finalizers.retain(|finalizer| finalizer != FINALIZER);
            if finalizers.is_empty() {
                stored.metadata.finalizers = None;
            }
        }
        Ok(())
    });
    match changed {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}
