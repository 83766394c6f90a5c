//! The embedded cluster: the Kubernetes API, its controllers, a scheduler and a kubelet that runs pods as processes,
//! all inside this process. From outside it is only an API client, power over nodes, and a way to dial Services.
//!
//! * [`api`]: the HTTP API over them, in process and on a port.
//! * [`kinds`], [`error`], [`names`]: what is served, how it refuses, what it calls things.
//! * [`store`]: objects, versions, changes.
//! * [`registry`]: the verbs with Kubernetes' rules.
//! * [`controllers`]: what moves objects.
//! * [`metrics`]: what pods and nodes use.
//! * [`scheduler`]: which node a pod goes to.
//! * [`net`]: where each node sends new connections to Services.
//! * [`kubelet`]: pods as processes.
//! * [`random`]: chance that can be repeated.
//! * [`selectors`]: label selectors of typed objects.
//! * [`topology`], [`block`]: the nodes of a new cluster, and its addresses.
//! * [`nodes`]: power over nodes.
//! * [`start`]: all of it together, from start to stop; `adapters` stands between the parts.

mod adapters;
pub mod api;
mod block;
pub mod controllers;
pub mod error;
#[cfg(test)]
mod fixture;
pub mod kinds;
pub mod kubelet;
pub mod metrics;
pub mod names;
pub mod net;
mod nodes;
pub mod random;
pub mod registry;
pub mod scheduler;
pub mod selectors;
mod start;
pub mod store;
mod topology;

pub use nodes::Nodes;
pub use start::{Options, Sandbox, SandboxError, VERSION};
pub use topology::{NodeShape, Topology};
