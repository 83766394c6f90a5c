//! What was measured of pods and budgets, and of outages.

use super::{
    builder::{Scene, at},
    causes::{short_prestop, verdict_of},
    scenes::{PODS, readiness_lost},
};
use crate::{
    experiment::{schema::Phase, traffic::LaneStream, units::Span},
    judge::verdict::{PodClaim, Verdict},
    record::event::{ContainerSeen, Outcome, PodAnswers, What},
};

fn claim(verdict: &Verdict, pod: &str) -> PodClaim {
    verdict.pods.iter().find(|claim| claim.pod == pod).unwrap_or_else(|| panic!("{pod}")).clone()
}

/// Equal but for the last bits of a float.
fn near(measured: Option<f64>, expected: f64) -> bool {
    measured.is_some_and(|measured| (measured - expected).abs() < 1e-6)
}

#[test]
fn the_end_of_a_pod_is_measured_from_its_deletion() {
    let going = claim(&verdict_of(&short_prestop()), PODS[0]);
    assert_eq!((going.how.as_deref(), going.exit_code, going.killed), (Some("deleted"), Some(0), false));
    assert!(near(going.deleted_ms, 10_000.0) && near(going.sigterm_after_ms, 300.0), "{going:?}");
    assert!(near(going.endpoint_off_after_ms, 100.0) && near(going.exit_after_ms, 600.0), "{going:?}");
    // The last of the 20 losses, 30 ms apart from 0.4 s on.
    assert!(near(going.last_loss_after_ms, 970.0) && near(going.prestop_ms, 300.0), "{going:?}");
}

#[test]
fn the_start_of_a_pod_is_measured_where_it_was_seen() {
    let verdict = verdict_of(&short_prestop());
    let new = claim(&verdict, "shop-7d9f-d");
    assert!(near(new.running_ms, 11_000.0) && near(new.ready_ms, 13_000.0) && near(new.boot_ms, 2_000.0), "{new:?}");
    assert!(near(new.first_endpoint_ms, 13_050.0), "{new:?}");
    assert_eq!((new.deleted_ms, new.exit_after_ms), (None, None));
}

#[test]
fn a_process_that_outlives_its_grace_is_seen_to_be_killed() {
    let mut scene = Scene::three_pods();
    scene.pod(10.0, PODS[0], |seen| {
        seen.terminating = true;
        seen.grace_seconds = Some(30);
    });
    scene.pod(40.5, PODS[0], |seen| {
        let (reason, time) = ("Error".to_owned(), "2026-01-01T00:00:00Z".to_owned());
        seen.container =
            ContainerSeen::Terminated { exit_code: 137, reason, started_at: time.clone(), finished_at: time };
    });
    scene.end = 45.0;
    let killed = claim(&verdict_of(&scene), PODS[0]);
    assert_eq!((killed.exit_code, killed.killed), (Some(137), true));
}

#[test]
fn outages_have_a_phase_a_time_to_detect_and_a_time_to_recover() {
    let mut scene = Scene::three_pods();
    scene.crash(PODS[0], 10.0);
    scene.lose_many(Outcome::Refused, 9.5, 30);
    let verdict = verdict_of(&scene);
    let outage = &verdict.outages[0];
    assert_eq!((outage.phase, outage.cause.as_str()), (Some(Phase::Fault), "container-crashed"));
    // The endpoint is off at 10.1 s.
    assert!(near(outage.detected_after_ms, 600.0), "{outage:?}");
    let recovery = &verdict.recoveries[0];
    assert_eq!((recovery.lane.as_str(), recovery.phase, recovery.outages), ("new", Phase::Fault, 1));
    assert!(near(Some(recovery.recovered_after_ms), 29.0 * 30.0 + 2.0), "{recovery:?}");
    let quiet = verdict_of(&Scene::three_pods());
    assert_eq!((quiet.outages.len(), quiet.recoveries.len()), (0, 0));
}

/// Three streams that were due at 4 s, before the fault, and are listened to for 10 s each.
fn with_streams(outcome: Outcome, ended: [f64; 3], status: Option<u16>) -> Vec<(f64, f64, Option<Phase>)> {
    let mut scene = Scene::three_pods();
    let (r#for, idle) = (Span::from_millis(10_000), Span::from_millis(1_000));
    scene.experiment.spec.load[0].stream = Some(LaneStream { r#for, idle });
    for (at_second, due) in ended.into_iter().zip([4.0, 4.1, 4.2]) {
        let lost = scene.lose(outcome, due);
        (lost.ended_us, lost.status) = (at(at_second), status);
    }
    let outages = verdict_of(&scene).outages;
    outages.into_iter().map(|one| (one.start_ms, one.end_ms, one.phase)).collect()
}

#[test]
fn the_outage_of_a_stream_begins_when_it_broke_off_and_not_when_it_was_due() {
    let fault = Some(Phase::Fault);
    // Cut: at that moment, each its own outage where they lie apart, in whatever order they were due.
    let cut = with_streams(Outcome::CutMidAnswer, [12.0, 9.0, 9.1], Some(200));
    assert_eq!(cut, [(9_000.0, 9_100.0, fault), (12_000.0, 12_000.0, fault)]);
    // Silent: when the last of it came.
    let silent = with_streams(Outcome::RequestTimeout, [9.0, 9.1, 9.2], Some(200));
    assert_eq!(silent, [(8_000.0, 9_200.0, fault)]);
    // A stream that never began was missing since it was due, and one that was refused as well.
    for (outcome, status) in [(Outcome::RequestTimeout, None), (Outcome::ServerError, Some(503))] {
        let never = with_streams(outcome, [6.0, 6.1, 6.2], status);
        assert_eq!(never, [(4_000.0, 6_200.0, Some(Phase::Before))], "{outcome:?}");
    }
}

#[test]
fn an_outage_of_a_service_without_endpoints_is_detected_from_its_beginning() {
    // The endpoints go at 10.1 s, the pods answer until 15.2 s.
    let mut scene = Scene::three_pods();
    for pod in PODS {
        scene.delete(pod, 10.0, [15.2, 16.5], false);
    }
    scene.lose_many(Outcome::Refused, 15.3, 30);
    let verdict = verdict_of(&scene);
    assert!(near(verdict.outages[0].detected_after_ms, 0.0), "{:?}", verdict.outages);
    // Nothing was sent to a pod of a Service that had none.
    assert!(verdict.pods.iter().all(|claim| claim.last_loss_after_ms.is_none()), "{:?}", verdict.pods);
}

#[test]
fn what_the_clean_up_does_to_a_pod_is_no_claim() {
    let mut scene = Scene::three_pods();
    scene.delete(PODS[0], 31.0, [36.2, 37.5], false);
    let claim = claim(&verdict_of(&scene), PODS[0]);
    assert_eq!((claim.deleted_ms, claim.how, claim.exit_after_ms, claim.exit_code), (None, None, None, None));
}

#[test]
fn the_time_without_readiness_is_measured() {
    let verdict = verdict_of(&readiness_lost());
    assert!(near(Some(claim(&verdict, PODS[1]).unready_ms), 10_000.0));
    assert!(near(Some(claim(&verdict_of(&Scene::three_pods()), PODS[1]).unready_ms), 0.0));
}

#[test]
fn each_pods_share_of_the_answers_is_counted_by_phase() {
    let mut record = short_prestop().record();
    for event in &mut record.events {
        if let What::Load(interval) = &mut event.what {
            // The first pod answers until 0.2 s after its deletion at 10 s, another all the time.
            let pods = [(PODS[0], interval.start_us < 10_200_000), (PODS[1], true)];
            interval.by_pod =
                pods.into_iter().filter(|(_, there)| *there).map(|(pod, _)| (pod.to_owned(), 5.into())).collect();
        }
    }
    let verdict = crate::judge::judge(&record);
    let (gone, stays) = (claim(&verdict, PODS[0]), claim(&verdict, PODS[1]));
    // Two lanes, ten intervals a second: 5 s before, 5.2 of 15 s of the fault.
    assert_eq!(gone.answered, [(Phase::Before, 500), (Phase::Fault, 520)].into());
    assert_eq!(stays.answered[&Phase::Fault], 1_500);
    assert!(near(gone.last_answer_after_ms, 200.0) && near(stays.first_answer_ms, 0.0), "{gone:?}");
    assert_eq!(stays.last_answer_after_ms, None);
}

/// An interval lasts a tenth of a second, and a process ends within it.
#[test]
fn the_first_and_the_last_answer_of_a_pod_are_known_to_the_microsecond() {
    let mut record = short_prestop().record();
    for event in &mut record.events {
        let What::Load(interval) = &mut event.what else { continue };
        let answers = PodAnswers {
            answered: 5,
            new_connections: 2,
            first_us: Some(interval.start_us + 1_500),
            last_us: Some(interval.start_us + 10_060),
        };
        if (1_000_000..=10_000_000).contains(&interval.start_us) {
            interval.by_pod.insert(PODS[0].to_owned(), answers);
        }
    }
    let gone = claim(&crate::judge::judge(&record), PODS[0]);
    assert!(near(gone.first_answer_ms, 1_001.5) && near(gone.last_answer_after_ms, 10.06), "{gone:?}");
    assert!(gone.last_answer_after_ms < gone.exit_after_ms, "{gone:?}");
    // Two lanes, ten intervals a second from 1 s on; one of the fault.
    assert_eq!(gone.new_connections, [(Phase::Before, 160), (Phase::Fault, 204)].into());
}
