//! Steps in words: what each does, to what and why that, and how it is undone.

use serde::{Deserialize, Serialize};

use super::{
    pick::{pick_nodes, pick_pods},
    problem::PlanProblem,
    spared::pick_of,
    world::{World, counted, listed, replicas},
};
use crate::{
    experiment::{
        schema::{DeletePods, Drain, DrainOrder, NodePick, RollingUpdate, Step, Wait},
        units::WorkloadRef,
    },
    model::selector::labels_in_words,
};

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepPlan {
    /// Its place in the file, such as `1` or `2.1`.
    pub path: String,
    /// Its name, or its verb.
    pub name: String,
    /// Its verb.
    pub verb: String,
    /// What it does, in words.
    pub does: String,
    /// What it acts on, where that is picked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pick: Option<PickPlan>,
    /// What puts it back, in words; empty where nothing needs to be.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub undo: String,
}

/// What a step picks. The run picks again when the step begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PickPlan {
    /// The rule, in words.
    pub rule: String,
    /// What the rule picks now, as `node/NAME` or `pod/NAME` with why; empty where there is nothing yet to pick from.
    pub now: Vec<(String, String)>,
    /// What it can pick from, where it cannot be told yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<String>,
}

/// One step at its place.
pub(super) fn step(path: String, step: &Step, world: &World<'_>, problems: &mut Vec<PlanProblem>) -> StepPlan {
    let place = format!("{path} ({})", step.name());
    let mut refuse = |problem| problems.push(problem);
    let pick = match (pick_of(step), step) {
        (Some(pick), _) => nodes(&place, pick, world, &mut refuse),
        (None, Step::DeletePods(delete)) => pods(&place, delete, world, &mut refuse),
        _ => None,
    };
    if let Some(workload) = workload_of(step)
        && world.workload(workload).is_none()
    {
        refuse(PlanProblem::Missing {
            needed_by: format!("step {place}"),
            object: workload.to_string(),
            namespace: world.namespace.to_owned(),
            have: listed(world.workloads.iter().map(|fact| fact.workload.to_string())),
        });
    }
    let (does, undo) = (does(step), undo(step, world));
    StepPlan { path, name: step.name().to_owned(), verb: step.verb().to_owned(), does, pick, undo }
}

/// The workload that a step names.
fn workload_of(step: &Step) -> Option<&WorkloadRef> {
    match step {
        Step::RollingUpdate(update) => Some(&update.workload),
        Step::Scale(scale) => Some(&scale.workload),
        Step::Wait(wait) => wait.rollout.as_ref(),
        _ => None,
    }
}

fn nodes(place: &str, pick: &NodePick, world: &World<'_>, refuse: &mut impl FnMut(PlanProblem)) -> Option<PickPlan> {
    let number = pick.count.map_or("all".to_owned(), |count| count.to_string());
    let rule = match (&pick.names, &pick.with_pods, &pick.selector) {
        (Some(_), ..) => "the nodes named in the file".to_owned(),
        (_, Some(labels), _) => {
            format!("{number} of the nodes with pods {}, most pods first, then by name", labels_in_words(labels))
        }
        (_, _, Some(labels)) => format!("{number} of the nodes with labels {}, by name", labels_in_words(labels)),
        _ => return None,
    };
    if world.created && pick.with_pods.is_some() {
        let candidates = world.workers();
        let wanted = pick.count.unwrap_or(1);
        if usize::try_from(wanted).is_ok_and(|wanted| wanted > candidates.len()) {
            refuse(PlanProblem::TooFew {
                step: place.to_owned(),
                wanted,
                rule: "nodes with pods".to_owned(),
                most: candidates.len(),
                or_else: ", or add workers".to_owned(),
            });
        }
        let candidates = candidates.into_iter().map(str::to_owned).collect();
        return Some(PickPlan { rule, now: Vec::new(), candidates });
    }
    match pick_nodes(pick, world.facts) {
        Ok(picked) => {
            let now = picked.into_iter().map(|one| (format!("node/{}", one.node), one.why)).collect();
            Some(PickPlan { rule, now, candidates: Vec::new() })
        }
        Err(problem) => {
            refuse(PlanProblem::Pick { step: place.to_owned(), problem });
            None
        }
    }
}

fn pods(place: &str, delete: &DeletePods, world: &World<'_>, refuse: &mut impl FnMut(PlanProblem)) -> Option<PickPlan> {
    let labels = labels_in_words(&delete.selector);
    let rule = format!("{} of the running pods {labels}, the oldest first, then by name", delete.count);
    if !world.created {
        return match pick_pods(&delete.selector, delete.count, world.facts) {
            Ok(picked) => {
                let now = picked.into_iter().map(|one| (format!("pod/{}", one.pod), one.why)).collect();
                Some(PickPlan { rule, now, candidates: Vec::new() })
            }
            Err(problem) => {
                refuse(PlanProblem::Pick { step: place.to_owned(), problem });
                None
            }
        };
    }
    let owners = world.with_labels(&delete.selector);
    let most = usize::try_from(replicas(&owners)).unwrap_or(0);
    // Pods of other kinds, such as Jobs, are not counted here, so only workloads can be too small.
    if !owners.is_empty() && usize::try_from(delete.count).is_ok_and(|wanted| wanted > most) {
        refuse(PlanProblem::TooFew {
            step: place.to_owned(),
            wanted: delete.count,
            rule: format!("pods {labels}"),
            most,
            or_else: ", or raise `replicas`".to_owned(),
        });
    }
    let candidates = owners.iter().map(|fact| format!("{} of {}", counted(fact.replicas, "pod"), fact.workload));
    Some(PickPlan { rule, now: Vec::new(), candidates: candidates.collect() })
}

fn does(step: &Step) -> String {
    match step {
        Step::Drain(drain) => drained(drain),
        Step::Cordon(_) => "mark the nodes unschedulable".to_owned(),
        Step::Uncordon(_) => "mark the nodes schedulable".to_owned(),
        Step::DeletePods(delete) => {
            let how = match (delete.force, delete.grace_period) {
                (true, _) => " at once, with grace period 0".to_owned(),
                (false, Some(grace)) => format!(" with a grace period of {grace}"),
                (false, None) => " with their own grace period".to_owned(),
            };
            format!("delete the pods{how}")
        }
        Step::RollingUpdate(update) => updated(update),
        Step::Scale(scale) => format!("scale {} to {}", scale.workload, scale.replicas),
        Step::Wait(wait) => waited(wait),
        Step::Parallel(members) => format!("start {} at once, until all are done", counted_steps(members)),
        Step::Sequence(members) => format!("do {} one after another", counted_steps(members)),
    }
}

fn counted_steps(steps: &[Step]) -> String {
    counted(i64::try_from(steps.len()).unwrap_or(i64::MAX), "step")
}

fn drained(drain: &Drain) -> String {
    let order = match drain.order {
        DrainOrder::InTurn => "one after another",
        DrainOrder::AtOnce => "all at once",
    };
    let how = if drain.disable_eviction { "delete their pods past every budget" } else { "evict their pods" };
    let mut words = vec![format!("cordon the nodes, then {how}, {order}")];
    let options = [
        (drain.ignore_daemonsets, "pods of DaemonSets stay"),
        (drain.delete_emptydir_data, "emptyDir data is lost"),
        (drain.force, "pods without a controller go too"),
    ];
    words.extend(options.iter().filter(|(set, _)| *set).map(|(_, words)| (*words).to_owned()));
    words.extend(drain.pod_selector.as_ref().map(|labels| format!("only pods {}", labels_in_words(labels))));
    words.extend(drain.grace_period.map(|grace| format!("grace period {grace}")));
    words.push(format!("within {}", drain.timeout));
    words.join("; ")
}

fn updated(update: &RollingUpdate) -> String {
    let container = update.container.as_ref().map(|name| format!(" of container {name}")).unwrap_or_default();
    let change = match (&update.image, &update.env) {
        (Some(image), _) => format!("set the image{container} to {image}"),
        (None, Some(env)) => {
            let names = listed(env.iter().map(|(name, value)| format!("{name}={value}")));
            format!("set {names}{container}")
        }
        (None, None) => "restart by an annotation".to_owned(),
    };
    format!("roll {}: {change}", update.workload)
}

fn waited(wait: &Wait) -> String {
    let within = wait.within;
    match (&wait.time, &wait.rollout, &wait.pods_ready, &wait.pods_gone) {
        (Some(time), ..) => format!("wait for {time}"),
        (_, Some(workload), ..) => {
            format!("wait until {workload} is rolled out and its old pods are gone, within {within}")
        }
        (_, _, Some(pods), _) => {
            let labels = labels_in_words(&pods.selector);
            format!("wait until {} with {labels} are ready, within {within}", counted(pods.count, "pod"))
        }
        (_, _, _, Some(labels)) => {
            format!("wait until no pod with {} is terminating, within {within}", labels_in_words(labels))
        }
        _ => "wait".to_owned(),
    }
}

fn undo(step: &Step, world: &World<'_>) -> String {
    match step {
        Step::Drain(_) | Step::Cordon(_) => "uncordon the nodes that were schedulable before".to_owned(),
        Step::Uncordon(_) => "cordon the nodes that were cordoned before".to_owned(),
        Step::RollingUpdate(update) => format!("restore the pod template of {}", update.workload),
        Step::Scale(scale) => {
            let before = world.workload(&scale.workload).map(|fact| fact.replicas);
            let before = before.map_or("as many as before".to_owned(), |replicas| replicas.to_string());
            format!("scale {} back to {before}", scale.workload)
        }
        Step::DeletePods(_) if !world.created => "see as many pods ready as before".to_owned(),
        Step::DeletePods(_) | Step::Wait(_) | Step::Parallel(_) | Step::Sequence(_) => String::new(),
    }
}
