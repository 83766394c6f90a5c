//! From the text of a file to a checked experiment, or to everything that is wrong with it at once.
//!
//! Four passes over one tree: YAML, the schema, the values against each other, the types. A part that the schema
//! refuses does not keep the others from being checked.

use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::{
    check,
    problem::{Place, Problem, Problems},
    schema::{Expectation, Experiment, Given, Lane, Metadata, Phases, Step},
    tree::{self, Node, Path},
    validate,
};

/// What `apiVersion` begins with in files of this program.
const API_GROUP: &str = "evenkeel/";

/// Reads and checks an experiment.
///
/// `path_for_messages` is how the file is called in problems. The error holds every problem that could be found, each
/// with its place and what to write instead.
pub fn read(path_for_messages: &str, text: &str) -> Result<Experiment, Problems> {
    let refuse = |problems| Problems::new(path_for_messages, problems);
    let (root, mut problems) = tree::parse(text);
    let Some(root) = root else { return Err(refuse(problems)) };
    if let Some(problem) = something_else(&root) {
        return Err(refuse(vec![problem]));
    }
    let checked = check::check(&root);
    problems.extend(checked.problems);
    problems.extend(validate::validate(&root, &checked.unknown_keys));
    if !problems.is_empty() {
        return Err(refuse(problems));
    }
    let value = root.to_json(&[]);
    serde_json::from_value(value).map_err(|error| refuse(vec![mapped(&root, &error)]))
}

/// Whether a file of a folder is meant as an experiment: by its `apiVersion`, or by its `kind` where it has no
/// `apiVersion`. A file that is not YAML is, if it has such a line.
#[must_use]
pub fn is_experiment(text: &str) -> bool {
    let of = |api_version: Option<&str>, kind: Option<&str>| match api_version {
        Some(version) => version.starts_with(API_GROUP),
        None => kind == Some("Experiment"),
    };
    if let (Some(root), _) = tree::parse(text) {
        return of(root.get("apiVersion").and_then(Node::text), root.get("kind").and_then(Node::text));
    }
    let line = |key: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix(':'))?;
        let value = value.split(" #").next().unwrap_or_default();
        Some(value.trim().trim_matches(['"', '\'']))
    };
    of(line("apiVersion"), line("kind"))
}

/// A file of another kind gets one problem, instead of one for each of its keys.
fn something_else(root: &Node) -> Option<Problem> {
    let api_version = root.get("apiVersion").and_then(Node::text);
    let kind = root.get("kind").and_then(Node::text);
    let is_ours = api_version.is_some_and(|version| version.starts_with(API_GROUP)) || kind == Some("Experiment");
    if is_ours || (api_version.is_none() && kind.is_none() && root.get("spec").is_some()) {
        return None;
    }
    let what = match kind {
        Some(kind) => format!("this is of kind {kind}, not an experiment"),
        None => format!("this is {}, not an experiment", root.in_words()),
    };
    let instead = "an experiment begins with `apiVersion: evenkeel/v1` and `kind: Experiment`; Kubernetes objects \
                   go under `spec.given.apply`";
    let place = root.entry("kind").map_or(root.place, |entry| entry.value.place);
    Some(Problem { place, what, instead: instead.to_owned() })
}

/// A part of the tree as its type, without the keys nobody knows; nothing where the schema has refused it.
pub(super) fn part<T: DeserializeOwned>(root: &Node, path: &Path, leave_out: &[Place]) -> Option<T> {
    T::deserialize(root.at(path)?.to_json(leave_out)).ok()
}

/// The types refuse what the schema took, which is a mistake of this program: named at the smallest part it is in.
fn mapped(root: &Node, error: &serde_json::Error) -> Problem {
    /// Why a type refuses a value, where it does.
    type Refuses = fn(&Json) -> Option<String>;
    fn refused<T: DeserializeOwned>(value: &Json) -> Option<String> {
        T::deserialize(value).err().map(|error| error.to_string())
    }
    let spec = Path::root().key("spec");
    let mut parts: Vec<(Path, Refuses)> = vec![
        (Path::root().key("metadata"), refused::<Metadata>),
        (spec.key("given"), refused::<Given>),
        (spec.key("phases"), refused::<Phases>),
    ];
    let lists: [(&str, Refuses); 3] =
        [("load", refused::<Lane>), ("steps", refused::<Step>), ("expect", refused::<Expectation>)];
    for (key, refuses) in lists {
        let list = spec.key(key);
        let items = root.at(&list).map_or(0, |items| items.items().len());
        parts.extend((0..items).map(|index| (list.index(index), refuses)));
    }
    let first = parts.into_iter().find_map(|(path, refuses)| {
        let error = refuses(&root.at(&path)?.to_json(&[]))?;
        Some((root.place_of(&path), error))
    });
    let (place, what) = first.unwrap_or_else(|| (root.place, error.to_string()));
    Problem { place, what, instead: "write it as `evenkeel schema` says".to_owned() }
}

#[cfg(test)]
mod tests;
