//! Nodes that fall silent, freeze and boot, and what becomes of their pods.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    Need, Scenario,
    cluster::{Ctx, condition, is_ready, same, uid},
    power::Deed,
    scenarios,
    shapes::{pod, service},
};

/// The kubelet's taint for a node that nobody hears of.
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

pub fn all() -> Vec<Scenario> {
    scenarios![true, Some(Need::Power);
        a_silent_node_is_unknown_after_fifty_seconds_and_its_pods_stay_for_their_tolerations,
        a_node_that_is_frozen_for_a_moment_loses_nothing,
        a_node_that_boots_runs_the_same_pods_again,
    ]
}

/// A pod that can only run on this node.
fn on(node: &str, name: &str, spec: &Value) -> Value {
    let mut pod = pod(name, &json!({"nodeSelector": {"kubernetes.io/hostname": node}}));
    crate::shapes::merge(&mut pod["spec"], spec);
    pod
}

/// What a node that nobody hears of is tainted with.
fn unreachable_effects(node: &Value) -> Vec<&str> {
    let taints = node["spec"]["taints"].as_array().into_iter().flatten();
    let mut effects: Vec<&str> =
        taints.filter(|taint| taint["key"] == UNREACHABLE).filter_map(|taint| taint["effect"].as_str()).collect();
    effects.sort_unstable();
    effects
}

/// Waits until the only endpoint of the Service is ready or not.
async fn until_endpoint(ctx: &Ctx, ready: bool) {
    let look = || async {
        let slices = ctx.list("endpointslices", "labelSelector=kubernetes.io/service-name%3Dstays").await;
        let endpoint = slices.first()?["endpoints"].get(0)?.clone();
        (endpoint["conditions"]["ready"] == ready).then_some(())
    };
    ctx.until(&format!("an endpoint with ready = {ready}"), 90, look).await;
}

async fn a_silent_node_is_unknown_after_fifty_seconds_and_its_pods_stay_for_their_tolerations(ctx: Ctx) {
    let node = ctx.worker().await;
    ctx.create("services", service("stays", "stays", &json!({}))).await;
    ctx.create("pods", on(&node, "stays", &json!({}))).await;
    let briefly = json!({"tolerations": [
        {"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5},
    ]});
    ctx.create("pods", on(&node, "leaves", &briefly)).await;
    ctx.ready_pods("leaves", 1, 60).await;
    let stays = ctx.ready_pods("stays", 1, 60).await.remove(0);
    until_endpoint(&ctx, true).await;
    ctx.while_node(Deed::Stop, &node, loss(&ctx, &node)).await;
    let heard_of = |node: &Value| condition(node, "Ready")["status"] == "True" && unreachable_effects(node).is_empty();
    ctx.until_is("nodes", &node, 120, heard_of).await;
    // What was to go goes now that its kubelet can end it; the other is the same pod, and runs again.
    ctx.until_gone("pods", "leaves", 90).await;
    let back = ctx.until_is("pods", "stays", 120, is_ready).await;
    same(uid(&back), uid(&stays));
    until_endpoint(&ctx, true).await;
}

/// What happens while the node is silent.
async fn loss(ctx: &Ctx, node: &str) {
    let silent = Instant::now();
    let unknown = |node: &Value| condition(node, "Ready")["status"] == "Unknown";
    let found = ctx.until_is("nodes", node, 120, unknown).await;
    // Up to ten seconds of the fifty had passed since the node's last word, and it is looked at every five.
    let after = silent.elapsed().as_secs_f64();
    assert!((38.0..70.0).contains(&after), "unknown after {after} s");
    same(condition(&found, "Ready")["reason"].as_str(), Some("NodeStatusUnknown"));
    same(condition(&found, "Ready")["message"].as_str(), Some("Kubelet stopped posting node status."));
    ctx.until_is("nodes", node, 30, |node| unreachable_effects(node) == ["NoExecute", "NoSchedule"]).await;
    let tainted = Instant::now();
    ctx.until_is("pods", "stays", 30, |pod| condition(pod, "Ready")["status"] == "False").await;
    until_endpoint(ctx, false).await;
    ctx.until_is("pods", "leaves", 60, |pod| !pod["metadata"]["deletionTimestamp"].is_null()).await;
    let after = tainted.elapsed().as_secs_f64();
    assert!(after > 3.0, "deleted {after} s after the taint, though it tolerates that for 5 s");
    // By now it would be gone if its kubelet could say so, and the other if it had not its 300 seconds.
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert!(ctx.get("pods", "leaves").await.is_some(), "nobody could have ended it");
    let stays = ctx.get("pods", "stays").await.unwrap();
    assert!(stays["metadata"]["deletionTimestamp"].is_null(), "{}", stays["metadata"]);
    same(stays["status"]["phase"].as_str(), Some("Running"));
}

async fn a_node_that_is_frozen_for_a_moment_loses_nothing(ctx: Ctx) {
    let node = ctx.worker().await;
    ctx.create("pods", on(&node, "stays", &json!({}))).await;
    let before = ctx.ready_pods("stays", 1, 60).await.remove(0);
    // Far less than anybody waits for a node.
    ctx.while_node(Deed::Pause, &node, tokio::time::sleep(Duration::from_secs(8))).await;
    ctx.control("stays", "heal").await;
    let after = ctx.until_is("pods", "stays", 30, is_ready).await;
    same(uid(&after), uid(&before));
    let container = |pod: &Value| pod["status"]["containerStatuses"][0].clone();
    same(container(&after)["restartCount"].as_i64(), Some(0));
    same(container(&after)["containerID"].as_str(), container(&before)["containerID"].as_str());
    same(condition(&ctx.get("nodes", &node).await.unwrap(), "Ready")["status"].as_str(), Some("True"));
}

async fn a_node_that_boots_runs_the_same_pods_again(ctx: Ctx) {
    let node = ctx.worker().await;
    ctx.create("pods", on(&node, "stays", &json!({}))).await;
    let before = ctx.ready_pods("stays", 1, 60).await.remove(0);
    let boot = |node: &Value| node["status"]["nodeInfo"]["bootID"].as_str().unwrap_or_default().to_owned();
    let first = boot(&ctx.get("nodes", &node).await.unwrap());
    ctx.while_node(Deed::Stop, &node, std::future::ready(())).await;
    let again =
        |pod: &Value| is_ready(pod) && pod["status"]["containerStatuses"][0]["restartCount"].as_i64() >= Some(1);
    let after = ctx.until_is("pods", "stays", 120, again).await;
    same(uid(&after), uid(&before));
    same(after["spec"]["nodeName"].as_str(), Some(node.as_str()));
    // A container that is a node has the boot of the machine under it.
    if matches!(ctx.power(), crate::power::Power::Sandbox(_)) {
        ctx.until_is("nodes", &node, 30, |node| boot(node) != first).await;
    }
}
