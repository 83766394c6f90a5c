//! Evicts one pod as `kubectl drain` does, and waits for it to be gone. Deliberate difference: every request and its
//! answer is recorded.
//!
//! The request is made by hand: the client library writes the options under a key that the API does not know, so a
//! grace period would be dropped.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior};

use super::{
    abort::Aborted,
    api::{ApiError, call, found},
    drain_error::WhyLeft,
    stage::Stage,
};
use crate::failure::chain;
use crate::record::event::{EvictionAnswer, EvictionSeen, What};

/// kubectl's pause after a refusal (kubectl/pkg/drain/drain.go); shorter would drain faster than kubectl does.
pub(super) const RETRY_AFTER_REFUSAL: Duration = Duration::from_secs(5);

/// kubectl's interval between looks whether a pod is gone.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How far a drain may run past its time: the pause that was begun before the time was up.
pub(super) const OVERSHOOT: Duration = RETRY_AFTER_REFUSAL;

/// The cause by which the server says that a budget refused (policy/v1 `DisruptionBudgetCause`).
const BUDGET_CAUSE: &str = "DisruptionBudget";

/// The cause by which the server says that the namespace is being removed.
const NAMESPACE_TERMINATING_CAUSE: &str = "NamespaceTerminating";

/// A pod on its way off a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leaver {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub node: String,
    pub terminating: bool,
}

impl Leaver {
    /// As `namespace/name`.
    pub(super) fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// What follows from an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// The pod is being deleted.
    WaitUntilGone,
    /// The pod is gone.
    Done,
    /// The same again after a pause.
    Retry(Duration),
    /// This pod cannot be evicted.
    GiveUp,
}

/// Evicts a pod and waits until it is gone.
pub(super) async fn evict(
    stage: &Stage,
    pod: &Leaver,
    grace_seconds: Option<u64>,
    deadline: Instant,
) -> Result<(), WhyLeft> {
    let mut last_refusal = None;
    let mut terminating = pod.terminating;
    // Bounded by the deadline, which is looked at before each request, and only there, as kubectl does.
    for attempt in 1.. {
        if Instant::now() >= deadline {
            return Err(WhyLeft::Refused { times: attempt - 1, last: last_refusal.unwrap_or_default() });
        }
        let begun = Instant::now();
        let error = post(&stage.client, pod, grace_seconds).await.err();
        let answer = answer_of(error.as_ref());
        stage.sink.record(What::Eviction(EvictionSeen {
            pod: pod.full_name(),
            node: pod.node.clone(),
            attempt,
            took_us: i64::try_from(begun.elapsed().as_micros()).unwrap_or(i64::MAX),
            answer: answer.clone(),
        }));
        match (next(&answer, terminating), error) {
            (Next::Done, _) => return Ok(()),
            (Next::GiveUp, Some(error)) => return Err(WhyLeft::Failed(error)),
            (Next::Retry(pause), Some(error)) => {
                last_refusal = Some(words_of(&error));
                let until = (Instant::now() + pause).min(deadline + OVERSHOOT);
                stage.abort.sleep_until(until).await.map_err(|Aborted| WhyLeft::Aborted)?;
                if answer == EvictionAnswer::NamespaceTerminating {
                    // Whether the pod is being deleted decides what the next such answer means.
                    terminating |= fresh(&stage.client, pod)
                        .await
                        .is_ok_and(|now| now.is_none_or(|pod| pod.metadata.deletion_timestamp.is_some()));
                }
            }
            (Next::WaitUntilGone, _) | (_, None) => break,
        }
    }
    wait_until_gone(stage, pod, deadline).await
}

/// Looks each second, first at once, until the pod is gone or another has taken its name.
pub(super) async fn wait_until_gone(stage: &Stage, pod: &Leaver, deadline: Instant) -> Result<(), WhyLeft> {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        match stage.abort.or(tokio::time::timeout_at(deadline, ticks.tick())).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return Err(WhyLeft::Terminating),
            Err(Aborted) => return Err(WhyLeft::Aborted),
        }
        match stage.abort.or(fresh(&stage.client, pod)).await {
            Ok(Ok(None)) => return Ok(()),
            Ok(Ok(Some(_))) => {}
            Ok(Err(error)) => return Err(WhyLeft::Unseen(error)),
            Err(Aborted) => return Err(WhyLeft::Aborted),
        }
    }
}

/// The pod as it is now; `None` where it is gone or another has taken its name.
async fn fresh(client: &Client, pod: &Leaver) -> Result<Option<Pod>, ApiError> {
    let api = Api::<Pod>::namespaced(client.clone(), &pod.namespace);
    Ok(found(call(api.get(&pod.name)).await)?.filter(|now| now.uid().as_deref() == Some(pod.uid.as_str())))
}

/// The body of an eviction, as `policy/v1` has it.
fn body(pod: &Leaver, grace_seconds: Option<u64>) -> Value {
    let mut options = serde_json::Map::new();
    if let Some(seconds) = grace_seconds {
        options.insert("gracePeriodSeconds".into(), json!(seconds));
    }
    json!({
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod.name, "namespace": pod.namespace},
        "deleteOptions": options,
    })
}

/// Asks for one eviction. Any status from 200 to 299 is a yes: the API answers 201 where its documentation says 200.
async fn post(client: &Client, pod: &Leaver, grace_seconds: Option<u64>) -> Result<(), ApiError> {
    let path = format!("/api/v1/namespaces/{}/pods/{}/eviction", pod.namespace, pod.name);
    let request = hyper::Request::post(path)
        .header("content-type", "application/json")
        .body(body(pod, grace_seconds).to_string().into_bytes())
        .map_err(|error| ApiError::from(kube::Error::HttpError(error)))?;
    call(client.request_text(request)).await.map(drop)
}

/// What the server said, for the record.
fn answer_of(error: Option<&ApiError>) -> EvictionAnswer {
    let Some(error) = error else { return EvictionAnswer::Accepted };
    let message = words_of(error);
    match error {
        ApiError::Refused { code: 404, .. } => EvictionAnswer::Gone,
        ApiError::Refused { code: 403, .. } if error.has_cause(NAMESPACE_TERMINATING_CAUSE) => {
            EvictionAnswer::NamespaceTerminating
        }
        ApiError::Refused { code: 429, retry_after_s, .. } if error.has_cause(BUDGET_CAUSE) => match retry_after_s {
            0 => EvictionAnswer::BudgetExhausted { message },
            seconds => EvictionAnswer::StillProcessing { retry_after_s: u64::from(*seconds) },
        },
        other => EvictionAnswer::Refused { code: other.code(), message },
    }
}

/// The server's words, with those about the budget, which has the figures.
fn words_of(error: &ApiError) -> String {
    match error {
        ApiError::Refused { message, causes, .. } => {
            let causes = causes.iter().map(|(_, words)| words.as_str());
            std::iter::once(message.as_str())
                .chain(causes)
                .filter(|words| !words.is_empty())
                .collect::<Vec<_>>()
                .join(" ")
        }
        other => chain(other),
    }
}

/// What kubectl does with an answer.
fn next(answer: &EvictionAnswer, pod_is_terminating: bool) -> Next {
    match answer {
        EvictionAnswer::Accepted => Next::WaitUntilGone,
        EvictionAnswer::Gone => Next::Done,
        // kubectl's HTTP client keeps to Retry-After by itself, before kubectl sees the answer.
        EvictionAnswer::StillProcessing { retry_after_s } => Next::Retry(Duration::from_secs(*retry_after_s)),
        EvictionAnswer::NamespaceTerminating if pod_is_terminating => Next::WaitUntilGone,
        // A 429 without the budget's cause comes from the server's own flow control.
        EvictionAnswer::BudgetExhausted { .. }
        | EvictionAnswer::NamespaceTerminating
        | EvictionAnswer::Refused { code: 429, .. } => Next::Retry(RETRY_AFTER_REFUSAL),
        EvictionAnswer::Refused { .. } => Next::GiveUp,
    }
}

#[cfg(test)]
mod tests;
