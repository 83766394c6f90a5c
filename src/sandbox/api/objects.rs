//! The verbs on objects: get, list, watch, create, update, patch (apiserver/pkg/endpoints/handlers, v0.34.4).

use std::sync::Arc;

use hyper::{Method, StatusCode};
use serde_json::Value;

use super::{
    answer::{self, Answer},
    autoscalers_view,
    body::{self, FieldValidation},
    call::Call,
    catalogue::Backing,
    delete, events_view, list, patch,
    selection::Selection,
    show::{self, Include},
    watch,
};
use crate::sandbox::{error::ApiError, kinds::Kind, registry::Part, store::Object};

/// Kinds whose objects an update creates where there are none (`AllowCreateOnUpdate` of their strategies).
const CREATED_BY_UPDATE: [&str; 4] = ["endpoints", "events", "leases", "services"];

/// What every answer about Endpoints says (k/staging/src/k8s.io/api/core/v1, lifecycle of `Endpoints`).
const ENDPOINTS_ARE_OLD: &str = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice";

/// Answers a request about objects, without a subresource.
pub(super) fn answer(call: &Call<'_>) -> Result<Answer, ApiError> {
    let answer = by_verb(call)?;
    let old = call.resource.group.is_empty() && call.resource.plural == "endpoints";
    Ok(if old { with_warnings(answer, &[ENDPOINTS_ARE_OLD.to_owned()]) } else { answer })
}

fn by_verb(call: &Call<'_>) -> Result<Answer, ApiError> {
    let one = !call.path.name.is_empty();
    match call.method {
        Method::GET | Method::HEAD if one && call.query.flag("watch") => watch_objects(call),
        Method::GET | Method::HEAD if one => get(call),
        Method::GET | Method::HEAD if call.query.flag("watch") => watch_objects(call),
        Method::GET | Method::HEAD => list_objects(call),
        Method::POST if !one => create(call),
        Method::PUT if one => update(call, Part::Main),
        Method::PATCH if one => patch::patch(call, Part::Main),
        Method::DELETE if one => delete::one(call),
        Method::DELETE => delete::collection(call),
        _ => Err(ApiError::method_not_allowed()),
    }
}

/// The kind behind a resource that is stored under its own or another name.
pub(super) fn kind_behind(call: &Call<'_>) -> Option<&'static Kind> {
    call.resource.behind()
}

/// The same for a write.
///
/// # Errors
/// 501 for kinds of which there can be none.
pub(super) fn kind_to_write(call: &Call<'_>) -> Result<&'static Kind, ApiError> {
    let resource = call.resource;
    kind_behind(call).ok_or_else(|| {
        ApiError::not_in_the_sandbox(format_args!("objects of kind {} ({})", resource.kind, resource.api_version()))
    })
}

/// One object.
pub(super) fn get(call: &Call<'_>) -> Result<Answer, ApiError> {
    let kind = kind_behind(call).ok_or_else(|| call.not_found())?;
    let object = call.api.registry.get(kind, &call.path.namespace, &call.path.name)?;
    call.show(StatusCode::OK, &object)
}

/// The objects that a list, a watch or a deletion is about.
pub(super) fn selection(call: &Call<'_>) -> Result<Selection, ApiError> {
    Selection::of(&call.query, call.resource.group, call.resource.plural, &call.path.namespace)
}

fn list_objects(call: &Call<'_>) -> Result<Answer, ApiError> {
    let wanted = call.wanted()?;
    let include = Include::of(call.query.get("includeObject"))?;
    let page = list::list(call.api.registry.store(), kind_behind(call), &selection(call)?, &call.query)?;
    Ok(show::list(wanted, include, call.resource, page))
}

fn watch_objects(call: &Call<'_>) -> Result<Answer, ApiError> {
    let mut selection = selection(call)?;
    if !call.path.name.is_empty() {
        selection.require_name(&call.path.name);
    }
    watch::watch(call.api.registry.store(), call.resource, selection, call.wanted()?, &call.query)
}

fn create(call: &Call<'_>) -> Result<Answer, ApiError> {
    let kind = kind_to_write(call)?;
    let validation = FieldValidation::of(&call.query, call.options_kind())?;
    let options = call.write_options()?;
    let (value, warnings) = read_object(call, kind, validation)?;
    let object = call.api.registry.create(kind, &call.path.namespace, value, &options)?;
    let warnings = [warnings, not_carried(&object)].concat();
    Ok(with_warnings(call.show(StatusCode::CREATED, &object)?, &warnings))
}

/// Replaces an object or its status.
pub(super) fn update(call: &Call<'_>, part: Part) -> Result<Answer, ApiError> {
    let kind = kind_to_write(call)?;
    let validation = FieldValidation::of(&call.query, call.options_kind())?;
    let options = call.write_options()?;
    let (value, warnings) = read_object(call, kind, validation)?;
    let registry = &call.api.registry;
    let (namespace, name) = (&call.path.namespace, &call.path.name);
    check_name(&value, name)?;
    let may_create = part == Part::Main
        && CREATED_BY_UPDATE.contains(&kind.plural)
        && value["metadata"]["resourceVersion"].as_str().unwrap_or_default().is_empty()
        && registry.store().get(kind, namespace, name).is_none();
    let (status, object): (_, Arc<Object>) = if may_create {
        (StatusCode::CREATED, registry.create(kind, namespace, value, &options)?)
    } else {
        (StatusCode::OK, registry.update(kind, namespace, name, part, value, &options)?)
    };
    let warnings = [warnings, not_carried(&object)].concat();
    Ok(with_warnings(call.show(status, &object)?, &warnings))
}

/// The name in a body must be there and the one in the URL (apiserver/pkg/endpoints/handlers/rest.go,
/// `checkName`).
fn check_name(value: &Value, name: &str) -> Result<(), ApiError> {
    match value["metadata"]["name"].as_str() {
        Some(stated) if stated == name => Ok(()),
        None | Some("") => Err(ApiError::bad_request(
            "name must be provided on the object to be updated (metadata.name: Required value: name is required)",
        )),
        Some(stated) => Err(ApiError::bad_request(format!(
            "the name of the object ({stated}) does not match the name on the URL ({name})"
        ))),
    }
}

/// Reads the body as an object of a kind, and tells what it has that the kind has not.
fn read_object(call: &Call<'_>, kind: &Kind, validation: FieldValidation) -> Result<(Value, Vec<String>), ApiError> {
    let value = body::object(&call.headers, &call.body)?;
    let mut noticed = match validation {
        FieldValidation::Ignore => Vec::new(),
        _ => body::twice(&call.headers, &call.body),
    };
    let value = match call.resource.backing {
        Backing::EventsView => events_view::to_core(value),
        Backing::AutoscalersView => {
            noticed.extend(autoscalers_view::unknown(&value));
            let before = call.api.registry.store().get(kind, &call.path.namespace, &call.path.name);
            autoscalers_view::to_v2(value, before.map(|before| before.value()).as_ref())?
        }
        _ => value,
    };
    let warnings = validation.check(kind, &value, noticed)?;
    Ok((value, warnings))
}

/// What to tell whoever writes a Service with ports that nothing here listens on.
pub(super) fn not_carried(object: &Object) -> Vec<String> {
    if object.kind.kind != "Service" {
        return Vec::new();
    }
    let value = object.value();
    let ports = value["spec"]["ports"].as_array().into_iter().flatten().enumerate();
    ports
        .filter_map(|(at, port)| {
            let protocol = port["protocol"].as_str().filter(|protocol| *protocol != "TCP")?;
            Some(format!(
                "spec.ports[{at}]: the evenkeel sandbox does not carry {protocol}; see docs/sandbox-fidelity.md"
            ))
        })
        .collect()
}

/// An answer with warnings in its head.
pub(super) fn with_warnings(mut answer: Answer, warnings: &[String]) -> Answer {
    answer::warn(answer.headers_mut(), warnings);
    answer
}
