//! What the run will meet in its namespace: the objects that the file applies, or those that stand there.

use super::facts::{BudgetFact, ClusterFacts, ServiceFact, WorkloadFact};
use crate::{
    experiment::{
        manifests,
        schema::{Experiment, Labels},
        units::{WorkloadKind, WorkloadRef},
    },
    model::selector::contains_all,
};

/// The namespace as the run will find it.
pub(super) struct World<'a> {
    /// The cluster now.
    pub facts: &'a ClusterFacts,
    /// The namespace.
    pub namespace: &'a str,
    /// The run creates it, so there are no pods in it yet.
    pub created: bool,
    /// Workloads.
    pub workloads: Vec<WorkloadFact>,
    /// Services.
    pub services: Vec<ServiceFact>,
    /// Budgets.
    pub budgets: Vec<BudgetFact>,
}

impl<'a> World<'a> {
    pub fn new(experiment: &'a Experiment, facts: &'a ClusterFacts) -> Self {
        let given = &experiment.spec.given;
        let created = !given.apply.is_empty();
        let mut world =
            Self { facts, namespace: &given.namespace, created, workloads: vec![], services: vec![], budgets: vec![] };
        if created {
            world.workloads = given.apply.iter().filter_map(manifests::workload).collect();
            world.services = given.apply.iter().filter_map(manifests::service).collect();
            world.budgets = given.apply.iter().filter_map(manifests::budget).collect();
            // A DaemonSet's pods are counted by the nodes that take them.
            let nodes = i32::try_from(world.workers().len()).unwrap_or(i32::MAX);
            let daemon_sets = world.workloads.iter_mut().filter(|one| one.workload.kind == WorkloadKind::DaemonSet);
            daemon_sets.for_each(|one| one.replicas = nodes);
        } else {
            world.workloads.clone_from(&facts.workloads);
            world.services.clone_from(&facts.services);
            world.budgets.clone_from(&facts.budgets);
        }
        world
    }

    /// The nodes that pods can be scheduled on and that a rule may pick, by name.
    pub fn workers(&self) -> Vec<&'a str> {
        let mut names: Vec<&str> = self
            .facts
            .nodes
            .iter()
            .filter(|node| node.ready && !node.unschedulable && !node.control_plane)
            .map(|node| node.name.as_str())
            .collect();
        names.sort_unstable();
        names
    }

    pub fn workload(&self, workload: &WorkloadRef) -> Option<&WorkloadFact> {
        self.workloads.iter().find(|fact| fact.workload == *workload)
    }

    /// The workloads whose pods have these labels.
    pub fn with_labels(&self, labels: &Labels) -> Vec<&WorkloadFact> {
        self.workloads.iter().filter(|fact| contains_all(&fact.template.labels, labels)).collect()
    }

    /// The workloads whose pods a budget selects.
    pub fn selected_by(&self, budget: &BudgetFact) -> Vec<&WorkloadFact> {
        let Some(selector) = &budget.selector else { return Vec::new() };
        self.workloads.iter().filter(|fact| selector.matches(&fact.template.labels)).collect()
    }
}

/// How many pods a number of workloads have.
pub(super) fn replicas(workloads: &[&WorkloadFact]) -> i32 {
    workloads.iter().fold(0_i32, |sum, fact| sum.saturating_add(fact.replicas))
}

/// Names joined for people; `none` where there are none.
pub(super) fn listed(names: impl IntoIterator<Item = impl Into<String>>) -> String {
    let names: Vec<String> = names.into_iter().map(Into::into).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// `1 pod`, `2 pods`.
pub(super) fn counted(number: impl Into<i64>, noun: &str) -> String {
    let number = number.into();
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}
