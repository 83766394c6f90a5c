//! Where a bound on the response time is exceeded, what the cluster was doing then is told.

use serde_json::json;

use super::{builder::Scene, scenes::PODS};
use crate::{
    judge::{
        judge,
        verdict::{Finding, Verdict},
    },
    record::{
        event::Outcome,
        samples::{Samples, empty_histogram},
    },
};

/// A run in which all requests of lane `new` take so long from 10 s to 12 s, and p99 may be 100 ms.
fn judged(scene: Scene, slow_ms: u64) -> Verdict {
    let expect = json!([{ "latency": { "percentile": "p99", "atMost": "100ms", "lane": "new" } }]);
    let mut record = scene.expecting(&expect).record();
    let mut histogram = empty_histogram().unwrap();
    histogram.record_n(slow_ms * 1_000, 10).unwrap();
    let slow = |start_us: i64| (10_000_000..12_000_000).contains(&start_us);
    for interval in record.intervals.iter_mut().filter(|one| one.lane == "new" && slow(one.start_us)) {
        interval.response = Samples::from(&histogram);
    }
    judge(&record)
}

fn finding(verdict: &Verdict) -> Option<&Finding> {
    verdict.findings.iter().find(|finding| finding.id == "slow-requests")
}

fn evidence(scene: Scene) -> String {
    let verdict = judged(scene, 300);
    assert_eq!(verdict.expectations[0].held, Some(false));
    finding(&verdict).unwrap().evidence.join("\n")
}

#[test]
fn a_bound_that_is_kept_is_no_finding() {
    let verdict = judged(Scene::three_pods(), 90);
    assert_eq!((verdict.expectations[0].held, finding(&verdict)), (Some(true), None));
}

#[test]
fn the_slow_intervals_are_counted_with_their_phase() {
    let evidence = evidence(Scene::three_pods());
    for words in [
        "200 of 3000 requests took longer than 100ms",
        "in 20 intervals, from 10.00 s to 12.00 s: 200 during fault",
        "in 20 of 20 intervals nothing that was seen of the cluster explains it",
    ] {
        assert!(evidence.contains(words), "{words}: {evidence}");
    }
}

#[test]
fn fewer_endpoints_than_before_the_fault_are_told() {
    let mut scene = Scene::three_pods();
    scene.delete(PODS[0], 9.0, [14.2, 15.5], false);
    let evidence = evidence(scene);
    assert!(evidence.contains("in 20 of 20 intervals fewer endpoints were ready than before the fault"), "{evidence}");
}

#[test]
fn a_pod_that_had_just_become_ready_is_named() {
    let mut scene = Scene::three_pods();
    scene.start("shop-7d9f-d", "n1", [6.0, 7.0, 9.0]);
    let evidence = evidence(scene);
    assert!(evidence.contains("an endpoint had become ready less than 10 s before"), "{evidence}");
    assert!(evidence.contains("pod shop-7d9f-d became a ready endpoint at 9.05 s"), "{evidence}");
}

#[test]
fn requests_that_were_lost_late_are_slow_by_the_cause_of_their_loss() {
    let mut scene = Scene::three_pods();
    scene.crash(PODS[0], 10.0);
    for n in 0..20 {
        scene.lose_reused(Outcome::RequestTimeout, PODS[0], 10.0 + 0.1 * f64::from(n)).lane = "new".to_owned();
    }
    let evidence = evidence(scene);
    assert!(evidence.contains("20 of them were lost: 20 container-crashed"), "{evidence}");
    assert!(evidence.contains("in 20 of 20 intervals requests were lost so late"), "{evidence}");
}
