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
//! * [`client`]: a pod from its creation to its removal.
//! * [`pod`]: the pod's manifest, and what its state means.
//! * `standing`: creating the pod, waiting for it, removing it.
//! * `transport`: the way to it through the API server.
//! * [`offset`]: from the agent's clock to the run's.
//! * `follow`: fetching the messages, each exactly once.
//! * `unsent`: what the lanes of an agent that died did not send.

mod buffer;
pub mod client;
mod engine;
pub mod error;
mod follow;
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
