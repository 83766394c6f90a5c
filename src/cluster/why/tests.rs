//! Pods and Events as a cluster states them, and what is said of them.

use serde_json::{Value, json};

use super::*;

fn pod(status: &Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "shop-1", "uid": "u1"},
        "spec": {"containers": [{"name": "shop", "readinessProbe": {"httpGet": {"port": 80}}}]},
        "status": status,
    }))
    .unwrap()
}

fn event(kind: &str, name: &str, uid: &str, severity: &str, words: (&str, &str), at: &str) -> Event {
    serde_json::from_value(json!({
        "metadata": {}, "involvedObject": {"kind": kind, "name": name, "uid": uid}, "type": severity,
        "reason": words.0, "message": words.1, "lastTimestamp": at, "count": 3,
    }))
    .unwrap()
}

fn shop() -> WorkloadRef {
    "deployment/shop".parse().unwrap()
}

#[test]
fn each_way_of_not_being_ready_is_named() {
    let container = |state: Value, restarts: i32, last: Value| {
        json!({"phase": "Running", "containerStatuses": [{"name": "shop", "ready": false, "image": "a", "imageID": "",
            "restartCount": restarts, "state": state, "lastState": last}]})
    };
    let table = [
        (
            json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False",
                "reason": "Unschedulable", "message": "0/2 nodes are available"}]}),
            "Pending; cannot be scheduled: 0/2 nodes are available",
        ),
        (
            container(
                json!({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}),
                0,
                json!({}),
            ),
            "container shop waits (ImagePullBackOff): Back-off pulling image",
        ),
        (
            container(
                json!({"waiting": {"reason": "CrashLoopBackOff"}}),
                4,
                json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}),
            ),
            "container shop waits (CrashLoopBackOff), after 4 restarts, the last with exit code 137 (OOMKilled)",
        ),
        (
            container(json!({"terminated": {"exitCode": 1, "reason": "Error"}}), 0, json!({})),
            "container shop ended with exit code 1 (Error)",
        ),
        (
            container(json!({"running": {}}), 0, json!({})),
            "container shop runs and its readiness probe has not succeeded",
        ),
    ];
    for (status, words) in table {
        let lines = of_workload(&shop(), &[pod(&status)], &[]);
        assert!(lines.len() == 1 && lines[0].contains(words), "{lines:?} lacks {words}");
    }
}

#[test]
fn a_ready_pod_needs_no_words_and_neither_does_one_that_goes() {
    let ready = pod(&json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}));
    let mut going = pod(&json!({"phase": "Running"}));
    assert_eq!(of_workload(&shop(), std::slice::from_ref(&going), &[]).len(), 1);
    going.metadata.deletion_timestamp = Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
    assert_eq!(of_workload(&shop(), &[ready, going], &[]), Vec::<String>::new());
}

#[test]
fn the_latest_warning_about_a_pod_is_told_before_later_good_news() {
    let events = [
        event("Pod", "shop-1", "u1", "Warning", ("Unhealthy", "old"), "2026-01-01T00:00:01Z"),
        event("Pod", "shop-1", "u1", "Warning", ("Unhealthy", "Readiness probe failed"), "2026-01-01T00:00:05Z"),
        event("Pod", "shop-1", "u1", "Normal", ("Pulled", "image is there"), "2026-01-01T00:00:09Z"),
        event("Pod", "shop-2", "u2", "Warning", ("Failed", "another pod"), "2026-01-01T00:00:10Z"),
    ];
    let lines = of_workload(&shop(), &[pod(&json!({"phase": "Running"}))], &events);
    assert_eq!(lines, ["pod/shop-1: Running; last event: Unhealthy: Readiness probe failed (3 times)"]);
}

#[test]
fn what_the_scheduler_says_is_said_once() {
    let status = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False",
        "reason": "Unschedulable", "message": "0/2 nodes are available"}]});
    let same = event(
        "Pod",
        "shop-1",
        "u1",
        "Warning",
        ("FailedScheduling", "0/2 nodes are available"),
        "2026-01-01T00:00:01Z",
    );
    let lines = of_workload(&shop(), &[pod(&status)], &[same]);
    assert_eq!(lines, ["pod/shop-1: Pending; cannot be scheduled: 0/2 nodes are available"]);
}

#[test]
fn pods_that_cannot_even_be_created_are_explained_by_the_replica_set() {
    let quota =
        event("ReplicaSet", "shop-7d9f", "r", "Warning", ("FailedCreate", "exceeded quota"), "2026-01-01T00:00:01Z");
    let other = event("ReplicaSet", "shop-api-7d9f", "r", "Warning", ("FailedCreate", "no"), "2026-01-01T00:00:02Z");
    let lines = of_workload(&shop(), &[], &[quota, other]);
    assert_eq!(lines, ["last warning: FailedCreate: exceeded quota (3 times)"]);
}

#[test]
fn of_many_pods_only_some_are_explained() {
    let pods = vec![pod(&json!({"phase": "Pending"})); PODS_EXPLAINED_MAX + 2];
    let lines = of_workload(&shop(), &pods, &[]);
    assert_eq!((lines.len(), lines.last().map(String::as_str)), (PODS_EXPLAINED_MAX + 1, Some("and 2 more pods")));
}
