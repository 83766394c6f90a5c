//! Problems between values: what each of them is by itself is fine, but together they cannot be meant.
//!
//! It works on the parts that the schema took, so that a slip in one lane does not hide one in a step. What a refused
//! part would have defined (a lane's name) is read from the tree, so that no reference is called unknown for it.

use std::collections::BTreeSet;

use super::{
    problem::{Place, Problem},
    read::part,
    tree::{Node, Path},
};

mod applied;
mod expect;
mod given;
mod guards;
mod load;
mod names;
mod objects;
mod picks;
mod steps;

/// All problems between the values of a tree. `unknown_keys` are the places of keys that are passed over.
pub(super) fn validate(root: &Node, unknown_keys: &[Place]) -> Vec<Problem> {
    let mut validator = Validator { root, unknown_keys, applied: applied::Applied::read(root), problems: Vec::new() };
    validator.metadata();
    validator.given();
    validator.objects();
    validator.load();
    validator.phases();
    validator.guards();
    validator.abort();
    validator.steps();
    validator.expect();
    validator.problems
}

struct Validator<'a> {
    root: &'a Node,
    unknown_keys: &'a [Place],
    applied: applied::Applied,
    problems: Vec<Problem>,
}

impl Validator<'_> {
    /// A problem with the value at a path.
    fn problem(&mut self, path: &Path, what: impl Into<String>, instead: impl Into<String>) {
        let place = self.root.place_of(path);
        self.problems.push(Problem { place, what: what.into(), instead: instead.into() });
    }

    /// A problem with a key of the map at a path.
    fn key_problem(&mut self, path: &Path, key: &str, what: impl Into<String>, instead: impl Into<String>) {
        let place = self.root.place_of_key(path, key);
        self.problems.push(Problem { place, what: what.into(), instead: instead.into() });
    }

    fn part<T: serde::de::DeserializeOwned>(&self, path: &Path) -> Option<T> {
        part(self.root, path, self.unknown_keys)
    }

    /// The items of a list that the schema took, with their paths.
    fn items<T: serde::de::DeserializeOwned>(&self, list: &Path) -> Vec<(Path, T)> {
        let items = self.root.at(list).map_or(0, |items| items.items().len());
        let paths = (0..items).map(|index| list.index(index));
        paths.filter_map(|path| self.part(&path).map(|item| (path, item))).collect()
    }

    /// The line of a path, for problems that point from one place to another.
    fn line_of(&self, path: &Path) -> usize {
        self.root.place_of(path).line
    }
}

fn spec() -> Path {
    Path::root().key("spec")
}

/// Texts joined for a message: `a, b`; `none` where there are none.
fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: BTreeSet<&str> = names.into_iter().collect();
    if names.is_empty() { "none".to_owned() } else { names.into_iter().collect::<Vec<_>>().join(", ") }
}
