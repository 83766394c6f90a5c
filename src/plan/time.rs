//! How long a run will about take. An estimate: what the file states is exact, what the cluster does is guessed from
//! grace periods, probes and budgets.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    budgets::{bounds, evictions_at_a_time},
    facts::WorkloadFact,
    spared::pick_of,
    world::{World, replicas},
};
use crate::experiment::{
    schema::{Drain, DrainOrder, Experiment, Step, Wait},
    units::{Span, WorkloadKind},
};

/// Kubectl's interval between evictions that are refused (kubectl/pkg/drain/drain.go).
const EVICTION_RETRY: Duration = Duration::from_secs(5);
/// From a pod's creation to its running container, its image being there: scheduling, sandbox, start.
const START: Duration = Duration::from_secs(2);
/// From SIGTERM to the pod's object being gone, for a process that obeys.
const STOP: Duration = Duration::from_secs(1);
/// The longest that a delay or a grace period is taken for, so that no sum of them overflows.
const LONGEST: Duration = Duration::from_secs(24 * 3_600);
/// A request or two, and seeing their effect.
const ACT: Duration = Duration::from_secs(1);

/// The parts of a run's time, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimePlan {
    /// Until the workloads are ready.
    pub setup_ms: u64,
    /// Load before the first step.
    pub before_ms: u64,
    /// The steps.
    pub fault_ms: u64,
    /// The undo.
    pub undo_ms: u64,
    /// Load after the last undo.
    pub after_ms: u64,
}

impl TimePlan {
    /// All of it.
    #[must_use]
    pub const fn total_ms(&self) -> u64 {
        self.setup_ms.saturating_add(self.loaded_ms())
    }

    /// The time under load.
    #[must_use]
    pub const fn loaded_ms(&self) -> u64 {
        let around = self.before_ms.saturating_add(self.after_ms);
        around.saturating_add(self.fault_ms).saturating_add(self.undo_ms)
    }
}

/// The parts of a run's time.
pub(super) fn estimate(experiment: &Experiment, world: &World<'_>) -> TimePlan {
    let spec = &experiment.spec;
    let slowest = spec.given.ready.iter().filter_map(|one| world.workload(one)).map(start).max().unwrap_or_default();
    let setup = if world.created { ACT + slowest } else { ACT };
    TimePlan {
        setup_ms: millis(setup),
        before_ms: millis(spec.phases.before.duration()),
        fault_ms: millis(in_turn(&spec.steps, world)),
        undo_ms: millis(spec.steps.iter().map(|step| undo(step, world)).sum()),
        after_ms: millis(spec.phases.after.duration()),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0)).min(LONGEST)
}

fn times(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

/// Until a new pod of it is available.
fn start(fact: &WorkloadFact) -> Duration {
    START + seconds(fact.template.boot_seconds) + seconds(i64::from(fact.min_ready_seconds))
}

/// Until a pod of it that is told to stop is gone.
fn stop(fact: &WorkloadFact, grace: Option<Span>) -> Duration {
    let grace = grace.map_or_else(|| seconds(fact.template.grace_seconds), Span::duration);
    grace.min(seconds(fact.template.pre_stop_seconds.unwrap_or(0))) + STOP
}

fn rollout(fact: &WorkloadFact) -> Duration {
    let of = bounds(fact);
    let at_a_time = of.surge.saturating_add(of.unavailable).max(1);
    let rounds = times(fact.replicas).div_ceil(times(at_a_time));
    // Without surge each new pod waits for the end of an old one.
    let round = if of.surge == 0 { start(fact) + stop(fact, None) } else { start(fact) };
    round * rounds + stop(fact, None)
}

fn in_turn(steps: &[Step], world: &World<'_>) -> Duration {
    steps.iter().map(|step| step_time(step, world)).sum()
}

fn step_time(step: &Step, world: &World<'_>) -> Duration {
    match step {
        Step::Drain(step) => drain(step, world),
        Step::DeletePods(step) if !step.force => {
            let stops = world.with_labels(&step.selector).into_iter().map(|fact| stop(fact, step.grace_period));
            ACT + stops.max().unwrap_or_default()
        }
        Step::Cordon(_) | Step::Uncordon(_) | Step::DeletePods(_) | Step::RollingUpdate(_) | Step::Scale(_) => ACT,
        Step::Wait(step) => wait(step, world),
        Step::Parallel(members) => members.iter().map(|one| step_time(one, world)).max().unwrap_or_default(),
        Step::Sequence(members) => in_turn(members, world),
    }
}

fn wait(wait: &Wait, world: &World<'_>) -> Duration {
    if let Some(time) = wait.time {
        return time.duration();
    }
    let slowest = |labels| world.with_labels(labels).into_iter().map(start).max().unwrap_or_default();
    let rollout = wait.rollout.as_ref().and_then(|workload| world.workload(workload)).map(rollout);
    let ready = wait.pods_ready.as_ref().map(|pods| slowest(&pods.selector));
    let gone = wait
        .pods_gone
        .as_ref()
        .map(|labels| world.with_labels(labels).into_iter().map(|fact| stop(fact, None)).max().unwrap_or_default());
    rollout.or(ready).or(gone).unwrap_or_default().min(wait.within.duration())
}

/// One drain: what its budget holds back waits for a replacement, and is asked for again every five seconds.
fn drain(drain: &Drain, world: &World<'_>) -> Duration {
    let nodes = nodes_of(&Step::Drain(drain.clone()), world);
    let workloads: Vec<&WorkloadFact> = match &drain.nodes.with_pods {
        Some(labels) => world.with_labels(labels),
        None => world.workloads.iter().collect(),
    };
    let moved: Vec<&WorkloadFact> =
        workloads.into_iter().filter(|fact| fact.workload.kind != WorkloadKind::DaemonSet).collect();
    let workers = u32::try_from(world.workers().len()).unwrap_or(u32::MAX).max(1);
    let per_node = times(replicas(&moved)).div_ceil(workers);
    let (rounds_of_nodes, pods) = match drain.order {
        DrainOrder::InTurn => (nodes, per_node),
        DrainOrder::AtOnce => (1, per_node.saturating_mul(nodes)),
    };
    let slowest = moved.iter().map(|fact| {
        let refused = match evictions_at_a_time(world, fact) {
            None => 0,
            Some(0) => return drain.timeout.duration(),
            Some(allowed) => pods.div_ceil(times(allowed)).saturating_sub(1),
        };
        let retries = start(fact).as_secs().div_ceil(EVICTION_RETRY.as_secs()).max(1);
        EVICTION_RETRY.saturating_mul(u32::try_from(retries).unwrap_or(u32::MAX)).saturating_mul(refused)
            + stop(fact, drain.grace_period)
    });
    let each = ACT + slowest.max().unwrap_or_default();
    each.saturating_mul(rounds_of_nodes).min(drain.timeout.duration())
}

fn nodes_of(step: &Step, world: &World<'_>) -> u32 {
    let Some(pick) = pick_of(step) else { return 0 };
    let all = pick.names.as_ref().map_or(world.workers().len(), Vec::len);
    pick.count.unwrap_or(u32::try_from(all).unwrap_or(u32::MAX))
}

fn undo(step: &Step, world: &World<'_>) -> Duration {
    match step {
        Step::Drain(_) | Step::Cordon(_) | Step::Uncordon(_) => ACT,
        Step::RollingUpdate(step) => ACT + world.workload(&step.workload).map(rollout).unwrap_or_default(),
        Step::Scale(step) => ACT + world.workload(&step.workload).map(start).unwrap_or_default(),
        Step::DeletePods(_) | Step::Wait(_) => Duration::ZERO,
        Step::Parallel(members) | Step::Sequence(members) => members.iter().map(|one| undo(one, world)).sum(),
    }
}
