//! The run: phases, steps, load and watches, conducted from one place.
//!
//! * [`files`]: experiment files found, all of them checked.
//! * [`suite`]: experiments run one after another, or each in a sandbox of its own, side by side.
//! * [`conductor`]: one experiment from set-up to undo.
//! * [`traffic`]: its load.
//! * [`recorder`]: its record.
//! * [`conclude`]: the verdict, and every file that is made from a record.
//! * [`vitals`], [`probe`]: the conditions on which it stops.
//! * [`recover`]: what interrupted runs have left, undone.
//! * [`signals`]: Ctrl-C and SIGTERM.

pub mod conclude;
pub mod conductor;
pub mod files;
mod probe;
mod recorder;
pub mod recover;
pub mod signals;
pub mod suite;
mod traffic;
mod vitals;

use crate::{
    agent::error::AgentError,
    cluster::{ClusterError, apply::ApplyError, kind::KindError, ready::NotReady},
    fault::{StepError, abort::Aborted, ledger::LedgerError},
    load::LoadError,
    observe,
    plan::PlanProblem,
    record::error::RecordError,
};

/// Why a run did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The cluster could not be asked.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The watches did not begin.
    #[error(transparent)]
    Watch(#[from] observe::NotListed),
    /// The container engine could not be asked.
    #[error(transparent)]
    Kind(#[from] KindError),
    /// The manifests could not be applied.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The service never got ready.
    #[error(transparent)]
    NotReady(#[from] NotReady),
    /// A step failed.
    #[error(transparent)]
    Step(#[from] StepError),
    /// What would have to be undone could not be written down.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The load generator failed.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The agent pod failed.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// The record could not be written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The plan does not fit the cluster any more.
    #[error(transparent)]
    Planned(#[from] PlanProblem),
    /// The plan could not be put down as JSON.
    #[error("failed to write the plan down")]
    Plan(#[source] serde_json::Error),
    /// A lane has no address to send to.
    #[error("lane `{lane}` cannot ask service `{service}`: {why}")]
    LaneTarget {
        /// The lane.
        lane: String,
        /// Its Service.
        service: String,
        /// What is wrong with it.
        why: String,
    },
    /// Every node may be touched by a step.
    #[error(
        "no node is left for the load agent: every one may be drained or cordoned; use `from: outside`, or spare a node"
    )]
    NoPlaceForAgent,
    /// A condition of `abort` is met.
    #[error("stopped by a condition of `abort`: {why}")]
    Condition {
        /// The condition and what was measured, in words.
        why: String,
    },
    /// Ctrl-C, SIGTERM, or a record that cannot be written.
    #[error("broken off")]
    BrokenOff,
}

impl From<Aborted> for RunError {
    fn from(_: Aborted) -> Self {
        Self::BrokenOff
    }
}
