//! What the service speaks beside plain answers, asked by the load core itself, and how each of it ends.

use futures::{SinkExt as _, StreamExt as _};
use tokio::net::TcpListener;
use tokio_tungstenite::{
    client_async,
    tungstenite::{Message, protocol::frame::coding::CloseCode},
};

use super::{
    Demo, PATIENCE, TcpStream,
    load::{Load, lane},
    timeout,
};
use crate::load::lane::{LaneSpec, Protocol};

#[tokio::test]
async fn whatever_a_lane_can_speak_is_answered() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let demo = Demo::started(&["--address", "127.0.0.1", "--tcp-port", &free.to_string()]).await;
    let of = |name, protocol, path| lane(name, demo.address, protocol, path);
    let mut load = Load::start(vec![
        of("websocket", Protocol::WebSocket, "/ws"),
        lane("tcp", ([127, 0, 0, 1], free).into(), Protocol::Tcp, "/"),
        LaneSpec {
            body_contains: Some("event: end\ndata: 4".to_owned()),
            ..of("stream", Protocol::Http1, "/stream?ms=200&every=50")
        },
        of("http1", Protocol::Http1, "/echo?id={id}"),
        of("http2", Protocol::Http2, "/echo?id={id}"),
        of("grpc", Protocol::Grpc, "/evenkeel.Demo/Echo"),
    ]);
    load.answers(&["websocket", "tcp", "stream", "http1", "http2", "grpc"], 20).await;
    assert_eq!(load.stop().await, []);
}

#[tokio::test]
async fn with_drain_finish_a_websocket_is_closed_in_order() {
    let mut demo = Demo::started(&["--drain", "finish"]).await;
    let stream = TcpStream::connect(demo.address).await.unwrap();
    let (mut socket, _) = client_async("ws://demo/ws", stream).await.unwrap();
    socket.send(Message::text("hello")).await.unwrap();
    let echo = timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(echo, Message::text("hello"));
    demo.stop();
    let goodbye = timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap();
    let Message::Close(Some(frame)) = goodbye else { panic!("{goodbye:?}") };
    assert_eq!(frame.code, CloseCode::Away);
    // Reading on is what answers a closing frame.
    while let Some(Ok(_)) = timeout(PATIENCE, socket.next()).await.unwrap() {}
    demo.ended().await;
}
