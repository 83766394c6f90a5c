//! Namespaces that go.

use tokio::time::sleep;

use super::*;
use crate::sandbox::controllers::{
    service_account::ServiceAccounts,
    test_cluster::{Kubelet, TestCluster, bind, template},
};

const NAME: &str = "shop";

fn cluster() -> TestCluster {
    TestCluster::start(|registry| {
        vec![
            Arc::new(Namespaces::new(Arc::clone(registry))),
            Arc::new(ServiceAccounts::new(Arc::clone(registry), "PEM".into())),
        ]
    })
}

fn namespace(cluster: &TestCluster) -> Option<Value> {
    cluster.registry.store().get(&kinds::NAMESPACE, "", NAME).map(|object| object.value())
}

fn delete(cluster: &TestCluster) {
    cluster.registry.delete(&kinds::NAMESPACE, "", NAME, &DeleteOptions::default()).unwrap();
}

fn condition(cluster: &TestCluster, kind: &str) -> Value {
    let namespace = namespace(cluster).unwrap();
    let all = namespace["status"]["conditions"].as_array().cloned().unwrap_or_default();
    all.into_iter().find(|condition| condition["type"] == kind).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_new_namespace_is_active() {
    let cluster = cluster();
    cluster.settle().await;
    assert_eq!(namespace(&cluster).unwrap()["status"]["phase"], "Active");
}

#[tokio::test(start_paused = true)]
async fn pods_go_first_with_their_grace_then_the_rest_then_the_namespace() {
    let mut cluster = cluster();
    let mut pod = template("web", "v1");
    pod["metadata"]["name"] = json!("web");
    cluster.create(&kinds::POD, NAME, pod);
    bind(&cluster.registry, "web", "n0");
    cluster.run_pods(Kubelet::default());
    cluster.settle().await;
    delete(&cluster);
    cluster.settle().await;
    assert_eq!(namespace(&cluster).unwrap()["status"]["phase"], "Terminating");
    assert!(!cluster.value(&kinds::POD, "web")["metadata"]["deletionTimestamp"].is_null());
    assert_eq!(cluster.all(&kinds::CONFIG_MAP).len(), 1, "what pods may need stays with them");
    let remaining = condition(&cluster, CONTENT_REMAINING);
    assert_eq!((&remaining["status"], &remaining["reason"]), (&json!("True"), &json!("SomeResourcesRemain")));
    assert_eq!(remaining["message"], "Some resources are remaining: pods. has 1 resource instances");
    assert_eq!(condition(&cluster, CONTENT_FAILURE)["reason"], "ContentDeleted");
    // A write into it is refused.
    let late =
        cluster.registry.create(&kinds::CONFIG_MAP, NAME, json!({"metadata": {"name": "x"}}), &WriteOptions::default());
    assert_eq!(late.unwrap_err().code, 403);
    let began = tokio::time::Instant::now();
    cluster.until("gone", |cluster| namespace(cluster).is_none()).await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    for kind in kinds::ALL.iter().filter(|kind| kind.namespaced) {
        assert!(cluster.all(kind).is_empty(), "{}", kind.kind);
    }
}

#[tokio::test(start_paused = true)]
async fn a_finalizer_on_content_holds_the_namespace_and_is_named() {
    let cluster = cluster();
    let held = json!({"metadata": {"name": "held", "finalizers": ["test/hold"]}});
    cluster.create(&kinds::CONFIG_MAP, NAME, held);
    cluster.settle().await;
    delete(&cluster);
    sleep(Duration::from_secs(60)).await;
    let finalizers = condition(&cluster, FINALIZERS_REMAINING);
    assert_eq!(finalizers["reason"], "SomeFinalizersRemain");
    let message = "Some content in the namespace has finalizers remaining: test/hold in 1 resource instances";
    assert_eq!(finalizers["message"], message);
    cluster.change(&kinds::CONFIG_MAP, "held", Part::Main, |map| map["metadata"]["finalizers"] = json!([]));
    cluster.settle().await;
    assert_eq!(namespace(&cluster), None);
}

#[tokio::test(start_paused = true)]
async fn other_namespaces_are_not_touched() {
    let cluster = cluster();
    cluster.create(&kinds::NAMESPACE, "", json!({"metadata": {"name": "other"}}));
    cluster.create(&kinds::CONFIG_MAP, "other", json!({"metadata": {"name": "mine"}}));
    cluster.settle().await;
    delete(&cluster);
    cluster.settle().await;
    assert_eq!(namespace(&cluster), None);
    assert!(cluster.registry.get(&kinds::CONFIG_MAP, "other", "mine").is_ok());
}
