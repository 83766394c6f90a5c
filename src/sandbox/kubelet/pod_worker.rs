//! One pod on its node, from its binding to its removal: a task that takes in what happens (changes of the object, ends of
//! processes, verdicts of probes, power) and then does what is due, as the kubelet's sync loop does
//! (`k/pkg/kubelet/{kubelet,pod_workers}.go`, `kuberuntime_manager.go` computePodActions, v1.34.4).
//!
//! What is due is done at once: the real kubelet's relist of up to a second after a container's start or end is not
//! modelled, nor that it does nothing else for a pod while it kills one of its containers.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{Container, Pod, PodCondition, PodStatus, Probe};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    back_off::BackOff,
    facts::{self, Ended, Facts, Role, State},
    pods::PodHandle,
    power::{Node, Power},
    probe::{Prober, Watched},
    process::{Exit, Process},
    recorder::Recorder,
    shared::Shared,
    status::{self, PodFacts},
    tally::Purpose,
    time_now,
};
use crate::sandbox::{controllers::events::Severity, error::ApiError};

/// Events that may wait for the worker; whoever sends more waits for it.
const EVENTS_MAX: usize = 64;

/// The status manager looks so often whether the API has what it wrote (`syncPeriod` of
/// `k/pkg/kubelet/status/status_manager.go`); until then others see what somebody else wrote.
const STATUS_SYNC: Duration = Duration::from_secs(10);

/// The end of a log that becomes a termination message, in bytes and in lines.
const MESSAGE_MAX: (usize, usize) = (2_048, 80);

/// Something that happened to a container.
#[derive(Debug)]
pub enum Event {
    /// Its process has ended.
    Ended {
        /// Which container.
        index: usize,
        /// Which instance of it.
        run: u64,
        /// How.
        exit: Exit,
    },
    /// A probe has enough results of one kind.
    Verdict {
        /// Which container.
        index: usize,
        /// Which instance of it.
        run: u64,
        /// Which probe.
        purpose: Purpose,
        /// What it says.
        success: bool,
    },
    /// Its postStart hook is over.
    Hook {
        /// Which container.
        index: usize,
        /// Which instance of it.
        run: u64,
        /// How it went.
        result: Result<(), String>,
    },
}

/// The pod's object as it was last seen.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The pod.
    pub pod: Arc<Pod>,
    /// It is gone from the API.
    pub gone: bool,
}

/// How far the pod is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It runs, or is on its way to.
    Living,
    /// Its containers are being stopped, within so many seconds.
    Ending {
        /// The grace.
        grace: i64,
    },
    /// Nothing of it runs.
    Over,
}

/// One container.
pub(super) struct Slot {
    pub(super) container: Container,
    pub(super) role: Role,
    pub(super) field: String,
    pub(super) facts: Facts,
    /// Its process, while it runs.
    pub(super) process: Option<Arc<Process>>,
    /// Its instance, counted from 1.
    pub(super) run: u64,
    pub(super) since: jiff::Timestamp,
    /// The image that this instance was started with.
    pub(super) started_image: Option<String>,
    pub(super) back_off: BackOff,
    pub(super) image_back_off: BackOff,
    /// Its latest end, and the one from which the back-off counts: not yet the latest where the kubelet itself killed it.
    pub(super) ended_at: Option<Instant>,
    pub(super) counted_end: Option<Instant>,
    /// It is not to be started before.
    pub(super) retry: Option<Instant>,
    /// Its postStart hook runs.
    pub(super) hook_runs: bool,
    /// It is being killed to be started again.
    pub(super) being_killed: bool,
    /// How it ended during the pod's termination, which is told only at the end of that.
    pub(super) last_end: Option<Ended>,
    pub(super) watched: watch::Sender<Watched>,
}

impl Slot {
    fn new(container: Container, role: Role, pod_has_init: bool) -> Self {
        let list = if role == Role::Main { "containers" } else { "initContainers" };
        Self {
            field: format!("spec.{list}{{{}}}", container.name),
            facts: Facts::new(&container, role, pod_has_init),
            container,
            role,
            process: None,
            run: 0,
            since: jiff::Timestamp::UNIX_EPOCH,
            started_image: None,
            back_off: BackOff::default(),
            image_back_off: BackOff::default(),
            ended_at: None,
            counted_end: None,
            retry: None,
            hook_runs: false,
            being_killed: false,
            last_end: None,
            watched: watch::Sender::new(Watched::default()),
        }
    }

    /// Tells its probes how it is.
    pub(super) fn tell_probes(&self, look: bool) {
        let (run, runs, started) = (self.run, self.facts.runs(), self.facts.started());
        self.watched.send_if_modified(|watched| {
            let before = *watched;
            watched.run = run;
            watched.since =
                if runs { watched.since.filter(|_| before.run == run).or_else(|| Some(Instant::now())) } else { None };
            watched.started = started;
            watched.looks += u64::from(look);
            *watched != before
        });
    }
}

/// What the status was last made from.
type Told = (Vec<Facts>, PodFacts, Option<i64>, Vec<PodCondition>);

/// The worker of one pod.
pub struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) handle: Arc<PodHandle>,
    pub(super) node: Arc<Node>,
    pub(super) seen: Seen,
    pub(super) recorder: Recorder,
    pub(super) slots: Vec<Slot>,
    pub(super) own: PodFacts,
    pub(super) stage: Stage,
    /// A main container has been started, since the node's last boot.
    pub(super) initialized: bool,
    /// Since when the kubelet knows the pod, for its deadline.
    pub(super) began: Instant,
    pub(super) kills: JoinSet<()>,
    pub(super) hooks: JoinSet<()>,
    pub(super) sender: mpsc::Sender<Event>,
    /// Since when the pod is being set up on its node, until it has an address.
    pub(super) set_up_since: Option<Instant>,
    /// When its setting up goes on: its sandbox is made by then, or a missing address or volume is looked for again.
    pub(super) set_up_again: Option<Instant>,
    pub(super) scratch_used: bool,
    probes: JoinSet<()>,
    updates: watch::Receiver<Seen>,
    events: mpsc::Receiver<Event>,
    power: watch::Receiver<Power>,
    boots: u64,
    told: Option<Told>,
    written: Option<Arc<Pod>>,
    /// When the status is written again, since others have changed our part of it.
    rewrite_at: Option<Instant>,
}

impl Worker {
    /// A worker for a pod on a node.
    pub(super) fn new(
        shared: Arc<Shared>,
        node: Arc<Node>,
        handle: Arc<PodHandle>,
        updates: watch::Receiver<Seen>,
    ) -> Self {
        let seen = updates.borrow().clone();
        let containers = facts::containers(&seen.pod);
        let has_init = containers.iter().any(|(_, role)| *role != Role::Main);
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let power = node.follow();
        let boots = power.borrow().boots;
        Self {
            recorder: Recorder::new(Arc::clone(&shared.registry), &seen.pod),
            slots: containers.into_iter().map(|(container, role)| Slot::new(container, role, has_init)).collect(),
            own: PodFacts { host_ip: node.address.to_string(), ..PodFacts::default() },
            stage: Stage::Living,
            initialized: false,
            began: Instant::now(),
            kills: JoinSet::new(),
            hooks: JoinSet::new(),
            probes: JoinSet::new(),
            set_up_since: None,
            set_up_again: None,
            scratch_used: false,
            told: None,
            written: None,
            rewrite_at: None,
            shared,
            handle,
            node,
            seen,
            sender,
            updates,
            events,
            power,
            boots,
        }
    }

    /// Looks after the pod until its object is gone and nothing of it runs.
    pub async fn run(mut self) {
        self.start_probes();
        if self.power.borrow().works() {
            // Pending, with its containers being created, as everybody sees it first.
            self.write_status();
        }
        loop {
            let power = *self.power.borrow_and_update();
            if !power.works() {
                if self.power.changed().await.is_err() {
                    return;
                }
                continue;
            }
            if power.boots != self.boots {
                self.boots = power.boots;
                self.rebooted();
            }
            self.sync().await;
            if self.rewrite_at.is_some_and(|at| at <= Instant::now()) {
                (self.rewrite_at, self.told) = (None, None);
            }
            self.write_status();
            if self.stage == Stage::Over {
                self.delete_if_asked();
                if self.seen.gone {
                    return;
                }
            }
            if !self.next_thing().await {
                return;
            }
        }
    }

    /// Waits for something to happen, and takes it in. False when nothing ever will.
    async fn next_thing(&mut self) -> bool {
        let due = self.next_due();
        tokio::select! {
            biased;
            changed = self.updates.changed() => {
                if changed.is_err() {
                    return false;
                }
                self.take_update();
            }
            event = self.events.recv() => {
                let Some(event) = event else { return false };
                self.take_event(event);
            }
            Some(_) = self.kills.join_next() => {}
            Some(_) = self.hooks.join_next() => {}
            Some(_) = self.probes.join_next() => {}
            changed = self.power.changed() => return changed.is_ok(),
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
        }
        true
    }

    fn next_due(&self) -> Option<Instant> {
        if self.stage != Stage::Living {
            return self.rewrite_at;
        }
        let retries = self.slots.iter().filter(|slot| slot.process.is_none()).filter_map(|slot| slot.retry);
        retries.chain(self.deadline()).chain(self.set_up_again).chain(self.rewrite_at).min()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let seconds = self.seen.pod.spec.as_ref()?.active_deadline_seconds?;
        Some(self.began + Duration::from_secs(u64::try_from(seconds).ok()?))
    }

    pub(super) fn restart_policy(&self) -> &str {
        self.seen.pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()).unwrap_or("Always")
    }

    fn take_update(&mut self) {
        self.seen = self.updates.borrow_and_update().clone();
        // The spec may have changed, of what can change: images above all.
        for (container, _) in facts::containers(&self.seen.pod) {
            if let Some(slot) = self.slots.iter_mut().find(|slot| slot.container.name == container.name) {
                slot.container = container;
            }
        }
        // Others have written to our part of the status, such as the node lifecycle controller while we were away.
        if self.written.as_ref().is_some_and(|written| written.status != self.seen.pod.status) {
            self.rewrite_at = self.rewrite_at.or_else(|| Some(Instant::now() + STATUS_SYNC));
        }
        for slot in self.slots.iter().filter(|slot| slot.facts.started() && !slot.facts.ready()) {
            slot.tell_probes(true);
        }
    }

    fn take_event(&mut self, event: Event) {
        match event {
            Event::Ended { index, run, exit } => self.container_ended(index, run, exit),
            Event::Hook { index, run, result } => self.hook_done(index, run, result),
            Event::Verdict { index, run, purpose, success } => self.verdict(index, run, purpose, success),
        }
    }

    fn verdict(&mut self, index: usize, run: u64, purpose: Purpose, success: bool) {
        let Some(slot) = self.slots.get_mut(index).filter(|slot| slot.run == run && slot.process.is_some()) else {
            return;
        };
        match (purpose, success) {
            (Purpose::Readiness, ready) => slot.facts.readiness_ok = ready,
            (Purpose::Startup, true) => {
                slot.facts.startup_ok = true;
                slot.tell_probes(true);
            }
            (Purpose::Liveness, true) => {}
            (Purpose::Startup | Purpose::Liveness, false) => self.kill_unhealthy(index, purpose),
        }
    }

    fn hook_done(&mut self, index: usize, run: u64, result: Result<(), String>) {
        let Some(slot) = self.slots.get_mut(index).filter(|slot| slot.run == run) else { return };
        slot.hook_runs = false;
        if slot.process.is_none() {
            return;
        }
        match result {
            Ok(()) => self.container_runs(index),
            Err(why) => {
                // The event does not tell why, so that no secret of the hook's answer gets into it.
                self.recorder.container(&slot.field, Severity::Warning, "FailedPostStartHook", "PostStartHook failed");
                slot.facts.state = State::Waiting { reason: "PostStartHookError".to_owned(), message: Some(why) };
                self.kill_one(index, "FailedPostStartHook", None);
            }
        }
    }

    /// A container is running as far as everybody is concerned.
    pub(super) fn container_runs(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        slot.facts.state = State::Running { since: slot.since };
        slot.tell_probes(false);
    }

    fn container_ended(&mut self, index: usize, run: u64, exit: Exit) {
        let living = self.stage == Stage::Living;
        let Some(slot) = self.slots.get_mut(index).filter(|slot| slot.run == run && slot.process.is_some()) else {
            return;
        };
        slot.process = None;
        let mut log = None;
        self.handle.change_seat(&slot.container.name, |seat| {
            seat.process = None;
            log.clone_from(&seat.log);
        });
        let code = exit.code();
        let wanted = slot.container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError") && code != 0;
        let (bytes, lines) = MESSAGE_MAX;
        let message = log.as_ref().filter(|_| wanted).map(|log| log.tail(bytes, lines)).filter(|text| !text.is_empty());
        if let Some(log) = log {
            log.close();
        }
        let ended = Ended {
            code,
            reason: if code == 0 { "Completed" } else { "Error" }.to_owned(),
            message,
            started: slot.since,
            finished: time_now().0,
            id: slot.facts.id.clone().unwrap_or_default(),
        };
        if !living {
            slot.last_end = Some(ended);
            return;
        }
        let now = Instant::now();
        slot.ended_at = Some(now);
        if !std::mem::take(&mut slot.being_killed) {
            slot.counted_end = Some(now);
        }
        slot.end(ended);
    }

    /// The status, where it is not the one that was written last.
    pub(super) fn write_status(&mut self) {
        if self.seen.gone {
            return;
        }
        let metadata = &self.seen.pod.metadata;
        let known = status::foreign(self.seen.pod.status.as_ref());
        let facts: Vec<Facts> = self.slots.iter().map(|slot| slot.facts.clone()).collect();
        let told = (facts, self.own.clone(), metadata.generation, known);
        if self.told.as_ref() == Some(&told) {
            return;
        }
        let containers: Vec<Container> = self.slots.iter().map(|slot| slot.container.clone()).collect();
        let now = time_now();
        let uid = metadata.uid.clone();
        let (namespace, name) = (&self.handle.namespace, &self.handle.name);
        let written = self.shared.registry.change_status::<Pod>(namespace, name, |pod| {
            if pod.metadata.uid != uid {
                return Err(ApiError::not_found("", "pods", name));
            }
            let before: PodStatus = pod.status.take().unwrap_or_default();
            pod.status = Some(status::pod_status(pod, &containers, &told.0, &told.1, &before, &now));
            Ok(())
        });
        match written {
            Ok(pod) => {
                self.told = Some(told);
                self.written = Some(pod);
            }
            Err(error) => tracing::debug!(pod = ?self.handle, %error, "the status was not written"),
        }
    }

    fn start_probes(&mut self) {
        for (index, slot) in self.slots.iter().enumerate().filter(|(_, slot)| slot.role != Role::Init) {
            let all: [(Purpose, &Option<Probe>); 3] = [
                (Purpose::Startup, &slot.container.startup_probe),
                (Purpose::Readiness, &slot.container.readiness_probe),
                (Purpose::Liveness, &slot.container.liveness_probe),
            ];
            for (purpose, probe) in all {
                let Some(probe) = probe.clone() else { continue };
                let prober = Prober {
                    shared: Arc::clone(&self.shared),
                    pod: Arc::clone(&self.handle),
                    container: slot.container.clone(),
                    field: slot.field.clone(),
                    index,
                    recorder: self.recorder.clone(),
                    purpose,
                    probe,
                    watched: slot.watched.subscribe(),
                    power: self.node.follow(),
                    verdicts: self.sender.clone(),
                };
                self.probes.spawn(prober.run());
            }
        }
    }

    pub(super) fn stop_probes(&mut self) {
        self.probes.abort_all();
    }
}

impl Slot {
    /// It has ended, and whatever its probes said no longer holds.
    pub(super) fn end(&mut self, ended: Ended) {
        self.facts.state = State::Ended(ended);
        self.facts.startup_ok = false;
        self.facts.readiness_ok = false;
        self.hook_runs = false;
        self.retry = None;
        self.tell_probes(false);
    }
}
