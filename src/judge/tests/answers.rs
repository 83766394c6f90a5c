//! The one answer: its rule as a table, and each line of the rule on a record.

use serde_json::json;

use super::builder::{Scene, at};
use crate::{
    experiment::schema::Vantage,
    judge::{
        answer::Grounds,
        judge,
        verdict::{Answer, Tainted, TaintedBy, Verdict},
    },
    record::event::{EndReason, EvictionAnswer, NoteKind, Outcome, StepState, UndoChange, UndoState, What},
};

/// Failed, unsteady, the expectations, doubtful; and the answer.
type Row<'r> = (bool, bool, &'r [Option<bool>], bool, Answer);

#[test]
fn the_answer_follows_from_its_grounds_as_documented() {
    let (held, broken, untold) = (Some(true), Some(false), None);
    let table: &[Row] = &[
        (false, false, &[held, held], false, Answer::Held),
        (false, false, &[held, broken], false, Answer::Broken),
        (false, false, &[held, untold], false, Answer::Inconclusive),
        (false, false, &[held], true, Answer::Inconclusive),
        (false, false, &[], false, Answer::Inconclusive),
        (false, false, &[broken, untold], true, Answer::Broken),
        (false, true, &[held], false, Answer::Inconclusive),
        (false, true, &[broken], false, Answer::Inconclusive),
        (true, false, &[held], false, Answer::Error),
        (true, true, &[broken], true, Answer::Error),
    ];
    for (failed, unsteady, held, doubtful, answer) in table {
        let grounds = Grounds { failed: *failed, unsteady: *unsteady, held: held.to_vec(), doubtful: *doubtful };
        assert_eq!(grounds.answer(), *answer, "{grounds:?}");
    }
}

fn assert_answer(verdict: &Verdict, answer: Answer, reason: &str) {
    assert_eq!(verdict.verdict, answer, "{:?}", verdict.reasons);
    assert!(verdict.reasons.iter().any(|given| given.contains(reason)), "{reason}: {:?}", verdict.reasons);
}

/// Losses that break the only expectation, with nothing of ours in doubt.
fn losing() -> Scene {
    let mut scene = Scene::three_pods();
    scene.lose_many(Outcome::Refused, 10.0, 20);
    scene
}

#[test]
fn a_quiet_run_holds_and_bounds_its_loss_rate() {
    let verdict = judge(&Scene::three_pods().record());
    assert_eq!((verdict.verdict, verdict.reasons.len()), (Answer::Held, 0));
    assert_eq!((verdict.requests.sent, verdict.requests.lost), (6_000, 0));
    let bound = verdict.requests.loss_bound_95.unwrap();
    assert!((bound - 3.0 / 6_000.0).abs() < 1e-6, "the rule of three: {bound}");
    assert_eq!(verdict.phases.len(), 4);
    assert_eq!(verdict.phases.values().map(|phase| phase.requests.sent).sum::<u64>(), 6_000);
    assert_eq!(verdict.findings, []);
    assert!(verdict.undo.complete);
}

#[test]
fn losses_during_the_fault_break_it() {
    let verdict = judge(&losing().record());
    assert_answer(&verdict, Answer::Broken, "lost requests: 20 of 6000");
    let bound = verdict.requests.loss_bound_95.unwrap();
    assert!((20.0 / 6_000.0..40.0 / 6_000.0).contains(&bound), "{bound}");
}

#[test]
fn losses_before_the_fault_make_it_inconclusive_whatever_came_after() {
    let mut scene = losing();
    scene.lose(Outcome::Refused, 2.0);
    let verdict = judge(&scene.record());
    assert_answer(&verdict, Answer::Inconclusive, "lost 1 requests before anything was done");
    assert!(verdict.findings.iter().any(|finding| finding.id == "steady-state-not-met"));
}

#[test]
fn a_request_due_before_the_fault_that_broke_off_in_it_was_lost_to_the_fault() {
    let mut scene = losing();
    let lost = scene.lose(Outcome::ResetBeforeByte, 4.0);
    lost.ended_us = at(6.0);
    assert_answer(&judge(&scene.record()), Answer::Broken, "lost requests: 21 of 6000");
}

#[test]
fn requests_before_the_first_phase_count_for_nothing() {
    let mut scene = losing();
    scene.lose(Outcome::Refused, -1.0);
    assert_answer(&judge(&scene.record()), Answer::Broken, "lost requests: 20 of 6000");
}

#[test]
fn doubts_keep_a_run_from_holding_and_do_not_save_one_that_is_broken() {
    type Doubt = (&'static str, &'static str, fn(&mut Scene));
    let doubts: [Doubt; 4] = [
        ("a note", "ports ran out", |scene| scene.note(15.0, NoteKind::Taint, "ports ran out")),
        ("unsent requests", "14 requests that were due were never sent", |scene| scene.unsent = 7),
        ("a long stall", "held up", |scene| scene.late(200, 600_000)),
        ("many late intervals", "held up", |scene| {
            (200..207).for_each(|index| scene.late(index, 150_000));
        }),
    ];
    for (name, reason, doubt) in doubts {
        let (mut quiet, mut broken) = (Scene::three_pods(), losing());
        doubt(&mut quiet);
        doubt(&mut broken);
        assert_answer(&judge(&quiet.record()), Answer::Inconclusive, reason);
        assert_eq!(judge(&broken.record()).verdict, Answer::Broken, "{name}");
    }
}

#[test]
fn one_late_interval_among_hundreds_keeps_a_run_from_holding_and_is_told_with_its_time() {
    let mut scene = Scene::three_pods();
    scene.late(200, 150_000);
    let verdict = judge(&scene.record());
    let reason = "held up by up to 150 ms in 1 of 600 intervals (20.00 s to 20.10 s)";
    assert_answer(&verdict, Answer::Inconclusive, reason);
    let mut pacing = Scene::three_pods();
    pacing.late(200, 100_000);
    let quiet = judge(&pacing.record());
    assert_eq!((quiet.verdict, quiet.tainted, quiet.tainted_more), (Answer::Held, Vec::new(), 0));
    assert!((quiet.lanes["new"].send_lag_max_ms - 100.0).abs() < 1e-9, "{:?}", quiet.lanes["new"]);
    assert_eq!(serde_json::to_string(&quiet.lanes["new"].tainted_ms).unwrap(), "0.0");
}

#[test]
fn intervals_in_doubt_that_touch_are_told_as_one_stretch_with_the_longest_delay() {
    let mut scene = Scene::three_pods();
    for (index, lag) in [(100, 150_000), (101, 700_000), (102, 120_000), (250, 200_000)] {
        scene.late(index, lag);
    }
    scene.lags.insert(("reused".to_owned(), 101), 700_000);
    let verdict = judge(&scene.record());
    let of_new = |from_ms, to_ms, delay_ms, lane: &str| Tainted {
        lane: lane.to_owned(),
        from_ms,
        to_ms,
        delay_ms,
        by: TaintedBy::OwnDelay,
    };
    let stretches = [
        of_new(10_000.0, 10_300.0, 700.0, "new"),
        of_new(10_100.0, 10_200.0, 700.0, "reused"),
        of_new(25_000.0, 25_100.0, 200.0, "new"),
    ];
    assert_eq!(verdict.tainted, stretches);
    assert!((verdict.lanes["new"].tainted_ms - 400.0).abs() < 1e-6);
    assert!((verdict.lanes["reused"].send_lag_max_ms - 700.0).abs() < 1e-6);
    // A stall that met both lanes is told once.
    let reason = "up to 700 ms in 5 of 600 intervals (10.00 s to 10.30 s, 25.00 s to 25.10 s)";
    assert_answer(&verdict, Answer::Inconclusive, reason);
}

#[test]
fn of_many_stretches_in_doubt_the_first_are_told_and_the_others_counted() {
    let mut scene = Scene::three_pods();
    (0..130).for_each(|n| scene.late(2 * n, 150_000));
    let verdict = judge(&scene.record());
    assert_eq!((verdict.tainted.len(), verdict.tainted_more), (100, 30));
    assert!((verdict.lanes["new"].tainted_ms - 13_000.0).abs() < 1e-6, "{:?}", verdict.lanes["new"]);
    let reason = "(0.00 s to 0.10 s, 0.20 s to 0.30 s, 0.40 s to 0.50 s, 127 more until 25.90 s)";
    assert_answer(&verdict, Answer::Inconclusive, reason);
}

/// As one kept as a baseline by an earlier version.
#[test]
fn a_verdict_without_what_is_told_of_doubts_is_still_read() {
    let mut scene = Scene::three_pods();
    scene.late(200, 150_000);
    let mut old = serde_json::to_value(judge(&scene.record())).unwrap();
    let lag = old["lanes"]["new"].as_object_mut().unwrap().remove("send_lag_max_ms");
    old["lanes"]["new"].as_object_mut().unwrap().remove("tainted_ms");
    let tainted = old.as_object_mut().unwrap().remove("tainted");
    assert_eq!((lag, tainted.unwrap()[0]["by"].as_str()), (Some(json!(150.0)), Some("own_delay")));
    let read: Verdict = serde_json::from_value(old).unwrap();
    assert_eq!((read.verdict, read.tainted, read.tainted_more), (Answer::Inconclusive, Vec::new(), 0));
}

#[test]
fn a_stretch_in_doubt_says_whether_a_note_or_a_control_lane_put_it_there() {
    let mut noted = Scene::three_pods();
    noted.note(15.0, NoteKind::Taint, "ports ran out");
    let verdict = judge(&noted.record());
    let told: Vec<_> = verdict.tainted.iter().map(|one| (one.lane.as_str(), one.from_ms, one.to_ms, one.by)).collect();
    let note = TaintedBy::Note;
    assert_eq!(told, [("new", 15_000.0, 30_000.0, note), ("reused", 15_000.0, 30_000.0, note)]);
    let mut control = with_control(Scene::three_pods());
    control.lose_reused(Outcome::Refused, "another", 12.0);
    let verdict = judge(&control.record());
    let told: Vec<_> = verdict.tainted.iter().map(|one| (one.lane.as_str(), one.by)).collect();
    assert_eq!(told, [("new", TaintedBy::Control)]);
}

#[test]
fn losses_that_may_be_our_own_are_not_held_against_the_service() {
    type Taint = fn(&mut Scene);
    let taints: [Taint; 3] = [
        |scene| (100..107).for_each(|index| scene.late(index, 700_000)),
        |scene| scene.note(9.0, NoteKind::Taint, "a watch was gone for 3 s"),
        |scene| {
            for event in &mut scene.events {
                if let What::Lost(lost) = &mut event.what {
                    lost.sent_us += at(0.2);
                    lost.ended_us += at(0.2);
                }
            }
        },
    ];
    for taint in taints {
        let mut scene = losing();
        taint(&mut scene);
        let verdict = judge(&scene.record());
        assert_eq!(verdict.verdict, Answer::Inconclusive, "{:?}", verdict.reasons);
        assert_eq!(verdict.expectations[0].held, None);
        assert_eq!((verdict.requests.lost, verdict.requests.by_cause["unexplained"]), (20, 20));
        assert_eq!(verdict.requests.lost_tainted, 20);
        let told = verdict.findings[0].evidence.iter().any(|text| text.contains("20 of them fell into times at which"));
        assert!(told, "{:?}", verdict.findings[0].evidence);
    }
}

#[test]
fn a_record_that_breaks_off_cannot_hold_and_can_be_broken() {
    assert_answer(&judge(&Scene::three_pods().record_ended(None)), Answer::Inconclusive, "breaks off");
    assert_eq!(judge(&losing().record_ended(None)).verdict, Answer::Broken);
}

#[test]
fn a_run_that_did_not_come_to_its_end_has_no_verdict() {
    let table = [
        (EndReason::SetupFailed, "the set-up failed"),
        (EndReason::StepFailed, "a step failed"),
        (EndReason::Interrupted, "interrupted"),
    ];
    for (reason, words) in table {
        assert_answer(&judge(&losing().record_ended(Some(reason))), Answer::Error, words);
    }
    let mut noted = Scene::three_pods();
    noted.note(3.0, NoteKind::Error, "agent pod never ready");
    assert_answer(&judge(&noted.record()), Answer::Error, "agent pod never ready");
}

/// A drain whose evictions a budget refuses until it times out.
fn blocked() -> Scene {
    let mut scene = Scene::three_pods();
    scene.events.retain(|event| !matches!(event.what, What::Step(_)));
    scene.step("1", "drain", &[(5.0, StepState::Begun), (20.0, StepState::Failed)]);
    scene.budget(-5.0, 3, 3);
    for attempt in 1..=3 {
        let message = "The disruption budget shop needs 3 healthy pods and has 3 currently".to_owned();
        let when = 5.0 * f64::from(attempt);
        scene.eviction(when, "shop-7d9f-a", attempt, EvictionAnswer::BudgetExhausted { message });
    }
    scene
}

#[test]
fn a_drain_that_its_budget_blocks_is_named() {
    let verdict = judge(&blocked().record_ended(Some(EndReason::StepFailed)));
    assert_answer(&verdict, Answer::Error, "a budget let no eviction through");
    let finding = &verdict.findings[0];
    assert_eq!(finding.id, "drain-blocked");
    assert!(finding.evidence[0].contains("3 evictions refused"), "{:?}", finding.evidence);
}

#[test]
fn a_drain_that_fails_after_its_evictions_got_through_is_not_blocked() {
    let mut scene = blocked();
    scene.eviction(18.0, "shop-7d9f-a", 4, EvictionAnswer::Accepted);
    let verdict = judge(&scene.record_ended(Some(EndReason::StepFailed)));
    assert_eq!((verdict.verdict, verdict.findings.len()), (Answer::Error, 0));
}

#[test]
fn an_experiment_that_expects_a_blocked_drain_is_judged_by_that() {
    let expect = json!([{ "finding": { "id": "drain-blocked" } }, { "lost": { "atMost": 0 } }]);
    let scene = blocked().expecting(&expect);
    assert_eq!(judge(&scene.record_ended(Some(EndReason::StepFailed))).verdict, Answer::Held);
    let other = Scene::three_pods().expecting(&expect);
    assert_eq!(judge(&other.record_ended(Some(EndReason::StepFailed))).verdict, Answer::Error);
}

#[test]
fn an_undo_that_failed_or_was_never_seen_is_named() {
    let mut scene = Scene::three_pods();
    let undo = |action: &str, state, detail: &str| {
        What::Undo(UndoChange { action: action.to_owned(), state, detail: detail.to_owned() })
    };
    scene.see(5.0, undo("uncordon node/n1", UndoState::Registered, ""));
    scene.see(5.0, undo("uncordon node/n2", UndoState::Registered, ""));
    scene.see(5.0, undo("uncordon node/n3", UndoState::Registered, ""));
    scene.see(21.0, undo("uncordon node/n1", UndoState::Verified, ""));
    scene.see(21.0, undo("uncordon node/n2", UndoState::Failed, "forbidden; run kubectl uncordon n2"));
    let verdict = judge(&scene.record_ended(None));
    assert!(!verdict.undo.complete);
    let expected = ["uncordon node/n2: forbidden; run kubectl uncordon n2", "uncordon node/n3: not seen to be done"];
    assert_eq!(verdict.undo.failed, expected);
}

#[test]
fn an_outage_is_one_as_long_as_no_gap_lies_in_it() {
    let mut scene = Scene::three_pods();
    scene.lose_many(Outcome::Refused, 10.0, 10);
    scene.lose_many(Outcome::Refused, 10.5, 10);
    scene.lose_many(Outcome::Refused, 12.0, 1);
    let verdict = judge(&scene.record());
    let outages: Vec<_> = verdict.outages.iter().map(|o| (o.start_ms, o.end_ms, o.lost)).collect();
    assert_eq!(outages, [(10_000.0, 10_772.0, 20), (12_000.0, 12_002.0, 1)]);
    assert!((verdict.lanes["new"].longest_outage_ms - 772.0).abs() < 1e-6);
    assert!(verdict.lanes["reused"].longest_outage_ms.abs() < 1e-6);
}

/// Lane `reused` asks another Service, as a control.
fn with_control(mut scene: Scene) -> Scene {
    let lane = &mut scene.experiment.spec.load[1];
    (lane.control, lane.service) = (true, "elsewhere".to_owned());
    scene
}

#[test]
fn losses_at_the_moment_of_a_control_lanes_are_not_held_against_the_service_and_others_are() {
    let mut both = with_control(losing());
    let (first, last) = (9.5, 10.5);
    for sent in [first, last] {
        both.lose_reused(Outcome::ConnectTimeout, "another", sent);
    }
    let verdict = judge(&both.record());
    assert_answer(&verdict, Answer::Inconclusive, "control lane reused lost 2");
    assert_eq!((verdict.requests.lost, verdict.requests.lost_tainted), (20, 20), "the control's own do not count");
    assert_eq!(verdict.lanes["reused"].requests.lost, 2);
    assert!(verdict.lanes["reused"].is_control && !verdict.lanes["new"].is_control);
    assert_eq!(verdict.requests.sent, verdict.lanes["new"].requests.sent);

    let mut later = with_control(losing());
    later.lose_reused(Outcome::ConnectTimeout, "another", 25.0);
    assert_eq!(judge(&later.record()).verdict, Answer::Broken, "its trouble came later");

    let mut elsewhere = with_control(losing());
    elsewhere.experiment.spec.load[1].from = Vantage::Outside;
    elsewhere.lose_reused(Outcome::ConnectTimeout, "another", first);
    assert_eq!(judge(&elsewhere.record()).verdict, Answer::Broken, "its trouble was on another way");
}

#[test]
fn a_control_lane_that_loses_keeps_a_run_from_passing_and_one_that_does_not_changes_nothing() {
    assert_eq!(judge(&with_control(Scene::three_pods()).record()).verdict, Answer::Held);
    assert_eq!(judge(&with_control(losing()).record()).verdict, Answer::Broken);
    let mut quiet = with_control(Scene::three_pods());
    quiet.lose_reused(Outcome::Refused, "another", 12.0);
    assert_answer(&judge(&quiet.record()), Answer::Inconclusive, "service/elsewhere");
}
