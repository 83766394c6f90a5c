//! Rolling updates of a `DaemonSet`: which old pods go, and which nodes get a second pod first
//! (`k/pkg/controller/daemon/update.go` `rollingUpdate`, v1.34.4).

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::core::v1::Pod;

use super::super::{pods, revisions::POD_REVISION};
use crate::model::rollout::Fenceposts;

/// The pods of a set by the node that they are on or tied to; nodes that are to run one and have none are there too.
pub type ByNode = BTreeMap<String, Vec<Arc<Pod>>>;

/// What a step of the update does.
#[derive(Debug, Default)]
pub struct Step {
    /// Pods that go.
    pub delete: Vec<Arc<Pod>>,
    /// Nodes that get a new pod beside the old one.
    pub create: Vec<String>,
}

/// What is asked of pods and nodes.
pub struct View<'a> {
    /// The hash of the revision to come to.
    pub hash: &'a str,
    /// The bounds.
    pub bounds: Fenceposts,
    /// Nodes that are to run a pod.
    pub desired: usize,
    /// Whether a pod is available.
    pub available: &'a dyn Fn(&Pod) -> bool,
    /// Whether a node is to run a pod.
    pub runs: &'a dyn Fn(&str) -> bool,
}

/// The new and the old pod of a node.
#[derive(Debug, Default)]
struct Pair<'a> {
    new: Option<&'a Arc<Pod>>,
    old: Option<&'a Arc<Pod>>,
}

impl View<'_> {
    /// The next step.
    #[must_use]
    pub fn step(&self, nodes: &ByNode) -> Step {
        if self.bounds.surge == 0 { self.replace(nodes) } else { self.surge(nodes) }
    }

    /// The pods of a node that are not going; nothing where there are several of a kind, which are cleared away first.
    fn pair<'p>(&self, pods: &'p [Arc<Pod>]) -> Option<Pair<'p>> {
        let mut pair = Pair::default();
        for pod in pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()) {
            let place = if is_updated(pod, self.hash) { &mut pair.new } else { &mut pair.old };
            if place.replace(pod).is_some() {
                return None;
            }
        }
        Some(pair)
    }

    /// Old pods go before the new ones come: those that are not available at once, the others within the bound.
    fn replace(&self, nodes: &ByNode) -> Step {
        let bound = usize::try_from(self.bounds.unavailable).unwrap_or(0);
        let (mut unavailable, mut delete, mut candidates) = (0, Vec::new(), Vec::new());
        for pods in nodes.values() {
            match self.pair(pods) {
                Some(Pair { new: None, old: Some(old) }) if !(self.available)(old) => {
                    delete.push(Arc::clone(old));
                    unavailable += 1;
                }
                Some(Pair { new: None, old: Some(old) }) => {
                    if unavailable < bound {
                        candidates.push(Arc::clone(old));
                    }
                }
                Some(Pair { new: Some(new), old: None }) if (self.available)(new) => {}
                _ => unavailable += 1,
            }
        }
        delete.extend(candidates.into_iter().take(bound.saturating_sub(unavailable)));
        Step { delete, create: Vec::new() }
    }

    /// New pods come before the old ones go, within the bound.
    fn surge(&self, nodes: &ByNode) -> Step {
        let bound = usize::try_from(self.bounds.surge).unwrap_or(0);
        let (mut step, mut candidates, mut leaving) = (Step::default(), Vec::new(), Vec::new());
        let (mut surged, mut available) = (0, 0);
        for (node, pods) in nodes {
            let Some(pair) = self.pair(pods) else {
                surged += 1;
                continue;
            };
            available += usize::from(pair.old.or(pair.new).is_some_and(|pod| (self.available)(pod)));
            let Some(old) = pair.old else { continue };
            match pair.new {
                Some(new) if (self.available)(new) => step.delete.push(Arc::clone(old)),
                Some(_) => surged += 1,
                None if !(self.available)(old) => {
                    if (self.runs)(node) {
                        step.create.push(node.clone());
                    } else {
                        step.delete.push(Arc::clone(old));
                    }
                }
                None if !(self.runs)(node) => leaving.push(Arc::clone(old)),
                None if surged < bound => candidates.push(node.clone()),
                None => {}
            }
        }
        // On a node that the set leaves, the old pod stays until there are enough available ones elsewhere.
        step.delete.extend(leaving.into_iter().take(available.saturating_sub(self.desired)));
        step.create.extend(candidates.into_iter().take(bound.saturating_sub(surged)));
        step
    }
}

/// Whether a pod is of this revision.
#[must_use]
pub fn is_updated(pod: &Pod, hash: &str) -> bool {
    !hash.is_empty() && pods::labels(&pod.metadata).get(POD_REVISION).is_some_and(|of| of == hash)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Pods in short: `n` new, `o` old, in capitals where available, `x` old and going.
    fn nodes(texts: &[&str]) -> ByNode {
        let pod = |node: usize, letter: char| -> Arc<Pod> {
            let hash = if letter.eq_ignore_ascii_case(&'n') { "new" } else { "old" };
            let value = json!({
                "metadata": {
                    "name": format!("{node}{letter}"), "labels": {POD_REVISION: hash},
                    "deletionTimestamp": (letter == 'x').then_some("2025-01-01T00:00:00Z"),
                },
                "status": {"phase": if letter.is_uppercase() { "Running" } else { "Pending" }},
            });
            Arc::new(serde_json::from_value(value).unwrap())
        };
        let of = |(node, text): (usize, &&str)| (node.to_string(), text.chars().map(|one| pod(node, one)).collect());
        texts.iter().enumerate().map(of).collect()
    }

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn step(texts: &[&str], surge: i32, unavailable: i32, runs: &dyn Fn(&str) -> bool) -> (Vec<String>, Vec<String>) {
        let nodes = nodes(texts);
        let view = View {
            hash: "new",
            bounds: Fenceposts { surge, unavailable },
            desired: nodes.keys().filter(|node| runs(node)).count(),
            available: &|pod| pods::phase(pod) == "Running",
            runs,
        };
        let step = view.step(&nodes);
        (step.delete.iter().map(|pod| pod.metadata.name.clone().unwrap()).collect(), step.create)
    }

    #[test]
    fn without_surge_available_pods_go_within_the_bound_and_the_others_at_once() {
        let table: [(&[&str], i32, &[&str]); 7] = [
            (&["O", "O", "O"], 1, &["0O"]),
            (&["O", "O", "O"], 2, &["0O", "1O"]),
            (&["N", "O", "O"], 1, &["1O"]),
            (&["n", "O", "O"], 1, &[]),
            (&["o", "O", "o"], 1, &["0o", "2o"]),
            (&["x", "O", "O"], 1, &[]),
            (&["N", "N", "N"], 1, &[]),
        ];
        for (texts, unavailable, deleted) in table {
            assert_eq!(step(texts, 0, unavailable, &|_| true), (owned(deleted), vec![]), "{texts:?}");
        }
    }

    #[test]
    fn with_surge_the_old_pod_goes_once_the_new_one_is_available() {
        type Row<'a> = (&'a [&'a str], i32, &'a [&'a str], &'a [&'a str]);
        let table: [Row<'_>; 6] = [
            (&["O", "O", "O"], 1, &[], &["0"]),
            (&["On", "O", "O"], 1, &[], &[]),
            (&["ON", "O", "O"], 1, &["0O"], &["1"]),
            (&["o", "O", "O"], 1, &[], &["0", "1"]),
            (&["O", "O", "O"], 2, &[], &["0", "1"]),
            (&["OO", "O", "O"], 1, &[], &[]),
        ];
        for (texts, surge, deleted, created) in table {
            let (delete, create) = step(texts, surge, 0, &|_| true);
            assert_eq!((delete, create), (owned(deleted), owned(created)), "{texts:?}");
        }
    }

    #[test]
    fn with_surge_a_node_that_is_left_keeps_its_pod_until_there_are_enough_elsewhere() {
        let left = |node: &str| node != "0";
        assert_eq!(step(&["O", "n"], 1, 0, &left), (vec![], vec![]));
        assert_eq!(step(&["O", "N"], 1, 0, &left), (vec!["0O".to_owned()], vec![]));
        assert_eq!(step(&["o", "n"], 1, 0, &left), (vec!["0o".to_owned()], vec![]));
    }
}
