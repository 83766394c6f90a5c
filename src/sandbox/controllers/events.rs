//! Events that controllers record about objects, counted up where they repeat (client-go/tools/record).

use serde_json::{Value, json};

use crate::sandbox::{
    kinds, names,
    registry::{Form, Part, Registry, WriteOptions},
    store::Object,
};

/// What kind of event it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// `Normal`.
    Normal,
    /// `Warning`.
    Warning,
}

/// Records an event about an object; `component` is who says so, such as `deployment-controller`. Events are a help to
/// people: one that cannot be written is dropped.
pub fn record(registry: &Registry, about: &Object, severity: Severity, component: &str, reason: &str, message: &str) {
    let involved = json!({
        "kind": about.kind.kind,
        "namespace": about.namespace,
        "name": about.name,
        "uid": about.uid,
        "apiVersion": about.kind.api_version(),
        "resourceVersion": about.version.to_string(),
    });
    record_about(registry, &involved, severity, component, reason, message);
}

/// The same about an object by its reference (`involvedObject`).
pub fn record_about(
    registry: &Registry,
    involved: &Value,
    severity: Severity,
    component: &str,
    reason: &str,
    message: &str,
) {
    let namespace = involved["namespace"].as_str().filter(|name| !name.is_empty()).unwrap_or("default");
    let name = involved["name"].as_str().unwrap_or_default();
    let kind = match severity {
        Severity::Normal => "Normal",
        Severity::Warning => "Warning",
    };
    // The same text about the same object is the same event.
    let digest = names::digest(&format!("{namespace}{}{component}{kind}{reason}{message}", involved["uid"]));
    let now = names::now_seconds();
    if let Some(known) = registry.event_names.of(&digest) {
        let options = WriteOptions::default();
        let again = registry.change(&kinds::EVENT, namespace, &known, Part::Main, &options, |mut event| {
            event["count"] = json!(event["count"].as_i64().unwrap_or(1) + 1);
            event["lastTimestamp"] = json!(now);
            Ok(event)
        });
        if again.is_ok() {
            return;
        }
    }
    let event_name = registry.event_names.fresh(&digest, name);
    let event = json!({
        "metadata": {"name": event_name, "namespace": namespace},
        "involvedObject": involved,
        "reason": reason,
        "message": message,
        "source": {"component": component},
        "reportingComponent": component,
        "reportingInstance": "",
        "firstTimestamp": now,
        "lastTimestamp": now,
        "eventTime": null,
        "count": 1,
        "type": kind,
    });
    // Everything in it is from here, so it need not be read first.
    let made = registry.create_in(&kinds::EVENT, namespace, event, Form::Typed, &WriteOptions::default());
    if let Err(error) = made {
        tracing::debug!(%error, "an event was not recorded");
    }
}
