//! What is said of requests that were answered late: the figures of each lane, and a finding for each bound on the
//! response time that was exceeded. The histograms count them all; only the first of an interval are described.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    evidence::NAMED_MAX,
    facts::{Facts, milliseconds, seconds},
    late::Late,
    slowness::{Slowness, Trouble, fewer_endpoints, was_sent_again},
    tally::{Scope, Slow},
    verdict::{Finding, SLOW_MAX, SlowLane, SlowSummary, SlowTold},
    wording,
};
use crate::{
    experiment::schema::{ExpectLatency, Expectation, Phase},
    record::event::LostRequest,
};

/// A bound on the response time was exceeded.
pub const SLOW_REQUESTS: &str = "slow-requests";

/// What to change where most were slow because they were lost.
const LOST: &str = "look at the causes of the lost requests first: each waited for nothing until it was given up";

/// Requests that are told whole in a finding.
const EXAMPLES: usize = 2;

/// What the verdict says of all lanes but controls.
pub(super) fn summary(facts: &Facts<'_>) -> SlowSummary {
    let mut lanes = BTreeMap::new();
    let spec = &facts.record.experiment.spec;
    for lane in spec.load.iter().filter(|lane| !lane.control) {
        let (slow_us, scope) = (spec.slow(lane).micros(), Scope { lane: Some(&lane.name), ..Scope::default() });
        let mut of_lane = SlowLane { slower_than_ms: milliseconds(slow_us), ..SlowLane::default() };
        for late in facts.late.iter().filter(|late| late.request.lane == lane.name) {
            of_lane.described += 1;
            if late.tainted {
                of_lane.tainted += 1;
            } else {
                *of_lane.by_reason.entry(late.why.reason.as_str().to_owned()).or_default() += 1;
            }
        }
        let over = over(&facts.tally.slow(scope, slow_us.unsigned_abs()));
        let lost = facts.tally.losses(scope).filter(|loss| took(loss.request) > slow_us.unsigned_abs()).count() as u64;
        of_lane.answered_late = over.saturating_sub(lost).max(of_lane.described);
        if of_lane.answered_late > 0 {
            lanes.insert(lane.name.clone(), of_lane);
        }
    }
    let mut slowest: Vec<&Late> = facts.late.iter().filter(|late| !late.is_control).collect();
    slowest.sort_by_key(|late| std::cmp::Reverse(late.request.took_us()));
    let more = slowest.len().saturating_sub(SLOW_MAX) as u64;
    slowest.truncate(SLOW_MAX);
    slowest.sort_by_key(|late| late.request.intended_us);
    SlowSummary { lanes, requests: slowest.into_iter().map(|late| one(facts, late)).collect(), more }
}

fn one(facts: &Facts<'_>, late: &Late<'_>) -> SlowTold {
    let request = late.request;
    SlowTold {
        lane: request.lane.clone(),
        reason: if late.tainted { "tainted" } else { late.why.reason.as_str() }.to_owned(),
        evidence: rests_on(facts, late),
        due_ms: milliseconds(request.intended_us),
        took_ms: milliseconds(request.took_us()),
        connecting_ms: request.connecting_us().map(milliseconds),
        connection_uses: request.connection_uses,
        connection_age_ms: milliseconds(request.connection_age_us),
        bytes_in: request.bytes_in,
        status: request.status,
        pod: request.pod.clone(),
        phase: late.phase,
    }
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
    let slots = facts.tally.slow(scope, most);
    let over = over(&slots);
    let (first, last) = (slots.first()?.start_us, slots.iter().map(|slot| slot.end_us).max()?);
    let mut evidence = vec![
        format!("{over} of {} requests took longer than {}", all.len(), expect.at_most),
        format!("in {} intervals, from {} to {}{}", slots.len(), seconds(first), seconds(last), by_phase(&slots)),
    ];
    let (lost, by_cause) = timed_out(facts, scope, most);
    if lost > 0 {
        evidence.push(format!("{lost} of them were lost: {by_cause}"));
    }
    let is_late = |late: &&Late<'_>| late.request.took_us().unsigned_abs() > most;
    let in_scope = |late: &&Late<'_>| scope.takes(&late.request.lane, late.is_control, late.phase, late.tainted);
    let late: Vec<&Late> = facts.late.iter().filter(is_late).filter(in_scope).collect();
    let mut reasons: BTreeMap<Slowness, Vec<&Late>> = BTreeMap::new();
    for one in &late {
        reasons.entry(one.why.reason).or_default().push(one);
    }
    evidence.push(described(over.saturating_sub(lost), &late, &reasons));
    evidence.extend(reasons.iter().flat_map(|(reason, late)| of_reason(facts, *reason, late)));
    let mut by_number: Vec<&Vec<&Late>> = reasons.values().collect();
    by_number.sort_by_key(|late| std::cmp::Reverse(late.len()));
    evidence.extend(by_number.iter().filter_map(|late| late.first()).take(EXAMPLES).map(|late| whole(facts, late)));
    let main = by_number.first().and_then(|late| late.first()).map(|late| late.why.reason);
    let advice =
        if lost > late.len() as u64 { LOST } else { wording::slow_advice(main.unwrap_or(Slowness::Unexplained)) };
    Some(Finding {
        id: SLOW_REQUESTS.to_owned(),
        claim: format!("more requests than allowed took longer than {}", expect.at_most),
        evidence,
        advice: advice.to_owned(),
        patch: None,
        lost: 0,
    })
}

fn over(slots: &[Slow<'_>]) -> u64 {
    slots.iter().fold(0, |sum, slot| sum.saturating_add(slot.over))
}

fn took(lost: &LostRequest) -> u64 {
    u64::try_from(lost.ended_us.saturating_sub(lost.intended_us)).unwrap_or(0)
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

/// How many were lost so late that they count as slow, and by which causes.
fn timed_out(facts: &Facts<'_>, scope: Scope<'_>, most: u64) -> (u64, String) {
    let mut causes: BTreeMap<&str, u64> = BTreeMap::new();
    for loss in facts.tally.losses(scope).filter(|loss| took(loss.request) > most) {
        *causes.entry(loss.why.cause.as_str()).or_default() += 1;
    }
    let parts: Vec<String> = causes.iter().map(|(cause, count)| format!("{count} {cause}")).collect();
    (causes.values().sum(), parts.join(", "))
}

/// How many of those that were answered are described, and by which reasons.
fn described(answered: u64, late: &[&Late<'_>], reasons: &BTreeMap<Slowness, Vec<&Late<'_>>>) -> String {
    let parts: Vec<String> =
        reasons.iter().map(|(reason, late)| format!("{} {}", late.len(), reason.as_str())).collect();
    let undescribed = answered.saturating_sub(late.len() as u64);
    match (late.len(), undescribed) {
        (0, _) => format!("{answered} were answered, and none of these is described one by one"),
        (count, 0) => format!("{count} were answered late: {}", parts.join(", ")),
        (count, more) => {
            format!(
                "{count} of those that were answered late are described: {}; {more} more only counted",
                parts.join(", ")
            )
        }
    }
}

/// When requests were slow for a reason, and what that rests on for each pod.
fn of_reason(facts: &Facts<'_>, reason: Slowness, late: &[&Late<'_>]) -> Vec<String> {
    let Some((first, last)) = late.first().zip(late.iter().max_by_key(|late| late.request.ended_us)) else {
        return Vec::new();
    };
    let (first, last) = (seconds(first.request.intended_us), seconds(last.request.ended_us));
    let mut words =
        vec![format!("{}: {} from {first} to {last}: {}", reason.as_str(), late.len(), wording::slow(reason))];
    let again = late.iter().filter(|late| was_sent_again(late.request)).count();
    if reason == Slowness::Unexplained && again > 0 {
        words.push(format!(
            "{again} of them waited a second or more for their connection to be accepted, so a first packet was lost, and \
             no pod was seen that would lose it"
        ));
    }
    let grounds: BTreeSet<String> = late.iter().filter_map(|late| rests_on(facts, late)).collect();
    let hidden = grounds.len().saturating_sub(NAMED_MAX);
    words.extend(grounds.into_iter().take(NAMED_MAX));
    if hidden > 0 {
        words.push(format!("{hidden} more of the kind"));
    }
    words
}

/// What a reason rests on, with its times.
fn rests_on(facts: &Facts<'_>, late: &Late<'_>) -> Option<String> {
    if let Some((place, trouble)) = late.why.pod {
        let life = facts.timeline.lives.get(place)?;
        let pod = &life.last.name;
        return Some(match trouble {
            Trouble::Restarted { ended, back } => {
                let back =
                    back.map_or(String::new(), |back| format!(" and was a ready endpoint again at {}", seconds(back)));
                format!("the container of pod {pod} was seen ended or restarted at {}{back}", seconds(ended))
            }
            Trouble::Terminating { deleted, since } => {
                let ended = life.exited.map_or(String::new(), |exited| format!(", ended at {}", seconds(exited)));
                format!("pod {pod} was deleted at {}, told to stop at {}{ended}", seconds(deleted), seconds(since))
            }
            Trouble::NodeUnready { since } => {
                format!("node {} of pod {pod} was not ready from {} on", life.node().unwrap_or("?"), seconds(since))
            }
            Trouble::Unready { since, until } => {
                let until = if until < i64::MAX { format!("to {}", seconds(until)) } else { "on".to_owned() };
                format!("pod {pod} was failing its probe somewhere from {} {until}", seconds(since))
            }
            Trouble::Cold { ready } => format!("pod {pod} became a ready endpoint at {}", seconds(ready)),
        });
    }
    let (_, service) = facts.service_of(&late.request.lane)?;
    match late.why.reason {
        Slowness::FewerEndpoints => {
            let (now, usual) = fewer_endpoints(&facts.timeline, service, late.request.sent_us)?;
            Some(format!("{now} endpoints were ready, {usual} when the fault began"))
        }
        Slowness::SlowBefore => {
            let usual = late.usual_us?;
            Some(format!(
                "one in ten requests of lane {} took {} or more before the fault",
                late.request.lane,
                seconds(usual / 3 * 2)
            ))
        }
        _ => None,
    }
}

/// One request with all that is known of it.
fn whole(facts: &Facts<'_>, late: &Late<'_>) -> String {
    let request = late.request;
    let pod = request.pod.as_ref().map_or(String::new(), |pod| format!(" by pod {pod}"));
    let kept = || {
        let age = seconds(request.connection_age_us);
        format!("a connection {age} old that had carried {} requests", request.connection_uses)
    };
    let made = |connecting| format!("a new connection, accepted after {}", seconds(connecting));
    let connection = request.connecting_us().map_or_else(kept, made);
    let ground = rests_on(facts, late).map_or(String::new(), |ground| format!(": {ground}"));
    format!(
        "for one: due in lane {} at {}, answered{pod} after {}, {} bytes over {connection}; {}{ground}",
        request.lane,
        seconds(request.intended_us),
        seconds(request.took_us()),
        request.bytes_in,
        late.why.reason.as_str()
    )
}
