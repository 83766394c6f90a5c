//! Waits until workloads are rolled out by kubectl's rule; where they do not get there, says why.

use std::{fmt::Debug, pin::pin, time::Duration};

use futures::{StreamExt, future::try_join_all};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::{DaemonSet, Deployment, StatefulSet},
        core::v1::{Event, Pod},
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::{
    Api, Client, Resource,
    api::ListParams,
    runtime::{WatchStreamExt, watcher::watch_object},
};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::{
    error::{ApiFailure, answer},
    facts::selector_of,
    retry::Retry,
    rollout::{self, Rollout},
    why,
};
use crate::experiment::units::{WorkloadKind, WorkloadRef};

/// Workloads that did not get ready, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not ready in namespace {namespace} {after}:\n  {}\nlook with kubectl describe pods --namespace {namespace}",
    why.join("\n  ")
)]
pub struct NotReady {
    /// The namespace.
    pub namespace: String,
    /// When it was given up, such as `after 120 s`.
    pub after: String,
    /// One line for each workload that is not ready, followed by one for each of its pods, indented by two blanks.
    pub why: Vec<String>,
}

/// The reason of the early end of a wait: a workload that will not get there by itself.
struct Stuck;

/// Waits until all these workloads are rolled out, by the rule of `kubectl rollout status`; a workload that does not
/// exist is waited for too.
///
/// # Errors
/// When the time is over, or earlier when a Deployment is past its own progress deadline.
pub async fn wait_ready(
    client: &Client,
    namespace: &str,
    workloads: &[WorkloadRef],
    within: Duration,
) -> Result<(), NotReady> {
    let all = try_join_all(workloads.iter().map(|workload| ready(client, namespace, workload)));
    let after = match timeout(within, all).await {
        Ok(Ok(_)) => return Ok(()),
        Ok(Err(Stuck)) => "and its progress deadline is over".to_owned(),
        Err(_) => format!("after {} s", within.as_secs_f64()),
    };
    let mut lines = Vec::new();
    for workload in workloads {
        lines.extend(explain(client, namespace, workload).await);
    }
    Err(NotReady { namespace: namespace.to_owned(), after, why: lines })
}

async fn ready(client: &Client, namespace: &str, workload: &WorkloadRef) -> Result<(), Stuck> {
    let name = &workload.name;
    match workload.kind {
        WorkloadKind::Deployment => rolled_out(client, namespace, name, rollout::of_deployment).await,
        WorkloadKind::StatefulSet => rolled_out(client, namespace, name, rollout::of_stateful_set).await,
        WorkloadKind::DaemonSet => rolled_out(client, namespace, name, rollout::of_daemon_set).await,
    }
}

/// Watches one object until the rule says that it is rolled out. A watch that breaks is taken up again: the caller
/// bounds the time.
async fn rolled_out<K>(client: &Client, namespace: &str, name: &str, rule: fn(&K) -> Rollout) -> Result<(), Stuck>
where
    K: Resource<Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + 'static,
    K::DynamicType: Default,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let mut seen = pin!(watch_object(api, name).backoff(Retry));
    while let Some(object) = seen.next().await {
        match object {
            Ok(Some(object)) => match rule(&object) {
                Rollout::Done => return Ok(()),
                Rollout::Stuck(_) => return Err(Stuck),
                Rollout::Waiting(what) => tracing::debug!(name, what, "not ready yet"),
            },
            Ok(None) => tracing::debug!(name, "does not exist yet"),
            Err(error) => tracing::debug!(name, %error, "the watch broke"),
        }
    }
    Err(Stuck)
}

/// How a workload stands, and the selector of its pods; nothing where it does not exist.
async fn standing(
    client: &Client,
    namespace: &str,
    workload: &WorkloadRef,
) -> Result<Option<(Rollout, LabelSelector)>, ApiFailure> {
    let name = &workload.name;
    Ok(match workload.kind {
        WorkloadKind::Deployment => {
            let api: Api<Deployment> = Api::namespaced(client.clone(), namespace);
            let found = answer(api.get_opt(name)).await?;
            found.map(|it| (rollout::of_deployment(&it), it.spec.unwrap_or_default().selector))
        }
        WorkloadKind::StatefulSet => {
            let api: Api<StatefulSet> = Api::namespaced(client.clone(), namespace);
            let found = answer(api.get_opt(name)).await?;
            found.map(|it| (rollout::of_stateful_set(&it), it.spec.unwrap_or_default().selector))
        }
        WorkloadKind::DaemonSet => {
            let api: Api<DaemonSet> = Api::namespaced(client.clone(), namespace);
            let found = answer(api.get_opt(name)).await?;
            found.map(|it| (rollout::of_daemon_set(&it), it.spec.unwrap_or_default().selector))
        }
    })
}

/// Lines that say why a workload is not rolled out; none where it is.
async fn explain(client: &Client, namespace: &str, workload: &WorkloadRef) -> Vec<String> {
    let (words, selector) = match standing(client, namespace, workload).await {
        Ok(Some((Rollout::Done, _))) => return Vec::new(),
        Ok(Some((Rollout::Waiting(words) | Rollout::Stuck(words), selector))) => (words, selector),
        Ok(None) => return vec![format!("{workload} does not exist")],
        Err(failure) => return vec![format!("{workload}: the cluster cannot be asked: {failure}")],
    };
    let mut lines = vec![format!("{workload}: {words}")];
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let events: Api<Event> = Api::namespaced(client.clone(), namespace);
    let everything = ListParams::default();
    let (pods, events) = futures::join!(answer(pods.list(&everything)), answer(events.list(&everything)));
    match pods {
        Ok(mut pods) => {
            let selector = selector_of(&selector);
            let none = std::collections::BTreeMap::new();
            pods.items.retain(|pod| selector.matches(pod.metadata.labels.as_ref().unwrap_or(&none)));
            let events = events.map(|list| list.items).unwrap_or_default();
            lines.extend(why::of_workload(workload, &pods.items, &events).into_iter().map(|line| format!("  {line}")));
        }
        Err(failure) => lines.push(format!("  its pods cannot be listed: {failure}")),
    }
    lines
}
