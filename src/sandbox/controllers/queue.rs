//! The work queue of a controller: no key twice, later keys when they fall due, failed ones after growing delays
//! (client-go/util/workqueue: 5 ms doubling; the bound is lower than its 1000 s, since runs here are short).

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use crate::sandbox::store::Object;

const RETRY_FIRST: Duration = Duration::from_millis(5);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// What a controller looks at: an object's place.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Its namespace; empty where it has none.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// A place.
    #[must_use]
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// An object's place.
    #[must_use]
    pub fn of(object: &Arc<Object>) -> Self {
        Self::new(&object.namespace, &object.name)
    }
}

#[derive(Default)]
struct Inner {
    ready: VecDeque<Key>,
    queued: HashSet<Key>,
    later: BTreeSet<(Instant, Key)>,
    due: HashMap<Key, Instant>,
    failures: HashMap<Key, u32>,
}

/// A queue of keys.
#[derive(Default)]
pub struct Queue {
    inner: Mutex<Inner>,
    wake: Notify,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds keys for now.
    pub fn add_all(&self, keys: Vec<Key>) {
        if keys.is_empty() {
            return;
        }
        let mut inner = self.lock();
        for key in keys {
            inner.push(key);
        }
        drop(inner);
        self.wake.notify_one();
    }

    /// Adds a key for later; the earlier of two times counts.
    pub fn add_after(&self, key: Key, delay: Duration) {
        let at = Instant::now() + delay;
        let mut inner = self.lock();
        if let Some(known) = inner.due.get(&key).copied() {
            if known <= at {
                return;
            }
            inner.later.remove(&(known, key.clone()));
        }
        inner.due.insert(key.clone(), at);
        inner.later.insert((at, key));
        drop(inner);
        self.wake.notify_one();
    }

    /// Adds a key again after a failure.
    pub fn failed(&self, key: Key) {
        let failures = {
            let mut inner = self.lock();
            let failures = inner.failures.entry(key.clone()).or_default();
            *failures += 1;
            *failures
        };
        let delay = RETRY_FIRST.saturating_mul(1 << (failures - 1).min(16)).min(RETRY_MAX);
        self.add_after(key, delay);
    }

    /// A key went well: its failures are forgotten.
    pub fn done(&self, key: &Key) {
        self.lock().failures.remove(key);
    }

    /// The next key, when there is one.
    pub async fn next(&self) -> Key {
        loop {
            let next_due = {
                let mut inner = self.lock();
                inner.take_due(Instant::now());
                if let Some(key) = inner.ready.pop_front() {
                    inner.queued.remove(&key);
                    return key;
                }
                inner.later.first().map(|(at, _)| *at)
            };
            match next_due {
                Some(at) => tokio::select! {
                    () = self.wake.notified() => {}
                    () = sleep_until(at) => {}
                },
                None => self.wake.notified().await,
            }
        }
    }
}

impl Inner {
    fn push(&mut self, key: Key) {
        if self.queued.insert(key.clone()) {
            self.ready.push_back(key);
        }
    }

    fn take_due(&mut self, now: Instant) {
        while let Some((at, key)) = self.later.first().cloned() {
            if at > now {
                return;
            }
            self.later.remove(&(at, key.clone()));
            self.due.remove(&key);
            self.push(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key::new("", name)
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_there_once_and_a_failed_one_comes_back_later_each_time() {
        let queue = Queue::default();
        queue.add_all(vec![key("a"), key("b"), key("a")]);
        assert_eq!((queue.next().await, queue.next().await), (key("a"), key("b")));
        let start = Instant::now();
        for wanted_ms in [5, 15, 35] {
            queue.failed(key("a"));
            assert_eq!(queue.next().await, key("a"));
            assert!(start.elapsed().as_millis().abs_diff(wanted_ms) <= 3, "{:?}", start.elapsed());
        }
        queue.done(&key("a"));
        queue.failed(key("a"));
        let again = Instant::now();
        queue.next().await;
        assert!(again.elapsed() < Duration::from_millis(8));
    }

    #[tokio::test(start_paused = true)]
    async fn of_two_times_the_earlier_counts() {
        let queue = Queue::default();
        queue.add_after(key("a"), Duration::from_secs(9));
        queue.add_after(key("a"), Duration::from_secs(1));
        queue.add_after(key("a"), Duration::from_secs(5));
        let start = Instant::now();
        assert_eq!(queue.next().await, key("a"));
        assert_eq!(start.elapsed().as_secs(), 1);
        assert!(tokio::time::timeout(Duration::from_secs(60), queue.next()).await.is_err());
    }
}
