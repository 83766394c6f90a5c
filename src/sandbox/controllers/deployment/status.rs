//! A Deployment's status: counts, conditions with upstream's reasons and messages, and the progress deadline
//! (k/pkg/controller/deployment/{sync,progress}.go, `util/deployment_util.go`, v1.34.4).

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use k8s_openapi::api::apps::v1::{DeploymentCondition, DeploymentStatus, ReplicaSet, ReplicaSetStatus};

use super::{Work, available, sets::Sets, total_wanted};
use crate::sandbox::{
    controllers::{Next, pods},
    error::ApiError,
    names,
};

const AVAILABLE: &str = "Available";
const PROGRESSING: &str = "Progressing";
const REPLICA_FAILURE: &str = "ReplicaFailure";

const NEW_SET_AVAILABLE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";

/// A deadline that is nearer than this is looked at soon; a farther one is looked at a second late, so that the look
/// does not come just before it.
const SOON: Duration = Duration::from_secs(1);
const SOON_AGAIN: Duration = Duration::from_millis(5);

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> DeploymentCondition {
    let now = pods::stamp();
    DeploymentCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        last_update_time: Some(now.clone()),
        last_transition_time: Some(now),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
    }
}

fn find<'a>(status: &'a DeploymentStatus, kind: &str) -> Option<&'a DeploymentCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == kind)
}

/// Sets a condition, unless it is there with the same status and reason (`SetDeploymentCondition`).
fn set(status: &mut DeploymentStatus, mut condition: DeploymentCondition) {
    if let Some(current) = find(status, &condition.type_).filter(|current| current.status == condition.status) {
        if current.reason == condition.reason {
            return;
        }
        condition.last_transition_time.clone_from(&current.last_transition_time);
    }
    remove(status, &condition.type_);
    status.conditions.get_or_insert_default().push(condition);
}

fn remove(status: &mut DeploymentStatus, kind: &str) {
    if let Some(conditions) = status.conditions.as_mut() {
        conditions.retain(|condition| condition.type_ != kind);
    }
    if status.conditions.as_ref().is_some_and(Vec::is_empty) {
        status.conditions = None;
    }
}

/// Counts are left out where they are zero, as upstream writes them.
fn count(number: i32) -> Option<i32> {
    (number != 0).then_some(number)
}

fn sum<'a>(sets: impl IntoIterator<Item = &'a Arc<ReplicaSet>>, of: impl Fn(&ReplicaSetStatus) -> i32) -> i32 {
    sets.into_iter().filter_map(|set| set.status.as_ref()).fold(0, |sum: i32, status| sum.saturating_add(of(status)))
}

impl Work<'_> {
    /// The condition `Progressing`.
    pub(super) fn progressing(&self) -> Option<&DeploymentCondition> {
        self.deployment.status.as_ref().and_then(|status| find(status, PROGRESSING))
    }

    /// Sets the condition `Progressing`, to be written with the status.
    pub(super) fn set_progressing(&mut self, status: &str, reason: &str, message: &str) {
        set(self.status_mut(), condition(PROGRESSING, status, reason, message));
    }

    /// Tells of a pause and its end in the condition `Progressing`, so that a pause does not count as lack of progress
    /// (`checkPausedConditions`).
    pub(super) fn check_paused(&mut self) -> Result<(), ApiError> {
        if self.progress_deadline().is_none() {
            return Ok(());
        }
        let reason = self.progressing().and_then(|condition| condition.reason.as_deref());
        let said = reason == Some(PAUSED);
        if reason == Some(TIMED_OUT) || said == self.is_paused() {
            return Ok(());
        }
        if self.is_paused() {
            self.set_progressing("Unknown", PAUSED, "Deployment is paused");
        } else {
            self.set_progressing("Unknown", "DeploymentResumed", "Deployment is resumed");
        }
        self.write_status()
    }

    /// `calculateStatus`.
    fn calculate(&self, sets: &Sets) -> DeploymentStatus {
        let old = self.status();
        let available_now = sets.all().fold(0, |sum: i32, set| sum.saturating_add(available(set)));
        let unavailable = total_wanted(sets.all()).saturating_sub(available_now).max(0);
        let mut status = DeploymentStatus {
            observed_generation: self.deployment.metadata.generation,
            replicas: count(sum(sets.all(), |status| status.replicas)),
            updated_replicas: count(sum(&sets.new, |status| status.replicas)),
            ready_replicas: count(sum(sets.all(), |status| status.ready_replicas.unwrap_or(0))),
            available_replicas: count(available_now),
            unavailable_replicas: count(unavailable),
            collision_count: old.collision_count,
            conditions: old.conditions,
            // Behind DeploymentReplicaSetTerminatingReplicas, which is off in 1.34.
            terminating_replicas: None,
        };
        let enough = available_now >= self.bounds().min_available();
        let minimum = if enough {
            condition(AVAILABLE, "True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        } else {
            let message = "Deployment does not have minimum availability.";
            condition(AVAILABLE, "False", "MinimumReplicasUnavailable", message)
        };
        set(&mut status, minimum);
        status
    }

    fn write_new_status(&mut self, status: DeploymentStatus) -> Result<bool, ApiError> {
        if self.status() == status {
            return Ok(false);
        }
        self.deployment.status = Some(status);
        self.write_status()?;
        Ok(true)
    }

    /// The status of a Deployment that is being deleted.
    pub(super) fn sync_status(&mut self) -> Result<Next, ApiError> {
        let sets = self.look_at_sets(false)?;
        self.sync_status_of(&sets)
    }

    /// The status outside of a rollout (`syncDeploymentStatus`).
    pub(super) fn sync_status_of(&mut self, sets: &Sets) -> Result<Next, ApiError> {
        let status = self.calculate(sets);
        self.write_new_status(status)?;
        Ok(Next::Settled)
    }

    /// The status in a rollout, with its progress (`syncRolloutStatus`).
    pub(super) fn sync_rollout_status(&mut self, sets: &Sets) -> Result<Next, ApiError> {
        let mut status = self.calculate(sets);
        if self.progress_deadline().is_none() {
            remove(&mut status, PROGRESSING);
        }
        let current = self.progressing().cloned();
        let current_reason = current.as_ref().and_then(|condition| condition.reason.as_deref());
        let was_complete = status.replicas == status.updated_replicas && current_reason == Some(NEW_SET_AVAILABLE);
        if self.progress_deadline().is_some() && !was_complete {
            self.judge_progress(sets, &mut status, current.as_ref());
        }
        match replica_failure(sets) {
            Some(failure) => set(&mut status, failure),
            None => remove(&mut status, REPLICA_FAILURE),
        }
        if self.write_new_status(status)? {
            // The write itself brings the next look.
            return Ok(Next::Settled);
        }
        Ok(self.next_progress_check())
    }

    fn judge_progress(&self, sets: &Sets, status: &mut DeploymentStatus, current: Option<&DeploymentCondition>) {
        let subject = match &sets.new {
            Some(new) => format!("ReplicaSet {:?}", new.metadata.name.as_deref().unwrap_or_default()),
            None => format!("Deployment {:?}", self.name()),
        };
        if self.is_complete(status) {
            let message = format!("{subject} has successfully progressed.");
            set(status, condition(PROGRESSING, "True", NEW_SET_AVAILABLE, &message));
        } else if self.has_progressed(status) {
            let mut fresh = condition(PROGRESSING, "True", "ReplicaSetUpdated", &format!("{subject} is progressing."));
            // Progress counts anew from now, although status and reason may be the same.
            if let Some(current) = current {
                if current.status == "True" {
                    fresh.last_transition_time.clone_from(&current.last_transition_time);
                }
                remove(status, PROGRESSING);
            }
            set(status, fresh);
        } else if self.has_timed_out(status) {
            let message = format!("{subject} has timed out progressing.");
            set(status, condition(PROGRESSING, "False", TIMED_OUT, &message));
        }
    }

    /// Whether a status is that of a finished rollout (`DeploymentComplete`).
    pub(super) fn is_complete(&self, status: &DeploymentStatus) -> bool {
        let replicas = count(self.replicas());
        status.updated_replicas == replicas
            && status.replicas == replicas
            && status.available_replicas == replicas
            && status.observed_generation >= self.deployment.metadata.generation
    }

    /// More updated pods, fewer old ones, more ready or more available ones than before (`DeploymentProgressing`).
    fn has_progressed(&self, new: &DeploymentStatus) -> bool {
        let old = self.status();
        let zero = |number: Option<i32>| number.unwrap_or(0);
        let outdated = |status: &DeploymentStatus| zero(status.replicas) - zero(status.updated_replicas);
        zero(new.updated_replicas) > zero(old.updated_replicas)
            || outdated(new) < outdated(&old)
            || zero(new.ready_replicas) > zero(old.ready_replicas)
            || zero(new.available_replicas) > zero(old.available_replicas)
    }

    /// Whether the last progress is longer ago than the deadline allows (`DeploymentTimedOut`).
    fn has_timed_out(&self, status: &DeploymentStatus) -> bool {
        let Some(current) = find(status, PROGRESSING) else { return false };
        match current.reason.as_deref() {
            Some(NEW_SET_AVAILABLE) => false,
            Some(TIMED_OUT) => true,
            _ => self.until_deadline(current).is_some_and(|left| left.is_negative()),
        }
    }

    fn until_deadline(&self, condition: &DeploymentCondition) -> Option<SignedDuration> {
        let deadline = SignedDuration::from_secs(self.progress_deadline()?.into());
        let since = condition.last_update_time.as_ref()?.0;
        Some(deadline - names::now().duration_since(since))
    }

    /// When to look at the deadline, where a rollout is under way (`requeueStuckDeployment`).
    fn next_progress_check(&self) -> Next {
        let status = self.status();
        let Some(current) = find(&status, PROGRESSING) else { return Next::Settled };
        if self.is_complete(&status) || current.reason.as_deref() == Some(TIMED_OUT) {
            return Next::Settled;
        }
        let Some(left) = self.until_deadline(current) else { return Next::Settled };
        let left = Duration::try_from(left).unwrap_or_default();
        Next::After(if left < SOON { left + SOON_AGAIN } else { left + SOON })
    }
}

/// The failure of the new set, else of any (`getReplicaFailures`).
fn replica_failure(sets: &Sets) -> Option<DeploymentCondition> {
    let of = |set: &Arc<ReplicaSet>| {
        let conditions = set.status.as_ref()?.conditions.as_ref()?;
        let failure = conditions.iter().find(|condition| condition.type_ == REPLICA_FAILURE)?;
        Some(DeploymentCondition {
            type_: failure.type_.clone(),
            status: failure.status.clone(),
            last_update_time: failure.last_transition_time.clone(),
            last_transition_time: failure.last_transition_time.clone(),
            reason: failure.reason.clone(),
            message: failure.message.clone(),
        })
    };
    sets.new.iter().chain(&sets.old).find_map(of)
}
