//! `ControllerRevision`s: the templates that a `StatefulSet` or `DaemonSet` has had, in the form in which `kubectl
//! rollout history` and `rollout undo` read them: a strategic merge patch that puts the template back
//! (`k/pkg/controller/history/controller_history.go`, `getPatch` in `k/pkg/controller/statefulset/stateful_set_utils.go`
//! and `k/pkg/controller/daemon/update.go`, v1.34.4).

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::{apps::v1::ControllerRevision, core::v1::PodTemplateSpec},
    apimachinery::pkg::{
        apis::meta::v1::{ObjectMeta, OwnerReference},
        runtime::RawExtension,
    },
};
use serde_json::{Value, json};

use crate::sandbox::{
    error::ApiError,
    names,
    registry::{DeleteOptions, Registry},
};

/// The label that a `StatefulSet`'s revisions carry their hash in.
pub const REVISION_HASH: &str = "controller.kubernetes.io/hash";

/// The label of pods (and of a `DaemonSet`'s revisions) that says which revision they are of.
pub const POD_REVISION: &str = "controller-revision-hash";

/// The longest part of the owner's name that a revision's name keeps.
const PREFIX_MAX: usize = 223;

/// The patch that puts a template back.
///
/// # Errors
/// None for templates that came out of the API.
pub fn patch_of(template: &PodTemplateSpec) -> Result<Value, ApiError> {
    let mut template = serde_json::to_value(template).map_err(ApiError::internal)?;
    template["$patch"] = json!("replace");
    Ok(sorted(json!({"spec": {"template": template}})))
}

/// The template that a revision holds.
///
/// # Errors
/// When it holds none.
pub fn template_of(revision: &ControllerRevision) -> Result<PodTemplateSpec, ApiError> {
    let mut template = data_of(revision)["spec"]["template"].clone();
    if let Some(map) = template.as_object_mut() {
        map.shift_remove("$patch");
    }
    serde_json::from_value(template).map_err(ApiError::internal)
}

/// The patch that a revision holds.
#[must_use]
pub fn data_of(revision: &ControllerRevision) -> &Value {
    revision.data.as_ref().map_or(&Value::Null, |data| &data.0)
}

/// The name of a revision.
#[must_use]
pub fn revision_name(owner: &str, hash: &str) -> String {
    let end = owner.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= PREFIX_MAX).last();
    format!("{}-{hash}", &owner[..end.unwrap_or(0)])
}

/// `HashControllerRevision`: FNV over the patch, whose keys are in order, and the count of collisions.
#[must_use]
pub fn hash_of(data: &Value, collisions: Option<i32>) -> String {
    let text = data.to_string();
    let probe = collisions.map(|count| count.to_string()).unwrap_or_default();
    names::safe_encode(&fnv_32(text.bytes().chain(probe.bytes())).to_string())
}

/// FNV-1, 32 bits, as Go's `fnv.New32`.
fn fnv_32(bytes: impl Iterator<Item = u8>) -> u32 {
    bytes.fold(2_166_136_261, |hash: u32, byte| hash.wrapping_mul(16_777_619) ^ u32::from(byte))
}

/// JSON with its keys in order, as Go writes maps: `kubectl` compares revisions byte by byte.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let inner: BTreeMap<String, Value> = map.into_iter().map(|(key, inner)| (key, sorted(inner))).collect();
            Value::Object(inner.into_iter().collect())
        }
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        plain => plain,
    }
}

/// A revision that is to be stored.
#[derive(Debug, Clone, Copy)]
pub struct Draft<'a> {
    /// The owner's metadata: its name, namespace and annotations go into the revision.
    pub owner: &'a ObjectMeta,
    /// The reference to it.
    pub reference: &'a OwnerReference,
    /// The template.
    pub template: &'a PodTemplateSpec,
    /// The label that holds the hash.
    pub hash_label: &'static str,
}

impl Draft<'_> {
    fn revision(&self, data: Value, hash: &str, number: i64) -> ControllerRevision {
        let labels = self.template.metadata.as_ref().and_then(|metadata| metadata.labels.clone());
        let mut labels = labels.unwrap_or_default();
        labels.insert(self.hash_label.to_owned(), hash.to_owned());
        ControllerRevision {
            metadata: ObjectMeta {
                name: Some(revision_name(self.owner.name.as_deref().unwrap_or_default(), hash)),
                namespace: self.owner.namespace.clone(),
                labels: Some(labels),
                annotations: self.owner.annotations.clone(),
                owner_references: Some(vec![self.reference.clone()]),
                ..ObjectMeta::default()
            },
            data: Some(RawExtension(data)),
            revision: number,
        }
    }

    /// Creates the revision with this number. A name that another template has taken counts as a collision, and the
    /// next name is tried (`CreateControllerRevision`).
    ///
    /// # Errors
    /// What the API refused.
    pub fn create(
        &self,
        registry: &Registry,
        number: i64,
        collisions: &mut i32,
    ) -> Result<Arc<ControllerRevision>, ApiError> {
        let data = patch_of(self.template)?;
        loop {
            let hash = hash_of(&data, Some(*collisions));
            let revision = self.revision(data.clone(), &hash, number);
            let error = match registry.create_as(&revision) {
                Ok(created) => return Ok(created),
                Err(error) if error.is_already_exists() => error,
                Err(error) => return Err(error),
            };
            let namespace = self.owner.namespace.as_deref().unwrap_or_default();
            let name = revision.metadata.name.as_deref().unwrap_or_default();
            let existing = registry.read::<ControllerRevision>(namespace, name)?;
            if *data_of(&existing) == data {
                return Ok(existing);
            }
            // The count wraps only after every name of 32 bits has been tried.
            *collisions = collisions.checked_add(1).ok_or(error)?;
        }
    }
}

/// Sorts revisions by number, then by age, then by name.
pub fn sort(revisions: &mut [Arc<ControllerRevision>]) {
    revisions.sort_by(|one, other| {
        let key = |revision: &ControllerRevision| {
            let created = revision.metadata.creation_timestamp.as_ref().map(|time| time.0);
            (revision.revision, created, revision.metadata.name.clone())
        };
        key(one).cmp(&key(other))
    });
}

/// The number of the revision that comes after these, which are sorted.
#[must_use]
pub fn next_number(sorted: &[Arc<ControllerRevision>]) -> i64 {
    sorted.last().map_or(1, |last| last.revision + 1)
}

/// Gives a revision another number: with it, it becomes the latest again.
///
/// # Errors
/// What the API refused.
pub fn renumber(
    registry: &Registry,
    revision: &ControllerRevision,
    number: i64,
) -> Result<Arc<ControllerRevision>, ApiError> {
    let (namespace, name) = place(revision);
    registry.change_as::<ControllerRevision>(namespace, name, |stored| {
        stored.revision = number;
        Ok(())
    })
}

/// Deletes a revision; one that is gone already is fine.
///
/// # Errors
/// What the API refused.
pub fn delete(registry: &Registry, revision: &ControllerRevision) -> Result<(), ApiError> {
    let (namespace, name) = place(revision);
    match registry.remove::<ControllerRevision>(namespace, name, &DeleteOptions::default()) {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

fn place(revision: &ControllerRevision) -> (&str, &str) {
    let metadata = &revision.metadata;
    (metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default())
}

/// The name of a revision that is stored.
#[must_use]
pub fn name_of(revision: &ControllerRevision) -> &str {
    place(revision).1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_of_the_content_whatever_the_order_of_its_keys() {
        let one = sorted(json!({"spec": {"template": {"a": 1, "b": [{"x": "\"", "y": null}]}}}));
        let other = sorted(json!({"spec": {"template": {"b": [{"y": null, "x": "\""}], "a": 1}}}));
        assert_eq!(one.to_string(), other.to_string());
        assert_eq!(hash_of(&one, Some(0)), hash_of(&other, Some(0)));
        assert_ne!(hash_of(&one, Some(0)), hash_of(&one, Some(1)));
        assert_ne!(hash_of(&one, Some(0)), hash_of(&json!({}), Some(0)));
    }

    #[test]
    fn the_hash_function_is_gos_fnv_32() {
        // The published vectors of FNV-1.
        assert_eq!(fnv_32("".bytes()), 0x811c_9dc5);
        assert_eq!(fnv_32("a".bytes()), 0x050c_5d7e);
        assert_eq!(fnv_32("foobar".bytes()), 0x31f0_b262);
    }

    #[test]
    fn a_template_comes_back_from_its_revision() {
        let template: PodTemplateSpec = serde_json::from_value(json!({
            "metadata": {"labels": {"app": "db"}},
            "spec": {"containers": [{"name": "main", "image": "one"}]},
        }))
        .unwrap();
        let data = patch_of(&template).unwrap();
        assert_eq!(data["spec"]["template"]["$patch"], "replace");
        let revision = ControllerRevision { data: Some(RawExtension(data)), ..ControllerRevision::default() };
        assert_eq!(template_of(&revision).unwrap(), template);
        assert!(template_of(&ControllerRevision::default()).is_err());
    }

    #[test]
    fn a_long_owner_name_is_cut_and_never_within_a_letter() {
        assert_eq!(revision_name("db", "x1"), "db-x1");
        assert_eq!(revision_name(&"é".repeat(300), "x1").len(), 222 + 3);
    }
}
