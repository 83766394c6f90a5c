//! The generator against real sockets: servers with one scripted fault each, and what the account must say.

mod evidence;
mod faults;
mod flow;
mod server;
mod slow;
mod speech;
mod streams;

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::timeout,
};

use super::{
    LoadTotals, Running,
    lane::{LaneOptions, LaneSpec},
    message::{ClosedInterval, LoadMessage},
    start,
};
use crate::{
    experiment::schema::Connections,
    record::event::{LostRequest, Note, NoteKind, Outcome, Reached, SlowRequest},
};

/// Far more than any test needs: it only ends a test that would hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// A timeout that no machine is too slow for.
const AMPLE_US: i64 = 20_000_000;

fn lane(name: &str, address: SocketAddr, connections: Connections) -> LaneSpec {
    LaneSpec {
        name: name.to_owned(),
        address,
        host: "shop.test".to_owned(),
        path: "/cart?id=7".to_owned(),
        rate_per_second: 100.0,
        connections,
        connect_timeout_us: AMPLE_US,
        timeout_us: AMPLE_US,
        status: 200,
        body_contains: Some("evenkeel".to_owned()),
        options: LaneOptions::default(),
    }
}

/// All that a generator said, and its totals.
#[derive(Default)]
struct Heard {
    intervals: Vec<ClosedInterval>,
    lost: Vec<LostRequest>,
    slow: Vec<SlowRequest>,
    notes: Vec<Note>,
    totals: LoadTotals,
}

impl Heard {
    fn by_outcome(&self, lane: &str) -> BTreeMap<Outcome, u64> {
        let mut sum = BTreeMap::new();
        for interval in self.intervals.iter().filter(|interval| interval.counts.lane == lane) {
            for (&outcome, &count) in &interval.counts.by_outcome {
                *sum.entry(outcome).or_default() += count;
            }
        }
        sum
    }

    fn count(&self, outcome: Outcome) -> u64 {
        self.intervals.iter().filter_map(|interval| interval.counts.by_outcome.get(&outcome)).sum()
    }

    /// Requests that were sent. A machine that starves the generator makes it withhold some, which is right and no
    /// failure of a test.
    fn sent(&self) -> u64 {
        self.intervals.iter().map(due).sum::<u64>() - self.count(Outcome::NotSent)
    }
}

fn due(interval: &ClosedInterval) -> u64 {
    interval.counts.by_outcome.values().sum()
}

/// Runs the lanes until at least `requests` have been sent and have ended, and stops them.
async fn run(lanes: Vec<LaneSpec>, requests: u64) -> Heard {
    run_until(lanes, |heard| heard.sent() >= requests).await
}

/// Runs the lanes until it is enough, and stops them.
async fn run_until(lanes: Vec<LaneSpec>, is_enough: impl Fn(&Heard) -> bool) -> Heard {
    let (messages, mut inbox) = unbounded_channel();
    let mut running = start(lanes, messages).expect("lanes that can run");
    running.begin().expect("the first begin");
    let mut heard = Heard::default();
    let enough = async {
        while !is_enough(&heard) {
            take(&mut heard, inbox.recv().await.expect("a generator that runs"));
        }
    };
    timeout(PATIENCE, enough).await.expect("requests end");
    finish(running, inbox, heard).await
}

async fn finish(running: Running, mut inbox: UnboundedReceiver<LoadMessage>, mut heard: Heard) -> Heard {
    heard.totals = timeout(PATIENCE, running.stop()).await.expect("the generator ends").expect("an account");
    while let Some(message) = inbox.recv().await {
        take(&mut heard, message);
    }
    heard
}

fn take(heard: &mut Heard, message: LoadMessage) {
    match message {
        LoadMessage::Interval(interval) => heard.intervals.push(*interval),
        LoadMessage::Lost(lost) => heard.lost.push(*lost),
        LoadMessage::Slow(slow) => heard.slow.push(*slow),
        LoadMessage::Note(note) if note.kind == NoteKind::Taint => heard.notes.push(note),
        // Of a busy machine.
        LoadMessage::Note(_) => {}
    }
}

/// The account agrees with itself: nothing is lost from it, and nothing is in it twice.
fn assert_consistent(heard: &Heard) {
    for lane in &heard.totals.lanes {
        assert_eq!(heard.by_outcome(&lane.lane), lane.by_outcome, "intervals and totals of lane {}", lane.lane);
        let of_lane = || heard.intervals.iter().filter(|interval| interval.counts.lane == lane.lane);
        let starts: Vec<i64> = of_lane().map(|interval| interval.counts.start_us).collect();
        let steps = starts.windows(2).all(|pair| pair[1] - pair[0] == 100_000);
        assert!(steps, "intervals of lane {} follow each other: {starts:?}", lane.lane);
        let opened: u64 = of_lane().map(|interval| interval.counts.connections_opened).sum();
        assert_eq!(opened, lane.connections_opened, "connections of lane {}", lane.lane);
    }
    for interval in &heard.intervals {
        let not_sent = interval.counts.by_outcome.get(&Outcome::NotSent).unwrap_or(&0);
        assert_eq!(interval.response.len(), due(interval) - not_sent, "response samples");
    }
    let unwritten = heard.lost.iter().filter(|lost| lost.reached < Some(Reached::Written)).count() as u64;
    let service: u64 = heard.intervals.iter().map(|interval| interval.service.len()).sum();
    assert_eq!(service, heard.sent() - unwritten, "service samples");
    let lost: u64 = heard
        .totals
        .lanes
        .iter()
        .flat_map(|lane| &lane.by_outcome)
        .filter(|(outcome, _)| outcome.is_lost())
        .map(|(_, count)| count)
        .sum();
    assert_eq!(heard.lost.len() as u64, lost, "each lost request is told once");
    for lost in &heard.lost {
        assert!(lost.intended_us <= lost.sent_us && lost.sent_us <= lost.ended_us, "{lost:?}");
    }
}
