//! Whole rollouts, with the Deployment and `ReplicaSet` controllers and a stand-in for kubelets.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio::time::{Duration, sleep};

use super::*;
use crate::sandbox::{
    controllers::{
        replica_set::ReplicaSets,
        test_cluster::{Kubelet, TestCluster, is_active, is_ready, template},
    },
    registry::Part,
    store::Watcher,
};

fn cluster() -> TestCluster {
    let mut cluster = TestCluster::start(|registry| {
        vec![Arc::new(Deployments::new(Arc::clone(registry))), Arc::new(ReplicaSets::new(Arc::clone(registry)))]
    });
    cluster.run_pods(Kubelet::default());
    cluster
}

fn deployment(replicas: i32, strategy: &Value) -> Value {
    json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": strategy,
            "progressDeadlineSeconds": 600,
            "revisionHistoryLimit": 10,
            "template": template("web", "v1"),
        },
    })
}

fn rolling() -> Value {
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}})
}

fn object(cluster: &TestCluster) -> Value {
    cluster.value(&kinds::DEPLOYMENT, "web")
}

fn condition(cluster: &TestCluster, kind: &str) -> Value {
    let status = object(cluster)["status"].clone();
    let all = status["conditions"].as_array().cloned().unwrap_or_default();
    all.into_iter().find(|condition| condition["type"] == kind).unwrap_or_default()
}

/// kubectl's rule of a finished rollout.
fn is_done(cluster: &TestCluster) -> bool {
    let object = object(cluster);
    let (status, replicas) = (&object["status"], &object["spec"]["replicas"]);
    status["observedGeneration"] == object["metadata"]["generation"]
        && ["replicas", "updatedReplicas", "availableReplicas"].iter().all(|field| &status[field] == replicas)
}

fn update_to(cluster: &TestCluster, image: &str) {
    cluster.change(&kinds::DEPLOYMENT, "web", Part::Main, |value| value["spec"]["template"] = template("web", image));
}

fn scale_to(cluster: &TestCluster, replicas: i32) {
    cluster.change(&kinds::DEPLOYMENT, "web", Part::Main, |value| value["spec"]["replicas"] = json!(replicas));
}

/// The sizes of `ReplicaSets` by the image of their pods.
fn sizes(cluster: &TestCluster) -> BTreeMap<String, i64> {
    let image = |set: &Value| set["spec"]["template"]["metadata"]["labels"]["image"].as_str().unwrap().to_owned();
    let sets = cluster.all(&kinds::REPLICA_SET);
    sets.iter().map(|set| (image(set), set["spec"]["replicas"].as_i64().unwrap())).collect()
}

fn set_of(cluster: &TestCluster, image: &str) -> Value {
    let sets = cluster.all(&kinds::REPLICA_SET);
    sets.into_iter().find(|set| set["spec"]["template"]["metadata"]["labels"]["image"] == image).unwrap()
}

/// Goes through every change from its start on and keeps the extremes.
struct Watch {
    sets: Watcher,
    pods: Watcher,
    wanted: BTreeMap<String, i64>,
    ready: BTreeMap<String, bool>,
    most_wanted: i64,
    least_ready: usize,
}

impl Watch {
    fn start(cluster: &TestCluster) -> Self {
        let store = cluster.registry.store();
        let (version, pods) = store.list(&kinds::POD, Some("shop"));
        let ready = pods.iter().map(|pod| (pod.name.clone(), counts(&pod.value()))).collect::<BTreeMap<_, _>>();
        let sets = store.list(&kinds::REPLICA_SET, Some("shop")).1;
        let wanted = sets.iter().map(|set| (set.name.clone(), set.value()["spec"]["replicas"].as_i64().unwrap()));
        let mut watch = Self {
            sets: store.watch(&kinds::REPLICA_SET, version).unwrap(),
            pods: store.watch(&kinds::POD, version).unwrap(),
            wanted: wanted.collect(),
            least_ready: ready.values().filter(|ready| **ready).count(),
            ready,
            most_wanted: 0,
        };
        watch.most_wanted = watch.wanted.values().sum();
        watch
    }

    /// Takes in what has happened since.
    async fn catch_up(&mut self) {
        let soon = Duration::from_millis(1);
        while let Ok(Ok(changes)) = tokio::time::timeout(soon, self.sets.next()).await {
            for change in changes {
                let replicas = change.object.value()["spec"]["replicas"].as_i64().unwrap();
                let gone = change.op == Op::Deleted;
                self.wanted.insert(change.object.name.clone(), if gone { 0 } else { replicas });
                self.most_wanted = self.most_wanted.max(self.wanted.values().sum());
            }
        }
        while let Ok(Ok(changes)) = tokio::time::timeout(soon, self.pods.next()).await {
            for change in changes {
                let ready = change.op != Op::Deleted && counts(&change.object.value());
                self.ready.insert(change.object.name.clone(), ready);
                self.least_ready = self.least_ready.min(self.ready.values().filter(|ready| **ready).count());
            }
        }
    }
}

fn counts(pod: &Value) -> bool {
    is_active(pod) && is_ready(pod)
}

#[tokio::test(start_paused = true)]
async fn a_rolling_update_keeps_to_its_bounds_at_every_moment() {
    // replicas, surge, unavailable at 25 %.
    for (replicas, surge, unavailable) in [(1, 1, 0), (2, 1, 0), (3, 1, 0), (4, 1, 1), (5, 2, 1), (8, 2, 2), (10, 3, 2)]
    {
        let cluster = cluster();
        cluster.create(&kinds::DEPLOYMENT, "shop", deployment(replicas, &rolling()));
        cluster.until("first rollout", is_done).await;
        let mut watch = Watch::start(&cluster);
        update_to(&cluster, "v2");
        let mut most_active = 0;
        while !is_done(&cluster) {
            sleep(Duration::from_millis(50)).await;
            most_active = most_active.max(cluster.all(&kinds::POD).iter().filter(|pod| is_active(pod)).count());
        }
        watch.catch_up().await;
        let least = usize::try_from(replicas - unavailable).unwrap();
        assert_eq!(watch.most_wanted, i64::from(replicas + surge), "{replicas} replicas");
        assert_eq!(most_active, usize::try_from(replicas + surge).unwrap(), "{replicas} replicas");
        // That the bounds are reached shows that the rule, and not slowness, holds it.
        assert_eq!(watch.least_ready, least, "{replicas} replicas");
        assert_eq!(sizes(&cluster), BTreeMap::from([("v1".into(), 0), ("v2".into(), i64::from(replicas))]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_rollout_has_upstreams_names_annotations_events_and_conditions() {
    let cluster = cluster();
    let mut value = deployment(3, &rolling());
    value["metadata"]["annotations"] = json!({"note": "x", "kubectl.kubernetes.io/last-applied-configuration": "{}"});
    cluster.create(&kinds::DEPLOYMENT, "shop", value);
    cluster.settle().await;
    let set = set_of(&cluster, "v1");
    let name = set["metadata"]["name"].as_str().unwrap().to_owned();
    let hash = name.strip_prefix("web-").unwrap().to_owned();
    for labels in [
        &set["metadata"]["labels"],
        &set["spec"]["selector"]["matchLabels"],
        &set["spec"]["template"]["metadata"]["labels"],
    ] {
        assert_eq!(labels[template::HASH_LABEL], json!(hash));
    }
    let annotations = &set["metadata"]["annotations"];
    let wanted = json!({
        "note": "x",
        "deployment.kubernetes.io/revision": "1",
        "deployment.kubernetes.io/desired-replicas": "3",
        "deployment.kubernetes.io/max-replicas": "4",
    });
    assert_eq!(annotations, &wanted);
    assert_eq!(object(&cluster)["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "1");
    let progressing = condition(&cluster, "Progressing");
    assert_eq!((&progressing["status"], &progressing["reason"]), (&json!("True"), &json!("ReplicaSetUpdated")));
    assert_eq!(progressing["message"], format!("ReplicaSet {name:?} is progressing."));
    assert_eq!(condition(&cluster, "Available")["reason"], "MinimumReplicasUnavailable");
    assert_eq!(object(&cluster)["status"]["unavailableReplicas"], 3);
    cluster.until("done", is_done).await;
    cluster.settle().await;
    let progressing = condition(&cluster, "Progressing");
    assert_eq!(progressing["reason"], "NewReplicaSetAvailable");
    assert_eq!(progressing["message"], format!("ReplicaSet {name:?} has successfully progressed."));
    let available = condition(&cluster, "Available");
    assert_eq!((&available["status"], &available["reason"]), (&json!("True"), &json!("MinimumReplicasAvailable")));
    assert_eq!(available["message"], "Deployment has minimum availability.");
    assert_eq!(cluster.events("ScalingReplicaSet"), [format!("Scaled up replica set {name} from 0 to 3")]);

    update_to(&cluster, "v2");
    cluster.until("second rollout", is_done).await;
    let new = set_of(&cluster, "v2")["metadata"]["name"].as_str().unwrap().to_owned();
    let events = cluster.events("ScalingReplicaSet");
    let wanted = [
        format!("Scaled up replica set {name} from 0 to 3"),
        format!("Scaled up replica set {new} from 0 to 1"),
        format!("Scaled down replica set {name} from 3 to 2"),
        format!("Scaled up replica set {new} from 1 to 2"),
        format!("Scaled down replica set {name} from 2 to 1"),
        format!("Scaled up replica set {new} from 2 to 3"),
        format!("Scaled down replica set {name} from 1 to 0"),
    ];
    assert_eq!(events, wanted);
}

#[tokio::test(start_paused = true)]
async fn a_rollback_takes_the_old_set_again_under_a_new_revision() {
    let cluster = cluster();
    cluster.create(&kinds::DEPLOYMENT, "shop", deployment(2, &rolling()));
    cluster.until("v1", is_done).await;
    let first = set_of(&cluster, "v1")["metadata"]["uid"].clone();
    update_to(&cluster, "v2");
    cluster.until("v2", is_done).await;
    update_to(&cluster, "v1");
    cluster.until("v1 again", is_done).await;
    cluster.settle().await;
    assert_eq!(cluster.all(&kinds::REPLICA_SET).len(), 2);
    let set = set_of(&cluster, "v1");
    assert_eq!(set["metadata"]["uid"], first);
    let annotations = &set["metadata"]["annotations"];
    assert_eq!(annotations["deployment.kubernetes.io/revision"], "3");
    assert_eq!(annotations["deployment.kubernetes.io/revision-history"], "1");
    assert_eq!(object(&cluster)["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "3");
}

#[tokio::test(start_paused = true)]
async fn a_rollout_that_stalls_is_told_by_its_deadline_and_nothing_is_rolled_back() {
    let cluster = cluster();
    let mut value = deployment(3, &rolling());
    value["spec"]["progressDeadlineSeconds"] = json!(30);
    cluster.create(&kinds::DEPLOYMENT, "shop", value);
    cluster.until("v1", is_done).await;
    update_to(&cluster, "broken");
    let began = tokio::time::Instant::now();
    cluster.until("deadline", |cluster| condition(cluster, "Progressing")["status"] == "False").await;
    let took = began.elapsed().as_secs_f64();
    assert!((29.0..33.0).contains(&took), "{took}");
    let progressing = condition(&cluster, "Progressing");
    let name = set_of(&cluster, "broken")["metadata"]["name"].as_str().unwrap().to_owned();
    assert_eq!(progressing["reason"], "ProgressDeadlineExceeded");
    assert_eq!(progressing["message"], format!("ReplicaSet {name:?} has timed out progressing."));
    assert_eq!(sizes(&cluster), BTreeMap::from([("v1".into(), 3), ("broken".into(), 1)]));
    assert_eq!(condition(&cluster, "Available")["status"], "True");
    // The twin: the way back is open, and progress counts again.
    update_to(&cluster, "v1");
    cluster.until("rolled back", is_done).await;
    cluster.settle().await;
    assert_eq!(condition(&cluster, "Progressing")["reason"], "NewReplicaSetAvailable");
}

#[tokio::test(start_paused = true)]
async fn unhealthy_old_pods_do_not_block_the_next_rollout() {
    let cluster = cluster();
    cluster.create(&kinds::DEPLOYMENT, "shop", deployment(4, &rolling()));
    cluster.until("v1", is_done).await;
    update_to(&cluster, "broken");
    sleep(Duration::from_secs(20)).await;
    // One more and one less: two broken ones.
    assert_eq!(sizes(&cluster), BTreeMap::from([("v1".into(), 3), ("broken".into(), 2)]));
    let mut watch = Watch::start(&cluster);
    update_to(&cluster, "v3");
    cluster.until("v3", is_done).await;
    watch.catch_up().await;
    assert_eq!((watch.least_ready, watch.most_wanted), (3, 5));
    assert_eq!(sizes(&cluster), BTreeMap::from([("v1".into(), 0), ("broken".into(), 0), ("v3".into(), 4)]));
}

#[tokio::test(start_paused = true)]
async fn scaling_in_the_middle_of_a_rollout_is_spread_in_proportion() {
    let cluster = cluster();
    cluster.create(&kinds::DEPLOYMENT, "shop", deployment(10, &rolling()));
    cluster.until("v1", is_done).await;
    update_to(&cluster, "broken");
    sleep(Duration::from_secs(20)).await;
    assert_eq!(sizes(&cluster), BTreeMap::from([("v1".into(), 8), ("broken".into(), 5)]));
    scale_to(&cluster, 20);
    cluster.settle().await;
    // 20 + 5 in all, of 13 before: 8 × 25/13 = 15.4 and 5 × 25/13 = 9.6.
    assert_eq!(sizes(&cluster), BTreeMap::from([("v1".into(), 15), ("broken".into(), 10)]));
    scale_to(&cluster, 4);
    sleep(Duration::from_secs(20)).await;
    // 4 + 1 in all, of 25 before: 3 and 2.
    assert_eq!(sizes(&cluster), BTreeMap::from([("v1".into(), 3), ("broken".into(), 2)]));
    scale_to(&cluster, 0);
    sleep(Duration::from_secs(20)).await;
    assert_eq!(sizes(&cluster).values().sum::<i64>(), 0);
    assert!(cluster.all(&kinds::POD).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_paused_deployment_scales_but_does_not_roll() {
    let cluster = cluster();
    cluster.create(&kinds::DEPLOYMENT, "shop", deployment(2, &rolling()));
    cluster.until("v1", is_done).await;
    cluster.change(&kinds::DEPLOYMENT, "web", Part::Main, |value| {
        value["spec"]["paused"] = json!(true);
        value["spec"]["template"] = template("web", "v2");
    });
    sleep(Duration::from_secs(20)).await;
    assert_eq!(sizes(&cluster), BTreeMap::from([("v1".into(), 2)]));
    let progressing = condition(&cluster, "Progressing");
    assert_eq!((&progressing["status"], &progressing["reason"]), (&json!("Unknown"), &json!("DeploymentPaused")));
    assert_eq!(progressing["message"], "Deployment is paused");
    scale_to(&cluster, 3);
    sleep(Duration::from_secs(20)).await;
    assert_eq!(sizes(&cluster), BTreeMap::from([("v1".into(), 3)]));
    cluster.change(&kinds::DEPLOYMENT, "web", Part::Main, |value| value["spec"]["paused"] = json!(false));
    cluster.until("resumed and rolled", is_done).await;
    assert_eq!(sizes(&cluster), BTreeMap::from([("v1".into(), 0), ("v2".into(), 3)]));
}

#[tokio::test(start_paused = true)]
async fn recreate_waits_until_no_old_pod_is_left() {
    let cluster = cluster();
    cluster.create(&kinds::DEPLOYMENT, "shop", deployment(3, &json!({"type": "Recreate"})));
    cluster.until("v1", is_done).await;
    update_to(&cluster, "v2");
    let images = |cluster: &TestCluster| -> Vec<String> {
        let pods = cluster.all(&kinds::POD);
        let mut images: Vec<String> =
            pods.iter().map(|pod| pod["metadata"]["labels"]["image"].as_str().unwrap().to_owned()).collect();
        images.sort();
        images.dedup();
        images
    };
    let mut seen = Vec::new();
    while !is_done(&cluster) {
        sleep(Duration::from_millis(50)).await;
        let now = images(&cluster);
        if seen.last() != Some(&now) {
            seen.push(now);
        }
    }
    let old_then_new = seen.iter().all(|images| images.len() <= 1);
    assert!(old_then_new && seen.last() == Some(&vec!["v2".to_owned()]), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn history_is_kept_up_to_its_limit() {
    let cluster = cluster();
    let mut value = deployment(1, &rolling());
    value["spec"]["revisionHistoryLimit"] = json!(2);
    cluster.create(&kinds::DEPLOYMENT, "shop", value);
    for image in ["v1", "v2", "v3", "v4", "v5"] {
        update_to(&cluster, image);
        cluster.until(image, is_done).await;
    }
    cluster.until("cleaned up", |cluster| cluster.all(&kinds::REPLICA_SET).len() == 3).await;
    assert_eq!(sizes(&cluster).into_keys().collect::<Vec<_>>(), ["v3", "v4", "v5"]);
}

#[tokio::test(start_paused = true)]
async fn a_hash_that_is_taken_is_avoided() {
    let cluster = cluster();
    // Somebody else's set under the very name.
    let value = deployment(1, &rolling());
    let wanted: k8s_openapi::api::core::v1::PodTemplateSpec =
        serde_json::from_value(value["spec"]["template"].clone()).unwrap();
    let created = cluster.create(&kinds::DEPLOYMENT, "shop", value.clone());
    let stored = serde_json::from_value(created.value()["spec"]["template"].clone()).unwrap_or(wanted);
    let name = format!("web-{}", template::hash(&stored, None));
    let foreign = json!({
        "metadata": {"name": name},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "other"}},
            "template": template("other", "v1"),
        },
    });
    cluster.create(&kinds::REPLICA_SET, "shop", foreign);
    cluster.until("done", is_done).await;
    assert_eq!(object(&cluster)["status"]["collisionCount"], 1);
    let sets = cluster.all(&kinds::REPLICA_SET);
    assert_eq!(sets.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_set_that_matches_is_adopted_and_one_that_does_not_any_more_is_let_go() {
    let cluster = cluster();
    cluster.create(&kinds::DEPLOYMENT, "shop", deployment(1, &rolling()));
    cluster.until("v1", is_done).await;
    let name = set_of(&cluster, "v1")["metadata"]["name"].as_str().unwrap().to_owned();
    let owner =
        |cluster: &TestCluster| cluster.registry.get(&kinds::REPLICA_SET, "shop", &name).unwrap().controller().cloned();
    cluster.change(&kinds::REPLICA_SET, &name, Part::Main, |set| set["metadata"]["labels"]["app"] = json!("other"));
    cluster.settle().await;
    assert_eq!(owner(&cluster), None);
    cluster.change(&kinds::REPLICA_SET, &name, Part::Main, |set| set["metadata"]["labels"]["app"] = json!("web"));
    cluster.settle().await;
    assert_eq!(owner(&cluster).unwrap().name, "web");
}

#[tokio::test(start_paused = true)]
async fn pods_have_to_stay_ready_before_the_next_step() {
    let cluster = cluster();
    let mut value = deployment(2, &rolling());
    value["spec"]["minReadySeconds"] = json!(20);
    cluster.create(&kinds::DEPLOYMENT, "shop", value);
    cluster.until("v1", is_done).await;
    let began = tokio::time::Instant::now();
    update_to(&cluster, "v2");
    cluster.until("v2", is_done).await;
    // One after the other: 2 s to be ready and 20 s to be available, each; whole seconds may take one off.
    let took = began.elapsed().as_secs_f64();
    assert!((42.0..47.0).contains(&took), "{took}");
}
