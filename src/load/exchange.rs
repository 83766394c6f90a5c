//! One request over one connection, to the end of its answer or its deadline.

use std::error::Error;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{
    HeaderMap, Request, Response, Uri,
    body::Incoming,
    header::{ACCEPT, CONNECTION, HOST, HeaderValue, USER_AGENT},
};

use super::{
    body::Needle,
    classify::{Body, Break, Ending},
    connection::Connection,
    deadline::Deadline,
};
use crate::failure::chain;

/// The longest body that is read; a longer one is wrong. Keeps one answer from taking the generator's time.
const BODY_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The header in which a service names the pod that answers.
const POD_HEADER: &str = "x-evenkeel-pod";

/// What a lane sends, and what its answers are held against.
#[derive(Debug)]
pub(super) struct Template {
    uri: Uri,
    headers: HeaderMap,
    status: u16,
    needle: Option<Needle>,
}

impl Template {
    /// A template of GET requests for `uri` (path and query) with the header `Host: host`, whose answers have
    /// `status` and contain `body_contains`.
    pub(super) fn new(uri: Uri, host: HeaderValue, status: u16, body_contains: Option<&str>) -> Self {
        let agent = concat!("evenkeel/", env!("CARGO_PKG_VERSION"));
        let headers = HeaderMap::from_iter([
            (HOST, host),
            (USER_AGENT, HeaderValue::from_static(agent)),
            (ACCEPT, HeaderValue::from_static("*/*")),
        ]);
        Self { uri, headers, status, needle: body_contains.map(Needle::new) }
    }

    fn request(&self) -> Request<Empty<Bytes>> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

/// What came of an exchange.
#[derive(Debug)]
pub(super) struct Answer {
    /// How it ended.
    pub(super) ending: Ending,
    /// The status, where a head came.
    pub(super) status: Option<u16>,
    /// Whether the answer said `Connection: close`.
    pub(super) says_close: bool,
    /// The error's own words.
    pub(super) error: String,
}

/// Sends one request and reads its answer, until `deadline` passes. Afterwards the connection's wire has the bytes of it.
pub(super) async fn exchange(connection: &mut Connection, template: &Template, deadline: &Deadline) -> Answer {
    let mut head = Head::default();
    connection.wire.begin_request();
    let (ending, error) = match deadline.limit(converse(connection, template, &mut head)).await {
        Some(Ok((body, problem))) => (Ending::Whole(body), problem),
        Some(Err(error)) => (Ending::Broken(kind_of_break(&error)), chain(&error)),
        None => (Ending::TimedOut, String::new()),
    };
    Answer { ending, status: head.status, says_close: head.says_close, error }
}

// Kept outside the conversation, since what has come counts also when the deadline ends it.
#[derive(Default)]
struct Head {
    status: Option<u16>,
    says_close: bool,
}

async fn converse(
    connection: &mut Connection,
    template: &Template,
    head: &mut Head,
) -> Result<(Body, String), hyper::Error> {
    let response = connection.sender.send_request(template.request()).await?;
    head.status = Some(response.status().as_u16());
    head.says_close = says_close(response.headers());
    if let Some(pod) = response.headers().get(POD_HEADER).and_then(|pod| pod.to_str().ok())
        && connection.pod.as_deref() != Some(pod)
    {
        connection.pod = Some(pod.to_owned());
    }
    let needle = template.needle.as_ref().filter(|_| head.status == Some(template.status));
    read_body(response, needle).await
}

async fn read_body(response: Response<Incoming>, needle: Option<&Needle>) -> Result<(Body, String), hyper::Error> {
    let mut body = response.into_body();
    let mut search = needle.map(Needle::search);
    let mut length: u64 = 0;
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame?.into_data() else { continue };
        length += piece.len() as u64;
        if length > BODY_BYTES_MAX {
            return Ok((Body::Endless, format!("the body is longer than {BODY_BYTES_MAX} bytes")));
        }
        if let Some(search) = &mut search {
            search.feed(&piece);
        }
    }
    Ok(match search {
        Some(search) if !search.found() => {
            (Body::Wrong, format!("the text asked for is not in the body of {length} bytes"))
        }
        _ => (Body::Right, String::new()),
    })
}

fn says_close(headers: &HeaderMap) -> bool {
    headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.split(',').any(|option| option.trim().eq_ignore_ascii_case("close")))
}

/// Whether hyper could not read what came, or came to the end of it too early.
fn kind_of_break(error: &hyper::Error) -> Break {
    // hyper's decoders of bodies say what they cannot read as an io::Error of these kinds, inside its own error.
    let unreadable_body = || {
        error
            .source()
            .and_then(|source| source.downcast_ref::<std::io::Error>())
            .is_some_and(|io| matches!(io.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::InvalidInput))
    };
    if error.is_parse() || unreadable_body() { Break::Unreadable } else { Break::Closed }
}
