//! The pods that wait for a node: most important first, then oldest; those for which there was none wait until
//! something changes that might help, and a growing while in any case
//! (`k/pkg/scheduler/backend/queue/scheduling_queue.go`, v1.34.4).

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::{diagnosis::Diagnosis, plugin::Plugin, pod::PodInfo};
use crate::sandbox::controllers::Key;

/// The first pause after a failure (`podInitialBackoffSeconds`).
const BACKOFF_FIRST: Duration = Duration::from_secs(1);

/// The longest pause (`podMaxBackoffSeconds`).
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// After so long a pod is tried again though nothing has changed (`podMaxInUnschedulablePodsDuration`).
const UNSCHEDULABLE_MAX: Duration = Duration::from_secs(300);

type Turn = (Reverse<i32>, u64, Key);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// Its turn comes.
    Active(Turn),
    /// Its turn comes after a pause.
    BackingOff(Instant),
    /// It waits for a change.
    Unschedulable(Instant),
    /// It has scheduling gates.
    Gated,
    /// It is being placed.
    Taken,
}

/// A pod that waits.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    pub(super) pod: Arc<PodInfo>,
    /// The rules that kept it away last time.
    pub(super) failed: BTreeSet<Plugin>,
    attempts: u32,
    tried: Instant,
    arrived: u64,
    place: Place,
}

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pods: HashMap<Key, Waiting>,
    active: BTreeSet<Turn>,
    later: BTreeSet<(Instant, Key)>,
    /// Those that wait for a change.
    unschedulable: BTreeSet<Key>,
    arrivals: u64,
}

impl Queue {
    /// Adds a pod, or takes over a new version of it. What changed about it may let it be placed.
    pub(super) fn put(&mut self, key: &Key, pod: Arc<PodInfo>) {
        let wanted = if pod.gated { Some(Place::Gated) } else { None };
        if let Some(waiting) = self.pods.get_mut(key).filter(|waiting| waiting.pod.uid == pod.uid) {
            let same = waiting.pod.generation == pod.generation && waiting.pod.labels == pod.labels;
            waiting.pod = pod;
            if same {
                return;
            }
        } else {
            self.remove(key);
            self.arrivals += 1;
            let waiting = Waiting {
                pod,
                failed: BTreeSet::new(),
                attempts: 0,
                tried: Instant::now(),
                arrived: self.arrivals,
                place: Place::Taken,
            };
            self.pods.insert(key.clone(), waiting);
        }
        match wanted {
            Some(place) => self.move_to(key, place),
            None => self.activate(key),
        }
    }

    /// Forgets a pod.
    pub(super) fn remove(&mut self, key: &Key) {
        self.move_to(key, Place::Taken);
        self.pods.remove(key);
    }

    fn move_to(&mut self, key: &Key, place: Place) {
        let Some(waiting) = self.pods.get_mut(key) else { return };
        match &waiting.place {
            Place::Active(turn) => {
                self.active.remove(turn);
            }
            Place::BackingOff(at) | Place::Unschedulable(at) => {
                self.later.remove(&(*at, key.clone()));
                self.unschedulable.remove(key);
            }
            Place::Gated | Place::Taken => {}
        }
        match &place {
            Place::Active(turn) => {
                self.active.insert(turn.clone());
            }
            Place::BackingOff(at) => {
                self.later.insert((*at, key.clone()));
            }
            Place::Unschedulable(at) => {
                self.later.insert((*at, key.clone()));
                self.unschedulable.insert(key.clone());
            }
            Place::Gated | Place::Taken => {}
        }
        waiting.place = place;
    }

    /// Lets a pod have its turn, after its pause.
    fn activate(&mut self, key: &Key) {
        let Some(waiting) = self.pods.get(key) else { return };
        let ready = waiting.tried + backoff(waiting.attempts);
        let turn = (Reverse(waiting.pod.priority), waiting.arrived, key.clone());
        let place = if ready > Instant::now() { Place::BackingOff(ready) } else { Place::Active(turn) };
        self.move_to(key, place);
    }

    /// The pod whose turn it is.
    pub(super) fn pop(&mut self) -> Option<(Key, Arc<PodInfo>)> {
        let now = Instant::now();
        while let Some((at, key)) = self.later.first().cloned() {
            if at > now {
                break;
            }
            self.later.remove(&(at, key.clone()));
            if let Some(waiting) = self.pods.get(&key) {
                let turn = (Reverse(waiting.pod.priority), waiting.arrived, key.clone());
                self.move_to(&key, Place::Active(turn));
            }
        }
        let (_, _, key) = self.active.first().cloned()?;
        self.move_to(&key, Place::Taken);
        let waiting = self.pods.get_mut(&key)?;
        waiting.attempts = waiting.attempts.saturating_add(1);
        waiting.tried = now;
        Some((key, Arc::clone(&waiting.pod)))
    }

    /// When the next pod's turn comes: now, later, or only after a change.
    pub(super) fn next_at(&self) -> Option<Instant> {
        if self.active.is_empty() { self.later.first().map(|(at, _)| *at) } else { Some(Instant::now()) }
    }

    /// There was no node for a pod.
    pub(super) fn failed(&mut self, key: &Key, diagnosis: &Diagnosis) {
        let Some(waiting) = self.pods.get_mut(key) else { return };
        waiting.failed.clone_from(&diagnosis.plugins);
        self.move_to(key, Place::Unschedulable(Instant::now() + UNSCHEDULABLE_MAX));
    }

    /// A pod could not be bound; it is tried again after a pause.
    pub(super) fn again(&mut self, key: &Key) {
        if let Some(waiting) = self.pods.get_mut(key) {
            let at = waiting.tried + backoff(waiting.attempts);
            self.move_to(key, Place::BackingOff(at));
        }
    }

    /// Something has changed: the pods for which it might help have their turn again.
    pub(super) fn changed(&mut self, helps: impl Fn(&Waiting) -> bool) {
        let helped: Vec<Key> =
            self.unschedulable.iter().filter(|key| self.pods.get(*key).is_some_and(&helps)).cloned().collect();
        for key in helped {
            self.activate(&key);
        }
    }
}

/// The pause after so many attempts.
fn backoff(attempts: u32) -> Duration {
    if attempts == 0 {
        return Duration::ZERO;
    }
    BACKOFF_FIRST.saturating_mul(1 << (attempts - 1).min(8)).min(BACKOFF_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, priority: i32) -> (Key, Arc<PodInfo>) {
        let info = PodInfo { name: name.into(), uid: name.into(), priority, ..PodInfo::default() };
        (Key::new("", name), Arc::new(info))
    }

    fn put(queue: &mut Queue, name: &str, priority: i32) {
        let (key, pod) = pod(name, priority);
        queue.put(&key, pod);
    }

    #[tokio::test(start_paused = true)]
    async fn the_most_important_come_first_then_the_oldest() {
        let mut queue = Queue::default();
        for (name, priority) in [("a", 0), ("b", 10), ("c", 0), ("d", 10)] {
            put(&mut queue, name, priority);
        }
        let order: Vec<String> = std::iter::from_fn(|| queue.pop()).map(|(key, _)| key.name).collect();
        assert_eq!(order, ["b", "d", "a", "c"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pod_without_a_node_waits_for_a_change_and_pauses_longer_each_time() {
        let mut queue = Queue::default();
        put(&mut queue, "a", 0);
        for pause in [1, 2, 4, 8, 10, 10] {
            let (key, _) = queue.pop().unwrap();
            queue.failed(&key, &Diagnosis::default());
            queue.changed(|_| false);
            tokio::time::advance(Duration::from_millis(1)).await;
            assert!(queue.pop().is_none());
            queue.changed(|_| true);
            assert!(queue.pop().is_none());
            tokio::time::advance(Duration::from_secs(pause)).await;
            assert!(queue.next_at().unwrap() <= Instant::now());
        }
        let (key, _) = queue.pop().unwrap();
        queue.failed(&key, &Diagnosis::default());
        tokio::time::advance(UNSCHEDULABLE_MAX).await;
        assert!(queue.pop().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_gated_pod_waits_until_its_gates_are_gone() {
        let mut queue = Queue::default();
        let (key, plain) = pod("a", 0);
        let gated = PodInfo { gated: true, generation: 1, ..(*plain).clone() };
        queue.put(&key, Arc::new(gated));
        assert!(queue.pop().is_none());
        queue.put(&key, Arc::new(PodInfo { generation: 2, ..(*plain).clone() }));
        assert!(queue.pop().is_some());
    }
}
