//! Metadata, labels and selectors (apimachinery/pkg/api/validation/objectmeta.go,
//! apimachinery/pkg/apis/meta/v1/validation/validation.go, v0.34.4).

use std::collections::BTreeMap;

use serde::Deserialize as _;
use serde_json::Value;

use super::{
    field::{Errors, Field, complain},
    syntax,
};
use crate::{model::selector::LabelSelector, sandbox::kinds::Kind};

/// The most bytes of annotations, keys included.
const ANNOTATIONS_MAX: usize = 256 * 1024;

/// Finalizers that need no domain (k/pkg/apis/core/helper/helpers.go).
const STANDARD_FINALIZERS: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];

/// The rule for a kind's names.
fn name_rule(kind: &Kind) -> syntax::Rule {
    match kind.kind {
        "Namespace" | "StatefulSet" => syntax::dns_label,
        "Service" => syntax::dns_1035_label,
        "PodDisruptionBudget" | "Event" => syntax::path_segment,
        _ => syntax::dns_subdomain,
    }
}

/// The metadata of a new object.
pub(super) fn create(kind: &Kind, object: &Field<'_>, errors: &mut Errors) {
    let metadata = object.child("metadata");
    let rule = name_rule(kind);
    let prefix = metadata.child("generateName");
    if !prefix.text().is_empty() {
        complain(&prefix, rule(&syntax::as_prefix(prefix.text())), errors);
    }
    let name = metadata.child("name");
    if name.text().is_empty() {
        errors.push(name.required("name or generateName is required"));
    } else {
        complain(&name, rule(name.text()), errors);
    }
    if kind.namespaced {
        let namespace = metadata.child("namespace");
        complain(&namespace, syntax::dns_label(namespace.text()), errors);
    }
    common(&metadata, errors);
    let finalizers = metadata.child("finalizers");
    let mut seen = Vec::new();
    finalizers.each(|_, finalizer| {
        errors.extend(
            syntax::qualified_name(finalizer.text())
                .into_iter()
                .map(|detail| finalizers.with(finalizer.value()).invalid(detail)),
        );
        seen.push(finalizer.text().to_owned());
    });
    if ["orphan", "foregroundDeletion"].iter().all(|one| seen.iter().any(|other| other == one)) {
        errors.push(finalizers.invalid("finalizer orphan and foregroundDeletion cannot be both set"));
    }
}

/// The metadata of a new version.
pub(super) fn update(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    let (metadata, before) = (new.child("metadata"), old.child("metadata"));
    if before.child("deletionTimestamp").is_set() {
        let of = |field: &Field<'_>| -> Vec<String> {
            field.value().as_array().into_iter().flatten().filter_map(|one| Some(one.as_str()?.to_owned())).collect()
        };
        let (finalizers, earlier) = (metadata.child("finalizers"), before.child("finalizers"));
        let known = of(&earlier);
        let mut added: Vec<String> = of(&finalizers).into_iter().filter(|one| !known.contains(one)).collect();
        added.sort();
        if !added.is_empty() {
            let listed: Vec<String> = added.iter().map(|one| format!("{one:?}")).collect();
            errors.push(finalizers.forbidden(format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                listed.join(", ")
            )));
        }
    }
    common(&metadata, errors);
}

fn common(metadata: &Field<'_>, errors: &mut Errors) {
    labels(&metadata.child("labels"), errors);
    annotations(&metadata.child("annotations"), errors);
    owners(&metadata.child("ownerReferences"), errors);
    metadata.child("finalizers").each(|_, finalizer| {
        let name = finalizer.text();
        if !name.contains('/') && !STANDARD_FINALIZERS.contains(&name) {
            errors.push(finalizer.invalid("name is neither a standard finalizer name nor is it fully qualified"));
        }
    });
}

/// Labels, or a selector that is a plain map.
pub(super) fn labels(labels: &Field<'_>, errors: &mut Errors) {
    for (key, value) in labels.entries() {
        let key = Value::from(key);
        label_name(&labels.with(&key), errors);
        complain(&labels.with(value), syntax::label_value(value.as_str().unwrap_or_default()), errors);
    }
}

/// The key of a label.
pub(super) fn label_name(name: &Field<'_>, errors: &mut Errors) {
    complain(name, syntax::qualified_name(name.text()), errors);
}

/// Annotations.
pub(super) fn annotations(annotations: &Field<'_>, errors: &mut Errors) {
    let mut size = 0;
    for (key, value) in annotations.entries() {
        let shown = Value::from(key);
        complain(&annotations.with(&shown), syntax::qualified_name(&key.to_lowercase()), errors);
        size += key.len() + value.as_str().unwrap_or_default().len();
    }
    if size > ANNOTATIONS_MAX {
        errors.push(annotations.too_long(ANNOTATIONS_MAX));
    }
}

fn owners(owners: &Field<'_>, errors: &mut Errors) {
    let mut controller: Option<String> = None;
    owners.each(|_, owner| {
        // Upstream names the list, not the item.
        let list = owners.with(owner.value());
        let version = list.child("apiVersion");
        if version.text().rsplit('/').next().unwrap_or_default().is_empty() {
            errors.push(version.invalid_text("version must not be empty"));
        }
        for name in ["kind", "name", "uid"] {
            let member = list.child(name);
            if member.text().is_empty() {
                errors.push(member.invalid_text("must not be empty"));
            }
        }
        if list.child("apiVersion").text() == "v1" && list.child("kind").text() == "Event" {
            errors.push(list.invalid("/v1, Kind=Event is disallowed from being an owner"));
        }
        if owner.child("controller").value() == true {
            let this = format!("{}/{}", owner.child("kind").text(), owner.child("name").text());
            match &controller {
                None => controller = Some(this),
                Some(first) => errors.push(owners.invalid(format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {this}"
                ))),
            }
        }
    });
}

/// A selector of labels; none is fine.
pub(super) fn selector(selector: &Field<'_>, errors: &mut Errors) {
    labels(&selector.child("matchLabels"), errors);
    selector.child("matchExpressions").each(|_, requirement| {
        let (operator, values) = (requirement.child("operator"), requirement.child("values"));
        match operator.text() {
            "In" | "NotIn" if values.is_empty() => {
                errors.push(values.required("must be specified when `operator` is 'In' or 'NotIn'"));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                errors.push(values.forbidden("may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => errors.push(operator.invalid_text("not a valid selector operator")),
        }
        label_name(&requirement.child("key"), errors);
        values.each(|_, value| complain(&value, syntax::label_value(value.text()), errors));
    });
}

/// Whether a selector has no requirements.
pub(super) fn selects_all(selector: &Field<'_>) -> bool {
    selector.child("matchLabels").is_empty() && selector.child("matchExpressions").is_empty()
}

/// Whether a selector, as Kubernetes reads it, selects these labels; none where it cannot be read. An absent selector
/// selects nothing.
pub(super) fn selects(selector: &Field<'_>, labels: &Field<'_>) -> Option<bool> {
    if !selector.is_set() {
        return Some(false);
    }
    let selector = LabelSelector::deserialize(selector.value()).ok()?;
    let labels: BTreeMap<String, String> =
        labels.entries().filter_map(|(key, value)| Some((key.to_owned(), value.as_str()?.to_owned()))).collect();
    Some(selector.matches(&labels))
}
