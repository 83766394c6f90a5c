//! Findings: one for each cause that lost requests, with its evidence in numbers and times, and those that stand out
//! without any loss: a drain that its budget blocks, a budget that was broken, a service that was not steady.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    budget,
    cause::Cause,
    doubt::lost_before,
    facts::{Facts, seconds},
    life::{Hook, Life},
    tally::{Loss, Scope},
    verdict::Finding,
    wording,
};
use crate::{
    experiment::schema::Phase,
    record::event::{EvictionAnswer, Micros, Outcome, StepState},
};

/// A drain could not end since a budget let no eviction through.
pub const DRAIN_BLOCKED: &str = "drain-blocked";
/// Fewer pods were healthy than a budget asks for.
pub const BUDGET_BROKEN: &str = "budget-broken";
/// The service lost requests before anything was done to it.
pub const STEADY_STATE_NOT_MET: &str = "steady-state-not-met";

/// Pods that are named in the evidence of one finding.
const PODS_NAMED_MAX: usize = 5;

/// What is put on top of a measured time when a preStop sleep is advised, in seconds: the next run's rules may follow
/// a second later, the shortest interval between two syncs of kube-proxy being 1 s.
const PRESTOP_MARGIN_S: i64 = 2;

/// Every finding of a record, those that explain most losses first; `unexplained` comes last.
#[must_use]
pub fn findings(facts: &Facts<'_>) -> Vec<Finding> {
    let requests = facts.tally.requests(Scope::default());
    let mut by_cause: Vec<Finding> = Cause::ALL
        .into_iter()
        .filter_map(|cause| {
            let lost = requests.by_cause.get(cause.as_str()).copied().filter(|lost| *lost > 0)?;
            Some(of_cause(facts, cause, lost))
        })
        .collect();
    by_cause.extend(drain_blocked(facts));
    by_cause.extend(facts.timeline.budgets.keys().filter_map(|name| budget_broken(facts, name)));
    by_cause.extend(steady_state(facts));
    by_cause.sort_by_key(|finding| (finding.id == Cause::Unexplained.as_str(), std::cmp::Reverse(finding.lost)));
    by_cause
}

fn of_cause(facts: &Facts<'_>, cause: Cause, lost: u64) -> Finding {
    let losses: Vec<&Loss> = facts.tally.losses.iter().filter(|loss| loss.why.cause == cause).collect();
    let mut evidence = vec![counts(&losses, lost)];
    if let (Some(first), Some(last)) = (losses.first(), losses.iter().map(|loss| loss.request.ended_us).max()) {
        evidence.push(format!(
            "the first was due at {}, the last ended at {}",
            seconds(first.request.intended_us),
            seconds(last)
        ));
    }
    let pods = by_pod(facts, &losses);
    evidence.extend(pods.iter().take(PODS_NAMED_MAX).map(|(life, losses)| told(facts, life, losses)));
    if pods.len() > PODS_NAMED_MAX {
        evidence.push(format!("{} more pods", pods.len() - PODS_NAMED_MAX));
    }
    Finding {
        id: cause.as_str().to_owned(),
        claim: wording::claim(cause).to_owned(),
        evidence,
        advice: prestop_advice(cause, &pods).unwrap_or_else(|| wording::advice(cause).to_owned()),
        lost,
    }
}

fn counts(losses: &[&Loss<'_>], lost: u64) -> String {
    let mut kinds: BTreeMap<Outcome, usize> = BTreeMap::new();
    for loss in losses {
        *kinds.entry(loss.request.outcome).or_default() += 1;
    }
    let lanes: BTreeSet<&str> = losses.iter().map(|loss| loss.request.lane.as_str()).collect();
    let mut parts: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {}", kind.as_str())).collect();
    let described = losses.len() as u64;
    if lost > described {
        parts.push(format!("{} of which only the number is recorded", lost - described));
    }
    let lanes = lanes.into_iter().collect::<Vec<_>>().join(", ");
    let lanes = if lanes.is_empty() { lanes } else { format!(", lane {lanes}") };
    format!("{lost} lost: {}{lanes}", parts.join(", "))
}

type OfPod<'t, 'a> = (&'t Life<'a>, Vec<&'t Loss<'a>>);

/// The losses by the pod they were traced to, most losses first.
fn by_pod<'t, 'a>(facts: &'t Facts<'a>, losses: &[&'t Loss<'a>]) -> Vec<OfPod<'t, 'a>> {
    let mut by_uid: BTreeMap<&str, Vec<&Loss>> = BTreeMap::new();
    for loss in losses {
        if let Some(uid) = loss.why.uid {
            by_uid.entry(uid).or_default().push(loss);
        }
    }
    let mut pods: Vec<OfPod> = facts
        .timeline
        .lives
        .iter()
        .filter_map(|life| by_uid.remove(life.last.uid.as_str()).map(|losses| (life, losses)))
        .collect();
    pods.sort_by_key(|(_, losses)| std::cmp::Reverse(losses.len()));
    pods
}

/// A pod's life in one sentence, with its last loss.
fn told(facts: &Facts<'_>, life: &Life<'_>, losses: &[&Loss<'_>]) -> String {
    let mut parts = Vec::new();
    let mut part = |what: &str, at: Option<Micros>| {
        parts.extend(at.filter(|at| *at < Micros::MAX).map(|at| format!("{what} {}", seconds(at))));
    };
    let off = facts.timeline.services.values().find_map(|service| service.endpoint_of(life)).and_then(|endpoint| {
        let from = life.deleted.or(life.crashes.first().copied())?;
        endpoint.off_after(from.saturating_sub(super::cause::PROPAGATION_US))
    });
    part("container running at", life.started.filter(|_| !life.last.has_readiness_probe));
    life.crashes.iter().take(PODS_NAMED_MAX).for_each(|crash| part("container ended at", Some(*crash)));
    let deleted = if life.forced {
        "removed by force at"
    } else if life.evicted {
        "evicted at"
    } else {
        "deleted at"
    };
    part(deleted, life.deleted);
    part("SIGTERM at about", life.sigterm().filter(|_| !life.forced && !matches!(life.hook, Hook::Missing)));
    part("endpoint not ready at", off);
    part("exit seen at", life.exited.filter(|_| !life.forced));
    part("last loss sent at", losses.iter().map(|loss| loss.request.sent_us).max());
    let node = life.node().map(|node| format!(" on node {node}")).unwrap_or_default();
    format!("pod {}{node}: {}; {} lost", life.last.name, parts.join(", "), losses.len())
}

/// The sleep that would have been long enough, by what was measured.
fn prestop_advice(cause: Cause, pods: &[OfPod<'_, '_>]) -> Option<String> {
    if !matches!(cause, Cause::PrestopMissing | Cause::PrestopTooShort) {
        return None;
    }
    let after = |(life, losses): &OfPod<'_, '_>| {
        let last = losses.iter().map(|loss| loss.request.sent_us).max()?;
        Some(last.saturating_sub(life.deleted?).max(0))
    };
    let measured = pods.iter().filter_map(after).max()?;
    let sleep = measured.saturating_add(999_999) / 1_000_000 + PRESTOP_MARGIN_S;
    let (life, _) = pods.first()?;
    let now = match life.hook {
        Hook::Sleeps(length) => format!("the hook now sleeps {}; ", seconds(length)),
        Hook::Failed => "the hook failed, so SIGTERM came at once; ".to_owned(),
        Hook::Unknown | Hook::Missing => String::new(),
    };
    let grace = life.last.spec_grace_seconds;
    let room = if grace > sleep {
        String::new()
    } else {
        format!(", and raise terminationGracePeriodSeconds ({grace} now) above it")
    };
    Some(format!(
        "{now}requests were sent to the pod until {} after its deletion, so it needs a preStop sleep of at least that: \
         set lifecycle.preStop.sleep.seconds: {sleep}{room}",
        seconds(measured)
    ))
}

/// A drain that failed while its last answers for a pod were refusals.
fn drain_blocked(facts: &Facts<'_>) -> Option<Finding> {
    let timeline = &facts.timeline;
    let failed = |changes: &&Vec<(Micros, &crate::record::event::StepChange)>| {
        changes.iter().any(|(_, step)| matches!(step.state, StepState::Failed))
    };
    timeline.steps.values().find(failed)?;
    let mut last: BTreeMap<&str, (Micros, &EvictionAnswer)> = BTreeMap::new();
    let mut refusals: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, eviction) in &timeline.evictions {
        last.insert(&eviction.pod, (*at, &eviction.answer));
        if is_refusal(&eviction.answer) {
            *refusals.entry(&eviction.pod).or_default() += 1;
        }
    }
    let blocked: Vec<_> = last.into_iter().filter(|(_, (_, answer))| is_refusal(answer)).collect();
    let mut evidence: Vec<String> = blocked
        .iter()
        .take(PODS_NAMED_MAX)
        .map(|(pod, (at, answer))| {
            let times = refusals.get(pod).copied().unwrap_or(0);
            format!("pod {pod}: {times} evictions refused, the last at {}: {}", seconds(*at), words(answer))
        })
        .collect();
    evidence.extend(timeline.budgets.iter().filter_map(|(name, seen)| {
        let (_, budget) = seen.last()?;
        Some(format!(
            "budget {name}: {} of {} pods healthy, {} asked for, {} evictions allowed",
            budget.current_healthy, budget.expected_pods, budget.desired_healthy, budget.disruptions_allowed
        ))
    }));
    (!blocked.is_empty()).then(|| Finding {
        id: DRAIN_BLOCKED.to_owned(),
        claim: "a drain could not end, since a budget let no eviction through".to_owned(),
        evidence,
        advice: "give the budget room for one pod: maxUnavailable: 1, or a minAvailable below the number of replicas, \
                 and let replacements become ready elsewhere"
            .to_owned(),
        lost: 0,
    })
}

fn is_refusal(answer: &EvictionAnswer) -> bool {
    matches!(
        answer,
        EvictionAnswer::BudgetExhausted { .. }
            | EvictionAnswer::StillProcessing { .. }
            | EvictionAnswer::Refused { .. }
    )
}

fn words(answer: &EvictionAnswer) -> String {
    match answer {
        EvictionAnswer::BudgetExhausted { message } | EvictionAnswer::Refused { message, .. } => message.clone(),
        EvictionAnswer::StillProcessing { .. } => "the budget's status is not up to date".to_owned(),
        EvictionAnswer::Accepted | EvictionAnswer::Gone | EvictionAnswer::NamespaceTerminating => String::new(),
    }
}

fn budget_broken(facts: &Facts<'_>, name: &str) -> Option<Finding> {
    let measured = budget::measure(&facts.timeline, name).filter(|_| !facts.timeline.contradicts_itself)?;
    let (first, last) = measured.short?;
    let went = facts.timeline.lives.iter().filter(|life| {
        life.deleted.is_some_and(|at| (first.saturating_sub(super::cause::PROPAGATION_US)..=last).contains(&at))
    });
    let went: Vec<String> = went
        .take(PODS_NAMED_MAX)
        .map(|life| {
            let how = if life.evicted { "evicted" } else { "deleted, which no budget can refuse," };
            format!("pod {} {how} at {}", life.last.name, seconds(life.deleted.unwrap_or_default()))
        })
        .collect();
    let lowest = measured.lowest;
    let mut evidence = vec![
        format!(
            "{} pods healthy where {} were asked for, at {}",
            lowest.healthy,
            lowest.desired,
            seconds(lowest.at_us)
        ),
        format!("fewer than asked for from {} to {}", seconds(first), seconds(last)),
    ];
    evidence.extend(went);
    Some(Finding {
        id: BUDGET_BROKEN.to_owned(),
        claim: format!("fewer pods were healthy than budget {name} asks for"),
        evidence,
        advice: "only evictions honour a budget; deletions, rollouts, scale-downs and failures do not: look at what \
                 took the pods, and keep one replica more than the budget asks for"
            .to_owned(),
        lost: 0,
    })
}

fn steady_state(facts: &Facts<'_>) -> Option<Finding> {
    let lost = lost_before(facts);
    let before = Scope { phase: Some(Phase::Before), ..Scope::default() };
    let losses: Vec<&Loss> = facts.tally.losses(before).collect();
    (lost > 0).then(|| Finding {
        id: STEADY_STATE_NOT_MET.to_owned(),
        claim: "the service lost requests before anything was done to it".to_owned(),
        evidence: vec![counts(&losses, lost)],
        advice: "make the service answer every request while nothing happens, or wait longer before the load; nothing \
                 can be said about a fault until then"
            .to_owned(),
        // They are counted with their causes.
        lost: 0,
    })
}
