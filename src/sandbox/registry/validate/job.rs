//! Jobs (k/pkg/apis/batch/validation/validation.go, v1.34.4).

use serde_json::{Value, json};

use super::{
    super::json::sorted,
    field::{Errors, Field, complain, immutable, non_negative},
    metadata, pod, syntax,
};

/// The most pods of an indexed job at once, and the most failed indexes that it takes.
const INDEXED_MAX: i64 = 100_000;

/// The most rules of a policy.
const RULES_MAX: usize = 20;

const ACTIONS: [&str; 4] = ["Count", "FailIndex", "FailJob", "Ignore"];

/// A Job.
pub(super) fn job(object: &Field<'_>, errors: &mut Errors) {
    generated_selector(object, errors);
    let spec = object.child("spec");
    job_spec(&spec, errors);
    let (metadata, completions) = (object.child("metadata"), spec.child("completions"));
    if spec.child("completionMode").text() == "Indexed" && completions.int() > 0 {
        let name = metadata.child("name");
        let host = format!("{}-{}", name.text(), completions.int() - 1);
        if !syntax::dns_label(&host).is_empty() {
            errors.push(name.invalid(format!("will not able to create pod with invalid DNS label: {host}")));
        }
    }
}

/// The selector and the labels that the server gives, unless the author has asked for their own.
fn generated_selector(object: &Field<'_>, errors: &mut Errors) {
    let (metadata, spec) = (object.child("metadata"), object.child("spec"));
    let selector = spec.child("selector");
    if spec.child("manualSelector").value() == true || !selector.is_set() {
        return;
    }
    let template = spec.child("template");
    let template = template.child("metadata");
    let labels = template.child("labels");
    let expected = [
        ("controller-uid", metadata.child("uid").text()),
        ("job-name", metadata.child("name").text()),
        ("batch.kubernetes.io/controller-uid", metadata.child("uid").text()),
        ("batch.kubernetes.io/job-name", metadata.child("name").text()),
    ];
    for (key, value) in expected {
        let label = labels.key(key);
        if !label.is_set() {
            errors.push(label.required(format!("must be '{value}'")));
        } else if label.text() != value {
            errors.push(label.with(labels.value()).invalid(format!("must be '{value}'")));
        }
    }
    let generated = Value::Object(expected.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect());
    if metadata::selects(&selector, &labels.with(&generated)) == Some(false) {
        errors.push(selector.invalid("`selector` not auto-generated"));
    }
}

fn job_spec(spec: &Field<'_>, errors: &mut Errors) {
    for name in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        non_negative(&spec.child(name), errors);
    }
    modes(spec, errors);
    let template = spec.child("template");
    failure_policy(spec, errors);
    success_policy(spec, errors);
    let replacement = spec.child("podReplacementPolicy");
    let has_policy = spec.child("podFailurePolicy").is_set();
    let allowed: &[&str] = if has_policy { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
    if replacement.is_set() && !allowed.contains(&replacement.text()) {
        errors.push(replacement.not_supported(allowed));
    }
    pod::template(&template, errors);
    let template_spec = template.child("spec");
    let policy = template_spec.child("restartPolicy");
    match policy.text() {
        "Always" | "" => errors.push(policy.required("valid values: \"OnFailure\", \"Never\"")),
        "OnFailure" if has_policy => {
            errors.push(policy.invalid("only \"Never\" is supported when podFailurePolicy is specified"));
        }
        "OnFailure" | "Never" => {}
        _ => errors.push(policy.not_supported(&["OnFailure", "Never"])),
    }
    let selector = spec.child("selector");
    if selector.is_set() {
        metadata::selector(&selector, errors);
    } else {
        errors.push(selector.required(""));
    }
    let metadata = template.child("metadata");
    let labels = metadata.child("labels");
    if metadata::selects(&selector, &labels) == Some(false) {
        errors.push(labels.invalid("`selector` does not match template `labels`"));
    }
}

fn modes(spec: &Field<'_>, errors: &mut Errors) {
    let (mode, completions) = (spec.child("completionMode"), spec.child("completions"));
    let (per_index, failed) = (spec.child("backoffLimitPerIndex"), spec.child("maxFailedIndexes"));
    if failed.is_set() && !per_index.is_set() {
        errors.push(per_index.required("when maxFailedIndexes is specified"));
    }
    match mode.text() {
        "Indexed" => {
            let parallelism = spec.child("parallelism");
            if !completions.is_set() {
                errors.push(completions.required("when completion mode is Indexed"));
            }
            if parallelism.int() > INDEXED_MAX {
                let detail = format!("must be less than or equal to {INDEXED_MAX} when completion mode is Indexed");
                errors.push(parallelism.invalid(detail));
            }
            if completions.is_set() && failed.int() > completions.int() {
                errors.push(failed.invalid("must be less than or equal to completions"));
            }
            if failed.int() > INDEXED_MAX {
                errors.push(failed.invalid(format!("must be less than or equal to {INDEXED_MAX}")));
            }
        }
        "NonIndexed" | "" => {
            for field in [&per_index, &failed] {
                if field.is_set() {
                    errors.push(field.invalid("requires indexed completion mode"));
                }
            }
        }
        _ => errors.push(mode.not_supported(&["NonIndexed", "Indexed"])),
    }
}

fn failure_policy(spec: &Field<'_>, errors: &mut Errors) {
    let policy = spec.child("podFailurePolicy");
    let rules = policy.child("rules");
    if rules.len() > RULES_MAX {
        errors.push(too_many(&rules, RULES_MAX));
    }
    let pod = &spec.value()["template"]["spec"];
    let containers: Vec<&Value> = ["containers", "initContainers"]
        .iter()
        .flat_map(|list| pod[list].as_array().into_iter().flatten())
        .map(|container| &container["name"])
        .collect();
    rules.each(|_, rule| {
        let action = rule.child("action");
        match action.text() {
            "" => errors.push(action.required(r#"valid values: ["Count" "FailIndex" "FailJob" "Ignore"]"#)),
            "FailIndex" if !spec.child("backoffLimitPerIndex").is_set() => {
                errors.push(action.invalid("requires the backoffLimitPerIndex to be set"));
            }
            known if ACTIONS.contains(&known) => {}
            _ => errors.push(action.not_supported(&ACTIONS)),
        }
        let (codes, conditions) = (rule.child("onExitCodes"), rule.child("onPodConditions"));
        if codes.is_set() {
            exit_codes(&codes, &containers, errors);
        }
        conditions.each(|_, pattern| {
            let (kind, status) = (pattern.child("type"), pattern.child("status"));
            complain(&kind, syntax::qualified_name(kind.text()), errors);
            if !["False", "True", "Unknown"].contains(&status.text()) {
                errors.push(status.not_supported(&["False", "True", "Unknown"]));
            }
        });
        match (codes.is_set(), conditions.is_empty()) {
            (true, false) => {
                errors.push(rule.invalid_unshown("specifying both OnExitCodes and OnPodConditions is not supported"));
            }
            (false, true) => {
                errors.push(rule.invalid_unshown("specifying one of OnExitCodes and OnPodConditions is required"));
            }
            _ => {}
        }
    });
}

fn exit_codes(codes: &Field<'_>, containers: &[&Value], errors: &mut Errors) {
    let (operator, values) = (codes.child("operator"), codes.child("values"));
    match operator.text() {
        "" => errors.push(operator.required(r#"valid values: ["In" "NotIn"]"#)),
        "In" | "NotIn" => {}
        _ => errors.push(operator.not_supported(&["In", "NotIn"])),
    }
    let container = codes.child("containerName");
    if container.is_set() && !containers.contains(&container.value()) {
        errors.push(container.invalid("must be one of the container or initContainer names in the pod template"));
    }
    if values.is_empty() {
        errors.push(values.invalid("at least one value is required"));
    } else if values.len() > 255 {
        errors.push(too_many(&values, 255));
    }
    let (mut seen, mut ordered) = (Vec::new(), true);
    values.each(|_, value| {
        if operator.text() == "In" && value.int() == 0 {
            errors.push(value.invalid("must not be 0 for the In operator"));
        }
        if seen.contains(&value.int()) {
            errors.push(value.duplicate());
        }
        ordered &= seen.last().is_none_or(|before| *before <= value.int());
        seen.push(value.int());
    });
    if !ordered {
        errors.push(values.invalid("must be ordered"));
    }
}

fn too_many(field: &Field<'_>, most: usize) -> crate::sandbox::error::FieldError {
    // Upstream's kind for this is TooMany, which differs in the first words only.
    let mut error = field.invalid(format!("must have at most {most} items"));
    error.value = Some(field.len().to_string());
    error
}

fn success_policy(spec: &Field<'_>, errors: &mut Errors) {
    let policy = spec.child("successPolicy");
    if !policy.is_set() {
        return;
    }
    if spec.child("completionMode").text() != "Indexed" {
        errors.push(policy.invalid("requires indexed completion mode"));
        return;
    }
    let (rules, completions) = (policy.child("rules"), spec.child("completions").int());
    if rules.is_empty() {
        errors.push(rules.required("at least one rules must be specified when the successPolicy is specified"));
    } else if rules.len() > RULES_MAX {
        errors.push(too_many(&rules, RULES_MAX));
    }
    rules.each(|_, rule| {
        let (count, indexes) = (rule.child("succeededCount"), rule.child("succeededIndexes"));
        if !count.is_set() && !indexes.is_set() {
            errors.push(rule.required("at least one of succeededCount or succeededIndexes must be specified"));
        }
        let mut total = None;
        if indexes.is_set() {
            match index_count(indexes.text(), completions) {
                Ok(found) => total = Some(found),
                Err(why) => errors.push(indexes.invalid(format!("error parsing succeededIndexes: {why}"))),
            }
        }
        non_negative(&count, errors);
        if count.int() > completions {
            errors.push(
                count.invalid(format!(
                    "must be less than or equal to {completions} (the number of specified completions)"
                )),
            );
        }
        if let Some(total) = total.filter(|total| count.int() > *total) {
            errors.push(count.invalid(format!(
                "must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
            )));
        }
    });
}

/// The number of indexes in a text such as `0-2,5`.
fn index_count(text: &str, completions: i64) -> Result<i64, String> {
    let (mut total, mut last) = (0, None);
    for interval in text.split(',').filter(|_| !text.is_empty()) {
        let number = |text: &str| -> Result<i64, String> {
            let number =
                text.parse::<i32>().map_err(|_| format!("cannot convert string to integer for index: {text:?}"))?;
            let number = i64::from(number);
            if number >= completions { Err(format!("too large index: {text:?}")) } else { Ok(number) }
        };
        let (first, end) = match interval.split_once('-') {
            Some((first, end)) => (number(first)?, number(end)?),
            None => (number(interval)?, number(interval)?),
        };
        if first > end || (first == end && interval.contains('-')) {
            return Err(format!("non-increasing order, previous: {first}, current: {end}"));
        }
        if let Some(before) = last.filter(|before| *before >= first) {
            return Err(format!("non-increasing order, previous: {before}, current: {first}"));
        }
        total += end - first + 1;
        last = Some(end);
    }
    Ok(total)
}

/// What may change in a Job.
pub(super) fn change(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    let (spec, before) = (new.child("spec"), old.child("spec"));
    job_spec(&spec, errors);
    let (completions, parallelism) = (spec.child("completions"), spec.child("parallelism"));
    let indexed = spec.child("completionMode").text() == "Indexed";
    if !indexed {
        immutable(&completions, &before.child("completions"), errors);
    } else if completions.value() != before.child("completions").value()
        && completions.is_set()
        && completions.value() != parallelism.value()
    {
        errors.push(completions.invalid("can only be modified in tandem with spec.parallelism"));
    }
    immutable(&spec.child("selector"), &before.child("selector"), errors);
    let status = old.child("status");
    let unstarted = before.child("suspend").value() == true && !status.child("startTime").is_set();
    let earlier = if unstarted {
        with_scheduling_of(before.child("template").value(), spec.child("template").value())
    } else {
        before.child("template").value().clone()
    };
    let template = spec.child("template");
    if *template.value() != earlier {
        let mut error = template.invalid("field is immutable");
        error.value = Some(sorted(template.value()).to_string());
        errors.push(error);
    }
    for name in ["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"] {
        immutable(&spec.child(name), &before.child(name), errors);
    }
}

/// A template with the scheduling directives of another: they may change before a suspended job has ever started.
fn with_scheduling_of(old: &Value, new: &Value) -> Value {
    let mut template = old.clone();
    let ways: [&[&str]; 6] = [
        &["spec", "affinity", "nodeAffinity"],
        &["spec", "nodeSelector"],
        &["spec", "tolerations"],
        &["spec", "schedulingGates"],
        &["metadata", "annotations"],
        &["metadata", "labels"],
    ];
    for way in ways {
        let Some((last, before)) = way.split_last() else { continue };
        let wanted = way.iter().try_fold(new, |at, key| at.get(key));
        let mut at = &mut template;
        for key in before {
            if at.get(key).is_none() && wanted.is_some() && at.is_object() {
                at[*key] = json!({});
            }
            match at.get_mut(key) {
                Some(_) => at = &mut at[*key],
                None => break,
            }
        }
        match (wanted, at.as_object_mut()) {
            (Some(wanted), Some(map)) => drop(map.insert((*last).to_owned(), wanted.clone())),
            (None, Some(map)) => drop(map.shift_remove(*last)),
            (_, None) => {}
        }
    }
    let empty = template["spec"]["affinity"].as_object().is_some_and(serde_json::Map::is_empty);
    if empty
        && new["spec"].get("affinity").is_none()
        && let Some(map) = template["spec"].as_object_mut()
    {
        map.shift_remove("affinity");
    }
    template
}
