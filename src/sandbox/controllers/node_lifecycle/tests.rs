//! What becomes of nodes that stop reporting, and of their pods.

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::*;
use crate::sandbox::{
    controllers::taint_eviction::taints_of,
    fixture::{self, events, node, patch, running, settle, value},
    registry::{Part, subresources::conditions},
};

fn start(nodes: &[&str]) -> (Arc<Registry>, JoinSet<()>) {
    let registry = fixture::registry();
    for name in nodes {
        node(&registry, name, &json!({}));
    }
    let mut tasks = JoinSet::new();
    let controller = NodeLifecycle::new(Arc::clone(&registry), NODE_MONITOR_GRACE_PERIOD);
    super::super::run(&mut tasks, &registry, Arc::new(controller));
    (registry, tasks)
}

/// Lets nodes renew their leases every ten seconds, for so long.
async fn live(registry: &Registry, nodes: &[&str], seconds: u64) {
    let mut left = seconds;
    while left > 0 {
        for name in nodes {
            renew(registry, name);
        }
        let step = left.min(10);
        settle(step * 1000).await;
        left -= step;
    }
}

/// Wall-clock time stands still in these tests, so each renewal is simply later than the one before.
fn renew(registry: &Registry, name: &str) {
    let number = registry.store().version();
    let at = Timestamp::from_second(1_800_000_000 + i64::try_from(number).unwrap()).unwrap();
    let renewed = json!({"spec": {"renewTime": at.strftime("%Y-%m-%dT%H:%M:%S.000000Z").to_string()}});
    if value(registry, &kinds::LEASE, LEASE_NAMESPACE, name).is_null() {
        let mut lease = json!({"metadata": {"name": name}});
        fixture::merge(&mut lease, &renewed);
        fixture::create(registry, &kinds::LEASE, LEASE_NAMESPACE, &lease);
    } else {
        patch(registry, &kinds::LEASE, LEASE_NAMESPACE, name, Part::Main, &renewed);
    }
}

fn ready(registry: &Registry, name: &str) -> String {
    let node = value(registry, &kinds::NODE, "", name);
    conditions::status_of(&node, "Ready").unwrap_or_default().to_owned()
}

fn taints(registry: &Registry, name: &str) -> Vec<String> {
    let node = registry.find::<Node>("", name).unwrap();
    let mut texts: Vec<String> = taints_of(&node)
        .into_iter()
        .map(|taint| format!("{}:{}", taint.key.trim_start_matches("node.kubernetes.io/"), taint.effect))
        .collect();
    texts.sort();
    texts
}

fn pod_ready(registry: &Registry, name: &str) -> Value {
    let pod = value(registry, &kinds::POD, "shop", name);
    conditions::find(&pod, "Ready").cloned().unwrap_or_default()["status"].clone()
}

#[tokio::test(start_paused = true)]
async fn a_silent_node_becomes_unknown_its_pods_unready_at_once_and_the_taint_follows() {
    let (registry, _tasks) = start(&["n1", "n2", "n3"]);
    running(&registry, "lost", "n3", 1, true, &json!({}));
    running(&registry, "well", "n1", 2, true, &json!({}));
    live(&registry, &["n1", "n2", "n3"], 60).await;
    assert_eq!((ready(&registry, "n3"), taints(&registry, "n3")), ("True".to_owned(), Vec::new()));
    // Its last renewal was ten seconds ago.
    live(&registry, &["n1", "n2"], 38).await;
    assert_eq!(ready(&registry, "n3"), "True");
    live(&registry, &["n1", "n2"], 10).await;
    assert_eq!(ready(&registry, "n3"), "Unknown");
    let condition = value(&registry, &kinds::NODE, "", "n3");
    let condition = conditions::find(&condition, "Ready").unwrap();
    assert_eq!(
        (&condition["reason"], &condition["message"]),
        (&json!("NodeStatusUnknown"), &json!("Kubelet stopped posting node status."))
    );
    assert_eq!((pod_ready(&registry, "lost"), pod_ready(&registry, "well")), (json!("False"), json!("True")));
    let told = events(&registry, "shop");
    assert!(told.contains(&("NodeNotReady".to_owned(), "Node is not ready".to_owned())), "{told:?}");
    live(&registry, &["n1", "n2"], 7).await;
    assert_eq!(taints(&registry, "n3"), ["unreachable:NoExecute", "unreachable:NoSchedule"]);
    assert!(taints(&registry, "n1").is_empty());
    // It reports again: the kubelet itself says that it is ready.
    renew(&registry, "n3");
    patch(
        &registry,
        &kinds::NODE,
        "",
        "n3",
        Part::Status,
        &json!({"status": {"conditions": [
        {"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:05:00Z",
            "lastTransitionTime": "2026-01-01T00:05:00Z"}]}}),
    );
    live(&registry, &["n1", "n2", "n3"], 6).await;
    assert!(taints(&registry, "n3").is_empty());
}

#[tokio::test(start_paused = true)]
async fn most_nodes_of_a_small_cluster_going_silent_stops_the_tainting() {
    let (registry, _tasks) = start(&["n1", "n2", "n3", "n4", "control"]);
    let all = ["n1", "n2", "n3", "n4", "control"];
    live(&registry, &all, 30).await;
    live(&registry, &["n4", "control"], 600).await;
    for name in ["n1", "n2", "n3"] {
        assert_eq!(
            (ready(&registry, name), taints(&registry, name)),
            ("Unknown".to_owned(), vec!["unreachable:NoSchedule".to_owned()])
        );
    }
}

#[tokio::test(start_paused = true)]
async fn several_silent_nodes_are_tainted_one_after_another() {
    let (registry, _tasks) = start(&["n1", "n2", "n3", "n4", "n5"]);
    live(&registry, &["n1", "n2", "n3", "n4", "n5"], 30).await;
    live(&registry, &["n3", "n4", "n5"], 52).await;
    let tainted = |registry: &Registry| {
        ["n1", "n2"].iter().filter(|name| taints(registry, name).iter().any(|one| one.ends_with("NoExecute"))).count()
    };
    live(&registry, &["n3", "n4", "n5"], 4).await;
    assert_eq!(tainted(&registry), 1);
    live(&registry, &["n3", "n4", "n5"], 11).await;
    assert_eq!(tainted(&registry), 2);
}

#[tokio::test(start_paused = true)]
async fn with_no_node_left_nothing_is_tainted_and_all_have_time_again_afterwards() {
    let (registry, _tasks) = start(&["n1", "n2"]);
    live(&registry, &["n1", "n2"], 30).await;
    live(&registry, &[], 300).await;
    for name in ["n1", "n2"] {
        assert_eq!(
            (ready(&registry, name), taints(&registry, name)),
            ("Unknown".to_owned(), vec!["unreachable:NoSchedule".to_owned()])
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_kubelet_that_says_not_ready_is_another_taint_and_swapped_at_once() {
    let (registry, _tasks) = start(&["n1", "n2"]);
    // Not at the time of a look, so that the next one is seconds away.
    live(&registry, &["n1", "n2"], 11).await;
    let says = |status: &str, heartbeat: &str| {
        json!({"status": {"conditions": [{"type": "Ready", "status": status,
            "lastHeartbeatTime": heartbeat, "lastTransitionTime": heartbeat}]}})
    };
    patch(&registry, &kinds::NODE, "", "n1", Part::Status, &says("False", "2026-01-01T01:00:00Z"));
    settle(1000).await;
    assert_eq!(taints(&registry, "n1"), ["not-ready:NoSchedule"]);
    live(&registry, &["n1", "n2"], 12).await;
    assert_eq!(taints(&registry, "n1"), ["not-ready:NoExecute", "not-ready:NoSchedule"]);
    live(&registry, &["n2"], 70).await;
    assert_eq!(taints(&registry, "n1"), ["unreachable:NoExecute", "unreachable:NoSchedule"]);
}

#[tokio::test(start_paused = true)]
async fn a_cordoned_node_has_its_taint_at_once_and_loses_it() {
    let (registry, _tasks) = start(&["n1"]);
    settle(100).await;
    let cordon = |on: bool| {
        patch(&registry, &kinds::NODE, "", "n1", Part::Main, &json!({"spec": {"unschedulable": on}}));
    };
    cordon(true);
    settle(100).await;
    assert_eq!(taints(&registry, "n1"), ["unschedulable:NoSchedule"]);
    cordon(false);
    settle(100).await;
    assert!(taints(&registry, "n1").is_empty());
}

#[tokio::test(start_paused = true)]
async fn new_nodes_are_greeted_once() {
    let (registry, _tasks) = start(&["n1"]);
    live(&registry, &["n1"], 20).await;
    let greeted: Vec<_> =
        events(&registry, "default").into_iter().filter(|(reason, _)| reason == "RegisteredNode").collect();
    assert!(greeted.is_empty(), "there is no default namespace here, so events about nodes have no place: {greeted:?}");
    fixture::create(&registry, &kinds::NAMESPACE, "", &json!({"metadata": {"name": "default"}}));
    node(&registry, "n2", &json!({}));
    live(&registry, &["n1", "n2"], 20).await;
    let greeted: Vec<_> =
        events(&registry, "default").into_iter().filter(|(reason, _)| reason == "RegisteredNode").collect();
    assert_eq!(greeted, [("RegisteredNode".to_owned(), "Node n2 event: Registered Node n2 in Controller".to_owned())]);
}
