//! The load core, told to run against the service until it has seen enough.

use std::collections::BTreeMap;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::{PATIENCE, SocketAddr, timeout};
use crate::{
    experiment::schema::Connections,
    load::{
        self, Running,
        lane::{LaneOptions, LaneSpec, Protocol, RoutedLane},
        message::LoadMessage,
    },
    record::event::{LostRequest, Outcome},
};

/// A lane of 50 requests per second over two connections, with timeouts that no machine is too slow for.
pub(super) fn lane(name: &str, address: SocketAddr, protocol: Protocol, path: &str) -> LaneSpec {
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

/// Lanes at work, and what they have said.
pub(super) struct Load {
    running: Running,
    inbox: UnboundedReceiver<LoadMessage>,
    /// Requests that ended well, by lane.
    pub(super) answered: BTreeMap<String, u64>,
    /// Requests that were lost.
    pub(super) lost: Vec<LostRequest>,
    /// Connections opened after the first request.
    pub(super) opened: u64,
}

impl Load {
    /// Starts lanes.
    pub(super) fn start(lanes: Vec<impl Into<RoutedLane>>) -> Self {
        let (messages, inbox) = unbounded_channel();
        let mut running = load::start(lanes, messages).unwrap();
        running.begin().unwrap();
        Self { running, inbox, answered: BTreeMap::new(), lost: Vec::new(), opened: 0 }
    }

    /// Waits until it is enough.
    pub(super) async fn until(&mut self, is_enough: impl Fn(&Self) -> bool) {
        let enough = async {
            while !is_enough(self) {
                let message = self.inbox.recv().await.unwrap();
                self.hear(message);
            }
        };
        timeout(PATIENCE, enough).await.expect("requests end");
    }

    /// Waits until each of these lanes has had so many more answers.
    pub(super) async fn answers(&mut self, lanes: &[&str], more: u64) {
        let of = |load: &Self, lane: &str| load.answered.get(lane).copied().unwrap_or_default();
        let wanted: Vec<u64> = lanes.iter().map(|lane| of(self, lane) + more).collect();
        self.until(|load| lanes.iter().zip(&wanted).all(|(lane, wanted)| of(load, lane) >= *wanted)).await;
    }

    /// Stops the lanes when their last request has ended; all that was lost.
    pub(super) async fn stop(self) -> Vec<LostRequest> {
        let Self { running, mut inbox, mut lost, .. } = self;
        timeout(PATIENCE, running.stop()).await.expect("it ends").unwrap();
        while let Some(message) = inbox.recv().await {
            if let LoadMessage::Lost(request) = message {
                lost.push(*request);
            }
        }
        lost
    }

    fn hear(&mut self, message: LoadMessage) {
        match message {
            LoadMessage::Interval(interval) => {
                let counts = interval.counts;
                *self.answered.entry(counts.lane).or_default() +=
                    counts.by_outcome.get(&Outcome::Ok).copied().unwrap_or_default();
                self.opened += counts.connections_opened;
            }
            LoadMessage::Lost(lost) => self.lost.push(*lost),
            LoadMessage::Slow(_) | LoadMessage::Note(_) => {}
        }
    }
}
