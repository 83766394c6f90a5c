//! JSON patch, RFC 6902, with the API server's bounds (apiserver/pkg/endpoints/handlers/patch.go, v0.34.4).

use json_patch::{PatchOperation, jsonptr::Pointer, patch_unsafe};
use serde_json::{Value, json};

use super::{DEPTH_MAX, PATCH_BYTES_MAX, depth, too_large};
use crate::sandbox::error::ApiError;

/// Operations of one patch.
const OPERATIONS_MAX: usize = 10_000;

/// Bytes that the moves of one patch may carry altogether: far above what any real patch does, low enough that no patch
/// holds up other writes.
const MOVED_BYTES_MAX: usize = 64 << 20;

/// Reads a patch.
///
/// # Errors
/// 400 for what is no JSON patch, 413 for too many operations.
pub fn parse(body: &[u8]) -> Result<Vec<PatchOperation>, ApiError> {
    let operations: Vec<PatchOperation> =
        serde_json::from_slice(body).map_err(|error| ApiError::bad_request(error.to_string()))?;
    if operations.len() > OPERATIONS_MAX {
        return Err(too_large(format!(
            "The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {}",
            operations.len()
        )));
    }
    Ok(operations)
}

/// Does the operations one after the other.
///
/// # Errors
/// 422 where one cannot be done, or would let the object grow without bounds.
pub fn apply(mut target: Value, operations: &[PatchOperation]) -> Result<Value, ApiError> {
    let (mut copied, mut moved) = (0, 0);
    for operation in operations {
        // Upstream's library takes a field that isn't there for null.
        if let PatchOperation::Test(test) = operation
            && test.value.is_null()
            && target.pointer(test.path.as_str()).is_none()
        {
            continue;
        }
        match operation {
            PatchOperation::Copy(copy) => copied += bytes_at(&target, &copy.from),
            PatchOperation::Move(from) => moved += bytes_at(&target, &from.from),
            _ => {}
        }
        if copied > PATCH_BYTES_MAX || moved > MOVED_BYTES_MAX || new_depth(&target, operation) > DEPTH_MAX {
            return Err(cannot_be_applied());
        }
        patch_unsafe(&mut target, std::slice::from_ref(operation)).map_err(|_| cannot_be_applied())?;
    }
    Ok(target)
}

/// The answer to a patch that does not fit the object. Upstream says no more than this.
pub(super) fn cannot_be_applied() -> ApiError {
    ApiError {
        code: 422,
        reason: "Invalid",
        message: "the server rejected our request due to an error in our request".to_owned(),
        details: json!({}),
    }
}

fn bytes_at(target: &Value, path: &Pointer) -> usize {
    target.pointer(path.as_str()).map_or(0, |value| value.to_string().len())
}

/// How deep the place that an operation writes to will be.
fn new_depth(target: &Value, operation: &PatchOperation) -> usize {
    let below = match operation {
        PatchOperation::Add(add) => depth(&add.value),
        PatchOperation::Replace(replace) => depth(&replace.value),
        PatchOperation::Copy(copy) => target.pointer(copy.from.as_str()).map_or(0, depth),
        PatchOperation::Move(from) => target.pointer(from.from.as_str()).map_or(0, depth),
        PatchOperation::Remove(_) | PatchOperation::Test(_) => return 0,
    };
    operation.path().count() + below
}

#[cfg(test)]
#[path = "tests/json.rs"]
mod tests;
