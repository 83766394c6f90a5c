//! Nodes, namespaces, events, leases.

use serde_json::{Value, json};

use super::{AGE, NAME, Number, Printer, Text, age, items, name, number, or_none, text, time};

/// The label of a node's role, before the role.
const ROLE: &str = "node-role.kubernetes.io/";

pub(super) static NODES: Printer = Printer {
    columns: &[
        NAME,
        ("Status", Text, false),
        ("Roles", Text, false),
        AGE,
        ("Version", Text, false),
        ("Internal-IP", Text, true),
        ("External-IP", Text, true),
        ("OS-Image", Text, true),
        ("Kernel-Version", Text, true),
        ("Container-Runtime", Text, true),
    ],
    cells: |object| {
        let info = &object["status"]["nodeInfo"];
        let unknown = |key: &str| {
            let text = text(&info[key]);
            json!(if text.is_empty() { "<unknown>" } else { text })
        };
        vec![
            name(object),
            json!(node_status(object)),
            or_none(roles(object).join(",")),
            age(object),
            json!(text(&info["kubeletVersion"])),
            or_none(address(object, "InternalIP")),
            or_none(address(object, "ExternalIP")),
            unknown("osImage"),
            unknown("kernelVersion"),
            unknown("containerRuntimeVersion"),
        ]
    },
};

pub(super) static NAMESPACES: Printer = Printer {
    columns: &[NAME, ("Status", Text, false), AGE],
    cells: |object| vec![name(object), json!(text(&object["status"]["phase"])), age(object)],
};

const EVENT_COLUMNS: &[super::Column] = &[
    ("Last Seen", Text, false),
    ("Type", Text, false),
    ("Reason", Text, false),
    ("Object", Text, false),
    ("Subobject", Text, true),
    ("Source", Text, true),
    ("Message", Text, false),
    ("First Seen", Text, true),
    ("Count", Number, true),
    ("Name", Text, true),
];

pub(super) static EVENTS: Printer = Printer { columns: EVENT_COLUMNS, cells: event };

/// Events of `events.k8s.io` are shown as the core events that they are.
pub(super) static EVENTS_VIEW: Printer =
    Printer { columns: EVENT_COLUMNS, cells: |object| event(&super::super::events_view::to_core(object.clone())) };

pub(super) static LEASES: Printer = Printer {
    columns: &[NAME, ("Holder", Text, false), AGE],
    cells: |object| vec![name(object), json!(text(&object["spec"]["holderIdentity"])), age(object)],
};

fn node_status(node: &Value) -> String {
    let ready = items(&node["status"]["conditions"]).find(|one| one["type"] == "Ready");
    let mut status = match ready {
        Some(ready) if ready["status"] == "True" => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if node["spec"]["unschedulable"] == true {
        status.push_str(",SchedulingDisabled");
    }
    status
}

fn roles(node: &Value) -> Vec<String> {
    let labels = node["metadata"]["labels"].as_object().into_iter().flatten();
    let mut roles: Vec<String> = labels
        .filter_map(|(key, value)| match key.strip_prefix(ROLE) {
            Some(role) => Some(role.to_owned()),
            None => (key == "kubernetes.io/role").then(|| text(value).to_owned()),
        })
        .filter(|role| !role.is_empty())
        .collect();
    roles.sort();
    roles
}

fn address<'a>(node: &'a Value, kind: &str) -> &'a str {
    items(&node["status"]["addresses"]).find(|one| one["type"] == kind).map_or("", |one| text(&one["address"]))
}

fn event(event: &Value) -> Vec<Value> {
    let time_of = |key: &str| event[key].as_str();
    let first = time::since(time_of("firstTimestamp").or_else(|| time_of("eventTime")));
    let mut last = time_of("lastTimestamp").map_or_else(|| first.clone(), |time| time::since(Some(time)));
    let mut count = number(&event["count"]).max(1);
    let series = &event["series"];
    if !series.is_null() {
        last = time::since(series["lastObservedTime"].as_str());
        count = number(&series["count"]);
    }
    let about = &event["involvedObject"];
    let kind = text(&about["kind"]).to_lowercase();
    let target = match text(&about["name"]) {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    vec![
        json!(last),
        json!(text(&event["type"])),
        json!(text(&event["reason"])),
        json!(target),
        json!(text(&about["fieldPath"])),
        json!(source(event)),
        json!(text(&event["message"]).trim()),
        json!(first),
        json!(count),
        name(event),
    ]
}

/// `formatEventSource`.
fn source(event: &Value) -> String {
    let first = |one: &Value, other: &Value| {
        let one = text(one);
        if one.is_empty() { text(other).to_owned() } else { one.to_owned() }
    };
    let component = first(&event["source"]["component"], &event["reportingComponent"]);
    let host = first(&event["source"]["host"], &event["reportingInstance"]);
    if host.is_empty() { component } else { format!("{component}, {host}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_told_with_its_roles_and_whether_it_takes_pods() {
        let mut node = json!({
            "metadata": {"name": "a", "labels": {"node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/edge": ""}},
            "status": {"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"kubeletVersion": "v1.34.4"}},
        });
        let cells = (NODES.cells)(&node);
        assert_eq!(cells.len(), NODES.columns.len());
        assert_eq!((&cells[1], &cells[2], &cells[4]), (&json!("Ready"), &json!("edge,worker"), &json!("v1.34.4")));
        node["spec"] = json!({"unschedulable": true});
        node["status"]["conditions"][0]["status"] = json!("Unknown");
        assert_eq!((NODES.cells)(&node)[1], "NotReady,SchedulingDisabled");
        assert_eq!((NODES.cells)(&json!({}))[1], "Unknown");
    }

    #[test]
    fn an_event_is_told_by_what_it_is_about() {
        let value = json!({"metadata": {"name": "web.1"}, "involvedObject": {"kind": "Pod", "name": "web"},
            "type": "Warning", "reason": "Unhealthy", "message": " no \n", "source": {"component": "kubelet", "host": "a"}});
        let cells = (EVENTS.cells)(&value);
        assert_eq!(cells.len(), EVENTS.columns.len());
        assert_eq!((&cells[0], &cells[3], &cells[6]), (&json!("<unknown>"), &json!("pod/web"), &json!("no")));
        assert_eq!((&cells[5], &cells[8]), (&json!("kubelet, a"), &json!(1)));
    }
}
