//! Answers as they go out: JSON, lists that are written while they are read, streams, and refusals as `Status`.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    vec,
};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{
    HeaderMap, Response, StatusCode,
    body::{Body, Frame, SizeHint},
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WARNING},
};
use serde_json::Value;

use crate::sandbox::{error::ApiError, store::Object};

/// What goes wrong in a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of an answer.
pub type ApiBody = UnsyncBoxBody<Bytes, BoxError>;

/// An answer.
pub type Answer = Response<ApiBody>;

/// The media type of nearly everything.
pub(super) const JSON: &str = "application/json";

/// The size of the pieces in which long lists go out.
const PIECE: usize = 64 * 1024;

/// An answer with bytes.
pub(super) fn bytes(status: StatusCode, content_type: &str, body: impl Into<Bytes>) -> Answer {
    with_body(status, content_type, Full::new(body.into()).map_err(|never| match never {}).boxed_unsync())
}

/// An answer with JSON.
pub(super) fn json(status: StatusCode, value: &Value) -> Answer {
    bytes(status, JSON, serde_json::to_vec(value).unwrap_or_default())
}

/// An answer with a body of any kind.
pub(super) fn with_body(status: StatusCode, content_type: &str, body: ApiBody) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    if let Ok(value) = HeaderValue::from_str(content_type) {
        headers.insert(CONTENT_TYPE, value);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    answer
}

/// An answer with a list of stored objects, whose bytes go out as they are.
pub(super) fn spliced(head: Bytes, objects: Vec<Arc<Object>>, tail: Bytes) -> Answer {
    with_body(StatusCode::OK, JSON, Spliced::new(head, objects, tail).map_err(|never| match never {}).boxed_unsync())
}

/// A refusal.
pub(super) fn refusal(error: &ApiError) -> Answer {
    let status = StatusCode::from_u16(error.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut body = error.to_status();
    super::list::place_token(&mut body);
    let mut answer = json(status, &body);
    if let Some(seconds) = error.details["retryAfterSeconds"].as_u64().filter(|seconds| *seconds > 0) {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    answer
}

/// Adds warnings, which clients show to people (apimachinery/pkg/util/net/http.go, `NewWarningHeader`).
pub(super) fn warn(headers: &mut HeaderMap, warnings: &[String]) {
    for warning in warnings {
        let mut quoted = String::with_capacity(warning.len() + 2);
        for c in warning.chars().filter(|c| !c.is_control()) {
            if matches!(c, '"' | '\\') {
                quoted.push('\\');
            }
            quoted.push(c);
        }
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            headers.append(WARNING, value);
        }
    }
}

/// A list that is put together while it is sent.
struct Spliced {
    head: Option<Bytes>,
    objects: vec::IntoIter<Arc<Object>>,
    tail: Option<Bytes>,
    first: bool,
    left: u64,
}

impl Spliced {
    fn new(head: Bytes, objects: Vec<Arc<Object>>, tail: Bytes) -> Self {
        let commas = objects.len().saturating_sub(1);
        let of_objects: usize = objects.iter().map(|object| object.bytes().len()).sum();
        let left = (head.len() + of_objects + commas + tail.len()) as u64;
        Self { head: Some(head), objects: objects.into_iter(), tail: Some(tail), first: true, left }
    }
}

impl Body for Spliced {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.tail.is_none() {
            return Poll::Ready(None);
        }
        let mut piece = BytesMut::with_capacity(PIECE);
        if let Some(head) = self.head.take() {
            piece.extend_from_slice(&head);
        }
        while piece.len() < PIECE {
            let Some(object) = self.objects.next() else {
                if let Some(tail) = self.tail.take() {
                    piece.extend_from_slice(&tail);
                }
                break;
            };
            if !std::mem::take(&mut self.first) {
                piece.extend_from_slice(b",");
            }
            piece.extend_from_slice(object.bytes());
        }
        self.left = self.left.saturating_sub(piece.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(piece.freeze()))))
    }

    fn is_end_stream(&self) -> bool {
        self.tail.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
