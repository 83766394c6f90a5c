//! Nodes that wait for their `NoExecute` taint, a queue for each zone, and the rate at which they get it
//! (`scheduler/rate_limited_queue.go`, client-go/util/flowcontrol).

use std::collections::VecDeque;

use tokio::time::Instant;

use crate::model::node_health::{RATE, ZoneState};

/// A zone.
#[derive(Debug)]
pub(super) struct Zone {
    /// How it was with the last look; nothing before the first.
    pub(super) state: Option<ZoneState>,
    queue: VecDeque<String>,
    bucket: Bucket,
}

/// A token bucket that holds one token.
#[derive(Debug)]
struct Bucket {
    per_second: f64,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn full(per_second: f64) -> Self {
        Self { per_second, tokens: 1.0, at: Instant::now() }
    }

    fn take(&mut self) -> bool {
        let now = Instant::now();
        self.tokens = (self.tokens + now.duration_since(self.at).as_secs_f64() * self.per_second).min(1.0);
        self.at = now;
        // A rate of zero lets nothing through, not even what has been saved up.
        if self.per_second <= 0.0 || self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

impl Default for Zone {
    fn default() -> Self {
        Self { state: None, queue: VecDeque::new(), bucket: Bucket::full(RATE) }
    }
}

impl Zone {
    /// Sets the rate. Where the old one was used up, so is the new one.
    pub(super) fn set_rate(&mut self, per_second: f64) {
        if (self.bucket.per_second - per_second).abs() < f64::EPSILON {
            return;
        }
        let used_up = !self.bucket.take();
        self.bucket = Bucket::full(per_second);
        if used_up {
            self.bucket.tokens = 0.0;
        }
    }

    /// Adds a node, once.
    pub(super) fn add(&mut self, node: &str) {
        if !self.queue.iter().any(|known| known == node) {
            self.queue.push_back(node.to_owned());
        }
    }

    /// Takes a node back.
    pub(super) fn remove(&mut self, node: &str) {
        self.queue.retain(|known| known != node);
    }

    /// Whether a node waits for a turn that will come.
    pub(super) fn waits(&self) -> bool {
        !self.queue.is_empty() && self.bucket.per_second > 0.0
    }

    /// The next node whose turn it is.
    pub(super) fn next(&mut self) -> Option<String> {
        if self.queue.is_empty() || !self.bucket.take() {
            return None;
        }
        self.queue.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn nodes_of_a_zone_get_their_turns_at_its_rate() {
        let mut zone = Zone::default();
        for node in ["a", "b", "a", "c"] {
            zone.add(node);
        }
        assert_eq!(zone.next().as_deref(), Some("a"));
        assert_eq!(zone.next(), None);
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(zone.next(), None);
        tokio::time::advance(Duration::from_millis(1100)).await;
        assert_eq!(zone.next().as_deref(), Some("b"));
        zone.set_rate(0.0);
        tokio::time::advance(Duration::from_secs(1000)).await;
        assert_eq!(zone.next(), None);
        assert!(!zone.waits());
        zone.set_rate(0.1);
        assert!(zone.waits());
        tokio::time::advance(Duration::from_secs(11)).await;
        assert_eq!(zone.next().as_deref(), Some("c"));
    }
}
