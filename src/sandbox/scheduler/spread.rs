//! Topology spread constraints (k/pkg/scheduler/framework/plugins/podtopologyspread, v1.34.4): pods of a kind evenly
//! over the values of a label of nodes, as a condition or as a wish.

use std::collections::{BTreeMap, HashMap};

use k8s_openapi::api::core::v1::TopologySpreadConstraint;

use super::{
    SCORE_MAX,
    cache::Cache,
    diagnosis::Rejection,
    node::{HOSTNAME, NodeInfo},
    plugin::Plugin,
    pod::PodInfo,
    pod_affinity::add_keys,
};
use crate::{
    model::{
        selector::{LabelSelector, Operator},
        taints,
    },
    sandbox::selectors,
};

/// A constraint.
#[derive(Debug, Clone, Default)]
pub(super) struct Constraint {
    pub(super) max_skew: i64,
    pub(super) key: String,
    pub(super) selector: Option<LabelSelector>,
    /// `minDomains`: with fewer values than these the minimum is taken as 0.
    min_domains: usize,
    /// `DoNotSchedule`.
    hard: bool,
    /// `nodeAffinityPolicy: Honor`, the default: nodes that the pod cannot go to by its selector do not count.
    honours_affinity: bool,
    /// `nodeTaintsPolicy: Honor`, not the default: nodes whose taints it does not tolerate do not count.
    honours_taints: bool,
}

impl Constraint {
    pub(super) fn read(constraint: &TopologySpreadConstraint, labels: &BTreeMap<String, String>) -> Self {
        let mut selector = selectors::read(constraint.label_selector.as_ref());
        if let Some(selector) = &mut selector {
            add_keys(selector, constraint.match_label_keys.as_deref(), labels, Operator::In);
        }
        Self {
            max_skew: i64::from(constraint.max_skew),
            key: constraint.topology_key.clone(),
            selector,
            min_domains: constraint.min_domains.and_then(|least| usize::try_from(least).ok()).unwrap_or(1),
            hard: constraint.when_unsatisfiable == "DoNotSchedule",
            honours_affinity: constraint.node_affinity_policy.as_deref() != Some("Ignore"),
            honours_taints: constraint.node_taints_policy.as_deref() == Some("Honor"),
        }
    }

    /// The cluster's own wishes for a pod that has none: over hosts and zones (`systemDefaultConstraints`).
    pub(super) fn defaults(selector: &LabelSelector) -> Vec<Self> {
        let wish = |key: &str, max_skew| Self {
            max_skew,
            key: key.to_owned(),
            selector: Some(selector.clone()),
            honours_affinity: true,
            ..Self::default()
        };
        vec![wish(HOSTNAME, 3), wish("topology.kubernetes.io/zone", 5)]
    }

    fn is_about(&self, pod: &PodInfo) -> bool {
        self.selector.as_ref().is_some_and(|selector| selector.matches(&pod.labels))
    }

    fn counts_node(&self, pod: &PodInfo, node: &NodeInfo) -> bool {
        (!self.honours_affinity || pod.node_affinity.allows(node))
            && (!self.honours_taints || taints::first_untolerated(&node.taints, &pod.tolerations).is_none())
    }

    /// The pods that count, by node: of the pod's namespace, and not on their way out.
    fn counted(&self, cache: &Cache, pod: &PodInfo) -> Vec<u32> {
        let mut on_node = vec![0; cache.places()];
        let counting = cache
            .classes()
            .filter(|class| class.pod.namespace == pod.namespace && !class.pod.deleting && self.is_about(&class.pod));
        for (at, count) in counting.flat_map(|class| &class.nodes) {
            on_node[*at] += count;
        }
        on_node
    }
}

fn count_on(node: &NodeInfo, on_node: &[u32]) -> i64 {
    on_node.get(node.at).copied().map_or(0, i64::from)
}

/// What filtering needs to know about all nodes, for one pod.
#[derive(Default)]
pub(super) struct Filter<'a> {
    constraints: Vec<Counted<'a>>,
}

struct Counted<'a> {
    constraint: &'a Constraint,
    by_value: HashMap<&'a str, i64>,
    least: i64,
    itself: i64,
}

impl<'a> Filter<'a> {
    pub(super) fn new(cache: &'a Cache, pod: &'a PodInfo) -> Self {
        let hard: Vec<&Constraint> = pod.spread.iter().filter(|constraint| constraint.hard).collect();
        if hard.is_empty() {
            return Self::default();
        }
        let counted: Vec<Vec<u32>> = hard.iter().map(|constraint| constraint.counted(cache, pod)).collect();
        let mut counts: Vec<HashMap<&str, i64>> = vec![HashMap::new(); hard.len()];
        for node in cache.in_order() {
            if !hard.iter().all(|constraint| node.labels.contains_key(&constraint.key)) {
                continue;
            }
            for ((constraint, on_node), counts) in hard.iter().zip(&counted).zip(&mut counts) {
                if let Some(value) = node.labels.get(&constraint.key).filter(|_| constraint.counts_node(pod, node)) {
                    *counts.entry(value).or_default() += count_on(node, on_node);
                }
            }
        }
        let counted = hard.into_iter().zip(counts).map(|(constraint, by_value)| {
            let enough = by_value.len() >= constraint.min_domains;
            let least = if enough { by_value.values().min().copied().unwrap_or(0) } else { 0 };
            Counted { constraint, by_value, least, itself: i64::from(constraint.is_about(pod)) }
        });
        Self { constraints: counted.collect() }
    }

    pub(super) fn filter(&self, node: &NodeInfo) -> Option<Rejection> {
        const REASON: &str = "node(s) didn't match pod topology spread constraints";
        for counted in &self.constraints {
            let Some(value) = node.labels.get(&counted.constraint.key) else {
                let reason = format!("{REASON} (missing required label)");
                return Some(Rejection::never(Plugin::PodTopologySpread, reason));
            };
            let here = counted.by_value.get(value.as_str()).copied().unwrap_or(0);
            if here + counted.itself - counted.least > counted.constraint.max_skew {
                return Some(Rejection::now(Plugin::PodTopologySpread, REASON));
            }
        }
        None
    }
}

/// Scores nodes by the constraints that are wishes; the fewer pods of the kind, the better. Nothing without any.
pub(super) fn scores(
    cache: &Cache,
    pod: &PodInfo,
    defaults: &[Constraint],
    feasible: &[&NodeInfo],
) -> Option<Vec<i64>> {
    let own = !pod.spread.is_empty();
    let wishes: Vec<&Constraint> =
        if own { pod.spread.iter().filter(|one| !one.hard).collect() } else { defaults.iter().collect() };
    if wishes.is_empty() {
        return None;
    }
    // The cluster's defaults also count on nodes that have only one of the labels.
    let considered = |node: &NodeInfo| !own || wishes.iter().all(|wish| node.labels.contains_key(&wish.key));
    let counted: Vec<Vec<u32>> = wishes.iter().map(|wish| wish.counted(cache, pod)).collect();
    let mut counts: Vec<HashMap<&str, i64>> = vec![HashMap::new(); wishes.len()];
    let mut considered_count = 0;
    for node in feasible.iter().filter(|node| considered(node)) {
        considered_count += 1;
        for (wish, counts) in wishes.iter().zip(&mut counts).filter(|(wish, _)| wish.key != HOSTNAME) {
            counts.entry(node.labels.get(&wish.key).map_or("", String::as_str)).or_default();
        }
    }
    let weights: Vec<f64> = wishes
        .iter()
        .zip(&counts)
        .map(|(wish, counts)| weight(if wish.key == HOSTNAME { considered_count } else { counts.len() }))
        .collect();
    count_by_value(cache, pod, &wishes, &counted, &mut counts, considered);
    let score = |node: &&NodeInfo| -> Option<i64> {
        considered(node).then(|| {
            let mut sum = 0.0;
            for (at, wish) in wishes.iter().enumerate() {
                let Some(value) = node.labels.get(&wish.key) else { continue };
                let here = if wish.key == HOSTNAME {
                    count_on(node, &counted[at])
                } else {
                    counts[at].get(value.as_str()).copied().unwrap_or(0)
                };
                sum += here as f64 * weights[at] + (wish.max_skew - 1) as f64;
            }
            #[expect(clippy::cast_possible_truncation, reason = "a count of pods times at most 9")]
            let rounded = sum.round() as i64;
            rounded
        })
    };
    Some(normalize(feasible.iter().map(score).collect()))
}

fn count_by_value(
    cache: &Cache,
    pod: &PodInfo,
    wishes: &[&Constraint],
    counted: &[Vec<u32>],
    counts: &mut [HashMap<&str, i64>],
    considered: impl Fn(&NodeInfo) -> bool,
) {
    for ((wish, on_node), counts) in wishes.iter().zip(counted).zip(counts) {
        // Hosts are counted one by one when they are scored.
        if counts.is_empty() {
            continue;
        }
        for (at, here) in on_node.iter().enumerate().filter(|(_, here)| **here > 0) {
            let node = cache.node(at);
            let value = node.labels.get(&wish.key).map_or("", String::as_str);
            if node.exists
                && considered(node)
                && let Some(count) = counts.get_mut(value)
                && wish.counts_node(pod, node)
            {
                *count += i64::from(*here);
            }
        }
    }
}

/// Few values weigh less than many (`topologyNormalizingWeight`).
fn weight(values: usize) -> f64 {
    ((values + 2) as f64).ln()
}

/// The best gets the whole score; nodes that are not considered none.
fn normalize(scores: Vec<Option<i64>>) -> Vec<i64> {
    let least = scores.iter().flatten().min().copied().unwrap_or(0);
    let most = scores.iter().flatten().max().copied().unwrap_or(0);
    let of = |score: Option<i64>| match score {
        None => 0,
        Some(_) if most == 0 => SCORE_MAX,
        Some(score) => SCORE_MAX * (most + least - score) / most,
    };
    scores.into_iter().map(of).collect()
}
