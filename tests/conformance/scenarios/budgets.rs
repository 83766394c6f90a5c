//! What a budget's status says: the disruption controller's arithmetic.

use serde_json::{Value, json};

use crate::{
    Scenario,
    cluster::{Ctx, condition, same},
    scenarios,
    shapes::{budget, deployment, pod},
};

pub fn all() -> Vec<Scenario> {
    scenarios![false:
        budgets_of_seven_round_both_percentages_up,
        budgets_of_three_count_as_the_controller_does,
        an_integer_minimum_counts_the_pods_that_are_there,
        a_budget_over_pods_without_a_controller_cannot_use_a_percentage,
        a_budget_without_pods_allows_nothing,
        both_demands_at_once_are_refused,
        an_empty_selector_is_about_every_pod,
    ]
}

/// Creates budgets over the same pods and compares (expected, desired, allowed).
async fn table(ctx: &Ctx, replicas: u32, rows: &[(&str, Value, (i64, i64, i64))]) {
    ctx.create("deployments", deployment("shop", replicas, &json!({}))).await;
    ctx.ready_pods("shop", replicas as usize, 90).await;
    for (name, demand, _) in rows {
        ctx.create("poddisruptionbudgets", budget(name, "shop", demand)).await;
    }
    for (name, demand, wanted) in rows {
        let found = ctx
            .until_is("poddisruptionbudgets", name, 30, |budget| {
                budget["status"]["observedGeneration"] == 1 && budget["status"]["currentHealthy"] == replicas
            })
            .await;
        let status = &found["status"];
        let number = |key: &str| status[key].as_i64().unwrap_or(-1);
        let found = (number("expectedPods"), number("desiredHealthy"), number("disruptionsAllowed"));
        assert_eq!(found, *wanted, "{demand} of {replicas}");
    }
}

async fn budgets_of_seven_round_both_percentages_up(ctx: Ctx) {
    let rows = [
        ("max-half", json!({"maxUnavailable": "50%"}), (7, 3, 4)),
        ("min-half", json!({"minAvailable": "50%"}), (7, 4, 3)),
        ("min-third", json!({"minAvailable": "34%"}), (7, 3, 4)),
        ("max-tenth", json!({"maxUnavailable": "10%"}), (7, 6, 1)),
    ];
    table(&ctx, 7, &rows).await;
}

async fn budgets_of_three_count_as_the_controller_does(ctx: Ctx) {
    let rows = [
        ("min-half", json!({"minAvailable": "50%"}), (3, 2, 1)),
        ("max-half", json!({"maxUnavailable": "50%"}), (3, 1, 2)),
        ("max-one", json!({"maxUnavailable": 1}), (3, 2, 1)),
        ("max-none", json!({"maxUnavailable": 0}), (3, 3, 0)),
        ("max-percent", json!({"maxUnavailable": "1%"}), (3, 2, 1)),
        ("min-two", json!({"minAvailable": 2}), (3, 2, 1)),
        ("min-five", json!({"minAvailable": 5}), (3, 5, 0)),
        ("min-none", json!({"minAvailable": 0}), (3, 0, 3)),
    ];
    table(&ctx, 3, &rows).await;
}

async fn an_integer_minimum_counts_the_pods_that_are_there(ctx: Ctx) {
    ctx.create("pods", pod("loose", &json!({}))).await;
    ctx.ready_pods("loose", 1, 60).await;
    ctx.create("poddisruptionbudgets", budget("loose", "loose", &json!({"minAvailable": 0}))).await;
    let found =
        ctx.until_is("poddisruptionbudgets", "loose", 30, |budget| budget["status"]["currentHealthy"] == 1).await;
    same(found["status"]["expectedPods"].as_i64(), Some(1));
    same(found["status"]["disruptionsAllowed"].as_i64(), Some(1));
}

async fn a_budget_over_pods_without_a_controller_cannot_use_a_percentage(ctx: Ctx) {
    ctx.create("pods", pod("loose", &json!({}))).await;
    ctx.ready_pods("loose", 1, 60).await;
    ctx.create("poddisruptionbudgets", budget("loose", "loose", &json!({"maxUnavailable": 1}))).await;
    // Pods without a controller are passed over, so that nothing is expected and nothing allowed.
    let found = ctx
        .until_is("poddisruptionbudgets", "loose", 30, |budget| {
            budget["status"]["observedGeneration"] == 1 && !condition(budget, "DisruptionAllowed").is_null()
        })
        .await;
    same(found["status"]["expectedPods"].as_i64(), Some(0));
    same(found["status"]["disruptionsAllowed"].as_i64(), Some(0));
    same(condition(&found, "DisruptionAllowed")["status"].as_str(), Some("False"));
    same(condition(&found, "DisruptionAllowed")["reason"].as_str(), Some("InsufficientPods"));
}

async fn a_budget_without_pods_allows_nothing(ctx: Ctx) {
    ctx.create("poddisruptionbudgets", budget("none", "none", &json!({"minAvailable": 0}))).await;
    let found =
        ctx.until_is("poddisruptionbudgets", "none", 30, |budget| budget["status"]["observedGeneration"] == 1).await;
    same(found["status"]["disruptionsAllowed"].as_i64(), Some(0));
    same(found["status"]["expectedPods"].as_i64(), Some(0));
}

async fn both_demands_at_once_are_refused(ctx: Ctx) {
    let both = budget("both", "shop", &json!({"minAvailable": 1, "maxUnavailable": 1}));
    let status = ctx.post("poddisruptionbudgets", &both).await.refused(422);
    same(status["reason"].as_str(), Some("Invalid"));
    let message = status["message"].as_str().unwrap_or_default();
    assert!(message.contains("minAvailable and maxUnavailable cannot be both set"), "{message}");
}

async fn an_empty_selector_is_about_every_pod(ctx: Ctx) {
    ctx.create("deployments", deployment("one", 1, &json!({}))).await;
    ctx.create("deployments", deployment("two", 1, &json!({}))).await;
    ctx.ready_pods("one", 1, 60).await;
    ctx.ready_pods("two", 1, 60).await;
    let mut all = budget("all", "x", &json!({"maxUnavailable": 1}));
    all["spec"]["selector"] = json!({});
    ctx.create("poddisruptionbudgets", all).await;
    ctx.until_is("poddisruptionbudgets", "all", 30, |budget| {
        budget["status"]["expectedPods"] == 2 && budget["status"]["currentHealthy"] == 2
    })
    .await;
}
