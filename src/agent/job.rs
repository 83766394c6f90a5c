//! The Job whose pods are the agents of a run, and how far all of them are on their way to being ready. Pure.
//!
//! One pod for each completion index. A pod that fails is not replaced, since a new one could not take up its share,
//! and fails alone: with `backoffLimit: 0`, the Job would take all others along.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    num::NonZeroU32,
};

use k8s_openapi::{
    api::{
        batch::v1::{Job, JobSpec},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::pod::{self, Progress};

/// The agents' `app.kubernetes.io/name`, and the beginning of their Jobs' and pods' names.
pub const NAME: &str = "evenkeel-agent";
/// The longest that an agent may live, in seconds: a minute more than its own `--max-life`, so that it can say why.
const DEADLINE_S: i64 = 3_660;
/// A Job whose agents have ended is removed after so many seconds, should nobody else do it.
const KEPT_S: i32 = 300;
/// Which of the Job's pods one is, from 0.
const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// A name for the agents' Job that no other has: chosen here, so that the Job can be removed although the answer to its
/// creation was lost.
#[must_use]
pub fn new_name() -> String {
    // The characters of Kubernetes' own generated names: no vowels, so no words, and nothing to mistake.
    const CHARACTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    const LENGTH: u32 = 8;
    // The standard library's randomly keyed hasher is the randomness at hand.
    let mut random = RandomState::new().hash_one(NAME);
    let mut suffix = String::new();
    for _ in 0..LENGTH {
        let count = CHARACTERS.len() as u64;
        suffix.push(char::from(CHARACTERS[usize::try_from(random % count).unwrap_or(0)]));
        random /= count;
    }
    format!("{NAME}-{suffix}")
}

/// The manifest of so many agents on these nodes. The image's entry point must be evenkeel.
#[must_use]
pub fn manifest(namespace: &str, name: &str, agents: NonZeroU32, nodes: &[String], image: &str) -> Job {
    let agents = i32::try_from(agents.get()).unwrap_or(i32::MAX);
    Job {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: Some(pod::labels(name)),
            ..ObjectMeta::default()
        },
        spec: Some(JobSpec {
            completion_mode: Some("Indexed".to_owned()),
            completions: Some(agents),
            parallelism: Some(agents),
            backoff_limit_per_index: Some(0),
            active_deadline_seconds: Some(DEADLINE_S),
            ttl_seconds_after_finished: Some(KEPT_S),
            template: pod::template(name, nodes, image),
            ..JobSpec::default()
        }),
        status: None,
    }
}

/// Which of the Job's pods one is, from 0.
#[must_use]
pub fn index(pod: &Pod) -> Option<u32> {
    pod.metadata.annotations.as_ref()?.get(INDEX)?.parse().ok()
}

/// How far the agents are: as far as the last of them, by its index. One that will not start counts before all else.
#[must_use]
pub fn progress(pods: &BTreeMap<u32, Pod>, agents: NonZeroU32, image: &str) -> Progress {
    let name = |pod: &Pod| pod.metadata.name.clone().unwrap_or_default();
    let mut waiting = Progress::Ready;
    for pod in pods.values() {
        match pod::progress(pod, image) {
            Progress::Failed(why) => return Progress::Failed(format!("pod {}: {why}", name(pod))),
            Progress::Unschedulable(why) => waiting = Progress::Unschedulable(format!("pod {}: {why}", name(pod))),
            Progress::Waiting(why) if !matches!(waiting, Progress::Unschedulable(_)) => {
                waiting = Progress::Waiting(format!("pod {}: {why}", name(pod)));
            }
            Progress::Ready | Progress::Waiting(_) => {}
        }
    }
    match waiting {
        Progress::Ready if pods.len() < agents.get() as usize => {
            Progress::Waiting(format!("{} of its {agents} pods are there", pods.len()))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests;
