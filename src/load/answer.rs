//! What came of one request over one connection, whatever the two speak.

use super::classify::{Break, Ending};

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

    /// What came is not what the two had agreed to speak.
    pub(super) fn unreadable(words: impl ToString) -> Self {
        Self { kind: Break::Unreadable, words: words.to_string() }
    }
}

impl Answer {
    /// No answer, since there was no connection.
    pub(super) fn not_connected(ending: Ending, status: Option<u16>, error: String) -> Self {
        Self { ending, seen: Seen { status, ..Seen::default() }, says_close: false, keeps_alive: false, error }
    }
}
