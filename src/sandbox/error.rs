//! What the API answers when it refuses: `Status` objects with Kubernetes' own reasons, codes and messages
//! (apimachinery/pkg/api/errors/errors.go, apimachinery/pkg/util/validation/field/errors.go, v0.34.4).

use std::fmt;

use serde_json::{Value, json};

/// A refusal, ready to be sent as a `Status`.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiError {
    /// The HTTP status code.
    pub code: u16,
    /// `Status.reason`, such as `NotFound`; empty where Kubernetes gives none.
    pub reason: &'static str,
    /// `Status.message`.
    pub message: String,
    /// `Status.details`, or null.
    pub details: Value,
}

/// What is wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// Where, such as `spec.template.spec.containers[0].image`.
    pub field: String,
    /// In what way.
    pub kind: FieldErrorKind,
    /// Kubernetes' words after the colon, without the field and the kind.
    pub detail: String,
    /// The value as Kubernetes prints it (`"text"`, `3`, `null`), where the kind shows one.
    pub value: Option<String>,
}

/// The kinds of field errors, as in `field.ErrorType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldErrorKind {
    /// A value that must be there is missing.
    Required,
    /// A value that is not allowed for the field.
    Invalid,
    /// A value that is none of the known ones.
    NotSupported,
    /// A value that must be unique and is not.
    Duplicate,
    /// A value that may not be set here.
    Forbidden,
    /// Something that is referred to and does not exist.
    NotFound,
    /// A text that is too long.
    TooLong,
}

impl FieldErrorKind {
    /// `StatusCause.reason`, such as `FieldValueInvalid`.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Forbidden => "FieldValueForbidden",
            Self::NotFound => "FieldValueNotFound",
            Self::TooLong => "FieldValueTooLong",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Duplicate => "Duplicate value",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "Not found",
            Self::TooLong => "Too long",
        }
    }
}

impl FieldError {
    /// A missing value.
    #[must_use]
    pub fn required(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { field: field.into(), kind: FieldErrorKind::Required, detail: detail.into(), value: None }
    }

    /// A value that is not allowed.
    #[must_use]
    pub fn invalid(field: impl Into<String>, value: &Value, detail: impl Into<String>) -> Self {
        let value = Some(value.to_string());
        Self { field: field.into(), kind: FieldErrorKind::Invalid, detail: detail.into(), value }
    }

    /// A value that may not be set, or not be changed.
    #[must_use]
    pub fn forbidden(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { field: field.into(), kind: FieldErrorKind::Forbidden, detail: detail.into(), value: None }
    }

    /// A value that is none of `supported`.
    #[must_use]
    pub fn not_supported(field: impl Into<String>, value: &Value, supported: &[&str]) -> Self {
        let listed: Vec<String> = supported.iter().map(|one| format!("\"{one}\"")).collect();
        Self {
            field: field.into(),
            kind: FieldErrorKind::NotSupported,
            detail: format!("supported values: {}", listed.join(", ")),
            value: Some(value.to_string()),
        }
    }

    /// A value that is there twice.
    #[must_use]
    pub fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        Self {
            field: field.into(),
            kind: FieldErrorKind::Duplicate,
            detail: String::new(),
            value: Some(value.to_string()),
        }
    }

    /// `ErrorBody`: what is wrong, without the field.
    #[must_use]
    pub fn body(&self) -> String {
        let mut text = self.kind.words().to_owned();
        if let Some(value) = &self.value {
            text.push_str(": ");
            text.push_str(value);
        }
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}

impl ApiError {
    fn new(code: u16, reason: &'static str, message: impl Into<String>, details: Value) -> Self {
        Self { code, reason, message: message.into(), details }
    }

    /// 400.
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message, Value::Null)
    }

    /// 403, with the whole message.
    #[must_use]
    pub fn forbidden(group: &str, resource: &str, name: &str, why: impl fmt::Display) -> Self {
        let resource_name = qualified(resource, group);
        let message = if name.is_empty() {
            format!("{resource_name} is forbidden: {why}")
        } else {
            format!("{resource_name} {name:?} is forbidden: {why}")
        };
        Self::new(403, "Forbidden", message, details(group, resource, name))
    }

    /// 404 of an object.
    #[must_use]
    pub fn not_found(group: &str, resource: &str, name: &str) -> Self {
        let message = format!("{} {name:?} not found", qualified(resource, group));
        Self::new(404, "NotFound", message, details(group, resource, name))
    }

    /// 404 of a path.
    #[must_use]
    pub fn no_such_path() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource", json!({}))
    }

    /// 405.
    #[must_use]
    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(405, "MethodNotAllowed", message, json!({}))
    }

    /// 409 of a create.
    #[must_use]
    pub fn already_exists(group: &str, resource: &str, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", qualified(resource, group));
        Self::new(409, "AlreadyExists", message, details(group, resource, name))
    }

    /// 409 of a write with an old `resourceVersion`, or another conflict that `why` tells.
    #[must_use]
    pub fn conflict(group: &str, resource: &str, name: &str, why: impl fmt::Display) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", qualified(resource, group));
        Self::new(409, "Conflict", message, details(group, resource, name))
    }

    /// 409 of a write with an old `resourceVersion`.
    #[must_use]
    pub fn modified(group: &str, resource: &str, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(group, resource, name, why)
    }

    /// 410: a list or watch from a version that is not kept any more.
    #[must_use]
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message, Value::Null)
    }

    /// 415.
    #[must_use]
    pub fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(415, "UnsupportedMediaType", message, Value::Null)
    }

    /// 422 with its fields.
    #[must_use]
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Self {
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let list = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let message = format!("{} {name:?} is invalid: {list}", qualified(kind, group));
        let causes: Vec<Value> = errors
            .iter()
            .map(|error| json!({"reason": error.kind.reason(), "message": error.body(), "field": error.field}))
            .collect();
        let mut details = details(group, kind, name);
        details["causes"] = Value::Array(causes);
        Self::new(422, "Invalid", message, details)
    }

    /// 429, with a cause and, where the server says so, the seconds after which to try again.
    #[must_use]
    pub fn too_many_requests(
        message: impl Into<String>,
        cause: Option<(&str, String)>,
        retry_after_seconds: Option<u32>,
    ) -> Self {
        let mut details = json!({});
        if let Some((reason, message)) = cause {
            details["causes"] = json!([{"reason": reason, "message": message}]);
        }
        if let Some(seconds) = retry_after_seconds {
            details["retryAfterSeconds"] = json!(seconds);
        }
        Self::new(429, "TooManyRequests", message, details)
    }

    /// 500.
    #[must_use]
    pub fn internal(message: impl fmt::Display) -> Self {
        let text = message.to_string();
        let details = json!({"causes": [{"message": text}]});
        Self::new(500, "InternalError", format!("Internal error occurred: {text}"), details)
    }

    /// 504.
    #[must_use]
    pub fn timeout(message: impl Into<String>) -> Self {
        Self::new(504, "Timeout", message, json!({}))
    }

    /// Something that the real API server would take and that would change the outcome here: refused, never ignored.
    #[must_use]
    pub fn not_in_the_sandbox(what: impl fmt::Display) -> Self {
        let message = format!("the evenkeel sandbox does not serve {what}; see docs/sandbox-fidelity.md");
        Self::new(501, "NotImplemented", message, Value::Null)
    }

    /// Whether this is a write with an old `resourceVersion`.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.reason == "Conflict"
    }

    /// Whether the object isn't there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.reason == "NotFound"
    }

    /// Whether the object is there already.
    #[must_use]
    pub fn is_already_exists(&self) -> bool {
        self.reason == "AlreadyExists"
    }

    /// The `Status` object.
    #[must_use]
    pub fn to_status(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "code": self.code,
        });
        if !self.reason.is_empty() {
            status["reason"] = json!(self.reason);
        }
        if !self.details.is_null() {
            status["details"] = self.details.clone();
        }
        status
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (code {})", self.message, self.code)
    }
}

impl std::error::Error for ApiError {}

fn qualified(resource: &str, group: &str) -> String {
    if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") }
}

fn details(group: &str, kind: &str, name: &str) -> Value {
    let mut details = json!({"kind": kind});
    if !name.is_empty() {
        details["name"] = json!(name);
    }
    if !group.is_empty() {
        details["group"] = json!(group);
    }
    details
}
