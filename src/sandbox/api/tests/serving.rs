//! The API on its port.

use std::{sync::Arc, time::Duration};

use bytes::{BufMut, BytesMut};
use futures::{SinkExt, StreamExt};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{Client, Config, config::KubeConfigOptions, config::Kubeconfig};
use serde_json::{Value, json};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

use super::{pods, rig::Rig};
use crate::sandbox::api::ApiServer;

async fn config(server: &ApiServer) -> Config {
    let kubeconfig = Kubeconfig::from_yaml(&server.kubeconfig("sandbox")).unwrap();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    config.default_retry = false;
    config
}

#[tokio::test]
async fn a_client_with_the_kubeconfig_gets_in_and_another_does_not() {
    let rig = Rig::new();
    let server = ApiServer::start(Arc::clone(&rig.api), 0).await.unwrap();
    let config = config(&server).await;
    let client = Client::try_from(config.clone()).unwrap();
    let namespaces: kube::Api<Namespace> = kube::Api::all(client);
    assert_eq!(namespaces.list(&kube::api::ListParams::default()).await.unwrap().items.len(), 2);
    let mut stranger = config;
    stranger.auth_info.token = Some("guess".to_owned().into());
    let namespaces: kube::Api<Namespace> = kube::Api::all(Client::try_from(stranger).unwrap());
    let refused = namespaces.list(&kube::api::ListParams::default()).await.unwrap_err();
    assert!(matches!(refused, kube::Error::Api(status) if status.code == 401 && status.reason == "Unauthorized"));
}

#[tokio::test]
async fn a_service_account_gets_in_with_the_token_that_it_asked_for() {
    let rig = Rig::new();
    rig.store(&crate::sandbox::kinds::SERVICE_ACCOUNT, "shop", json!({"metadata": {"name": "robot"}}));
    let path = "/api/v1/namespaces/shop/serviceaccounts/robot/token";
    let request = rig.call("POST", path, &json!({"spec": {"expirationSeconds": 600}})).await.json();
    assert_eq!(rig.call("POST", path, &json!({"spec": {"expirationSeconds": 5}})).await.status, 422);
    let server = ApiServer::start(Arc::clone(&rig.api), 0).await.unwrap();
    let mut config = config(&server).await;
    config.auth_info.token = Some(request["status"]["token"].as_str().unwrap().to_owned().into());
    let client = Client::try_from(config).unwrap();
    let review =
        hyper::Request::post("/apis/authentication.k8s.io/v1/selfsubjectreviews").body(b"{}".to_vec()).unwrap();
    let who: Value = client.request(review).await.unwrap();
    assert_eq!(who["status"]["userInfo"]["username"], "system:serviceaccount:shop:robot");
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let rig = Rig::new();
    let server = ApiServer::start(Arc::clone(&rig.api), 0).await.unwrap();
    let port = server.address().port();
    let error = ApiServer::start(Arc::clone(&rig.api), port).await.map(|_| ()).unwrap_err();
    assert!(error.to_string().starts_with(&format!("failed to listen on 127.0.0.1:{port}")));
}

#[tokio::test]
async fn connections_end_with_the_server() {
    let rig = Rig::new();
    let server = ApiServer::start(Arc::clone(&rig.api), 0).await.unwrap();
    let client = Client::try_from(config(&server).await).unwrap();
    let pods: kube::Api<Pod> = kube::Api::all(client);
    let mut watch = pods.watch(&kube::api::WatchParams::default().disable_bookmarks(), "0").await.unwrap().boxed();
    drop(server);
    let ended = tokio::time::timeout(Duration::from_secs(10), watch.next()).await.unwrap();
    assert!(ended.is_none_or(|event| event.is_err()));
}

/// A connection over which a program is run in the pod.
async fn exec(server: &ApiServer, query: &str) -> Result<WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>, u16> {
    let client = Client::try_from(config(server).await).unwrap();
    let request = hyper::Request::get(format!("/api/v1/namespaces/shop/pods/web/exec?{query}"))
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("sec-websocket-protocol", "v5.channel.k8s.io")
        .body(kube::client::Body::empty())
        .unwrap();
    let answer = client.send(request).await.unwrap();
    if answer.status() != 101 {
        return Err(answer.status().as_u16());
    }
    assert_eq!(answer.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    let io = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
    Ok(WebSocketStream::from_raw_socket(io, Role::Client, None).await)
}

fn message(channel: u8, bytes: &[u8]) -> Message {
    let mut message = BytesMut::new();
    message.put_u8(channel);
    message.extend_from_slice(bytes);
    Message::Binary(message.freeze())
}

#[tokio::test]
async fn a_program_is_talked_to_over_channels() {
    let rig = pods::rig();
    let server = ApiServer::start(Arc::clone(&rig.api), 0).await.unwrap();
    let mut socket = exec(&server, "command=cat&command=-n&stdin=true&stdout=true&stderr=true").await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), message(2, b"cat -n"));
    socket.send(message(0, b"hello")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), message(1, b"hello"));
    socket.send(message(255, &[0])).await.unwrap();
    let Message::Binary(end) = socket.next().await.unwrap().unwrap() else { panic!("no status") };
    assert_eq!(end[0], 3);
    assert_eq!(serde_json::from_slice::<Value>(&end[1..]).unwrap()["status"], "Success");
    assert!(matches!(socket.next().await, Some(Ok(Message::Close(_))) | None));
}

#[tokio::test]
async fn a_program_that_fails_says_how() {
    let rig = pods::rig();
    let server = ApiServer::start(Arc::clone(&rig.api), 0).await.unwrap();
    let mut socket = exec(&server, "command=false&stdout=true").await.unwrap();
    let Message::Binary(end) = socket.next().await.unwrap().unwrap() else { panic!("no status") };
    let status: Value = serde_json::from_slice(&end[1..]).unwrap();
    assert_eq!((end[0], &status["details"]["causes"][0]["message"]), (3, &json!("1")));
    assert_eq!(exec(&server, "stdout=true").await.map(|_| ()), Err(400));
    assert_eq!(exec(&server, "command=x").await.map(|_| ()), Err(400));
}
