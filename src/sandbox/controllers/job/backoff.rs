//! When a Job's failed pods are replaced: after 10 s, doubling to 10 min, counted from the last failure
//! (`k/pkg/controller/job/backoff_utils.go`, v1.34.4).

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

/// After the first failure (`DefaultJobPodFailureBackOff`).
const FIRST: Duration = Duration::from_secs(10);

/// At the most (`MaxJobPodFailureBackOff`).
const MAX: Duration = Duration::from_secs(600);

/// Failures since the last success.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Record {
    /// How many.
    pub failures: u32,
    /// When the last one was.
    pub last_failure: Option<Timestamp>,
}

impl Record {
    /// The record after these pods have ended.
    #[must_use]
    pub fn after(self, succeeded: &[&Pod], failed: &[&Pod]) -> Self {
        let last_success = succeeded.iter().map(|pod| finished_at(pod)).max();
        let mut failures: Vec<Timestamp> = failed.iter().map(|pod| finished_at(pod)).collect();
        failures.sort();
        let Some(last_success) = last_success else {
            let Some(last) = failures.last() else { return self };
            let count = u32::try_from(failures.len()).unwrap_or(u32::MAX);
            return Self { failures: self.failures.saturating_add(count), last_failure: Some(*last) };
        };
        let later: Vec<Timestamp> = failures.into_iter().filter(|at| *at > last_success).collect();
        Self { failures: u32::try_from(later.len()).unwrap_or(u32::MAX), last_failure: later.last().copied() }
    }

    /// How long no pod is to be created yet.
    #[must_use]
    pub fn remaining(&self, now: Timestamp) -> Duration {
        self.last_failure.map_or(Duration::ZERO, |last| remaining(self.failures, last, now))
    }
}

/// How long after so many failures, the last at `last`, no pod is to be created yet.
#[must_use]
pub fn remaining(failures: u32, last: Timestamp, now: Timestamp) -> Duration {
    if failures == 0 {
        return Duration::ZERO;
    }
    let delay = FIRST.saturating_mul(1 << (failures - 1).min(16)).min(MAX);
    let until = last.checked_add(delay).unwrap_or(Timestamp::MAX);
    Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO)
}

/// When a pod ended: with the last of its containers, else when it stopped being ready, else when its deletion was
/// asked for, else when it was created.
#[must_use]
pub fn finished_at(pod: &Pod) -> Timestamp {
    let created = || pod.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    containers_finished_at(pod)
        .or_else(|| unready_since(pod))
        .or_else(|| deletion_asked_at(pod))
        .unwrap_or_else(created)
}

fn containers_finished_at(pod: &Pod) -> Option<Timestamp> {
    let status = pod.status.as_ref()?;
    let spec = pod.spec.as_ref();
    let is_sidecar = |name: &str| {
        let init = spec.and_then(|spec| spec.init_containers.as_ref()).into_iter().flatten();
        init.filter(|container| container.restart_policy.as_deref() == Some("Always")).any(|one| one.name == name)
    };
    let sidecars = status.init_container_statuses.iter().flatten().filter(|container| is_sidecar(&container.name));
    let all: Vec<&ContainerStatus> = status.container_statuses.iter().flatten().chain(sidecars).collect();
    let mut latest = None;
    for container in all {
        let finished = container.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref()?.0;
        latest = latest.max(Some(finished));
    }
    latest
}

fn unready_since(pod: &Pod) -> Option<Timestamp> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready")?;
    ready.last_transition_time.as_ref().filter(|_| ready.status == "False").map(|time| time.0)
}

fn deletion_asked_at(pod: &Pod) -> Option<Timestamp> {
    let grace = u64::try_from(pod.metadata.deletion_grace_period_seconds.unwrap_or(0)).unwrap_or(0);
    pod.metadata.deletion_timestamp.as_ref()?.0.checked_sub(Duration::from_secs(grace)).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn ended(second: i64) -> Pod {
        serde_json::from_value(json!({"status": {"containerStatuses": [{
            "name": "main", "ready": false, "restartCount": 0, "image": "", "imageID": "",
            "state": {"terminated": {"exitCode": 1, "finishedAt": at(second).to_string()}},
        }]}}))
        .unwrap()
    }

    #[test]
    fn the_delay_doubles_from_ten_seconds_to_ten_minutes() {
        let table = [(0, 0), (1, 10), (2, 20), (3, 40), (6, 320), (7, 600), (60, 600)];
        for (failures, seconds) in table {
            assert_eq!(remaining(failures, at(0), at(0)).as_secs(), seconds, "{failures}");
        }
        assert_eq!(remaining(1, at(0), at(4)).as_secs(), 6);
        assert_eq!(remaining(1, at(0), at(11)), Duration::ZERO);
    }

    #[test]
    fn a_success_forgets_the_failures_before_it() {
        let before = Record { failures: 3, last_failure: Some(at(0)) };
        let (early, middle, late) = (ended(1), ended(5), ended(9));
        assert_eq!(before.after(&[], &[]), before);
        assert_eq!(before.after(&[], &[&late, &early]), Record { failures: 5, last_failure: Some(at(9)) });
        assert_eq!(before.after(&[&middle], &[&late, &early]), Record { failures: 1, last_failure: Some(at(9)) });
        assert_eq!(before.after(&[&middle], &[]), Record::default());
    }

    #[test]
    fn a_pod_without_ended_containers_ended_when_it_stopped_being_ready_or_was_deleted() {
        let pod = |value| -> Pod { serde_json::from_value(value).unwrap() };
        let unready = pod(json!({"status": {"conditions": [
            {"type": "Ready", "status": "False", "lastTransitionTime": at(3).to_string()}]}}));
        assert_eq!(finished_at(&unready), at(3));
        let deleted =
            pod(json!({"metadata": {"deletionTimestamp": at(40).to_string(), "deletionGracePeriodSeconds": 30}}));
        assert_eq!(finished_at(&deleted), at(10));
        let ready = pod(json!({"metadata": {"creationTimestamp": at(1).to_string()},
            "status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": at(3).to_string()}]}}));
        assert_eq!(finished_at(&ready), at(1));
    }
}
