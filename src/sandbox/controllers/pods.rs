//! What all owners of pods share: a pod from a template, adoption and release by selector, and whether a pod counts as
//! active, ready, available (`k/pkg/controller/{controller_utils,controller_ref_manager}.go`, k/pkg/api/v1/pod/util.go,
//! v1.34.4).
//!
//! Upstream's controllers read caches and so must remember what they expect to see; here the store is read itself, so
//! a pod that was created counts at once and nothing needs to be expected.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Pod, PodTemplateSpec},
    apimachinery::pkg::apis::meta::v1::{LabelSelector as ApiSelector, ObjectMeta, OwnerReference, Time},
};
use serde_json::{Value, json};

use super::events::{self, Severity};
use crate::{
    model::selector::LabelSelector,
    sandbox::{
        error::ApiError,
        names,
        registry::{DeleteOptions, Registry, deletion::Deleted, typed::Served},
    },
};

/// The cause in a refusal to create something in a namespace that is going.
const NAMESPACE_TERMINATING: &str = "NamespaceTerminating";

/// Pods that are created or deleted in one go at most (`BurstReplicas` and its likes).
pub const BURST: usize = 500;

/// A reference to an object as the managing controller of another (`metav1.NewControllerRef`).
#[must_use]
pub fn controller_ref<K: Served>(owner: &K) -> OwnerReference {
    let metadata = owner.metadata();
    OwnerReference {
        api_version: K::API_VERSION.to_owned(),
        kind: K::KIND.to_owned(),
        name: metadata.name.clone().unwrap_or_default(),
        uid: metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// The managing controller of an object (`metav1.GetControllerOf`).
#[must_use]
pub fn controller_of(metadata: &ObjectMeta) -> Option<&OwnerReference> {
    metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// An object as events refer to it.
#[must_use]
pub fn reference<K: Served>(object: &K) -> Value {
    let metadata = object.metadata();
    json!({
        "kind": K::KIND,
        "namespace": metadata.namespace,
        "name": metadata.name,
        "uid": metadata.uid,
        "apiVersion": K::API_VERSION,
        "resourceVersion": metadata.resource_version,
    })
}

/// Records an event about an object.
pub fn record<K: Served>(
    registry: &Registry,
    about: &K,
    severity: Severity,
    component: &str,
    reason: &str,
    message: &str,
) {
    events::record_about(registry, &reference(about), severity, component, reason, message);
}

/// The time as objects have it, in whole seconds.
#[must_use]
pub fn stamp() -> Time {
    Time(Timestamp::from_second(names::now().as_second()).unwrap_or_default())
}

/// A selector of the API as one that labels can be held against.
///
/// # Errors
/// For an operator that doesn't exist, which validation rules out.
pub fn selector(of: &ApiSelector) -> Result<LabelSelector, ApiError> {
    let value = serde_json::to_value(of).map_err(ApiError::internal)?;
    serde_json::from_value(value).map_err(ApiError::internal)
}

/// Labels, empty where there are none.
#[must_use]
pub fn labels(metadata: &ObjectMeta) -> &BTreeMap<String, String> {
    static NONE: BTreeMap<String, String> = BTreeMap::new();
    metadata.labels.as_ref().unwrap_or(&NONE)
}

/// The phase of a pod; one that has no status yet is pending.
#[must_use]
pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending")
}

/// Whether a pod has ended (`podutil.IsPodTerminal`).
#[must_use]
pub fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether a pod counts for its owner: it has not ended and is not being deleted (`controller.IsPodActive`).
#[must_use]
pub fn is_active(pod: &Pod) -> bool {
    !is_finished(pod) && pod.metadata.deletion_timestamp.is_none()
}

/// Whether a pod is ready (`podutil.IsPodReady`).
#[must_use]
pub fn is_ready(pod: &Pod) -> bool {
    ready_condition(pod).is_some_and(|(ready, _)| ready)
}

/// Since when a ready pod has been ready.
#[must_use]
pub fn ready_since(pod: &Pod) -> Option<Timestamp> {
    ready_condition(pod).filter(|(ready, _)| *ready).and_then(|(_, since)| since)
}

fn ready_condition(pod: &Pod) -> Option<(bool, Option<Timestamp>)> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready")?;
    Some((ready.status == "True", ready.last_transition_time.as_ref().map(|time| time.0)))
}

/// How long a ready pod still has to stay ready until it is available; nothing for one that isn't ready, zero for one
/// that is available (`podutil.IsPodAvailable`).
#[must_use]
pub fn until_available(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> Option<Duration> {
    let (ready, since) = ready_condition(pod)?;
    if !ready {
        return None;
    }
    let needed = Duration::from_secs(u64::try_from(min_ready_seconds).unwrap_or(0));
    if needed.is_zero() {
        return Some(Duration::ZERO);
    }
    let been = now.duration_since(since?);
    Some(needed.saturating_sub(Duration::try_from(been).unwrap_or_default()))
}

/// Whether a pod is available: ready for at least so many seconds.
#[must_use]
pub fn is_available(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> bool {
    until_available(pod, min_ready_seconds, now) == Some(Duration::ZERO)
}

/// A pod from a template, with its managing controller and a generated name (`controller.GetPodFromTemplate`). Owners
/// whose pods have fixed names set one afterwards.
#[must_use]
pub fn from_template(template: &PodTemplateSpec, namespace: &str, owner: OwnerReference) -> Pod {
    let described = template.metadata.clone().unwrap_or_default();
    let prefix = format!("{}-", owner.name);
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(prefix),
            namespace: Some(namespace.to_owned()),
            labels: described.labels,
            annotations: described.annotations,
            finalizers: described.finalizers,
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

/// Whether a refusal is about a namespace that is going: then every create fails, and there is nothing to report.
#[must_use]
pub fn is_namespace_terminating(error: &ApiError) -> bool {
    let causes = error.details["causes"].as_array();
    causes.is_some_and(|causes| causes.iter().any(|cause| cause["reason"] == NAMESPACE_TERMINATING))
}

/// Creates a pod and records the owner's event of it (`RealPodControl.CreatePods`).
///
/// # Errors
/// What the API refused.
pub fn create<K: Served>(registry: &Registry, component: &str, owner: &K, pod: &Pod) -> Result<Arc<Pod>, ApiError> {
    if labels(&pod.metadata).is_empty() {
        return Err(ApiError::internal("unable to create pods, no labels"));
    }
    match registry.create_as(pod) {
        Ok(created) => {
            let message = format!("Created pod: {}", created.metadata.name.as_deref().unwrap_or_default());
            record(registry, owner, Severity::Normal, component, "SuccessfulCreate", &message);
            Ok(created)
        }
        Err(error) => {
            if !is_namespace_terminating(&error) {
                let message = format!("Error creating: {}", error.message);
                record(registry, owner, Severity::Warning, component, "FailedCreate", &message);
            }
            Err(error)
        }
    }
}

/// Deletes a pod with its own grace, if it still is the same one, and records the owner's event of it
/// (`RealPodControl.DeletePod`). One that is gone already is no error.
///
/// # Errors
/// What the API refused.
pub fn delete<K: Served>(registry: &Registry, component: &str, owner: &K, pod: &Pod) -> Result<(), ApiError> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let options = DeleteOptions { uid: pod.metadata.uid.clone(), ..DeleteOptions::default() };
    match registry.remove::<Pod>(pod.metadata.namespace.as_deref().unwrap_or_default(), name, &options) {
        Ok(Deleted::Gone(_) | Deleted::Waiting(_)) => {
            let message = format!("Deleted pod: {name}");
            record(registry, owner, Severity::Normal, component, "SuccessfulDelete", &message);
            Ok(())
        }
        // With the uid as a precondition, a conflict says that another pod has this name now.
        Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
        Err(mut error) => {
            let message = format!("Error deleting: {}", error.message);
            record(registry, owner, Severity::Warning, component, "FailedDelete", &message);
            error.message = format!("unable to delete pods: {}", error.message);
            Err(error)
        }
    }
}

/// The pods that an owner may count on or lay hand on: those that name it as their managing controller, and those of
/// its namespace that have none (`controller.FilterPodsByOwner` with orphans).
#[must_use]
pub fn candidates<K: Served>(registry: &Registry, owner: &K) -> Vec<Arc<Pod>> {
    let metadata = owner.metadata();
    let mut found = registry.controlled_by::<Pod>(metadata.uid.as_deref().unwrap_or_default());
    let orphans = registry.store().orphan_pods(metadata.namespace.as_deref().unwrap_or_default());
    found.extend(orphans.iter().filter_map(|pod| pod.typed::<Pod>()));
    found
}

/// Of some candidates the owner's own, after those of its own that no longer match have been released and orphans that
/// match have been adopted; an owner that is being deleted does neither (`BaseControllerRefManager.ClaimObject`).
///
/// # Errors
/// The first refusal, after all candidates have been looked at.
pub fn claim<O: Served, D: Served>(
    registry: &Registry,
    owner: &O,
    candidates: Vec<Arc<D>>,
    matches: impl Fn(&D) -> bool,
) -> Result<Vec<Arc<D>>, ApiError> {
    let mut claimed = Vec::with_capacity(candidates.len());
    let mut refused = None;
    for candidate in candidates {
        match claim_one(registry, owner, candidate, &matches) {
            Ok(Some(own)) => claimed.push(own),
            Ok(None) => {}
            Err(error) if error.is_not_found() => {}
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    refused.map_or(Ok(claimed), Err)
}

fn claim_one<O: Served, D: Served>(
    registry: &Registry,
    owner: &O,
    candidate: Arc<D>,
    matches: &impl Fn(&D) -> bool,
) -> Result<Option<Arc<D>>, ApiError> {
    let (own, metadata) = (owner.metadata(), candidate.metadata());
    let owner_leaves = own.deletion_timestamp.is_some();
    if let Some(controller) = controller_of(metadata) {
        if Some(&controller.uid) != own.uid.as_ref() {
            return Ok(None);
        }
        if matches(&candidate) {
            return Ok(Some(candidate));
        }
        if !owner_leaves {
            release(registry, own.uid.as_deref().unwrap_or_default(), &*candidate)?;
        }
        return Ok(None);
    }
    if owner_leaves || metadata.deletion_timestamp.is_some() || !matches(&candidate) {
        return Ok(None);
    }
    adopt(registry, owner, &*candidate).map(Some)
}

/// Makes an owner the managing controller of an object that has none.
fn adopt<O: Served, D: Served>(registry: &Registry, owner: &O, orphan: &D) -> Result<Arc<D>, ApiError> {
    let (own, metadata) = (owner.metadata(), orphan.metadata());
    let still =
        registry.find::<O>(own.namespace.as_deref().unwrap_or_default(), own.name.as_deref().unwrap_or_default());
    let still = still.filter(|found| found.metadata().uid == own.uid && found.metadata().deletion_timestamp.is_none());
    let name = metadata.name.as_deref().unwrap_or_default();
    if still.is_none() {
        return Err(ApiError::not_found(
            O::served().group,
            O::served().plural,
            own.name.as_deref().unwrap_or_default(),
        ));
    }
    let uid = metadata.uid.clone();
    registry.change_as::<D>(metadata.namespace.as_deref().unwrap_or_default(), name, |object| {
        let now = object.metadata_mut();
        if now.uid != uid || controller_of(now).is_some() {
            return Err(ApiError::not_found(D::served().group, D::served().plural, name));
        }
        now.owner_references.get_or_insert_default().push(controller_ref(owner));
        Ok(())
    })
}

/// Takes an owner's uid out of an object's owners.
fn release<D: Served>(registry: &Registry, owner_uid: &str, object: &D) -> Result<(), ApiError> {
    let metadata = object.metadata();
    let (name, uid) = (metadata.name.as_deref().unwrap_or_default(), metadata.uid.clone());
    registry.change_as::<D>(metadata.namespace.as_deref().unwrap_or_default(), name, |object| {
        let now = object.metadata_mut();
        if now.uid != uid {
            return Err(ApiError::not_found(D::served().group, D::served().plural, name));
        }
        if let Some(owners) = now.owner_references.as_mut() {
            owners.retain(|owner| owner.uid != owner_uid);
        }
        if now.owner_references.as_ref().is_some_and(Vec::is_empty) {
            now.owner_references = None;
        }
        Ok(())
    })?;
    Ok(())
}

/// Calls `create` so often, in batches of 1, 2, 4 …; a failure ends it after its batch, so that a template that is
/// refused is refused a few times and not hundreds of times (`slowStartBatch`). Returns how often it went well, and the
/// first failure.
pub fn slow_start(count: usize, mut create: impl FnMut() -> Result<(), ApiError>) -> (usize, Option<ApiError>) {
    let (mut done, mut remaining) = (0, count);
    let mut batch = remaining.min(1);
    while batch > 0 {
        let results: Vec<Result<(), ApiError>> = (0..batch).map(|_| create()).collect();
        done += results.iter().filter(|result| result.is_ok()).count();
        if let Some(error) = results.into_iter().find_map(Result::err) {
            return (done, Some(error));
        }
        remaining -= batch;
        batch = (2 * batch).min(remaining);
    }
    (done, None)
}
