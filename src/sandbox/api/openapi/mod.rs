//! OpenAPI documents: as much as kubectl asks for. `apply` looks in v3 for whether PATCH takes `fieldValidation`, and
//! then leaves strategic merges to the types it has itself
//! (kubectl/pkg/cmd/apply/patcher.go, cli-runtime/pkg/resource/query_param_verifier_v3.go, v0.34.4).

use hyper::{HeaderMap, StatusCode, header::ACCEPT};
use serde_json::{Map, Value, json};

use super::{
    answer::{self, Answer},
    catalogue::{self, Backing, Resource, api_version},
    discovery::VERSION,
};
use crate::sandbox::error::ApiError;

/// The media type in which client-go asks for v2.
const PROTOBUF_V2: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

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

/// `/openapi/v3/apis/GROUP/VERSION`.
///
/// # Errors
/// 404 for a group or version that isn't served.
pub(super) fn of(group: &str, version: &str) -> Result<Value, ApiError> {
    let (mut paths, mut schemas) = (Map::new(), Map::new());
    for resource in catalogue::of(group, version) {
        let base = base_of(resource);
        paths.insert(base.clone(), collection(resource));
        if matches!(resource.backing, Backing::Stored(_) | Backing::EventsView) {
            paths.insert(format!("{base}/{{name}}"), object(resource));
        }
        schemas.insert(schema_name(resource), schema(resource));
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

/// The name of a schema, after upstream's Go packages.
fn schema_name(resource: &Resource) -> String {
    let group = resource.group.split('.').next().filter(|group| !group.is_empty()).unwrap_or("core");
    format!("io.k8s.api.{group}.{}.{}", resource.version, resource.kind)
}

fn schema(resource: &Resource) -> Value {
    json!({
        "type": "object",
        "x-kubernetes-group-version-kind": [gvk(resource)],
    })
}
