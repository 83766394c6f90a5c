//! What steps wait for, and the one way of waiting: read, and read again whenever something is seen to change.
//!
//! Watches only wake; what counts is read afresh. Two watches lag differently, so a workload can be seen complete
//! while its old pods are not yet seen to terminate.

use std::{fmt::Write as _, time::Duration};

use futures::{FutureExt, StreamExt, stream::BoxStream};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    api::ListParams,
    core::DynamicObject,
    runtime::{WatchStreamExt, watcher},
};
use tokio::time::Instant;

use super::{
    api::{ApiError, call, found},
    error::StepError,
    stage::Stage,
    target,
    words::{count_of_pods, name_pods},
    workload,
};
use crate::{
    cluster::rollout::Rollout,
    experiment::{
        schema::Labels,
        units::{WorkloadKind, WorkloadRef},
    },
    failure::chain,
    model::selector::{LabelSelector, labels_in_words},
};

/// Changes closer together than this are read once: a rollout makes dozens within a second.
const READ_AT_MOST_EVERY: Duration = Duration::from_millis(100);

/// A read without a change having been seen, should a watch have gone silent.
const READ_AT_LEAST_EVERY: Duration = Duration::from_secs(5);

/// What looking for a reason may take once the time is up.
const EXPLAINED_WITHIN: Duration = Duration::from_secs(2);

/// Something that can be waited for.
#[derive(Debug, Clone)]
pub(super) enum Condition {
    /// Rolled out by kubectl's rule, and no pod of it is terminating any more.
    RolledOut(WorkloadRef),
    /// At least so many pods are ready; none is unready, but for those that terminate or have finished.
    PodsReady(Labels, u32),
    /// No pod with these labels is terminating.
    NonTerminating(Labels),
    /// None of these pods, by name and uid, is there any more.
    Gone(Labels, Vec<(String, String)>),
    /// The controller has taken up the template of this generation, which is not that of `revision`.
    TemplateTaken { workload: WorkloadRef, generation: i64, revision: Option<String> },
    /// The controller has seen this generation, and the number of replicas is `to` or no longer `from`.
    Scaling { workload: WorkloadRef, generation: i64, from: i64, to: i64 },
}

/// What a look at the cluster found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Look {
    /// The condition holds; in words.
    Holds(String),
    /// Not yet: how it stands.
    NotYet(String),
    /// It cannot come any more: why, and what to try.
    Never(String),
}

/// How a wait ended that did not end well.
#[derive(Debug)]
pub(super) enum Unmet {
    /// The time was up; how it stood.
    TimeUp(String),
    /// It cannot come any more.
    Never(String),
    /// An abort was asked for.
    Aborted,
}

impl Condition {
    /// Completes "waited to …".
    pub(super) fn in_words(&self) -> String {
        match self {
            Self::RolledOut(workload) => format!("see {workload} rolled out and its old pods gone"),
            Self::PodsReady(labels, count) => {
                format!("see {count} or more pods with {} ready", labels_in_words(labels))
            }
            Self::NonTerminating(labels) => format!("see no pod with {} terminating", labels_in_words(labels)),
            Self::Gone(_, pods) => format!("see {} gone", count_of_pods(pods.len())),
            Self::TemplateTaken { workload, .. } => format!("see {workload} take up its new template"),
            Self::Scaling { workload, to, .. } => format!("see {workload} move to {to} replicas"),
        }
    }

    /// Looks once.
    pub(super) async fn look(&self, client: &Client, namespace: &str) -> Result<Look, ApiError> {
        match self {
            Self::RolledOut(workload) => rolled_out(client, namespace, workload).await,
            Self::PodsReady(labels, count) => Ok(pods_ready(&pods(client, namespace, labels).await?, *count)),
            Self::NonTerminating(labels) => Ok(none_terminating(&pods(client, namespace, labels).await?)),
            Self::Gone(labels, gone) => {
                let left: Vec<Pod> = pods(client, namespace, labels).await?;
                let left: Vec<&Pod> = left.iter().filter(|pod| gone.contains(&identity(pod))).collect();
                Ok(if left.is_empty() {
                    Look::Holds(format!("{} seen gone", count_of_pods(gone.len())))
                } else {
                    Look::NotYet(format!("still there: {}", name_pods(&left)))
                })
            }
            Self::TemplateTaken { workload, generation, revision } => {
                let object = call(workload::api(client, namespace, workload).get(&workload.name)).await?;
                let now = workload::revision(workload.kind, &object);
                let observed = workload::number(&object, "/status/observedGeneration") >= *generation;
                let taken = workload.kind == WorkloadKind::DaemonSet || now != revision.as_deref();
                Ok(match (observed, taken) {
                    (true, true) => Look::Holds(format!("revision {} is being rolled out", now.unwrap_or("new"))),
                    (false, _) => Look::NotYet("its controller has not seen the change".into()),
                    (true, false) => Look::NotYet("its controller has made no new revision".into()),
                })
            }
            Self::Scaling { workload, generation, from, to } => {
                let object = call(workload::api(client, namespace, workload).get(&workload.name)).await?;
                let replicas = workload::number(&object, "/status/replicas");
                let observed = workload::number(&object, "/status/observedGeneration") >= *generation;
                Ok(if observed && (replicas == *to || replicas != *from) {
                    Look::Holds(format!("{replicas} replicas on the way from {from} to {to}"))
                } else {
                    Look::NotYet(format!("{replicas} replicas"))
                })
            }
        }
    }

    /// The pods that are in the way of a rollout, where they can be had quickly; the other conditions name theirs.
    async fn why(&self, stage: &Stage) -> String {
        let Self::RolledOut(workload) = self else { return String::new() };
        let unready = async {
            let object = call(workload::api(&stage.client, &stage.namespace, workload).get(&workload.name)).await?;
            let pods = pods_of(&stage.client, &stage.namespace, workload, &object).await?;
            let live = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
            Ok::<_, ApiError>(name_pods(&live.filter(|pod| !target::is_ready(pod)).collect::<Vec<_>>()))
        };
        match tokio::time::timeout(EXPLAINED_WITHIN, unready).await {
            Ok(Ok(pods)) if !pods.is_empty() => format!("; not ready: {pods}"),
            _ => String::new(),
        }
    }

    /// The pods whose changes matter.
    fn labels(&self) -> Option<&Labels> {
        match self {
            Self::PodsReady(labels, _) | Self::NonTerminating(labels) | Self::Gone(labels, _) => Some(labels),
            Self::RolledOut(_) | Self::TemplateTaken { .. } | Self::Scaling { .. } => None,
        }
    }

    /// The workload whose changes matter.
    const fn workload(&self) -> Option<&WorkloadRef> {
        match self {
            Self::RolledOut(workload) | Self::TemplateTaken { workload, .. } | Self::Scaling { workload, .. } => {
                Some(workload)
            }
            Self::PodsReady(..) | Self::NonTerminating(_) | Self::Gone(..) => None,
        }
    }

    /// One item for each change that may matter.
    fn changes(&self, stage: &Stage) -> BoxStream<'static, ()> {
        let mut changes = Vec::new();
        if let Some(workload) = self.workload() {
            let api = workload::api(&stage.client, &stage.namespace, workload);
            let only = watcher::Config::default().fields(&format!("metadata.name={}", workload.name));
            // The dynamic type is known to the API object alone, so a plain list-and-watch of it is made here.
            changes.push(watcher(api, only).default_backoff().map(|_| ()).boxed());
        }
        // Old pods of a workload are told from its selector, which a watch of all pods of the namespace covers.
        if self.labels().is_some() || matches!(self, Self::RolledOut(_)) {
            let selector = self.labels().map(|labels| LabelSelector::of_labels(labels).to_string());
            let config = match selector.filter(|_| self.labels().is_some_and(|labels| !labels.is_empty())) {
                Some(selector) => watcher::Config::default().labels(&selector),
                None => watcher::Config::default(),
            };
            let api = Api::<Pod>::namespaced(stage.client.clone(), &stage.namespace);
            changes.push(watcher(api, config).default_backoff().map(|_| ()).boxed());
        }
        futures::stream::select_all(changes).boxed()
    }
}

/// Waits until a condition holds, at most so long, and says what was seen then. Requests that fail on the way are
/// made again: what counts is whether the condition comes in time.
pub(super) async fn until(stage: &Stage, condition: &Condition, within: Duration) -> Result<String, Unmet> {
    let deadline = Instant::now() + within;
    let mut changes = condition.changes(stage);
    let mut standing;
    loop {
        let looked_at = Instant::now();
        let look = stage.abort.or(tokio::time::timeout_at(deadline, condition.look(&stage.client, &stage.namespace)));
        match look.await.map_err(|_| Unmet::Aborted)? {
            Ok(Ok(Look::Holds(what))) => return Ok(what),
            Ok(Ok(Look::Never(why))) => return Err(Unmet::Never(why + &condition.why(stage).await)),
            Ok(Ok(Look::NotYet(how))) => standing = how,
            Ok(Err(error)) if !error.is_transient() => return Err(Unmet::Never(chain(&error))),
            Ok(Err(error)) => standing = chain(&error),
            Err(_) => return Err(Unmet::TimeUp("the API server gave no answer".into())),
        }
        let next_read = async {
            drop(tokio::time::timeout(READ_AT_LEAST_EVERY, changes.next()).await);
            tokio::time::sleep_until(looked_at + READ_AT_MOST_EVERY).await;
            // All changes of the meantime are answered by the one read to come.
            while changes.next().now_or_never().flatten().is_some() {}
        };
        match stage.abort.or(tokio::time::timeout_at(deadline, next_read)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(Unmet::TimeUp(standing + &condition.why(stage).await)),
            Err(_) => return Err(Unmet::Aborted),
        }
    }
}

/// Waits for the effect of an act: what was seen, or that nothing was.
pub(super) async fn receipt(
    stage: &Stage,
    condition: &Condition,
    within: Duration,
    done: &str,
) -> Result<String, StepError> {
    until(stage, condition, within).await.map_err(|unmet| match unmet {
        Unmet::TimeUp(standing) | Unmet::Never(standing) => {
            StepError::NoReceipt { done: done.to_owned(), within, standing }
        }
        Unmet::Aborted => StepError::Aborted { doing: condition.in_words() },
    })
}

async fn pods(client: &Client, namespace: &str, labels: &Labels) -> Result<Vec<Pod>, ApiError> {
    let params = if labels.is_empty() {
        ListParams::default()
    } else {
        ListParams::default().labels(&LabelSelector::of_labels(labels).to_string())
    };
    target::list_all(&Api::namespaced(client.clone(), namespace), params).await
}

async fn rolled_out(client: &Client, namespace: &str, workload: &WorkloadRef) -> Result<Look, ApiError> {
    let Some(object) = found(call(workload::api(client, namespace, workload).get(&workload.name)).await)? else {
        return Ok(Look::Never(format!("{workload} is gone")));
    };
    match workload::rollout(workload.kind, object.clone()) {
        Rollout::Done => {}
        Rollout::Waiting(what) => return Ok(Look::NotYet(what)),
        Rollout::Stuck(why) => return Ok(Look::Never(why)),
    }
    // Read after the workload: the counts leave out a pod only once its deletionTimestamp is set, so each old pod
    // shows up here as terminating, or not at all.
    let mine = pods_of(client, namespace, workload, &object).await?;
    Ok(match none_terminating(&mine) {
        Look::Holds(_) => {
            Look::Holds(format!("{workload} is rolled out, {}, none terminating", count_of_pods(mine.len())))
        }
        other => other,
    })
}

async fn pods_of(
    client: &Client,
    namespace: &str,
    workload: &WorkloadRef,
    object: &DynamicObject,
) -> Result<Vec<Pod>, ApiError> {
    let params = match workload::label_selector(object) {
        Some(selector) => ListParams::default().labels(&selector),
        None => ListParams::default(),
    };
    let pods = target::list_all(&Api::<Pod>::namespaced(client.clone(), namespace), params).await?;
    Ok(pods.into_iter().filter(|pod| belongs_to(pod, workload)).collect())
}

/// Whether a pod that the selector matches is the workload's: a Deployment's pods belong to its `ReplicaSets`, which
/// carry its name as a prefix.
fn belongs_to(pod: &Pod, workload: &WorkloadRef) -> bool {
    match (workload.kind, target::controller(pod)) {
        (WorkloadKind::Deployment, Some(("ReplicaSet", owner))) => {
            owner.strip_prefix(&workload.name).is_some_and(|rest| rest.starts_with('-'))
        }
        (WorkloadKind::StatefulSet, Some(("StatefulSet", owner)))
        | (WorkloadKind::DaemonSet, Some(("DaemonSet", owner))) => owner == workload.name,
        _ => false,
    }
}

fn none_terminating(pods: &[Pod]) -> Look {
    let left: Vec<&Pod> = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_some()).collect();
    if left.is_empty() {
        Look::Holds("no pod is terminating".into())
    } else {
        Look::NotYet(format!("still terminating: {}", name_pods(&left)))
    }
}

fn pods_ready(pods: &[Pod], count: u32) -> Look {
    let live: Vec<&Pod> =
        pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none() && !target::is_finished(pod)).collect();
    let unready: Vec<&Pod> = live.iter().copied().filter(|pod| !target::is_ready(pod)).collect();
    let ready = live.len() - unready.len();
    if unready.is_empty() && ready >= usize::try_from(count).unwrap_or(usize::MAX) {
        return Look::Holds(format!("{} ready", count_of_pods(ready)));
    }
    let mut state = format!("{ready} of {count} ready");
    if !unready.is_empty() {
        // Writing to a String cannot fail.
        let _ = write!(state, "; not ready: {}", name_pods(&unready));
    }
    Look::NotYet(state)
}

fn identity(pod: &Pod) -> (String, String) {
    (pod.name_any(), pod.uid().unwrap_or_default())
}

#[cfg(test)]
mod tests;
