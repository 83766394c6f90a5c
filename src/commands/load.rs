//! `evenkeel load`: the load generator by itself, against a URL. The same core, the same kinds of loss and the same
//! doubts about itself as in an experiment; without a cluster there are no causes.

mod account;
mod target;
mod text;

use std::{
    io::Write as _,
    path::Path,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use self::{
    account::{Account, Summary},
    target::Target,
};
use super::{print, refuse};
use crate::{
    cli::{LoadArgs, LoadRate},
    exit_code::ExitCode,
    experiment::{
        schema::Connections,
        traffic::{Ramp, RateShape, SawTooth},
        units::Span,
    },
    failure::chain,
    judge::verdict::Answer,
    load::{
        self, LoadError, Running,
        lane::{LaneOptions, LaneSpec, Protocol, Shape, Share, StreamSpec, TlsSpec},
        message::LoadMessage,
    },
    record::{error::RecordError, event::INTERVAL_US, load_log::LoadLog},
    report::{
        live::{Live, state::ShownLane},
        terminal::Style,
    },
    run::signals::Signals,
};

/// The name of the only lane.
const LANE: &str = "load";

/// How often the view's clock moves.
const TICK: Duration = Duration::from_millis(200);

/// What a lane without a rate is said to have where a number must stand.
const NO_RATE: f64 = 1.0;

/// Loads a URL and says what became of the requests.
pub(super) async fn load(args: LoadArgs) -> ExitCode {
    let signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return refuse(ExitCode::Internal, format!("failed to listen for signals: {error}")),
    };
    let target = match Target::parse(&args.url) {
        Ok(target) => target,
        Err(problem) => return refuse(ExitCode::Usage, problem),
    };
    let address = match target.find(args.connect_timeout.duration()).await {
        Ok(address) => address,
        Err(problem) => return refuse(ExitCode::Setup, problem),
    };
    let spec = lane(&args, &target, address);
    let (messages, inbox) = unbounded_channel();
    let running = match load::start(vec![spec.clone()], messages) {
        Ok(running) => running,
        Err(error @ (LoadError::Thread(_) | LoadError::Runtime(_))) => return refuse(ExitCode::Setup, chain(&error)),
        Err(error) => return refuse(ExitCode::Usage, chain(&error)),
    };
    let mut account = match Account::new(&spec) {
        Ok(account) => account,
        Err(error) => return refuse(ExitCode::Internal, error),
    };
    let begun = SystemTime::now().checked_sub(running.origin().elapsed()).unwrap_or(SystemTime::UNIX_EPOCH);
    let log = args.hlog.as_deref().map(|path| LoadLog::replace(path, begun)).transpose();
    let mut log = match log {
        Ok(log) => log,
        Err(error) => return refuse(ExitCode::Setup, chain(&error)),
    };
    let conducted = conduct(&args, running, inbox, Hearing { account: &mut account, log: &mut log }, &signals).await;
    if let Err(error) = conducted {
        return refuse(ExitCode::Internal, chain(&error));
    }
    let code = conclude(&args, &account.summary(&args.url, begun), &account, signals.stopped());
    match log.map_or(Ok(()), LoadLog::finish) {
        Ok(()) => code,
        Err(error) => refuse(ExitCode::Setup, chain(&error)),
    }
}

/// Where what the generator says goes.
struct Hearing<'h> {
    account: &'h mut Account,
    log: &'h mut Option<LoadLog>,
}

impl Hearing<'_> {
    /// Enters a message. With the first interval: when the load began, on the generator's clock.
    fn take(&mut self, message: &LoadMessage) -> Result<Option<u64>, Failure> {
        if let (LoadMessage::Interval(interval), Some(log)) = (message, self.log.as_mut()) {
            log.interval(interval)?;
        }
        Ok(self.account.take(message))
    }
}

/// Why a load did not come to its end.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The generator.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The log.
    #[error(transparent)]
    Log(#[from] RecordError),
}

fn lane(args: &LoadArgs, target: &Target, address: std::net::SocketAddr) -> LaneSpec {
    let (rate_per_second, shape) = match args.rate {
        LoadRate::Max => (NO_RATE, Shape::Max),
        LoadRate::Rate(rate) => (rate.per_second(), shape(args).as_ref().map_or(Shape::Constant, Shape::from)),
    };
    let tls = target.secure.then(|| TlsSpec { server_name: target.name.clone(), verify: !args.insecure });
    LaneSpec {
        name: LANE.to_owned(),
        address,
        host: target.host.clone(),
        path: target.path.clone(),
        rate_per_second,
        connections: if args.new_connections || args.stream_for.is_some() {
            Connections::New
        } else {
            Connections::Reused(args.connections)
        },
        connect_timeout_us: args.connect_timeout.micros(),
        timeout_us: args.timeout.micros(),
        status: args.status,
        body_contains: args.body_contains.clone(),
        options: LaneOptions {
            shape,
            share: Share::default(),
            protocol: if args.http2 && target.protocol == Protocol::Http1 { Protocol::Http2 } else { target.protocol },
            send: args.send.clone(),
            for_us: Some(args.duration.micros()),
            tls,
            requests_per_connection: args.requests_per_connection,
            connection_age_us: args.connection_age.map(Span::micros),
            body_length: args.body_length,
            body_sha256: args.body_sha256.clone(),
            slow_us: None,
            stream: args
                .stream_for
                .map(|time| StreamSpec { for_us: time.micros(), idle_us: args.stream_idle.micros() }),
        },
    }
}

/// How the rate goes, where it is not the same all the time.
fn shape(args: &LoadArgs) -> Option<RateShape> {
    let from = args.from;
    match (args.ramp, args.saw_tooth) {
        (Some(over), _) => Some(RateShape::Ramp(Ramp { from, over })),
        (None, Some(every)) => Some(RateShape::SawTooth(SawTooth { from, every })),
        (None, None) => (!args.step.is_empty()).then(|| RateShape::Steps(args.step.clone())),
    }
}

/// Runs the load for its time, or until Ctrl-C, and hears all that it has to say.
async fn conduct(
    args: &LoadArgs,
    mut running: Running,
    mut inbox: UnboundedReceiver<LoadMessage>,
    mut hearing: Hearing<'_>,
    signals: &Signals,
) -> Result<(), Failure> {
    let (style, shown) = Style::of_stderr();
    let mut live = Live::new(shown, style, &args.url, &[ShownLane { name: LANE.to_owned(), is_control: false }]);
    let origin = running.origin();
    running.begin()?;
    // The generator itself ends the load at its time. This only looks whether it has: known better as soon as the first
    // interval has come, since the load begins with a whole one.
    let first_interval = 2 * Duration::from_micros(INTERVAL_US.unsigned_abs());
    let mut until = Instant::now() + args.duration.duration() + first_interval;
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            message = inbox.recv() => {
                // The generator has ended by itself, and `stop` says why.
                let Some(message) = message else { break };
                if let Some(begun_us) = hearing.take(&message)? {
                    until = origin + Duration::from_micros(begun_us) + args.duration.duration();
                }
                if let LoadMessage::Interval(interval) = &message {
                    live.interval(interval);
                }
            }
            () = sleep_until(until) => break,
            () = signals.asked(1) => break,
            _ = tick.tick() => {
                live.tick(i64::try_from(origin.elapsed().as_micros()).unwrap_or(i64::MAX));
            }
        }
    }
    let stopped = running.stop().await;
    while let Ok(message) = inbox.try_recv() {
        hearing.take(&message)?;
    }
    live.finish();
    hearing.account.end(&stopped?);
    Ok(())
}

fn conclude(args: &LoadArgs, summary: &Summary, account: &Account, interrupted: bool) -> ExitCode {
    let json = serde_json::to_string_pretty(summary).map(|text| text + "\n").map_err(|error| error.to_string());
    let percentiles = || account.percentiles();
    let files = [(args.json.as_deref(), json), (args.hgrm.as_deref(), Ok(percentiles()))];
    let mut code = match summary.verdict {
        _ if interrupted => ExitCode::Interrupted,
        Answer::Held => ExitCode::Held,
        Answer::Broken => ExitCode::Broken,
        Answer::Inconclusive | Answer::Error => ExitCode::Inconclusive,
    };
    for (path, text) in files.into_iter().filter_map(|(path, text)| Some((path?, text))) {
        if let Err(problem) = text.and_then(|text| write(path, &text)) {
            code = refuse(ExitCode::Setup, problem);
        }
    }
    if args.json.as_deref() != Some(Path::new("-")) {
        print(&text::summary(summary, Style::of_stdout()));
    }
    code
}

/// Writes to a file, or to standard output where the path is `-`.
fn write(path: &Path, text: &str) -> Result<(), String> {
    if path == Path::new("-") {
        return std::io::stdout().lock().write_all(text.as_bytes()).map_err(|error| error.to_string());
    }
    std::fs::write(path, text).map_err(|error| format!("failed to write {}: {error}", path.display()))
}
