//! What Kubernetes refuses in objects (k/pkg/apis/*/validation, v1.34.4).

use serde_json::Value;

use super::Part;
use crate::sandbox::{error::FieldError, kinds::Kind};

/// What is wrong with a new object whose defaults have been filled in.
#[must_use]
pub fn create(_kind: &Kind, _value: &Value) -> Vec<FieldError> {
    Vec::new()
}

/// What is wrong with a new version of an object.
#[must_use]
pub fn update(_kind: &Kind, _part: Part, _new: &Value, _old: &Value) -> Vec<FieldError> {
    Vec::new()
}
