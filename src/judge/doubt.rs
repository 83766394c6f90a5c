//! Whether the measurement itself can be trusted: what keeps a run from passing though nothing was seen to break.

use super::{
    control,
    facts::{Facts, seconds},
    tally::Scope,
    verdict::TaintedBy,
};
use crate::{
    experiment::schema::Phase,
    record::event::{Micros, NoteKind, What},
};

/// Stretches in which we were late that are named.
const STRETCHES_MAX: usize = 3;

/// Notes that are quoted; the others are counted.
const NOTES_QUOTED_MAX: usize = 5;

/// The doubts, one sentence each. With any of them a run cannot pass.
#[must_use]
pub fn doubts(facts: &Facts<'_>) -> Vec<String> {
    let mut doubts = Vec::new();
    if facts.timeline.contradicts_itself {
        doubts.push("the times of the record contradict each other, so no loss has a cause".to_owned());
    }
    if facts.timeline.ended.is_none() {
        doubts.push("the record breaks off before the end of the run".to_owned());
    }
    doubts.extend(facts.record.damage.iter().map(|damage| format!("the record is not whole: {damage}")));
    taint_notes(facts, &mut doubts);
    let all = facts.tally.requests(Scope::default());
    if all.unsent > 0 {
        doubts.push(format!(
            "{} requests that were due were never sent, for a reason of ours: lower the rate, or give evenkeel more \
             processor time, ports or descriptors",
            all.unsent
        ));
    }
    if all.sent == 0 {
        doubts.push("not one request was sent".to_owned());
    }
    late_sends(facts, &mut doubts);
    doubts.extend(control::doubts(facts));
    doubts
}

/// Requests lost while nothing was happening; a service that loses those gives no verdict. One that was due before the
/// fault and broke off in it, as a long one does, was lost to the fault.
#[must_use]
pub fn lost_before(facts: &Facts<'_>) -> u64 {
    let before = Scope { phase: Some(Phase::Before), ..Scope::default() };
    let Some(fault) = facts.timeline.start_of(Phase::Fault) else { return facts.tally.requests(before).lost };
    let later = facts.tally.losses(before).filter(|loss| loss.request.ended_us > fault).count();
    facts.tally.requests(before).lost.saturating_sub(u64::try_from(later).unwrap_or(u64::MAX))
}

fn taint_notes(facts: &Facts<'_>, doubts: &mut Vec<String>) {
    let notes: Vec<_> = facts
        .record
        .events
        .iter()
        .filter_map(|event| match &event.what {
            What::Note(note) if note.kind == NoteKind::Taint => Some((event.at_us, note.text.as_str())),
            _ => None,
        })
        .collect();
    let quoted = notes.iter().take(NOTES_QUOTED_MAX);
    doubts.extend(quoted.map(|(at, text)| format!("the measurement is in doubt from {} on: {text}", seconds(*at))));
    if notes.len() > NOTES_QUOTED_MAX {
        doubts.push(format!("{} more notes put the measurement in doubt", notes.len() - NOTES_QUOTED_MAX));
    }
}

/// One interval in which we were late is enough: what the service did meanwhile was not seen.
fn late_sends(facts: &Facts<'_>, doubts: &mut Vec<String>) {
    let mut late: Vec<(Micros, Micros, i64)> = facts
        .tally
        .stretches()
        .into_iter()
        .filter(|stretch| stretch.by == TaintedBy::OwnDelay)
        .map(|stretch| (stretch.from_us, stretch.to_us, stretch.delay_us))
        .collect();
    let Some(most) = late.iter().map(|(.., delay)| *delay).max() else { return };
    late.sort_unstable();
    // A stall meets all lanes, and is told once.
    let mut spans: Vec<(Micros, Micros)> = Vec::new();
    for (from, to, _) in late {
        match spans.last_mut() {
            Some((_, end)) if from <= *end => *end = to.max(*end),
            _ => spans.push((from, to)),
        }
    }
    let named = spans.iter().take(STRETCHES_MAX);
    let mut when: Vec<String> = named.map(|(from, to)| format!("{} to {}", seconds(*from), seconds(*to))).collect();
    if let Some(((_, last), more)) = spans.last().zip(spans.len().checked_sub(STRETCHES_MAX).filter(|more| *more > 0)) {
        when.push(format!("{more} more until {}", seconds(*last)));
    }
    doubts.push(format!(
        "the load generator was held up by up to {} ms in {} of {} intervals ({}): give it more processor time, or lower \
         the rate",
        most / 1_000,
        facts.tally.late_intervals,
        facts.tally.intervals,
        when.join(", "),
    ));
}
