//! All nodes with their pods, kept up to date change by change, so that placing a pod costs a look at the nodes and not
//! at every pod on them.
//!
//! Pods that are alike to all rules about other pods (namespace, labels, affinity, on their way out or not) are one
//! class, which knows how many of it are on which node.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use k8s_openapi::api::core::v1::Node;

use super::{node::NodeInfo, pod::PodInfo};

/// The number of a class.
pub(super) type ClassId = u64;

/// A class.
#[derive(Debug)]
pub(super) struct Class {
    /// One of its pods, which stands for all.
    pub(super) pod: Arc<PodInfo>,
    /// How many are on which node.
    pub(super) nodes: HashMap<usize, u32>,
    key: String,
}

/// The nodes and their pods.
#[derive(Debug, Default)]
pub(super) struct Cache {
    nodes: Vec<NodeInfo>,
    by_name: HashMap<String, usize>,
    free: Vec<usize>,
    /// Nodes that are there, zone by zone in turn, as of the last [`Cache::set_in_order`].
    order: Vec<usize>,
    /// Nodes have come, gone or moved since then.
    out_of_order: bool,
    classes: BTreeMap<ClassId, Class>,
    by_key: HashMap<String, ClassId>,
    next_class: ClassId,
    /// The node of each pod, by uid.
    pods: HashMap<String, usize>,
    /// Labels of namespaces.
    pub(super) namespaces: HashMap<String, BTreeMap<String, String>>,
}

impl Cache {
    /// A node by its place.
    pub(super) fn node(&self, at: usize) -> &NodeInfo {
        &self.nodes[at]
    }

    pub(super) fn node_named(&self, name: &str) -> Option<&NodeInfo> {
        self.by_name.get(name).map(|at| &self.nodes[*at]).filter(|node| node.exists)
    }

    /// How many places there are, those of nodes that are gone too.
    pub(super) fn places(&self) -> usize {
        self.nodes.len()
    }

    /// The nodes that are there, zone by zone in turn.
    pub(super) fn in_order(&self) -> impl Iterator<Item = &NodeInfo> {
        self.order.iter().map(|at| &self.nodes[*at])
    }

    /// The nth of them.
    pub(super) fn nth(&self, at: usize) -> &NodeInfo {
        &self.nodes[self.order[at]]
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.order.len()
    }

    pub(super) fn classes(&self) -> impl Iterator<Item = &Class> {
        self.classes.values()
    }

    pub(super) fn classes_with_anti_affinity(&self) -> impl Iterator<Item = &Class> {
        self.classes.values().filter(|class| !class.pod.affinity.anti_required.is_empty())
    }

    fn slot(&mut self, name: &str) -> usize {
        if let Some(at) = self.by_name.get(name) {
            return *at;
        }
        let at = self.free.pop().unwrap_or(self.nodes.len());
        let info = NodeInfo { name: name.to_owned(), at, ..NodeInfo::default() };
        if at < self.nodes.len() {
            self.nodes[at] = info;
        } else {
            self.nodes.push(info);
        }
        self.by_name.insert(name.to_owned(), at);
        at
    }

    /// Takes over a node; what it was like before comes back, if it was there.
    pub(super) fn put_node(&mut self, name: &str, node: &Node) -> Option<NodeInfo> {
        let at = self.slot(name);
        let before = self.nodes[at].clone_without_pods();
        self.nodes[at].read(node);
        if !before.exists || before.zone != self.nodes[at].zone {
            self.out_of_order = true;
        }
        before.exists.then_some(before)
    }

    /// Forgets a node; pods that are still bound to it stay known.
    pub(super) fn remove_node(&mut self, name: &str) {
        let Some(at) = self.by_name.get(name).copied() else { return };
        self.nodes[at].exists = false;
        self.out_of_order = true;
        self.tidy(at);
    }

    /// Frees the place of a node that is not there and has no pods.
    fn tidy(&mut self, at: usize) {
        if !self.nodes[at].exists && self.nodes[at].pods.is_empty() {
            self.by_name.remove(&self.nodes[at].name);
            self.free.push(at);
        }
    }

    /// Works out the order of nodes, where it may have changed: once for all the changes before a pod is placed.
    pub(super) fn set_in_order(&mut self) {
        if !std::mem::take(&mut self.out_of_order) {
            return;
        }
        let mut names: Vec<usize> = (0..self.nodes.len()).filter(|at| self.nodes[*at].exists).collect();
        names.sort_by(|one, other| self.nodes[*one].name.cmp(&self.nodes[*other].name));
        let mut zones: BTreeMap<&str, std::collections::VecDeque<usize>> = BTreeMap::new();
        for at in names {
            zones.entry(&self.nodes[at].zone).or_default().push_back(at);
        }
        let mut order = Vec::new();
        while !zones.is_empty() {
            zones.retain(|_, zone| {
                order.extend(zone.pop_front());
                !zone.is_empty()
            });
        }
        self.order = order;
    }

    /// Takes over a pod that is bound to a node; what was known of it before comes back.
    pub(super) fn put_pod(&mut self, pod: &Arc<PodInfo>) -> Option<Arc<PodInfo>> {
        let node = pod.node.as_deref()?;
        let before = self.remove_pod(&pod.uid);
        let at = self.slot(node);
        let class = self.class_of(pod);
        if let Some(class) = self.classes.get_mut(&class) {
            *class.nodes.entry(at).or_default() += 1;
        }
        self.nodes[at].add(pod, class);
        self.pods.insert(pod.uid.clone(), at);
        before
    }

    /// Forgets a pod.
    pub(super) fn remove_pod(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        let at = self.pods.remove(uid)?;
        let (pod, id) = self.nodes[at].remove(uid)?;
        let empty = self.classes.get_mut(&id).is_some_and(|class| {
            if let Some(count) = class.nodes.get_mut(&at) {
                *count -= 1;
                if *count == 0 {
                    class.nodes.remove(&at);
                }
            }
            class.nodes.is_empty()
        });
        if empty && let Some(class) = self.classes.remove(&id) {
            self.by_key.remove(&class.key);
        }
        self.tidy(at);
        Some(pod)
    }

    /// What is known of a bound pod.
    pub(super) fn pod(&self, uid: &str) -> Option<&Arc<PodInfo>> {
        self.nodes[*self.pods.get(uid)?].pods.get(uid).map(|(pod, _)| pod)
    }

    fn class_of(&mut self, pod: &Arc<PodInfo>) -> ClassId {
        let key = if pod.affinity.is_empty() {
            format!("{} {} {:?}", pod.namespace, pod.deleting, pod.labels)
        } else {
            format!("{} {} {:?} {:?}", pod.namespace, pod.deleting, pod.labels, pod.affinity)
        };
        if let Some(known) = self.by_key.get(&key) {
            return *known;
        }
        self.next_class += 1;
        self.by_key.insert(key.clone(), self.next_class);
        self.classes.insert(self.next_class, Class { pod: Arc::clone(pod), nodes: HashMap::new(), key });
        self.next_class
    }
}

impl NodeInfo {
    fn clone_without_pods(&self) -> Self {
        Self {
            name: self.name.clone(),
            at: self.at,
            exists: self.exists,
            labels: self.labels.clone(),
            zone: self.zone.clone(),
            taints: self.taints.clone(),
            unschedulable: self.unschedulable,
            allocatable: self.allocatable.clone(),
            ..Self::default()
        }
    }
}
