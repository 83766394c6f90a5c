//! The applied objects by themselves and among each other: what the API server would refuse, or take and then serve
//! nobody with.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::{Validator, spec};
use crate::{
    experiment::{
        manifests::{self, BudgetFact, ServiceFact, WorkloadFact},
        tree::{Node, Path},
        units::is_object_name,
    },
    model::{int_or_percent::IntOrPercent, kinds, selector::labels_in_words},
};

impl Validator<'_> {
    pub(super) fn objects(&mut self) {
        let namespace = self.root.at(&spec().keys(&["given", "namespace"])).and_then(Node::text).map(str::to_owned);
        let applied = std::mem::take(&mut self.applied);
        let mut first_seen: BTreeMap<(String, String), Path> = BTreeMap::new();
        for (path, object) in &applied.objects {
            self.object(path, object, namespace.as_deref());
            let key = (manifests::kind(object).to_owned(), manifests::name(object).to_owned());
            if let Some(first) = first_seen.get(&key).filter(|_| !key.1.is_empty()) {
                let what = format!("{} {} is applied twice; first on line {}", key.0, key.1, self.line_of(first));
                self.problem(path, what, "remove one of them");
            } else {
                first_seen.insert(key, path.clone());
            }
        }
        for (path, workload) in &applied.workloads {
            self.template(path, workload);
        }
        for (path, budget) in &applied.budgets {
            self.budget(path, budget);
        }
        self.applied = applied;
        let services = self.applied.services.clone();
        for (path, service) in &services {
            self.service(path, service);
        }
    }

    fn object(&mut self, path: &Path, object: &Json, namespace: Option<&str>) {
        if !object.is_object() {
            return;
        }
        let (api_version, kind, name) =
            (manifests::api_version(object), manifests::kind(object), manifests::name(object));
        for (value, key) in [(api_version, "apiVersion"), (kind, "kind")] {
            if value.is_empty() {
                let instead = format!("add `{key}:` as in every Kubernetes object");
                self.problem(path, format!("the object lacks `{key}`"), instead);
            }
        }
        if name.is_empty() {
            self.problem(path, "the object lacks `metadata.name`", "add `metadata: {name: …}`");
        } else if !is_object_name(name) && !kind.contains("Role") {
            let instead = "write lower-case letters, digits, `-` and `.`";
            self.problem(&path.keys(&["metadata", "name"]), format!("{name:?} is not the name of an object"), instead);
        }
        if api_version.is_empty() || kind.is_empty() {
            return;
        }
        let Some(known) = kinds::find(api_version, kind) else {
            let what = format!("{kind} of {api_version} is not a kind of Kubernetes itself");
            let instead = "apply it before the run and leave it out here: the rights for it cannot be told";
            return self.problem(&path.key("kind"), what, instead);
        };
        if known.kind == "Namespace" {
            let instead = "leave the object out: `given.namespace` is created before the objects are applied";
            return self.problem(path, "a Namespace is applied", instead);
        }
        if !known.namespaced {
            let what = format!("{kind} {name} belongs to no namespace, so it would be left behind");
            return self.problem(path, what, "create it before the run, and leave it out here");
        }
        let own = object.pointer("/metadata/namespace").and_then(Json::as_str);
        if let (Some(own), Some(namespace)) = (own, namespace)
            && own != namespace
        {
            let what = format!("{kind} {name} is for namespace {own}, but `given.namespace` is {namespace}");
            self.problem(&path.keys(&["metadata", "namespace"]), what, "leave `metadata.namespace` out");
        }
    }

    fn template(&mut self, path: &Path, fact: &WorkloadFact) {
        let workload = &fact.workload;
        let selector = path.keys(&["spec", "selector"]);
        if self.root.at(&selector).is_none() {
            let what = format!("{workload} lacks `spec.selector`");
            let labels = labels_in_words(&fact.template.labels);
            return self.key_problem(path, "spec", what, format!("add `selector:` with `matchLabels:` of {labels}"));
        }
        if !fact.selector.matches(&fact.template.labels) {
            let what = format!(
                "{workload} selects {}, but its pods have {}",
                fact.selector,
                labels_in_words(&fact.template.labels)
            );
            self.problem(&selector, what, "make `spec.selector` and `spec.template.metadata.labels` the same");
        }
        for strategy in ["strategy", "updateStrategy"] {
            for key in ["maxSurge", "maxUnavailable"] {
                self.amount(&path.keys(&["spec", strategy, "rollingUpdate", key]), key);
            }
        }
    }

    fn budget(&mut self, path: &Path, budget: &BudgetFact) {
        let spec = path.key("spec");
        let has = |key: &str| self.root.at(&spec.key(key)).is_some();
        let (min, max) = (has("minAvailable"), has("maxUnavailable"));
        if min == max {
            let what = format!(
                "PodDisruptionBudget {} has {} of `minAvailable` and `maxUnavailable`",
                budget.name,
                if min { "both" } else { "neither" }
            );
            self.key_problem(path, "spec", what, "write exactly one of them");
        }
        for key in ["minAvailable", "maxUnavailable"] {
            self.amount(&spec.key(key), key);
        }
    }

    /// An `IntOrString` of pods.
    fn amount(&mut self, path: &Path, key: &str) {
        let Some(value) = self.root.at(path).map(|node| node.to_json(&[])) else { return };
        if let Err(error) = IntOrPercent::from_json(&value) {
            self.problem(path, format!("`{key}`: {error}"), "write a number such as 1 or a percentage such as 25%");
        }
    }

    fn service(&mut self, path: &Path, service: &ServiceFact) {
        let matches_none = !service.selector.is_empty() && self.applied.has_no_pod_with(&service.selector);
        if matches_none {
            let what = format!(
                "Service {} selects {}, which no applied pod has",
                service.name,
                labels_in_words(&service.selector)
            );
            let instead = format!("write labels of one of the pod templates: {}", self.applied.pod_labels_in_words());
            self.problem(&path.keys(&["spec", "selector"]), what, instead);
        }
    }
}
