//! What became of a request, from the evidence, as one pure function: kinds are never merged, and none is a default
//! that blames the service.

use std::io;

use rustix::io::Errno;

use crate::record::event::{Outcome, RetrySafe};

/// How a request ended, as far as its own task could see.
#[derive(Debug)]
pub(super) enum Ending {
    /// The connection was not established in time.
    ConnectTimedOut,
    /// The connection could not be made.
    ConnectFailed(io::Error),
    /// Connected, and no agreement on TLS.
    NoTls,
    /// Connected, and no whole answer in time.
    TimedOut,
    /// The exchange broke off.
    Broken(Break),
    /// An answer with its body.
    Whole(Body),
}

/// How an exchange broke off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Break {
    /// The connection ended: closed or reset.
    Closed,
    /// What came is not what the two had agreed to speak.
    Unreadable,
    /// Nothing more came in time: the request timed out.
    Silent,
    /// The answer is whole, and says that the call failed (gRPC).
    CallFailed,
}

/// A body held against what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// As asked for.
    Right,
    /// Whole, without the text that it must contain.
    Wrong,
    /// Longer than is read; the rest of it is still to come.
    Endless,
}

/// What the generator itself was short of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Shortage {
    /// Local ports towards the address.
    Ports,
    /// File descriptors.
    Descriptors,
    /// Memory for sockets.
    Buffers,
    /// Its own bound of requests open at once.
    OpenRequests,
    /// Time: the request would have been sent so late that its loss would prove nothing.
    Time,
    /// Something else that says nothing about the service.
    Other,
}

/// What is known of a request beside its ending.
#[derive(Debug, Clone, Copy)]
pub(super) struct Evidence {
    /// Its connection had carried another request before.
    pub(super) reused: bool,
    /// Bytes of the request that the kernel took.
    pub(super) bytes_out: u64,
    /// Bytes of the answer that came.
    pub(super) bytes_in: u64,
    /// The status, where a head came.
    pub(super) status: Option<u16>,
    /// The status asked for.
    pub(super) wanted_status: u16,
}

/// What became of a request, and whether it could be sent again.
pub(super) fn classify(ending: &Ending, evidence: Evidence) -> (Outcome, RetrySafe) {
    match ending {
        Ending::ConnectTimedOut => (Outcome::ConnectTimeout, RetrySafe::Yes),
        Ending::ConnectFailed(error) => (failed_to_connect(error), RetrySafe::Yes),
        Ending::NoTls => (Outcome::TlsFailed, RetrySafe::Yes),
        Ending::TimedOut | Ending::Broken(_) | Ending::Whole(_) => sent(ending, evidence),
    }
}

fn sent(ending: &Ending, evidence: Evidence) -> (Outcome, RetrySafe) {
    let Evidence { reused, bytes_out, bytes_in, status, wanted_status } = evidence;
    let unanswered = || match bytes_out {
        0 => RetrySafe::Yes,
        _ => RetrySafe::Idempotent,
    };
    match (ending, status) {
        // Another status is what the service said; a body that breaks off after it adds nothing.
        (_, Some(status)) if status != wanted_status => (wrong_status(status), RetrySafe::No),
        (Ending::Broken(Break::CallFailed), _) => (Outcome::ServerError, RetrySafe::No),
        (Ending::TimedOut, _) if bytes_out == 0 => (Outcome::RequestTimeout, RetrySafe::Yes),
        (Ending::TimedOut, _) => (Outcome::RequestTimeout, RetrySafe::No),
        (Ending::Broken(_), _) if bytes_in == 0 && reused => (Outcome::ReusedConnectionClosed, unanswered()),
        (Ending::Broken(_), _) if bytes_in == 0 => (Outcome::ResetBeforeByte, unanswered()),
        // Something that speaks before it is asked does not speak HTTP.
        (Ending::Broken(_), _) if bytes_out == 0 => (Outcome::Malformed, RetrySafe::Yes),
        (Ending::Broken(Break::Unreadable), _) => (Outcome::Malformed, RetrySafe::No),
        (Ending::Broken(Break::Closed), _) => (Outcome::CutMidAnswer, RetrySafe::No),
        (Ending::Whole(Body::Wrong | Body::Endless), _) => (Outcome::WrongBody, RetrySafe::No),
        _ => (Outcome::Ok, RetrySafe::No),
    }
}

fn wrong_status(status: u16) -> Outcome {
    if (500..=599).contains(&status) { Outcome::ServerError } else { Outcome::OtherStatus }
}

fn failed_to_connect(error: &io::Error) -> Outcome {
    match Errno::from_io_error(error) {
        Some(Errno::CONNREFUSED) => Outcome::Refused,
        // The kernel gave up by itself, or a firewall answers for the address.
        Some(Errno::TIMEDOUT) => Outcome::ConnectTimeout,
        Some(Errno::HOSTUNREACH | Errno::NETUNREACH | Errno::HOSTDOWN | Errno::NETDOWN | Errno::ACCESS) => {
            Outcome::Unreachable
        }
        // Established and reset before this end had seen that it was established.
        Some(Errno::CONNRESET | Errno::PIPE | Errno::CONNABORTED) => Outcome::ResetBeforeByte,
        _ => Outcome::NotSent,
    }
}

/// What the generator was short of, when connecting failed for a reason of ours.
pub(super) fn shortage(error: &io::Error) -> Shortage {
    match Errno::from_io_error(error) {
        Some(Errno::ADDRNOTAVAIL | Errno::ADDRINUSE | Errno::AGAIN) => Shortage::Ports,
        Some(Errno::MFILE | Errno::NFILE) => Shortage::Descriptors,
        Some(Errno::NOBUFS | Errno::NOMEM) => Shortage::Buffers,
        _ => Shortage::Other,
    }
}

#[cfg(test)]
mod tests;
