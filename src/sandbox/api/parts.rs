//! Subresources: `status`, `scale`, `binding`, `eviction`, `finalize`, `token`, and those that lead to a node.

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::{answer::Answer, body, call::Call, exec, logs, objects, patch, proxy, tokens};
use crate::sandbox::{
    error::ApiError,
    kinds::{self, Kind},
    registry::{Part, WriteOptions},
};

/// Answers a request about a subresource.
pub(super) async fn answer(call: &mut Call<'_>) -> Result<Answer, ApiError> {
    let part = call.path.subresource.clone();
    let known = call.resource.subresources().into_iter().find(|known| known.name == part);
    let known = known.ok_or_else(ApiError::no_such_path)?;
    if call.path.name.is_empty() {
        return Err(ApiError::no_such_path());
    }
    let verb = super::route::verb(&call.method, &call.path, false);
    if !known.verbs.contains(&verb) {
        return Err(ApiError::method_not_allowed());
    }
    let kind = call.stored()?;
    match known.name {
        "status" => match call.method {
            Method::PUT => objects::update(call, Part::Status),
            Method::PATCH => patch::patch(call, Part::Status),
            _ => objects::get(call),
        },
        "finalize" => finalize(call),
        "scale" => scale(call, kind),
        "binding" => {
            let binding = body::object(&call.headers, &call.body)?;
            let status = bind(call, &binding)?;
            call.value(StatusCode::CREATED, &status)
        }
        "eviction" => {
            let eviction = body::object(&call.headers, &call.body)?;
            let status = evict(call, &eviction)?;
            call.value(StatusCode::CREATED, &status)
        }
        "token" => tokens::request(call),
        "log" => logs::answer(call).await,
        "exec" => exec::answer(call).await,
        "proxy" => proxy::answer(call).await,
        _ => Err(ApiError::no_such_path()),
    }
}

/// Takes finalizers off a namespace (k/pkg/registry/core/namespace/strategy.go, `namespaceFinalizeStrategy`).
fn finalize(call: &Call<'_>) -> Result<Answer, ApiError> {
    let body = body::object(&call.headers, &call.body)?;
    let finalizers = body["spec"]["finalizers"].clone();
    let options = call.write_options()?;
    let changed =
        call.api.registry.change(&kinds::NAMESPACE, "", &call.path.name, Part::Main, &options, |mut value| {
            value["spec"]["finalizers"] = if finalizers.is_null() { json!([]) } else { finalizers };
            Ok(value)
        })?;
    call.show(StatusCode::OK, &changed)
}

fn scale(call: &Call<'_>, kind: &'static Kind) -> Result<Answer, ApiError> {
    let scale = match call.method {
        Method::PUT => {
            let scale = body::object(&call.headers, &call.body)?;
            scale_update(call, kind, &scale, &call.write_options()?)?
        }
        Method::PATCH => {
            let patch = body::json(&call.body)?;
            if body::media_type(&call.headers) == "application/json-patch+json" {
                return Err(ApiError::not_in_the_sandbox("JSON patches of scale; send a merge patch"));
            }
            let mut scale = scale_get(call, kind)?;
            merge(&mut scale, patch);
            scale_update(call, kind, &scale, &call.write_options()?)?
        }
        _ => scale_get(call, kind)?,
    };
    call.value(StatusCode::OK, &scale)
}

/// Merges a patch as RFC 7386 says.
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let Some(fields) = target.as_object_mut() else { return };
    for (key, value) in patch {
        if value.is_null() {
            fields.shift_remove(&key);
        } else {
            // Bodies are read with a bound on how deep they go.
            merge(fields.entry(key).or_insert(Value::Null), value);
        }
    }
}

fn scale_get(_call: &Call<'_>, _kind: &'static Kind) -> Result<Value, ApiError> {
    Err(ApiError::not_in_the_sandbox("scale"))
}

fn scale_update(
    _call: &Call<'_>,
    _kind: &'static Kind,
    _scale: &Value,
    _options: &WriteOptions,
) -> Result<Value, ApiError> {
    Err(ApiError::not_in_the_sandbox("scale"))
}

fn bind(_call: &Call<'_>, _binding: &Value) -> Result<Value, ApiError> {
    Err(ApiError::not_in_the_sandbox("binding"))
}

fn evict(_call: &Call<'_>, _eviction: &Value) -> Result<Value, ApiError> {
    Err(ApiError::not_in_the_sandbox("eviction"))
}
