//! Deletions and what goes with them.

use std::time::Duration;

use tokio::time::sleep;

use super::*;
use crate::sandbox::controllers::{
    deployment::Deployments,
    replica_set::ReplicaSets,
    test_cluster::{Kubelet, TestCluster, template},
};

fn cluster() -> TestCluster {
    let mut cluster = TestCluster::start(|registry| {
        vec![
            Arc::new(Garbage::new(Arc::clone(registry))),
            Arc::new(Deployments::new(Arc::clone(registry))),
            Arc::new(ReplicaSets::new(Arc::clone(registry))),
        ]
    });
    cluster.run_pods(Kubelet::default());
    cluster
}

async fn with_deployment() -> TestCluster {
    let cluster = cluster();
    let value = json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"type": "Recreate"},
            "template": template("web", "v1"),
        },
    });
    cluster.create(&kinds::DEPLOYMENT, "shop", value);
    cluster.until("running", |cluster| cluster.value(&kinds::DEPLOYMENT, "web")["status"]["readyReplicas"] == 3).await;
    cluster
}

fn with(propagation: Propagation) -> DeleteOptions {
    DeleteOptions { propagation, ..DeleteOptions::default() }
}

fn counts(cluster: &TestCluster) -> [usize; 3] {
    [&kinds::DEPLOYMENT, &kinds::REPLICA_SET, &kinds::POD].map(|kind| cluster.all(kind).len())
}

fn map(name: &str, owners: &Value) -> Value {
    json!({"metadata": {"name": name, "ownerReferences": owners}})
}

fn owner(name: &str, uid: &str, blocks: bool) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid, "blockOwnerDeletion": blocks})
}

fn uid_of(cluster: &TestCluster, name: &str) -> String {
    cluster.registry.get(&kinds::CONFIG_MAP, "shop", name).unwrap().uid.clone()
}

fn names(cluster: &TestCluster) -> Vec<String> {
    let maps = cluster.all(&kinds::CONFIG_MAP);
    maps.iter().map(|map| map["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_background_deletion_takes_the_owner_first_and_the_rest_after_it() {
    let cluster = with_deployment().await;
    cluster.delete(&kinds::DEPLOYMENT, "web", &with(Propagation::Background));
    assert_eq!(counts(&cluster), [0, 1, 3]);
    cluster.settle().await;
    assert_eq!(counts(&cluster), [0, 0, 3], "pods have their grace");
    assert!(cluster.all(&kinds::POD).iter().all(|pod| !pod["metadata"]["deletionTimestamp"].is_null()));
    sleep(Duration::from_secs(5)).await;
    assert_eq!(counts(&cluster), [0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_foreground_deletion_takes_the_owner_last() {
    let cluster = with_deployment().await;
    cluster.delete(&kinds::DEPLOYMENT, "web", &with(Propagation::Foreground));
    cluster.settle().await;
    assert_eq!(counts(&cluster), [1, 1, 3]);
    assert!(cluster.all(&kinds::POD).iter().all(|pod| !pod["metadata"]["deletionTimestamp"].is_null()));
    sleep(Duration::from_secs(5)).await;
    assert_eq!(counts(&cluster), [0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn orphans_stay_without_an_owner() {
    let cluster = with_deployment().await;
    cluster.delete(&kinds::DEPLOYMENT, "web", &with(Propagation::Orphan));
    sleep(Duration::from_secs(5)).await;
    assert_eq!(counts(&cluster), [0, 1, 3]);
    assert_eq!(cluster.all(&kinds::REPLICA_SET)[0]["metadata"]["ownerReferences"], Value::Null);
    assert!(cluster.all(&kinds::POD).iter().all(|pod| pod["metadata"]["deletionTimestamp"].is_null()));
}

#[tokio::test(start_paused = true)]
async fn an_owner_is_a_uid_and_one_of_several_is_enough() {
    let cluster = cluster();
    cluster.create(&kinds::CONFIG_MAP, "shop", map("owner", &json!([])));
    let uid = uid_of(&cluster, "owner");
    let table = [
        ("stays", json!([owner("owner", &uid, false)])),
        ("other-uid", json!([owner("owner", "x", false)])),
        ("absent", json!([owner("nobody", "y", false)])),
        ("one-of-two", json!([owner("nobody", "y", false), owner("owner", &uid, false)])),
        ("unserved", json!([{"apiVersion": "example.com/v1", "kind": "Thing", "name": "t", "uid": "z"}])),
    ];
    for (name, owners) in table {
        cluster.create(&kinds::CONFIG_MAP, "shop", map(name, &owners));
    }
    cluster.settle().await;
    assert_eq!(names(&cluster), ["one-of-two", "owner", "stays", "unserved"]);
    let left = cluster.value(&kinds::CONFIG_MAP, "one-of-two")["metadata"]["ownerReferences"].clone();
    assert_eq!(left, json!([owner("owner", &uid, false)]));
    cluster.delete(&kinds::CONFIG_MAP, "owner", &with(Propagation::Background));
    cluster.settle().await;
    assert_eq!(names(&cluster), ["unserved"]);
}

#[tokio::test(start_paused = true)]
async fn only_dependents_that_block_hold_a_foreground_deletion_up() {
    for blocks in [true, false] {
        let cluster = cluster();
        cluster.create(&kinds::CONFIG_MAP, "shop", map("owner", &json!([])));
        let uid = uid_of(&cluster, "owner");
        let mut dependent = map("dependent", &json!([owner("owner", &uid, blocks)]));
        dependent["metadata"]["finalizers"] = json!(["test/hold"]);
        cluster.create(&kinds::CONFIG_MAP, "shop", dependent);
        cluster.delete(&kinds::CONFIG_MAP, "owner", &with(Propagation::Foreground));
        cluster.settle().await;
        assert_eq!(names(&cluster).contains(&"owner".to_owned()), blocks, "blocks: {blocks}");
        assert!(!cluster.value(&kinds::CONFIG_MAP, "dependent")["metadata"]["deletionTimestamp"].is_null());
        cluster.change(&kinds::CONFIG_MAP, "dependent", Part::Main, |map| map["metadata"]["finalizers"] = json!([]));
        cluster.settle().await;
        assert_eq!(names(&cluster), Vec::<String>::new());
    }
}

#[tokio::test(start_paused = true)]
async fn a_circle_of_owners_goes() {
    let cluster = cluster();
    cluster.create(&kinds::CONFIG_MAP, "shop", map("a", &json!([])));
    let a = uid_of(&cluster, "a");
    cluster.create(&kinds::CONFIG_MAP, "shop", map("b", &json!([owner("a", &a, true)])));
    let b = uid_of(&cluster, "b");
    cluster.change(&kinds::CONFIG_MAP, "a", Part::Main, |map| {
        map["metadata"]["ownerReferences"] = json!([owner("b", &b, true)]);
    });
    cluster.settle().await;
    assert_eq!(names(&cluster), ["a", "b"]);
    cluster.delete(&kinds::CONFIG_MAP, "a", &with(Propagation::Foreground));
    cluster.settle().await;
    assert_eq!(names(&cluster), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn what_was_an_orphan_before_the_start_goes_too() {
    // The same objects, but the collector comes later.
    let mut cluster = TestCluster::start(|_| Vec::new());
    cluster.create(&kinds::CONFIG_MAP, "shop", map("lost", &json!([owner("nobody", "x", false)])));
    cluster.settle().await;
    assert_eq!(names(&cluster), ["lost"]);
    let garbage = Arc::new(Garbage::new(Arc::clone(&cluster.registry)));
    super::super::run(&mut cluster.tasks, &cluster.registry, garbage);
    cluster.settle().await;
    assert_eq!(names(&cluster), Vec::<String>::new());
}
