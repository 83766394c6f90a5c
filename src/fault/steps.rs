//! Runs steps in sequence and in parallel, and records how each stands.

use std::sync::atomic::{AtomicBool, Ordering};

use futures::{
    future::{BoxFuture, FutureExt},
    stream::{FuturesUnordered, StreamExt},
};

use super::{
    delete_pods, drain,
    error::StepError,
    ledger::{Point, crash},
    node, rolling_update, scale,
    stage::Stage,
    wait,
};
use crate::{
    experiment::schema::Step,
    failure::chain,
    record::{
        clock::Sink,
        event::{StepChange, StepState, What},
    },
};

/// Runs steps one after another, until the first that fails. Each is recorded as begun, as effective once its effect
/// has been seen in the cluster, and as done, failed or aborted. Their places are `1`, `2`, `2.1`.
///
/// # Errors
/// What the first failed step says. What was done until then is for the undo.
pub async fn run_steps(steps: &[Step], stage: &Stage) -> Result<(), StepError> {
    sequence(steps, "", stage).await
}

async fn sequence(steps: &[Step], prefix: &str, stage: &Stage) -> Result<(), StepError> {
    for (index, step) in steps.iter().enumerate() {
        run_step(step, path(prefix, index), stage.clone()).await?;
    }
    Ok(())
}

/// Starts all at once; the first that fails breaks the others off, and its error is the one that counts.
async fn parallel(steps: &[Step], prefix: &str, stage: &Stage) -> Result<(), StepError> {
    let (handle, abort) = stage.abort.child();
    let stage = Stage { abort, ..stage.clone() };
    let mut running: FuturesUnordered<_> =
        steps.iter().enumerate().map(|(index, step)| run_step(step, path(prefix, index), stage.clone())).collect();
    let mut first_failure = Ok(());
    while let Some(result) = running.next().await {
        if result.is_err() {
            handle.abort();
        }
        first_failure = first_failure.and(result);
    }
    first_failure
}

fn path(prefix: &str, index: usize) -> String {
    let number = index + 1;
    if prefix.is_empty() { number.to_string() } else { format!("{prefix}.{number}") }
}

/// Runs one step with its record. Boxed, since steps contain steps.
fn run_step(step: &Step, path: String, stage: Stage) -> BoxFuture<'_, Result<(), StepError>> {
    async move {
        let progress = Progress::new(&stage.sink, path, name_of(step));
        let result = if stage.abort.requested() {
            Err(StepError::Aborted { doing: "begin".into() })
        } else {
            act(step, &stage, &progress).await
        };
        progress.ended(&result);
        result.map(drop)
    }
    .boxed()
}

/// Carries a step out, and says in the end what came of it.
async fn act(step: &Step, stage: &Stage, progress: &Progress) -> Result<String, StepError> {
    match step {
        Step::Drain(step) => drain::run(step, stage, progress).await,
        Step::Cordon(step) => node::run(step, true, stage, progress).await,
        Step::Uncordon(step) => node::run(step, false, stage, progress).await,
        Step::DeletePods(step) => delete_pods::run(step, stage, progress).await,
        Step::RollingUpdate(step) => rolling_update::run(step, stage, progress).await,
        Step::Scale(step) => scale::run(step, stage, progress).await,
        Step::Wait(step) => wait::run(step, stage, progress).await,
        Step::Parallel(steps) => {
            progress.begun(format!("{} steps at once", steps.len()), Vec::new());
            parallel(steps, &progress.path, stage).await.map(|()| format!("{} steps done", steps.len()))
        }
        Step::Sequence(steps) => {
            progress.begun(format!("{} steps in turn", steps.len()), Vec::new());
            sequence(steps, &progress.path, stage).await.map(|()| format!("{} steps done", steps.len()))
        }
    }
}

/// A step's name, or its verb.
fn name_of(step: &Step) -> String {
    let (name, verb) = match step {
        Step::Drain(step) => (&step.name, "drain"),
        Step::Cordon(step) => (&step.name, "cordon"),
        Step::Uncordon(step) => (&step.name, "uncordon"),
        Step::DeletePods(step) => (&step.name, "deletePods"),
        Step::RollingUpdate(step) => (&step.name, "rollingUpdate"),
        Step::Scale(step) => (&step.name, "scale"),
        Step::Wait(step) => (&step.name, "wait"),
        Step::Parallel(_) => (&None, "parallel"),
        Step::Sequence(_) => (&None, "sequence"),
    };
    name.clone().unwrap_or_else(|| verb.to_owned())
}

/// How one step stands, onto the timeline.
pub(super) struct Progress {
    sink: Sink,
    path: String,
    name: String,
    begun: AtomicBool,
}

impl Progress {
    pub(super) fn new(sink: &Sink, path: String, name: String) -> Self {
        Self { sink: sink.clone(), path, name, begun: AtomicBool::new(false) }
    }

    /// It begins to act on these targets, which are decided by now.
    pub(super) fn begun(&self, detail: String, targets: Vec<String>) {
        self.begun.store(true, Ordering::Relaxed);
        self.record(StepState::Begun, detail, targets);
        crash::at(Point::Begun);
    }

    /// What it set out to do has been seen in the cluster.
    pub(super) fn effective(&self, detail: String) {
        self.record(StepState::Effective, detail, Vec::new());
        crash::at(Point::Effective);
    }

    fn ended(&self, result: &Result<String, StepError>) {
        if !self.begun.load(Ordering::Relaxed) {
            // It failed before it knew what to act on: a record without a beginning could not be read.
            self.begun(String::new(), Vec::new());
        }
        let (state, detail) = match result {
            Ok(detail) => (StepState::Done, detail.clone()),
            Err(error @ StepError::Aborted { .. }) => (StepState::Aborted, error.to_string()),
            Err(error) => (StepState::Failed, chain(error)),
        };
        self.record(state, detail, Vec::new());
    }

    fn record(&self, state: StepState, detail: String, targets: Vec<String>) {
        self.sink.record(What::Step(StepChange {
            path: self.path.clone(),
            name: self.name.clone(),
            state,
            detail,
            targets,
        }));
    }
}

#[cfg(test)]
mod tests;
