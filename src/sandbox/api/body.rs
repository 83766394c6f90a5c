//! Bodies of requests: read within a bound, as JSON, YAML or protobuf, and held against the kind's fields as
//! `fieldValidation` asks (apiserver/pkg/endpoints/handlers/{rest,create}.go, v0.34.4).

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::{HeaderMap, header::CONTENT_TYPE};
use serde_json::Value;

use super::{answer::ApiBody, duplicates, protobuf, query::Query};
use crate::sandbox::{
    error::{ApiError, FieldError},
    kinds::Kind,
    registry::{patch, validate},
};

/// The longest body that is read, as upstream's (`MaxRequestBodyBytes`).
const BODY_MAX: usize = 3 * 1024 * 1024;

/// Warnings of one answer; more would not fit into its head.
const WARNINGS_MAX: usize = 32;

/// How long a client may take to send a body: upstream's `--request-timeout`. One that stops in the middle of it would
/// otherwise hold its connection for ever.
const BODY_WITHIN: Duration = Duration::from_secs(60);

/// Reads a whole body.
///
/// # Errors
/// 413 where it is too long, 400 where it breaks off, 504 where it does not come to its end.
pub(super) async fn read(body: ApiBody) -> Result<Bytes, ApiError> {
    tokio::time::timeout(BODY_WITHIN, read_all(body)).await.unwrap_or_else(|_| {
        Err(ApiError::timeout(format!(
            "Timeout: request did not complete within requested timeout - its body did not end within {} s",
            BODY_WITHIN.as_secs()
        )))
    })
}

async fn read_all(mut body: ApiBody) -> Result<Bytes, ApiError> {
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| ApiError::bad_request(format!("the body broke off: {error}")))?;
        let Some(piece) = frame.data_ref() else { continue };
        if read.len() + piece.len() > BODY_MAX {
            return Err(ApiError {
                code: 413,
                reason: "RequestEntityTooLarge",
                message: format!("Request entity too large: limit is {BODY_MAX}"),
                details: serde_json::json!({}),
            });
        }
        read.extend_from_slice(piece);
    }
    Ok(read.freeze())
}

/// The media type of a body, without its parameters and in small letters.
pub(super) fn media_type(headers: &HeaderMap) -> String {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Reads an object.
///
/// # Errors
/// 415 for other media types, 400 for what is not of its type.
pub(super) fn object(headers: &HeaderMap, bytes: &[u8]) -> Result<Value, ApiError> {
    match media_type(headers).as_str() {
        "" | "application/json" => json(bytes),
        "application/yaml" => yaml(bytes),
        protobuf::MEDIA_TYPE => protobuf::object(bytes),
        _ => Err(ApiError::unsupported_media_type(
            "the body of the request was in an unknown format - accepted media types include: application/json, \
             application/yaml, application/vnd.kubernetes.protobuf",
        )),
    }
}

/// Reads JSON.
pub(super) fn json(bytes: &[u8]) -> Result<Value, ApiError> {
    let parsed: Result<Value, _> = serde_json::from_slice(bytes);
    let value = parsed
        .map_err(|error| ApiError::bad_request(format!("couldn't get version/kind; json parse error: {error}")))?;
    if value.is_object() {
        return Ok(value);
    }
    Err(ApiError::bad_request("the object provided is unrecognized (must be of type Object)"))
}

/// Reads YAML.
pub(super) fn yaml(bytes: &[u8]) -> Result<Value, ApiError> {
    let wrong = |why: String| ApiError::bad_request(format!("error decoding YAML: {why}"));
    let text = std::str::from_utf8(bytes).map_err(|error| wrong(error.to_string()))?;
    let value = patch::last_wins(text).map_err(|error| wrong(error.to_string()))?;
    if value.is_object() {
        return Ok(value);
    }
    Err(ApiError::bad_request("the object provided is unrecognized (must be of type Object)"))
}

/// What is done about fields that a kind does not have (`fieldValidation`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FieldValidation {
    /// Nothing.
    Ignore,
    /// The client is warned.
    Warn,
    /// The request is refused.
    Strict,
}

impl FieldValidation {
    /// Reads the query; a client that says nothing is warned. `options` is the kind of the request's options.
    ///
    /// # Errors
    /// 422 for any other word.
    pub(super) fn of(query: &Query, options: &str) -> Result<Self, ApiError> {
        match query.get("fieldValidation") {
            None | Some("Warn") => Ok(Self::Warn),
            Some("Ignore") => Ok(Self::Ignore),
            Some("Strict") => Ok(Self::Strict),
            Some(other) => {
                let known = ["", "Ignore", "Strict", "Warn"];
                let value = serde_json::json!(other);
                let error = FieldError::not_supported("fieldValidation", &value, &known);
                Err(ApiError::invalid("meta.k8s.io", options, "", &[error]))
            }
        }
    }

    /// Deals with what a whole object's kind does not have, and with what its text has twice: returns the warnings.
    ///
    /// # Errors
    /// 400 where there is something and it is not to be.
    pub(super) fn check(self, kind: &Kind, value: &Value, twice: Vec<String>) -> Result<Vec<String>, ApiError> {
        self.deal_with(kind, value, twice, |why| {
            ApiError::bad_request(format!(
                "{0} in version {1:?} cannot be handled as a {0}: {why}",
                kind.kind, kind.version
            ))
        })
    }

    /// The same for what a patch has made: the fields of `value`, and what the patch itself has twice
    /// (apiserver/pkg/endpoints/handlers/patch.go `applyPatchToCurrentObject`).
    ///
    /// # Errors
    /// 422 with the patch where there is something and it is not to be.
    pub(super) fn check_patched(
        self,
        kind: &Kind,
        value: &Value,
        twice: Vec<String>,
        shown: &Value,
    ) -> Result<Vec<String>, ApiError> {
        self.deal_with(kind, value, twice, |why| {
            let shown = Value::from(shown.to_string());
            ApiError::invalid("", "", "", &[FieldError::invalid("patch", &shown, why)])
        })
    }

    fn deal_with(
        self,
        kind: &Kind,
        value: &Value,
        twice: Vec<String>,
        refusal: impl FnOnce(String) -> ApiError,
    ) -> Result<Vec<String>, ApiError> {
        if self == Self::Ignore {
            return Ok(Vec::new());
        }
        let unknown = validate::unknown_fields(kind, value)
            .into_iter()
            .filter(|field| !is_directive(field))
            .map(|field| format!("unknown field {field:?}"));
        let mut all: Vec<String> = twice.into_iter().chain(unknown).collect();
        if self == Self::Strict && !all.is_empty() {
            return Err(refusal(format!("strict decoding error: {}", all.join(", "))));
        }
        all.truncate(WARNINGS_MAX);
        Ok(all)
    }
}

/// What is twice in the text of an object, in the words of the reader of its media type.
pub(super) fn twice(headers: &HeaderMap, bytes: &[u8]) -> Vec<String> {
    match media_type(headers).as_str() {
        "application/yaml" => twice_in_yaml(bytes).into_iter().collect(),
        protobuf::MEDIA_TYPE => Vec::new(),
        _ => twice_in_json(bytes),
    }
}

/// The same of JSON.
pub(super) fn twice_in_json(bytes: &[u8]) -> Vec<String> {
    duplicates::in_json(bytes).into_iter().map(|path| format!("duplicate field {path:?}")).collect()
}

/// The same of YAML, which has one message for all.
pub(super) fn twice_in_yaml(bytes: &[u8]) -> Option<String> {
    duplicates::yaml_words(&duplicates::in_yaml(std::str::from_utf8(bytes).ok()?))
}

/// Whether a field tells how to merge (`$patch`, `$setElementOrder/containers`), so that no kind has it.
fn is_directive(field: &str) -> bool {
    field.split('.').any(|part| part.starts_with('$'))
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;
    use serde_json::json;

    use super::*;

    fn of_type(media_type: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, media_type.parse().unwrap());
        headers
    }

    #[tokio::test]
    async fn a_body_beyond_the_bound_is_refused() {
        let body =
            |size: usize| Full::new(Bytes::from(vec![b'x'; size])).map_err(|never| match never {}).boxed_unsync();
        assert_eq!(read(body(BODY_MAX)).await.unwrap().len(), BODY_MAX);
        assert_eq!(read(body(BODY_MAX + 1)).await.unwrap_err().code, 413);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_given_up() {
        use futures::StreamExt;
        let first = futures::stream::iter([Ok(hyper::body::Frame::data(Bytes::from("{")))]);
        let body = http_body_util::StreamBody::new(first.chain(futures::stream::pending()));
        let began = tokio::time::Instant::now();
        let refused = read(body.boxed_unsync()).await.unwrap_err();
        assert_eq!((refused.code, refused.reason, began.elapsed()), (504, "Timeout", BODY_WITHIN));
    }

    #[test]
    fn objects_are_read_from_json_and_yaml() {
        let expected = json!({"kind": "Pod", "spec": {"containers": []}});
        assert_eq!(
            object(&of_type("application/json; charset=utf-8"), expected.to_string().as_bytes()).unwrap(),
            expected
        );
        assert_eq!(object(&of_type("application/yaml"), b"kind: Pod\nspec:\n  containers: []\n").unwrap(), expected);
        assert_eq!(object(&of_type("application/json"), b"[]").unwrap_err().code, 400);
        assert_eq!(object(&of_type("application/json"), b"{").unwrap_err().code, 400);
        assert_eq!(object(&of_type("application/yaml"), b"a: [").unwrap_err().code, 400);
        assert_eq!(object(&of_type("application/vnd.kubernetes.protobuf"), b"k8s").unwrap_err().code, 400);
        // The default of curl, and what a client might send that does not say.
        for other in ["application/cbor", "text/plain", "*/*", "text/yaml", "application/x-www-form-urlencoded"] {
            assert_eq!(object(&of_type(other), b"{}").unwrap_err().code, 415, "{other}");
        }
        assert_eq!(object(&of_type("Application/JSON"), b"{}").unwrap(), json!({}));
        assert_eq!(object(&HeaderMap::new(), b"{}").unwrap(), json!({}));
        // The last of two wins, in both.
        assert_eq!(object(&of_type("application/json"), br#"{"a": 1, "a": 2}"#).unwrap(), json!({"a": 2}));
        assert_eq!(object(&of_type("application/yaml"), b"a: 1\na: 2\n").unwrap(), json!({"a": 2}));
    }
}
