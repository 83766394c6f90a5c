//! Opening one HTTP/1.1 connection, and holding it.
//!
//! hyper is driven at the level of connections: no pool of its own, and nothing that sends again in silence.

use std::{future, io, rc::Rc};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustix::io::Errno;
use tokio::{
    task::{AbortHandle, spawn_local},
    time::Instant,
};

use super::{
    lane::{Destination, Route},
    source::{Source, Sources},
    wire::{CountedStream, Wire},
};

/// The most that hyper may buffer of a connection; a longer head is not HTTP to us. Keeps memory flat.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum OpenError {
    /// The system's own error.
    System(io::Error),
    /// hyper's error, before anything was sent.
    Http(hyper::Error),
}

/// An open connection, driven by a task of its own. Dropping it closes the socket.
pub(super) struct Connection {
    /// The way in for requests.
    pub(super) sender: SendRequest<Empty<Bytes>>,
    /// What went over it.
    pub(super) wire: Rc<Wire>,
    /// When it was established.
    pub(super) opened: Instant,
    /// Requests that it has carried to their end.
    pub(super) uses: u32,
    /// The pod at the other end, once an answer has named it.
    pub(super) pod: Option<String>,
    source: Option<Source>,
    driver: AbortHandle,
}

impl Connection {
    /// Connects to wherever the route leads now. Without an end where it leads into silence: the caller bounds the time.
    pub(super) async fn open(route: &Route, sources: &Rc<Sources>) -> Result<Self, OpenError> {
        let (stream, source) = match route.pick() {
            Destination::Address { address, delay } => {
                if !delay.is_zero() {
                    tokio::time::sleep(delay).await;
                }
                sources.connect(address).await.map_err(OpenError::System)?
            }
            // The system's own error, so that it is told apart from whatever this process itself could not do.
            Destination::Refused => return Err(OpenError::System(Errno::CONNREFUSED.into())),
            Destination::Silent => future::pending().await,
        };
        let opened = Instant::now();
        let wire = Rc::new(Wire::default());
        let io = TokioIo::new(CountedStream::new(stream, Rc::clone(&wire)));
        let (sender, connection) =
            http1::Builder::new().max_buf_size(BUFFER_BYTES_MAX).handshake(io).await.map_err(OpenError::Http)?;
        // What goes wrong under a request is told to that request; what goes wrong without one loses nothing.
        let driver = spawn_local(async move { drop(connection.await) }).abort_handle();
        Ok(Self { sender, wire, opened, uses: 0, pod: None, source, driver })
    }

    /// Notes that both sides are done with it, and closes it.
    pub(super) fn end_well(mut self) {
        if let Some(source) = &mut self.source {
            source.ended_well();
        }
    }

    /// Whether it has not been closed, as far as is known here.
    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
