//! Deletion: preconditions, grace, finalizers and propagation (apiserver/pkg/registry/rest/delete.go,
//! apiserver/pkg/registry/generic/registry/store.go, k/pkg/registry/core/pod/strategy.go, v1.34.4).
//!
//! Only pods have a grace. An object that waits for its grace or for finalizers stays, with a `deletionTimestamp`; it
//! goes with the write that leaves it neither ([`is_over`]).

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::Registry;
use crate::sandbox::{
    error::ApiError,
    kinds::Kind,
    names,
    store::{Object, Wanted, text_at},
};

/// The finalizer of a foreground deletion.
pub const FOREGROUND: &str = "foregroundDeletion";

/// The finalizer of a deletion that leaves dependents alone.
pub const ORPHAN: &str = "orphan";

/// What becomes of an object's dependents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Propagation {
    /// They go after it.
    #[default]
    Background,
    /// It goes after those that block it.
    Foreground,
    /// They stay, without it as their owner.
    Orphan,
}

/// How to delete.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Seconds of grace; without it the pod's own.
    pub grace_seconds: Option<i64>,
    /// The uid that the object must have.
    pub uid: Option<String>,
    /// The version that it must have.
    pub resource_version: Option<String>,
    /// What becomes of dependents.
    pub propagation: Propagation,
    /// Say what would be, and delete nothing.
    pub dry_run: bool,
}

/// What a deletion did.
#[derive(Debug, Clone)]
pub enum Deleted {
    /// The object is gone; its last state.
    Gone(Arc<Object>),
    /// It waits for its grace or its finalizers.
    Waiting(Arc<Object>),
}

impl Deleted {
    /// The object.
    #[must_use]
    pub const fn object(&self) -> &Arc<Object> {
        match self {
            Self::Gone(object) | Self::Waiting(object) => object,
        }
    }
}

/// Whether an object that is being deleted has nothing left to wait for.
#[must_use]
pub fn is_over(kind: &Kind, value: &Value) -> bool {
    let metadata = &value["metadata"];
    let going = !metadata["deletionTimestamp"].is_null();
    let waits = metadata["finalizers"].as_array().is_some_and(|all| !all.is_empty())
        || (kind.kind == "Namespace" && value["spec"]["finalizers"].as_array().is_some_and(|all| !all.is_empty()));
    // A pod in its grace stays until the kubelet, or whoever is in its place, deletes it with none.
    going && !waits && metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0
}

pub(super) fn delete(
    registry: &Registry,
    kind: &'static Kind,
    namespace: &str,
    name: &str,
    options: &DeleteOptions,
) -> Result<Deleted, ApiError> {
    let mut gone = None;
    let written = registry.store().write(kind, namespace, name, |before| {
        let before = before.ok_or_else(|| ApiError::not_found(kind.group, kind.plural, name))?;
        check_preconditions(kind, name, before, options)?;
        if options.dry_run {
            gone = Some(Arc::clone(before));
            return Ok(Wanted::Keep);
        }
        let old = before.value();
        let mut value = old.clone();
        mark(kind, &mut value, options);
        if is_over(kind, &value) && kind.kind != "Pod" {
            gone = Some(Arc::new(Object::new(kind, value, before.version)));
            return Ok(Wanted::Gone);
        }
        // A second deletion that asks for no less grace changes nothing.
        Ok(if value == old { Wanted::Keep } else { Wanted::Put(value) })
    })?;
    match (gone, written) {
        (Some(object), _) => Ok(Deleted::Gone(object)),
        (None, Some(object)) if is_over(kind, &object.value()) => remove(registry, object),
        (None, Some(object)) => Ok(Deleted::Waiting(object)),
        (None, None) => Err(ApiError::not_found(kind.group, kind.plural, name)),
    }
}

/// A pod that has no grace left was marked in a write of its own, so that its kubelet sees that it has none, and goes
/// with a second one (`updateForGracefulDeletionAndFinalizers`).
fn remove(registry: &Registry, marked: Arc<Object>) -> Result<Deleted, ApiError> {
    registry.store().write::<ApiError>(marked.kind, &marked.namespace, &marked.name, |now| match now {
        // Another of the same name has nothing to do with this.
        Some(now) if now.uid != marked.uid => Ok(Wanted::Keep),
        _ => Ok(Wanted::Gone),
    })?;
    Ok(Deleted::Gone(marked))
}

fn check_preconditions(kind: &Kind, name: &str, before: &Object, options: &DeleteOptions) -> Result<(), ApiError> {
    let conflict = |what: &str, asked: &str, is: &str| {
        let why = format!("Precondition failed: {what} in precondition: {asked}, {what} in object meta: {is}");
        ApiError::conflict(kind.group, kind.plural, name, why)
    };
    if let Some(uid) = options.uid.as_deref().filter(|uid| *uid != before.uid) {
        return Err(conflict("UID", uid, &before.uid));
    }
    let version = before.version.to_string();
    if let Some(asked) = options.resource_version.as_deref().filter(|asked| *asked != version) {
        return Err(conflict("ResourceVersion", asked, &version));
    }
    Ok(())
}

fn mark(kind: &Kind, value: &mut Value, options: &DeleteOptions) {
    let grace = if kind.kind == "Pod" { pod_grace(value, options.grace_seconds) } else { 0 };
    let finalizer = match options.propagation {
        Propagation::Background => None,
        Propagation::Foreground => Some(FOREGROUND),
        Propagation::Orphan => Some(ORPHAN),
    };
    let metadata = &mut value["metadata"];
    let already = metadata["deletionGracePeriodSeconds"].as_i64().filter(|_| !metadata["deletionTimestamp"].is_null());
    if let (Some(finalizer), None) = (finalizer, already) {
        let all = metadata["finalizers"].as_array().cloned().unwrap_or_default();
        if !all.iter().any(|one| one == finalizer) {
            metadata["finalizers"] = all.into_iter().chain([json!(finalizer)]).collect();
        }
    }
    // A second deletion can only shorten the grace.
    if already.is_some_and(|already| already <= grace) {
        return;
    }
    let seconds = u64::try_from(grace).unwrap_or(0);
    metadata["deletionTimestamp"] = json!(names::in_seconds(Duration::from_secs(seconds)));
    metadata["deletionGracePeriodSeconds"] = json!(grace);
    if kind.generation {
        metadata["generation"] = json!(metadata["generation"].as_i64().unwrap_or_default() + 1);
    }
    if kind.kind == "Namespace" {
        value["status"]["phase"] = json!("Terminating");
    }
}

/// The grace of a pod: what was asked for, else its own; none where nothing runs; at least a second where it is
/// negative.
fn pod_grace(pod: &Value, asked: Option<i64>) -> i64 {
    let scheduled = !text_at(&pod["spec"], "nodeName").is_empty();
    let finished = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    if !scheduled || finished {
        return 0;
    }
    let grace = asked.or_else(|| pod["spec"]["terminationGracePeriodSeconds"].as_i64()).unwrap_or(30);
    if grace < 0 { 1 } else { grace }
}
