//! The guards, asked once more right before an act, with the cluster as it is then: what the plan let pass may have
//! become too much, since pods move and other nodes go.

use futures::try_join;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};

use super::{
    api::{ApiError, REQUEST_WITHIN},
    error::StepError,
    stage::Stage,
    target::list_all,
    undo::Undo,
};
use crate::{
    cluster::facts::{self, pod_fact},
    plan::{ClusterFacts, facts::PodFact, guards},
};

/// Nodes that are about to be cordoned, or drained, which takes their pods as well. `facts` knows the nodes.
pub(super) async fn nodes(
    taken: &[String],
    facts: &ClusterFacts,
    drained: bool,
    stage: &Stage,
) -> Result<(), StepError> {
    let away: Vec<String> = stage
        .undo
        .left()
        .into_iter()
        .filter_map(|undo| match undo {
            Undo::Uncordon { node } => Some(node),
            _ => None,
        })
        .collect();
    guards::nodes(&stage.guards, &away, taken, facts)?;
    if drained && pods_matter(stage) {
        let facts = of_pods(stage).await?;
        guards::pods(&stage.guards, &guards::pods_on(taken, &facts), &facts, stage.namespace_is_ours)?;
    }
    Ok(())
}

/// Pods that are about to be deleted.
pub(super) async fn pods(taken: &[String], stage: &Stage) -> Result<(), StepError> {
    if !pods_matter(stage) {
        return Ok(());
    }
    let facts = of_pods(stage).await?;
    let pods: Vec<&PodFact> = facts.pods.iter().filter(|pod| taken.contains(&pod.name)).collect();
    Ok(guards::pods(&stage.guards, &pods, &facts, stage.namespace_is_ours)?)
}

/// Whether any guard is about pods: between two steps time counts, so nothing is asked in vain.
fn pods_matter(stage: &Stage) -> bool {
    let guards = &stage.guards;
    let last_replica = !stage.namespace_is_ours && !guards.allow_last_replica;
    guards.max_pods.is_some() || !guards.quorum.is_empty() || last_replica
}

/// The namespace's pods and workloads.
async fn of_pods(stage: &Stage) -> Result<ClusterFacts, StepError> {
    let doing = "look at the pods and workloads that the guards are about";
    let pods = Api::<Pod>::namespaced(stage.client.clone(), &stage.namespace);
    let workloads = async {
        let found = tokio::time::timeout(REQUEST_WITHIN, facts::workloads(&stage.client, &stage.namespace)).await;
        found.map_err(|_| ApiError::NoAnswer(REQUEST_WITHIN))?.map_err(|error| ApiError::Refused {
            code: 0,
            message: crate::failure::chain(&error),
            causes: Vec::new(),
            retry_after_s: 0,
        })
    };
    let all = async { try_join!(list_all(&pods, ListParams::default()), workloads) };
    let (pods, workloads) =
        stage.abort.or(all).await.map_err(StepError::aborted(doing))?.map_err(StepError::api(doing))?;
    Ok(ClusterFacts {
        namespace_exists: true,
        pods: pods.iter().map(pod_fact).collect(),
        workloads,
        ..ClusterFacts::default()
    })
}
