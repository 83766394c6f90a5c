use serde_json::json;

use super::*;
use crate::{
    fault::scripted::{self, Call, Setting, budget_exhausted, failure, not_found, setting},
    record::event::EvictionAnswer as Answer,
};

fn leaver() -> Leaver {
    Leaver {
        namespace: "app".into(),
        name: "shop-1".into(),
        uid: "u1".into(),
        node: "worker".into(),
        terminating: false,
    }
}

fn in_seconds(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

fn evictions(setting: &mut Setting) -> Vec<(u32, Answer)> {
    let seen = setting.recorded().into_iter().filter_map(|what| match what {
        What::Eviction(eviction) => Some((eviction.attempt, eviction.answer)),
        _ => None,
    });
    seen.collect()
}

/// Answers evictions in this order and says afterwards that the pod is gone.
fn answering(mut answers: Vec<(u16, Value)>) -> impl FnMut(&Call) -> (u16, Value) + Send {
    answers.reverse();
    move |call| if call.method == "POST" { answers.pop().expect("one request more than answers") } else { not_found() }
}

fn accepted() -> (u16, Value) {
    (201, json!({"kind": "Status", "status": "Success", "code": 201}))
}

#[tokio::test(start_paused = true)]
async fn one_refusal_on_the_wire_is_one_refusal_in_the_record_and_the_next_comes_five_seconds_later() {
    let mut setting = setting(answering(vec![budget_exhausted(), budget_exhausted(), accepted()]));
    evict(&setting.stage, &leaver(), None, in_seconds(60)).await.unwrap();
    let posts = setting.log.of("POST");
    let at: Vec<f64> = posts.iter().map(|call| call.at_s.round()).collect();
    assert_eq!(at, [0.0, 5.0, 10.0]);
    let seen = evictions(&mut setting);
    assert_eq!(seen.iter().map(|(attempt, _)| *attempt).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(
        matches!(&seen[0].1, Answer::BudgetExhausted { message } if message.contains("needs 3 healthy pods and has 3"))
    );
    assert_eq!(seen[2].1, Answer::Accepted);
}

#[tokio::test(start_paused = true)]
async fn an_eviction_carries_its_options_under_the_key_that_the_api_knows() {
    let setting = setting(answering(vec![accepted()]));
    evict(&setting.stage, &leaver(), Some(7), in_seconds(60)).await.unwrap();
    let posts = setting.log.of("POST /api/v1/namespaces/app/pods/shop-1/eviction");
    assert_eq!(
        posts[0].body,
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "shop-1", "namespace": "app"},
            "deleteOptions": {"gracePeriodSeconds": 7}})
    );
}

#[tokio::test(start_paused = true)]
async fn each_answer_has_the_consequence_that_it_has_in_kubectl() {
    let two = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
    let terminating = ("NamespaceTerminating", "namespace app is being terminated");
    let mut busy = failure(429, "Cannot evict pod", &[("DisruptionBudget", "shop is still being processed")]);
    busy.1["details"]["retryAfterSeconds"] = json!(10);
    // The answer, what is recorded, and when the next request comes; `None` where there is none.
    let table = [
        (accepted(), Answer::Accepted, None),
        (not_found(), Answer::Gone, None),
        (busy, Answer::StillProcessing { retry_after_s: 10 }, Some(10.0)),
        (failure(403, "no", &[terminating]), Answer::NamespaceTerminating, Some(5.0)),
        (failure(500, two, &[]), Answer::Refused { code: 500, message: two.into() }, None),
        (failure(403, "no right", &[]), Answer::Refused { code: 403, message: "no right".into() }, None),
        // The server's own flow control, which is no budget.
        (failure(429, "too many", &[]), Answer::Refused { code: 429, message: "too many".into() }, Some(5.0)),
    ];
    for (answer, recorded, next) in table {
        let mut setting = setting(answering(vec![answer, accepted()]));
        drop(evict(&setting.stage, &leaver(), None, in_seconds(60)).await);
        assert_eq!(setting.log.of("POST").get(1).map(|call| call.at_s.round()), next, "{recorded:?}");
        assert_eq!(evictions(&mut setting)[0].1, recorded);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_terminates_with_its_namespace_is_waited_for_and_not_evicted_again() {
    let mut looks = 0;
    let setting = setting(move |call| {
        if call.method == "POST" {
            return failure(403, "no", &[("NamespaceTerminating", "")]);
        }
        looks += 1;
        let mut pod = scripted::pod("shop-1", "u1", "worker");
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        if looks < 3 { (200, pod) } else { not_found() }
    });
    evict(&setting.stage, &leaver(), None, in_seconds(60)).await.unwrap();
    // Once not knowing that it terminates, and once knowing.
    assert_eq!(setting.log.of("POST").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_wait_looks_at_once_and_then_each_second_until_another_pod_has_the_name() {
    let mut looks = 0;
    let setting = setting(move |_| {
        looks += 1;
        (200, scripted::pod("shop-1", if looks < 4 { "u1" } else { "u2" }, "worker"))
    });
    wait_until_gone(&setting.stage, &leaver(), in_seconds(60)).await.unwrap();
    let at: Vec<f64> = setting.log.of("GET").iter().map(|call| call.at_s.round()).collect();
    assert_eq!(at, [0.0, 1.0, 2.0, 3.0]);
}

#[tokio::test(start_paused = true)]
async fn the_time_is_looked_at_before_each_request_only_so_the_pause_is_ended() {
    let setting = setting(|_| budget_exhausted());
    let begun = Instant::now();
    let left = evict(&setting.stage, &leaver(), None, in_seconds(12)).await.unwrap_err();
    assert!(matches!(&left, WhyLeft::Refused { times: 3, last } if last.contains("needs 3")), "{left:?}");
    assert_eq!(begun.elapsed().as_secs(), 15);
}

#[tokio::test(start_paused = true)]
async fn an_abort_ends_the_pause() {
    let setting = setting(|_| budget_exhausted());
    let evicting = leaver();
    let (left, ()) = tokio::join!(evict(&setting.stage, &evicting, None, in_seconds(60)), async {
        tokio::time::sleep(Duration::from_secs(7)).await;
        setting.abort.abort();
    });
    assert!(matches!(left, Err(WhyLeft::Aborted)));
    assert_eq!(setting.log.of("POST").len(), 2);
}
