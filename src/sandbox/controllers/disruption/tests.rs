//! Budgets' status over pods and their controllers, as the real controller works it out.

use serde_json::{Value, json};

use super::*;
use crate::sandbox::fixture::{self, create, events, patch, running, set_ready, value};

fn owned_by(kind: &str, name: &str, uid: &Value) -> Value {
    json!({"metadata": {"ownerReferences": [
        {"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": true}]}})
}

fn workload(registry: &Registry, kind: &'static Kind, name: &str, replicas: i32, more: &Value) -> Value {
    let labels = json!({"app": "api"});
    let mut object = json!({"metadata": {"name": name}, "spec": {"replicas": replicas, "serviceName": "api",
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "demo"}]}}}});
    fixture::merge(&mut object, more);
    create(registry, kind, "shop", &object).value()["metadata"]["uid"].clone()
}

/// A Deployment with so many replicas, its `ReplicaSet`, and so many pods of which so many are Ready.
fn deployment(registry: &Registry, replicas: i32, pods: u8, ready: u8) {
    let uid = workload(registry, &kinds::DEPLOYMENT, "api", replicas, &json!({}));
    let set = workload(registry, &kinds::REPLICA_SET, "api-1", pods.into(), &owned_by("Deployment", "api", &uid));
    for host in 0..pods {
        running(registry, &format!("api-{host}"), "n1", host + 1, host < ready, &owned_by("ReplicaSet", "api-1", &set));
    }
}

fn budget(registry: &Registry, spec: &Value) {
    let mut whole = json!({"metadata": {"name": "api"}, "spec": {"selector": {"matchLabels": {"app": "api"}}}});
    fixture::merge(&mut whole["spec"], spec);
    create(registry, &kinds::POD_DISRUPTION_BUDGET, "shop", &whole);
}

fn sync(registry: &Arc<Registry>) -> Next {
    Disruption::new(Arc::clone(registry)).reconcile(&Key::new("shop", "api")).unwrap()
}

fn status(registry: &Registry) -> Value {
    value(registry, &kinds::POD_DISRUPTION_BUDGET, "shop", "api")["status"].clone()
}

fn numbers(status: &Value) -> [i64; 4] {
    ["expectedPods", "desiredHealthy", "currentHealthy", "disruptionsAllowed"]
        .map(|field| status[field].as_i64().unwrap_or(-1))
}

#[test]
fn a_budgets_status_is_what_the_real_controller_writes() {
    // spec, replicas, pods, ready; expected, desired, healthy, allowed.
    let table = [
        (json!({"maxUnavailable": 1}), 3, 3, 3, [3, 2, 3, 1]),
        (json!({"maxUnavailable": 1}), 3, 3, 2, [3, 2, 2, 0]),
        (json!({"maxUnavailable": "50%"}), 7, 7, 7, [7, 3, 7, 4]),
        (json!({"minAvailable": "50%"}), 7, 7, 7, [7, 4, 7, 3]),
        (json!({"minAvailable": 2}), 5, 3, 3, [3, 2, 3, 1]),
        (json!({"minAvailable": 5}), 3, 3, 3, [3, 5, 3, 0]),
        // A surge pod is healthy and not expected.
        (json!({"maxUnavailable": 1}), 3, 4, 4, [3, 2, 4, 2]),
        (json!({"maxUnavailable": "100%"}), 3, 3, 0, [3, 0, 0, 0]),
        (json!({"minAvailable": "100%"}), 3, 3, 3, [3, 3, 3, 0]),
    ];
    for (spec, replicas, pods, ready, wanted) in table {
        let registry = fixture::registry();
        deployment(&registry, replicas, pods, ready);
        budget(&registry, &spec);
        assert_eq!(sync(&registry), Next::Settled);
        let status = status(&registry);
        assert_eq!(numbers(&status), wanted, "{spec} of {replicas}: {pods} pods, {ready} ready");
        let reason = if wanted[3] > 0 { "SufficientPods" } else { "InsufficientPods" };
        assert_eq!(status["conditions"][0]["reason"], reason);
        assert_eq!(
            (&status["observedGeneration"], &status["conditions"][0]["observedGeneration"]),
            (&json!(1), &json!(1))
        );
    }
}

#[test]
fn terminating_pods_are_not_healthy_and_nothing_is_written_twice() {
    let registry = fixture::registry();
    deployment(&registry, 3, 3, 3);
    budget(&registry, &json!({"maxUnavailable": 1}));
    sync(&registry);
    let version = registry.store().version();
    sync(&registry);
    assert_eq!(registry.store().version(), version);
    registry.delete(&kinds::POD, "shop", "api-0", &crate::sandbox::registry::DeleteOptions::default()).unwrap();
    sync(&registry);
    assert_eq!(numbers(&status(&registry)), [3, 2, 2, 0]);
}

#[test]
fn an_evicted_pod_is_not_counted_until_its_deletion_begins_or_two_minutes_are_over() {
    let registry = fixture::registry();
    deployment(&registry, 3, 3, 3);
    budget(&registry, &json!({"maxUnavailable": 1}));
    sync(&registry);
    let announce = |seconds_ago: i64| {
        let at = Timestamp::from_second(names::now().as_second() - seconds_ago).unwrap().to_string();
        let status = json!({"status": {"disruptedPods": {"api-0": at}}});
        patch(&registry, &kinds::POD_DISRUPTION_BUDGET, "shop", "api", Part::Status, &status);
        sync(&registry)
    };
    let Next::After(left) = announce(100) else { panic!("looked at again when the time is over") };
    assert!((18..=21).contains(&left.as_secs()), "{left:?}");
    assert_eq!(numbers(&status(&registry)), [3, 2, 2, 0]);
    assert_eq!(announce(130), Next::Settled);
    assert_eq!(numbers(&status(&registry)), [3, 2, 3, 1]);
    assert!(status(&registry)["disruptedPods"].is_null());
    let wanted = ("NotDeleted".to_owned(), "Pod was expected by PDB shop/shop to be deleted but it wasn't".to_owned());
    assert!(events(&registry, "shop").contains(&wanted));
}

#[test]
fn an_unknown_controller_lets_nothing_through() {
    let table = [
        ("ReplicaSet", "apps/v1", "found no controllers for pod \"lone\""),
        ("DaemonSet", "apps/v1", "daemonsets.apps does not implement the scale subresource"),
        ("Rollout", "argoproj.io/v1alpha1", "no matches for kind \"Rollout\" in version \"argoproj.io/v1alpha1\""),
    ];
    for (kind, api_version, message) in table {
        let registry = fixture::registry();
        let mut owner = owned_by(kind, "gone", &json!("0"));
        owner["metadata"]["ownerReferences"][0]["apiVersion"] = json!(api_version);
        running(&registry, "lone", "n1", 1, true, &owner);
        budget(&registry, &json!({"maxUnavailable": 1}));
        sync(&registry);
        let status = status(&registry);
        assert_eq!(status["disruptionsAllowed"], 0);
        assert_eq!(status["conditions"][0]["reason"], "SyncFailed");
        assert_eq!(status["conditions"][0]["message"], message);
        assert!(events(&registry, "shop").iter().any(|(reason, _)| reason == "CalculateExpectedPodCountFailed"));
    }
}

#[test]
fn pods_without_a_controller_are_only_warned_about() {
    let registry = fixture::registry();
    running(&registry, "lone", "n1", 1, true, &json!({}));
    budget(&registry, &json!({"maxUnavailable": 1}));
    sync(&registry);
    assert_eq!(numbers(&status(&registry)), [0, 0, 1, 0]);
    let warned = events(&registry, "shop").into_iter().find(|(reason, _)| reason == "UnmanagedPods").unwrap();
    let selector = "(selector: &LabelSelector{MatchLabels:map[string]string{app: api,},MatchExpressions:[]LabelSelectorRequirement{},})";
    assert!(warned.1.contains(selector), "{}", warned.1);
}

#[test]
fn a_stateful_set_counts_by_its_own_replicas() {
    let registry = fixture::registry();
    let uid = workload(&registry, &kinds::STATEFUL_SET, "db", 5, &json!({}));
    for host in 1..=3 {
        running(&registry, &format!("db-{host}"), "n1", host, true, &owned_by("StatefulSet", "db", &uid));
    }
    budget(&registry, &json!({"maxUnavailable": 2}));
    sync(&registry);
    assert_eq!(numbers(&status(&registry)), [5, 3, 3, 0]);
}

#[test]
fn a_stale_disruption_target_is_taken_back() {
    let registry = fixture::registry();
    running(&registry, "api-0", "n1", 1, true, &json!({}));
    let controller = Disruption::new(Arc::clone(&registry));
    let mark = |seconds_ago: i64| {
        let at = Timestamp::from_second(names::now().as_second() - seconds_ago).unwrap().to_string();
        let target = json!({"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
            "lastTransitionTime": at});
        patch(&registry, &kinds::POD, "shop", "api-0", Part::Status, &json!({"status": {"conditions": [target]}}));
        controller.reconcile(&Key::new("shop", "pod/api-0")).unwrap()
    };
    assert!(matches!(mark(60), Next::After(left) if left.as_secs() >= 58));
    assert_eq!(mark(121), Next::Settled);
    let pod = value(&registry, &kinds::POD, "shop", "api-0");
    assert_eq!(conditions::status_of(&pod, "DisruptionTarget"), Some("False"));
}

#[tokio::test(start_paused = true)]
async fn a_budget_follows_its_pods() {
    let registry = fixture::registry();
    let mut tasks = tokio::task::JoinSet::new();
    deployment(&registry, 3, 3, 2);
    budget(&registry, &json!({"maxUnavailable": 1}));
    super::super::run(&mut tasks, &registry, Arc::new(Disruption::new(Arc::clone(&registry))));
    fixture::until("two are healthy", || numbers(&status(&registry)) == [3, 2, 2, 0]).await;
    set_ready(&registry, "api-2", true);
    fixture::until("three are healthy", || numbers(&status(&registry)) == [3, 2, 3, 1]).await;
}
