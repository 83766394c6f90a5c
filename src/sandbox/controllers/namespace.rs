//! The namespace controller: a namespace that is being deleted is emptied, its pods first, and goes when nothing is left
//! in it (`k/pkg/controller/namespace/deletion/{namespaced_resources_deleter,status_condition_utils}.go`, v1.34.4, with
//! `OrderedNamespaceDeletion`, which is on).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{Controller, Key, Next};
use crate::sandbox::{
    error::ApiError,
    kinds::{self, Kind},
    names,
    registry::{DeleteOptions, Part, Registry, WriteOptions},
    store::{Change, Op},
};

/// The finalizer in `spec.finalizers` that this controller takes away.
pub const FINALIZER: &str = "kubernetes";

/// How long to wait at least for what is left, where no change tells of it.
const SECOND_LOOK: Duration = Duration::from_secs(15);

/// The conditions of a namespace that is going: type, reason and message when all is well.
const CONDITIONS: [(&str, &str, &str); 5] = [
    ("NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered", "All resources successfully discovered"),
    ("NamespaceDeletionGroupVersionParsingFailure", "ParsedGroupVersions", "All legacy kube types successfully parsed"),
    (CONTENT_FAILURE, "ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
    (CONTENT_REMAINING, "ContentRemoved", "All content successfully removed"),
    (FINALIZERS_REMAINING, "ContentHasNoFinalizers", "All content-preserving finalizers finished"),
];
const CONTENT_FAILURE: &str = "NamespaceDeletionContentFailure";
const CONTENT_REMAINING: &str = "NamespaceContentRemaining";
const FINALIZERS_REMAINING: &str = "NamespaceFinalizersRemaining";

/// The controller.
pub struct Namespaces {
    registry: Arc<Registry>,
}

/// What is left in a namespace.
#[derive(Default)]
struct Rest {
    /// How many of each kind, as the condition names it.
    of_kind: BTreeMap<String, usize>,
    /// How many objects hold each finalizer.
    finalizers: BTreeMap<String, usize>,
    /// What was refused.
    failures: Vec<String>,
}

impl Rest {
    fn is_empty(&self) -> bool {
        self.of_kind.is_empty() && self.failures.is_empty()
    }

    /// The condition of a type where something is left or failed.
    fn trouble(&self, condition: &str) -> Option<(&'static str, String)> {
        match condition {
            CONTENT_FAILURE if !self.failures.is_empty() => {
                let message = format!(
                    "Failed to delete all resource types, {} remaining: {}",
                    self.failures.len(),
                    self.failures.join(", ")
                );
                Some(("ContentDeletionFailed", message))
            }
            CONTENT_REMAINING if !self.of_kind.is_empty() => {
                let list: Vec<String> =
                    self.of_kind.iter().map(|(kind, count)| format!("{kind} has {count} resource instances")).collect();
                Some(("SomeResourcesRemain", format!("Some resources are remaining: {}", list.join(", "))))
            }
            FINALIZERS_REMAINING if !self.finalizers.is_empty() => {
                let list: Vec<String> = self
                    .finalizers
                    .iter()
                    .map(|(name, count)| format!("{name} in {count} resource instances"))
                    .collect();
                let message = format!("Some content in the namespace has finalizers remaining: {}", list.join(", "));
                Some(("SomeFinalizersRemain", message))
            }
            _ => None,
        }
    }
}

impl Namespaces {
    /// The controller of these objects.
    #[must_use]
    pub const fn new(registry: Arc<Registry>) -> Self {
        Self { registry }
    }

    /// Deletes a kind's objects of a namespace, and counts what is left of it then.
    fn delete_kind(&self, kind: &'static Kind, namespace: &str, rest: &mut Rest) {
        for object in self.registry.store().list(kind, Some(namespace)).1 {
            if object.going {
                continue;
            }
            match self.registry.delete(kind, namespace, &object.name, &DeleteOptions::default()) {
                Err(error) if !error.is_not_found() => rest.failures.push(error.message),
                _ => {}
            }
        }
        let left = self.registry.store().list(kind, Some(namespace)).1;
        if left.is_empty() {
            return;
        }
        rest.of_kind.insert(format!("{}.{}", kind.plural, kind.group), left.len());
        for object in left.iter().filter(|object| object.mentions("\"finalizers\"")) {
            let value = object.value();
            for finalizer in value["metadata"]["finalizers"].as_array().into_iter().flatten() {
                *rest.finalizers.entry(finalizer.as_str().unwrap_or_default().to_owned()).or_default() += 1;
            }
        }
    }

    /// `deleteAllContent`: the pods first; the rest only when none is left, since it may be what they need to end well.
    fn delete_content(&self, namespace: &str) -> Rest {
        let mut rest = Rest::default();
        self.delete_kind(&kinds::POD, namespace, &mut rest);
        if rest.is_empty() {
            for kind in kinds::ALL.iter().filter(|kind| kind.namespaced && kind.kind != "Pod") {
                self.delete_kind(kind, namespace, &mut rest);
            }
        }
        rest
    }

    fn write_conditions(&self, namespace: &str, rest: &Rest) -> Result<(), ApiError> {
        self.change(namespace, Part::Status, |value| {
            value["status"]["phase"] = json!("Terminating");
            let mut conditions = value["status"]["conditions"].as_array().cloned().unwrap_or_default();
            for (kind, reason, message) in CONDITIONS {
                let (status, reason, message) = match rest.trouble(kind) {
                    Some((reason, message)) => ("True", reason, message),
                    None => ("False", reason, message.to_owned()),
                };
                set_condition(&mut conditions, kind, status, reason, &message);
            }
            value["status"]["conditions"] = Value::Array(conditions);
        })
    }

    /// Takes the finalizer away; with the last one the namespace goes.
    fn finalize(&self, namespace: &str) -> Result<(), ApiError> {
        self.change(namespace, Part::Main, |value| {
            if let Some(all) = value["spec"]["finalizers"].as_array_mut() {
                all.retain(|one| one != FINALIZER);
            }
        })
    }

    fn change(&self, namespace: &str, part: Part, change: impl FnOnce(&mut Value)) -> Result<(), ApiError> {
        let options = WriteOptions::default();
        let changed = self.registry.change(&kinds::NAMESPACE, "", namespace, part, &options, |mut value| {
            change(&mut value);
            Ok(value)
        });
        match changed {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }
}

fn set_condition(conditions: &mut Vec<Value>, kind: &str, status: &str, reason: &str, message: &str) {
    let fresh = json!({
        "type": kind,
        "status": status,
        "lastTransitionTime": names::now_seconds(),
        "reason": reason,
        "message": message,
    });
    match conditions.iter_mut().find(|condition| condition["type"] == kind) {
        None => conditions.push(fresh),
        Some(old) if old["status"] == status => {
            old["reason"] = json!(reason);
            old["message"] = json!(message);
        }
        Some(old) => *old = fresh,
    }
}

impl Controller for Namespaces {
    fn name(&self) -> &'static str {
        "namespace"
    }

    fn watches(&self) -> &'static [&'static Kind] {
        kinds::ALL
    }

    fn keys(&self, change: &Change) -> Vec<Key> {
        let object = &change.object;
        if object.kind.kind == kinds::NAMESPACE.kind {
            return vec![Key::of(object)];
        }
        // What a namespace that is going waits for is that its objects go.
        if change.op != Op::Deleted || object.namespace.is_empty() {
            return Vec::new();
        }
        let home = self.registry.store().get(&kinds::NAMESPACE, "", &object.namespace);
        home.filter(|home| home.going).map(|home| Key::of(&home)).into_iter().collect()
    }

    fn reconcile(&self, key: &Key) -> Result<Next, ApiError> {
        let Some(namespace) = self.registry.store().get(&kinds::NAMESPACE, "", &key.name) else {
            return Ok(Next::Settled);
        };
        let value = namespace.value();
        if value["metadata"]["deletionTimestamp"].is_null() {
            if value["status"]["phase"] != "Active" {
                self.change(&key.name, Part::Status, |value| value["status"]["phase"] = json!("Active"))?;
            }
            return Ok(Next::Settled);
        }
        let is_ours = |one: &Value| one == FINALIZER;
        if !value["spec"]["finalizers"].as_array().is_some_and(|all| all.iter().any(is_ours)) {
            return Ok(Next::Settled);
        }
        let rest = self.delete_content(&key.name);
        self.write_conditions(&key.name, &rest)?;
        if rest.is_empty() {
            self.finalize(&key.name)?;
            return Ok(Next::Settled);
        }
        Ok(Next::After(SECOND_LOOK))
    }
}

#[cfg(test)]
#[path = "namespace_tests.rs"]
mod tests;
