//! `HorizontalPodAutoscalers` (k/pkg/apis/autoscaling/validation/validation.go, v1.34.4).

use serde_json::Value;

use super::{
    field::{Errors, Field, complain},
    pod, syntax,
};
use crate::model::quantity::Quantity;

/// The longest stabilisation window.
const WINDOW_MAX: i64 = 3600;

/// The longest period of a policy.
const PERIOD_MAX: i64 = 1800;

/// The sources of metrics: type and member.
const SOURCES: [(&str, &str); 5] = [
    ("ContainerResource", "containerResource"),
    ("External", "external"),
    ("Object", "object"),
    ("Pods", "pods"),
    ("Resource", "resource"),
];

/// An autoscaler's spec.
pub(super) fn autoscaler(object: &Field<'_>, errors: &mut Errors) {
    let spec = object.child("spec");
    let (least, most) = (spec.child("minReplicas"), spec.child("maxReplicas"));
    if least.is_set() && least.int() < 1 {
        errors.push(least.invalid("must be greater than or equal to 1"));
    }
    let shown = Value::from(most.int());
    let most = most.with(&shown);
    if most.int() < 1 {
        errors.push(most.invalid("must be greater than 0"));
    }
    if least.is_set() && most.int() < least.int() {
        errors.push(most.invalid("must be greater than or equal to `minReplicas`"));
    }
    reference(&spec.child("scaleTargetRef"), errors);
    spec.child("metrics").each(|_, metric| metric_spec(&metric, errors));
    let behavior = spec.child("behavior");
    for name in ["scaleUp", "scaleDown"] {
        let rules = behavior.child(name);
        if rules.is_set() {
            scaling_rules(&rules, errors);
        }
    }
}

fn reference(reference: &Field<'_>, errors: &mut Errors) {
    for name in ["kind", "name"] {
        let field = reference.child(name);
        if field.text().is_empty() {
            errors.push(field.required(""));
        } else {
            complain(&field, syntax::path_segment(field.text()), errors);
        }
    }
    let version = reference.child("apiVersion");
    if version.text().matches('/').count() > 1 {
        errors.push(version.invalid(format!("unexpected GroupVersion string: {}", version.text())));
    }
}

fn metric_spec(metric: &Field<'_>, errors: &mut Errors) {
    let kind = metric.child("type");
    let supported = SOURCES.map(|(kind, _)| kind);
    let expected = SOURCES.iter().find(|(name, _)| *name == kind.text()).map(|(_, member)| *member);
    if kind.text().is_empty() {
        errors.push(kind.required("must specify a metric source type"));
    }
    if expected.is_none() {
        let shown = Value::from(kind.text());
        errors.push(kind.with(&shown).not_supported(&supported));
    }
    let present: Vec<&str> = ["object", "external", "pods", "resource", "containerResource"]
        .into_iter()
        .filter(|name| metric.child(name).is_set())
        .collect();
    if let Some(first) = present.first() {
        source(first, &metric.child(first), errors);
    }
    if let Some(expected) = expected.filter(|expected| !present.contains(expected)) {
        errors.push(metric.child(expected).required("must populate information for the given metric source"));
    }
    if present.len() > 1 {
        for other in present.iter().filter(|name| Some(**name) != expected) {
            errors.push(metric.child(other).forbidden("must populate the given metric source only"));
        }
    }
}

fn source(name: &str, source: &Field<'_>, errors: &mut Errors) {
    if name == "object" {
        reference(&source.child("describedObject"), errors);
    }
    let resource = source.child("name");
    match name {
        "resource" | "containerResource" if resource.text().is_empty() => {
            errors.push(resource.required("must specify a resource name"));
        }
        "containerResource" => pod::container_resource_name(&resource, errors),
        "resource" => {}
        _ => {
            let metric = source.child("metric");
            let name = metric.child("name");
            if name.text().is_empty() {
                errors.push(name.required("must specify a metric name"));
            } else {
                complain(&name, syntax::path_segment(name.text()), errors);
            }
        }
    }
    if name == "containerResource" {
        let container = source.child("container");
        if container.text().is_empty() {
            errors.push(container.required("must specify a container"));
        } else {
            complain(&container, syntax::dns_label(container.text()), errors);
        }
    }
    let target = source.child("target");
    metric_target(&target, errors);
    let (value, average) = (target.child("value"), target.child("averageValue"));
    let utilization = target.child("averageUtilization");
    match name {
        "object" if !value.is_set() && !average.is_set() => {
            errors.push(average.required("must set either a target value or averageValue"));
        }
        "external" if !value.is_set() && !average.is_set() => {
            errors.push(average.required("must set either a target value for metric or a per-pod target"));
        }
        "external" if value.is_set() && average.is_set() => {
            errors.push(value.forbidden("may not set both a target value for metric and a per-pod target"));
        }
        "pods" if !average.is_set() => errors.push(average.required("must specify a positive target averageValue")),
        "resource" | "containerResource" if !utilization.is_set() && !average.is_set() => {
            errors.push(utilization.required("must set either a target raw value or a target utilization"));
        }
        "resource" | "containerResource" if utilization.is_set() && average.is_set() => {
            errors.push(average.forbidden("may not set both a target raw value and a target utilization"));
        }
        _ => {}
    }
}

fn metric_target(target: &Field<'_>, errors: &mut Errors) {
    let kind = target.child("type");
    if kind.text().is_empty() {
        errors.push(kind.required("must specify a metric target type"));
    }
    if !["Utilization", "Value", "AverageValue"].contains(&kind.text()) {
        errors.push(kind.invalid_text("must be either Utilization, Value, or AverageValue"));
    }
    for name in ["value", "averageValue"] {
        let amount = target.child(name);
        if amount.text().parse::<Quantity>().is_ok_and(|amount| amount <= Quantity::ZERO) {
            errors.push(amount.invalid("must be positive"));
        }
    }
    let utilization = target.child("averageUtilization");
    if utilization.is_set() && utilization.int() < 1 {
        errors.push(utilization.invalid("must be greater than 0"));
    }
}

fn scaling_rules(rules: &Field<'_>, errors: &mut Errors) {
    let (window, select, policies) =
        (rules.child("stabilizationWindowSeconds"), rules.child("selectPolicy"), rules.child("policies"));
    if window.int() < 0 {
        errors.push(window.invalid("must be greater than or equal to zero"));
    }
    if window.int() > WINDOW_MAX {
        errors.push(window.invalid(format!("must be less than or equal to {WINDOW_MAX}")));
    }
    if select.is_set() && !["Disabled", "Max", "Min"].contains(&select.text()) {
        errors.push(select.not_supported(&["Disabled", "Max", "Min"]));
    }
    if policies.is_empty() {
        errors.push(policies.required("must specify at least one Policy"));
    }
    policies.each(|_, policy| {
        let kind = policy.child("type");
        if !["Percent", "Pods"].contains(&kind.text()) {
            let shown = Value::from(kind.text());
            errors.push(kind.with(&shown).not_supported(&["Percent", "Pods"]));
        }
        for name in ["value", "periodSeconds"] {
            let field = policy.child(name);
            if field.int() <= 0 {
                errors.push(field.with(&Value::from(field.int())).invalid("must be greater than zero"));
            }
        }
        let period = policy.child("periodSeconds");
        if period.int() > PERIOD_MAX {
            errors.push(period.invalid(format!("must be less than or equal to {PERIOD_MAX}")));
        }
    });
}
