//! When a workload is rolled out: the rule of `kubectl rollout status`, pure.
//!
//! kube's own `is_deployment_completed` leaves `observedGeneration` out, so right after a patch it still reads the
//! status of before (`kubectl/pkg/polymorphichelpers/rollout_status.go` has the rule, v0.34.4).

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};

/// How far a rollout is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rollout {
    /// It is done.
    Done,
    /// Not yet, and what is waited for.
    Waiting(String),
    /// It will not get there by itself, and why.
    Stuck(String),
}

/// Nothing is known of the newest spec yet.
fn unobserved() -> Rollout {
    Rollout::Waiting("its controller has not seen the newest spec yet".to_owned())
}

fn count(counted: i32, of: i32, what: &str) -> Rollout {
    Rollout::Waiting(format!("{counted} of {of} {what}"))
}

/// How far a Deployment's rollout is.
#[must_use]
pub fn of_deployment(deployment: &Deployment) -> Rollout {
    let status = deployment.status.clone().unwrap_or_default();
    if status.observed_generation.unwrap_or(0) < deployment.metadata.generation.unwrap_or(0) {
        return unobserved();
    }
    let progressing = status.conditions.iter().flatten().find(|condition| condition.type_ == "Progressing");
    if let Some(condition) = progressing
        && condition.reason.as_deref() == Some("ProgressDeadlineExceeded")
    {
        return Rollout::Stuck(condition.message.clone().unwrap_or_else(|| "its progress deadline is over".to_owned()));
    }
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let (updated, all) = (status.updated_replicas.unwrap_or(0), status.replicas.unwrap_or(0));
    let available = status.available_replicas.unwrap_or(0);
    if updated < wanted {
        return count(updated, wanted, "pods have the newest template");
    }
    if all > updated {
        return Rollout::Waiting(format!("{} old pods are still there", all - updated));
    }
    if available < updated {
        return count(available, updated, "pods are available");
    }
    Rollout::Done
}

/// How far a `StatefulSet`'s rollout is. With `OnDelete` there is none, and being ready is all there is to it.
#[must_use]
pub fn of_stateful_set(set: &StatefulSet) -> Rollout {
    let (spec, status) = (set.spec.clone().unwrap_or_default(), set.status.clone().unwrap_or_default());
    let observed = status.observed_generation.unwrap_or(0);
    if observed == 0 || observed < set.metadata.generation.unwrap_or(0) {
        return unobserved();
    }
    let wanted = spec.replicas.unwrap_or(1);
    let ready = status.ready_replicas.unwrap_or(0);
    if ready < wanted {
        return count(ready, wanted, "pods are ready");
    }
    let strategy = spec.update_strategy.unwrap_or_default();
    if strategy.type_.as_deref() == Some("OnDelete") {
        return Rollout::Done;
    }
    let updated = status.updated_replicas.unwrap_or(0);
    let partition = strategy.rolling_update.and_then(|rolling| rolling.partition).unwrap_or(0);
    if partition > 0 {
        let above = wanted - partition;
        if updated < above {
            return count(updated, above, "pods above the partition have the newest template");
        }
        return Rollout::Done;
    }
    if status.update_revision != status.current_revision {
        return count(updated, wanted, "pods have the newest template");
    }
    Rollout::Done
}

/// How far a `DaemonSet`'s rollout is. With `OnDelete` there is none, and being available is all there is to it.
#[must_use]
pub fn of_daemon_set(set: &DaemonSet) -> Rollout {
    let (spec, status) = (set.spec.clone().unwrap_or_default(), set.status.clone().unwrap_or_default());
    if status.observed_generation.unwrap_or(0) < set.metadata.generation.unwrap_or(0) {
        return unobserved();
    }
    let wanted = status.desired_number_scheduled;
    let rolls = spec.update_strategy.unwrap_or_default().type_.as_deref() != Some("OnDelete");
    let updated = status.updated_number_scheduled.unwrap_or(0);
    if rolls && updated < wanted {
        return count(updated, wanted, "pods have the newest template");
    }
    let available = status.number_available.unwrap_or(0);
    if available < wanted {
        return count(available, wanted, "pods are available");
    }
    Rollout::Done
}

#[cfg(test)]
mod tests;
