//! What is told of a request beside its outcome: where its service time begins, how far it had come, and over which
//! connection; and that a body may be as long as it likes.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use h2::server;
use hyper::Response;
use rcgen::{CertificateParams, KeyPair};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer},
};

use super::{
    Heard, assert_consistent, lane, run,
    server::{Act, GOOD, Server, closed_port, treating},
};
use crate::{
    experiment::schema::Connections,
    load::lane::{LaneOptions, LaneSpec, Protocol, TlsSpec},
    record::event::{Outcome, Reached},
};

/// How long a server waits before its handshake.
const HANDSHAKE_MS: u32 = 300;

/// Longer than anything that is kept.
const LONG: usize = 20 * 1024 * 1024;

fn acceptor() -> TlsAcceptor {
    let key = KeyPair::generate().expect("a key");
    let certificate = CertificateParams::new(vec!["shop.test".to_owned()]).expect("a name").self_signed(&key);
    let chain = vec![certificate.expect("a certificate").der().clone()];
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::Pkcs8(key.serialize_der().into()));
    TlsAcceptor::from(Arc::new(config.expect("a configuration")))
}

fn over_tls() -> LaneOptions {
    let tls = Some(TlsSpec { server_name: "shop.test".to_owned(), verify: false });
    LaneOptions { tls, ..LaneOptions::default() }
}

async fn read_head(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> bool {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if !matches!(stream.read_buf(&mut head).await, Ok(1..)) {
            return false;
        }
    }
    true
}

/// Each request's two times differ by at least the handshake, so their largest do, however slow this machine is.
#[tokio::test]
async fn the_time_of_a_handshake_is_response_time_and_no_service_time() {
    let acceptor = acceptor();
    let address = treating(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(HANDSHAKE_MS.into())).await;
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            if read_head(&mut stream).await {
                drop(stream.write_all(GOOD.as_bytes()).await);
            }
            drop(stream.shutdown().await);
        }
    })
    .await;
    let spec = LaneSpec { options: over_tls(), ..lane("main", address, Connections::New) };
    let heard = run(vec![spec], 20).await;
    assert_consistent(&heard);
    assert_eq!(heard.count(Outcome::Ok), heard.sent(), "{:?}", heard.lost.first());
    for interval in heard.intervals.iter().filter(|interval| !interval.service.is_empty()) {
        assert_eq!(interval.service.len(), interval.response.len());
        // One in a thousand is the histogram's resolution.
        let handshake_us = u64::from(HANDSHAKE_MS) * 997;
        let (response_us, service_us) = (interval.response.max(), interval.service.max());
        assert!(service_us + handshake_us <= response_us + response_us / 500, "{service_us} of {response_us} µs");
        assert!(interval.response.min() >= handshake_us, "{}", interval.response.min());
    }
}

#[tokio::test]
async fn a_request_of_which_nothing_was_written_has_no_service_time() {
    let heard = run(vec![lane("main", closed_port().await, Connections::New)], 20).await;
    assert_consistent(&heard);
    assert!(heard.intervals.iter().all(|interval| interval.service.is_empty()));
    assert_eq!(heard.intervals.iter().map(|interval| interval.response.len()).sum::<u64>(), heard.sent());
}

async fn long_over_http1(mut stream: TcpStream) {
    while read_head(&mut stream).await {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LONG}\r\n\r\n");
        let body = vec![b'x'; LONG];
        if stream.write_all(head.as_bytes()).await.is_err() || stream.write_all(&body).await.is_err() {
            return;
        }
    }
}

async fn long_over_http2(stream: TcpStream) {
    let Ok(mut connection) = server::handshake(stream).await else { return };
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        let mut body = respond.send_response(Response::new(()), false).expect("an open stream");
        body.send_data(Bytes::from(vec![b'x'; LONG]), true).expect("an open stream");
    }
}

/// The known-bad twin asks for a body that is one byte longer.
#[tokio::test]
async fn a_long_body_is_right_or_wrong_by_what_it_is_and_not_by_its_length() {
    let (http1, http2) = (treating(long_over_http1).await, treating(long_over_http2).await);
    for (address, protocol) in [(http1, Protocol::Http1), (http2, Protocol::Http2)] {
        for (length, outcome) in [(LONG as u64, Outcome::Ok), (LONG as u64 + 1, Outcome::WrongBody)] {
            let options = LaneOptions { protocol, body_length: Some(length), ..LaneOptions::default() };
            let (body_contains, rate_per_second) = (None, 4.0);
            let spec = lane("main", address, Connections::Reused(1));
            let heard = run(vec![LaneSpec { rate_per_second, body_contains, options, ..spec }], 2).await;
            assert_consistent(&heard);
            assert_eq!(heard.count(outcome), heard.sent(), "{protocol:?}: {:?}", heard.lost.first());
        }
    }
}

async fn keep_silent(stream: TcpStream) {
    std::future::pending::<()>().await;
    drop(stream);
}

fn assert_reached(heard: &Heard, reached: Reached) {
    assert_consistent(heard);
    assert!(!heard.lost.is_empty());
    for lost in &heard.lost {
        assert_eq!(lost.reached, Some(reached), "{lost:?}");
        assert_eq!(lost.bytes_out > 0, reached >= Reached::Written, "{lost:?}");
        assert_eq!(lost.local.is_some(), reached > Reached::Connecting, "{lost:?}");
        assert!(lost.local.is_none_or(|local| local.port() > 0), "{lost:?}");
    }
}

#[tokio::test]
async fn a_lost_request_says_how_far_it_had_come_and_over_which_connection() {
    const SHORT_US: i64 = 700_000;
    let silent = treating(keep_silent).await;
    let stalling = Server::start(&[Act::Stall]).await;
    let cutting = Server::start(&[Act::SayAndClose("HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\neven")]).await;
    let web_socket = LaneOptions { protocol: Protocol::WebSocket, ..LaneOptions::default() };
    for (address, options, reached) in [
        (closed_port().await, LaneOptions::default(), Reached::Connecting),
        (silent, over_tls(), Reached::Tls),
        (silent, web_socket, Reached::Speech),
        (stalling.address, LaneOptions::default(), Reached::Written),
        (cutting.address, LaneOptions::default(), Reached::Answering),
    ] {
        let spec = LaneSpec { options, timeout_us: SHORT_US, ..lane("main", address, Connections::New) };
        let heard = run(vec![spec], 10).await;
        assert_reached(&heard, reached);
        assert!(heard.lost.iter().all(|lost| lost.peer == Some(address)), "{:?}", heard.lost.first());
    }
}
