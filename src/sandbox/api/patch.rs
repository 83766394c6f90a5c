//! PATCH: its media types and options (apiserver/pkg/endpoints/handlers/patch.go, v0.34.4).

use hyper::{StatusCode, header::CONTENT_TYPE};

use super::{
    answer::Answer,
    body::{self, FieldValidation},
    call::Call,
    catalogue::Backing,
    objects::{kind_to_write, not_carried, with_warnings},
};
use crate::sandbox::{
    error::{ApiError, FieldError},
    kinds::Kind,
    registry::{
        Part,
        patch::{PatchKind, json},
    },
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
    let warnings = [warnings, not_carried(&object)].concat();
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(with_warnings(call.show(status, &object)?, &warnings))
}

/// Holds what a patch brings against the kind's fields. JSON patches bring single values, which are checked with the
/// object that they make.
fn check_fields(call: &Call<'_>, kind: &Kind, patch: PatchKind) -> Result<Vec<String>, ApiError> {
    let validation = FieldValidation::of(&call.query, call.options_kind())?;
    if validation == FieldValidation::Ignore {
        return Ok(Vec::new());
    }
    match patch {
        PatchKind::Json => {
            let operations = json::parse(&call.body)?;
            let twice = body::twice_in_json(&call.body).into_iter().map(|one| format!("json patch {one}")).collect();
            let before = call.api.registry.get(kind, &call.path.namespace, &call.path.name)?;
            // What cannot be applied is for the patch itself to tell.
            let Ok(patched) = json::apply(before.value(), &operations) else { return Ok(Vec::new()) };
            validation.check_patched(kind, &patched, twice, &patched)
        }
        PatchKind::Merge | PatchKind::Strategic => {
            let patch = body::json(&call.body)?;
            validation.check_patched(kind, &patch, body::twice_in_json(&call.body), &patch)
        }
        PatchKind::Apply { .. } => {
            let twice = body::twice_in_yaml(&call.body).map(|why| format!("error converting YAML to JSON: {why}"));
            if let (Some(why), FieldValidation::Strict) = (&twice, validation) {
                return Err(ApiError::bad_request(format!("error strict decoding YAML: {why}")));
            }
            validation.check(kind, &body::yaml(&call.body)?, twice.into_iter().collect())
        }
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
