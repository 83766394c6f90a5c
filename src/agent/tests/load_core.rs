use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Response, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::mpsc};

use super::{
    rig::{Direct, agent, options, talk},
    *,
};
use crate::{
    agent::{client::begin, server::start_load},
    record::{
        clock::{Clock, Sink},
        event::{NoteKind, What},
    },
};

/// An HTTP service that counts its requests, and its connections.
async fn service() -> (SocketAddr, Arc<AtomicU64>, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (served, accepted) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (count, connections) = (Arc::clone(&served), Arc::clone(&accepted));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            connections.fetch_add(1, Ordering::Relaxed);
            let count = Arc::clone(&count);
            let answer = service_fn(move |_request| {
                count.fetch_add(1, Ordering::Relaxed);
                async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"ok")))) }
            });
            tokio::spawn(async move { http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await });
        }
    });
    (address, served, accepted)
}

#[tokio::test(flavor = "current_thread")]
async fn each_request_that_the_service_answered_is_in_one_interval_on_the_runs_clock() {
    let (address, served, _) = service().await;
    let rig = agent(options(), Box::new(start_load)).await;
    let (sink, mut events) = Sink::new(Clock::start());
    let (sender, mut messages) = mpsc::unbounded_channel();
    let lanes = [("new", Connections::New), ("reused", Connections::Reused(2))].map(|(name, connections)| LaneSpec {
        address,
        connections,
        // Patient: what is tested is the way of the numbers, on a machine that may be busy.
        connect_timeout_us: 20_000_000,
        timeout_us: 20_000_000,
        ..lane(name, 100.0)
    });
    let began_us = sink.clock().now();
    let following = begin(vec![talk("a", Direct::to(rig.address))], &lanes, sink.clone(), sender).await.unwrap();
    tokio::time::sleep(Duration::from_millis(700)).await;
    following.finish().await;
    let ended_us = sink.clock().now();
    let (mut answered, mut next) = (0, std::collections::BTreeMap::new());
    while let Ok(message) = messages.try_recv() {
        let LoadMessage::Interval(interval) = message else { continue };
        let counts = interval.counts;
        answered += counts.by_outcome.get(&Outcome::Ok).copied().unwrap_or(0);
        assert_eq!(interval.response.len(), counts.by_outcome.values().sum::<u64>());
        let start = next.insert(counts.lane.clone(), counts.start_us + counts.length_us).unwrap_or(counts.start_us);
        assert_eq!(counts.start_us, start, "intervals follow each other");
        assert!(counts.start_us > began_us - 5_000 && counts.start_us < ended_us, "on the run's clock");
    }
    assert_eq!(next.len(), 2, "both lanes have told");
    assert_eq!(answered, served.load(Ordering::Relaxed));
    assert!(answered > 40, "{answered}");
    while let Ok(event) = events.try_recv() {
        let What::Note(note) = event.what else { continue };
        assert_eq!(note.kind, NoteKind::Info, "{}", note.text);
    }
}

#[tokio::test]
async fn connections_that_an_agent_keeps_are_opened_anew_when_the_harness_says_so() {
    const KEPT: u16 = 3;
    let (address, served, accepted) = service().await;
    let rig = agent(options(), Box::new(start_load)).await;
    let (sink, _events) = Sink::new(Clock::start());
    let (sender, mut messages) = mpsc::unbounded_channel();
    let spec = LaneSpec {
        address,
        connections: Connections::Reused(KEPT),
        connect_timeout_us: 20_000_000,
        timeout_us: 20_000_000,
        ..lane("reused", 100.0)
    };
    let following = begin(vec![talk("a", Direct::to(rig.address))], &[spec], sink, sender).await.unwrap();
    let until = async |counter: &AtomicU64, least: u64| {
        let reached = async {
            while counter.load(Ordering::Relaxed) < least {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), reached).await.expect("in time");
    };
    until(&served, 30).await;
    // On a machine that stalls there may be more than those kept; none of them comes without a reason.
    let (before, at) = (accepted.load(Ordering::Relaxed), served.load(Ordering::Relaxed));
    until(&served, at + 30).await;
    assert!(before >= u64::from(KEPT), "{before}");
    assert!(accepted.load(Ordering::Relaxed) < before + u64::from(KEPT), "they are kept");
    let before = accepted.load(Ordering::Relaxed);
    following.renew_connections();
    until(&accepted, before + u64::from(KEPT)).await;
    following.finish().await;
    while let Ok(message) = messages.try_recv() {
        assert!(!matches!(message, LoadMessage::Lost(_)), "{message:?}");
    }
}

#[tokio::test]
async fn lanes_that_the_load_core_cannot_run_are_told_to_the_harness_in_its_words() {
    let rig = agent(options(), Box::new(start_load)).await;
    let (sink, _events) = Sink::new(Clock::start());
    let (sender, _messages) = mpsc::unbounded_channel();
    let begun = begin(vec![talk("a", Direct::to(rig.address))], &[lane("new", -1.0)], sink, sender).await;
    let why = begun.err().unwrap().to_string();
    assert!(why.contains("the agent refused") && why.contains("lane `new` cannot run at -1"), "{why}");
}
