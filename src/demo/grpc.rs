//! Unary gRPC calls: what their messages look like on HTTP/2, and the standard health check.
//!
//! Sources: <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md> for requests and answers,
//! <https://github.com/grpc/grpc/blob/master/doc/statuscodes.md> for which status says what, and
//! <https://github.com/grpc/grpc/blob/master/doc/health-checking.md> for the health check. Its two messages are a few
//! bytes, so they are written by hand.

use bytes::{BufMut as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    HeaderMap, Method, Request, Response, Version,
    body::Body as HttpBody,
    header::{CONTENT_TYPE, HeaderValue},
};

use super::speech::{Body, whole};

/// The method that sends its message back.
pub(super) const ECHO: &str = "/evenkeel.Demo/Echo";

/// The standard health check.
pub(super) const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";

const CONTENT: &str = "application/grpc";

const STATUS: &str = "grpc-status";

/// The largest message that is read: what gRPC's own servers take where nothing else is set.
const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What stands before a message: a flag that says whether it is compressed, and its length in four bytes.
const PREFIX_BYTES: usize = 5;

/// A `HealthCheckRequest` for this service by its name (field 1, a string); an empty one asks for the whole server.
const HEALTH_OF_DEMO: &[u8] = b"\x0a\x0devenkeel.Demo";

/// A `HealthCheckResponse` (field 1, an enum): `SERVING` is 1.
const SERVING: &[u8] = b"\x08\x01";

/// A `HealthCheckResponse`: `NOT_SERVING` is 2.
const NOT_SERVING: &[u8] = b"\x08\x02";

/// Why a call failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    code: u16,
    // Visible ASCII without a percent sign, which stands for itself in a header.
    words: &'static str,
}

impl Failure {
    /// There is no such service.
    const fn not_found(words: &'static str) -> Self {
        Self { code: 5, words }
    }

    /// The message is larger than is read.
    const fn too_large(words: &'static str) -> Self {
        Self { code: 8, words }
    }

    /// There is no such method, or it does not take such a message.
    pub(super) const fn unimplemented(words: &'static str) -> Self {
        Self { code: 12, words }
    }

    /// What came is no message.
    const fn unreadable(words: &'static str) -> Self {
        Self { code: 13, words }
    }

    /// The service does not work now.
    pub(super) const fn unavailable(words: &'static str) -> Self {
        Self { code: 14, words }
    }
}

/// Whether a request is a gRPC call.
pub(super) fn is_call<B>(request: &Request<B>) -> bool {
    let content = request.headers().get(CONTENT_TYPE);
    request.version() == Version::HTTP_2
        && request.method() == Method::POST
        && content.is_some_and(|content| content.as_bytes().starts_with(CONTENT.as_bytes()))
}

/// The message of a unary call.
pub(super) async fn message<B>(body: B) -> Result<Bytes, Failure>
where
    B: HttpBody,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let read = Limited::new(body, PREFIX_BYTES + MESSAGE_BYTES_MAX).collect().await;
    // A body that broke off fails here too, and nobody is left to read why.
    let mut body = read.map_err(|_| Failure::too_large("the message is larger than 4 MiB"))?.to_bytes();
    let Some((prefix, rest)) = body.split_first_chunk::<PREFIX_BYTES>() else {
        return Err(Failure::unreadable("there is no message"));
    };
    let [compressed, length @ ..] = *prefix;
    if compressed != 0 {
        return Err(Failure::unimplemented("messages are not decompressed"));
    }
    if usize::try_from(u32::from_be_bytes(length)) != Ok(rest.len()) {
        return Err(Failure::unreadable("the call has not one whole message"));
    }
    Ok(body.split_off(PREFIX_BYTES))
}

/// The answer to a health check.
pub(super) fn health(asked: &[u8], ready: bool) -> Result<Bytes, Failure> {
    if !asked.is_empty() && asked != HEALTH_OF_DEMO {
        return Err(Failure::not_found("there is evenkeel.Demo only"));
    }
    Ok(Bytes::from_static(if ready { SERVING } else { NOT_SERVING }))
}

/// The answer to a call: its message with the status behind it, or the status alone, in the head.
pub(super) fn answer(result: Result<Bytes, Failure>) -> Response<Body> {
    let mut response = match result {
        Ok(message) => {
            let mut trailers = HeaderMap::new();
            trailers.insert(STATUS, HeaderValue::from_static("0"));
            Response::new(
                Full::new(framed(&message)).with_trailers(std::future::ready(Some(Ok(trailers)))).boxed_unsync(),
            )
        }
        Err(Failure { code, words }) => {
            let mut response = Response::new(whole(""));
            response.headers_mut().insert(STATUS, code.into());
            response.headers_mut().insert("grpc-message", HeaderValue::from_static(words));
            response
        }
    };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(CONTENT));
    response
}

/// A message as it goes over the wire. None is longer than what a length of four bytes can say, since it was read.
fn framed(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(message);
    framed.freeze()
}
