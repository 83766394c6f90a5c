//! The objects that a file applies, as far as they can be read: what the rest of it may refer to.

use serde_json::Value as Json;

use super::spec;
use crate::{
    experiment::{
        manifests::{self, BudgetFact, ServiceFact, WorkloadFact},
        schema::Labels,
        tree::{Node, Path},
        units::WorkloadRef,
    },
    model::selector::contains_all,
};

/// The applied objects.
#[derive(Debug, Default)]
pub(super) struct Applied {
    /// Each object with its place.
    pub objects: Vec<(Path, Json)>,
    /// Deployments, `StatefulSet`s and `DaemonSet`s.
    pub workloads: Vec<(Path, WorkloadFact)>,
    /// Services.
    pub services: Vec<(Path, ServiceFact)>,
    /// Budgets.
    pub budgets: Vec<(Path, BudgetFact)>,
    /// The labels of every pod that the objects bring about.
    pub pod_labels: Vec<Labels>,
    /// Names of workloads, also of those that cannot be read further.
    pub workload_names: Vec<WorkloadRef>,
    /// Names of Services, likewise.
    pub service_names: Vec<String>,
    /// An object could not be read, so what seems to be missing may be in it.
    pub is_partial: bool,
}

impl Applied {
    /// Reads the objects under `spec.given.apply`.
    pub fn read(root: &Node) -> Self {
        let mut applied = Self::default();
        let list = spec().keys(&["given", "apply"]);
        let items = root.at(&list).map(Node::items).unwrap_or_default();
        for (index, item) in items.iter().enumerate() {
            applied.add(list.index(index), item.to_json(&[]));
        }
        applied
    }

    fn add(&mut self, path: Path, object: Json) {
        if manifests::kind(&object).is_empty() || manifests::name(&object).is_empty() {
            self.is_partial = true;
        }
        if let Some(workload) = manifests::workload_ref(&object) {
            match manifests::workload(&object) {
                Some(fact) => self.workloads.push((path.clone(), fact)),
                None => self.is_partial = true,
            }
            self.workload_names.push(workload);
        }
        if let Some(service) = manifests::service(&object) {
            self.service_names.push(service.name.clone());
            self.services.push((path.clone(), service));
        }
        if let Some(budget) = manifests::budget(&object) {
            self.budgets.push((path.clone(), budget));
        }
        self.pod_labels.extend(manifests::pod_labels(&object));
        self.objects.push((path, object));
    }

    /// Whether the file applies anything; without, what it refers to stands in the cluster already.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// Whether it can be told that no pod of the file will have these labels.
    pub fn has_no_pod_with(&self, labels: &Labels) -> bool {
        !self.is_empty() && !self.is_partial && !self.pod_labels.iter().any(|pod| contains_all(pod, labels))
    }

    /// Whether it can be told that this workload is missing.
    pub fn lacks_workload(&self, workload: &WorkloadRef) -> bool {
        !self.is_empty() && !self.is_partial && !self.workload_names.contains(workload)
    }

    /// A workload by its name.
    pub fn workload(&self, workload: &WorkloadRef) -> Option<&WorkloadFact> {
        self.workloads.iter().map(|(_, fact)| fact).find(|fact| fact.workload == *workload)
    }

    /// The labels of all pods, for messages.
    pub fn pod_labels_in_words(&self) -> String {
        let each: Vec<String> = self.pod_labels.iter().map(crate::model::selector::labels_in_words).collect();
        super::listed(each.iter().map(String::as_str))
    }

    /// The names of all workloads, for messages.
    pub fn workloads_in_words(&self) -> String {
        let each: Vec<String> = self.workload_names.iter().map(ToString::to_string).collect();
        super::listed(each.iter().map(String::as_str))
    }
}
