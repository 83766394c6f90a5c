//! The API on a loopback port: TLS, a token, and bounds on everything a client can take.

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hyper::{
    Request, Response,
    body::Incoming,
    header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
    time::{Instant, Sleep},
};
use tokio_rustls::TlsAcceptor;

use super::{
    Answer, Api, Caller, answer, kubeconfig,
    route::{Route, route},
    tls::{self, TlsError},
    tokens,
};
use crate::sandbox::error::ApiError;

/// Connections at once: a hundred watchers of ten kinds each, and more.
const CONNECTIONS_MAX: usize = 2_048;
/// How long a client may take to agree on keys.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// How long a connection may be idle, or take to send the head of a request.
const IDLE_MAX: Duration = Duration::from_secs(300);
/// The head of a request, in bytes.
const HEAD_MAX: usize = 128 * 1024;
/// A client that takes nothing for so long is cut.
const UNREAD_MAX: Duration = Duration::from_secs(30);
/// A pause after a connection could not be accepted, as without descriptors: there is nothing to wait for.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// The API could not be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The port can't be had.
    #[error("failed to listen on 127.0.0.1:{port} for the Kubernetes API; choose another port, or let one be chosen")]
    Listen {
        /// The port that was asked for; 0 for any.
        port: u16,
        /// Why.
        source: io::Error,
    },
    /// There is no certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// The API on a port. Ends with its last owner.
pub struct ApiServer {
    address: SocketAddr,
    token: String,
    ca_pem: String,
    accepting: JoinHandle<()>,
}

impl ApiServer {
    /// Serves the API on 127.0.0.1, on a port of one's own choice, or any with 0.
    ///
    /// # Errors
    /// When the port can't be had.
    pub async fn start(api: Arc<Api>, port: u16) -> Result<Self, ServeError> {
        let listen = |source| ServeError::Listen { port, source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let tls = tls::make()?;
        let token = tokens::fresh();
        let gate = Arc::new(Gate { api, token: token.clone() });
        let accepting = tokio::spawn(accept(listener, TlsAcceptor::from(tls.config), gate));
        Ok(Self { address, token, ca_pem: tls.ca_pem, accepting })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The administrator's token.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The authority that vouches for its certificate, as PEM; also what `kube-root-ca.crt` is to hold.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// A kubeconfig for it, whose only context has this name.
    #[must_use]
    pub fn kubeconfig(&self, name: &str) -> String {
        kubeconfig::kubeconfig(name, &self.url(), &self.ca_pem, &self.token)
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        // The connections go with the task that holds them.
        self.accepting.abort();
    }
}

/// Lets in whoever has a token.
struct Gate {
    api: Arc<Api>,
    token: String,
}

impl Gate {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        match self.caller(&request) {
            Some(caller) => self.api.handle_as(caller, request).await,
            // What load balancers and people ask before they have a token.
            None if matches!(route(request.uri().path()), Route::Health | Route::Version) => {
                self.api.handle(request).await
            }
            None => unauthorized(),
        }
    }

    fn caller(&self, request: &Request<Incoming>) -> Option<Caller> {
        let value = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
        let (scheme, token) = value.split_once(' ')?;
        let token = token.trim();
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        if tokens::same(token, &self.token) { Some(Caller::admin()) } else { self.api.tokens.caller(token) }
    }
}

fn unauthorized() -> Answer {
    let error = ApiError {
        code: 401,
        reason: "Unauthorized",
        message: "Unauthorized".to_owned(),
        details: serde_json::Value::Null,
    };
    let mut answer = answer::refusal(&error);
    answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    answer
}

/// Accepts connections, for ever.
async fn accept(listener: TcpListener, acceptor: TlsAcceptor, gate: Arc<Gate>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.len() >= CONNECTIONS_MAX {
            connections.join_next().await;
        }
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(converse(stream, acceptor.clone(), Arc::clone(&gate)));
            }
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection to the API");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Answers the requests of one connection.
async fn converse(stream: TcpStream, acceptor: TlsAcceptor, gate: Arc<Gate>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "answers may be held back a little");
    }
    let handshake = acceptor.accept(Impatient::new(stream));
    let stream = match tokio::time::timeout(HANDSHAKE_WITHIN, handshake).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%error, "a client does not speak TLS as we do");
            return;
        }
        Err(_) => return,
    };
    let service = service_fn(move |request| {
        let gate = Arc::clone(&gate);
        async move { Ok::<Response<_>, Infallible>(gate.answer(request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_MAX)
        .max_buf_size(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to the API broke off");
    }
}

/// A stream that fails once the other side has taken nothing for [`UNREAD_MAX`], so that a client which does not read
/// its watch does not hold a connection for ever.
struct Impatient {
    stream: TcpStream,
    patience: Pin<Box<Sleep>>,
    waiting: bool,
}

impl Impatient {
    fn new(stream: TcpStream) -> Self {
        Self { stream, patience: Box::pin(tokio::time::sleep(Duration::ZERO)), waiting: false }
    }

    fn judge<T>(&mut self, context: &mut Context<'_>, tried: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if tried.is_ready() {
            self.waiting = false;
            return tried;
        }
        if !std::mem::replace(&mut self.waiting, true) {
            self.patience.as_mut().reset(Instant::now() + UNREAD_MAX);
        }
        match self.patience.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read"))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Impatient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Impatient {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let tried = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(context, tried)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn a_client_that_does_not_read_is_cut() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut server = Impatient::new(listener.accept().await.unwrap().0);
        let piece = vec![0; 1024 * 1024];
        // Until nothing fits any more into what the system keeps for the client.
        let full = async { while server.write_all(&piece).await.is_ok() {} };
        assert!(tokio::time::timeout(Duration::from_millis(500), full).await.is_err());
        tokio::time::pause();
        let error = server.write_all(&piece).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(client);
    }
}
