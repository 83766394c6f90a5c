//! What a step acts on, picked from the cluster as it is when the step begins.

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{Api, Client, Resource, ResourceExt, api::ListParams};
use serde::de::DeserializeOwned;

use super::{
    api::{self, ApiError},
    error::StepError,
    stage::Stage,
};
use crate::{
    cluster::facts::{node_fact, pod_fact},
    experiment::schema::{Labels, NodePick},
    model::selector::LabelSelector,
    plan::{ClusterFacts, Picked, PickedPod, pick_nodes, pick_pods},
};

/// kubectl's chunk (`--chunk-size`): large lists do not hold the server up.
const LIST_CHUNK: u32 = 500;

/// A bound for lists: 200 chunks are 100,000 objects, Kubernetes' own limit is 150,000 pods.
const LIST_CHUNKS: usize = 200;

/// All objects of a list, fetched in chunks.
pub(super) async fn list_all<K>(api: &Api<K>, params: ListParams) -> Result<Vec<K>, ApiError>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug,
{
    let mut params = params.limit(LIST_CHUNK);
    let mut all = Vec::new();
    for _ in 0..LIST_CHUNKS {
        let page = api::call(api.list(&params)).await?;
        all.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => break,
        }
    }
    Ok(all)
}

/// The nodes that a step acts on, from fresh facts, and these.
pub(super) async fn nodes(pick: &NodePick, stage: &Stage) -> Result<(Vec<Picked>, ClusterFacts), StepError> {
    let facts = facts(stage, pick.with_pods.is_some()).await?;
    Ok((pick_nodes(pick, &facts)?, facts))
}

/// The pods that a step acts on, from fresh facts.
pub(super) async fn pods(labels: &Labels, count: u32, stage: &Stage) -> Result<Vec<PickedPod>, StepError> {
    Ok(pick_pods(labels, count, &facts(stage, true).await?)?)
}

/// How many pods with these labels are ready, and not on their way out.
pub(super) async fn ready_with(labels: &Labels, stage: &Stage) -> Result<u32, StepError> {
    let doing = "count the pods that are ready";
    let count = count_ready(&stage.client, &stage.namespace, labels);
    stage.abort.or(count).await.map_err(StepError::aborted(doing))?.map_err(StepError::api(doing))
}

/// How many pods of a namespace with these labels are ready, and not on their way out.
pub(super) async fn count_ready(client: &Client, namespace: &str, labels: &Labels) -> Result<u32, ApiError> {
    let api = Api::<Pod>::namespaced(client.clone(), namespace);
    let pods = list_all(&api, ListParams::default().labels(&LabelSelector::of_labels(labels).to_string())).await?;
    let ready = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none() && is_ready(pod)).count();
    Ok(u32::try_from(ready).unwrap_or(u32::MAX))
}

/// Nodes and pods as picking sees them. Smaller than `cluster::facts`, which lists eight kinds: between two steps
/// time counts, and a pick needs no more.
async fn facts(stage: &Stage, with_pods: bool) -> Result<ClusterFacts, StepError> {
    let doing = "list nodes and pods to pick from";
    let gather = async {
        let nodes = list_all(&Api::<Node>::all(stage.client.clone()), ListParams::default()).await?;
        let pods = if with_pods {
            list_all(&Api::<Pod>::namespaced(stage.client.clone(), &stage.namespace), ListParams::default()).await?
        } else {
            Vec::new()
        };
        Ok::<_, ApiError>((nodes, pods))
    };
    let (nodes, pods) =
        stage.abort.or(gather).await.map_err(StepError::aborted(doing))?.map_err(StepError::api(doing))?;
    Ok(ClusterFacts {
        nodes: nodes.iter().map(node_fact).collect(),
        namespace_exists: true,
        pods: pods.iter().map(pod_fact).collect(),
        ..ClusterFacts::default()
    })
}

/// A pod's phase; empty where it has none yet.
pub(super) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// A pod whose containers have all ended for good.
pub(super) fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Condition Ready is True.
pub(super) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|one| one.type_ == "Ready" && one.status == "True")
}

/// The owner that is marked as the controller, as kind and name.
pub(super) fn controller(pod: &Pod) -> Option<(&str, &str)> {
    pod.owner_references()
        .iter()
        .find(|owner| owner.controller.unwrap_or_default())
        .map(|owner| (owner.kind.as_str(), owner.name.as_str()))
}
