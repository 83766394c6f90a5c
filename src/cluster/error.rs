//! What can go wrong between here and the API server, and how to say it in the server's own words.

use std::{error::Error, time::Duration};

use kube::config::KubeconfigError;
use tokio::time::timeout;

use super::on::{On, there_are};
use crate::sandbox::SandboxError;

/// How long one ordinary request may take. The API server gives up on one of its own after 60 s
/// (apiserver `--request-timeout`); half of that is already a server that nothing can be tested on.
pub const REQUEST_WITHIN: Duration = Duration::from_secs(30);

/// What failed, on what, and what to try.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The sandbox could not be started.
    #[error("failed to start the sandbox")]
    Sandbox(#[source] Box<SandboxError>),
    /// A sandbox is started for an experiment, and cannot be connected to by its name.
    #[error("a sandbox has no address to connect to; it is started with the experiment")]
    NotStarted,
    /// The kubeconfig could not be read.
    #[error("failed to read the kubeconfig for {on}; KUBECONFIG or ~/.kube/config must name a readable one")]
    Kubeconfig {
        /// The cluster.
        on: On,
        /// Why.
        #[source]
        source: ApiFailure,
    },
    /// There is no such cluster.
    #[error("there is no {on}; {}", there_are(known))]
    Unknown {
        /// The cluster.
        on: On,
        /// Those that there are.
        known: Vec<On>,
    },
    /// The kind command line is missing or failed.
    #[error(
        "failed to ask kind for the kubeconfig of {on}: {said}; is kind installed and its container engine running?"
    )]
    Kind {
        /// The cluster.
        on: On,
        /// The command's own words.
        said: String,
    },
    /// No client can be made from the kubeconfig.
    #[error("failed to make a client for {on} from its kubeconfig")]
    Client {
        /// The cluster.
        on: On,
        /// Why.
        #[source]
        source: ApiFailure,
    },
    /// Nobody answers.
    #[error("{on} does not answer at {server}; {next}")]
    Unreachable {
        /// The cluster.
        on: On,
        /// The URL of its API server.
        server: String,
        /// What to try.
        next: String,
        /// Why.
        #[source]
        source: ApiFailure,
    },
    /// A request failed.
    #[error("failed to {attempt}{}", next_step(source))]
    Request {
        /// What was attempted, on what.
        attempt: String,
        /// Why.
        #[source]
        source: ApiFailure,
    },
}

/// What to try after a refusal, where one thing helps.
fn next_step(failure: &ApiFailure) -> &'static str {
    // Quotas and admission answer 403 as well; only RBAC speaks so (apiserver's `ForbiddenMessage`).
    match failure.code {
        Some(401) => "; log in again, or choose another context",
        Some(403) if failure.words.contains(" cannot ") => "; grant this client that right, or choose another context",
        _ => "",
    }
}

/// Why the API server did not do what it was asked: its words, or those of the connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct ApiFailure {
    /// The HTTP status, where an answer came.
    pub code: Option<u16>,
    /// The words.
    pub words: String,
}

impl ApiFailure {
    /// No answer came in time.
    #[must_use]
    pub fn no_answer_within(time: Duration) -> Self {
        Self { code: None, words: format!("no answer within {} s", time.as_secs()) }
    }

    /// 401 or 403: the server answers, and does not let this client in.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(self.code, Some(401 | 403))
    }
}

impl From<kube::Error> for ApiFailure {
    fn from(error: kube::Error) -> Self {
        // kube prints the whole Status with its debug form; its message alone is what kubectl shows.
        if let kube::Error::Api(status) = &error {
            let words = if status.message.is_empty() { &status.reason } else { &status.message };
            return Self { code: Some(status.code), words: words.clone() };
        }
        // What kube calls a service is the client's own machinery, which is no word for people.
        let words = match &error {
            kube::Error::Service(inner) => chain_in_words(inner.as_ref()),
            other => chain_in_words(other),
        };
        Self { code: None, words }
    }
}

impl From<KubeconfigError> for ApiFailure {
    fn from(error: KubeconfigError) -> Self {
        Self { code: None, words: chain_in_words(&error) }
    }
}

/// An error and its causes, joined by colons, each said once.
fn chain_in_words(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !words.contains(&text) {
            words = format!("{words}: {text}");
        }
        cause = error.source();
    }
    words
}

/// Waits for a request's answer, but no longer than [`REQUEST_WITHIN`].
pub(super) async fn answer<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, ApiFailure> {
    match timeout(REQUEST_WITHIN, request).await {
        Ok(answer) => answer.map_err(ApiFailure::from),
        Err(_) => Err(ApiFailure::no_answer_within(REQUEST_WITHIN)),
    }
}

/// The same, with what was attempted in the error.
pub(super) async fn attempt<T>(
    attempt: &str,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, ClusterError> {
    answer(request).await.map_err(|source| ClusterError::Request { attempt: attempt.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    #[test]
    fn an_answer_of_the_server_is_its_message_alone() {
        let status = Status::failure("pods \"a\" is forbidden", "Forbidden").with_code(403).boxed();
        let failure = ApiFailure::from(kube::Error::Api(status));
        assert_eq!(failure, ApiFailure { code: Some(403), words: "pods \"a\" is forbidden".to_owned() });
        assert!(failure.is_refusal());
    }

    #[test]
    fn a_right_that_is_missing_is_told_with_what_to_do() {
        let told = |code, words: &str| {
            let source = ApiFailure { code: Some(code), words: words.to_owned() };
            ClusterError::Request { attempt: "list nodes".to_owned(), source }.to_string()
        };
        let table = [
            (401, "Unauthorized", "failed to list nodes; log in again, or choose another context"),
            (
                403,
                r#"nodes is forbidden: User "u" cannot list resource "nodes" in API group """#,
                "failed to list nodes; grant this client that right, or choose another context",
            ),
            (403, "pods \"a\" is forbidden: exceeded quota: q", "failed to list nodes"),
            (404, "not found", "failed to list nodes"),
        ];
        for (code, words, expected) in table {
            assert_eq!(told(code, words), expected);
        }
    }

    #[test]
    fn a_broken_connection_is_told_with_its_cause_once() {
        let refused = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "tcp connect error");
        let failure = ApiFailure::from(kube::Error::Service(Box::new(refused)));
        assert_eq!(failure.code, None);
        assert_eq!(failure.words.matches("tcp connect error").count(), 1, "{failure}");
    }
}
