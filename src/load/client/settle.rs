//! The end of a request: what became of it, into the account, and where it was lost or slow, to whoever listens.

use tokio::time::Instant;

use super::{Client, micros_between};
use crate::{
    load::{
        answer::{Answer, Seen},
        classify::{self, Break, Ending, Evidence},
        connection::{Connection, OpenError, Progress, Stage},
        ledger::{Entry, micros},
        message::LoadMessage,
    },
    record::event::{LostRequest, Outcome, PodAnswers, Reached, RetrySafe, SlowRequest},
};

/// One request that has ended, on its way into the account.
#[derive(Clone, Copy)]
pub(super) struct Attempt<'a> {
    pub(super) intended_ns: u64,
    pub(super) sent: Instant,
    pub(super) reused: bool,
    pub(super) connection: Option<&'a Connection>,
    pub(super) progress: Progress,
    pub(super) answer: &'a Answer,
}

impl Client {
    /// Enters a request that has ended into the account, and tells it where it was lost.
    pub(super) fn settle(&self, attempt: &Attempt<'_>) {
        let Attempt { intended_ns, sent, reused, connection, answer, .. } = *attempt;
        let ended = Instant::now();
        let Seen { status, bytes_out, bytes_in, written, stream_began } = answer.seen;
        let evidence = Evidence { reused, bytes_out, bytes_in, status, wanted_status: self.spec.status };
        let (outcome, retry_safe) = classify::classify(&answer.ending, evidence);
        let intended = self.moment(intended_ns);
        let answered = stream_began.filter(|_| outcome == Outcome::Ok).unwrap_or(ended);
        let was_sent = outcome != Outcome::NotSent;
        let took_us = micros_between(intended, answered);
        self.ledger.borrow_mut().ended(Entry {
            intended_ns,
            outcome,
            response_us: was_sent.then_some(took_us),
            service_us: written.filter(|_| was_sent).map(|written| micros_between(written, answered)),
            send_lag_us: micros_between(intended, sent),
            says_close: answer.says_close,
            stalled_us: micros_between(self.moment(self.wake_ns.get()), ended),
        });
        if let (Outcome::Ok, Some(pod)) = (outcome, connection.and_then(|connection| connection.pod.as_deref())) {
            let answer = PodAnswers {
                answered: 1,
                new_connections: u64::from(connection.is_some_and(|connection| connection.uses == 0)),
                first_us: written.map(|written| self.reading(written)),
                last_us: Some(self.reading(ended)),
            };
            self.ledger.borrow_mut().answered_by(intended_ns, pod, answer);
        }
        if let Ending::ConnectFailed(error) = &answer.ending
            && outcome == Outcome::NotSent
        {
            self.voice.taint(&self.spec.name, classify::shortage(error), &answer.error);
        }
        if outcome.is_lost() {
            self.tell_lost(attempt, ended, (outcome, retry_safe));
        } else if let (Outcome::Ok, Some(connection)) = (outcome, connection.filter(|_| took_us > self.slow_us)) {
            self.tell_slow(attempt, connection, answered);
        }
        self.open.set(self.open.get() - 1);
        self.ended.notify_one();
    }

    fn tell_lost(&self, attempt: &Attempt<'_>, ended: Instant, (outcome, retry_safe): (Outcome, RetrySafe)) {
        let Attempt { intended_ns, sent, connection, progress, answer, .. } = *attempt;
        let ends = connection.map_or(progress.ends, |connection| connection.ends);
        self.voice.say(LoadMessage::Lost(Box::new(LostRequest {
            lane: self.spec.name.clone(),
            outcome,
            intended_us: micros(intended_ns),
            sent_us: self.reading(sent),
            ended_us: self.reading(ended),
            connection_uses: connection.map_or(0, |connection| connection.uses),
            connection_age_us: attempt.age_us(),
            // What the connection itself wrote: that of HTTP/2 and WebSockets adds frames of its own.
            bytes_out: connection.map_or(0, |connection| connection.counts.bytes_out()),
            bytes_in: answer.seen.bytes_in,
            reached: Some(reached(connection.is_some(), progress.stage, &answer.seen)),
            local: ends.local,
            peer: ends.peer,
            status: answer.seen.status,
            pod: connection.and_then(|connection| connection.pod.clone()),
            retry_safe,
            error: answer.error.clone(),
        })));
    }

    fn tell_slow(&self, attempt: &Attempt<'_>, connection: &Connection, answered: Instant) {
        let Attempt { intended_ns, sent, reused, answer, .. } = *attempt;
        if !self.ledger.borrow_mut().tells_slow(intended_ns, self.spec.options.share.of()) {
            return;
        }
        self.voice.say(LoadMessage::Slow(Box::new(SlowRequest {
            lane: self.spec.name.clone(),
            intended_us: micros(intended_ns),
            sent_us: self.reading(sent),
            connected_us: (!reused).then(|| self.reading(connection.accepted)),
            written_us: answer.seen.written.map(|written| self.reading(written)),
            ended_us: self.reading(answered),
            connection_uses: connection.uses,
            connection_age_us: attempt.age_us(),
            bytes_out: connection.counts.bytes_out(),
            bytes_in: answer.seen.bytes_in,
            local: connection.ends.local,
            peer: connection.ends.peer,
            status: answer.seen.status,
            pod: connection.pod.clone(),
        })));
    }
}

impl Attempt<'_> {
    /// Age of its connection when it was sent; 0 for a new one.
    fn age_us(&self) -> i64 {
        let opened = self.connection.filter(|_| self.reused).map(|connection| connection.opened);
        opened.map_or(0, |opened| i64::try_from(micros_between(opened, self.sent)).unwrap_or(i64::MAX))
    }
}

/// How far a request had come.
fn reached(is_connected: bool, stage: Stage, seen: &Seen) -> Reached {
    match (is_connected, stage, seen.written) {
        (true, _, Some(_)) if seen.bytes_in > 0 => Reached::Answering,
        (true, _, Some(_)) => Reached::Written,
        (true, _, None) | (false, Stage::Speech, _) => Reached::Speech,
        (false, Stage::Tls, _) => Reached::Tls,
        (false, Stage::Connecting, _) => Reached::Connecting,
    }
}

/// What came of a request without a connection; without an error, what it had come to took too long.
pub(super) fn not_connected(error: Option<OpenError>, stage: Stage) -> Answer {
    let (ending, status, words) = match error {
        None => match stage {
            Stage::Connecting => (Ending::ConnectTimedOut, None, String::new()),
            Stage::Tls => (Ending::NoTls, None, "the peer did not finish the handshake in time".to_owned()),
            Stage::Speech => (Ending::TimedOut, None, "the peer did not agree on the protocol in time".to_owned()),
        },
        Some(OpenError::System(error)) => {
            let words = error.to_string();
            (Ending::ConnectFailed(error), None, words)
        }
        Some(OpenError::Tls(error)) => (Ending::NoTls, None, error.to_string()),
        Some(OpenError::Speech { status, words }) => (Ending::Broken(Break::Closed), status, words),
    };
    Answer::not_connected(ending, status, words)
}
