//! Which objects a list or a watch is about: by labels and by fields.

mod fields;
mod labels;

pub(super) use fields::FieldSelector;
pub(super) use labels::LabelSelector;

use super::query::Query;
use crate::sandbox::{error::ApiError, store::Object};

/// Which objects a list or a watch is about.
#[derive(Debug, Clone, Default)]
pub(super) struct Selection {
    /// The namespace; empty for all.
    pub(super) namespace: String,
    labels: LabelSelector,
    fields: FieldSelector,
}

impl Selection {
    /// Reads `labelSelector` and `fieldSelector` for a resource.
    pub(super) fn of(query: &Query, group: &str, plural: &str, namespace: &str) -> Result<Self, ApiError> {
        let labels = LabelSelector::parse(query.get("labelSelector").unwrap_or_default())?;
        let fields = FieldSelector::parse(query.get("fieldSelector").unwrap_or_default(), group, plural)?;
        Ok(Self { namespace: namespace.to_owned(), labels, fields })
    }

    /// Selects one name alone.
    pub(super) fn require_name(&mut self, name: &str) {
        self.fields.require("metadata.name", name);
    }

    /// Whether neither labels nor fields matter.
    pub(super) fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// The name that the objects must have, where the selection says so.
    pub(super) fn name(&self) -> Option<&str> {
        self.fields.required("metadata.name")
    }

    /// The node that pods must be bound to, where the selection says so.
    pub(super) fn node(&self) -> Option<&str> {
        self.fields.required("spec.nodeName").filter(|node| !node.is_empty())
    }

    /// Whether an object is selected.
    pub(super) fn matches(&self, object: &Object) -> bool {
        (self.namespace.is_empty() || object.namespace == self.namespace)
            && self.labels.matches(&object.labels)
            && self.fields.matches(object)
    }
}
