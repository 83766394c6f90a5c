//! `metadata.managedFields`: who set which fields, and how writes move them
//! (apimachinery/pkg/util/managedfields/internal/*.go, v0.34.4; structured-merge-diff/merge/update.go, v6.3.0).
//!
//! To save memory nothing is tracked until an object has been applied once; what it has by then belongs to
//! `before-first-apply`, as upstream does it for objects that are older than tracking. From then on every write moves
//! fields ([`track`]).

use serde_json::{Value, json};

use super::{
    field_set::FieldSet,
    schema::At,
    walk::{self, Comparison},
};
use crate::sandbox::{kinds::Kind, names, registry::Part, store::text_at};

/// The manager of what an object has when it is applied for the first time.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Entries of updates that are kept apart; the oldest beyond that become one.
const UPDATERS_MAX: usize = 10;

/// The manager of updates that are not kept apart any more.
const ANCIENT_CHANGES: &str = "ancient-changes";

/// Paths that nobody owns: the server's own.
const NOBODYS: [&[&str]; 12] = [
    &["apiVersion"],
    &["kind"],
    &["metadata"],
    &["metadata", "name"],
    &["metadata", "namespace"],
    &["metadata", "creationTimestamp"],
    &["metadata", "selfLink"],
    &["metadata", "uid"],
    &["metadata", "clusterName"],
    &["metadata", "generation"],
    &["metadata", "managedFields"],
    &["metadata", "resourceVersion"],
];

/// How a manager came to own fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// By server-side apply.
    Apply,
    /// By any other write.
    Update,
}

/// An entry of `managedFields`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The manager's name.
    pub manager: String,
    /// How it came to own them.
    pub operation: Operation,
    /// The version that the fields are of.
    pub api_version: String,
    /// When it last changed them.
    pub time: Option<String>,
    /// The subresource that it wrote through; empty for the object itself.
    pub subresource: String,
    /// What it owns.
    pub fields: FieldSet,
}

impl Entry {
    /// An entry that owns nothing yet.
    #[must_use]
    pub fn new(kind: &Kind, manager: &str, operation: Operation, subresource: &str) -> Self {
        Self {
            manager: manager.to_owned(),
            operation,
            api_version: kind.api_version(),
            time: None,
            subresource: subresource.to_owned(),
            fields: FieldSet::default(),
        }
    }

    /// Whether both are the same manager. An applier is the same whatever the version.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.manager == other.manager
            && self.operation == other.operation
            && self.subresource == other.subresource
            && (self.operation == Operation::Apply || self.api_version == other.api_version)
    }

    fn read(value: &Value) -> Option<Self> {
        let operation = match value["operation"].as_str()? {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return None,
        };
        let fields = match &value["fieldsV1"] {
            Value::Null => FieldSet::default(),
            fields => FieldSet::read(fields)?,
        };
        Some(Self {
            manager: text_at(value, "manager"),
            operation,
            api_version: text_at(value, "apiVersion"),
            time: value["time"].as_str().map(str::to_owned),
            subresource: text_at(value, "subresource"),
            fields,
        })
    }

    fn write(&self) -> Value {
        let operation = if self.operation == Operation::Apply { "Apply" } else { "Update" };
        let mut value = json!({"manager": self.manager, "operation": operation, "apiVersion": self.api_version});
        if let Some(time) = &self.time {
            value["time"] = json!(time);
        }
        value["fieldsType"] = json!("FieldsV1");
        value["fieldsV1"] = self.fields.write();
        if !self.subresource.is_empty() {
            value["subresource"] = json!(self.subresource);
        }
        value
    }
}

/// All entries of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Managers(pub Vec<Entry>);

impl Managers {
    /// Reads an object's entries; nothing where they cannot be read.
    #[must_use]
    pub fn read(object: &Value) -> Option<Self> {
        match &object["metadata"]["managedFields"] {
            Value::Null => Some(Self::default()),
            Value::Array(entries) => entries.iter().map(Entry::read).collect::<Option<_>>().map(Self),
            _ => None,
        }
    }

    /// Writes the entries into an object, in upstream's order.
    pub fn write(mut self, object: &mut Value) {
        self.0.sort_by(|one, other| {
            (one.operation, &one.time, &one.manager, &one.api_version, &one.subresource).cmp(&(
                other.operation,
                &other.time,
                &other.manager,
                &other.api_version,
                &other.subresource,
            ))
        });
        if self.0.is_empty() {
            remove(object);
        } else {
            object["metadata"]["managedFields"] = self.0.iter().map(Entry::write).collect();
        }
    }

    /// The entry of a manager.
    #[must_use]
    pub fn entry(&self, of: &Entry) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.is(of))
    }

    /// Replaces the entry of a manager. One that owns nothing goes.
    pub fn put(&mut self, entry: Entry) {
        self.0.retain(|known| !known.is(&entry));
        if !entry.fields.is_empty() {
            self.0.push(entry);
        }
    }

    /// Takes what changed from everybody but `writer`.
    pub fn lose(&mut self, comparison: &Comparison, writer: Option<&Entry>) {
        for entry in self.0.iter_mut().filter(|entry| !writer.is_some_and(|writer| writer.is(entry))) {
            let left = entry.fields.difference(&comparison.added).difference(&comparison.modified);
            entry.fields = left.difference(&comparison.removed);
        }
        self.0.retain(|entry| !entry.fields.is_empty());
    }

    /// Gives what changed to an updater.
    fn gain(&mut self, comparison: &Comparison, mut updater: Entry) {
        updater.fields = own(&comparison.added.union(&comparison.modified));
        if updater.fields.is_empty() {
            return;
        }
        if let Some(known) = self.entry(&updater) {
            updater.fields.unite(&known.fields);
        }
        updater.time = Some(names::now_seconds());
        self.put(updater);
        self.cap();
    }

    /// Makes one entry of the oldest updaters beyond the limit.
    fn cap(&mut self) {
        let (mut updaters, mut kept): (Vec<Entry>, Vec<Entry>) =
            std::mem::take(&mut self.0).into_iter().partition(|entry| entry.operation == Operation::Update);
        if updaters.len() > UPDATERS_MAX {
            updaters.sort_by(|one, other| (&one.time, &one.manager).cmp(&(&other.time, &other.manager)));
            let old: Vec<Entry> = updaters.drain(..=updaters.len() - UPDATERS_MAX).collect();
            let mut fields = FieldSet::default();
            for entry in &old {
                fields.unite(&entry.fields);
            }
            if let Some(latest) = old.into_iter().next_back() {
                let manager = ANCIENT_CHANGES.to_owned();
                updaters.push(Entry { manager, fields, subresource: String::new(), ..latest });
            }
        }
        kept.append(&mut updaters);
        self.0 = kept;
    }
}

/// A set without what nobody owns.
#[must_use]
pub fn own(fields: &FieldSet) -> FieldSet {
    let mut nobodys = FieldSet::default();
    for path in NOBODYS {
        nobodys.insert(&path.iter().map(|name| super::field_set::Element::field(name)).collect::<Vec<_>>());
    }
    fields.difference(&nobodys)
}

/// Drops `managedFields` from an object.
pub fn remove(object: &mut Value) {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.shift_remove("managedFields");
    }
}

/// The field that a write to one part of an object cannot set (`GetResetFields` of upstream's strategies).
#[must_use]
pub fn reset_field(kind: &Kind, part: Part) -> Option<&'static str> {
    match part {
        Part::Main => kind.status.then_some("status"),
        Part::Status => Some("spec"),
    }
}

/// What differs between two objects in the part that is written.
#[must_use]
pub fn compare(kind: &Kind, part: Part, old: &Value, new: &Value) -> Comparison {
    let mut comparison = walk::compare(At::root(kind), old, new);
    for fields in [&mut comparison.added, &mut comparison.modified, &mut comparison.removed] {
        for field in reset_field(kind, part).into_iter().chain(["apiVersion", "kind"]) {
            fields.drop_field(field);
        }
    }
    comparison
}

/// The managers of an object that has not been applied so far: one, which owns all that is there.
#[must_use]
pub fn before_first_apply(kind: &Kind, part: Part, subresource: &str, live: &Value) -> Managers {
    let comparison = compare(kind, part, &json!({}), live);
    let mut managers = Managers::default();
    managers.gain(&comparison, Entry::new(kind, BEFORE_FIRST_APPLY, Operation::Update, subresource));
    managers
}

/// Moves fields after a write that was no apply: `manager` owns what changed, nobody owns what is gone. Where neither
/// version has managed fields, nothing is tracked.
pub fn track(kind: &Kind, part: Part, subresource: &str, manager: &str, old: &Value, new: &mut Value) {
    let of_new = &new["metadata"]["managedFields"];
    if old["metadata"]["managedFields"].is_null() && of_new.is_null() {
        return;
    }
    // One empty entry is how a client asks for a reset.
    if subresource.is_empty() && *of_new == json!([{}]) {
        remove(new);
        return;
    }
    // A client that leaves them out, or spoils them, doesn't understand them: those of the stored object stay.
    let stated = if subresource.is_empty() { Managers::read(new).filter(|all| !all.0.is_empty()) } else { None };
    let mut managers = stated.or_else(|| Managers::read(old)).unwrap_or_default();
    remove(new);
    let mut before = old.clone();
    remove(&mut before);
    let comparison = compare(kind, part, &before, new);
    managers.lose(&comparison, None);
    managers.gain(&comparison, Entry::new(kind, manager_name(kind, part, manager), Operation::Update, subresource));
    managers.write(new);
}

/// The sandbox's own controllers write without a name; here they get that of their counterparts.
fn manager_name<'m>(kind: &Kind, part: Part, manager: &'m str) -> &'m str {
    match (manager, part, kind.kind) {
        ("", Part::Status, "Pod" | "Node") => "kubelet",
        ("", _, _) => "kube-controller-manager",
        _ => manager,
    }
}

#[cfg(test)]
#[path = "tests/managed_fields.rs"]
mod tests;
