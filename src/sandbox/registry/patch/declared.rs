//! Whether an applied configuration has only fields that its type declares: apply refuses others, because it could not
//! own them (structured-merge-diff/typed/validate.go, v6.3.0).

use k8s_openapi::api::{apps, autoscaling, batch, coordination, core, discovery, policy};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    field_set::{Element, path_text},
    schema::{At, Form},
};
use crate::sandbox::kinds::Kind;

/// Checks a configuration.
///
/// # Errors
/// The first field that its type doesn't have. A value of the wrong type is left to the registry, which refuses it with
/// the words that every write gets.
pub fn check(kind: &Kind, config: &Value) -> Result<(), String> {
    match known_part(kind, config) {
        Some(known) => compare(At::root(kind), config, &known, &mut Vec::new()),
        None => Ok(()),
    }
}

/// What is left of a value after it has been read as its type.
fn known_part(kind: &Kind, value: &Value) -> Option<Value> {
    match kind.kind {
        "ConfigMap" => through::<core::v1::ConfigMap>(value),
        "Endpoints" => through::<core::v1::Endpoints>(value),
        "Event" => through::<core::v1::Event>(value),
        "Namespace" => through::<core::v1::Namespace>(value),
        "Node" => through::<core::v1::Node>(value),
        "PersistentVolumeClaim" => through::<core::v1::PersistentVolumeClaim>(value),
        "Pod" => through::<core::v1::Pod>(value),
        "Secret" => through::<core::v1::Secret>(value),
        "ServiceAccount" => through::<core::v1::ServiceAccount>(value),
        "Service" => through::<core::v1::Service>(value),
        "ControllerRevision" => through::<apps::v1::ControllerRevision>(value),
        "DaemonSet" => through::<apps::v1::DaemonSet>(value),
        "Deployment" => through::<apps::v1::Deployment>(value),
        "ReplicaSet" => through::<apps::v1::ReplicaSet>(value),
        "StatefulSet" => through::<apps::v1::StatefulSet>(value),
        "HorizontalPodAutoscaler" => through::<autoscaling::v2::HorizontalPodAutoscaler>(value),
        "Job" => through::<batch::v1::Job>(value),
        "Lease" => through::<coordination::v1::Lease>(value),
        "EndpointSlice" => through::<discovery::v1::EndpointSlice>(value),
        "PodDisruptionBudget" => through::<policy::v1::PodDisruptionBudget>(value),
        _ => None,
    }
}

fn through<T: Serialize + DeserializeOwned>(value: &Value) -> Option<Value> {
    let typed: T = serde_json::from_value(value.clone()).ok()?;
    serde_json::to_value(typed).ok()
}

fn compare(at: At, value: &Value, known: &Value, path: &mut Vec<Element>) -> Result<(), String> {
    match (value, known) {
        (Value::Object(fields), Value::Object(known)) => fields.iter().try_for_each(|(name, value)| {
            path.push(Element::field(name));
            let checked = match known.get(name) {
                Some(known) => compare(at.child(name), value, known, path),
                None if value.is_null() => Ok(()),
                None => Err(format!("{}: field not declared in schema", path_text(path))),
            };
            path.pop();
            checked
        }),
        (Value::Array(items), Value::Array(known)) => {
            let names: Vec<Element> = match at.form(value) {
                Form::Elements(named) => named.into_iter().map(|(element, _)| element).collect(),
                Form::Leaf | Form::Object(_) => (0..).map(Element::Index).take(items.len()).collect(),
            };
            names.into_iter().zip(items.iter().zip(known)).try_for_each(|(name, (item, known))| {
                path.push(name);
                let checked = compare(at.item(), item, known, path);
                path.pop();
                checked
            })
        }
        _ => Ok(()),
    }
}
