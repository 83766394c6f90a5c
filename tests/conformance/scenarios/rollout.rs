//! Deployments: how far a rolling update may go, what it keeps, and when it says that it is done.

use serde_json::{Value, json};

use crate::{
    Scenario,
    cluster::{Ctx, condition, name, same, uid},
    scenarios,
    shapes::deployment,
};

pub fn all() -> Vec<Scenario> {
    scenarios![false:
        a_rolling_update_of_three_surges_by_one_and_misses_none,
        a_rolling_update_of_four_surges_by_one_and_misses_one,
        without_surge_one_goes_before_one_comes,
        recreate_ends_all_old_pods_before_it_begins_new_ones,
        a_paused_deployment_rolls_when_it_is_resumed,
        going_back_to_an_old_template_takes_its_replica_set_again,
        a_deadline_that_passes_is_told_and_nothing_is_rolled_back,
        old_replica_sets_beyond_the_limit_go,
        neither_surge_nor_unavailable_is_refused,
        the_selector_of_a_deployment_cannot_be_changed,
        a_pod_is_available_after_its_minimum_of_ready_seconds,
        a_finished_rollout_says_that_its_replica_set_is_available,
    ]
}

fn version(text: &str) -> Value {
    json!({"spec": {"template": {"metadata": {"annotations": {"version": text}}}}})
}

fn complete(deployment: &Value) -> bool {
    let (status, wanted) = (&deployment["status"], &deployment["spec"]["replicas"]);
    status["observedGeneration"] == deployment["metadata"]["generation"]
        && status["updatedReplicas"] == *wanted
        && status["replicas"] == *wanted
        && status["availableReplicas"] == *wanted
}

async fn replica_sets(ctx: &Ctx) -> Vec<Value> {
    ctx.list("replicasets", "labelSelector=app%3Dshop").await
}

/// Rolls a Deployment once and returns the most pods there were by spec, and the fewest available.
async fn extremes(ctx: &Ctx, replicas: u32, change: &Value) -> (i64, i64) {
    ctx.create("deployments", deployment("shop", replicas, change)).await;
    ctx.until_is("deployments", "shop", 90, complete).await;
    ctx.merge("deployments", "shop", version("2")).await.ok();
    let (mut most, mut fewest) = (0, i64::from(replicas));
    let seen = std::sync::Mutex::new((&mut most, &mut fewest));
    let look = || async {
        let sets = replica_sets(ctx).await;
        let found = ctx.get("deployments", "shop").await?;
        let total: i64 = sets.iter().map(|set| set["spec"]["replicas"].as_i64().unwrap_or(0)).sum();
        let available = found["status"]["availableReplicas"].as_i64().unwrap_or(0);
        let mut seen = seen.lock().unwrap();
        *seen.0 = total.max(*seen.0);
        *seen.1 = available.min(*seen.1);
        (complete(&found) && found["status"]["updatedReplicas"] == replicas).then_some(())
    };
    ctx.until("the rollout", 120, look).await;
    (most, fewest)
}

async fn a_rolling_update_of_three_surges_by_one_and_misses_none(ctx: Ctx) {
    same(extremes(&ctx, 3, &json!({})).await, (4, 3));
}

async fn a_rolling_update_of_four_surges_by_one_and_misses_one(ctx: Ctx) {
    let (most, fewest) = extremes(&ctx, 4, &json!({"minReadySeconds": 1})).await;
    same((most, fewest), (5, 3));
}

async fn without_surge_one_goes_before_one_comes(ctx: Ctx) {
    let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}});
    let change = json!({"strategy": strategy, "minReadySeconds": 1});
    same(extremes(&ctx, 3, &change).await, (3, 2));
}

async fn recreate_ends_all_old_pods_before_it_begins_new_ones(ctx: Ctx) {
    ctx.create("deployments", deployment("shop", 2, &json!({"strategy": {"type": "Recreate"}}))).await;
    let old: Vec<String> = ctx.ready_pods("shop", 2, 60).await.iter().map(uid).collect();
    ctx.merge("deployments", "shop", version("2")).await.ok();
    let both = std::sync::atomic::AtomicBool::new(false);
    let look = || async {
        let pods = ctx.list("pods", "labelSelector=app%3Dshop").await;
        let of_old = pods.iter().filter(|pod| old.contains(&uid(pod))).count();
        if of_old > 0 && of_old < pods.len() {
            both.store(true, std::sync::atomic::Ordering::Relaxed);
        }
        (of_old == 0 && complete(&ctx.get("deployments", "shop").await?)).then_some(())
    };
    ctx.until("the rollout", 90, look).await;
    assert!(!both.into_inner(), "old and new pods at the same time");
}

async fn a_paused_deployment_rolls_when_it_is_resumed(ctx: Ctx) {
    ctx.create("deployments", deployment("shop", 1, &json!({}))).await;
    ctx.until_is("deployments", "shop", 60, complete).await;
    ctx.merge("deployments", "shop", json!({"spec": {"paused": true}})).await.ok();
    ctx.merge("deployments", "shop", version("2")).await.ok();
    let paused = ctx
        .until_is("deployments", "shop", 30, |found| {
            found["status"]["observedGeneration"] == found["metadata"]["generation"]
                && condition(found, "Progressing")["reason"] == "DeploymentPaused"
        })
        .await;
    same(paused["status"]["updatedReplicas"].as_i64().unwrap_or(0), 0);
    same(replica_sets(&ctx).await.len(), 1);
    ctx.merge("deployments", "shop", json!({"spec": {"paused": false}})).await.ok();
    ctx.until_is("deployments", "shop", 60, complete).await;
    same(replica_sets(&ctx).await.len(), 2);
}

async fn going_back_to_an_old_template_takes_its_replica_set_again(ctx: Ctx) {
    ctx.create("deployments", deployment("shop", 1, &json!({}))).await;
    ctx.until_is("deployments", "shop", 60, complete).await;
    let first = name(&replica_sets(&ctx).await[0]);
    ctx.merge("deployments", "shop", version("2")).await.ok();
    ctx.until_is("deployments", "shop", 60, |found| complete(found) && revision(found) == "2").await;
    let back = json!({"spec": {"template": {"metadata": {"annotations": {"version": null}}}}});
    ctx.merge("deployments", "shop", back).await.ok();
    ctx.until_is("deployments", "shop", 60, |found| complete(found) && revision(found) == "3").await;
    let sets = replica_sets(&ctx).await;
    same(sets.len(), 2);
    let active = sets.iter().find(|set| set["spec"]["replicas"] == 1).expect("one is in use");
    same(name(active), first);
    same(revision(active), "3".to_owned());
}

fn revision(object: &Value) -> String {
    object["metadata"]["annotations"]["deployment.kubernetes.io/revision"].as_str().unwrap_or_default().to_owned()
}

async fn a_deadline_that_passes_is_told_and_nothing_is_rolled_back(ctx: Ctx) {
    ctx.create("deployments", deployment("shop", 2, &json!({"progressDeadlineSeconds": 3}))).await;
    ctx.until_is("deployments", "shop", 60, complete).await;
    let image =
        json!([{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "evenkeel/nowhere:1"}]);
    ctx.patch("deployments", "shop", "application/json-patch+json", image).await.ok();
    let found = ctx
        .until_is("deployments", "shop", 60, |found| {
            condition(found, "Progressing")["reason"] == "ProgressDeadlineExceeded"
        })
        .await;
    same(condition(&found, "Progressing")["status"].as_str(), Some("False"));
    same(found["status"]["availableReplicas"].as_i64(), Some(2));
    same(found["status"]["updatedReplicas"].as_i64(), Some(1));
    same(found["status"]["unavailableReplicas"].as_i64(), Some(1));
}

async fn old_replica_sets_beyond_the_limit_go(ctx: Ctx) {
    ctx.create("deployments", deployment("shop", 1, &json!({"revisionHistoryLimit": 1}))).await;
    ctx.until_is("deployments", "shop", 60, complete).await;
    for text in ["2", "3"] {
        ctx.merge("deployments", "shop", version(text)).await.ok();
        ctx.until_is("deployments", "shop", 60, |found| complete(found) && revision(found) == text).await;
    }
    let left = || async {
        let mut left: Vec<String> = replica_sets(&ctx).await.iter().map(revision).collect();
        left.sort();
        (left == ["2", "3"]).then_some(())
    };
    ctx.until("the first ReplicaSet gone", 30, left).await;
}

async fn neither_surge_nor_unavailable_is_refused(ctx: Ctx) {
    let strategy =
        json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}});
    let status = ctx.post("deployments", &deployment("shop", 1, &strategy)).await.refused(422);
    let cause = &status["details"]["causes"][0];
    same(cause["field"].as_str(), Some("spec.strategy.rollingUpdate.maxUnavailable"));
    let message = cause["message"].as_str().unwrap_or_default();
    assert!(message.contains("may not be 0 when `maxSurge` is 0"), "{message}");
}

async fn the_selector_of_a_deployment_cannot_be_changed(ctx: Ctx) {
    ctx.create("deployments", deployment("shop", 1, &json!({}))).await;
    let other = json!({"spec": {
        "selector": {"matchLabels": {"app": "other"}},
        "template": {"metadata": {"labels": {"app": "other"}}},
    }});
    let status = ctx.merge("deployments", "shop", other).await.refused(422);
    let message = status["message"].as_str().unwrap_or_default();
    assert!(message.contains("spec.selector") && message.contains("field is immutable"), "{message}");
}

async fn a_pod_is_available_after_its_minimum_of_ready_seconds(ctx: Ctx) {
    ctx.create("deployments", deployment("shop", 1, &json!({"minReadySeconds": 4}))).await;
    let ready = ctx.until_is("deployments", "shop", 60, |found| found["status"]["readyReplicas"] == 1).await;
    same(ready["status"]["availableReplicas"].as_i64().unwrap_or(0), 0);
    ctx.until_is("deployments", "shop", 30, |found| found["status"]["availableReplicas"] == 1).await;
    let pod = &ctx.ready_pods("shop", 1, 5).await[0];
    let since: jiff::Timestamp = condition(pod, "Ready")["lastTransitionTime"].as_str().unwrap().parse().unwrap();
    let age = jiff::Timestamp::now().duration_since(since).as_secs_f64();
    assert!(age >= 4.0, "available {age} s after it was ready");
}

async fn a_finished_rollout_says_that_its_replica_set_is_available(ctx: Ctx) {
    ctx.create("deployments", deployment("shop", 2, &json!({}))).await;
    let found = ctx
        .until_is("deployments", "shop", 60, |found| {
            complete(found) && condition(found, "Progressing")["reason"] == "NewReplicaSetAvailable"
        })
        .await;
    let set = name(&replica_sets(&ctx).await[0]);
    let message = condition(&found, "Progressing")["message"].as_str().unwrap_or_default().to_owned();
    same(message, format!("ReplicaSet \"{set}\" has successfully progressed."));
    let available = condition(&found, "Available");
    same(available["reason"].as_str(), Some("MinimumReplicasAvailable"));
    same(available["message"].as_str(), Some("Deployment has minimum availability."));
}
