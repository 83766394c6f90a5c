//! Sends what is due, and closes the intervals that are complete: the one loop of a generator.
//!
//! It sleeps until the next moment at which anything is due, to the microsecond; each wake sends all that is due.

use std::{cell::Cell, rc::Rc, time::Duration};

use tokio::{
    sync::{Notify, oneshot},
    task::yield_now,
    time::Instant,
};

use super::{
    client::Client,
    generator::{LaneTotals, LoadError, LoadTotals},
    ledger::INTERVAL_NS,
    message::LoadMessage,
    schedule::Schedule,
    timer::Timer,
    voice::Voice,
};

/// Requests sent in a row before others get their turn: after a stall a great many are due at once, and their
/// answers must not wait for the last of them to be sent.
const SENDS_IN_A_ROW: u32 = 64;

/// A wake this late may have missed that connections were closed; the network is heard first, so that what closed
/// before a request is not counted as a loss under it.
const LATE_NS: u64 = 2_000_000;

/// A wake this late is a stall: whatever was open meanwhile may have waited for this thread. The judge's own bound for
/// what may be held against a service.
const STALL_NS: u64 = 100_000_000;

/// Beyond its timeout a request needs only to be noticed.
const DRAIN_MARGIN: Duration = Duration::from_secs(5);

/// The moments at which a generator begins and stops. A sender that is dropped means stop.
pub(super) struct Commands {
    /// The lanes begin.
    pub(super) begin: oneshot::Receiver<()>,
    /// At this time of the generator's clock, in nanoseconds, which ends an interval; at the next such one where there
    /// is nothing.
    pub(super) first_ns: Option<u64>,
    /// No new request falls due.
    pub(super) stop: oneshot::Receiver<()>,
}

/// The loop's parts.
pub(super) struct Pacer {
    clients: Vec<Rc<Client>>,
    ended: Rc<Notify>,
    voice: Rc<Voice>,
    timer: Timer,
    origin: Instant,
    // When this loop is to wake next; whoever runs much later than that knows of a stall before this loop does.
    wake_ns: Rc<Cell<u64>>,
}

struct Lane {
    client: Rc<Client>,
    schedule: Schedule,
    next: u64,
    // From here on nothing of it falls due.
    end_ns: u64,
}

impl Lane {
    fn next_due_ns(&self) -> u64 {
        let due_ns = self.schedule.due_ns(self.next);
        if due_ns < self.end_ns { due_ns } else { u64::MAX }
    }
}

impl Pacer {
    /// A pacer of `clients`. Call it inside the runtime.
    pub(super) fn new(
        clients: Vec<Rc<Client>>,
        ended: Rc<Notify>,
        voice: Rc<Voice>,
        origin: Instant,
        wake_ns: Rc<Cell<u64>>,
    ) -> Result<Self, LoadError> {
        let timer = Timer::new(origin).map_err(LoadError::Timer)?;
        Ok(Self { clients, ended, voice, timer, origin, wake_ns })
    }

    /// Runs until it is told to stop and the last request has ended.
    pub(super) async fn run(self, commands: Commands) -> Result<LoadTotals, LoadError> {
        self.clients.iter().for_each(Client::warm_up);
        let Commands { begin, first_ns, mut stop } = commands;
        let begun = tokio::select! {
            biased;
            _ = &mut stop => false,
            begun = begin => begun.is_ok(),
        };
        if begun {
            // Intervals are whole from the first one on.
            let start_ns = first_ns.unwrap_or_else(|| (self.now_ns() / INTERVAL_NS + 1) * INTERVAL_NS);
            let mut lanes = self.lanes(start_ns)?;
            self.pace(&mut lanes, stop).await?;
            self.clients.iter().for_each(|client| client.stop());
            let end_ns = self.now_ns().max(start_ns);
            self.send_due(&mut lanes, end_ns).await;
            self.drain().await?;
            self.finish(end_ns)?;
        }
        Ok(LoadTotals { lanes: self.clients.iter().map(|client| totals(client)).collect() })
    }

    fn lanes(&self, start_ns: u64) -> Result<Vec<Lane>, LoadError> {
        let mut lanes = Vec::new();
        for (index, client) in self.clients.iter().enumerate() {
            client.begin(start_ns);
            if client.has_no_rate() {
                continue;
            }
            let spec = client.spec();
            let (rate, shape, share) = (spec.rate_per_second, &spec.options.shape, spec.options.share);
            let schedule = Schedule::new(start_ns, rate, shape, share, index, self.clients.len())
                .ok_or_else(|| LoadError::Rate { lane: spec.name.clone(), rate })?;
            lanes.push(Lane { client: Rc::clone(client), schedule, next: 0, end_ns: client.end_ns(start_ns) });
        }
        Ok(lanes)
    }

    async fn pace(&self, lanes: &mut [Lane], mut stop: oneshot::Receiver<()>) -> Result<(), LoadError> {
        loop {
            let now_ns = self.now_ns();
            self.send_due(lanes, now_ns).await;
            self.pass_deadlines(now_ns);
            self.close_intervals(now_ns)?;
            let interval_end_ns = (now_ns / INTERVAL_NS + 1) * INTERVAL_NS;
            let next_due_ns = lanes.iter().map(Lane::next_due_ns).min().unwrap_or(u64::MAX);
            let next_ns = interval_end_ns.min(next_due_ns).min(self.next_deadline_ns()).min(self.next_look_ns(now_ns));
            self.wake_ns.set(next_ns);
            tokio::select! {
                biased;
                _ = &mut stop => return Ok(()),
                woken = self.timer.until(next_ns) => woken.map_err(LoadError::Timer)?,
            }
            self.hear(next_ns).await;
        }
    }

    /// After a wake that should have come at `wanted_ns`: what the network has to say comes before what is due.
    async fn hear(&self, wanted_ns: u64) {
        let late_ns = self.now_ns().saturating_sub(wanted_ns);
        if late_ns > STALL_NS {
            let stalled = |client: &Rc<Client>| client.ledger().borrow_mut().stalled(late_ns / 1_000);
            self.clients.iter().for_each(stalled);
        }
        if late_ns > LATE_NS {
            yield_now().await;
        }
    }

    async fn send_due(&self, lanes: &mut [Lane], now_ns: u64) {
        let mut sent = 0;
        // The lane that is furthest behind goes first.
        while let Some(lane) = lanes.iter_mut().min_by_key(|lane| lane.next_due_ns()) {
            let due_ns = lane.next_due_ns();
            if due_ns > now_ns {
                return;
            }
            lane.client.send(due_ns);
            lane.next += 1;
            sent += 1;
            if sent % SENDS_IN_A_ROW == 0 {
                yield_now().await;
            }
        }
    }

    fn close_intervals(&self, now_ns: u64) -> Result<(), LoadError> {
        for client in &self.clients {
            let mut ledger = client.ledger().borrow_mut();
            while let Some(interval) = ledger.close_next(now_ns)? {
                self.voice.say(LoadMessage::Interval(Box::new(interval)));
            }
        }
        Ok(())
    }

    async fn drain(&self) -> Result<(), LoadError> {
        let open = || self.clients.iter().map(|client| client.open()).sum::<usize>();
        let longest = self.clients.iter().map(|client| client.timeout()).max().unwrap_or_default();
        let give_up_ns = self.now_ns() + nanos(longest + DRAIN_MARGIN);
        while open() > 0 {
            let now_ns = self.now_ns();
            if now_ns >= give_up_ns {
                return Err(LoadError::Stuck { open: open() });
            }
            self.pass_deadlines(now_ns);
            let next_ns = give_up_ns.min(self.next_deadline_ns());
            self.wake_ns.set(next_ns);
            tokio::select! {
                () = self.ended.notified() => {}
                woken = self.timer.until(next_ns) => woken.map_err(LoadError::Timer)?,
            }
            self.hear(next_ns).await;
        }
        Ok(())
    }

    fn pass_deadlines(&self, now_ns: u64) {
        self.clients.iter().for_each(|client| client.pass_deadlines(now_ns));
    }

    fn next_deadline_ns(&self) -> u64 {
        self.clients.iter().filter_map(|client| client.next_deadline_ns()).min().unwrap_or(u64::MAX)
    }

    /// Lanes without a rate set deadlines while this loop sleeps, none of them earlier than this.
    fn next_look_ns(&self, now_ns: u64) -> u64 {
        let busy = self.clients.iter().filter(|client| client.has_no_rate());
        busy.map(|client| now_ns + nanos(client.timeout())).min().unwrap_or(u64::MAX)
    }

    fn finish(&self, end_ns: u64) -> Result<(), LoadError> {
        for client in &self.clients {
            let mut ledger = client.ledger().borrow_mut();
            while let Some(interval) = ledger.finish_next(end_ns)? {
                self.voice.say(LoadMessage::Interval(Box::new(interval)));
            }
        }
        Ok(())
    }

    fn now_ns(&self) -> u64 {
        nanos(self.origin.elapsed())
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn totals(client: &Client) -> LaneTotals {
    let ledger = client.ledger().borrow();
    let (by_outcome, connections_opened) = ledger.totals();
    LaneTotals { lane: client.name().to_owned(), by_outcome, connections_opened, send_lag: ledger.send_lag() }
}
