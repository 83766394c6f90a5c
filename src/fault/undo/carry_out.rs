//! Carries out one undo and sees that the state from before is back. It needs nothing but the cluster and the undo.
//!
//! It looks by polling: that needs no more right than to get, and goes on when the API server restarts. It knows no
//! abort: whatever ends a run, its undo is done.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::json;
use tokio::time::Instant;

use super::{KeptTemplate, Undo};
use crate::{
    cluster::apply,
    experiment::{schema::Labels, units::WorkloadRef},
    failure::chain,
    fault::{
        api::{ApiError, call, found},
        condition::{Condition, Look},
        node, target, workload,
    },
};

/// How long conflicts, overload and a server that restarts are put up with.
const RESTORE_WITHIN: Duration = Duration::from_secs(30);

/// How long the pods of a restored workload may take: some replicas, one after another, each with boot and preStop.
const SETTLE_WITHIN: Duration = Duration::from_secs(300);

/// How long a namespace or object may take to be gone: the longest grace period of its pods, and then some.
const REMOVE_WITHIN: Duration = Duration::from_secs(300);

/// The pause between looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The taint that goes with `spec.unschedulable`; a controller sets and removes it a little later.
const UNSCHEDULABLE_TAINT: &str = "node.kubernetes.io/unschedulable";

/// Why the state from before is not back.
#[derive(Debug, thiserror::Error)]
pub enum UndoError {
    /// A request failed in a way that asking again does not change.
    #[error("a request failed")]
    Api(#[source] ApiError),
    /// The time was up.
    #[error("not as before within {} s: {state}", .within.as_secs())]
    NotAsBefore {
        /// How long it was tried.
        within: Duration,
        /// How it stood at the end.
        state: String,
    },
}

/// Restores the state from before and verifies it; says what was seen. Doing it twice does no harm.
///
/// An object that is gone altogether leaves nothing to put back, and counts as restored.
pub async fn carry_out(client: &Client, undo: &Undo) -> Result<String, UndoError> {
    match undo {
        Undo::Uncordon { node } => repeat(RESTORE_WITHIN, async || set_node(client, node, false).await).await,
        Undo::Cordon { node } => repeat(RESTORE_WITHIN, async || set_node(client, node, true).await).await,
        Undo::RestoreTemplate { workload, namespace, template } => {
            let restore = async || restore_template(client, namespace, workload, template).await;
            restore_then_settle(client, namespace, workload, restore).await
        }
        Undo::RestoreReplicas { workload, namespace, replicas } => {
            let restore = async || restore_replicas(client, namespace, workload, *replicas).await;
            restore_then_settle(client, namespace, workload, restore).await
        }
        Undo::AwaitPods { namespace, selector, ready } => {
            repeat(SETTLE_WITHIN, async || see_ready(client, namespace, selector, *ready).await).await
        }
        Undo::RemoveObject { api_version, kind, plural, namespace, name } => {
            let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
            let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
            let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource);
            repeat(REMOVE_WITHIN, async || remove(&api, name).await).await
        }
        Undo::RemoveNamespace { name } => repeat(REMOVE_WITHIN, async || remove_namespace(client, name).await).await,
    }
}

/// Tries until the state from before is seen, or the time is up.
async fn repeat(within: Duration, attempt: impl AsyncFn() -> Result<Look, ApiError>) -> Result<String, UndoError> {
    let deadline = Instant::now() + within;
    let mut state = "the API server gave no answer".to_owned();
    loop {
        match tokio::time::timeout_at(deadline, attempt()).await {
            Ok(Ok(Look::Holds(seen))) => return Ok(seen),
            // What a rollout says of its deadline may still be about the template that has just been replaced.
            Ok(Ok(Look::NotYet(how) | Look::Never(how))) => state = how,
            Ok(Err(error)) if !error.is_transient() => return Err(UndoError::Api(error)),
            Ok(Err(error)) => state = chain(&error),
            Err(_) => {}
        }
        if Instant::now() + LOOK_EVERY >= deadline {
            return Err(UndoError::NotAsBefore { within, state });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn set_node(client: &Client, name: &str, cordoned: bool) -> Result<Look, ApiError> {
    let api = Api::<Node>::all(client.clone());
    let Some(mut now) = found(call(api.get(name)).await)? else {
        return Ok(Look::Holds("the node is gone".into()));
    };
    if node::is_unschedulable(&now) != cordoned {
        call(node::patch(&api, name, cordoned)).await?;
        now = call(api.get(name)).await?;
    }
    let taints = now.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    let tainted = taints.iter().any(|taint| taint.key == UNSCHEDULABLE_TAINT);
    Ok(match (node::is_unschedulable(&now) == cordoned, tainted && !cordoned) {
        (true, false) => Look::Holds(format!("node/{name} {}", if cordoned { "unschedulable" } else { "schedulable" })),
        (false, _) => Look::NotYet("something else sets spec.unschedulable back".into()),
        (true, true) => Look::NotYet(format!("it still has the taint {UNSCHEDULABLE_TAINT}")),
    })
}

/// First the object is as before, then its pods are.
async fn restore_then_settle(
    client: &Client,
    namespace: &str,
    workload: &WorkloadRef,
    restore: impl AsyncFn() -> Result<Look, ApiError>,
) -> Result<String, UndoError> {
    let restored = repeat(RESTORE_WITHIN, restore).await?;
    if restored == GONE {
        return Ok(restored);
    }
    let rolled_out = Condition::RolledOut(workload.clone());
    repeat(SETTLE_WITHIN, async || rolled_out.look(client, namespace).await).await
}

/// What is said of a workload that is gone.
const GONE: &str = "the workload is gone";

async fn restore_template(
    client: &Client,
    namespace: &str,
    workload: &WorkloadRef,
    before: &KeptTemplate,
) -> Result<Look, ApiError> {
    let api = workload::api(client, namespace, workload);
    let Some(now) = found(call(api.get(&workload.name)).await)? else { return Ok(Look::Holds(GONE.into())) };
    let is_before = |now: &DynamicObject| now.data.pointer("/spec/template").is_some_and(|now| before.is(now));
    if is_before(&now) {
        return Ok(Look::Holds("its template is as before".into()));
    }
    let Some(whole) = before.whole(client, namespace, workload, &now).await? else {
        return Ok(Look::NotYet("none of its revisions has the template of before any more".into()));
    };
    // Replaced as a whole: a merge would keep what was added.
    let patch = json!([{"op": "replace", "path": "/spec/template", "value": whole}]);
    let url = format!("{}/{}", api.resource_url(), workload.name);
    let request = hyper::Request::patch(url)
        .header("content-type", "application/json-patch+json")
        .body(patch.to_string().into_bytes())
        .map_err(|error| ApiError::from(kube::Error::HttpError(error)))?;
    call(client.request_text(request)).await?;
    let after = call(api.get(&workload.name)).await?;
    Ok(if is_before(&after) {
        Look::Holds("its template is as before".into())
    } else {
        Look::NotYet("its template differs from before; something else changes it".into())
    })
}

async fn restore_replicas(
    client: &Client,
    namespace: &str,
    workload: &WorkloadRef,
    before: i64,
) -> Result<Look, ApiError> {
    let api = workload::api(client, namespace, workload);
    let Some(mut now) = found(call(api.get(&workload.name)).await)? else { return Ok(Look::Holds(GONE.into())) };
    if workload::number(&now, "/spec/replicas") != before {
        let patch = Patch::Merge(json!({"spec": {"replicas": before}}));
        call(api.patch_scale(&workload.name, &PatchParams::default(), &patch)).await?;
        now = call(api.get(&workload.name)).await?;
    }
    let replicas = workload::number(&now, "/spec/replicas");
    Ok(if replicas == before {
        Look::Holds(format!("it has {before} replicas as before"))
    } else {
        Look::NotYet(format!("it has {replicas} replicas and had {before}; something else scales it"))
    })
}

async fn see_ready(client: &Client, namespace: &str, labels: &Labels, before: u32) -> Result<Look, ApiError> {
    let ready = target::count_ready(client, namespace, labels).await?;
    Ok(if ready >= before {
        Look::Holds(format!("{ready} of them are ready"))
    } else {
        Look::NotYet(format!("{ready} of them are ready, and {before} were"))
    })
}

async fn remove_namespace(client: &Client, name: &str) -> Result<Look, ApiError> {
    let api = Api::<Namespace>::all(client.clone());
    let Some(now) = found(call(api.get(name)).await)? else { return Ok(Look::Holds("gone".into())) };
    if !apply::is_ours(&now) {
        // It was there before us, or somebody has made it anew: either way it is as if we had not been.
        return Ok(Look::Holds("left alone, since evenkeel did not make it".into()));
    }
    if now.metadata.deletion_timestamp.is_none() {
        // One that was removed and made again meanwhile is somebody else's.
        let preconditions = Some(Preconditions { uid: now.metadata.uid.clone(), resource_version: None });
        found(call(api.delete(name, &DeleteParams { preconditions, ..DeleteParams::default() })).await)?;
        apply::clear_out(client, name).await;
    }
    let words = apply::what_remains(&now);
    Ok(Look::NotYet(if words.is_empty() { "it is still being removed".into() } else { words.join(", ") }))
}

async fn remove<K>(api: &Api<K>, name: &str) -> Result<Look, ApiError>
where
    K: kube::Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let Some(now) = found(call(api.get(name)).await)? else { return Ok(Look::Holds("gone".into())) };
    let (label, ours) = apply::MANAGED_BY;
    if now.labels().get(label).is_none_or(|by| by != ours) {
        return Ok(Look::Holds("left alone, since evenkeel did not make it".into()));
    }
    if now.meta().deletion_timestamp.is_none() {
        // Its pods go before it, so that none is left when it is gone.
        found(call(api.delete(name, &DeleteParams::foreground())).await)?;
    }
    Ok(Look::NotYet("it is still being removed; look at its finalizers and pods".into()))
}
