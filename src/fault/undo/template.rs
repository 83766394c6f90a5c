//! A pod template from before, kept without what is in it: a template can hold passwords, and neither a record nor a
//! ledger may. It is known by a fingerprint, and found again where Kubernetes itself keeps it for `kubectl rollout
//! undo`: in the `ReplicaSets` of a Deployment, in the `ControllerRevisions` of the others.

use k8s_openapi::api::apps::v1::{ControllerRevision, ReplicaSet};
use kube::{
    Api, Client,
    api::ListParams,
    core::{ApiResource, DynamicObject},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    experiment::units::{WorkloadKind, WorkloadRef},
    fault::{api::ApiError, target, workload},
};

/// Hexadecimal digits of the fingerprint: enough to tell the revisions of a workload apart, too few to confirm a guess of
/// what is in a template.
const FINGERPRINT_DIGITS: usize = 8;

/// The label that a Deployment's controller adds to the templates of its `ReplicaSets`.
const HASH_LABEL: &str = "pod-template-hash";

/// A pod template, written down by its fingerprint alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptTemplate {
    fingerprint: String,
    // In the process that saw it, the template itself; after a crash it is found in the workload's history.
    #[serde(skip)]
    whole: Option<Value>,
}

impl From<Value> for KeptTemplate {
    fn from(template: Value) -> Self {
        Self { fingerprint: fingerprint(&template), whole: Some(template) }
    }
}

impl KeptTemplate {
    /// Whether this is the template.
    pub(super) fn is(&self, template: &Value) -> bool {
        fingerprint(template) == self.fingerprint
    }

    /// The template itself; nothing where the workload's history no longer has it.
    pub(super) async fn whole(
        &self,
        client: &Client,
        namespace: &str,
        workload: &WorkloadRef,
        object: &DynamicObject,
    ) -> Result<Option<Value>, ApiError> {
        if let Some(whole) = &self.whole {
            return Ok(Some(whole.clone()));
        }
        let revisions = history(client, namespace, workload, object).await?;
        Ok(revisions.into_iter().find(|template| self.is(template)))
    }
}

/// The templates of a workload's earlier revisions, as far as they are kept.
async fn history(
    client: &Client,
    namespace: &str,
    workload: &WorkloadRef,
    object: &DynamicObject,
) -> Result<Vec<Value>, ApiError> {
    let (resource, pointer) = match workload.kind {
        WorkloadKind::Deployment => (ApiResource::erase::<ReplicaSet>(&()), "/spec/template"),
        WorkloadKind::StatefulSet | WorkloadKind::DaemonSet => {
            (ApiResource::erase::<ControllerRevision>(&()), "/data/spec/template")
        }
    };
    let Some(selector) = workload::label_selector(object) else { return Ok(Vec::new()) };
    let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource);
    let owner = object.metadata.uid.as_deref();
    let all = target::list_all(&api, ListParams::default().labels(&selector)).await?;
    Ok(all
        .into_iter()
        .filter(|one| {
            let owners = one.metadata.owner_references.as_deref().unwrap_or_default();
            owners.iter().any(|by| by.controller == Some(true) && Some(by.uid.as_str()) == owner)
        })
        .filter_map(|one| one.data.pointer(pointer).map(plain))
        .collect())
}

/// How many earlier revisions a workload keeps; Kubernetes' default is 10.
pub(in crate::fault) fn revisions_kept(object: &DynamicObject) -> i64 {
    object.data.pointer("/spec/revisionHistoryLimit").and_then(Value::as_i64).unwrap_or(10)
}

/// A template as a workload has it: without what a controller adds for its history.
fn plain(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(map) = template.as_object_mut() {
        map.shift_remove("$patch");
    }
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.shift_remove(HASH_LABEL);
    }
    template
}

fn fingerprint(template: &Value) -> String {
    let mut text = String::new();
    canonical(&plain(template), &mut text);
    let mut hex = format!("{:x}", Sha256::digest(text.as_bytes()));
    hex.truncate(FINGERPRINT_DIGITS);
    hex
}

/// JSON with its keys in order and without nulls, which the API server gives or leaves out as it likes.
fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(&String, &Value)> = map.iter().filter(|(_, value)| !value.is_null()).collect();
            entries.sort_unstable_by_key(|(key, _)| key.as_str());
            out.push('{');
            for (key, value) in entries {
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                canonical(value, out);
                out.push(',');
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for item in items {
                canonical(item, out);
                out.push(',');
            }
            out.push(']');
        }
        other => out.push_str(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_template_is_known_again_in_a_replica_set_and_in_a_controller_revision() {
        let kept =
            KeptTemplate::from(json!({"metadata": {"labels": {"app": "shop"}}, "spec": {"a": [1, 2], "b": "x"}}));
        let of_replica_set = json!({"spec": {"b": "x", "a": [1, 2]},
            "metadata": {"creationTimestamp": null, "labels": {"app": "shop", "pod-template-hash": "7d9f"}}});
        let of_revision = json!({"$patch": "replace", "metadata": {"labels": {"app": "shop"}},
            "spec": {"a": [1, 2], "b": "x"}});
        assert!(kept.is(&of_replica_set) && kept.is(&of_revision));
        assert!(!kept.is(&json!({"metadata": {"labels": {"app": "shop"}}, "spec": {"a": [2, 1], "b": "x"}})));
    }

    #[test]
    fn what_is_written_down_holds_nothing_of_the_template() {
        let template = json!({"spec": {"containers": [{"env": [{"name": "PASSWORD", "value": "hunter2"}]}]}});
        let text = serde_json::to_string(&KeptTemplate::from(template)).unwrap();
        assert!(!text.contains("hunter2") && !text.contains("PASSWORD"), "{text}");
        let read: KeptTemplate = serde_json::from_str(&text).unwrap();
        assert_eq!(read.whole, None);
    }
}
