//! A cluster to act on: a kubeconfig context or a kind cluster, reached through one type.
//!
//! * [`on`]: how a cluster is named on the command line, and which there are.
//! * [`dial`]: how load reaches a Service whose addresses are not the machine's own.
//! * [`embedded`]: the sandbox as a cluster.
//! * [`connect`]: from a name to a client, with kube's own retries off.
//! * [`error`]: what can go wrong between here and the API server, in its words.
//! * [`rights`]: what the client may not do, asked before anything is touched.
//! * [`apply`]: a namespace of ours, the objects in it, and its removal.
//! * [`rollout`]: kubectl's rule of when a workload is rolled out.
//! * [`ready`]: waiting for workloads, and why they did not get there.
//! * [`retry`]: how a broken watch is taken up again.
//! * [`facts`]: the cluster at one moment, for planning.
//! * [`kind`]: kind clusters, by their own command line and the container engine under them.

pub mod apply;
pub mod connect;
pub mod dial;
pub mod embedded;
pub mod error;
pub mod facts;
pub mod kind;
pub mod on;
pub mod ready;
pub mod retry;
pub mod rights;
pub mod rollout;
pub(crate) mod why;

pub use connect::{Cluster, connect};
pub use error::ClusterError;
pub use on::On;
