//! Whom a pod's change concerns: its controller, now and before, and where it has none those that would take it.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as ApiSelector;

use super::{Key, pods};
use crate::sandbox::{
    registry::{Registry, typed::Served},
    store::{Change, Object},
};

/// The keys of the owners of type `K` that a pod's change concerns.
pub fn keys<K: Served>(
    registry: &Registry,
    change: &Change,
    selector_of: impl Fn(&K) -> Option<&ApiSelector>,
) -> Vec<Key> {
    let mut keys = BTreeSet::new();
    for object in change.before.iter().chain([&change.object]) {
        keys.extend(owner_key::<K>(object));
    }
    if change.object.controller().is_none() {
        for owner in registry.all::<K>(Some(&change.object.namespace)) {
            let selector = selector_of(&owner).and_then(|selector| pods::selector(selector).ok());
            if selector.is_some_and(|selector| selector.matches(&change.object.labels)) {
                let name = owner.metadata().name.clone().unwrap_or_default();
                keys.insert(Key::new(&change.object.namespace, name));
            }
        }
    }
    keys.into_iter().collect()
}

/// The managing controller of an object, if it is of type `K`.
pub fn owner_key<K: Served>(object: &Object) -> Option<Key> {
    let owner = object.controller()?;
    let is_one = owner.kind == K::KIND && owner.api_version == K::API_VERSION;
    is_one.then(|| Key::new(&object.namespace, &owner.name))
}
