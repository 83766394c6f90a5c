//! Each reason for a slow answer on a record that shows it, near twins that must not get it, and what is said of a
//! bound that was exceeded.

use serde_json::json;

use super::{
    builder::{Scene, at},
    causes::{SHUFFLES, is_of_cluster, shuffled},
    scenes::PODS,
};
use crate::{
    judge::{
        judge,
        slowness::Slowness,
        verdict::{Finding, SLOW_MAX, Verdict},
    },
    record::{
        Record,
        event::{Outcome, What},
        samples::{Samples, empty_histogram},
    },
};

const NEW_POD: &str = "shop-7d9f-d";

/// Slow requests of a case.
const MANY: u32 = 5;

/// The record of a scene in which all requests of lane `new` take so long in a time, and p99 may be 100 ms.
fn record(scene: &Scene, slow_ms: u64, time: std::ops::Range<i64>) -> Record {
    let expect = json!([{ "latency": { "percentile": "p99", "atMost": "100ms", "lane": "new" } }]);
    let mut record = scene.clone().expecting(&expect).record();
    let mut histogram = empty_histogram().unwrap();
    histogram.record_n(slow_ms * 1_000, 10).unwrap();
    for interval in record.intervals.iter_mut().filter(|one| one.lane == "new" && time.contains(&one.start_us)) {
        interval.response = Samples::from(&histogram);
    }
    record
}

fn judged(scene: &Scene, slow_ms: u64) -> Verdict {
    judge(&record(scene, slow_ms, 10_000_000..12_000_000))
}

fn finding(verdict: &Verdict) -> Option<&Finding> {
    verdict.findings.iter().find(|finding| finding.id == "slow-requests")
}

fn evidence(scene: &Scene) -> String {
    let verdict = judged(scene, 300);
    assert_eq!(verdict.expectations[0].held, Some(false));
    finding(&verdict).unwrap().evidence.join("\n")
}

fn reasons(record: &Record) -> Vec<(String, u64)> {
    judge(record).slow.lanes["new"].by_reason.clone().into_iter().collect()
}

struct Case {
    name: &'static str,
    reason: Slowness,
    record: Record,
}

/// Three pods and what happens to them, with slow requests one after another, as `slow` tells each.
fn scene(happens: impl FnOnce(&mut Scene), slow: impl Fn(&mut Scene, f64)) -> Scene {
    let mut scene = Scene::three_pods();
    happens(&mut scene);
    (0..MANY).for_each(|n| slow(&mut scene, 0.01 * f64::from(n)));
    scene
}

/// A slow answer of a pod, and of one that doesn't name itself.
fn of_pod(pod: &'static str, sent: f64) -> impl Fn(&mut Scene, f64) {
    move |scene, later| _ = scene.slow(pod, sent + later, 0.4)
}

fn nameless(sent: f64) -> impl Fn(&mut Scene, f64) {
    move |scene, later| scene.slow(PODS[0], sent + later, 0.4).pod = None
}

/// A connection that was accepted so many seconds after it was asked for.
fn connected(sent: f64, after: f64) -> impl Fn(&mut Scene, f64) {
    move |scene, later| {
        let slow = scene.slow(PODS[0], sent + later, after + 0.02);
        (slow.connection_uses, slow.connection_age_us, slow.pod) = (0, 0, None);
        slow.connected_us = Some(at(sent + later + after));
    }
}

fn cold(scene: &mut Scene) {
    scene.start(NEW_POD, "n1", [6.0, 7.0, 9.0]);
}

fn crash(scene: &mut Scene) {
    scene.crash(PODS[0], 10.0);
}

/// SIGTERM comes at 15 s, after the hook.
fn stop(scene: &mut Scene) {
    scene.start(NEW_POD, "n1", [-9.0, -8.0, -6.0]);
    scene.delete(PODS[0], 10.0, [18.0, 19.5], false);
}

/// A pod without a hook: it is told to stop as it is deleted, and new connections may still lead to it.
fn stop_at_once(scene: &mut Scene) {
    scene.pod(9.9, PODS[0], |seen| seen.pre_stop = None);
    scene.delete(PODS[0], 10.0, [12.0, 13.5], false);
}

fn lose_readiness(scene: &mut Scene) {
    scene.pod(12.0, PODS[0], |seen| seen.ready = false);
    scene.endpoint(12.1, PODS[0], false, false, false);
    scene.pod(18.0, PODS[0], |seen| seen.ready = true);
    scene.endpoint(18.1, PODS[0], true, false, false);
}

fn lose_node(scene: &mut Scene) {
    scene.node(10.0, "n1", false, false);
    scene.node(14.0, "n1", true, false);
}

fn cases() -> Vec<Case> {
    let case = |name, reason, scene: Scene| Case { name, reason, record: record(&scene, 300, 0..0) };
    let mut slow_before = scene(cold, of_pod(NEW_POD, 10.0));
    slow_before.events.sort_by_key(|event| event.at_us);
    vec![
        Case {
            name: "as slow before the fault",
            reason: Slowness::SlowBefore,
            record: record(&slow_before, 350, 0..30_000_000),
        },
        case(
            "the first packet lost to a pod that stops",
            Slowness::SlowConnect,
            scene(stop_at_once, connected(10.1, 1.01)),
        ),
        case("a pod that had crashed", Slowness::RestartedPod, scene(crash, of_pod(PODS[0], 15.0))),
        case("a pod that crashed, not named", Slowness::RestartedPod, scene(crash, nameless(14.5))),
        case("a pod after SIGTERM", Slowness::TerminatingPod, scene(stop, of_pod(PODS[0], 15.2))),
        case("a pod that fails its probe", Slowness::UnreadyPod, scene(lose_readiness, of_pod(PODS[0], 11.5))),
        case("a pod whose node is not ready", Slowness::UnreadyPod, scene(lose_node, of_pod(PODS[0], 13.0))),
        case("a pod that had just become ready", Slowness::ColdPod, scene(cold, of_pod(NEW_POD, 10.0))),
        case(
            "a pod that had just become ready, not named",
            Slowness::ColdPod,
            scene(cold, |scene, later| {
                let slow = scene.slow(NEW_POD, 12.0 + later, 0.4);
                (slow.pod, slow.connection_age_us) = (None, at(1.0));
            }),
        ),
        case(
            "one pod fewer",
            Slowness::FewerEndpoints,
            scene(|scene| scene.delete(PODS[0], 9.0, [14.2, 15.5], false), of_pod(PODS[1], 10.0)),
        ),
    ]
}

#[test]
fn each_reason_is_named_on_a_record_that_shows_it() {
    for Case { name, reason, record } in cases() {
        assert_eq!(reasons(&record), [(reason.as_str().to_owned(), u64::from(MANY))], "{name}");
        let slow = judge(&record).slow;
        assert_eq!(slow.requests.len(), MANY as usize, "{name}");
        assert!(
            slow.requests.iter().all(|one| one.reason == reason.as_str() && one.evidence.is_some()),
            "{name}: {slow:?}"
        );
    }
}

#[test]
fn every_reason_has_a_record_that_shows_it() {
    let mut shown: Vec<Slowness> = cases().into_iter().map(|case| case.reason).collect();
    shown.push(Slowness::Unexplained);
    shown.dedup();
    assert_eq!(shown, Slowness::ALL);
}

/// Near a case of that reason, but it must not be named; and what is.
fn twins() -> Vec<(&'static str, Slowness, Slowness, Record)> {
    use Slowness::{
        ColdPod, FewerEndpoints, RestartedPod, SlowBefore, SlowConnect, TerminatingPod, Unexplained, UnreadyPod,
    };
    let fast = |scene: Scene| record(&scene, 300, 0..0);
    let replaced = |scene: &mut Scene| {
        scene.start(NEW_POD, "n1", [-9.0, -8.0, -6.0]);
        scene.endpoint(4.0, NEW_POD, false, false, false);
        scene.endpoint(8.0, NEW_POD, true, false, false);
        scene.delete(PODS[0], 9.0, [14.2, 15.5], false);
    };
    vec![
        (
            "fast before the fault",
            SlowBefore,
            ColdPod,
            record(&scene(cold, of_pod(NEW_POD, 10.0)), 350, 5_000_000..30_000_000),
        ),
        (
            "far slower than before",
            SlowBefore,
            ColdPod,
            record(&scene(cold, of_pod(NEW_POD, 10.0)), 200, 0..30_000_000),
        ),
        ("no pod was in trouble", SlowConnect, Unexplained, fast(scene(|_| (), connected(15.1, 1.01)))),
        (
            "a pod that had just become ready loses no packet",
            SlowConnect,
            Unexplained,
            fast(scene(cold, connected(10.0, 1.01))),
        ),
        ("it was back when it was asked", SlowConnect, Unexplained, fast(scene(crash, connected(14.5, 1.01)))),
        (
            "connecting took less than a second",
            SlowConnect,
            TerminatingPod,
            fast(scene(stop_at_once, connected(10.1, 0.6))),
        ),
        ("another pod had crashed", RestartedPod, FewerEndpoints, fast(scene(crash, of_pod(PODS[1], 10.5)))),
        ("the crash was long ago", RestartedPod, Unexplained, fast(scene(crash, of_pod(PODS[0], 24.5)))),
        (
            "it crashed when the request had long been slow",
            RestartedPod,
            Unexplained,
            fast(scene(crash, |scene, later| {
                scene.slow(PODS[0], 8.2 + later, 1.75);
            })),
        ),
        ("the hook still slept", TerminatingPod, FewerEndpoints, fast(scene(stop, of_pod(PODS[0], 12.0)))),
        ("another pod was told to stop", TerminatingPod, FewerEndpoints, fast(scene(stop, of_pod(PODS[1], 15.2)))),
        (
            "another pod failed its probe",
            UnreadyPod,
            FewerEndpoints,
            fast(scene(lose_readiness, of_pod(PODS[1], 12.5))),
        ),
        ("its node was ready again", UnreadyPod, Unexplained, fast(scene(lose_node, of_pod(PODS[0], 14.5)))),
        ("it had been ready for long", ColdPod, Unexplained, fast(scene(cold, of_pod(NEW_POD, 19.5)))),
        (
            "it was as slow when it was warm",
            ColdPod,
            Unexplained,
            fast(scene(
                |scene| {
                    cold(scene);
                    scene.answers = vec![(NEW_POD, 9.1)];
                },
                |scene, later| {
                    scene.slow(NEW_POD, if later < 0.025 { 10.0 } else { 20.0 } + later, 0.4);
                },
            )),
        ),
        ("another pod had just become ready", ColdPod, Unexplained, fast(scene(cold, of_pod(PODS[0], 10.0)))),
        (
            "its connection is older than the new pod",
            ColdPod,
            Unexplained,
            fast(scene(cold, |scene, later| {
                let slow = scene.slow(NEW_POD, 15.5 + later, 0.4);
                (slow.pod, slow.connection_age_us) = (None, at(14.0));
            })),
        ),
        ("as many were ready as before", FewerEndpoints, Unexplained, fast(scene(replaced, of_pod(PODS[1], 10.0)))),
        ("nothing but a step was going on", Unexplained, Unexplained, fast(scene(|_| (), of_pod(PODS[1], 10.0)))),
    ]
}

#[test]
fn a_near_twin_does_not_get_the_reason() {
    for (name, reason, expected, record) in twins() {
        assert!(reason != expected || reason == Slowness::Unexplained, "{name}");
        assert_eq!(reasons(&record), [(expected.as_str().to_owned(), u64::from(MANY))], "{name}");
    }
}

#[test]
fn a_pod_that_was_fast_when_it_was_warm_had_been_cold() {
    let mut scene = scene(cold, of_pod(NEW_POD, 10.0));
    // 1 of 10 requests of each interval: it answered 100 when it was warm.
    scene.answers = vec![(NEW_POD, 9.1)];
    scene.slow(NEW_POD, 25.0, 0.4);
    let expected = [("cold-pod".to_owned(), u64::from(MANY)), ("unexplained".to_owned(), 1)];
    assert_eq!(reasons(&record(&scene, 300, 0..0)), expected);
}

#[test]
fn with_the_times_of_events_shuffled_every_slow_request_is_unexplained() {
    for Case { name, record, .. } in cases() {
        for seed in 1..=SHUFFLES {
            for shuffled in [shuffled(&record, seed, |_| true), shuffled(&record, seed, is_of_cluster)] {
                assert_eq!(reasons(&shuffled), [("unexplained".to_owned(), u64::from(MANY))], "{name}, {seed}");
            }
        }
    }
}

#[test]
fn with_the_clusters_events_an_hour_away_every_slow_request_is_unexplained() {
    // What was usual before the fault is not the cluster's to tell.
    for Case { name, mut record, .. } in cases().into_iter().filter(|case| case.reason != Slowness::SlowBefore) {
        for event in &mut record.events {
            if matches!(event.what, What::Pod(_) | What::Endpoint(_) | What::Node(_)) {
                event.at_us += at(3_600.0);
            }
        }
        record.events.sort_by_key(|event| event.at_us);
        assert_eq!(reasons(&record), [("unexplained".to_owned(), u64::from(MANY))], "{name}");
    }
}

#[test]
fn a_request_that_evenkeel_itself_held_up_is_slow_for_no_reason_of_the_services() {
    let mut scene = scene(cold, of_pod(NEW_POD, 10.0));
    let late = scene.slow(NEW_POD, 10.5, 0.4);
    late.sent_us += 150_000;
    scene.slow(NEW_POD, 11.05, 0.4);
    scene.late(110, 200_000);
    let slow = judged(&scene, 300).slow;
    let of_lane = &slow.lanes["new"];
    assert_eq!((of_lane.described, of_lane.tainted, of_lane.by_reason["cold-pod"]), (7, 2, 5));
    let tainted: Vec<f64> = slow.requests.iter().filter(|one| one.reason == "tainted").map(|one| one.due_ms).collect();
    assert_eq!(tainted, [10_500.0, 11_050.0]);
}

#[test]
fn the_slowest_are_told_one_by_one_and_the_rest_is_counted() {
    let mut scene = Scene::three_pods();
    for n in 0..150 {
        scene.slow(PODS[1], 6.0 + 0.02 * f64::from(n), if n < 40 { 0.2 } else { 0.3 });
    }
    let slow = judged(&scene, 300).slow;
    assert_eq!((slow.requests.len(), slow.more), (SLOW_MAX, 50));
    assert!(slow.requests.iter().all(|one| (one.took_ms - 300.0).abs() < 0.01), "{:?}", slow.requests);
    assert!(slow.requests.is_sorted_by_key(|one| one.due_ms), "in order");
    let of_lane = &slow.lanes["new"];
    assert_eq!((of_lane.described, of_lane.by_reason["unexplained"]), (150, 150));
    assert_eq!(of_lane.answered_late, 200, "as many as the histograms have");
}

#[test]
fn a_lane_without_a_bound_of_its_own_is_slow_from_the_smallest_that_is_about_it_or_a_second() {
    let bound = |at_most: &str, lane: Option<&str>| json!({ "latency": { "percentile": "p99", "atMost": at_most, "lane": lane } });
    for (expect, [new, reused]) in [
        (json!([{ "lost": { "atMost": 0 } }]), [1_000.0, 1_000.0]),
        (json!([bound("300ms", Some("new"))]), [300.0, 1_000.0]),
        (json!([bound("300ms", Some("new")), bound("500ms", None), bound("2s", Some("reused"))]), [300.0, 500.0]),
    ] {
        let mut scene = Scene::three_pods().expecting(&expect);
        scene.slow(PODS[0], 10.0, 3.0);
        "reused".clone_into(&mut scene.slow(PODS[0], 10.0, 3.0).lane);
        let lanes = judge(&scene.record()).slow.lanes;
        for (lane, wanted) in [("new", new), ("reused", reused)] {
            assert!((lanes[lane].slower_than_ms - wanted).abs() < 0.001, "{lane}: {expect}: {lanes:?}");
        }
    }
}

#[test]
fn a_bound_that_is_kept_is_no_finding() {
    let verdict = judged(&Scene::three_pods(), 90);
    assert_eq!((verdict.expectations[0].held, finding(&verdict)), (Some(true), None));
    assert!(verdict.slow.is_empty(), "{:?}", verdict.slow);
}

#[test]
fn slow_requests_that_are_only_counted_are_said_to_be_so() {
    let evidence = evidence(&Scene::three_pods());
    for words in [
        "200 of 3000 requests took longer than 100ms",
        "in 20 intervals, from 10.00 s to 12.00 s: 200 during fault",
        "200 were answered, and none of these is described one by one",
    ] {
        assert!(evidence.contains(words), "{words}: {evidence}");
    }
}

#[test]
fn a_finding_has_the_reasons_with_their_number_times_and_pods_and_an_example() {
    let mut scene = scene(cold, of_pod(NEW_POD, 10.0));
    scene.slow(PODS[1], 11.0, 0.3);
    // Faster than the bound of the finding, and another lane.
    scene.slow(PODS[1], 11.1, 0.09);
    "reused".clone_into(&mut scene.slow(PODS[1], 11.2, 0.3).lane);
    let verdict = judged(&scene, 300);
    let finding = finding(&verdict).unwrap();
    let evidence = finding.evidence.join("\n");
    for words in [
        "6 of those that were answered late are described: 5 cold-pod, 1 unexplained; 194 more only counted",
        "cold-pod: 5 from 10.00 s to 10.44 s: the pod had become a ready endpoint less than 10 s before",
        "pod shop-7d9f-d became a ready endpoint at 9.05 s",
        "unexplained: 1 from 11.00 s to 11.30 s: nothing that was seen of the cluster explains it",
        "for one: due in lane new at 10.00 s, answered by pod shop-7d9f-d after 0.40 s, 120 bytes over a connection \
         2.00 s old that had carried 40 requests; cold-pod: pod shop-7d9f-d became a ready endpoint at 9.05 s",
        "for one: due in lane new at 11.00 s",
    ] {
        assert!(evidence.contains(words), "{words}: {evidence}");
    }
    assert!(finding.advice.contains("once the process is warm"), "{}", finding.advice);
}

#[test]
fn a_first_packet_that_was_lost_for_no_known_reason_is_told_all_the_same() {
    let evidence = evidence(&scene(|_| (), connected(10.1, 1.01)));
    for words in [
        "5 of them waited a second or more for their connection to be accepted, so a first packet was lost",
        "over a new connection, accepted after 1.01 s; unexplained",
    ] {
        assert!(evidence.contains(words), "{words}: {evidence}");
    }
}

#[test]
fn requests_that_were_lost_late_are_slow_by_the_cause_of_their_loss() {
    let mut scene = Scene::three_pods();
    scene.crash(PODS[0], 10.0);
    for n in 0..20 {
        scene.lose_reused(Outcome::RequestTimeout, PODS[0], 10.0 + 0.1 * f64::from(n)).lane = "new".to_owned();
    }
    let verdict = judged(&scene, 300);
    let finding = finding(&verdict).unwrap();
    assert!(finding.evidence.join("\n").contains("20 of them were lost: 20 container-crashed"), "{finding:?}");
    assert!(finding.advice.contains("causes of the lost requests first"), "{}", finding.advice);
    assert_eq!(verdict.slow.lanes["new"].answered_late, 180, "without the lost");
}
