//! `ReplicaSets`: who goes first, who is replaced, who is adopted and released.

use serde_json::{Value, json};

use crate::{
    Scenario,
    cluster::{Ctx, condition, name, same, uid},
    scenarios,
    shapes::{pod, workload},
};

pub fn all() -> Vec<Scenario> {
    scenarios![false:
        an_unready_pod_is_the_first_to_go,
        the_pod_with_the_lowest_deletion_cost_goes_first,
        a_pod_without_a_node_goes_before_all_others,
        a_deleted_pod_is_replaced_before_it_is_gone,
        a_pod_whose_label_is_changed_is_released_and_replaced,
        a_matching_orphan_is_adopted,
        scale_is_a_subresource_with_the_selector_as_text,
    ]
}

async fn set(ctx: &Ctx, replicas: u32, change: &Value) -> Vec<Value> {
    ctx.create("replicasets", workload("ReplicaSet", "shop", replicas, change)).await;
    ctx.ready_pods("shop", replicas as usize, 60).await
}

async fn scale(ctx: &Ctx, replicas: u32) {
    ctx.merge("replicasets", "shop", json!({"spec": {"replicas": replicas}})).await.ok();
}

/// Waits until so many live pods are left and returns their names.
async fn left(ctx: &Ctx, count: usize) -> Vec<String> {
    let look = || async {
        let pods = ctx.list("pods", "labelSelector=app%3Dshop").await;
        let live = pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        let names: Vec<String> = live.map(name).collect();
        (names.len() == count).then_some(names)
    };
    ctx.until(&format!("{count} pods left"), 30, look).await
}

async fn an_unready_pod_is_the_first_to_go(ctx: Ctx) {
    let pods = set(&ctx, 3, &json!({})).await;
    let unready = name(&pods[1]);
    ctx.control(&unready, "unready").await;
    ctx.until_is("pods", &unready, 30, |pod| condition(pod, "Ready")["status"] == "False").await;
    scale(&ctx, 2).await;
    assert!(!left(&ctx, 2).await.contains(&unready));
}

async fn the_pod_with_the_lowest_deletion_cost_goes_first(ctx: Ctx) {
    let pods = set(&ctx, 3, &json!({})).await;
    for (pod, cost) in pods.iter().zip(["10", "-5", "3"]) {
        let cost = json!({"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": cost}}});
        ctx.merge("pods", &name(pod), cost).await.ok();
    }
    scale(&ctx, 2).await;
    let mut wanted = vec![name(&pods[0]), name(&pods[2])];
    wanted.sort();
    same(left(&ctx, 2).await, wanted);
    scale(&ctx, 1).await;
    same(left(&ctx, 1).await, vec![name(&pods[0])]);
}

async fn a_pod_without_a_node_goes_before_all_others(ctx: Ctx) {
    // Two anti-affine pods per node cannot be: of five on three workers at least two stay without a node.
    let apart = json!({"template": {"spec": {"affinity": {"podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [{
            "topologyKey": "kubernetes.io/hostname",
            "labelSelector": {"matchLabels": {"app": "shop"}},
        }],
    }}}}});
    ctx.create("replicasets", workload("ReplicaSet", "shop", 5, &apart)).await;
    let ready: Vec<String> = ctx.ready_pods("shop", 3, 60).await.iter().map(name).collect();
    scale(&ctx, 3).await;
    same(left(&ctx, 3).await, ready);
}

async fn a_deleted_pod_is_replaced_before_it_is_gone(ctx: Ctx) {
    let hook = json!({"template": {"spec": {"containers": [{
        "name": "shop",
        "image": "evenkeel/demo:v1",
        "args": ["demo"],
        "lifecycle": {"preStop": {"sleep": {"seconds": 4}}},
    }]}}});
    let pods = set(&ctx, 1, &hook).await;
    ctx.delete("pods", &name(&pods[0]), json!({})).await.ok();
    let other = left(&ctx, 1).await;
    assert!(other[0] != name(&pods[0]));
    assert!(ctx.get("pods", &name(&pods[0])).await.is_some(), "its hook holds it for four seconds");
}

async fn a_pod_whose_label_is_changed_is_released_and_replaced(ctx: Ctx) {
    let pods = set(&ctx, 1, &json!({})).await;
    let first = name(&pods[0]);
    ctx.merge("pods", &first, json!({"metadata": {"labels": {"app": "loose"}}})).await.ok();
    let other = left(&ctx, 1).await;
    assert!(other[0] != first);
    let loose = ctx
        .until_is("pods", &first, 20, |pod| pod["metadata"]["ownerReferences"].as_array().is_none_or(Vec::is_empty))
        .await;
    assert!(loose["metadata"]["deletionTimestamp"].is_null());
}

async fn a_matching_orphan_is_adopted(ctx: Ctx) {
    let mut orphan = pod("shop", &json!({}));
    orphan["metadata"]["name"] = json!("orphan");
    ctx.create("pods", orphan).await;
    ctx.ready_pods("shop", 1, 60).await;
    ctx.create("replicasets", workload("ReplicaSet", "shop", 1, &json!({}))).await;
    let set = ctx.until_is("replicasets", "shop", 30, |set| set["status"]["readyReplicas"] == 1).await;
    let orphan = ctx.get("pods", "orphan").await.unwrap();
    same(orphan["metadata"]["ownerReferences"][0]["uid"].as_str(), Some(uid(&set).as_str()));
    same(left(&ctx, 1).await, vec!["orphan".to_owned()]);
}

async fn scale_is_a_subresource_with_the_selector_as_text(ctx: Ctx) {
    set(&ctx, 1, &json!({})).await;
    let path = format!("{}/shop/scale", ctx.path("replicasets"));
    let mut scale = ctx.send("GET", &path, None).await.ok();
    same(scale["kind"].as_str(), Some("Scale"));
    same(scale["apiVersion"].as_str(), Some("autoscaling/v1"));
    same(scale["spec"]["replicas"].as_i64(), Some(1));
    same(scale["status"]["selector"].as_str(), Some("app=shop"));
    scale["spec"]["replicas"] = json!(2);
    ctx.send("PUT", &path, Some(("application/json", &scale))).await.ok();
    ctx.ready_pods("shop", 2, 60).await;
}
