//! One lane at work: it sends what falls due, keeps its connections, and accounts for every request exactly once.

mod settle;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::atomic::Ordering,
    time::Duration,
};

use futures::{StreamExt, stream};
use tokio::{
    sync::Notify,
    task::spawn_local,
    time::{Instant, timeout},
};

use self::settle::{Attempt, not_connected};
use super::{
    answer::Answer,
    classify::{Body, Ending, Shortage},
    connection::{Connection, OpenError, Progress, Way},
    deadline::{Deadline, Deadlines},
    exchange::{Template, exchange},
    lane::{LaneSpec, Shape},
    ledger::{Entry, Ledger},
    pool::Pool,
    voice::Voice,
};
use crate::{experiment::schema::Connections, record::event::Outcome};

/// A lane may always have so many requests open at once.
const OPEN_REQUESTS_MIN: usize = 1_000;

/// And never more than this: what lies beyond is a generator that would fall over first. About 200 MB when every
/// connection is established.
const OPEN_REQUESTS_MAX: usize = 16_384;

/// A stalled service holds rate × timeout requests open; this much more is allowed before it must be our own fault.
const OPEN_REQUESTS_MARGIN: f64 = 1.25;

/// A request that would be sent only after this fraction of its timeout (one half) is not sent at all: were it lost,
/// the lateness would be ours and the blame the service's.
const SEND_LAG_SHARE_MAX: u32 = 2;

/// Connections that a lane opens at the same time before it begins; more could overflow a server's backlog.
const OPENING_AT_ONCE: usize = 32;

/// Connections at once of a lane that has neither a rate nor a number of connections.
const WITHOUT_A_RATE: u16 = 64;

/// The pause of a lane without a rate after a request that found no connection: whoever is refused at once would ask
/// again at once, and do nothing else.
const BREATH: Duration = Duration::from_millis(10);

/// One lane at work.
pub(super) struct Client {
    spec: LaneSpec,
    way: Way,
    template: Template,
    connect_timeout: Duration,
    // Of a whole request, and of what comes before a stream is listened to; the same where there is none.
    timeout: Duration,
    head_timeout: Duration,
    // What takes longer is slow, in microseconds.
    slow_us: u64,
    // Of connecting and of whole requests: in each of the two they come in order.
    connect_deadlines: Deadlines,
    deadlines: Deadlines,
    origin: Instant,
    open_max: usize,
    open: Cell<usize>,
    // Told at each end of a request, for whoever waits for the last.
    ended: Rc<Notify>,
    pool: Option<RefCell<Pool>>,
    ledger: RefCell<Ledger>,
    voice: Rc<Voice>,
    // Requests that have fallen due, and whether no more may.
    nth: Cell<u64>,
    stopped: Cell<bool>,
    // When the pacer is to wake next.
    wake_ns: Rc<Cell<u64>>,
}

impl Client {
    /// A lane that sends `template` as `spec` says, on the clock that reads zero at `origin`.
    pub(super) fn new(
        spec: LaneSpec,
        way: Way,
        template: Template,
        origin: Instant,
        ended: Rc<Notify>,
        voice: Rc<Voice>,
        wake_ns: Rc<Cell<u64>>,
    ) -> Self {
        let micros = |value: i64| Duration::from_micros(value.try_into().unwrap_or_default());
        let (connect_timeout, head_timeout) = (micros(spec.connect_timeout_us), micros(spec.timeout_us));
        // A stream that is silent is given up for its silence, so this is only the last bound.
        let listening = spec.options.stream.map(|stream| micros(stream.for_us) + micros(stream.idle_us));
        let timeout = head_timeout + listening.unwrap_or_default();
        Self {
            open_max: open_max(spec.rate_per_second / f64::from(spec.options.share.of().get()), timeout),
            pool: match spec.connections {
                Connections::New => None,
                Connections::Reused(size) => Some(RefCell::new(Pool::new(size.into()))),
            },
            ledger: RefCell::new(Ledger::new(spec.name.clone())),
            open: Cell::new(0),
            slow_us: spec.options.slow_us.map_or(u64::MAX, |slow| u64::try_from(slow).unwrap_or_default()),
            spec,
            way,
            template,
            connect_timeout,
            timeout,
            head_timeout,
            connect_deadlines: Deadlines::default(),
            deadlines: Deadlines::default(),
            origin,
            ended,
            voice,
            nth: Cell::new(0),
            stopped: Cell::new(false),
            wake_ns,
        }
    }

    /// Opens the connections that the lane keeps. One that fails is tried again when a request falls due.
    pub(super) fn warm_up(self: &Rc<Self>) {
        let Some(pool) = &self.pool else { return };
        let missing = pool.borrow().missing();
        (0..missing).for_each(|_| pool.borrow_mut().expect());
        let client = Rc::clone(self);
        spawn_local(async move {
            stream::iter(0..missing).for_each_concurrent(OPENING_AT_ONCE, |_| client.open_spare()).await;
        });
    }

    /// The lane begins at `start_ns`; one without a rate at once.
    pub(super) fn begin(self: &Rc<Self>, start_ns: u64) {
        self.ledger.borrow_mut().begin(start_ns);
        if self.has_no_rate() {
            let connections = match self.spec.connections {
                Connections::Reused(size) => size,
                Connections::New => WITHOUT_A_RATE,
            };
            for _ in 0..connections {
                spawn_local(Rc::clone(self).keep_busy(start_ns));
            }
        }
    }

    /// From when on none of its requests falls due, where it begins at `start_ns`.
    pub(super) fn end_ns(&self, start_ns: u64) -> u64 {
        let length = self.spec.options.for_us.and_then(|us| u64::try_from(us).ok());
        length.map_or(u64::MAX, |us| start_ns.saturating_add(us.saturating_mul(1_000)))
    }

    /// No new request falls due.
    pub(super) fn stop(&self) {
        self.stopped.set(true);
    }

    /// Whether each of its connections sends the next request when it has the answer to the last one.
    pub(super) fn has_no_rate(&self) -> bool {
        self.spec.options.shape == Shape::Max
    }

    /// What it is to do.
    pub(super) fn spec(&self) -> &LaneSpec {
        &self.spec
    }

    /// Requests that are open now.
    pub(super) fn open(&self) -> usize {
        self.open.get()
    }

    /// How long a request may take from its intended moment.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// When the next of its requests is over.
    pub(super) fn next_deadline_ns(&self) -> Option<u64> {
        self.connect_deadlines.next_ns().into_iter().chain(self.deadlines.next_ns()).min()
    }

    /// Ends the requests that are over.
    pub(super) fn pass_deadlines(&self, now_ns: u64) {
        self.connect_deadlines.pass(now_ns);
        self.deadlines.pass(now_ns);
    }

    /// The account of the lane.
    pub(super) fn ledger(&self) -> &RefCell<Ledger> {
        &self.ledger
    }

    /// The lane's name.
    pub(super) fn name(&self) -> &str {
        &self.spec.name
    }

    /// Sends the request that was due at `intended_ns`, now.
    pub(super) fn send(self: &Rc<Self>, intended_ns: u64) {
        self.ledger.borrow_mut().due(intended_ns);
        let now = Instant::now();
        if now.saturating_duration_since(self.moment(intended_ns)) >= self.head_timeout / SEND_LAG_SHARE_MAX {
            return self.withhold(intended_ns, now, Shortage::Time);
        }
        if self.open.get() >= self.open_max {
            return self.withhold(intended_ns, now, Shortage::OpenRequests);
        }
        let (hold, over) = self.take_up(intended_ns, now);
        let client = Rc::clone(self);
        spawn_local(async move { client.request(intended_ns, hold, over).await });
        self.replace_closed();
    }

    /// One request after another, from `start_ns` until the lane stops.
    async fn keep_busy(self: Rc<Self>, start_ns: u64) {
        tokio::time::sleep_until(self.moment(start_ns)).await;
        let end_ns = self.end_ns(start_ns);
        while !self.stopped.get() {
            let now = Instant::now();
            let due_ns = nanos(now.saturating_duration_since(self.origin));
            if due_ns >= end_ns {
                return;
            }
            self.ledger.borrow_mut().due(due_ns);
            let (hold, over) = self.take_up(due_ns, now);
            if !self.request(due_ns, hold, over).await {
                tokio::time::sleep(BREATH).await;
            }
        }
    }

    /// A request begins: the connection that it is to use, and the deadline by which it must be done.
    fn take_up(&self, intended_ns: u64, now: Instant) -> (Hold, Rc<Deadline>) {
        let over_ns = intended_ns + nanos(self.timeout);
        let pooled = self.pool.as_ref().and_then(|pool| pool.borrow_mut().take(now, |old| self.may_go_on(old, now)));
        let hold = pooled.map_or_else(|| self.connect_until(now, over_ns), Hold::Pooled);
        self.open.set(self.open.get() + 1);
        (hold, self.deadlines.add(over_ns))
    }

    /// Whether a connection may carry another request by the lane's own rules.
    fn may_go_on(&self, connection: &Connection, now: Instant) -> bool {
        let options = &self.spec.options;
        let opened_ns = nanos(connection.opened.saturating_duration_since(self.origin));
        if opened_ns < self.way.renewed_ns.load(Ordering::Relaxed) {
            return false;
        }
        let age_us = || micros_between(connection.opened, now);
        options.requests_per_connection.is_none_or(|most| connection.uses < most)
            && options.connection_age_us.is_none_or(|most| u64::try_from(most).is_ok_and(|most| age_us() < most))
    }

    fn connect_until(&self, now: Instant, over_ns: u64) -> Hold {
        if let Some(pool) = &self.pool {
            pool.borrow_mut().expect();
        }
        let connected_by_ns = nanos(now.saturating_duration_since(self.origin) + self.connect_timeout);
        Hold::New(self.connect_deadlines.add(over_ns.min(connected_by_ns)))
    }

    // One at a time, so that a service that comes back is not met by all of them at once.
    fn replace_closed(self: &Rc<Self>) {
        let Some(pool) = self.pool.as_ref().filter(|pool| pool.borrow().missing() > 0) else { return };
        pool.borrow_mut().expect();
        let client = Rc::clone(self);
        spawn_local(async move { client.open_spare().await });
    }

    async fn open_spare(&self) {
        let Some(pool) = &self.pool else { return };
        match timeout(self.connect_timeout, self.way.open(&Cell::default())).await {
            Ok(Ok(connection)) => {
                self.ledger.borrow_mut().connection_opened();
                pool.borrow_mut().put(connection, Instant::now());
            }
            // No request was on it, so nothing is lost; the next one that falls due tries again.
            Ok(Err(_)) | Err(_) => pool.borrow_mut().forget(),
        }
    }

    /// Sends one request, to its end. Whether it had a connection.
    async fn request(&self, intended_ns: u64, hold: Hold, over: Rc<Deadline>) -> bool {
        let began = Instant::now();
        let nth = self.spec.options.share.number(self.nth.replace(self.nth.get() + 1));
        let progress = Cell::default();
        let (reused, opened) = match hold {
            Hold::Pooled(mut connection) => {
                if connection.has_gone() {
                    (false, self.replace(connection, &over, &progress).await)
                } else {
                    (true, Some(Ok(connection)))
                }
            }
            Hold::New(deadline) => (false, deadline.limit(self.way.open(&progress)).await),
        };
        let mut connection = match opened {
            Some(Ok(connection)) => connection,
            failed => {
                let progress: Progress = progress.get();
                let answer = not_connected(failed.and_then(Result::err), progress.stage);
                let connection = None;
                self.settle(&Attempt { intended_ns, sent: began, reused, connection, progress, answer: &answer });
                self.forget_connection();
                return false;
            }
        };
        if !reused {
            self.ledger.borrow_mut().connection_opened();
        }
        let answer =
            exchange(&mut connection, &self.template, nth, &over, self.moment(intended_ns) + self.head_timeout).await;
        let sent = answer.seen.written.filter(|_| reused).unwrap_or(began);
        let (progress, established) = (progress.get(), Some(&connection));
        self.settle(&Attempt { intended_ns, sent, reused, connection: established, progress, answer: &answer });
        self.keep_or_close(connection, &answer);
        true
    }

    fn keep_or_close(&self, mut connection: Connection, answer: &Answer) {
        connection.uses = connection.uses.saturating_add(1);
        let whole = matches!(answer.ending, Ending::Whole(Body::Right | Body::Wrong));
        let now = Instant::now();
        if let Some(pool) = self.pool.as_ref().filter(|_| whole && answer.keeps_alive)
            && self.may_go_on(&connection, now)
        {
            pool.borrow_mut().put(connection, now);
        } else {
            if whole {
                connection.end_well();
            }
            self.forget_connection();
        }
    }

    /// A connection in the place of one that said goodbye between its being taken and its use. It is rare, so it may
    /// have a timer of its own.
    async fn replace(
        &self,
        gone: Connection,
        over: &Deadline,
        progress: &Cell<Progress>,
    ) -> Option<Result<Connection, OpenError>> {
        gone.end_well();
        over.limit(timeout(self.connect_timeout, self.way.open(progress))).await.and_then(Result::ok)
    }

    fn forget_connection(&self) {
        if let Some(pool) = &self.pool {
            pool.borrow_mut().forget();
        }
    }

    fn withhold(&self, intended_ns: u64, now: Instant, shortage: Shortage) {
        let send_lag_us = micros_between(self.moment(intended_ns), now);
        self.voice.taint(&self.spec.name, shortage, &format!("{send_lag_us} µs after it was due"));
        let outcome = Outcome::NotSent;
        self.ledger.borrow_mut().ended(Entry {
            intended_ns,
            outcome,
            response_us: None,
            service_us: None,
            send_lag_us,
            says_close: false,
            stalled_us: 0,
        });
    }

    fn moment(&self, ns: u64) -> Instant {
        self.origin + Duration::from_nanos(ns)
    }

    fn reading(&self, moment: Instant) -> i64 {
        i64::try_from(micros_between(self.origin, moment)).unwrap_or(i64::MAX)
    }
}

/// How a request gets its connection.
#[expect(clippy::large_enum_variant, reason = "it is taken apart at once; a box would cost each request an allocation")]
enum Hold {
    /// It takes one that was idle.
    Pooled(Connection),
    /// It opens one, by this deadline.
    New(Rc<Deadline>),
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn micros_between(earlier: Instant, later: Instant) -> u64 {
    u64::try_from(later.saturating_duration_since(earlier).as_micros()).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a bound; `as` saturates")]
fn open_max(rate_per_second: f64, timeout: Duration) -> usize {
    let held_open = rate_per_second * timeout.as_secs_f64() * OPEN_REQUESTS_MARGIN;
    (held_open as usize).clamp(OPEN_REQUESTS_MIN, OPEN_REQUESTS_MAX)
}
