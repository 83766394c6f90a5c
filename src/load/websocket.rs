//! Messages over a WebSocket: one there, one back, on a connection that both sides keep.

use std::task::{Context, Poll, Waker};

use futures::{Sink as _, SinkExt as _, Stream as _, StreamExt as _};
use tokio::time::Instant;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message},
};

use super::{
    answer::{Answer, Broken, Found, POD_HEADER, Seen, ending},
    classify::Ending,
    connection::OpenError,
    deadline::Deadline,
    exchange::Template,
    wire::Wire,
};

/// Pings and the like that may stand before a message, so that no server keeps us busy with them.
const OTHERS_MAX: usize = 1_000;

/// A WebSocket.
pub(super) struct WebSocket(WebSocketStream<Wire>);

impl std::fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WebSocket")
    }
}

impl WebSocket {
    /// Asks for a WebSocket at `address` over a new connection; `pod` learns the name of the pod that gives it.
    pub(super) async fn agree(wire: Wire, address: &str, pod: &mut Option<String>) -> Result<Self, OpenError> {
        match client_async(address, wire).await {
            Ok((stream, response)) => {
                let name = response.headers().get(POD_HEADER).and_then(|name| name.to_str().ok());
                *pod = name.map(str::to_owned);
                Ok(Self(stream))
            }
            Err(Error::Http(response)) => {
                let status = response.status().as_u16();
                Err(OpenError::Speech { status: Some(status), words: format!("no WebSocket, but status {status}") })
            }
            Err(error) => Err(OpenError::speech(&error)),
        }
    }

    /// Whether it has neither been closed nor said anything of its own, as far as is known here.
    pub(super) fn is_open(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..OTHERS_MAX {
            match std::pin::Pin::new(&mut self.0).poll_next(&mut cx) {
                Poll::Ready(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => {}
                Poll::Ready(_) => return false,
                Poll::Pending => return true,
            }
        }
        false
    }

    /// Sends a message and waits for one, until `deadline` passes.
    pub(super) async fn exchange(&mut self, template: &Template, id: Option<&str>, deadline: &Deadline) -> Answer {
        let mut seen = Seen::default();
        let mut says_close = false;
        let ended = deadline.limit(self.converse(template, id, &mut seen, &mut says_close)).await;
        let (ending, error) = ending(ended);
        let keeps_alive = matches!(ending, Ending::Whole(_));
        Answer { ending, seen, says_close, keeps_alive, error }
    }

    async fn converse(
        &mut self,
        template: &Template,
        id: Option<&str>,
        seen: &mut Seen,
        says_close: &mut bool,
    ) -> Result<Found, Broken> {
        futures::future::poll_fn(|cx| std::pin::Pin::new(&mut self.0).poll_ready(cx)).await.map_err(broken)?;
        (seen.bytes_out, seen.written) = (1, Some(Instant::now()));
        self.0.send(Message::text(template.payload(id))).await.map_err(broken)?;
        for _ in 0..OTHERS_MAX {
            let message = match self.0.next().await {
                Some(Ok(message)) => message,
                Some(Err(error)) => return Err(broken(error)),
                None => return Err(Broken::closed("the WebSocket was closed")),
            };
            let bytes = match &message {
                Message::Text(text) => text.as_bytes(),
                Message::Binary(bytes) => bytes,
                Message::Close(frame) => {
                    *says_close = true;
                    let why = frame.as_ref().map_or_else(String::new, |frame| format!(": {frame}"));
                    return Err(Broken::closed(format!("the WebSocket was closed by its server{why}")));
                }
                _ => continue,
            };
            // A message without a byte is an answer too.
            seen.bytes_in = bytes.len().max(1) as u64;
            let mut checking = template.begin_check(id);
            checking.feed(bytes);
            return Ok(Found::Whole(checking.verdict(bytes.len() as u64)));
        }
        Err(Broken::unreadable("the WebSocket sends only pings"))
    }
}

fn broken(error: Error) -> Broken {
    match error {
        Error::Io(_) | Error::ConnectionClosed | Error::AlreadyClosed => Broken::closed(error),
        // A connection that ends without a closing frame is a connection that ended.
        Error::Protocol(problem) if problem.to_string().contains("without closing handshake") => {
            Broken::closed(problem)
        }
        error => Broken::unreadable(error),
    }
}
