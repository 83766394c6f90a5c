//! Each kind of expectation: where it holds, where it doesn't, and where it cannot be told.

use serde_json::{Value, json};

use super::builder::Scene;
use crate::{
    experiment::{traffic::LaneStream, units::Span},
    judge::{
        judge,
        verdict::{Answer, Expected},
    },
    record::event::{EvictionAnswer, Outcome, RetrySafe, StepState, What},
};

fn measured(scene: Scene, expect: &Value) -> Expected {
    judge(&scene.expecting(&json!([expect])).record()).expectations.remove(0)
}

fn losing() -> Scene {
    let mut scene = Scene::three_pods();
    scene.lose_many(Outcome::Refused, 10.0, 12);
    scene
}

#[test]
fn lost_requests_are_counted_in_their_lane_and_phase() {
    let table = [
        (json!({ "atMost": 11 }), Some(false), "lost requests"),
        (json!({ "atMost": 12 }), Some(true), "lost requests"),
        (json!({ "share": "0.1%" }), Some(false), "lost requests"),
        (json!({ "share": "0.2%" }), Some(true), "lost requests"),
        (json!({ "atMost": 0, "lane": "new" }), Some(false), "lost requests in lane new"),
        (json!({ "atMost": 0, "lane": "reused" }), Some(true), "lost requests in lane reused"),
        (json!({ "atMost": 0, "phase": "fault" }), Some(false), "lost requests during fault"),
        (json!({ "atMost": 0, "phase": "after" }), Some(true), "lost requests during after"),
        (
            json!({ "atMost": 0, "lane": "new", "phase": "fault" }),
            Some(false),
            "lost requests in lane new during fault",
        ),
    ];
    for (expect, held, name) in table {
        let expected = measured(losing(), &json!({ "lost": expect }));
        assert_eq!((expected.held, expected.name.as_str()), (held, name), "{expect}: {}", expected.measured);
    }
    assert_eq!(measured(losing(), &json!({ "lost": { "atMost": 3 } })).measured, "12 of 6000 (0.200 %)");
}

/// What broke off once it had been sent is sent again only over HTTP, where all are GET.
#[test]
fn a_client_that_sends_again_loses_what_it_must_not_send_again() {
    for (protocol, safe, wanted) in [
        ("http1", RetrySafe::Yes, 0),
        ("http1", RetrySafe::Idempotent, 0),
        ("http1", RetrySafe::No, 1),
        ("http2", RetrySafe::Idempotent, 0),
        ("grpc", RetrySafe::Yes, 0),
        ("grpc", RetrySafe::Idempotent, 1),
        ("webSocket", RetrySafe::Idempotent, 1),
        ("tcp", RetrySafe::Idempotent, 1),
    ] {
        let mut scene = Scene::three_pods();
        scene.experiment.spec.load[0].protocol = serde_json::from_value(json!(protocol)).unwrap();
        scene.lose(Outcome::ResetBeforeByte, 10.0).retry_safe = safe;
        let requests = judge(&scene.record()).requests;
        assert_eq!((requests.lost, requests.lost_after_retry), (1, wanted), "{protocol} {safe:?}");
    }
}

/// Nobody answers for five seconds: who waits for two has an answer to what was due in the last two of them.
#[test]
fn a_client_that_sends_again_gives_up_at_its_timeout() {
    let mut scene = Scene::three_pods();
    for n in 0..500 {
        scene.lose(Outcome::Refused, 10.0 + 0.01 * f64::from(n));
    }
    let requests = judge(&scene.record()).requests;
    assert_eq!((requests.lost, requests.lost_after_retry), (500, 301));
}

#[test]
fn a_bound_on_the_loss_rate_needs_enough_requests_to_be_told() {
    let table = [
        // 6,000 requests without a loss: below 0.0499 %.
        (Scene::three_pods(), "0.05%", Some(true)),
        (Scene::three_pods(), "0.04%", None),
        // 12 of 6,000: between 0.115 % and 0.324 %.
        (losing(), "0.4%", Some(true)),
        (losing(), "0.2%", None),
        (losing(), "0.1%", Some(false)),
    ];
    for (scene, bound, held) in table {
        let expected = measured(scene, &json!({ "lost": { "bound95": bound } }));
        assert_eq!(expected.held, held, "{bound}: {}", expected.measured);
        assert!(expected.measured.contains("at 95 %"), "{}", expected.measured);
    }
    let verdict = judge(&Scene::three_pods().expecting(&json!([{ "lost": { "bound95": "0.01%" } }])).record());
    assert!(verdict.reasons[0].contains("at least 29956 without a loss are needed"), "{:?}", verdict.reasons);
}

#[test]
fn no_loss_in_too_few_requests_says_nothing() {
    let short = |end: f64| {
        let mut scene = Scene::three_pods();
        scene.end = end;
        scene
    };
    let expect = json!({ "lost": { "atMost": 0, "lane": "new", "phase": "before" } });
    assert_eq!(measured(short(2.9), &expect).held, None);
    assert_eq!(measured(short(3.0), &expect).held, Some(true));
    assert_eq!(measured(short(3.0), &json!({ "lost": { "atMost": 0, "phase": "after" } })).held, None);
    for some in [json!({ "atMost": 1 }), json!({ "share": "1%" })] {
        let expect = json!({ "lost": some });
        assert_eq!(measured(short(1.4), &expect).held, None, "{some}: 280 requests");
        assert_eq!(measured(short(1.5), &expect).held, Some(true), "{some}: 300 requests");
    }
    let mut losing = short(1.4);
    losing.lose_many(Outcome::Refused, 0.2, 3);
    assert_eq!(measured(losing, &json!({ "lost": { "atMost": 1 } })).held, Some(false), "too many are too many");
}

#[test]
fn a_percentile_is_held_against_its_bound() {
    let table = [
        ("p50", "5ms", Some(false)),
        ("p50", "6ms", Some(true)),
        ("p99", "9ms", Some(false)),
        ("p99", "11ms", Some(true)),
        ("max", "11ms", Some(true)),
    ];
    for (percentile, most, held) in table {
        let expect = json!({ "latency": { "percentile": percentile, "atMost": most } });
        assert_eq!(measured(Scene::three_pods(), &expect).held, held, "{percentile} {most}");
    }
}

#[test]
fn a_percentile_needs_three_requests_beyond_it_to_be_told() {
    let of = |requests: u32, percentile: &str, most: &str| {
        let mut short = Scene::three_pods();
        short.end = f64::from(requests) / 200.0;
        measured(short, &json!({ "latency": { "percentile": percentile, "atMost": most } })).held
    };
    for (percentile, too_few, enough) in [("p99", 280, 300), ("p999", 2_980, 3_000), ("max", 280, 300)] {
        assert_eq!(of(too_few, percentile, "1s"), None, "{percentile} of {too_few}");
        assert_eq!(of(enough, percentile, "1s"), Some(true), "{percentile} of {enough}");
    }
    // Ten requests of each interval take from 1 to 10 ms: few of them already tell that too many are slower.
    for (requests, percentile, most, held) in [
        (40, "p99", "9ms", Some(false)),
        (40, "max", "9ms", Some(false)),
        (40, "p90", "10ms", Some(true)),
        (20, "p90", "10ms", None),
    ] {
        assert_eq!(of(requests, percentile, most), held, "{percentile} of {requests} within {most}");
    }
}

#[test]
fn the_longest_outage_is_held_against_its_bound() {
    for (most, held) in [("300ms", Some(false)), ("400ms", Some(true))] {
        assert_eq!(measured(losing(), &json!({ "outage": { "atMost": most } })).held, held, "{most}");
    }
    let reused = |most: &str| measured(losing(), &json!({ "outage": { "atMost": most, "lane": "reused" } })).held;
    assert_eq!((reused("10ms"), reused("9ms"), reused("1ms")), (Some(true), None, None), "a request every 10 ms");
}

#[test]
fn a_cut_stream_is_an_outage_of_no_length_and_a_loss_all_the_same() {
    for (most, held) in [("0s", Some(false)), ("10ms", Some(true))] {
        let mut scene = Scene::three_pods().expecting(&json!([{ "outage": { "atMost": most } }]));
        let span = Span::from_millis(1_000);
        scene.experiment.spec.load[0].stream = Some(LaneStream { r#for: span, idle: span });
        scene.lose(Outcome::CutMidAnswer, 10.0).status = Some(200);
        let expected = judge(&scene.record()).expectations.remove(0);
        assert_eq!((expected.held, expected.measured.as_str()), (held, "0 ms"), "{most}");
    }
}

/// What lies between two requests is not seen, however many there are of them.
#[test]
fn an_outage_shorter_than_the_time_between_two_requests_cannot_be_told() {
    let sparse = |share: u64| {
        let mut record = Scene::three_pods().expecting(&json!([{ "outage": { "atMost": "50ms" } }])).record();
        for event in &mut record.events {
            if let What::Load(counts) = &mut event.what {
                let asked = counts.lane == "new" || (counts.start_us / 100_000) % 10 < 1;
                counts.by_outcome.insert(Outcome::Ok, if asked { 10 } else { share });
            }
        }
        judge(&record)
    };
    assert_eq!(sparse(5).verdict, Answer::Held);
    let verdict = sparse(0);
    assert_eq!(verdict.expectations[0].held, None);
    assert!(
        verdict.reasons[0].contains("lane reused sent a request only every 100 ms")
            && verdict.reasons[0].contains("20/s"),
        "{:?}",
        verdict.reasons
    );
}

#[test]
fn that_there_is_no_outage_at_all_is_told_as_that_nothing_is_lost() {
    let expect = json!({ "outage": { "atMost": "0s" } });
    let mut short = Scene::three_pods();
    short.end = 2.9;
    assert_eq!(measured(short, &expect).held, None);
    assert_eq!(measured(Scene::three_pods(), &expect).held, Some(true));
    assert_eq!(measured(losing(), &expect).held, Some(false));
}

/// One pod of three is evicted at 10 s while the budget asks for so many; its replacement is ready at 13 s.
fn evicting(desired: i32) -> Scene {
    let mut scene = Scene::three_pods();
    scene.budget(-5.0, 3, desired);
    scene.eviction(9.0, "shop-7d9f-a", 1, EvictionAnswer::BudgetExhausted { message: "no".to_owned() });
    scene.start("shop-7d9f-d", "n3", [10.0, 11.0, 13.0]);
    scene.delete("shop-7d9f-a", 10.0, [15.2, 16.5], true);
    scene
}

#[test]
fn a_budget_is_broken_when_fewer_pods_are_healthy_than_it_asks_for() {
    let expect = json!({ "budget": { "name": "shop" } });
    let kept = measured(evicting(2), &expect);
    assert_eq!(kept.held, Some(true));
    assert_eq!(kept.measured, "at the least 2 healthy where 2 were asked for, at 10.00 s; 1 evictions refused");
    assert_eq!(measured(evicting(3), &expect).held, Some(false));
    let verdict = judge(&evicting(3).record());
    assert_eq!(verdict.findings[0].id, "budget-broken");
    assert_eq!(measured(Scene::three_pods(), &expect).held, None, "never seen");
}

#[test]
fn a_budget_is_not_broken_by_what_came_before_the_load_or_after_it() {
    let expect = json!({ "budget": { "name": "shop" } });
    let mut scene = evicting(2);
    scene.delete("shop-7d9f-b", 31.0, [31.5, 33.0], false);
    scene.delete("shop-7d9f-c", 31.0, [31.5, 33.0], false);
    scene.budget(-11.0, 0, 2);
    assert_eq!(measured(scene, &expect).held, Some(true));
}

#[test]
fn a_budget_is_not_about_the_pods_of_another_namespace() {
    let expect = json!({ "budget": { "name": "shop" } });
    let mut scene = evicting(3);
    scene.pod(-3.0, "elsewhere", |pod| {
        "other".clone_into(&mut pod.namespace);
        pod.ready = true;
    });
    assert_eq!(measured(scene, &expect).held, Some(false));
}

#[test]
fn a_budget_whose_number_goes_down_with_a_scale_down_is_not_broken() {
    let expect = json!({ "budget": { "name": "shop" } });
    let mut scene = evicting(3);
    scene.budget(10.3, 2, 2);
    assert_eq!(measured(scene.clone(), &expect).held, Some(true));
    scene.events.retain(|event| !matches!(&event.what, What::Budget(budget) if budget.desired_healthy == 2));
    scene.budget(14.0, 2, 2);
    assert_eq!(measured(scene, &expect).held, Some(false), "4 s later is too late");
}

#[test]
fn a_step_is_held_against_its_time() {
    for (step, within, held) in [("drain", "11s", Some(true)), ("drain", "9s", Some(false)), ("cordon", "9s", None)] {
        let expect = json!({ "finished": { "step": step, "within": within } });
        assert_eq!(measured(Scene::three_pods(), &expect).held, held, "{step} {within}");
    }
    let mut open = Scene::three_pods();
    open.events.retain(|event| !matches!(&event.what, What::Step(step) if step.state == StepState::Done));
    let expect = |within: &str| json!({ "finished": { "step": "drain", "within": within } });
    assert_eq!(measured(open.clone(), &expect("9s")).held, Some(false));
    assert_eq!(measured(open, &expect("60s")).held, None, "the run ended before it could be told");
}

#[test]
fn recovery_is_measured_from_the_end_of_the_last_fault() {
    let scene = |last_loss: f64, complete: f64| {
        let mut scene = Scene::three_pods();
        scene.workload(10.0, 3, 2);
        scene.workload(complete, 3, 3);
        scene.lose(Outcome::Refused, last_loss);
        scene
    };
    let expect = json!({ "recovered": { "within": "4s" } });
    // The drain, the last step that is not a wait, is done at 15 s.
    assert_eq!(measured(scene(16.0, 18.0), &expect).held, Some(true));
    assert_eq!(measured(scene(19.5, 18.0), &expect).held, Some(false));
    assert_eq!(measured(scene(16.0, 19.5), &expect).held, Some(false));
    let text = measured(scene(16.0, 18.0), &expect).measured;
    assert_eq!(text, "last loss 1.00 s and workloads complete 3.00 s after the last fault");
    let mut never = Scene::three_pods();
    never.workload(10.0, 3, 2);
    assert_eq!(measured(never.clone(), &expect).held, Some(false));
    assert_eq!(measured(never, &json!({ "recovered": { "within": "60s" } })).held, None);
}

#[test]
fn an_expected_finding_must_be_there() {
    let expect = json!({ "finding": { "id": "forced-delete" } });
    let mut forced = Scene::three_pods();
    forced.force("shop-7d9f-a", 10.0);
    forced.lose_many(Outcome::Refused, 10.1, 20);
    assert_eq!(measured(forced, &expect).held, Some(true));
    let other = measured(losing(), &expect);
    assert_eq!((other.held, other.measured.as_str()), (Some(false), "not found, but unexplained"));
    assert_eq!(measured(Scene::three_pods(), &expect).held, Some(false));
}
