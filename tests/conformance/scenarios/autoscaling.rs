//! The autoscaler, as far as it needs no metrics: bounds hold whatever the load.

use serde_json::{Value, json};

use crate::{
    Scenario,
    cluster::{Ctx, condition, same},
    scenarios,
    shapes::deployment,
};

pub fn all() -> Vec<Scenario> {
    scenarios![false:
        too_few_replicas_are_raised_to_the_minimum,
        too_many_replicas_are_lowered_to_the_maximum,
        an_autoscaler_without_a_target_says_so,
        a_maximum_below_the_minimum_is_refused,
        an_autoscaler_leaves_a_deployment_of_none_alone,
    ]
}

fn autoscaler(target: &str, least: u32, most: u32) -> Value {
    json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": target},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target},
            "minReplicas": least,
            "maxReplicas": most,
            "metrics": [{
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
            }],
        },
    })
}

async fn too_few_replicas_are_raised_to_the_minimum(ctx: Ctx) {
    ctx.create("deployments", deployment("shop", 1, &json!({}))).await;
    ctx.create("horizontalpodautoscalers", autoscaler("shop", 3, 5)).await;
    ctx.until_is("deployments", "shop", 60, |found| found["spec"]["replicas"] == 3).await;
    ctx.until_is("horizontalpodautoscalers", "shop", 30, |found| found["status"]["desiredReplicas"] == 3).await;
}

async fn too_many_replicas_are_lowered_to_the_maximum(ctx: Ctx) {
    ctx.create("deployments", deployment("shop", 4, &json!({}))).await;
    ctx.create("horizontalpodautoscalers", autoscaler("shop", 1, 2)).await;
    ctx.until_is("deployments", "shop", 60, |found| found["spec"]["replicas"] == 2).await;
}

async fn an_autoscaler_without_a_target_says_so(ctx: Ctx) {
    ctx.create("horizontalpodautoscalers", autoscaler("nobody", 1, 2)).await;
    let found = ctx
        .until_is("horizontalpodautoscalers", "nobody", 60, |found| !condition(found, "AbleToScale").is_null())
        .await;
    same(condition(&found, "AbleToScale")["status"].as_str(), Some("False"));
    same(condition(&found, "AbleToScale")["reason"].as_str(), Some("FailedGetScale"));
}

async fn a_maximum_below_the_minimum_is_refused(ctx: Ctx) {
    let status = ctx.post("horizontalpodautoscalers", &autoscaler("shop", 3, 2)).await.refused(422);
    let message = status["message"].as_str().unwrap_or_default();
    assert!(message.contains("must be greater than or equal to `minReplicas`"), "{message}");
}

async fn an_autoscaler_leaves_a_deployment_of_none_alone(ctx: Ctx) {
    ctx.create("deployments", deployment("shop", 0, &json!({}))).await;
    ctx.create("horizontalpodautoscalers", autoscaler("shop", 2, 5)).await;
    let found = ctx
        .until_is("horizontalpodautoscalers", "shop", 60, |found| {
            condition(found, "ScalingActive")["reason"] == "ScalingDisabled"
        })
        .await;
    same(condition(&found, "ScalingActive")["status"].as_str(), Some("False"));
    same(ctx.get("deployments", "shop").await.unwrap()["spec"]["replicas"].as_i64(), Some(0));
}
