//! The experiment files of a suite: found, read and checked, all of them before the first is run.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use crate::{
    cluster::On,
    experiment::{
        self,
        schema::{Experiment, RunsOn},
    },
};

/// All experiments of the given files and folders that run on a cluster, or every problem of every file as text.
pub fn find(paths: &[PathBuf], on: &On) -> Result<Vec<Experiment>, String> {
    gathered(paths, Some(on))
}

/// All experiments of the given files and folders, wherever they run.
pub fn find_all(paths: &[PathBuf]) -> Result<Vec<Experiment>, String> {
    gathered(paths, None)
}

fn gathered(paths: &[PathBuf], on: Option<&On>) -> Result<Vec<Experiment>, String> {
    let mut files = Vec::new();
    let mut problems: Vec<String> = Vec::new();
    for path in paths {
        match gather(path, true) {
            Ok(found) if found.is_empty() => {
                problems.push(format!("error: {}: no experiment in this folder\n", path.display()));
            }
            Ok(found) => files.extend(found),
            Err(problem) => problems.push(format!("error: {problem}\n")),
        }
    }
    let mut experiments: Vec<Experiment> = Vec::new();
    let mut seen: BTreeMap<String, PathBuf> = BTreeMap::new();
    for (file, text) in files {
        match experiment::read(&file.display().to_string(), &text) {
            Ok(experiment) => {
                let name = experiment.metadata.name.clone();
                if let Some(other) = seen.insert(name.clone(), file.clone()) {
                    problems.push(format!(
                        "error: {} and {} have the same name `{name}`; each names a folder of the record\n",
                        other.display(),
                        file.display()
                    ));
                }
                if let Some(on) = on.filter(|on| !runs_on(experiment.metadata.runs_on, on)) {
                    problems.push(format!(
                        "error: {}: written for {:?} (metadata.where), and cannot run on {on}\n",
                        file.display(),
                        experiment.metadata.runs_on
                    ));
                }
                experiments.push(experiment);
            }
            Err(found) => problems.push(format!("{found}\n")),
        }
    }
    if problems.is_empty() { Ok(experiments) } else { Err(problems.concat()) }
}

/// A file as it is; of a folder, its files of `kind: Experiment`, sorted, without folders that begin with `_`.
fn gather(path: &Path, named: bool) -> Result<Vec<(PathBuf, String)>, String> {
    let told = |error: std::io::Error| format!("failed to read {}: {error}", path.display());
    if !path.is_dir() {
        return Ok(vec![(path.to_owned(), std::fs::read_to_string(path).map_err(told)?)]);
    }
    let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('_'));
    if hidden && !named {
        return Ok(Vec::new());
    }
    let mut entries: Vec<PathBuf> = std::fs::read_dir(path)
        .map_err(told)?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<_, _>>()
        .map_err(told)?;
    entries.sort();
    let mut found = Vec::new();
    for entry in entries {
        if entry.is_dir() {
            found.extend(gather(&entry, false)?);
        } else if entry.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            let file = gather(&entry, false)?;
            found.extend(file.into_iter().filter(|(_, text)| experiment::is_experiment(text)));
        }
    }
    Ok(found)
}

/// Whether a file that is written for some clusters can run on this one.
fn runs_on(wanted: RunsOn, on: &On) -> bool {
    match wanted {
        RunsOn::Any => true,
        RunsOn::Sandbox => *on == On::Sandbox,
        RunsOn::Kind => matches!(on, On::Kind(_)),
    }
}
