//! When a node's table follows a change: kube-proxy's own rule, for each node by itself
//! (`k/pkg/proxy/runner/bounded_frequency_runner.go`, v1.34.4). A change is worked in at once if the last time is at least
//! the minimum period ago, else when that period is over; what comes meanwhile goes with it.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use tokio::time::Instant;

use crate::sandbox::random::Random;

/// The least time between two syncs (`minSyncPeriod`).
pub(super) const MIN_SYNC_PERIOD: Duration = Duration::from_secs(1);

/// How long a change takes from the API to a node's proxy, and how long the proxy then works; milliseconds, from and
/// below. On kind with two cores, kube-proxy v1.34.4 says of itself (`kubeproxy_sync_partial_proxy_rules_duration_seconds`,
/// 282 syncs on each of two nodes): 43 and 47 ms in the mean, a quarter below 32 ms, one in a hundred above 128 ms.
const HEARD_MS: (usize, usize) = (1, 6);
const WORK_MS: (usize, usize) = (20, 75);

/// What a node's proxy does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It has worked in all that it knows of.
    Idle,
    /// It will begin at this time.
    Waiting(Instant),
    /// It works until this time; whether something has changed since it began.
    Working(Instant, bool),
}

#[derive(Debug)]
struct Proxy {
    state: State,
    completed: Option<Instant>,
    random: Random,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// The node's proxy begins: what is known now is what it works in.
    Begins,
    /// It has finished: that is in force now.
    Completes,
}

/// All nodes' proxies.
#[derive(Debug)]
pub(super) struct Timing {
    seed: u64,
    proxies: HashMap<String, Proxy>,
    due: BTreeSet<(Instant, String)>,
}

impl Timing {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, proxies: HashMap::new(), due: BTreeSet::new() }
    }

    /// A node is new, or on again: its proxy starts, and works in all there is.
    pub(super) fn start(&mut self, node: &str) {
        self.stop(node);
        let random = Random::for_name(self.seed, node);
        let proxy = Proxy { state: State::Idle, completed: None, random };
        self.proxies.insert(node.to_owned(), proxy);
        self.change_on(node);
    }

    /// A node is gone, or off.
    pub(super) fn stop(&mut self, node: &str) {
        if let Some(proxy) = self.proxies.remove(node)
            && let State::Waiting(at) | State::Working(at, _) = proxy.state
        {
            self.due.remove(&(at, node.to_owned()));
        }
    }

    /// Something has changed for all nodes.
    pub(super) fn change(&mut self) {
        let nodes: Vec<String> = self.proxies.keys().cloned().collect();
        for node in nodes {
            self.change_on(&node);
        }
    }

    fn change_on(&mut self, node: &str) {
        let Some(proxy) = self.proxies.get_mut(node) else { return };
        match &mut proxy.state {
            State::Waiting(_) => {}
            State::Working(_, again) => *again = true,
            State::Idle => {
                let heard = Instant::now() + between(&proxy.random, HEARD_MS);
                let at = proxy.completed.map_or(heard, |completed| heard.max(completed + MIN_SYNC_PERIOD));
                proxy.state = State::Waiting(at);
                self.due.insert((at, node.to_owned()));
            }
        }
    }

    /// When something is due.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// What is due now, one at a time.
    pub(super) fn next(&mut self) -> Option<(String, Due)> {
        let (at, node) = self.due.first().cloned()?;
        let now = Instant::now();
        if at > now {
            return None;
        }
        self.due.remove(&(at, node.clone()));
        let proxy = self.proxies.get_mut(&node)?;
        match proxy.state {
            State::Waiting(_) => {
                let until = now + between(&proxy.random, WORK_MS);
                proxy.state = State::Working(until, false);
                self.due.insert((until, node.clone()));
                Some((node, Due::Begins))
            }
            State::Working(_, again) => {
                proxy.completed = Some(now);
                proxy.state = State::Idle;
                if again {
                    self.change_on(&node);
                }
                Some((node, Due::Completes))
            }
            State::Idle => None,
        }
    }
}

fn between(random: &Random, (from, below): (usize, usize)) -> Duration {
    Duration::from_millis((from + random.below(below - from)) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn run(timing: &mut Timing, wanted: Due) -> Instant {
        loop {
            let at = timing.next_at().unwrap();
            tokio::time::sleep_until(at).await;
            if let Some((_, due)) = timing.next()
                && due == wanted
            {
                return Instant::now();
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_after_a_quiet_second_is_worked_in_at_once_and_the_next_one_waits() {
        let mut timing = Timing::new(1);
        timing.start("a");
        run(&mut timing, Due::Completes).await;
        assert_eq!(timing.next_at(), None);
        tokio::time::advance(Duration::from_secs(5)).await;
        let changed = Instant::now();
        timing.change();
        let first = run(&mut timing, Due::Completes).await;
        assert!(first - changed < Duration::from_millis(100), "{:?}", first - changed);
        tokio::time::advance(Duration::from_millis(200)).await;
        timing.change();
        timing.change();
        let begins = run(&mut timing, Due::Begins).await;
        assert!((begins - first).abs_diff(MIN_SYNC_PERIOD) < Duration::from_millis(2));
        timing.change();
        let second = run(&mut timing, Due::Completes).await;
        let third = run(&mut timing, Due::Completes).await;
        assert!(third - second >= MIN_SYNC_PERIOD);
        assert_eq!(timing.next_at(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn nodes_follow_at_moments_of_their_own_and_the_same_seed_at_the_same() {
        let moments = |seed| async move {
            let mut timing = Timing::new(seed);
            let start = Instant::now();
            for node in ["a", "b", "c", "d"] {
                timing.start(node);
            }
            let mut done = std::collections::BTreeMap::new();
            while let Some(at) = timing.next_at() {
                tokio::time::sleep_until(at).await;
                if let Some((node, Due::Completes)) = timing.next() {
                    done.insert(node, start.elapsed());
                }
            }
            done
        };
        let once = moments(7).await;
        assert_eq!(once, moments(7).await);
        assert!(once.values().collect::<BTreeSet<_>>().len() > 1, "{once:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_is_off_follows_nothing() {
        let mut timing = Timing::new(1);
        timing.start("a");
        timing.stop("a");
        timing.change();
        assert_eq!(timing.next_at(), None);
    }
}
