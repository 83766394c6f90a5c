//! A `ReplicaSet` and its pods, with nothing but the controller and a stand-in for kubelets.

use serde_json::{Value, json};

use super::*;
use crate::sandbox::{
    controllers::test_cluster::{Kubelet, TestCluster, bind, is_active, set_ready, template},
    registry::{DeleteOptions, Part, WriteOptions},
    store::Wanted,
};

fn cluster() -> TestCluster {
    TestCluster::start(|registry| vec![Arc::new(ReplicaSets::new(Arc::clone(registry)))])
}

fn set(replicas: i32) -> Value {
    json!({
        "metadata": {"name": "web"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template("web", "v1")},
    })
}

fn active(cluster: &TestCluster) -> Vec<String> {
    let pods = cluster.all(&kinds::POD).into_iter().filter(is_active);
    pods.map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

fn status(cluster: &TestCluster) -> Value {
    cluster.value(&kinds::REPLICA_SET, "web")["status"].clone()
}

#[tokio::test(start_paused = true)]
async fn pods_are_created_once_for_each_gap_with_owner_labels_and_events() {
    let cluster = cluster();
    cluster.create(&kinds::REPLICA_SET, "shop", set(5));
    cluster.settle().await;
    assert_eq!(active(&cluster).len(), 5);
    let pod = &cluster.all(&kinds::POD)[0];
    let owner = &pod["metadata"]["ownerReferences"][0];
    assert_eq!(
        (&owner["kind"], &owner["name"], &owner["controller"]),
        (&json!("ReplicaSet"), &json!("web"), &json!(true))
    );
    assert_eq!(owner["blockOwnerDeletion"], true);
    let name = pod["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("web-") && name.len() == 9, "{name}");
    assert!(cluster.events("SuccessfulCreate").contains(&format!("Created pod: {name}")));
    assert_eq!(cluster.events("SuccessfulCreate").len(), 5);
    let status = status(&cluster);
    assert_eq!((&status["replicas"], &status["fullyLabeledReplicas"]), (&json!(5), &json!(5)));
    assert_eq!((&status["observedGeneration"], &status["readyReplicas"]), (&json!(1), &Value::Null));
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_going_or_has_ended_is_replaced_at_once() {
    let mut cluster = cluster();
    cluster.run_pods(Kubelet { stops: Duration::from_secs(30), ..Kubelet::default() });
    cluster.create(&kinds::REPLICA_SET, "shop", set(3));
    cluster.until("ready", |cluster| status(cluster)["readyReplicas"] == 3).await;
    let before = active(&cluster);
    cluster.delete(&kinds::POD, &before[0], &DeleteOptions::default());
    cluster.change(&kinds::POD, &before[1], Part::Status, |pod| pod["status"]["phase"] = json!("Failed"));
    cluster.settle().await;
    let after = active(&cluster);
    assert_eq!(after.len(), 3);
    assert!(!after.contains(&before[0]) && !after.contains(&before[1]) && after.contains(&before[2]));
    assert_eq!(cluster.all(&kinds::POD).len(), 5, "the failed one stays, and so does the other for its grace");
    assert_eq!(status(&cluster)["replicas"], 3);
}

#[tokio::test(start_paused = true)]
async fn the_ones_that_are_not_ready_and_the_cheap_ones_go_first() {
    let mut cluster = cluster();
    cluster.create(&kinds::REPLICA_SET, "shop", set(4));
    cluster.settle().await;
    let names = active(&cluster);
    for name in &names {
        bind(&cluster.registry, name, "n0");
        set_ready(&cluster.registry, name, name != &names[2]);
    }
    cluster.change(&kinds::POD, &names[0], Part::Main, |pod| {
        pod["metadata"]["annotations"][DELETION_COST] = json!("-10");
    });
    cluster.run_pods(Kubelet::default());
    cluster.change(&kinds::REPLICA_SET, "web", Part::Main, |set| set["spec"]["replicas"] = json!(2));
    cluster.settle().await;
    assert_eq!(active(&cluster), [names[1].clone(), names[3].clone()]);
    let mut deleted = cluster.events("SuccessfulDelete");
    deleted.sort();
    assert_eq!(deleted, [format!("Deleted pod: {}", names[0]), format!("Deleted pod: {}", names[2])]);
}

#[tokio::test(start_paused = true)]
async fn of_a_deployments_pods_those_on_the_fuller_node_go_first() {
    let cluster = cluster();
    // Two sets of one owner: the other one's pod fills up n1.
    let owner = json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "d", "uid": "u", "controller": true}]);
    for (name, replicas) in [("web", 2), ("old", 1)] {
        let mut value = set(replicas);
        value["metadata"] = json!({"name": name, "ownerReferences": owner});
        value["spec"]["selector"]["matchLabels"]["set"] = json!(name);
        value["spec"]["template"]["metadata"]["labels"]["set"] = json!(name);
        cluster.create(&kinds::REPLICA_SET, "shop", value);
    }
    cluster.settle().await;
    let of = |set: &str| -> Vec<String> {
        let names = active(&cluster);
        names.into_iter().filter(|name| name.starts_with(set)).collect()
    };
    let (web, old) = (of("web"), of("old"));
    for (name, node) in [(&web[0], "n0"), (&web[1], "n1"), (&old[0], "n1")] {
        bind(&cluster.registry, name, node);
        set_ready(&cluster.registry, name, true);
    }
    cluster.change(&kinds::REPLICA_SET, "web", Part::Main, |set| set["spec"]["replicas"] = json!(1));
    cluster.settle().await;
    assert_eq!(of("web"), [web[0].clone()]);
}

#[tokio::test(start_paused = true)]
async fn matching_orphans_are_adopted_and_pods_that_match_no_more_are_released() {
    let cluster = cluster();
    let mut orphan = template("web", "v1");
    orphan["metadata"]["name"] = json!("orphan");
    cluster.create(&kinds::POD, "shop", orphan);
    cluster.create(&kinds::REPLICA_SET, "shop", set(2));
    cluster.settle().await;
    let names = active(&cluster);
    assert!(names.len() == 2 && names.contains(&"orphan".to_owned()), "{names:?}");
    let controller = |name: &str| cluster.registry.get(&kinds::POD, "shop", name).unwrap().controller().cloned();
    assert_eq!(controller("orphan").unwrap().name, "web");
    cluster.change(&kinds::POD, "orphan", Part::Main, |pod| pod["metadata"]["labels"]["app"] = json!("other"));
    cluster.settle().await;
    assert_eq!(controller("orphan"), None);
    assert_eq!(active(&cluster).len(), 3, "its place is filled");
    assert_eq!(status(&cluster)["replicas"], 2);
}

#[tokio::test(start_paused = true)]
async fn a_pod_of_another_owner_is_left_alone_though_it_matches() {
    let cluster = cluster();
    let mut foreign = template("web", "v1");
    foreign["metadata"]["name"] = json!("foreign");
    foreign["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "other", "controller": true}]);
    cluster.create(&kinds::POD, "shop", foreign);
    cluster.create(&kinds::REPLICA_SET, "shop", set(1));
    cluster.settle().await;
    assert_eq!(active(&cluster).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn ready_pods_become_available_when_they_have_been_ready_for_long_enough() {
    let mut cluster = cluster();
    cluster.run_pods(Kubelet::default());
    let mut value = set(2);
    value["spec"]["minReadySeconds"] = json!(10);
    cluster.create(&kinds::REPLICA_SET, "shop", value);
    cluster.until("ready", |cluster| status(cluster)["readyReplicas"] == 2).await;
    let ready = tokio::time::Instant::now();
    assert_eq!(status(&cluster)["availableReplicas"], Value::Null);
    cluster.until("available", |cluster| status(cluster)["availableReplicas"] == 2).await;
    // Times of objects are whole seconds, so up to one of them may have been over already.
    let took = ready.elapsed().as_secs_f64();
    assert!((8.9..10.2).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_pod_is_a_condition_and_an_event_and_few_attempts() {
    let cluster = cluster();
    let mut value = set(100);
    value["spec"]["template"]["metadata"]["labels"] = json!({});
    // Past the rules that would refuse such a set.
    value["apiVersion"] = json!("apps/v1");
    value["kind"] = json!("ReplicaSet");
    value["metadata"] = json!({"name": "web", "namespace": "shop", "uid": "u", "generation": 1});
    let written =
        cluster.registry.store().write(&kinds::REPLICA_SET, "shop", "web", |_| Ok::<_, ()>(Wanted::Put(value)));
    written.unwrap();
    cluster.settle().await;
    let conditions = &status(&cluster)["conditions"];
    assert_eq!((&conditions[0]["type"], &conditions[0]["status"]), (&json!("ReplicaFailure"), &json!("True")));
    assert_eq!(conditions[0]["reason"], "FailedCreate");
    assert!(conditions[0]["message"].as_str().unwrap().contains("unable to create pods, no labels"));
    assert!(cluster.all(&kinds::POD).is_empty());
    // It can be created: the condition goes.
    let fixed = cluster.registry.store().write(&kinds::REPLICA_SET, "shop", "web", |before| {
        let mut value = before.unwrap().value();
        value["spec"]["template"]["metadata"]["labels"] = json!({"app": "web"});
        Ok::<_, ()>(Wanted::Put(value))
    });
    fixed.unwrap();
    cluster.until("created", |cluster| status(cluster)["replicas"] == 100).await;
    assert_eq!(status(&cluster)["conditions"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn a_set_that_is_going_creates_nothing() {
    let cluster = cluster();
    let mut value = set(3);
    value["metadata"]["finalizers"] = json!(["test/hold"]);
    cluster.create(&kinds::REPLICA_SET, "shop", value);
    cluster.settle().await;
    cluster.delete(&kinds::REPLICA_SET, "web", &DeleteOptions::default());
    let names = active(&cluster);
    cluster.delete(&kinds::POD, &names[0], &DeleteOptions::default());
    cluster.settle().await;
    assert_eq!(active(&cluster).len(), 2);
    assert_eq!(status(&cluster)["replicas"], 2);
}

#[test]
fn creation_starts_slowly_and_ends_with_the_batch_of_the_first_failure() {
    let calls = |fails_at: usize, count: usize| {
        let mut made = 0;
        let (done, failure) = pods::slow_start(count, || {
            made += 1;
            if made >= fails_at { Err(ApiError::internal(made)) } else { Ok(()) }
        });
        (made, done, failure.is_some())
    };
    assert_eq!(calls(usize::MAX, 10), (10, 10, false));
    assert_eq!(calls(1, 10), (1, 0, true));
    assert_eq!(calls(2, 10), (3, 1, true));
    assert_eq!(calls(5, 100), (7, 4, true));
    assert_eq!(calls(1, 0), (0, 0, false));
}

#[tokio::test(start_paused = true)]
async fn more_than_a_burst_comes_in_several() {
    let cluster = cluster();
    cluster.create(&kinds::REPLICA_SET, "shop", set(1100));
    cluster.until("created", |cluster| status(cluster)["replicas"] == 1100).await;
    assert_eq!(active(&cluster).len(), 1100);
    let options = WriteOptions::default();
    let scaled = cluster.registry.change(&kinds::REPLICA_SET, "shop", "web", Part::Main, &options, |mut set| {
        set["spec"]["replicas"] = json!(0);
        Ok(set)
    });
    scaled.unwrap();
    cluster.until("gone", |cluster| cluster.all(&kinds::POD).is_empty()).await;
}
