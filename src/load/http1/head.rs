//! The head of an HTTP/1.1 answer: the few fields that a load generator needs.

use std::mem::MaybeUninit;

use httparse::{Header, ParserConfig, Status};

use super::{super::answer::POD_HEADER, Unreadable};

/// Fields in one head; hyper's bound too.
const FIELDS_MAX: usize = 100;

/// How the end of the body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// By its length.
    Sized(u64),
    /// In chunks, the last of which is empty.
    Chunked,
    /// By the end of the connection.
    UntilClose,
}

/// A whole head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parsed {
    /// Its bytes, the empty line included.
    pub(super) length: usize,
    /// The status.
    pub(super) status: u16,
    /// Whether it says `Connection: close`.
    pub(super) says_close: bool,
    /// Whether the connection goes on after the answer.
    pub(super) keeps_alive: bool,
    /// How its body ends.
    pub(super) body: Body,
}

/// The head at the start of `bytes`, or nothing while it is not whole.
pub(super) fn parse(bytes: &[u8], pod: &mut Option<String>) -> Result<Option<Parsed>, Unreadable> {
    let mut fields: [MaybeUninit<Header<'_>>; FIELDS_MAX] = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut []);
    let parsed = ParserConfig::default().parse_response_with_uninit_headers(&mut response, bytes, &mut fields);
    let length = match parsed {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(None),
        Err(error) => return Err(Unreadable(words(error))),
    };
    let status = response.code.unwrap_or_default();
    let (mut close, mut keep, mut chunked, mut coded) = (false, false, false, false);
    let mut content_length = None;
    for field in &*response.headers {
        // Lengths first: most fields are none of ours.
        match field.name.len() {
            10 if field.name.eq_ignore_ascii_case("connection") => {
                close |= has(field.value, "close");
                keep |= has(field.value, "keep-alive");
            }
            14 if field.name.eq_ignore_ascii_case("content-length") => {
                let length = number(field.value).ok_or(Unreadable("the content-length of the answer is no number"))?;
                if content_length.is_some_and(|before| before != length) {
                    return Err(Unreadable("the answer has two different content-lengths"));
                }
                content_length = Some(length);
            }
            14 if field.name.eq_ignore_ascii_case(POD_HEADER) => remember(pod, field.value),
            17 if field.name.eq_ignore_ascii_case("transfer-encoding") => {
                coded = true;
                chunked = last_is_chunked(field.value);
            }
            _ => {}
        }
    }
    let empty = matches!(status, 100..=199 | 204 | 304);
    let body = match content_length {
        _ if empty => Body::Sized(0),
        _ if chunked => Body::Chunked,
        _ if coded => Body::UntilClose,
        Some(length) => Body::Sized(length),
        None => Body::UntilClose,
    };
    let keeps_alive = !close && (response.version == Some(1) || keep) && status != 101;
    Ok(Some(Parsed { length, status, says_close: close, keeps_alive, body }))
}

fn remember(pod: &mut Option<String>, name: &[u8]) {
    let Ok(name) = std::str::from_utf8(name) else { return };
    if pod.as_deref() != Some(name) {
        *pod = Some(name.to_owned());
    }
}

fn has(value: &[u8], option: &str) -> bool {
    value.split(|byte| *byte == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(option.as_bytes()))
}

fn last_is_chunked(value: &[u8]) -> bool {
    let last = value.rsplit(|byte| *byte == b',').next().unwrap_or_default();
    last.trim_ascii().eq_ignore_ascii_case(b"chunked")
}

fn number(value: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(value.trim_ascii()).ok()?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

fn words(error: httparse::Error) -> &'static str {
    match error {
        httparse::Error::HeaderName => "the answer has a header whose name cannot be one",
        httparse::Error::HeaderValue => "the answer has a header whose value cannot be one",
        httparse::Error::NewLine => "the answer has a line end that is none",
        httparse::Error::Status => "the answer has a status line that is none",
        httparse::Error::Token => "the answer has a token that is none",
        httparse::Error::TooManyHeaders => "the answer has more than 100 headers",
        httparse::Error::Version => "the answer does not begin with HTTP/1.0 or HTTP/1.1",
    }
}
