//! An API server for unit tests: a function from requests to answers behind a real client, and a log of what was asked.

use std::sync::{Arc, Mutex};

use hyper::{Request, Response, StatusCode};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::{sync::mpsc::UnboundedReceiver, time::Instant};

use super::{
    abort::{Abort, AbortHandle},
    ledger::Ledger,
    stage::Stage,
    undo::UndoStack,
};
use crate::{
    experiment::guards::Guards,
    record::{
        clock::{Clock, Sink},
        event::{Event, What},
    },
};

/// One request as the server got it.
#[derive(Debug, Clone)]
pub struct Call {
    pub method: String,
    pub path: String,
    pub query: String,
    pub body: Value,
    /// Seconds since the server began.
    pub at_s: f64,
}

/// What was asked so far.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<Call>>>);

impl Log {
    /// All calls so far whose `METHOD path` contains this.
    pub fn of(&self, part: &str) -> Vec<Call> {
        let calls = self.0.lock().unwrap();
        calls.iter().filter(|call| format!("{} {}", call.method, call.path).contains(part)).cloned().collect()
    }
}

/// A client whose every request is answered by `answer` with a status and a body. A watch is answered with an empty
/// stream that stays open.
pub fn server(answer: impl FnMut(&Call) -> (u16, Value) + Send + 'static) -> (kube::Client, Log) {
    let (log, answer, begun) = (Log::default(), Arc::new(Mutex::new(answer)), Instant::now());
    let seen = log.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let (seen, answer) = (seen.clone(), answer.clone());
        async move {
            let (head, body) = request.into_parts();
            let bytes = body.collect_bytes().await?;
            let call = Call {
                method: head.method.to_string(),
                path: head.uri.path().to_owned(),
                query: head.uri.query().unwrap_or_default().to_owned(),
                body: serde_json::from_slice(&bytes).unwrap_or_default(),
                at_s: begun.elapsed().as_secs_f64(),
            };
            seen.0.lock().unwrap().push(call.clone());
            if call.query.contains("watch=true") {
                std::future::pending::<()>().await;
            }
            let (status, body) = (answer.lock().unwrap())(&call);
            let response = Response::builder().status(StatusCode::from_u16(status).unwrap());
            Ok::<_, kube::Error>(response.body(Body::from(body.to_string().into_bytes())).unwrap())
        }
    });
    (kube::Client::new(service, "default"), log)
}

/// A stage in namespace `app` on that server.
pub struct Setting {
    pub stage: Stage,
    pub abort: AbortHandle,
    pub events: UnboundedReceiver<Event>,
    pub log: Log,
}

pub fn setting(answer: impl FnMut(&Call) -> (u16, Value) + Send + 'static) -> Setting {
    let (client, log) = server(answer);
    let (sink, events) = Sink::new(Clock::start());
    let (handle, abort) = Abort::new();
    let undo = Arc::new(UndoStack::new(client.clone(), sink.clone(), Ledger::nowhere()));
    // Tests of the guards bring their own; the others need not know what those ask for.
    let guards = Arc::new(Guards { allow_last_replica: true, ..Guards::default() });
    let stage = Stage { client, namespace: "app".into(), namespace_is_ours: false, guards, sink, undo, abort };
    Setting { stage, abort: handle, events, log }
}

impl Setting {
    /// All that has been recorded since the last call.
    pub fn recorded(&mut self) -> Vec<What> {
        std::iter::from_fn(|| self.events.try_recv().ok()).map(|event| event.what).collect()
    }
}

/// A `Status` of a failure.
pub fn failure(code: u16, message: &str, causes: &[(&str, &str)]) -> (u16, Value) {
    let causes: Vec<Value> = causes.iter().map(|(reason, words)| json!({"reason": reason, "message": words})).collect();
    (
        code,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": "",
        "message": message, "details": {"causes": causes}}),
    )
}

/// What a server says of something that is not there.
pub fn not_found() -> (u16, Value) {
    failure(404, "not found", &[])
}

/// The 429 of a budget.
pub fn budget_exhausted() -> (u16, Value) {
    let words = "The disruption budget shop needs 3 healthy pods and has 3 currently";
    failure(429, "Cannot evict pod as it would violate the pod's disruption budget.", &[("DisruptionBudget", words)])
}

/// A running pod of a `ReplicaSet`.
pub fn pod(name: &str, uid: &str, node: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "app", "uid": uid, "labels": {"app": "shop"},
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "shop-1", "uid": "r",
                "controller": true}]},
        "spec": {"nodeName": node, "containers": [], "terminationGracePeriodSeconds": 30},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}})
}

/// A node.
pub fn node(name: &str, unschedulable: bool) -> Value {
    json!({"metadata": {"name": name}, "spec": {"unschedulable": unschedulable}})
}

/// A list of objects.
pub fn list(items: &[Value]) -> (u16, Value) {
    (200, json!({"metadata": {"resourceVersion": "1"}, "items": items}))
}
