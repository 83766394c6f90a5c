//! Probes: one task for each probe of a container, for as long as the pod is there
//! (`k/pkg/kubelet/prober/{worker,prober,prober_manager}.go`, v1.34.4).
//!
//! As upstream, a probe's period counts from when the pod was taken on, not from the container's start; a readiness probe
//! is also run at once when the pod's status is looked at while the container is not ready. Upstream's first such look
//! comes up to a second after the container's start, with the runtime's next relist. Here there are several quick looks
//! within that second, of which only a success counts, and one at its end that counts in full: the outcome is that of the
//! luckiest relist. Upstream's random delay of probes after the kubelet's own start is left out.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{Container, Probe};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout},
};

use super::{
    exec,
    http_get::{self, Failure, Target as HttpTarget},
    pod_worker::Event,
    pods::PodHandle,
    power::Power,
    process::Exit,
    recorder::Recorder,
    shared::Shared,
    tally::{Purpose, Schedule, Tally},
};
use crate::sandbox::controllers::events::Severity;

/// The looks at a new container's readiness within the first second, in milliseconds from its start.
const LOOKS_MS: [u64; 7] = [20, 50, 100, 200, 400, 700, 1_000];

/// Tries of a probe that cannot even be run (`maxProbeRetries`).
const TRIES: usize = 3;

/// What a probe has to know about its container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Watched {
    /// Its instance, counted from 1.
    pub run: u64,
    /// Since when it runs.
    pub since: Option<Instant>,
    /// Its startup probe has succeeded, or it has none.
    pub started: bool,
    /// The pod is being terminated.
    pub ending: bool,
    /// How often the pod's status was looked at while the container was not ready.
    pub looks: u64,
}

/// One probe.
pub struct Prober {
    pub(super) shared: Arc<Shared>,
    pub(super) pod: Arc<PodHandle>,
    pub(super) container: Container,
    /// The container's place in events.
    pub(super) field: String,
    /// The container's place among the pod's.
    pub(super) index: usize,
    pub(super) recorder: Recorder,
    pub(super) purpose: Purpose,
    pub(super) probe: Probe,
    pub(super) watched: watch::Receiver<Watched>,
    pub(super) power: watch::Receiver<Power>,
    pub(super) verdicts: mpsc::Sender<Event>,
}

/// One result.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Success,
    Failure(String),
}

/// The looks that are left to a new container.
struct Looks {
    since: Instant,
    next: usize,
}

impl Looks {
    fn due(&self) -> Option<Instant> {
        LOOKS_MS.get(self.next).map(|ms| self.since + Duration::from_millis(*ms))
    }
}

impl Prober {
    /// Probes until the pod's end; startup and liveness until the beginning of its termination.
    pub async fn run(mut self) {
        let schedule = Schedule::of(&self.probe);
        let mut ticks = interval_at(Instant::now() + schedule.period, schedule.period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut tally = Tally::default();
        let mut known = Watched::default();
        let mut looks: Option<Looks> = None;
        let mut told: Option<(u64, bool)> = None;
        loop {
            let due = looks.as_ref().and_then(Looks::due);
            // Whether a failure is to be passed over.
            let mut quiet = false;
            tokio::select! {
                _ = ticks.tick() => {}
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    let Some(looks) = looks.as_mut() else { continue };
                    looks.next += 1;
                    quiet = looks.next < LOOKS_MS.len();
                }
                changed = self.watched.changed() => {
                    let now = *self.watched.borrow_and_update();
                    if changed.is_err() || (now.ending && self.purpose != Purpose::Readiness) {
                        return;
                    }
                    let before = std::mem::replace(&mut known, now);
                    if now.run != before.run {
                        tally.new_container();
                        looks = now.since.filter(|_| self.purpose == Purpose::Readiness).map(|since| Looks { since, next: 0 });
                        continue;
                    }
                    if self.purpose != Purpose::Readiness || now.looks == before.looks {
                        continue;
                    }
                }
            }
            if tally.is_on_hold() || !self.may_probe(&known, &schedule) {
                continue;
            }
            let Some(outcome) = self.outcome(&schedule).await else { continue };
            if self.watched.borrow().run != known.run || (quiet && matches!(outcome, Outcome::Failure(_))) {
                continue;
            }
            let success = matches!(outcome, Outcome::Success);
            if success {
                looks = None;
            }
            self.record(&outcome);
            let Some(verdict) = tally.count(self.purpose, &schedule, success) else { continue };
            if told != Some((known.run, verdict)) {
                told = Some((known.run, verdict));
                let event =
                    Event::Verdict { index: self.index, run: known.run, purpose: self.purpose, success: verdict };
                if self.verdicts.send(event).await.is_err() {
                    return;
                }
            }
        }
    }

    fn may_probe(&self, known: &Watched, schedule: &Schedule) -> bool {
        let Some(since) = known.since else { return false };
        self.power.borrow().works()
            && since.elapsed() >= schedule.initial_delay
            && known.started != (self.purpose == Purpose::Startup)
    }

    /// One result, or none where the probe could not be run.
    async fn outcome(&self, schedule: &Schedule) -> Option<Outcome> {
        let mut problem = String::new();
        for _ in 0..TRIES {
            match self.probe_once(schedule.timeout).await {
                Ok(outcome) => return Some(outcome),
                Err(why) => problem = why,
            }
        }
        let message = format!("{} probe errored and resulted in unknown state: {problem}", self.purpose.name());
        self.recorder.container(&self.field, Severity::Warning, "Unhealthy", &message);
        None
    }

    fn record(&self, outcome: &Outcome) {
        if let Outcome::Failure(why) = outcome {
            let message = format!("{} probe failed: {why}", self.purpose.name());
            self.recorder.container(&self.field, Severity::Warning, "Unhealthy", &message);
        }
    }

    async fn probe_once(&self, limit: Duration) -> Result<Outcome, String> {
        if let Some(action) = &self.probe.exec {
            let line = action.command.clone().unwrap_or_default();
            return self.exec(&line, limit).await;
        }
        let address = self.pod.address().map(|address| address.to_string()).unwrap_or_default();
        if let Some(action) = &self.probe.http_get {
            let target = HttpTarget::of(action, &self.container, &address)?;
            return match timeout(limit, target.get()).await {
                Ok(Ok((200..400, _))) => Ok(Outcome::Success),
                Ok(Ok((status, _))) => Ok(Outcome::Failure(format!("HTTP probe failed with statuscode: {status}"))),
                Ok(Err(why)) => failed(why),
                Err(_) => Ok(Outcome::Failure(format!(
                    "Get {:?}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
                    target.url()
                ))),
            };
        }
        if let Some(action) = &self.probe.tcp_socket {
            let port = http_get::resolve_port(&action.port, &self.container)?;
            let host = action.host.clone().filter(|host| !host.is_empty()).unwrap_or(address);
            return match timeout(limit, http_get::connect(&host, port)).await {
                Ok(Ok(_)) => Ok(Outcome::Success),
                Ok(Err(why)) => failed(why),
                Err(_) => Ok(Outcome::Failure(format!("dial tcp {host}:{port}: i/o timeout"))),
            };
        }
        Err(format!("missing probe handler for {}:{}", self.pod.name, self.container.name))
    }

    async fn exec(&self, line: &[String], limit: Duration) -> Result<Outcome, String> {
        let run = exec::run(&self.shared, &self.pod, &self.container.name, line);
        match timeout(limit, run).await {
            Ok(Ok(exec::Done { exit: Exit::Code(0), .. })) => Ok(Outcome::Success),
            Ok(Ok(done)) => Ok(Outcome::Failure(done.output)),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => {
                let why = format!("command timed out: {:?} timed out after {}s", line.join(" "), limit.as_secs());
                Ok(Outcome::Failure(why))
            }
        }
    }
}

/// What a request that failed says: something about the container, or only that this machine could not ask, which is
/// no result at all.
fn failed(why: Failure) -> Result<Outcome, String> {
    match why {
        Failure::Theirs(why) => Ok(Outcome::Failure(why)),
        Failure::Ours(why) => Err(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_that_cannot_be_sent_is_no_failure_of_the_container() {
        assert_eq!(failed(Failure::Ours("no port".to_owned())), Err("no port".to_owned()));
        assert_eq!(failed(Failure::Theirs("refused".to_owned())), Ok(Outcome::Failure("refused".to_owned())));
    }
}
