//! As much of an API server as one agent pod needs: create, list, watch, delete, and the proxy to it.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch};

use super::rig::send;

/// The pod at a version; nothing when there is none.
#[derive(Debug, Clone, Default)]
struct Seen {
    version: u64,
    pod: Option<Value>,
    last: Value,
}

/// The server's state.
pub(super) struct ApiServer {
    seen: watch::Sender<Seen>,
    /// What the pod's status becomes after its creation, one after another.
    statuses: Vec<Value>,
    /// An answer to the creation other than yes.
    refusal: Option<(u16, String)>,
    agent: SocketAddr,
    requests: Mutex<Vec<String>>,
}

impl ApiServer {
    /// A server whose pod, once created, goes through these states, and is `agent` behind the proxy.
    pub(super) async fn serve(
        statuses: Vec<Value>,
        refusal: Option<(u16, String)>,
        agent: SocketAddr,
    ) -> (Arc<Self>, kube::Client) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let requests = Mutex::default();
        let server = Arc::new(Self { seen: watch::Sender::default(), statuses, refusal, agent, requests });
        let shared = Arc::clone(&server);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = Arc::clone(&shared);
                let answer = service_fn(move |request| {
                    let server = Arc::clone(&server);
                    async move { Ok::<_, Infallible>(server.answer(request).await) }
                });
                tokio::spawn(async move { http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await });
            }
        });
        let mut config = kube::Config::new(uri);
        // As everywhere here: a 503 is to be seen and not repeated unseen.
        config.default_retry = false;
        (server, kube::Client::try_from(config).unwrap())
    }

    /// Whether the pod is there.
    pub(super) fn has_pod(&self) -> bool {
        self.seen.borrow().pod.is_some()
    }

    /// Waits until the pod is gone.
    pub(super) async fn pod_is_gone(&self) {
        self.seen.subscribe().wait_for(|seen| seen.version > 0 && seen.pod.is_none()).await.unwrap();
    }

    /// Takes the pod's status from here on.
    pub(super) fn set_status(&self, status: &Value) {
        self.change(|pod| {
            if let Some(pod) = pod {
                pod["status"] = status.clone();
            }
        });
    }

    /// How many requests began so, as `METHOD /path`.
    pub(super) fn asked(&self, beginning: &str) -> usize {
        self.requests.lock().unwrap().iter().filter(|line| line.starts_with(beginning)).count()
    }

    fn change(&self, change: impl FnOnce(&mut Option<Value>)) {
        self.seen.send_modify(|seen| {
            seen.version += 1;
            change(&mut seen.pod);
            if let Some(pod) = &mut seen.pod {
                pod["metadata"]["resourceVersion"] = json!(seen.version.to_string());
                seen.last = pod.clone();
            }
        });
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        self.requests.lock().unwrap().push(format!("{method} {uri}"));
        let body = String::from_utf8(request.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap();
        let (status, text) = match uri.path().split_once(":8099/proxy") {
            Some((_, path)) => {
                let path = uri.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
                let refused = |error: String| (StatusCode::SERVICE_UNAVAILABLE, failure(503, &error).to_string());
                send(self.agent, method, &path, body).await.unwrap_or_else(refused)
            }
            None if method == Method::POST => self.create(&body),
            None if method == Method::DELETE => self.delete(),
            None => self.look(uri.path(), uri.query().unwrap_or_default()).await,
        };
        let response = Response::builder().status(status).header("content-type", "application/json");
        response.body(Full::new(Bytes::from(text))).unwrap()
    }

    fn create(&self, body: &str) -> (StatusCode, String) {
        if let Some((code, message)) = &self.refusal {
            return (StatusCode::from_u16(*code).unwrap(), failure(*code, message).to_string());
        }
        let mut pod: Value = serde_json::from_str(body).unwrap();
        pod["metadata"]["uid"] = json!("uid-1");
        self.change(|there| *there = Some(pod));
        let created = self.seen.borrow().last.to_string();
        self.statuses.iter().for_each(|status| self.set_status(status));
        (StatusCode::CREATED, created)
    }

    fn delete(&self) -> (StatusCode, String) {
        if !self.has_pod() {
            return (StatusCode::NOT_FOUND, failure(404, "pods not found").to_string());
        }
        self.change(|pod| *pod = None);
        (StatusCode::OK, self.seen.borrow().last.to_string())
    }

    /// A list of the pods, a watch of one change, or the pod.
    async fn look(&self, path: &str, query: &str) -> (StatusCode, String) {
        if query.contains("watch=true") {
            let from = query.split('&').find_map(|pair| pair.strip_prefix("resourceVersion="));
            let from: u64 = from.unwrap().parse().unwrap();
            let mut changes = self.seen.subscribe();
            let seen = changes.wait_for(|seen| seen.version > from).await.unwrap();
            let kind = if seen.pod.is_some() { "MODIFIED" } else { "DELETED" };
            let mut object = seen.last.clone();
            object["metadata"]["resourceVersion"] = json!(seen.version.to_string());
            return (StatusCode::OK, format!("{}\n", json!({ "type": kind, "object": object })));
        }
        let seen = self.seen.borrow().clone();
        if path.ends_with("/pods") {
            let items: Vec<Value> = seen.pod.into_iter().collect();
            let metadata = json!({ "resourceVersion": seen.version.to_string() });
            let list = json!({ "kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": items });
            return (StatusCode::OK, list.to_string());
        }
        match seen.pod {
            Some(pod) => (StatusCode::OK, pod.to_string()),
            None => (StatusCode::NOT_FOUND, failure(404, "pods not found").to_string()),
        }
    }
}

fn failure(code: u16, message: &str) -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code,
        "reason": if code == 404 { "NotFound" } else { "" } })
}
