use serde_json::{Value, json};

use super::*;
use crate::fault::scripted::{Call, list, pod, setting};

fn terminating(name: &str) -> Value {
    let mut pod = pod(name, name, "w1");
    pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:30Z");
    pod
}

fn unready(name: &str) -> Value {
    let mut pod = pod(name, name, "w1");
    pod["status"]["conditions"][0]["status"] = json!("False");
    pod["status"]["containerStatuses"] = json!([{"name": "web", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ImagePullBackOff"}}}]);
    pod
}

fn finished(name: &str) -> Value {
    let mut pod = unready(name);
    pod["status"]["phase"] = json!("Failed");
    pod
}

fn shop() -> Labels {
    Labels::from([("app".to_owned(), "shop".to_owned())])
}

async fn look(condition: &Condition, pods: &[Value]) -> Look {
    let pods = pods.to_vec();
    let setting = setting(move |call| answer(call, &pods));
    condition.look(&setting.stage.client, "app").await.unwrap()
}

/// A complete Deployment `shop`, and these pods.
fn answer(call: &Call, pods: &[Value]) -> (u16, Value) {
    if call.path.ends_with("/pods") {
        return list(pods);
    }
    let status = json!({"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1});
    let spec = json!({"replicas": 1, "selector": {"matchLabels": {"app": "shop"}}});
    (200, json!({"metadata": {"name": "shop", "generation": 2}, "spec": spec, "status": status}))
}

#[tokio::test]
async fn pods_are_ready_when_enough_are_and_none_is_not() {
    let ready = |name: &str| pod(name, name, "w1");
    let table = [
        (vec![ready("a"), ready("b")], true),
        (vec![ready("a")], false),
        (vec![ready("a"), ready("b"), unready("c")], false),
        (vec![ready("a"), ready("b"), terminating("c")], true),
        (vec![ready("a"), terminating("b")], false),
        // It will never be ready, and nobody waits for it.
        (vec![ready("a"), ready("b"), finished("c")], true),
        (vec![], false),
    ];
    for (pods, holds) in table {
        let seen = look(&Condition::PodsReady(shop(), 2), &pods).await;
        assert_eq!(matches!(seen, Look::Holds(_)), holds, "{seen:?}");
    }
}

#[tokio::test]
async fn a_wait_that_was_not_met_names_the_pods_and_why() {
    let Look::NotYet(state) = look(&Condition::PodsReady(shop(), 2), &[unready("a"), pod("b", "b", "w1")]).await else {
        panic!("it holds")
    };
    assert_eq!(state, "1 of 2 ready; not ready: a (ImagePullBackOff)");
}

#[tokio::test]
async fn a_complete_deployment_is_not_rolled_out_while_an_old_pod_terminates() {
    let rolled_out = Condition::RolledOut("deployment/shop".parse().unwrap());
    let mut stranger = terminating("x");
    stranger["metadata"]["ownerReferences"][0]["name"] = json!("shopping-1");
    let table = [
        (vec![pod("a", "a", "w1")], true),
        (vec![pod("a", "a", "w1"), terminating("old")], false),
        // The selector may match pods of nobody's or of others.
        (vec![pod("a", "a", "w1"), stranger], true),
    ];
    for (pods, holds) in table {
        let seen = look(&rolled_out, &pods).await;
        assert_eq!(matches!(seen, Look::Holds(_)), holds, "{seen:?}");
    }
}

#[tokio::test]
async fn a_pod_is_gone_when_another_has_its_name() {
    let gone = Condition::Gone(shop(), vec![("a".into(), "old".into())]);
    assert!(matches!(look(&gone, &[pod("a", "new", "w1")]).await, Look::Holds(_)));
    assert!(matches!(look(&gone, &[pod("a", "old", "w1")]).await, Look::NotYet(_)));
}

#[tokio::test(start_paused = true)]
async fn a_condition_that_does_not_come_ends_with_its_time_and_says_how_it_stood() {
    let setting = setting(|call| answer(call, &[terminating("a")]));
    let begun = Instant::now();
    let unmet = until(&setting.stage, &Condition::NonTerminating(shop()), Duration::from_secs(12)).await.unwrap_err();
    assert!(matches!(&unmet, Unmet::TimeUp(state) if state.contains("still terminating: a")), "{unmet:?}");
    assert_eq!(begun.elapsed().as_secs(), 12);
    assert!(setting.log.of("GET").len() < 10, "it does not poll: {}", setting.log.of("GET").len());
}

#[tokio::test(start_paused = true)]
async fn requests_that_fail_on_the_way_do_not_end_a_wait() {
    let mut calls = 0;
    let setting = setting(move |call| {
        calls += 1;
        if calls < 3 { (503, json!({})) } else { answer(call, &[]) }
    });
    let seen = until(&setting.stage, &Condition::NonTerminating(shop()), Duration::from_secs(60)).await;
    assert!(seen.is_ok(), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_rollout_that_does_not_come_names_the_pods_in_its_way() {
    let setting = setting(|call| {
        let (code, mut body) = answer(call, &[pod("a", "a", "w1"), unready("b")]);
        if !call.path.ends_with("/pods") {
            body["status"]["availableReplicas"] = json!(0);
        }
        (code, body)
    });
    let rolled_out = Condition::RolledOut("deployment/shop".parse().unwrap());
    let unmet = until(&setting.stage, &rolled_out, Duration::from_secs(6)).await.unwrap_err();
    let Unmet::TimeUp(text) = unmet else { panic!("{unmet:?}") };
    assert!(text.ends_with("; not ready: b (ImagePullBackOff)"), "{text}");
}
