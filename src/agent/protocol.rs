//! What the harness and an agent say to each other: JSON over HTTP/1.1, versioned by the first part of the path.
//!
//! | request | answer |
//! |---|---|
//! | `GET /readyz` | `ok`, as soon as the agent can be started |
//! | `GET /v1/clock` | [`ClockReading`] |
//! | `POST /v1/start` with [`StartRequest`] | [`Started`]; the same request again gets the same answer |
//! | `GET /v1/messages?after=SEQ&wait_ms=N&lease_ms=N` | [`Messages`] above SEQ; those up to it are forgotten |
//! | `POST /v1/renew` | [`Renewed`]; each kept connection is closed before its next request, and another opened |
//! | `POST /v1/stop` | [`Stopping`]; what is still open ends, and the last message is [`Message::Done`] |
//!
//! `lease_ms` says for how long the Lease still holds under which the run stands. An agent that has been told so ends
//! when that time is over, whoever still asks: it is renewed together with the Lease.
//!
//! Whatever isn't understood gets a 4xx with a [`Refusal`]. All times are microseconds of the agent's own clock.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use hdrhistogram::{
    Histogram,
    serialization::{Deserializer as HdrDeserializer, Serializer as _, V2DeflateSerializer},
};
use serde::{Deserialize, Serialize};

use crate::{
    load::{
        lane::LaneSpec,
        message::{ClosedInterval, LoadMessage},
    },
    record::event::{LaneInterval, LostRequest, Micros, Note, SlowRequest},
};

/// The port an agent listens on where no other is given.
pub const PORT: u16 = 8099;

/// Asks for the agent's clock.
pub const CLOCK: &str = "/v1/clock";
/// Starts the lanes.
pub const START: &str = "/v1/start";
/// Fetches messages.
pub const MESSAGES: &str = "/v1/messages";
/// Has the connections that the lanes keep opened anew.
pub const RENEW: &str = "/v1/renew";
/// Stops the lanes.
pub const STOP: &str = "/v1/stop";
/// Answers as soon as the agent can be started.
pub const READY: &str = "/readyz";

/// The agent's clock, read while the request was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockReading {
    /// Microseconds since the agent began.
    pub agent_us: Micros,
}

/// What an agent shall do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartRequest {
    /// The lanes, all of them at once. At least one.
    pub lanes: Vec<LaneSpec>,
    /// When they begin; a time that has passed is refused. Agents that are to begin together are each told the same
    /// moment on their own clock.
    pub begin_us: Micros,
    /// The agent stops and ends by itself when it isn't asked anything for so many milliseconds.
    pub abandoned_after_ms: u64,
}

/// The lanes begin when they were told to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The agent's clock when that of its load reads zero.
    pub origin_us: Micros,
}

/// No connection that was open then carries another request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewed {
    /// When the agent was told.
    pub agent_us: Micros,
}

/// The lanes end: what is open finishes, nothing new is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopping {
    /// When the agent was told.
    pub agent_us: Micros,
}

/// Messages, in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Messages {
    /// The agent's clock when it answered.
    pub agent_us: Micros,
    /// What to say as `after` next time: the number of the last message here.
    pub next: u64,
    /// What had to be forgotten unfetched since the agent began.
    pub dropped: Dropped,
    /// The messages, whose numbers follow each other without a gap. Empty when there was none in time.
    pub messages: Vec<Numbered>,
}

/// A message with its number; the first is 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Numbered {
    /// Its number.
    pub seq: u64,
    /// What it says.
    #[serde(flatten)]
    pub message: Message,
}

/// A [`LoadMessage`] on the wire, or the end of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "message", rename_all = "snake_case")]
pub enum Message {
    /// An interval whose requests have all ended.
    Interval {
        /// The counts.
        counts: LaneInterval,
        /// Response times: a histogram in HDR's V2 format with DEFLATE, in base64.
        response: String,
        /// Service times, likewise.
        service: String,
    },
    /// A request that was lost.
    Lost {
        /// The request.
        lost: LostRequest,
    },
    /// A request that was answered as asked for, and late.
    Slow {
        /// The request.
        slow: SlowRequest,
    },
    /// Something that makes the measurement doubtful, or that a reader should know.
    Note {
        /// The note.
        note: Note,
    },
    /// The last message: the lanes have ended.
    Done {
        /// What went before, for comparison.
        totals: Totals,
    },
}

/// All that an agent's generator has said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Intervals.
    pub intervals: u64,
    /// Requests that fell due in those intervals.
    pub requests: u64,
    /// Requests of which a [`Message::Lost`] told.
    pub lost: u64,
}

impl Totals {
    /// Counts a message.
    pub fn count(&mut self, message: &LoadMessage) {
        match message {
            LoadMessage::Interval(interval) => {
                self.intervals += 1;
                self.requests += interval.counts.by_outcome.values().sum::<u64>();
            }
            LoadMessage::Lost(_) => self.lost += 1,
            // What is missing of them is counted by the intervals, and nothing is judged by their number.
            LoadMessage::Slow(_) | LoadMessage::Note(_) => {}
        }
    }
}

/// What had to be forgotten unfetched, since nobody fetched it and memory is bounded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Details of lost requests; the intervals still count them.
    pub lost: u64,
    /// Intervals and notes.
    pub others: u64,
}

/// Why a request was not understood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// In words.
    pub error: String,
}

/// A histogram that could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum HistogramError {
    /// Not written.
    #[error("failed to encode a histogram")]
    Encode(#[source] hdrhistogram::serialization::V2DeflateSerializeError),
    /// Not base64.
    #[error("failed to decode a histogram: not base64")]
    Base64(#[source] base64::DecodeError),
    /// Not a histogram.
    #[error("failed to decode a histogram: {0}")]
    Decode(hdrhistogram::serialization::DeserializeError),
}

impl Message {
    /// The message as it goes over the wire.
    pub fn encode(message: LoadMessage) -> Result<Self, HistogramError> {
        Ok(match message {
            LoadMessage::Interval(interval) => Self::Interval {
                response: encode_histogram(&interval.response)?,
                service: encode_histogram(&interval.service)?,
                counts: interval.counts,
            },
            LoadMessage::Lost(lost) => Self::Lost { lost: *lost },
            LoadMessage::Slow(slow) => Self::Slow { slow: *slow },
            LoadMessage::Note(note) => Self::Note { note },
        })
    }

    /// What the generator said; the totals where this was the last.
    pub fn decode(self) -> Result<Decoded, HistogramError> {
        Ok(Decoded::Load(match self {
            Self::Interval { counts, response, service } => LoadMessage::Interval(Box::new(ClosedInterval {
                counts,
                response: decode_histogram(&response)?,
                service: decode_histogram(&service)?,
            })),
            Self::Lost { lost } => LoadMessage::Lost(Box::new(lost)),
            Self::Slow { slow } => LoadMessage::Slow(Box::new(slow)),
            Self::Note { note } => LoadMessage::Note(note),
            Self::Done { totals } => return Ok(Decoded::Done(totals)),
        }))
    }
}

/// A message, read.
#[derive(Debug, Clone)]
pub enum Decoded {
    /// The generator said something.
    Load(LoadMessage),
    /// It has ended.
    Done(Totals),
}

/// Moves all times of a message from one clock to another, which reads `by_us` more.
#[must_use]
pub fn shifted(mut message: LoadMessage, by_us: Micros) -> LoadMessage {
    message.shift(by_us);
    message
}

fn encode_histogram(histogram: &Histogram<u64>) -> Result<String, HistogramError> {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(histogram, &mut bytes).map_err(HistogramError::Encode)?;
    Ok(BASE64.encode(bytes))
}

fn decode_histogram(text: &str) -> Result<Histogram<u64>, HistogramError> {
    let bytes = BASE64.decode(text).map_err(HistogramError::Base64)?;
    HdrDeserializer::new().deserialize(&mut bytes.as_slice()).map_err(HistogramError::Decode)
}
