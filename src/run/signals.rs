//! Ctrl-C and SIGTERM: the first one stops the run, which then undoes everything; a second one ends it at once.

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// How many times the user has asked to stop.
#[derive(Debug, Clone)]
pub struct Signals {
    count: watch::Receiver<u32>,
}

impl Signals {
    /// Listens from now on. Both signals lose their default effect for the rest of the process.
    pub fn listen() -> std::io::Result<Self> {
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let (counter, count) = watch::channel(0);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    () = counter.closed() => return,
                }
                counter.send_modify(|seen| *seen += 1);
            }
        });
        Ok(Self { count })
    }

    /// Whether a stop has been asked for.
    #[must_use]
    pub fn stopped(&self) -> bool {
        *self.count.borrow() > 0
    }

    /// Returns when a stop has been asked for at least so many times.
    pub async fn asked(&self, times: u32) {
        let mut count = self.count.clone();
        if count.wait_for(|seen| *seen >= times).await.is_err() {
            // The listener ends only with the process.
            std::future::pending::<()>().await;
        }
    }
}
