//! `OpenAPI` documents: what kubectl asks for. `explain` shows the fields of the served kinds; their schemas are found out
//! from the types themselves (`probe`). `apply` looks for whether PATCH takes `fieldValidation`, and then leaves
//! strategic merges to the types that it has itself
//! (kubectl/pkg/cmd/apply/patcher.go, cli-runtime/pkg/resource/query_param_verifier_v3.go, v0.34.4).

mod probe;

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use hyper::{HeaderMap, StatusCode, header::ACCEPT};
use k8s_openapi::api::{
    apps::v1 as apps,
    autoscaling::{v1 as autoscaling_v1, v2 as autoscaling},
    batch::v1 as batch,
    coordination::v1 as coordination,
    core::v1 as core,
    discovery::v1 as discovery_v1,
    events::v1 as events,
    policy::v1 as policy,
};
use serde_json::{Map, Value, json};

use self::probe::Schemas;
use super::{
    answer::{self, Answer},
    catalogue::{self, Backing, Resource, api_version},
    discovery::VERSION,
};
use crate::sandbox::error::ApiError;

/// The media type of v2 in protobuf. client-go asks for it with an `@` before the version, which no media type may have,
/// so that the answer has a dot there (k8s.io/kube-openapi/pkg/handler/handler.go).
const PROTOBUF_V2: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// `/openapi/v2`: who asks for it gets a document without definitions, and falls back to what it knows.
pub(super) fn v2(headers: &HeaderMap) -> Answer {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accept.contains("spec.v2") && accept.contains("protobuf") {
        return answer::bytes(StatusCode::OK, PROTOBUF_V2, v2_protobuf());
    }
    answer::json(StatusCode::OK, &json!({"swagger": "2.0", "info": info(), "paths": {}}))
}

fn info() -> Value {
    json!({"title": "Kubernetes", "version": VERSION})
}

/// `openapi.v2.Document` with its version (field 1), its info (field 2: title 1, version 2) and empty paths (field 8).
fn v2_protobuf() -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| {
        // A field of a length below 128 is its number, its wire type 2, its length and its bytes.
        let mut field = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap_or_default()];
        field.extend_from_slice(bytes);
        field
    };
    let info = [field(1, b"Kubernetes"), field(2, VERSION.as_bytes())].concat();
    [field(1, b"2.0"), field(2, &info), field(8, &[])].concat()
}

/// `/openapi/v3`: which documents there are.
pub(super) fn index() -> Value {
    let mut paths = Map::new();
    for (group, versions) in catalogue::groups() {
        for version in versions {
            let path = if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") };
            // The documents of one build never change.
            let url = format!("/openapi/v3/{path}?hash={}", env!("CARGO_PKG_VERSION"));
            paths.insert(path, json!({"serverRelativeURL": url}));
        }
    }
    json!({"paths": paths})
}

/// The documents that have been asked for, by group and version: they never change.
static MADE: Mutex<BTreeMap<(String, String), Bytes>> = Mutex::new(BTreeMap::new());

/// `/openapi/v3/apis/GROUP/VERSION`.
///
/// # Errors
/// 404 for a group or version that isn't served.
pub(super) fn of(group: &str, version: &str) -> Result<Answer, ApiError> {
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let place = (group.to_owned(), version.to_owned());
    let document = if let Some(document) = made.get(&place) {
        document.clone()
    } else {
        let document = Bytes::from(document(group, version)?.to_string());
        made.insert(place, document.clone());
        document
    };
    Ok(answer::bytes(StatusCode::OK, answer::JSON, document))
}

fn document(group: &str, version: &str) -> Result<Value, ApiError> {
    let mut paths = Map::new();
    let mut schemas = Schemas::new();
    for resource in catalogue::of(group, version) {
        let base = base_of(resource);
        paths.insert(base.clone(), collection(resource));
        if matches!(resource.backing, Backing::Stored(_) | Backing::EventsView | Backing::AutoscalersView) {
            paths.insert(format!("{base}/{{name}}"), object(resource));
        }
        schemas = with_schema(resource, schemas);
    }
    if paths.is_empty() {
        return Err(ApiError::no_such_path());
    }
    Ok(json!({
        "openapi": "3.0.0",
        "info": info(),
        "paths": paths,
        "components": {"schemas": schemas},
    }))
}

fn base_of(resource: &Resource) -> String {
    let root = if resource.group.is_empty() { "/api" } else { "/apis" };
    let namespace = if resource.namespaced { "/namespaces/{namespace}" } else { "" };
    format!("{root}/{}{namespace}/{}", api_version(resource.group, resource.version), resource.plural)
}

fn gvk(resource: &Resource) -> Value {
    json!({"group": resource.group, "version": resource.version, "kind": resource.kind})
}

fn operation(resource: &Resource, action: &str, parameters: &[&str]) -> Value {
    let parameters: Vec<Value> = parameters
        .iter()
        .map(|name| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}}))
        .collect();
    json!({
        "tags": [resource.plural],
        "operationId": format!("{action}{}", resource.kind),
        "parameters": parameters,
        "responses": {"200": {"description": "OK"}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": gvk(resource),
    })
}

const WRITE: [&str; 4] = ["pretty", "dryRun", "fieldManager", "fieldValidation"];

fn collection(resource: &Resource) -> Value {
    let verbs = resource.verbs();
    let mut path = Map::new();
    if verbs.contains(&"list") {
        path.insert("get".to_owned(), operation(resource, "list", &["labelSelector", "fieldSelector", "limit"]));
    }
    if verbs.contains(&"create") {
        path.insert("post".to_owned(), operation(resource, "post", &WRITE));
    }
    Value::Object(path)
}

fn object(resource: &Resource) -> Value {
    json!({
        "get": operation(resource, "get", &["pretty"]),
        "put": operation(resource, "put", &WRITE),
        "patch": operation(resource, "patch", &[&WRITE[..], &["force"]].concat()),
        "delete": operation(resource, "delete", &["dryRun", "gracePeriodSeconds", "propagationPolicy"]),
    })
}

/// Adds the schemas of a resource's objects.
fn with_schema(resource: &Resource, schemas: Schemas) -> Schemas {
    let api_version = resource.api_version();
    let texts = [("apiVersion", api_version.as_str()), ("kind", resource.kind)];
    let mut schemas = match (resource.group, resource.kind) {
        ("", "ConfigMap") => probe::schemas::<core::ConfigMap>(&texts, schemas),
        ("", "Endpoints") => probe::schemas::<core::Endpoints>(&texts, schemas),
        ("", "Event") => probe::schemas::<core::Event>(&texts, schemas),
        ("", "Namespace") => probe::schemas::<core::Namespace>(&texts, schemas),
        ("", "Node") => probe::schemas::<core::Node>(&texts, schemas),
        ("", "PersistentVolumeClaim") => probe::schemas::<core::PersistentVolumeClaim>(&texts, schemas),
        ("", "Pod") => probe::schemas::<core::Pod>(&texts, schemas),
        ("", "Secret") => probe::schemas::<core::Secret>(&texts, schemas),
        ("", "ServiceAccount") => probe::schemas::<core::ServiceAccount>(&texts, schemas),
        ("", "Service") => probe::schemas::<core::Service>(&texts, schemas),
        ("apps", "ControllerRevision") => probe::schemas::<apps::ControllerRevision>(&texts, schemas),
        ("apps", "DaemonSet") => probe::schemas::<apps::DaemonSet>(&texts, schemas),
        ("apps", "Deployment") => probe::schemas::<apps::Deployment>(&texts, schemas),
        ("apps", "ReplicaSet") => probe::schemas::<apps::ReplicaSet>(&texts, schemas),
        ("apps", "StatefulSet") => probe::schemas::<apps::StatefulSet>(&texts, schemas),
        ("autoscaling", "HorizontalPodAutoscaler") if resource.version == "v1" => {
            probe::schemas::<autoscaling_v1::HorizontalPodAutoscaler>(&texts, schemas)
        }
        ("autoscaling", "HorizontalPodAutoscaler") => {
            probe::schemas::<autoscaling::HorizontalPodAutoscaler>(&texts, schemas)
        }
        ("batch", "Job") => probe::schemas::<batch::Job>(&texts, schemas),
        ("coordination.k8s.io", "Lease") => probe::schemas::<coordination::Lease>(&texts, schemas),
        ("discovery.k8s.io", "EndpointSlice") => probe::schemas::<discovery_v1::EndpointSlice>(&texts, schemas),
        ("events.k8s.io", "Event") => probe::schemas::<events::Event>(&texts, schemas),
        ("policy", "PodDisruptionBudget") => probe::schemas::<policy::PodDisruptionBudget>(&texts, schemas),
        _ => schemas,
    };
    let schema = schemas.entry(resource.kind.to_owned()).or_insert_with(|| json!({"type": "object"}));
    schema["x-kubernetes-group-version-kind"] = json!([gvk(resource)]);
    schemas
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v2_comes_in_protobuf_under_a_media_type_that_can_be_read() {
        for asked in ["application/com.github.proto-openapi.spec.v2@v1.0+protobuf", PROTOBUF_V2] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, asked.parse().unwrap());
            let answer = v2(&headers);
            assert_eq!(answer.headers()["content-type"], PROTOBUF_V2, "{asked}");
        }
        // What Go's mime.ParseMediaType refuses in a type.
        assert!(!PROTOBUF_V2.contains('@'));
        assert_eq!(v2(&HeaderMap::new()).headers()["content-type"], answer::JSON);
    }

    #[test]
    fn every_stored_kind_has_its_fields_in_a_document() {
        for resource in catalogue::all().iter().filter(|resource| resource.stored().is_some()) {
            let document = document(resource.group, resource.version).unwrap();
            let schema = &document["components"]["schemas"][resource.kind];
            assert_eq!(schema["properties"]["kind"], json!({"type": "string"}), "{}", resource.kind);
            assert_eq!(schema["properties"]["metadata"], probe::reference("ObjectMeta"), "{}", resource.kind);
            assert_eq!(schema["x-kubernetes-group-version-kind"], json!([gvk(resource)]));
        }
    }
}
