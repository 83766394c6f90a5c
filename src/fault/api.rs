//! Requests to the API server and why they fail, in words that name the next step.
//!
//! The client's own retries are off (`default_retry`), so what is seen here is what was on the wire.

use std::{future::Future, time::Duration};

/// How long one request may take. An eviction may keep the server busy for 20 × 500 ms of conflicts (§ eviction.go),
/// so this is well above that.
pub(super) const REQUEST_WITHIN: Duration = Duration::from_secs(20);

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The server refused it.
    #[error("the API server answered {code}: {message}{}", advice(*code))]
    Refused {
        /// The HTTP status.
        code: u16,
        /// The server's words.
        message: String,
        /// `details.causes` as reason and message.
        causes: Vec<(String, String)>,
        /// `details.retryAfterSeconds`; 0 where absent.
        retry_after_s: u32,
    },
    /// No answer came in time.
    #[error("the API server gave no answer within {} s; check that it is up", .0.as_secs())]
    NoAnswer(Duration),
    /// No answer that could be read.
    #[error("the API server could not be reached or understood; check that it is up and the kubeconfig is right")]
    Transport(#[source] Box<kube::Error>),
}

/// What to try, by status; a continuation of the message.
const fn advice(code: u16) -> &'static str {
    match code {
        401 => "; renew the credentials of the kubeconfig",
        403 => "; grant the right to it",
        404 => "; it was there when the plan was made: look for who removes it",
        409 => "; something else changes it at the same time",
        _ => "",
    }
}

impl ApiError {
    /// The HTTP status; 0 where there was no answer.
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self {
            Self::Refused { code, .. } => *code,
            Self::NoAnswer(_) | Self::Transport(_) => 0,
        }
    }

    /// The object is not there.
    #[must_use]
    pub const fn is_not_found(&self) -> bool {
        self.code() == 404
    }

    /// Whether the same request may succeed a little later: conflicts, overload, a server that restarts.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self.code(), 0 | 409 | 429 | 500 | 502 | 503 | 504)
    }

    /// Whether `details.causes` has this reason.
    #[must_use]
    pub fn has_cause(&self, reason: &str) -> bool {
        matches!(self, Self::Refused { causes, .. } if causes.iter().any(|(one, _)| one == reason))
    }
}

impl From<kube::Error> for ApiError {
    fn from(error: kube::Error) -> Self {
        let kube::Error::Api(status) = error else { return Self::Transport(Box::new(error)) };
        let (causes, retry_after_s) = status.details.map_or_else(Default::default, |details| {
            let causes = details.causes.into_iter().map(|cause| (cause.reason, cause.message)).collect();
            (causes, details.retry_after_seconds)
        });
        Self::Refused { code: status.code, message: status.message, causes, retry_after_s }
    }
}

/// Carries out one request, bounded by [`REQUEST_WITHIN`].
pub(super) async fn call<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, ApiError> {
    match tokio::time::timeout(REQUEST_WITHIN, request).await {
        Ok(answer) => answer.map_err(ApiError::from),
        Err(_) => Err(ApiError::NoAnswer(REQUEST_WITHIN)),
    }
}

/// Turns "not found" into `None`.
pub(super) fn found<T>(answer: Result<T, ApiError>) -> Result<Option<T>, ApiError> {
    match answer {
        Ok(object) => Ok(Some(object)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}
