use super::*;
use crate::sandbox::kinds;

fn apply(kind: &'static Kind, live: &Value, manager: &str, config: &Value) -> Result<Value, ApiError> {
    Apply { kind, part: Part::Main, manager, force: false, config }.to_live(live)
}

fn force(kind: &'static Kind, live: &Value, manager: &str, config: &Value) -> Value {
    Apply { kind, part: Part::Main, manager, force: true, config }.to_live(live).unwrap()
}

fn create(kind: &'static Kind, manager: &str, config: &Value) -> Value {
    Apply { kind, part: Part::Main, manager, force: false, config }.to_nothing(kind.plural, "x").unwrap()
}

fn owned(object: &Value, manager: &str) -> Value {
    let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    let mut found = entries.filter(|entry| entry["manager"] == manager);
    found.next().map_or(Value::Null, |entry| entry["fieldsV1"].clone())
}

fn config_map(data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": data})
}

fn deployment(spec: &Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}, "spec": spec})
}

#[test]
fn the_applier_owns_what_it_applies() {
    let config = deployment(&json!({
        "replicas": 3,
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{
            "name": "c",
            "image": "i",
            "args": ["x"],
            "ports": [{"containerPort": 80}],
            "env": [{"name": "E", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "resources": {"limits": {"cpu": "1"}},
        }]}},
    }));
    let created = create(&kinds::DEPLOYMENT, "one", &config);
    let entry = &created["metadata"]["managedFields"][0];
    assert_eq!(
        (&entry["operation"], &entry["apiVersion"], &entry["fieldsType"]),
        (&json!("Apply"), &json!("apps/v1"), &json!("FieldsV1"))
    );
    let container = json!({
        ".": {},
        "f:name": {},
        "f:image": {},
        "f:args": {},
        "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}},
        "f:env": {"k:{\"name\":\"E\"}": {".": {}, "f:name": {}, "f:valueFrom": {"f:fieldRef": {}}}},
        "f:resources": {"f:limits": {"f:cpu": {}}},
    });
    let wanted = json!({"f:spec": {
        "f:replicas": {},
        "f:selector": {},
        "f:template": {
            "f:metadata": {"f:labels": {"f:a": {}}},
            "f:spec": {"f:containers": {"k:{\"name\":\"c\"}": container}},
        },
    }});
    assert_eq!(owned(&created, "one"), wanted);
}

#[test]
fn fields_of_another_manager_are_a_conflict() {
    let live = create(&kinds::DEPLOYMENT, "one", &deployment(&json!({"replicas": 1})));
    let error = apply(&kinds::DEPLOYMENT, &live, "two", &deployment(&json!({"replicas": 2}))).unwrap_err();
    assert_eq!((error.code, error.reason), (409, "Conflict"));
    assert_eq!(error.message, r#"Apply failed with 1 conflict: conflict with "one": .spec.replicas"#);
    let cause =
        json!({"reason": "FieldManagerConflict", "message": "conflict with \"one\"", "field": ".spec.replicas"});
    assert_eq!(error.details, json!({"causes": [cause]}));

    let forced = force(&kinds::DEPLOYMENT, &live, "two", &deployment(&json!({"replicas": 2})));
    assert_eq!(forced["spec"]["replicas"], 2);
    assert_eq!(owned(&forced, "one"), Value::Null);
    assert_eq!(owned(&forced, "two"), json!({"f:spec": {"f:replicas": {}}}));
}

#[test]
fn several_conflicts_are_listed_by_manager() {
    let mut live = create(&kinds::CONFIG_MAP, "one", &config_map(&json!({"a": "1", "b": "1"})));
    live = apply(&kinds::CONFIG_MAP, &live, "other", &config_map(&json!({"c": "1"}))).unwrap();
    let error =
        apply(&kinds::CONFIG_MAP, &live, "two", &config_map(&json!({"a": "2", "b": "2", "c": "2"}))).unwrap_err();
    assert_eq!(
        error.message,
        "Apply failed with 3 conflicts: conflicts with \"one\":\n- .data.a\n- .data.b\nconflicts with \"other\":\n- .data.c"
    );
}

#[test]
fn an_update_before_the_first_apply_is_told_with_its_version() {
    let live = deployment(&json!({"replicas": 1}));
    let error = apply(&kinds::DEPLOYMENT, &live, "two", &deployment(&json!({"replicas": 2}))).unwrap_err();
    assert_eq!(
        error.message,
        r#"Apply failed with 1 conflict: conflict with "before-first-apply" using apps/v1: .spec.replicas"#
    );
}

#[test]
fn the_same_value_is_shared_and_not_a_conflict() {
    let live = create(&kinds::CONFIG_MAP, "one", &config_map(&json!({"a": "1"})));
    let shared = apply(&kinds::CONFIG_MAP, &live, "two", &config_map(&json!({"a": "1"}))).unwrap();
    assert_eq!(owned(&shared, "one"), json!({"f:data": {"f:a": {}}}));
    assert_eq!(owned(&shared, "two"), json!({"f:data": {"f:a": {}}}));
    // Who gives up a shared field leaves it to the other.
    let left = apply(&kinds::CONFIG_MAP, &shared, "one", &config_map(&json!({"b": "1"}))).unwrap();
    assert_eq!(left["data"], json!({"a": "1", "b": "1"}));
    assert_eq!(owned(&left, "one"), json!({"f:data": {"f:b": {}}}));
}

#[test]
fn what_is_no_longer_applied_goes_unless_others_apply_it() {
    let live = create(&kinds::CONFIG_MAP, "one", &config_map(&json!({"a": "1", "b": "1"})));
    let less = apply(&kinds::CONFIG_MAP, &live, "one", &config_map(&json!({"b": "1"}))).unwrap();
    assert_eq!(less["data"], json!({"b": "1"}));
    // With its last key the map goes too.
    let none = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}});
    let gone = apply(&kinds::CONFIG_MAP, &less, "one", &none).unwrap();
    assert_eq!(gone.get("data"), None);
    assert_eq!(gone["metadata"].get("managedFields"), None);
}

#[test]
fn an_empty_map_in_a_configuration_takes_nothing_from_others() {
    let live = create(&kinds::CONFIG_MAP, "one", &config_map(&json!({"a": "1"})));
    let empty = config_map(&json!({}));
    let once = apply(&kinds::CONFIG_MAP, &live, "two", &empty).unwrap();
    let twice = apply(&kinds::CONFIG_MAP, &once, "two", &empty).unwrap();
    assert_eq!(twice["data"], json!({"a": "1"}));
    assert_eq!(twice, once);
}

#[test]
fn a_list_element_goes_only_when_nobody_has_anything_in_it() {
    let containers = |list: &Value| deployment(&json!({"template": {"spec": {"containers": list}}}));
    let live = create(
        &kinds::DEPLOYMENT,
        "one",
        &containers(&json!([{"name": "a", "image": "a"}, {"name": "b", "image": "b"}])),
    );
    // Another one adds a field to `b` (and with it applies the element).
    let two = apply(&kinds::DEPLOYMENT, &live, "two", &containers(&json!([{"name": "b", "args": ["x"]}]))).unwrap();
    let left = apply(&kinds::DEPLOYMENT, &two, "one", &containers(&json!([{"name": "a", "image": "a"}]))).unwrap();
    assert_eq!(
        left["spec"]["template"]["spec"]["containers"],
        json!([{"name": "a", "image": "a"}, {"name": "b", "args": ["x"]}])
    );
    let last = apply(&kinds::DEPLOYMENT, &left, "two", &containers(&json!([]))).unwrap();
    assert_eq!(last["spec"]["template"]["spec"]["containers"], json!([{"name": "a", "image": "a"}]));
}

#[test]
fn what_defaults_and_updates_added_stays() {
    let mut live = create(&kinds::DEPLOYMENT, "one", &deployment(&json!({"replicas": 1, "paused": true})));
    live["spec"]["revisionHistoryLimit"] = json!(10);
    let applied = apply(&kinds::DEPLOYMENT, &live, "one", &deployment(&json!({"replicas": 2}))).unwrap();
    assert_eq!(applied["spec"], json!({"replicas": 2, "revisionHistoryLimit": 10}));
}

#[test]
fn applying_the_same_again_changes_nothing() {
    let mut live = create(&kinds::CONFIG_MAP, "one", &config_map(&json!({"a": "1"})));
    live["metadata"]["managedFields"][0]["time"] = json!("2024-01-01T00:00:00Z");
    assert_eq!(apply(&kinds::CONFIG_MAP, &live, "one", &config_map(&json!({"a": "1"}))).unwrap(), live);
}

#[test]
fn lists_take_the_order_of_the_configuration_around_what_others_added() {
    let env = |names: &[&str]| -> Value { names.iter().map(|name| json!({"name": name})).collect() };
    let pod = |names: &[&str]| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {"containers": [{"name": "c", "env": env(names)}]}});
    let cases: [(&[&str], &[&str], &[&str]); 4] = [
        (&["a", "b"], &["b", "a"], &["b", "a"]),
        (&["a", "b"], &["b", "c"], &["a", "b", "c"]),
        (&["s", "a", "t"], &["a"], &["s", "a", "t"]),
        (&[], &["a"], &["a"]),
    ];
    for (live, config, wanted) in cases {
        let applied = apply(&kinds::POD, &pod(live), "one", &pod(config)).unwrap();
        assert_eq!(applied["spec"]["containers"][0]["env"], env(wanted), "{live:?} with {config:?}");
    }
}

#[test]
fn ports_are_told_apart_by_protocol_too() {
    let service = |ports: &Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"ports": ports}});
    let live = create(&kinds::SERVICE, "one", &service(&json!([{"port": 53, "protocol": "UDP", "name": "u"}])));
    let both = apply(&kinds::SERVICE, &live, "two", &service(&json!([{"port": 53, "name": "t"}]))).unwrap();
    assert_eq!(both["spec"]["ports"].as_array().unwrap().len(), 2);
}

#[test]
fn atomic_values_are_replaced_as_a_whole() {
    let pod = |spec: &Value| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": spec});
    let live = create(&kinds::POD, "one", &pod(&json!({"nodeSelector": {"a": "1"}, "tolerations": [{"key": "k"}]})));
    let applied =
        apply(&kinds::POD, &live, "one", &pod(&json!({"nodeSelector": {"b": "1"}, "tolerations": []}))).unwrap();
    assert_eq!(applied["spec"], json!({"nodeSelector": {"b": "1"}, "tolerations": []}));
    let error = apply(&kinds::POD, &live, "two", &pod(&json!({"nodeSelector": {"b": "1"}}))).unwrap_err();
    assert!(error.message.ends_with(".spec.nodeSelector"), "{}", error.message);
}

#[test]
fn finalizers_are_a_set() {
    let config =
        |all: &[&str]| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "finalizers": all}});
    let live = create(&kinds::CONFIG_MAP, "one", &config(&["a/a"]));
    let both = apply(&kinds::CONFIG_MAP, &live, "two", &config(&["b/b"])).unwrap();
    assert_eq!(both["metadata"]["finalizers"], json!(["a/a", "b/b"]));
    assert_eq!(owned(&both, "two"), json!({"f:metadata": {"f:finalizers": {"v:\"b/b\"": {}}}}));
    let left = apply(&kinds::CONFIG_MAP, &both, "one", &config(&[])).unwrap();
    assert_eq!(left["metadata"]["finalizers"], json!(["b/b"]));
}

#[test]
fn the_status_is_applied_through_its_subresource_only() {
    let mut config = deployment(&json!({"replicas": 1}));
    config["status"] = json!({"replicas": 7});
    let created = create(&kinds::DEPLOYMENT, "one", &config);
    assert_eq!(created.get("status"), None);
    let status = Apply { kind: &kinds::DEPLOYMENT, part: Part::Status, manager: "s", force: false, config: &config };
    let applied = status.to_live(&created).unwrap();
    assert_eq!(applied["status"], json!({"replicas": 7}));
    assert_eq!(owned(&applied, "s"), json!({"f:status": {"f:replicas": {}}}));
    let entries = applied["metadata"]["managedFields"].as_array().unwrap();
    assert!(entries.iter().any(|entry| entry["manager"] == "s" && entry["subresource"] == "status"));
}

#[test]
fn kubectl_takes_over_what_it_applied_client_side() {
    let mut live = deployment(&json!({"replicas": 1, "paused": true}));
    let applied = deployment(&json!({"replicas": 1}));
    live["metadata"]["annotations"] = json!({LAST_APPLIED: applied.to_string()});
    let taken = apply(&kinds::DEPLOYMENT, &live, "kubectl", &deployment(&json!({"replicas": 2}))).unwrap();
    assert_eq!(taken["spec"]["replicas"], 2);
    let annotation = taken["metadata"]["annotations"][LAST_APPLIED].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(annotation).unwrap()["spec"]["replicas"], 2);
    // What it has not applied itself stays a conflict, and so it is for everybody else.
    let paused = deployment(&json!({"paused": false}));
    assert_eq!(apply(&kinds::DEPLOYMENT, &live, "kubectl", &paused).unwrap_err().code, 409);
    let replicas = deployment(&json!({"replicas": 2}));
    assert_eq!(apply(&kinds::DEPLOYMENT, &live, "other", &replicas).unwrap_err().code, 409);
}

#[test]
fn configurations_that_cannot_be_applied_are_refused() {
    let live = deployment(&json!({"replicas": 1}));
    let containers = |list: &Value| deployment(&json!({"template": {"spec": {"containers": list}}}));
    let mut managed = deployment(&json!({}));
    managed["metadata"]["managedFields"] = json!([]);
    let mut old = deployment(&json!({}));
    old["apiVersion"] = json!("apps/v1beta1");
    let mut flat = deployment(&json!({}));
    flat["metadata"] = json!("x");
    let cases = [
        (flat, 400, "error decoding YAML: metadata is not an object"),
        (managed, 400, "metadata.managedFields must be nil"),
        (
            old,
            400,
            "Incorrect version specified in apply patch. Specified patch version: apps/v1beta1, expected: apps/v1",
        ),
        (
            deployment(&json!({"replica": 1})),
            500,
            "failed to create typed patch object (/x; apps/v1, Kind=Deployment): .spec.replica: field not declared in schema",
        ),
        (
            containers(&json!([{"image": "i"}])),
            500,
            "failed to create typed patch object (/x; apps/v1, Kind=Deployment): .spec.template.spec.containers: element 0: \
             associative list with keys has an element that omits key field \"name\" (and doesn't have default value)",
        ),
        (
            containers(&json!([{"name": "a"}, {"name": "a"}])),
            500,
            "failed to create typed patch object (/x; apps/v1, Kind=Deployment): .spec.template.spec.containers: \
             duplicate entries for key [name=\"a\"]",
        ),
    ];
    for (config, code, message) in cases {
        let error = apply(&kinds::DEPLOYMENT, &live, "one", &config).unwrap_err();
        assert_eq!((error.code, &*error.message), (code, message), "{config}");
    }
}

#[test]
fn fields_are_told_apart_only_so_deep_that_they_can_be_read_again() {
    let deep = (0..90).fold(json!({"leaf": 1}), |below, _| json!({"n": below}));
    let revision = |data: &Value| json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": {"name": "x"}, "data": data, "revision": 1});
    let live = create(&kinds::CONTROLLER_REVISION, "one", &revision(&deep));
    let mut changed = live.clone();
    changed["data"] = (0..110).fold(json!({"leaf": 2}), |below, _| json!({"n": below}));
    managed_fields::track(&kinds::CONTROLLER_REVISION, Part::Main, "", "two", &live, &mut changed);
    assert_ne!(owned(&changed, "two"), Value::Null);
    for object in [live, changed] {
        assert_eq!(serde_json::from_str::<Value>(&object.to_string()).unwrap(), object);
    }
}
