//! The shape of objects: each must read as its type, in the way Go's decoder reads it. What Go drops (nulls, empty
//! lists, fields that the type does not have) is dropped here too, so that the same content is the same bytes.
//!
//! * [`types`]: which type a kind is read as.
//! * [`quantities`]: where amounts stand in objects, and their one spelling.
//! * [`prune`]: what counts as left out.
//! * [`refusal`]: the words for an object that cannot be read.

mod prune;
mod quantities;
mod refusal;
mod types;

use serde_json::Value;

use crate::sandbox::{error::ApiError, kinds::Kind};

/// Brings an object into the shape in which it is stored, and says which of its fields the type does not have; those
/// are gone from it.
///
/// # Errors
/// 400 where it cannot be read as its type.
pub fn normalise(kind: &Kind, value: &mut Value) -> Result<Vec<String>, ApiError> {
    prune::prune(kind, value);
    let typed = types::read(kind, value).map_err(|error| refusal::unreadable(kind, value, &error))?;
    let mut unknown = Vec::new();
    if let Some(typed) = typed {
        keep_known(value, &typed, "", &mut unknown);
    }
    // After the unknown fields: it writes divisors that the typed form does not have.
    quantities::canonicalise(kind, value).map_err(|error| refusal::cannot_be_handled(kind, error))?;
    Ok(unknown)
}

/// The same for an object that was written from its type, and so has no other fields.
///
/// # Errors
/// 400 for an amount that is none.
pub fn normalise_typed(kind: &Kind, value: &mut Value) -> Result<(), ApiError> {
    prune::prune(kind, value);
    quantities::canonicalise(kind, value).map_err(|error| refusal::cannot_be_handled(kind, error))
}

/// Whether an object reads as its type.
///
/// # Errors
/// 400 where it does not.
pub fn decode(kind: &Kind, value: &Value) -> Result<(), ApiError> {
    normalise(kind, &mut value.clone()).map(drop)
}

/// The paths of fields that the type of an object does not have, such as `spec.template.spec.containers[0].imagee`.
/// None where it cannot be read at all, which [`decode`] tells.
#[must_use]
pub fn unknown_fields(kind: &Kind, value: &Value) -> Vec<String> {
    normalise(kind, &mut value.clone()).unwrap_or_default()
}

/// Takes away what is not in the typed form; that form has all that was read.
fn keep_known(value: &mut Value, typed: &Value, at: &str, unknown: &mut Vec<String>) {
    match (value, typed) {
        (Value::Object(map), Value::Object(known)) => {
            map.retain(|key, _| {
                let kept = known.contains_key(key);
                if !kept {
                    unknown.push(join(at, key));
                }
                kept
            });
            for (key, member) in map.iter_mut().filter(|(_, member)| member.is_object() || member.is_array()) {
                if let Some(known) = known.get(key) {
                    keep_known(member, known, &join(at, key), unknown);
                }
            }
        }
        (Value::Array(all), Value::Array(known)) => {
            for (index, (item, known)) in all.iter_mut().zip(known).enumerate() {
                keep_known(item, known, &format!("{at}[{index}]"), unknown);
            }
        }
        _ => {}
    }
}

fn join(at: &str, key: &str) -> String {
    if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sandbox::kinds;

    #[test]
    fn what_go_drops_is_dropped() {
        let mut deployment = json!({
            "metadata": {"name": "a", "labels": {}, "annotations": null, "finalizers": []},
            "spec": {
                "replicas": 0,
                "paused": false,
                "minReadySeconds": 0,
                "template": {"metadata": {"creationTimestamp": null}, "spec": {
                    "nodeName": "", "hostNetwork": false, "tolerations": [], "terminationGracePeriodSeconds": 0,
                    "nodeSelector": {"name": ""},
                    "containers": [{"name": "a", "livenessProbe": {"initialDelaySeconds": 0, "tcpSocket": {"port": 1}},
                        "securityContext": {"privileged": false}, "env": [{"name": "A", "value": ""}]}],
                }},
            },
        });
        assert_eq!(normalise(&kinds::DEPLOYMENT, &mut deployment).unwrap(), Vec::<String>::new());
        let expected = json!({
            "metadata": {"name": "a"},
            "spec": {
                "replicas": 0,
                "template": {"metadata": {}, "spec": {
                    "terminationGracePeriodSeconds": 0,
                    "nodeSelector": {"name": ""},
                    "containers": [{"name": "a", "livenessProbe": {"tcpSocket": {"port": 1}},
                        "securityContext": {"privileged": false}, "env": [{"name": "A"}]}],
                }},
            },
        });
        assert_eq!(deployment, expected);
    }

    #[test]
    fn fields_that_the_type_does_not_have_are_named_and_dropped() {
        let mut pod = json!({
            "metadata": {"name": "a", "labels": {"any": "thing"}},
            "spec": {"containers": [{"name": "a", "imagee": "b", "env": [{"name": "A", "vaule": "x"}]}], "replicas": 1},
        });
        let named = ["spec.replicas", "spec.containers[0].imagee", "spec.containers[0].env[0].vaule"];
        assert_eq!(unknown_fields(&kinds::POD, &pod), named);
        normalise(&kinds::POD, &mut pod).unwrap();
        assert_eq!(
            pod,
            json!({
                "metadata": {"name": "a", "labels": {"any": "thing"}},
                "spec": {"containers": [{"name": "a", "env": [{"name": "A"}]}]},
            })
        );
    }

    #[test]
    fn what_has_no_type_of_its_own_is_left_alone() {
        let data = json!({"spec": {"template": {"$patch": "replace", "metadata": {"creationTimestamp": null}}}});
        let mut revision = json!({"metadata": {"name": "a"}, "revision": 1, "data": data});
        assert_eq!(normalise(&kinds::CONTROLLER_REVISION, &mut revision).unwrap(), Vec::<String>::new());
        assert_eq!(revision["data"], data);
        let managed = json!([{"manager": "m", "operation": "Update", "fieldsV1": {"f:spec": {"f:x": {}}}}]);
        let mut pod = json!({"metadata": {"name": "a", "managedFields": managed}});
        assert_eq!(normalise(&kinds::POD, &mut pod).unwrap(), Vec::<String>::new());
        assert_eq!(pod["metadata"]["managedFields"], managed);
    }

    #[test]
    fn amounts_are_spelled_in_one_way() {
        let mut pod = json!({"spec": {"containers": [{"name": "a", "resources": {
            "requests": {"cpu": 1, "memory": "1024Mi"}, "limits": {"cpu": 0.5, "example.com/gpu": "1000m"},
        }}]}});
        normalise(&kinds::POD, &mut pod).unwrap();
        assert_eq!(
            pod["spec"]["containers"][0]["resources"],
            json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "500m", "example.com/gpu": "1"}})
        );
    }

    #[test]
    fn a_divisor_that_is_left_out_is_stored_as_nothing_and_is_no_unknown_field() {
        let reference = json!({"containerName": "a", "resource": "limits.cpu"});
        let items = json!([{"path": "cpu", "resourceFieldRef": reference}]);
        let mut pod = json!({"spec": {
            "containers": [{"name": "a", "env": [{"name": "A", "valueFrom": {"resourceFieldRef": reference}}]}],
            "volumes": [
                {"name": "d", "downwardAPI": {"items": items}},
                {"name": "p", "projected": {"sources": [{"downwardAPI": {"items": items}}]}},
            ],
        }});
        assert_eq!(normalise(&kinds::POD, &mut pod).unwrap(), Vec::<String>::new());
        let spec = &pod["spec"];
        for place in [
            &spec["containers"][0]["env"][0]["valueFrom"],
            &spec["volumes"][0]["downwardAPI"]["items"][0],
            &spec["volumes"][1]["projected"]["sources"][0]["downwardAPI"]["items"][0],
        ] {
            assert_eq!(place["resourceFieldRef"]["divisor"], "0");
        }
        // What the type does not have is still told.
        pod["spec"]["containers"][0]["env"][0]["valueFrom"]["resourceFieldRef"]["dividend"] = json!("1");
        assert_eq!(
            unknown_fields(&kinds::POD, &pod),
            ["spec.containers[0].env[0].valueFrom.resourceFieldRef.dividend"]
        );
    }

    #[test]
    fn what_cannot_be_read_is_refused_in_gos_words() {
        let spec = |spec: Value| json!({"metadata": {"name": "a"}, "spec": spec});
        let container =
            |container: Value| spec(json!({"template": {"spec": {"containers": [{"name": "a"}, container]}}}));
        let table = [
            (
                spec(json!({"replicas": "x"})),
                "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
            ),
            (
                container(json!({"name": "a", "env": [{"name": "A", "value": 1}]})),
                "json: cannot unmarshal number into Go struct field EnvVar.spec.template.spec.containers.env.value of type string",
            ),
            (
                container(json!({"name": "a", "stdin": "yes"})),
                "json: cannot unmarshal string into Go struct field Container.spec.template.spec.containers.stdin of type bool",
            ),
            (
                json!({"metadata": {"labels": {"a": 1}}}),
                "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string",
            ),
            (
                json!({"spec": [1]}),
                "json: cannot unmarshal array into Go struct field Deployment.spec of type v1.DeploymentSpec",
            ),
            (
                container(json!({"name": "a", "resources": {"limits": {"cpu": "much"}}})),
                "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
            ),
            (
                container(json!({"name": "a", "resources": {"limits": {"memory": "64mi"}}})),
                "unable to parse quantity's suffix",
            ),
        ];
        for (deployment, why) in table {
            let error = decode(&kinds::DEPLOYMENT, &deployment).unwrap_err();
            let prefix = "Deployment in version \"v1\" cannot be handled as a Deployment: ";
            assert_eq!((error.code, error.message), (400, format!("{prefix}{why}")));
        }
    }

    #[test]
    fn no_json_makes_it_panic() {
        let strange =
            [json!(null), json!(1), json!([]), json!("a"), json!([{}]), json!({"spec": 1}), json!({"spec": [[]]})];
        for kind in kinds::ALL {
            for value in &strange {
                for object in
                    [value.clone(), json!({"spec": value}), json!({"metadata": value}), json!({"status": value})]
                {
                    let _ = (decode(kind, &object), unknown_fields(kind, &object));
                }
            }
        }
    }
}
