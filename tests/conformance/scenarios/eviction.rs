//! The eviction subresource: its decisions in order, with code, message and cause.

use serde_json::json;

use crate::{
    Scenario,
    cluster::{Ctx, condition, name, same, uid},
    scenarios,
    shapes::{budget, deployment, pod, pod_with},
};

pub fn all() -> Vec<Scenario> {
    scenarios![false:
        eviction_without_a_budget_is_201_and_marks_the_pod,
        eviction_against_a_closed_budget_is_429_with_its_cause,
        eviction_of_a_pending_pod_ignores_the_budget,
        eviction_under_two_budgets_is_500,
        eviction_of_a_missing_pod_is_404,
        eviction_under_another_name_is_400,
        eviction_for_another_namespace_is_400,
        eviction_with_options_that_cannot_be_read_is_400,
        a_dry_run_evicts_nothing,
        an_eviction_uses_the_budget_up,
        an_unready_pod_goes_while_enough_are_healthy,
        an_unready_pod_stays_under_a_closed_budget_unless_always_allowed,
        eviction_of_another_uid_is_409,
        a_budget_that_allows_everything_refuses_when_nothing_is_ready,
        deletion_does_not_ask_the_budget,
        an_eviction_may_shorten_the_grace,
    ]
}

async fn three_with_budget(ctx: &Ctx, demand: serde_json::Value, allowed: i64) -> Vec<serde_json::Value> {
    let mut shop = deployment("shop", 3, &json!({}));
    // A replacement that is ready gives the budget back, so none is before a scenario has asked twice.
    shop["spec"]["template"]["spec"]["containers"][0]["args"] = json!(["demo", "--ready-after", "4s"]);
    ctx.create("deployments", shop).await;
    let pods = ctx.ready_pods("shop", 3, 60).await;
    ctx.create("poddisruptionbudgets", budget("shop", "shop", &demand)).await;
    ctx.until_is("poddisruptionbudgets", "shop", 30, |budget| {
        budget["status"]["observedGeneration"] == 1
            && budget["status"]["currentHealthy"] == 3
            && budget["status"]["disruptionsAllowed"] == allowed
    })
    .await;
    pods
}

async fn eviction_without_a_budget_is_201_and_marks_the_pod(ctx: Ctx) {
    let hook = json!({"lifecycle": {"preStop": {"sleep": {"seconds": 3}}}});
    ctx.create("pods", pod_with("one", &hook, &json!({}))).await;
    ctx.ready_pods("one", 1, 60).await;
    let answer = ctx.evict("one").await;
    same(answer.code, 201);
    same(answer.body["kind"].as_str(), Some("Status"));
    same(answer.body["status"].as_str(), Some("Success"));
    let pod = ctx.get("pods", "one").await.expect("its hook holds it for three seconds");
    assert!(!pod["metadata"]["deletionTimestamp"].is_null());
    let target = condition(&pod, "DisruptionTarget");
    same(target["status"].as_str(), Some("True"));
    same(target["reason"].as_str(), Some("EvictionByEvictionAPI"));
    ctx.until_gone("pods", "one", 30).await;
}

async fn eviction_against_a_closed_budget_is_429_with_its_cause(ctx: Ctx) {
    let pods = three_with_budget(&ctx, json!({"minAvailable": 3}), 0).await;
    let status = ctx.evict(&name(&pods[0])).await.refused(429);
    same(status["reason"].as_str(), Some("TooManyRequests"));
    same(status["message"].as_str(), Some("Cannot evict pod as it would violate the pod's disruption budget."));
    let cause = &status["details"]["causes"][0];
    same(cause["reason"].as_str(), Some("DisruptionBudget"));
    same(cause["message"].as_str(), Some("The disruption budget shop needs 3 healthy pods and has 3 currently"));
    assert!(status["details"]["retryAfterSeconds"].is_null(), "{status}");
    same(ctx.ready_pods("shop", 3, 5).await.len(), 3);
}

async fn eviction_of_a_pending_pod_ignores_the_budget(ctx: Ctx) {
    ctx.create("poddisruptionbudgets", budget("stuck", "stuck", &json!({"minAvailable": 1}))).await;
    ctx.create("pods", pod("stuck", &json!({"nodeSelector": {"no": "such-node"}}))).await;
    ctx.until_is("poddisruptionbudgets", "stuck", 30, |budget| budget["status"]["observedGeneration"] == 1).await;
    same(ctx.evict("stuck").await.code, 201);
    ctx.until_gone("pods", "stuck", 10).await;
}

async fn eviction_under_two_budgets_is_500(ctx: Ctx) {
    let pods = three_with_budget(&ctx, json!({"minAvailable": 1}), 2).await;
    ctx.create("poddisruptionbudgets", budget("second", "shop", &json!({"minAvailable": 1}))).await;
    let status = ctx.evict(&name(&pods[0])).await.refused(500);
    same(
        status["message"].as_str(),
        Some("This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."),
    );
}

async fn eviction_of_a_missing_pod_is_404(ctx: Ctx) {
    let status = ctx.evict("nobody").await.refused(404);
    same(status["message"].as_str(), Some("pods \"nobody\" not found"));
    same(status["reason"].as_str(), Some("NotFound"));
}

async fn eviction_under_another_name_is_400(ctx: Ctx) {
    ctx.create("pods", pod("one", &json!({}))).await;
    let body =
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "other", "namespace": ctx.ns}});
    let path = format!("{}/one/eviction", ctx.path("pods"));
    ctx.send("POST", &path, Some(("application/json", &body))).await.refused(400);
    assert!(ctx.get("pods", "one").await.unwrap()["metadata"]["deletionTimestamp"].is_null());
}

async fn eviction_for_another_namespace_is_400(ctx: Ctx) {
    ctx.create("pods", pod("one", &json!({}))).await;
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction",
        "metadata": {"name": "one", "namespace": "default"}});
    let path = format!("{}/one/eviction", ctx.path("pods"));
    let status = ctx.send("POST", &path, Some(("application/json", &eviction))).await.refused(400);
    let message = status["message"].as_str().unwrap_or_default();
    assert!(message.contains("the namespace of the provided object does not match"), "{message}");
    assert!(ctx.get("pods", "one").await.unwrap()["metadata"]["deletionTimestamp"].is_null());
}

async fn eviction_with_options_that_cannot_be_read_is_400(ctx: Ctx) {
    ctx.create("pods", pod("one", &json!({}))).await;
    ctx.evict_with("one", json!({"gracePeriodSeconds": "x"})).await.refused(400);
    assert!(ctx.get("pods", "one").await.unwrap()["metadata"]["deletionTimestamp"].is_null());
}

async fn a_dry_run_evicts_nothing(ctx: Ctx) {
    let pods = three_with_budget(&ctx, json!({"maxUnavailable": 1}), 1).await;
    same(ctx.evict_with(&name(&pods[0]), json!({"dryRun": ["All"]})).await.code, 201);
    let pod = ctx.get("pods", &name(&pods[0])).await.unwrap();
    assert!(pod["metadata"]["deletionTimestamp"].is_null());
    let budget = ctx.get("poddisruptionbudgets", "shop").await.unwrap();
    same(budget["status"]["disruptionsAllowed"].as_i64(), Some(1));
}

async fn an_eviction_uses_the_budget_up(ctx: Ctx) {
    let pods = three_with_budget(&ctx, json!({"maxUnavailable": 1}), 1).await;
    // At the same time, since a replacement that is ready gives the budget back.
    let (one, two) = (name(&pods[0]), name(&pods[1]));
    let (first, second) = tokio::join!(ctx.evict(&one), ctx.evict(&two));
    let (refused, other) = if first.code == 201 { (second, two) } else { (first, one) };
    refused.refused(429);
    ctx.until_is("poddisruptionbudgets", "shop", 60, |budget| budget["status"]["disruptionsAllowed"] == 1).await;
    same(ctx.evict(&other).await.code, 201);
}

/// A Deployment of three replicas, one of which says 503 to its readiness probe from now on; its name.
async fn two_and_an_unready_one(ctx: &Ctx, demand: serde_json::Value) -> String {
    ctx.create("deployments", deployment("shop", 3, &json!({}))).await;
    let pods = ctx.ready_pods("shop", 3, 60).await;
    let name = name(&pods[0]);
    ctx.control(&name, "unready").await;
    ctx.until_is("pods", &name, 30, |pod| condition(pod, "Ready")["status"] == "False").await;
    ctx.create("poddisruptionbudgets", budget("shop", "shop", &demand)).await;
    ctx.until_is("poddisruptionbudgets", "shop", 30, |budget| {
        budget["status"]["observedGeneration"] == 1 && budget["status"]["currentHealthy"] == 2
    })
    .await;
    name
}

/// Asks until the pod is evicted: one whose status changes at that moment may just have become ready, and is told to ask
/// again.
async fn evicted(ctx: &Ctx, pod: &str) {
    let look = || async {
        let answer = ctx.evict(pod).await;
        let again = answer.code == 429 && answer.body["details"]["retryAfterSeconds"] == 10;
        assert!(answer.code == 201 || again, "{} {}", answer.code, answer.body);
        (!again).then_some(())
    };
    ctx.until("the eviction", 15, look).await;
}

async fn an_unready_pod_goes_while_enough_are_healthy(ctx: Ctx) {
    let unready = two_and_an_unready_one(&ctx, json!({"minAvailable": 2})).await;
    let budget = ctx.get("poddisruptionbudgets", "shop").await.unwrap();
    same(budget["status"]["disruptionsAllowed"].as_i64(), Some(0));
    evicted(&ctx, &unready).await;
}

async fn an_unready_pod_stays_under_a_closed_budget_unless_always_allowed(ctx: Ctx) {
    let unready = two_and_an_unready_one(&ctx, json!({"minAvailable": 3})).await;
    let status = ctx.evict(&unready).await.refused(429);
    same(
        status["details"]["causes"][0]["message"].as_str(),
        Some("The disruption budget shop needs 3 healthy pods and has 2 currently"),
    );
    let always = json!({"spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}});
    ctx.merge("poddisruptionbudgets", "shop", always).await.ok();
    evicted(&ctx, &unready).await;
}

async fn eviction_of_another_uid_is_409(ctx: Ctx) {
    ctx.create("pods", pod("one", &json!({}))).await;
    ctx.ready_pods("one", 1, 60).await;
    let other = json!({"preconditions": {"uid": "00000000-0000-4000-8000-000000000000"}});
    let status = ctx.evict_with("one", other).await.refused(409);
    same(status["reason"].as_str(), Some("Conflict"));
    let own = json!({"preconditions": {"uid": uid(&ctx.get("pods", "one").await.unwrap())}});
    same(ctx.evict_with("one", own).await.code, 201);
}

async fn a_budget_that_allows_everything_refuses_when_nothing_is_ready(ctx: Ctx) {
    let never = json!({"template": {"spec": {"containers": [{
        "name": "shop",
        "image": "evenkeel/demo:v1",
        "args": ["demo"],
        "readinessProbe": {"httpGet": {"path": "/nothing", "port": 8080}},
    }]}}});
    ctx.create("deployments", deployment("shop", 1, &never)).await;
    ctx.create("poddisruptionbudgets", budget("shop", "shop", &json!({"maxUnavailable": "100%"}))).await;
    let running = || async {
        let pods = ctx.list("pods", "labelSelector=app%3Dshop").await;
        pods.into_iter().find(|pod| pod["status"]["phase"] == "Running")
    };
    let pod = ctx.until("a running pod", 60, running).await;
    ctx.until_is("poddisruptionbudgets", "shop", 30, |budget| {
        budget["status"]["observedGeneration"] == 1 && budget["status"]["expectedPods"] == 1
    })
    .await;
    let status = ctx.evict(&name(&pod)).await.refused(429);
    same(
        status["details"]["causes"][0]["message"].as_str(),
        Some("The disruption budget shop needs 0 healthy pods and has 0 currently"),
    );
}

async fn deletion_does_not_ask_the_budget(ctx: Ctx) {
    let pods = three_with_budget(&ctx, json!({"minAvailable": 3}), 0).await;
    ctx.delete("pods", &name(&pods[0]), json!({})).await.ok();
    ctx.until_gone("pods", &name(&pods[0]), 30).await;
}

async fn an_eviction_may_shorten_the_grace(ctx: Ctx) {
    let hook = json!({"lifecycle": {"preStop": {"sleep": {"seconds": 20}}}});
    ctx.create("pods", pod_with("one", &hook, &json!({"terminationGracePeriodSeconds": 60}))).await;
    ctx.ready_pods("one", 1, 60).await;
    same(ctx.evict_with("one", json!({"gracePeriodSeconds": 2})).await.code, 201);
    let pod = ctx.get("pods", "one").await.unwrap();
    same(pod["metadata"]["deletionGracePeriodSeconds"].as_i64(), Some(2));
    ctx.until_gone("pods", "one", 15).await;
}
