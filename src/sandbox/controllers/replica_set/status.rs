//! A `ReplicaSet`'s status (`k/pkg/controller/replicaset/replica_set_utils.go`, v1.34.4).

use std::sync::Arc;

use k8s_openapi::api::{
    apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus},
    core::v1::Pod,
};

use super::wanted;
use crate::{
    model::selector::contains_all,
    sandbox::{controllers::pods, error::ApiError, names, registry::Registry},
};

const REPLICA_FAILURE: &str = "ReplicaFailure";

/// Writes the status of a set with these pods, if it is another one.
pub(super) fn update(
    registry: &Registry,
    set: &ReplicaSet,
    active: &[Arc<Pod>],
    failure: Option<&ApiError>,
) -> Result<(), ApiError> {
    let old = set.status.clone().unwrap_or_default();
    let status = calculate(set, &old, active, failure);
    let observed = set.metadata.generation == old.observed_generation;
    if status == old && observed {
        return Ok(());
    }
    let mut changed = set.clone();
    changed.status = Some(ReplicaSetStatus { observed_generation: set.metadata.generation, ..status });
    registry.update_status_as(&changed)?;
    Ok(())
}

/// `calculateStatus`.
fn calculate(
    set: &ReplicaSet,
    old: &ReplicaSetStatus,
    active: &[Arc<Pod>],
    failure: Option<&ApiError>,
) -> ReplicaSetStatus {
    let spec = set.spec.as_ref();
    let template = spec.and_then(|spec| spec.template.as_ref()).and_then(|template| template.metadata.as_ref());
    let template_labels = template.map(pods::labels);
    let min_ready = spec.and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
    let now = names::now();
    // Counts are left out where they are zero, as upstream writes them.
    let count = |holds: &dyn Fn(&Pod) -> bool| {
        let count = active.iter().filter(|pod| holds(pod)).count();
        Some(i32::try_from(count).unwrap_or(i32::MAX)).filter(|count| *count != 0)
    };
    ReplicaSetStatus {
        replicas: count(&|_| true).unwrap_or(0),
        fully_labeled_replicas: count(&|pod| {
            template_labels.is_none_or(|wanted| contains_all(pods::labels(&pod.metadata), wanted))
        }),
        ready_replicas: count(&pods::is_ready),
        available_replicas: count(&|pod| pods::is_available(pod, min_ready, now)),
        conditions: conditions(set, old, active.len(), failure),
        observed_generation: old.observed_generation,
        // Behind DeploymentReplicaSetTerminatingReplicas, which is off in 1.34.
        terminating_replicas: None,
    }
}

fn conditions(
    set: &ReplicaSet,
    old: &ReplicaSetStatus,
    active: usize,
    failure: Option<&ApiError>,
) -> Option<Vec<ReplicaSetCondition>> {
    let mut conditions = old.conditions.clone().unwrap_or_default();
    let failed_before = conditions.iter().any(|condition| condition.type_ == REPLICA_FAILURE);
    match failure {
        Some(failure) if !failed_before => {
            let reason = if active < wanted(set) { "FailedCreate" } else { "FailedDelete" };
            conditions.push(ReplicaSetCondition {
                type_: REPLICA_FAILURE.to_owned(),
                status: "True".to_owned(),
                reason: Some(reason.to_owned()),
                message: Some(failure.message.clone()),
                last_transition_time: Some(pods::stamp()),
            });
        }
        None => conditions.retain(|condition| condition.type_ != REPLICA_FAILURE),
        Some(_) => {}
    }
    Some(conditions).filter(|conditions| !conditions.is_empty())
}
