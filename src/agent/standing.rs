//! The agents' Job in the cluster: created, its pods waited for by a watch, removed and seen to be gone with them. It
//! is removed also when the harness drops it half-way.

use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

use futures::{Stream, TryStreamExt};
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{Event, Pod},
};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams, Preconditions},
    runtime::{WatchStreamExt, watcher},
};
use tokio::time::Instant;

use super::{
    client::Place,
    error::AgentError,
    job,
    pod::{self, Progress},
    transport::chain,
};

/// How long the pods may take to be ready: their image is on the nodes or small, and they start at once.
const READY_WITHIN: Duration = Duration::from_secs(90);
/// How long no node may take one; pods that are being removed free their room in that time.
const SCHEDULED_WITHIN: Duration = Duration::from_secs(15);
/// How long removing may take, over an API server that is away for a while.
const REMOVED_WITHIN: Duration = Duration::from_secs(60);
/// Between a request that failed and its repetition; nothing tells when it would succeed.
const RETRY_EVERY: Duration = Duration::from_millis(200);
/// How long one request may take.
const CALL_WITHIN: Duration = Duration::from_secs(10);

/// A Job of the cluster that is ours to remove.
pub(super) struct StandingJob {
    client: Client,
    namespace: String,
    name: String,
    agents: NonZeroU32,
    image: String,
    uid: Option<String>,
    removed: bool,
}

/// The Job's pods by their index, as they are being watched.
#[derive(Debug, Default)]
struct Pods(BTreeMap<u32, Pod>);

impl Pods {
    fn take(&mut self, event: watcher::Event<Pod>) {
        match event {
            watcher::Event::Init => self.0.clear(),
            watcher::Event::Apply(pod) | watcher::Event::InitApply(pod) => {
                if let Some(index) = job::index(&pod) {
                    self.0.insert(index, pod);
                }
            }
            watcher::Event::Delete(pod) => self.0.retain(|_, known| known.metadata.uid != pod.metadata.uid),
            watcher::Event::InitDone => {}
        }
    }
}

impl StandingJob {
    /// Creates the Job. From here on, it is removed when this value is dropped.
    pub(super) async fn create(client: Client, namespace: &str, place: &Place) -> Result<Self, AgentError> {
        let Place { name, agents, nodes, image, .. } = place;
        let mut standing = Self {
            client,
            namespace: namespace.to_owned(),
            name: name.clone(),
            agents: *agents,
            image: image.clone(),
            uid: None,
            removed: false,
        };
        let manifest = job::manifest(namespace, name, *agents, nodes, image);
        match standing.jobs().create(&PostParams::default(), &manifest).await {
            Ok(job) => {
                standing.uid = job.metadata.uid;
                Ok(standing)
            }
            Err(error) => {
                // The server said no; otherwise the Job may be there, although the answer is not.
                standing.removed = matches!(error, kube::Error::Api(_));
                let hint = match &error {
                    kube::Error::Api(status) => refusal_hint(status.code, &status.message, namespace),
                    _ => "the API server could not be asked; is it up?".to_owned(),
                };
                Err(AgentError::Create { job: standing.full_name(), hint, source: Box::new(error) })
            }
        }
    }

    fn jobs(&self) -> Api<Job> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// `namespace/name`, for people.
    fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// Waits until all pods are ready, or one cannot get ready; gives their names by their index.
    pub(super) async fn ready(&self) -> Result<Vec<String>, AgentError> {
        let cannot = |why: String| AgentError::CannotStart { job: self.full_name(), why };
        let (mut seen, mut refused) = (Box::pin(self.watch_pods()), Box::pin(self.watch_refusals()));
        let mut pods = Pods::default();
        let mut last = "they were not seen".to_owned();
        let mut give_up = Instant::now() + READY_WITHIN;
        let mut unschedulable = false;
        loop {
            let next = tokio::select! {
                next = tokio::time::timeout_at(give_up, seen.try_next()) => next,
                Ok(Some(event)) = refused.try_next() => {
                    let message = event.message.unwrap_or_default();
                    // A namespace that is so new that its default ServiceAccount isn't there yet; the Job tries again.
                    if message.contains("error looking up service account") {
                        last = message;
                        continue;
                    }
                    let hint = refusal_hint(0, &message, &self.namespace);
                    return Err(cannot(format!("{hint}: {message}")));
                }
            };
            let Ok(next) = next else {
                return Err(if unschedulable {
                    cannot(last)
                } else {
                    AgentError::NotReady { job: self.full_name(), within: READY_WITHIN, last }
                });
            };
            match next {
                Ok(Some(event)) => pods.take(event),
                Ok(None) => return Err(cannot("the watch of its pods ended".to_owned())),
                Err(error) => {
                    // The watch goes on after its backoff.
                    last = format!("watching them failed: {}", chain(&error));
                    continue;
                }
            }
            match job::progress(&pods.0, self.agents, &self.image) {
                Progress::Ready => return Ok(pods.0.into_values().filter_map(|pod| pod.metadata.name).collect()),
                Progress::Failed(why) => return Err(cannot(why)),
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
            }
        }
    }

    fn watch_pods(&self) -> impl Stream<Item = watcher::Result<watcher::Event<Pod>>> + Send + use<> {
        let ours = watcher::Config::default().labels(&pod::selector(&self.name));
        watcher(Api::namespaced(self.client.clone(), &self.namespace), ours).default_backoff()
    }

    /// What the Job's controller says of pods that it was not allowed to make.
    fn watch_refusals(&self) -> impl Stream<Item = watcher::Result<Event>> + Send + use<> {
        let fields = format!("involvedObject.kind=Job,involvedObject.name={},reason=FailedCreate", self.name);
        let ours = watcher::Config::default().fields(&fields);
        watcher(Api::namespaced(self.client.clone(), &self.namespace), ours).default_backoff().applied_objects()
    }

    /// Removes the Job and waits until it is gone, and its pods before it.
    pub(super) async fn remove(mut self) -> Result<(), AgentError> {
        let removed = tokio::time::timeout(REMOVED_WITHIN, async {
            self.delete().await;
            let mut seen = Box::pin(watcher::watch_object(self.jobs(), &self.name).default_backoff());
            loop {
                match seen.try_next().await {
                    Ok(Some(None)) => return,
                    Ok(Some(Some(job))) if self.uid.is_some() && job.metadata.uid != self.uid => return,
                    Ok(_) => {}
                    Err(error) => tracing::debug!(error = chain(&error), "watching the agents' job failed"),
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
                job: self.full_name(),
                why: format!("it is still there after {REMOVED_WITHIN:?}"),
            }),
        }
    }

    /// Asks for the removal of the Job after its pods, until the server has agreed or the Job is gone. The caller
    /// bounds it.
    async fn delete(&self) {
        let parameters = DeleteParams {
            preconditions: Some(Preconditions { uid: self.uid.clone(), resource_version: None }),
            ..DeleteParams::foreground()
        };
        let jobs = self.jobs();
        loop {
            match tokio::time::timeout(CALL_WITHIN, jobs.delete(&self.name, &parameters)).await {
                Ok(Ok(_)) => return,
                // Gone (404), or another Job of that name (409).
                Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => return,
                Ok(Err(error)) => tracing::debug!(error = chain(&error), "removing the agents' job failed"),
                Err(_) => tracing::debug!("removing the agents' job took too long"),
            }
            tokio::time::sleep(RETRY_EVERY).await;
        }
    }
}

impl Drop for StandingJob {
    fn drop(&mut self) {
        if self.removed {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let again = Self {
            client: self.client.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            agents: self.agents,
            image: self.image.clone(),
            uid: self.uid.clone(),
            // It tries once, and doesn't start itself again.
            removed: true,
        };
        // As far as the process still gets; an agent that nobody listens to ends by itself anyway.
        runtime.spawn(async move { drop(tokio::time::timeout(REMOVED_WITHIN, again.delete()).await) });
    }
}

/// What to try where the API server refuses the Job, or one of its pods (without a code then).
fn refusal_hint(code: u16, message: &str, namespace: &str) -> String {
    if message.contains("violates PodSecurity") {
        return format!(
            "Pod Security in namespace {namespace} refuses it, although it keeps to the restricted profile"
        );
    }
    if message.contains("exceeded quota") {
        return format!("a ResourceQuota of namespace {namespace} has no room for it; raise it");
    }
    match code {
        403 => format!("the API server forbids it; give the kubeconfig's user the right to create jobs in {namespace}"),
        404 => format!("is there a namespace {namespace}?"),
        _ => "the API server refused it".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_says_what_to_try() {
        let table = [
            (
                403,
                r#"pods "a" is forbidden: violates PodSecurity "x:latest""#,
                "although it keeps to the restricted profile",
            ),
            (0, r#"Error creating: pods "a" is forbidden: exceeded quota: q"#, "a ResourceQuota of namespace shop"),
            (403, r#"jobs.batch is forbidden: User "u" cannot create"#, "the right to create jobs in shop"),
            (404, r#"namespaces "shop" not found"#, "is there a namespace shop?"),
            (500, "admission webhook broke", "the API server refused it"),
        ];
        for (code, message, expected) in table {
            let hint = refusal_hint(code, message, "shop");
            assert!(hint.contains(expected), "{message}: {hint}");
        }
    }
}
