//! As much of an API server, with a controller of Jobs, as agents need: create, list, watch and delete a Job, its pods by
//! a list and a watch, what is said of pods that it may not make, and the proxy to each pod.

use std::{
    collections::BTreeMap,
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

/// An object as it was last seen, at the version of the last change of it.
#[derive(Debug, Clone)]
struct Object {
    version: u64,
    is_there: bool,
    last: Value,
}

/// All objects by their collection and name, such as `pods/a`.
#[derive(Debug, Clone, Default)]
struct Seen {
    version: u64,
    objects: BTreeMap<String, Object>,
}

impl Seen {
    fn there<'s>(&'s self, collection: &'s str) -> impl Iterator<Item = (&'s String, &'s Object)> + 's {
        let of = move |path: &str| path.starts_with(&format!("{collection}/"));
        self.objects.iter().filter(move |(path, object)| object.is_there && of(path))
    }

    fn put(&mut self, path: &str, mut object: Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.insert(path.to_owned(), Object { version: self.version, is_there: true, last: object });
    }

    fn remove(&mut self, path: &str) {
        self.version += 1;
        if let Some(object) = self.objects.get_mut(path) {
            (object.version, object.is_there) = (self.version, false);
            object.last["metadata"]["resourceVersion"] = json!(self.version.to_string());
        }
    }
}

/// What the server does that not every one does.
#[derive(Debug, Default)]
pub(super) struct Script {
    /// What each pod's status becomes after its creation, one after another.
    pub(super) statuses: Vec<Value>,
    /// An answer to the creation of the Job other than yes.
    pub(super) refusal: Option<(u16, String)>,
    /// What is said, again and again, of pods that may not be made; then none is.
    pub(super) refused_pods: Option<String>,
}

/// The server's state.
pub(super) struct ApiServer {
    seen: watch::Sender<Seen>,
    script: Script,
    /// What is behind the proxy to each pod, by its index.
    agents: Vec<SocketAddr>,
    requests: Mutex<Vec<String>>,
}

impl ApiServer {
    /// A server on which a Job's pods go as scripted, and are these agents behind the proxy.
    pub(super) async fn serve(script: Script, agents: &[SocketAddr]) -> (Arc<Self>, kube::Client) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let (seen, requests) = (watch::Sender::default(), Mutex::default());
        let server = Arc::new(Self { seen, script, agents: agents.to_vec(), requests });
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

    /// How many objects of a collection are there.
    pub(super) fn count(&self, collection: &str) -> usize {
        self.seen.borrow().there(collection).count()
    }

    /// Waits until there was a Job, and neither it nor a pod of it is left.
    pub(super) async fn all_is_gone(&self) {
        let gone = |seen: &Seen| seen.version > 0 && seen.objects.values().all(|object| !object.is_there);
        self.seen.subscribe().wait_for(gone).await.unwrap();
    }

    /// Takes the status of the pod of an index from here on.
    pub(super) fn set_status(&self, index: usize, status: &Value) {
        self.seen.send_modify(|seen| {
            let of_index = |(path, _): &(&String, &Object)| path.contains(&format!("-{index}-"));
            let found = seen.there("pods").find(of_index).map(|(path, pod)| (path.clone(), pod.last.clone()));
            let (path, mut pod) = found.expect("a pod of that index");
            pod["status"] = status.clone();
            seen.put(&path, pod);
        });
    }

    /// How many requests began so, as `METHOD /path`.
    pub(super) fn asked(&self, beginning: &str) -> usize {
        self.requests.lock().unwrap().iter().filter(|line| line.starts_with(beginning)).count()
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        self.requests.lock().unwrap().push(format!("{method} {uri}"));
        let body = String::from_utf8(request.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap();
        let (status, text) = match uri.path().split_once(":8099/proxy") {
            Some((pod, path)) => {
                let index: usize = pod.rsplit('-').nth(1).unwrap().parse().unwrap();
                let path = uri.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
                let refused = |error: String| (StatusCode::SERVICE_UNAVAILABLE, failure(503, &error).to_string());
                send(self.agents[index], method, &path, body).await.unwrap_or_else(refused)
            }
            None if method == Method::POST => self.create(&body),
            None if method == Method::DELETE => self.delete(uri.path(), &body),
            None => self.look(uri.path(), uri.query().unwrap_or_default()).await,
        };
        let response = Response::builder().status(status).header("content-type", "application/json");
        response.body(Full::new(Bytes::from(text))).unwrap()
    }

    /// Creates a Job, and its pods.
    fn create(&self, body: &str) -> (StatusCode, String) {
        if let Some((code, message)) = &self.script.refusal {
            return (StatusCode::from_u16(*code).unwrap(), failure(*code, message).to_string());
        }
        let mut job: Value = serde_json::from_str(body).unwrap();
        job["metadata"]["uid"] = json!("uid-job");
        let name = job["metadata"]["name"].as_str().unwrap().to_owned();
        let pods = job["spec"]["completions"].as_u64().unwrap();
        self.seen.send_modify(|seen| {
            seen.put(&format!("jobs/{name}"), job.clone());
            if let Some(message) = &self.script.refused_pods {
                let said = json!({ "metadata": { "name": "said", "namespace": "shop" }, "reason": "FailedCreate",
                    "message": message, "involvedObject": { "kind": "Job", "name": name } });
                seen.put("events/said", said);
                return;
            }
            for index in 0..pods {
                let mut pod = job["spec"]["template"].clone();
                pod["metadata"]["name"] = json!(format!("{name}-{index}-x"));
                pod["metadata"]["uid"] = json!(format!("uid-{index}"));
                pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"] = json!(index.to_string());
                pod["spec"]["nodeName"] = json!("worker");
                seen.put(&format!("pods/{name}-{index}-x"), pod);
            }
        });
        for status in self.script.statuses.iter().filter(|_| self.script.refused_pods.is_none()) {
            (0..usize::try_from(pods).unwrap()).for_each(|index| self.set_status(index, status));
        }
        (StatusCode::CREATED, job.to_string())
    }

    /// Removes a Job after its pods, as it must be asked to.
    fn delete(&self, path: &str, body: &str) -> (StatusCode, String) {
        let options: Value = serde_json::from_str(body).unwrap();
        assert_eq!(options["propagationPolicy"], "Foreground", "without it the pods would stay");
        let name = format!("jobs/{}", path.rsplit('/').next().unwrap());
        if !self.seen.borrow().objects.get(&name).is_some_and(|job| job.is_there) {
            return (StatusCode::NOT_FOUND, failure(404, "jobs not found").to_string());
        }
        self.seen.send_modify(|seen| {
            let all: Vec<String> = seen.objects.keys().filter(|path| **path != name).cloned().collect();
            for path in &all {
                seen.remove(path);
            }
            seen.remove(&name);
        });
        (StatusCode::OK, self.seen.borrow().objects[&name].last.to_string())
    }

    /// A list of a collection, a watch of its next changes, or an object of it.
    async fn look(&self, path: &str, query: &str) -> (StatusCode, String) {
        let (_, path) = path.split_once("/namespaces/shop/").unwrap();
        if query.contains("watch=true") {
            let from = query.split('&').find_map(|pair| pair.strip_prefix("resourceVersion="));
            let from: u64 = from.unwrap().parse().unwrap();
            let of = format!("{path}/");
            let changed = |seen: &Seen| -> Vec<Object> {
                let later = |(name, object): &(&String, &Object)| name.starts_with(&of) && object.version > from;
                seen.objects.iter().filter(later).map(|(_, object)| object.clone()).collect()
            };
            let mut changes = self.seen.subscribe();
            let mut changed = changed(&changes.wait_for(|seen| !changed(seen).is_empty()).await.unwrap());
            changed.sort_by_key(|object| object.version);
            let line = |object: &Object| {
                let kind = if object.is_there { "MODIFIED" } else { "DELETED" };
                format!("{}\n", json!({ "type": kind, "object": object.last }))
            };
            return (StatusCode::OK, changed.iter().map(line).collect());
        }
        let seen = self.seen.borrow().clone();
        if !path.contains('/') {
            let items: Vec<Value> = seen.there(path).map(|(_, object)| object.last.clone()).collect();
            let metadata = json!({ "resourceVersion": seen.version.to_string() });
            let list = json!({ "kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items });
            return (StatusCode::OK, list.to_string());
        }
        match seen.objects.get(path).filter(|object| object.is_there) {
            Some(object) => (StatusCode::OK, object.last.to_string()),
            None => (StatusCode::NOT_FOUND, failure(404, "not found").to_string()),
        }
    }
}

fn failure(code: u16, message: &str) -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code,
        "reason": if code == 404 { "NotFound" } else { "" } })
}
