//! `Deployments`, `ReplicaSets`, `StatefulSets`, `DaemonSets`, their revisions, and disruption budgets
//! (k/pkg/apis/{apps,policy}/validation/validation.go, v1.34.4).

use serde_json::{Map, Value, json};

use super::{
    super::json::sorted,
    field::{Errors, Field, complain, immutable, non_negative},
    metadata, pod, storage, syntax,
};

/// What clients may change in a `StatefulSet`.
const SET_MAY_CHANGE: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

/// A `Deployment`'s spec.
pub(super) fn deployment(object: &Field<'_>, errors: &mut Errors) {
    let spec = object.child("spec");
    replicated(&spec, "deployment", errors);
    let strategy = spec.child("strategy");
    let rolling = strategy.child("rollingUpdate");
    match strategy.child("type").text() {
        "Recreate" => {
            if rolling.is_set() {
                errors.push(rolling.forbidden("may not be specified when strategy `type` is 'Recreate'"));
            }
        }
        "RollingUpdate" => rolling_deployment(&rolling, errors),
        _ => errors.push(strategy.not_supported(&["Recreate", "RollingUpdate"])),
    }
    let (ready, deadline) = (spec.child("minReadySeconds"), spec.child("progressDeadlineSeconds"));
    for field in [&ready, &spec.child("revisionHistoryLimit"), &deadline] {
        non_negative(field, errors);
    }
    if deadline.is_set() && deadline.int() <= ready.int() {
        errors.push(deadline.invalid("must be greater than minReadySeconds"));
    }
}

/// A `ReplicaSet`'s spec.
pub(super) fn replica_set(object: &Field<'_>, errors: &mut Errors) {
    let spec = object.child("spec");
    // The words say deployment in upstream too.
    replicated(&spec, "deployment", errors);
    non_negative(&spec.child("minReadySeconds"), errors);
}

fn replicated(spec: &Field<'_>, word: &str, errors: &mut Errors) {
    non_negative(&spec.child("replicas"), errors);
    let selector = spec.child("selector");
    required_selector(&selector, word, errors);
    let template = spec.child("template");
    matching_template(&selector, &template, "invalid label selector", errors);
    pod::template(&template, errors);
    always_restarted(&template, "ReplicaSet", errors);
}

fn required_selector(selector: &Field<'_>, word: &str, errors: &mut Errors) {
    if !selector.is_set() {
        errors.push(selector.required(""));
        return;
    }
    metadata::selector(selector, errors);
    if metadata::selects_all(selector) {
        errors.push(selector.invalid(format!("empty selector is invalid for {word}")));
    }
}

fn matching_template(selector: &Field<'_>, template: &Field<'_>, unreadable: &str, errors: &mut Errors) {
    let metadata = template.child("metadata");
    let labels = metadata.child("labels");
    match metadata::selects(selector, &labels) {
        None => errors.push(selector.invalid(unreadable)),
        Some(true) => {}
        Some(false) => errors.push(labels.invalid("`selector` does not match template `labels`")),
    }
}

fn always_restarted(template: &Field<'_>, owner: &str, errors: &mut Errors) {
    let spec = template.child("spec");
    let policy = spec.child("restartPolicy");
    if policy.text() != "Always" {
        errors.push(policy.not_supported(&["Always"]));
    }
    let deadline = spec.child("activeDeadlineSeconds");
    if deadline.is_set() {
        errors.push(deadline.forbidden(format!("activeDeadlineSeconds in {owner} is not Supported")));
    }
}

/// A selector that may not change.
pub(super) fn same_selector(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    immutable(&new.child("spec").child("selector"), &old.child("spec").child("selector"), errors);
}

fn rolling_deployment(rolling: &Field<'_>, errors: &mut Errors) {
    if !rolling.is_set() {
        errors.push(rolling.required("this should be defaulted and never be nil"));
        return;
    }
    let (unavailable, surge) = (rolling.child("maxUnavailable"), rolling.child("maxSurge"));
    int_or_percent(&unavailable, errors);
    int_or_percent(&surge, errors);
    if amount(&unavailable) == 0 && amount(&surge) == 0 {
        errors.push(unavailable.invalid("may not be 0 when `maxSurge` is 0"));
    }
    at_most_all(&unavailable, errors);
}

/// A number or a percentage, not negative.
fn int_or_percent(field: &Field<'_>, errors: &mut Errors) {
    match field.value() {
        Value::String(text) => complain(field, syntax::percent(text), errors),
        _ => non_negative(field, errors),
    }
}

fn at_most_all(field: &Field<'_>, errors: &mut Errors) {
    if percentage(field).is_some_and(|percent| percent > 100) {
        errors.push(field.invalid("must not be greater than 100%"));
    }
}

fn percentage(field: &Field<'_>) -> Option<i64> {
    let text = field.value().as_str()?;
    if !syntax::percent(text).is_empty() {
        return None;
    }
    Some(text.trim_end_matches('%').parse().unwrap_or(i64::MAX))
}

/// The number before the percent sign, or the number itself.
fn amount(field: &Field<'_>) -> i64 {
    match field.value() {
        Value::String(text) => percentage(field).or_else(|| text.parse().ok()).unwrap_or(0),
        _ => field.int(),
    }
}

/// A `StatefulSet`'s spec; `is_new` where it has none stored yet.
pub(super) fn stateful_set(object: &Field<'_>, is_new: bool, errors: &mut Errors) {
    let spec = object.child("spec");
    let management = spec.child("podManagementPolicy");
    match management.text() {
        "" => errors.push(management.required("")),
        "OrderedReady" | "Parallel" => {}
        _ => errors.push(management.invalid("must be 'OrderedReady' or 'Parallel'")),
    }
    set_strategy(&spec.child("updateStrategy"), errors);
    let retention = spec.child("persistentVolumeClaimRetentionPolicy");
    for name in ["whenDeleted", "whenScaled"] {
        let policy = retention.child(name);
        if retention.is_set() && !["Retain", "Delete"].contains(&policy.text()) {
            errors.push(policy.not_supported(&["Retain", "Delete"]));
        }
    }
    if is_new {
        spec.child("volumeClaimTemplates").each(|_, claim| storage::claim_spec(&claim.child("spec"), errors));
    }
    non_negative(&spec.child("replicas"), errors);
    non_negative(&spec.child("minReadySeconds"), errors);
    let ordinals = spec.child("ordinals");
    non_negative(&ordinals.child("start"), errors);
    let service = spec.child("serviceName");
    if is_new && !service.text().is_empty() {
        complain(&service, syntax::dns_label(service.text()), errors);
    }
    let selector = spec.child("selector");
    required_selector(&selector, "statefulset", errors);
    let template = spec.child("template");
    matching_template(&selector, &template, "", errors);
    let with_claims = with_claims(spec.value());
    pod::template(&template.with(&with_claims), errors);
    always_restarted(&template, "StatefulSet", errors);
}

/// The template with a volume for each claim template, as its pods will have them.
fn with_claims(spec: &Value) -> Value {
    let mut template = spec["template"].clone();
    let claims = spec["volumeClaimTemplates"].as_array().map_or(&[][..], Vec::as_slice);
    let names: Vec<&Value> = claims.iter().map(|claim| &claim["metadata"]["name"]).collect();
    let Some(Value::Object(pod)) = template.get_mut("spec") else { return template };
    pod.shift_remove("subdomain");
    pod.shift_remove("hostname");
    if names.is_empty() {
        return template;
    }
    let others = pod.shift_remove("volumes").unwrap_or_default();
    let others = others.as_array().into_iter().flatten().filter(|volume| !names.contains(&&volume["name"])).cloned();
    let claimed = names.iter().map(|name| json!({"name": name, "persistentVolumeClaim": {"claimName": name}}));
    let volumes: Vec<Value> = claimed.chain(others).collect();
    pod.insert("volumes".to_owned(), Value::Array(volumes));
    template
}

fn set_strategy(strategy: &Field<'_>, errors: &mut Errors) {
    let rolling = strategy.child("rollingUpdate");
    match strategy.child("type").text() {
        "" => errors.push(strategy.required("")),
        "OnDelete" => {
            if rolling.is_set() {
                errors.push(rolling.invalid("only allowed for updateStrategy 'RollingUpdate'"));
            }
        }
        "RollingUpdate" => {
            non_negative(&rolling.child("partition"), errors);
            let unavailable = rolling.child("maxUnavailable");
            if unavailable.is_set() {
                int_or_percent(&unavailable, errors);
                if amount(&unavailable) == 0 {
                    errors.push(unavailable.invalid("cannot be 0"));
                }
                at_most_all(&unavailable, errors);
            }
        }
        _ => errors.push(strategy.invalid("must be 'RollingUpdate' or 'OnDelete'")),
    }
}

/// What may change in a `StatefulSet`.
pub(super) fn stateful_set_change(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    let fixed = |object: &Field<'_>| {
        let spec = object.child("spec").value().as_object().cloned().unwrap_or_default();
        spec.into_iter().filter(|(name, _)| !SET_MAY_CHANGE.contains(&name.as_str())).collect::<Map<_, _>>()
    };
    if fixed(new) != fixed(old) {
        errors.push(new.child("spec").forbidden(
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', \
             'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
        ));
    }
}

/// A `DaemonSet`'s spec.
pub(super) fn daemon_set(object: &Field<'_>, errors: &mut Errors) {
    let spec = object.child("spec");
    let (selector, template) = (spec.child("selector"), spec.child("template"));
    metadata::selector(&selector, errors);
    let metadata = template.child("metadata");
    let labels = metadata.child("labels");
    if metadata::selects(&selector, &labels) == Some(false) {
        errors.push(labels.invalid("`selector` does not match template `labels`"));
    }
    if selector.is_set() && metadata::selects_all(&selector) {
        errors.push(selector.invalid("empty selector is invalid for daemonset"));
    }
    pod::template(&template, errors);
    always_restarted(&template, "DaemonSet", errors);
    non_negative(&spec.child("minReadySeconds"), errors);
    daemon_strategy(&spec.child("updateStrategy"), errors);
    non_negative(&spec.child("revisionHistoryLimit"), errors);
}

fn daemon_strategy(strategy: &Field<'_>, errors: &mut Errors) {
    match strategy.child("type").text() {
        "OnDelete" => return,
        "RollingUpdate" => {}
        _ => {
            errors.push(strategy.not_supported(&["RollingUpdate", "OnDelete"]));
            return;
        }
    }
    let rolling = strategy.child("rollingUpdate");
    if !rolling.is_set() {
        errors.push(rolling.required(""));
        return;
    }
    let (unavailable, surge) = (rolling.child("maxUnavailable"), rolling.child("maxSurge"));
    for field in [&unavailable, &surge] {
        int_or_percent(field, errors);
        at_most_all(field, errors);
    }
    match (amount(&unavailable) != 0, amount(&surge) != 0) {
        (true, true) => errors.push(surge.invalid("may not be set when maxUnavailable is non-zero")),
        (false, false) => errors.push(unavailable.required("cannot be 0 when maxSurge is 0")),
        _ => {}
    }
}

/// A `ControllerRevision`.
pub(super) fn revision(object: &Field<'_>, errors: &mut Errors) {
    non_negative(&object.child("revision"), errors);
    let data = object.child("data");
    if !data.is_set() {
        errors.push(data.required("data is mandatory"));
    } else if !data.value().is_object() {
        errors.push(data.required("data must be a valid JSON object"));
    }
}

/// A `PodDisruptionBudget`'s spec.
pub(super) fn budget(object: &Field<'_>, errors: &mut Errors) {
    let spec = object.child("spec");
    let (least, most) = (spec.child("minAvailable"), spec.child("maxUnavailable"));
    if least.is_set() && most.is_set() {
        // Upstream shows its internal type here, whose members are named in Go's way.
        let shown = json!({
            "MinAvailable": least.value(),
            "Selector": sorted(spec.child("selector").value()),
            "MaxUnavailable": most.value(),
            "UnhealthyPodEvictionPolicy": spec.child("unhealthyPodEvictionPolicy").value(),
        });
        let mut error = spec.invalid("minAvailable and maxUnavailable cannot be both set");
        error.value = Some(shown.to_string());
        errors.push(error);
    }
    for field in [&least, &most] {
        if field.is_set() {
            int_or_percent(field, errors);
            at_most_all(field, errors);
        }
    }
    metadata::selector(&spec.child("selector"), errors);
    let policy = spec.child("unhealthyPodEvictionPolicy");
    if policy.is_set() && !["AlwaysAllow", "IfHealthyBudget"].contains(&policy.text()) {
        errors.push(policy.not_supported(&["AlwaysAllow", "IfHealthyBudget"]));
    }
}
