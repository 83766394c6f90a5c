//! Nodes: cordon and the taint that follows it. These have the cluster for themselves.

use serde_json::json;

use crate::{
    Scenario,
    cluster::{Ctx, condition, name, same},
    scenarios,
    shapes::{deployment, pod},
};

pub fn all() -> Vec<Scenario> {
    scenarios![true:
        a_cordoned_node_is_tainted_and_gets_no_pods,
        a_no_execute_taint_deletes_pods_that_do_not_tolerate_it,
    ]
}

async fn a_cordoned_node_is_tainted_and_gets_no_pods(ctx: Ctx) {
    let workers: Vec<String> = ctx
        .list("nodes", "")
        .await
        .iter()
        .filter(|node| node["spec"]["taints"].as_array().is_none_or(Vec::is_empty))
        .map(name)
        .collect();
    ctx.create("deployments", deployment("shop", 3, &json!({}))).await;
    let before = ctx.ready_pods("shop", 3, 60).await;
    let node = before[0]["spec"]["nodeName"].as_str().unwrap().to_owned();
    ctx.merge("nodes", &node, json!({"spec": {"unschedulable": true}})).await.ok();
    let tainted = |node: &serde_json::Value| {
        let taints = node["spec"]["taints"].as_array();
        taints
            .into_iter()
            .flatten()
            .any(|taint| taint["key"] == "node.kubernetes.io/unschedulable" && taint["effect"] == "NoSchedule")
    };
    ctx.until_is("nodes", &node, 20, tainted).await;
    // Running pods stay, and new ones go elsewhere.
    assert!(ctx.get("pods", &name(&before[0])).await.is_some());
    ctx.create("pods", pod("late", &json!({"nodeSelector": {"kubernetes.io/hostname": node}}))).await;
    let late =
        ctx.until_is("pods", "late", 30, |pod| condition(pod, "PodScheduled")["reason"] == "Unschedulable").await;
    let message = condition(&late, "PodScheduled")["message"].as_str().unwrap_or_default();
    assert!(message.contains("node(s) were unschedulable"), "{message}");
    ctx.merge("nodes", &node, json!({"spec": {"unschedulable": null}})).await.ok();
    ctx.until_is("nodes", &node, 20, |node| !tainted(node)).await;
    ctx.ready_pods("late", 1, 60).await;
    same(workers.contains(&node), true);
}

async fn a_no_execute_taint_deletes_pods_that_do_not_tolerate_it(ctx: Ctx) {
    ctx.create("deployments", deployment("shop", 1, &json!({}))).await;
    let before = ctx.ready_pods("shop", 1, 60).await;
    let (first, node) = (name(&before[0]), before[0]["spec"]["nodeName"].as_str().unwrap().to_owned());
    let taint = json!({"spec": {"taints": [{"key": "example.com/out", "effect": "NoExecute"}]}});
    ctx.merge("nodes", &node, taint).await.ok();
    let gone = tokio::time::timeout(
        std::time::Duration::from_secs(60),
        futures::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(ctx.until_gone("pods", &first, 60))),
    )
    .await;
    ctx.merge("nodes", &node, json!({"spec": {"taints": null}})).await.ok();
    assert!(matches!(gone, Ok(Ok(()))), "{first} stays on the tainted node");
    let pods = ctx.ready_pods("shop", 1, 60).await;
    assert!(pods[0]["spec"]["nodeName"] != node.as_str());
}
