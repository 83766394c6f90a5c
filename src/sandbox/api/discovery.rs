//! What the API tells about itself: versions, groups, resources; piece by piece, and all in one for clients that ask so
//! (apiserver/pkg/endpoints/discovery, v0.34.4).

use hyper::StatusCode;
use serde_json::{Value, json};

use super::{
    answer::{self, Answer},
    catalogue::{self, Resource, Subresource, api_version},
};
use crate::sandbox::error::ApiError;

/// The version of Kubernetes whose behaviour the sandbox has.
pub(super) const VERSION: &str = "v1.34.4";

/// The media type of discovery in one piece.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// `/version`.
pub(super) fn version() -> Value {
    json!({
        "major": "1",
        "minor": "34",
        "gitVersion": format!("{VERSION}+evenkeel-sandbox"),
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "",
        "platform": "linux/amd64",
        "emulationMajor": "1",
        "emulationMinor": "34",
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "33",
    })
}

/// `/`.
pub(super) fn paths() -> Value {
    let mut paths = vec!["/api".to_owned(), "/api/v1".to_owned(), "/apis".to_owned()];
    for (group, versions) in catalogue::groups().into_iter().filter(|(group, _)| !group.is_empty()) {
        paths.push(format!("/apis/{group}"));
        paths.extend(versions.iter().map(|version| format!("/apis/{group}/{version}")));
    }
    paths.extend(["/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"].map(str::to_owned));
    json!({"paths": paths})
}

/// `/api`.
pub(super) fn core_versions(host: &str) -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": host}],
    })
}

/// `/apis`.
pub(super) fn groups() -> Value {
    let groups: Vec<Value> = catalogue::groups()
        .iter()
        .filter(|(group, _)| !group.is_empty())
        .map(|(group, v)| group_entry(group, v))
        .collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/GROUP`.
pub(super) fn group(name: &str) -> Result<Value, ApiError> {
    let groups = catalogue::groups();
    let (group, versions) =
        groups.iter().find(|(group, _)| *group == name && !name.is_empty()).ok_or_else(ApiError::no_such_path)?;
    let mut entry = json!({"kind": "APIGroup", "apiVersion": "v1"});
    if let (Some(entry), Value::Object(fields)) = (entry.as_object_mut(), group_entry(group, versions)) {
        entry.extend(fields);
    }
    Ok(entry)
}

fn group_entry(group: &str, versions: &[&str]) -> Value {
    let entry = |version: &&str| json!({"groupVersion": api_version(group, version), "version": version});
    json!({
        "name": group,
        "versions": versions.iter().map(entry).collect::<Vec<_>>(),
        "preferredVersion": versions.first().map(entry),
    })
}

/// `/api/v1` and `/apis/GROUP/VERSION`.
pub(super) fn resources(group: &str, version: &str) -> Result<Value, ApiError> {
    let mut entries = Vec::new();
    for resource in catalogue::of(group, version) {
        entries.push(resource_entry(resource));
        entries.extend(resource.subresources().iter().map(|part| subresource_entry(resource, part)));
    }
    if entries.is_empty() {
        return Err(ApiError::no_such_path());
    }
    Ok(json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": api_version(group, version),
        "resources": entries,
    }))
}

fn resource_entry(resource: &Resource) -> Value {
    let mut entry = json!({
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": resource.verbs(),
    });
    if !resource.short.is_empty() {
        entry["shortNames"] = json!(resource.short);
    }
    if !resource.categories().is_empty() {
        entry["categories"] = json!(resource.categories());
    }
    entry
}

fn subresource_entry(resource: &Resource, part: &Subresource) -> Value {
    let mut entry = json!({
        "name": format!("{}/{}", resource.plural, part.name),
        "singularName": "",
        "namespaced": resource.namespaced,
        "kind": part.kind,
        "verbs": part.verbs,
    });
    if part.group != resource.group || part.version != resource.version {
        entry["group"] = json!(part.group);
        entry["version"] = json!(part.version);
    }
    entry
}

/// `/api` or `/apis` for clients that want all in one.
pub(super) fn aggregated(core: bool) -> Answer {
    let wanted = catalogue::groups().into_iter().filter(|(group, _)| group.is_empty() == core);
    let items: Vec<Value> = wanted
        .map(|(group, versions)| {
            let versions: Vec<Value> = versions
                .iter()
                .map(|version| {
                    let resources: Vec<Value> = catalogue::of(group, version).map(aggregated_entry).collect();
                    json!({"version": version, "resources": resources, "freshness": "Current"})
                })
                .collect();
            let metadata = if core { json!({}) } else { json!({"name": group}) };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    let list = json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    });
    answer::bytes(StatusCode::OK, AGGREGATED, list.to_string())
}

fn aggregated_entry(resource: &Resource) -> Value {
    let kind = |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    let parts: Vec<Value> = resource
        .subresources()
        .iter()
        .map(|part| {
            json!({
                "subresource": part.name,
                "responseKind": kind(part.group, part.version, part.kind),
                "verbs": part.verbs,
            })
        })
        .collect();
    let mut entry = json!({
        "resource": resource.plural,
        "responseKind": kind(resource.group, resource.version, resource.kind),
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular,
        "verbs": resource.verbs(),
    });
    if !resource.short.is_empty() {
        entry["shortNames"] = json!(resource.short);
    }
    if !resource.categories().is_empty() {
        entry["categories"] = json!(resource.categories());
    }
    if !parts.is_empty() {
        entry["subresources"] = json!(parts);
    }
    entry
}
