//! What goes through to pods: logs, programs, proxied requests, measurements.

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, future::BoxFuture};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
};

use super::rig::Rig;
use crate::sandbox::{
    api::{
        ApiOptions,
        access::{
            ContainerRef, ExecEnd, ExecOutput, ExecRequest, ExecSession, LogOptions, LogStream, Measured, PodAccess,
            Usage, Used,
        },
    },
    error::ApiError,
    kinds,
};

/// Pods that echo what they are asked.
pub(super) struct Echo;

impl PodAccess for Echo {
    fn logs<'a>(
        &'a self,
        container: &'a ContainerRef,
        options: &'a LogOptions,
    ) -> BoxFuture<'a, Result<LogStream, ApiError>> {
        let lines = vec![format!("{}\n", container.container), format!("tail {:?}\n", options.tail_lines)];
        let pieces = futures::stream::iter(lines.into_iter().map(|line| Ok(Bytes::from(line))));
        async move { Ok(pieces.boxed()) }.boxed()
    }

    fn may_exec(&self, request: &ExecRequest) -> Result<(), ApiError> {
        match request.command.as_slice() {
            [program, ..] if program == "rm" => Err(ApiError::not_in_the_sandbox("exec of \"rm\"")),
            _ => Ok(()),
        }
    }

    fn exec<'a>(&'a self, request: &'a ExecRequest) -> BoxFuture<'a, Result<ExecSession, ApiError>> {
        let (input, mut read) = mpsc::channel::<Bytes>(4);
        let (write, output) = mpsc::channel(4);
        let words = request.command.join(" ");
        let code = i32::from(request.command[0] == "false");
        let wants_input = request.stdin;
        tokio::spawn(async move {
            let _ = write.send(ExecOutput::Stderr(Bytes::from(words))).await;
            while wants_input && let Some(bytes) = read.recv().await {
                let _ = write.send(ExecOutput::Stdout(bytes)).await;
            }
        });
        let end = async move { ExecEnd::Exited(code) }.boxed();
        async move { Ok(ExecSession { stdin: Some(input), output, end }) }.boxed()
    }

    fn address(&self, _namespace: &str, _pod: &str) -> Option<IpAddr> {
        Some("127.0.0.1".parse().unwrap())
    }
}

impl Usage for Echo {
    fn nodes(&self) -> Vec<Measured> {
        Vec::new()
    }

    fn pods(&self, _namespace: Option<&str>) -> Vec<Measured> {
        let used = Used { cpu_nanocores: 1_500_000, memory_bytes: 2_048 };
        ["web", "gone"]
            .map(|name| Measured {
                namespace: "shop".to_owned(),
                name: name.to_owned(),
                timestamp: "2024-01-01T00:00:00Z".to_owned(),
                window_ms: 15_000,
                containers: vec![("app".to_owned(), used)],
            })
            .to_vec()
    }
}

pub(super) fn rig() -> Rig {
    let options = ApiOptions { pods: Some(Arc::new(Echo)), usage: Some(Arc::new(Echo)), ..ApiOptions::default() };
    let rig = Rig::with(options);
    let pod = json!({"metadata": {"name": "web", "labels": {"app": "x"}}, "spec": {"nodeName": "a",
        "containers": [{"name": "app", "image": "x"}]}});
    rig.store(&kinds::POD, "shop", pod);
    rig
}

#[tokio::test]
async fn a_log_comes_from_the_kubelet() {
    let rig = rig();
    let read = rig.get("/api/v1/namespaces/shop/pods/web/log?tailLines=3").await;
    assert_eq!((read.status, read.text.as_str()), (200, "app\ntail Some(3)\n"));
    assert_eq!(read.header("content-type"), "text/plain");
    assert_eq!(rig.get("/api/v1/namespaces/shop/pods/none/log").await.status, 404);
    assert_eq!(rig.get("/api/v1/namespaces/shop/pods/web/log?container=x").await.status, 400);
    assert_eq!(rig.call("POST", "/api/v1/namespaces/shop/pods/web/log", &Value::Null).await.status, 405);
}

#[tokio::test]
async fn without_a_kubelet_logs_are_refused() {
    let rig = Rig::new();
    let pod =
        json!({"metadata": {"name": "web"}, "spec": {"nodeName": "a", "containers": [{"name": "app", "image": "x"}]}});
    rig.store(&kinds::POD, "shop", pod);
    assert_eq!(rig.get("/api/v1/namespaces/shop/pods/web/log").await.status, 501);
}

/// Answers one request with its own head.
async fn mirror(listener: TcpListener) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let answer = format!("HTTP/1.1 418 Teapot\r\ncontent-length: {}\r\n\r\n", head.len());
    stream.write_all(answer.as_bytes()).await.unwrap();
    stream.write_all(&head).await.unwrap();
}

#[tokio::test]
async fn proxied_requests_reach_the_pod() {
    let rig = rig();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = tokio::spawn(mirror(listener));
    let read = rig.get(&format!("/api/v1/namespaces/shop/pods/web:{port}/proxy/a/b?c=d")).await;
    assert_eq!(read.status, 418);
    assert!(read.text.starts_with("GET /a/b?c=d HTTP/1.1\r\n"), "{}", read.text);
    served.await.unwrap();
    // Nobody listens there any more.
    let refused = rig.get(&format!("/api/v1/namespaces/shop/pods/web:{port}/proxy/")).await;
    assert_eq!((refused.status, &refused.json()["reason"]), (503, &json!("ServiceUnavailable")));
}

#[tokio::test]
async fn a_service_is_proxied_to_its_ready_endpoints() {
    let rig = rig();
    rig.store(
        &kinds::SERVICE,
        "shop",
        json!({"metadata": {"name": "web"}, "spec": {"ports": [{"name": "http", "port": 80}]}}),
    );
    let path = "/api/v1/namespaces/shop/services/web:http/proxy/x";
    assert_eq!(rig.get(path).await.json()["message"], "no endpoints available for service \"web:http\"");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = tokio::spawn(mirror(listener));
    let slice = json!({"metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}}, "addressType": "IPv4",
    "ports": [{"name": "http", "port": port}], "endpoints": [
        {"addresses": ["127.0.0.9"], "conditions": {"ready": false}},
        {"addresses": ["10.0.0.1"], "conditions": {"ready": true}, "targetRef": {"kind": "Pod", "namespace": "shop", "name": "web"}},
    ]});
    rig.store(&kinds::ENDPOINT_SLICE, "shop", slice);
    assert!(rig.get(path).await.text.starts_with("GET /x HTTP/1.1"));
    served.await.unwrap();
}

#[tokio::test]
async fn measurements_are_of_pods_that_are_there() {
    let rig = rig();
    let list = rig.get("/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods").await.json();
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    let entry = &list["items"][0];
    assert_eq!((&entry["window"], &entry["metadata"]["labels"]["app"]), (&json!("15.000s"), &json!("x")));
    assert_eq!(entry["containers"][0]["usage"], json!({"cpu": "1500000n", "memory": "2Ki"}));
    assert_eq!(rig.get("/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods/gone").await.status, 404);
    assert_eq!(rig.get("/apis/metrics.k8s.io/v1beta1/nodes").await.status, 200);
}

#[tokio::test]
async fn a_program_that_may_not_run_is_refused_whatever_the_protocol() {
    let rig = rig();
    let path = |program: &str| format!("/api/v1/namespaces/shop/pods/web/exec?command={program}&stdout=true");
    let refused = rig.call("POST", &path("rm"), &json!(null)).await;
    assert_eq!(refused.status, 501);
    assert!(refused.text.contains("exec of"), "{}", refused.text);
    // One that may is refused for the protocol alone.
    let other = rig.call("POST", &path("ls"), &json!(null)).await;
    assert_eq!(other.status, 400);
    assert!(other.text.contains("WebSocket"), "{}", other.text);
}
