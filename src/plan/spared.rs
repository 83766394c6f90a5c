//! The nodes that no step touches: where agent pods can stand without becoming a casualty of what it measures.

use super::{
    facts::{CONTROL_PLANE_LABEL, ClusterFacts, NodeFact},
    problem::PlanProblem,
    world::listed,
};
use crate::{
    experiment::{
        schema::{Experiment, NodePick, Step},
        steps::with_places,
    },
    model::selector::contains_all,
};

/// The nodes on which an experiment's agents stand: the first that no step can pick, one for each agent as far as there
/// are so many.
pub fn agent_nodes(experiment: &Experiment, facts: &ClusterFacts) -> Result<Vec<String>, PlanProblem> {
    let mut nodes = spared_nodes(experiment, facts)?;
    nodes.truncate(usize::try_from(experiment.spec.agents.get()).unwrap_or(usize::MAX));
    Ok(nodes)
}

/// Ready, schedulable nodes that no step can pick: workers first, then the control plane, each by name. At least one.
///
/// A pick by name touches those names; one by pods any worker, since pods move; one by labels the nodes that have
/// them. The control plane is touched only by name, or by a selector that has its label.
fn spared_nodes(experiment: &Experiment, facts: &ClusterFacts) -> Result<Vec<String>, PlanProblem> {
    let picks: Vec<&NodePick> =
        with_places(&experiment.spec.steps).into_iter().filter_map(|(_, step)| pick_of(step)).collect();
    let mut ready: Vec<&NodeFact> = facts.nodes.iter().filter(|node| node.ready && !node.unschedulable).collect();
    ready.sort_unstable_by_key(|node| (node.control_plane, node.name.as_str()));
    let spared: Vec<String> = ready
        .iter()
        .filter(|node| !picks.iter().any(|pick| can_touch(pick, node)))
        .map(|node| node.name.clone())
        .collect();
    if spared.is_empty() {
        return Err(PlanProblem::NoSparedNode { nodes: listed(ready.iter().map(|node| node.name.as_str())) });
    }
    Ok(spared)
}

/// The nodes that a step drains or cordons.
pub(super) const fn pick_of(step: &Step) -> Option<&NodePick> {
    match step {
        Step::Drain(drain) => Some(&drain.nodes),
        Step::Cordon(cordon) | Step::Uncordon(cordon) => Some(&cordon.nodes),
        _ => None,
    }
}

fn can_touch(pick: &NodePick, node: &NodeFact) -> bool {
    if let Some(names) = &pick.names {
        return names.contains(&node.name);
    }
    let by_label = pick.selector.as_ref().is_some_and(|labels| contains_all(&node.labels, labels));
    if node.control_plane {
        let is_meant = pick.selector.as_ref().is_some_and(|labels| labels.contains_key(CONTROL_PLANE_LABEL));
        return is_meant && by_label;
    }
    pick.with_pods.is_some() || by_label
}
