//! Claims, `ConfigMaps` and Secrets (k/pkg/apis/core/validation/validation.go, v1.34.4).

use serde_json::Value;

use super::{
    super::json::remove,
    field::{Errors, Field, complain, immutable},
    metadata,
    pod::change::difference,
    syntax,
};
use crate::model::quantity::Quantity;

/// The most bytes of a `ConfigMap` or a Secret.
const DATA_MAX: usize = 1024 * 1024;

const ACCESS_MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

/// The spec of a claim.
pub(super) fn claim_spec(spec: &Field<'_>, errors: &mut Errors) {
    let modes = spec.child("accessModes");
    if modes.is_empty() {
        errors.push(modes.required("at least 1 access mode is required"));
    }
    metadata::selector(&spec.child("selector"), errors);
    let (mut alone, mut shared) = (false, false);
    modes.each(|_, mode| {
        if !ACCESS_MODES.contains(&mode.text()) {
            errors.push(modes.with(mode.value()).not_supported(&ACCESS_MODES));
        } else if mode.text() == "ReadWriteOncePod" {
            alone = true;
        } else {
            shared = true;
        }
    });
    if alone && shared {
        errors.push(modes.forbidden("may not use ReadWriteOncePod with other access modes"));
    }
    let resources = spec.child("resources");
    let (requests, storage) = (resources.child("requests"), resources.key("storage"));
    match size(&requests) {
        None => errors.push(storage.required("")),
        Some(size) if size <= Quantity::ZERO => {
            errors.push(storage.with(&Value::from(size.to_string())).invalid("must be greater than zero"));
        }
        Some(_) => {}
    }
    let class = spec.child("storageClassName");
    if !class.text().is_empty() {
        complain(&class, syntax::dns_subdomain(class.text()), errors);
    }
    let mode = spec.child("volumeMode");
    if mode.is_set() && !["Block", "Filesystem"].contains(&mode.text()) {
        errors.push(mode.not_supported(&["Block", "Filesystem"]));
    }
}

fn size(requests: &Field<'_>) -> Option<Quantity> {
    requests.child("storage").text().parse().ok()
}

/// What may change in a claim: that it is bound, and that it grows.
pub(super) fn claim_change(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    let (spec, before) = (new.child("spec"), old.child("spec"));
    claim_spec(&spec, errors);
    let bound = new.child("status").child("phase").text() == "Bound";
    let fixed = |spec: &Value, also_name: bool| {
        let mut spec = spec.clone();
        if also_name {
            remove(&mut spec, "volumeName");
        }
        if bound && let Some(requests) = spec.get_mut("resources").and_then(|resources| resources.get_mut("requests")) {
            remove(requests, "storage");
        }
        spec
    };
    let unnamed = before.child("volumeName").text().is_empty();
    let (now, earlier) = (fixed(spec.value(), unnamed), fixed(before.value(), unnamed));
    if now != earlier {
        errors.push(spec.forbidden(format!(
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n{}",
            difference(&earlier, &now)
        )));
    }
    let (resources, earlier) = (spec.child("resources"), before.child("resources"));
    let (requests, earlier) = (resources.child("requests"), earlier.child("requests"));
    let status = old.child("status");
    let capacity = status.child("capacity").child("storage").text().parse().unwrap_or(Quantity::ZERO);
    if let (Some(wanted), Some(had)) = (size(&requests), size(&earlier))
        && wanted < had
        && wanted <= capacity
    {
        errors.push(requests.child("storage").forbidden("field can not be less than status.capacity"));
    }
}

/// A `ConfigMap`.
pub(super) fn config_map(object: &Field<'_>, errors: &mut Errors) {
    let (texts, bytes) = (object.child("data"), object.child("binaryData"));
    let mut size = 0;
    for (list, decoded) in [(&texts, false), (&bytes, true)] {
        for (key, value) in list.entries() {
            let shown = Value::from(key);
            let field = list.key(key);
            complain(&field.with(&shown), syntax::config_key(key), errors);
            if !decoded && bytes.value().get(key).is_some() {
                errors.push(field.with(&shown).invalid("duplicate of key present in binaryData"));
            }
            size += length(value, decoded);
        }
    }
    if size > DATA_MAX {
        let mut error = texts.too_long(DATA_MAX);
        "[]".clone_into(&mut error.field);
        errors.push(error);
    }
}

/// A Secret.
pub(super) fn secret(object: &Field<'_>, errors: &mut Errors) {
    let data = object.child("data");
    let mut size = 0;
    for (key, value) in data.entries() {
        let shown = Value::from(key);
        complain(&data.key(key).with(&shown), syntax::config_key(key), errors);
        size += length(value, true);
    }
    if size > DATA_MAX {
        errors.push(data.too_long(DATA_MAX));
    }
    let needed: &[&str] = match object.child("type").text() {
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/basic-auth" if ["username", "password"].iter().all(|key| !data.key(key).is_set()) => {
            &["username", "password"]
        }
        "kubernetes.io/service-account-token" => {
            let metadata = object.child("metadata");
            let annotations = metadata.child("annotations");
            let account = annotations.key("kubernetes.io/service-account.name");
            if account.text().is_empty() {
                errors.push(account.required(""));
            }
            &[]
        }
        _ => &[],
    };
    for key in needed {
        let field = data.key(key);
        if !field.is_set() {
            errors.push(field.required(""));
        }
    }
}

/// Bytes of a value, which may be in base64.
fn length(value: &Value, encoded: bool) -> usize {
    let text = value.as_str().unwrap_or_default();
    if encoded { text.trim_end_matches('=').len() * 3 / 4 } else { text.len() }
}

/// What may change in a `ConfigMap` or a Secret: nothing once it says so.
pub(super) fn sealed(new: &Field<'_>, old: &Field<'_>, members: &[&str], errors: &mut Errors) {
    if old.child("immutable").value() != true {
        return;
    }
    let immutable = new.child("immutable");
    let why = "field is immutable when `immutable` is set";
    if immutable.value() != true {
        errors.push(immutable.forbidden(why));
    }
    for name in members {
        let field = new.child(name);
        if field.value() != old.child(name).value() {
            errors.push(field.forbidden(why));
        }
    }
}

/// The type of a Secret, which may not change.
pub(super) fn same_type(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    immutable(&new.child("type"), &old.child("type"), errors);
}
