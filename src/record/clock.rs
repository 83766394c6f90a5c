//! The one clock of a run, and the way onto its timeline: whoever sees something stamps it here, on the spot.

use tokio::{sync::mpsc, time::Instant};

use super::event::{Event, Micros, What};

/// The run's monotonic clock. Copies agree, since they share the origin.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that reads zero now.
    #[must_use]
    pub fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// Microseconds since the run began.
    #[must_use]
    pub fn now(self) -> Micros {
        self.at(Instant::now())
    }

    /// The reading of this clock at a moment, which may lie before the run began.
    #[must_use]
    pub fn at(self, moment: Instant) -> Micros {
        let micros = |duration: std::time::Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        match moment.checked_duration_since(self.origin) {
            Some(after) => micros(after),
            None => -micros(self.origin.saturating_duration_since(moment)),
        }
    }

    /// The moment at which this clock reads zero.
    #[must_use]
    pub const fn origin(self) -> Instant {
        self.origin
    }
}

/// Where events go. Cheap to clone: each watcher, fault and lane has one.
#[derive(Debug, Clone)]
pub struct Sink {
    clock: Clock,
    // Unbounded, so that seeing never waits for writing: the number of events is bounded by what the cluster does.
    events: mpsc::UnboundedSender<Event>,
}

impl Sink {
    /// A sink, and the end at which its events come out.
    #[must_use]
    pub fn new(clock: Clock) -> (Self, mpsc::UnboundedReceiver<Event>) {
        let (events, out) = mpsc::unbounded_channel();
        (Self { clock, events }, out)
    }

    /// The run's clock.
    #[must_use]
    pub const fn clock(&self) -> Clock {
        self.clock
    }

    /// Records something seen now.
    pub fn record(&self, what: What) {
        self.record_at(self.clock.now(), what);
    }

    /// Records something seen at another time.
    pub fn record_at(&self, at_us: Micros, what: What) {
        // The receiver is gone only when the run is over; what comes later belongs to no record.
        drop(self.events.send(Event { at_us, what }));
    }
}
