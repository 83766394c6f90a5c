//! A namespace of ours: made with our label, and by it known as ours to remove.

use std::{collections::BTreeMap, time::Duration};

use futures::StreamExt;
use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet},
    core::v1::{Namespace, Pod, ServiceAccount},
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, ObjectMeta, PostParams},
    runtime::watcher::watch_object,
};
use tokio::time::timeout;

use super::{ApplyError, FIELD_MANAGER, MANAGED_BY};
use crate::cluster::error::{ApiFailure, answer};

/// How long a new namespace may wait for its default `ServiceAccount`, without which no pod can be created in it.
const SERVICE_ACCOUNT_WITHIN: Duration = Duration::from_secs(20);

/// How long clearing a namespace out may take before it is left to the namespace controller.
const CLEAR_OUT_WITHIN: Duration = Duration::from_secs(20);

/// The pause between two looks at its pods; each look is one small list.
const CLEAR_OUT_EVERY: Duration = Duration::from_millis(500);

/// Creates a namespace with the label [`MANAGED_BY`], and waits until pods can be created in it.
///
/// # Errors
/// [`ApplyError::AlreadyExists`] where it is there already; the server's words for anything else.
pub async fn create_namespace(client: &Client, name: &str) -> Result<(), ApplyError> {
    let (label, ours) = MANAGED_BY;
    let labels = BTreeMap::from([(label.to_owned(), ours.to_owned())]);
    let namespace = Namespace {
        metadata: ObjectMeta { name: Some(name.to_owned()), labels: Some(labels), ..ObjectMeta::default() },
        ..Namespace::default()
    };
    let parameters = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    let namespaces: Api<Namespace> = Api::all(client.clone());
    match answer(namespaces.create(&parameters, &namespace)).await {
        Ok(_) => {
            default_account(client, name).await;
            Ok(())
        }
        Err(ApiFailure { code: Some(409), .. }) => Err(ApplyError::AlreadyExists { name: name.to_owned() }),
        Err(source) => Err(ApplyError::request(format!("create namespace {name}"), source)),
    }
}

/// Waits for the default `ServiceAccount`. That it does not come is no error here: a pod that needs it will say so,
/// and a client that may not see it need not.
async fn default_account(client: &Client, namespace: &str) {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let mut seen = std::pin::pin!(watch_object(accounts, "default"));
    let exists = async {
        while let Some(Ok(account)) = seen.next().await {
            if account.is_some() {
                return;
            }
        }
    };
    if timeout(SERVICE_ACCOUNT_WITHIN, exists).await.is_err() {
        tracing::debug!(namespace, "the default ServiceAccount has not come");
    }
}

/// Whether a namespace was made by evenkeel, and so may be removed by it.
#[must_use]
pub fn is_ours(namespace: &Namespace) -> bool {
    let labels = namespace.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(MANAGED_BY.0)).is_some_and(|manager| manager == MANAGED_BY.1)
}

/// Ends the workloads of a namespace that has been deleted, and then its pods, without their grace periods: the load is
/// over, so nobody is served by waiting. The namespace controller begins 5 s after the deletion, gives each pod its
/// grace, and looks again only half a grace period later (`k/pkg/controller/namespace`); what is gone by then costs
/// nothing. It saves time and nothing else: whatever fails here is left to that controller.
pub async fn clear_out(client: &Client, name: &str) {
    if timeout(CLEAR_OUT_WITHIN, end_pods(client, name)).await.is_err() {
        tracing::debug!(namespace = name, "its pods did not go in time; the removal of the namespace takes them");
    }
}

async fn end_pods(client: &Client, name: &str) {
    let (background, all) = (DeleteParams::background(), ListParams::default());
    let (deployments, sets): (Api<Deployment>, Api<StatefulSet>) =
        (Api::namespaced(client.clone(), name), Api::namespaced(client.clone(), name));
    let (daemons, replicas): (Api<DaemonSet>, Api<ReplicaSet>) =
        (Api::namespaced(client.clone(), name), Api::namespaced(client.clone(), name));
    let ended = futures::try_join!(
        deployments.delete_collection(&background, &all),
        sets.delete_collection(&background, &all),
        daemons.delete_collection(&background, &all),
    );
    let ended = match ended {
        Ok(_) => replicas.delete_collection(&background, &all).await.map(|_| ()),
        Err(error) => Err(error),
    };
    let pods: Api<Pod> = Api::namespaced(client.clone(), name);
    let at_once = DeleteParams { grace_period_seconds: Some(1), ..DeleteParams::background() };
    let mut look_again = tokio::time::interval(CLEAR_OUT_EVERY);
    let cleared = async {
        ended?;
        loop {
            look_again.tick().await;
            if pods.list_metadata(&all).await?.items.is_empty() {
                return Ok::<_, kube::Error>(());
            }
            pods.delete_collection(&at_once, &all).await?;
        }
    };
    if let Err(error) = cleared.await {
        tracing::debug!(namespace = name, %error, "its pods keep their grace periods");
    }
}

/// The conditions of a namespace that is being removed, where they say that something remains or failed
/// (`k/pkg/controller/namespace/deletion/status_condition_utils.go`).
#[must_use]
pub fn what_remains(namespace: &Namespace) -> Vec<String> {
    let conditions = namespace.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .filter(|condition| condition.status == "True")
        .filter_map(|condition| condition.message.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_that_stays_says_what_keeps_it() {
        let namespace: Namespace = serde_json::from_value(serde_json::json!({
            "status": {"phase": "Terminating", "conditions": [
                {"type": "NamespaceDeletionDiscoveryFailure", "status": "False", "message": "All resources discovered"},
                {"type": "NamespaceContentRemaining", "status": "True",
                 "message": "Some resources are remaining: pods. has 1 resource instances"},
            ]}
        }))
        .unwrap();
        let words = what_remains(&namespace);
        assert_eq!(words, ["Some resources are remaining: pods. has 1 resource instances"]);
    }
}
