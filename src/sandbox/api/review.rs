//! Reviews: who one is and what one may do (k/pkg/registry/authorization, k/pkg/registry/authentication, v1.34.4).

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::{answer::Answer, body, call::Call, catalogue::Backing, rights::Deed};
use crate::sandbox::{
    error::{ApiError, FieldError},
    store::text_at,
};

/// Answers a review.
pub(super) fn answer(call: &Call<'_>) -> Result<Answer, ApiError> {
    if call.method != Method::POST || !call.path.name.is_empty() {
        return Err(ApiError::method_not_allowed());
    }
    let mut review = body::object(&call.headers, &call.body)?;
    review["kind"] = json!(call.resource.kind);
    review["apiVersion"] = json!(call.resource.api_version());
    if !review["metadata"].is_object() {
        review["metadata"] = json!({});
    }
    review["status"] = match call.resource.backing {
        Backing::SelfReview => json!({"userInfo": {"username": call.caller.name, "groups": call.caller.groups}}),
        Backing::RulesReview => rules(call.api.rights.are_full()),
        _ => access(call, &review)?,
    };
    call.value(StatusCode::CREATED, &review)
}

fn access(call: &Call<'_>, review: &Value) -> Result<Value, ApiError> {
    let spec = &review["spec"];
    let asked = &spec["resourceAttributes"];
    let of_path = &spec["nonResourceAttributes"];
    if asked.is_null() == of_path.is_null() {
        let why = if asked.is_null() {
            "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        } else {
            "cannot be specified in combination with resourceAttributes"
        };
        let error = FieldError::invalid("spec.resourceAttributes", asked, why);
        return Err(ApiError::invalid(call.resource.group, call.resource.kind, "", &[error]));
    }
    if asked.is_null() {
        return Ok(json!({"allowed": true}));
    }
    let text = |key: &str| text_at(asked, key);
    let (verb, group, resource) = (text("verb"), text("group"), text("resource"));
    let (subresource, namespace, name) = (text("subresource"), text("namespace"), text("name"));
    let deed = Deed {
        verb: &verb,
        group: &group,
        resource: &resource,
        subresource: &subresource,
        namespace: &namespace,
        name: &name,
    };
    Ok(if call.api.rights.allow(&deed) { json!({"allowed": true}) } else { json!({"allowed": false}) })
}

/// Everything is allowed. Rules cannot say what is not, so where something isn't the list is not complete.
fn rules(complete: bool) -> Value {
    json!({
        "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
        "incomplete": !complete,
    })
}
