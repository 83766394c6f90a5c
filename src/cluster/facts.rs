//! The cluster at one moment, as plain values for planning: one list of each kind.

use std::fmt::Debug;

use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::{DaemonSet, Deployment, StatefulSet},
        core::v1::{Container, LifecycleHandler, Namespace, Node, Pod, PodTemplateSpec, Probe, Service},
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector as ApiLabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use kube::{Api, Client, Resource, api::ListParams};
use serde::de::DeserializeOwned;

use super::{Cluster, ClusterError, error::attempt};
use crate::{
    experiment::{
        schema::Labels,
        units::{WorkloadKind, WorkloadRef},
    },
    model::{
        int_or_percent::IntOrPercent,
        selector::{LabelSelector, Operator, Requirement},
    },
    plan::facts::{
        BudgetFact, CONTROL_PLANE_LABEL, ClusterFacts, NodeFact, PodFact, ServiceFact, ServicePortFact, Strategy,
        Template, WorkloadFact,
    },
};

/// The grace period of a pod template that states none (k/pkg/apis/core/v1/defaults.go).
const GRACE_DEFAULT_SECONDS: i64 = 30;

/// Gathers what planning needs to know: all nodes, and of the namespace its pods, workloads, budgets and Services.
///
/// # Errors
/// When one of the lists cannot be had.
pub async fn facts(cluster: &Cluster, namespace: &str) -> Result<ClusterFacts, ClusterError> {
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    let everything = ListParams::default();
    let look = format!("look at namespace {namespace}");
    let client = &cluster.client;
    let (nodes, found, pods, workloads, budgets, services) = futures::try_join!(
        Box::pin(attempt("list the nodes", nodes.list(&everything))),
        Box::pin(attempt(&look, namespaces.get_opt(namespace))),
        list::<Pod>(client, namespace),
        workloads(client, namespace),
        list::<PodDisruptionBudget>(client, namespace),
        list::<Service>(client, namespace),
    )?;
    Ok(ClusterFacts {
        on: cluster.on.to_string(),
        server_version: cluster.server_version.clone(),
        nodes: nodes.iter().map(node_fact).collect(),
        namespace_exists: found.is_some(),
        pods: pods.iter().map(pod_fact).collect(),
        workloads,
        budgets: budgets.iter().map(budget_fact).collect(),
        services: services.iter().map(service_fact).collect(),
    })
}

/// The workloads of a namespace.
///
/// # Errors
/// When one of the lists cannot be had.
pub async fn workloads(client: &Client, namespace: &str) -> Result<Vec<WorkloadFact>, ClusterError> {
    let (deployments, stateful_sets, daemon_sets) = futures::try_join!(
        list::<Deployment>(client, namespace),
        list::<StatefulSet>(client, namespace),
        list::<DaemonSet>(client, namespace),
    )?;
    let mut workloads: Vec<WorkloadFact> = deployments.iter().map(deployment_fact).collect();
    workloads.extend(stateful_sets.iter().map(stateful_set_fact));
    workloads.extend(daemon_sets.iter().map(daemon_set_fact));
    Ok(workloads)
}

async fn list<K>(client: &Client, namespace: &str) -> Result<Vec<K>, ClusterError>
where
    K: Resource<Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    K::DynamicType: Default,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let what = format!("list {} in namespace {namespace}", K::plural(&K::DynamicType::default()));
    // Boxed: eight of these in one future would be 40 kB of it.
    Ok(Box::pin(attempt(&what, api.list(&ListParams::default()))).await?.items)
}

fn name_of(metadata: &ObjectMeta) -> String {
    metadata.name.clone().unwrap_or_default()
}

fn labels_of(metadata: &ObjectMeta) -> Labels {
    metadata.labels.clone().unwrap_or_default()
}

/// The controller of an object as `kind/name` in lower case.
#[must_use]
pub fn controller_of(metadata: &ObjectMeta) -> Option<String> {
    let owner = metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))?;
    Some(format!("{}/{}", owner.kind.to_lowercase(), owner.name))
}

/// A node as picking sees it.
#[must_use]
pub fn node_fact(node: &Node) -> NodeFact {
    let (spec, status) = (node.spec.clone().unwrap_or_default(), node.status.clone().unwrap_or_default());
    let labels = labels_of(&node.metadata);
    NodeFact {
        name: name_of(&node.metadata),
        ready: status.conditions.iter().flatten().any(|it| it.type_ == "Ready" && it.status == "True"),
        unschedulable: spec.unschedulable == Some(true),
        control_plane: labels.contains_key(CONTROL_PLANE_LABEL),
        labels,
        taints: spec.taints.iter().flatten().map(|taint| format!("{}:{}", taint.key, taint.effect)).collect(),
    }
}

/// A pod as picking sees it.
#[must_use]
pub fn pod_fact(pod: &Pod) -> PodFact {
    let status = pod.status.clone().unwrap_or_default();
    PodFact {
        name: name_of(&pod.metadata),
        labels: labels_of(&pod.metadata),
        node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        running: status.phase.as_deref() == Some("Running"),
        terminating: pod.metadata.deletion_timestamp.is_some(),
        ready: status.conditions.iter().flatten().any(|it| it.type_ == "Ready" && it.status == "True"),
        owner: controller_of(&pod.metadata),
        created: pod.metadata.creation_timestamp.as_ref().map(|time| time.0.to_string()).unwrap_or_default(),
    }
}

fn deployment_fact(deployment: &Deployment) -> WorkloadFact {
    let spec = deployment.spec.clone().unwrap_or_default();
    let strategy = spec.strategy.unwrap_or_default();
    let rolling = strategy.rolling_update.unwrap_or_default();
    WorkloadFact {
        workload: WorkloadRef { kind: WorkloadKind::Deployment, name: name_of(&deployment.metadata) },
        replicas: spec.replicas.unwrap_or(1),
        selector: selector_of(&spec.selector),
        strategy: Strategy {
            kind: strategy.type_.unwrap_or_else(|| "RollingUpdate".to_owned()),
            max_surge: rolling.max_surge.as_ref().and_then(int_or_percent),
            max_unavailable: rolling.max_unavailable.as_ref().and_then(int_or_percent),
        },
        min_ready_seconds: spec.min_ready_seconds.unwrap_or(0),
        template: template_of(&spec.template),
    }
}

fn stateful_set_fact(set: &StatefulSet) -> WorkloadFact {
    let spec = set.spec.clone().unwrap_or_default();
    let strategy = spec.update_strategy.unwrap_or_default();
    let max_unavailable = strategy.rolling_update.and_then(|rolling| rolling.max_unavailable);
    WorkloadFact {
        workload: WorkloadRef { kind: WorkloadKind::StatefulSet, name: name_of(&set.metadata) },
        replicas: spec.replicas.unwrap_or(1),
        selector: selector_of(&spec.selector),
        strategy: Strategy {
            kind: strategy.type_.unwrap_or_else(|| "RollingUpdate".to_owned()),
            max_surge: None,
            max_unavailable: max_unavailable.as_ref().and_then(int_or_percent),
        },
        min_ready_seconds: spec.min_ready_seconds.unwrap_or(0),
        template: template_of(&spec.template),
    }
}

fn daemon_set_fact(set: &DaemonSet) -> WorkloadFact {
    let spec = set.spec.clone().unwrap_or_default();
    let strategy = spec.update_strategy.unwrap_or_default();
    let rolling = strategy.rolling_update.unwrap_or_default();
    WorkloadFact {
        workload: WorkloadRef { kind: WorkloadKind::DaemonSet, name: name_of(&set.metadata) },
        replicas: set.status.as_ref().map_or(0, |status| status.desired_number_scheduled),
        selector: selector_of(&spec.selector),
        strategy: Strategy {
            kind: strategy.type_.unwrap_or_else(|| "RollingUpdate".to_owned()),
            max_surge: rolling.max_surge.as_ref().and_then(int_or_percent),
            max_unavailable: rolling.max_unavailable.as_ref().and_then(int_or_percent),
        },
        min_ready_seconds: spec.min_ready_seconds.unwrap_or(0),
        template: template_of(&spec.template),
    }
}

fn template_of(template: &PodTemplateSpec) -> Template {
    let spec = template.spec.clone().unwrap_or_default();
    Template {
        labels: template.metadata.as_ref().map(labels_of).unwrap_or_default(),
        containers: spec.containers.iter().map(|container| container.name.clone()).collect(),
        grace_seconds: spec.termination_grace_period_seconds.unwrap_or(GRACE_DEFAULT_SECONDS),
        pre_stop_seconds: spec.containers.iter().filter_map(pre_stop_seconds).max(),
        boot_seconds: spec.containers.iter().map(boot_seconds).max().unwrap_or(0),
    }
}

/// How long a container's preStop hook sleeps, where that is all it does or its command says so.
fn pre_stop_seconds(container: &Container) -> Option<i64> {
    let hook: &LifecycleHandler = container.lifecycle.as_ref()?.pre_stop.as_ref()?;
    if let Some(sleep) = &hook.sleep {
        return Some(sleep.seconds);
    }
    let command = hook.exec.as_ref()?.command.as_ref()?.join(" ");
    let words: Vec<&str> = command.split(|c: char| c.is_whitespace() || c == ';' || c == '&').collect();
    let time = words.windows(2).find(|pair| pair[0] == "sleep" || pair[0].ends_with("/sleep"))?[1];
    time.strip_suffix('s').unwrap_or(time).parse().ok()
}

/// The earliest second at which a container's probes can have let it be ready. A probe is made at once after its
/// delay, and then once in each period.
fn boot_seconds(container: &Container) -> i64 {
    let earliest = |probe: &Probe| {
        let further = probe.success_threshold.unwrap_or(1).max(1) - 1;
        i64::from(probe.initial_delay_seconds.unwrap_or(0))
            + i64::from(further) * i64::from(probe.period_seconds.unwrap_or(10))
    };
    let startup = container.startup_probe.as_ref().map_or(0, earliest);
    startup + container.readiness_probe.as_ref().map_or(0, earliest)
}

fn budget_fact(budget: &PodDisruptionBudget) -> BudgetFact {
    let spec = budget.spec.clone().unwrap_or_default();
    BudgetFact {
        name: name_of(&budget.metadata),
        selector: spec.selector.as_ref().map(selector_of),
        min_available: spec.min_available.as_ref().and_then(int_or_percent),
        max_unavailable: spec.max_unavailable.as_ref().and_then(int_or_percent),
    }
}

fn service_fact(service: &Service) -> ServiceFact {
    let spec = service.spec.clone().unwrap_or_default();
    let ports = spec.ports.iter().flatten();
    ServiceFact {
        name: name_of(&service.metadata),
        kind: spec.type_.unwrap_or_else(|| "ClusterIP".to_owned()),
        // A headless Service says "None" here.
        cluster_ip: spec.cluster_ip.filter(|ip| !ip.is_empty() && ip != "None"),
        ports: ports
            .filter_map(|port| {
                let node_port = port.node_port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
                Some(ServicePortFact { port: u16::try_from(port.port).ok()?, node_port })
            })
            .collect(),
        selector: spec.selector.unwrap_or_default(),
    }
}

fn int_or_percent(value: &IntOrString) -> Option<IntOrPercent> {
    match value {
        IntOrString::Int(pods) => Some(IntOrPercent::Int(*pods)),
        IntOrString::String(text) => text.parse().ok(),
    }
}

/// A selector of the API as the model has it.
#[must_use]
pub fn selector_of(selector: &ApiLabelSelector) -> LabelSelector {
    let expressions = selector.match_expressions.iter().flatten();
    LabelSelector {
        match_labels: selector.match_labels.clone().unwrap_or_default(),
        match_expressions: expressions
            .map(|one| {
                let values = one.values.clone().unwrap_or_default();
                let (operator, values) = match one.operator.as_str() {
                    "In" => (Operator::In, values),
                    "NotIn" => (Operator::NotIn, values),
                    "Exists" => (Operator::Exists, values),
                    "DoesNotExist" => (Operator::DoesNotExist, values),
                    // An operator of a later version: selecting nothing is the answer that moves no pod.
                    _ => (Operator::In, Vec::new()),
                };
                Requirement { key: one.key.clone(), operator, values }
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests;
