//! Where pods go, and what is said where they cannot.
use serde_json::{Value, json};

use super::*;
use crate::sandbox::{
    fixture::{self, create, merge, node, patch, pod, settle, until, value},
    registry::DeleteOptions,
};

/// Places all pods that are there, once each.
fn place_all(registry: &Arc<Registry>) {
    let mut scheduler = Scheduler::new(Arc::clone(registry), 1);
    drop(scheduler.read_all());
    while scheduler.queue.next_at().is_some_and(|at| at <= tokio::time::Instant::now()) {
        scheduler.place_some();
    }
}

fn place_of(registry: &Registry, name: &str) -> Option<String> {
    value(registry, &kinds::POD, "shop", name)["spec"]["nodeName"].as_str().map(str::to_owned)
}

fn why_not(registry: &Registry, name: &str) -> String {
    let pod = value(registry, &kinds::POD, "shop", name);
    conditions::find(&pod, "PodScheduled")
        .filter(|condition| condition["reason"] == "Unschedulable" && condition["status"] == "False")
        .map(|condition| condition["message"].as_str().unwrap_or_default().to_owned())
        .unwrap_or_default()
}

/// The first sentences of the message: why, without what preemption would say.
fn reasons(registry: &Registry, name: &str) -> String {
    why_not(registry, name).split(" preemption:").next().unwrap_or_default().to_owned()
}

fn add_pod(registry: &Registry, name: &str, more: &Value) {
    create(registry, &kinds::POD, "shop", &pod(name, more));
}

fn cluster(nodes: &[(&str, Value)]) -> Arc<Registry> {
    let registry = fixture::registry();
    for (name, more) in nodes {
        node(&registry, name, more);
    }
    registry
}

fn zone(name: &str) -> Value {
    json!({"metadata": {"labels": {"topology.kubernetes.io/zone": name}}})
}

fn apart(key: &str) -> Value {
    json!({"spec": {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"topologyKey": key, "labelSelector": {"matchLabels": {"app": "api"}}}]}}}})
}

const HOST: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

#[test]
fn each_rule_keeps_pods_away_in_upstreams_words() {
    let taint = json!({"spec": {"taints": [{"key": "dedicated", "value": "db", "effect": "NoSchedule"}]}});
    let cpu = |amount: &str| json!({"spec": {"containers": [{"name": "main", "image": "demo", "resources": {"requests": {"cpu": amount}}}]}});
    let port = json!({"spec": {"containers": [{"name": "main", "image": "demo",
        "ports": [{"containerPort": 80, "hostPort": 80}]}]}});
    let table: [(Value, Value, &str); 8] = [
        (json!({}), json!({}), ""),
        (taint.clone(), json!({}), "1 node(s) had untolerated taint {dedicated: db}"),
        (taint, json!({"spec": {"tolerations": [{"key": "dedicated", "operator": "Exists"}]}}), ""),
        (json!({"spec": {"unschedulable": true}}), json!({}), "1 node(s) were unschedulable"),
        (
            json!({}),
            json!({"spec": {"nodeSelector": {"disk": "ssd"}}}),
            "1 node(s) didn't match Pod's node affinity/selector",
        ),
        (json!({}), cpu("4001m"), "1 Insufficient cpu"),
        (json!({"status": {"allocatable": {"pods": "0"}}}), cpu("5"), "1 Insufficient cpu, 1 Too many pods"),
        (json!({}), port, ""),
    ];
    for (more_node, more_pod, wanted) in table {
        let registry = cluster(&[("n1", more_node)]);
        add_pod(&registry, "p", &more_pod);
        place_all(&registry);
        let wanted_reasons =
            if wanted.is_empty() { String::new() } else { format!("0/1 nodes are available: {wanted}.") };
        assert_eq!(reasons(&registry, "p"), wanted_reasons, "{more_pod}");
        assert_eq!(place_of(&registry, "p").is_some(), wanted.is_empty(), "{more_pod}");
    }
}

#[test]
fn one_message_counts_all_nodes_by_reason() {
    let taint = json!({"spec": {"taints": [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]}});
    let registry = cluster(&[("control", taint), ("n1", json!({})), ("n2", json!({}))]);
    for name in ["a", "b", "c"] {
        add_pod(&registry, name, &apart(HOST));
    }
    place_all(&registry);
    assert_eq!(
        why_not(&registry, "c"),
        "0/3 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, \
         2 node(s) didn't match pod anti-affinity rules. preemption: 0/3 nodes are available: \
         1 Preemption is not helpful for scheduling, 2 No preemption victims found for incoming pod."
    );
    let told = fixture::events(&registry, "shop");
    assert!(told.contains(&("FailedScheduling".to_owned(), why_not(&registry, "c"))), "{told:?}");
    let placed = place_of(&registry, "a").unwrap();
    let wanted = format!("Successfully assigned shop/a to {placed}");
    assert!(told.contains(&("Scheduled".to_owned(), wanted)), "{told:?}");
}

#[test]
fn where_upstream_would_preempt_the_message_says_that_the_sandbox_does_not() {
    let registry = cluster(&[("n1", json!({"status": {"allocatable": {"pods": "1"}}}))]);
    add_pod(&registry, "low", &json!({"spec": {"nodeName": "n1"}}));
    add_pod(&registry, "high", &json!({"spec": {"priorityClassName": "system-cluster-critical"}}));
    place_all(&registry);
    assert!(why_not(&registry, "high").ends_with(
        "preemption: 0/1 nodes are available: 1 node(s) have pods of lower priority, which the evenkeel sandbox does not preempt."
    ));
}

#[test]
fn without_nodes_the_message_says_so() {
    let registry = cluster(&[]);
    add_pod(&registry, "p", &json!({}));
    place_all(&registry);
    assert_eq!(why_not(&registry, "p"), "no nodes available to schedule pods");
}

#[test]
fn anti_affinity_repels_both_ways() {
    let registry = cluster(&[("n1", zone("a")), ("n2", zone("b"))]);
    add_pod(&registry, "first", &apart(ZONE));
    place_all(&registry);
    // It repels nobody itself, and yet it may not go to the zone of one that repels it.
    add_pod(&registry, "plain", &json!({}));
    place_all(&registry);
    assert_ne!(place_of(&registry, "plain"), place_of(&registry, "first"));
    add_pod(&registry, "other", &json!({"metadata": {"labels": {"app": "other"}}}));
    node(&registry, "n3", &zone("b"));
    add_pod(&registry, "third", &apart(ZONE));
    place_all(&registry);
    assert!(place_of(&registry, "other").is_some());
    let text = reasons(&registry, "third");
    assert!(text.contains("node(s) didn't match pod anti-affinity rules"), "{text}");
    // Where the newcomer has no terms the words are others.
    let registry = cluster(&[("n1", json!({}))]);
    add_pod(&registry, "first", &apart(HOST));
    place_all(&registry);
    add_pod(&registry, "plain", &json!({}));
    place_all(&registry);
    assert_eq!(
        reasons(&registry, "plain"),
        "0/1 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity rules."
    );
}

#[test]
fn the_first_of_a_group_may_be_near_itself_and_the_rest_follow() {
    let near = |label: &str| {
        json!({"spec": {"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": ZONE, "labelSelector": {"matchLabels": {"app": label}}}]}}}})
    };
    let registry = cluster(&[("n1", zone("a")), ("n2", zone("b")), ("n3", zone("b"))]);
    for name in ["a", "b", "c", "d"] {
        add_pod(&registry, name, &near("api"));
    }
    add_pod(&registry, "lonely", &near("none"));
    place_all(&registry);
    let zone_of = |name: &str| if place_of(&registry, name).unwrap() == "n1" { "a" } else { "b" };
    assert!(["b", "c", "d"].iter().all(|name| zone_of(name) == zone_of("a")));
    assert_eq!(reasons(&registry, "lonely"), "0/3 nodes are available: 3 node(s) didn't match pod affinity rules.");
}

fn spread(more: &Value) -> Value {
    let mut constraint = json!({"maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "api"}}});
    merge(&mut constraint, more);
    json!({"spec": {"topologySpreadConstraints": [constraint]}})
}

#[test]
fn hard_spreading_counts_zones_as_upstream_does() {
    let cordoned = json!({"metadata": {"labels": {ZONE: "b"}}, "spec": {"unschedulable": true,
        "taints": [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]}});
    let refused = "node(s) didn't match pod topology spread constraints";
    // The other zone's node, the constraint, and whether the second pod finds a place beside the first.
    let table = [
        (zone("b"), json!({}), true, ""),
        // A cordoned node still counts for the minimum, unless the constraint honours taints.
        (cordoned.clone(), json!({}), false, refused),
        (cordoned, json!({"nodeTaintsPolicy": "Honor"}), true, ""),
        (json!({}), json!({}), true, ""),
        (json!({}), json!({"minDomains": 2}), false, "missing required label"),
    ];
    for (other, constraint, both, why) in table {
        let registry = cluster(&[("n1", zone("a")), ("n2", other)]);
        add_pod(&registry, "a", &spread(&constraint));
        place_all(&registry);
        add_pod(&registry, "b", &spread(&constraint));
        place_all(&registry);
        assert_eq!(place_of(&registry, "a").is_some() && place_of(&registry, "b").is_some(), both, "{constraint}");
        assert!(reasons(&registry, "b").contains(why), "{constraint}: {}", reasons(&registry, "b"));
    }
}

#[test]
fn pods_of_an_older_revision_count_unless_the_constraint_tells_them_apart() {
    for (keys, placed) in [(json!({}), false), (json!({"matchLabelKeys": ["pod-template-hash"]}), true)] {
        let registry = cluster(&[("n1", zone("a")), ("n2", zone("b"))]);
        let revision = |hash: &str, more: &Value| {
            let mut pod = json!({"metadata": {"labels": {"pod-template-hash": hash}}});
            merge(&mut pod, more);
            pod
        };
        // Two old ones in one zone, and the other zone is closed.
        for name in ["old-1", "old-2"] {
            add_pod(&registry, name, &revision("old", &json!({"spec": {"nodeName": "n1"}})));
        }
        patch(&registry, &kinds::NODE, "", "n2", Part::Main, &json!({"spec": {"unschedulable": true}}));
        add_pod(&registry, "new", &revision("new", &spread(&keys)));
        place_all(&registry);
        assert_eq!(place_of(&registry, "new").is_some(), placed, "{keys}");
    }
}

#[test]
fn pods_of_a_set_are_spread_over_nodes_and_zones_by_default() {
    let registry = cluster(&[("n1", zone("a")), ("n2", zone("a")), ("n3", zone("b")), ("n4", zone("b"))]);
    let labels = json!({"app": "api"});
    let set = json!({"metadata": {"name": "api"}, "spec": {"replicas": 4, "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "demo"}]}}}});
    let uid = create(&registry, &kinds::REPLICA_SET, "shop", &set).uid.clone();
    for name in ["a", "b", "c", "d"] {
        let owner =
            json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "api", "uid": uid, "controller": true});
        add_pod(&registry, name, &json!({"metadata": {"ownerReferences": [owner]}}));
    }
    place_all(&registry);
    let mut places: Vec<String> = ["a", "b", "c", "d"].iter().map(|name| place_of(&registry, name).unwrap()).collect();
    places.sort();
    assert_eq!(places, ["n1", "n2", "n3", "n4"]);
}

#[test]
fn the_emptier_the_dearer_and_the_less_reluctant_node_is_better() {
    let reluctant = json!({"spec": {"taints": [{"key": "slow", "effect": "PreferNoSchedule"}]}});
    let registry = cluster(&[("n1", reluctant), ("n2", json!({}))]);
    add_pod(&registry, "a", &json!({}));
    place_all(&registry);
    assert_eq!(place_of(&registry, "a").as_deref(), Some("n2"));
    let large = json!({"status": {"allocatable": {"cpu": "16", "memory": "32Gi"}}});
    let registry = cluster(&[("small", json!({})), ("large", large)]);
    let cpu = json!({"spec": {"containers": [{"name": "main", "image": "demo",
        "resources": {"requests": {"cpu": "1", "memory": "2Gi"}}}]}});
    add_pod(&registry, "a", &cpu);
    place_all(&registry);
    assert_eq!(place_of(&registry, "a").as_deref(), Some("large"));
    let registry = cluster(&[("n1", json!({"metadata": {"labels": {"disk": "ssd"}}})), ("n2", json!({}))]);
    let preferring = json!({"spec": {"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 1, "preference": {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}}]}}}});
    add_pod(&registry, "a", &preferring);
    place_all(&registry);
    assert_eq!(place_of(&registry, "a").as_deref(), Some("n1"));
}

#[test]
fn preferred_affinity_draws_and_pushes() {
    let term = |kind: &str| {
        json!({"spec": {"affinity": {kind: {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 100, "podAffinityTerm": {"topologyKey": HOST, "labelSelector": {"matchLabels": {"app": "cache"}}}}]}}}})
    };
    for (kind, node) in [("podAffinity", "n1"), ("podAntiAffinity", "n2")] {
        let registry = cluster(&[("n1", json!({})), ("n2", json!({}))]);
        add_pod(&registry, "cache", &json!({"metadata": {"labels": {"app": "cache"}}, "spec": {"nodeName": "n1"}}));
        add_pod(&registry, "a", &term(kind));
        place_all(&registry);
        assert_eq!(place_of(&registry, "a").as_deref(), Some(node), "{kind}");
    }
}

#[test]
fn a_pod_that_names_its_node_looks_at_no_other() {
    let named = |name: &str| {
        json!({"spec": {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]}]}}}}})
    };
    let registry = cluster(&[("n1", json!({})), ("n2", json!({"spec": {"unschedulable": true}})), ("n3", json!({}))]);
    add_pod(&registry, "a", &named("n3"));
    add_pod(&registry, "b", &named("n2"));
    place_all(&registry);
    assert_eq!(place_of(&registry, "a").as_deref(), Some("n3"));
    assert_eq!(
        reasons(&registry, "b"),
        "0/3 nodes are available: 1 node(s) were unschedulable, 2 node(s) didn't satisfy plugin(s) [NodeAffinity]."
    );
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_tried_again_when_something_changes_that_helps() {
    let registry = cluster(&[("n1", json!({"spec": {"unschedulable": true}}))]);
    let mut tasks = JoinSet::new();
    start(&mut tasks, &registry, 1);
    add_pod(&registry, "a", &json!({}));
    until("it is said that there is no node", || !why_not(&registry, "a").is_empty()).await;
    // A pod on that node leaves: it is still cordoned, so that is not worth a try.
    settle(5000).await;
    let attempts = || {
        let events = registry.store().list(&kinds::EVENT, Some("shop")).1;
        events.iter().map(|event| event.value()["count"].as_i64().unwrap_or(0)).sum::<i64>()
    };
    let before = attempts();
    add_pod(&registry, "other", &json!({"spec": {"nodeName": "n1"}}));
    registry
        .delete(&kinds::POD, "shop", "other", &DeleteOptions { grace_seconds: Some(0), ..DeleteOptions::default() })
        .unwrap();
    settle(5000).await;
    assert_eq!(attempts(), before);
    patch(&registry, &kinds::NODE, "", "n1", Part::Main, &json!({"spec": {"unschedulable": false}}));
    settle(100).await;
    assert_eq!(place_of(&registry, "a").as_deref(), Some("n1"));
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_anti_affinity_blocks_comes_when_the_other_is_gone() {
    let registry = cluster(&[("n1", json!({}))]);
    let mut tasks = JoinSet::new();
    start(&mut tasks, &registry, 1);
    add_pod(&registry, "a", &apart(HOST));
    until("the first has its node", || place_of(&registry, "a").is_some()).await;
    add_pod(&registry, "b", &apart(HOST));
    settle(2000).await;
    assert_eq!(place_of(&registry, "b"), None);
    registry.delete(&kinds::POD, "shop", "a", &DeleteOptions::default()).unwrap();
    settle(2000).await;
    assert_eq!(place_of(&registry, "b"), None, "while it terminates it still repels");
    registry
        .delete(&kinds::POD, "shop", "a", &DeleteOptions { grace_seconds: Some(0), ..DeleteOptions::default() })
        .unwrap();
    settle(2000).await;
    assert_eq!(place_of(&registry, "b").as_deref(), Some("n1"));
}

#[tokio::test(start_paused = true)]
async fn a_pod_waits_for_the_volume_claims_that_it_names() {
    let registry = cluster(&[("n1", json!({})), ("n2", json!({}))]);
    let mut tasks = JoinSet::new();
    start(&mut tasks, &registry, 1);
    let volumes =
        json!([{"name": "scratch", "emptyDir": {}}, {"name": "data", "persistentVolumeClaim": {"claimName": "nope"}}]);
    add_pod(&registry, "a", &json!({"spec": {"volumes": volumes}}));
    until("it is said that there is no claim", || !why_not(&registry, "a").is_empty()).await;
    let why = "0/2 nodes are available: persistentvolumeclaim \"nope\" not found. preemption: 0/2 nodes are available: \
               2 Preemption is not helpful for scheduling.";
    assert_eq!(why_not(&registry, "a"), why);
    assert!(fixture::events(&registry, "shop").contains(&("FailedScheduling".to_owned(), why.to_owned())));
    let claim = |name: &str| {
        json!({"metadata": {"name": name}, "spec": {"accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}}}})
    };
    // Another claim, and a node that changes nothing about it, do not help.
    create(&registry, &kinds::PERSISTENT_VOLUME_CLAIM, "shop", &claim("other"));
    settle(30_000).await;
    assert_eq!(place_of(&registry, "a"), None);
    create(&registry, &kinds::PERSISTENT_VOLUME_CLAIM, "shop", &claim("nope"));
    settle(2000).await;
    assert!(place_of(&registry, "a").is_some());
}

#[tokio::test(start_paused = true)]
async fn other_schedulers_pods_and_gated_ones_are_left() {
    let registry = cluster(&[("n1", json!({}))]);
    let mut tasks = JoinSet::new();
    start(&mut tasks, &registry, 1);
    add_pod(&registry, "theirs", &json!({"spec": {"schedulerName": "theirs"}}));
    add_pod(&registry, "gated", &json!({"spec": {"schedulingGates": [{"name": "wait"}]}}));
    settle(2000).await;
    assert_eq!((place_of(&registry, "theirs"), place_of(&registry, "gated")), (None, None));
    let gated = value(&registry, &kinds::POD, "shop", "gated");
    assert_eq!(conditions::find(&gated, "PodScheduled").unwrap()["reason"], "SchedulingGated");
    patch(&registry, &kinds::POD, "shop", "gated", Part::Main, &json!({"spec": {"schedulingGates": []}}));
    settle(2000).await;
    assert!(place_of(&registry, "gated").is_some());
}
