//! How steps are broken off: one signal, seen by every wait.
//!
//! Only waits are broken off, never an act: a request that is dropped half-way may still be carried out by the server,
//! after the undo has looked.

use std::{future::Future, time::Duration};

use tokio::{sync::watch, time::Instant};

/// The end that asks for an abort. Dropping it asks for nothing.
#[derive(Debug)]
pub struct AbortHandle {
    sender: watch::Sender<bool>,
}

impl AbortHandle {
    /// Asks all steps to stop. Asking twice changes nothing.
    pub fn abort(&self) {
        self.sender.send_replace(true);
    }
}

/// The end that steps look at. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Abort {
    // The run's own first, then one for each `parallel` around the step: as deep as the file is nested.
    signals: Vec<watch::Receiver<bool>>,
}

/// The answer of a wait that was broken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aborted;

impl Abort {
    /// A new signal, and the end that gives it.
    #[must_use]
    pub fn new() -> (AbortHandle, Self) {
        let (sender, receiver) = watch::channel(false);
        (AbortHandle { sender }, Self { signals: vec![receiver] })
    }

    /// A signal that is also given when this one is.
    #[must_use]
    pub fn child(&self) -> (AbortHandle, Self) {
        let (sender, receiver) = watch::channel(false);
        let mut signals = self.signals.clone();
        signals.push(receiver);
        (AbortHandle { sender }, Self { signals })
    }

    /// Whether an abort has been asked for.
    #[must_use]
    pub fn requested(&self) -> bool {
        self.signals.iter().any(|signal| *signal.borrow())
    }

    /// Returns when an abort is asked for; never, where nobody can ask any more.
    pub async fn wait(&self) {
        let each = self.signals.iter().cloned().map(|mut signal| {
            Box::pin(async move {
                if signal.wait_for(|asked| *asked).await.is_err() {
                    std::future::pending::<()>().await;
                }
            })
        });
        futures::future::select_all(each).await;
    }

    /// The outcome of a wait, or [`Aborted`] as soon as an abort is asked for.
    pub async fn or<T>(&self, wait: impl Future<Output = T>) -> Result<T, Aborted> {
        tokio::select! {
            biased;
            () = self.wait() => Err(Aborted),
            out = wait => Ok(out),
        }
    }

    /// Waits so long.
    pub async fn sleep(&self, time: Duration) -> Result<(), Aborted> {
        self.or(tokio::time::sleep(time)).await
    }

    /// Waits until a moment.
    pub async fn sleep_until(&self, moment: Instant) -> Result<(), Aborted> {
        self.or(tokio::time::sleep_until(moment)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_abort_reaches_children_but_not_the_other_way_round() {
        let (handle, abort) = Abort::new();
        let (child_handle, child) = abort.child();
        let (_, sibling) = abort.child();
        child_handle.abort();
        assert_eq!(child.sleep(Duration::from_secs(1)).await, Err(Aborted));
        assert_eq!(sibling.sleep(Duration::from_secs(1)).await, Ok(()));
        assert!(!abort.requested());
        handle.abort();
        assert_eq!(sibling.sleep(Duration::from_secs(1)).await, Err(Aborted));
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_handle_asks_for_nothing() {
        let (handle, abort) = Abort::new();
        drop(handle);
        assert_eq!(abort.sleep(Duration::from_secs(1)).await, Ok(()));
    }
}
