//! A generator that runs out of descriptors says so, and blames nobody else. It has a process of its own, since the
//! limit holds for all of it.

use std::{net::TcpListener, time::Duration};

use evenkeel::{
    experiment::schema::Connections,
    load::{
        lane::{LaneOptions, LaneSpec},
        message::LoadMessage,
        start,
    },
    record::event::{NoteKind, Outcome},
};
use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::{sync::mpsc::unbounded_channel, time::timeout};

/// Far more than the test needs: it only ends a test that would hang.
const PATIENCE: Duration = Duration::from_secs(60);

const DESCRIPTORS: u64 = 64;

#[tokio::test]
async fn requests_beyond_the_limit_of_open_files_are_not_sent_and_taint_the_measurement() {
    // It never accepts: the kernel establishes connections by itself, and no request gets an answer.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let lane = LaneSpec {
        name: "main".to_owned(),
        address: listener.local_addr().expect("an address"),
        host: "shop.test".to_owned(),
        path: "/".to_owned(),
        rate_per_second: 200.0,
        connections: Connections::New,
        connect_timeout_us: 20_000_000,
        timeout_us: 2_000_000,
        status: 200,
        body_contains: None,
        options: LaneOptions::default(),
    };
    setrlimit(Resource::Nofile, Rlimit { current: Some(DESCRIPTORS), maximum: Some(DESCRIPTORS) }).expect("a limit");
    let (messages, mut inbox) = unbounded_channel();
    let mut running = start(vec![lane], messages).expect("a lane that can run");
    running.begin().expect("the first begin");

    let told = async {
        loop {
            match inbox.recv().await.expect("a generator that runs") {
                LoadMessage::Note(note) if note.kind == NoteKind::Taint => return note,
                LoadMessage::Note(_) | LoadMessage::Interval(_) | LoadMessage::Lost(_) | LoadMessage::Slow(_) => {}
            }
        }
    };
    let note = timeout(PATIENCE, told).await.expect("a note");
    assert_eq!(note.kind, NoteKind::Taint);
    assert!(note.text.contains("lane `main`") && note.text.contains("no file descriptor is left"), "{}", note.text);

    let totals = timeout(PATIENCE, running.stop()).await.expect("it ends").expect("an account");
    let by_outcome = &totals.lanes[0].by_outcome;
    assert!(by_outcome[&Outcome::NotSent] > 0, "{by_outcome:?}");
    let kinds: Vec<_> = by_outcome.keys().copied().collect();
    assert_eq!(kinds, [Outcome::RequestTimeout, Outcome::NotSent]);
    let mut lost = 0;
    while let Some(message) = inbox.recv().await {
        match message {
            LoadMessage::Note(again) if again.kind == NoteKind::Taint => {
                panic!("a kind of taint is told once: {}", again.text);
            }
            LoadMessage::Lost(request) => {
                assert_eq!(request.outcome, Outcome::RequestTimeout);
                lost += 1;
            }
            LoadMessage::Note(_) | LoadMessage::Interval(_) | LoadMessage::Slow(_) => {}
        }
    }
    assert!(lost > 0);
}
