//! What can go wrong with an agent, in its pod and in the harness.

use std::time::Duration;

/// Why an agent could not start, or came to its end before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The port could not be had.
    #[error("failed to listen on port {port}; choose another with --port")]
    Listen {
        /// The port.
        port: u16,
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
    /// Signals could not be subscribed to.
    #[error("failed to wait for SIGTERM")]
    Signals(#[source] std::io::Error),
    /// Nobody asked for messages any more: the harness is gone.
    #[error("nobody has fetched messages for {after:?}: the load was stopped")]
    Abandoned {
        /// How long nobody asked.
        after: Duration,
    },
    /// The Lease under which the run stands was not renewed.
    #[error("the run's lease was not renewed: the load was stopped")]
    LeaseEnded,
    /// The agent has lived as long as it may.
    #[error("the agent has run for {0:?}, the longest it may; raise --max-life for longer experiments")]
    TooOld(Duration),
    /// The API server would not have the Job.
    #[error("failed to create the agents' job {job}: {hint}")]
    Create {
        /// The Job, as `namespace/name`.
        job: String,
        /// What to try.
        hint: String,
        /// The API server's words.
        #[source]
        source: Box<kube::Error>,
    },
    /// A pod did not get ready, and will not.
    #[error("the agents of job {job} cannot start: {why}")]
    CannotStart {
        /// The Job, as `namespace/name`.
        job: String,
        /// Why, and what to try.
        why: String,
    },
    /// The pods were not all ready in time.
    #[error("the agents of job {job} were not ready within {within:?}; last seen: {last}")]
    NotReady {
        /// The Job, as `namespace/name`.
        job: String,
        /// How long they had.
        within: Duration,
        /// Their state as it was last seen.
        last: String,
    },
    /// An agent is up, but talking to it failed.
    #[error("failed to talk to the agent pod {pod} through the API server: {why}")]
    Talk {
        /// The pod.
        pod: String,
        /// What happened.
        why: String,
    },
    /// The Job is still there, or one of its pods.
    #[error("failed to remove the agents' job {job}: {why}; remove it with `kubectl delete job`")]
    NotRemoved {
        /// The Job, as `namespace/name`.
        job: String,
        /// What happened.
        why: String,
    },
}
