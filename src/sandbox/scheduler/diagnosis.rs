//! Why no node would do, in upstream's words (k/pkg/scheduler/framework/types.go `FitError`, preemption.go, v1.34.4).

use std::collections::{BTreeMap, BTreeSet};

use super::plugin::Plugin;

/// Why a node would not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rejection {
    pub(super) plugin: Plugin,
    pub(super) reasons: Vec<String>,
    /// Not even if pods left the node.
    pub(super) unresolvable: bool,
}

impl Rejection {
    /// The node will not do whatever leaves it.
    pub(super) fn never(plugin: Plugin, reason: impl Into<String>) -> Self {
        Self { plugin, reasons: vec![reason.into()], unresolvable: true }
    }

    /// The node will not do as it is.
    pub(super) fn now(plugin: Plugin, reason: impl Into<String>) -> Self {
        Self { plugin, reasons: vec![reason.into()], unresolvable: false }
    }
}

/// What came of asking all nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Diagnosis {
    /// All nodes.
    pub(super) nodes: usize,
    /// What kept the pod from all nodes before any was asked.
    before: Option<String>,
    /// How often each reason was given.
    reasons: BTreeMap<String, usize>,
    /// Nodes where pods that leave would not help.
    unresolvable: usize,
    /// Nodes where upstream would have less important pods leave.
    preemptable: usize,
    /// The rules that kept the pod away.
    pub(super) plugins: BTreeSet<Plugin>,
    /// The pod lets nobody be evicted for it.
    pub(super) never_preempts: bool,
}

impl Diagnosis {
    /// Of so many nodes none has been asked yet.
    pub(super) fn of(nodes: usize, never_preempts: bool) -> Self {
        Self { nodes, never_preempts, ..Self::default() }
    }

    /// A rule kept the pod from all nodes before any was asked (`PreFilterMsg`).
    pub(super) fn before_nodes(nodes: usize, never_preempts: bool, plugin: Plugin, why: String) -> Self {
        Self { before: Some(why), unresolvable: nodes, plugins: [plugin].into(), ..Self::of(nodes, never_preempts) }
    }

    /// Counts a node; `preemptable` where less important pods are on it.
    pub(super) fn add(&mut self, rejection: &Rejection, preemptable: bool) {
        for reason in &rejection.reasons {
            *self.reasons.entry(reason.clone()).or_default() += 1;
        }
        self.unresolvable += usize::from(rejection.unresolvable);
        self.preemptable += usize::from(preemptable && !rejection.unresolvable);
        self.plugins.insert(rejection.plugin);
    }

    /// Counts nodes that were not looked at, since the pod names others.
    pub(super) fn add_not_named(&mut self, nodes: usize) {
        if nodes > 0 {
            let reason = format!("node(s) didn't satisfy plugin(s) [{}]", Plugin::NodeAffinity);
            *self.reasons.entry(reason).or_default() += nodes;
            self.unresolvable += nodes;
            self.plugins.insert(Plugin::NodeAffinity);
        }
    }

    /// The message, as in the event and the condition.
    pub(super) fn message(&self) -> String {
        if self.nodes == 0 {
            return "no nodes available to schedule pods".to_owned();
        }
        let head = format!("0/{} nodes are available:", self.nodes);
        let why = match &self.before {
            Some(before) => format!(" {before}."),
            None => in_order(&self.reasons),
        };
        format!("{head}{why} preemption: {}", self.preemption(&head))
    }

    /// Upstream tries to make room by evicting pods of lower priority. The sandbox does not, and says so where that
    /// would have made a difference.
    fn preemption(&self, head: &str) -> String {
        if self.never_preempts {
            return "not eligible due to preemptionPolicy=Never.".to_owned();
        }
        let others = self.nodes.saturating_sub(self.unresolvable + self.preemptable);
        let parts = [
            ("Preemption is not helpful for scheduling", self.unresolvable),
            ("No preemption victims found for incoming pod", others),
            ("node(s) have pods of lower priority, which the evenkeel sandbox does not preempt", self.preemptable),
        ];
        let reasons: BTreeMap<String, usize> =
            parts.into_iter().filter(|(_, count)| *count > 0).map(|(text, count)| (text.to_owned(), count)).collect();
        format!("{head}{}", in_order(&reasons))
    }
}

/// Reasons with their counts, sorted as texts.
fn in_order(reasons: &BTreeMap<String, usize>) -> String {
    let mut texts: Vec<String> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    texts.sort();
    if texts.is_empty() { String::new() } else { format!(" {}.", texts.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_upstreams() {
        let mut diagnosis = Diagnosis { nodes: 3, ..Diagnosis::default() };
        let taint = "node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }";
        diagnosis.add(&Rejection::never(Plugin::TaintToleration, taint), false);
        let full = Rejection {
            plugin: Plugin::Fit,
            reasons: vec!["Insufficient cpu".into(), "Insufficient memory".into()],
            unresolvable: false,
        };
        diagnosis.add(&full, false);
        diagnosis.add(&full, false);
        assert_eq!(
            diagnosis.message(),
            "0/3 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, \
             2 Insufficient cpu, 2 Insufficient memory. preemption: 0/3 nodes are available: \
             1 Preemption is not helpful for scheduling, 2 No preemption victims found for incoming pod."
        );
        diagnosis.never_preempts = true;
        assert!(diagnosis.message().ends_with("preemption: not eligible due to preemptionPolicy=Never."));
        assert_eq!(Diagnosis::default().message(), "no nodes available to schedule pods");
    }
}
