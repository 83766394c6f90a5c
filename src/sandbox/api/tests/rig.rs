//! An API over an empty store with two namespaces, and requests to it.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode, header::CONTENT_TYPE};
use serde_json::{Value, json};

use crate::sandbox::{
    api::{Answer, Api, ApiOptions},
    kinds::{self, Kind},
    registry::{Registry, WriteOptions, admission::Allocator},
    store::Store,
};

pub(super) struct Rig {
    pub(super) api: Arc<Api>,
    pub(super) registry: Arc<Registry>,
}

/// An answer that has been read.
pub(super) struct Read {
    pub(super) status: u16,
    pub(super) answer: hyper::http::response::Parts,
    pub(super) text: String,
}

impl Read {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.answer.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::with(ApiOptions::default())
    }

    pub(super) fn with(options: ApiOptions) -> Self {
        let registry = Arc::new(Registry::new(Arc::new(Store::new(kinds::ALL)), Allocator::default()));
        let rig = Self { api: Api::new(Arc::clone(&registry), options), registry };
        for name in ["default", "shop"] {
            rig.store(&kinds::NAMESPACE, "", json!({"metadata": {"name": name}}));
        }
        rig
    }

    pub(super) fn store(&self, kind: &'static Kind, namespace: &str, value: Value) {
        self.registry.create(kind, namespace, value, &WriteOptions::default()).unwrap();
    }

    /// Stores a config map.
    pub(super) fn map(&self, name: &str, labels: Value) {
        self.store(&kinds::CONFIG_MAP, "shop", json!({"metadata": {"name": name, "labels": labels}}));
    }

    pub(super) async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        self.api.handle(request).await
    }

    pub(super) async fn get(&self, path: &str) -> Read {
        self.get_as(path, "application/json").await
    }

    pub(super) async fn get_as(&self, path: &str, accept: &str) -> Read {
        let request = Request::get(path).header("accept", accept).body(Full::default()).unwrap();
        read(self.send(request).await).await
    }

    pub(super) async fn call(&self, method: &str, path: &str, body: &Value) -> Read {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.call_with(method, path, "application/json", body).await
    }

    pub(super) async fn call_with(&self, method: &str, path: &str, media_type: &str, body: String) -> Read {
        let request = Request::builder().method(method).uri(path).header(CONTENT_TYPE, media_type);
        read(self.send(request.body(Full::from(body)).unwrap()).await).await
    }

    /// Begins a watch.
    pub(super) async fn watch(&self, path: &str) -> Events {
        self.watch_as(path, "application/json").await
    }

    pub(super) async fn watch_as(&self, path: &str, accept: &str) -> Events {
        let request = Request::get(path).header("accept", accept).body(Full::default()).unwrap();
        let answer = self.send(request).await;
        assert_eq!(answer.status(), StatusCode::OK);
        Events { body: Box::pin(answer.into_body().into_data_stream()), text: String::new() }
    }
}

pub(super) async fn read(answer: Answer) -> Read {
    let (answer, body) = answer.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    Read { status: answer.status.as_u16(), answer, text: String::from_utf8(bytes.to_vec()).unwrap() }
}

/// The events of a watch.
pub(super) struct Events {
    body: BoxStream<'static, Result<Bytes, crate::sandbox::api::BoxError>>,
    text: String,
}

impl Events {
    /// The next event, or nothing at the watch's end.
    pub(super) async fn next(&mut self) -> Option<Value> {
        use futures::StreamExt;
        loop {
            if let Some((line, rest)) = self.text.split_once('\n') {
                let event = serde_json::from_str(line).unwrap();
                self.text = rest.to_owned();
                return Some(event);
            }
            self.text.push_str(std::str::from_utf8(&self.body.next().await?.unwrap()).unwrap());
        }
    }

    /// The type and the object's name of the next event.
    pub(super) async fn next_name(&mut self) -> (String, String) {
        let event = self.next().await.unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&event["type"]), text(&event["object"]["metadata"]["name"]))
    }
}

/// What [`Events::next_name`] is to give.
pub(super) fn event(kind: &str, name: &str) -> (String, String) {
    (kind.to_owned(), name.to_owned())
}
