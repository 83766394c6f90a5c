//! The load that an agent runs, what it has said, and who still listens: one state with one owner, that waits can be
//! made on.

use std::{pin::pin, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::{
    buffer::{Buffer, OutOfRange},
    protocol::{Message, StartRequest, Started, Totals, shifted},
};
use crate::{
    load::{lane::LaneSpec, message::LoadMessage},
    record::{
        clock::Clock,
        event::{Micros, Note, NoteKind},
    },
};

/// Load that runs.
pub(super) struct Load {
    /// When its clock read zero.
    pub(super) origin: Instant,
    /// Ends it: nothing new is sent, what is open finishes, and then its messages end. In words why it has no complete
    /// account.
    pub(super) stop: BoxFuture<'static, Result<(), String>>,
    /// Has the connections that it keeps opened anew.
    pub(super) renew: Box<Renew>,
}

/// Has connections opened anew.
pub(super) type Renew = dyn Fn() + Send + Sync;

/// Starts lanes that begin at a moment to come and whose messages go there; in words why not.
pub(super) type StartLoad =
    dyn Fn(Instant, Vec<LaneSpec>, mpsc::UnboundedSender<LoadMessage>) -> Result<Load, String> + Send + Sync;

/// How far an agent has come.
#[derive(Debug, Clone, PartialEq)]
enum Stage {
    /// It can be started.
    Ready,
    /// The lanes are being started.
    Starting,
    /// The lanes run.
    Loading { request: StartRequest, started: Started },
    /// The lanes have been told to end.
    Stopping,
    /// They have ended, and the last message is in the buffer.
    Done,
}

struct State {
    stage: Stage,
    buffer: Buffer,
    heard: Instant,
    abandoned_after: Duration,
    /// When the run's Lease ends, where a request has said so.
    lease_until: Option<Instant>,
    /// Of the lanes, once they run.
    renew: Option<Box<Renew>>,
}

/// Why an agent ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Orphaned {
    /// Nobody has asked for anything for so long.
    Unheard(Duration),
    /// The Lease under which the run stands was not renewed.
    LeaseEnded,
}

/// Why an agent doesn't do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum EngineError {
    /// It runs other lanes, or has ended.
    #[error("this agent has been started already; each run takes a new one")]
    StartedAlready,
    /// It was never started.
    #[error("this agent has not been started")]
    NotStarted,
    /// The moment at which the lanes were to begin is over.
    #[error("the lanes were to begin {late_us} µs before this request came; the API server was slow to pass it on")]
    TooLate {
        /// For how long, in microseconds.
        late_us: Micros,
    },
    /// The load core would not.
    #[error("failed to start the lanes: {0}")]
    Load(String),
}

/// The one state of an agent.
pub(super) struct Engine {
    clock: Clock,
    state: watch::Sender<State>,
    start_load: Box<StartLoad>,
}

impl Engine {
    /// An agent that can be started.
    pub(super) fn new(abandoned_after: Duration, room: usize, start_load: Box<StartLoad>) -> Arc<Self> {
        let heard = Instant::now();
        let state = State {
            stage: Stage::Ready,
            buffer: Buffer::new(room),
            heard,
            abandoned_after,
            lease_until: None,
            renew: None,
        };
        Arc::new(Self { clock: Clock::start(), state: watch::Sender::new(state), start_load })
    }

    /// The agent's clock.
    pub(super) fn now(&self) -> Micros {
        self.clock.now()
    }

    /// Somebody is there.
    pub(super) fn hear(&self) {
        self.state.send_modify(|state| state.heard = Instant::now());
    }

    /// Starts the lanes. The same request again, whose answer may have been lost on its way, gets the same answer.
    pub(super) fn start(self: &Arc<Self>, request: StartRequest) -> Result<Started, EngineError> {
        let mut earlier = None;
        let claimed = self.state.send_if_modified(|state| {
            earlier = Some(state.stage.clone());
            let free = state.stage == Stage::Ready;
            if free {
                state.stage = Stage::Starting;
            }
            free
        });
        if !claimed {
            return match earlier {
                Some(Stage::Loading { request: same, started }) if same == request => Ok(started),
                _ => Err(EngineError::StartedAlready),
            };
        }
        let (messages, incoming) = mpsc::unbounded_channel();
        let load = match self.begin(&request, messages) {
            Ok(load) => load,
            Err(error) => {
                self.state.send_modify(|state| state.stage = Stage::Ready);
                return Err(error);
            }
        };
        let Load { origin, stop, renew } = load;
        let started = Started { origin_us: self.clock.at(origin) };
        self.state.send_modify(|state| {
            state.abandoned_after = Duration::from_millis(request.abandoned_after_ms);
            state.stage = Stage::Loading { request, started };
            state.renew = Some(renew);
        });
        // The pump ends when the load's messages end, at the latest with the process.
        tokio::spawn(Arc::clone(self).pump(stop, started, incoming));
        Ok(started)
    }

    fn begin(&self, request: &StartRequest, messages: mpsc::UnboundedSender<LoadMessage>) -> Result<Load, EngineError> {
        let late_us = self.clock.now().saturating_sub(request.begin_us);
        let begin_us = u64::try_from(request.begin_us).ok().filter(|_| late_us < 0);
        let begin_us = begin_us.ok_or(EngineError::TooLate { late_us })?;
        let moment = self.clock.origin() + Duration::from_micros(begin_us);
        (self.start_load)(moment, request.lanes.clone(), messages).map_err(EngineError::Load)
    }

    /// Has the connections that the lanes keep opened anew. Lanes that have been told to end open none.
    pub(super) fn renew_connections(&self) -> Result<(), EngineError> {
        let state = self.state.borrow();
        let renew = state.renew.as_ref().ok_or(EngineError::NotStarted)?;
        renew();
        Ok(())
    }

    /// Tells the lanes to end, and doesn't wait for it. Once more does no harm.
    pub(super) fn stop(&self) -> Result<(), EngineError> {
        let mut started = true;
        self.state.send_modify(|state| match state.stage {
            Stage::Ready | Stage::Starting => started = false,
            Stage::Loading { .. } => state.stage = Stage::Stopping,
            Stage::Stopping | Stage::Done => {}
        });
        if started { Ok(()) } else { Err(EngineError::NotStarted) }
    }

    /// Tells the lanes to end, and waits until they have.
    pub(super) async fn finish(&self) {
        if self.stop().is_ok() {
            // It fails only without a sender, which `self` is.
            drop(self.state.subscribe().wait_for(|state| state.stage == Stage::Done).await);
        }
    }

    /// Forgets the messages up to `after` and gives the ones above it, as many as fit, as soon as there is one.
    /// The answer is [`super::protocol::Messages`] in JSON.
    pub(super) async fn messages(&self, after: u64, wait: Duration, bytes_max: usize) -> Result<String, OutOfRange> {
        let mut acknowledged = Ok(());
        self.state.send_modify(|state| acknowledged = state.buffer.acknowledge(after));
        acknowledged?;
        let mut changes = self.state.subscribe();
        // No message in time is an answer too.
        drop(tokio::time::timeout(wait, changes.wait_for(|state| state.buffer.last() > after)).await);
        let state = self.state.borrow();
        let (page, next) = state.buffer.page(bytes_max);
        let dropped = serde_json::json!(state.buffer.dropped());
        Ok(format!(r#"{{"agent_us":{},"next":{next},"dropped":{dropped},"messages":[{page}]}}"#, self.now()))
    }

    /// For how long the run's Lease still holds.
    pub(super) fn lease_holds_for(&self, time: Duration) {
        self.state.send_modify(|state| state.lease_until = Some(Instant::now() + time));
    }

    /// Ends when nobody has asked for anything for too long, or the run's Lease has ended.
    pub(super) async fn orphaned(&self) -> Orphaned {
        let mut changes = self.state.subscribe();
        loop {
            let (unheard, lease_until, after) = {
                let state = self.state.borrow();
                (state.heard + state.abandoned_after, state.lease_until, state.abandoned_after)
            };
            let now = Instant::now();
            if lease_until.is_some_and(|until| now >= until) {
                return Orphaned::LeaseEnded;
            }
            if now >= unheard {
                return Orphaned::Unheard(after);
            }
            let end = lease_until.map_or(unheard, |until| until.min(unheard));
            // A request may shorten the time.
            let sooner = changes
                .wait_for(|state| state.abandoned_after < after || state.lease_until.is_some_and(|until| until < end));
            drop(tokio::time::timeout_at(end, sooner).await);
        }
    }

    /// Takes the load's messages into the buffer until they end.
    async fn pump(
        self: Arc<Self>,
        mut stop: BoxFuture<'static, Result<(), String>>,
        started: Started,
        mut incoming: mpsc::UnboundedReceiver<LoadMessage>,
    ) {
        let mut totals = Totals::default();
        let mut changes = self.state.subscribe();
        let told_to_stop = async move { drop(changes.wait_for(|state| state.stage == Stage::Stopping).await) };
        let mut told_to_stop = pin!(told_to_stop);
        let (mut told, mut account) = (false, None);
        loop {
            tokio::select! {
                message = incoming.recv() => match message {
                    Some(message) => {
                        totals.count(&message);
                        self.keep(shifted(message, started.origin_us));
                    }
                    None => break,
                },
                () = &mut told_to_stop, if !told => told = true,
                result = &mut stop, if told && account.is_none() => account = Some(result),
            }
        }
        let account = match account {
            Some(account) => account,
            None => stop.await,
        };
        let taint = match account {
            Err(why) => Some(format!("the load in the agent has no complete account: {why}")),
            Ok(()) if !told => Some("the load in the agent ended before it was told to".to_owned()),
            Ok(()) => None,
        };
        self.state.send_modify(|state| {
            if let Some(text) = taint {
                state.buffer.push(Message::Note { note: Note { kind: NoteKind::Taint, text } });
            }
            state.buffer.push(Message::Done { totals });
            state.stage = Stage::Done;
        });
    }

    fn keep(&self, message: LoadMessage) {
        let message = Message::encode(message).unwrap_or_else(|error| Message::Note {
            note: Note { kind: NoteKind::Taint, text: format!("an interval is missing: {error}") },
        });
        self.state.send_modify(|state| state.buffer.push(message));
    }
}
