//! One pass over a Job: what its pods came to, whether it ends, which pods it lacks
//! (`syncJob` of `k/pkg/controller/job/job_controller.go`, v1.34.4).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        batch::v1::{Job, JobCondition, JobStatus},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::{
    super::{events::Severity, pods},
    COMPONENT,
    backoff::{self, Record},
    conditions,
    indexes::Indexes,
    members::{self, Asked},
    policy::{self, Verdict},
};
use crate::sandbox::{error::ApiError, registry::Registry};

/// The indexes of an Indexed Job.
pub(super) struct IndexState {
    /// Those that the status has as completed.
    pub before: Indexes,
    /// Those and the new ones.
    pub succeeded: Indexes,
    /// Those that have failed, where failures count per index.
    pub failed: Option<Indexes>,
}

/// One pass.
pub(super) struct Pass<'a> {
    pub registry: &'a Registry,
    /// The Job, with the status that is to be written.
    pub job: Job,
    pub asked: Asked,
    pub pods: Vec<Arc<Pod>>,
    pub active: Vec<Arc<Pod>>,
    pub now: Timestamp,
    /// Counts of the status to be.
    pub ready: i32,
    pub terminating: i32,
    pub succeeded: i32,
    pub failed: i32,
    /// Uids that the status had as not counted yet when the pass began.
    pub uncounted_failed: BTreeSet<String>,
    pub uncounted_succeeded: BTreeSet<String>,
    pub indexes: Option<IndexState>,
    /// Failed pods that are kept until they are replaced, by index.
    pub delayed: BTreeMap<i32, Arc<Pod>>,
    /// With what the Job is about to end.
    pub ending: Option<JobCondition>,
    pub record: Record,
    /// When to look again at the latest.
    pub again: Option<Duration>,
}

impl<'a> Pass<'a> {
    /// A pass over a Job and its pods; `record` is of its failures so far.
    pub fn new(registry: &'a Registry, job: &Job, pods: Vec<Arc<Pod>>, record: Record, now: Timestamp) -> Self {
        let mut job = job.clone();
        let status = job.status.get_or_insert_default();
        let uncounted = status.uncounted_terminated_pods.get_or_insert_default();
        let set = |uids: &Option<Vec<String>>| uids.iter().flatten().cloned().collect();
        let (uncounted_failed, uncounted_succeeded) = (set(&uncounted.failed), set(&uncounted.succeeded));
        let active: Vec<Arc<Pod>> = pods.iter().filter(|pod| pods::is_active(pod)).cloned().collect();
        Self {
            registry,
            asked: Asked::of(&job),
            job,
            ready: count(active.iter().filter(|pod| pods::is_ready(pod))),
            terminating: count(pods.iter().filter(|pod| members::is_terminating(pod))),
            active,
            pods,
            now,
            succeeded: 0,
            failed: 0,
            uncounted_failed,
            uncounted_succeeded,
            indexes: None,
            delayed: BTreeMap::new(),
            ending: None,
            record,
            again: None,
        }
    }

    /// The status to be.
    pub fn status(&mut self) -> &mut JobStatus {
        self.job.status.get_or_insert_default()
    }

    /// Looks again after a while at the latest.
    pub fn look_again_in(&mut self, delay: Duration) {
        self.again = self.again.into_iter().chain([delay]).min();
    }

    /// Runs the pass.
    pub fn run(&mut self) -> Result<(), ApiError> {
        self.count_finished();
        if self.status().start_time.is_none() && !self.asked.suspended {
            self.status().start_time = Some(Time(self.now));
        }
        self.judge();
        self.judge_indexes();
        let mut active = count(self.active.iter());
        let mut suspension_changed = false;
        let managed = if self.ending.is_some() {
            self.delete_active(&mut active)
        } else {
            let managed =
                if self.job.metadata.deletion_timestamp.is_none() { self.manage(&mut active) } else { Ok(()) };
            suspension_changed = self.complete_or_suspend(active);
            managed
        };
        let (ready, terminating) = (Some(self.ready), Some(self.terminating));
        let status = self.status();
        let needs_write = suspension_changed
            || status.active.unwrap_or(0) != active
            || status.ready != ready
            || status.terminating != terminating;
        status.active = some(active);
        status.ready = ready;
        status.terminating = terminating;
        self.track(needs_write)?;
        managed
    }

    /// Counts pods that have ended since the last pass, and the failures since the last success.
    fn count_finished(&mut self) {
        let new = |uncounted: &BTreeSet<String>, pod: &Pod| {
            members::is_tracked(pod) && !uncounted.contains(members::uid_of(pod)) && self.asked.is_valid(pod)
        };
        let all = || self.pods.iter().map(|pod| &**pod);
        let succeeded: Vec<&Pod> =
            all().filter(|pod| pods::phase(pod) == "Succeeded" && new(&self.uncounted_succeeded, pod)).collect();
        let failed: Vec<&Pod> =
            all().filter(|pod| self.asked.is_failed(pod) && new(&self.uncounted_failed, pod)).collect();
        let counted = failed.iter().filter(|pod| self.asked.verdict(pod).counts());
        let status = self.job.status.clone().unwrap_or_default();
        let total = |known: Option<i32>, new: i32, uncounted: &BTreeSet<String>| {
            known.unwrap_or(0).saturating_add(new).saturating_add(count(uncounted.iter()))
        };
        let (succeeded_count, failed_count) = (count(succeeded.iter()), count(counted));
        self.record = self.record.after(&succeeded, &failed);
        self.succeeded = total(status.succeeded, succeeded_count, &self.uncounted_succeeded);
        self.failed = total(status.failed, failed_count, &self.uncounted_failed);
    }

    /// Whether the Job has failed as a whole.
    fn judge(&mut self) {
        let now = self.now;
        let fails =
            |reason: &str, message: &str| Some(conditions::new(conditions::FAILURE_TARGET, reason, message, now));
        self.ending = conditions::find_true(&self.job, conditions::SUCCESS_CRITERIA_MET).cloned();
        if self.ending.is_none() {
            self.ending = match conditions::find_true(&self.job, conditions::FAILURE_TARGET) {
                Some(target) => Some(failed_as(target, now)),
                None => self.failure_message().and_then(|message| fails("PodFailurePolicy", &message)),
            };
        }
        if self.ending.is_some() {
            return;
        }
        let limit = self.asked.backoff_limit;
        if self.failed > limit || self.restarts_exceed(limit) {
            self.ending = fails("BackoffLimitExceeded", "Job has reached the specified backoff limit");
            return;
        }
        let deadline = self.asked.spec.active_deadline_seconds.filter(|_| !self.asked.suspended);
        let started = self.job.status.as_ref().and_then(|status| status.start_time.as_ref()).map(|time| time.0);
        let (Some(deadline), Some(started)) = (deadline, started) else { return };
        let end = started.checked_add(Duration::from_secs(u64::try_from(deadline).unwrap_or(0)));
        match Duration::try_from(end.unwrap_or(Timestamp::MAX).duration_since(now)) {
            Ok(left) if !left.is_zero() => self.look_again_in(left),
            _ => self.ending = fails("DeadlineExceeded", "Job was active longer than specified deadline"),
        }
    }

    fn failure_message(&self) -> Option<String> {
        let mut failed = self.pods.iter().filter(|pod| self.asked.is_failed(pod));
        failed.find_map(|pod| match self.asked.verdict(pod) {
            Verdict::FailsJob(message) => Some(message),
            _ => None,
        })
    }

    /// Whether containers that restart in place have restarted too often (`pastBackoffLimitOnFailure`).
    fn restarts_exceed(&self, limit: i32) -> bool {
        let template = self.asked.spec.template.spec.as_ref();
        if template.and_then(|spec| spec.restart_policy.as_deref()) != Some("OnFailure") {
            return false;
        }
        let running = self.pods.iter().filter(|pod| matches!(pods::phase(pod), "Running" | "Pending"));
        let statuses = running.flat_map(|pod| pod.status.iter()).flat_map(|status| {
            status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten())
        });
        let restarts: i64 = statuses.map(|container| i64::from(container.restart_count)).sum();
        if limit == 0 { restarts > 0 } else { restarts >= i64::from(limit) }
    }

    /// What the indexes came to, and whether that ends the Job.
    fn judge_indexes(&mut self) {
        let Some(completions) = self.asked.indexed else { return };
        let status = self.job.status.clone().unwrap_or_default();
        let tracked = || self.pods.iter().filter(|pod| members::is_tracked(pod) && self.asked.is_valid(pod));
        let before = Indexes::parse(status.completed_indexes.as_deref().unwrap_or_default(), completions);
        let new = tracked().filter(|pod| pods::phase(pod) == "Succeeded").filter_map(|pod| members::index_of(pod));
        let succeeded = before.with(new);
        let failed = self.asked.per_index.map(|limit| {
            let new = tracked().filter(|pod| self.asked.fails_index(pod, limit));
            let known = Indexes::parse(status.failed_indexes.as_deref().unwrap_or_default(), completions);
            known.with(new.filter_map(|pod| members::index_of(pod)))
        });
        self.succeeded = succeeded.total();
        if let Some(failed) = &failed
            && self.ending.is_none()
        {
            let total = failed.total();
            let most = self.asked.spec.max_failed_indexes;
            let fails = |reason, message| Some(conditions::new(conditions::FAILURE_TARGET, reason, message, self.now));
            if most.is_some_and(|most| total > most) {
                let message = "Job has exceeded the specified maximal number of failed indexes";
                self.ending = fails("MaxFailedIndexesExceeded", message);
            } else if total > 0 && total.saturating_add(succeeded.total()) >= completions {
                self.ending = fails("FailedIndexes", "Job has failed indexes");
            }
        }
        if self.ending.is_none()
            && let Some(message) = policy::success_met(&self.asked.spec, &succeeded)
        {
            let reason = "SuccessPolicy";
            self.ending = Some(conditions::new(conditions::SUCCESS_CRITERIA_MET, reason, &message, self.now));
        }
        let state = IndexState { before, succeeded, failed };
        self.delayed = self.delay(&state, completions);
        self.indexes = Some(state);
    }

    /// The failed pods that must stay until they are replaced, since their count of failures goes on into the new pod
    /// (`getPodsWithDelayedDeletionPerIndex`).
    fn delay(&self, state: &IndexState, completions: i32) -> BTreeMap<i32, Arc<Pod>> {
        let mut delayed: BTreeMap<i32, Arc<Pod>> = BTreeMap::new();
        let Some(given_up) = &state.failed else { return delayed };
        let active: BTreeSet<i32> = self.active.iter().filter_map(|pod| members::index_of(pod)).collect();
        for pod in self.pods.iter().filter(|pod| members::is_tracked(pod) && self.asked.is_failed(pod)) {
            let Some(index) = members::index_of(pod).filter(|index| *index < completions) else { continue };
            if state.succeeded.has(index) || given_up.has(index) || active.contains(&index) {
                continue;
            }
            let rank = |pod: &Pod| (members::index_failures(pod), backoff::finished_at(pod));
            let is_later = delayed.get(&index).is_none_or(|known| {
                let ((failures, ended), (new_failures, new_ended)) = (rank(known), rank(pod));
                failures <= new_failures && new_ended >= ended
            });
            if is_later {
                delayed.insert(index, Arc::clone(pod));
            }
        }
        delayed
    }

    /// Deletes the pods of a Job that ends.
    fn delete_active(&mut self, active: &mut i32) -> Result<(), ApiError> {
        let pods = self.active.clone();
        let result = self.delete(&pods, active);
        if *active != 0 {
            // It has not ended as long as one of them could not be deleted.
            self.ending = None;
        }
        result
    }

    /// Deletes pods and counts them from active to terminating.
    pub fn delete(&mut self, pods: &[Arc<Pod>], active: &mut i32) -> Result<(), ApiError> {
        let mut result = Ok(());
        for pod in pods {
            match pods::delete(self.registry, COMPONENT, &self.job, pod) {
                Ok(()) => {
                    *active -= 1;
                    self.terminating += 1;
                    self.ready -= i32::from(pods::is_ready(pod));
                }
                Err(error) => result = result.and(Err(error)),
            }
        }
        result
    }

    /// Whether enough pods have succeeded; else whether the Job is suspended. Whether that changed its conditions.
    fn complete_or_suspend(&mut self, active: i32) -> bool {
        // Without a number of completions the first success is enough.
        let wanted = self.asked.spec.completions.unwrap_or(1);
        if self.succeeded >= wanted && active == 0 {
            let message = "Reached expected number of succeeded pods";
            let kind = conditions::SUCCESS_CRITERIA_MET;
            self.ending = Some(conditions::new(kind, "CompletionsReached", message, self.now));
            return false;
        }
        if self.job.metadata.deletion_timestamp.is_some() {
            return false;
        }
        let (is_suspended, reason, message, event) = if self.asked.suspended {
            (true, "JobSuspended", "Job suspended", "Suspended")
        } else {
            (false, "JobResumed", "Job resumed", "Resumed")
        };
        let changed = conditions::ensure(&mut self.job, conditions::SUSPENDED, is_suspended, reason, message, self.now);
        if changed {
            self.tell(Severity::Normal, event, message);
            if !is_suspended {
                // The deadline runs while the Job is active only.
                self.status().start_time = Some(Time(self.now));
            }
        }
        changed
    }

    /// Records an event about the Job.
    pub fn tell(&self, severity: Severity, reason: &str, message: &str) {
        pods::record(self.registry, &self.job, severity, COMPONENT, reason, message);
    }
}

/// The final condition of a Job that was about to fail.
pub(super) fn failed_as(target: &JobCondition, now: Timestamp) -> JobCondition {
    let (reason, message) = (target.reason.as_deref(), target.message.as_deref());
    conditions::new(conditions::FAILED, reason.unwrap_or_default(), message.unwrap_or_default(), now)
}

/// A count as the status has it.
pub(super) fn count<T>(items: impl Iterator<Item = T>) -> i32 {
    i32::try_from(items.count()).unwrap_or(i32::MAX)
}

/// A count that is left out where it is zero.
pub(super) fn some(count: i32) -> Option<i32> {
    (count != 0).then_some(count)
}
