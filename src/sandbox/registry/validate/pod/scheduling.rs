//! What pods ask of the scheduler: affinity, spread, tolerations, gates; and the taints of nodes.

use serde_json::Value;

use super::super::{
    field::{Errors, Field, complain, one_of, positive},
    metadata, syntax,
};

const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// `spec.affinity`.
pub(super) fn affinity(affinity: &Field<'_>, errors: &mut Errors) {
    let node = affinity.child("nodeAffinity");
    let required = node.child("requiredDuringSchedulingIgnoredDuringExecution");
    if required.is_set() {
        let terms = required.child("nodeSelectorTerms");
        if terms.is_empty() {
            errors.push(terms.required("must have at least one node selector term"));
        }
        terms.each(|_, term| node_term(&term, true, errors));
    }
    node.child("preferredDuringSchedulingIgnoredDuringExecution").each(|_, term| {
        weight(&term.child("weight"), errors);
        node_term(&term.child("preference"), false, errors);
    });
    for name in ["podAffinity", "podAntiAffinity"] {
        let of_pods = affinity.child(name);
        of_pods.child("requiredDuringSchedulingIgnoredDuringExecution").each(|_, term| pod_term(&term, errors));
        of_pods.child("preferredDuringSchedulingIgnoredDuringExecution").each(|_, weighted| {
            weight(&weighted.child("weight"), errors);
            pod_term(&weighted.child("podAffinityTerm"), errors);
        });
    }
}

fn weight(weight: &Field<'_>, errors: &mut Errors) {
    if !(1..=100).contains(&weight.int()) {
        errors.push(weight.with(&Value::from(weight.int())).invalid("must be in the range 1-100"));
    }
}

fn node_term(term: &Field<'_>, check_values: bool, errors: &mut Errors) {
    term.child("matchExpressions").each(|_, requirement| {
        let (operator, values) = (requirement.child("operator"), requirement.child("values"));
        match operator.text() {
            "In" | "NotIn" if values.is_empty() => {
                errors.push(values.required("must be specified when `operator` is 'In' or 'NotIn'"));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                errors.push(values.forbidden("may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
            }
            "Gt" | "Lt" if values.len() != 1 => {
                errors.push(values.required("must be specified single value when `operator` is 'Lt' or 'Gt'"));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
            _ => errors.push(operator.invalid_text("not a valid selector operator")),
        }
        metadata::label_name(&requirement.child("key"), errors);
        if check_values {
            values.each(|_, value| complain(&value, syntax::label_value(value.text()), errors));
        }
    });
    term.child("matchFields").each(|_, requirement| {
        let (operator, values, key) =
            (requirement.child("operator"), requirement.child("values"), requirement.child("key"));
        match operator.text() {
            "In" | "NotIn" if values.len() != 1 => errors.push(
                values.required("must be only one value when `operator` is 'In' or 'NotIn' for node field selector"),
            ),
            "In" | "NotIn" => {}
            _ => errors.push(operator.invalid_text("not a valid selector operator")),
        }
        if key.text() == "metadata.name" {
            values.each(|_, value| complain(&value, syntax::dns_subdomain(value.text()), errors));
        } else {
            errors.push(key.invalid_text("not a valid field selector key"));
        }
    });
}

fn pod_term(term: &Field<'_>, errors: &mut Errors) {
    let selector = term.child("labelSelector");
    metadata::selector(&selector, errors);
    metadata::selector(&term.child("namespaceSelector"), errors);
    let namespace = term.child("namespace");
    term.child("namespaces").each(|_, name| {
        complain(&namespace.with(name.value()), syntax::dns_label(name.text()), errors);
    });
    label_keys(term, errors);
    let key = term.child("topologyKey");
    if key.text().is_empty() {
        errors.push(key.required("can not be empty"));
    }
    metadata::label_name(&key, errors);
}

/// `matchLabelKeys` and `mismatchLabelKeys`, which need a selector and may not contradict it.
fn label_keys(term: &Field<'_>, errors: &mut Errors) {
    let selector = term.child("labelSelector");
    let (same, other) = (term.child("matchLabelKeys"), term.child("mismatchLabelKeys"));
    for keys in [&same, &other] {
        if keys.is_empty() {
            continue;
        }
        if selector.is_set() {
            keys.each(|_, key| metadata::label_name(&key, errors));
        } else {
            errors.push(keys.forbidden("must not be specified when labelSelector is not set"));
        }
    }
    // The server itself adds one expression for each key; a second one on the same key is the author's.
    let mut known: Vec<&str> =
        selector.value()["matchLabels"].as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
    for expression in selector.value()["matchExpressions"].as_array().into_iter().flatten() {
        let key = expression["key"].as_str().unwrap_or_default();
        let listed = same.value().as_array().and_then(|keys| keys.iter().position(|one| one == key));
        if let Some(index) = listed.filter(|_| known.contains(&key)) {
            let shown = Value::from(key);
            errors.push(term.item(index).with(&shown).invalid("exists in both matchLabelKeys and labelSelector"));
        }
        known.push(key);
    }
    let others = other.value().as_array().map_or(&[][..], Vec::as_slice);
    same.each(|_, key| {
        if others.contains(key.value()) {
            errors.push(key.invalid("exists in both matchLabelKeys and mismatchLabelKeys"));
        }
    });
}

/// `spec.topologySpreadConstraints`.
pub(super) fn spread(list: &Field<'_>, errors: &mut Errors) {
    let mut seen: Vec<(String, String)> = Vec::new();
    list.each(|_, constraint| {
        positive(&constraint.child("maxSkew"), errors);
        let (key, action) = (constraint.child("topologyKey"), constraint.child("whenUnsatisfiable"));
        if key.text().is_empty() {
            errors.push(key.required("can not be empty"));
        }
        if !["DoNotSchedule", "ScheduleAnyway"].contains(&action.text()) {
            let shown = Value::from(action.text());
            errors.push(action.with(&shown).not_supported(&["DoNotSchedule", "ScheduleAnyway"]));
        }
        let pair = (key.text().to_owned(), action.text().to_owned());
        if seen.contains(&pair) {
            let shown = Value::from(format!("{{{}, {}}}", pair.0, pair.1));
            errors.push(constraint.child("{topologyKey, whenUnsatisfiable}").with(&shown).duplicate());
        }
        seen.push(pair);
        let domains = constraint.child("minDomains");
        if domains.is_set() {
            positive(&domains, errors);
            if action.text() != "DoNotSchedule" {
                let detail =
                    format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {}", action.text());
                errors.push(domains.invalid(detail));
            }
        }
        for name in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            let policy = constraint.child(name);
            if policy.is_set() && !["Honor", "Ignore"].contains(&policy.text()) {
                errors.push(policy.not_supported(&["Honor", "Ignore"]));
            }
        }
        label_keys(&constraint, errors);
        metadata::selector(&constraint.child("labelSelector"), errors);
    });
}

/// `spec.tolerations`.
pub(super) fn tolerations(list: &Field<'_>, errors: &mut Errors) {
    list.each(|_, toleration| {
        let (key, operator) = (toleration.child("key"), toleration.child("operator"));
        let (value, effect) = (toleration.child("value"), toleration.child("effect"));
        if !key.text().is_empty() {
            metadata::label_name(&key, errors);
        } else if operator.text() != "Exists" {
            errors.push(operator.invalid_text(
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
            ));
        }
        if toleration.child("tolerationSeconds").is_set() && effect.text() != "NoExecute" {
            errors.push(effect.invalid_text("effect must be 'NoExecute' when `tolerationSeconds` is set"));
        }
        let shown = operator.with(value.value());
        match operator.text() {
            "Equal" | "" => {
                let complaints = syntax::label_value(value.text());
                if !complaints.is_empty() {
                    errors.push(shown.invalid_text(complaints.join(";")));
                }
            }
            "Exists" if value.text().is_empty() => {}
            "Exists" => errors.push(shown.invalid_text("value must be empty when `operator` is 'Exists'")),
            _ => errors.push(operator.not_supported(&["Equal", "Exists"])),
        }
        if !effect.text().is_empty() {
            one_of(&effect, &EFFECTS, errors);
        }
    });
}

/// `spec.schedulingGates`.
pub(super) fn gates(list: &Field<'_>, errors: &mut Errors) {
    let mut seen = Vec::new();
    list.each(|index, gate| {
        let name = gate.child("name").value().clone();
        let at = list.item(index);
        let shown = at.with(&name);
        complain(&shown, syntax::qualified_name(shown.text()), errors);
        if seen.contains(&name) {
            errors.push(shown.duplicate());
        }
        seen.push(name.clone());
    });
}

/// `spec.taints` of a node, which upstream names after the metadata.
pub(in super::super) fn taints(taints: &Field<'_>, errors: &mut Errors) {
    let mut seen = Vec::new();
    taints.each(|_, taint| {
        metadata::label_name(&taint.child("key"), errors);
        let value = taint.child("value");
        let complaints = syntax::label_value(value.text());
        if !complaints.is_empty() {
            errors.push(value.invalid_text(complaints.join(";")));
        }
        one_of(&taint.child("effect"), &EFFECTS, errors);
        let pair = (taint.child("key").text().to_owned(), taint.child("effect").text().to_owned());
        if seen.contains(&pair) {
            let mut error = taint.duplicate();
            "taints must be unique by key and effect pair".clone_into(&mut error.detail);
            errors.push(error);
        }
        seen.push(pair);
    });
}
