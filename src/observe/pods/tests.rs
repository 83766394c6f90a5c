//! Pods as a cluster states them through their lives.

use serde_json::{Value, json};

use super::*;
use crate::observe::book::{Book, Latest};

fn pod(metadata: &Value, status: &Value) -> Pod {
    let mut whole = json!({"name": "shop-1", "namespace": "shop", "uid": "u1", "labels": {"app": "shop"},
        "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "shop-7d9f", "uid": "r",
            "controller": true}]});
    whole.as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
    serde_json::from_value(json!({
        "metadata": whole,
        "spec": {
            "nodeName": "worker", "terminationGracePeriodSeconds": 20,
            "containers": [
                {"name": "shop", "image": "nginx:1.22", "readinessProbe": {"httpGet": {"port": 80}},
                    "ports": [{"containerPort": 8080}, {"containerPort": 9090}],
                    "lifecycle": {"preStop": {"sleep": {"seconds": 5}}}},
                {"name": "side", "image": "busybox:1.35", "livenessProbe": {"httpGet": {"port": 81}}},
            ],
        },
        "status": status,
    }))
    .unwrap()
}

fn running() -> Value {
    json!({
        "phase": "Running", "podIP": "10.0.0.7",
        "conditions": [{"type": "Ready", "status": "True"}, {"type": "PodScheduled", "status": "True"}],
        "containerStatuses": [
            {"name": "side", "ready": true, "restartCount": 9, "image": "", "imageID": "",
                "state": {"waiting": {"reason": "CrashLoopBackOff"}}},
            {"name": "shop", "ready": true, "restartCount": 1, "image": "", "imageID": "",
                "state": {"running": {"startedAt": "2026-01-02T03:04:05Z"}},
                "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}},
        ],
    })
}

#[test]
fn a_running_pod_is_told_by_its_main_container() {
    let seen = pod_seen(&pod(&json!({}), &running()));
    let wanted = PodSeen {
        namespace: "shop".to_owned(),
        name: "shop-1".to_owned(),
        uid: "u1".to_owned(),
        labels: [("app".to_owned(), "shop".to_owned())].into(),
        owner: Some("replicaset/shop-7d9f".to_owned()),
        node: Some("worker".to_owned()),
        ip: Some("10.0.0.7".to_owned()),
        phase: "Running".to_owned(),
        ready: true,
        spec_grace_seconds: 20,
        has_readiness_probe: true,
        has_liveness_probe: false,
        pre_stop: Some(PreStop::Sleep(5_000)),
        container_name: "shop".to_owned(),
        port: Some(8080),
        image: "nginx:1.22".to_owned(),
        restarts: 1,
        last_exit: Some(LastExit { exit_code: 137, reason: "OOMKilled".to_owned() }),
        container: ContainerSeen::Running { started_at: "2026-01-02T03:04:05Z".to_owned() },
        ..PodSeen::default()
    };
    assert_eq!(seen, wanted);
}

#[test]
fn an_evicted_pod_says_that_it_goes_and_why() {
    let going = json!({"deletionTimestamp": "2026-01-02T03:05:00Z", "deletionGracePeriodSeconds": 20});
    let mut status = running();
    status["conditions"] = json!([{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"},
        {"type": "Ready", "status": "False"}]);
    status["containerStatuses"][1]["state"] = json!({"terminated": {"exitCode": 143, "reason": "Error",
        "startedAt": "2026-01-02T03:04:05Z", "finishedAt": "2026-01-02T03:05:01Z"}});
    let seen = pod_seen(&pod(&going, &status));
    assert_eq!((seen.terminating, seen.grace_seconds, seen.ready), (true, Some(20), false));
    assert_eq!(seen.disruption_reason.as_deref(), Some("EvictionByEvictionAPI"));
    let ended = ContainerSeen::Terminated {
        exit_code: 143,
        reason: "Error".to_owned(),
        started_at: "2026-01-02T03:04:05Z".to_owned(),
        finished_at: "2026-01-02T03:05:01Z".to_owned(),
    };
    assert_eq!(seen.container, ended);
}

#[test]
fn a_pod_that_fits_nowhere_and_one_that_pulls_its_image_are_told_apart() {
    let nowhere = pod_seen(&pod(
        &json!({}),
        &json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False",
            "reason": "Unschedulable", "message": "0/2 nodes are available"}]}),
    ));
    assert_eq!(nowhere.unschedulable.as_deref(), Some("0/2 nodes are available"));
    assert_eq!(nowhere.container, ContainerSeen::None);
    let mut status = running();
    status["containerStatuses"][1]["state"] = json!({"waiting": {"reason": "ImagePullBackOff"}});
    let pulling = pod_seen(&pod(&json!({}), &status));
    assert_eq!(pulling.container, ContainerSeen::Waiting { reason: "ImagePullBackOff".to_owned() });
    assert_eq!(pulling.unschedulable, None);
}

#[test]
fn each_pre_stop_hook_is_told_apart() {
    let table = [
        (json!({"exec": {"command": ["nginx", "-s", "quit"]}}), Some(PreStop::Exec("nginx -s quit".to_owned()))),
        (json!({"httpGet": {"port": 80}}), Some(PreStop::Http)),
        (json!({"sleep": {"seconds": 0}}), Some(PreStop::Sleep(0))),
    ];
    for (hook, wanted) in table {
        let container = serde_json::from_value(json!({"name": "a", "lifecycle": {"preStop": hook}})).unwrap();
        assert_eq!(pre_stop(&container), wanted);
    }
}

#[test]
fn an_update_of_what_is_not_recorded_is_not_recorded() {
    let (mut book, mut out) = (Latest::<Pods>::new(), Vec::new());
    book.applied(&pod(&json!({}), &running()), &mut out);
    book.applied(&pod(&json!({"resourceVersion": "2", "annotations": {"a": "b"}}), &running()), &mut out);
    assert_eq!(out.len(), 1);
    book.deleted(&pod(&json!({}), &running()), &mut out);
    assert!(matches!(&out[1], What::Pod(seen) if seen.gone), "{out:?}");
}

#[test]
fn a_pod_made_anew_under_its_name_is_another_pod() {
    let (mut book, mut out) = (Latest::<Pods>::new(), Vec::new());
    book.applied(&pod(&json!({}), &running()), &mut out);
    out.clear();
    book.list_begins();
    book.applied(&pod(&json!({"uid": "u2"}), &running()), &mut out);
    book.list_ends(&mut out);
    let uids: Vec<(&str, bool)> = out
        .iter()
        .map(|what| match what {
            What::Pod(seen) => (seen.uid.as_str(), seen.gone),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(uids, [("u1", true), ("u2", false)]);
}
