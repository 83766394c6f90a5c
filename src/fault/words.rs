//! Pods in messages: how many, which, and why each stands as it does.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use crate::cluster::why::unschedulable;

/// Pods named in a message; more do not help.
const PODS_NAMED: usize = 5;

/// So many pods, in words.
pub(super) fn count_of_pods(count: usize) -> String {
    if count == 1 { "1 pod".to_owned() } else { format!("{count} pods") }
}

/// Pods with why each stands as it does.
pub(super) fn name_pods(pods: &[&Pod]) -> String {
    let mut names: Vec<String> =
        pods.iter().take(PODS_NAMED).map(|pod| format!("{} ({})", pod.name_any(), reason(pod))).collect();
    if pods.len() > PODS_NAMED {
        names.push(format!("and {} more", pods.len() - PODS_NAMED));
    }
    names.join(", ")
}

/// Why a pod is not ready, or not gone.
fn reason(pod: &Pod) -> String {
    if let Some(since) = &pod.metadata.deletion_timestamp {
        return format!("terminating, grace ends {}", since.0);
    }
    let status = pod.status.clone().unwrap_or_default();
    if let Some(words) = unschedulable(&status) {
        return format!("unschedulable: {words}");
    }
    let mut containers = status.container_statuses.into_iter().flatten();
    match containers.find_map(|one| one.state?.waiting?.reason) {
        Some(reason) => reason,
        None => format!("{}, but not ready", status.phase.unwrap_or_else(|| "Unknown".into())),
    }
}
