//! Opening one connection, and holding it. There is no pool below this one and nothing that sends again in silence.

use std::{future, io, rc::Rc};

use rustix::io::Errno;
use tokio::{net::TcpStream, time::Instant};

use super::{
    lane::{Destination, Route},
    source::{Source, Sources},
    tls::{Tls, TlsError},
    wire::{Stream, Wire},
};

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum OpenError {
    /// The system's own error.
    System(io::Error),
    /// Connected, and no agreement on TLS.
    Tls(TlsError),
}

/// An open connection. Dropping it closes the socket.
#[derive(Debug)]
pub(super) struct Connection {
    /// What goes over it.
    pub(super) wire: Wire,
    /// When it was established.
    pub(super) opened: Instant,
    /// Requests that it has carried to their end.
    pub(super) uses: u32,
    /// The pod at the other end, once an answer has named it.
    pub(super) pod: Option<String>,
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
}

impl Way {
    /// Connects to wherever the route leads now. Without an end where it leads into silence: the caller bounds the time.
    pub(super) async fn open(&self) -> Result<Connection, OpenError> {
        let (stream, source) = self.reach().await.map_err(OpenError::System)?;
        let stream = match &self.tls {
            None => Stream::Plain(stream),
            Some(tls) => Stream::Tls(Box::new(tls.agree(stream).await.map_err(OpenError::Tls)?)),
        };
        Ok(Connection { wire: Wire::new(stream), opened: Instant::now(), uses: 0, pod: None, source })
    }

    async fn reach(&self) -> io::Result<(TcpStream, Option<Source>)> {
        match self.route.pick() {
            Destination::Address { address, delay } => {
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
        self.wire.is_quiet()
    }
}
