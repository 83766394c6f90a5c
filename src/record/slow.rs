//! A request that was answered late, as it is recorded: enough to say where its time went. The histograms count every
//! request; of the late ones the first are told one by one.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::event::Micros;

/// One request that was answered as asked for, and later than is slow for its lane, with all that the client knows of
/// it. Of each lane the first 20 of an interval of 100 ms are told, and 10,000 of a run; the intervals count them all.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SlowRequest {
    /// The lane.
    pub lane: String,
    /// When it was due.
    pub intended_us: Micros,
    /// When connecting, or on a reused connection sending, began.
    pub sent_us: Micros,
    /// When its peer had accepted its connection, where that was made for it: about a second after it was sent where
    /// the first packet went astray.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected_us: Option<Micros>,
    /// When its first byte was written: after TLS and the agreement on the protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_us: Option<Micros>,
    /// When its answer was whole; of a stream, when its head had come.
    pub ended_us: Micros,
    /// Requests that its connection had carried before.
    pub connection_uses: u32,
    /// Age of its connection when it was sent; 0 for a new one.
    pub connection_age_us: i64,
    /// Bytes that were written to its connection for it.
    pub bytes_out: u64,
    /// Bytes of the answer.
    pub bytes_in: u64,
    /// Our end of its connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<SocketAddr>,
    /// The other end of its connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<SocketAddr>,
    /// The status, where the protocol has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The pod that answered, where it has named itself (header `x-evenkeel-pod`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
}

impl SlowRequest {
    /// From the moment that it was due to its answer, in microseconds.
    #[must_use]
    pub fn took_us(&self) -> i64 {
        self.ended_us.saturating_sub(self.intended_us).max(0)
    }

    /// How long its connection took to be accepted, in microseconds; nothing where that was there before.
    #[must_use]
    pub fn connecting_us(&self) -> Option<i64> {
        self.connected_us.map(|connected| connected.saturating_sub(self.sent_us).max(0))
    }

    /// Moves its times by so much, from one clock onto another.
    pub fn shift(&mut self, by_us: Micros) {
        let known = [&mut self.connected_us, &mut self.written_us].into_iter().flatten();
        for at in [&mut self.intended_us, &mut self.sent_us, &mut self.ended_us].into_iter().chain(known) {
            *at += by_us;
        }
    }
}
