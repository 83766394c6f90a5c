//! Requests and limits of containers.

use serde_json::Value;

use super::super::{
    field::{Errors, Field, complain},
    syntax,
};
use crate::model::quantity::Quantity;

/// The requests and limits of a container.
pub(super) fn requirements(resources: &Field<'_>, errors: &mut Errors) {
    let (limits, requests) = (resources.child("limits"), resources.child("requests"));
    for list in [&limits, &requests] {
        for (name, amount) in list.entries() {
            let field = list.key(name);
            container_resource_name(&field.with(&Value::from(name)), errors);
            amount_of(&field, name, amount, errors);
        }
    }
    for (name, amount) in requests.entries() {
        let Some(requested) = read(amount) else { continue };
        let may_exceed = may_be_overcommitted(name);
        match limits.value().get(name).and_then(read) {
            Some(limit) if requested != limit && !may_exceed => {
                errors.push(requests.with(amount).invalid(format!("must be equal to {name} limit of {limit}")));
            }
            Some(limit) if requested > limit => {
                let detail = format!("must be less than or equal to {name} limit of {limit}");
                errors.push(requests.with(amount).invalid(detail));
            }
            None if !may_exceed => errors.push(limits.required("Limit must be set for non overcommitable resources")),
            _ => {}
        }
    }
    let all = || limits.entries().chain(requests.entries()).map(|(name, _)| name);
    if all().any(|name| name.starts_with("hugepages-")) && !all().any(|name| matches!(name, "cpu" | "memory")) {
        errors.push(resources.forbidden("HugePages require cpu or memory"));
    }
}

/// The name of a resource that a container can ask for.
pub(in super::super) fn container_resource_name(name: &Field<'_>, errors: &mut Errors) {
    let text = name.text();
    let before = errors.len();
    complain(name, syntax::qualified_name(text), errors);
    if errors.len() > before || text.contains('/') {
        return;
    }
    if !is_of_containers(text) {
        errors.push(name.invalid("must be a standard resource type or fully qualified"));
        errors.push(name.invalid("must be a standard resource for containers"));
    }
}

fn is_of_containers(name: &str) -> bool {
    matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-")
}

/// CPU, memory and the like may be promised more often than they are there; devices may not.
fn may_be_overcommitted(name: &str) -> bool {
    let native = name.split_once('/').is_none_or(|(domain, _)| domain.ends_with("kubernetes.io"));
    native && !name.starts_with("hugepages-")
}

fn amount_of(field: &Field<'_>, name: &str, amount: &Value, errors: &mut Errors) {
    let Some(quantity) = read(amount) else { return };
    if quantity.is_negative() {
        errors.push(field.invalid("must be greater than or equal to 0"));
    }
    if !quantity.is_whole() && !may_be_overcommitted(name) {
        errors.push(field.invalid("must be an integer"));
    }
}

fn read(amount: &Value) -> Option<Quantity> {
    amount.as_str()?.parse().ok()
}
