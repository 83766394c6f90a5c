//! An agent's pod in the cluster: created, waited for by a watch, removed and seen to be gone. It is removed also when
//! the harness drops it half-way.

use std::time::Duration;

use futures::{Stream, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams, Preconditions},
    runtime::{WatchStreamExt, watcher},
};
use tokio::time::Instant;

use super::{
    client::Place,
    error::AgentError,
    pod::{self, Progress},
    transport::chain,
};

/// How long a pod may take to be ready: its image is on the node or small, and it starts at once.
const READY_WITHIN: Duration = Duration::from_secs(90);
/// How long no node may take it; pods that are being removed free their room in that time.
const SCHEDULED_WITHIN: Duration = Duration::from_secs(15);
/// How long the default `ServiceAccount` of a new namespace may take to be there.
const ACCOUNT_WITHIN: Duration = Duration::from_secs(10);
/// How long removing may take, over an API server that is away for a while.
const REMOVED_WITHIN: Duration = Duration::from_secs(60);
/// Between a request that failed and its repetition; nothing tells when it would succeed.
const RETRY_EVERY: Duration = Duration::from_millis(200);
/// How long one request may take.
const CALL_WITHIN: Duration = Duration::from_secs(10);
/// Between SIGTERM and SIGKILL when it is removed, in seconds: its messages have been fetched.
const REMOVAL_GRACE_S: u32 = 1;

/// A pod of the cluster that is ours to remove.
pub(super) struct StandingPod {
    api: Api<Pod>,
    namespace: String,
    name: String,
    image: String,
    node: String,
    uid: Option<String>,
    removed: bool,
}

impl StandingPod {
    /// Creates the pod. From here on, it is removed when this value is dropped.
    pub(super) async fn create(client: Client, namespace: &str, place: &Place) -> Result<Self, AgentError> {
        let Place { name, node, image, .. } = place;
        let mut standing = Self {
            api: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
            name: name.clone(),
            image: image.clone(),
            node: node.clone(),
            uid: None,
            removed: false,
        };
        let manifest = pod::manifest(namespace, &standing.name, node, image);
        let give_up = Instant::now() + ACCOUNT_WITHIN;
        let created = loop {
            match standing.api.create(&PostParams::default(), &manifest).await {
                Err(error) if lacks_account(&error) && Instant::now() < give_up => {
                    tokio::time::sleep(RETRY_EVERY).await;
                }
                other => break other,
            }
        };
        match created {
            Ok(pod) => {
                standing.uid = pod.metadata.uid;
                Ok(standing)
            }
            Err(error) => {
                // The server said no; otherwise the pod may be there, although the answer is not.
                standing.removed = matches!(error, kube::Error::Api(_));
                let hint = create_hint(&error, namespace);
                Err(AgentError::Create { pod: standing.full_name(), hint, source: Box::new(error) })
            }
        }
    }

    /// The pod's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// `namespace/name`, for people.
    pub(super) fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// Waits until the pod is ready, or cannot get ready.
    pub(super) async fn ready(&self) -> Result<(), AgentError> {
        let mut seen = Box::pin(self.watch());
        let mut last = "it was not seen".to_owned();
        let mut give_up = Instant::now() + READY_WITHIN;
        let mut unschedulable = false;
        loop {
            let Ok(next) = tokio::time::timeout_at(give_up, seen.try_next()).await else {
                return Err(if unschedulable {
                    AgentError::CannotStart { pod: self.full_name(), why: last }
                } else {
                    AgentError::NotReady { pod: self.full_name(), within: READY_WITHIN, last }
                });
            };
            match next {
                Ok(Some(Some(pod))) => match pod::progress(&pod, &self.node, &self.image) {
                    Progress::Ready => return Ok(()),
                    Progress::Failed(why) => return Err(AgentError::CannotStart { pod: self.full_name(), why }),
                    Progress::Waiting(why) => {
                        if std::mem::take(&mut unschedulable) {
                            give_up = Instant::now() + READY_WITHIN;
                        }
                        last = why;
                    }
                    Progress::Unschedulable(why) => {
                        if !std::mem::replace(&mut unschedulable, true) {
                            give_up = give_up.min(Instant::now() + SCHEDULED_WITHIN);
                        }
                        last = why;
                    }
                },
                Ok(Some(None)) => "it is gone".clone_into(&mut last),
                Ok(None) => {
                    let why = "its watch ended".to_owned();
                    return Err(AgentError::Talk { pod: self.full_name(), why });
                }
                // The watch goes on after its backoff.
                Err(error) => last = format!("watching it failed: {}", chain(&error)),
            }
        }
    }

    /// Removes the pod and waits until it is gone.
    pub(super) async fn remove(mut self) -> Result<(), AgentError> {
        let removed = tokio::time::timeout(REMOVED_WITHIN, async {
            self.delete().await;
            let mut seen = Box::pin(self.watch());
            loop {
                match seen.try_next().await {
                    Ok(Some(None)) => return,
                    Ok(Some(Some(pod))) if self.uid.is_some() && pod.metadata.uid != self.uid => return,
                    Ok(_) => {}
                    Err(error) => tracing::debug!(error = chain(&error), "watching the agent pod failed"),
                }
            }
        })
        .await;
        match removed {
            Ok(()) => {
                self.removed = true;
                Ok(())
            }
            Err(_) => Err(AgentError::NotRemoved {
                pod: self.full_name(),
                why: format!("it is still there after {REMOVED_WITHIN:?}"),
            }),
        }
    }

    /// Asks for the pod's removal until the server has agreed or the pod is gone. The caller bounds it.
    async fn delete(&self) {
        let parameters = DeleteParams {
            grace_period_seconds: Some(REMOVAL_GRACE_S),
            preconditions: Some(Preconditions { uid: self.uid.clone(), resource_version: None }),
            ..DeleteParams::default()
        };
        loop {
            match tokio::time::timeout(CALL_WITHIN, self.api.delete(&self.name, &parameters)).await {
                Ok(Ok(_)) => return,
                // Gone (404), or another pod of that name (409).
                Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => return,
                Ok(Err(error)) => tracing::debug!(error = chain(&error), "removing the agent pod failed"),
                Err(_) => tracing::debug!("removing the agent pod took too long"),
            }
            tokio::time::sleep(RETRY_EVERY).await;
        }
    }

    fn watch(&self) -> impl Stream<Item = watcher::Result<Option<Pod>>> + Send + use<> {
        watcher::watch_object(self.api.clone(), &self.name).default_backoff()
    }
}

impl Drop for StandingPod {
    fn drop(&mut self) {
        if self.removed {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let again = Self {
            api: self.api.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            image: self.image.clone(),
            node: self.node.clone(),
            uid: self.uid.clone(),
            // It tries once, and doesn't start itself again.
            removed: true,
        };
        // As far as the process still gets; an agent that nobody listens to ends by itself anyway.
        runtime.spawn(async move { drop(tokio::time::timeout(REMOVED_WITHIN, again.delete()).await) });
    }
}

/// A namespace that is so new that its default `ServiceAccount` isn't there yet.
fn lacks_account(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status)
        if status.code == 403 && status.message.contains("error looking up service account"))
}

fn create_hint(error: &kube::Error, namespace: &str) -> String {
    let kube::Error::Api(status) = error else {
        return "the API server could not be asked; is it up?".to_owned();
    };
    if status.message.contains("violates PodSecurity") {
        return format!(
            "Pod Security in namespace {namespace} refuses it, although it keeps to the restricted profile"
        );
    }
    if status.message.contains("exceeded quota") {
        return format!("a ResourceQuota of namespace {namespace} has no room for it; raise it");
    }
    match status.code {
        403 => format!("the API server forbids it; give the kubeconfig's user the right to create pods in {namespace}"),
        404 => format!("is there a namespace {namespace}?"),
        _ => "the API server refused it".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_of_the_pod_says_what_to_try() {
        let table = [
            (
                403,
                r#"pods "a" is forbidden: violates PodSecurity "x:latest""#,
                "although it keeps to the restricted profile",
            ),
            (403, r#"pods "a" is forbidden: exceeded quota: q"#, "a ResourceQuota of namespace shop has no room"),
            (403, r#"pods is forbidden: User "u" cannot create"#, "the right to create pods in shop"),
            (404, r#"namespaces "shop" not found"#, "is there a namespace shop?"),
            (500, "admission webhook broke", "the API server refused it"),
        ];
        for (code, message, expected) in table {
            let error = kube::Error::Api(kube::core::Status::failure(message, "").with_code(code).boxed());
            let hint = create_hint(&error, "shop");
            assert!(hint.contains(expected), "{message}: {hint}");
            assert!(!lacks_account(&error));
        }
        let message = r#"pods "a" is forbidden: error looking up service account shop/default: not found"#;
        assert!(lacks_account(&kube::Error::Api(kube::core::Status::failure(message, "").with_code(403).boxed())));
    }
}
