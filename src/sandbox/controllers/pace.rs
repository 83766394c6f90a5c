//! How often a controller looks at something large: with thousands of pods behind one object, looking at all of them
//! for each change of one would take all the time there is. Small things are looked at for each change.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::Key;

/// Pods up to which each change is looked at, at once.
const SMALL: usize = 200;

/// The pause after a look, for each pod beyond that: 10,000 pods are looked at twice a second.
const PAUSE_PER_POD: Duration = Duration::from_micros(50);

/// When large keys may be looked at again.
#[derive(Default)]
pub(super) struct Pace {
    next: Mutex<HashMap<Key, Instant>>,
}

impl Pace {
    /// How long to wait with this key.
    pub(super) fn wait(&self, key: &Key) -> Option<Duration> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let left = next.get(key)?.saturating_duration_since(Instant::now());
        if left.is_zero() {
            next.remove(key);
            return None;
        }
        Some(left)
    }

    /// A key with so many pods has been looked at.
    pub(super) fn looked(&self, key: &Key, pods: usize) {
        let Some(more) = pods.checked_sub(SMALL).and_then(|more| u32::try_from(more).ok()) else { return };
        let at = Instant::now() + PAUSE_PER_POD.saturating_mul(more);
        self.next.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), at);
    }
}
