//! The embedded cluster: the Kubernetes API, its controllers, a scheduler and a kubelet that runs pods as processes,
//! all inside this process. From outside it is only an API client, power over nodes, and a way to dial Services.
//!
//! * [`kinds`], [`error`], [`names`]: what is served, how it refuses, what it calls things.
//! * [`store`]: objects, versions, changes.
//! * [`registry`]: the verbs with Kubernetes' rules.
//! * [`controllers`]: what moves objects.
//! * [`kubelet`]: pods as processes.

pub mod controllers;
pub mod error;
pub mod kinds;
pub mod kubelet;
pub mod names;
pub mod registry;
pub mod store;
