//! Which nodes and pods a step acts on, and why these: the same rules in the plan and, with fresh facts, in the run.
//!
//! Picks are decided, never random, so that a run can be repeated. The control plane is left alone unless it is
//! meant: by name, or by a selector that has its label.

use std::{cmp::Reverse, collections::BTreeMap};

use super::facts::{CONTROL_PLANE_LABEL, ClusterFacts, NodeFact, PodFact};
use crate::{
    experiment::schema::{Labels, NodePick},
    model::selector::{contains_all, labels_in_words},
};

/// A node that was picked.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Picked {
    /// Its name.
    pub node: String,
    /// Why this one, for people.
    pub why: String,
}

/// A pod that was picked.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PickedPod {
    /// Its name.
    pub pod: String,
    /// Why this one, for people.
    pub why: String,
}

/// Why nothing, or not enough, could be picked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PickProblem {
    /// A node that is named does not exist.
    #[error("failed to pick nodes by name: {missing:?} not found; the cluster has {have:?}")]
    NoSuchNode {
        /// Names without a node.
        missing: Vec<String>,
        /// Names of all nodes.
        have: Vec<String>,
    },
    /// Fewer nodes match than are asked for.
    #[error("failed to pick {wanted} of the nodes {rule}: found {found:?}; lower `count` or start more")]
    TooFewNodes {
        /// How many are asked for.
        wanted: u32,
        /// The rule, such as `with pods app=shop`.
        rule: String,
        /// Those that match.
        found: Vec<String>,
    },
    /// Fewer pods match than are asked for.
    #[error(
        "failed to pick {wanted} of the running pods with labels {labels}: found {found:?}; lower `count` or scale the workload up"
    )]
    TooFewPods {
        /// How many are asked for.
        wanted: u32,
        /// The labels.
        labels: String,
        /// Those that match.
        found: Vec<String>,
    },
    /// The pick names no rule, or several.
    #[error("failed to pick nodes: exactly one of `names`, `withPods` and `selector` must be given")]
    NoSingleRule,
}

/// Whether a pick may take this node at all: the control plane only where it is meant.
fn is_open_to(pick: &NodePick, node: &NodeFact) -> bool {
    !node.control_plane || pick.selector.as_ref().is_some_and(|selector| selector.contains_key(CONTROL_PLANE_LABEL))
}

/// Pods that a pick counts: running, and not on their way out.
fn counts(pod: &PodFact, labels: &Labels) -> bool {
    pod.running && !pod.terminating && contains_all(&pod.labels, labels)
}

/// The nodes that a step acts on, in the order in which it takes them.
///
/// `names`: as they are written. `withPods`: those with most running, not terminating pods of these labels first,
/// then by name. `selector`: by name. `count` of them, all where it is left out; none at all is an error.
pub fn pick_nodes(pick: &NodePick, facts: &ClusterFacts) -> Result<Vec<Picked>, PickProblem> {
    match (&pick.names, &pick.with_pods, &pick.selector) {
        (Some(names), None, None) => by_name(names, facts),
        (None, Some(labels), None) => with_pods(pick, labels, facts),
        (None, None, Some(labels)) => by_label(pick, labels, facts),
        _ => Err(PickProblem::NoSingleRule),
    }
}

fn by_name(names: &[String], facts: &ClusterFacts) -> Result<Vec<Picked>, PickProblem> {
    let missing: Vec<String> =
        names.iter().filter(|name| !facts.nodes.iter().any(|node| node.name == **name)).cloned().collect();
    if !missing.is_empty() {
        return Err(PickProblem::NoSuchNode { missing, have: sorted_names(&facts.nodes) });
    }
    Ok(names.iter().map(|name| Picked { node: name.clone(), why: "named in the file".to_owned() }).collect())
}

fn with_pods(pick: &NodePick, labels: &Labels, facts: &ClusterFacts) -> Result<Vec<Picked>, PickProblem> {
    let mut pods_on: BTreeMap<&str, usize> = BTreeMap::new();
    for pod in facts.pods.iter().filter(|pod| counts(pod, labels)) {
        if let Some(node) = &pod.node {
            *pods_on.entry(node).or_default() += 1;
        }
    }
    let mut open: Vec<(&str, usize)> = facts
        .nodes
        .iter()
        .filter(|node| is_open_to(pick, node))
        .filter_map(|node| pods_on.get_key_value(node.name.as_str()))
        .map(|(name, pods)| (*name, *pods))
        .collect();
    open.sort_unstable_by_key(|(name, pods)| (Reverse(*pods), *name));
    let words = labels_in_words(labels);
    let picked = open
        .iter()
        .map(|(name, pods)| Picked {
            node: (*name).to_owned(),
            why: format!("runs {pods} {} with {words}", if *pods == 1 { "pod" } else { "pods" }),
        })
        .collect();
    first(picked, pick.count, || format!("with pods {words}"))
}

fn by_label(pick: &NodePick, labels: &Labels, facts: &ClusterFacts) -> Result<Vec<Picked>, PickProblem> {
    let mut open: Vec<&str> = facts
        .nodes
        .iter()
        .filter(|node| is_open_to(pick, node) && contains_all(&node.labels, labels))
        .map(|node| node.name.as_str())
        .collect();
    open.sort_unstable();
    let words = labels_in_words(labels);
    let picked =
        open.iter().map(|name| Picked { node: (*name).to_owned(), why: format!("has labels {words}") }).collect();
    first(picked, pick.count, || format!("with labels {words}"))
}

fn first(mut picked: Vec<Picked>, count: Option<u32>, rule: impl Fn() -> String) -> Result<Vec<Picked>, PickProblem> {
    let wanted = count.unwrap_or_else(|| u32::try_from(picked.len()).unwrap_or(u32::MAX).max(1));
    let enough = usize::try_from(wanted).unwrap_or(usize::MAX);
    if picked.len() < enough {
        let found = picked.into_iter().map(|one| one.node).collect();
        return Err(PickProblem::TooFewNodes { wanted, rule: rule(), found });
    }
    picked.truncate(enough);
    Ok(picked)
}

/// The pods that a step deletes: running, not terminating, the oldest first, then by name.
pub fn pick_pods(labels: &Labels, count: u32, facts: &ClusterFacts) -> Result<Vec<PickedPod>, PickProblem> {
    let mut open: Vec<&PodFact> = facts.pods.iter().filter(|pod| counts(pod, labels)).collect();
    open.sort_unstable_by(|a, b| (&a.created, &a.name).cmp(&(&b.created, &b.name)));
    let enough = usize::try_from(count).unwrap_or(usize::MAX);
    if open.len() < enough {
        let found = open.iter().map(|pod| pod.name.clone()).collect();
        return Err(PickProblem::TooFewPods { wanted: count, labels: labels_in_words(labels), found });
    }
    let total = open.len();
    Ok(open
        .into_iter()
        .take(enough)
        .enumerate()
        .map(|(index, pod)| PickedPod {
            pod: pod.name.clone(),
            why: format!(
                "number {} by age of {total} running with {}, created {}",
                index + 1,
                labels_in_words(labels),
                pod.created
            ),
        })
        .collect())
}

fn sorted_names(nodes: &[NodeFact]) -> Vec<String> {
    let mut names: Vec<String> = nodes.iter().map(|node| node.name.clone()).collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests;
