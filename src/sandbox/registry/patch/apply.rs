//! Server-side apply: merges a configuration into the live object, takes away what its manager no longer applies, and
//! refuses to take fields from others unless forced (structured-merge-diff/merge/update.go, v6.3.0;
//! apimachinery/pkg/util/managedfields/internal/{structuredmerge,conflict,lastappliedmanager,lastappliedupdater}.go,
//! v0.34.4).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    declared,
    field_set::{Element, FieldSet, path_text},
    managed_fields::{self, Entry, Managers, Operation, before_first_apply, compare, own, reset_field},
    schema::At,
    unexplained,
    walk::{self, Emptied},
};
use crate::sandbox::{error::ApiError, kinds::Kind, names, registry::Part, store::text_at};

/// The annotation of kubectl's client-side apply.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The manager that takes over from client-side apply.
const KUBECTL: &str = "kubectl";

/// Who applies what.
#[derive(Debug, Clone, Copy)]
pub struct Apply<'a> {
    /// The kind.
    pub kind: &'static Kind,
    /// Which part of the object.
    pub part: Part,
    /// Who.
    pub manager: &'a str,
    /// Take fields from others.
    pub force: bool,
    /// The configuration.
    pub config: &'a Value,
}

impl Apply<'_> {
    /// What the live object becomes.
    ///
    /// # Errors
    /// 400 for a configuration of another version or with managed fields, 409 for fields of others, 500 (as upstream)
    /// for fields that the type does not have and for lists that cannot be merged.
    pub fn to_live(&self, live: &Value) -> Result<Value, ApiError> {
        self.check()?;
        let mut before = live.clone();
        managed_fields::remove(&mut before);
        let mut managers = Managers::read(live).unwrap_or_default();
        if managers.0.is_empty() {
            managers = before_first_apply(self.kind, self.part, self.part.subresource(), &before);
        }
        let mut after = self.merge(&before, managers)?;
        if self.manager == KUBECTL && self.part == Part::Main && last_applied(&after).is_some() {
            let mut applied = self.config.clone();
            drop_annotation(&mut applied);
            after["metadata"]["annotations"][LAST_APPLIED] = json!(format!("{applied}\n"));
        }
        Ok(after)
    }

    /// The object that the configuration alone makes.
    ///
    /// # Errors
    /// As for [`Self::to_live`], and 409 for a configuration that names a uid.
    pub fn to_nothing(&self, plural: &str, name: &str) -> Result<Value, ApiError> {
        self.check()?;
        let uid = text_at(&self.config["metadata"], "uid");
        if !uid.is_empty() {
            let why =
                format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
            return Err(ApiError::conflict(self.kind.group, plural, name, why));
        }
        let mut created = self.merge(&json!({}), Managers::default())?;
        created["metadata"]["name"] = json!(name);
        Ok(created)
    }

    fn check(&self) -> Result<(), ApiError> {
        let expected = self.kind.api_version();
        let stated = text_at(self.config, "apiVersion");
        if stated != expected {
            return Err(ApiError::bad_request(format!(
                "Incorrect version specified in apply patch. Specified patch version: {stated}, expected: {expected}"
            )));
        }
        let kind = text_at(self.config, "kind");
        if kind != self.kind.kind {
            return Err(unexplained(format!(
                "invalid object type: {expected}, Kind={kind}, expected {expected}, Kind={}",
                self.kind.kind
            )));
        }
        let metadata = &self.config["metadata"];
        if !metadata.is_object() && !metadata.is_null() {
            return Err(ApiError::bad_request("error decoding YAML: metadata is not an object"));
        }
        if !metadata["managedFields"].is_null() {
            return Err(ApiError::bad_request("metadata.managedFields must be nil"));
        }
        let checked = walk::check_lists(At::root(self.kind), self.config, &mut Vec::new())
            .and_then(|()| declared::check(self.kind, self.config));
        checked.map_err(|why| {
            unexplained(format!(
                "failed to create typed patch object ({}/{}; {expected}, Kind={kind}): {why}",
                text_at(metadata, "namespace"),
                text_at(metadata, "name"),
            ))
        })
    }

    /// The configuration without what a write to this part cannot set.
    fn writable(&self) -> Value {
        let mut config = self.config.clone();
        if let (Some(field), Some(map)) = (reset_field(self.kind, self.part), config.as_object_mut()) {
            map.shift_remove(field);
        }
        config
    }

    fn merge(&self, before: &Value, mut managers: Managers) -> Result<Value, ApiError> {
        let at = At::root(self.kind);
        let config = self.writable();
        let mut own_entry = Entry::new(self.kind, self.manager, Operation::Apply, self.part.subresource());
        let last = managers.entry(&own_entry).cloned();
        own_entry.time = last.as_ref().and_then(|last| last.time.clone());
        own_entry.fields = walk::fields_of(at, &config);
        managers.put(own_entry.clone());

        let merged = walk::merge(at, Some(before), &config);
        let mut after = match &last {
            Some(last) => prune(at, &merged, &managers, &last.fields),
            None => merged,
        };
        let comparison = compare(self.kind, self.part, before, &after);
        if !self.force {
            let taken = comparison.added.union(&comparison.modified);
            self.check_conflicts(before, &managers, &own_entry, &taken)?;
        }
        managers.lose(&comparison, Some(&own_entry));
        if after != *before {
            own_entry.time = Some(names::now_seconds());
        }
        own_entry.fields = own(&own_entry.fields);
        managers.put(own_entry);
        managers.write(&mut after);
        Ok(after)
    }

    fn check_conflicts(
        &self,
        before: &Value,
        managers: &Managers,
        own_entry: &Entry,
        taken: &FieldSet,
    ) -> Result<(), ApiError> {
        let allowed = if self.manager == KUBECTL && self.part == Part::Main {
            client_side_applied(self.kind, before)
        } else {
            FieldSet::default()
        };
        let mut conflicts: BTreeMap<String, Vec<Vec<Element>>> = BTreeMap::new();
        for entry in managers.0.iter().filter(|entry| !entry.is(own_entry)) {
            let conflict = entry.fields.intersection(taken).difference(&allowed);
            if !conflict.is_empty() {
                conflicts.entry(shown(entry)).or_default().extend(conflict.paths());
            }
        }
        if conflicts.is_empty() { Ok(()) } else { Err(conflict_error(&conflicts)) }
    }
}

/// The manager as conflicts show it.
fn shown(entry: &Entry) -> String {
    let through = match &*entry.subresource {
        "" => String::new(),
        subresource => format!(" with subresource {subresource:?}"),
    };
    let using = match entry.operation {
        Operation::Apply => String::new(),
        Operation::Update => format!(" using {}", entry.api_version),
    };
    format!("{:?}{through}{using}", entry.manager)
}

fn conflict_error(conflicts: &BTreeMap<String, Vec<Vec<Element>>>) -> ApiError {
    let all: Vec<(&String, String)> = conflicts
        .iter()
        .flat_map(|(manager, paths)| paths.iter().map(move |path| (manager, path_text(path))))
        .collect();
    let causes: Vec<Value> = all
        .iter()
        .map(|(manager, path)| {
            json!({"reason": "FieldManagerConflict", "message": format!("conflict with {manager}"), "field": path})
        })
        .collect();
    let message = match all.as_slice() {
        [(manager, path)] => format!("Apply failed with 1 conflict: conflict with {manager}: {path}"),
        many => {
            let mut lines = Vec::new();
            for (manager, paths) in conflicts {
                lines.push(format!("conflicts with {manager}:"));
                lines.extend(paths.iter().map(|path| format!("- {}", path_text(path))));
            }
            format!("Apply failed with {} conflicts: {}", many.len(), lines.join("\n"))
        }
    };
    ApiError { code: 409, reason: "Conflict", message, details: json!({"causes": causes}) }
}

/// Takes away what the applier owned and applies no longer, unless another applier owns it. What only updaters own
/// does not keep a field, and what nobody applied last time stays.
fn prune(at: At, merged: &Value, managers: &Managers, last: &FieldSet) -> Value {
    let named = |fields: &FieldSet| walk::with_named_fields(at, fields);
    let fields_of = |value: &Value| named(&walk::fields_of(at, value));
    let less = |fields: &FieldSet, emptied| match walk::without(at, merged, fields, emptied) {
        Some(Value::Object(left)) => Value::Object(left),
        _ => json!({}),
    };
    let last = named(last);
    let mut applied = FieldSet::default();
    for entry in managers.0.iter().filter(|entry| entry.operation == Operation::Apply) {
        applied.unite(&entry.fields);
    }
    let all = fields_of(merged);
    let pruned = fields_of(&less(&last, Emptied::Null));
    let pruned = less(&all.difference(&pruned.union(&named(&applied))), Emptied::Null);
    less(&all.difference(&fields_of(&pruned)).intersection(&last), Emptied::Gone)
}

fn last_applied(object: &Value) -> Option<&str> {
    object["metadata"]["annotations"][LAST_APPLIED].as_str()
}

fn drop_annotation(object: &mut Value) {
    if let Some(annotations) = object["metadata"]["annotations"].as_object_mut() {
        annotations.shift_remove(LAST_APPLIED);
    }
}

/// The fields that kubectl has applied client-side and that still are as it applied them: those it may take over.
fn client_side_applied(kind: &Kind, live: &Value) -> FieldSet {
    let Some(applied) = last_applied(live).and_then(|text| serde_json::from_str::<Value>(text).ok()) else {
        return FieldSet::default();
    };
    if text_at(&applied, "apiVersion") != kind.api_version() || text_at(&applied, "kind") != kind.kind {
        return FieldSet::default();
    }
    let at = At::root(kind);
    let comparison = walk::compare(at, &applied, live);
    walk::fields_of(at, &applied)
        .difference(&comparison.modified)
        .difference(&comparison.added)
        .difference(&comparison.removed)
}

#[cfg(test)]
#[path = "tests/apply.rs"]
mod tests;
