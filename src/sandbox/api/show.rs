//! Objects, lists and events in the form that a client wants: as they are, as a table, as metadata alone.

use std::{collections::BTreeMap, sync::Arc};

use bytes::{Bytes, BytesMut};
use hyper::StatusCode;
use serde_json::{Value, json};

use super::{
    answer::{self, Answer},
    autoscalers_view,
    catalogue::{Backing, Resource},
    events_view,
    list::Page,
    negotiate::{Format, Shape, Wanted},
    table,
};
use crate::sandbox::{error::ApiError, store::Object};

/// What of an object goes into a row of a table (`includeObject`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Include {
    /// Nothing.
    None,
    /// Its metadata.
    Metadata,
    /// All of it.
    Object,
}

impl Include {
    /// Reads `includeObject`.
    pub(super) fn of(text: Option<&str>) -> Result<Self, ApiError> {
        match text {
            None | Some("Metadata") => Ok(Self::Metadata),
            Some("None") => Ok(Self::None),
            Some("Object") => Ok(Self::Object),
            Some(other) => Err(ApiError::bad_request(format!("unrecognized includeObject value: {other:?}"))),
        }
    }
}

/// An object as its resource has it: the same, but for views of other kinds.
pub(super) fn presented(resource: &Resource, object: &Arc<Object>) -> Arc<Object> {
    match resource.backing {
        Backing::EventsView => Arc::new(events_view::from_core(object)),
        Backing::AutoscalersView => Arc::new(autoscalers_view::from_v2(object)),
        _ => Arc::clone(object),
    }
}

/// One object.
pub(super) fn one(
    status: StatusCode,
    wanted: Wanted,
    include: Include,
    resource: &Resource,
    object: &Arc<Object>,
) -> Answer {
    let object = presented(resource, object);
    match wanted.shape {
        Shape::Plain if wanted.format == Format::Json => answer::bytes(status, answer::JSON, object.bytes().clone()),
        Shape::Plain => value(status, wanted.format, &object.value()),
        Shape::Table(version) => {
            let metadata = json!({"resourceVersion": object.version.to_string()});
            let table = table::of(resource, &[object], version, include, metadata, true);
            value(status, wanted.format, &table)
        }
        Shape::Metadata(version) => value(status, wanted.format, &metadata_of(&object.metadata(), version)),
    }
}

/// A page of a list.
pub(super) fn list(wanted: Wanted, include: Include, resource: &Resource, page: Page) -> Answer {
    let metadata = page.metadata();
    let objects: Vec<Arc<Object>> = page.objects.iter().map(|object| presented(resource, object)).collect();
    match wanted.shape {
        Shape::Plain => {
            let (head, tail) = around(resource, &metadata);
            if wanted.format == Format::Json {
                return answer::spliced(head, objects, tail);
            }
            let list = json!({
                "kind": format!("{}List", resource.kind),
                "apiVersion": resource.api_version(),
                "metadata": metadata,
                "items": objects.iter().map(|object| object.value()).collect::<Vec<_>>(),
            });
            value(StatusCode::OK, wanted.format, &list)
        }
        Shape::Table(version) => {
            value(StatusCode::OK, wanted.format, &table::of(resource, &objects, version, include, metadata, true))
        }
        Shape::Metadata(version) => {
            let items: Vec<Value> = objects.iter().map(|object| metadata_of(&object.metadata(), version)).collect();
            let list = json!({
                "kind": "PartialObjectMetadataList",
                "apiVersion": format!("meta.k8s.io/{version}"),
                "metadata": metadata,
                "items": items,
            });
            value(StatusCode::OK, wanted.format, &list)
        }
    }
}

/// What stands before and after the items of a list.
fn around(resource: &Resource, metadata: &Value) -> (Bytes, Bytes) {
    let head = format!(
        "{{\"kind\":\"{}List\",\"apiVersion\":\"{}\",\"metadata\":{metadata},\"items\":[",
        resource.kind,
        resource.api_version(),
    );
    (Bytes::from(head), Bytes::from_static(b"]}\n"))
}

/// Any JSON, in the writing that is wanted.
pub(super) fn value(status: StatusCode, format: Format, value: &Value) -> Answer {
    match format {
        Format::Json => answer::json(status, value),
        Format::Yaml => match serde_saphyr::to_string(value) {
            Ok(text) => answer::bytes(status, "application/yaml", text),
            Err(error) => answer::refusal(&ApiError::internal(error)),
        },
    }
}

/// An object's metadata as an object of its own.
pub(super) fn metadata_of(metadata: &Value, version: &str) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": metadata,
    })
}

/// Writes the events of one watch.
pub(super) struct EventWriter {
    resource: &'static Resource,
    shape: Shape,
    include: Include,
    /// A table's columns are told once.
    columns_told: bool,
}

impl EventWriter {
    /// A writer for a watch of this resource.
    pub(super) const fn new(resource: &'static Resource, shape: Shape, include: Include) -> Self {
        Self { resource, shape, include, columns_told: false }
    }

    /// Writes an event about an object.
    pub(super) fn object(&mut self, to: &mut BytesMut, event: &str, object: &Arc<Object>) {
        let object = presented(self.resource, object);
        match self.shape {
            Shape::Plain => write(to, event, object.bytes()),
            Shape::Table(version) => {
                let metadata = json!({"resourceVersion": object.version.to_string()});
                let columns = !std::mem::replace(&mut self.columns_told, true);
                let table = table::of(self.resource, &[object], version, self.include, metadata, columns);
                write(to, event, table.to_string().as_bytes());
            }
            Shape::Metadata(version) => {
                write(to, event, metadata_of(&object.metadata(), version).to_string().as_bytes());
            }
        }
    }

    /// Writes that all changes up to a version have been told, with these annotations.
    pub(super) fn bookmark(&mut self, to: &mut BytesMut, version: u64, annotations: &BTreeMap<String, String>) {
        let mut metadata = json!({"resourceVersion": version.to_string(), "creationTimestamp": null});
        if !annotations.is_empty() {
            metadata["annotations"] = json!(annotations);
        }
        let object = match self.shape {
            Shape::Plain => json!({
                "kind": self.resource.kind,
                "apiVersion": self.resource.api_version(),
                "metadata": metadata,
            }),
            Shape::Table(of) => {
                let columns = !std::mem::replace(&mut self.columns_told, true);
                let mut table = table::of(self.resource, &[], of, self.include, json!({}), columns);
                // Clients find the annotations of a bookmark where objects have them: in a row.
                table["metadata"] = json!({"resourceVersion": version.to_string()});
                let partial = metadata_of(&metadata, of);
                if !annotations.is_empty() {
                    table["rows"] = json!([{"cells": [], "object": partial}]);
                }
                table
            }
            Shape::Metadata(of) => metadata_of(&metadata, of),
        };
        write(to, "BOOKMARK", object.to_string().as_bytes());
    }

    /// Writes that the watch has failed.
    pub(super) fn error(to: &mut BytesMut, error: &ApiError) {
        write(to, "ERROR", error.to_status().to_string().as_bytes());
    }
}

fn write(to: &mut BytesMut, event: &str, object: &[u8]) {
    to.extend_from_slice(b"{\"type\":\"");
    to.extend_from_slice(event.as_bytes());
    to.extend_from_slice(b"\",\"object\":");
    to.extend_from_slice(object);
    to.extend_from_slice(b"}\n");
}
