//! The load generator: lanes on an OS thread of their own, so that nothing else in the process makes them late.
//!
//! `start` checks the lanes and opens the connections that they keep, `begin` lets requests fall due, `stop` ends
//! that and waits for the last answer. The same in the harness and in an agent pod.

use std::{
    cell::Cell,
    collections::BTreeMap,
    io,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use hdrhistogram::CreationError;
use hyper::{Uri, header::HeaderValue};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    runtime::{Builder, LocalOptions},
    sync::{Notify, mpsc::UnboundedSender, oneshot},
    task::spawn_local,
    time::Instant,
};

use super::{
    body::{Check, Needle},
    call::Call,
    client::Client,
    connection::Way,
    exchange::{Listening, Template, Words},
    lane::{LaneSpec, Protocol, RoutedLane, StreamSpec},
    ledger::INTERVAL_NS,
    machine::Watch,
    message::LoadMessage,
    pacer::{Commands, Pacer},
    rates::Shape,
    schedule::{RATE_MAX, Schedule},
    source::Sources,
    tls::{Tls, TlsProblem},
    voice::Voice,
};
use crate::{
    experiment::schema::Connections,
    record::{event::Outcome, samples::Samples},
};

/// Open files that the generator asks for: each open request is one, and the usual soft limit of 1,024 would be
/// reached by a service that stalls.
const DESCRIPTORS: u64 = 65_536;

/// What a message or line says where the lane does not say it.
const PAYLOAD: &str = "evenkeel {id}";

/// Tasks run between two looks at the network. The fewer, the sooner a due request or an answer is seen.
const TASKS_PER_POLL: u32 = 31;

/// Why a generator cannot run, or did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A rate that no schedule can have.
    #[error("lane `{lane}` cannot run at {rate} requests per second; write a rate above 0 and up to {RATE_MAX}")]
    Rate {
        /// The lane.
        lane: String,
        /// Its rate.
        rate: f64,
    },
    /// A timeout of no length.
    #[error("lane `{lane}` has a timeout that is not above zero; write one such as 2s")]
    Timeout {
        /// The lane.
        lane: String,
    },
    /// A path that is no path.
    #[error("lane `{lane}` cannot ask for `{path}`; write a path that begins with /")]
    Path {
        /// The lane.
        lane: String,
        /// Its path.
        path: String,
    },
    /// A host that cannot stand in a header.
    #[error("lane `{lane}` cannot send `{host}` as its Host header; write a host name")]
    Host {
        /// The lane.
        lane: String,
        /// Its host.
        host: String,
    },
    /// TLS that cannot be.
    #[error("lane `{lane}` cannot speak TLS")]
    Tls {
        /// The lane.
        lane: String,
        /// Why.
        #[source]
        source: TlsProblem,
    },
    /// A message that is none.
    #[error("lane `{lane}` cannot send `{send}`; write the message of a gRPC call as base64")]
    Send {
        /// The lane.
        lane: String,
        /// What was written.
        send: String,
    },
    /// A stream where there is none.
    #[error(
        "lane `{lane}` cannot listen to a stream so; it needs HTTP/1.1, a new connection for each, and times above 0"
    )]
    Stream {
        /// The lane.
        lane: String,
    },
    /// A check sum that is none.
    #[error("lane `{lane}` cannot expect `{sum}`; write a SHA-256 as 64 hexadecimal digits")]
    Sum {
        /// The lane.
        lane: String,
        /// What was written.
        sum: String,
    },
    /// The system gave no thread.
    #[error("failed to start the load generator's thread; check the limit of processes (ulimit -u)")]
    Thread(#[source] io::Error),
    /// The system gave no event loop.
    #[error("failed to set up the load generator's event loop; check the limit of open files (ulimit -n)")]
    Runtime(#[source] io::Error),
    /// The system's timer failed.
    #[error("failed to use a kernel timer for the load; check the limit of open files (ulimit -n)")]
    Timer(#[source] io::Error),
    /// A histogram could not be made.
    #[error("failed to make a histogram of response times")]
    Histogram(#[from] CreationError),
    /// It was begun before.
    #[error("the load was begun a second time; begin it once")]
    BegunBefore,
    /// Requests did not end within their own timeout.
    #[error("{open} requests did not end within their timeout; the load has no complete account")]
    Stuck {
        /// How many.
        open: usize,
    },
    /// The thread ended without an account.
    #[error("the load generator ended before its time; its account is lost")]
    Died,
}

/// All that a generator has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadTotals {
    /// Each lane, in the order given.
    pub lanes: Vec<LaneTotals>,
}

/// All that a lane has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LaneTotals {
    /// The lane.
    pub lane: String,
    /// Requests by what became of them; their sum is what fell due.
    pub by_outcome: BTreeMap<Outcome, u64>,
    /// Connections opened, those before the first request included.
    pub connections_opened: u64,
    /// How far each request's send lay behind its intended moment.
    pub send_lag: Samples,
}

/// Has the kept connections of a generator opened anew.
#[derive(Debug, Clone)]
pub struct Renewer {
    origin: Instant,
    renewed_ns: Arc<AtomicU64>,
}

impl Renewer {
    /// Lets no connection go on that is open now: each is closed before its next request, and another opened. Those
    /// opened before the rules of a Service had followed its endpoints all lead to the first of them, for as long as
    /// they are kept.
    pub fn renew(&self) {
        let now_ns = u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.renewed_ns.store(now_ns, Ordering::Relaxed);
    }
}

/// A load generator on its own thread. Dropping it ends the load without waiting for it.
#[derive(Debug)]
pub struct Running {
    origin: Instant,
    begin: Option<oneshot::Sender<()>>,
    renewer: Renewer,
    stop: oneshot::Sender<()>,
    done: oneshot::Receiver<Result<LoadTotals, LoadError>>,
    thread: thread::JoinHandle<()>,
}

impl Running {
    /// The moment at which the generator's clock, and so every time that it says, is zero.
    #[must_use]
    pub const fn origin(&self) -> Instant {
        self.origin
    }

    /// Lets requests fall due: from the moment given to [`start_at`] on, or from the next tenth of a second of the
    /// generator's clock.
    ///
    /// # Errors
    /// When it was begun before, or the generator has ended.
    pub fn begin(&mut self) -> Result<(), LoadError> {
        let begin = self.begin.take().ok_or(LoadError::BegunBefore)?;
        begin.send(()).map_err(|()| LoadError::Died)
    }

    /// What has its connections opened anew.
    #[must_use]
    pub fn renewer(&self) -> Renewer {
        self.renewer.clone()
    }

    /// Stops: no new request falls due, those that are open end by themselves within their timeout, and all intervals
    /// are sent. Then the thread has ended.
    ///
    /// # Errors
    /// Why the load did not come to its end.
    pub async fn stop(self) -> Result<LoadTotals, LoadError> {
        // A generator that has ended already says why below.
        self.stop.send(()).ok();
        let result = self.done.await.map_err(|_closed| LoadError::Died)?;
        // The result is the last thing that the thread does, so this does not wait.
        self.thread.join().map_err(|_panic| LoadError::Died)?;
        result
    }
}

/// Checks the lanes, and starts a generator on a thread of its own: it opens the connections that the lanes keep,
/// and then waits for [`Running::begin`]. What it has to say goes to `messages`.
///
/// It raises the process's limit of open files as far as the system allows, up to 65,536.
///
/// # Errors
/// A lane that cannot run, or a system that gives no thread or event loop.
pub fn start<L: Into<RoutedLane>>(lanes: Vec<L>, messages: UnboundedSender<LoadMessage>) -> Result<Running, LoadError> {
    launch(lanes, messages, Instant::now(), None)
}

/// As [`start`], for lanes whose first interval is to begin at a moment to come, once [`Running::begin`] has been said:
/// so several generators, each on a machine of its own, have the same intervals.
///
/// # Errors
/// As of [`start`].
pub fn start_at<L: Into<RoutedLane>>(
    moment: Instant,
    lanes: Vec<L>,
    messages: UnboundedSender<LoadMessage>,
) -> Result<Running, LoadError> {
    // A clock that has begun already, and on which the moment is a whole number of intervals.
    let ahead = moment.saturating_duration_since(Instant::now());
    let first_ns =
        u64::try_from(ahead.as_nanos()).unwrap_or(u64::MAX).div_ceil(INTERVAL_NS).saturating_mul(INTERVAL_NS);
    launch(lanes, messages, moment - Duration::from_nanos(first_ns), Some(first_ns))
}

fn launch<L: Into<RoutedLane>>(
    lanes: Vec<L>,
    messages: UnboundedSender<LoadMessage>,
    origin: Instant,
    first_ns: Option<u64>,
) -> Result<Running, LoadError> {
    let lanes = lanes.into_iter().map(|lane| prepare(lane.into())).collect::<Result<Vec<_>, _>>()?;
    raise_descriptor_limit();
    let runtime_of = || {
        Builder::new_current_thread().enable_all().event_interval(TASKS_PER_POLL).build_local(LocalOptions::default())
    };
    // Without it the measurement is as good, and a trouble has no reason.
    let watch = Watch::start(messages.clone()).ok();
    let (begin, first) = oneshot::channel();
    let (stop, last) = oneshot::channel();
    let (report, done) = oneshot::channel();
    let commands = Commands { begin: first, first_ns, stop: last };
    let renewed_ns = Arc::new(AtomicU64::new(0));
    let heard_ns = Arc::clone(&renewed_ns);
    let run = move || {
        let result = runtime_of()
            .map_err(LoadError::Runtime)
            .and_then(|runtime| runtime.block_on(generate(lanes, messages, origin, commands, heard_ns)));
        drop(watch);
        // Whoever would hear it is gone when the generator was dropped.
        drop(report.send(result));
    };
    let thread = thread::Builder::new().name("load".to_owned()).spawn(run).map_err(LoadError::Thread)?;
    Ok(Running { origin, begin: Some(begin), renewer: Renewer { origin, renewed_ns }, stop, done, thread })
}

/// A lane whose every part has been found to be possible.
struct Prepared {
    lane: RoutedLane,
    template: Template,
    tls: Option<Tls>,
}

async fn generate(
    lanes: Vec<Prepared>,
    messages: UnboundedSender<LoadMessage>,
    origin: Instant,
    commands: Commands,
    renewed_ns: Arc<AtomicU64>,
) -> Result<LoadTotals, LoadError> {
    let (ended, voice, sources) = (Rc::new(Notify::new()), Rc::new(Voice::new(messages)), Sources::new());
    let wake_ns = Rc::new(Cell::new(u64::MAX));
    let client = |Prepared { lane: RoutedLane { spec, route }, template, tls }: Prepared| {
        let scheme = if tls.is_some() { "wss" } else { "ws" };
        let address = format!("{scheme}://{}{}", spec.host, spec.path);
        let (sources, renewed_ns) = (Rc::clone(&sources), Arc::clone(&renewed_ns));
        let way = Way { route, sources, tls, protocol: spec.options.protocol, address, renewed_ns };
        Rc::new(Client::new(spec, way, template, origin, Rc::clone(&ended), Rc::clone(&voice), Rc::clone(&wake_ns)))
    };
    let clients = lanes.into_iter().map(client).collect();
    let pacer = Pacer::new(clients, Rc::clone(&ended), Rc::clone(&voice), origin, wake_ns)?;
    // A task like those of the connections, so that after a stall it waits in line behind what they have to say.
    spawn_local(pacer.run(commands)).await.map_err(|_panic| LoadError::Died)?
}

fn prepare(lane: RoutedLane) -> Result<Prepared, LoadError> {
    let spec = &lane.spec;
    let name = || spec.name.clone();
    let shape = &spec.options.shape;
    if *shape != Shape::Max && Schedule::new(0, spec.rate_per_second, shape, spec.options.share, 0, 1).is_none() {
        return Err(LoadError::Rate { lane: name(), rate: spec.rate_per_second });
    }
    if spec.timeout_us <= 0 || spec.connect_timeout_us <= 0 {
        return Err(LoadError::Timeout { lane: name() });
    }
    if !spec.path.starts_with('/') || spec.path.parse::<Uri>().is_err() {
        return Err(LoadError::Path { lane: name(), path: spec.path.clone() });
    }
    if HeaderValue::from_str(&spec.host).is_err() {
        return Err(LoadError::Host { lane: name(), host: spec.host.clone() });
    }
    let stream = stream(spec)?;
    let offers: &[&str] = match spec.options.protocol {
        Protocol::Http1 | Protocol::WebSocket => &["http/1.1"],
        Protocol::Http2 | Protocol::Grpc => &["h2"],
        Protocol::Tcp => &[],
    };
    let tls = spec.options.tls.as_ref().map(|tls| Tls::new(tls, offers)).transpose();
    let tls = tls.map_err(|source| LoadError::Tls { lane: name(), source })?;
    let template =
        Template::new(&spec.path, &spec.host, tls.is_some(), spec.status, check(spec)?, words(spec)?).listening(stream);
    Ok(Prepared { lane, template, tls })
}

fn words(spec: &LaneSpec) -> Result<Words, LoadError> {
    let send = spec.options.send.as_deref();
    let unreadable = |_| LoadError::Send { lane: spec.name.clone(), send: send.unwrap_or_default().to_owned() };
    Ok(match spec.options.protocol {
        Protocol::Http1 | Protocol::Http2 => Words::default(),
        Protocol::Grpc => {
            let message = BASE64.decode(send.unwrap_or_default()).map_err(unreadable)?;
            Words { call: Some(Call::new(&message)), ..Words::default() }
        }
        Protocol::WebSocket | Protocol::Tcp => {
            Words { payload: send.unwrap_or(PAYLOAD).to_owned(), ..Words::default() }
        }
    })
}

fn stream(spec: &LaneSpec) -> Result<Option<Listening>, LoadError> {
    let Some(StreamSpec { for_us, idle_us }) = spec.options.stream else { return Ok(None) };
    let is_possible = spec.options.protocol == Protocol::Http1 && spec.connections == Connections::New;
    let time = |us: i64| u64::try_from(us).ok().filter(|us| *us > 0 && is_possible).map(Duration::from_micros);
    let listening = time(for_us).zip(time(idle_us)).map(|(lasts, idle)| Listening { lasts, idle });
    listening.map(Some).ok_or_else(|| LoadError::Stream { lane: spec.name.clone() })
}

fn check(spec: &LaneSpec) -> Result<Check, LoadError> {
    let sum = |text: &String| sum(text).ok_or_else(|| LoadError::Sum { lane: spec.name.clone(), sum: text.clone() });
    Ok(Check {
        contains: spec.body_contains.as_deref().map(Needle::new),
        length: spec.options.body_length,
        sha256: spec.options.body_sha256.as_ref().map(sum).transpose()?,
    })
}

/// The bytes of 64 hexadecimal digits.
fn sum(text: &str) -> Option<[u8; 32]> {
    let digits = text.bytes().map(|byte| char::from(byte).to_digit(16)).collect::<Option<Vec<u32>>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).filter_map(|two| u8::try_from(two[0] * 16 + two[1]).ok()).collect();
    <[u8; 32]>::try_from(bytes).ok().filter(|_| digits.len() == 64)
}

// Where it cannot be raised, running out of it is seen and said as it happens.
fn raise_descriptor_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.unwrap_or(DESCRIPTORS).min(DESCRIPTORS);
    if current.is_some_and(|current| current < wanted) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).ok();
    }
}
