//! The life of the sample service: boot, serve, drain.
//!
//! The signal handler comes before anything else, since PID 1 of a container has no default one: a SIGTERM without a
//! handler would be ignored and the pod killed only when its grace period ends.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{
    answer::Service,
    connection::{self, Stage},
    options::{DemoOptions, DrainStyle},
    speech,
};
use crate::experiment::units::Span;

/// Connections that the kernel may hold ready for us; more than any experiment opens within one turn of the loop.
const BACKLOG: u32 = 1_024;

/// Connections open at once, a bound on memory (some 20 kB each). The next one waits in the backlog.
const CONNECTIONS_MAX: usize = 4_096;

/// The pause after a failed `accept`. Out of file descriptors, an immediate retry would only spin.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Why the sample service could not serve.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The signal handlers could not be installed.
    #[error("cannot install a handler for SIGTERM and SIGINT")]
    Signal(#[source] io::Error),
    /// The address is taken, or not one of this machine's.
    #[error("cannot bind {address}; choose another with --address and --port")]
    Bind {
        /// What was to be bound.
        address: SocketAddr,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The bound socket could not be listened on.
    #[error("cannot listen")]
    Listen(#[source] io::Error),
    /// A name that is to go into a header holds characters that no header may have.
    #[error("{text:?} cannot be sent in a header; give {option} visible ASCII characters")]
    NotAHeader {
        /// Flag and variable that it came from.
        option: &'static str,
        /// The name.
        text: String,
    },
}

/// Runs the sample service until SIGTERM or SIGINT, then drains as the options say. Returning ends what is still open,
/// so the caller should exit soon after.
pub async fn serve(options: DemoOptions) -> Result<(), DemoError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(DemoError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(DemoError::Signal)?;
    let socket = reserve(SocketAddr::new(options.address, options.port))?;
    serve_on(socket, options, async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
    .await
}

/// Binds an address without listening: it is ours, and a connection to it is refused until [`serve_on`] has booted.
pub fn reserve(address: SocketAddr) -> Result<TcpSocket, DemoError> {
    let bind = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // A container that is restarted in place finds its predecessor's connections in TIME_WAIT.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(socket)
    };
    bind().map_err(|source| DemoError::Bind { address, source })
}

/// Runs the sample service on a bound socket until `stop`, then drains as the options say; `address` and `port` in them
/// are not looked at. A stop during boot ends it at once.
pub async fn serve_on(
    socket: TcpSocket,
    options: DemoOptions,
    stop: impl Future<Output = ()>,
) -> Result<(), DemoError> {
    let (drain, accept_late, drain_timeout) = (options.drain, options.accept_late, options.drain_timeout.duration());
    let booted = Instant::now() + options.boot.duration();
    let lines = options.tcp_port.map(|port| SocketAddr::new(options.address, port));
    let mut connections = Connections::new(options, booted)?;
    let mut stop = pin!(stop);
    tokio::select! {
        biased;
        () = &mut stop => return Ok(()),
        () = tokio::time::sleep_until(booted) => {}
    }
    let listener = socket.listen(BACKLOG).map_err(DemoError::Listen)?;
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "listening");
    }
    if let Some(address) = lines {
        let listener = reserve(address)?.listen(BACKLOG).map_err(DemoError::Listen)?;
        let stage = connections.stage.subscribe();
        connections.tasks.spawn(async move { drop(speech::echo_lines(listener, stage).await) });
    }

    connections.accept(&listener, stop).await;
    tracing::info!(open = connections.tasks.len(), ?drain, "told to stop");
    match drain {
        DrainStyle::Exit => {}
        DrainStyle::Finish => {
            connections.take_backlog(listener);
            connections.finish(drain_timeout).await;
        }
        DrainStyle::Close => {
            connections.stage.send_replace(Stage::Closing);
            connections.accept(&listener, pin!(sleep(accept_late.duration()))).await;
            connections.take_backlog(listener);
            connections.all_closed(drain_timeout).await;
            connections.finish(drain_timeout).await;
        }
    }
    tracing::info!(cut = connections.tasks.len(), "exiting");
    Ok(())
}

/// Waits, then returns: what `sleep` is in an image that has no shell, for `preStop` hooks.
pub async fn pause(span: Span) {
    sleep(span.duration()).await;
}

/// The open connections, each a task. Dropping it cuts them.
struct Connections {
    tasks: JoinSet<()>,
    stage: watch::Sender<Stage>,
    service: Arc<Service>,
}

impl Connections {
    fn new(options: DemoOptions, booted: Instant) -> Result<Self, DemoError> {
        let stage = watch::Sender::new(Stage::Serving);
        let ready_at = booted + options.ready_after.duration();
        let service = Arc::new(Service::new(options, ready_at, stage.subscribe())?);
        Ok(Self { tasks: JoinSet::new(), stage, service })
    }

    /// Accepts connections until a future ends.
    async fn accept(&mut self, listener: &TcpListener, mut until: Pin<&mut impl Future<Output = ()>>) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut until => return,
                Some(_) = self.tasks.join_next() => continue,
                accepted = listener.accept(), if self.tasks.len() < CONNECTIONS_MAX => accepted,
            };
            match accepted {
                Ok((stream, _)) => self.open(stream),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::select! {
                        () = &mut until => return,
                        () = sleep(ACCEPT_RETRY) => {}
                    }
                }
            }
        }
    }

    /// Closes a listener, having taken the connections that the kernel had already accepted for it. They would be reset
    /// otherwise, though their clients did nothing wrong.
    fn take_backlog(&mut self, listener: TcpListener) {
        let Ok(listener) = listener.into_std() else { return };
        for _ in 0..BACKLOG {
            // The listener is non-blocking, so the first error is the end of what was waiting.
            let Ok((stream, _)) = listener.accept() else { return };
            match stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream)) {
                Ok(stream) => self.open(stream),
                Err(error) => tracing::warn!(%error, "cannot serve an accepted connection"),
            }
        }
    }

    fn open(&mut self, stream: TcpStream) {
        // Without this an answer in two segments would wait for the client's delayed acknowledgement, 40 ms.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        self.tasks.spawn(connection::serve(stream, Arc::clone(&self.service), self.stage.subscribe()));
    }

    /// Closes idle connections and waits for the busy ones to end their request.
    async fn finish(&mut self, at_most: Duration) {
        self.stage.send_replace(Stage::Finishing);
        self.all_closed(at_most).await;
    }

    async fn all_closed(&mut self, at_most: Duration) {
        let closed = timeout(at_most, async { while self.tasks.join_next().await.is_some() {} });
        if closed.await.is_err() {
            tracing::warn!(open = self.tasks.len(), "connections are still open at the end of --drain-timeout");
        }
    }
}
