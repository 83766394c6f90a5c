//! Causes of requests that had reached a pod: their connection was closed, or their answer cut or wrong.
//!
//! The pod is known where an answer on the connection has named it. Where it isn't, only the end of exactly such a
//! pod at exactly that time explains a closed connection.

use super::{
    cause::{
        Attribution, Cause, EARLY_US, EXIT_SEEN_LATE_US, LATE_US, NODE_GRACE_US, PROPAGATION_US, is_answer, is_silence,
    },
    life::Life,
    timeline::Timeline,
};
use crate::record::event::{LostRequest, Micros, Outcome};

/// The cause of a request whose pod is known.
pub(super) fn known<'a>(timeline: &Timeline<'a>, name: &str, lost: &LostRequest) -> Option<Attribution<'a>> {
    let life = timeline.life_named(name, lost.sent_us).filter(|life| life.coherent)?;
    let cause = if is_answer(lost.outcome) {
        lived_through(life, lost).then_some(Cause::AnswersErrors)
    } else {
        closed(timeline, life, lost)
            .map(|(_, cause)| cause)
            .or_else(|| node_gone(timeline, life, lost))
            .or_else(|| life.failing(lost.sent_us, lost.ended_us).map(|stretch| life.why_failing(stretch)))
    };
    Some(Attribution { cause: cause?, uid: Some(&life.last.uid) })
}

/// An error answer of a pod that did not give its name: some pod of the Service must have been ready to give it.
pub(super) fn answered<'a>(timeline: &Timeline<'a>, service: &str, lost: &LostRequest) -> Option<Attribution<'a>> {
    let ready = timeline.services.get(service)?.ready_at(lost.ended_us);
    (ready > 0).then_some(Attribution { cause: Cause::AnswersErrors, uid: None })
}

/// A connection that was closed by a pod which is not known: by the pod of the Service that ended nearest to it.
pub(super) fn unknown<'a>(timeline: &Timeline<'a>, service: &str, lost: &LostRequest) -> Option<Attribution<'a>> {
    // Silence has no pod: many pods may be ending while one request waits in vain.
    let endpoints = timeline.services.get(service).filter(|_| !is_silence(lost.outcome))?;
    let ended = timeline
        .lives
        .iter()
        .filter(|life| life.coherent && endpoints.endpoint_of(life).is_some())
        .filter(|life| life.first_seen() <= lost.sent_us.saturating_sub(lost.connection_age_us.max(0)))
        .filter_map(|life| closed(timeline, life, lost).map(|(distance, cause)| (distance, cause, life)))
        .min_by_key(|(distance, ..)| *distance);
    ended.map(|(_, cause, life)| Attribution { cause, uid: Some(&life.last.uid) })
}

/// What ended a connection to a pod, with its distance in time: a removal by force, a graceful end, a crash.
fn closed(timeline: &Timeline<'_>, life: &Life<'_>, lost: &LostRequest) -> Option<(Micros, Cause)> {
    if !matches!(
        lost.outcome,
        Outcome::ReusedConnectionClosed
            | Outcome::CutMidAnswer
            | Outcome::ResetBeforeByte
            | Outcome::TlsFailed
            | Outcome::RequestTimeout
    ) {
        return None;
    }
    // A request or handshake that timed out was lost at some moment of its time; a closed connection, when it was found
    // closed.
    let timed_out = matches!(lost.outcome, Outcome::RequestTimeout | Outcome::TlsFailed);
    let from = if timed_out { lost.sent_us } else { lost.ended_us };
    let within = |begin: Micros, end: Micros| lost.ended_us >= begin && from <= end;
    let ending = timeline.deleted(life).is_some();
    if let (true, Some(gone)) = (life.forced && ending, life.gone.or(life.deleted)) {
        let fits = within(gone.saturating_sub(EARLY_US), gone.saturating_add(PROPAGATION_US));
        return fits.then_some((lost.ended_us.abs_diff(gone).cast_signed(), Cause::ForcedDelete));
    }
    if let Some(sigterm) = life.sigterm().filter(|_| ending) {
        let grace = life.last.spec_grace_seconds.clamp(0, 86_400).saturating_mul(1_000_000);
        let exited = life.exited.unwrap_or_else(|| sigterm.saturating_add(grace)).saturating_add(LATE_US);
        if within(sigterm.saturating_sub(EARLY_US), exited) {
            let distance = lost.ended_us.saturating_sub(sigterm).saturating_abs();
            return Some((distance, Cause::ExitsWithoutDraining));
        }
    }
    let crash = life
        .crashes
        .iter()
        .copied()
        .filter(|crash| within(crash.saturating_sub(EXIT_SEEN_LATE_US), crash.saturating_add(LATE_US)))
        .min_by_key(|crash| lost.ended_us.saturating_sub(*crash).saturating_abs())?;
    Some((lost.ended_us.saturating_sub(crash).saturating_abs(), life.why_ended(crash)))
}

fn node_gone(timeline: &Timeline<'_>, life: &Life<'_>, lost: &LostRequest) -> Option<Cause> {
    let node = life.node().filter(|_| is_silence(lost.outcome))?;
    let gone = |loss: Micros| {
        lost.sent_us >= loss.saturating_sub(NODE_GRACE_US) && lost.sent_us <= loss.saturating_add(PROPAGATION_US)
    };
    timeline.node_losses(node).any(gone).then_some(Cause::NodeGone)
}

fn lived_through(life: &Life<'_>, lost: &LostRequest) -> bool {
    life.first_seen() <= lost.ended_us
        && life.exited.is_none_or(|exited| exited.saturating_add(LATE_US) >= lost.sent_us)
}
