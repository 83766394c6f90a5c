//! `pods/exec` over `WebSockets` (client-go/tools/remotecommand/{websocket,v5}.go, apimachinery/pkg/util/remotecommand,
//! v0.34.4): each message begins with the number of its channel.

use bytes::{BufMut, Bytes, BytesMut};
use futures::{SinkExt, StreamExt, stream::SplitSink};
use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Response, StatusCode,
    header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE},
    upgrade::Upgraded,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::sync::mpsc::{self, error::SendError};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message, Utf8Bytes,
        handshake::derive_accept_key,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

use super::{
    access::{ExecEnd, ExecOutput, ExecRequest, ExecSession},
    answer::Answer,
    call::Call,
    logs,
};
use crate::sandbox::{error::ApiError, kinds};

/// The protocols that are spoken, the best one first.
const PROTOCOLS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];

/// The longest message that a client may send.
const MESSAGE_MAX: usize = 1024 * 1024;

/// The channels of messages.
mod channel {
    pub(super) const STDIN: u8 = 0;
    pub(super) const STDOUT: u8 = 1;
    pub(super) const STDERR: u8 = 2;
    pub(super) const ERROR: u8 = 3;
    /// Since v5: the channel in the next byte is closed.
    pub(super) const CLOSE: u8 = 255;
}

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Runs a program in a container and connects it to the client.
pub(super) async fn answer(call: &mut Call<'_>) -> Result<Answer, ApiError> {
    let pod = call.api.registry.get(&kinds::POD, &call.path.namespace, &call.path.name)?;
    let container = logs::container(&pod, call.query.get("container"))?;
    let command: Vec<String> = call.query.all("command").map(str::to_owned).collect();
    if command.is_empty() {
        return Err(ApiError::bad_request("you must specify at least one command for the container"));
    }
    let flag = |name: &str| call.query.flag(name);
    if !(flag("stdin") || flag("stdout") || flag("stderr")) {
        return Err(ApiError::bad_request("you must specify at least one of stdin, stdout, stderr"));
    }
    let request = ExecRequest { container, command, stdin: flag("stdin"), tty: flag("tty") };
    // Before the protocol is looked at: kubectl tries another one after each refusal, and shows what the last was told.
    call.api.pods()?.may_exec(&request)?;
    let (protocol, key) = handshake(&call.headers)?;
    let upgrade = call.upgrade.take().ok_or_else(|| ApiError::bad_request("unable to upgrade: not a connection"))?;
    let shown = Shown { stdout: flag("stdout"), stderr: flag("stderr") };
    let command = request.command.clone();
    let session = call.api.pods()?.exec(&request).await?;
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => {
                let config = WebSocketConfig::default().max_message_size(Some(MESSAGE_MAX));
                let io = TokioIo::new(upgraded);
                let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
                converse(socket, session, shown, &command).await;
            }
            Err(error) => tracing::debug!(%error, "a client that wanted to run a program went away"),
        }
    });
    switched(protocol, &key)
}

/// What of a program's output the client wants.
#[derive(Clone, Copy)]
struct Shown {
    stdout: bool,
    stderr: bool,
}

/// The protocol that both sides speak, and the client's key.
fn handshake(headers: &HeaderMap) -> Result<(&'static str, String), ApiError> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
    if !text(UPGRADE).eq_ignore_ascii_case("websocket") {
        return Err(ApiError::bad_request("unable to upgrade: the evenkeel sandbox takes WebSocket connections alone"));
    }
    let key = text(SEC_WEBSOCKET_KEY);
    if key.is_empty() {
        return Err(ApiError::bad_request("unable to upgrade: Sec-WebSocket-Key is missing"));
    }
    let offered: Vec<&str> = text(SEC_WEBSOCKET_PROTOCOL).split(',').map(str::trim).collect();
    let spoken = PROTOCOLS.iter().find(|protocol| offered.contains(protocol));
    let spoken = spoken.ok_or_else(|| {
        ApiError::bad_request(format!(
            "unable to upgrade: unable to negotiate protocol: client supports {offered:?}, server accepts {PROTOCOLS:?}"
        ))
    })?;
    Ok((spoken, key.to_owned()))
}

fn switched(protocol: &'static str, key: &str) -> Result<Answer, ApiError> {
    let mut answer = Response::new(Full::new(Bytes::new()).map_err(|never| match never {}).boxed_unsync());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes())).map_err(ApiError::internal)?;
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    Ok(answer)
}

/// Carries input and output until the program has ended or the client has gone.
async fn converse(socket: Socket, session: ExecSession, shown: Shown, command: &[String]) {
    let ExecSession { mut stdin, mut output, end } = session;
    let (mut to_client, mut from_client) = socket.split();
    // Input that the program has no room for yet. Meanwhile no more is read, but its output still is: it may be what
    // the program waits for.
    let mut held: Option<Bytes> = None;
    loop {
        tokio::select! {
            written = output.recv() => {
                let sent = match written {
                    Some(ExecOutput::Stdout(bytes)) if shown.stdout => {
                        send(&mut to_client, channel::STDOUT, &bytes).await
                    }
                    Some(ExecOutput::Stderr(bytes)) if shown.stderr => {
                        send(&mut to_client, channel::STDERR, &bytes).await
                    }
                    Some(_) => true,
                    None => break,
                };
                if !sent {
                    return;
                }
            }
            room = room(stdin.clone()), if held.is_some() => match (room, held.take()) {
                (Ok(room), Some(bytes)) => drop(room.send(bytes)),
                // The program reads no more.
                _ => stdin = None,
            },
            message = from_client.next(), if held.is_none() => match message {
                Some(Ok(Message::Binary(message))) => held = hear(&message, &mut stdin),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Text(_) | Message::Frame(_))) => {}
                // The client has gone; with the session the program ends.
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            },
        }
    }
    let status = status_of(&end.await, command).to_string();
    send(&mut to_client, channel::ERROR, status.as_bytes()).await;
    // Clients take an end without a code for a broken connection. One that is gone already is all the same now.
    let normal = CloseFrame { code: CloseCode::Normal, reason: Utf8Bytes::default() };
    let _ = to_client.send(Message::Close(Some(normal))).await;
    let _ = to_client.close().await;
}

/// Room for input; never any where the program takes none.
async fn room(stdin: Option<mpsc::Sender<Bytes>>) -> Result<mpsc::OwnedPermit<Bytes>, SendError<()>> {
    match stdin {
        Some(stdin) => stdin.reserve_owned().await,
        None => Err(SendError(())),
    }
}

/// Takes a message: input is handed back, the end of it is noted.
fn hear(message: &Bytes, stdin: &mut Option<mpsc::Sender<Bytes>>) -> Option<Bytes> {
    match message.first() {
        Some(&channel::STDIN) if stdin.is_some() && message.len() > 1 => return Some(message.slice(1..)),
        Some(&channel::CLOSE) if message.get(1) == Some(&channel::STDIN) => *stdin = None,
        // Programs have no terminal whose size could change; nothing else comes from a client.
        _ => {}
    }
    None
}

async fn send(to: &mut SplitSink<Socket, Message>, channel: u8, bytes: &[u8]) -> bool {
    let mut message = BytesMut::with_capacity(bytes.len() + 1);
    message.put_u8(channel);
    message.extend_from_slice(bytes);
    to.send(Message::Binary(message.freeze())).await.is_ok()
}

/// How a program ended, as clients read it (k/pkg/kubelet/cri/streaming/remotecommand/exec.go).
fn status_of(end: &ExecEnd, command: &[String]) -> Value {
    match end {
        ExecEnd::Exited(0) => json!({"metadata": {}, "status": "Success"}),
        ExecEnd::Exited(code) => json!({
            "metadata": {},
            "status": "Failure",
            "message": format!(
                "command terminated with non-zero exit code: error executing command [{}], exit code {code}",
                command.join(" "),
            ),
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        }),
        ExecEnd::Failed(why) => json!({
            "metadata": {},
            "status": "Failure",
            "message": format!("error executing command in container: {why}"),
            "reason": "InternalError",
            "code": 500,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(protocols: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(UPGRADE, HeaderValue::from_static("WebSocket"));
        headers.insert(SEC_WEBSOCKET_KEY, HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="));
        headers.insert(SEC_WEBSOCKET_PROTOCOL, protocols.parse().unwrap());
        headers
    }

    #[test]
    fn the_newest_protocol_that_both_speak_is_taken() {
        assert_eq!(handshake(&headers("v4.channel.k8s.io, v5.channel.k8s.io")).unwrap().0, "v5.channel.k8s.io");
        assert_eq!(handshake(&headers("v4.channel.k8s.io")).unwrap().0, "v4.channel.k8s.io");
        assert_eq!(handshake(&headers("channel.k8s.io")).unwrap_err().code, 400);
        assert_eq!(handshake(&HeaderMap::new()).unwrap_err().code, 400);
    }

    #[test]
    fn an_exit_code_is_told_as_a_status() {
        let command = ["sh".to_owned(), "-c".to_owned(), "exit 3".to_owned()];
        assert_eq!(status_of(&ExecEnd::Exited(0), &command)["status"], "Success");
        let failed = status_of(&ExecEnd::Exited(3), &command);
        assert_eq!(
            (&failed["reason"], &failed["details"]["causes"][0]["message"]),
            (&json!("NonZeroExitCode"), &json!("3"))
        );
    }
}
