//! The scheduler: what it takes into account, and what it says when nothing fits.

use serde_json::{Value, json};

use crate::{
    Scenario,
    cluster::{Ctx, condition, is_ready, same},
    scenarios,
    shapes::{deployment, pod, pod_with, workload},
};

pub fn all() -> Vec<Scenario> {
    scenarios![false:
        preferred_anti_affinity_spreads_over_the_workers,
        required_anti_affinity_leaves_the_surplus_pending,
        an_existing_pod_repels_one_that_does_not_mind,
        a_hard_spread_keeps_the_skew,
        a_node_selector_that_nothing_has_is_told,
        requests_beyond_every_node_are_told,
        a_volume_claim_that_is_not_there_is_told_and_waited_for,
        a_toleration_opens_the_control_plane,
        a_pod_that_names_its_node_is_not_scheduled,
        a_gated_pod_waits,
    ]
}

fn anti_affinity(app: &str, required: bool) -> Value {
    let term = json!({"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": app}}});
    if required {
        json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}})
    } else {
        json!({"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 100, "podAffinityTerm": term},
        ]}})
    }
}

async fn workers(ctx: &Ctx) -> usize {
    let nodes = ctx.list("nodes", "").await;
    nodes.iter().filter(|node| node["spec"]["taints"].as_array().is_none_or(Vec::is_empty)).count()
}

fn nodes_of(pods: &[Value]) -> Vec<String> {
    let mut nodes: Vec<String> =
        pods.iter().filter_map(|pod| pod["spec"]["nodeName"].as_str().map(ToOwned::to_owned)).collect();
    nodes.sort();
    nodes.dedup();
    nodes
}

async fn unschedulable(ctx: &Ctx, name: &str) -> String {
    let found = ctx.until_is("pods", name, 30, |pod| condition(pod, "PodScheduled")["reason"] == "Unschedulable").await;
    condition(&found, "PodScheduled")["message"].as_str().unwrap_or_default().to_owned()
}

async fn preferred_anti_affinity_spreads_over_the_workers(ctx: Ctx) {
    let count = workers(&ctx).await;
    let change = json!({"template": {"spec": {"affinity": anti_affinity("shop", false)}}});
    ctx.create("deployments", deployment("shop", u32::try_from(count).unwrap(), &change)).await;
    let pods = ctx.ready_pods("shop", count, 60).await;
    same(nodes_of(&pods).len(), count);
}

async fn required_anti_affinity_leaves_the_surplus_pending(ctx: Ctx) {
    let count = workers(&ctx).await;
    let change = json!({"template": {"spec": {"affinity": anti_affinity("shop", true)}}});
    ctx.create("replicasets", workload("ReplicaSet", "shop", u32::try_from(count).unwrap() + 1, &change)).await;
    let pods = ctx.ready_pods("shop", count, 60).await;
    same(nodes_of(&pods).len(), count);
    let all = ctx.list("pods", "labelSelector=app%3Dshop").await;
    let pending = all.iter().find(|pod| !is_ready(pod)).expect("one has no place");
    let message = unschedulable(&ctx, &crate::cluster::name(pending)).await;
    assert!(message.contains(&format!("{count} node(s) didn't match pod anti-affinity rules")), "{message}");
    assert!(message.contains("had untolerated taint"), "{message}");
}

async fn an_existing_pod_repels_one_that_does_not_mind(ctx: Ctx) {
    let count = workers(&ctx).await;
    let change = json!({"template": {"spec": {"affinity": anti_affinity("guest", true)}}});
    ctx.create("daemonsets", workload("DaemonSet", "host", 0, &change)).await;
    ctx.ready_pods("host", count, 60).await;
    ctx.create("pods", pod("guest", &json!({}))).await;
    let message = unschedulable(&ctx, "guest").await;
    assert!(message.contains("didn't satisfy existing pods anti-affinity rules"), "{message}");
}

async fn a_hard_spread_keeps_the_skew(ctx: Ctx) {
    let count = workers(&ctx).await;
    let spread = json!([{
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "nodeTaintsPolicy": "Honor",
        "labelSelector": {"matchLabels": {"app": "shop"}},
    }]);
    let change = json!({"template": {"spec": {"topologySpreadConstraints": spread}}});
    ctx.create("deployments", deployment("shop", u32::try_from(2 * count).unwrap(), &change)).await;
    let pods = ctx.ready_pods("shop", 2 * count, 90).await;
    for node in nodes_of(&pods) {
        same(pods.iter().filter(|pod| pod["spec"]["nodeName"] == node.as_str()).count(), 2);
    }
}

async fn a_node_selector_that_nothing_has_is_told(ctx: Ctx) {
    ctx.create("pods", pod("one", &json!({"nodeSelector": {"no": "such-node"}}))).await;
    let message = unschedulable(&ctx, "one").await;
    let nodes = ctx.list("nodes", "").await.len();
    assert!(message.starts_with(&format!("0/{nodes} nodes are available: ")), "{message}");
    assert!(message.contains("node(s) didn't match Pod's node affinity/selector"), "{message}");
    let told = || async { (!ctx.events("one", "FailedScheduling").await.is_empty()).then_some(()) };
    ctx.until("the event of the scheduler", 10, told).await;
}

async fn requests_beyond_every_node_are_told(ctx: Ctx) {
    let greedy = json!({"resources": {"requests": {"cpu": "9000", "memory": "4Mi"}}});
    ctx.create("pods", pod_with("one", &greedy, &json!({}))).await;
    let message = unschedulable(&ctx, "one").await;
    assert!(message.contains("Insufficient cpu"), "{message}");
}

async fn a_volume_claim_that_is_not_there_is_told_and_waited_for(ctx: Ctx) {
    let volumes = json!({"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "nope"}}]});
    ctx.create("pods", pod("one", &volumes)).await;
    let message = unschedulable(&ctx, "one").await;
    let missing = "nodes are available: persistentvolumeclaim \"nope\" not found.";
    assert!(message.contains(missing), "{message}");
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "nope"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}});
    ctx.create("persistentvolumeclaims", claim).await;
    ctx.until_is("pods", "one", 30, |pod| {
        let message = condition(pod, "PodScheduled")["message"].as_str().unwrap_or_default();
        !message.contains("not found")
    })
    .await;
}

async fn a_toleration_opens_the_control_plane(ctx: Ctx) {
    let spec = json!({
        "tolerations": [{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists", "effect": "NoSchedule"}],
        "nodeSelector": {"node-role.kubernetes.io/control-plane": ""},
    });
    ctx.create("pods", pod("one", &spec)).await;
    ctx.ready_pods("one", 1, 60).await;
    ctx.create("pods", pod("two", &json!({"nodeSelector": {"node-role.kubernetes.io/control-plane": ""}}))).await;
    assert!(unschedulable(&ctx, "two").await.contains("had untolerated taint"));
}

async fn a_pod_that_names_its_node_is_not_scheduled(ctx: Ctx) {
    let nodes = ctx.list("nodes", "").await;
    let control = nodes.iter().find(|node| !node["spec"]["taints"].is_null()).expect("the control plane is tainted");
    let control = crate::cluster::name(control);
    ctx.create("pods", pod("one", &json!({"nodeName": control}))).await;
    ctx.ready_pods("one", 1, 60).await;
}

async fn a_gated_pod_waits(ctx: Ctx) {
    ctx.create("pods", pod("one", &json!({"schedulingGates": [{"name": "example.com/wait"}]}))).await;
    let held =
        ctx.until_is("pods", "one", 30, |pod| condition(pod, "PodScheduled")["reason"] == "SchedulingGated").await;
    assert!(held["spec"]["nodeName"].is_null());
    ctx.merge("pods", "one", json!({"spec": {"schedulingGates": []}})).await.ok();
    ctx.ready_pods("one", 1, 60).await;
}
