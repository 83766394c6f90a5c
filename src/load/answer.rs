//! What came of one request over one connection, whatever the two speak.

use tokio::time::Instant;

use super::{
    classify::{Body, Break, Ending},
    wire::Counts,
};

/// The longest line that is read; a longer one is wrong. A body of HTTP says itself where it ends and is held against
/// what was asked for as it passes, so only its request's timeout bounds it.
pub(super) const LINE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The header in which a service names the pod that answers.
pub(super) const POD_HEADER: &str = "x-evenkeel-pod";

/// What came of a request.
#[derive(Debug)]
pub(super) struct Answer {
    /// How it ended.
    pub(super) ending: Ending,
    /// What is known of its way.
    pub(super) seen: Seen,
    /// Whether the answer said goodbye (`Connection: close`, or a frame that closes).
    pub(super) says_close: bool,
    /// Whether the connection may carry another request.
    pub(super) keeps_alive: bool,
    /// The error's own words.
    pub(super) error: String,
}

/// What is known of a request's way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// The status, where a head came.
    pub(super) status: Option<u16>,
    /// Bytes of the request that went out; not 0 where it cannot be ruled out that some did.
    pub(super) bytes_out: u64,
    /// Bytes of the answer that came.
    pub(super) bytes_in: u64,
    /// When the first byte of the request itself was written: after connecting, TLS and the agreement on the protocol.
    pub(super) written: Option<Instant>,
    /// Where a stream was listened to as long as asked for: when its head had come, which is when it was answered.
    pub(super) stream_began: Option<Instant>,
}

impl Seen {
    /// What the bytes of a connection say that carries nothing but the request and its answer.
    pub(super) fn of(status: Option<u16>, counts: &Counts) -> Self {
        let bytes_out = counts.bytes_out();
        let written = counts.first_write().filter(|_| bytes_out > 0);
        Self { status, bytes_out, bytes_in: counts.bytes_in(), written, stream_began: None }
    }
}

/// What an answer was found to be at its end.
#[derive(Debug)]
pub(super) enum Found {
    /// Whole, and held against what was asked for.
    Whole(Result<(), String>),
    /// Longer than [`LINE_BYTES_MAX`].
    Endless,
}

/// How a conversation broke off.
#[derive(Debug)]
pub(super) struct Broken {
    /// In which way.
    pub(super) kind: Break,
    /// In the error's own words.
    pub(super) words: String,
}

impl Broken {
    /// The connection ended.
    pub(super) fn closed(words: impl ToString) -> Self {
        Self { kind: Break::Closed, words: words.to_string() }
    }

    /// Nothing more came in time.
    pub(super) fn silent(words: impl ToString) -> Self {
        Self { kind: Break::Silent, words: words.to_string() }
    }

    /// What came is not what the two had agreed to speak.
    pub(super) fn unreadable(words: impl ToString) -> Self {
        Self { kind: Break::Unreadable, words: words.to_string() }
    }
}

/// How a request ended whose conversation came to this, or to nothing before its deadline; with the error's own words.
pub(super) fn ending(conversed: Option<Result<Found, Broken>>) -> (Ending, String) {
    match conversed {
        Some(Ok(Found::Whole(Ok(())))) => (Ending::Whole(Body::Right), String::new()),
        Some(Ok(Found::Whole(Err(problem)))) => (Ending::Whole(Body::Wrong), problem),
        Some(Ok(Found::Endless)) => {
            (Ending::Whole(Body::Endless), format!("the answer is longer than {} MiB", LINE_BYTES_MAX >> 20))
        }
        Some(Err(Broken { kind: Break::Silent, words })) => (Ending::TimedOut, words),
        Some(Err(Broken { kind, words })) => (Ending::Broken(kind), words),
        None => (Ending::TimedOut, String::new()),
    }
}

impl Answer {
    /// No answer, since there was no connection.
    pub(super) fn not_connected(ending: Ending, status: Option<u16>, error: String) -> Self {
        Self { ending, seen: Seen { status, ..Seen::default() }, says_close: false, keeps_alive: false, error }
    }
}
