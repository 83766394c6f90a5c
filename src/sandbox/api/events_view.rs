//! `events.k8s.io/v1`: the core events under other names (k/pkg/apis/events/v1/conversion.go, v1.34.4).

use serde_json::{Map, Value};

use crate::sandbox::{
    kinds::{self, Kind},
    store::Object,
};

/// The names of fields: of `events.k8s.io`, and of the core.
const FIELDS: [(&str, &str); 7] = [
    ("note", "message"),
    ("regarding", "involvedObject"),
    ("deprecatedSource", "source"),
    ("deprecatedCount", "count"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("reportingController", "reportingComponent"),
];

static VIEW: Kind = Kind {
    group: "events.k8s.io",
    version: "v1",
    kind: "Event",
    plural: "events",
    singular: "event",
    short: &["ev"],
    namespaced: true,
    status: false,
    scale: false,
    generation: false,
};

/// A core event as `events.k8s.io` shows it.
pub(super) fn from_core(event: &Object) -> Object {
    let value = renamed(event.value(), |key| FIELDS.iter().find(|(_, core)| *core == key).map(|(view, _)| *view));
    let mut value = Value::Object(value);
    value["apiVersion"] = Value::from(VIEW.api_version());
    Object::new(&VIEW, value, event.version)
}

/// An event of `events.k8s.io` as it is stored.
pub(super) fn to_core(event: Value) -> Value {
    let value = renamed(event, |key| FIELDS.iter().find(|(view, _)| *view == key).map(|(_, core)| *core));
    let mut value = Value::Object(value);
    value["apiVersion"] = Value::from(kinds::EVENT.api_version());
    value
}

fn renamed(value: Value, name: impl Fn(&str) -> Option<&'static str>) -> Map<String, Value> {
    let Value::Object(fields) = value else { return Map::new() };
    fields.into_iter().map(|(key, value)| (name(&key).map_or(key, str::to_owned), value)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_has_the_same_facts_under_both_names() {
        let core = json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"name": "web.1", "namespace": "shop", "resourceVersion": "7"},
            "involvedObject": {"kind": "Pod", "name": "web"},
            "message": "Started", "reason": "Started", "type": "Normal", "count": 2, "source": {"component": "kubelet"},
        });
        let shown = from_core(&Object::new(&kinds::EVENT, core.clone(), 7)).value();
        assert_eq!(shown["apiVersion"], "events.k8s.io/v1");
        assert_eq!((&shown["note"], &shown["regarding"]["name"]), (&json!("Started"), &json!("web")));
        assert_eq!((&shown["deprecatedCount"], &shown["message"]), (&json!(2), &Value::Null));
        assert_eq!(to_core(shown), core);
    }
}
