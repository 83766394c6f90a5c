//! The guards: whether what a step is about to take is more than the file allows, or more than is ever meant. The same
//! rules in the plan, by what is known then, and in the run, by fresh facts, right before each act.

use std::collections::BTreeSet;

use super::{
    facts::{ClusterFacts, PodFact, WorkloadFact},
    pick::{pick_nodes, pick_pods},
    problem::PlanProblem,
};
use crate::{
    experiment::{
        guards::Guards,
        schema::{Cordon, Drain, Experiment, NodePick, Step},
        steps::with_places,
        units::WorkloadRef,
    },
    model::selector::LabelSelector,
};

/// The namespaces that Kubernetes makes for itself.
pub const SYSTEM_NAMESPACES: [&str; 3] = ["kube-system", "kube-public", "kube-node-lease"];

/// The label that names a node's zone.
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// What a guard does not let pass.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuardProblem {
    /// More nodes than allowed.
    #[error("nodes {nodes} would be {count}, and guards.maxNodes allows {most}")]
    Nodes {
        /// All of them.
        nodes: String,
        /// How many.
        count: usize,
        /// How many may be.
        most: u32,
    },
    /// More zones than allowed.
    #[error("zones {zones} would be {count}, and guards.maxZones allows {most}")]
    Zones {
        /// All of them.
        zones: String,
        /// How many.
        count: usize,
        /// How many may be.
        most: u32,
    },
    /// More pods than allowed.
    #[error("{count} pods would go ({pods}), and guards.maxPods allows {most}")]
    Pods {
        /// All of them.
        pods: String,
        /// How many.
        count: usize,
        /// How many may.
        most: u32,
    },
    /// A node that is protected.
    #[error("node/{node} stands in guards.protectedNodes; name another, or take it out")]
    ProtectedNode {
        /// The node.
        node: String,
    },
    /// A majority would not be left.
    #[error(
        "{workload} has {ready} of {replicas} pods ready; without {taken} of them no majority of {majority} is left, \
         which guards.quorum asks for"
    )]
    Quorum {
        /// The workload.
        workload: String,
        /// Its ready pods.
        ready: usize,
        /// All it should have.
        replicas: i32,
        /// How many would go.
        taken: usize,
        /// How many must stay.
        majority: usize,
    },
    /// A majority of the control plane would not be left schedulable.
    #[error(
        "{taken} of the {all} nodes of the control plane would be cordoned ({nodes}), which leaves no majority; take \
         fewer at a time"
    )]
    ControlPlane {
        /// Those that would go.
        nodes: String,
        /// How many.
        taken: usize,
        /// How many there are.
        all: usize,
    },
    /// No ready pod would be left.
    #[error(
        "{pods} would go, and {workload} has no other ready pod; scale it up, or set guards.allowLastReplica where that \
         is meant"
    )]
    LastReplica {
        /// The pods that would go.
        pods: String,
        /// The workload.
        workload: String,
    },
    /// A namespace of Kubernetes' own.
    #[error(
        "namespace {namespace} is Kubernetes' own; name that of a service, or set guards.allowSystemNamespace where it \
         is meant"
    )]
    SystemNamespace {
        /// The namespace.
        namespace: String,
    },
}

/// Whether the experiment may be about its namespace at all.
pub fn namespace(experiment: &Experiment) -> Result<(), GuardProblem> {
    let namespace = &experiment.spec.given.namespace;
    if SYSTEM_NAMESPACES.contains(&namespace.as_str()) && !experiment.spec.guards.allow_system_namespace {
        return Err(GuardProblem::SystemNamespace { namespace: namespace.clone() });
    }
    Ok(())
}

/// All that the guards do not let pass by what the plan knows. In a namespace that is not there yet no pod is known;
/// the run asks again.
pub(super) fn planned(experiment: &Experiment, facts: &ClusterFacts, ours: bool) -> Vec<PlanProblem> {
    let guards = &experiment.spec.guards;
    let mut problems = Vec::new();
    if let Err(problem) = namespace(experiment) {
        problems.push(PlanProblem::Guard { place: String::new(), problem });
    }
    let mut away: Vec<String> = Vec::new();
    for (path, step) in with_places(&experiment.spec.steps) {
        let checked = match step {
            Step::Drain(Drain { nodes, .. }) | Step::Cordon(Cordon { nodes, .. }) => {
                let Some(taken) = picked(nodes, facts, ours) else { continue };
                let of_nodes = self::nodes(guards, &away, &taken, facts);
                let of_pods = match step {
                    Step::Drain(_) if !ours => pods(guards, &pods_on(&taken, facts), facts, ours),
                    _ => Ok(()),
                };
                away.extend(taken);
                of_nodes.and(of_pods)
            }
            Step::Uncordon(Cordon { nodes, .. }) => {
                let back = picked(nodes, facts, ours).unwrap_or_default();
                away.retain(|node| !back.contains(node));
                Ok(())
            }
            Step::DeletePods(delete) if !ours => {
                // That there are too few is told where they are picked.
                let taken = pick_pods(&delete.selector, delete.count, facts).unwrap_or_default();
                let taken = |pod: &&PodFact| taken.iter().any(|one| one.pod == pod.name);
                pods(guards, &facts.pods.iter().filter(taken).collect::<Vec<_>>(), facts, ours)
            }
            _ => Ok(()),
        };
        if let Err(problem) = checked {
            problems.push(PlanProblem::Guard { place: format!("step {path} ({}): ", step.name()), problem });
        }
    }
    problems
}

/// The nodes that a step takes, as far as that is known.
fn picked(pick: &NodePick, facts: &ClusterFacts, ours: bool) -> Option<Vec<String>> {
    if ours && pick.with_pods.is_some() {
        return None;
    }
    Some(pick_nodes(pick, facts).ok()?.into_iter().map(|one| one.node).collect())
}

/// Whether these nodes may be cordoned or drained, besides those that are away already.
pub fn nodes(guards: &Guards, away: &[String], taken: &[String], facts: &ClusterFacts) -> Result<(), GuardProblem> {
    if let Some(node) = taken.iter().find(|node| guards.protected_nodes.contains(node)) {
        return Err(GuardProblem::ProtectedNode { node: node.clone() });
    }
    let all: BTreeSet<&String> = away.iter().chain(taken).collect();
    if let Some(most) = guards.max_nodes.filter(|most| exceeds(all.len(), *most)) {
        return Err(GuardProblem::Nodes { nodes: joined(all.iter()), count: all.len(), most });
    }
    let of = |name: &str| facts.nodes.iter().find(|node| node.name == name);
    let zones: BTreeSet<&String> = all.iter().filter_map(|name| of(name)?.labels.get(ZONE_LABEL)).collect();
    if let Some(most) = guards.max_zones.filter(|most| exceeds(zones.len(), *most)) {
        return Err(GuardProblem::Zones { zones: joined(zones.iter()), count: zones.len(), most });
    }
    let control: Vec<&String> =
        all.iter().copied().filter(|name| of(name).is_some_and(|node| node.control_plane)).collect();
    let of_control_plane = facts.nodes.iter().filter(|node| node.control_plane).count();
    // One node alone has no majority to lose: what keeps it from being picked is that it must be named.
    if of_control_plane > 1 && of_control_plane - control.len() < majority_of(of_control_plane) {
        return Err(GuardProblem::ControlPlane {
            nodes: joined(control.iter()),
            taken: control.len(),
            all: of_control_plane,
        });
    }
    Ok(())
}

/// Whether these pods of the experiment's namespace may go. `ours` is a namespace that the run has made, where
/// nobody's last replica can be lost.
pub fn pods(guards: &Guards, taken: &[&PodFact], facts: &ClusterFacts, ours: bool) -> Result<(), GuardProblem> {
    let names = || joined(taken.iter().map(|pod| &pod.name));
    if let Some(most) = guards.max_pods.filter(|most| exceeds(taken.len(), *most)) {
        return Err(GuardProblem::Pods { pods: names(), count: taken.len(), most });
    }
    for workload in &facts.workloads {
        let ready: Vec<&PodFact> = facts.pods.iter().filter(|pod| pod.ready && is_of(workload, pod)).collect();
        let going = ready.iter().filter(|pod| taken.iter().any(|one| one.name == pod.name)).count();
        if going == 0 {
            continue;
        }
        if is_guarded(&guards.quorum, workload) {
            let majority = majority_of(usize::try_from(workload.replicas).unwrap_or_default());
            if ready.len() - going < majority {
                return Err(GuardProblem::Quorum {
                    workload: workload.workload.to_string(),
                    ready: ready.len(),
                    replicas: workload.replicas,
                    taken: going,
                    majority,
                });
            }
        }
        if going == ready.len() && !ours && !guards.allow_last_replica {
            return Err(GuardProblem::LastReplica { pods: names(), workload: workload.workload.to_string() });
        }
    }
    Ok(())
}

/// The pods of the facts that stand on these nodes and would be evicted from them.
#[must_use]
pub fn pods_on<'a>(nodes: &[String], facts: &'a ClusterFacts) -> Vec<&'a PodFact> {
    let stands = |pod: &&PodFact| pod.node.as_ref().is_some_and(|node| nodes.contains(node));
    let evicted = |pod: &&PodFact| !pod.owner.as_deref().is_some_and(|owner| owner.starts_with("daemonset/"));
    facts.pods.iter().filter(|pod| !pod.terminating).filter(stands).filter(evicted).collect()
}

fn is_of(workload: &WorkloadFact, pod: &PodFact) -> bool {
    // An empty selector selects nothing in a workload.
    workload.selector != LabelSelector::default() && workload.selector.matches(&pod.labels) && !pod.terminating
}

fn is_guarded(quorum: &[WorkloadRef], workload: &WorkloadFact) -> bool {
    quorum.contains(&workload.workload)
}

const fn majority_of(all: usize) -> usize {
    all / 2 + 1
}

fn exceeds(count: usize, most: u32) -> bool {
    usize::try_from(most).is_ok_and(|most| count > most)
}

fn joined<'a>(names: impl Iterator<Item = impl AsRef<str> + 'a>) -> String {
    names.map(|name| name.as_ref().to_owned()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
