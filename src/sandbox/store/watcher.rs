//! A reader of one kind's changes, at its own pace.

use std::sync::Arc;

use tokio::sync::watch;

use super::{Change, Store};
use crate::sandbox::kinds::Kind;

/// Changes handed out at once, so that a long log does not hold the store for long.
const BATCH_MAX: usize = 512;

/// The changes that a watcher has not seen yet are no longer kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too old resource version: {asked} ({oldest})")]
pub struct Fallen {
    /// The version that was asked for.
    pub asked: u64,
    /// The oldest from which changes are kept.
    pub oldest: u64,
}

/// A reader of one kind's changes.
pub struct Watcher {
    store: Arc<Store>,
    kind: &'static Kind,
    since: u64,
    wake: watch::Receiver<u64>,
}

impl Watcher {
    pub(super) fn new(store: Arc<Store>, kind: &'static Kind, since: u64) -> Self {
        let wake = store.wakes(kind);
        Self { store, kind, since, wake }
    }

    pub(super) fn check(&self) -> Result<(), Fallen> {
        self.store.changes(self.kind, self.since, 0).map(drop)
    }

    /// The version up to which changes have been seen.
    #[must_use]
    pub const fn since(&self) -> u64 {
        self.since
    }

    /// The next changes, at least one of them, in order. Cancel safe.
    ///
    /// # Errors
    /// When this reader has been too slow.
    pub async fn next(&mut self) -> Result<Vec<Arc<Change>>, Fallen> {
        loop {
            // Marked as seen before the look, so that a write in between wakes the wait below.
            self.wake.borrow_and_update();
            let changes = self.store.changes(self.kind, self.since, BATCH_MAX)?;
            if let Some(last) = changes.last() {
                self.since = last.object.version;
                return Ok(changes);
            }
            if self.wake.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
