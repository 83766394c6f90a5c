//! What the service speaks beside plain answers, asked by the load core itself, and how each of it ends.

use std::collections::BTreeMap;

use futures::{SinkExt as _, StreamExt as _};
use tokio::{net::TcpListener, sync::mpsc::unbounded_channel};
use tokio_tungstenite::{
    client_async,
    tungstenite::{Message, protocol::frame::coding::CloseCode},
};

use super::{Demo, PATIENCE, TcpStream, timeout};
use crate::{
    experiment::schema::Connections,
    load::{
        self,
        lane::{LaneOptions, LaneSpec, Protocol},
        message::LoadMessage,
    },
    record::event::Outcome,
};

const REQUESTS: u64 = 20;

fn lane(name: &str, address: super::SocketAddr, protocol: Protocol, path: &str) -> LaneSpec {
    LaneSpec {
        name: name.to_owned(),
        address,
        host: "demo".to_owned(),
        path: path.to_owned(),
        rate_per_second: 50.0,
        connections: Connections::Reused(2),
        connect_timeout_us: 20_000_000,
        timeout_us: 20_000_000,
        status: 200,
        body_contains: None,
        options: LaneOptions { protocol, ..LaneOptions::default() },
    }
}

#[tokio::test]
async fn whatever_a_lane_can_speak_is_answered() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let demo = Demo::started(&["--address", "127.0.0.1", "--tcp-port", &free.to_string()]).await;
    let of = |name, protocol, path| lane(name, demo.address, protocol, path);
    let lanes = vec![
        of("websocket", Protocol::WebSocket, "/ws"),
        lane("tcp", ([127, 0, 0, 1], free).into(), Protocol::Tcp, "/"),
        LaneSpec {
            body_contains: Some("event: end\ndata: 4".to_owned()),
            ..of("stream", Protocol::Http1, "/stream?ms=200&every=50")
        },
    ];
    let names: Vec<String> = lanes.iter().map(|lane| lane.name.clone()).collect();
    let (messages, mut inbox) = unbounded_channel();
    let mut running = load::start(lanes, messages).unwrap();
    running.begin().unwrap();
    let mut answered: BTreeMap<String, u64> = BTreeMap::new();
    let enough = async {
        while names.iter().any(|name| answered.get(name).is_none_or(|count| *count < REQUESTS)) {
            match inbox.recv().await.unwrap() {
                LoadMessage::Lost(lost) => panic!("{lost:?}"),
                LoadMessage::Interval(interval) => {
                    let ok = interval.counts.by_outcome.get(&Outcome::Ok).copied().unwrap_or_default();
                    *answered.entry(interval.counts.lane).or_default() += ok;
                }
                LoadMessage::Note(_) => {}
            }
        }
    };
    timeout(PATIENCE, enough).await.expect("answers");
    timeout(PATIENCE, running.stop()).await.expect("it ends").unwrap();
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
