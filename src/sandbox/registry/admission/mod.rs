//! What the API server itself adds to objects, and what it refuses beside invalid fields: service accounts, tolerations
//! and priorities of pods, addresses and ports of Services, the finalizer of namespaces, selectors of Jobs, bound claims
//! (k/plugin/pkg/admission, k/pkg/registry, v1.34.4).
//!
//! * `allocator`: addresses and ports that are free.
//! * `service`: which of them a Service gets.
//! * `pod`: pods.
//! * `prepare`: everything else.

mod allocator;
mod pod;
mod prepare;
mod service;

#[cfg(test)]
mod tests;

use serde_json::Value;

use super::{Part, Registry};
use crate::sandbox::{error::ApiError, kinds::Kind};
pub use allocator::{Allocator, Holding};

/// Namespaces that stay (apiserver/pkg/server/options, `NamespaceLifecycle`).
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

/// Adds to an object that is to be created, or refuses it. `services` is there for a Service.
pub fn on_create(
    registry: &Registry,
    services: Option<&mut Holding<'_>>,
    kind: &Kind,
    namespace: &str,
    value: &mut Value,
) -> Result<(), ApiError> {
    prepare::drop_disabled(kind, value);
    match kind.kind {
        "Pod" => pod::on_create(registry, namespace, value)?,
        "Service" => {
            if let Some(services) = services {
                service::on_create(services, value)?;
            }
        }
        "Namespace" => prepare::namespace(value),
        "Job" => prepare::job(value),
        "PersistentVolumeClaim" => prepare::claim(value),
        _ => {}
    }
    Ok(())
}

/// Adds to a new version of an object, or refuses it.
pub fn on_update(
    services: Option<&mut Holding<'_>>,
    kind: &Kind,
    part: Part,
    old: &Value,
    value: &mut Value,
) -> Result<(), ApiError> {
    if part == Part::Status {
        return Ok(());
    }
    prepare::drop_disabled(kind, value);
    match kind.kind {
        "Pod" => pod::on_update(old, value),
        "Service" => {
            if let Some(services) = services {
                service::on_update(services, old, value)?;
            }
        }
        "Namespace" => prepare::namespace_change(old, value),
        "PersistentVolumeClaim" => prepare::claim_change(value),
        _ => {}
    }
    Ok(())
}

/// Refuses a deletion.
///
/// # Errors
/// 403 for a namespace that every cluster has.
pub fn on_delete(kind: &Kind, name: &str) -> Result<(), ApiError> {
    if kind.kind == "Namespace" && IMMORTAL.contains(&name) {
        return Err(ApiError::forbidden("", "namespaces", name, "this namespace may not be deleted"));
    }
    Ok(())
}
