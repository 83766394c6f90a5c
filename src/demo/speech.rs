//! What the sample service speaks beside plain HTTP answers: streams of events, web sockets, and lines over bare TCP.
//! Each ends in order when the service is told to stop.

use std::{convert::Infallible, io, time::Duration};

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _, stream};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response, StatusCode, Version,
    body::Frame,
    header::{CONNECTION, CONTENT_TYPE, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE},
    upgrade::Upgraded,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::sleep,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::derive_accept_key,
        protocol::{CloseFrame, Role, frame::coding::CloseCode},
    },
};

use super::connection::Stage;

/// The body of an answer.
pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// The longest line.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// Connections for lines that are open at once.
const LINES_MAX: usize = 1_024;

/// A body that is there as a whole.
pub(super) fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed_unsync()
}

/// Events, one each `every`, for `length` in all.
pub(super) fn events(length: Duration, every: Duration) -> Response<Body> {
    let count = length.as_millis() / every.as_millis().max(1);
    let events = stream::unfold(0, move |nth| async move {
        if nth > count {
            return None;
        }
        if nth > 0 {
            sleep(every).await;
        }
        let last = if nth == count { "event: end\n" } else { "" };
        Some((Ok(Frame::data(Bytes::from(format!("{last}data: {nth}\n\n")))), nth + 1))
    });
    let mut response = Response::new(StreamBody::new(events).boxed_unsync());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response
}

/// The answer that gives a WebSocket, where the request asks for one.
pub(super) fn websocket<B>(request: &Request<B>) -> Response<Body> {
    // Over HTTP/2 there is no connection to hand over.
    let key = request.headers().get(SEC_WEBSOCKET_KEY).filter(|_| request.version() == Version::HTTP_11);
    let Some(key) = key else {
        let mut refusal = Response::new(whole("ask for a WebSocket\n"));
        *refusal.status_mut() = StatusCode::UPGRADE_REQUIRED;
        return refusal;
    };
    let mut response = Response::new(whole(""));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::try_from(derive_accept_key(key.as_bytes())) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

/// Sends each message back, until the client closes or the service is told to stop, which it says in order.
pub(super) async fn echo_messages(upgraded: Upgraded, mut stage: watch::Receiver<Stage>) {
    let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
    loop {
        let message = tokio::select! {
            biased;
            message = socket.next() => message,
            () = stopping(&mut stage) => {
                let goodbye = CloseFrame { code: CloseCode::Away, reason: "stopping".into() };
                // The client answers with a closing frame of its own, or is gone.
                if socket.close(Some(goodbye)).await.is_ok() {
                    while let Some(Ok(_)) = socket.next().await {}
                }
                return;
            }
        };
        match message {
            Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                if socket.send(message).await.is_err() {
                    return;
                }
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return,
        }
    }
}

/// Sends lines back on each connection, until the service is told to stop; a line that has come is still answered.
pub(super) async fn echo_lines(listener: TcpListener, mut stage: watch::Receiver<Stage>) -> io::Result<()> {
    let mut open = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stopping(&mut stage) => break,
            Some(_) = open.join_next() => continue,
            accepted = listener.accept(), if open.len() < LINES_MAX => accepted,
        };
        let (stream, _) = accepted?;
        stream.set_nodelay(true).ok();
        open.spawn(echo_connection(stream, stage.clone()));
    }
    while open.join_next().await.is_some() {}
    Ok(())
}

async fn echo_connection(stream: TcpStream, mut stage: watch::Receiver<Stage>) {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    loop {
        let line = tokio::select! {
            biased;
            line = line(&mut reader) => line,
            () = stopping(&mut stage) => return,
        };
        let Some(line) = line else { return };
        if writer.write_all(&line).await.is_err() {
            return;
        }
    }
}

/// Returns when the service has been told to stop, or is gone.
async fn stopping(stage: &mut watch::Receiver<Stage>) {
    _ = stage.wait_for(|stage| *stage != Stage::Serving).await;
}

/// The next line with its end; nothing at the end of the connection, or where the line is too long.
async fn line(reader: &mut BufReader<impl AsyncRead + Unpin>) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    let read = reader.take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await;
    (read.is_ok() && line.ends_with(b"\n")).then_some(line)
}
