//! Requests over HTTP/2, and unary gRPC calls among them: each connection carries one at a time, so that what becomes of
//! a request is that of its stream alone.
//!
//! gRPC needs no more of its own than five bytes before a message and a status behind the answer.

use std::{
    cell::RefCell,
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::FutureExt as _;
use h2::{
    Reason, RecvStream,
    client::{Builder, Connection, SendRequest},
};
use hyper::{
    HeaderMap, Request,
    header::{CONTENT_TYPE, HeaderValue, TE, USER_AGENT},
    http::uri::PathAndQuery,
};
use tokio::{
    task::{AbortHandle, spawn_local},
    time::Instant,
};

use super::{
    answer::{Answer, Broken, Found, POD_HEADER, Seen, ending},
    classify::Break,
    deadline::Deadline,
    exchange::Template,
    wire::Wire,
};

/// Bytes that may be on their way to us without being acknowledged, of a stream and of a connection: enough that no
/// answer of a usual size waits for us.
const WINDOW: u32 = 1 << 20;

/// The header with a gRPC call's status; 0 is success.
const GRPC_STATUS: &str = "grpc-status";

/// The header with a gRPC call's words on its status.
const GRPC_MESSAGE: &str = "grpc-message";

/// What says that a stream was refused before the service saw it.
fn was_not_begun(error: &h2::Error) -> bool {
    // After GOAWAY only streams above the last that the server took up end in it without having been reset.
    error.reason() == Some(Reason::REFUSED_STREAM)
        || (error.is_go_away() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR))
}

/// A connection. Dropping it closes the socket.
#[derive(Debug)]
pub(super) struct Http2 {
    sender: SendRequest<Bytes>,
    drive: Rc<Drive>,
    driver: AbortHandle,
}

impl Drop for Http2 {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// What reads and writes a connection: a task of its own, and a request at its beginning.
#[derive(Debug)]
struct Drive {
    connection: RefCell<Option<Connection<Wire, Bytes>>>,
    // The task's, so that it is told of whatever the connection waits for.
    waker: RefCell<Waker>,
}

impl Drive {
    /// The task: it ends with the connection.
    async fn run(self: Rc<Self>) {
        poll_fn(|cx| {
            self.waker.borrow_mut().clone_from(cx.waker());
            self.turn()
        })
        .await;
    }

    /// Reads what has come, and writes what is to go.
    fn turn(&self) -> Poll<()> {
        let waker = self.waker.borrow().clone();
        let mut connection = self.connection.borrow_mut();
        let Some(open) = connection.as_mut() else { return Poll::Ready(()) };
        // What goes wrong under a request is told to that request; what goes wrong without one loses nothing.
        let turned = open.poll_unpin(&mut Context::from_waker(&waker)).map(drop);
        if turned.is_ready() {
            *connection = None;
        }
        turned
    }
}

impl Http2 {
    /// Agrees on HTTP/2 over a new connection, without asking for it first (prior knowledge, or TLS has).
    pub(super) async fn agree(wire: Wire) -> Result<Self, h2::Error> {
        let mut builder = Builder::new();
        builder.enable_push(false).initial_window_size(WINDOW).initial_connection_window_size(WINDOW);
        let (sender, connection) = builder.handshake(wire).await?;
        let drive =
            Rc::new(Drive { connection: RefCell::new(Some(connection)), waker: RefCell::new(Waker::noop().clone()) });
        let driver = spawn_local(Rc::clone(&drive).run()).abort_handle();
        Ok(Self { sender, drive, driver })
    }

    /// Whether another request may be sent, as far as is known here.
    pub(super) fn is_open(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        !matches!(self.sender.poll_ready(&mut cx), Poll::Ready(Err(_)))
    }

    /// Whether its server has said goodbye, in what has come by now. A request that is sent at once after this found
    /// that it has not goes out before the server can be told that its goodbye was seen, and so is answered.
    pub(super) fn has_gone(&mut self) -> bool {
        self.drive.turn().is_ready() || !self.is_open()
    }

    /// Sends a request and reads its answer, until `deadline` passes. `pod` learns the name of the pod that answers.
    pub(super) async fn exchange(
        &mut self,
        template: &Template,
        id: Option<&str>,
        pod: &mut Option<String>,
        deadline: &Deadline,
    ) -> Answer {
        let mut seen = Seen::default();
        let ended = deadline.limit(self.converse(template, id, pod, &mut seen)).await;
        let (ending, error) = ending(ended);
        Answer { ending, keeps_alive: self.is_open(), says_close: false, error, seen }
    }

    async fn converse(
        &mut self,
        template: &Template,
        id: Option<&str>,
        pod: &mut Option<String>,
        seen: &mut Seen,
    ) -> Result<Found, Broken> {
        let request = request(template, id)?;
        let mut sender = self.sender.clone().ready().await.map_err(broken)?;
        let message = template.call().map(|call| framed(&call.message(id)));
        let (response, mut stream) = sender.send_request(request, message.is_none()).map_err(broken)?;
        (seen.bytes_out, seen.written) = (1, Some(Instant::now()));
        if let Some(message) = message {
            stream.send_data(message, true).map_err(broken)?;
        }
        // At once: a goodbye that is read before the request is written would be answered before it, and end it.
        _ = self.drive.turn();
        let response = response.await.map_err(|error| unless_begun(error, seen))?;
        let (head, mut body) = response.into_parts();
        (seen.status, seen.bytes_in) = (Some(head.status.as_u16()), 1);
        if let Some(name) = head.headers.get(POD_HEADER).and_then(|name| name.to_str().ok()) {
            pod.get_or_insert_with(|| name.to_owned());
        }
        let (mut checking, mut length) = (template.begin_check(id), 0);
        while let Some(piece) = body.data().await {
            let piece = piece.map_err(broken)?;
            length += piece.len() as u64;
            checking.feed(&piece);
            seen.bytes_in += piece.len() as u64;
            body.flow_control().release_capacity(piece.len()).map_err(broken)?;
        }
        if template.call().is_some() {
            call_status(&head.headers, &mut body).await?;
        }
        Ok(Found::Whole(checking.verdict(length)))
    }
}

/// A gRPC call's own status, which stands behind its answer, or in its head where there is no message.
async fn call_status(head: &HeaderMap, body: &mut RecvStream) -> Result<(), Broken> {
    let trailers = body.trailers().await.map_err(broken)?;
    let of = |name: &str| {
        let value = trailers.as_ref().and_then(|trailers| trailers.get(name)).or_else(|| head.get(name));
        value.and_then(|value| value.to_str().ok())
    };
    match of(GRPC_STATUS) {
        Some("0") => Ok(()),
        Some(status) => {
            let words = format!("grpc-status {status} {}", of(GRPC_MESSAGE).unwrap_or_default());
            Err(Broken { kind: Break::CallFailed, words: words.trim_end().to_owned() })
        }
        None => Err(Broken { kind: Break::Unreadable, words: "the answer has no grpc-status".to_owned() }),
    }
}

fn request(template: &Template, id: Option<&str>) -> Result<Request<()>, Broken> {
    let target = template.target(id);
    let unreadable = |_| Broken { kind: Break::Unreadable, words: format!("`{target}` is no path") };
    let path: PathAndQuery = target.parse().map_err(unreadable)?;
    let scheme = if template.is_secure() { "https" } else { "http" };
    let uri = hyper::Uri::builder().scheme(scheme).authority(template.host()).path_and_query(path).build();
    let mut request = Request::new(());
    *request.uri_mut() = uri.map_err(|error| Broken { kind: Break::Unreadable, words: error.to_string() })?;
    let headers = request.headers_mut();
    headers.insert(USER_AGENT, HeaderValue::from_static(super::exchange::AGENT));
    if template.call().is_some() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
        *request.method_mut() = hyper::Method::POST;
    }
    Ok(request)
}

/// A gRPC message as it goes over the wire: not compressed, its length, itself.
fn framed(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(5 + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(message);
    framed.freeze()
}

fn unless_begun(error: h2::Error, seen: &mut Seen) -> Broken {
    if was_not_begun(&error) {
        seen.bytes_out = 0;
    }
    broken(error)
}

fn broken(error: h2::Error) -> Broken {
    let ours = error.is_library() && error.reason().is_some_and(|reason| reason != Reason::NO_ERROR);
    Broken { kind: if ours { Break::Unreadable } else { Break::Closed }, words: error.to_string() }
}
