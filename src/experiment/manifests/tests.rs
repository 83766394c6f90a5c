use serde_json::json;

use super::*;

#[test]
fn a_deployment_is_read_with_the_defaults_of_the_api_server() {
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"},
        "spec": {"selector": {"matchLabels": {"app": "shop"}},
                 "template": {"metadata": {"labels": {"app": "shop"}}, "spec": {"containers": [{"name": "shop"}]}}}
    });
    let fact = workload(&deployment).unwrap();
    assert_eq!(fact.workload.to_string(), "deployment/shop");
    assert_eq!((fact.replicas, fact.strategy.kind.as_str(), fact.strategy.max_surge), (1, "RollingUpdate", None));
    assert_eq!(
        (fact.template.grace_seconds, fact.template.pre_stop_seconds, fact.template.boot_seconds),
        (30, None, 0)
    );
}

#[test]
fn the_longest_sleep_before_sigterm_is_found_however_it_is_written() {
    let table = [
        (json!({"sleep": {"seconds": 7}}), Some(7)),
        (json!({"exec": {"command": ["sleep", "5"]}}), Some(5)),
        (json!({"exec": {"command": ["/bin/sh", "-c", "sleep 10"]}}), Some(10)),
        (json!({"exec": {"command": ["/bin/sleep", "4s"]}}), Some(4)),
        (json!({"exec": {"command": ["/stop"]}}), None),
        (json!({"httpGet": {"path": "/stop"}}), None),
    ];
    for (hook, seconds) in table {
        assert_eq!(pre_stop_seconds(&json!({"lifecycle": {"preStop": hook}})), seconds, "{hook}");
    }
}

#[test]
fn a_daemon_set_has_as_many_pods_as_the_cluster_says() {
    let daemon_set = |status: Json| {
        json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "proxy"}, "status": status,
               "spec": {"updateStrategy": {"rollingUpdate": {"maxUnavailable": "50%"}}, "template": {}}})
    };
    let fact = workload(&daemon_set(json!({"desiredNumberScheduled": 4}))).unwrap();
    assert_eq!((fact.replicas, fact.strategy.max_unavailable), (4, Some(IntOrPercent::Percent(50))));
    assert_eq!(workload(&daemon_set(json!({}))).unwrap().replicas, 0);
}

#[test]
fn services_and_budgets_are_read_and_other_kinds_are_not() {
    let read = service(&json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "shop"},
        "spec": {"type": "NodePort", "clusterIP": "None", "selector": {"app": "shop"},
                 "ports": [{"port": 80, "nodePort": 30080}, {"port": 81}]}}))
    .unwrap();
    assert!(read.has_node_ports() && read.is_headless());
    assert_eq!(read.ports[0], ServicePortFact { port: 80, node_port: Some(30080) });
    assert_eq!(read.ports[1].node_port, None);
    let read = budget(&json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "shop"},
        "spec": {"minAvailable": "50%", "selector": {}}}))
    .unwrap();
    assert_eq!((read.min_available, read.selector), (Some(IntOrPercent::Percent(50)), Some(LabelSelector::default())));
    let other = json!({"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": "shop"}});
    assert!(service(&other).is_none() && budget(&other).is_none() && workload(&other).is_none());
}
