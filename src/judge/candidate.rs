//! Causes of new connections that nothing answered: the pods to which the rules of the Service could lead at that
//! moment though nothing listened there, any more or yet.
//!
//! The rules decided when the connection was begun, so the send time is what counts; a time-out ends seconds later.

use super::{
    cause::{Attribution, Cause, EARLY_US, EXIT_SEEN_LATE_US, NODE_GRACE_US, PROPAGATION_US, STARTING_US, is_silence},
    departure::node_lost,
    endpoint::{Endpoint, Service},
    life::{Hook, Life},
    timeline::Timeline,
};
use crate::record::event::{LostRequest, Micros, Outcome};

/// How well an outcome fits a cause, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Best,
    Good,
    Poor,
}

/// The likeliest cause: the best fit of its kind, then the nearest in time.
pub(super) fn unreached<'a>(timeline: &Timeline<'a>, service: &str, lost: &LostRequest) -> Option<Attribution<'a>> {
    let service = timeline.services.get(service)?;
    timeline
        .lives
        .iter()
        .filter(|life| life.coherent)
        .filter_map(|life| service.endpoint_of(life).map(|endpoint| (life, endpoint)))
        .flat_map(|(life, endpoint)| {
            [
                ending(timeline, life, endpoint, lost),
                starting(life, endpoint, lost),
                crashed(life, endpoint, lost),
                node_gone(timeline, service, life, endpoint, lost),
                deaf(timeline, life, endpoint, lost),
            ]
            .map(|found| found.map(|(fit, distance, cause)| (fit, distance, cause, life)))
        })
        .flatten()
        .min_by_key(|(fit, distance, ..)| (*fit, *distance))
        .map(|(_, _, cause, life)| Attribution { cause, uid: Some(&life.last.uid) })
}

/// Whether an endpoint is a pod that may not listen yet, and the loss is what that looks like.
pub(super) fn is_starting(timeline: &Timeline<'_>, service: &Service<'_>, lost: &LostRequest) -> bool {
    timeline.lives.iter().filter(|life| life.coherent).any(|life| {
        let found = service.endpoint_of(life).and_then(|endpoint| starting(life, endpoint, lost));
        found.is_some_and(|(fit, ..)| fit == Fit::Best)
    })
}

fn distance(lost: &LostRequest, moment: Micros) -> Micros {
    lost.sent_us.saturating_sub(moment).saturating_abs()
}

fn sent_within(lost: &LostRequest, from: Micros, to: Micros) -> bool {
    from <= lost.sent_us && lost.sent_us <= to
}

/// A deleted pod: from SIGTERM, or from its removal, until the rules have followed the endpoint.
fn ending(
    timeline: &Timeline<'_>,
    life: &Life<'_>,
    endpoint: &Endpoint,
    lost: &LostRequest,
) -> Option<(Fit, Micros, Cause)> {
    let deleted = timeline.deleted(life)?;
    // A pod that was no endpoint when it was deleted got no new connections.
    if !endpoint.ready_near(deleted, PROPAGATION_US) {
        return None;
    }
    let off = endpoint.off_after(deleted.saturating_sub(PROPAGATION_US)).filter(|off| *off < Micros::MAX);
    let until = off.unwrap_or(deleted).max(deleted).saturating_add(PROPAGATION_US);
    let (since, cause) = if life.forced {
        (deleted, Cause::ForcedDelete)
    } else if life.hook == Hook::Missing {
        (deleted, Cause::PrestopMissing)
    } else {
        (life.sigterm()?, Cause::PrestopTooShort)
    };
    let fit = if is_silence(lost.outcome) { Fit::Best } else { Fit::Good };
    sent_within(lost, since.saturating_sub(EARLY_US), until).then(|| (fit, distance(lost, since), cause))
}

/// A pod without a readiness probe: an endpoint since its container runs, whether it listens or not. One that has
/// answered listens, unless its container was started again.
fn starting(life: &Life<'_>, endpoint: &Endpoint, lost: &LostRequest) -> Option<(Fit, Micros, Cause)> {
    let started = life.started.filter(|_| !life.last.has_readiness_probe)?;
    // A pod has a network of its own from the start: a port on which nothing listens yet refuses, it isn't silent.
    let fit = match lost.outcome {
        Outcome::Refused | Outcome::ResetBeforeByte | Outcome::TlsFailed => Fit::Best,
        Outcome::RequestTimeout => Fit::Poor,
        _ => return None,
    };
    let alive = life.deleted.is_none_or(|deleted| lost.sent_us < deleted);
    let starting = sent_within(lost, started.saturating_sub(EARLY_US), started.saturating_add(STARTING_US));
    let listens = life.crashes.is_empty() && life.answered_by.is_some_and(|by| by < lost.sent_us);
    (alive && starting && !listens && endpoint.ready_near(lost.sent_us, EARLY_US))
        .then(|| (fit, distance(lost, started), Cause::ReadinessMissing))
}

/// A pod whose container has ended by itself: until it is no endpoint any more and the rules have followed.
fn crashed(life: &Life<'_>, endpoint: &Endpoint, lost: &LostRequest) -> Option<(Fit, Micros, Cause)> {
    if !matches!(
        lost.outcome,
        Outcome::Refused | Outcome::ResetBeforeByte | Outcome::TlsFailed | Outcome::RequestTimeout
    ) {
        return None;
    }
    life.crashes
        .iter()
        .filter(|crash| endpoint.ready_near(**crash, PROPAGATION_US))
        .filter(|crash| {
            let began = crash.saturating_sub(EXIT_SEEN_LATE_US);
            let off = endpoint.off_after(began).filter(|off| *off < Micros::MAX).unwrap_or(**crash);
            sent_within(lost, began, off.max(**crash).saturating_add(PROPAGATION_US))
        })
        .map(|crash| (Fit::Good, distance(lost, *crash), life.why_ended(*crash)))
        .min_by_key(|(_, distance, _)| *distance)
}

/// A pod whose probes failed while it ran: from one period of the probe before that was seen, until the rules have
/// followed, what is sent to it may find nobody.
fn deaf(
    timeline: &Timeline<'_>,
    life: &Life<'_>,
    endpoint: &Endpoint,
    lost: &LostRequest,
) -> Option<(Fit, Micros, Cause)> {
    let alive = life.deleted.is_none_or(|deleted| lost.sent_us < deleted);
    if !alive || !endpoint.ready_near(lost.sent_us, PROPAGATION_US) || node_lost(timeline, life, lost.sent_us) {
        return None;
    }
    let stretch = life.failing(lost.sent_us, lost.ended_us)?;
    Some((Fit::Poor, distance(lost, stretch.0), life.why_failing(stretch)))
}

/// An endpoint on a node that is found not ready: silence from the node's death, long before it is found, until the
/// rules have followed. Where all ready endpoints were on that node, that is the reason.
fn node_gone(
    timeline: &Timeline<'_>,
    service: &Service<'_>,
    life: &Life<'_>,
    endpoint: &Endpoint,
    lost: &LostRequest,
) -> Option<(Fit, Micros, Cause)> {
    let node = life.node().filter(|_| is_silence(lost.outcome))?;
    if !endpoint.ready_near(lost.sent_us, PROPAGATION_US) {
        return None;
    }
    let found = timeline
        .node_losses(node)
        .filter(|found| {
            let off = endpoint.off_after(*found).filter(|off| *off < Micros::MAX).unwrap_or(*found);
            sent_within(lost, found.saturating_sub(NODE_GRACE_US), off.saturating_add(PROPAGATION_US))
        })
        .min_by_key(|found| distance(lost, *found))?;
    let mut ready = timeline
        .lives
        .iter()
        .filter(|other| service.endpoint_of(other).is_some_and(|endpoint| endpoint.ready_near(found, EARLY_US)))
        .map(Life::node);
    let all_here = ready.clone().all(|other| other == Some(node));
    let cause = match (all_here, ready.by_ref().count()) {
        (true, 2..) => Cause::ReplicasOnOneNode,
        (true, 1) => Cause::SingleReplica,
        _ => Cause::NodeGone,
    };
    Some((Fit::Poor, distance(lost, found), cause))
}
