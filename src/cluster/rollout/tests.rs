//! Tables of statuses as a cluster states them.

use serde_json::{Value, json};

use super::*;

fn deployment(status: &Value) -> Rollout {
    let object = json!({"metadata": {"generation": 2},
        "spec": {"replicas": 3, "selector": {}, "template": {}}, "status": status});
    of_deployment(&serde_json::from_value(object).unwrap())
}

fn waiting(rollout: &Rollout) -> &str {
    match rollout {
        Rollout::Waiting(words) => words,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_deployment_whose_controller_lags_is_not_rolled_out_whatever_its_counts_say() {
    let done = json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3});
    assert_eq!(deployment(&done), Rollout::Done);
    let lagging = json!({"observedGeneration": 1, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3});
    assert!(waiting(&deployment(&lagging)).contains("newest spec"));
    assert!(waiting(&deployment(&json!({}))).contains("newest spec"));
}

#[test]
fn a_deployment_waits_for_new_pods_then_for_old_ones_then_for_availability() {
    let table = [
        (json!({"observedGeneration": 2, "replicas": 4, "updatedReplicas": 1, "availableReplicas": 3}), "1 of 3"),
        (json!({"observedGeneration": 2, "replicas": 4, "updatedReplicas": 3, "availableReplicas": 4}), "1 old pods"),
        (json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 2}), "2 of 3"),
        (json!({"observedGeneration": 2}), "0 of 3"),
    ];
    for (status, words) in table {
        assert!(waiting(&deployment(&status)).contains(words), "{status}");
    }
}

#[test]
fn a_deployment_past_its_progress_deadline_is_stuck() {
    let status = json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 1, "conditions": [
        {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "has timed out"}]});
    assert_eq!(deployment(&status), Rollout::Stuck("has timed out".to_owned()));
}

fn stateful_set(strategy: &Value, status: &Value) -> Rollout {
    let object = json!({"metadata": {"generation": 2}, "status": status,
        "spec": {"replicas": 3, "serviceName": "a", "selector": {}, "template": {}, "updateStrategy": strategy}});
    of_stateful_set(&serde_json::from_value(object).unwrap())
}

#[test]
fn a_stateful_set_is_rolled_out_when_all_are_ready_and_of_one_revision() {
    let rolling = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}});
    let done = json!({"observedGeneration": 2, "replicas": 3, "readyReplicas": 3, "updatedReplicas": 3,
        "currentRevision": "b", "updateRevision": "b"});
    assert_eq!(stateful_set(&rolling, &done), Rollout::Done);
    let unready = json!({"observedGeneration": 2, "replicas": 3, "readyReplicas": 2, "updatedReplicas": 3,
        "currentRevision": "b", "updateRevision": "b"});
    assert_eq!(waiting(&stateful_set(&rolling, &unready)), "2 of 3 pods are ready");
    let mixed = json!({"observedGeneration": 2, "replicas": 3, "readyReplicas": 3, "updatedReplicas": 1,
        "currentRevision": "a", "updateRevision": "b"});
    assert_eq!(waiting(&stateful_set(&rolling, &mixed)), "1 of 3 pods have the newest template");
    assert_eq!(stateful_set(&json!({"type": "OnDelete"}), &mixed), Rollout::Done);
    let partition = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 2}});
    assert_eq!(stateful_set(&partition, &mixed), Rollout::Done);
}

#[test]
fn a_daemon_set_is_rolled_out_when_every_node_has_an_available_new_pod() {
    let table = [
        (json!({"observedGeneration": 2}), 2, 2, Rollout::Done),
        (json!({"observedGeneration": 2}), 1, 2, count(1, 2, "pods have the newest template")),
        (json!({"observedGeneration": 2}), 2, 1, count(1, 2, "pods are available")),
        (json!({"observedGeneration": 1}), 2, 2, unobserved()),
    ];
    for (mut status, updated, available, rollout) in table {
        for (key, value) in [
            ("desiredNumberScheduled", 2),
            ("currentNumberScheduled", 2),
            ("numberMisscheduled", 0),
            ("numberReady", available),
            ("numberAvailable", available),
            ("updatedNumberScheduled", updated),
        ] {
            status[key] = json!(value);
        }
        let object = json!({"metadata": {"generation": 2}, "spec": {"selector": {}, "template": {}}, "status": status});
        assert_eq!(of_daemon_set(&serde_json::from_value(object).unwrap()), rollout);
    }
}
