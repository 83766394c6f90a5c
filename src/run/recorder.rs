//! The writing end of a run: takes events and load messages as they come, writes the record, feeds the live view.
//!
//! The only writer there is, so the record needs no locks and its lines are in the order in which they were seen.

use std::{collections::HashMap, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::MissedTickBehavior,
};

use super::vitals::Vitals;
use crate::{
    load::message::LoadMessage,
    record::{
        clock::{Clock, Sink},
        error::RecordError,
        event::{Event, Micros, What},
        writer::Writer,
    },
    report::live::Live,
};

/// How often the live view moves on when nothing comes: often enough for a clock that shows tenths.
const REDRAW_EVERY: Duration = Duration::from_millis(200);

/// Single losses of a lane that are written down while the service is not steady yet, for whoever looks why. They count
/// for nothing, and a load of 20,000 requests a second loses as many until the first pod is ready.
const UNSTEADY_LOSSES_MAX: u32 = 100;

/// Why a run must be broken off, which its own parts found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// Its record cannot be written.
    Record,
    /// A condition of `abort` is met: in words.
    Condition(String),
}

/// Whom the recorder tells of what passes through it.
#[derive(Debug)]
pub struct Told {
    /// That a loss was heard of.
    pub losses: watch::Sender<()>,
    /// Why the run must be broken off, where it must.
    pub stop: mpsc::Sender<Stop>,
    /// The conditions of `abort` that the load can meet.
    pub vitals: Vitals,
}

/// A recorder at work.
#[derive(Debug)]
pub struct Recorder {
    task: JoinHandle<Result<(), RecordError>>,
}

impl Recorder {
    /// Starts writing, and tells the others what they wait for. It ends when every sink of `events` and every sender of
    /// `load` is gone.
    #[must_use]
    pub fn start(
        clock: Clock,
        mut writer: Writer,
        mut live: Live,
        mut events: mpsc::UnboundedReceiver<Event>,
        mut load: mpsc::UnboundedReceiver<LoadMessage>,
        told: Told,
    ) -> Self {
        let Told { losses, stop, mut vitals } = told;
        let task = tokio::spawn(async move {
            let mut result = Ok(());
            let mut redraw = tokio::time::interval(REDRAW_EVERY);
            redraw.set_missed_tick_behavior(MissedTickBehavior::Skip);
            let (mut events_open, mut load_open) = (true, true);
            let mut counting = Counting::default();
            while events_open || load_open {
                let written = tokio::select! {
                    event = events.recv(), if events_open => {
                        events_open = event.is_some();
                        event.map_or(Ok(()), |event| {
                            if let What::Phase { phase } = event.what {
                                vitals.phase(phase);
                                counting.begun = true;
                            }
                            live.event(&event);
                            writer.event(&event)
                        })
                    }
                    message = load.recv(), if load_open => match message {
                        Some(LoadMessage::Interval(interval)) => {
                            live.interval(&interval);
                            if let Some(why) = vitals.interval(&interval) {
                                // The first reason stands; the channel has room for it.
                                _ = stop.try_send(Stop::Condition(why));
                            }
                            writer.interval(clock.now(), &interval)
                        }
                        Some(LoadMessage::Lost(lost)) => {
                            losses.send_replace(());
                            if !counting.takes(&lost.lane) {
                                continue;
                            }
                            let event = Event { at_us: lost.ended_us, what: What::Lost(lost) };
                            live.event(&event);
                            writer.event(&event)
                        }
                        Some(LoadMessage::Slow(slow)) => {
                            writer.event(&Event { at_us: slow.ended_us, what: What::Slow(slow) })
                        }
                        Some(LoadMessage::Note(note)) => writer.event(&Event { at_us: clock.now(), what: What::Note(note) }),
                        None => { load_open = false; Ok(()) }
                    },
                    _ = redraw.tick() => {
                        live.tick(clock.now());
                        Ok(())
                    }
                };
                // The first failure, such as a full disk, stops the run; until it has ended, what comes is dropped.
                if let (Err(error), true) = (written, result.is_ok()) {
                    result = Err(error);
                    _ = stop.try_send(Stop::Record);
                }
            }
            live.finish();
            result.and(writer.finish())
        });
        Self { task }
    }

    /// Waits for the last line. The record is complete on disk when this returns well.
    pub async fn finish(self) -> Result<(), RecordError> {
        match self.task.await {
            Ok(result) => result,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

/// Which single losses are written down.
#[derive(Debug, Default)]
struct Counting {
    // The first phase has begun: from here on requests count.
    begun: bool,
    unsteady: HashMap<String, u32>,
}

impl Counting {
    fn takes(&mut self, lane: &str) -> bool {
        if self.begun {
            return true;
        }
        let told = self.unsteady.entry(lane.to_owned()).or_default();
        *told = told.saturating_add(1);
        *told <= UNSTEADY_LOSSES_MAX
    }
}

/// Moves a local generator's times onto the run's clock and passes its messages on.
pub async fn forward_local(
    sink: Sink,
    origin: tokio::time::Instant,
    mut from: mpsc::UnboundedReceiver<LoadMessage>,
    to: mpsc::UnboundedSender<LoadMessage>,
) {
    let offset: Micros = sink.clock().at(origin);
    while let Some(mut message) = from.recv().await {
        message.shift(offset);
        // Nobody is left to listen once the run is over.
        drop(to.send(message));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn before_the_first_phase_a_lanes_first_losses_are_written_down_and_then_all() {
        let mut counting = Counting::default();
        let told = (0..500).filter(|_| counting.takes("new")).count();
        assert_eq!((told, counting.takes("reused")), (UNSTEADY_LOSSES_MAX as usize, true));
        counting.begun = true;
        assert!((0..500).all(|_| counting.takes("new")));
    }
}
