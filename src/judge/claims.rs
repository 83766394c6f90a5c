//! Measured claims: what each pod and each budget promised, and what became of it. A pod that is told to stop gets time
//! before SIGTERM and time after it; a Service stops sending to it; a process ends. Each has a time here.

use std::collections::{BTreeMap, HashMap};

use super::{
    budget,
    cause::PROPAGATION_US,
    facts::{Facts, milliseconds},
    gap::covering,
    life::{Hook, Life, SIGKILL},
    tally::Loss,
    verdict::{BudgetClaim, PodClaim},
};
use crate::{
    experiment::schema::Phase,
    record::event::{ContainerSeen, Micros, What},
};

/// Every pod that was seen, by its first event.
#[must_use]
pub fn pods(facts: &Facts<'_>) -> Vec<PodClaim> {
    // Losses by the pod's name where an answer told it, and by its uid where the cause did.
    let mut last_losses: HashMap<&str, Micros> = HashMap::new();
    for loss in &facts.tally.losses {
        let pod = match (&loss.request.pod, loss.why.uid) {
            (Some(name), _) => name.as_str(),
            // One that found no endpoint at all was sent to nobody.
            (None, Some(uid)) if !found_nobody(facts, loss) => uid,
            (None, _) => continue,
        };
        let last = last_losses.entry(pod).or_insert(loss.request.sent_us);
        *last = (*last).max(loss.request.sent_us);
    }
    let last_loss = |life: &Life| {
        let keys = [life.last.name.as_str(), life.last.uid.as_str()];
        keys.iter().filter_map(|key| last_losses.get(key)).max().copied()
    };
    let mut answers = answers(facts);
    facts
        .timeline
        .lives
        .iter()
        .map(|life| {
            let answers = answers.remove(life.last.uid.as_str()).unwrap_or_default();
            pod(facts, life, last_loss(life), answers)
        })
        .collect()
}

/// What one pod answered.
#[derive(Debug, Default)]
struct Answers {
    by_phase: BTreeMap<Phase, u64>,
    /// Those of them that were the first on their connection.
    new_by_phase: BTreeMap<Phase, u64>,
    /// When the first of them was sent, and when the last had come; in records that do not say, the beginning of the
    /// first interval with an answer, and the end of the last.
    span: Option<(Micros, Micros)>,
}

/// The answers by the uid of the pod that gave them, from the phase `before` on.
fn answers<'a>(facts: &Facts<'a>) -> HashMap<&'a str, Answers> {
    let mut all: HashMap<&str, Answers> = HashMap::new();
    for event in &facts.record.events {
        let What::Load(interval) = &event.what else { continue };
        let Some(phase) = facts.timeline.phase_at(interval.start_us) else { continue };
        for (pod, told) in &interval.by_pod {
            let seen = told.last_us.unwrap_or(interval.start_us);
            let Some(life) = facts.timeline.life_named(pod, seen) else { continue };
            let answers = all.entry(&life.last.uid).or_default();
            for (sums, count) in
                [(&mut answers.by_phase, told.answered), (&mut answers.new_by_phase, told.new_connections)]
            {
                if count > 0 {
                    let sum = sums.entry(phase).or_default();
                    *sum = sum.saturating_add(count);
                }
            }
            let from = told.first_us.unwrap_or(interval.start_us);
            let to = told.last_us.unwrap_or(interval.start_us.saturating_add(interval.length_us));
            let (first, last) = answers.span.unwrap_or((from, to));
            answers.span = Some((first.min(from), last.max(to)));
        }
    }
    all
}

fn pod(facts: &Facts<'_>, life: &Life<'_>, last_loss: Option<Micros>, answers: Answers) -> PodClaim {
    let deleted = facts.timeline.deleted(life);
    let ms = |at: Option<Micros>| at.filter(|at| *at < Micros::MAX).map(milliseconds);
    let since_deletion = |at: Option<Micros>| ms(Some(at?.saturating_sub(deleted?)));
    let new = |at: Option<Micros>| at.filter(|at| *at > life.first_seen());
    let endpoint = facts.timeline.services.values().find_map(|service| service.endpoint_of(life));
    let off = deleted.and_then(|deleted| {
        let off = endpoint?.off_after(deleted.saturating_sub(PROPAGATION_US))?;
        (off < Micros::MAX).then_some(off)
    });
    let ready = new(life.first_ready());
    PodClaim {
        pod: life.last.name.clone(),
        node: life.node().map(str::to_owned),
        created_ms: new(life.started).and_then(|_| ms(Some(life.first_seen()))),
        running_ms: ms(life.started),
        ready_ms: ms(ready),
        boot_ms: ready.zip(life.started).map(|(ready, started)| milliseconds(ready.saturating_sub(started))),
        first_endpoint_ms: endpoint.and_then(|endpoint| ms(endpoint.first_ready())).filter(|_| ready.is_some()),
        deleted_ms: ms(deleted),
        how: deleted.map(|_| life.how_it_went().to_owned()),
        sigterm_after_ms: since_deletion(life.sigterm().filter(|_| !life.forced)),
        endpoint_off_after_ms: since_deletion(off),
        last_loss_after_ms: since_deletion(last_loss).filter(|after| *after >= 0.0),
        exit_after_ms: since_deletion(life.exited),
        exit_code: exit_code(life).filter(|_| deleted.is_some() || life.deleted.is_none()),
        killed: deleted.is_some() && exit_code(life) == Some(SIGKILL),
        prestop_ms: match life.hook {
            Hook::Sleeps(length) => Some(milliseconds(length)),
            Hook::Missing | Hook::Failed => Some(0.0),
            Hook::Unknown => None,
        },
        grace_ms: milliseconds(life.last.spec_grace_seconds.clamp(0, 86_400).saturating_mul(1_000_000)),
        restarts: life.last.restarts,
        unready_ms: life
            .unready()
            .iter()
            .map(|(from, to)| milliseconds((*to).min(facts.timeline.end).saturating_sub(*from)).max(0.0))
            .sum(),
        first_answer_ms: ms(answers.span.map(|(first, _)| first)),
        last_answer_after_ms: since_deletion(answers.span.map(|(_, last)| last)),
        answered: answers.by_phase,
        new_connections: answers.new_by_phase,
    }
}

fn found_nobody(facts: &Facts<'_>, loss: &Loss<'_>) -> bool {
    let service = facts.service_of(&loss.request.lane);
    service.is_some_and(|(_, service)| covering(service, loss.request).is_some())
}

fn exit_code(life: &Life<'_>) -> Option<i32> {
    life.seen.iter().rev().find_map(|(_, pod)| match &pod.container {
        ContainerSeen::Terminated { exit_code, .. } => Some(*exit_code),
        _ => None,
    })
}

/// Every budget that was seen.
#[must_use]
pub fn budgets(facts: &Facts<'_>) -> Vec<BudgetClaim> {
    if facts.timeline.contradicts_itself {
        return Vec::new();
    }
    let claim = |name: &&str| {
        let measured = budget::measure(&facts.timeline, name)?;
        Some(BudgetClaim {
            budget: (*name).to_owned(),
            lowest_healthy: measured.lowest.healthy,
            desired_healthy: measured.lowest.desired,
            lowest_at_ms: milliseconds(measured.lowest.at_us),
            short_from_ms: measured.short.map(|(from, _)| milliseconds(from)),
            short_to_ms: measured.short.map(|(_, to)| milliseconds(to)),
            evictions_refused: measured.refused as u64,
        })
    };
    facts.timeline.budgets.keys().filter_map(claim).collect()
}
