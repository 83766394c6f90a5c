//! An agent's pod: the template of it, and what the state of such a pod means. Pure.
//!
//! It passes the *restricted* profile of Pod Security, stands on the nodes it is told to even when they are cordoned or
//! tainted, has no CPU limit (throttling would taint the measurement), and ends by itself.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Affinity, Capabilities, Container, ContainerPort, ContainerState, HTTPGetAction, NodeAffinity, NodeSelector,
        NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
        ResourceRequirements, SeccompProfile, SecurityContext, Toleration, TopologySpreadConstraint,
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};

use super::{
    job::NAME,
    protocol::{PORT, READY},
};
use crate::cluster::apply::MANAGED_BY;

/// Whose pod it is, by the name of the Job.
const INSTANCE: &str = "app.kubernetes.io/instance";
/// Time between SIGTERM and SIGKILL, in seconds: the agent ends within two.
pub const GRACE_S: i64 = 5;
/// The user of distroless images' `nonroot`: any but 0 would do.
const USER: i64 = 65_532;

/// The labels of a Job of agents and of its pods. No application's selector has them.
#[must_use]
pub fn labels(job: &str) -> BTreeMap<String, String> {
    let labels = [("app.kubernetes.io/name", NAME), (INSTANCE, job), MANAGED_BY];
    labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// What selects the pods of a Job of agents, and no others.
#[must_use]
pub fn selector(job: &str) -> String {
    format!("{INSTANCE}={job}")
}

/// The template. The image's entry point must be evenkeel.
#[must_use]
pub fn template(job: &str, nodes: &[String], image: &str) -> PodTemplateSpec {
    let annotation = ("cluster-autoscaler.kubernetes.io/safe-to-evict".to_owned(), "false".to_owned());
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels(job)),
            annotations: Some([annotation].into()),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            containers: vec![container(image)],
            restart_policy: Some("Never".to_owned()),
            termination_grace_period_seconds: Some(GRACE_S),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            affinity: Some(on_nodes(nodes)),
            topology_spread_constraints: Some(vec![spread(job)]),
            tolerations: Some(vec![Toleration { operator: Some("Exists".to_owned()), ..Toleration::default() }]),
            security_context: Some(PodSecurityContext {
                run_as_non_root: Some(true),
                run_as_user: Some(USER),
                run_as_group: Some(USER),
                seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
                ..PodSecurityContext::default()
            }),
            ..PodSpec::default()
        }),
    }
}

/// As evenly over the nodes as their room allows.
fn spread(job: &str) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: "kubernetes.io/hostname".to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(LabelSelector {
            match_labels: Some([(INSTANCE.to_owned(), job.to_owned())].into()),
            ..LabelSelector::default()
        }),
        ..TopologySpreadConstraint::default()
    }
}

fn container(image: &str) -> Container {
    let request = |name: &str, quantity: &str| (name.to_owned(), Quantity(quantity.to_owned()));
    Container {
        name: "agent".to_owned(),
        image: Some(image.to_owned()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        args: Some(vec!["agent".to_owned(), "--port".to_owned(), PORT.to_string()]),
        ports: Some(vec![ContainerPort { container_port: i32::from(PORT), ..ContainerPort::default() }]),
        readiness_probe: Some(Probe {
            http_get: Some(HTTPGetAction {
                path: Some(READY.to_owned()),
                port: IntOrString::Int(i32::from(PORT)),
                ..HTTPGetAction::default()
            }),
            period_seconds: Some(1),
            ..Probe::default()
        }),
        resources: Some(ResourceRequirements {
            // The share of a busy node that it gets: an agent that is starved sends late, and the run has no verdict.
            requests: Some([request("cpu", "250m"), request("memory", "32Mi")].into()),
            ..ResourceRequirements::default()
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            read_only_root_filesystem: Some(true),
            ..SecurityContext::default()
        }),
        // The last line of its log says why an agent ended.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        ..Container::default()
    }
}

/// By the nodes' names, as a `DaemonSet` pins its pods: the label `kubernetes.io/hostname` isn't the name everywhere,
/// and `spec.nodeName` would pass the scheduler by, and with it every check for room. A term can have but one name.
fn on_nodes(nodes: &[String]) -> Affinity {
    let by_name = |node: &String| NodeSelectorRequirement {
        key: "metadata.name".to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![node.clone()]),
    };
    let term = |node| NodeSelectorTerm { match_fields: Some(vec![by_name(node)]), match_expressions: None };
    let node_selector_terms = nodes.iter().map(term).collect();
    Affinity {
        node_affinity: Some(NodeAffinity {
            required_during_scheduling_ignored_during_execution: Some(NodeSelector { node_selector_terms }),
            ..NodeAffinity::default()
        }),
        ..Affinity::default()
    }
}

/// How far a pod is on its way to being ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// It answers.
    Ready,
    /// Not yet; in words where it is.
    Waiting(String),
    /// No node takes it, for this reason; that may pass.
    Unschedulable(String),
    /// It will not start, for this reason, with what to try.
    Failed(String),
}

/// How far an agent's pod is on its way to being ready.
#[must_use]
pub fn progress(pod: &Pod, image: &str) -> Progress {
    if let Some(why) = ended(pod) {
        return Progress::Failed(why);
    }
    let status = pod.status.clone().unwrap_or_default();
    let conditions = status.conditions.unwrap_or_default();
    let condition = |name: &str| conditions.iter().find(|condition| condition.type_ == name);
    if condition("Ready").is_some_and(|ready| ready.status == "True") {
        return Progress::Ready;
    }
    if let Some(scheduled) = condition("PodScheduled")
        && scheduled.status == "False"
        && scheduled.reason.as_deref() == Some("Unschedulable")
    {
        let message = scheduled.message.clone().unwrap_or_default();
        return Progress::Unschedulable(format!("it cannot be scheduled where no step touches it: {message}"));
    }
    let state = container_state(pod).unwrap_or_default();
    let phase = status.phase.unwrap_or_else(|| "without a phase".to_owned());
    match state.waiting {
        Some(waiting) => {
            let reason = waiting.reason.unwrap_or_default();
            let message = waiting.message.unwrap_or_default();
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
            waiting_because(&reason, &message, node, image)
        }
        None if state.running.is_some() => Progress::Waiting("it runs and its readiness probe fails".to_owned()),
        None => Progress::Waiting(format!("it is {phase}")),
    }
}

fn waiting_because(reason: &str, message: &str, node: &str, image: &str) -> Progress {
    match reason {
        "ImagePullBackOff" | "ErrImageNeverPull" | "InvalidImageName" | "RegistryUnavailable" => {
            Progress::Failed(format!(
                "the image {image} is not on node {node} and cannot be pulled ({reason}): `evenkeel kind up` loads it into \
             a kind cluster; elsewhere push it to a registry that the nodes reach"
            ))
        }
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
            Progress::Failed(format!("its container cannot be made ({reason}): {message}"))
        }
        _ => Progress::Waiting(format!("its container waits ({reason}) {message}").trim_end().to_owned()),
    }
}

/// Why an agent's pod runs no more and never will, where that is so.
#[must_use]
pub fn ended(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref();
    if let Some(end) = container_state(pod).and_then(|state| state.terminated) {
        let reason = end.reason.unwrap_or_else(|| "no reason given".to_owned());
        let message = end.message.as_deref().map(str::trim).filter(|message| !message.is_empty());
        let message = message.map_or_else(String::new, |message| format!(": {message}"));
        return Some(format!("its container ended with exit code {} ({reason}){message}", end.exit_code));
    }
    let phase = status.and_then(|status| status.phase.as_deref());
    if matches!(phase, Some("Failed" | "Succeeded")) {
        let words = |text: Option<&String>| text.cloned().unwrap_or_default();
        let reason = words(status.and_then(|status| status.reason.as_ref()));
        let message = words(status.and_then(|status| status.message.as_ref()));
        return Some(format!("the pod has ended ({reason}) {message}").trim_end().to_owned());
    }
    None
}

fn container_state(pod: &Pod) -> Option<ContainerState> {
    pod.status.as_ref()?.container_statuses.as_ref()?.first()?.state.clone()
}

#[cfg(test)]
mod tests;
