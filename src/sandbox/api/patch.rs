//! PATCH: its media types and options (apiserver/pkg/endpoints/handlers/patch.go, v0.34.4).

use hyper::{StatusCode, header::CONTENT_TYPE};

use super::{
    answer::Answer,
    body::{self, FieldValidation},
    call::Call,
    catalogue::Backing,
    objects::{kind_to_write, with_warnings},
};
use crate::sandbox::{
    error::{ApiError, FieldError},
    kinds::Kind,
    registry::{Part, patch::PatchKind},
};

/// Patches an object or its status.
pub(super) fn patch(call: &Call<'_>, part: Part) -> Result<Answer, ApiError> {
    let kind = kind_to_write(call)?;
    if matches!(call.resource.backing, Backing::EventsView) {
        return Err(ApiError::not_in_the_sandbox("patches of events.k8s.io/v1 events; patch the core event"));
    }
    let media_type = call.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let patch = PatchKind::from_content_type(media_type, call.query.flag("force"))?;
    check_options(call, matches!(patch, PatchKind::Apply { .. }))?;
    let warnings = check_fields(call, kind, patch)?;
    let options = call.write_options()?;
    let (namespace, name) = (&call.path.namespace, &call.path.name);
    let (object, created) = call.api.registry.patch(kind, namespace, name, part, patch, &call.body, &options)?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(with_warnings(call.show(status, &object)?, &warnings))
}

/// Holds what a patch brings against the kind's fields. JSON patches bring single values, which are checked with the
/// object that they make.
fn check_fields(call: &Call<'_>, kind: &Kind, patch: PatchKind) -> Result<Vec<String>, ApiError> {
    let validation = FieldValidation::of(&call.query)?;
    match patch {
        PatchKind::Json => Ok(Vec::new()),
        PatchKind::Merge | PatchKind::Strategic => validation.check(kind, &body::json(&call.body)?),
        PatchKind::Apply { .. } => validation.check(kind, &body::yaml(&call.body)?),
    }
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
