//! `metadata` of objects as the API server keeps it: names, uids, times, versions, generations
//! (apiserver/pkg/registry/rest/{create,update}.go, v0.34.4).

use serde_json::{Value, json};

use crate::sandbox::{
    error::{ApiError, FieldError},
    kinds::Kind,
    names,
    store::text_at,
};

/// Fields that only the server sets.
const SERVERS_OWN: [&str; 5] =
    ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"];

/// Fills in the metadata of an object that is to be created.
pub(super) fn for_create(kind: &Kind, namespace: &str, value: &mut Value) -> Result<(), ApiError> {
    if !value["metadata"].is_object() {
        value["metadata"] = json!({});
    }
    value["apiVersion"] = json!(kind.api_version());
    value["kind"] = json!(kind.kind);
    let metadata = &mut value["metadata"];
    if !text_at(metadata, "resourceVersion").is_empty() {
        return Err(ApiError::bad_request("resourceVersion should not be set on objects to be created"));
    }
    check_namespace(kind, namespace, metadata)?;
    if text_at(metadata, "name").is_empty() {
        let prefix = text_at(metadata, "generateName");
        if prefix.is_empty() {
            let error = FieldError::required("metadata.name", "name or generateName is required");
            return Err(ApiError::invalid(kind.group, kind.kind, "", &[error]));
        }
        metadata["name"] = json!(names::generate(&prefix));
    }
    if let Some(map) = metadata.as_object_mut() {
        for field in SERVERS_OWN {
            map.shift_remove(field);
        }
        map.shift_remove("selfLink");
    }
    metadata["uid"] = json!(names::uid());
    metadata["creationTimestamp"] = json!(names::now_seconds());
    if kind.generation {
        metadata["generation"] = json!(1);
    }
    Ok(())
}

fn check_namespace(kind: &Kind, namespace: &str, metadata: &mut Value) -> Result<(), ApiError> {
    if !kind.namespaced {
        if let Some(map) = metadata.as_object_mut() {
            map.shift_remove("namespace");
        }
        return Ok(());
    }
    check_stated_namespace(namespace, metadata)?;
    metadata["namespace"] = json!(namespace);
    Ok(())
}

/// A body may name no other namespace than the path.
pub(super) fn check_stated_namespace(namespace: &str, metadata: &Value) -> Result<(), ApiError> {
    let stated = text_at(metadata, "namespace");
    if !stated.is_empty() && stated != namespace {
        return Err(ApiError::bad_request(format!(
            "the namespace of the provided object does not match the namespace sent on the request: got '{stated}', expected '{namespace}'"
        )));
    }
    Ok(())
}

/// The status of an object that nobody has looked at yet: what Go writes for the type's zero value, where numbers that
/// are not `omitempty` stand as 0 (k8s.io/api/*/types.go, v0.34.4).
pub(super) fn fresh_status(kind: &Kind) -> Value {
    match kind.kind {
        "ReplicaSet" => json!({"replicas": 0}),
        "StatefulSet" => json!({"replicas": 0, "availableReplicas": 0}),
        "DaemonSet" => json!({
            "currentNumberScheduled": 0,
            "numberMisscheduled": 0,
            "desiredNumberScheduled": 0,
            "numberReady": 0,
        }),
        "PodDisruptionBudget" => {
            json!({"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0})
        }
        "HorizontalPodAutoscaler" => json!({"desiredReplicas": 0}),
        "Service" => json!({"loadBalancer": {}}),
        _ => json!({}),
    }
}

/// Checks the metadata of a new version against the old one, and keeps what only the server sets.
pub(super) fn for_update(
    kind: &Kind,
    namespace: &str,
    name: &str,
    old: &Value,
    new: &mut Value,
) -> Result<(), ApiError> {
    if !new["metadata"].is_object() {
        new["metadata"] = json!({});
    }
    new["apiVersion"] = json!(kind.api_version());
    new["kind"] = json!(kind.kind);
    let metadata = &mut new["metadata"];
    check_namespace(kind, namespace, metadata)?;
    let stated = text_at(metadata, "name");
    if !stated.is_empty() && stated != name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({stated}) does not match the name on the URL ({name})"
        )));
    }
    metadata["name"] = json!(name);
    let version = text_at(metadata, "resourceVersion");
    if !version.is_empty() && version != text_at(&old["metadata"], "resourceVersion") {
        return Err(ApiError::modified(kind.group, kind.plural, name));
    }
    let uid = text_at(metadata, "uid");
    let old_uid = text_at(&old["metadata"], "uid");
    if !uid.is_empty() && uid != old_uid {
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {old_uid}");
        return Err(ApiError::conflict(kind.group, kind.plural, name, why));
    }
    for field in SERVERS_OWN {
        match old["metadata"].get(field) {
            Some(kept) => metadata[field] = kept.clone(),
            None => {
                if let Some(map) = metadata.as_object_mut() {
                    map.shift_remove(field);
                }
            }
        }
    }
    Ok(())
}

/// A change of anything but metadata and status is a new generation; of a `Deployment` also one of its annotations, of
/// an `EndpointSlice` one of its labels (k/pkg/registry/{apps/deployment,discovery/endpointslice}/strategy.go, v1.34.4).
pub(super) fn bump_generation(kind: &Kind, old: &Value, new: &mut Value) {
    if !kind.generation {
        return;
    }
    let also = match kind.kind {
        "Deployment" => "annotations",
        "EndpointSlice" => "labels",
        _ => "",
    };
    let content = |value: &Value| {
        let also = value["metadata"].get(also).cloned();
        let mut value = value.clone();
        if let Some(map) = value.as_object_mut() {
            map.retain(|key, _| !matches!(key.as_str(), "metadata" | "status"));
        }
        (value, also)
    };
    if content(old) != content(new) {
        let next = old["metadata"]["generation"].as_i64().unwrap_or_default() + 1;
        new["metadata"]["generation"] = json!(next);
    }
}
