//! Opening one connection, and holding it. There is no pool below this one and nothing that sends again in silence.

use std::{
    cell::Cell,
    error::Error,
    future, io,
    net::SocketAddr,
    rc::Rc,
    sync::{Arc, atomic::AtomicU64},
};

use rustix::io::Errno;
use tokio::{net::TcpStream, time::Instant};

use super::{
    http2::Http2,
    lane::{Destination, Protocol, Route},
    source::{Source, Sources},
    tls::{Tls, TlsError},
    websocket::WebSocket,
    wire::{Counts, Stream, Wire},
};

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum OpenError {
    /// The system's own error.
    System(io::Error),
    /// Connected, and no agreement on TLS.
    Tls(TlsError),
    /// Connected, and no agreement on what is spoken over it.
    Speech {
        /// The status with which it was refused, where that was said in HTTP.
        status: Option<u16>,
        /// In words.
        words: String,
    },
}

impl OpenError {
    /// No agreement, and no status either.
    pub(super) fn speech(error: &dyn Error) -> Self {
        Self::Speech { status: None, words: crate::failure::chain(error) }
    }
}

/// How far the making of a connection has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// What is being done: what its time ran out in.
    pub(super) stage: Stage,
    /// Its two ends, as far as they are known.
    pub(super) ends: Ends,
}

/// The addresses of a connection's two ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Ends {
    /// Ours, once it is established.
    pub(super) local: Option<SocketAddr>,
    /// Where it leads; nothing where that is nowhere.
    pub(super) peer: Option<SocketAddr>,
}

/// What is done in the making of a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nobody has answered yet.
    #[default]
    Connecting,
    /// The peer is there, and the two agree on TLS.
    Tls,
    /// The peer is there, and the two agree on what is spoken.
    Speech,
}

/// What is spoken over a connection.
#[derive(Debug)]
pub(super) enum Link {
    /// HTTP/1.1.
    Http1(Wire),
    /// HTTP/2, and gRPC over it.
    Http2(Http2),
    /// Messages of a WebSocket.
    WebSocket(Box<WebSocket>),
    /// A line there and a line back.
    Lines(Wire),
}

/// An open connection. Dropping it closes the socket.
#[derive(Debug)]
pub(super) struct Connection {
    /// What is spoken over it.
    pub(super) link: Link,
    /// What has gone over it.
    pub(super) counts: Rc<Counts>,
    /// When the peer had accepted it.
    pub(super) accepted: Instant,
    /// When it was established: with TLS and the agreement on what is spoken, where there is such.
    pub(super) opened: Instant,
    /// Requests that it has carried to their end.
    pub(super) uses: u32,
    /// The pod at the other end, once an answer has named it.
    pub(super) pod: Option<String>,
    /// Its two ends.
    pub(super) ends: Ends,
    source: Option<Source>,
}

/// How connections of a lane are made.
#[derive(Debug)]
pub(super) struct Way {
    /// Where they lead.
    pub(super) route: Route,
    /// Where they come from.
    pub(super) sources: Rc<Sources>,
    /// How they are kept private, where they are.
    pub(super) tls: Option<Tls>,
    /// What is spoken over them.
    pub(super) protocol: Protocol,
    /// What a WebSocket is asked for with: `ws://host/path`.
    pub(super) address: String,
    /// Connections older than this, in nanoseconds of the generator's clock, do not go on.
    pub(super) renewed_ns: Arc<AtomicU64>,
}

impl Way {
    /// Connects to wherever the route leads now, and notes in `progress` how far that has come. Without an end where it
    /// leads into silence: the caller bounds the time.
    pub(super) async fn open(&self, progress: &Cell<Progress>) -> Result<Connection, OpenError> {
        let (stream, source) = self.reach(progress).await.map_err(OpenError::System)?;
        let accepted = Instant::now();
        let mut ends = progress.get().ends;
        ends.local = stream.local_addr().ok();
        let stream = match &self.tls {
            None => Stream::Plain(stream),
            Some(tls) => {
                progress.set(Progress { stage: Stage::Tls, ends });
                Stream::Tls(Box::new(tls.agree(stream).await.map_err(OpenError::Tls)?))
            }
        };
        progress.set(Progress { stage: Stage::Speech, ends });
        let counts = Rc::new(Counts::default());
        let wire = Wire::new(stream, Rc::clone(&counts));
        let mut pod = None;
        let link = match self.protocol {
            Protocol::Http1 => Link::Http1(wire),
            Protocol::Http2 | Protocol::Grpc => {
                Link::Http2(Http2::agree(wire).await.map_err(|error| OpenError::speech(&error))?)
            }
            Protocol::WebSocket => Link::WebSocket(Box::new(WebSocket::agree(wire, &self.address, &mut pod).await?)),
            Protocol::Tcp => Link::Lines(wire),
        };
        // Nothing is waited for where nothing is to be agreed on, so the clock is read once.
        let at_once = self.tls.is_none() && matches!(self.protocol, Protocol::Http1 | Protocol::Tcp);
        let opened = if at_once { accepted } else { Instant::now() };
        Ok(Connection { link, counts, accepted, opened, uses: 0, pod, ends, source })
    }

    async fn reach(&self, progress: &Cell<Progress>) -> io::Result<(TcpStream, Option<Source>)> {
        match self.route.pick() {
            Destination::Address { address, delay } => {
                let ends = Ends { local: None, peer: Some(address) };
                progress.set(Progress { stage: Stage::Connecting, ends });
                if !delay.is_zero() {
                    tokio::time::sleep(delay).await;
                }
                self.sources.connect(address).await
            }
            // The system's own error, so that it is told apart from whatever this process itself could not do.
            Destination::Refused => Err(Errno::CONNREFUSED.into()),
            Destination::Silent => future::pending().await,
        }
    }
}

impl Connection {
    /// Notes that both sides are done with it, and closes it.
    pub(super) fn end_well(mut self) {
        if let Some(source) = &mut self.source {
            source.ended_well();
        }
    }

    /// Whether it has not been closed, as far as is known here.
    pub(super) fn is_open(&mut self) -> bool {
        match &mut self.link {
            Link::Http1(wire) | Link::Lines(wire) => wire.is_quiet(),
            Link::Http2(link) => link.is_open(),
            Link::WebSocket(link) => link.is_open(),
        }
    }

    /// Whether its peer has said, since it was last looked at, that it takes no more requests. Only HTTP/2 can say so
    /// without closing, and a client that knows of its GOAWAY sends elsewhere (RFC 9113, section 6.8).
    pub(super) fn has_gone(&mut self) -> bool {
        match &mut self.link {
            Link::Http2(link) => link.has_gone(),
            Link::Http1(_) | Link::WebSocket(_) | Link::Lines(_) => false,
        }
    }
}
