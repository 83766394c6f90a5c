//! What is spoken beside HTTP/1.1, each with a server that speaks it well and one that does not.

use std::{future::poll_fn, net::SocketAddr, task::Poll};

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use h2::{Reason, server};
use hyper::{HeaderMap, Response};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};
use tokio_tungstenite::{accept_async, tungstenite::Message};

use super::{Heard, assert_consistent, lane, run, server::treating};
use crate::{
    experiment::schema::Connections,
    load::lane::{LaneOptions, LaneSpec, Protocol},
    record::event::{Outcome, RetrySafe},
};

const REQUESTS: u64 = 30;

fn speaking(address: SocketAddr, protocol: Protocol) -> LaneSpec {
    let options = LaneOptions { protocol, ..LaneOptions::default() };
    LaneSpec { options, body_contains: None, ..lane("main", address, Connections::Reused(2)) }
}

fn assert_only(heard: &Heard, outcome: Outcome, mark: RetrySafe) {
    assert_consistent(heard);
    assert_eq!(heard.count(outcome), heard.sent(), "{:?}: {:?}", heard.by_outcome("main"), heard.lost.first());
    let marked = heard.lost.iter().filter(|lost| lost.retry_safe == mark).count();
    assert_eq!(marked, heard.lost.len(), "{:?}", heard.lost.first());
}

/// How an HTTP/2 server ends a stream.
#[derive(Debug, Clone, Copy)]
enum End {
    Answer,
    Call(&'static str),
    Refuse,
    Reset,
    ResetMidway,
}

async fn http2(stream: TcpStream, end: End) {
    let Ok(mut connection) = server::handshake(stream).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        assert_eq!(request.uri().path(), "/cart");
        let response = Response::builder().header("x-evenkeel-pod", "cart-0").body(()).expect("a head");
        match end {
            End::Answer => {
                let mut body = respond.send_response(response, false).expect("an open stream");
                body.send_data(Bytes::from_static(b"evenkeel"), true).expect("an open stream");
            }
            End::Call(status) => {
                let mut body = respond.send_response(response, false).expect("an open stream");
                body.send_data(Bytes::from_static(&[0, 0, 0, 0, 0]), false).expect("an open stream");
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", status.parse().expect("a value"));
                body.send_trailers(trailers).expect("an open stream");
            }
            End::Refuse => respond.send_reset(Reason::REFUSED_STREAM),
            End::Reset => respond.send_reset(Reason::INTERNAL_ERROR),
            End::ResetMidway => {
                let mut body = respond.send_response(response, false).expect("an open stream");
                body.send_data(Bytes::from_static(b"even"), false).expect("an open stream");
                // A reset would take back what has not been written; this writes it.
                poll_fn(|cx| Poll::Ready(_ = connection.poll_closed(cx))).await;
                body.send_reset(Reason::CANCEL);
            }
        }
    }
}

#[tokio::test]
async fn each_end_of_an_http2_stream_has_its_outcome_and_its_mark() {
    for (end, protocol, outcome, mark) in [
        (End::Answer, Protocol::Http2, Outcome::Ok, RetrySafe::No),
        (End::Call("0"), Protocol::Grpc, Outcome::Ok, RetrySafe::No),
        (End::Call("14"), Protocol::Grpc, Outcome::ServerError, RetrySafe::No),
        // Without a status at its end it is no gRPC.
        (End::Answer, Protocol::Grpc, Outcome::Malformed, RetrySafe::No),
        (End::ResetMidway, Protocol::Http2, Outcome::CutMidAnswer, RetrySafe::No),
    ] {
        let address = treating(move |stream| http2(stream, end)).await;
        let heard = run(vec![speaking(address, protocol)], REQUESTS).await;
        assert_only(&heard, outcome, mark);
    }
    for (end, mark) in [(End::Refuse, RetrySafe::Yes), (End::Reset, RetrySafe::Idempotent)] {
        let address = treating(move |stream| http2(stream, end)).await;
        let spec = LaneSpec { connections: Connections::New, ..speaking(address, Protocol::Http2) };
        assert_only(&run(vec![spec], REQUESTS).await, Outcome::ResetBeforeByte, mark);
    }
}

async fn websocket(stream: TcpStream, answer: Answering) {
    let Ok(mut socket) = accept_async(stream).await else { return };
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else { continue };
        let Some(answer) = answer.to(&text) else {
            socket.close(None).await.ok();
            return;
        };
        socket.send(Message::text(answer)).await.expect("an open socket");
    }
}

async fn lines(stream: TcpStream, answer: Answering) {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Some(answer) = answer.to(&line) else { return };
        writer.write_all(format!("{answer}\n").as_bytes()).await.ok();
    }
}

/// What a server of messages or lines sends back.
#[derive(Debug, Clone, Copy)]
enum Answering {
    Same,
    /// Without the number that was sent.
    Another,
    Nothing,
}

impl Answering {
    fn to(self, text: &str) -> Option<String> {
        match self {
            Self::Same => Some(text.to_owned()),
            Self::Another => Some("evenkeel x".to_owned()),
            Self::Nothing => None,
        }
    }
}

#[tokio::test]
async fn a_message_and_a_line_come_back_or_are_lost() {
    for (answer, outcome) in [(Answering::Same, Outcome::Ok), (Answering::Another, Outcome::WrongBody)] {
        let address = treating(move |stream| websocket(stream, answer)).await;
        assert_only(&run(vec![speaking(address, Protocol::WebSocket)], REQUESTS).await, outcome, RetrySafe::No);
        let address = treating(move |stream| lines(stream, answer)).await;
        assert_only(&run(vec![speaking(address, Protocol::Tcp)], REQUESTS).await, outcome, RetrySafe::No);
    }
    let silent = [
        (Protocol::WebSocket, treating(|stream| websocket(stream, Answering::Nothing)).await),
        (Protocol::Tcp, treating(|stream| lines(stream, Answering::Nothing)).await),
    ];
    for (protocol, address) in silent {
        let spec = LaneSpec { connections: Connections::New, ..speaking(address, protocol) };
        assert_only(&run(vec![spec], REQUESTS).await, Outcome::ResetBeforeByte, RetrySafe::Idempotent);
    }
}
