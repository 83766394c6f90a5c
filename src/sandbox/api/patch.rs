//! PATCH: its media types and options (apiserver/pkg/endpoints/handlers/patch.go, v0.34.4).

use hyper::StatusCode;

use super::{answer::Answer, body, call::Call, catalogue::Backing, objects::kind_to_write};
use crate::sandbox::{
    error::{ApiError, FieldError},
    registry::Part,
};

/// Patches an object or its status.
pub(super) fn patch(call: &Call<'_>, part: Part) -> Result<Answer, ApiError> {
    let kind = kind_to_write(call)?;
    if matches!(call.resource.backing, Backing::EventsView) {
        return Err(ApiError::not_in_the_sandbox("patches of events.k8s.io/v1 events; patch the core event"));
    }
    let applies = body::media_type(&call.headers) == "application/apply-patch+yaml";
    check_options(call, applies)?;
    let _ = (kind, part, StatusCode::OK);
    Err(ApiError::not_in_the_sandbox("patches"))
}

/// apimachinery/pkg/apis/meta/v1/validation, `ValidatePatchOptions`.
fn check_options(call: &Call<'_>, applies: bool) -> Result<(), ApiError> {
    let refuse = |error: FieldError| Err(ApiError::invalid("meta.k8s.io", "PatchOptions", "", &[error]));
    if applies && call.query.get("fieldManager").is_none() {
        return refuse(FieldError::required("fieldManager", "is required for apply patch"));
    }
    if !applies && call.query.get("force").is_some() {
        return refuse(FieldError::forbidden("force", "may not be specified for non-apply patch"));
    }
    Ok(())
}
