//! Deletions: the options from body and query, one object or many, and what is answered
//! (apiserver/pkg/endpoints/handlers/delete.go, apiserver/pkg/registry/generic/registry/store.go, v0.34.4).

use std::sync::Arc;

use hyper::StatusCode;
use serde_json::{Value, json};

use super::{
    answer::Answer,
    body,
    call::Call,
    list::{self, Page},
    objects::{kind_to_write, selection, with_warnings},
    query::{self, Query},
    show::{self, Include},
};
use crate::sandbox::{
    error::{ApiError, FieldError},
    kinds::Kind,
    registry::{DeleteOptions, Propagation, deletion::Deleted},
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
    let body = if call.body.is_empty() { from_query(&call.query)? } else { body::object(&call.headers, &call.body)? };
    let of_body = body["dryRun"].as_array().into_iter().flatten().map(|value| value.as_str().unwrap_or_default());
    let dry_run = query::dry_run(of_body)? | call.query.dry_run()?;
    let stated = propagation(&body)?;
    let mut warnings = Vec::new();
    let propagation = stated.unwrap_or_else(|| {
        if kind.kind == "Job" {
            warnings.push(PODS_STAY.to_owned());
            Propagation::Orphan
        } else {
            Propagation::Background
        }
    });
    let text = |key: &str| body["preconditions"][key].as_str().map(str::to_owned);
    let waits_for_dependents = body["orphanDependents"] == false || stated == Some(Propagation::Foreground);
    let options = DeleteOptions {
        grace_seconds: body["gracePeriodSeconds"].as_i64(),
        uid: text("uid"),
        resource_version: text("resourceVersion"),
        propagation,
        dry_run,
    };
    Ok(Asked { options, waits_for_dependents, warnings })
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
fn propagation(options: &Value) -> Result<Option<Propagation>, ApiError> {
    let refuse = |error: FieldError| Err(ApiError::invalid("meta.k8s.io", "DeleteOptions", "", &[error]));
    let orphan = options["orphanDependents"].as_bool();
    let policy = options["propagationPolicy"].as_str();
    match (orphan, policy) {
        (Some(_), Some(policy)) => {
            let why = "orphanDependents and deletionPropagation cannot be both set";
            refuse(FieldError::invalid("propagationPolicy", &json!(policy), why))
        }
        (Some(true), None) | (None, Some("Orphan")) => Ok(Some(Propagation::Orphan)),
        (Some(false), None) | (None, Some("Background")) => Ok(Some(Propagation::Background)),
        (None, Some("Foreground")) => Ok(Some(Propagation::Foreground)),
        (None, Some(other)) => {
            let known = ["Background", "Foreground", "Orphan"];
            refuse(FieldError::not_supported("propagationPolicy", &json!(other), &known))
        }
        (None, None) => Ok(None),
    }
}
