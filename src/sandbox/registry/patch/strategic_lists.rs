//! The lists of strategic merge patches: elements by their key, and their order: what the patch orders comes in its
//! order, the server's own elements in theirs, and both are interleaved as the live list has them
//! (apimachinery/pkg/util/strategicpatch/patch.go, `normalizeElementOrder`, v0.34.4).

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::{schema::Strategy, unexplained};
use crate::sandbox::error::ApiError;

/// How the elements of a list are told apart: by a key, or, where there is none, by themselves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keyed(Option<&'static str>);

/// Removes these scalars from a list.
pub(super) fn delete_from(live: &mut Vec<Value>, gone: &[Value]) {
    let gone: HashSet<String> = gone.iter().map(Value::to_string).collect();
    live.retain(|one| !gone.contains(&one.to_string()));
}

impl Keyed {
    /// Scalars.
    pub(super) const fn scalars() -> Self {
        Self(None)
    }

    /// Objects with a key.
    pub(super) const fn by(key: &'static str) -> Self {
        Self(Some(key))
    }

    /// As a field's strategy has it.
    pub(super) const fn of(strategy: Strategy) -> Self {
        match strategy {
            Strategy::Merge(key) if !key.is_empty() => Self(Some(key)),
            Strategy::Merge(_) | Strategy::Usual | Strategy::Replace => Self(None),
        }
    }

    fn key_of(self, item: &Value) -> Result<&Value, ApiError> {
        let Some(key) = self.0 else { return Ok(item) };
        item.get(key).ok_or_else(|| unexplained(format!("map: {item} does not contain declared merge key: {key}")))
    }

    /// What tells an element apart, as text.
    pub(super) fn of_item(self, item: &Value) -> Result<String, ApiError> {
        self.key_of(item).map(Value::to_string)
    }

    /// An element with nothing but its key.
    pub(super) fn bare(self, item: &Value) -> Result<Value, ApiError> {
        let value = self.key_of(item)?.clone();
        Ok(match self.0 {
            Some(key) => Value::Object(Map::from_iter([(key.to_owned(), value)])),
            None => value,
        })
    }

    /// Where each element is; the first one where there are several.
    pub(super) fn places(self, items: &[Value]) -> Result<HashMap<String, usize>, ApiError> {
        let mut places = HashMap::with_capacity(items.len());
        for (place, item) in items.iter().enumerate() {
            places.entry(self.of_item(item)?).or_insert(place);
        }
        Ok(places)
    }

    /// Checks that the elements of a patch come in the order that it asks for itself, and are all in it.
    pub(super) fn check_order(self, patch: &[Value], order: &[Value]) -> Result<(), ApiError> {
        if patch.is_empty() || order.is_empty() {
            return Ok(());
        }
        let mut ordered = order.iter();
        for item in patch.iter().filter(|item| item.get("$patch").is_none()) {
            let name = self.of_item(item)?;
            let mut found = false;
            for one in ordered.by_ref() {
                if self.of_item(one)? == name {
                    found = true;
                    break;
                }
            }
            if !found {
                let [patch, order] = [patch, order].map(|list| Value::Array(list.to_vec()));
                return Err(unexplained(format!(
                    "The order in patch list:\n{patch}\n doesn't match $setElementOrder list:\n{order}\n"
                )));
            }
        }
        Ok(())
    }

    /// A merged list in order: that of the patch for its elements, the live one's for others.
    pub(super) fn in_order(self, merged: Vec<Value>, order: &[Value], live: &[Value]) -> Result<Vec<Value>, ApiError> {
        let (ordered, lived) = (self.places(order)?, self.places(live)?);
        let mut ours: Vec<(usize, Option<usize>, Value)> = Vec::new();
        let mut servers: Vec<(usize, Option<usize>, Value)> = Vec::new();
        for item in merged {
            let name = self.of_item(&item)?;
            let place = lived.get(&name).copied();
            match ordered.get(&name) {
                Some(&at) => ours.push((at, place, item)),
                None => servers.push((place.unwrap_or(usize::MAX), place, item)),
            }
        }
        ours.sort_by_key(|(at, ..)| *at);
        servers.sort_by_key(|(at, ..)| *at);
        let mut all = Vec::with_capacity(ours.len() + servers.len());
        let mut ours = ours.into_iter().peekable();
        for (_, place, item) in servers {
            // An element of the server's own goes before the first of ours that it was before.
            let comes_first = |next: Option<usize>| matches!((place, next), (Some(place), Some(next)) if place < next);
            while let Some((_, _, next)) = ours.next_if(|(_, next, _)| !comes_first(*next)) {
                all.push(next);
            }
            all.push(item);
        }
        all.extend(ours.map(|(_, _, item)| item));
        Ok(all)
    }

    /// Merges lists of scalars: all of both, each once.
    pub(super) fn merge_scalars(self, live: &[Value], patch: &[Value]) -> Result<Vec<Value>, ApiError> {
        let mut seen = HashSet::new();
        let all = live.iter().chain(patch).filter(|item| seen.insert(item.to_string())).cloned().collect();
        self.in_order(all, patch, live)
    }
}
