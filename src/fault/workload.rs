//! Deployments, `StatefulSets` and `DaemonSets` seen as one: a template, a number of replicas, a generation.

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use kube::{
    Api, Client,
    core::{ApiResource, DynamicObject},
};
use serde_json::Value;

use crate::{
    cluster::rollout::{self, Rollout},
    experiment::units::{WorkloadKind, WorkloadRef},
    model::selector::LabelSelector,
};

/// The API of a workload's kind.
pub(super) fn api(client: &Client, namespace: &str, workload: &WorkloadRef) -> Api<DynamicObject> {
    let resource = match workload.kind {
        WorkloadKind::Deployment => ApiResource::erase::<Deployment>(&()),
        WorkloadKind::StatefulSet => ApiResource::erase::<StatefulSet>(&()),
        WorkloadKind::DaemonSet => ApiResource::erase::<DaemonSet>(&()),
    };
    Api::namespaced_with(client.clone(), namespace, &resource)
}

/// A number of the object by its JSON pointer; 0 where it is absent, as Go has it.
pub(super) fn number(object: &DynamicObject, pointer: &str) -> i64 {
    object.data.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}

/// A text of the object by its JSON pointer; empty where it is absent.
pub(super) fn text<'a>(object: &'a DynamicObject, pointer: &str) -> &'a str {
    object.data.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// `metadata.generation`.
pub(super) fn generation(object: &DynamicObject) -> i64 {
    object.metadata.generation.unwrap_or_default()
}

/// `spec.selector` in the form of a list's `labelSelector`; `None` where it is absent or empty.
pub(super) fn label_selector(object: &DynamicObject) -> Option<String> {
    let selector: LabelSelector = serde_json::from_value(object.data.pointer("/spec/selector")?.clone()).ok()?;
    (selector != LabelSelector::default()).then(|| selector.to_string())
}

/// How far the workload's rollout is, by kubectl's rule.
pub(super) fn rollout(kind: WorkloadKind, object: DynamicObject) -> Rollout {
    let known = match kind {
        WorkloadKind::Deployment => object.try_parse().map(|it| rollout::of_deployment(&it)),
        WorkloadKind::StatefulSet => object.try_parse().map(|it| rollout::of_stateful_set(&it)),
        WorkloadKind::DaemonSet => object.try_parse().map(|it| rollout::of_daemon_set(&it)),
    };
    known.unwrap_or_else(|error| Rollout::Stuck(format!("the API server describes it in an unknown way: {error}")))
}

/// What changes when the controller takes up a new template: a Deployment's revision annotation, a `StatefulSet`'s
/// update revision. A `DaemonSet` has neither; there the observed generation must do.
pub(super) fn revision(kind: WorkloadKind, object: &DynamicObject) -> Option<&str> {
    match kind {
        WorkloadKind::Deployment => {
            object.metadata.annotations.as_ref()?.get("deployment.kubernetes.io/revision").map(String::as_str)
        }
        WorkloadKind::StatefulSet => object.data.pointer("/status/updateRevision")?.as_str(),
        WorkloadKind::DaemonSet => None,
    }
}
