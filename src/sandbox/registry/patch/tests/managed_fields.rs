use super::*;
use crate::sandbox::kinds;

fn owned(object: &Value, manager: &str) -> Value {
    let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    let mut found = entries.filter(|entry| entry["manager"] == manager);
    found.next().map_or(Value::Null, |entry| entry["fieldsV1"].clone())
}

/// A Deployment of which one manager has applied the replicas.
fn applied() -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "managedFields": [{
            "manager": "one",
            "operation": "Apply",
            "apiVersion": "apps/v1",
            "time": "2024-01-01T00:00:00Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {"f:replicas": {}, "f:paused": {}}},
        }]},
        "spec": {"replicas": 1, "paused": true},
    })
}

#[test]
fn before_the_first_apply_nothing_is_tracked() {
    let old = json!({"metadata": {"name": "web"}, "spec": {"replicas": 1}});
    let mut new = json!({"metadata": {"name": "web"}, "spec": {"replicas": 2}});
    let before = new.clone();
    track(&kinds::DEPLOYMENT, Part::Main, "", "kubectl", &old, &mut new);
    assert_eq!(new, before);
}

#[test]
fn an_update_takes_what_it_changes_and_leaves_the_rest() {
    let old = applied();
    let mut new = old.clone();
    new["spec"]["replicas"] = json!(2);
    new["metadata"]["labels"] = json!({"a": "b"});
    new["metadata"]["generation"] = json!(5);
    track(&kinds::DEPLOYMENT, Part::Main, "", "two", &old, &mut new);
    assert_eq!(owned(&new, "one"), json!({"f:spec": {"f:paused": {}}}));
    let wanted = json!({"f:metadata": {"f:labels": {".": {}, "f:a": {}}}, "f:spec": {"f:replicas": {}}});
    assert_eq!(owned(&new, "two"), wanted);
    // Appliers come before updaters.
    assert_eq!(new["metadata"]["managedFields"][1]["operation"], "Update");
}

#[test]
fn what_an_update_removes_belongs_to_nobody() {
    let old = applied();
    let mut new = old.clone();
    new["spec"].as_object_mut().unwrap().shift_remove("paused");
    track(&kinds::DEPLOYMENT, Part::Main, "", "two", &old, &mut new);
    assert_eq!(owned(&new, "one"), json!({"f:spec": {"f:replicas": {}}}));
    assert_eq!(owned(&new, "two"), Value::Null);
}

#[test]
fn an_update_that_changes_nothing_moves_nothing() {
    let old = applied();
    let mut new = old.clone();
    remove(&mut new);
    track(&kinds::DEPLOYMENT, Part::Main, "", "two", &old, &mut new);
    assert_eq!(new, old);
}

#[test]
fn a_status_is_owned_through_its_subresource() {
    let old = applied();
    let mut new = old.clone();
    new["status"] = json!({"replicas": 1});
    track(&kinds::DEPLOYMENT, Part::Status, "status", "", &old, &mut new);
    let entry = &new["metadata"]["managedFields"][1];
    assert_eq!(entry["manager"], "kube-controller-manager");
    assert_eq!(entry["subresource"], "status");
    assert_eq!(entry["fieldsV1"], json!({"f:status": {"f:replicas": {}}}));
}

#[test]
fn one_empty_entry_is_a_reset() {
    let old = applied();
    let mut new = old.clone();
    new["metadata"]["managedFields"] = json!([{}]);
    track(&kinds::DEPLOYMENT, Part::Main, "", "two", &old, &mut new);
    assert_eq!(new["metadata"].get("managedFields"), None);
}

#[test]
fn managed_fields_that_cannot_be_read_are_replaced_by_the_stored_ones() {
    let old = applied();
    let mut new = old.clone();
    new["metadata"]["managedFields"] = json!([{"manager": "x", "operation": "Apply", "fieldsV1": {"bad": 1}}]);
    track(&kinds::DEPLOYMENT, Part::Main, "", "two", &old, &mut new);
    assert_eq!(new, old);
}

#[test]
fn all_that_was_there_belongs_to_the_manager_before_the_first_apply() {
    let live = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "uid": "1", "labels": {"a": "b"}},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"a": "b"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}},
            "template": {"spec": {"containers": [{"name": "c", "resources": {}, "env": [{"name": "E"}]}]}},
        },
        "status": {"replicas": 1},
    });
    let managers = before_first_apply(&kinds::DEPLOYMENT, Part::Main, "", &live);
    let mut shown = json!({"metadata": {}});
    managers.write(&mut shown);
    // As upstream has it: `.` for what its type may leave out, none for structs that are always there.
    let wanted = json!({
        "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
        "f:spec": {
            "f:replicas": {},
            "f:selector": {},
            "f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}}, "f:type": {}},
            "f:template": {"f:spec": {"f:containers": {
                ".": {},
                "k:{\"name\":\"c\"}": {
                    ".": {},
                    "f:name": {},
                    "f:resources": {},
                    "f:env": {".": {}, "k:{\"name\":\"E\"}": {".": {}, "f:name": {}}},
                },
            }}},
        },
    });
    assert_eq!(owned(&shown, "before-first-apply"), wanted);
}

#[test]
fn the_oldest_updaters_beyond_ten_become_one() {
    let mut old = applied();
    let entry = |at: usize| {
        json!({
            "manager": format!("m{at}"),
            "operation": "Update",
            "apiVersion": "apps/v1",
            "time": format!("2024-01-01T00:00:{at:02}Z"),
            "fieldsV1": {"f:metadata": {"f:annotations": {format!("f:a{at}"): {}}}},
        })
    };
    old["metadata"]["managedFields"] = (10..20).map(entry).collect();
    let mut new = old.clone();
    new["spec"]["replicas"] = json!(9);
    track(&kinds::DEPLOYMENT, Part::Main, "", "late", &old, &mut new);
    assert_eq!(new["metadata"]["managedFields"].as_array().unwrap().len(), 10);
    let ancient = json!({"f:metadata": {"f:annotations": {"f:a10": {}, "f:a11": {}}}});
    assert_eq!(owned(&new, "ancient-changes"), ancient);
    assert_eq!(owned(&new, "late"), json!({"f:spec": {"f:replicas": {}}}));
}
