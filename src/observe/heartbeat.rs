//! Whether the API server answers at all. A watch on a server that went silent just stays quiet, and quiet is what an
//! untroubled cluster looks like; so a small question is asked all the time.

use std::time::Duration;

use kube::Client;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, timeout},
};

use super::trouble::Trouble;
use crate::{
    cluster::error::ApiFailure,
    record::{
        clock::Sink,
        event::{Micros, What},
    },
};

/// From one question to the next: five within the 10 s that make a silence a taint.
const EVERY: Duration = Duration::from_secs(2);

/// How long an answer may take. A healthy API server takes milliseconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// Asks for the API server's version until it is dropped. `silent_since` tells when a silence began that is over.
pub(super) async fn heartbeat(client: Client, sink: Sink, silent_since: watch::Sender<Micros>) {
    let mut trouble = Trouble::new("the API server did not answer");
    let mut every = interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let began = sink.clock().now();
        let failure = match timeout(ANSWER_WITHIN, client.apiserver_version()).await {
            // Whatever it says, it answers.
            Ok(Ok(_) | Err(kube::Error::Api(_))) => None,
            Ok(Err(error)) => Some(ApiFailure::from(error)),
            Err(_) => Some(ApiFailure::no_answer_within(ANSWER_WITHIN)),
        };
        let now = sink.clock().now();
        let note = match failure {
            Some(failure) => trouble.failed(began, now, &failure.words),
            // A short silence is told too: it makes what is seen after it late.
            None => trouble.succeeded(now).map(|over| {
                if over.tainted {
                    silent_since.send_replace(over.since);
                }
                over.note
            }),
        };
        if let Some(note) = note {
            sink.record_at(now, What::Note(note));
        }
    }
}
