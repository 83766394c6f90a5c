//! Tables, as kubectl shows them: the columns of each kind and what stands in them
//! (k/pkg/printers/internalversion/printers.go, v1.34.4).
//!
//! * `time`: ages.
//! * `pods`, `workloads`, `network`, `cluster`, `config`: the kinds.

mod cluster;
mod config;
mod network;
mod pods;
mod time;
mod workloads;

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    catalogue::Resource,
    show::{self, Include},
};
use crate::sandbox::store::Object;

/// A column: its name, its type, and whether it is shown with `-o wide` alone.
type Column = (&'static str, Type, bool);

/// The type of a column's cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    /// A text.
    Text,
    /// A whole number.
    Number,
}

use Type::{Number, Text};

/// How a kind is shown.
struct Printer {
    columns: &'static [Column],
    /// The cells of one object, one for each column.
    cells: fn(&Value) -> Vec<Value>,
}

const NAME: Column = ("Name", Text, false);
const AGE: Column = ("Age", Text, false);

/// What is shown of kinds without a printer (apiserver/pkg/registry/rest/table.go).
const PLAIN: Printer = Printer {
    columns: &[NAME, ("Created At", Text, false)],
    cells: |object| vec![name(object), object["metadata"]["creationTimestamp"].clone()],
};

fn printer(resource: &Resource) -> &'static Printer {
    match (resource.group, resource.plural) {
        ("", "pods") => &pods::PODS,
        ("apps", "deployments") => &workloads::DEPLOYMENTS,
        ("apps", "replicasets") => &workloads::REPLICA_SETS,
        ("apps", "statefulsets") => &workloads::STATEFUL_SETS,
        ("apps", "daemonsets") => &workloads::DAEMON_SETS,
        ("apps", "controllerrevisions") => &workloads::CONTROLLER_REVISIONS,
        ("batch", "jobs") => &workloads::JOBS,
        ("autoscaling", "horizontalpodautoscalers") => &workloads::AUTOSCALERS,
        ("policy", "poddisruptionbudgets") => &workloads::BUDGETS,
        ("", "services") => &network::SERVICES,
        ("", "endpoints") => &network::ENDPOINTS,
        ("discovery.k8s.io", "endpointslices") => &network::ENDPOINT_SLICES,
        ("", "nodes") => &cluster::NODES,
        ("", "namespaces") => &cluster::NAMESPACES,
        ("", "events") => &cluster::EVENTS,
        ("events.k8s.io", "events") => &cluster::EVENTS_VIEW,
        ("coordination.k8s.io", "leases") => &cluster::LEASES,
        ("", "configmaps") => &config::CONFIG_MAPS,
        ("", "secrets") => &config::SECRETS,
        ("", "serviceaccounts") => &config::SERVICE_ACCOUNTS,
        ("", "persistentvolumeclaims") => &config::CLAIMS,
        _ => &PLAIN,
    }
}

/// A table of objects. `columns` is false for all but the first table of a watch, which tells them.
pub(super) fn of(
    resource: &Resource,
    objects: &[Arc<Object>],
    version: &str,
    include: Include,
    metadata: Value,
    columns: bool,
) -> Value {
    let printer = printer(resource);
    let rows = objects.iter().map(|object| row(printer, object.value(), version, include)).collect();
    table(printer, rows, version, metadata, columns)
}

/// A table of one scale.
pub(super) fn of_scale(scale: Value, version: &str, include: Include) -> Value {
    let metadata = json!({"resourceVersion": scale["metadata"]["resourceVersion"]});
    table(&workloads::SCALES, vec![row(&workloads::SCALES, scale, version, include)], version, metadata, true)
}

fn table(printer: &Printer, rows: Vec<Value>, version: &str, metadata: Value, columns: bool) -> Value {
    let columns: Vec<Value> = if columns { printer.columns.iter().map(definition).collect() } else { Vec::new() };
    json!({
        "kind": "Table",
        "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": metadata,
        "columnDefinitions": columns,
        "rows": rows,
    })
}

fn definition((name, kind, wide): &Column) -> Value {
    let (kind, format) = match (kind, *name) {
        (Text, "Name") => ("string", "name"),
        (Text, "Created At") => ("date", ""),
        (Text, _) => ("string", ""),
        (Number, _) => ("integer", ""),
    };
    json!({"name": name, "type": kind, "format": format, "description": "", "priority": i32::from(*wide)})
}

fn row(printer: &Printer, value: Value, version: &str, include: Include) -> Value {
    let mut row = json!({"cells": (printer.cells)(&value)});
    match include {
        Include::None => {}
        Include::Metadata => row["object"] = show::metadata_of(&value["metadata"], version),
        Include::Object => row["object"] = value,
    }
    row
}

/// The cell of an object's name.
fn name(object: &Value) -> Value {
    object["metadata"]["name"].clone()
}

/// The cell of an object's age.
fn age(object: &Value) -> Value {
    Value::from(time::since(object["metadata"]["creationTimestamp"].as_str()))
}

/// A number, 0 where there is none.
fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

/// A text, empty where there is none.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A text, `<none>` where there is none.
fn or_none(text: impl Into<String>) -> Value {
    let text = text.into();
    Value::from(if text.is_empty() { "<none>".to_owned() } else { text })
}

/// The items of a list, none where there is none.
fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Labels as `a=b,c=d`, `<none>` where there are none.
fn labels(map: &Value) -> Value {
    let pairs = map.as_object().into_iter().flatten();
    let mut pairs: Vec<String> = pairs.map(|(key, value)| format!("{key}={}", text(value))).collect();
    pairs.sort();
    or_none(pairs.join(","))
}

/// A label selector in words, `<none>` where it is empty.
fn selector(value: &Value) -> Value {
    use crate::model::selector::LabelSelector;
    let read: Result<LabelSelector, _> = serde_json::from_value(value.clone());
    match read {
        Ok(empty) if empty == LabelSelector::default() => or_none(""),
        Ok(read) => Value::from(read.to_string()),
        Err(_) => Value::from("<error>"),
    }
}

/// The names and the images of a template's containers.
fn containers(spec: &Value) -> [Value; 2] {
    let of = |key: &str| items(&spec["containers"]).map(|one| text(&one[key])).collect::<Vec<_>>().join(",");
    [Value::from(of("name")), Value::from(of("image"))]
}

/// Some of a list, and how many more there are.
fn some(all: &[String], most: usize) -> Value {
    if all.is_empty() {
        return or_none("");
    }
    let shown = all[..all.len().min(most)].join(",");
    Value::from(if all.len() > most { format!("{shown} + {} more...", all.len() - most) } else { shown })
}
