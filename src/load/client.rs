//! One lane at work: it sends what falls due, keeps its connections, and accounts for every request exactly once.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use futures::{StreamExt, stream};
use tokio::{
    sync::Notify,
    task::spawn_local,
    time::{Instant, timeout},
};

use super::{
    classify::{self, Body, Ending, Evidence, Shortage},
    connection::{Connection, OpenError},
    deadline::{Deadline, Deadlines},
    exchange::{Answer, Template, exchange},
    lane::{LaneSpec, Route, RoutedLane},
    ledger::{Entry, Ledger, micros},
    message::LoadMessage,
    pool::Pool,
    source::Sources,
    voice::Voice,
};
use crate::{
    experiment::schema::Connections,
    failure::chain,
    record::event::{LostRequest, Outcome},
};

/// A lane may always have so many requests open at once.
const OPEN_REQUESTS_MIN: usize = 1_000;

/// And never more than this: what lies beyond is a generator that would fall over first. About 200 MB when every
/// connection is established.
const OPEN_REQUESTS_MAX: usize = 16_384;

/// A stalled service holds rate × timeout requests open; this much more is allowed before it must be our own fault.
const OPEN_REQUESTS_MARGIN: f64 = 1.25;

/// A request that would be sent only after this fraction of its timeout (one half) is not sent at all: were it lost, the
/// lateness would be ours and the blame the service's.
const SEND_LAG_SHARE_MAX: u32 = 2;

/// Connections that a lane opens at the same time before it begins; more could overflow a server's backlog.
const OPENING_AT_ONCE: usize = 32;

/// How long a connection may take from the end of an answer to being ready for the next request. hyper needs no
/// network for that, so only a fault of its own would reach it.
const READY_WITHIN: Duration = Duration::from_secs(1);

/// One lane at work.
pub(super) struct Client {
    spec: LaneSpec,
    route: Route,
    template: Template,
    connect_timeout: Duration,
    timeout: Duration,
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
    sources: Rc<Sources>,
}

impl Client {
    /// A lane that sends `template` as `spec` says, on the clock that reads zero at `origin`.
    pub(super) fn new(
        RoutedLane { spec, route }: RoutedLane,
        template: Template,
        origin: Instant,
        ended: Rc<Notify>,
        voice: Rc<Voice>,
        sources: Rc<Sources>,
    ) -> Self {
        let micros = |value: i64| Duration::from_micros(value.try_into().unwrap_or_default());
        let (connect_timeout, timeout) = (micros(spec.connect_timeout_us), micros(spec.timeout_us));
        Self {
            open_max: open_max(spec.rate_per_second, timeout),
            pool: match spec.connections {
                Connections::New => None,
                Connections::Reused(size) => Some(RefCell::new(Pool::new(size.into()))),
            },
            ledger: RefCell::new(Ledger::new(spec.name.clone())),
            open: Cell::new(0),
            spec,
            route,
            template,
            connect_timeout,
            timeout,
            connect_deadlines: Deadlines::default(),
            deadlines: Deadlines::default(),
            origin,
            ended,
            voice,
            sources,
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

    /// The lane begins at `start_ns`.
    pub(super) fn begin(&self, start_ns: u64) {
        self.ledger.borrow_mut().begin(start_ns);
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
        if now.saturating_duration_since(self.moment(intended_ns)) >= self.timeout / SEND_LAG_SHARE_MAX {
            return self.withhold(intended_ns, now, Shortage::Time);
        }
        if self.open.get() >= self.open_max {
            return self.withhold(intended_ns, now, Shortage::OpenRequests);
        }
        let over_ns = intended_ns + nanos(self.timeout);
        let pooled = self.pool.as_ref().and_then(|pool| pool.borrow_mut().take());
        let way = pooled.map_or_else(|| self.connect_until(now, over_ns), Way::Pooled);
        self.open.set(self.open.get() + 1);
        spawn_local(Rc::clone(self).request(intended_ns, way, self.deadlines.add(over_ns)));
        self.replace_closed();
    }

    fn connect_until(&self, now: Instant, over_ns: u64) -> Way {
        if let Some(pool) = &self.pool {
            pool.borrow_mut().expect();
        }
        let connected_by_ns = nanos(now.saturating_duration_since(self.origin) + self.connect_timeout);
        Way::New(self.connect_deadlines.add(over_ns.min(connected_by_ns)))
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
        match timeout(self.connect_timeout, Connection::open(&self.route, &self.sources)).await {
            Ok(Ok(connection)) => {
                self.ledger.borrow_mut().connection_opened();
                pool.borrow_mut().put(connection);
            }
            // No request was on it, so nothing is lost; the next one that falls due tries again.
            Ok(Err(_)) | Err(_) => pool.borrow_mut().forget(),
        }
    }

    async fn request(self: Rc<Self>, intended_ns: u64, way: Way, over: Rc<Deadline>) {
        let began = Instant::now();
        let (reused, opened) = match way {
            Way::Pooled(connection) => (true, Some(Ok(connection))),
            Way::New(deadline) => (false, deadline.limit(Connection::open(&self.route, &self.sources)).await),
        };
        let mut connection = match opened {
            Some(Ok(connection)) => connection,
            failed => {
                let answer = not_connected(failed.and_then(Result::err));
                self.settle(&Attempt { intended_ns, sent: began, reused, connection: None, answer: &answer });
                self.forget_connection();
                return;
            }
        };
        if !reused {
            self.ledger.borrow_mut().connection_opened();
        }
        let answer = exchange(&mut connection, &self.template, &over).await;
        let sent = if reused { connection.wire.first_write().unwrap_or(began) } else { began };
        self.settle(&Attempt { intended_ns, sent, reused, connection: Some(&connection), answer: &answer });
        drop(over);
        self.keep_or_close(connection, &answer).await;
    }

    async fn keep_or_close(&self, mut connection: Connection, answer: &Answer) {
        connection.uses = connection.uses.saturating_add(1);
        let whole = matches!(answer.ending, Ending::Whole(Body::Right | Body::Wrong));
        if let Some(pool) = &self.pool
            && whole
            && !answer.says_close
            && matches!(timeout(READY_WITHIN, connection.sender.ready()).await, Ok(Ok(())))
        {
            pool.borrow_mut().put(connection);
        } else {
            if whole {
                connection.end_well();
            }
            self.forget_connection();
        }
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
        let entry = Entry { intended_ns, outcome, times_us: None, send_lag_us, says_close: false };
        self.ledger.borrow_mut().ended(entry);
    }

    fn settle(&self, attempt: &Attempt<'_>) {
        let Attempt { intended_ns, sent, reused, connection, answer } = *attempt;
        let ended = Instant::now();
        let wire = connection.map(|connection| &connection.wire);
        let bytes_in = wire.map_or(0, |wire| wire.bytes_in());
        let evidence = Evidence {
            reused,
            bytes_out: wire.map_or(0, |wire| wire.bytes_out()),
            bytes_in,
            status: answer.status,
            wanted_status: self.spec.status,
        };
        let (outcome, retry_safe) = classify::classify(&answer.ending, evidence);
        let intended = self.moment(intended_ns);
        let times_us = (micros_between(intended, ended), micros_between(sent, ended));
        self.ledger.borrow_mut().ended(Entry {
            intended_ns,
            outcome,
            times_us: (outcome != Outcome::NotSent).then_some(times_us),
            send_lag_us: micros_between(intended, sent),
            says_close: answer.says_close,
        });
        if let Ending::ConnectFailed(error) = &answer.ending
            && outcome == Outcome::NotSent
        {
            self.voice.taint(&self.spec.name, classify::shortage(error), &answer.error);
        }
        if outcome.is_lost() {
            let age = connection.filter(|_| reused).map_or(0, |connection| micros_between(connection.opened, sent));
            self.voice.say(LoadMessage::Lost(Box::new(LostRequest {
                lane: self.spec.name.clone(),
                outcome,
                intended_us: micros(intended_ns),
                sent_us: self.reading(sent),
                ended_us: self.reading(ended),
                connection_uses: connection.map_or(0, |connection| connection.uses),
                connection_age_us: i64::try_from(age).unwrap_or(i64::MAX),
                bytes_in,
                status: answer.status,
                pod: connection.and_then(|connection| connection.pod.clone()),
                retry_safe,
                error: answer.error.clone(),
            })));
        }
        self.open.set(self.open.get() - 1);
        self.ended.notify_one();
    }

    fn moment(&self, ns: u64) -> Instant {
        self.origin + Duration::from_nanos(ns)
    }

    fn reading(&self, moment: Instant) -> i64 {
        i64::try_from(micros_between(self.origin, moment)).unwrap_or(i64::MAX)
    }
}

/// One request that has ended, on its way into the account.
#[derive(Clone, Copy)]
struct Attempt<'a> {
    intended_ns: u64,
    sent: Instant,
    reused: bool,
    connection: Option<&'a Connection>,
    answer: &'a Answer,
}

/// How a request gets its connection.
enum Way {
    /// It takes one that was idle.
    Pooled(Connection),
    /// It opens one, by this deadline.
    New(Rc<Deadline>),
}

/// Without an error it took too long.
fn not_connected(error: Option<OpenError>) -> Answer {
    let (ending, error) = match error {
        None => (Ending::ConnectTimedOut, String::new()),
        Some(OpenError::System(error)) => {
            let words = error.to_string();
            (Ending::ConnectFailed(error), words)
        }
        Some(OpenError::Http(error)) => (Ending::ConnectFailed(std::io::Error::other(chain(&error))), chain(&error)),
    };
    Answer { ending, status: None, says_close: false, error }
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
