//! PATCH: its media types and options (apiserver/pkg/endpoints/handlers/patch.go, v0.34.4).

use hyper::{StatusCode, header::CONTENT_TYPE};

use serde_json::Value;

use super::{
    answer::Answer,
    autoscalers_view,
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
        patch::{PatchKind, json, merge, schema, strategic},
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
    if matches!(call.resource.backing, Backing::AutoscalersView) {
        return patch_view(call, kind, part, patch);
    }
    let warnings = check_fields(call, kind, patch)?;
    let options = call.write_options()?;
    let (namespace, name) = (&call.path.namespace, &call.path.name);
    let (object, created) = call.api.registry.patch(kind, namespace, name, part, patch, &call.body, &options)?;
    let warnings = [warnings, not_carried(&object)].concat();
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(with_warnings(call.show(status, &object)?, &warnings))
}

/// Patches an autoscaler in the form of `autoscaling/v1`: it is shown in that form, changed, and stored again under the
/// version that was shown.
fn patch_view(call: &Call<'_>, kind: &'static Kind, part: Part, patch: PatchKind) -> Result<Answer, ApiError> {
    let validation = FieldValidation::of(&call.query, call.options_kind())?;
    let options = call.write_options()?;
    let registry = &call.api.registry;
    let (namespace, name) = (&call.path.namespace, &call.path.name);
    let stored = registry.get(kind, namespace, name)?.value();
    let mut shown = autoscalers_view::shown(stored.clone());
    let noticed = body::twice_in_json(&call.body);
    match patch {
        PatchKind::Json => shown = json::apply(shown, &json::parse(&call.body)?)?,
        PatchKind::Merge | PatchKind::Strategic => {
            let changes = body::json(&call.body)?;
            let (Value::Object(changes), Value::Object(fields)) = (changes, &mut shown) else {
                return Err(ApiError::bad_request("the patch is not an object"));
            };
            if patch == PatchKind::Merge {
                merge::apply(&mut shown, &changes);
            } else {
                shown = Value::Object(strategic::apply(schema::At::root(kind), std::mem::take(fields), changes)?);
            }
        }
        PatchKind::Apply { .. } => {
            return Err(ApiError::not_in_the_sandbox("apply on autoscaling/v1; apply autoscaling/v2"));
        }
    }
    let noticed = noticed.into_iter().chain(autoscalers_view::unknown(&shown)).collect();
    let patched = autoscalers_view::to_v2(shown, Some(&stored))?;
    let warnings = validation.check_patched(kind, &patched, noticed, &patched)?;
    let object = registry.update(kind, namespace, name, part, patched, &options)?;
    Ok(with_warnings(call.show(StatusCode::OK, &object)?, &warnings))
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
