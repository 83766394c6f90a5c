//! Names, the namespace and the workloads that must be ready.

use std::collections::BTreeSet;

use super::{Validator, names, spec};
use crate::experiment::{
    schema::{Metadata, Phases},
    tree::{Node, Path},
    units::{Span, WorkloadRef},
};

/// Namespaces that every cluster has.
const EVERYWHERE: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];
/// The longest an experiment may load a service without a fault: more is a slip of the unit.
const MAX_PHASE: Span = Span::from_millis(24 * 3_600_000);

impl Validator<'_> {
    pub(super) fn metadata(&mut self) {
        let path = Path::root().key("metadata");
        let Some(metadata) = self.part::<Metadata>(&path) else { return };
        self.dns_label(&path.key("name"), "name", &metadata.name);
        if let Some(scenario) = &metadata.scenario
            && (scenario.is_empty() || !scenario.bytes().all(|byte| byte.is_ascii_alphanumeric()))
        {
            let instead = "write an id such as `B1`, or leave the key out";
            self.problem(&path.key("scenario"), format!("{scenario:?} is not the id of a scenario"), instead);
        }
        if let Some(twin) = &metadata.twin_of {
            self.dns_label(&path.key("twinOf"), "twinOf", twin);
            if *twin == metadata.name {
                let instead = "write the name of the experiment that it differs from, and give this one another";
                self.problem(&path.key("twinOf"), "the experiment is its own twin", instead);
            }
        }
    }

    pub(super) fn given(&mut self) {
        let path = spec().key("given");
        let namespace = path.key("namespace");
        if let Some(name) = self.root.at(&namespace).and_then(Node::text) {
            let name = name.to_owned();
            self.dns_label(&namespace, "namespace", &name);
            if !self.applied.is_empty() && EVERYWHERE.contains(&name.as_str()) {
                let what =
                    format!("namespace {name} exists in every cluster, and with `apply` it is created and removed");
                self.problem(&namespace, what, "write a name of its own for it");
            }
        }
        self.above_zero(&path, "within");
        let list = path.key("ready");
        let mut seen = BTreeSet::new();
        for (place, workload) in self.items::<WorkloadRef>(&list) {
            self.applied_workload(&place, &workload);
            if !seen.insert(workload.clone()) {
                self.problem(&place, format!("{workload} is listed twice"), "remove one of them");
            }
        }
    }

    pub(super) fn phases(&mut self) {
        let path = spec().key("phases");
        let Some(phases) = self.part::<Phases>(&path) else { return };
        for (key, span) in [("before", phases.before), ("after", phases.after)] {
            if span > MAX_PHASE {
                let what = format!("`{key}` lasts {span}");
                self.problem(&path.key(key), what, format!("write at most {MAX_PHASE}"));
            }
        }
        if phases.before == Span::default() {
            let what = "without load before the first step nothing shows that the service worked";
            self.problem(&path.key("before"), what, "write a time such as 5s");
        }
    }

    /// A workload that something refers to must be among the applied ones, where there are any.
    pub(super) fn applied_workload(&mut self, path: &Path, workload: &WorkloadRef) {
        if self.applied.lacks_workload(workload) {
            let what = format!("{workload} is not among the applied objects");
            let instead = format!("write one of {}, or add its manifest to `apply`", self.applied.workloads_in_words());
            self.problem(path, what, instead);
        }
    }

    /// A span under `key` that must not be zero.
    pub(super) fn above_zero(&mut self, path: &Path, key: &str) {
        let path = path.key(key);
        if self.part::<Span>(&path) == Some(Span::default()) {
            self.problem(&path, format!("`{key}` is no time at all"), "write a time above zero, such as 10s");
        }
    }

    /// A grace period, which Kubernetes counts in whole seconds.
    pub(super) fn whole_seconds(&mut self, path: &Path, span: Option<Span>) {
        if let Some(span) = span.filter(|span| span.micros() % 1_000_000 != 0) {
            let what = format!("a grace period of {span} is not a number of whole seconds, which Kubernetes counts in");
            self.problem(&path.key("gracePeriod"), what, "write a time such as 5s");
        }
    }

    /// A name of a step: something that can stand in a line of a report.
    pub(super) fn step_name(&mut self, path: &Path, name: Option<&str>) {
        let Some(name) = name else { return };
        if name.trim().is_empty() || name.chars().any(char::is_control) || name.chars().count() > 63 {
            let what = format!("the step's name {name:?} cannot be printed in a line");
            self.problem(&path.key("name"), what, "write a short name, or leave the key out");
        }
    }

    /// The name of an object that is not of the file.
    pub(super) fn object_name(&mut self, path: &Path, name: &str) {
        if !crate::experiment::units::is_object_name(name) {
            self.problem(path, format!("{name:?} is not the name of an object"), names::DNS_LABEL);
        }
    }
}
