//! Deletes pods, gracefully or by force, and waits until they are gone. No budget is asked: only evictions ask one.

use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Preconditions},
};

use super::{
    api::{ApiError, call, found},
    condition::{Condition, receipt},
    drain::whole_seconds,
    error::{StepError, read},
    guard,
    stage::Stage,
    steps::Progress,
    target,
    undo::Undo,
};
use crate::experiment::schema::DeletePods;

/// What a pod may take beyond its grace period: stopping its containers and reporting it.
const GONE_AFTER_GRACE_WITHIN: Duration = Duration::from_secs(60);

/// Runs a `deletePods` step.
pub(super) async fn run(step: &DeletePods, stage: &Stage, progress: &Progress) -> Result<String, StepError> {
    let picked = target::pods(&step.selector, step.count, stage).await?;
    let api = Api::<Pod>::namespaced(stage.client.clone(), &stage.namespace);
    let mut pods = Vec::new();
    for one in &picked {
        let pod = read(&stage.abort, &format!("look at pod/{}", one.pod), api.get(&one.pod)).await?;
        refuse_if_lost_for_good(&pod, stage)?;
        pods.push(pod);
    }
    let why = picked.iter().map(|one| format!("pod/{} ({})", one.pod, one.why)).collect::<Vec<_>>().join(", ");
    let how = if step.force { "delete by force" } else { "delete" };
    progress.begun(format!("{how} {why}"), picked.iter().map(|one| format!("pod/{}", one.pod)).collect());
    guard::pods(&picked.iter().map(|one| one.pod.clone()).collect::<Vec<_>>(), stage).await?;
    // Where the namespace goes in the end, nobody waits for its pods.
    if !stage.namespace_is_ours {
        let (namespace, selector) = (stage.namespace.clone(), step.selector.clone());
        let ready = target::ready_with(&step.selector, stage).await?;
        stage.undo.register(Undo::AwaitPods { namespace, selector, ready }).await?;
    }

    let grace = if step.force { Some(0) } else { step.grace_period.map(whole_seconds) };
    let deleted = join_all(pods.iter().map(|pod| delete(&api, pod, grace))).await;
    deleted.into_iter().collect::<Result<Vec<()>, _>>()?;
    for pod in &pods {
        see_it_go(&api, pod, stage).await?;
    }
    let names = pods.iter().map(ResourceExt::name_any).collect::<Vec<_>>().join(", ");
    progress.effective(format!("{names} seen terminating or gone"));

    let longest = pods.iter().map(|pod| grace.unwrap_or_else(|| own_grace(pod))).max().unwrap_or_default();
    let gone = pods.iter().map(|pod| (pod.name_any(), pod.uid().unwrap_or_default())).collect();
    let within = Duration::from_secs(longest) + GONE_AFTER_GRACE_WITHIN;
    receipt(stage, &Condition::Gone(step.selector.clone(), gone), within, &format!("{names} deleted")).await
}

/// A pod without a controller cannot be brought back, so it is only deleted where all is removed in the end anyway.
fn refuse_if_lost_for_good(pod: &Pod, stage: &Stage) -> Result<(), StepError> {
    if stage.namespace_is_ours || target::controller(pod).is_some() {
        return Ok(());
    }
    Err(StepError::NoEffect {
        attempted: format!("delete pod/{}", pod.name_any()),
        why: "it has no controller, so nobody would make it again; run it under a Deployment or StatefulSet".into(),
    })
}

fn own_grace(pod: &Pod) -> u64 {
    let seconds = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
    u64::try_from(seconds.unwrap_or_default()).unwrap_or_default()
}

/// Deletes this very pod: one that has taken its name is left alone.
async fn delete(api: &Api<Pod>, pod: &Pod, grace_seconds: Option<u64>) -> Result<(), StepError> {
    let params = DeleteParams {
        grace_period_seconds: grace_seconds.map(|seconds| u32::try_from(seconds).unwrap_or(u32::MAX)),
        preconditions: Some(Preconditions { uid: pod.uid(), resource_version: None }),
        ..DeleteParams::default()
    };
    match call(api.delete(&pod.name_any(), &params)).await {
        // Not found: gone in the meantime. Conflict: another has its name.
        Ok(_) | Err(ApiError::Refused { code: 404 | 409, .. }) => Ok(()),
        Err(error) => Err(StepError::api(format!("delete pod/{}", pod.name_any()))(error)),
    }
}

async fn see_it_go(api: &Api<Pod>, pod: &Pod, stage: &Stage) -> Result<(), StepError> {
    let attempted = format!("look at pod/{}", pod.name_any());
    let now = stage.abort.or(call(api.get(&pod.name_any()))).await.map_err(StepError::aborted(&attempted))?;
    let now = found(now).map_err(StepError::api(&attempted))?;
    let stays = now.filter(|now| now.uid() == pod.uid() && now.metadata.deletion_timestamp.is_none());
    match stays {
        None => Ok(()),
        Some(_) => Err(StepError::NoEffect {
            attempted: format!("delete pod/{}", pod.name_any()),
            why: "the API server accepted it, but the pod is not terminating; look for an admission webhook".into(),
        }),
    }
}
