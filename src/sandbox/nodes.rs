//! Power over the nodes of a sandbox: what moves on a machine, and whether anything of it is heard on the network. The
//! kubelet knows the one and the service tables the other; here they change together.

use std::sync::Arc;

use super::{
    kubelet::{NoSuchNode, NodePower},
    net::{Link, ServiceTables},
};

/// Power over all nodes. Cheap to clone.
#[derive(Clone)]
pub struct Nodes {
    power: NodePower,
    tables: Arc<ServiceTables>,
}

impl Nodes {
    pub(super) const fn new(power: NodePower, tables: Arc<ServiceTables>) -> Self {
        Self { power, tables }
    }

    /// Power loss: everything on the node falls silent at once.
    ///
    /// # Errors
    /// For a node that isn't there.
    pub fn stop(&self, node: &str) -> Result<(), NoSuchNode> {
        self.power.stop(node)?;
        self.follow(node)
    }

    /// Power returns: the node boots, and its processes are gone.
    ///
    /// # Errors
    /// For a node that isn't there.
    pub fn start(&self, node: &str) -> Result<(), NoSuchNode> {
        self.power.start(node)?;
        self.follow(node)
    }

    /// A boot, which takes no time here.
    ///
    /// # Errors
    /// For a node that isn't there.
    pub fn reboot(&self, node: &str) -> Result<(), NoSuchNode> {
        self.stop(node)?;
        self.start(node)
    }

    /// The node is frozen where it is.
    ///
    /// # Errors
    /// For a node that isn't there.
    pub fn pause(&self, node: &str) -> Result<(), NoSuchNode> {
        self.power.pause(node)?;
        self.follow(node)
    }

    /// A frozen node goes on where it was.
    ///
    /// # Errors
    /// For a node that isn't there.
    pub fn unpause(&self, node: &str) -> Result<(), NoSuchNode> {
        self.power.unpause(node)?;
        self.follow(node)
    }

    /// The kubelet ends; the pods' processes go on and are reached as before.
    ///
    /// # Errors
    /// For a node that isn't there.
    pub fn kubelet_stop(&self, node: &str) -> Result<(), NoSuchNode> {
        self.power.kubelet_stop(node)
    }

    /// The kubelet starts again.
    ///
    /// # Errors
    /// For a node that isn't there.
    pub fn kubelet_start(&self, node: &str) -> Result<(), NoSuchNode> {
        self.power.kubelet_start(node)
    }

    /// Sets what happens on the way from one node to another, for connections that begin from now on.
    ///
    /// # Errors
    /// For a node that isn't there.
    pub fn link(&self, from: &str, to: &str, link: Link) -> Result<(), NoSuchNode> {
        self.power.is_silent(from)?;
        self.power.is_silent(to)?;
        self.tables.set_link(from, to, link);
        Ok(())
    }

    /// The network knows of the node what its power says.
    fn follow(&self, node: &str) -> Result<(), NoSuchNode> {
        self.tables.set_node_dark(node, self.power.is_silent(node)?);
        Ok(())
    }
}
