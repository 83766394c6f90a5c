//! Kubernetes' own arithmetic, pure: each rule with the upstream file it comes from.
//!
//! * [`int_or_percent`]: `IntOrString` values and their rounding.
//! * [`disruption`]: what a budget lets through.
//! * [`rollout`]: the bounds of a rolling update.
//! * [`selector`]: label selectors against labels.
//! * [`kinds`]: the kinds of object that Kubernetes serves.
//! * [`quantity`]: amounts of resources.

pub mod disruption;
pub mod int_or_percent;
pub mod kinds;
pub mod quantity;
pub mod rollout;
pub mod selector;
