//! What a step acts on: nodes and pods that a rule can find at all.

use std::collections::BTreeSet;

use super::Validator;
use crate::{
    experiment::{
        schema::{Labels, NodePick},
        tree::Path,
    },
    model::selector::labels_in_words,
};

impl Validator<'_> {
    pub(super) fn node_pick(&mut self, path: &Path, pick: &NodePick) {
        let rules = [
            ("names", pick.names.is_some()),
            ("withPods", pick.with_pods.is_some()),
            ("selector", pick.selector.is_some()),
        ];
        self.exactly_one(path, "nodes", &rules);
        if let Some(names) = &pick.names {
            let mut seen = BTreeSet::new();
            for (index, name) in names.iter().enumerate() {
                let at = path.key("names").index(index);
                self.object_name(&at, name);
                if !seen.insert(name) {
                    self.problem(&at, format!("node {name} is named twice"), "remove one of them");
                }
            }
            if pick.count.is_some() {
                let what = "`count` stands with `names`, which are always all taken";
                self.key_problem(path, "count", what, "remove `count`, or name fewer nodes");
            }
        }
        if let Some(labels) = &pick.with_pods {
            self.pods_with(&path.key("withPods"), labels);
        }
        if let Some(labels) = &pick.selector {
            self.labels(&path.key("selector"), labels);
        }
    }

    /// Labels by which pods of the namespace are found.
    pub(super) fn pods_with(&mut self, path: &Path, labels: &Labels) {
        self.labels(path, labels);
        if !labels.is_empty() && self.applied.has_no_pod_with(labels) {
            let what = format!("no applied pod has the labels {}", labels_in_words(labels));
            let instead = format!("write labels of one of the pod templates: {}", self.applied.pod_labels_in_words());
            self.problem(path, what, instead);
        }
    }

    /// Of several keys exactly one must be there.
    pub(super) fn exactly_one(&mut self, path: &Path, of: &str, keys: &[(&str, bool)]) {
        let all: Vec<String> = keys.iter().map(|(key, _)| format!("`{key}`")).collect();
        let there: Vec<&str> = keys.iter().filter(|(_, there)| *there).map(|(key, _)| *key).collect();
        let instead = format!("write exactly one of {}", all.join(", "));
        match there.as_slice() {
            [_] => {}
            [] => self.problem(path, format!("`{of}` says nothing to go by"), instead),
            [first, others @ ..] => {
                for other in others {
                    self.key_problem(path, other, format!("`{other}` stands with `{first}`"), instead.clone());
                }
            }
        }
    }
}
