//! HTTP/2 and gRPC: what they are answered, asked by a bare client, and how a connection ends, seen by the load core.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use h2::client::{self, SendRequest};
use hyper::{HeaderMap, Method, Request, header::CONTENT_TYPE};

use super::{
    Demo, PATIENCE, TcpStream,
    load::{Load, lane},
    timeout,
};
use crate::{
    experiment::schema::Connections,
    load::lane::{Destination, LaneOptions, LaneSpec, Protocol, Route, RoutedLane},
    record::event::{LostRequest, Outcome},
};

const ECHO: &str = "/evenkeel.Demo/Echo";
const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";

/// What came back, with what stood behind it.
struct Answer {
    status: u16,
    head: HeaderMap,
    body: Vec<u8>,
    trailers: HeaderMap,
}

impl Answer {
    /// A gRPC call's status, wherever it stands.
    fn call(&self) -> &str {
        let status = self.trailers.get("grpc-status").or_else(|| self.head.get("grpc-status"));
        status.unwrap().to_str().unwrap()
    }
}

struct Http2(SendRequest<Bytes>);

impl Http2 {
    async fn connect(demo: &Demo) -> Self {
        let stream = TcpStream::connect(demo.address).await.unwrap();
        let (sender, connection) = client::handshake(stream).await.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        Self(sender)
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        content: &str,
        body: &'static [u8],
    ) -> Result<Answer, h2::Error> {
        let uri = format!("http://demo{path}");
        let request = Request::builder().method(method).uri(uri).header(CONTENT_TYPE, content).body(()).unwrap();
        let (response, mut stream) = self.0.clone().ready().await?.send_request(request, false)?;
        stream.send_data(Bytes::from_static(body), true)?;
        let (head, mut incoming) = response.await?.into_parts();
        let mut body = Vec::new();
        while let Some(piece) = incoming.data().await {
            body.extend_from_slice(&piece?);
        }
        let trailers = incoming.trailers().await?.unwrap_or_default();
        Ok(Answer { status: head.status.as_u16(), head: head.headers, body, trailers })
    }

    /// Waits until no further request may be sent.
    async fn has_goodbye(&self) {
        let open = || async { self.0.clone().ready().await.is_ok() };
        timeout(PATIENCE, async {
            while open().await {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("a GOAWAY");
    }

    async fn ask(&mut self, path: &str) -> Answer {
        timeout(PATIENCE, self.send(Method::GET, path, "text/plain", b"")).await.unwrap().unwrap()
    }

    async fn call(&mut self, path: &str, body: &'static [u8]) -> Answer {
        timeout(PATIENCE, self.send(Method::POST, path, "application/grpc+proto", body)).await.unwrap().unwrap()
    }
}

#[tokio::test]
async fn a_call_is_answered_with_its_own_message_and_its_status_stands_behind_it() {
    let demo = Demo::started(&[]).await;
    let answer = Http2::connect(&demo).await.call(ECHO, b"\0\0\0\0\x05hello").await;
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"\0\0\0\0\x05hello".as_slice()));
    assert_eq!(answer.trailers["grpc-status"], "0");
    assert_eq!(answer.head["content-type"], "application/grpc");
    assert_eq!(answer.head["x-evenkeel-pod"], "shop-1");
    assert_eq!(answer.head["x-evenkeel-version"], "v1");
}

#[tokio::test]
async fn a_call_that_cannot_be_answered_says_why_in_its_head() {
    let demo = Demo::started(&[]).await;
    let mut client = Http2::connect(&demo).await;
    let table: [(&str, &[u8], &str); 6] = [
        ("/evenkeel.Demo/Nothing", b"\0\0\0\0\0", "12"),
        ("/", b"\0\0\0\0\0", "12"),
        (ECHO, b"\x01\0\0\0\0", "12"),
        (ECHO, b"", "13"),
        (ECHO, b"\0\0\0\0\x02a", "13"),
        (ECHO, Box::leak(vec![0; 4 * 1024 * 1024 + 6].into_boxed_slice()), "8"),
    ];
    for (path, body, status) in table {
        let answer = client.call(path, body).await;
        let words = answer.head.get("grpc-message").is_some_and(|words| !words.is_empty());
        assert_eq!((answer.status, answer.call(), words), (200, status, true), "{path} {} bytes", body.len());
        assert_eq!(answer.head["x-evenkeel-pod"], "shop-1");
    }
}

#[tokio::test]
async fn a_path_is_answered_over_http2_as_over_http1() {
    let demo = Demo::started(&[]).await;
    let mut client = Http2::connect(&demo).await;
    for (path, status) in [("/", 200), ("/echo?id=7", 200), ("/readyz", 200), ("/nowhere", 404), ("/ws", 426)] {
        let answer = client.ask(path).await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.head["x-evenkeel-pod"], "shop-1", "{path}");
    }
    assert_eq!(client.ask("/echo?id=7").await.body, b"7\n");
    assert_eq!(demo.connect().await.ask("/").await.unwrap().status, 200, "HTTP/1.1 on the same port");
}

#[tokio::test]
async fn the_health_check_says_what_readyz_says() {
    let demo = Demo::started(&[]).await;
    let mut client = Http2::connect(&demo).await;
    for (order, health) in [("unready", 2), ("heal", 1)] {
        client.send(Method::POST, &format!("/control/{order}"), "text/plain", b"").await.unwrap();
        for asked in [b"\0\0\0\0\0".as_slice(), b"\0\0\0\0\x0f\x0a\x0devenkeel.Demo"] {
            let answer = client.call(HEALTH_CHECK, asked).await;
            assert_eq!(
                (answer.call(), answer.body.as_slice()),
                ("0", [0, 0, 0, 0, 2, 8, health].as_slice()),
                "{order}"
            );
        }
    }
    assert_eq!(client.call(HEALTH_CHECK, b"\0\0\0\0\x03\x0a\x01x").await.call(), "5", "a service that is not there");
    let young = Demo::started(&["--ready-after", "1h"]).await;
    assert_eq!(Http2::connect(&young).await.call(HEALTH_CHECK, b"\0\0\0\0\0").await.body, [0, 0, 0, 0, 2, 8, 2]);
}

#[tokio::test]
async fn each_condition_holds_for_calls_too() {
    let demo = Demo::started(&[]).await;
    let mut client = Http2::connect(&demo).await;
    for (order, echo, health) in [("fail", "14", "14"), ("unready", "0", "0"), ("heal", "0", "0")] {
        client.send(Method::POST, &format!("/control/{order}"), "text/plain", b"").await.unwrap();
        assert_eq!(client.call(ECHO, b"\0\0\0\0\0").await.call(), echo, "{order}");
        assert_eq!(client.call(HEALTH_CHECK, b"\0\0\0\0\0").await.call(), health, "{order}");
    }
    client.send(Method::POST, "/control/hang", "text/plain", b"").await.unwrap();
    let call = client.send(Method::POST, ECHO, "application/grpc", b"\0\0\0\0\0");
    assert!(timeout(Duration::from_millis(150), call).await.is_err());
}

#[tokio::test]
async fn a_stand_in_answers_every_method_with_an_empty_message() {
    let demo = Demo::started(&["--stand-in"]).await;
    let mut client = Http2::connect(&demo).await;
    let answer = client.call("/shop.Cart/Add", b"\0\0\0\0\x01x").await;
    assert_eq!((answer.call(), answer.body.as_slice()), ("0", [0; 5].as_slice()));
    client.send(Method::POST, "/control/unready", "text/plain", b"").await.unwrap();
    assert_eq!(client.call("/shop.Cart/Add", b"\0\0\0\0\0").await.call(), "14");
}

#[tokio::test]
async fn a_lane_that_calls_a_wrong_method_loses_every_request_to_its_answer() {
    let demo = Demo::started(&[]).await;
    let mut load = Load::start(vec![lane("grpc", demo.address, Protocol::Grpc, "/evenkeel.Demo/Nothing")]);
    load.until(|load| load.lost.len() >= 10).await;
    assert!(load.answered.values().all(|count| *count == 0), "{:?}", load.answered);
    for lost in load.stop().await {
        assert_eq!((lost.outcome, lost.error.as_str()), (Outcome::ServerError, "grpc-status 12 no such method"));
    }
}

/// A stand-in sends an empty message back, and so no number.
#[tokio::test]
async fn the_number_of_a_call_must_come_back_in_its_message() {
    let (demo, stand_in) = (Demo::started(&[]).await, Demo::started(&["--stand-in"]).await);
    // A field of twelve bytes: the length in front of it stays right.
    let message = BASE64_STANDARD.encode(b"\x0a\x0c{id________}");
    let calling = |name: &str, address| {
        let spec = lane(name, address, Protocol::Grpc, ECHO);
        LaneSpec { options: LaneOptions { send: Some(message.clone()), ..spec.options.clone() }, ..spec }
    };
    let mut load = Load::start(vec![calling("echo", demo.address), calling("empty", stand_in.address)]);
    load.answers(&["echo"], 20).await;
    load.until(|load| load.lost.len() >= 10).await;
    assert_eq!(load.answered.get("empty").copied().unwrap_or_default(), 0, "{:?}", load.answered);
    for lost in load.stop().await {
        assert_eq!((lost.lane.as_str(), lost.outcome), ("empty", Outcome::WrongBody), "{lost:?}");
        assert!(lost.error.contains("the id 0000000000"), "{lost:?}");
    }
}

#[tokio::test]
async fn a_connection_that_has_had_its_requests_is_replaced_without_a_loss() {
    let demo = Demo::started(&["--requests-per-connection", "3"]).await;
    let names = ["http2", "grpc"];
    let mut load = Load::start(both(demo.address, 50.0, 2));
    load.answers(&names, 30).await;
    assert!(load.opened >= 15, "{} connections", load.opened);
    assert_eq!(load.stop().await, []);
}

/// An HTTP/2 lane and a gRPC lane.
fn both(address: SocketAddr, rate_per_second: f64, connections: u16) -> Vec<LaneSpec> {
    let message = BASE64_STANDARD.encode("hello");
    let calls = LaneOptions { protocol: Protocol::Grpc, send: Some(message), ..LaneOptions::default() };
    let lanes = [
        lane("http2", address, Protocol::Http2, "/"),
        LaneSpec {
            options: calls,
            body_contains: Some("hello".to_owned()),
            ..lane("grpc", address, Protocol::Grpc, ECHO)
        },
    ];
    let busy = |spec| LaneSpec { rate_per_second, connections: Connections::Reused(connections), ..spec };
    lanes.into_iter().map(busy).collect()
}

/// What both lanes lose when the service that they are led to is told to stop, and new connections go to another.
async fn lost_in_a_stop(flags: &[&str]) -> Vec<LostRequest> {
    let mut old = Demo::started(&[flags, &["--answer-in", "100ms"]].concat()).await;
    let new = Demo::started(&["--answer-in", "100ms"]).await;
    let moved = Arc::new(AtomicBool::new(false));
    let (from, to) = (old.address, new.address);
    let route = {
        let moved = Arc::clone(&moved);
        Route::new(move || Destination::Address {
            address: if moved.load(Ordering::SeqCst) { to } else { from },
            delay: Duration::ZERO,
        })
    };
    let lanes = both(from, 100.0, 20).into_iter().map(|spec| RoutedLane { spec, route: route.clone() });
    let mut load = Load::start(lanes.collect());
    load.answers(&["http2", "grpc"], 30).await;
    moved.store(true, Ordering::SeqCst);
    old.stop();
    old.ended().await;
    load.answers(&["http2", "grpc"], 30).await;
    load.stop().await
}

#[tokio::test]
async fn with_drain_finish_and_close_no_request_over_http2_is_lost() {
    assert_eq!(lost_in_a_stop(&["--drain", "finish"]).await, []);
    assert_eq!(lost_in_a_stop(&["--drain", "close", "--accept-late", "200ms"]).await, []);
}

#[tokio::test]
async fn with_drain_exit_requests_in_flight_over_http2_are_lost() {
    let lost = lost_in_a_stop(&["--drain", "exit"]).await;
    assert!(!lost.is_empty());
    let cut = [Outcome::ReusedConnectionClosed, Outcome::ResetBeforeByte];
    assert!(lost.iter().all(|lost| cut.contains(&lost.outcome)), "{lost:?}");
}

#[tokio::test]
async fn with_drain_close_a_new_connection_gets_its_answer_and_then_its_goodbye() {
    let mut demo = Demo::started(&["--drain", "close", "--accept-late", "3s"]).await;
    let mut idle = Http2::connect(&demo).await;
    idle.ask("/").await;
    demo.stop();
    demo.closing().await;
    idle.has_goodbye().await;
    let mut late = Http2::connect(&demo).await;
    assert_eq!(late.ask("/").await.status, 200);
    late.has_goodbye().await;
    demo.ended().await;
}
