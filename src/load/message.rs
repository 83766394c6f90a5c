//! What a load generator says while it runs: closed intervals, each request that was lost, and requests that
//! were slow. It is the same whether the generator runs in this process or in an agent pod.

use hdrhistogram::{AdditionError, Histogram};

use crate::record::event::{LaneInterval, LostRequest, Note, SlowRequest};

/// One thing that a load generator says. Times are microseconds of the generator's own clock, from its start.
#[derive(Debug, Clone)]
pub enum LoadMessage {
    /// An interval of a lane in which every request has ended. Sent in order for each lane, also when nothing fell due.
    Interval(Box<ClosedInterval>),
    /// A request that was lost, as soon as that is known.
    Lost(Box<LostRequest>),
    /// A request that was answered as asked for and took longer than the lane's `slow_us`, as far as such are told.
    Slow(Box<SlowRequest>),
    /// Something that makes the measurement doubtful.
    Note(Note),
}

/// An interval whose requests have all ended. Values are microseconds, from 1 µs to 5 minutes, three digits.
#[derive(Debug, Clone)]
pub struct ClosedInterval {
    /// The counts.
    pub counts: LaneInterval,
    /// Response times, from the intended send time to the end of the answer; lost requests with the time they took.
    pub response: Histogram<u64>,
    /// Service times, from the first byte of the request written (after connecting, TLS and the agreement on the
    /// protocol) to the end of the answer; without the requests of which nothing was written.
    pub service: Histogram<u64>,
}

impl ClosedInterval {
    /// Adds what another generator counted in the same interval of the same lane. Exact: the values are those of one
    /// histogram that holds all.
    ///
    /// # Errors
    /// Histograms that cannot be added, which those of a load core can.
    pub fn add(&mut self, other: &Self) -> Result<(), AdditionError> {
        self.counts.add(&other.counts);
        self.response.auto(true);
        self.response.add(&other.response)?;
        self.service.auto(true);
        self.service.add(&other.service)
    }
}

impl LoadMessage {
    /// Moves the message's times by so many microseconds, from the generator's clock onto another.
    pub fn shift(&mut self, offset_us: i64) {
        match self {
            Self::Interval(interval) => interval.counts.shift(offset_us),
            Self::Lost(lost) => {
                lost.intended_us += offset_us;
                lost.sent_us += offset_us;
                lost.ended_us += offset_us;
            }
            Self::Slow(slow) => slow.shift(offset_us),
            Self::Note(_) => {}
        }
    }
}
