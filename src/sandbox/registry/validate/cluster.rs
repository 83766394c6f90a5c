//! Namespaces, nodes, leases and events (k/pkg/apis/{core,coordination}/validation, v1.34.4).

use serde_json::{Value, json};

use super::{
    field::{Errors, Field},
    pod::scheduling,
};
use crate::model::quantity::Quantity;

/// A node.
pub(super) fn node(object: &Field<'_>, errors: &mut Errors) {
    let (metadata, spec, status) = (object.child("metadata"), object.child("spec"), object.child("status"));
    // Upstream's path for taints starts with the metadata.
    scheduling::taints(&metadata.child("taints").with(spec.child("taints").value()), errors);
    for list in ["capacity", "allocatable"] {
        let list = status.child(list);
        for (name, amount) in list.entries() {
            if amount.as_str().and_then(|text| text.parse::<Quantity>().ok()).is_some_and(Quantity::is_negative) {
                errors.push(list.child(name).invalid("must be greater than or equal to 0"));
            }
        }
    }
}

/// What may change in a node.
pub(super) fn node_change(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    let (spec, before) = (new.child("spec"), old.child("spec"));
    let (cidrs, earlier) = (spec.child("podCIDRs"), before.child("podCIDRs"));
    if !earlier.is_empty() && cidrs.value() != earlier.value() {
        errors.push(cidrs.forbidden("node updates may not change podCIDR except from \"\" to valid"));
    }
    let (id, earlier) = (spec.child("providerID"), before.child("providerID"));
    if !earlier.text().is_empty() && id.text() != earlier.text() {
        errors.push(id.forbidden("node updates may not change providerID except from \"\" to valid"));
    }
}

/// The status of a namespace.
pub(super) fn namespace_status(object: &Field<'_>, errors: &mut Errors) {
    let status = object.child("status");
    // Upstream's path has the capital.
    let phase = status.child("Phase");
    let is = status.child("phase");
    let phase = phase.with(is.value());
    let going = object.child("metadata").child("deletionTimestamp").is_set();
    if !going && phase.text() != "Active" {
        errors.push(phase.invalid_text("may only be 'Active' if `deletionTimestamp` is empty"));
    } else if going && phase.text() != "Terminating" {
        errors.push(phase.invalid_text("may only be 'Terminating' if `deletionTimestamp` is not empty"));
    }
}

/// A lease.
pub(super) fn lease(object: &Field<'_>, errors: &mut Errors) {
    let spec = object.child("spec");
    let (duration, transitions) = (spec.child("leaseDurationSeconds"), spec.child("leaseTransitions"));
    if duration.is_set() && duration.int() <= 0 {
        errors.push(duration.invalid("must be greater than 0"));
    }
    if transitions.int() < 0 {
        errors.push(transitions.invalid("must be greater than or equal to 0"));
    }
    let (holder, strategy) = (spec.child("preferredHolder"), spec.child("strategy"));
    if !holder.text().is_empty() && strategy.text().is_empty() {
        errors.push(holder.forbidden("may only be specified if `strategy` is defined"));
    }
}

/// An event: it lives where what it is about lives.
pub(super) fn event(object: &Field<'_>, errors: &mut Errors) {
    let (metadata, about) = (object.child("metadata"), object.child("involvedObject"));
    let (namespace, of) = (metadata.child("namespace"), about.child("namespace"));
    let new_style = object.child("eventTime").is_set();
    let agrees = if of.text().is_empty() {
        namespace.text() == "default" || (new_style && namespace.text() == "kube-system")
    } else {
        new_style || namespace.text() == of.text()
    };
    if !agrees {
        errors.push(of.invalid_text("does not match event.namespace"));
    }
    if !new_style {
        return;
    }
    for name in ["reportingComponent", "reportingInstance", "action", "reason"] {
        let field = object.child(name);
        if field.text().is_empty() {
            errors.push(field.required(""));
        }
    }
    for (name, most) in [("reportingInstance", 128), ("action", 128), ("reason", 128), ("message", 1024)] {
        let field = object.child(name);
        if field.text().len() > most {
            let hidden: Value = json!("");
            errors.push(field.with(&hidden).invalid(format!("can have at most {most} characters")));
        }
    }
}
