//! Patches: the verb, and from an object and a patch to a new object as pure functions.
//!
//! * [`merge`], [`json`]: RFC 7386 and RFC 6902.
//! * [`strategic`], `strategic_lists`: strategic merge patch with its directives.
//! * [`apply`], [`managed_fields`], [`field_set`], [`walk`], `declared`: server-side apply and who owns which fields.
//! * [`schema`], `types`: what the types of the API say about merging, for both.

pub mod apply;
mod declared;
pub mod field_set;
pub mod json;
pub mod managed_fields;
pub mod merge;
pub mod schema;
pub mod strategic;
mod strategic_lists;
mod types;
pub mod walk;

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Part, Registry, Target, Tracking, WriteOptions, check_type};
use crate::sandbox::{
    error::{ApiError, FieldError},
    kinds::Kind,
    store::{Object, text_at},
};

/// Bytes of a body (`MaxRequestBodyBytes`, apiserver/pkg/server/config.go, v0.34.4), and of what the copies of a JSON
/// patch may add.
pub const PATCH_BYTES_MAX: usize = 3 << 20;

/// How deep an object may be nested after a patch; the reader of JSON has the same limit.
const DEPTH_MAX: usize = 100;

/// How often an apply is tried that finds no object to change and none to create.
const APPLY_ATTEMPTS: usize = 5;

/// The kinds of patches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchKind {
    /// RFC 6902.
    Json,
    /// RFC 7386.
    Merge,
    /// Strategic merge patch.
    Strategic,
    /// Server-side apply.
    Apply {
        /// Take fields from other managers.
        force: bool,
    },
}

impl PatchKind {
    /// The kind that a `Content-Type` stands for; `force` is for apply alone.
    ///
    /// # Errors
    /// 415.
    pub fn from_content_type(content_type: &str, force: bool) -> Result<Self, ApiError> {
        let name = content_type.split(';').next().unwrap_or_default().trim();
        match name {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/strategic-merge-patch+json" => Ok(Self::Strategic),
            "application/apply-patch+yaml" => Ok(Self::Apply { force }),
            _ => Err(ApiError::unsupported_media_type(
                "the body of the request was in an unknown format - accepted media types include: \
                 application/json-patch+json, application/merge-patch+json, \
                 application/strategic-merge-patch+json, application/apply-patch+yaml",
            )),
        }
    }
}

impl Registry {
    /// Patches an object, or its status. What comes back says whether an apply has created the object.
    ///
    /// # Errors
    /// 400 for a patch that cannot be read, 413 for one that is too large, 422 for one that cannot be applied, 404 where
    /// there is no object (apply creates it), 409 for conflicts of apply and old versions, and whatever
    /// [`Registry::update`] refuses.
    #[expect(clippy::too_many_arguments, reason = "the parts of one request, each of another type")]
    pub fn patch(
        &self,
        kind: &'static Kind,
        namespace: &str,
        name: &str,
        part: Part,
        patch: PatchKind,
        body: &[u8],
        options: &WriteOptions,
    ) -> Result<(Arc<Object>, bool), ApiError> {
        if body.len() > PATCH_BYTES_MAX {
            return Err(too_large(format!("limit is {PATCH_BYTES_MAX}")));
        }
        let target = Target { kind, namespace, name, part };
        match patch {
            PatchKind::Json => {
                let operations = json::parse(body)?;
                self.patch_by(target, body, options, |old| json::apply(old, &operations))
            }
            PatchKind::Merge => {
                let patch = read_object(body, "error decoding patch: ")?;
                self.patch_by(target, body, options, |mut old| {
                    merge::apply(&mut old, &patch);
                    Ok(old)
                })
            }
            PatchKind::Strategic => {
                let patch = read_object(body, "")?;
                self.patch_by(target, body, options, |old| {
                    let Value::Object(old) = old else { return Err(json::cannot_be_applied()) };
                    strategic::apply(schema::At::root(kind), old, patch).map(Value::Object)
                })
            }
            PatchKind::Apply { force } => self.apply_patch(target, force, &read_yaml(body)?, options),
        }
    }

    fn patch_by(
        &self,
        target: Target<'_>,
        body: &[u8],
        options: &WriteOptions,
        patch: impl FnOnce(Value) -> Result<Value, ApiError>,
    ) -> Result<(Arc<Object>, bool), ApiError> {
        let changed = self.change_at(target, options, Tracking::By(target.part.subresource()), |old| {
            let new = patch(old)?;
            if !new.is_object() {
                return Err(no_object(body));
            }
            check_type(target.kind, &new)?;
            Ok(new)
        })?;
        Ok((changed, false))
    }

    fn apply_patch(
        &self,
        target: Target<'_>,
        force: bool,
        config: &Value,
        options: &WriteOptions,
    ) -> Result<(Arc<Object>, bool), ApiError> {
        if options.manager.is_empty() {
            let missing = FieldError::required("fieldManager", "is required for apply patch");
            return Err(ApiError::invalid("meta.k8s.io", "PatchOptions", "", &[missing]));
        }
        let Target { kind, namespace, name, part } = target;
        let stated = text_at(&config["metadata"], "name");
        if !stated.is_empty() && stated != name {
            return Err(ApiError::bad_request(format!(
                "the name of the object ({stated}) does not match the name on the URL ({name})"
            )));
        }
        let apply = apply::Apply { kind, part, manager: &options.manager, force, config };
        // Between finding no object and creating one, another client may create it.
        for _ in 0..APPLY_ATTEMPTS {
            if self.store().get(kind, namespace, name).is_some() || part == Part::Status {
                let mut found = false;
                let changed = self.change_at(target, options, Tracking::Done, |live| {
                    found = true;
                    apply.to_live(&live)
                });
                match changed {
                    Err(error) if error.is_not_found() && !found && part == Part::Main => {}
                    changed => return Ok((changed?, false)),
                }
            }
            match self.create(kind, namespace, apply.to_nothing(kind.plural, name)?, options) {
                Err(error) if error.is_already_exists() => {}
                created => return Ok((created?, true)),
            }
        }
        Err(ApiError::modified(kind.group, kind.plural, name))
    }
}

/// An error that upstream passes on as it is: 500 without a reason.
fn unexplained(message: impl Into<String>) -> ApiError {
    ApiError { code: 500, reason: "", message: message.into(), details: Value::Null }
}

fn too_large(message: impl std::fmt::Display) -> ApiError {
    ApiError {
        code: 413,
        reason: "RequestEntityTooLarge",
        message: format!("Request entity is too large: {message}"),
        details: Value::Null,
    }
}

/// The answer to a patch that leaves no object.
fn no_object(body: &[u8]) -> ApiError {
    let patch = Value::String(String::from_utf8_lossy(body).into_owned());
    let error = FieldError::invalid("patch", &patch, "the patched value is not an object");
    ApiError::invalid("", "", "", &[error])
}

fn read_object(body: &[u8], prefix: &str) -> Result<Map<String, Value>, ApiError> {
    serde_json::from_slice(body).map_err(|error| ApiError::bad_request(format!("{prefix}{error}")))
}

/// Reads a body that may be YAML, of which JSON is a part.
fn read_yaml(body: &[u8]) -> Result<Value, ApiError> {
    let refused = |why: &dyn std::fmt::Display| ApiError::bad_request(format!("error decoding YAML: {why}"));
    let value: Value = if let Ok(value) = serde_json::from_slice(body) {
        value
    } else {
        let text = std::str::from_utf8(body).map_err(|error| refused(&error))?;
        last_wins(text).map_err(|error| refused(&error))?
    };
    if !value.is_object() {
        return Err(refused(&"the configuration is not an object"));
    }
    if depth(&value) > DEPTH_MAX {
        return Err(refused(&format!("it is nested deeper than {DEPTH_MAX} levels")));
    }
    Ok(value)
}

/// Reads YAML. Of a key that stands twice the last counts, as for Go's reader where it is not strict.
pub(in crate::sandbox) fn last_wins(text: &str) -> Result<Value, serde_saphyr::Error> {
    let options = serde_saphyr::options! { duplicate_keys: serde_saphyr::DuplicateKeyPolicy::LastWins };
    serde_saphyr::from_str_with_options(text, options)
}

/// How deep a value is nested.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
#[path = "tests/any_json.rs"]
mod any_json;
#[cfg(test)]
#[path = "tests/verb.rs"]
mod tests;
