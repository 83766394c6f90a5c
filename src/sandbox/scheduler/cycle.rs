//! One pod's turn: which nodes would do, which of them is best (`k/pkg/scheduler/schedule_one.go`, v1.34.4).
//!
//! Upstream's default plugins with their weights, but for what has nothing to go by here: volumes are bound wherever
//! the pod goes (where there is a claim for each), and images weigh nothing.

use super::{
    SCORE_MAX,
    cache::Cache,
    diagnosis::{Diagnosis, Rejection},
    node::{self, NodeInfo},
    pod::PodInfo,
    pod_affinity, resources,
    spread::{self, Constraint},
};
use crate::sandbox::random::Random;

/// Weights of the scores (`apis/config/v1/default_plugins.go`).
const WEIGHT_TAINTS: i64 = 3;
const WEIGHT_NODE_AFFINITY: i64 = 2;
const WEIGHT_SPREAD: i64 = 2;
const WEIGHT_POD_AFFINITY: i64 = 2;

/// Nodes that are always looked at (`minFeasibleNodesToFind`).
const FEASIBLE_MIN: usize = 100;

/// Percent of the nodes that are looked at in a large cluster, at least (`minFeasibleNodesPercentageToFind`).
const FEASIBLE_PERCENT_MIN: usize = 5;

/// How many nodes that would do are enough in a cluster of this size (`numFeasibleNodesToFind`).
fn enough(nodes: usize) -> usize {
    if nodes < FEASIBLE_MIN {
        return nodes;
    }
    let percent = 50_usize.saturating_sub(nodes / 125).max(FEASIBLE_PERCENT_MIN);
    (nodes * percent / 100).max(FEASIBLE_MIN)
}

/// The best node for a pod, or why none would do. `start` is where in the order of nodes to begin; it moves on, so that
/// all nodes have their turn.
pub(super) fn place<'a>(
    cache: &'a Cache,
    pod: &PodInfo,
    defaults: &[Constraint],
    start: &mut usize,
    random: &Random,
) -> Result<&'a NodeInfo, Diagnosis> {
    let feasible = feasible(cache, pod, start)?;
    if let [only] = feasible.as_slice() {
        return Ok(only);
    }
    let scores = scores(cache, pod, defaults, &feasible);
    let best = scores.iter().max().copied().unwrap_or(0);
    let ties: Vec<usize> = scores.iter().enumerate().filter(|(_, score)| **score == best).map(|(at, _)| at).collect();
    feasible.get(ties[random.below(ties.len())]).copied().ok_or_else(Diagnosis::default)
}

fn feasible<'a>(cache: &'a Cache, pod: &PodInfo, start: &mut usize) -> Result<Vec<&'a NodeInfo>, Diagnosis> {
    let all = cache.count();
    let mut diagnosis = Diagnosis::of(all, pod.never_preempts);
    let rules = Rules::new(cache, pod);
    let mut found = Vec::new();
    if let Some(names) = pod.node_affinity.names() {
        let named: Vec<&NodeInfo> = names.into_iter().filter_map(|name| cache.node_named(name)).collect();
        diagnosis.add_not_named(all - named.len());
        for node in named {
            match rules.ask(node) {
                None => found.push(node),
                Some(rejection) => diagnosis.add(&rejection, can_preempt(pod, node)),
            }
        }
    } else if all > 0 {
        let enough = enough(all);
        let mut looked = 0;
        while looked < all && found.len() < enough {
            let node = cache.nth((*start + looked) % all);
            looked += 1;
            match rules.ask(node) {
                None => found.push(node),
                Some(rejection) => diagnosis.add(&rejection, can_preempt(pod, node)),
            }
        }
        *start = (*start + looked) % all;
    }
    if found.is_empty() { Err(diagnosis) } else { Ok(found) }
}

fn can_preempt(pod: &PodInfo, node: &NodeInfo) -> bool {
    node.pods.values().any(|(other, _)| other.priority < pod.priority)
}

/// The rules for one pod, with what they know of all nodes.
struct Rules<'a> {
    pod: &'a PodInfo,
    spread: spread::Filter<'a>,
    affinity: pod_affinity::Filter<'a>,
}

impl<'a> Rules<'a> {
    fn new(cache: &'a Cache, pod: &'a PodInfo) -> Self {
        Self { pod, spread: spread::Filter::new(cache, pod), affinity: pod_affinity::Filter::new(cache, pod) }
    }

    /// The first rule that the node breaks.
    fn ask(&self, node: &NodeInfo) -> Option<Rejection> {
        let pod = self.pod;
        node::filter_unschedulable(pod, node)
            .or_else(|| node::filter_taints(pod, node))
            .or_else(|| pod.node_affinity.filter(node))
            .or_else(|| node::filter_ports(pod, node))
            .or_else(|| resources::filter(pod, node))
            .or_else(|| self.spread.filter(node))
            .or_else(|| self.affinity.filter(pod, node))
    }
}

fn scores(cache: &Cache, pod: &PodInfo, defaults: &[Constraint], feasible: &[&NodeInfo]) -> Vec<i64> {
    let mut sums: Vec<i64> = feasible
        .iter()
        .map(|node| resources::score_least_allocated(pod, node) + resources::score_balanced(pod, node))
        .collect();
    let mut add = |scores: Vec<i64>, weight: i64| {
        for (sum, score) in sums.iter_mut().zip(scores) {
            *sum += score * weight;
        }
    };
    let taints = feasible.iter().map(|node| node::count_reluctant_taints(pod, node)).collect();
    add(by_share(taints, true), WEIGHT_TAINTS);
    if pod.node_affinity.has_preferences() {
        let preferred = feasible.iter().map(|node| pod.node_affinity.score(node)).collect();
        add(by_share(preferred, false), WEIGHT_NODE_AFFINITY);
    }
    if let Some(spread) = spread::scores(cache, pod, defaults, feasible) {
        add(spread, WEIGHT_SPREAD);
    }
    if let Some(weights) = pod_affinity::Score::new(cache, pod) {
        let mut scores: Vec<i64> = feasible.iter().map(|node| weights.score(node)).collect();
        pod_affinity::normalize(&mut scores);
        add(scores, WEIGHT_POD_AFFINITY);
    }
    sums
}

/// Scores as shares of the highest (`DefaultNormalizeScore`); reversed, the lowest is the best.
fn by_share(mut scores: Vec<i64>, reverse: bool) -> Vec<i64> {
    let most = scores.iter().max().copied().unwrap_or(0);
    for score in &mut scores {
        let share = if most == 0 { 0 } else { SCORE_MAX * *score / most };
        *score = if reverse { SCORE_MAX - share } else { share };
    }
    scores
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_large_clusters_some_nodes_are_enough() {
        let table = [(3, 3), (99, 99), (100, 100), (300, 144), (1000, 420), (5000, 500), (10_000, 500)];
        for (nodes, wanted) in table {
            assert_eq!(enough(nodes), wanted, "{nodes} nodes");
        }
    }

    #[test]
    fn shares_go_from_none_to_all() {
        assert_eq!(by_share(vec![0, 1, 4], false), [0, 25, 100]);
        assert_eq!(by_share(vec![0, 1, 4], true), [100, 75, 0]);
        assert_eq!(by_share(vec![0, 0], true), [100, 100]);
    }
}
