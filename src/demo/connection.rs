//! One connection of the sample service: HTTP/1.1 or HTTP/2, as its first bytes say, from its first request to its
//! goodbye.
//!
//! HTTP/1.1 says goodbye in an answer (`Connection: close`), so an idle connection cannot be closed without the risk
//! that a request is on its way. HTTP/2 says it at any time (GOAWAY): what comes until the client has seen it is still
//! answered (RFC 9113, section 6.8), and hyper's graceful shutdown does so.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use hyper::{Request, Version, body::Incoming, service::service_fn, upgrade::OnUpgrade};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    net::TcpStream,
    sync::{Notify, watch},
    time::sleep,
};

use super::{answer::Service, speech};

/// How long a connection that has carried no request yet is kept for it when idle ones are closed. Its client has not
/// been silent: the request is on its way. Go's `http.Server.Shutdown` does the same, for 5 s.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// How far the draining has come; each connection follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Not told to stop.
    Serving,
    /// Every answer says `Connection: close`, and idle connections stay open for their last request; over HTTP/2 each
    /// connection gets a GOAWAY, a new one with its first answer.
    Closing,
    /// Idle connections are closed; a busy one is after its answer, and so is one that waits for its first request.
    Finishing,
}

/// What a connection has carried so far, shared by the answers on it.
#[derive(Default)]
pub(super) struct Talk {
    asked: AtomicU32,
    is_http2: AtomicBool,
    last_answer: Notify,
    upgrade: Mutex<Option<OnUpgrade>>,
}

impl Talk {
    /// Counts a request; the first is 1.
    fn begin(&self, version: Version) -> u32 {
        self.is_http2.store(version == Version::HTTP_2, Ordering::Relaxed);
        self.asked.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// Ends the connection when what is in flight on it has been answered.
    pub(super) fn end_after_this(&self) {
        self.last_answer.notify_one();
    }

    /// Hands the connection over to what follows its upgrade.
    pub(super) fn switch(&self, upgrade: OnUpgrade) {
        if let Ok(mut slot) = self.upgrade.lock() {
            *slot = Some(upgrade);
        }
    }

    fn switched(&self) -> Option<OnUpgrade> {
        self.upgrade.lock().ok().and_then(|mut slot| slot.take())
    }

    /// Returns when the connection is to end with what is in flight on it.
    async fn over(&self, mut stage: watch::Receiver<Stage>) {
        let told = async {
            _ = stage.wait_for(|stage| *stage >= Stage::Closing).await;
            // Known by its first request; one that has carried none yet says goodbye with its first answer.
            if self.is_http2.load(Ordering::Relaxed) {
                return;
            }
            _ = stage.wait_for(|stage| *stage == Stage::Finishing).await;
            if self.asked.load(Ordering::Relaxed) == 0 {
                sleep(FIRST_REQUEST).await;
            }
        };
        tokio::select! {
            () = told => {}
            () = self.last_answer.notified() => {}
        }
    }
}

/// Serves a connection to its end.
pub(super) async fn serve(stream: TcpStream, service: Arc<Service>, stage: watch::Receiver<Stage>) {
    let talk = Arc::new(Talk::default());
    let answer = service_fn(|request: Request<Incoming>| {
        let nth = talk.begin(request.version());
        Arc::clone(&service).answer(request, nth, Arc::clone(&talk))
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    let mut connection = std::pin::pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), answer));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = talk.over(stage.clone()) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // The client's doing as a rule: it went away in the middle of a request.
        tracing::debug!(%error, "a connection ended early");
    }
    if let Some(upgrade) = talk.switched()
        && let Ok(upgraded) = upgrade.await
    {
        speech::echo_messages(upgraded, stage).await;
    }
}
