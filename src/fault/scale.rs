//! Sets a workload's number of replicas, through its `scale` subresource.

use std::time::Duration;

use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::{
    api::call,
    condition::{Condition, receipt},
    error::{StepError, read},
    stage::Stage,
    steps::Progress,
    undo::Undo,
    workload,
};
use crate::experiment::{schema::Scale, units::WorkloadKind};

/// How long the controller may take to act on it: its work queue is short, but a busy machine is slow.
const RECEIPT_WITHIN: Duration = Duration::from_secs(30);

/// Runs a `scale` step. It is done when the number of pods is seen to move; a `wait` waits for more.
pub(super) async fn run(step: &Scale, stage: &Stage, progress: &Progress) -> Result<String, StepError> {
    let attempted = format!("scale {} to {}", step.workload, step.replicas);
    if step.workload.kind == WorkloadKind::DaemonSet {
        let why = "a DaemonSet has a pod on each node and no number of replicas; scale a Deployment or StatefulSet";
        return Err(StepError::NoEffect { attempted, why: why.into() });
    }
    let api = workload::api(&stage.client, &stage.namespace, &step.workload);
    let before = read(&stage.abort, &attempted, api.get(&step.workload.name)).await?;
    let (replicas, to) = (workload::number(&before, "/spec/replicas"), i64::from(step.replicas));
    let from = workload::number(&before, "/status/replicas");
    if replicas == to {
        return Err(StepError::NoEffect { attempted, why: format!("it has {to} replicas; give another number") });
    }
    progress
        .begun(format!("scale {} from {replicas} to {to} replicas", step.workload), vec![step.workload.to_string()]);
    let undo = Undo::RestoreReplicas { workload: step.workload.clone(), namespace: stage.namespace.clone(), replicas };
    stage.undo.register(undo).await?;
    let patch = Patch::Merge(json!({"spec": {"replicas": to}}));
    call(api.patch_scale(&step.workload.name, &PatchParams::default(), &patch))
        .await
        .map_err(StepError::api(&attempted))?;
    let after = read(&stage.abort, &attempted, api.get(&step.workload.name)).await?;
    let generation = workload::generation(&after);
    let condition = Condition::Scaling { workload: step.workload.clone(), generation, from, to };
    let seen = receipt(stage, &condition, RECEIPT_WITHIN, &format!("{} set to {to} replicas", step.workload)).await?;
    progress.effective(seen.clone());
    Ok(seen)
}
