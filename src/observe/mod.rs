//! Watches of the cluster, onto the timeline: each change that matters is one event, stamped where it is seen.
//!
//! * [`watches`]: all of them together, begun and ended.
//! * `follow`: one watch, through breaks and new lists; `trouble`: when a break is worth a note; `heartbeat`: whether
//!   the API server answers at all, since a watch on a silent one just stays quiet.
//! * `book`: what was last recorded, so that only changes are; kept as our own small structs.
//! * [`pods`], [`endpoints`], [`budgets`], [`nodes`], [`workloads`], [`kube_events`]: what is kept of each kind, pure.

mod book;
pub mod budgets;
pub mod endpoints;
mod follow;
mod heartbeat;
pub mod kube_events;
pub mod nodes;
pub mod pods;
mod trouble;
pub mod watches;
pub mod workloads;

pub use watches::{NotListed, Watches, watch};
