//! Kubernetes' own arithmetic, pure: each rule with the upstream file it comes from.
//!
//! * [`int_or_percent`]: `IntOrString` values and their rounding.
//! * [`disruption`]: what a budget lets through.
//! * [`rollout`]: the bounds of a rolling update, and its steps.
//! * [`deletion_rank`]: which pods a `ReplicaSet` deletes first.
//! * [`selector`]: label selectors against labels.
//! * [`kinds`]: the kinds of object that Kubernetes serves.
//! * [`quantity`]: quantities of resources.
//! * [`endpoints`]: which endpoints get new connections.
//! * [`taints`]: taints and tolerations.
//! * [`node_health`]: when zones count as broken.
//! * [`autoscale`]: the horizontal pod autoscaler.

pub mod autoscale;
pub mod deletion_rank;
pub mod disruption;
pub mod endpoints;
pub mod int_or_percent;
pub mod kinds;
pub mod node_health;
pub mod quantity;
pub mod rollout;
pub mod selector;
pub mod taints;
