//! Objects into a namespace of ours, and the namespace itself made and removed.
//!
//! Objects are created, never changed, and with strict field validation: a misspelt field would otherwise be dropped
//! in silence, and the experiment would be about another service than the one in its file.

use std::collections::BTreeMap;

use kube::{
    Client,
    api::{ApiResource, DynamicObject},
    core::{GroupVersionKind, Resource as _},
    discovery::{Scope, pinned_kind},
};
use serde_json::Value;

use super::error::{ApiFailure, answer};

mod namespace;

pub use namespace::{clear_out, create_namespace, is_ours, what_remains};

/// The name under which the API server files what is ours: `managedFields` and the audit log show it.
pub const FIELD_MANAGER: &str = "evenkeel";

/// The label that marks a namespace as ours, and so as ours to remove.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "evenkeel");

/// What could not be made or removed, and why.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The namespace is there already.
    #[error(
        "namespace {name} exists already; remove it with kubectl delete namespace {name}, or name another one in given.namespace"
    )]
    AlreadyExists {
        /// The namespace.
        name: String,
    },
    /// An object lacks what every object has.
    #[error("object {place} of given.apply lacks {field}")]
    Incomplete {
        /// Its place, from 1.
        place: usize,
        /// The field.
        field: &'static str,
    },
    /// The cluster does not know this kind.
    #[error("{object}: the cluster knows no kind {kind} in {api_version}; kubectl api-resources lists what it knows")]
    UnknownKind {
        /// The object, as `kind/name`.
        object: String,
        /// Its `apiVersion`.
        api_version: String,
        /// Its `kind`.
        kind: String,
    },
    /// The kind is not of a namespace, so it would outlive ours.
    #[error("{object} belongs to no namespace, so it would be left behind; create it before the run")]
    ClusterWide {
        /// The object, as `kind/name`.
        object: String,
    },
    /// The object asks for another namespace.
    #[error("{object} says namespace {found}, and given.namespace says {wanted}; leave the former out")]
    OtherNamespace {
        /// The object, as `kind/name`.
        object: String,
        /// Its namespace.
        found: String,
        /// The experiment's.
        wanted: String,
    },
    /// A request failed.
    #[error("failed to {attempt}")]
    Request {
        /// What was attempted, on what.
        attempt: String,
        /// Why.
        #[source]
        source: ApiFailure,
    },
}

impl ApplyError {
    fn request(attempt: impl Into<String>, source: ApiFailure) -> Self {
        Self::Request { attempt: attempt.into(), source }
    }
}

/// What every object says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Identity {
    api_version: String,
    kind: String,
    name: String,
}

impl Identity {
    fn of(place: usize, object: &Value) -> Result<Self, ApplyError> {
        let field = |pointer: &str, field: &'static str| {
            object
                .pointer(pointer)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
                .ok_or(ApplyError::Incomplete { place, field })
        };
        Ok(Self {
            api_version: field("/apiVersion", "apiVersion")?,
            kind: field("/kind", "kind")?,
            name: field("/metadata/name", "metadata.name")?,
        })
    }

    fn group_version_kind(&self) -> GroupVersionKind {
        let (group, version) = self.api_version.split_once('/').unwrap_or(("", &self.api_version));
        GroupVersionKind::gvk(group, version, &self.kind)
    }

    /// As kubectl writes it: `deployment/shop`.
    fn in_words(&self) -> String {
        format!("{}/{}", self.kind.to_lowercase(), self.name)
    }
}

/// Creates objects in a namespace, in the order given; each `apiVersion` and `kind` is looked up in the cluster.
///
/// # Errors
/// At the first object that cannot be created, with the server's words; those before it have been.
pub async fn create_objects(client: &Client, namespace: &str, objects: &[Value]) -> Result<(), ApplyError> {
    let mut resolved: BTreeMap<(String, String), ApiResource> = BTreeMap::new();
    for (index, object) in objects.iter().enumerate() {
        let identity = Identity::of(index + 1, object)?;
        let object = placed(&identity, object, namespace)?;
        let key = (identity.api_version.clone(), identity.kind.clone());
        let resource = match resolved.get(&key) {
            Some(resource) => resource.clone(),
            None => resolved.entry(key).or_insert(resolve(client, &identity).await?).clone(),
        };
        create(client, namespace, &identity, &resource, &object).await?;
    }
    Ok(())
}

/// The object with its namespace filled in.
fn placed(identity: &Identity, object: &Value, namespace: &str) -> Result<Value, ApplyError> {
    if let Some(found) = object.pointer("/metadata/namespace").and_then(Value::as_str)
        && found != namespace
    {
        return Err(ApplyError::OtherNamespace {
            object: identity.in_words(),
            found: found.to_owned(),
            wanted: namespace.to_owned(),
        });
    }
    let mut object = object.clone();
    object["metadata"]["namespace"] = Value::from(namespace);
    Ok(object)
}

async fn resolve(client: &Client, identity: &Identity) -> Result<ApiResource, ApplyError> {
    let unknown = || ApplyError::UnknownKind {
        object: identity.in_words(),
        api_version: identity.api_version.clone(),
        kind: identity.kind.clone(),
    };
    let kind = identity.group_version_kind();
    let lookup = async {
        match pinned_kind(client, &kind).await {
            // The group is known and the kind is not; a group that is not known answers 404.
            Err(kube::Error::Discovery(_)) => Ok(None),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            other => other.map(Some),
        }
    };
    let found = answer(lookup).await.map_err(|source| {
        ApplyError::request(format!("look up {} in {}", identity.kind, identity.api_version), source)
    })?;
    let (resource, capabilities) = found.ok_or_else(unknown)?;
    if capabilities.scope == Scope::Cluster {
        return Err(ApplyError::ClusterWide { object: identity.in_words() });
    }
    Ok(resource)
}

async fn create(
    client: &Client,
    namespace: &str,
    identity: &Identity,
    resource: &ApiResource,
    object: &Value,
) -> Result<(), ApplyError> {
    let attempt = format!("create {} in namespace {namespace}", identity.in_words());
    let path = DynamicObject::url_path(resource, Some(namespace));
    let invalid = |words: String| ApplyError::request(attempt.clone(), ApiFailure { code: None, words });
    // kube's PostParams know no fieldValidation, so the request is written out.
    let request = hyper::Request::post(format!("{path}?fieldManager={FIELD_MANAGER}&fieldValidation=Strict"))
        .header(hyper::header::CONTENT_TYPE, "application/json")
        .body(object.to_string().into_bytes())
        .map_err(|error| invalid(error.to_string()))?;
    answer(client.request::<Value>(request)).await.map_err(|source| ApplyError::request(attempt, source))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_object_says_what_it_is() {
        let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"}});
        let identity = Identity::of(1, &object).unwrap();
        assert_eq!(identity.in_words(), "deployment/shop");
        assert_eq!(identity.group_version_kind(), GroupVersionKind::gvk("apps", "v1", "Deployment"));
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "shop"}});
        let core = Identity::of(1, &service).unwrap().group_version_kind();
        assert_eq!(core, GroupVersionKind::gvk("", "v1", "Service"));
    }

    #[test]
    fn an_object_that_lacks_a_name_is_told_by_its_place() {
        let table = [
            (json!({"kind": "Service", "metadata": {"name": "a"}}), "apiVersion"),
            (json!({"apiVersion": "v1", "metadata": {"name": "a"}}), "kind"),
            (json!({"apiVersion": "v1", "kind": "Service", "metadata": {}}), "metadata.name"),
            (json!({"apiVersion": "v1", "kind": "Service"}), "metadata.name"),
        ];
        for (object, lacks) in table {
            let error = Identity::of(3, &object).unwrap_err().to_string();
            assert_eq!(error, format!("object 3 of given.apply lacks {lacks}"));
        }
    }

    #[test]
    fn an_object_goes_into_the_namespace_of_the_experiment_and_no_other() {
        let object = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "shop"}});
        let identity = Identity::of(1, &object).unwrap();
        assert_eq!(placed(&identity, &object, "a").unwrap()["metadata"]["namespace"], "a");
        let elsewhere = json!({"metadata": {"name": "shop", "namespace": "b"}});
        let error = placed(&identity, &elsewhere, "a").unwrap_err().to_string();
        assert!(error.contains("says namespace b"), "{error}");
    }
}
