//! What Kubernetes refuses in objects (k/pkg/apis/*/validation, v1.34.4), with its own words.
//!
//! * [`field`]: a place in an object and what can be wrong with it.
//! * [`syntax`]: names, labels, ports.
//! * [`metadata`]: metadata, labels, selectors.
//! * [`pod`]: pods and pod templates.
//! * [`workloads`], [`job`], [`autoscaler`]: what makes and scales pods.
//! * [`service`], [`storage`], [`cluster`]: the rest.

mod autoscaler;
mod cluster;
mod field;
mod job;
mod metadata;
mod pod;
mod service;
mod storage;
mod syntax;
mod workloads;

#[cfg(test)]
mod tests;

use serde_json::Value;

use super::Part;
pub use super::shape::{decode, unknown_fields};
use crate::sandbox::{error::FieldError, kinds::Kind};
use field::{Errors, Field};

/// What is wrong with a new object whose defaults have been filled in.
#[must_use]
pub fn create(kind: &Kind, value: &Value) -> Vec<FieldError> {
    let (object, mut errors) = (Field::root(value), Errors::new());
    metadata::create(kind, &object, &mut errors);
    match kind.kind {
        "Pod" => pod::create(&object, &mut errors),
        "StatefulSet" => workloads::stateful_set(&object, true, &mut errors),
        _ => content(kind, &object, None, &mut errors),
    }
    errors
}

/// What is wrong with a new version of an object.
#[must_use]
pub fn update(kind: &Kind, part: Part, new: &Value, old: &Value) -> Vec<FieldError> {
    let (new, old, mut errors) = (Field::root(new), Field::root(old), Errors::new());
    metadata::update(&new, &old, &mut errors);
    match part {
        Part::Main => main_change(kind, &new, &old, &mut errors),
        Part::Status if kind.kind == "Namespace" => cluster::namespace_status(&new, &mut errors),
        Part::Status => {}
    }
    errors
}

fn main_change(kind: &Kind, new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    match kind.kind {
        "Pod" => return pod::change::update(new, old, errors),
        "StatefulSet" => {
            workloads::stateful_set(new, false, errors);
            return workloads::stateful_set_change(new, old, errors);
        }
        "Job" => return job::change(new, old, errors),
        "PersistentVolumeClaim" => return storage::claim_change(new, old, errors),
        "Deployment" | "ReplicaSet" | "DaemonSet" => workloads::same_selector(new, old, errors),
        "ConfigMap" => storage::sealed(new, old, &["data", "binaryData"], errors),
        "Secret" => {
            storage::same_type(new, old, errors);
            storage::sealed(new, old, &["data"], errors);
        }
        "Node" => cluster::node_change(new, old, errors),
        "ControllerRevision" => field::immutable(&new.child("data"), &old.child("data"), errors),
        _ => {}
    }
    content(kind, new, Some(old), errors);
}

/// The rules that hold for new objects and new versions alike.
fn content(kind: &Kind, object: &Field<'_>, old: Option<&Field<'_>>, errors: &mut Errors) {
    match kind.kind {
        "Deployment" => workloads::deployment(object, errors),
        "ReplicaSet" => workloads::replica_set(object, errors),
        "DaemonSet" => workloads::daemon_set(object, errors),
        "ControllerRevision" => workloads::revision(object, errors),
        "PodDisruptionBudget" => workloads::budget(object, errors),
        "Job" => job::job(object, errors),
        "HorizontalPodAutoscaler" => autoscaler::autoscaler(object, errors),
        "Service" => service::service(object, old, errors),
        "Endpoints" => service::endpoints(object, errors),
        "EndpointSlice" => service::slice(object, old, errors),
        "PersistentVolumeClaim" => storage::claim_spec(&object.child("spec"), errors),
        "ConfigMap" => storage::config_map(object, errors),
        "Secret" => storage::secret(object, errors),
        "Node" => cluster::node(object, errors),
        "Lease" => cluster::lease(object, errors),
        "Event" => cluster::event(object, errors),
        _ => {}
    }
}
