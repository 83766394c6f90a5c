//! Pod templates: when two are the same, and the hash that names a `ReplicaSet`
//! (`k/pkg/controller/deployment/util/deployment_util.go` `EqualIgnoreHash`, `k/pkg/controller/controller_utils.go`
//! `ComputeHash`, v1.34.4).
//!
//! Upstream hashes a dump of its Go structs, which nothing but Go can print. Here the same function (FNV-1a, 32 bits) is
//! taken of the JSON of the template: names have the same form and stability, but other letters than on a real cluster.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::Value;

use crate::sandbox::names;

/// The label that tells the pods of a Deployment's `ReplicaSets` apart.
pub const HASH_LABEL: &str = "pod-template-hash";

/// Maps of the API in which an empty one means the same as none.
const EMPTY_IS_NONE: [&str; 6] = ["labels", "annotations", "nodeSelector", "limits", "requests", "matchLabels"];

/// Whether two templates are the same but for the hash label.
#[must_use]
pub fn is_same(one: &PodTemplateSpec, other: &PodTemplateSpec) -> bool {
    canonical(one) == canonical(other)
}

/// The hash of a template; after a collision another one.
#[must_use]
pub fn hash(template: &PodTemplateSpec, collisions: Option<i32>) -> String {
    let mut bytes = serde_json::to_vec(template).unwrap_or_default();
    if let Some(collisions) = collisions {
        bytes.extend_from_slice(&collisions.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
    }
    names::safe_encode(&fnv_1a(&bytes).to_string())
}

/// FNV-1a of 32 bits (Go's `hash/fnv` New32a).
fn fnv_1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

fn canonical(template: &PodTemplateSpec) -> Value {
    let mut value = serde_json::to_value(template).unwrap_or_default();
    if let Some(labels) = value["metadata"]["labels"].as_object_mut() {
        labels.shift_remove(HASH_LABEL);
    }
    prune(&mut value);
    value
}

/// Takes away what means nothing: nulls, empty lists, empty maps where those are no choice of their own (as
/// `equality.Semantic` does).
fn prune(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for inner in map.values_mut() {
                prune(inner);
            }
            map.retain(|key, inner| match inner {
                Value::Null => false,
                Value::Array(items) => !items.is_empty(),
                Value::Object(inner) => !inner.is_empty() || !EMPTY_IS_NONE.contains(&key.as_str()),
                _ => true,
            });
        }
        Value::Array(items) => items.iter_mut().for_each(prune),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn template(labels: &Value, spec: &Value) -> PodTemplateSpec {
        serde_json::from_value(json!({"metadata": {"labels": labels}, "spec": spec})).unwrap()
    }

    #[test]
    fn the_hash_label_and_what_means_nothing_make_no_difference() {
        let plain = template(&json!({"app": "a"}), &json!({"containers": [{"name": "c", "image": "i"}]}));
        let same = [
            template(&json!({"app": "a", HASH_LABEL: "x"}), &json!({"containers": [{"name": "c", "image": "i"}]})),
            template(
                &json!({"app": "a"}),
                &json!({"containers": [{"name": "c", "image": "i", "env": []}], "nodeSelector": {}}),
            ),
        ];
        for one in same {
            assert!(is_same(&plain, &one), "{one:?}");
        }
        let other = [
            template(&json!({"app": "b"}), &json!({"containers": [{"name": "c", "image": "i"}]})),
            template(&json!({"app": "a"}), &json!({"containers": [{"name": "c", "image": "j"}]})),
            template(
                &json!({"app": "a"}),
                &json!({"containers": [{"name": "c", "image": "i", "securityContext": {}}]}),
            ),
        ];
        for one in other {
            assert!(!is_same(&plain, &one), "{one:?}");
        }
    }

    #[test]
    fn a_collision_gives_another_hash_of_safe_letters() {
        let one = template(&json!({"app": "a"}), &json!({"containers": []}));
        let hashes = [hash(&one, None), hash(&one, Some(0)), hash(&one, Some(1))];
        assert_eq!(hash(&one, None), hashes[0]);
        assert!(hashes[0] != hashes[1] && hashes[1] != hashes[2] && hashes[0] != hashes[2], "{hashes:?}");
        assert!(hashes.iter().all(|hash| (6..=10).contains(&hash.len())), "{hashes:?}");
    }

    #[test]
    fn the_hash_function_is_gos() {
        // From the FNV test vectors.
        for (text, hash) in [("", 0x811c_9dc5), ("a", 0xe40c_292c), ("foobar", 0xbf9c_f968)] {
            assert_eq!(fnv_1a(text.as_bytes()), hash, "{text}");
        }
    }
}
