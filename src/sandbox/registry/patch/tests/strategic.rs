use serde_json::json;

use super::*;
use crate::sandbox::kinds::{self, Kind};

fn patched(kind: &Kind, original: &Value, patch: &Value) -> Result<Value, ApiError> {
    let [original, patch] = [original, patch].map(|value| value.as_object().unwrap().clone());
    apply(At::root(kind), original, patch).map(Value::Object)
}

fn pod(spec: &Value) -> Value {
    json!({"spec": spec})
}

/// Patches of pods: what is in the spec, the patch of it, what it becomes.
fn hold(cases: &[(Value, Value, Value)]) {
    for (original, patch, wanted) in cases {
        let patched = patched(&kinds::POD, &pod(original), &pod(patch)).unwrap();
        assert_eq!(patched, pod(wanted), "{original} with {patch}");
    }
}

#[test]
fn containers_are_merged_by_name_and_stay_in_their_order() {
    let two = json!({"containers": [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}]});
    hold(&[
        // kubectl set image.
        (
            two.clone(),
            json!({"$setElementOrder/containers": [{"name": "a"}, {"name": "b"}], "containers": [{"name": "b", "image": "b:2"}]}),
            json!({"containers": [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:2"}]}),
        ),
        // Without an order the patched one stays where the live list has it; a new one comes first.
        (
            two.clone(),
            json!({"containers": [{"name": "b", "image": "b:2"}]}),
            json!({"containers": [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:2"}]}),
        ),
        (
            two.clone(),
            json!({"containers": [{"name": "c", "image": "c:1"}]}),
            json!({"containers": [{"name": "c", "image": "c:1"}, {"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}]}),
        ),
        // kubectl apply that removes one, and one that puts them in another order.
        (
            two.clone(),
            json!({"$setElementOrder/containers": [{"name": "b"}], "containers": [{"$patch": "delete", "name": "a"}]}),
            json!({"containers": [{"name": "b", "image": "b:1"}]}),
        ),
        (
            two.clone(),
            json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}),
            json!({"containers": [{"name": "b", "image": "b:1"}, {"name": "a", "image": "a:1"}]}),
        ),
        // The whole list anew.
        (
            two,
            json!({"containers": [{"$patch": "replace"}, {"name": "z", "image": "z:1"}]}),
            json!({"containers": [{"name": "z", "image": "z:1"}]}),
        ),
    ]);
}

#[test]
fn what_the_server_added_stays_between_what_the_patch_orders() {
    let live = json!({"containers": [{"name": "a"}, {"name": "sidecar"}, {"name": "b"}]});
    hold(&[
        (
            live.clone(),
            json!({"$setElementOrder/containers": [{"name": "a"}, {"name": "b"}, {"name": "c"}], "containers": [{"name": "c"}]}),
            json!({"containers": [{"name": "a"}, {"name": "sidecar"}, {"name": "b"}, {"name": "c"}]}),
        ),
        // It goes before the first of ours that it was before; of ours that are new nothing is known.
        (
            live,
            json!({"$setElementOrder/containers": [{"name": "c"}, {"name": "b"}, {"name": "a"}], "containers": [{"name": "c"}]}),
            json!({"containers": [{"name": "c"}, {"name": "sidecar"}, {"name": "b"}, {"name": "a"}]}),
        ),
    ]);
}

#[test]
fn lists_within_a_container_have_keys_of_their_own() {
    let live = json!({"containers": [{
        "name": "a",
        "args": ["x", "y"],
        "env": [{"name": "ONE", "value": "1"}, {"name": "TWO", "value": "2"}],
        "ports": [{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 90, "protocol": "TCP"}],
        "volumeMounts": [{"mountPath": "/a", "name": "v"}],
    }]});
    // As kubectl apply makes it when ONE goes, TWO changes, THREE is new, port 80 gets a name and args change.
    let patch = json!({
        "$setElementOrder/containers": [{"name": "a"}],
        "containers": [{
            "name": "a",
            "$setElementOrder/env": [{"name": "TWO"}, {"name": "THREE"}],
            "env": [{"name": "TWO", "value": "22"}, {"name": "THREE", "value": "3"}, {"$patch": "delete", "name": "ONE"}],
            "$setElementOrder/ports": [{"containerPort": 80}, {"containerPort": 90}],
            "ports": [{"containerPort": 80, "name": "http"}],
            "args": ["z"],
            "volumeMounts": [{"mountPath": "/b", "name": "v"}],
        }],
    });
    hold(&[(
        live,
        patch,
        json!({"containers": [{
            "name": "a",
            "args": ["z"],
            "env": [{"name": "TWO", "value": "22"}, {"name": "THREE", "value": "3"}],
            "ports": [{"containerPort": 80, "protocol": "TCP", "name": "http"}, {"containerPort": 90, "protocol": "TCP"}],
            "volumeMounts": [{"mountPath": "/b", "name": "v"}, {"mountPath": "/a", "name": "v"}],
        }]}),
    )]);
}

#[test]
fn the_key_of_ports_is_port_in_a_service() {
    let live = json!({"spec": {"ports": [{"port": 80, "nodePort": 30080}, {"port": 90}], "selector": {"a": "b"}}});
    let patch = json!({"spec": {"$setElementOrder/ports": [{"port": 80}], "ports": [{"port": 80, "targetPort": 8080}, {"$patch": "delete", "port": 90}]}});
    let wanted =
        json!({"spec": {"ports": [{"port": 80, "nodePort": 30080, "targetPort": 8080}], "selector": {"a": "b"}}});
    assert_eq!(patched(&kinds::SERVICE, &live, &patch).unwrap(), wanted);
}

#[test]
fn retain_keys_drops_the_other_fields_of_a_union() {
    let live = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
    let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
    assert_eq!(
        patched(&kinds::DEPLOYMENT, &live, &patch).unwrap(),
        json!({"spec": {"strategy": {"type": "Recreate"}}})
    );

    hold(&[(
        json!({"volumes": [{"name": "v", "emptyDir": {}}]}),
        json!({"volumes": [{"name": "v", "$retainKeys": ["name", "configMap"], "configMap": {"name": "c"}}]}),
        json!({"volumes": [{"name": "v", "configMap": {"name": "c"}}]}),
    )]);

    let unnamed = json!({"spec": {"strategy": {"$retainKeys": ["type"], "rollingUpdate": {}}}});
    let error = patched(&kinds::DEPLOYMENT, &live, &unnamed).unwrap_err();
    assert_eq!((error.code, &*error.message), (400, "invalid patch format of retainKeys"));
}

#[test]
fn scalars_of_set_lists_are_added_and_deleted_one_by_one() {
    let live = json!({"metadata": {"finalizers": ["a/a", "b/b"]}});
    let cases = [
        (json!({"finalizers": ["c/c", "a/a"]}), json!({"finalizers": ["c/c", "a/a", "b/b"]})),
        (json!({"$deleteFromPrimitiveList/finalizers": ["a/a"]}), json!({"finalizers": ["b/b"]})),
        (
            json!({"$setElementOrder/finalizers": ["c/c", "b/b"], "$deleteFromPrimitiveList/finalizers": ["a/a"], "finalizers": ["c/c"]}),
            json!({"finalizers": ["c/c", "b/b"]}),
        ),
        (json!({"finalizers": null}), json!({})),
    ];
    for (patch, wanted) in cases {
        let patched = patched(&kinds::CONFIG_MAP, &live, &json!({"metadata": patch})).unwrap();
        assert_eq!(patched, json!({"metadata": wanted}), "{patch}");
    }
}

#[test]
fn lists_without_a_strategy_are_replaced() {
    hold(&[(
        json!({"tolerations": [{"key": "a"}]}),
        json!({"tolerations": [{"key": "b"}]}),
        json!({"tolerations": [{"key": "b"}]}),
    )]);
    let taints = |key: &str| json!({"spec": {"taints": [{"key": key, "effect": "NoSchedule"}]}});
    assert_eq!(patched(&kinds::NODE, &taints("a"), &taints("b")).unwrap(), taints("b"));
}

#[test]
fn maps_are_merged_and_null_deletes() {
    let live = json!({"metadata": {"labels": {"a": "1", "b": "2"}}, "data": {"x": "y"}});
    let patch = json!({"metadata": {"labels": {"a": null, "c": "3"}}, "data": {"$patch": "replace", "z": "1"}});
    let wanted = json!({"metadata": {"labels": {"b": "2", "c": "3"}}, "data": {"z": "1"}});
    assert_eq!(patched(&kinds::CONFIG_MAP, &live, &patch).unwrap(), wanted);
    let gone = patched(&kinds::CONFIG_MAP, &live, &json!({"data": {"$patch": "delete"}})).unwrap();
    assert_eq!(gone["data"], json!({}));
}

#[test]
fn a_budgets_selector_is_replaced_and_other_selectors_are_merged() {
    let live = json!({"spec": {"selector": {"matchLabels": {"a": "1"}}}});
    let patch = json!({"spec": {"selector": {"matchLabels": {"b": "2"}}}});
    assert_eq!(patched(&kinds::POD_DISRUPTION_BUDGET, &live, &patch).unwrap(), patch);
    let merged = patched(&kinds::REPLICA_SET, &live, &patch).unwrap();
    assert_eq!(merged["spec"]["selector"]["matchLabels"], json!({"a": "1", "b": "2"}));
}

#[test]
fn conditions_and_addresses_of_a_node_are_merged_by_type() {
    let live = json!({"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "R"}, {"type": "DiskPressure", "status": "False"}]}});
    // As the kubelet sends it.
    let patch = json!({"status": {"$setElementOrder/conditions": [{"type": "DiskPressure"}, {"type": "Ready"}], "conditions": [{"type": "Ready", "status": "False"}]}});
    let wanted = json!({"status": {"conditions": [{"type": "DiskPressure", "status": "False"}, {"type": "Ready", "status": "False", "reason": "R"}]}});
    assert_eq!(patched(&kinds::NODE, &live, &patch).unwrap(), wanted);
}

#[test]
fn directives_do_not_end_up_in_new_values() {
    hold(&[(
        json!({}),
        json!({
            "$setElementOrder/containers": [{"name": "a"}],
            "containers": [{"name": "a", "image": null, "$setElementOrder/env": [{"name": "E"}], "env": [{"name": "E"}, {"$patch": "delete", "name": "F"}]}],
            "securityContext": {"$retainKeys": ["runAsUser"], "runAsUser": 1},
        }),
        json!({"containers": [{"name": "a", "env": [{"name": "E"}]}], "securityContext": {"runAsUser": 1}}),
    )]);
}

#[test]
fn patches_that_make_no_sense_are_refused() {
    let live = json!({"containers": [{"name": "a"}, {"name": "b"}]});
    let cases = [
        (json!({"containers": [{"image": "x"}]}), 500, "does not contain declared merge key: name"),
        (
            json!({"containers": [{"name": "a", "$patch": "merge"}]}),
            500,
            "merging lists cannot yet be specified in the patch",
        ),
        (json!({"containers": [{"name": "a", "$patch": "drop"}]}), 500, "unknown patch type: drop"),
        (json!({"$patch": "drop"}), 500, "unknown patch type: drop"),
        (json!({"containers": ["a"]}), 500, "list element types are not identical"),
        (json!({"containers": [["a"]]}), 422, "due to an error in our request"),
        (json!({"$setElementOrder/containers": 1}), 500, "expected a slice, but received a number"),
        (
            json!({"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "b", "image": "x"}]}),
            500,
            "doesn't match $setElementOrder list",
        ),
    ];
    for (patch, code, words) in cases {
        let error = patched(&kinds::POD, &pod(&live), &pod(&patch)).unwrap_err();
        assert_eq!(error.code, code, "{patch}");
        assert!(error.message.contains(words), "{patch}: {}", error.message);
    }
}
