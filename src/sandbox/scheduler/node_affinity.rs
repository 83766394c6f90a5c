//! Node selectors and node affinity (component-helpers/scheduling/corev1/nodeaffinity, k/pkg/scheduler/framework/
//! plugins/nodeaffinity, v1.34.4).

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm, PodSpec};

use super::{diagnosis::Rejection, node::NodeInfo, plugin::Plugin};
use crate::model::selector::contains_all;

/// The only field that terms can ask for.
pub(in crate::sandbox) const NAME_FIELD: &str = "metadata.name";

/// What a pod asks of a node's labels and name.
#[derive(Debug, Clone, Default)]
pub(in crate::sandbox) struct NodeAffinity {
    selector: BTreeMap<String, String>,
    required: Option<Vec<NodeSelectorTerm>>,
    preferred: Vec<(i32, NodeSelectorTerm)>,
}

impl NodeAffinity {
    pub(in crate::sandbox) fn read(spec: &PodSpec) -> Self {
        let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
        let required = affinity.and_then(|one| one.required_during_scheduling_ignored_during_execution.as_ref());
        let preferred = affinity.and_then(|one| one.preferred_during_scheduling_ignored_during_execution.as_ref());
        Self {
            selector: spec.node_selector.clone().unwrap_or_default(),
            required: required.map(|selector| selector.node_selector_terms.clone()),
            preferred: preferred.into_iter().flatten().map(|one| (one.weight, one.preference.clone())).collect(),
        }
    }

    /// Whether a node has all that is required: the selector, and one of the terms.
    pub(super) fn allows(&self, node: &NodeInfo) -> bool {
        self.allows_labels(&node.name, &node.labels)
    }

    /// The same of a node that is known by its name and labels alone.
    pub(in crate::sandbox) fn allows_labels(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        contains_all(labels, &self.selector)
            && self.required.as_ref().is_none_or(|terms| terms.iter().any(|term| holds(term, name, labels)))
    }

    /// The nodes that the required terms name, where each of them names some: then no other need be looked at.
    pub(super) fn names(&self) -> Option<BTreeSet<&str>> {
        let mut all = BTreeSet::new();
        for term in self.required.as_ref().filter(|terms| !terms.is_empty())? {
            let mut of_term: Option<BTreeSet<&str>> = None;
            for field in term.match_fields.iter().flatten() {
                if field.key == NAME_FIELD && field.operator == "In" {
                    let named: BTreeSet<&str> = field.values.iter().flatten().map(String::as_str).collect();
                    of_term = Some(match of_term {
                        None => named,
                        Some(known) => known.intersection(&named).copied().collect(),
                    });
                }
            }
            all.extend(of_term?);
        }
        Some(all)
    }

    pub(super) fn filter(&self, node: &NodeInfo) -> Option<Rejection> {
        let reason = "node(s) didn't match Pod's node affinity/selector";
        (!self.allows(node)).then(|| Rejection::never(Plugin::NodeAffinity, reason))
    }

    /// The weights of the preferred terms that hold.
    pub(super) fn score(&self, node: &NodeInfo) -> i64 {
        let holding =
            self.preferred.iter().filter(|(weight, term)| *weight != 0 && holds(term, &node.name, &node.labels));
        holding.map(|(weight, _)| i64::from(*weight)).sum()
    }

    pub(super) fn has_preferences(&self) -> bool {
        !self.preferred.is_empty()
    }
}

/// A term without requirements holds for no node.
fn holds(term: &NodeSelectorTerm, name: &str, labels: &BTreeMap<String, String>) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let by_label = |one: &NodeSelectorRequirement| requirement(one, labels.get(&one.key).map(String::as_str));
    let by_field = |one: &NodeSelectorRequirement| one.key == NAME_FIELD && requirement(one, Some(name));
    !(expressions.is_empty() && fields.is_empty()) && expressions.iter().all(by_label) && fields.iter().all(by_field)
}

fn requirement(wanted: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = wanted.values.as_deref().unwrap_or_default();
    let listed = || value.is_some_and(|value| values.iter().any(|one| one == value));
    let compared = |than: fn(&i64, &i64) -> bool| {
        let own = value.and_then(|value| value.parse::<i64>().ok());
        let bound = values.first().and_then(|value| value.parse::<i64>().ok());
        own.zip(bound).is_some_and(|(own, bound)| than(&own, &bound))
    };
    match wanted.operator.as_str() {
        "In" => listed(),
        "NotIn" => !listed(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compared(i64::gt),
        "Lt" => compared(i64::lt),
        _ => false,
    }
}
