//! What every file under `experiments/` must be, decided without a cluster: readable, asking a question, and in a
//! known-bad twin, different from its experiment by exactly one setting.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use evenkeel::experiment::{
    self,
    schema::{Expectation, Experiment},
};
use serde_json::{Value, json};

struct File {
    path: PathBuf,
    text: String,
    experiment: Experiment,
}

fn files() -> Vec<File> {
    let mut paths = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments"), &mut paths);
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            let experiment = experiment::read(&path.display().to_string(), &text).unwrap_or_else(|p| panic!("{p}"));
            File { path, text, experiment }
        })
        .collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { collect(&path, paths) } else { paths.push(path) }
    }
}

fn is_twin(file: &File) -> bool {
    file.path.components().any(|part| part.as_os_str() == "_broken")
}

fn findings<'a>(experiment: &'a Experiment) -> Vec<&'a str> {
    let of = |expectation: &'a Expectation| match expectation {
        Expectation::Finding(finding) => Some(finding.id.as_str()),
        _ => None,
    };
    experiment.spec.expect.iter().filter_map(of).collect()
}

#[test]
fn every_file_is_named_after_its_experiment_and_begins_with_the_question_it_answers() {
    for file in files() {
        let stem = file.path.file_stem().unwrap().to_str().unwrap();
        assert_eq!(stem, file.experiment.metadata.name, "{}", file.path.display());
        let first = file.text.lines().next().unwrap();
        let asks = first.starts_with("# ") && (first.ends_with('?') || first.ends_with('.') && is_twin(&file));
        assert!(asks, "{}: {first}", file.path.display());
        assert!(file.experiment.metadata.scenario.is_some(), "{}", file.path.display());
    }
}

#[test]
fn every_scenario_of_the_first_suite_has_an_experiment_and_a_twin() {
    let files = files();
    for scenario in ["B1", "B2", "B3", "C1", "C2", "C4", "C6"] {
        for twin in [false, true] {
            let there =
                files.iter().any(|f| f.experiment.metadata.scenario.as_deref() == Some(scenario) && is_twin(f) == twin);
            assert!(there, "{scenario}, twin: {twin}");
        }
    }
}

#[test]
fn a_twin_differs_from_its_experiment_by_one_setting_and_names_what_must_be_found() {
    let files = files();
    let good: BTreeMap<&str, &File> =
        files.iter().filter(|f| !is_twin(f)).map(|f| (f.experiment.metadata.name.as_str(), f)).collect();
    for twin in files.iter().filter(|f| is_twin(f)) {
        let of = twin.experiment.metadata.twin_of.as_deref().unwrap_or_else(|| panic!("{}", twin.path.display()));
        let base = good.get(of).unwrap_or_else(|| panic!("{}: no experiment `{of}`", twin.path.display()));
        assert_eq!(base.experiment.metadata.scenario, twin.experiment.metadata.scenario);
        assert_eq!(findings(&twin.experiment).len(), 1, "{}", twin.path.display());
        let differences = differences(&settings(&base.experiment), &settings(&twin.experiment));
        assert_eq!(differences.len(), 1, "{}: {differences:#?}", twin.path.display());
    }
}

#[test]
fn a_file_outside_broken_is_no_twin() {
    for file in files().iter().filter(|f| !is_twin(f)) {
        assert_eq!(file.experiment.metadata.twin_of, None, "{}", file.path.display());
    }
}

/// What an experiment sets: all but its name and what it expects. Applied objects are keyed by kind and name.
fn settings(experiment: &Experiment) -> Value {
    let mut spec = serde_json::to_value(&experiment.spec).unwrap();
    let fields = spec.as_object_mut().unwrap();
    fields.remove("expect");
    let given = fields.get_mut("given").unwrap().as_object_mut().unwrap();
    let objects = given.remove("apply").unwrap_or_default();
    for object in objects.as_array().into_iter().flatten() {
        let key = format!("{} {}", object["kind"], object["metadata"]["name"]);
        given.insert(key, object.clone());
    }
    spec
}

/// The places at which two trees differ. A subtree that is there on one side only is one place, and a key that was
/// renamed with its value kept is one.
fn differences(left: &Value, right: &Value) -> Vec<String> {
    match (left, right) {
        (Value::Object(left), Value::Object(right)) => {
            let mut found = Vec::new();
            let gone: Vec<_> = left.iter().filter(|(key, _)| !right.contains_key(*key)).collect();
            let mut come: Vec<_> = right.iter().filter(|(key, _)| !left.contains_key(*key)).collect();
            for (key, value) in gone {
                match come.iter().position(|(_, other)| *other == value) {
                    Some(renamed) => found.push(format!("{key} became {}", come.remove(renamed).0)),
                    None => found.push(format!("-{key}")),
                }
            }
            found.extend(come.iter().map(|(key, _)| format!("+{key}")));
            for (key, value) in left {
                if let Some(other) = right.get(key) {
                    found.extend(differences(value, other).into_iter().map(|place| format!("{key}.{place}")));
                }
            }
            found
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            left.iter().zip(right).flat_map(|(a, b)| differences(a, b)).collect()
        }
        (left, right) if left == right => Vec::new(),
        (left, right) => vec![format!("{left} became {right}")],
    }
}

#[test]
fn two_changes_are_two_differences_and_a_renamed_key_is_one() {
    let of = |left: Value, right: Value| differences(&left, &right).len();
    assert_eq!(of(json!({"a": 1, "b": [1, 2]}), json!({"a": 1, "b": [1, 2]})), 0);
    assert_eq!(of(json!({"a": 1, "b": [1, 2]}), json!({"a": 2, "b": [1, 3]})), 2);
    assert_eq!(of(json!({"a": {"x": 1}}), json!({"b": {"x": 1}})), 1);
    assert_eq!(of(json!({"a": {"x": 1}}), json!({"b": {"x": 2}})), 2);
}
