//! Objects as a cluster states them, and the facts made of them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;

fn read<T: DeserializeOwned>(json: Value) -> T {
    serde_json::from_value(json).unwrap()
}

#[test]
fn a_deployment_keeps_what_planning_counts_with() {
    let fact = deployment_fact(&read(json!({
        "metadata": {"name": "shop"},
        "spec": {
            "replicas": 4, "minReadySeconds": 3,
            "selector": {"matchLabels": {"app": "shop"},
                "matchExpressions": [{"key": "tier", "operator": "Exists"}]},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 1}},
            "template": {"metadata": {"labels": {"app": "shop"}}, "spec": {
                "terminationGracePeriodSeconds": 20,
                "containers": [{"name": "shop", "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
                    "readinessProbe": {"initialDelaySeconds": 2, "periodSeconds": 3, "successThreshold": 2}},
                    {"name": "side"}],
            }},
        },
    })));
    assert_eq!(fact.workload.to_string(), "deployment/shop");
    assert_eq!((fact.replicas, fact.min_ready_seconds), (4, 3));
    assert_eq!(fact.strategy.max_surge, Some(IntOrPercent::Percent(25)));
    assert_eq!(fact.strategy.max_unavailable, Some(IntOrPercent::Int(1)));
    assert_eq!(fact.selector.to_string(), "app=shop,tier");
    let template = fact.template;
    assert_eq!(template.containers, ["shop", "side"]);
    assert_eq!((template.grace_seconds, template.pre_stop_seconds, template.boot_seconds), (20, Some(5), 5));
}

#[test]
fn a_pre_stop_hook_is_as_long_as_it_says() {
    let table = [
        (json!({"sleep": {"seconds": 5}}), Some(5)),
        (json!({"exec": {"command": ["sleep", "7"]}}), Some(7)),
        (json!({"exec": {"command": ["/bin/sh", "-c", "sleep 9s; nginx -s quit"]}}), Some(9)),
        (json!({"exec": {"command": ["/bin/sleep", "3"]}}), Some(3)),
        (json!({"exec": {"command": ["nginx", "-s", "quit"]}}), None),
        (json!({"httpGet": {"port": 80}}), None),
    ];
    for (hook, seconds) in table {
        let container = read(json!({"name": "a", "lifecycle": {"preStop": hook}}));
        assert_eq!(pre_stop_seconds(&container), seconds, "{hook}");
    }
}

#[test]
fn a_node_of_the_control_plane_is_known_by_its_label_and_a_cordoned_one_by_its_spec() {
    let fact = node_fact(&read(json!({
        "metadata": {"name": "n", "labels": {"node-role.kubernetes.io/control-plane": ""}},
        "spec": {"unschedulable": true, "taints": [{"key": "a", "effect": "NoSchedule"}]},
        "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]},
    })));
    assert!(fact.control_plane && fact.unschedulable && !fact.ready);
    assert_eq!(fact.taints, ["a:NoSchedule"]);
    let plain = node_fact(&read(json!({"metadata": {"name": "n"},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]}})));
    assert!(!plain.control_plane && !plain.unschedulable && plain.ready);
}

#[test]
fn a_pod_knows_its_controller_and_not_just_any_owner() {
    let fact = pod_fact(&read(json!({
        "metadata": {"name": "shop-1", "creationTimestamp": "2026-01-02T03:04:05Z", "ownerReferences": [
            {"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "1"},
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "shop-7d9f", "uid": "2", "controller": true}]},
        "spec": {"nodeName": "worker", "containers": []},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    })));
    assert_eq!(fact.owner.as_deref(), Some("replicaset/shop-7d9f"));
    assert_eq!(fact.created, "2026-01-02T03:04:05Z");
    assert!(fact.running && fact.ready && !fact.terminating);
}

#[test]
fn an_absent_selector_of_a_budget_is_not_an_empty_one() {
    let absent = budget_fact(&read(json!({"metadata": {"name": "b"}, "spec": {"minAvailable": "50%"}})));
    assert_eq!((absent.selector, absent.min_available), (None, Some(IntOrPercent::Percent(50))));
    let empty = budget_fact(&read(json!({"metadata": {"name": "b"}, "spec": {"selector": {}, "maxUnavailable": 1}})));
    assert_eq!(empty.selector, Some(LabelSelector::default()));
}

#[test]
fn an_operator_that_is_not_known_selects_nothing() {
    let selector = selector_of(&read(json!({"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]})));
    assert!(!selector.matches(&BTreeMap::from([("a".to_owned(), "1".to_owned())])));
    assert!(!selector.matches(&BTreeMap::new()));
}

#[test]
fn a_headless_service_has_no_address() {
    let headless = json!({"metadata": {"name": "s"}, "spec": {"clusterIP": "None", "ports": [{"port": 80}]}});
    assert_eq!(service_fact(&read(headless)).cluster_ip, None);
    let published = json!({"metadata": {"name": "s"}, "spec": {"type": "NodePort", "clusterIP": "10.0.0.1",
        "ports": [{"port": 80, "nodePort": 30080}], "selector": {"app": "shop"}}});
    let fact = service_fact(&read(published));
    assert_eq!((fact.cluster_ip.as_deref(), fact.kind.as_str()), (Some("10.0.0.1"), "NodePort"));
    assert_eq!(fact.ports, [ServicePortFact { port: 80, node_port: Some(30_080) }]);
}
