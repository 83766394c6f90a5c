//! Why a step failed: what was attempted, on what, and what to try.

use std::time::Duration;

use super::{
    abort::{Abort, Aborted},
    api::{self, ApiError},
    drain_error::DrainError,
    ledger::LedgerError,
};
use crate::plan::{GuardProblem, PickProblem};

/// Why a step did not do what it set out to do.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// An abort was asked for.
    #[error("broken off while waiting to {doing}")]
    Aborted {
        /// What was being waited for.
        doing: String,
    },
    /// A request failed.
    #[error("failed to {attempted}")]
    Api {
        /// The act and its object, such as `cordon node/worker2`.
        attempted: String,
        /// Why.
        #[source]
        source: ApiError,
    },
    /// What the act would change could not be written down, so it did not take place.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// It would be more than the file allows, or than is ever meant.
    #[error("nothing was done: {0}")]
    Guard(#[from] GuardProblem),
    /// Nothing, or not enough, to act on.
    #[error(transparent)]
    Pick(#[from] PickProblem),
    /// Nodes that are not drained.
    #[error(transparent)]
    Drain(Box<DrainError>),
    /// The step would have changed nothing, so it would have tested nothing.
    #[error("failed to {attempted}: {why}")]
    NoEffect {
        /// The act and its object.
        attempted: String,
        /// Why it has no effect, and what to write instead.
        why: String,
    },
    /// The act was accepted, but its effect was not seen in the cluster.
    #[error("{done}, but within {} s it was not seen to take effect: {standing}", .within.as_secs())]
    NoReceipt {
        /// What was done.
        done: String,
        /// How long it was looked for.
        within: Duration,
        /// What was seen instead.
        standing: String,
    },
    /// A condition was not reached in time.
    #[error("waited {} s to {awaited}: {standing}; see why, or raise `within`", .within.as_secs())]
    NotReached {
        /// What was waited for.
        awaited: String,
        /// How long.
        within: Duration,
        /// How it stood at the end.
        standing: String,
    },
    /// A condition that can no longer be reached.
    #[error("gave up waiting to {awaited}: {why}")]
    NeverReached {
        /// What was waited for.
        awaited: String,
        /// Why it cannot come, and what to try.
        why: String,
    },
}

impl StepError {
    /// For `map_err`: the request that makes this attempt failed.
    pub(super) fn api(attempted: impl Into<String>) -> impl FnOnce(ApiError) -> Self {
        let attempted = attempted.into();
        move |source| Self::Api { attempted, source }
    }

    /// For `map_err`: this wait was broken off.
    pub(super) fn aborted(doing: impl Into<String>) -> impl FnOnce(Aborted) -> Self {
        let doing = doing.into();
        move |Aborted| Self::Aborted { doing }
    }
}

/// A request that only reads: it is given up at once when an abort is asked for.
pub(super) async fn read<T>(
    abort: &Abort,
    attempted: &str,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, StepError> {
    abort.or(api::call(request)).await.map_err(StepError::aborted(attempted))?.map_err(StepError::api(attempted))
}
