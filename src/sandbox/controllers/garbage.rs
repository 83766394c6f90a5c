//! The garbage collector: dependents go after their owners, before them, or are left alone
//! (`k/pkg/controller/garbagecollector/{garbagecollector,graph_builder}.go`, v1.34.4).
//!
//! Upstream builds a graph of all objects from watches; here the store knows who depends on whom. An owner is a name
//! with a uid: one that isn't there, or has another uid, is gone. An owner of a kind that is not served cannot be looked
//! at and so counts as there; upstream keeps trying for it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Controller, Key, Next};
use crate::sandbox::{
    error::ApiError,
    kinds::{self, Kind},
    registry::{
        DeleteOptions, Part, Propagation, Registry, WriteOptions,
        deletion::{FOREGROUND, ORPHAN},
    },
    store::{Change, Object, Op, Owner},
};

/// The controller.
pub struct Garbage {
    registry: Arc<Registry>,
}

/// What an owner reference leads to.
enum Standing {
    /// An owner that stays.
    Solid,
    /// None.
    Dangling,
    /// One that is being deleted and waits for its dependents.
    Waiting,
}

/// An object's place among all kinds: the kind in the key's namespace, the rest in its name.
fn key(kind: &Kind, namespace: &str, name: &str) -> Key {
    Key::new(kind.plural, format!("{namespace}/{name}"))
}

fn key_of(object: &Object) -> Key {
    key(object.kind, &object.namespace, &object.name)
}

/// Where an owner of something in a namespace would be. Nothing for a kind that isn't served, and for an owner in a
/// namespace of something that is in none.
fn place_of(owner: &Owner, namespace: &str) -> Option<(&'static Kind, String)> {
    let kind = kinds::by_kind(&owner.api_version, &owner.kind)?;
    match (kind.namespaced, namespace.is_empty()) {
        (true, true) => None,
        (true, false) => Some((kind, namespace.to_owned())),
        (false, _) => Some((kind, String::new())),
    }
}

/// Whether an object is being deleted and holds this finalizer. Cheap for all that are not.
fn waits_with(object: &Object, finalizer: &str) -> bool {
    object.going && has_finalizer(&object.metadata(), finalizer)
}

fn has_finalizer(metadata: &Value, finalizer: &str) -> bool {
    metadata["finalizers"].as_array().is_some_and(|all| all.iter().any(|one| one == finalizer))
}

impl Garbage {
    /// The controller of these objects.
    #[must_use]
    pub const fn new(registry: Arc<Registry>) -> Self {
        Self { registry }
    }

    fn find_owner(&self, owner: &Owner, namespace: &str) -> Option<Arc<Object>> {
        let (kind, namespace) = place_of(owner, namespace)?;
        self.registry.store().get(kind, &namespace, &owner.name).filter(|found| found.uid == owner.uid)
    }

    fn dependents_of(&self, object: &Object) -> Vec<Key> {
        self.registry.store().dependents(&object.uid).iter().map(|dependent| key_of(dependent)).collect()
    }

    /// The owners of an object, as it was, that wait for their dependents.
    fn waiting_owners(&self, object: &Object) -> Vec<Key> {
        let owners = object.owners.iter().filter_map(|owner| self.find_owner(owner, &object.namespace));
        owners.filter(|owner| waits_with(owner, FOREGROUND)).map(|owner| key_of(&owner)).collect()
    }

    fn stand(&self, owner: &Owner, namespace: &str) -> Standing {
        if place_of(owner, namespace).is_none() {
            return Standing::Solid;
        }
        match self.find_owner(owner, namespace) {
            None => Standing::Dangling,
            Some(found) if waits_with(&found, FOREGROUND) => Standing::Waiting,
            Some(_) => Standing::Solid,
        }
    }

    /// `attemptToDeleteItem` for an object that is not being deleted.
    fn collect(&self, object: &Object) -> Result<(), ApiError> {
        let (mut solid, mut waiting, mut others) = (0, 0, Vec::new());
        for owner in &object.owners {
            match self.stand(owner, &object.namespace) {
                Standing::Solid => solid += 1,
                Standing::Dangling => others.push(owner.uid.clone()),
                Standing::Waiting => {
                    waiting += 1;
                    others.push(owner.uid.clone());
                }
            }
        }
        if solid > 0 {
            return if others.is_empty() { Ok(()) } else { self.disown(object, &others) };
        }
        let has_dependents = self.registry.store().has_dependent(&object.uid, |_| true);
        if waiting > 0 && has_dependents {
            // A dependent that itself waits for its dependents may wait for this one: what blocks is then let go.
            if self.registry.store().dependents(&object.uid).iter().any(|one| waits_with(one, FOREGROUND)) {
                let unblocked = self.unblock(object)?;
                return self.delete(&unblocked, Propagation::Foreground);
            }
            return self.delete(object, Propagation::Foreground);
        }
        let metadata = &object.metadata();
        let propagation = if has_finalizer(metadata, ORPHAN) {
            Propagation::Orphan
        } else if has_finalizer(metadata, FOREGROUND) {
            Propagation::Foreground
        } else {
            Propagation::Background
        };
        self.delete(object, propagation)
    }

    /// Deletes an object as it was looked at: should it have changed, it is looked at again.
    fn delete(&self, object: &Object, propagation: Propagation) -> Result<(), ApiError> {
        let options = DeleteOptions {
            uid: Some(object.uid.clone()),
            resource_version: Some(object.version.to_string()),
            propagation,
            ..DeleteOptions::default()
        };
        match self.registry.delete(object.kind, &object.namespace, &object.name, &options) {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    fn change(&self, object: &Object, change: impl FnOnce(&mut Value)) -> Result<Arc<Object>, ApiError> {
        let (kind, uid) = (object.kind, object.uid.as_str());
        let options = WriteOptions::default();
        self.registry.change(kind, &object.namespace, &object.name, Part::Main, &options, |mut value| {
            if value["metadata"]["uid"] != uid {
                return Err(ApiError::not_found(kind.group, kind.plural, &object.name));
            }
            change(&mut value["metadata"]);
            Ok(value)
        })
    }

    /// Takes owners out of an object's references.
    fn disown(&self, object: &Object, uids: &[String]) -> Result<(), ApiError> {
        let changed = self.change(object, |metadata| {
            let owners = metadata["ownerReferences"].as_array().cloned().unwrap_or_default();
            let stays = |owner: &Value| !uids.iter().any(|uid| owner["uid"] == uid.as_str());
            set_list(metadata, "ownerReferences", owners.into_iter().filter(stays).collect());
        });
        match changed {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// Makes an object's owners not wait for it.
    fn unblock(&self, object: &Object) -> Result<Arc<Object>, ApiError> {
        self.change(object, |metadata| {
            let owners = metadata["ownerReferences"].as_array_mut();
            for owner in owners.into_iter().flatten().filter(|owner| owner["blockOwnerDeletion"] == true) {
                owner["blockOwnerDeletion"] = json!(false);
            }
        })
    }

    fn remove_finalizer(&self, object: &Object, finalizer: &str) -> Result<(), ApiError> {
        let changed = self.change(object, |metadata| {
            let all = metadata["finalizers"].as_array().cloned().unwrap_or_default();
            set_list(metadata, "finalizers", all.into_iter().filter(|one| one != finalizer).collect());
        });
        match changed {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }
}

/// Sets a list of metadata; an empty one is left out.
fn set_list(metadata: &mut Value, field: &str, list: Vec<Value>) {
    if !list.is_empty() {
        metadata[field] = Value::Array(list);
    } else if let Some(map) = metadata.as_object_mut() {
        map.shift_remove(field);
    }
}

impl Controller for Garbage {
    fn name(&self) -> &'static str {
        "garbage-collector"
    }

    fn watches(&self) -> &'static [&'static Kind] {
        kinds::ALL
    }

    fn keys(&self, change: &Change) -> Vec<Key> {
        let object = &*change.object;
        if change.op == Op::Deleted {
            let mut keys = self.dependents_of(object);
            keys.extend(self.waiting_owners(object));
            return keys;
        }
        let mut keys = Vec::new();
        let before = change.before.as_deref();
        if !object.owners.is_empty() && before.is_none_or(|before| before.owners != object.owners) {
            keys.push(key_of(object));
        }
        // An owner that waits may have lost what it waits for.
        if let Some(before) = before.filter(|before| before.owners != object.owners) {
            keys.extend(self.waiting_owners(before));
        }
        let foreground = waits_with(object, FOREGROUND);
        if foreground || waits_with(object, ORPHAN) {
            keys.push(key_of(object));
        }
        if foreground && before.is_none_or(|before| !waits_with(before, FOREGROUND)) {
            keys.extend(self.dependents_of(object));
        }
        keys
    }

    fn reconcile(&self, key: &Key) -> Result<Next, ApiError> {
        let kind = kinds::ALL.iter().find(|kind| kind.plural == key.namespace);
        let (Some(kind), Some((namespace, name))) = (kind, key.name.split_once('/')) else { return Ok(Next::Settled) };
        let Some(object) = self.registry.store().get(kind, namespace, name) else { return Ok(Next::Settled) };
        if waits_with(&object, ORPHAN) {
            for dependent in self.registry.store().dependents(&object.uid) {
                self.disown(&dependent, std::slice::from_ref(&object.uid))?;
            }
            self.remove_finalizer(&object, ORPHAN)?;
        } else if waits_with(&object, FOREGROUND) {
            let blocks =
                |dependent: &Object| dependent.owners.iter().any(|owner| owner.uid == object.uid && owner.blocks);
            if !self.registry.store().has_dependent(&object.uid, blocks) {
                self.remove_finalizer(&object, FOREGROUND)?;
            }
        } else if !object.owners.is_empty() && !object.going {
            self.collect(&object)?;
        }
        Ok(Next::Settled)
    }
}

#[cfg(test)]
#[path = "garbage_tests.rs"]
mod tests;
