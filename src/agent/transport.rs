//! The way from the harness to an agent: the API server's proxy to a pod, which needs nothing but the cluster's
//! kubeconfig. A trait, so that the conversation can be tested without a cluster.

use std::{future::Future, time::Duration};

use http_body_util::BodyExt;
use hyper::{Method, Request, StatusCode, header};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, client::Body, core::Status};

use super::{
    pod,
    protocol::{PORT, Refusal},
};

/// How long looking at the pod may take, beside a conversation that fails.
const LOOK_WITHIN: Duration = Duration::from_secs(2);

/// Why a request to an agent has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum CallError {
    /// The agent answered that it will not; asking again gets the same.
    #[error("the agent refused: {0}")]
    Refused(String),
    /// The request or its answer did not get through, now.
    #[error("{0}")]
    Failed(String),
}

/// A way to one agent.
pub(super) trait Transport: Send + Sync + 'static {
    /// One request, one answer in JSON. It may take for ever: the caller bounds it.
    fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> impl Future<Output = Result<String, CallError>> + Send;

    /// Why the agent is gone for good, where that is certain.
    fn gone(&self) -> impl Future<Output = Option<String>> + Send;
}

/// Through the API server, by `/api/v1/namespaces/NS/pods/NAME:PORT/proxy/`.
pub(super) struct PodProxy {
    client: Client,
    namespace: String,
    name: String,
}

impl PodProxy {
    /// The way to a pod.
    pub(super) fn new(client: Client, namespace: &str, name: &str) -> Self {
        Self { client, namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

impl Transport for PodProxy {
    async fn call(&self, method: Method, path: &str, body: Option<String>) -> Result<String, CallError> {
        let uri = format!("/api/v1/namespaces/{}/pods/{}:{PORT}/proxy{path}", self.namespace, self.name);
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.unwrap_or_default().into_bytes()))
            .map_err(|error| CallError::Failed(error.to_string()))?;
        let response = self.client.send(request).await.map_err(|error| CallError::Failed(chain(&error)))?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(|error| CallError::Failed(chain(&error)))?;
        let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        if status.is_success() { Ok(text) } else { Err(call_error(status, &text)) }
    }

    async fn gone(&self) -> Option<String> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        match tokio::time::timeout(LOOK_WITHIN, pods.get_opt(&self.name)).await {
            Ok(Ok(Some(seen))) => pod::ended(&seen),
            Ok(Ok(None)) => Some("the pod is gone".to_owned()),
            // Then nothing is certain.
            Ok(Err(_)) | Err(_) => None,
        }
    }
}

/// The agent's own refusals are told from the API server's troubles in reaching it by their shape. The client's own
/// reading of errors would take both for a `Status`, and an agent's for an empty one.
fn call_error(code: StatusCode, text: &str) -> CallError {
    if let Ok(refusal) = serde_json::from_str::<Refusal>(text) {
        return CallError::Refused(refusal.error);
    }
    let message = serde_json::from_str::<Status>(text).map(|status| status.message).unwrap_or_default();
    let words = if message.is_empty() { text.trim() } else { &message };
    CallError::Failed(format!("{words} ({})", code.as_u16()))
}

/// An error with all its causes, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        let words = deeper.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = deeper.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_the_agent_is_told_from_the_api_servers_trouble_in_reaching_it() {
        let unreachable = "error trying to reach service: dial tcp 10.244.1.9:8099: connect: connection refused";
        let status = |message: &str| serde_json::json!({ "kind": "Status", "message": message }).to_string();
        let failed = |text: &str| CallError::Failed(text.to_owned());
        let table = [
            (400, r#"{"error":"no lanes"}"#.to_owned(), CallError::Refused("no lanes".to_owned())),
            (503, status(unreachable), failed(&format!("{unreachable} (503)"))),
            (404, status(r#"pods "x" not found"#), failed(r#"pods "x" not found (404)"#)),
            (502, "bad gateway\n".to_owned(), failed("bad gateway (502)")),
        ];
        for (code, text, expected) in table {
            assert_eq!(call_error(StatusCode::from_u16(code).unwrap(), &text), expected);
        }
    }
}
