//! Conducts one run: set-up, phases, undo, and whatever cuts them short, all on one timeline.
//!
//! Everything that is started here is stopped here, on every way out; what was undone and what was not is the last
//! thing that is recorded.

use std::{
    cell::OnceCell,
    path::Path,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::sync::{mpsc, watch};

use super::{
    RunError,
    probe::Probes,
    recorder::{Recorder, Stop, Told},
    signals::Signals,
    traffic::Traffic,
    vitals::Vitals,
};
use crate::{
    agent::{self, client::Place},
    cluster::{self, Cluster, On, apply::ApplyError},
    experiment::schema::{Experiment, Phase, Vantage},
    fault::{
        self, Abort, Stage,
        ledger::{Head, Hold, Ledger, paper},
        undo::{Undo, UndoStack},
    },
    load::message::LoadMessage,
    observe,
    plan::{self, Plan},
    record::{
        LOAD_ENDED,
        clock::{Clock, Sink},
        error::RecordError,
        event::{EndReason, Ended, FORMAT, Note, NoteKind, Started, What},
        writer::Writer,
    },
    report::live::Live,
};

/// So long without a loss, and the load has found the service steady.
const SETTLED_AFTER: Duration = Duration::from_secs(1);

/// What a run needs to know.
pub struct Order<'a> {
    /// The checked experiment.
    pub experiment: &'a Experiment,
    /// The plan made of it on this cluster.
    pub plan: &'a Plan,
    /// Where it happens.
    pub cluster: &'a Cluster,
    /// The image of the load agent.
    pub agent_image: &'a str,
    /// The folder of the record; made by the writer.
    pub folder: &'a Path,
    /// Ctrl-C and SIGTERM.
    pub signals: &'a Signals,
    /// The cluster, held for this run.
    pub hold: &'a Arc<Hold>,
    /// The run's id, under which it is held.
    pub run: &'a str,
    /// Where this run enters what it has to undo, for whoever ends it at once.
    pub stacks: &'a Stacks,
}

/// The undo stacks of all runs under way: what stays, should the process end at once.
#[derive(Default)]
pub struct Stacks(Mutex<Vec<Weak<UndoStack>>>);

impl Stacks {
    fn add(&self, stack: &Arc<UndoStack>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(stack));
    }

    /// What is registered and not yet undone.
    #[must_use]
    pub fn left(&self) -> Vec<Undo> {
        let stacks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        stacks.iter().filter_map(Weak::upgrade).flat_map(|stack| stack.left()).collect()
    }
}

fn head(order: &Order<'_>) -> Head {
    Head {
        format: paper::FORMAT,
        run: order.run.to_owned(),
        experiment: order.experiment.metadata.name.clone(),
        on: order.cluster.on.to_string(),
        cluster: order.cluster.identity.clone(),
        since: jiff::Timestamp::now().to_string(),
    }
}

/// The Job of the load agents, as something that was not there.
fn agents_job(namespace: &str, name: &str) -> Undo {
    Undo::RemoveObject {
        api_version: "batch/v1".to_owned(),
        kind: "Job".to_owned(),
        plural: "jobs".to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

/// How a run ended, for the exit code; what it showed is in the record.
#[derive(Debug)]
pub struct RunEnd {
    /// How it came to its end.
    pub reason: EndReason,
    /// All that was done has been undone.
    pub undo_complete: bool,
    /// Why it was cut short.
    pub error: Option<RunError>,
}

/// Runs an experiment whose plan has been checked. What was done has been undone when this returns, as far as it could
/// be, and the record is on disk.
pub async fn conduct(order: &Order<'_>, live: Live) -> Result<RunEnd, RunError> {
    let clock = Clock::start();
    let (sink, events) = Sink::new(clock);
    let (messages, load) = mpsc::unbounded_channel();
    let plan = serde_json::to_value(order.plan).map_err(RunError::Plan)?;
    let writer = Writer::create(order.folder, order.experiment, &plan)?;
    // Room for one reason of each part: the first that is read counts.
    let (broken, mut must_stop) = mpsc::channel(8);
    let (heard, losses) = watch::channel(());
    let vitals = Vitals::new(&order.experiment.spec.abort, &order.experiment.spec.load);
    let told_of = Told { losses: heard, stop: broken.clone(), vitals };
    // A sandbox ends with this process, so nobody need find what was done in it.
    let known = order.cluster.on != On::Sandbox;
    let ledger = Ledger::open(order.folder, &head(order), Arc::clone(order.hold), known).await?;
    let recorder = Recorder::start(clock, writer, live, events, load, told_of);
    sink.record(What::Started(Started {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        experiment: order.experiment.metadata.name.clone(),
        on: order.cluster.on.to_string(),
        server_version: order.cluster.server_version.clone(),
        wall_clock: jiff::Timestamp::now().to_string(),
    }));

    let (stop, abort) = Abort::new();
    let given = &order.experiment.spec.given;
    let stage = stage(order, &sink, ledger, abort);
    let mut run = Run { order, stage, losses, broken, traffic: None };
    let watches = observe::watch(order.cluster, &given.namespace, sink.clone());
    let drive = async {
        watches.synced().await?;
        Box::pin(run.drive(&messages)).await
    };
    let broken_off = OnceCell::new();
    let stopped = async {
        tokio::select! {
            () = order.signals.asked(1) => {}
            by = order.hold.lost() => note(&sink, NoteKind::Error, format!("{by} has taken this cluster over")),
            why = must_stop.recv() => if let Some(why) = why {
                if why == Stop::Record {
                    // The error itself is told when the recorder is finished below.
                    note(&sink, NoteKind::Error, "the record cannot be written any more".to_owned());
                }
                _ = broken_off.set(why);
            }
        }
        stop.abort();
        std::future::pending::<()>().await;
    };
    let driven = tokio::select! {
        driven = drive => driven,
        () = stopped => unreachable!("it only triggers the abort"),
    };

    let traffic = match run.traffic.take() {
        Some(traffic) => traffic.stop().await,
        None => Ok(()),
    };
    drop(messages);
    note(&sink, NoteKind::Info, LOAD_ENDED.to_owned());
    let undo = run.stage.undo.undo_all().await;
    run.stage.undo.close(&undo).await;
    watches.stop().await;
    let broken_off = broken_off.into_inner();
    let (reason, error) = ending(driven.and(traffic), order.signals, broken_off.as_ref());
    if let Some(error) = &error {
        note(&sink, NoteKind::Error, crate::failure::chain(error));
    }
    sink.record(What::Ended(Ended { reason, undo_complete: undo.complete }));
    drop((run, sink));
    let written = recorder.finish().await;
    Ok(RunEnd { reason, undo_complete: undo.complete, error: told(error, written, broken_off.as_ref()) })
}

/// What the steps of a run need.
fn stage(order: &Order<'_>, sink: &Sink, ledger: Ledger, abort: Abort) -> Stage {
    let spec = &order.experiment.spec;
    let undo = Arc::new(UndoStack::new(order.cluster.client.clone(), sink.clone(), ledger));
    order.stacks.add(&undo);
    Stage {
        client: order.cluster.client.clone(),
        namespace: spec.given.namespace.clone(),
        namespace_is_ours: !spec.given.apply.is_empty(),
        guards: Arc::new(spec.guards.clone()),
        sink: sink.clone(),
        undo,
        abort,
    }
}

/// Why a run was cut short, when its record could not be written either: one that was broken off for the record has
/// that as its only reason, whatever it was at when it was broken off.
fn told(error: Option<RunError>, written: Result<(), RecordError>, broken_off: Option<&Stop>) -> Option<RunError> {
    match (error, written) {
        (None, Err(unwritten)) => Some(unwritten.into()),
        (Some(_), Err(unwritten)) if broken_off == Some(&Stop::Record) => Some(unwritten.into()),
        (error, _) => error,
    }
}

fn note(sink: &Sink, kind: NoteKind, text: String) {
    sink.record(What::Note(Note { kind, text }));
}

fn ending(driven: Result<(), RunError>, signals: &Signals, broken_off: Option<&Stop>) -> (EndReason, Option<RunError>) {
    match (driven, broken_off) {
        (Ok(()), _) => (EndReason::Completed, None),
        (Err(_), _) if signals.stopped() => (EndReason::Interrupted, None),
        (Err(_), Some(Stop::Condition(why))) => (EndReason::StepFailed, Some(RunError::Condition { why: why.clone() })),
        (Err(error @ RunError::Step(_)), _) => (EndReason::StepFailed, Some(error)),
        (Err(error), _) => (EndReason::SetupFailed, Some(error)),
    }
}

/// A run while it is under way.
struct Run<'a> {
    order: &'a Order<'a>,
    stage: Stage,
    losses: watch::Receiver<()>,
    broken: mpsc::Sender<Stop>,
    traffic: Option<Traffic>,
}

impl Run<'_> {
    /// Set-up, then the phases. What has to be stopped or undone stays in `self`.
    async fn drive(&mut self, messages: &mpsc::UnboundedSender<LoadMessage>) -> Result<(), RunError> {
        let abort = self.stage.abort.clone();
        abort.or(self.set_up()).await??;
        Box::pin(abort.or(self.start_load(messages))).await??;
        self.settle().await?;
        self.traffic.iter().for_each(Traffic::renew_connections);
        let (steps, phases) = (&self.order.experiment.spec.steps, self.order.experiment.spec.phases);
        self.enter(Phase::Before);
        let probes = Probes::start(&self.order.experiment.spec.abort, &self.broken);
        self.pause(phases.before.duration()).await?;
        self.enter(Phase::Fault);
        fault::run_steps(steps, &self.stage).await?;
        // From here on there is nothing to stop.
        drop(probes);
        self.enter(Phase::Undo);
        self.stage.undo.undo_cluster().await;
        self.enter(Phase::After);
        self.pause(phases.after.duration()).await
    }

    fn enter(&self, phase: Phase) {
        self.stage.sink.record(What::Phase { phase });
    }

    /// Waits until the service has answered every request for a while, but no longer than it may take to get ready:
    /// ready pods need not listen yet, where no probe has asked them. A service that is not steady even then loses
    /// requests in phase `before`, and the judge says so.
    async fn settle(&mut self) -> Result<(), RunError> {
        let quiet = async {
            while tokio::time::timeout(SETTLED_AFTER, self.losses.changed()).await.is_ok_and(|heard| heard.is_ok()) {}
        };
        let bounded = tokio::time::timeout(self.order.experiment.spec.given.within.duration(), quiet);
        // Either way the run goes on.
        _ = self.stage.abort.or(bounded).await?;
        Ok(())
    }

    async fn pause(&self, length: Duration) -> Result<(), RunError> {
        Ok(self.stage.abort.sleep(length).await?)
    }

    async fn set_up(&self) -> Result<(), RunError> {
        let (client, given) = (&self.stage.client, &self.order.experiment.spec.given);
        if self.stage.namespace_is_ours {
            let undo = Undo::RemoveNamespace { name: given.namespace.clone() };
            self.stage.undo.register(undo.clone()).await?;
            let made = cluster::apply::create_namespace(client, &given.namespace).await;
            if matches!(made, Err(ApplyError::AlreadyExists { .. })) {
                self.stage.undo.withdraw(&undo).await;
            }
            made?;
            cluster::apply::create_objects(client, &given.namespace, &given.apply).await?;
        }
        cluster::ready::wait_ready(client, &given.namespace, &given.ready, given.within.duration()).await?;
        Ok(())
    }

    async fn start_load(&mut self, messages: &mpsc::UnboundedSender<LoadMessage>) -> Result<(), RunError> {
        let (experiment, cluster) = (self.order.experiment, self.order.cluster);
        let facts = cluster::facts::facts(cluster, &self.stage.namespace).await?;
        let inside = experiment.spec.load.iter().any(|lane| lane.from == Vantage::Inside);
        let place = if inside {
            let (name, agents) = (agent::job::new_name(), experiment.spec.agents);
            let nodes = plan::agent_nodes(experiment, &facts)?;
            // Where connections are dialled by the cluster's own rules, no pods are made.
            if cluster.dial.is_none() {
                self.stage.undo.register(agents_job(&self.stage.namespace, &name)).await?;
            }
            let (image, lease_until) = (self.order.agent_image.to_owned(), self.order.hold.until());
            Some(Place { name, agents, nodes, image, lease_until })
        } else {
            None
        };
        let sink: &Sink = &self.stage.sink;
        let traffic = Traffic::start(&experiment.spec, &facts, cluster, place, sink, messages).await?;
        self.traffic = Some(traffic);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_what_a_run_says_that_was_broken_off_for_it_and_another_failure_comes_first() {
        let full = || {
            let source = std::io::ErrorKind::StorageFull.into();
            Err(RecordError::Io { doing: "write", path: "runs/1/events.jsonl".into(), source })
        };
        for (error, broken_off) in [(None, None), (Some(RunError::BrokenOff), Some(Stop::Record))] {
            let text = told(error, full(), broken_off.as_ref()).unwrap().to_string();
            assert!(text.contains("runs/1/events.jsonl") && text.contains("--out"), "{text}");
        }
        let own = told(Some(RunError::NoPlaceForAgent), full(), None);
        assert!(matches!(own, Some(RunError::NoPlaceForAgent)));
        assert!(matches!(told(Some(RunError::BrokenOff), Ok(()), None), Some(RunError::BrokenOff)));
        assert!(told(None, Ok(()), None).is_none());
    }
}
