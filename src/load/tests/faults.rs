//! Each kind of loss, provoked many times and told apart every time.

use std::collections::BTreeMap;

use futures::{StreamExt, stream};
use tokio::net::TcpListener;

use super::{
    Heard, assert_consistent, lane, run, run_until,
    server::{Act, BlackHole, GOOD, Server, closed_port},
};
use crate::{
    experiment::schema::Connections,
    load::lane::{LaneOptions, LaneSpec, Protocol, TlsSpec},
    record::event::{Outcome, RetrySafe},
};

/// Requests of each kind.
const MANY: u64 = 60;

/// Rows of a table that run at the same time, so that it is done in seconds and overloads no machine.
const ROWS_AT_ONCE: usize = 4;

/// A timeout for servers that never answer: long against a stall of the machine, short enough for a test.
const SHORT_US: i64 = 1_000_000;

const HALF_A_BODY: &str = "HTTP/1.1 200 OK\r\ncontent-length: 14\r\nx-evenkeel-pod: cart-0\r\n\r\neven";
const HALF_A_HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-le";
const HALF_A_CHUNK: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n14\r\neven";
const BAD_CHUNK: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nevenkeel\r\n0\r\n\r\n";
const OTHER_BODY: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
const UNAVAILABLE: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nx-evenkeel-pod: cart-0\r\n\r\n";
const UNAVAILABLE_CUT: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 9\r\n\r\nno";
const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
const NOT_HTTP: &str = "220 mail.test ESMTP\r\n\r\n";

/// Only this outcome, with this mark, for every request that was sent.
fn assert_only(heard: &Heard, outcome: Outcome, retry_safe: RetrySafe) {
    assert_outcome(heard, outcome);
    let marked = |safe| heard.lost.iter().filter(|lost| lost.retry_safe == safe).count();
    assert_eq!(marked(retry_safe), heard.lost.len(), "first loss: {:?}", heard.lost.first());
}

fn assert_outcome(heard: &Heard, outcome: Outcome) {
    assert_consistent(heard);
    let mut by_outcome = heard.by_outcome("main");
    by_outcome.remove(&Outcome::NotSent);
    assert_eq!(by_outcome, BTreeMap::from([(outcome, heard.sent())]), "first loss: {:?}", heard.lost.first());
    assert!(heard.sent() >= MANY, "{} requests", heard.sent());
}

async fn run_new(script: &'static [Act]) -> Heard {
    let server = Server::start(script).await;
    run(vec![lane("main", server.address, Connections::New)], MANY).await
}

#[tokio::test]
async fn each_fault_of_a_server_has_an_outcome_of_its_own() {
    let rows = [
        (Act::SayAndReset(""), Outcome::ResetBeforeByte, RetrySafe::Idempotent, None, None),
        (Act::SayAndClose(""), Outcome::ResetBeforeByte, RetrySafe::Idempotent, None, None),
        (Act::SayAndReset(HALF_A_BODY), Outcome::CutMidAnswer, RetrySafe::No, Some(200), Some("cart-0")),
        (Act::SayAndClose(HALF_A_BODY), Outcome::CutMidAnswer, RetrySafe::No, Some(200), Some("cart-0")),
        (Act::SayAndClose(HALF_A_HEAD), Outcome::CutMidAnswer, RetrySafe::No, None, None),
        (Act::SayAndReset(HALF_A_HEAD), Outcome::CutMidAnswer, RetrySafe::No, None, None),
        (Act::SayAndClose(HALF_A_CHUNK), Outcome::CutMidAnswer, RetrySafe::No, Some(200), None),
        (Act::SayAndClose(BAD_CHUNK), Outcome::Malformed, RetrySafe::No, Some(200), None),
        (Act::SayAndClose(NOT_HTTP), Outcome::Malformed, RetrySafe::No, None, None),
        (Act::Say(OTHER_BODY), Outcome::WrongBody, RetrySafe::No, Some(200), None),
        (Act::Say(UNAVAILABLE), Outcome::ServerError, RetrySafe::No, Some(503), Some("cart-0")),
        (Act::SayAndClose(UNAVAILABLE_CUT), Outcome::ServerError, RetrySafe::No, Some(503), None),
        (Act::Say(NOT_FOUND), Outcome::OtherStatus, RetrySafe::No, Some(404), None),
    ];
    let runs = rows.map(|(script, outcome, retry_safe, status, pod)| async move {
        let heard = run_new(Box::leak(Box::new([script]))).await;
        assert_only(&heard, outcome, retry_safe);
        for lost in &heard.lost {
            assert_eq!((lost.status, lost.pod.as_deref()), (status, pod), "{script:?}: {lost:?}");
            assert_eq!((lost.connection_uses, lost.connection_age_us), (0, 0), "{script:?}: {lost:?}");
            assert_eq!(lost.bytes_in > 0, !matches!(script, Act::SayAndReset("") | Act::SayAndClose("")), "{lost:?}");
        }
    });
    stream::iter(runs).buffer_unordered(ROWS_AT_ONCE).collect::<Vec<()>>().await;
}

/// Whether it speaks before or after the request is written is a race, and so is the mark.
#[tokio::test]
async fn something_that_speaks_before_it_is_asked_does_not_speak_http() {
    let heard = run_new(&[Act::Greet(NOT_HTTP)]).await;
    assert_outcome(&heard, Outcome::Malformed);
}

#[tokio::test]
async fn a_whole_answer_is_no_loss() {
    let heard = run_new(&[Act::Say(GOOD)]).await;
    assert_only(&heard, Outcome::Ok, RetrySafe::No);
    assert_eq!(heard.totals.lanes[0].connections_opened, heard.sent(), "a connection for each request");
    assert!(heard.notes.is_empty(), "{:?}", heard.notes);
}

#[tokio::test]
async fn an_answer_that_never_comes_is_a_request_timeout_and_a_sample_at_the_timeout() {
    let server = Server::start(&[Act::Stall]).await;
    let spec = LaneSpec { timeout_us: SHORT_US, ..lane("main", server.address, Connections::New) };
    let heard = run(vec![spec], MANY).await;
    assert_outcome(&heard, Outcome::RequestTimeout);
    let timeout_us = u64::try_from(SHORT_US).expect("a positive time");
    for interval in heard.intervals.iter().filter(|interval| !interval.response.is_empty()) {
        // One in a thousand is the histogram's resolution.
        assert!(interval.response.min() >= timeout_us - timeout_us / 1_000, "{}", interval.response.min());
    }
}

#[tokio::test]
async fn half_an_answer_that_stalls_is_a_request_timeout() {
    let server = Server::start(&[Act::Say(HALF_A_BODY)]).await;
    let spec = LaneSpec { timeout_us: SHORT_US, ..lane("main", server.address, Connections::New) };
    let heard = run(vec![spec], MANY).await;
    assert_outcome(&heard, Outcome::RequestTimeout);
    let begun: Vec<_> = heard.lost.iter().filter(|lost| lost.bytes_in > 0).collect();
    assert!(!begun.is_empty() && begun.iter().all(|lost| lost.pod.as_deref() == Some("cart-0")), "{begun:?}");
}

#[tokio::test]
async fn a_port_at_which_nothing_listens_refuses() {
    let heard = run(vec![lane("main", closed_port().await, Connections::New)], MANY).await;
    assert_only(&heard, Outcome::Refused, RetrySafe::Yes);
    assert_eq!(heard.totals.lanes[0].connections_opened, 0);
}

/// The kernel accepts, and nothing speaks: what a stopped process does, or one that waits for more of a plain request.
#[tokio::test]
async fn a_peer_that_accepts_and_says_nothing_is_told_by_what_it_was_to_agree_on() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let address = silent.local_addr().expect("its address");
    let accept = async {
        let mut held = Vec::new();
        loop {
            held.push(silent.accept().await.expect("a connection"));
        }
    };
    let tls = Some(TlsSpec { server_name: "shop.test".to_owned(), verify: false });
    let over_tls = LaneOptions { tls, ..LaneOptions::default() };
    let web_socket = LaneOptions { protocol: Protocol::WebSocket, ..LaneOptions::default() };
    let checks = async {
        for (options, outcome) in [(over_tls, Outcome::TlsFailed), (web_socket, Outcome::RequestTimeout)] {
            for (connect_timeout_us, timeout_us) in [(SHORT_US, 20 * SHORT_US), (20 * SHORT_US, SHORT_US)] {
                let spec = LaneSpec {
                    connect_timeout_us,
                    timeout_us,
                    options: options.clone(),
                    ..lane("main", address, Connections::New)
                };
                assert_only(&run(vec![spec], MANY).await, outcome, RetrySafe::Yes);
            }
        }
    };
    tokio::select! {
        () = accept => {}
        () = checks => {}
    }
}

#[tokio::test]
async fn silence_in_answer_to_a_connection_attempt_is_a_connect_timeout() {
    let Some(hole) = BlackHole::start().await else {
        panic!("the system answered for a listener whose backlog is full");
    };
    for (connect_timeout_us, timeout_us) in [(SHORT_US, 20 * SHORT_US), (20 * SHORT_US, SHORT_US)] {
        let spec = LaneSpec { connect_timeout_us, timeout_us, ..lane("main", hole.address, Connections::New) };
        let heard = run(vec![spec], MANY).await;
        assert_only(&heard, Outcome::ConnectTimeout, RetrySafe::Yes);
    }
}

#[tokio::test]
async fn a_reused_connection_that_is_closed_under_a_request_is_the_keep_alive_race() {
    for ending in [Act::SayAndClose(""), Act::SayAndReset("")] {
        let server = Server::start(Box::leak(Box::new([Act::Say(GOOD), ending]))).await;
        let heard = run_until(vec![lane("main", server.address, Connections::Reused(4))], |heard| {
            heard.count(Outcome::ReusedConnectionClosed) >= MANY / 2
        })
        .await;
        assert_consistent(&heard);
        let races = heard.count(Outcome::ReusedConnectionClosed);
        assert_eq!(races + heard.count(Outcome::Ok), heard.sent(), "{ending:?}: {:?}", heard.totals);
        for lost in &heard.lost {
            assert_eq!((lost.connection_uses, lost.bytes_in), (1, 0), "{lost:?}");
            assert_eq!((lost.pod.as_deref(), lost.retry_safe), (Some("cart-0"), RetrySafe::Idempotent), "{lost:?}");
            assert!(lost.connection_age_us > 0 && !lost.error.is_empty(), "{lost:?}");
        }
    }
}
