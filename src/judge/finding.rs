//! Findings: one for each cause that lost requests, with its evidence in numbers and times, and those that stand out
//! without any loss: a drain that its budget blocks, a budget that was broken, a service that was not steady, a pod that
//! was killed when its grace period was over.

use std::collections::BTreeMap;

use super::{
    budget,
    cause::Cause,
    doubt::lost_before,
    evidence::{NAMED_MAX, by_pod, counts, gaps, own_doing, particulars, span, told},
    facts::{Facts, seconds},
    killed::killed_at_grace_end,
    remedy::{one_at_a_time, remedy},
    slow::slow_requests,
    tally::{Loss, Scope},
    verdict::Finding,
    wording,
};
use crate::{
    experiment::schema::Phase,
    record::event::{BudgetSeen, EvictionAnswer, Micros, StepState},
};

/// A drain could not end since a budget let no eviction through.
pub const DRAIN_BLOCKED: &str = "drain-blocked";
/// Fewer pods were healthy than a budget asks for.
pub const BUDGET_BROKEN: &str = "budget-broken";
/// The service lost requests before anything was done to it.
pub const STEADY_STATE_NOT_MET: &str = "steady-state-not-met";

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
    by_cause.extend(slow_requests(facts));
    by_cause.extend(killed_at_grace_end(facts));
    by_cause.sort_by_key(|finding| (finding.id == Cause::Unexplained.as_str(), std::cmp::Reverse(finding.lost)));
    by_cause
}

fn of_cause(facts: &Facts<'_>, cause: Cause, lost: u64) -> Finding {
    let losses: Vec<&Loss> = facts.tally.losses(Scope::default()).filter(|loss| loss.why.cause == cause).collect();
    let pods = by_pod(facts, &losses);
    let mut evidence = vec![counts(&losses, lost)];
    evidence.extend(span(&losses));
    evidence.extend(own_doing(cause, &losses));
    evidence.extend(gaps(facts, &losses));
    evidence.extend(pods.iter().take(NAMED_MAX).map(|(life, losses)| {
        // What found no endpoint was sent to no pod.
        let sent_to_it: &[&Loss] = if cause.is_of_all_endpoints() { &[] } else { losses };
        told(facts, life, sent_to_it)
    }));
    if pods.len() > NAMED_MAX {
        evidence.push(format!("{} more pods", pods.len() - NAMED_MAX));
    }
    evidence.extend(pods.iter().take(NAMED_MAX).flat_map(|(life, _)| particulars(facts, cause, life)));
    let remedy = remedy(facts, cause, &pods);
    Finding {
        id: cause.as_str().to_owned(),
        claim: wording::claim(cause).to_owned(),
        evidence,
        advice: remedy.advice.unwrap_or_else(|| wording::advice(cause).to_owned()),
        patch: remedy.patch,
        lost,
    }
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
        .take(NAMED_MAX)
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
        patch: timeline.budgets.iter().find(|(_, seen)| blocks(seen)).map(|(name, _)| one_at_a_time(facts, name)),
        lost: 0,
    })
}

/// A budget that, as it was seen last, asks for every pod: no eviction can ever be allowed.
fn blocks(seen: &[(Micros, &BudgetSeen)]) -> bool {
    seen.last().is_some_and(|(_, budget)| budget.desired_healthy >= budget.expected_pods && budget.observed)
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
        .take(NAMED_MAX)
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
        patch: None,
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
        patch: None,
        // They are counted with their causes.
        lost: 0,
    })
}
