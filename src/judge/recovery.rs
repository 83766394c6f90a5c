//! Recovery: from the end of the last fault to the last loss, and to all given workloads complete again.

use super::{
    facts::{Facts, seconds},
    tally::Scope,
};
use crate::{
    experiment::{schema::Step, units::Span},
    record::event::{Micros, StepState, WorkloadSeen},
};

/// When the last step that is not a wait had ended; where all are waits, the last wait. Nothing when none had.
#[must_use]
pub fn fault_end(facts: &Facts<'_>) -> Option<Micros> {
    let done = |faults_only: bool| {
        let steps = facts.timeline.steps.iter().filter(|(path, _)| {
            !faults_only || step_at(&facts.record.experiment.spec.steps, path).is_none_or(|step| !is_wait(step))
        });
        steps
            .flat_map(|(_, changes)| changes.iter())
            .filter(|(_, step)| step.state == StepState::Done)
            .map(|(at, _)| *at)
            .max()
    };
    done(true).or_else(|| done(false))
}

/// What was measured, and whether it was in time; the error says why that cannot be told.
pub(super) fn recovered(facts: &Facts<'_>, within: Span) -> (String, Result<bool, String>) {
    let Some(begin) = fault_end(facts) else {
        return ("no fault was finished".to_owned(), Err("no fault was finished".to_owned()));
    };
    let last_loss = |untainted: bool| {
        let losses = facts.tally.losses(Scope { untainted, ..Scope::default() });
        losses.map(|loss| loss.request.ended_us).max().map_or(0, |ended| ended.saturating_sub(begin).max(0))
    };
    let (all, clean) = (last_loss(false), last_loss(true));
    let limit = within.micros();
    let mut slowest = 0;
    for workload in &facts.record.experiment.spec.given.ready {
        let name = workload.to_string();
        let seen = facts.timeline.workloads.get(name.as_str()).map(Vec::as_slice).unwrap_or_default();
        if seen.is_empty() {
            return (format!("{name} was never seen"), Err(format!("{name} was never seen")));
        }
        let Some(complete) = complete_since(seen, begin) else {
            let watched = facts.timeline.end.saturating_sub(begin);
            let text = format!("{name} not complete {} after the last fault", seconds(watched));
            let held = if watched > limit { Ok(false) } else { Err("the run ended too early to tell".to_owned()) };
            return (text, held);
        };
        slowest = slowest.max(complete.saturating_sub(begin).max(0));
    }
    let text = format!("last loss {} and workloads complete {} after the last fault", seconds(all), seconds(slowest));
    let held = if clean > limit || slowest > limit {
        Ok(false)
    } else if all > limit {
        Err("the last losses came while the measurement was in doubt".to_owned())
    } else {
        Ok(true)
    };
    (text, held)
}

/// The first moment at or after `begin` at which the workload was complete, by kubectl's rule for a rollout.
fn complete_since(seen: &[(Micros, &WorkloadSeen)], begin: Micros) -> Option<Micros> {
    let at_begin = seen.iter().rev().find(|(at, _)| *at <= begin).filter(|(_, workload)| complete(workload));
    at_begin
        .map(|_| begin)
        .or_else(|| seen.iter().find(|(at, workload)| *at > begin && complete(workload)).map(|(at, _)| *at))
}

fn complete(workload: &WorkloadSeen) -> bool {
    let wanted = workload.wanted;
    !workload.gone
        && workload.observed_generation >= workload.generation
        && [workload.updated, workload.replicas, workload.available].iter().all(|count| *count == wanted)
}

/// The step at a place such as `2.1`, counted from 1.
fn step_at<'a>(steps: &'a [Step], path: &str) -> Option<&'a Step> {
    let (here, below) = path.split_once('.').map_or((path, None), |(here, below)| (here, Some(below)));
    let step = steps.get(here.parse::<usize>().ok()?.checked_sub(1)?)?;
    match (below, step) {
        (None, step) => Some(step),
        (Some(below), Step::Parallel(inner) | Step::Sequence(inner)) => step_at(inner, below),
        (Some(_), _) => None,
    }
}

/// A wait, or steps that are put together: their parts are steps of their own.
fn is_wait(step: &Step) -> bool {
    matches!(step, Step::Wait(_) | Step::Parallel(_) | Step::Sequence(_))
}
