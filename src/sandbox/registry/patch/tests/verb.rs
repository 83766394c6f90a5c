use serde_json::json;

use super::*;
use crate::sandbox::{kinds, registry::admission::Allocator, store::Store};

fn registry() -> Registry {
    let registry = Registry::new(Arc::new(Store::new(kinds::ALL)), Allocator::default());
    let options = WriteOptions::default();
    registry.create(&kinds::NAMESPACE, "", json!({"metadata": {"name": "shop"}}), &options).unwrap();
    registry
}

fn by(manager: &str) -> WriteOptions {
    WriteOptions { manager: manager.to_owned(), ..WriteOptions::default() }
}

fn config_map(data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": data})
}

fn patch(registry: &Registry, kind: PatchKind, body: &str, manager: &str) -> Result<(Value, bool), ApiError> {
    let patched = registry.patch(&kinds::CONFIG_MAP, "shop", "x", Part::Main, kind, body.as_bytes(), &by(manager));
    patched.map(|(object, created)| (object.value(), created))
}

const APPLY: PatchKind = PatchKind::Apply { force: false };

#[test]
fn each_content_type_has_its_kind() {
    let cases = [
        ("application/json-patch+json", Some(PatchKind::Json)),
        ("application/merge-patch+json; charset=utf-8", Some(PatchKind::Merge)),
        ("application/strategic-merge-patch+json", Some(PatchKind::Strategic)),
        ("application/apply-patch+yaml", Some(PatchKind::Apply { force: true })),
        ("application/json", None),
        ("", None),
    ];
    for (content_type, wanted) in cases {
        let found = PatchKind::from_content_type(content_type, true);
        assert_eq!(found.as_ref().ok().copied(), wanted, "{content_type}");
        assert!(found.is_ok() || found.is_err_and(|error| error.code == 415));
    }
}

#[test]
fn each_kind_of_patch_changes_a_stored_object() {
    let registry = registry();
    registry.create(&kinds::CONFIG_MAP, "shop", config_map(&json!({"a": "1"})), &by("one")).unwrap();
    let cases = [
        (PatchKind::Json, r#"[{"op": "add", "path": "/data/b", "value": "2"}]"#),
        (PatchKind::Merge, r#"{"data": {"c": "3"}}"#),
        (PatchKind::Strategic, r#"{"data": {"d": "4", "a": null}}"#),
    ];
    for (kind, body) in cases {
        assert!(!patch(&registry, kind, body, "one").unwrap().1);
    }
    let stored = registry.get(&kinds::CONFIG_MAP, "shop", "x").unwrap().value();
    assert_eq!(stored["data"], json!({"b": "2", "c": "3", "d": "4"}));
    assert_eq!(stored["metadata"].get("managedFields"), None);
}

#[test]
fn apply_creates_what_is_not_there_and_reads_yaml() {
    let registry = registry();
    let body = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\ndata:\n  a: '1'\n";
    let (created, is_new) = patch(&registry, APPLY, body, "one").unwrap();
    assert!(is_new);
    assert_eq!(created["data"], json!({"a": "1"}));
    assert_eq!(created["metadata"]["managedFields"][0]["manager"], "one");

    let again = patch(&registry, APPLY, body, "one").unwrap();
    assert_eq!(again, (created, false), "applying the same writes nothing");
}

#[test]
fn other_patches_create_nothing() {
    for (kind, body) in [(PatchKind::Json, "[]"), (PatchKind::Merge, "{}"), (PatchKind::Strategic, "{}")] {
        assert_eq!(patch(&registry(), kind, body, "one").unwrap_err().code, 404);
    }
}

#[test]
fn after_an_apply_other_writes_move_ownership() {
    let registry = registry();
    patch(&registry, APPLY, &config_map(&json!({"a": "1", "b": "1"})).to_string(), "one").unwrap();
    let (changed, _) = patch(&registry, PatchKind::Merge, r#"{"data": {"a": "2"}}"#, "two").unwrap();
    let entries = changed["metadata"]["managedFields"].as_array().unwrap();
    let fields: Vec<(&Value, &Value)> = entries.iter().map(|entry| (&entry["manager"], &entry["fieldsV1"])).collect();
    assert_eq!(
        fields,
        [(&json!("one"), &json!({"f:data": {"f:b": {}}})), (&json!("two"), &json!({"f:data": {"f:a": {}}}))]
    );
    let error = patch(&registry, APPLY, &config_map(&json!({"a": "1"})).to_string(), "one").unwrap_err();
    assert_eq!(error.message, r#"Apply failed with 1 conflict: conflict with "two" using v1: .data.a"#);
}

#[test]
fn a_status_is_not_created_by_applying_it() {
    let body = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "status": {}}"#;
    let applied = registry().patch(&kinds::POD, "shop", "x", Part::Status, APPLY, body.as_bytes(), &by("one"));
    assert_eq!(applied.unwrap_err().code, 404);
}

#[test]
fn a_dry_run_writes_nothing() {
    let registry = registry();
    let options = WriteOptions { dry_run: true, ..by("one") };
    let body = config_map(&json!({"a": "1"})).to_string();
    let target = (&kinds::CONFIG_MAP, "shop", "x");
    let (_, created) =
        registry.patch(target.0, target.1, target.2, Part::Main, APPLY, body.as_bytes(), &options).unwrap();
    assert!(created);
    assert!(registry.get(target.0, target.1, target.2).unwrap_err().is_not_found());
}

#[test]
fn bodies_that_are_no_patch_are_refused() {
    let registry = registry();
    registry.create(&kinds::CONFIG_MAP, "shop", config_map(&json!({})), &by("one")).unwrap();
    let deep = format!("{{\"data\": {}{}}}", "[".repeat(5_000), "]".repeat(5_000));
    let large = format!("{{\"data\": \"{}\"}}", "x".repeat(PATCH_BYTES_MAX));
    let other = r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "y"}}"#;
    let cases: [(PatchKind, &str, u16); 13] = [
        (PatchKind::Json, "{", 400),
        (PatchKind::Json, r#"[{"op": "replace", "path": "", "value": 1}]"#, 422),
        (PatchKind::Merge, "[]", 400),
        (PatchKind::Merge, &deep, 400),
        (PatchKind::Merge, &large, 413),
        (PatchKind::Merge, r#"{"metadata": {"name": "y"}}"#, 400),
        (PatchKind::Merge, r#"{"kind": "Secret"}"#, 400),
        (PatchKind::Merge, r#"{"metadata": {"resourceVersion": "1"}}"#, 409),
        (PatchKind::Strategic, "1", 400),
        (APPLY, "a: [", 400),
        (APPLY, "just text", 400),
        (APPLY, &deep, 400),
        (APPLY, other, 400),
    ];
    for (kind, body, code) in cases {
        let error = patch(&registry, kind, body, "one").unwrap_err();
        assert_eq!(error.code, code, "{kind:?} {}: {error}", &body[..body.len().min(80)]);
    }
    let nameless = patch(&registry, APPLY, &config_map(&json!({})).to_string(), "").unwrap_err();
    assert_eq!(nameless.code, 422);
    assert_eq!(
        nameless.message,
        r#"PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch"#
    );
}

#[test]
fn who_scales_an_applied_object_owns_its_replicas_through_the_scale() {
    let registry = registry();
    let labels = json!({"a": "b"});
    let body = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}, "spec": {
        "replicas": 1,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
    }});
    let apply = |body: &Value| {
        let body = body.to_string();
        registry.patch(&kinds::DEPLOYMENT, "shop", "x", Part::Main, APPLY, body.as_bytes(), &by("one"))
    };
    apply(&body).unwrap();
    registry.set_scale(&kinds::DEPLOYMENT, "shop", "x", &json!({"spec": {"replicas": 3}}), &by("kubectl")).unwrap();
    let error = apply(&body).unwrap_err();
    assert_eq!(
        error.message,
        r#"Apply failed with 1 conflict: conflict with "kubectl" with subresource "scale" using apps/v1: .spec.replicas"#
    );
}
