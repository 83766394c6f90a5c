//! What the API server itself adds to objects: service accounts and tolerations of pods, addresses and ports of
//! Services, the finalizer and label of namespaces, bound claims (k/plugin/pkg/admission, k/pkg/registry, v1.34.4).

use serde_json::Value;

use super::Registry;
use crate::sandbox::{error::ApiError, kinds::Kind};

/// Addresses and ports that the sandbox gives out.
#[derive(Debug, Default)]
pub struct Allocator {}

/// Adds to an object that is to be created, or refuses it.
pub fn on_create(_registry: &Registry, _kind: &Kind, _namespace: &str, _value: &mut Value) -> Result<(), ApiError> {
    Ok(())
}

/// Adds to a new version of an object.
pub fn on_update(_kind: &Kind, _old: &Value, _value: &mut Value) {}
