//! How a Job's pods are counted, each exactly once: its uid goes into the status, then its finalizer, then it is counted
//! (`trackJobStatusAndRemoveFinalizers` of `k/pkg/controller/job/job_controller.go`, v1.34.4).

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::api::{
    batch::v1::{JobCondition, JobStatus, UncountedTerminatedPods},
    core::v1::Pod,
};

use super::{
    super::{events::Severity, pods},
    conditions, members,
    sync::{Pass, count, failed_as, some},
};
use crate::sandbox::error::ApiError;

/// Uids that a status holds at most (`MaxUncountedPods`).
const UNCOUNTED_MAX: usize = 500;

/// What one look at the pods found.
#[derive(Default)]
struct Found {
    /// Pods whose finalizer goes.
    release: Vec<Arc<Pod>>,
    /// Indexes that have succeeded.
    succeeded: Vec<i32>,
    /// The status has changed.
    changed: bool,
    /// There are more, for another pass.
    more: bool,
}

impl Pass<'_> {
    /// Counts pods that have ended into the status, lets them go, and ends the Job when all are counted.
    pub(super) fn track(&mut self, needs_write: bool) -> Result<(), ApiError> {
        if self.asked.indexed.is_some() {
            self.pods.sort_by_key(|pod| members::index_of(pod).unwrap_or(-1));
        }
        let tracked = self.pods.iter().filter(|pod| members::is_tracked(pod));
        let mut with_finalizer: BTreeSet<String> = tracked.map(|pod| members::uid_of(pod).to_owned()).collect();
        let mut needs_write = count_released(self.status(), &with_finalizer) || needs_write;
        let found = self.find();
        needs_write |= found.changed;
        needs_write |= self.write_indexes(&found.succeeded);
        needs_write |= self.announce_ending();
        if needs_write {
            self.write()?;
            needs_write = false;
        }
        let mut refused = Ok(());
        for pod in &found.release {
            match self.release(pod) {
                Ok(()) => drop(with_finalizer.remove(members::uid_of(pod))),
                Err(error) => refused = refused.and(Err(error)),
            }
        }
        needs_write |= count_released(self.status(), &with_finalizer);
        if refused.is_err() {
            if needs_write {
                self.write()?;
            }
            return refused;
        }
        let ended = if found.more { None } else { self.end() };
        if needs_write || ended.is_some() {
            self.write()?;
        }
        if let Some(ended) = ended {
            self.tell_ended(&ended);
        }
        Ok(())
    }

    /// Writes the status, under the version that was read: what somebody else wrote in between is seen in another pass.
    fn write(&mut self) -> Result<(), ApiError> {
        let mut written = (*self.registry.update_status_as(&self.job)?).clone();
        // Both are looked at by what follows, even where the API leaves them out when empty.
        written.status.get_or_insert_default().uncounted_terminated_pods.get_or_insert_default();
        self.job = written;
        Ok(())
    }

    /// The pods that may go, and what they count as.
    fn find(&mut self) -> Found {
        let mut found = Found::default();
        let mut uncounted = self.status().uncounted_terminated_pods.take().unwrap_or_default();
        for pod in self.pods.iter().filter(|pod| members::is_tracked(pod)) {
            let has_failed = self.asked.is_failed(pod);
            if !self.may_go(pod, has_failed) {
                continue;
            }
            found.release.push(Arc::clone(pod));
            let uid = members::uid_of(pod).to_owned();
            let ends_failed =
                self.ending.as_ref().is_some_and(|ending| ending.type_ != conditions::SUCCESS_CRITERIA_MET);
            if pods::phase(pod) == "Succeeded" && !self.uncounted_failed.contains(&uid) {
                self.count_success(pod, uid, &mut uncounted, &mut found);
            } else if (has_failed || ends_failed)
                && !self.uncounted_failed.contains(&uid)
                && self.asked.is_valid(pod)
                && self.asked.verdict(pod).counts()
            {
                found.changed = true;
                uncounted.failed.get_or_insert_default().push(uid);
            }
            let held = |uids: &Option<Vec<String>>| uids.as_ref().map_or(0, Vec::len);
            let total = found.succeeded.len() + held(&uncounted.succeeded) + held(&uncounted.failed);
            if total >= UNCOUNTED_MAX {
                found.more = true;
                break;
            }
        }
        self.status().uncounted_terminated_pods = Some(uncounted);
        found
    }

    fn count_success(&self, pod: &Pod, uid: String, uncounted: &mut UncountedTerminatedPods, found: &mut Found) {
        let Some(state) = &self.indexes else {
            if !self.uncounted_succeeded.contains(&uid) {
                found.changed = true;
                uncounted.succeeded.get_or_insert_default().push(uid);
            }
            return;
        };
        // The index itself keeps a success from being counted twice.
        let index = members::index_of(pod).filter(|index| self.asked.is_valid(pod) && !state.before.has(*index));
        found.changed |= index.is_some();
        found.succeeded.extend(index);
    }

    /// Whether a pod's finalizer may go (`canRemoveFinalizer`).
    fn may_go(&self, pod: &Pod, has_failed: bool) -> bool {
        let all_go = self.job.metadata.deletion_timestamp.is_some() || self.ending.is_some();
        if all_go || pods::phase(pod) == "Succeeded" {
            return true;
        }
        let delayed = members::index_of(pod).and_then(|index| self.delayed.get(&index));
        has_failed && delayed.is_none_or(|delayed| delayed.metadata.uid != pod.metadata.uid)
    }

    fn write_indexes(&mut self, new: &[i32]) -> bool {
        let Some(state) = &mut self.indexes else { return false };
        state.succeeded = state.succeeded.with(new.iter().copied());
        let completed = Some(state.succeeded.to_string()).filter(|text| !text.is_empty());
        let (total, failed) = (state.succeeded.total(), state.failed.as_ref().map(ToString::to_string));
        let status = self.status();
        let changed = status.completed_indexes != completed || status.failed_indexes != failed;
        status.succeeded = some(total);
        status.completed_indexes = completed;
        status.failed_indexes = failed;
        changed
    }

    /// Says with what the Job is about to end, before the pods that say so may go; from then on `ending` is what it ends
    /// with.
    fn announce_ending(&mut self) -> bool {
        let Some(ending) = self.ending.take() else { return false };
        let (announced, last) = match ending.type_.as_str() {
            conditions::FAILURE_TARGET => (true, failed_as(&ending, self.now)),
            conditions::SUCCESS_CRITERIA_MET => {
                let is_known = conditions::find_true(&self.job, conditions::SUCCESS_CRITERIA_MET).is_some();
                let (reason, message) = (ending.reason.as_deref(), ending.message.as_deref());
                let (reason, message) = (reason.unwrap_or_default(), message.unwrap_or_default());
                (!is_known, conditions::new(conditions::COMPLETE, reason, message, self.now))
            }
            _ => (false, ending.clone()),
        };
        if announced {
            self.status().conditions.get_or_insert_default().push(ending);
        }
        self.ending = Some(last);
        announced
    }

    /// Ends the Job once nothing is uncounted and no pod is terminating (`enactJobFinished`).
    fn end(&mut self) -> Option<JobCondition> {
        let ending = self.ending.clone()?;
        let uncounted = self.status().uncounted_terminated_pods.clone().unwrap_or_default();
        let is_counted = uncounted.succeeded.is_none_or(|uids| uids.is_empty())
            && uncounted.failed.is_none_or(|uids| uids.is_empty());
        if !is_counted || self.terminating > 0 {
            return None;
        }
        let (reason, message) = (ending.reason.clone(), ending.message.clone());
        let (reason, message) = (reason.unwrap_or_default(), message.unwrap_or_default());
        conditions::ensure(&mut self.job, &ending.type_, true, &reason, &message, self.now);
        if ending.type_ == conditions::COMPLETE {
            self.status().completion_time.clone_from(&ending.last_transition_time);
        }
        Some(ending)
    }

    fn tell_ended(&self, ended: &JobCondition) {
        if ended.type_ == conditions::FAILED {
            let (reason, message) = (ended.reason.as_deref(), ended.message.as_deref());
            self.tell(Severity::Warning, reason.unwrap_or_default(), message.unwrap_or_default());
            return;
        }
        let succeeded = self.job.status.as_ref().and_then(|status| status.succeeded).unwrap_or(0);
        if self.asked.spec.completions.is_some_and(|completions| succeeded > completions) {
            let message = "Too many succeeded pods running after completion count reached";
            self.tell(Severity::Warning, "TooManySucceededPods", message);
        }
        self.tell(Severity::Normal, "Completed", "Job completed");
    }
}

/// Counts the uids whose pods have lost their finalizer (`cleanUncountedPodsWithoutFinalizers`).
fn count_released(status: &mut JobStatus, with_finalizer: &BTreeSet<String>) -> bool {
    let uncounted = status.uncounted_terminated_pods.get_or_insert_default();
    let take = |uids: &mut Option<Vec<String>>| {
        let (kept, released): (Vec<String>, Vec<String>) =
            uids.take().unwrap_or_default().into_iter().partition(|uid| with_finalizer.contains(uid));
        *uids = (!kept.is_empty()).then_some(kept);
        count(released.iter())
    };
    let (succeeded, failed) = (take(&mut uncounted.succeeded), take(&mut uncounted.failed));
    status.succeeded = some(status.succeeded.unwrap_or(0).saturating_add(succeeded));
    status.failed = some(status.failed.unwrap_or(0).saturating_add(failed));
    succeeded > 0 || failed > 0
}
