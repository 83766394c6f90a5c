//! The agent as a process: it listens, does as the harness says, and ends: on SIGTERM, when it has lived as long as it
//! may, and above all when nobody listens any more, since a harness that died must leave no load behind.

use std::{
    future::Future,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    task::JoinSet,
    time::Instant,
};

use super::{
    buffer,
    engine::{Engine, Load, Orphaned, StartLoad},
    error::AgentError,
    protocol, routes,
    transport::chain,
};
use crate::{
    experiment::units::Span,
    load::{self, lane::LaneSpec, message::LoadMessage},
};

/// Connections at once: the API server and the kubelet keep one or two each.
const CONNECTIONS_MAX: usize = 64;
/// How long a client may take to send the head of its request.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// How long lanes may take to end when the process ends; nobody fetches the messages then.
const STOP_WITHIN: Duration = Duration::from_secs(2);
/// A pause after a connection could not be accepted, as without descriptors: there is nothing to wait for.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// The load agent: sends requests from where it stands, as the harness tells it.
#[derive(Debug, Clone, clap::Args)]
pub struct AgentOptions {
    /// The port to listen on.
    #[arg(long, default_value_t = protocol::PORT)]
    pub port: u16,
    /// Stop and end when the harness has asked for nothing for so long.
    #[arg(long, default_value = "30s")]
    pub abandoned_after: Span,
    /// Stop and end after so long in any case.
    #[arg(long, default_value = "1h")]
    pub max_life: Span,
}

/// Runs the agent until SIGTERM or SIGINT, on which it ends without an error. Works as a container's process 1, for
/// which the kernel has no default actions: the signals are subscribed to.
pub async fn serve(options: AgentOptions) -> Result<(), AgentError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(AgentError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(AgentError::Signals)?;
    let told_to_end = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let listener = listen(options.port).await?;
    serve_on(listener, &options, Box::new(start_load), told_to_end).await
}

/// The load core, whose first interval begins at a moment to come; until then it opens the connections that it keeps.
pub(super) fn start_load(
    moment: Instant,
    lanes: Vec<LaneSpec>,
    messages: mpsc::UnboundedSender<LoadMessage>,
) -> Result<Load, String> {
    let begun = load::start_at(moment, lanes, messages).and_then(|mut running| running.begin().map(|()| running));
    let running = begun.map_err(|error| chain(&error))?;
    let (origin, renewer) = (running.origin(), running.renewer());
    let stop = async move { running.stop().await.map(drop).map_err(|error| chain(&error)) };
    Ok(Load { origin, stop: Box::pin(stop), renew: Box::new(move || renewer.renew()) })
}

/// Listens on all addresses of both families, or of the one that there is.
async fn listen(port: u16) -> Result<TcpListener, AgentError> {
    let both = TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await;
    match both {
        Ok(listener) => Ok(listener),
        // A kernel without IPv6.
        Err(_) => TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))
            .await
            .map_err(|source| AgentError::Listen { port, source }),
    }
}

/// The agent on a listener, with a load core, until told to end.
pub(super) async fn serve_on(
    listener: TcpListener,
    options: &AgentOptions,
    start_load: Box<StartLoad>,
    told_to_end: impl Future<Output = ()>,
) -> Result<(), AgentError> {
    let engine = Engine::new(options.abandoned_after.duration(), buffer::ROOM, start_load);
    let max_life = options.max_life.duration();
    let ended = tokio::select! {
        () = accept(listener, &engine) => Ok(()),
        () = told_to_end => Ok(()),
        why = engine.orphaned() => Err(match why {
            Orphaned::Unheard(after) => AgentError::Abandoned { after },
            Orphaned::LeaseEnded => AgentError::LeaseEnded,
        }),
        () = tokio::time::sleep(max_life) => Err(AgentError::TooOld(max_life)),
    };
    if tokio::time::timeout(STOP_WITHIN, engine.finish()).await.is_err() {
        tracing::warn!("requests were still open after {STOP_WITHIN:?}");
    }
    ended
}

/// Accepts connections, for ever.
async fn accept(listener: TcpListener, engine: &Arc<Engine>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.len() >= CONNECTIONS_MAX {
            connections.join_next().await;
        }
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(converse(stream, Arc::clone(engine)));
            }
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Answers the requests of one connection.
async fn converse(stream: TcpStream, engine: Arc<Engine>) {
    let service = service_fn(move |request| routes::answer(Arc::clone(&engine), request));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection broke off");
    }
}
