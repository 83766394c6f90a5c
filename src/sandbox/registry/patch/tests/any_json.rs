//! Whatever JSON comes: no patch panics, and applying twice is applying once.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::sandbox::kinds;

/// Keys that mean something to patches.
const KEYS: [&str; 20] = [
    "metadata",
    "labels",
    "finalizers",
    "ownerReferences",
    "uid",
    "spec",
    "containers",
    "name",
    "env",
    "ports",
    "containerPort",
    "resources",
    "limits",
    "nodeSelector",
    "$patch",
    "$retainKeys",
    "$setElementOrder/containers",
    "$setElementOrder/finalizers",
    "$deleteFromPrimitiveList/finalizers",
    "managedFields",
];

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..3_i32).prop_map(Value::from),
        prop::sample::select(vec!["a", "b", "delete", "replace", "name"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 4, |inner| {
        let field = (prop::sample::select(KEYS.to_vec()), inner.clone());
        prop_oneof![
            2 => prop::collection::vec(inner, 0..4).prop_map(Value::Array),
            3 => prop::collection::vec(field, 0..5)
                .prop_map(|fields| fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
                .prop_map(Value::Object),
        ]
    })
}

fn any_pod() -> impl Strategy<Value = Value> {
    let containers = prop::collection::vec(any_json(), 0..3);
    (any_json(), any_json(), containers).prop_map(|(labels, spec, containers)| {
        let mut pod =
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "labels": labels}, "spec": spec});
        if pod["spec"].is_object() {
            pod["spec"]["containers"] = Value::Array(containers);
        }
        pod
    })
}

/// Without nulls and empty lists, which stored objects do not have.
fn cleaned(value: Value) -> Value {
    let is_kept = |value: &Value| !value.is_null() && *value != json!([]);
    match value {
        Value::Array(items) => items.into_iter().map(cleaned).filter(is_kept).collect(),
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(name, value)| (name, cleaned(value)));
            Value::Object(fields.filter(|(_, value)| is_kept(value)).collect())
        }
        scalar => scalar,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_strategic_merge_patch_never_panics(live in any_pod(), patch in any_pod()) {
        let (Value::Object(live), Value::Object(patch)) = (live, patch) else { unreachable!() };
        if let Ok(patched) = strategic::apply(schema::At::root(&kinds::POD), live, patch) {
            prop_assert!(patched.contains_key("metadata"));
        }
    }

    #[test]
    fn applying_twice_is_applying_once(live in any_pod().prop_map(cleaned), config in any_pod().prop_map(cleaned)) {
        let apply = apply::Apply { kind: &kinds::POD, part: Part::Main, manager: "m", force: true, config: &config };
        if let Ok(once) = apply.to_live(&live) {
            prop_assert_eq!(apply.to_live(&once).unwrap(), once);
        }
    }

    #[test]
    fn an_apply_never_panics(live in any_pod(), config in any_pod()) {
        let apply = apply::Apply { kind: &kinds::POD, part: Part::Main, manager: "m", force: true, config: &config };
        if let Ok(once) = apply.to_live(&live) {
            prop_assert!(apply.to_live(&once).is_ok());
        }
    }

    #[test]
    fn an_update_can_be_tracked_whatever_it_changes(old in any_pod(), new in any_pod(), config in any_pod()) {
        let apply = apply::Apply { kind: &kinds::POD, part: Part::Main, manager: "m", force: true, config: &config };
        if let Ok(old) = apply.to_live(&old) {
            let mut tracked = new.clone();
            managed_fields::track(&kinds::POD, Part::Main, "", "other", &old, &mut tracked);
            let read = managed_fields::Managers::read(&tracked);
            prop_assert!(read.is_some());
            managed_fields::remove(&mut tracked);
            let mut new = new;
            managed_fields::remove(&mut new);
            prop_assert_eq!(tracked, new);
        }
    }
}
