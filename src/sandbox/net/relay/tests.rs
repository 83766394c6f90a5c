//! The relay with real sockets on loopback.

use std::{
    future::Future,
    sync::atomic::{AtomicU16, Ordering},
};

use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use super::*;
use crate::sandbox::{
    fixture::{self, create, events, node, patch},
    net::Options,
    registry::Part,
};

/// A node port that nothing listens on, for each caller another.
async fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 2000).unwrap();
    loop {
        let port = 30_000 + start + NEXT.fetch_add(1, Ordering::Relaxed) % 700;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.is_ok() {
            return port;
        }
    }
}

struct Rig {
    registry: Arc<Registry>,
    tables: Arc<ServiceTables>,
    _tasks: JoinSet<()>,
}

/// A Service on a node port, with an endpoint at this port of 127.0.0.1.
fn rig(node_port: u16, pod_port: u16) -> Rig {
    let registry = fixture::registry();
    node(&registry, "n1", &json!({}));
    let service = json!({"metadata": {"name": "api"}, "spec": {"type": "NodePort", 
        "ports": [{"port": 8080, "nodePort": node_port, "targetPort": pod_port}]}});
    create(&registry, &kinds::SERVICE, "shop", &service);
    let slice = json!({"metadata": {"name": "api-1", "labels": {"kubernetes.io/service-name": "api"}},
        "addressType": "IPv4", "ports": [{"name": "", "port": pod_port, "protocol": "TCP"}],
        "endpoints": [{"addresses": ["127.0.0.1"], "nodeName": "n1", "conditions": {"ready": true},
            "targetRef": {"kind": "Pod", "name": "a", "namespace": "shop"}}]});
    create(&registry, &kinds::ENDPOINT_SLICE, "shop", &slice);
    let mut tasks = JoinSet::new();
    let tables = ServiceTables::start(&mut tasks, &registry, Options { seed: 1 });
    start(&mut tasks, &registry, &tables, "n1");
    Rig { registry, tables, _tasks: tasks }
}

/// What is worth waiting for comes within seconds here, or never.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), what).await.expect("it comes")
}

async fn dial(port: u16) -> TcpStream {
    loop {
        if let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
            return stream;
        }
        sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until the publishing node's table is as wanted.
async fn routed(rig: &Rig, port: u16, wanted: fn(&Route) -> bool) {
    soon(async {
        while !wanted(&rig.tables.pick_node_port("n1", port)) {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_node_port_leads_to_a_pod_until_the_service_is_gone_and_what_is_established_stays() {
    let pod = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = free_port().await;
    let rig = rig(port, pod.local_addr().unwrap().port());
    routed(&rig, port, |route| matches!(route, Route::To { .. })).await;
    let mut client = soon(dial(port)).await;
    let (mut served, _) = soon(pod.accept()).await.unwrap();
    client.write_all(b"ping").await.unwrap();
    let mut heard = [0; 4];
    soon(served.read_exact(&mut heard)).await.unwrap();
    assert_eq!(&heard, b"ping");
    rig.registry.delete(&kinds::SERVICE, "shop", "api", &crate::sandbox::registry::DeleteOptions::default()).unwrap();
    soon(async {
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_ok() {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    served.write_all(b"pong").await.unwrap();
    soon(client.read_exact(&mut heard)).await.unwrap();
    assert_eq!(&heard, b"pong");
}

#[tokio::test]
async fn refused_is_a_reset_and_silence_is_silence() {
    let port = free_port().await;
    let rig = rig(port, free_port().await);
    routed(&rig, port, |route| matches!(route, Route::To { .. })).await;
    // Nobody listens at the pod's port.
    let mut client = soon(dial(port)).await;
    let error = soon(client.read(&mut [0; 1])).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    patch(&rig.registry, &kinds::ENDPOINT_SLICE, "shop", "api-1", Part::Main, &json!({"endpoints": []}));
    routed(&rig, port, |route| *route == Route::Refused).await;
    let mut client = soon(dial(port)).await;
    let error = soon(client.read(&mut [0; 1])).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    rig.tables.set_node_dark("n1", true);
    let mut client = soon(dial(port)).await;
    assert!(timeout(Duration::from_millis(300), client.read(&mut [0; 1])).await.is_err(), "no answer");
}

#[tokio::test]
async fn a_pod_whose_node_goes_dark_falls_silent() {
    let pod = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = free_port().await;
    let rig = rig(port, pod.local_addr().unwrap().port());
    routed(&rig, port, |route| matches!(route, Route::To { .. })).await;
    let mut client = soon(dial(port)).await;
    let (served, _) = soon(pod.accept()).await.unwrap();
    rig.tables.set_node_dark("n1", true);
    drop(served);
    assert!(timeout(Duration::from_millis(300), client.read(&mut [0; 1])).await.is_err(), "no answer");
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_and_nothing_breaks() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, free_port().await)).await.unwrap();
    let rig = rig(taken.local_addr().unwrap().port(), 1);
    soon(async {
        while !events(&rig.registry, "shop").iter().any(|(reason, _)| reason == "PortNotPublished") {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let told = events(&rig.registry, "shop");
    assert!(told.iter().any(|(_, message)| message.starts_with("cannot listen on 127.0.0.1:")), "{told:?}");
}
