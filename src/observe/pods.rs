//! Pods: what a run wants to know of each, from the object that a watch brings.

use k8s_openapi::{
    api::core::v1::{Container, ContainerState, ContainerStatus, LifecycleHandler, Pod, PodStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::book::Projection;
use crate::{
    cluster::{facts::controller_of, why::unschedulable},
    record::event::{ContainerSeen, LastExit, PodSeen, PreStop, What},
};

/// The grace period of a pod that states none (`k/pkg/apis/core/v1/defaults.go`).
const GRACE_DEFAULT_SECONDS: i64 = 30;

pub(super) struct Pods;

impl Projection for Pods {
    type Object = Pod;
    type Seen = PodSeen;

    fn key(pod: &Pod) -> String {
        // A StatefulSet's pods come back under their names.
        pod.metadata.uid.clone().unwrap_or_default()
    }

    fn seen(pod: &Pod) -> PodSeen {
        pod_seen(pod)
    }

    fn changed(seen: PodSeen) -> What {
        What::Pod(Box::new(seen))
    }

    fn gone(seen: PodSeen) -> What {
        What::Pod(Box::new(PodSeen { gone: true, ..seen }))
    }
}

/// A pod as it is recorded. Its main container is the first of its spec.
#[must_use]
pub fn pod_seen(pod: &Pod) -> PodSeen {
    let (spec, status) = (pod.spec.clone().unwrap_or_default(), pod.status.clone().unwrap_or_default());
    let main = spec.containers.first();
    let container = main.and_then(|main| status_of(&status, &main.name));
    PodSeen {
        namespace: pod.metadata.namespace.clone().unwrap_or_default(),
        name: pod.metadata.name.clone().unwrap_or_default(),
        uid: pod.metadata.uid.clone().unwrap_or_default(),
        labels: pod.metadata.labels.clone().unwrap_or_default(),
        owner: controller_of(&pod.metadata),
        node: spec.node_name.clone(),
        ip: status.pod_ip.clone(),
        phase: status.phase.clone().unwrap_or_else(|| "Unknown".to_owned()),
        ready: condition_is_true(&status, "Ready"),
        terminating: pod.metadata.deletion_timestamp.is_some(),
        grace_seconds: pod.metadata.deletion_grace_period_seconds,
        disruption_reason: disruption_reason(&status),
        unschedulable: unschedulable(&status),
        gone: false,
        spec_grace_seconds: spec.termination_grace_period_seconds.unwrap_or(GRACE_DEFAULT_SECONDS),
        has_readiness_probe: main.is_some_and(|main| main.readiness_probe.is_some()),
        has_liveness_probe: main.is_some_and(|main| main.liveness_probe.is_some()),
        pre_stop: main.and_then(pre_stop),
        container_name: main.map(|main| main.name.clone()).unwrap_or_default(),
        port: main.and_then(first_port),
        image: main.and_then(|main| main.image.clone()).unwrap_or_default(),
        restarts: container.map_or(0, |container| container.restart_count),
        last_exit: container.and_then(last_exit),
        container: container.and_then(|it| it.state.as_ref()).map(container_seen).unwrap_or_default(),
    }
}

fn status_of<'a>(status: &'a PodStatus, container: &str) -> Option<&'a ContainerStatus> {
    status.container_statuses.iter().flatten().find(|status| status.name == container)
}

fn condition_is_true(status: &PodStatus, kind: &str) -> bool {
    status.conditions.iter().flatten().any(|condition| condition.type_ == kind && condition.status == "True")
}

fn disruption_reason(status: &PodStatus) -> Option<String> {
    let mut conditions = status.conditions.iter().flatten();
    let target = conditions.find(|condition| condition.type_ == "DisruptionTarget" && condition.status == "True")?;
    target.reason.clone()
}

fn pre_stop(container: &Container) -> Option<PreStop> {
    let hook: &LifecycleHandler = container.lifecycle.as_ref()?.pre_stop.as_ref()?;
    if let Some(sleep) = &hook.sleep {
        return Some(PreStop::Sleep(u64::try_from(sleep.seconds).unwrap_or(0) * 1_000));
    }
    if let Some(exec) = &hook.exec {
        return Some(PreStop::Exec(exec.command.as_deref().unwrap_or_default().join(" ")));
    }
    hook.http_get.as_ref().map(|_| PreStop::Http)
}

fn first_port(container: &Container) -> Option<u16> {
    let port = container.ports.as_ref()?.first()?.container_port;
    u16::try_from(port).ok()
}

fn last_exit(status: &ContainerStatus) -> Option<LastExit> {
    let ended = status.last_state.as_ref()?.terminated.as_ref()?;
    Some(LastExit { exit_code: ended.exit_code, reason: ended.reason.clone().unwrap_or_default() })
}

fn container_seen(state: &ContainerState) -> ContainerSeen {
    let text = |time: Option<&Time>| time.map(|time| time.0.to_string()).unwrap_or_default();
    if let Some(running) = &state.running {
        return ContainerSeen::Running { started_at: text(running.started_at.as_ref()) };
    }
    if let Some(ended) = &state.terminated {
        return ContainerSeen::Terminated {
            exit_code: ended.exit_code,
            reason: ended.reason.clone().unwrap_or_default(),
            started_at: text(ended.started_at.as_ref()),
            finished_at: text(ended.finished_at.as_ref()),
        };
    }
    // A state without any of the three is waiting (k/staging/src/k8s.io/api/core/v1/types.go, ContainerState).
    let reason = state.waiting.as_ref().and_then(|waiting| waiting.reason.clone()).unwrap_or_default();
    ContainerSeen::Waiting { reason }
}

#[cfg(test)]
mod tests;
