use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use serde_json::{Value, json};

use super::{
    super::bench::{Bench, NAMESPACE, pass},
    *,
};

fn bench(spec: &Value) -> (Bench, StatefulSets) {
    let bench = Bench::new();
    let mut whole = json!({
        "replicas": 3, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        "template": template("one"),
    });
    for (key, value) in spec.as_object().unwrap() {
        whole[key] = value.clone();
    }
    bench.create(&kinds::STATEFUL_SET, &json!({"metadata": {"name": "db"}, "spec": whole}));
    let controller = StatefulSets::new(Arc::clone(&bench.registry));
    (bench, controller)
}

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "main", "image": image}]}})
}

fn set_image(bench: &Bench, image: &str) {
    bench.change(&kinds::STATEFUL_SET, "db", |set| set["spec"]["template"] = template(image));
}

/// Brings the set to all pods ready, one after another.
fn up(bench: &Bench, controller: &StatefulSets) {
    for _ in 0..20 {
        bench.settle(controller, "db");
        bench.all_gone();
        bench.all_ready();
    }
}

fn revisions(bench: &Bench) -> Vec<(i64, String)> {
    let mut all = bench.registry.all::<ControllerRevision>(Some(NAMESPACE));
    revisions::sort(&mut all);
    all.iter().map(|one| (one.revision, revisions::name_of(one).to_owned())).collect()
}

fn images(bench: &Bench) -> Vec<String> {
    let pods = bench.pods();
    pods.iter().map(|pod| pod.spec.as_ref().unwrap().containers[0].image.clone().unwrap()).collect()
}

#[test]
fn pods_come_one_after_another_each_when_the_one_before_is_ready() {
    let (bench, controller) = bench(&json!({}));
    bench.settle(&controller, "db");
    assert_eq!(bench.living(), ["db-0"]);
    bench.start("db-0", "one");
    bench.settle(&controller, "db");
    assert_eq!(bench.living(), ["db-0"], "one that runs and is not ready holds the next back");
    bench.ready("db-0");
    bench.settle(&controller, "db");
    assert_eq!(bench.living(), ["db-0", "db-1"]);
    up(&bench, &controller);
    let status = bench.status(&kinds::STATEFUL_SET, "db");
    let counts = ["replicas", "readyReplicas", "availableReplicas", "currentReplicas", "updatedReplicas"];
    assert!(counts.iter().all(|count| status[count] == 3), "{status}");
    assert_eq!((&status["observedGeneration"], &status["collisionCount"]), (&json!(1), &json!(0)));
    assert_eq!(status["currentRevision"], status["updateRevision"]);
    assert!(bench.told("SuccessfulCreate", "create Pod db-2 in StatefulSet db successful"));
}

#[test]
fn in_parallel_all_pods_come_at_once() {
    let (bench, controller) = bench(&json!({"podManagementPolicy": "Parallel", "ordinals": {"start": 5}}));
    bench.settle(&controller, "db");
    assert_eq!(bench.living(), ["db-5", "db-6", "db-7"]);
}

#[test]
fn no_number_of_replicas_is_too_many_to_look_at() {
    let (bench, controller) = bench(&json!({"podManagementPolicy": "Parallel", "replicas": i32::MAX}));
    controller.reconcile(&Key::new(NAMESPACE, "db")).unwrap();
    assert_eq!(bench.pods().len(), pods::BURST);
}

#[test]
fn scaling_down_begins_with_the_highest_and_waits_until_each_is_gone() {
    let (bench, controller) = bench(&json!({}));
    up(&bench, &controller);
    bench.change(&kinds::STATEFUL_SET, "db", |set| set["spec"]["replicas"] = json!(1));
    bench.settle(&controller, "db");
    assert_eq!((bench.leaving(), bench.living().len()), (vec!["db-2".to_owned()], 2));
    bench.gone("db-2");
    bench.settle(&controller, "db");
    assert_eq!(bench.leaving(), ["db-1"]);
    bench.gone("db-1");
    bench.settle(&controller, "db");
    assert_eq!(bench.living(), ["db-0"]);
}

#[test]
fn scaling_down_waits_for_an_unready_pod_below() {
    let (bench, controller) = bench(&json!({}));
    up(&bench, &controller);
    bench.unready("db-0");
    bench.change(&kinds::STATEFUL_SET, "db", |set| set["spec"]["replicas"] = json!(2));
    bench.settle(&controller, "db");
    assert!(bench.leaving().is_empty());
    bench.ready("db-0");
    bench.settle(&controller, "db");
    assert_eq!(bench.leaving(), ["db-2"]);
}

#[test]
fn a_deleted_pod_comes_back_only_once_the_old_one_is_gone() {
    let (bench, controller) = bench(&json!({}));
    up(&bench, &controller);
    let old = bench.get::<Pod>("db-1").metadata.uid.clone();
    bench.delete("db-1");
    bench.settle(&controller, "db");
    assert_eq!(
        (bench.living(), bench.get::<Pod>("db-1").metadata.uid.clone()),
        (vec!["db-0".into(), "db-2".into()], old)
    );
    bench.gone("db-1");
    bench.settle(&controller, "db");
    assert_eq!(bench.living(), ["db-0", "db-1", "db-2"]);
}

#[test]
fn a_pod_that_ended_is_replaced_whatever_its_exit_code() {
    for exit_code in [0, 1] {
        let (bench, controller) = bench(&json!({"replicas": 1}));
        up(&bench, &controller);
        let old = bench.get::<Pod>("db-0").metadata.uid.clone();
        bench.finish("db-0", exit_code);
        bench.settle(&controller, "db");
        let new = bench.get::<Pod>("db-0");
        assert!(new.metadata.uid != old && !pods::is_finished(&new), "{exit_code}");
    }
}

#[test]
fn an_update_replaces_the_highest_first_and_one_unready_pod_stops_it() {
    let (bench, controller) = bench(&json!({}));
    up(&bench, &controller);
    set_image(&bench, "two");
    bench.settle(&controller, "db");
    assert_eq!(bench.leaving(), ["db-2"]);
    bench.gone("db-2");
    bench.settle(&controller, "db");
    bench.start("db-2", "one");
    bench.settle(&controller, "db");
    assert!(bench.leaving().is_empty(), "the new pod is not ready");
    assert_eq!(images(&bench), ["one", "one", "two"]);
    let status = bench.status(&kinds::STATEFUL_SET, "db");
    assert_eq!((&status["currentReplicas"], &status["updatedReplicas"]), (&json!(2), &json!(1)));
    assert_ne!(status["currentRevision"], status["updateRevision"]);
    up(&bench, &controller);
    assert_eq!(images(&bench), ["two", "two", "two"]);
    let status = bench.status(&kinds::STATEFUL_SET, "db");
    assert_eq!(status["currentRevision"], status["updateRevision"]);
}

#[test]
fn parallel_updates_too_go_one_by_one() {
    let (bench, controller) = bench(&json!({"podManagementPolicy": "Parallel"}));
    up(&bench, &controller);
    bench.unready("db-2");
    set_image(&bench, "two");
    bench.settle(&controller, "db");
    bench.gone("db-2");
    bench.settle(&controller, "db");
    bench.start("db-2", "one");
    bench.settle(&controller, "db");
    assert_eq!((images(&bench), bench.leaving().len()), (vec!["one".into(), "one".into(), "two".into()], 0));
}

#[test]
fn pods_below_the_partition_stay_at_the_old_revision_even_when_replaced() {
    let (bench, controller) = bench(&json!({}));
    up(&bench, &controller);
    bench.change(&kinds::STATEFUL_SET, "db", |set| {
        set["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = json!(2);
        set["spec"]["template"] = template("two");
    });
    up(&bench, &controller);
    assert_eq!(images(&bench), ["one", "one", "two"]);
    bench.delete("db-0");
    up(&bench, &controller);
    assert_eq!(images(&bench), ["one", "one", "two"]);
    bench.change(&kinds::STATEFUL_SET, "db", |set| {
        set["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = json!(0);
    });
    up(&bench, &controller);
    assert_eq!(images(&bench), ["two", "two", "two"]);
}

#[test]
fn on_delete_waits_for_someone_to_delete() {
    let (bench, controller) = bench(&json!({"updateStrategy": {"type": "OnDelete"}}));
    up(&bench, &controller);
    set_image(&bench, "two");
    up(&bench, &controller);
    assert_eq!(images(&bench), ["one", "one", "one"]);
    bench.delete("db-1");
    up(&bench, &controller);
    assert_eq!(images(&bench), ["one", "two", "one"]);
}

#[tokio::test(start_paused = true)]
async fn a_pod_counts_as_available_after_its_seconds_of_readiness() {
    let (bench, controller) = bench(&json!({"replicas": 2, "minReadySeconds": 10}));
    bench.settle(&controller, "db");
    bench.ready("db-0");
    assert_eq!(bench.settle(&controller, "db"), Next::After(Duration::from_secs(10)));
    assert_eq!(bench.living(), ["db-0"]);
    let status = bench.status(&kinds::STATEFUL_SET, "db");
    assert_eq!((&status["readyReplicas"], &status["availableReplicas"]), (&json!(1), &json!(0)));
    pass(11).await;
    bench.settle(&controller, "db");
    assert_eq!(bench.living(), ["db-0", "db-1"]);
    assert_eq!(bench.status(&kinds::STATEFUL_SET, "db")["availableReplicas"], 1);
}

#[test]
fn going_back_to_an_old_template_makes_its_revision_the_latest_again() {
    let (bench, controller) = bench(&json!({}));
    up(&bench, &controller);
    let first = revisions(&bench)[0].1.clone();
    set_image(&bench, "two");
    up(&bench, &controller);
    assert_eq!(revisions(&bench).iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 2]);
    set_image(&bench, "one");
    up(&bench, &controller);
    let now = revisions(&bench);
    assert_eq!((now.len(), now[1].clone()), (2, (3, first)));
}

#[test]
fn history_is_kept_up_to_its_limit() {
    let (bench, controller) = bench(&json!({"revisionHistoryLimit": 1, "replicas": 1}));
    for image in ["two", "three", "four", "five"] {
        up(&bench, &controller);
        set_image(&bench, image);
    }
    up(&bench, &controller);
    assert_eq!(revisions(&bench).iter().map(|(number, _)| *number).collect::<Vec<_>>(), [4, 5]);
}

#[test]
fn a_pod_has_its_claims_and_they_go_with_it_only_where_the_policy_says() {
    for (scaled, owner) in [("Retain", None), ("Delete", Some("Pod"))] {
        let (bench, controller) = bench(&json!({
            "replicas": 2, "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {
                "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}],
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": scaled},
        }));
        up(&bench, &controller);
        let claims = bench.registry.all::<PersistentVolumeClaim>(Some(NAMESPACE));
        assert_eq!(claims.len(), 2);
        assert!(claims.iter().all(|claim| claim.metadata.owner_references.is_none()));
        assert!(bench.told("SuccessfulCreate", "create Claim data-db-1 Pod db-1 in StatefulSet db success"));
        bench.change(&kinds::STATEFUL_SET, "db", |set| set["spec"]["replicas"] = json!(1));
        bench.settle(&controller, "db");
        let claim = bench.get::<PersistentVolumeClaim>("data-db-1");
        let kinds = claim.metadata.owner_references.iter().flatten().map(|owner| owner.kind.as_str());
        assert_eq!(kinds.collect::<Vec<_>>(), owner.into_iter().collect::<Vec<_>>(), "{scaled}");
    }
}

#[test]
fn a_set_that_is_being_deleted_only_counts() {
    let (bench, controller) = bench(&json!({}));
    bench.settle(&controller, "db");
    bench.change(&kinds::STATEFUL_SET, "db", |set| set["metadata"]["finalizers"] = json!(["example.com/hold"]));
    bench.registry.remove::<StatefulSet>(NAMESPACE, "db", &crate::sandbox::registry::DeleteOptions::default()).unwrap();
    bench.ready("db-0");
    bench.settle(&controller, "db");
    assert_eq!(bench.living(), ["db-0"]);
    assert_eq!(bench.status(&kinds::STATEFUL_SET, "db")["readyReplicas"], 1);
}

#[test]
fn a_pods_change_is_its_sets_and_an_orphan_with_the_right_name_is_adopted() {
    let (bench, controller) = bench(&json!({"replicas": 1}));
    bench.create(
        &kinds::POD,
        &json!({
            "metadata": {"name": "db-0", "labels": {"app": "db"}}, "spec": {"containers": [{"name": "main", "image": "one"}]},
        }),
    );
    let change = |name: &str| {
        let object = bench.registry.get(&kinds::POD, NAMESPACE, name).unwrap();
        Change { op: crate::sandbox::store::Op::Added, object, before: None }
    };
    assert_eq!(controller.keys(&change("db-0")), [Key::new(NAMESPACE, "db")]);
    bench.settle(&controller, "db");
    assert_eq!(pods::controller_of(&bench.get::<Pod>("db-0").metadata).unwrap().name, "db");
    assert_eq!(controller.keys(&change("db-0")), [Key::new(NAMESPACE, "db")]);
    bench.create(
        &kinds::POD,
        &json!({"metadata": {"name": "else-0"}, "spec": {"containers": [{"name": "main", "image": "one"}]}}),
    );
    assert!(controller.keys(&change("else-0")).is_empty());
}
