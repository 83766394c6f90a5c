//! Why pods are not ready, from what the cluster says of them: pure, so that each case has a test.

use k8s_openapi::{
    api::core::v1::{ContainerState, ContainerStatus, Event, Pod, PodStatus},
    jiff::Timestamp,
};

use crate::experiment::units::WorkloadRef;

/// Pods explained for each workload: replicas mostly fail alike.
const PODS_EXPLAINED_MAX: usize = 5;

/// One line for each pod that is not ready, and the latest warning about the workload or its `ReplicaSets`.
pub(super) fn of_workload(workload: &WorkloadRef, pods: &[Pod], events: &[Event]) -> Vec<String> {
    let unready: Vec<&Pod> = pods.iter().filter(|pod| !is_ready(pod) && !is_terminating(pod)).collect();
    let mut lines: Vec<String> = unready.iter().take(PODS_EXPLAINED_MAX).map(|pod| of_pod(pod, events)).collect();
    if unready.len() > PODS_EXPLAINED_MAX {
        lines.push(format!("and {} more pods", unready.len() - PODS_EXPLAINED_MAX));
    }
    let kind = workload.kind.as_str();
    let about_workload = |event: &&Event| {
        let object = &event.involved_object;
        let name = object.name.as_deref().unwrap_or_default();
        let its_own = object.kind.as_deref().is_some_and(|it| it.eq_ignore_ascii_case(kind)) && name == workload.name;
        let of_its_set = object.kind.as_deref() == Some("ReplicaSet")
            && name.rsplit_once('-').is_some_and(|(owner, _)| owner == workload.name);
        event.type_.as_deref() == Some("Warning") && (its_own || of_its_set)
    };
    if let Some(event) = latest(events.iter().filter(about_workload)) {
        lines.push(format!("last warning: {}", in_words(event)));
    }
    lines
}

/// Why one pod is not ready.
fn of_pod(pod: &Pod, events: &[Event]) -> String {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let status = pod.status.clone().unwrap_or_default();
    let mut parts = vec![status.phase.clone().unwrap_or_else(|| "Unknown".to_owned())];
    parts.extend(status.reason.clone());
    parts.extend(unschedulable(&status).map(|message| format!("cannot be scheduled: {message}")));
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    parts.extend(containers.filter_map(|container| of_container(pod, container)));
    let uid = pod.metadata.uid.as_deref();
    let its_own = events.iter().filter(|event| event.involved_object.uid.as_deref() == uid);
    if let Some(event) =
        latest(its_own.clone().filter(|event| event.type_.as_deref() == Some("Warning"))).or_else(|| latest(its_own))
        // The scheduler says the same in a condition and in an Event.
        && !parts.iter().any(|part| event.message.as_deref().is_some_and(|message| part.contains(message)))
    {
        parts.push(format!("last event: {}", in_words(event)));
    }
    format!("pod/{name}: {}", parts.join("; "))
}

/// The scheduler's words about a pod that fits on no node.
pub(crate) fn unschedulable(status: &PodStatus) -> Option<String> {
    let condition = status.conditions.iter().flatten().find(|condition| {
        condition.type_ == "PodScheduled"
            && condition.status == "False"
            && condition.reason.as_deref() == Some("Unschedulable")
    })?;
    Some(condition.message.clone().unwrap_or_else(|| "no node fits".to_owned()))
}

/// What is wrong with one container; nothing where it is ready or has done its work.
fn of_container(pod: &Pod, container: &ContainerStatus) -> Option<String> {
    let name = &container.name;
    let with = |text: &str, message: Option<&String>| match message {
        Some(message) => format!("container {name} {text}: {message}"),
        None => format!("container {name} {text}"),
    };
    let words = match container.state.clone().unwrap_or_default() {
        ContainerState { waiting: Some(waiting), .. } => {
            let reason = waiting.reason.unwrap_or_else(|| "without a reason".to_owned());
            with(&format!("waits ({reason})"), waiting.message.as_ref())
        }
        ContainerState { terminated: Some(ended), .. } if ended.exit_code != 0 => {
            let reason = ended.reason.unwrap_or_default();
            with(&format!("ended with exit code {} ({reason})", ended.exit_code), ended.message.as_ref())
        }
        ContainerState { running: Some(_), .. } if !container.ready => {
            if has_readiness_probe(pod, name) {
                format!("container {name} runs and its readiness probe has not succeeded")
            } else {
                format!("container {name} runs and is not ready")
            }
        }
        _ => return None,
    };
    let last = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    Some(match last {
        Some(last) if container.restart_count > 0 => format!(
            "{words}, after {} restarts, the last with exit code {} ({})",
            container.restart_count,
            last.exit_code,
            last.reason.as_deref().unwrap_or("no reason")
        ),
        _ => words,
    })
}

fn has_readiness_probe(pod: &Pod, container: &str) -> bool {
    pod.spec
        .as_ref()
        .and_then(|spec| spec.containers.iter().find(|it| it.name == container))
        .is_some_and(|container| container.readiness_probe.is_some())
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn is_terminating(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

fn latest<'a>(events: impl Iterator<Item = &'a Event>) -> Option<&'a Event> {
    events.max_by_key(|event| when(event))
}

/// When an Event last happened: sources fill in different fields.
fn when(event: &Event) -> Option<Timestamp> {
    let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0);
    let last = event.last_timestamp.as_ref().map(|time| time.0);
    let first = event.event_time.as_ref().map(|time| time.0);
    series.max(last).max(first).max(event.metadata.creation_timestamp.as_ref().map(|time| time.0))
}

fn in_words(event: &Event) -> String {
    let reason = event.reason.as_deref().unwrap_or("Unknown");
    let message = event.message.as_deref().unwrap_or_default();
    match event.count {
        Some(count) if count > 1 => format!("{reason}: {message} ({count} times)"),
        _ => format!("{reason}: {message}"),
    }
}

#[cfg(test)]
mod tests;
