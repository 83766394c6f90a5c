//! An agent in this process, a way to it that can be broken, and load that says what a test wants.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, StatusCode, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::Instant,
};

use crate::{
    agent::{
        engine::{Load, StartLoad},
        error::AgentError,
        follow::{Conversation, Pace},
        protocol::Refusal,
        server::{AgentOptions, serve_on},
        transport::{CallError, Transport},
    },
    experiment::units::Span,
    load::message::LoadMessage,
};

/// As a run's, but not as patient.
pub(super) const PACE: Pace = Pace {
    fetch_every: Duration::from_millis(5),
    call_within: Duration::from_secs(2),
    retry_every: Duration::from_millis(2),
    lost_after: Duration::from_millis(300),
    begin_ahead: Duration::from_millis(800),
};

/// A Lease that holds for longer than any test takes.
pub(super) fn lease_until() -> watch::Receiver<Instant> {
    watch::Sender::new(Instant::now() + Duration::from_secs(600)).subscribe()
}

/// A conversation that has not begun, with an agent of this name.
pub(super) fn talk(name: &str, way: Direct) -> (String, Conversation<Direct>) {
    (name.to_owned(), Conversation::new(way, PACE, lease_until()))
}

/// Options whose limits no test reaches.
pub(super) fn options() -> AgentOptions {
    AgentOptions { port: 0, abandoned_after: Span::from_millis(30_000), max_life: Span::from_millis(60_000) }
}

/// An agent's server at work in this process.
pub(super) struct Rig {
    pub(super) address: SocketAddr,
    pub(super) ended: JoinHandle<Result<(), AgentError>>,
    pub(super) terminate: oneshot::Sender<()>,
}

/// Starts an agent's server.
pub(super) async fn agent(options: AgentOptions, start_load: Box<StartLoad>) -> Rig {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (terminate, told) = oneshot::channel();
    let ended = tokio::spawn(async move {
        let told_to_end = async move {
            let _ = told.await;
        };
        serve_on(listener, &options, start_load, told_to_end).await
    });
    Rig { address, ended, terminate }
}

/// Load that says these messages, one each millisecond, and when it is stopped those. Its clock reads zero when it is
/// told to begin.
pub(super) fn scripted(during: Vec<LoadMessage>, after_stop: Vec<LoadMessage>) -> Box<StartLoad> {
    Box::new(move |moment, _lanes, messages: mpsc::UnboundedSender<LoadMessage>| {
        let (stop, told) = oneshot::channel();
        let (during, after_stop) = (during.clone(), after_stop.clone());
        let said = tokio::spawn(async move {
            for message in during {
                tokio::time::sleep(Duration::from_millis(1)).await;
                let _ = messages.send(message);
            }
            let _ = told.await;
            for message in after_stop {
                let _ = messages.send(message);
            }
        });
        let stop = Box::pin(async move {
            let _ = stop.send(());
            said.await.map_err(|error| error.to_string())
        });
        Ok(Load { origin: moment, stop, renew: Box::new(|| ()) })
    })
}

/// Load that says nothing, and tells when it is stopped.
pub(super) fn watched(stopped: mpsc::UnboundedSender<()>) -> Box<StartLoad> {
    Box::new(move |moment, _lanes, messages| {
        let stopped = stopped.clone();
        let stop = Box::pin(async move {
            let _ = stopped.send(());
            // The load's messages end with it.
            drop(messages);
            Ok(())
        });
        Ok(Load { origin: moment, stop, renew: Box::new(|| ()) })
    })
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It gets through.
    Through,
    /// The agent never sees it.
    RequestLost,
    /// The agent acts on it, and nobody hears of it.
    AnswerLost,
    /// It gets through after the moment at which agents are told to begin.
    Late,
}

/// A way to an agent over plain HTTP, on which calls meet their fates in turn; afterwards all get through.
#[derive(Clone)]
pub(super) struct Direct {
    address: SocketAddr,
    fates: Arc<Mutex<VecDeque<Fate>>>,
    gone: Option<String>,
}

impl Direct {
    pub(super) fn to(address: SocketAddr) -> Self {
        Self { address, fates: Arc::default(), gone: None }
    }

    pub(super) fn with_fates(self, fates: impl IntoIterator<Item = Fate>) -> Self {
        Self { fates: Arc::new(Mutex::new(fates.into_iter().collect())), ..self }
    }

    /// When a call fails, this is certain.
    pub(super) fn with_gone(self, why: &str) -> Self {
        Self { gone: Some(why.to_owned()), ..self }
    }

    /// From now on, calls meet these.
    pub(super) fn add_fates(&self, fates: impl IntoIterator<Item = Fate>) {
        self.fates.lock().unwrap().extend(fates);
    }

    pub(super) fn fates_left(&self) -> usize {
        self.fates.lock().unwrap().len()
    }
}

impl Transport for Direct {
    async fn call(&self, method: Method, path: &str, body: Option<String>) -> Result<String, CallError> {
        let fate = self.fates.lock().unwrap().pop_front().unwrap_or(Fate::Through);
        let failed = |words: &str| Err(CallError::Failed(words.to_owned()));
        if fate == Fate::RequestLost {
            return failed("the request was lost");
        }
        if fate == Fate::Late {
            tokio::time::sleep(PACE.begin_ahead + Duration::from_millis(50)).await;
        }
        let answered = send(self.address, method, path, body.unwrap_or_default()).await;
        if fate == Fate::AnswerLost {
            return failed("the answer was lost");
        }
        match answered {
            Ok((StatusCode::OK, text)) => Ok(text),
            Ok((_, text)) => Err(CallError::Refused(serde_json::from_str::<Refusal>(&text).unwrap().error)),
            Err(error) => failed(&error),
        }
    }

    async fn gone(&self) -> Option<String> {
        self.gone.clone()
    }
}

/// One request on a connection of its own.
pub(super) async fn send(
    address: SocketAddr,
    method: Method,
    path: &str,
    body: String,
) -> Result<(StatusCode, String), String> {
    let words = |error: &dyn std::error::Error| error.to_string();
    let stream = TcpStream::connect(address).await.map_err(|error| words(&error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| words(&error))?;
    let driven = tokio::spawn(connection);
    let request = Request::builder().method(method).uri(path).header("host", "agent");
    let request = request.body(Full::new(Bytes::from(body))).unwrap();
    let response = sender.send_request(request).await.map_err(|error| words(&error))?;
    let status = response.status();
    let bytes = response.into_body().collect().await.map_err(|error| words(&error))?.to_bytes();
    driven.abort();
    Ok((status, String::from_utf8(bytes.to_vec()).unwrap()))
}
