//! The autoscaler: bounds hold whatever the load, and load moves it by the algorithm.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{
    Need, Scenario,
    cluster::{Ctx, condition, name, same},
    scenarios,
    shapes::{deployment, merge},
};

pub fn all() -> Vec<Scenario> {
    let mut all = scenarios![false, Some(Need::Metrics); load_scales_up_by_the_algorithm_and_its_end_scales_down];
    all.extend(scenarios![false:
        too_few_replicas_are_raised_to_the_minimum,
        too_many_replicas_are_lowered_to_the_maximum,
        an_autoscaler_without_a_target_says_so,
        a_maximum_below_the_minimum_is_refused,
        an_autoscaler_leaves_a_deployment_of_none_alone,
    ]);
    all
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

/// The share of a core that the load burns, as what is burnt how often.
const BURN_MS: u64 = 60;
const BURN_EVERY: Duration = Duration::from_millis(200);

/// Keeps a pod busy until it is dropped.
async fn keep_busy(ctx: &Ctx, pod: &str) {
    let path = format!("{}/{pod}:8080/proxy/burn?ms={BURN_MS}", ctx.path("pods"));
    let mut ticks = interval(BURN_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        ctx.send("GET", &path, None).await.ok();
    }
}

/// What an autoscaler's last look found and wanted: replicas, use in percent of the request, wanted replicas.
fn last_look(autoscaler: &Value) -> Option<(i64, i64, i64)> {
    let status = &autoscaler["status"];
    let used = status["currentMetrics"][0]["resource"]["current"]["averageUtilization"].as_i64()?;
    Some((status["currentReplicas"].as_i64()?, used, status["desiredReplicas"].as_i64()?))
}

async fn load_scales_up_by_the_algorithm_and_its_end_scales_down(ctx: Ctx) {
    let (target, most) = (50, 4);
    let mut shop = deployment("shop", 1, &json!({}));
    shop["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("100m");
    ctx.create("deployments", shop).await;
    let pod = name(&ctx.ready_pods("shop", 1, 60).await[0]);
    let mut scaler = autoscaler("shop", 1, most);
    merge(&mut scaler, &json!({"spec": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 40}}}}));
    ctx.create("horizontalpodautoscalers", scaler).await;
    let up = async {
        let wants_more = |found: &Value| last_look(found).is_some_and(|(now, _, wanted)| wanted > now);
        let found = ctx.until_is("horizontalpodautoscalers", "shop", 150, wants_more).await;
        ctx.until_is("deployments", "shop", 30, |found| found["spec"]["replicas"].as_i64() > Some(1)).await;
        found
    };
    let found = tokio::select! {
        found = up => found,
        () = keep_busy(&ctx, &pod) => unreachable!("it never ends"),
    };
    let (now, used, wanted) = last_look(&found).unwrap();
    let by_the_algorithm = (now * used + target - 1) / target;
    same((now, wanted), (1, by_the_algorithm.min(i64::from(most))));
    let replicas = ctx.get("deployments", "shop").await.unwrap()["spec"]["replicas"].as_i64();
    same(replicas, Some(wanted));
    // Without load it goes back, and not before the window of its highest wish is over.
    let quiet = Instant::now();
    ctx.until_is("deployments", "shop", 150, |found| found["spec"]["replicas"] == 1).await;
    assert!(quiet.elapsed() > Duration::from_secs(35), "scaled down after {:?}", quiet.elapsed());
    same(
        condition(&ctx.get("horizontalpodautoscalers", "shop").await.unwrap(), "AbleToScale")["status"].as_str(),
        Some("True"),
    );
}
