//! Slow requests: where a bound on the response time is exceeded, in which intervals, and what the cluster was doing
//! then. Single requests that were answered late are not in the record, so this joins intervals, not requests.

use std::collections::BTreeMap;

use super::{
    facts::{Facts, seconds},
    tally::{Loss, Scope, Slow},
    verdict::Finding,
};
use crate::{
    experiment::schema::{ExpectLatency, Expectation, Phase},
    record::event::Micros,
};

/// A bound on the response time was exceeded.
pub const SLOW_REQUESTS: &str = "slow-requests";

/// A process is cold for so long after its first readiness: caches, pools and compilers fill within seconds.
const COLD_US: Micros = 10_000_000;

/// Endpoints that are named.
const NAMED_MAX: usize = 3;

/// What the cluster was doing in a slow interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Meanwhile {
    /// Requests that were due in it were lost, by causes of their own.
    Lost,
    /// Fewer endpoints were ready than before the fault.
    Fewer,
    /// An endpoint had become ready shortly before.
    Cold,
    /// Nothing of these.
    Nothing,
}

/// One finding for each bound on the response time that was exceeded.
pub(super) fn slow_requests(facts: &Facts<'_>) -> Vec<Finding> {
    let bounds = facts.record.experiment.spec.expect.iter().filter_map(|expectation| match expectation {
        Expectation::Latency(expect) => Some(expect),
        _ => None,
    });
    bounds.filter_map(|expect| slow(facts, expect)).collect()
}

fn slow(facts: &Facts<'_>, expect: &ExpectLatency) -> Option<Finding> {
    let scope = Scope { lane: expect.lane.as_deref(), phase: expect.phase, untainted: true };
    let most = u64::try_from(expect.at_most.micros()).unwrap_or(u64::MAX);
    let all = facts.tally.response(scope);
    if all.value_at_quantile(expect.percentile.quantile()) <= most {
        return None;
    }
    let slow = facts.tally.slow(scope, most);
    let over: u64 = slow.iter().fold(0, |sum, slot| sum.saturating_add(slot.over));
    let (first, last) = (slow.first()?.start_us, slow.iter().map(|slot| slot.end_us).max()?);
    let mut counted: BTreeMap<Meanwhile, usize> = BTreeMap::new();
    for slot in &slow {
        *counted.entry(meanwhile(facts, slot, most)).or_default() += 1;
    }
    let mut evidence = vec![
        format!("{over} of {} requests took longer than {}", all.len(), expect.at_most),
        format!("in {} intervals, from {} to {}{}", slow.len(), seconds(first), seconds(last), by_phase(&slow)),
    ];
    evidence.extend(timed_out(facts, scope, most));
    evidence
        .extend(counted.iter().map(|(what, count)| format!("in {count} of {} intervals {}", slow.len(), told(*what))));
    evidence.extend(cold_pods(facts, first, last));
    let main = counted.iter().max_by_key(|(_, count)| **count).map_or(Meanwhile::Nothing, |(what, _)| *what);
    Some(Finding {
        id: SLOW_REQUESTS.to_owned(),
        claim: format!("more requests than allowed took longer than {}", expect.at_most),
        evidence,
        advice: advice(main).to_owned(),
        patch: None,
        lost: 0,
    })
}

fn meanwhile(facts: &Facts<'_>, slot: &Slow<'_>, most: u64) -> Meanwhile {
    // The losses are in order of when they were due.
    let from = facts.tally.losses.partition_point(|loss| loss.request.intended_us < slot.start_us);
    let mut due = facts.tally.losses[from..].iter().take_while(|loss| loss.request.intended_us < slot.end_us);
    let lost = due.any(|loss| loss.request.lane == slot.lane && took(loss) > most);
    if lost {
        return Meanwhile::Lost;
    }
    let Some((_, service)) = facts.service_of(slot.lane).filter(|_| !facts.timeline.contradicts_itself) else {
        return Meanwhile::Nothing;
    };
    let usual = facts.timeline.start_of(Phase::Fault).map_or(0, |fault| service.ready_at(fault));
    let fresh = service.endpoints.values().flat_map(|endpoint| &endpoint.ready).any(|(from, _)| {
        *from <= slot.end_us && slot.start_us.saturating_sub(*from) < COLD_US && *from > facts.timeline.begin()
    });
    if service.ready_at(slot.start_us) < usual {
        Meanwhile::Fewer
    } else if fresh {
        Meanwhile::Cold
    } else {
        Meanwhile::Nothing
    }
}

fn took(loss: &Loss<'_>) -> u64 {
    u64::try_from(loss.request.ended_us.saturating_sub(loss.request.intended_us)).unwrap_or(0)
}

fn by_phase(slow: &[Slow<'_>]) -> String {
    let mut phases: BTreeMap<Phase, u64> = BTreeMap::new();
    for slot in slow {
        if let Some(phase) = slot.phase {
            let sum = phases.entry(phase).or_default();
            *sum = sum.saturating_add(slot.over);
        }
    }
    let parts: Vec<String> = phases.iter().map(|(phase, over)| format!("{over} during {}", phase.as_str())).collect();
    if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) }
}

fn timed_out(facts: &Facts<'_>, scope: Scope<'_>, most: u64) -> Option<String> {
    let mut causes: BTreeMap<&str, u64> = BTreeMap::new();
    for loss in facts.tally.losses(scope).filter(|loss| took(loss) > most) {
        *causes.entry(loss.why.cause.as_str()).or_default() += 1;
    }
    let sum: u64 = causes.values().sum();
    let parts: Vec<String> = causes.iter().map(|(cause, count)| format!("{count} {cause}")).collect();
    (sum > 0).then(|| format!("{sum} of them were lost: {}", parts.join(", ")))
}

const fn told(what: Meanwhile) -> &'static str {
    match what {
        Meanwhile::Lost => "requests were lost so late that they count as slow; they have causes of their own",
        Meanwhile::Fewer => "fewer endpoints were ready than before the fault",
        Meanwhile::Cold => "an endpoint had become ready less than 10 s before",
        Meanwhile::Nothing => "nothing that was seen of the cluster explains it",
    }
}

const fn advice(what: Meanwhile) -> &'static str {
    match what {
        Meanwhile::Lost => {
            "look at the causes of the lost requests first: each waited for nothing until it was given up"
        }
        Meanwhile::Fewer => {
            "the pods that were left were too few for this rate: keep more replicas, or replace before taking away \
             (maxUnavailable: 0, and a budget)"
        }
        Meanwhile::Cold => {
            "let the readiness probe succeed only once the process is warm, or let it warm itself up first"
        }
        Meanwhile::Nothing => "look at what the service itself was doing at these times",
    }
}

/// The endpoints that became ready in the slow time or shortly before it.
fn cold_pods(facts: &Facts<'_>, first: Micros, last: Micros) -> Vec<String> {
    let begin = facts.timeline.begin();
    let since = first.saturating_sub(COLD_US).max(begin.saturating_add(1));
    let fresh = facts.timeline.services.values().flat_map(|service| &service.endpoints);
    let fresh = fresh.flat_map(|((pod, _), endpoint)| endpoint.ready.iter().map(move |(from, _)| (*pod, *from)));
    let fresh = fresh.filter(|(_, from)| (since..=last).contains(from));
    fresh.take(NAMED_MAX).map(|(pod, from)| format!("pod {pod} became a ready endpoint at {}", seconds(from))).collect()
}
