//! Power over nodes: what the harness does to a machine, and what its kubelet and processes make of it.
//!
//! A node without power or paused is silence: its processes are stopped where they are (`SIGSTOP`), so that their
//! connections neither answer nor end, and nobody renews its lease or writes its pods' status. The kernel still completes
//! handshakes for a stopped process's listener; whoever dials for a client asks [`Node::is_silent`] first.

use std::{
    collections::HashMap,
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use super::{options::NodeSpec, shared::Shared};

/// The state of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Power {
    /// It has power.
    pub on: bool,
    /// Its virtual machine is frozen.
    pub paused: bool,
    /// Its kubelet runs.
    pub kubelet: bool,
    /// How often it has booted.
    pub boots: u64,
}

impl Power {
    /// Whether the kubelet does its work.
    #[must_use]
    pub const fn works(self) -> bool {
        self.on && !self.paused && self.kubelet
    }

    /// Whether nothing on the machine moves.
    #[must_use]
    pub const fn is_silent(self) -> bool {
        !self.on || self.paused
    }
}

/// One node.
#[derive(Debug)]
pub struct Node {
    /// What it was made from.
    pub spec: NodeSpec,
    /// Its address.
    pub address: Ipv4Addr,
    power: watch::Sender<Power>,
}

impl Node {
    pub(super) fn new(spec: NodeSpec, address: Ipv4Addr) -> Self {
        let power = watch::Sender::new(Power { on: true, paused: false, kubelet: true, boots: 1 });
        Self { spec, address, power }
    }

    /// Its state now.
    #[must_use]
    pub fn power(&self) -> Power {
        *self.power.borrow()
    }

    /// To follow its state.
    #[must_use]
    pub fn follow(&self) -> watch::Receiver<Power> {
        self.power.subscribe()
    }

    /// Whether it is without power or paused: connections to it get no answer at all.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.power().is_silent()
    }
}

/// The nodes by name.
#[derive(Debug, Default)]
pub struct Nodes {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    by_name: HashMap<String, Arc<Node>>,
    /// In the order in which they were added; none is ever removed.
    all: Vec<Arc<Node>>,
}

impl Nodes {
    /// A node.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Node>> {
        self.lock().by_name.get(name).cloned()
    }

    /// All nodes.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Node>> {
        self.from(0)
    }

    /// The nodes that were added after so many others.
    #[must_use]
    pub fn from(&self, first: usize) -> Vec<Arc<Node>> {
        self.lock().all.get(first..).unwrap_or_default().to_vec()
    }

    pub(super) fn insert(&self, node: Arc<Node>) {
        let mut table = self.lock();
        if table.by_name.insert(node.spec.name.clone(), Arc::clone(&node)).is_none() {
            table.all.push(node);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A node that this kubelet does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the sandbox has no node {0:?}")]
pub struct NoSuchNode(pub String);

/// Power over the nodes of a kubelet.
#[derive(Clone)]
pub struct NodePower {
    pub(super) shared: Arc<Shared>,
}

impl NodePower {
    fn change(&self, node: &str, change: impl FnOnce(&mut Power)) -> Result<Power, NoSuchNode> {
        let node = self.shared.nodes.get(node).ok_or_else(|| NoSuchNode(node.to_owned()))?;
        node.power.send_modify(change);
        Ok(node.power())
    }

    /// Power loss: everything on the node falls silent at once.
    ///
    /// # Errors
    /// For a node that isn't there.
    pub fn stop(&self, node: &str) -> Result<(), NoSuchNode> {
        self.change(node, |power| power.on = false)?;
        self.shared.pods.on_node(node).iter().for_each(|pod| pod.stop_processes());
        Ok(())
    }

    /// Power returns: the node boots. Its processes are gone; its kubelet starts, tells of itself, and starts the pods'
    /// containers again or fails the pods.
    ///
    /// # Errors
    /// For a node that isn't there.
    pub fn start(&self, node: &str) -> Result<(), NoSuchNode> {
        let known = self.shared.nodes.get(node).ok_or_else(|| NoSuchNode(node.to_owned()))?;
        if known.power().on {
            return Ok(());
        }
        // Before its kubelet looks: what ran before the boot must not be seen running after it.
        self.shared.pods.on_node(node).iter().for_each(|pod| pod.kill_processes());
        self.change(node, |power| *power = Power { on: true, paused: false, kubelet: true, boots: power.boots + 1 })?;
        Ok(())
    }

    /// The node's virtual machine is frozen, and knows nothing of it.
    ///
    /// # Errors
    /// For a node that isn't there.
    pub fn pause(&self, node: &str) -> Result<(), NoSuchNode> {
        self.change(node, |power| power.paused = true)?;
        self.shared.pods.on_node(node).iter().for_each(|pod| pod.stop_processes());
        Ok(())
    }

    /// A frozen node goes on where it was.
    ///
    /// # Errors
    /// For a node that isn't there.
    pub fn unpause(&self, node: &str) -> Result<(), NoSuchNode> {
        let power = self.change(node, |power| power.paused = false)?;
        if power.on {
            self.shared.pods.on_node(node).iter().for_each(|pod| pod.continue_processes());
        }
        Ok(())
    }

    /// The kubelet ends; the pods' processes go on, and nobody looks after them.
    ///
    /// # Errors
    /// For a node that isn't there.
    pub fn kubelet_stop(&self, node: &str) -> Result<(), NoSuchNode> {
        self.change(node, |power| power.kubelet = false).map(drop)
    }

    /// The kubelet starts again, and makes up for what it missed.
    ///
    /// # Errors
    /// For a node that isn't there.
    pub fn kubelet_start(&self, node: &str) -> Result<(), NoSuchNode> {
        self.change(node, |power| power.kubelet = true).map(drop)
    }

    /// Whether nothing on the node answers.
    ///
    /// # Errors
    /// For a node that isn't there.
    pub fn is_silent(&self, node: &str) -> Result<bool, NoSuchNode> {
        let node = self.shared.nodes.get(node).ok_or_else(|| NoSuchNode(node.to_owned()))?;
        Ok(node.is_silent())
    }
}
