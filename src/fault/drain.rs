//! Drains nodes the way kubectl does: cordon all of them, then for each list, filter, evict everything at once, wait.
//! Deliberate differences: there always is a time limit, it holds for the whole step, and every eviction is recorded.
//!
//! (kubectl/pkg/cmd/drain/drain.go and kubectl/pkg/drain/drain.go v0.34.4.)

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::future::join_all;
use k8s_openapi::api::{apps::v1::DaemonSet, core::v1::Pod};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams},
};
use tokio::time::Instant;

use super::{
    abort::Aborted,
    api::{ApiError, call, found},
    drain_error::{DrainError, WhyLeft, WhyNotDrained},
    drain_filter::{Candidate, Controller, Fate, Options, fate},
    error::StepError,
    evict::{self, Leaver, OVERSHOOT},
    guard, node,
    stage::Stage,
    steps::Progress,
    target,
    words::count_of_pods,
};
use crate::{
    experiment::{
        schema::{Drain, DrainOrder},
        units::Span,
    },
    failure::chain,
    model::selector::LabelSelector,
};

/// The annotation of pods that the kubelet makes from files.
const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";

/// What came of one node.
struct Drained {
    evicted: usize,
    warnings: Vec<String>,
}

/// Runs a `drain` step.
pub(super) async fn run(step: &Drain, stage: &Stage, progress: &Progress) -> Result<String, StepError> {
    let deadline = Instant::now() + step.timeout.duration();
    let (picked, facts) = target::nodes(&step.nodes, stage).await?;
    let nodes: Vec<String> = picked.iter().map(|one| one.node.clone()).collect();
    let why = picked.iter().map(|one| format!("node/{} ({})", one.node, one.why)).collect::<Vec<_>>().join(", ");
    progress.begun(format!("drain {why}"), nodes.iter().map(|node| format!("node/{node}")).collect());
    guard::nodes(&nodes, &facts, true, stage).await?;
    node::set_all(&nodes, true, stage).await?;
    let all = drain_all(&nodes, step, stage, deadline);
    // A drain ends by itself in time unless the API server hangs; only then is it cut off here.
    let Ok(results) = tokio::time::timeout_at(deadline + OVERSHOOT + Duration::from_millis(500), all).await else {
        let nodes = nodes.into_iter().map(|node| (node, WhyNotDrained::NoAnswer)).collect();
        return Err(StepError::Drain(Box::new(DrainError { timeout_s: step.timeout.duration().as_secs_f64(), nodes })));
    };
    summary(nodes, results, step.timeout, stage).inspect(|detail| progress.effective(detail.clone()))
}

async fn drain_all(
    nodes: &[String],
    step: &Drain,
    stage: &Stage,
    deadline: Instant,
) -> Vec<Result<Drained, WhyNotDrained>> {
    match step.order {
        DrainOrder::AtOnce => join_all(nodes.iter().map(|node| drain_node(node, step, stage, deadline))).await,
        DrainOrder::InTurn => {
            let mut results = Vec::new();
            for node in nodes {
                // A node that fails does not keep the next from its turn.
                results.push(drain_node(node, step, stage, deadline).await);
            }
            results
        }
    }
}

/// One line about all nodes, or all that is left on them.
fn summary(
    nodes: Vec<String>,
    results: Vec<Result<Drained, WhyNotDrained>>,
    timeout: Span,
    stage: &Stage,
) -> Result<String, StepError> {
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for (node, result) in nodes.into_iter().zip(results) {
        match result {
            Ok(Drained { evicted, warnings }) => {
                done.push(format!("node/{node} unschedulable, {} seen gone", count_of_pods(evicted)));
                done.extend(warnings);
            }
            Err(why) => failed.push((node, why)),
        }
    }
    if failed.is_empty() {
        return Ok(done.join("; "));
    }
    if stage.abort.requested() {
        return Err(StepError::Aborted { doing: "drain".into() });
    }
    Err(StepError::Drain(Box::new(DrainError { timeout_s: timeout.duration().as_secs_f64(), nodes: failed })))
}

async fn drain_node(node: &str, step: &Drain, stage: &Stage, deadline: Instant) -> Result<Drained, WhyNotDrained> {
    let listed = stage.abort.or(list(node, step, stage)).await;
    let (pods, daemon_sets) = match listed {
        Ok(answer) => answer.map_err(WhyNotDrained::List)?,
        Err(Aborted) => return Err(WhyNotDrained::Left(Vec::new())),
    };
    let (leavers, warnings) = filter(node, &pods, &daemon_sets, Options::from(step))?;
    let grace = step.grace_period.map(whole_seconds);
    let left = if step.disable_eviction {
        delete_all(stage, &leavers, grace, deadline).await
    } else {
        let all = leavers.iter().map(|pod| evict::evict(stage, pod, grace, deadline));
        failures(&leavers, join_all(all).await)
    };
    if left.is_empty() { Ok(Drained { evicted: leavers.len(), warnings }) } else { Err(WhyNotDrained::Left(left)) }
}

/// A grace period as the API takes it: whole seconds, part of one counting as one.
pub(super) fn whole_seconds(span: Span) -> u64 {
    span.duration().as_millis().div_ceil(1_000).try_into().unwrap_or(u64::MAX)
}

type DaemonSets = BTreeMap<(String, String), Controller>;

/// The pods of a node in all namespaces, and the `DaemonSets` that they belong to.
async fn list(node: &str, step: &Drain, stage: &Stage) -> Result<(Vec<Pod>, DaemonSets), ApiError> {
    let mut params = ListParams::default().fields(&format!("spec.nodeName={node}"));
    if let Some(labels) = step.pod_selector.as_ref().filter(|labels| !labels.is_empty()) {
        params = params.labels(&LabelSelector::of_labels(labels).to_string());
    }
    let pods = target::list_all(&Api::<Pod>::all(stage.client.clone()), params).await?;
    let owners: BTreeSet<(String, String)> = pods
        .iter()
        .filter(|pod| !target::is_finished(pod))
        .filter_map(|pod| match target::controller(pod) {
            Some(("DaemonSet", name)) => Some((pod.namespace().unwrap_or_default(), name.to_owned())),
            _ => None,
        })
        .collect();
    let mut daemon_sets = DaemonSets::new();
    for (namespace, name) in owners {
        let controller =
            match found(call(Api::<DaemonSet>::namespaced(stage.client.clone(), &namespace).get(&name)).await) {
                Ok(Some(_)) => Controller::DaemonSet,
                Ok(None) => Controller::OrphanOfDaemonSet,
                Err(error) => Controller::UnknownDaemonSet(chain(&error)),
            };
        daemon_sets.insert((namespace, name), controller);
    }
    Ok((pods, daemon_sets))
}

/// Those that are to leave, and warnings; or why the node is not drained at all.
fn filter(
    node: &str,
    pods: &[Pod],
    daemon_sets: &DaemonSets,
    options: Options,
) -> Result<(Vec<Leaver>, Vec<String>), WhyNotDrained> {
    let (mut leavers, mut warnings, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for pod in pods {
        let leaver = leaver(pod, node);
        match fate(&candidate(pod, daemon_sets), options) {
            Fate::Evict(warning) => {
                warnings.extend(warning.map(|why| format!("pod {} evicted although {why}", leaver.full_name())));
                leavers.push(leaver);
            }
            Fate::Leave(warning) => {
                warnings.extend(warning.map(|why| format!("pod {} left, since {why}", leaver.full_name())));
            }
            Fate::Refuse(why) => refused.push((leaver.full_name(), why)),
        }
    }
    if refused.is_empty() { Ok((leavers, warnings)) } else { Err(WhyNotDrained::Filtered(refused)) }
}

fn candidate(pod: &Pod, daemon_sets: &DaemonSets) -> Candidate {
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
    let controller = match target::controller(pod) {
        None => Controller::None,
        Some(("DaemonSet", name)) => {
            let key = (pod.namespace().unwrap_or_default(), name.to_owned());
            daemon_sets.get(&key).cloned().unwrap_or(Controller::DaemonSet)
        }
        Some(_) => Controller::Other,
    };
    Candidate {
        controller,
        finished: target::is_finished(pod),
        mirror: pod.annotations().contains_key(MIRROR_ANNOTATION),
        empty_dir: volumes.iter().any(|volume| volume.empty_dir.is_some()),
    }
}

fn leaver(pod: &Pod, node: &str) -> Leaver {
    Leaver {
        namespace: pod.namespace().unwrap_or_default(),
        name: pod.name_any(),
        uid: pod.uid().unwrap_or_default(),
        node: node.to_owned(),
        terminating: pod.metadata.deletion_timestamp.is_some(),
    }
}

/// `--disable-eviction`: plain deletes one by one, of which the first that fails ends it, then one wait for all. No
/// budget is asked.
async fn delete_all(
    stage: &Stage,
    leavers: &[Leaver],
    grace_seconds: Option<u64>,
    deadline: Instant,
) -> Vec<(String, WhyLeft)> {
    let params = DeleteParams {
        grace_period_seconds: grace_seconds.map(|seconds| u32::try_from(seconds).unwrap_or(u32::MAX)),
        ..DeleteParams::default()
    };
    for pod in leavers {
        if stage.abort.requested() {
            return vec![(pod.full_name(), WhyLeft::Aborted)];
        }
        let api = Api::<Pod>::namespaced(stage.client.clone(), &pod.namespace);
        if let Err(error) = found(call(api.delete(&pod.name, &params)).await) {
            return vec![(pod.full_name(), WhyLeft::Failed(error))];
        }
    }
    failures(leavers, join_all(leavers.iter().map(|pod| evict::wait_until_gone(stage, pod, deadline))).await)
}

fn failures(leavers: &[Leaver], results: Vec<Result<(), WhyLeft>>) -> Vec<(String, WhyLeft)> {
    leavers.iter().zip(results).filter_map(|(pod, result)| Some((pod.full_name(), result.err()?))).collect()
}

#[cfg(test)]
mod tests;
