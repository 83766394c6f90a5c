//! Load from inside the cluster: the load core in an agent pod, and the harness's side of it.
//!
//! Both sides:
//! * [`protocol`]: what they say to each other over HTTP.
//! * [`error`]: what can go wrong, on either side.
//!
//! In the pod:
//! * [`server`]: the process, from its port to its end.
//! * `engine`: the load that it runs, and who still listens to it.
//! * `buffer`: messages that nobody has acknowledged yet.
//! * `routes`: requests and their answers.
//!
//! In the harness:
//! * [`client`]: the agents of a run from their creation to their removal.
//! * [`job`]: the manifest of the Job whose pods they are, and how far all of them are.
//! * [`pod`]: the template of a pod, and what its state means.
//! * `standing`: creating the Job, waiting for its pods, removing it.
//! * `transport`: the way to a pod through the API server.
//! * [`offset`]: between an agent's clock and the run's.
//! * `follow`: fetching an agent's messages, each exactly once.
//! * `merge`: the messages of all agents as those of one.
//! * `unsent`: what an agent that died did not send.

mod buffer;
pub mod client;
mod engine;
pub mod error;
mod follow;
pub mod job;
mod merge;
pub mod offset;
pub mod pod;
pub mod protocol;
mod routes;
pub mod server;
mod standing;
mod transport;
mod unsent;

#[cfg(test)]
mod tests;
