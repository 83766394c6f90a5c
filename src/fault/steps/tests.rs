use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;
use crate::fault::{
    scripted::{Call, Setting, list, node, not_found, pod, setting},
    undo::Undo,
};

fn steps(json: Value) -> Vec<Step> {
    serde_json::from_value(json).unwrap()
}

fn changes(setting: &mut Setting) -> Vec<(String, String, StepState)> {
    let changes = setting.recorded().into_iter().filter_map(|what| match what {
        What::Step(change) => Some((change.path, change.name, change.state)),
        _ => None,
    });
    changes.collect()
}

fn line(path: &str, name: &str, state: StepState) -> (String, String, StepState) {
    (path.into(), name.into(), state)
}

/// One node that can be cordoned and uncordoned.
fn one_node(mut cordoned: bool) -> impl FnMut(&Call) -> (u16, Value) + Send + 'static {
    move |call| match (call.method.as_str(), call.path.as_str()) {
        ("GET", "/api/v1/nodes") => list(&[node("w1", cordoned)]),
        ("GET", "/api/v1/nodes/w1") => (200, node("w1", cordoned)),
        ("PATCH", "/api/v1/nodes/w1") => {
            cordoned = call.body["spec"]["unschedulable"] == true;
            (200, node("w1", cordoned))
        }
        _ => not_found(),
    }
}

#[tokio::test(start_paused = true)]
async fn steps_run_in_turn_and_parallel_ones_together_each_with_its_place() {
    use StepState::{Begun, Done, Effective};
    let mut setting = setting(|_| not_found());
    let begun = Instant::now();
    let list = steps(json!([
        {"wait": {"time": "1s", "name": "calm"}},
        {"parallel": [{"wait": {"time": "5s"}}, {"sequence": [{"wait": {"time": "2s"}}, {"wait": {"time": "1s"}}]}]}
    ]));
    run_steps(&list, &setting.stage).await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 6);
    let seen = changes(&mut setting);
    assert_eq!(seen[..3], [line("1", "calm", Begun), line("1", "calm", Effective), line("1", "calm", Done)]);
    assert!(seen.contains(&line("2.2.2", "wait", Done)));
    assert_eq!(seen.last(), Some(&line("2", "parallel", Done)));
}

#[tokio::test(start_paused = true)]
async fn a_parallel_step_that_fails_breaks_the_others_off_and_its_error_counts() {
    let mut setting = setting(one_node(false));
    let begun = Instant::now();
    let list = steps(json!([
        {"parallel": [{"wait": {"time": "10m"}}, {"cordon": {"nodes": {"names": ["nowhere"]}}}]},
        {"wait": {"time": "1s"}}
    ]));
    let error = run_steps(&list, &setting.stage).await.unwrap_err();
    assert!(error.to_string().contains("nowhere"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(1));
    let seen = changes(&mut setting);
    assert!(seen.contains(&line("1.1", "wait", StepState::Aborted)));
    assert!(seen.contains(&line("1.2", "cordon", StepState::Begun)), "a step that fails early has a beginning too");
    assert!(seen.contains(&line("1", "parallel", StepState::Failed)));
    assert!(!seen.iter().any(|(path, ..)| path == "2"), "nothing comes after a failure");
    assert!(!setting.stage.abort.requested(), "the run itself was not aborted");
}

#[tokio::test(start_paused = true)]
async fn an_abort_ends_every_kind_of_wait_at_once() {
    let waits = [
        json!({"time": "10m"}),
        json!({"rollout": "deployment/shop", "within": "10m"}),
        json!({"podsReady": {"selector": {"app": "shop"}, "count": 3}, "within": "10m"}),
        json!({"podsGone": {"app": "shop"}, "within": "10m"}),
    ];
    for wait in waits {
        let mut setting = setting(|call| {
            let mut pod = pod("shop-1", "1", "w1");
            pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            if call.path.ends_with("/pods") { list(&[pod]) } else { (200, json!({"metadata": {"generation": 2}})) }
        });
        let list = steps(json!([{"wait": wait}]));
        let begun = Instant::now();
        let (result, ()) = tokio::join!(run_steps(&list, &setting.stage), async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            setting.abort.abort();
        });
        assert!(matches!(result, Err(StepError::Aborted { .. })), "{wait} {result:?}");
        assert_eq!(begun.elapsed().as_secs(), 3, "{wait}");
        assert_eq!(changes(&mut setting).last().unwrap().2, StepState::Aborted);
    }
}

#[tokio::test(start_paused = true)]
async fn a_nodes_state_from_before_is_what_it_returns_to_whatever_steps_do() {
    // Cordoned before; the steps; cordoned in the end; the undo that is registered.
    let to_schedulable = || Undo::Uncordon { node: "w1".into() };
    let to_cordoned = || Undo::Cordon { node: "w1".into() };
    let table = [
        (false, vec!["cordon"], vec![to_schedulable()]),
        (false, vec!["cordon", "uncordon"], vec![to_schedulable()]),
        (true, vec!["cordon"], vec![]),
        (true, vec!["uncordon"], vec![to_cordoned()]),
        (true, vec!["uncordon", "cordon"], vec![to_cordoned()]),
        (false, vec!["uncordon"], vec![]),
    ];
    for (before, verbs, registered) in table {
        let setting = setting(one_node(before));
        let list: Vec<Value> = verbs.iter().map(|verb| json!({*verb: {"nodes": {"names": ["w1"]}}})).collect();
        run_steps(&steps(json!(list)), &setting.stage).await.unwrap();
        assert_eq!(setting.stage.undo.left(), registered, "{before} {verbs:?}");
        assert!(setting.stage.undo.undo_all().await.complete);
        let patches = setting.log.of("PATCH");
        let now = patches.last().map_or(before, |call| call.body["spec"]["unschedulable"] == true);
        assert_eq!(now, before, "{verbs:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deleted_pod_is_named_by_its_uid_and_forced_only_when_asked() {
    for (force, grace) in [(false, Value::Null), (true, json!(0))] {
        let mut deleted = false;
        let mut setting = setting(move |call| {
            deleted |= call.method == "DELETE";
            let replacement = pod("shop-2", "2", "w1");
            match call.path.as_str() {
                "/api/v1/nodes" => list(&[]),
                "/api/v1/namespaces/app/pods" if deleted => list(&[replacement]),
                "/api/v1/namespaces/app/pods" => list(&[pod("shop-1", "1", "w1")]),
                _ if call.method == "GET" && deleted => not_found(),
                _ => (200, pod("shop-1", "1", "w1")),
            }
        });
        let list = steps(json!([{"deletePods": {"selector": {"app": "shop"}, "force": force}}]));
        run_steps(&list, &setting.stage).await.unwrap();
        let body = &setting.log.of("DELETE /api/v1/namespaces/app/pods/shop-1")[0].body;
        assert_eq!((&body["preconditions"]["uid"], &body["gracePeriodSeconds"]), (&json!("1"), &grace));
        let states: Vec<StepState> = changes(&mut setting).into_iter().map(|(.., state)| state).collect();
        assert_eq!(states, [StepState::Begun, StepState::Effective, StepState::Done]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_would_not_come_back_is_deleted_only_in_a_namespace_of_ours() {
    for ours in [false, true] {
        let mut deleted = false;
        let mut setting = setting(move |call| {
            deleted |= call.method == "DELETE";
            let mut bare = pod("shop-1", "1", "w1");
            bare["metadata"]["ownerReferences"] = json!([]);
            match call.path.as_str() {
                "/api/v1/nodes" => list(&[]),
                "/api/v1/namespaces/app/pods" if deleted => list(&[]),
                "/api/v1/namespaces/app/pods" => list(&[bare]),
                _ if call.method == "GET" && deleted => not_found(),
                _ => (200, bare),
            }
        });
        setting.stage.namespace_is_ours = ours;
        let list = steps(json!([{"deletePods": {"selector": {"app": "shop"}}}]));
        let result = run_steps(&list, &setting.stage).await;
        assert_eq!(result.is_ok(), ours, "{result:?}");
        assert_eq!(setting.log.of("DELETE").len(), usize::from(ours));
    }
}

/// Two nodes of which one runs the only ready pod of a Deployment.
fn last_replica(call: &Call) -> (u16, Value) {
    let deployment = json!({"metadata": {"name": "shop"}, "spec": {"replicas": 1, "selector": {"matchLabels":
        {"app": "shop"}}, "template": {"metadata": {"labels": {"app": "shop"}}}}});
    match call.path.as_str() {
        "/api/v1/nodes" => list(&[node("w1", false), node("w2", false)]),
        "/api/v1/namespaces/app/pods" => list(&[pod("shop-1", "1", "w1")]),
        "/apis/apps/v1/namespaces/app/deployments" => list(&[deployment]),
        path if path.ends_with("sets") => list(&[]),
        path if path.ends_with("/pods/shop-1") => (200, pod("shop-1", "1", "w1")),
        _ => not_found(),
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_guard_does_not_let_pass_is_refused_before_anything_is_changed() {
    let drain = json!({"drain": {"nodes": {"names": ["w1"]}}});
    let table = [
        (json!({}), drain.clone(), "no other ready pod"),
        (json!({}), json!({"deletePods": {"selector": {"app": "shop"}}}), "no other ready pod"),
        (json!({"maxNodes": 1}), json!({"cordon": {"nodes": {"names": ["w1", "w2"]}}}), "guards.maxNodes allows 1"),
        (json!({"protectedNodes": ["w1"], "allowLastReplica": true}), drain, "guards.protectedNodes"),
    ];
    for (guards, step, expected) in table {
        let mut setting = setting(last_replica);
        setting.stage.guards = std::sync::Arc::new(serde_json::from_value(guards).unwrap());
        let error = run_steps(&steps(json!([step])), &setting.stage).await.unwrap_err();
        assert!(matches!(error, StepError::Guard(_)) && error.to_string().contains(expected), "{step}: {error}");
        assert!(setting.log.of("").iter().all(|call| call.method == "GET"), "{step}");
        assert!(setting.stage.undo.left().is_empty(), "{step}");
    }
}

/// A Deployment that reacts to patches when `reacts`.
fn deployment(reacts: bool) -> impl FnMut(&Call) -> (u16, Value) + Send + 'static {
    let (mut generation, mut replicas, mut image) = (1, 3, "web:1".to_owned());
    move |call| {
        match (call.method.as_str(), call.path.rsplit('/').next()) {
            ("PATCH", Some("scale")) => {
                replicas = call.body["spec"]["replicas"].as_i64().unwrap();
                generation += 1;
                return (200, json!({"metadata": {}, "spec": {"replicas": replicas}}));
            }
            ("PATCH", _) => {
                image = call.body["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned();
                generation += 1;
            }
            _ => {}
        }
        let seen = if reacts { generation } else { 1 };
        let status = json!({"observedGeneration": seen, "replicas": if reacts { replicas } else { 3 }});
        let template = json!({"spec": {"containers": [{"name": "web", "image": image}]}});
        let annotations = json!({"deployment.kubernetes.io/revision": seen.to_string()});
        let metadata = json!({"name": "shop", "generation": generation, "annotations": annotations});
        (200, json!({"metadata": metadata, "status": status, "spec": {"replicas": replicas, "template": template}}))
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_counts_only_once_the_controller_is_seen_to_act_on_it() {
    let changes_of = [
        json!({"rollingUpdate": {"workload": "deployment/shop", "image": "web:2"}}),
        json!({"scale": {"workload": "deployment/shop", "replicas": 1}}),
    ];
    for step in changes_of {
        let mut answering = setting(deployment(true));
        run_steps(&steps(json!([step])), &answering.stage).await.unwrap();
        let states: Vec<StepState> = changes(&mut answering).into_iter().map(|(.., state)| state).collect();
        assert_eq!(states, [StepState::Begun, StepState::Effective, StepState::Done], "{step}");

        let mut deaf = setting(deployment(false));
        let error = run_steps(&steps(json!([step])), &deaf.stage).await.unwrap_err();
        assert!(matches!(error, StepError::NoReceipt { .. }), "{error}");
        let states: Vec<StepState> = changes(&mut deaf).into_iter().map(|(.., state)| state).collect();
        assert_eq!(states, [StepState::Begun, StepState::Failed], "{step}");
        assert_eq!(deaf.stage.undo.left().len(), 1, "what was changed is undone all the same");
    }
}

#[tokio::test(start_paused = true)]
async fn a_scale_to_the_number_that_is_there_is_refused() {
    let setting = setting(deployment(true));
    let list = steps(json!([{"scale": {"workload": "deployment/shop", "replicas": 3}}]));
    assert!(matches!(run_steps(&list, &setting.stage).await, Err(StepError::NoEffect { .. })));
    assert!(setting.log.of("PATCH").is_empty());
    assert!(setting.stage.undo.left().is_empty());
}
