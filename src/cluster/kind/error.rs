//! What can go wrong with a kind cluster, and what to try then.

use std::{io, path::PathBuf, time::Duration};

use super::{DELETE_TRIES, FORGET_TRIES, command::CommandError};

/// Why something could not be done to a kind cluster.
#[derive(Debug, thiserror::Error)]
pub enum KindError {
    /// A command could not be run, failed, or took too long.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A file that creating needs could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The configuration or the image archive.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The cluster's configuration is not YAML of the expected shape.
    #[error("{} is not a kind configuration: {problem}", path.display())]
    Config {
        /// The configuration.
        path: PathBuf,
        /// What the parser said, with its position.
        problem: String,
    },
    /// There is a cluster of that name. It is not ours to change.
    #[error(
        "there is a kind cluster {name:?} already; take another with --name, or delete it with evenkeel kind down {name}"
    )]
    AlreadyThere {
        /// The name.
        name: String,
    },
    /// There is no cluster of that name.
    #[error("there is no kind cluster {name:?}; there are: {}", if known.is_empty() { "none".to_owned() } else { known.join(", ") })]
    NoSuchCluster {
        /// The name.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// The new cluster's API could not be reached.
    #[error("cannot reach the API of kind cluster {name:?}")]
    Api {
        /// The cluster.
        name: String,
        /// A problem with its kubeconfig or with the connection.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// `kind create cluster` failed.
    #[error("{failure}{hint}")]
    NotCreated {
        /// The command, how it ended and what it said.
        failure: CommandError,
        /// What to try, where that can be told; else empty.
        hint: String,
    },
    /// Nodes of the new cluster did not become ready.
    #[error("nodes of kind cluster {name:?} are not ready after {} s: {}{hint}", waited.as_secs(), nodes.join(", "))]
    NotReady {
        /// The cluster.
        name: String,
        /// The nodes that are not ready.
        nodes: Vec<String>,
        /// How long that was waited for.
        waited: Duration,
        /// What to try, where that can be told; else empty.
        hint: String,
    },
    /// It was told to stop while it made a cluster; what was made is deleted.
    #[error("stopped while creating kind cluster {name:?}")]
    Stopped {
        /// The cluster.
        name: String,
    },
    /// A cluster is still listed after it was deleted.
    #[error("kind cluster {name:?} is still there after {DELETE_TRIES} deletions; see kind get nodes --name {name}")]
    NotDeleted {
        /// The cluster.
        name: String,
    },
    /// Making a cluster failed, and so did deleting what was made of it.
    #[error(
        "{failure}; and what was made of kind cluster {name:?} could not be deleted: run kind delete cluster --name {name}"
    )]
    LeftBehind {
        /// The cluster.
        name: String,
        /// Why it could not be made.
        failure: Box<KindError>,
        /// Why it could not be deleted.
        #[source]
        source: Box<KindError>,
    },
    /// Connections through a port are still tracked after deletion, so a client still uses them.
    #[error(
        "node {node} still tracks {left} connections to port {port} after {FORGET_TRIES} deletions; end the load on it first"
    )]
    ConnectionsLeft {
        /// The node.
        node: String,
        /// The port as clients see it.
        port: u16,
        /// How many there are.
        left: u64,
    },
    /// conntrack said something that is not understood.
    #[error("cannot tell how many connections conntrack on node {node} means by {said:?}")]
    Conntrack {
        /// The node.
        node: String,
        /// What it said.
        said: String,
    },
}

/// How kind's failure reads when a node's systemd or kubelet did not come up, which is how a node without an inotify
/// instance to spare ends.
const NODE_DID_NOT_START: [&str; 4] =
    ["kubelet is not healthy", "in a stopped state", "find a log line that matches", "Too many open files"];

/// What kind's own list of known issues asks for; Linux's default is 128.
const INOTIFY_INSTANCES_ENOUGH: u64 = 512;

/// What to try when a node did not start, if this machine's limit on inotify instances may be why: all nodes of all
/// clusters share it, a node uses 18 or so (measured on v1.34), and kind's words say nothing of it.
pub(super) fn hint_on_inotify(limit: Option<u64>) -> String {
    match limit {
        Some(limit) if limit < INOTIFY_INSTANCES_ENOUGH => format!(
            "; all nodes on this machine share {limit} inotify instances and need some 18 each: delete other clusters, \
             or run sysctl fs.inotify.max_user_instances={INOTIFY_INSTANCES_ENOUGH}"
        ),
        _ => String::new(),
    }
}

/// The limit on inotify instances of a user, where this machine has one.
pub(super) fn inotify_instances() -> Option<u64> {
    std::fs::read_to_string("/proc/sys/fs/inotify/max_user_instances").ok()?.trim().parse().ok()
}

impl KindError {
    /// A failure of `kind create cluster`, with what to try.
    pub(super) fn not_created(failure: CommandError, inotify_instances: Option<u64>) -> Self {
        let hint = match &failure {
            CommandError::Failed { stderr, .. } if NODE_DID_NOT_START.iter().any(|words| stderr.contains(words)) => {
                hint_on_inotify(inotify_instances)
            }
            CommandError::TooLong { .. } => hint_on_inotify(inotify_instances),
            _ => String::new(),
        };
        Self::NotCreated { failure, hint }
    }
}
