//! Subresources: `status`, `scale`, `binding`, `eviction`, `finalize`, `token`, and those that lead to a node.

use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::{
    answer::Answer, body, call::Call, exec, logs, negotiate::Shape, objects, proxy, show::Include, table, tokens,
};
use crate::sandbox::{
    error::ApiError,
    kinds::{self, Kind},
    registry::{
        Part,
        patch::{self, PatchKind},
    },
};

/// Answers a request about a subresource.
pub(super) async fn answer(call: &mut Call<'_>) -> Result<Answer, ApiError> {
    let part = call.path.subresource.clone();
    let known = call.resource.subresources().into_iter().find(|known| known.name == part);
    let Some(known) = known else { return Err(unserved(call, &part)) };
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
            Method::PATCH => super::patch::patch(call, Part::Status),
            _ => objects::get(call),
        },
        "finalize" => finalize(call),
        "scale" => scale(call, kind),
        "binding" => {
            let binding = body::object(&call.headers, &call.body)?;
            let status = call.api.registry.bind(&call.path.namespace, &call.path.name, &binding)?;
            call.value(StatusCode::CREATED, &status)
        }
        "eviction" => {
            let eviction = body::object(&call.headers, &call.body)?;
            let dry_run = call.query.dry_run("CreateOptions")?;
            race_for_the_budget(call).await;
            let status = call.api.registry.evict(&call.path.namespace, &call.path.name, &eviction, dry_run)?;
            call.value(StatusCode::CREATED, &status)
        }
        "token" => tokens::request(call),
        "log" => logs::answer(call).await,
        "exec" => exec::answer(call).await,
        "proxy" => proxy::answer(call).await,
        _ => Err(ApiError::no_such_path()),
    }
}

/// What a real pod has and one of the sandbox has not, with what to use instead.
const UNSERVED_PARTS: [(&str, &str); 4] = [
    ("attach", "attach; use logs or exec"),
    ("ephemeralcontainers", "ephemeral containers (kubectl debug); use exec"),
    ("portforward", "port-forward; connect to the pod's own address, or to a NodePort"),
    ("resize", "the resizing of pods; make a new pod"),
];

/// Why a subresource is not there: whoever uses one that a real cluster has is told that it is not the pod's doing.
fn unserved(call: &Call<'_>, part: &str) -> ApiError {
    let of_pods = call.resource.group.is_empty() && call.resource.plural == "pods";
    let Some((_, what)) = UNSERVED_PARTS.iter().find(|(name, _)| of_pods && *name == part) else {
        return ApiError::no_such_path();
    };
    match call.api.registry.get(&kinds::POD, &call.path.namespace, &call.path.name) {
        Ok(_) => ApiError::not_in_the_sandbox(what),
        Err(missing) => missing,
    }
}

/// How often an eviction whose write of the budget was in conflict is tried again, and after how long
/// (k/pkg/registry/core/pod/storage/eviction.go, `EvictionsRetry`: jitter 0.1).
const EVICTION_TRIES: usize = 20;
const EVICTION_RETRY: Duration = Duration::from_millis(500);
const EVICTION_JITTER_MS: usize = 50;

/// Of two evictions at the same moment that count against the same budget, both have read it before either has written
/// it: the second is told of a conflict, and tries again half a second later.
async fn race_for_the_budget(call: &Call<'_>) {
    let Some(pace) = &call.api.pace else { return };
    let version = || call.api.registry.budget_version(&call.path.namespace, &call.path.name);
    for _ in 0..EVICTION_TRIES {
        let read = version();
        pace.wait().await;
        if version() == read {
            return;
        }
        let jitter = Duration::from_millis(pace.chance.below(EVICTION_JITTER_MS) as u64);
        tokio::time::sleep(EVICTION_RETRY + jitter).await;
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
    let registry = &call.api.registry;
    let (namespace, name) = (&call.path.namespace, &call.path.name);
    let options = call.write_options()?;
    let scale = match call.method {
        Method::PUT => {
            let scale = body::object(&call.headers, &call.body)?;
            registry.set_scale(kind, namespace, name, &scale, &options)?
        }
        Method::PATCH => {
            let mut scale = registry.scale(kind, namespace, name)?;
            match PatchKind::from_content_type(&body::media_type(&call.headers), false)? {
                PatchKind::Json => scale = patch::json::apply(scale, &patch::json::parse(&call.body)?)?,
                PatchKind::Merge | PatchKind::Strategic => {
                    if let Value::Object(changes) = body::json(&call.body)? {
                        patch::merge::apply(&mut scale, &changes);
                    }
                }
                PatchKind::Apply { .. } => {
                    return Err(ApiError::not_in_the_sandbox("apply on scale; send a merge patch"));
                }
            }
            registry.set_scale(kind, namespace, name, &scale, &options)?
        }
        _ => registry.scale(kind, namespace, name)?,
    };
    match call.wanted()?.shape {
        Shape::Table(version) => {
            let include = Include::of(call.query.get("includeObject"))?;
            call.value(StatusCode::OK, &table::of_scale(scale, version, include))
        }
        _ => call.value(StatusCode::OK, &scale),
    }
}
