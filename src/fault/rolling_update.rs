//! Changes a workload's pod template, and so makes its controller roll it.
//!
//! The step is done when the controller is seen to have taken the new template up; `wait: {rollout: …}` waits for the
//! rollout itself, so that other steps can happen during it.

use std::{collections::BTreeMap, time::Duration};

use kube::{
    api::{Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::{Value, json};

use super::{
    api::call,
    condition::{Condition, receipt},
    error::{StepError, read},
    stage::Stage,
    steps::Progress,
    undo::{self, Undo},
    workload,
};
use crate::experiment::{schema::RollingUpdate, units::WorkloadKind};

/// How long the controller may take to act on it: its work queue is short, but a busy machine is slow.
const RECEIPT_WITHIN: Duration = Duration::from_secs(30);

/// The annotation that `kubectl rollout restart` sets.
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// Runs a `rollingUpdate` step.
pub(super) async fn run(step: &RollingUpdate, stage: &Stage, progress: &Progress) -> Result<String, StepError> {
    let workload = &step.workload;
    let attempted = format!("roll {workload}");
    let api = workload::api(&stage.client, &stage.namespace, workload);
    let before = read(&stage.abort, &attempted, api.get(&workload.name)).await?;
    let no_effect = |why: String| StepError::NoEffect { attempted: attempted.clone(), why };
    refuse_if_it_would_not_roll(workload.kind, &before).map_err(no_effect)?;
    if !stage.namespace_is_ours && undo::revisions_kept(&before) == 0 {
        return Err(no_effect(
            "its revisionHistoryLimit is 0, so nothing would remember the template of now if this process were \
             killed; set it to 1 or more"
                .into(),
        ));
    }
    let template = before.data.pointer("/spec/template").cloned().unwrap_or_default();
    let (patch, words) = change(step, &template, &jiff::Timestamp::now().to_string()).map_err(no_effect)?;
    progress.begun(format!("roll {workload}: {words}"), vec![workload.to_string()]);

    let revision = workload::revision(workload.kind, &before).map(str::to_owned);
    let undo = Undo::RestoreTemplate {
        workload: workload.clone(),
        namespace: stage.namespace.clone(),
        template: template.into(),
    };
    stage.undo.register(undo).await?;
    let after = call(api.patch(&workload.name, &PatchParams::default(), &Patch::Strategic(patch)))
        .await
        .map_err(StepError::api(&attempted))?;
    let generation = workload::generation(&after);
    if generation <= workload::generation(&before) {
        return Err(no_effect(
            "the API server changed nothing; look for an admission webhook that sets it back".into(),
        ));
    }
    let condition = Condition::TemplateTaken { workload: workload.clone(), generation, revision };
    let seen = receipt(stage, &condition, RECEIPT_WITHIN, &format!("template of {workload} changed")).await?;
    progress.effective(seen.clone());
    Ok(seen)
}

/// Why a change of the template would not be rolled out, where that is so.
fn refuse_if_it_would_not_roll(kind: WorkloadKind, object: &DynamicObject) -> Result<(), String> {
    if object.data.pointer("/spec/paused") == Some(&json!(true)) {
        return Err("its rollout is paused; resume it with `kubectl rollout resume`".into());
    }
    let on_delete = workload::text(object, "/spec/updateStrategy/type") == "OnDelete";
    if kind != WorkloadKind::Deployment && on_delete {
        return Err("its updateStrategy is OnDelete, so only deleting its pods updates them; set RollingUpdate".into());
    }
    Ok(())
}

/// The strategic merge patch of a step, and the change in words; or why it would change nothing.
fn change(step: &RollingUpdate, template: &Value, now: &str) -> Result<(Value, String), String> {
    match (&step.image, &step.env, step.restart) {
        (Some(image), None, false) => {
            let (name, container) = container(step, template)?;
            let before = container["image"].as_str().unwrap_or_default();
            if before == image {
                return Err(format!("container `{name}` has the image {image} already; give another"));
            }
            let words = format!("image of container `{name}` from {before} to {image}");
            Ok((in_container(name, &json!({"image": image})), words))
        }
        (None, Some(env), false) => {
            let (name, container) = container(step, template)?;
            let changed: BTreeMap<_, _> =
                env.iter().filter(|(key, value)| current_env(container, key) != Some(value.as_str())).collect();
            if changed.is_empty() {
                return Err(format!("container `{name}` has this environment already; give another value"));
            }
            let entries: Vec<Value> = changed
                .iter()
                // A variable that came from elsewhere so far must lose that, or the API refuses to have both.
                .map(|(key, value)| json!({"name": key, "value": value, "valueFrom": null}))
                .collect();
            let keys: Vec<&str> = changed.keys().map(|key| key.as_str()).collect();
            let words = format!("environment {} of container `{name}`", keys.join(", "));
            Ok((in_container(name, &json!({"env": entries})), words))
        }
        (None, None, true) => {
            let annotations = json!({RESTARTED_AT: now});
            Ok((json!({"spec": {"template": {"metadata": {"annotations": annotations}}}}), format!("restart at {now}")))
        }
        _ => Err("exactly one of `image`, `env` and `restart` must be given".into()),
    }
}

/// The container that a step means.
fn container<'a>(step: &RollingUpdate, template: &'a Value) -> Result<(&'a str, &'a Value), String> {
    let containers = template.pointer("/spec/containers").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let names: Vec<&str> = containers.iter().filter_map(|one| one["name"].as_str()).collect();
    let index = match &step.container {
        Some(wanted) => names.iter().position(|name| name == wanted),
        None => (names.len() == 1).then_some(0),
    };
    match index.and_then(|index| Some((*names.get(index)?, containers.get(index)?))) {
        Some(found) => Ok(found),
        None => Err(format!("`container` must be one of {names:?}")),
    }
}

fn current_env<'a>(container: &'a Value, key: &str) -> Option<&'a str> {
    container["env"].as_array()?.iter().find(|one| one["name"] == key)?["value"].as_str()
}

fn in_container(name: &str, change: &Value) -> Value {
    let mut container = change.clone();
    container["name"] = json!(name);
    json!({"spec": {"template": {"spec": {"containers": [container]}}}})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(json: &Value) -> RollingUpdate {
        let mut whole = json!({"workload": "deployment/shop"});
        whole.as_object_mut().unwrap().extend(json.as_object().unwrap().clone());
        serde_json::from_value(whole).unwrap()
    }

    fn template(containers: &Value) -> Value {
        json!({"spec": {"containers": containers}})
    }

    #[test]
    fn each_change_touches_only_what_it_names() {
        let template = template(&json!([
            {"name": "web", "image": "web:1", "env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {}}]},
            {"name": "side", "image": "side:1"}]));
        let table = [
            (
                json!({"container": "web", "image": "web:2"}),
                json!({"spec": {"containers": [{"image": "web:2", "name": "web"}]}}),
            ),
            (
                json!({"container": "web", "env": {"A": "1", "B": "2"}}),
                json!({"spec": {"containers": [{"env": [{"name": "B", "value": "2", "valueFrom": null}], "name": "web"}]}}),
            ),
            (json!({"restart": true}), json!({"metadata": {"annotations": {RESTARTED_AT: "now"}}})),
        ];
        for (given, expected) in table {
            let (patch, _) = change(&step(&given), &template, "now").unwrap();
            assert_eq!(patch, json!({"spec": {"template": expected}}));
        }
    }

    #[test]
    fn a_change_that_changes_nothing_is_refused() {
        let one = template(&json!([{"name": "web", "image": "web:1", "env": [{"name": "A", "value": "1"}]}]));
        let two = template(&json!([{"name": "web", "image": "web:1"}, {"name": "side", "image": "side:1"}]));
        let table = [
            (json!({"image": "web:1"}), &one, "has the image web:1 already"),
            (json!({"env": {"A": "1"}}), &one, "has this environment already"),
            (json!({"image": "web:2"}), &two, r#"one of ["web", "side"]"#),
            (json!({"image": "web:2", "container": "wbe"}), &one, r#"one of ["web"]"#),
            (json!({}), &one, "exactly one"),
        ];
        for (given, template, expected) in table {
            let why = change(&step(&given), template, "now").unwrap_err();
            assert!(why.contains(expected), "{why}");
        }
    }

    #[test]
    fn a_workload_that_would_not_roll_is_refused() {
        let object = |spec: Value| serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap();
        let paused = object(json!({"paused": true}));
        let on_delete = object(json!({"updateStrategy": {"type": "OnDelete"}}));
        assert!(refuse_if_it_would_not_roll(WorkloadKind::Deployment, &paused).is_err());
        assert!(refuse_if_it_would_not_roll(WorkloadKind::StatefulSet, &on_delete).is_err());
        let rolling = object(json!({"updateStrategy": {"type": "RollingUpdate"}}));
        assert_eq!(refuse_if_it_would_not_roll(WorkloadKind::StatefulSet, &rolling), Ok(()));
    }
}
