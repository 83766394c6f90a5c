//! How load reaches a Service where its addresses are not those of the machine's own network: in the sandbox.
//!
//! On any other cluster connections go to the Service's address and kube-proxy decides; there this is not needed.

use std::{net::SocketAddr, time::Duration};

/// Where a connection that is begun now leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hop {
    /// To this pod, after the delay of the way there.
    To(SocketAddr, Duration),
    /// To nowhere, and the network says so.
    Refused,
    /// To nowhere, in silence.
    Silent,
}

/// A Service's port, as a client names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The Service's namespace.
    pub namespace: String,
    /// The Service.
    pub service: String,
    /// Its port.
    pub port: u16,
}

/// Decides for each new connection which pod it goes to.
pub trait Dial: Send + Sync {
    /// The node through which connections from outside the cluster come in.
    fn way_in(&self) -> &str;

    /// The pod for a connection that is begun now, by the rules of one node.
    fn dial(&self, node: &str, target: &Target) -> Hop;
}
