//! From a record to a verdict: all that was measured put together, and the one answer.

use std::collections::BTreeMap;

use super::{
    claims,
    doubt::{doubts, lost_before},
    expectation::{Measured, measure},
    facts::{Facts, milliseconds},
    finding::{DRAIN_BLOCKED, findings},
    outage::recoveries,
    slow,
    tally::{Scope, latency},
    verdict::{Answer, Finding, LaneSummary, PhaseSummary, StepSummary, TAINTED_MAX, Tainted, UndoSummary, Verdict},
};
use crate::{
    experiment::schema::{Expectation, Phase},
    record::{
        Record,
        event::{EndReason, NoteKind, StepState, UndoState, What},
    },
};

/// Judges a record. The same record gives the same verdict, always.
///
/// The answer is the first of these that applies:
/// 1. **error**: the run did not come to its end: its last line says that set-up or a step failed or that it was
///    interrupted, or a note of kind `error` says so. Except where a step failed since a budget blocked the drain, and
///    the finding `drain-blocked` is what the experiment expects.
/// 2. **inconclusive**: requests were lost in the phase `before`: the service was not steady, so that nothing can be
///    put down to a fault.
/// 3. **broken**: an expectation fails by evidence that is not our own doing (no tainted interval, no late send, no
///    note of kind `taint` before it). Doubts about the rest of the measurement do not save it.
/// 4. **inconclusive**: an expectation cannot be told (too few requests, not seen, or it fails only by evidence that
///    may be our own doing), or there is any doubt about the measurement (requests never sent, a single interval in
///    which we were too late, losses of a control lane, notes of kind `taint`, a record that breaks off or contradicts
///    itself).
/// 5. **held**.
#[must_use]
pub fn judge(record: &Record) -> Verdict {
    let facts = Facts::of(record);
    let findings = findings(&facts);
    let measured: Vec<Measured> =
        record.experiment.spec.expect.iter().map(|expectation| measure(&facts, &findings, expectation)).collect();
    let doubts = doubts(&facts);
    let failure = failure(&facts, &findings);
    let grounds = Grounds {
        failed: failure.is_some(),
        unsteady: lost_before(&facts) > 0,
        held: measured.iter().map(|measured| measured.expected.held).collect(),
        doubtful: !doubts.is_empty(),
    };
    let verdict = grounds.answer();
    let reasons = match (verdict, failure) {
        (Answer::Held, _) => Vec::new(),
        (_, failure) => failure.into_iter().flatten().chain(reasons(&facts, &measured, &findings, &doubts)).collect(),
    };
    let all = facts.tally.requests(Scope::default());
    let outages = facts.outages(false);
    let mut tainted = tainted(&facts);
    let tainted_more = tainted.len().saturating_sub(TAINTED_MAX) as u64;
    tainted.truncate(TAINTED_MAX);
    Verdict {
        experiment: record.experiment.metadata.name.clone(),
        scenario: record.experiment.metadata.scenario.clone(),
        verdict,
        reasons,
        requests: all,
        latency_ms: latency(&facts.tally.response(Scope::default())),
        lanes: lanes(&facts),
        phases: phases(&facts),
        recoveries: recoveries(&outages),
        outages,
        tainted,
        tainted_more,
        pods: claims::pods(&facts),
        budgets: claims::budgets(&facts),
        slow: slow::summary(&facts),
        expectations: measured.into_iter().map(|measured| measured.expected).collect(),
        findings,
        steps: steps(&facts),
        undo: undo(&facts),
    }
}

/// What the answer rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grounds {
    /// The run did not come to its end.
    pub failed: bool,
    /// Requests were lost before anything was done.
    pub unsteady: bool,
    /// Each expectation: held, not held, or not to be told.
    pub held: Vec<Option<bool>>,
    /// The measurement is in doubt.
    pub doubtful: bool,
}

impl Grounds {
    /// The rule of [`judge`].
    pub(super) fn answer(&self) -> Answer {
        if self.failed {
            Answer::Error
        } else if self.unsteady {
            Answer::Inconclusive
        } else if self.held.contains(&Some(false)) {
            Answer::Broken
        } else if self.doubtful || self.held.is_empty() || self.held.contains(&None) {
            Answer::Inconclusive
        } else {
            Answer::Held
        }
    }
}

/// Why the run did not come to its end; nothing when it did.
fn failure(facts: &Facts<'_>, findings: &[Finding]) -> Option<Vec<String>> {
    let reason = facts.timeline.ended.map(|ended| ended.reason);
    let mut sentences: Vec<String> = facts
        .record
        .events
        .iter()
        .filter_map(|event| match &event.what {
            What::Note(note) if note.kind == NoteKind::Error => Some(note.text.clone()),
            What::Step(step) if step.state == StepState::Failed => {
                Some(format!("step {} ({}) failed: {}", step.path, step.name, step.detail))
            }
            _ => None,
        })
        .collect();
    let noted = !sentences.is_empty();
    let expects_blocked = facts
        .record
        .experiment
        .spec
        .expect
        .iter()
        .any(|expectation| matches!(expectation, Expectation::Finding(expect) if expect.id == DRAIN_BLOCKED));
    let is_blocked = findings.iter().any(|finding| finding.id == DRAIN_BLOCKED);
    match reason {
        Some(EndReason::StepFailed) | None if expects_blocked && is_blocked => return None,
        Some(EndReason::Completed) | None if !noted => return None,
        Some(EndReason::SetupFailed) => sentences.insert(0, "the set-up failed".to_owned()),
        Some(EndReason::StepFailed) if !noted => sentences.push("a step failed".to_owned()),
        Some(EndReason::Interrupted) => sentences.insert(0, "the run was interrupted".to_owned()),
        _ => {}
    }
    sentences.dedup();
    let blocked = findings.iter().filter(|finding| finding.id == DRAIN_BLOCKED);
    sentences.extend(blocked.map(|finding| finding.claim.clone()));
    Some(sentences)
}

fn reasons(facts: &Facts<'_>, measured: &[Measured], findings: &[Finding], doubts: &[String]) -> Vec<String> {
    let before = lost_before(facts);
    let mut reasons = Vec::new();
    if before > 0 {
        reasons.push(format!("the service lost {before} requests before anything was done to it"));
    }
    let of = |held: Option<bool>| measured.iter().filter(move |measured| measured.expected.held == held);
    reasons.extend(of(Some(false)).map(Measured::sentence));
    let weighty = findings.iter().filter(|finding| finding.lost > 0);
    reasons
        .extend(weighty.map(|finding| format!("{} lost requests: {} ({})", finding.lost, finding.claim, finding.id)));
    reasons.extend(of(None).map(Measured::sentence));
    reasons.extend(doubts.iter().cloned());
    reasons
}

fn lanes(facts: &Facts<'_>) -> BTreeMap<String, LaneSummary> {
    let outages = facts.outages(false);
    let stretches = facts.tally.stretches();
    let wanted = facts.record.experiment.spec.load.iter().map(|lane| lane.name.as_str());
    let summary = |lane: &str| {
        let scope = Scope { lane: Some(lane), ..Scope::default() };
        let lengths = outages.iter().filter(|outage| outage.lane == lane).map(|outage| outage.end_ms - outage.start_ms);
        let in_doubt = stretches.iter().filter(|stretch| stretch.lane == lane);
        LaneSummary {
            send_lag_max_ms: milliseconds(facts.tally.delay_max_us(lane)),
            // A sum of no floats is -0, which files would show.
            tainted_ms: in_doubt.fold(0.0, |sum, one| sum + milliseconds(one.to_us) - milliseconds(one.from_us)),
            requests: facts.tally.requests(scope),
            latency_ms: latency(&facts.tally.response(scope)),
            longest_outage_ms: lengths.fold(0.0, f64::max),
            is_control: facts.record.experiment.spec.lane(lane).is_some_and(|lane| lane.control),
        }
    };
    wanted.chain(facts.tally.lanes()).map(|lane| (lane.to_owned(), summary(lane))).collect()
}

fn tainted(facts: &Facts<'_>) -> Vec<Tainted> {
    let mut tainted: Vec<Tainted> = facts
        .tally
        .stretches()
        .into_iter()
        .map(|stretch| Tainted {
            lane: stretch.lane.to_owned(),
            from_ms: milliseconds(stretch.from_us),
            to_ms: milliseconds(stretch.to_us),
            delay_ms: milliseconds(stretch.delay_us),
            by: stretch.by,
        })
        .collect();
    tainted.sort_by(|one, other| one.from_ms.total_cmp(&other.from_ms));
    tainted
}

fn phases(facts: &Facts<'_>) -> BTreeMap<Phase, PhaseSummary> {
    let summary = |phase: Phase, start: i64, end: i64| {
        let scope = Scope { phase: Some(phase), ..Scope::default() };
        PhaseSummary {
            start_ms: milliseconds(start),
            end_ms: milliseconds(end),
            requests: facts.tally.requests(scope),
            latency_ms: latency(&facts.tally.response(scope)),
        }
    };
    facts.timeline.phases.iter().map(|(phase, start, end)| (*phase, summary(*phase, *start, *end))).collect()
}

fn steps(facts: &Facts<'_>) -> Vec<StepSummary> {
    let mut steps: Vec<StepSummary> = facts
        .timeline
        .steps
        .iter()
        .filter_map(|(path, changes)| {
            let (first, step) = changes.first()?;
            let at = |state: StepState| changes.iter().find(|(_, step)| step.state == state).map(|(at, _)| *at);
            let detail = changes.iter().rev().map(|(_, step)| &step.detail).find(|detail| !detail.is_empty());
            Some(StepSummary {
                path: (*path).to_owned(),
                name: step.name.clone(),
                detail: detail.cloned().unwrap_or_default(),
                start_ms: milliseconds(at(StepState::Begun).unwrap_or(*first)),
                end_ms: at(StepState::Done).map(milliseconds),
            })
        })
        .collect();
    steps.sort_by(|one, other| one.start_ms.total_cmp(&other.start_ms));
    steps
}

/// What has been put back. An undo of which nothing more was seen counts as not done.
fn undo(facts: &Facts<'_>) -> UndoSummary {
    let complete = facts.timeline.ended.is_some_and(|ended| ended.undo_complete);
    let mut open: BTreeMap<&str, String> = BTreeMap::new();
    for event in &facts.record.events {
        let What::Undo(undo) = &event.what else { continue };
        match undo.state {
            // A run that saw its undos done may have put together several of them.
            UndoState::Registered if complete => {}
            UndoState::Registered => {
                open.insert(&undo.action, "not seen to be done".to_owned());
            }
            UndoState::Verified => {
                open.remove(undo.action.as_str());
            }
            UndoState::Failed => {
                open.insert(&undo.action, undo.detail.clone());
            }
        }
    }
    let failed = open.into_iter().map(|(action, detail)| format!("{action}: {detail}")).collect();
    UndoSummary { complete, failed }
}
