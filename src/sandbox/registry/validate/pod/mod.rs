//! Pods and pod templates (k/pkg/apis/core/validation/validation.go `ValidatePodSpec`, v1.34.4).
//!
//! * [`containers`]: containers, their ports, environment, probes and hooks.
//! * [`volumes`]: volumes and their mounts.
//! * [`resources`]: requests and limits.
//! * [`scheduling`]: affinity, spread, tolerations.
//! * [`change`]: what may change in a pod.

pub(super) mod change;
mod containers;
mod resources;
pub(super) mod scheduling;
mod volumes;

use super::{
    field::{Errors, Field, complain, one_of},
    metadata, syntax,
};

pub(super) use containers::port;
pub(super) use resources::container_resource_name;

/// The largest deadline.
const DEADLINE_MAX: i64 = i32::MAX as i64;

/// A new pod, but for its metadata.
pub(super) fn create(pod: &Field<'_>, errors: &mut Errors) {
    let spec = pod.child("spec");
    pod_spec(&spec, errors);
    images(&spec, errors);
    let ephemeral = spec.child("ephemeralContainers");
    if !ephemeral.is_empty() {
        errors.push(ephemeral.forbidden("cannot be set on create"));
    }
    let node = spec.child("nodeName");
    if !node.text().is_empty() && !spec.child("schedulingGates").is_empty() {
        errors.push(node.forbidden("cannot be set until all schedulingGates have been cleared"));
    }
}

/// A pod template.
pub(super) fn template(template: &Field<'_>, errors: &mut Errors) {
    let metadata = template.child("metadata");
    // Upstream names these without `metadata`.
    let (labels, annotations) = (template.child("labels"), template.child("annotations"));
    metadata::labels(&labels.with(metadata.child("labels").value()), errors);
    metadata::annotations(&annotations.with(metadata.child("annotations").value()), errors);
    let spec = template.child("spec");
    pod_spec(&spec, errors);
    let ephemeral = spec.child("ephemeralContainers");
    if !ephemeral.is_empty() {
        errors.push(ephemeral.forbidden("ephemeral containers not allowed in pod template"));
    }
}

/// Images that only pods, not templates, must spell without spaces.
fn images(spec: &Field<'_>, errors: &mut Errors) {
    for list in ["containers", "initContainers"] {
        spec.child(list).each(|_, container| {
            let image = container.child("image");
            if image.text().trim() != image.text() {
                errors.push(image.invalid("must not have leading or trailing whitespace"));
            }
        });
    }
}

/// The spec of a pod or a template.
fn pod_spec(spec: &Field<'_>, errors: &mut Errors) {
    let grace = spec.child("terminationGracePeriodSeconds");
    if !grace.is_set() {
        errors.push(grace.required(""));
    }
    let volumes = volumes::volumes(&spec.child("volumes"), errors);
    containers::containers(spec, &volumes, errors);
    containers::init_containers(spec, &volumes, errors);
    one_of(&spec.child("restartPolicy"), &["Always", "OnFailure", "Never"], errors);
    one_of(&spec.child("dnsPolicy"), &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"], errors);
    metadata::labels(&spec.child("nodeSelector"), errors);
    spec.child("imagePullSecrets").each(|_, secret| {
        let name = secret.child("name");
        if name.text().is_empty() {
            errors.push(name.required(""));
        }
    });
    scheduling::affinity(&spec.child("affinity"), errors);
    spec.child("readinessGates").each(|_, gate| {
        let kind = gate.child("conditionType");
        complain(&kind, syntax::qualified_name(kind.text()), errors);
    });
    scheduling::gates(&spec.child("schedulingGates"), errors);
    scheduling::spread(&spec.child("topologySpreadConstraints"), errors);
    scheduling::tolerations(&spec.child("tolerations"), errors);
    names(spec, errors);
    let deadline = spec.child("activeDeadlineSeconds");
    if deadline.is_set() && !(1..=DEADLINE_MAX).contains(&deadline.int()) {
        errors.push(deadline.invalid(syntax::in_range(1, DEADLINE_MAX)));
    }
    let preemption = spec.child("preemptionPolicy");
    if preemption.is_set() {
        one_of(&preemption, &["PreemptLowerPriority", "Never"], errors);
    }
}

fn names(spec: &Field<'_>, errors: &mut Errors) {
    let rules: [(&str, syntax::Rule); 6] = [
        ("serviceAccountName", syntax::dns_subdomain),
        ("nodeName", syntax::dns_subdomain),
        ("hostname", syntax::dns_label),
        ("subdomain", syntax::dns_label),
        ("priorityClassName", syntax::dns_subdomain),
        ("runtimeClassName", syntax::dns_subdomain),
    ];
    for (name, rule) in rules {
        let field = spec.child(name);
        if !field.text().is_empty() {
            complain(&field, rule(field.text()), errors);
        }
    }
}
