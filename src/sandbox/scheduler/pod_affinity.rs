//! Affinity and anti-affinity between pods (k/pkg/scheduler/framework/plugins/interpodaffinity, v1.34.4). Required
//! anti-affinity is symmetric: the terms of pods that are there repel a new one too.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use k8s_openapi::api::core::v1::{Affinity, PodAffinityTerm, WeightedPodAffinityTerm};

use super::{
    SCORE_MAX,
    cache::{Cache, Class},
    diagnosis::Rejection,
    node::NodeInfo,
    plugin::Plugin,
    pod::PodInfo,
};
use crate::{
    model::selector::{LabelSelector, Operator, Requirement},
    sandbox::selectors,
};

/// The weight of a required affinity term of a pod that is there (`hardPodAffinityWeight`).
const REQUIRED_WEIGHT: i64 = 1;

/// A term: pods with these labels, counted by the values of a label of their nodes.
#[derive(Debug, Clone, Default)]
pub(super) struct Term {
    key: String,
    selector: Option<LabelSelector>,
    namespaces: BTreeSet<String>,
    namespace_selector: Option<LabelSelector>,
}

/// All terms of a pod.
#[derive(Debug, Clone, Default)]
pub(super) struct PodAffinity {
    pub(super) required: Vec<Term>,
    pub(super) anti_required: Vec<Term>,
    preferred: Vec<(i64, Term)>,
    anti_preferred: Vec<(i64, Term)>,
}

impl Term {
    fn read(term: &PodAffinityTerm, namespace: &str, labels: &BTreeMap<String, String>) -> Self {
        let mut selector = selectors::read(term.label_selector.as_ref());
        if let Some(selector) = &mut selector {
            add_keys(selector, term.match_label_keys.as_deref(), labels, Operator::In);
            add_keys(selector, term.mismatch_label_keys.as_deref(), labels, Operator::NotIn);
        }
        let mut namespaces: BTreeSet<String> = term.namespaces.iter().flatten().cloned().collect();
        // With neither it is about the pod's own namespace.
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.insert(namespace.to_owned());
        }
        let namespace_selector = selectors::read(term.namespace_selector.as_ref());
        Self { key: term.topology_key.clone(), selector, namespaces, namespace_selector }
    }

    /// Whether a pod is one of those that the term is about.
    pub(super) fn is_about(&self, cache: &Cache, pod: &PodInfo) -> bool {
        let in_namespace = self.namespaces.contains(&pod.namespace)
            || self.namespace_selector.as_ref().is_some_and(|wanted| {
                cache.namespaces.get(&pod.namespace).is_some_and(|labels| wanted.matches(labels))
            });
        in_namespace && self.selector.as_ref().is_some_and(|wanted| wanted.matches(&pod.labels))
    }
}

/// Adds to a selector that labels must be (or not be) as the pod itself has them; the API server may have done so
/// already, which makes no difference.
pub(super) fn add_keys(
    selector: &mut LabelSelector,
    keys: Option<&[String]>,
    labels: &BTreeMap<String, String>,
    operator: Operator,
) {
    for key in keys.unwrap_or_default() {
        if let Some(value) = labels.get(key) {
            let requirement = Requirement { key: key.clone(), operator, values: vec![value.clone()] };
            selector.match_expressions.push(requirement);
        }
    }
}

impl PodAffinity {
    pub(super) fn read(affinity: Option<&Affinity>, namespace: &str, labels: &BTreeMap<String, String>) -> Self {
        let together = affinity.and_then(|affinity| affinity.pod_affinity.as_ref());
        let apart = affinity.and_then(|affinity| affinity.pod_anti_affinity.as_ref());
        let required = |terms: Option<&Vec<PodAffinityTerm>>| {
            terms.into_iter().flatten().map(|term| Term::read(term, namespace, labels)).collect()
        };
        let preferred = |terms: Option<&Vec<WeightedPodAffinityTerm>>| {
            let read = |one: &WeightedPodAffinityTerm| {
                (i64::from(one.weight), Term::read(&one.pod_affinity_term, namespace, labels))
            };
            terms.into_iter().flatten().map(read).collect()
        };
        Self {
            required: required(
                together.and_then(|one| one.required_during_scheduling_ignored_during_execution.as_ref()),
            ),
            anti_required: required(
                apart.and_then(|one| one.required_during_scheduling_ignored_during_execution.as_ref()),
            ),
            preferred: preferred(
                together.and_then(|one| one.preferred_during_scheduling_ignored_during_execution.as_ref()),
            ),
            anti_preferred: preferred(
                apart.and_then(|one| one.preferred_during_scheduling_ignored_during_execution.as_ref()),
            ),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.required.is_empty() && self.anti_required.is_empty() && !self.has_preferences()
    }

    fn has_preferences(&self) -> bool {
        !self.preferred.is_empty() || !self.anti_preferred.is_empty()
    }

    /// Whether the pod counts in others' scores.
    fn attracts_or_repels(&self) -> bool {
        self.has_preferences() || !self.required.is_empty()
    }
}

/// Counts by a label of nodes and its value.
type Counts<'a> = HashMap<(&'a str, &'a str), i64>;

/// What filtering needs to know about all nodes, for one pod.
#[derive(Default)]
pub(super) struct Filter<'a> {
    /// Pods that are there and repel the new one.
    repelled: Counts<'a>,
    /// The labels that those go by.
    repelled_keys: BTreeSet<&'a str>,
    /// Pods that fit all affinity terms of the new one.
    attracting: Counts<'a>,
    /// Pods that the new one repels.
    repelling: Counts<'a>,
    /// The new pod fits its own affinity terms, so the first of a group can be placed.
    fits_itself: bool,
}

/// Adds up the pods of a class on the nodes that have the label.
fn count<'a>(cache: &'a Cache, class: &'a Class, key: &'a str, weight: i64, counts: &mut Counts<'a>) {
    for (node, pods) in &class.nodes {
        let node = cache.node(*node);
        if node.exists
            && let Some(value) = node.labels.get(key)
        {
            *counts.entry((key, value)).or_default() += weight * i64::from(*pods);
        }
    }
}

impl<'a> Filter<'a> {
    pub(super) fn new(cache: &'a Cache, pod: &'a PodInfo) -> Self {
        let mut filter = Self::default();
        for class in cache.classes_with_anti_affinity() {
            for term in class.pod.affinity.anti_required.iter().filter(|term| term.is_about(cache, pod)) {
                count(cache, class, &term.key, 1, &mut filter.repelled);
            }
        }
        filter.repelled_keys = filter.repelled.keys().map(|(key, _)| *key).collect();
        let own = &pod.affinity;
        if own.required.is_empty() && own.anti_required.is_empty() {
            return filter;
        }
        for class in cache.classes() {
            if !own.required.is_empty() && own.required.iter().all(|term| term.is_about(cache, &class.pod)) {
                for term in &own.required {
                    count(cache, class, &term.key, 1, &mut filter.attracting);
                }
            }
            for term in own.anti_required.iter().filter(|term| term.is_about(cache, &class.pod)) {
                count(cache, class, &term.key, 1, &mut filter.repelling);
            }
        }
        filter.fits_itself = own.required.iter().all(|term| term.is_about(cache, pod));
        filter
    }

    pub(super) fn filter(&self, pod: &PodInfo, node: &NodeInfo) -> Option<Rejection> {
        const PLUGIN: Plugin = Plugin::InterPodAffinity;
        if !self.attracted(pod, node) {
            return Some(Rejection::never(PLUGIN, "node(s) didn't match pod affinity rules"));
        }
        let repels = |term: &Term| {
            let pair = node.labels.get(&term.key).map(|value| (term.key.as_str(), value.as_str()));
            pair.is_some_and(|pair| self.repelling.get(&pair).is_some_and(|count| *count > 0))
        };
        if !self.repelling.is_empty() && pod.affinity.anti_required.iter().any(repels) {
            return Some(Rejection::now(PLUGIN, "node(s) didn't match pod anti-affinity rules"));
        }
        let by_key = |key: &&str| {
            node.labels
                .get(*key)
                .is_some_and(|value| self.repelled.get(&(*key, value.as_str())).is_some_and(|count| *count > 0))
        };
        self.repelled_keys
            .iter()
            .any(by_key)
            .then(|| Rejection::now(PLUGIN, "node(s) didn't satisfy existing pods anti-affinity rules"))
    }

    fn attracted(&self, pod: &PodInfo, node: &NodeInfo) -> bool {
        let terms = &pod.affinity.required;
        let values: Option<Vec<(&str, &str)>> = terms
            .iter()
            .map(|term| node.labels.get(&term.key).map(|value| (term.key.as_str(), value.as_str())))
            .collect();
        // A node without one of the labels is in no group.
        let Some(pairs) = values else { return false };
        let near = pairs.iter().all(|pair| self.attracting.get(pair).is_some_and(|count| *count > 0));
        near || (self.attracting.is_empty() && self.fits_itself)
    }
}

/// What scoring needs to know about all nodes, for one pod: the weights by label and value.
pub(super) struct Score<'a> {
    weights: Counts<'a>,
    keys: BTreeSet<&'a str>,
}

impl<'a> Score<'a> {
    /// Nothing where nobody prefers anything.
    pub(super) fn new(cache: &'a Cache, pod: &'a PodInfo) -> Option<Self> {
        let own = &pod.affinity;
        let mut weights = Counts::new();
        let preferring = own.has_preferences();
        for class in cache.classes() {
            if preferring {
                for (weight, term) in own.preferred.iter().filter(|(_, term)| term.is_about(cache, &class.pod)) {
                    count(cache, class, &term.key, *weight, &mut weights);
                }
                for (weight, term) in own.anti_preferred.iter().filter(|(_, term)| term.is_about(cache, &class.pod)) {
                    count(cache, class, &term.key, -*weight, &mut weights);
                }
            }
            let theirs = &class.pod.affinity;
            if !theirs.attracts_or_repels() {
                continue;
            }
            for term in theirs.required.iter().filter(|term| term.is_about(cache, pod)) {
                count(cache, class, &term.key, REQUIRED_WEIGHT, &mut weights);
            }
            for (weight, term) in theirs.preferred.iter().filter(|(_, term)| term.is_about(cache, pod)) {
                count(cache, class, &term.key, *weight, &mut weights);
            }
            for (weight, term) in theirs.anti_preferred.iter().filter(|(_, term)| term.is_about(cache, pod)) {
                count(cache, class, &term.key, -*weight, &mut weights);
            }
        }
        let keys = weights.keys().map(|(key, _)| *key).collect();
        (!weights.is_empty()).then_some(Self { weights, keys })
    }

    pub(super) fn score(&self, node: &NodeInfo) -> i64 {
        let mut sum = 0;
        for key in &self.keys {
            if let Some(value) = node.labels.get(*key) {
                sum += self.weights.get(&(*key, value.as_str())).copied().unwrap_or(0);
            }
        }
        sum
    }
}

/// Spreads scores over the whole range, the lowest at 0.
pub(super) fn normalize(scores: &mut [i64]) {
    let (Some(least), Some(most)) = (scores.iter().min().copied(), scores.iter().max().copied()) else { return };
    for score in scores {
        *score = if most == least {
            0
        } else {
            #[expect(clippy::cast_possible_truncation, reason = "between 0 and 100")]
            let share = (SCORE_MAX as f64 * ((*score - least) as f64 / (most - least) as f64)) as i64;
            share
        };
    }
}
