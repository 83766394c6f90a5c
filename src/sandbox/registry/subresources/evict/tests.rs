//! Evictions answer what upstream answers, in its order.

use serde_json::{Value, json};

use crate::sandbox::{
    error::ApiError,
    fixture::{self, create, patch, pod, running, value},
    kinds,
    registry::{Part, Registry},
};

fn eviction(name: &str, options: &Value) -> Value {
    json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "shop"},
        "deleteOptions": options})
}

fn evict(registry: &Registry, name: &str) -> Result<Value, ApiError> {
    registry.evict("shop", name, &eviction(name, &Value::Null), false)
}

/// A budget over `app: api` whose status has been worked out.
fn budget(registry: &Registry, name: &str, spec: &Value, allowed: i64, current: i64, desired: i64) {
    let mut whole = json!({"metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": "api"}}, "maxUnavailable": 1}});
    fixture::merge(&mut whole["spec"], spec);
    create(registry, &kinds::POD_DISRUPTION_BUDGET, "shop", &whole);
    let status = json!({"status": {"observedGeneration": 1, "disruptionsAllowed": allowed, "currentHealthy": current,
        "desiredHealthy": desired, "expectedPods": 3}});
    patch(registry, &kinds::POD_DISRUPTION_BUDGET, "shop", name, Part::Status, &status);
}

fn budget_status(registry: &Registry) -> Value {
    value(registry, &kinds::POD_DISRUPTION_BUDGET, "shop", "api")["status"].clone()
}

#[test]
fn an_allowed_eviction_marks_the_pod_counts_it_and_deletes_it_with_grace() {
    let registry = fixture::registry();
    running(&registry, "api-1", "n1", 1, true, &json!({"spec": {"terminationGracePeriodSeconds": 7}}));
    budget(&registry, "api", &json!({}), 1, 3, 2);
    let answer = evict(&registry, "api-1").unwrap();
    assert_eq!((&answer["status"], &answer["code"]), (&json!("Success"), &json!(201)));
    let status = budget_status(&registry);
    assert_eq!(status["disruptionsAllowed"], 0);
    assert!(status["disruptedPods"]["api-1"].is_string());
    assert_eq!(status["conditions"][0]["reason"], "InsufficientPods");
    let pod = value(&registry, &kinds::POD, "shop", "api-1");
    assert_eq!(pod["metadata"]["deletionGracePeriodSeconds"], 7);
    let target = &pod["status"]["conditions"][1];
    assert_eq!(
        (&target["type"], &target["reason"], &target["message"]),
        (&json!("DisruptionTarget"), &json!("EvictionByEvictionAPI"), &json!("Eviction API: evicting"))
    );
}

#[test]
fn a_spent_budget_says_what_it_needs_and_gives_no_time() {
    let registry = fixture::registry();
    running(&registry, "api-1", "n1", 1, true, &json!({}));
    budget(&registry, "api", &json!({}), 0, 2, 2);
    let error = evict(&registry, "api-1").unwrap_err();
    assert_eq!((error.code, error.reason), (429, "TooManyRequests"));
    assert_eq!(error.message, "Cannot evict pod as it would violate the pod's disruption budget.");
    assert_eq!(
        error.details,
        json!({"causes": [{"reason": "DisruptionBudget",
            "message": "The disruption budget api needs 2 healthy pods and has 2 currently"}]})
    );
    assert!(value(&registry, &kinds::POD, "shop", "api-1")["metadata"]["deletionTimestamp"].is_null());
}

#[test]
fn a_budget_that_is_not_worked_out_yet_says_when_to_ask_again() {
    let registry = fixture::registry();
    running(&registry, "api-1", "n1", 1, true, &json!({}));
    budget(&registry, "api", &json!({}), 1, 3, 2);
    patch(&registry, &kinds::POD_DISRUPTION_BUDGET, "shop", "api", Part::Main, &json!({"spec": {"maxUnavailable": 2}}));
    let error = evict(&registry, "api-1").unwrap_err();
    assert_eq!(error.code, 429);
    assert_eq!(error.details["retryAfterSeconds"], 10);
    assert_eq!(
        error.details["causes"][0]["message"],
        "The disruption budget api is still being processed by the server."
    );
}

#[test]
fn two_budgets_are_a_server_error_without_a_reason() {
    let registry = fixture::registry();
    running(&registry, "api-1", "n1", 1, true, &json!({}));
    budget(&registry, "api", &json!({}), 1, 3, 2);
    budget(&registry, "other", &json!({}), 1, 3, 2);
    let error = evict(&registry, "api-1").unwrap_err();
    assert_eq!((error.code, error.reason), (500, ""));
    assert_eq!(
        error.message,
        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
    );
}

#[test]
fn pods_that_disrupt_nothing_ignore_the_budget() {
    let registry = fixture::registry();
    budget(&registry, "api", &json!({}), 0, 2, 2);
    for (name, phase) in [("a", "Pending"), ("b", "Succeeded"), ("c", "Failed")] {
        running(&registry, name, "n1", 1, false, &json!({}));
        patch(&registry, &kinds::POD, "shop", name, Part::Status, &json!({"status": {"phase": phase}}));
        evict(&registry, name).unwrap();
    }
    // No node, so nothing runs and there is no grace.
    create(&registry, &kinds::POD, "shop", &pod("d", &json!({})));
    evict(&registry, "d").unwrap();
    assert!(value(&registry, &kinds::POD, "shop", "d").is_null());
    running(&registry, "e", "n1", 1, true, &json!({}));
    registry.delete(&kinds::POD, "shop", "e", &crate::sandbox::registry::DeleteOptions::default()).unwrap();
    evict(&registry, "e").unwrap();
    assert_eq!(budget_status(&registry)["disruptionsAllowed"], 0);
}

#[test]
fn an_unready_pod_goes_uncounted_only_where_the_policy_lets_it() {
    // policy, allowed, current, desired; what the eviction answers, and what the budget has left.
    let table = [
        (json!({}), 0, 2, 2, 201, 0),
        (json!({}), 1, 3, 2, 201, 1),
        (json!({}), 0, 1, 2, 429, 0),
        // The trap: nothing desired, so being above it does not count, and nothing is allowed either.
        (json!({}), 0, 0, 0, 429, 0),
        (json!({"unhealthyPodEvictionPolicy": "IfHealthyBudget"}), 0, 1, 2, 429, 0),
        (json!({"unhealthyPodEvictionPolicy": "AlwaysAllow"}), 0, 1, 2, 201, 0),
        (json!({"unhealthyPodEvictionPolicy": "AlwaysAllow"}), 0, 0, 0, 201, 0),
    ];
    for (policy, allowed, current, desired, code, left) in table {
        let registry = fixture::registry();
        running(&registry, "api-1", "n1", 1, false, &json!({}));
        budget(&registry, "api", &policy, allowed, current, desired);
        let answered = evict(&registry, "api-1").map_or_else(|error| error.code, |_| 201);
        let case = format!("{policy} {allowed} {current} {desired}");
        assert_eq!((answered, budget_status(&registry)["disruptionsAllowed"].as_i64()), (code, Some(left)), "{case}");
    }
}

#[test]
fn a_broken_budget_forbids() {
    let registry = fixture::registry();
    running(&registry, "api-1", "n1", 1, true, &json!({}));
    budget(&registry, "api", &json!({}), -1, 3, 2);
    let error = evict(&registry, "api-1").unwrap_err();
    assert_eq!((error.code, error.reason), (403, "Forbidden"));
    assert!(error.message.ends_with("pdb disruptions allowed is negative"), "{}", error.message);
    let many: serde_json::Map<String, Value> =
        (0..2001).map(|number| (format!("p{number}"), json!("2026-01-01T00:00:00Z"))).collect();
    let status = json!({"status": {"disruptionsAllowed": 1, "disruptedPods": many}});
    patch(&registry, &kinds::POD_DISRUPTION_BUDGET, "shop", "api", Part::Status, &status);
    let error = evict(&registry, "api-1").unwrap_err();
    assert_eq!(error.code, 403);
    assert!(error.message.contains("DisruptedPods map too big"), "{}", error.message);
}

#[test]
fn a_dry_run_changes_nothing() {
    let registry = fixture::registry();
    running(&registry, "api-1", "n1", 1, true, &json!({}));
    budget(&registry, "api", &json!({}), 1, 3, 2);
    registry.evict("shop", "api-1", &eviction("api-1", &Value::Null), true).unwrap();
    registry.evict("shop", "api-1", &eviction("api-1", &json!({"dryRun": ["All"]})), false).unwrap();
    assert_eq!(budget_status(&registry)["disruptionsAllowed"], 1);
    assert_eq!(value(&registry, &kinds::POD, "shop", "api-1")["status"]["conditions"].as_array().unwrap().len(), 1);
    patch(
        &registry,
        &kinds::POD_DISRUPTION_BUDGET,
        "shop",
        "api",
        Part::Status,
        &json!({"status": {"disruptionsAllowed": 0}}),
    );
    let refused = registry.evict("shop", "api-1", &eviction("api-1", &Value::Null), true).unwrap_err();
    assert_eq!(refused.code, 429);
}

#[test]
fn options_of_the_deletion_count() {
    let registry = fixture::registry();
    let pod = running(&registry, "api-1", "n1", 1, true, &json!({}));
    let with = |options: &Value| registry.evict("shop", "api-1", &eviction("api-1", options), false);
    let error = with(&json!({"preconditions": {"uid": "other"}})).unwrap_err();
    assert_eq!(error.code, 409);
    assert!(error.message.contains("does not match the UID in record"), "{}", error.message);
    assert_eq!(with(&json!({"preconditions": {"resourceVersion": "1"}})).unwrap_err().code, 409);
    let version = pod.version.to_string();
    with(&json!({"preconditions": {"resourceVersion": version}, "gracePeriodSeconds": 3})).unwrap();
    assert_eq!(value(&registry, &kinds::POD, "shop", "api-1")["metadata"]["deletionGracePeriodSeconds"], 3);
    assert_eq!(registry.evict("shop", "api-1", &eviction("api-2", &Value::Null), false).unwrap_err().code, 400);
    assert_eq!(registry.evict("shop", "none", &eviction("none", &Value::Null), false).unwrap_err().code, 404);
}

#[test]
fn the_empty_selector_takes_all_pods_and_none_takes_none() {
    for (selector, code) in [(json!({}), 429), (Value::Null, 201)] {
        let registry = fixture::registry();
        running(&registry, "api-1", "n1", 1, true, &json!({}));
        let budget = json!({"metadata": {"name": "api"}, "spec": {"selector": selector, "minAvailable": 1}});
        create(&registry, &kinds::POD_DISRUPTION_BUDGET, "shop", &budget);
        assert_eq!(evict(&registry, "api-1").map_or_else(|error| error.code, |_| 201), code, "{selector}");
    }
}

#[test]
fn what_is_no_eviction_of_this_pod_evicts_nothing() {
    let registry = fixture::registry();
    running(&registry, "api-1", "n1", 1, true, &json!({}));
    let code = |body: &Value| registry.evict("shop", "api-1", body, false).map_or_else(|error| error.code, |_| 201);
    let with = |more: Value| {
        let mut body = eviction("api-1", &Value::Null);
        fixture::merge(&mut body, &more);
        body
    };
    for more in [
        json!({"kind": "Pod", "apiVersion": "v1"}),
        json!({"kind": "Pod"}),
        json!({"apiVersion": "apps/v1"}),
        json!({"metadata": {"namespace": "default"}}),
        json!({"deleteOptions": {"gracePeriodSeconds": "x"}}),
        json!({"deleteOptions": {"preconditions": {"uid": 5}}}),
        json!({"deleteOptions": []}),
    ] {
        assert_eq!(code(&with(more.clone())), 400, "{more}");
    }
    assert!(value(&registry, &kinds::POD, "shop", "api-1")["metadata"]["deletionTimestamp"].is_null());
    let error = registry.evict("shop", "api-1", &with(json!({"deleteOptions": {"gracePeriodSeconds": "x"}})), false);
    assert_eq!(
        error.unwrap_err().message,
        "Eviction in version \"v1\" cannot be handled as a Eviction: json: cannot unmarshal string into Go struct \
         field DeleteOptions.deleteOptions.gracePeriodSeconds of type int64"
    );
    // The old version is taken, and so is a body that does not say what it is.
    assert_eq!(
        registry.evict("shop", "api-1", &with(json!({"apiVersion": "policy/v1beta1"})), true).unwrap()["code"],
        201
    );
    assert_eq!(code(&json!({"metadata": {"name": "api-1"}})), 201);
}
