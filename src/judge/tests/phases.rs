//! To which phase a request counts, where the intervals of the record lie across a change of phases.

use serde_json::json;

use super::builder::{Scene, at};
use crate::{
    experiment::schema::Phase,
    judge::{
        judge,
        verdict::{Answer, Verdict},
    },
    record::event::{NoteKind, Outcome, What},
};

/// A run whose fault begins at 5.056 s, within an interval of the record, and requests of lane `new` lost when told.
fn straddling(lost: &[f64]) -> Scene {
    let mut scene = Scene::three_pods().expecting(&json!([{ "lost": { "atMost": 0, "phase": "fault" } }]));
    for event in &mut scene.events {
        if matches!(event.what, What::Phase { phase: Phase::Fault }) {
            event.at_us = at(5.056);
        }
    }
    for sent in lost {
        scene.lose(Outcome::Refused, *sent);
    }
    scene
}

fn of(verdict: &Verdict, phase: Phase) -> (u64, u64, u64) {
    let requests = &verdict.phases[&phase].requests;
    assert_eq!(requests.sent, requests.ok + requests.lost);
    assert_eq!(requests.by_kind.values().sum::<u64>(), requests.lost);
    assert_eq!(requests.by_cause.values().sum::<u64>(), requests.lost);
    (requests.sent, requests.ok, requests.lost)
}

#[test]
fn a_loss_in_the_first_moments_of_the_fault_is_the_faults_and_breaks_what_is_expected_of_it() {
    let verdict = judge(&straddling(&[5.06, 5.098, 5.115]).record());
    assert_eq!(verdict.verdict, Answer::Broken, "{:?}", verdict.reasons);
    assert_eq!(verdict.expectations[0].measured, "3 of 2982 (0.101 %)");
    // 51 intervals of two lanes with ten requests begin in `before`; two of their requests were due in `fault`.
    assert_eq!(of(&verdict, Phase::Before), (1_018, 1_018, 0));
    assert_eq!(of(&verdict, Phase::Fault), (2_982, 2_979, 3));
    let sent: u64 = Phase::ALL.into_iter().map(|phase| of(&verdict, phase).0).sum();
    assert_eq!((sent, verdict.requests.sent, verdict.requests.lost), (6_000, 6_000, 3));
    assert_eq!(verdict.outages[0].phase, Some(Phase::Fault));
    assert_eq!((verdict.recoveries.len(), verdict.recoveries[0].phase), (1, Phase::Fault));
}

/// The near twin: the same interval, a few milliseconds earlier.
#[test]
fn a_loss_in_the_last_moments_before_the_fault_is_not_the_faults() {
    let verdict = judge(&straddling(&[5.04, 5.05]).record());
    assert_eq!(verdict.verdict, Answer::Inconclusive, "{:?}", verdict.reasons);
    assert!(verdict.reasons[0].contains("lost 2 requests before anything was done"), "{:?}", verdict.reasons);
    assert_eq!(of(&verdict, Phase::Before), (1_020, 1_018, 2));
    assert_eq!(of(&verdict, Phase::Fault), (2_980, 2_980, 0));
    assert_eq!(judge(&straddling(&[]).record()).verdict, Answer::Held);
}

#[test]
fn a_loss_that_moves_to_the_next_phase_stays_in_doubt() {
    let mut noted = straddling(&[5.06]);
    noted.note(5.0605, NoteKind::Taint, "ports ran out");
    let mut late = straddling(&[5.06]);
    late.late(50, 150_000);
    for scene in [noted, late] {
        let verdict = judge(&scene.record());
        assert_eq!(verdict.expectations[0].held, None, "{:?}", verdict.expectations);
        assert_eq!(verdict.phases[&Phase::Fault].requests.lost_tainted, 1);
        assert_eq!((of(&verdict, Phase::Before).2, of(&verdict, Phase::Fault).2), (0, 1));
    }
}

#[test]
fn more_losses_than_an_interval_counted_are_counted_in_their_phases() {
    let mut record = straddling(&[5.01, 5.06, 5.07]).record();
    for event in &mut record.events {
        if let What::Load(counts) = &mut event.what {
            counts.by_outcome.remove(&Outcome::Refused);
        }
    }
    let verdict = judge(&record);
    assert_eq!((of(&verdict, Phase::Before).2, of(&verdict, Phase::Fault).2, verdict.requests.lost), (1, 2, 3));
}
