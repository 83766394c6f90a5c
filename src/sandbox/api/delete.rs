//! Deletions: the options from body and query, one object or many, and what is answered
//! (apiserver/pkg/endpoints/handlers/delete.go, apiserver/pkg/registry/generic/registry/store.go, v0.34.4).

use std::sync::Arc;

use hyper::StatusCode;
use serde_json::{Value, json};

use super::{
    answer::Answer,
    body,
    call::Call,
    catalogue,
    list::{self, Page},
    objects::{kind_to_write, selection, with_warnings},
    query::{self, Query},
    show::{self, Include},
};
use crate::sandbox::{
    error::{ApiError, FieldError},
    kinds::Kind,
    registry::{DeleteOptions, Propagation, delete_options::Stated, deletion::Deleted},
    store::Object,
};

/// Kinds whose deletion answers with the object even when it is gone (`ReturnDeletedObject` of their stores).
const ANSWERED_WITH_OBJECT: [&str; 4] = ["persistentvolumeclaims", "pods", "serviceaccounts", "services"];

/// What a client hears who deletes a Job and does not say what is to become of its pods.
const PODS_STAY: &str = "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to \
                         remove them or set propagationPolicy=Orphan to suppress this warning";

/// The options of a deletion and what there is to say about them.
struct Asked {
    options: DeleteOptions,
    /// The client said what is to become of dependents, and it takes time.
    waits_for_dependents: bool,
    warnings: Vec<String>,
}

/// Deletes one object.
pub(super) fn one(call: &Call<'_>) -> Result<Answer, ApiError> {
    let kind = kind_to_write(call)?;
    let asked = asked(call, kind)?;
    let deleted = call.api.registry.delete(kind, &call.path.namespace, &call.path.name, &asked.options)?;
    let answer = match &deleted {
        Deleted::Waiting(object) => {
            let status = if asked.waits_for_dependents { StatusCode::ACCEPTED } else { StatusCode::OK };
            call.show(status, object)?
        }
        Deleted::Gone(object) if ANSWERED_WITH_OBJECT.contains(&kind.plural) => call.show(StatusCode::OK, object)?,
        Deleted::Gone(object) => call.value(StatusCode::OK, &gone(call, object))?,
    };
    Ok(with_warnings(answer, &asked.warnings))
}

fn gone(call: &Call<'_>, object: &Object) -> Value {
    let mut details = json!({"name": object.name, "kind": call.resource.plural, "uid": object.uid});
    if !call.resource.group.is_empty() {
        details["group"] = json!(call.resource.group);
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

/// Deletes all objects that are selected; answers with them as they were.
pub(super) fn collection(call: &Call<'_>) -> Result<Answer, ApiError> {
    let kind = kind_to_write(call)?;
    if kind.kind == "Namespace" || (kind.namespaced && call.path.namespace.is_empty()) {
        return Err(ApiError::method_not_allowed());
    }
    let asked = asked(call, kind)?;
    let wanted = call.wanted()?;
    let page = list::list(call.api.registry.store(), Some(kind), &selection(call)?, &call.query)?;
    let mut deleted: Vec<Arc<Object>> = Vec::with_capacity(page.objects.len());
    for object in &page.objects {
        match call.api.registry.delete(kind, &object.namespace, &object.name, &asked.options) {
            Ok(done) => deleted.push(Arc::clone(done.object())),
            // Somebody else was faster.
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    let page = Page { objects: deleted, ..page };
    Ok(with_warnings(show::list(wanted, Include::Metadata, call.resource, page), &asked.warnings))
}

fn asked(call: &Call<'_>, kind: &Kind) -> Result<Asked, ApiError> {
    let body = if call.body.is_empty() { from_query(&call.query)? } else { options_in_body(call)? };
    let stated = Stated::read(&body, "").map_err(ApiError::bad_request)?;
    let of_body = stated.dry_run.iter().map(String::as_str);
    let dry_run = query::dry_run(of_body, "DeleteOptions")? | call.query.dry_run("DeleteOptions")?;
    check_propagation(&stated)?;
    let mut warnings = Vec::new();
    let propagation = stated.propagation().unwrap_or_else(|| {
        if kind.kind == "Job" {
            warnings.push(PODS_STAY.to_owned());
            Propagation::Orphan
        } else {
            Propagation::Background
        }
    });
    let waits_for_dependents =
        stated.orphan_dependents == Some(false) || stated.propagation() == Some(Propagation::Foreground);
    let options = DeleteOptions {
        grace_seconds: stated.grace_seconds,
        uid: stated.uid,
        resource_version: stated.resource_version,
        propagation,
        dry_run,
    };
    Ok(Asked { options, waits_for_dependents, warnings })
}

/// Reads the body, which may say that it is `DeleteOptions` of any group, for older clients.
fn options_in_body(call: &Call<'_>) -> Result<Value, ApiError> {
    let body = body::object(&call.headers, &call.body)?;
    let text = |key: &str| match &body[key] {
        Value::Null => Some(""),
        value => value.as_str(),
    };
    let of_known_group = |stated: &str| {
        matches!(stated, "" | "meta.k8s.io/v1")
            || catalogue::all().iter().any(|resource| resource.api_version() == stated)
    };
    if matches!(text("kind"), Some("" | "DeleteOptions")) && text("apiVersion").is_some_and(of_known_group) {
        return Ok(body);
    }
    Err(ApiError::bad_request("decoded object cannot be converted to DeleteOptions"))
}

/// The options that a client may write into the URL when it sends no body.
fn from_query(query: &Query) -> Result<Value, ApiError> {
    let mut options = json!({});
    if let Some(seconds) = query.number("gracePeriodSeconds")? {
        options["gracePeriodSeconds"] = json!(seconds);
    }
    if let Some(policy) = query.get("propagationPolicy") {
        options["propagationPolicy"] = json!(policy);
    }
    if query.get("orphanDependents").is_some() {
        options["orphanDependents"] = json!(query.flag("orphanDependents"));
    }
    Ok(options)
}

/// apimachinery/pkg/apis/meta/v1/validation, `ValidateDeleteOptions`.
fn check_propagation(stated: &Stated) -> Result<(), ApiError> {
    let refuse = |error: FieldError| Err(ApiError::invalid("meta.k8s.io", "DeleteOptions", "", &[error]));
    match (stated.orphan_dependents, stated.propagation_policy.as_deref()) {
        (Some(_), Some(policy)) => {
            let why = "orphanDependents and deletionPropagation cannot be both set";
            refuse(FieldError::invalid("propagationPolicy", &json!(policy), why))
        }
        (None, Some(other)) if stated.propagation().is_none() => {
            let known = ["Background", "Foreground", "Orphan"];
            refuse(FieldError::not_supported("propagationPolicy", &json!(other), &known))
        }
        _ => Ok(()),
    }
}
