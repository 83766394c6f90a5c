//! The conversation with an agent: its clock, the start, its messages, each exactly once and on the run's clock, the
//! stop. An API server may be away for a while, since some experiments make it so: every request is repeated within
//! a bound, which is safe as all of them may be repeated (`protocol`).

use std::time::Duration;

use hyper::Method;
use serde::de::DeserializeOwned;
use tokio::{
    sync::{oneshot, watch},
    time::Instant,
};

use super::{
    merge::{Ear, Said},
    offset::{Offset, Reading},
    protocol::{
        CLOCK, ClockReading, Decoded, Dropped, MESSAGES, Messages, Numbered, RENEW, Renewed, START, STOP, StartRequest,
        Started, Stopping, Totals, shifted,
    },
    transport::{CallError, Transport},
};
use crate::{
    load::{lane::LaneSpec, message::LoadMessage},
    record::{
        clock::Sink,
        event::{Micros, Note, NoteKind, What},
    },
};

/// The agent ends by itself when nobody asks for so long: longer than [`Pace::lost_after`], so that it doesn't before
/// it is given up here.
pub(super) const ABANDONED_AFTER: Duration = Duration::from_secs(30);
/// Readings of the clock at each end.
const CLOCK_READINGS: usize = 9;
/// How long the answer to a fetch may wait for a message, in milliseconds.
const WAIT_MS: u64 = 1_000;

/// How patient the harness is. Tests are less patient.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// From the start of one fetch to the next: a watching person sees that much delay, and an API server has that
    /// many requests.
    pub(super) fetch_every: Duration,
    /// How long one request may take.
    pub(super) call_within: Duration,
    /// Between a request that failed and its repetition; nothing tells when it would succeed.
    pub(super) retry_every: Duration,
    /// For how long requests may fail before the agent counts as lost.
    pub(super) lost_after: Duration,
    /// How far ahead lies the moment at which all agents are told to begin: each must hear of it by then, over an API
    /// server that may be busy.
    pub(super) begin_ahead: Duration,
}

impl Pace {
    /// The pace of a run.
    pub(super) const RUN: Self = Self {
        fetch_every: Duration::from_millis(250),
        call_within: Duration::from_secs(5),
        retry_every: Duration::from_millis(200),
        lost_after: Duration::from_secs(20),
        begin_ahead: Duration::from_secs(2),
    };
}

/// A conversation with an agent.
pub(super) struct Conversation<T> {
    transport: T,
    pace: Pace,
    lease_until: watch::Receiver<Instant>,
}

impl<T: Transport> Conversation<T> {
    /// A conversation that has not begun, of a run whose Lease holds until then.
    pub(super) const fn new(transport: T, pace: Pace, lease_until: watch::Receiver<Instant>) -> Self {
        Self { transport, pace, lease_until }
    }

    /// How patient it is.
    pub(super) const fn pace(&self) -> Pace {
        self.pace
    }

    /// Reads the agent's clock, for the offset to the run's.
    pub(super) async fn offset(&self, sink: &Sink) -> Result<Offset, String> {
        let mut readings = Vec::with_capacity(CLOCK_READINGS);
        for _ in 0..CLOCK_READINGS {
            // Repetitions would be taken for a long round trip, which is what they are.
            let sent_us = sink.clock().now();
            let ClockReading { agent_us } = self.call(Method::GET, CLOCK, None).await?;
            readings.push(Reading { sent_us, agent_us, received_us: sink.clock().now() });
        }
        Offset::best(&readings).ok_or_else(|| "its clock was not read".to_owned())
    }

    /// Has the lanes begin at a time of the agent's clock. One that has passed is refused.
    pub(super) async fn start(&self, lanes: Vec<LaneSpec>, begin_us: Micros) -> Result<Started, String> {
        let abandoned_after_ms = u64::try_from(ABANDONED_AFTER.as_millis()).unwrap_or(u64::MAX);
        let request = serde_json::to_string(&StartRequest { lanes, begin_us, abandoned_after_ms })
            .map_err(|error| format!("the lanes cannot be written as JSON: {error}"))?;
        self.call(Method::POST, START, Some(request)).await
    }

    async fn renew(&self) -> Result<Renewed, String> {
        self.call(Method::POST, RENEW, None).await
    }

    async fn stop(&self) -> Result<Stopping, String> {
        self.call(Method::POST, STOP, None).await
    }

    async fn messages(&self, after: u64, wait_ms: u64) -> Result<Messages, String> {
        let left = self.lease_until.borrow().saturating_duration_since(Instant::now()).as_millis();
        self.call(Method::GET, &format!("{MESSAGES}?after={after}&wait_ms={wait_ms}&lease_ms={left}"), None).await
    }

    /// A request, repeated until it is answered, the agent is gone, or it has failed for too long; in words why.
    async fn call<A: DeserializeOwned>(&self, method: Method, path: &str, body: Option<String>) -> Result<A, String> {
        let give_up = Instant::now() + self.pace.lost_after;
        loop {
            let call = self.transport.call(method.clone(), path, body.clone());
            let failed = match tokio::time::timeout(self.pace.call_within, call).await {
                Ok(Ok(answer)) => {
                    return serde_json::from_str(&answer)
                        .map_err(|error| format!("its answer to {path} was not understood: {error}"));
                }
                Ok(Err(refused @ CallError::Refused(_))) => return Err(refused.to_string()),
                Ok(Err(CallError::Failed(why))) => why,
                Err(_) => format!("no answer within {:?}", self.pace.call_within),
            };
            tracing::debug!(path, failed, "a request to the agent failed");
            if let Some(gone) = self.transport.gone().await {
                return Err(gone);
            }
            if Instant::now() >= give_up {
                return Err(format!("it could not be reached for {:?}: {failed}", self.pace.lost_after));
            }
            tokio::time::sleep(self.pace.retry_every).await;
        }
    }
}

/// Follows a started agent to its end, and passes on what it says.
pub(super) struct Follower<T> {
    /// With whom.
    pub(super) conversation: Conversation<T>,
    /// The agent's name.
    pub(super) name: String,
    /// Where notes go, and the run's clock.
    pub(super) sink: Sink,
    /// Where messages go, and word of its end.
    pub(super) ear: Ear,
    /// The offset as it was at the start: all messages are moved by the same.
    pub(super) offset: Offset,
    /// How long after the stop requests can still be open.
    pub(super) open_at_most: Duration,
    /// The progress of the conversation, from its default.
    pub(super) progress: Progress,
}

/// How far a follower has come.
#[derive(Debug, Default)]
pub(super) struct Progress {
    after: u64,
    totals: Totals,
    dropped: Dropped,
}

impl<T: Transport> Follower<T> {
    /// Passes messages on until told to stop, then stops the agent and passes on the rest; in between it has the agent
    /// open its connections anew, whenever it is told so. Ends without an error also when the agent dies: that is noted,
    /// and told at once, so that what it does not send is known to be unsent.
    pub(super) async fn follow(mut self, mut stop: oneshot::Receiver<()>, renew: watch::Receiver<()>) {
        match self.until_told(&mut stop, renew).await {
            Ok(()) => {
                let at_us = self.sink.clock().now();
                if let Err(why) = self.drain().await {
                    self.died(&format!("ended before its last messages: {why}"));
                }
                self.ear.hear(Said::Over { at_us });
            }
            Err(why) => {
                self.died(&format!("ended: {why}"));
                // How much was not sent is known when the load would have ended.
                drop(stop.await);
                self.ear.hear(Said::Over { at_us: self.sink.clock().now() });
            }
        }
    }

    fn died(&self, how: &str) {
        self.note(NoteKind::Taint, format!("the load agent {} {how}", self.name));
        self.ear.hear(Said::Died);
    }

    /// Fetches until told to stop; in words why the agent ended before.
    async fn until_told(
        &mut self,
        stop: &mut oneshot::Receiver<()>,
        mut renew: watch::Receiver<()>,
    ) -> Result<(), String> {
        let mut ticks = tokio::time::interval(self.conversation.pace.fetch_every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = &mut *stop => return Ok(()),
                Ok(()) = renew.changed() => self.renew().await,
                _ = ticks.tick() => {}
            }
            if self.fetch(0).await?.is_some() {
                return Err("its load ended before it was told to".to_owned());
            }
        }
    }

    /// Has the agent open its connections anew. Without it they lead where they led, which is no loss; an agent that
    /// is gone is found by the next fetch.
    async fn renew(&self) {
        if let Err(why) = self.conversation.renew().await {
            let text = format!("the load agent {} did not open its connections anew: {why}", self.name);
            self.note(NoteKind::Info, text);
        }
    }

    /// Stops the agent, and fetches until its last message.
    async fn drain(&mut self) -> Result<(), String> {
        self.conversation.stop().await?;
        let give_up = Instant::now() + self.open_at_most + self.conversation.pace.lost_after;
        let totals = loop {
            if let Some(totals) = self.fetch(WAIT_MS).await? {
                break totals;
            }
            if Instant::now() >= give_up {
                return Err("its requests did not end".to_owned());
            }
        };
        self.compare(totals);
        let then = self.conversation.offset(&self.sink).await?;
        self.note(NoteKind::Info, clock_note(&self.name, self.offset, then));
        Ok(())
    }

    /// Fetches once and passes on what is new; the totals with the last message.
    async fn fetch(&mut self, wait_ms: u64) -> Result<Option<Totals>, String> {
        let fetched = self.conversation.messages(self.progress.after, wait_ms).await?;
        if fetched.dropped != self.progress.dropped {
            self.progress.dropped = fetched.dropped;
            let Dropped { lost, others } = fetched.dropped;
            let text = format!(
                "the load agent {} had no room for {lost} details of lost requests and {others} intervals, since \
                 they could not be fetched in time",
                self.name
            );
            self.note(NoteKind::Taint, text);
        }
        let mut done = None;
        for Numbered { seq, message } in fetched.messages {
            if seq != self.progress.after + 1 {
                return Err(format!("its message {seq} came after {}", self.progress.after));
            }
            self.progress.after = seq;
            match message.decode() {
                Ok(Decoded::Load(message)) => self.pass_on(message),
                Ok(Decoded::Done(totals)) => done = Some(totals),
                Err(error) => return Err(format!("its message {seq} was not understood: {error}")),
            }
        }
        Ok(done)
    }

    fn pass_on(&mut self, message: LoadMessage) {
        self.progress.totals.count(&message);
        self.ear.hear(Said::Load(shifted(message, self.offset.by_us)));
    }

    /// All that the agent's generator said must have come or be counted as dropped.
    fn compare(&self, said: Totals) {
        let came = self.progress.totals;
        let missing = said.lost.saturating_sub(came.lost + self.progress.dropped.lost)
            + said.intervals.saturating_sub(came.intervals + self.progress.dropped.others);
        if missing > 0 {
            let text = format!("{missing} messages of the load agent {} are missing: {said:?}, {came:?}", self.name);
            self.note(NoteKind::Taint, text);
        }
    }

    fn note(&self, kind: NoteKind, text: String) {
        self.sink.record(What::Note(Note { kind, text }));
    }
}

/// The offsets at both ends, for a reader who wonders how far the agent's times can be trusted.
fn clock_note(name: &str, first: Offset, then: Offset) -> String {
    let at =
        |offset: Offset| format!("{:.3} ms ± {:.3} ms", offset.by_us as f64 / 1e3, offset.uncertainty_us as f64 / 1e3);
    let drift = (then.by_us - first.by_us) as f64 / 1e3;
    format!(
        "the clock of the load agent {name} is {} from the run's; at the end {}, {drift:+.3} ms from the beginning",
        at(first),
        at(then)
    )
}
