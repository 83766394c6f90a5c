//! Field selectors: `spec.nodeName=node-1,status.phase!=Running`, with the few fields that each kind has
//! (apimachinery/pkg/fields/selector.go; k/pkg/apis/{core,batch,apps}/v1/conversion.go, v1.34.4).

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;

use crate::sandbox::{error::ApiError, store::Object};

/// Requirements, all of which must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::sandbox::api) struct FieldSelector(Vec<Term>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    field: String,
    value: String,
    equal: bool,
}

/// The fields of a kind beside its name and namespace.
fn fields_of(group: &str, plural: &str) -> &'static [&'static str] {
    match (group, plural) {
        ("", "pods") => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ],
        ("", "nodes") => &["spec.unschedulable"],
        ("", "namespaces") => &["status.phase"],
        ("", "secrets") => &["type"],
        ("", "services") => &["spec.clusterIP", "spec.type"],
        ("", "replicationcontrollers") => &["status.replicas"],
        ("", "events") => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        ("events.k8s.io", "events") => &[
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "regarding.resourceVersion",
            "regarding.fieldPath",
            "reason",
            "reportingController",
            "type",
        ],
        ("batch", "jobs") | ("apps", "statefulsets") => &["status.successful"],
        _ => &[],
    }
}

fn unknown(group: &str, plural: &str, field: &str) -> ApiError {
    ApiError::bad_request(match (group, plural) {
        ("batch", "jobs") => format!("field label {field:?} not supported for Job"),
        ("apps", "statefulsets") => format!("field label not supported for appsv1.StatefulSet: {field}"),
        _ if fields_of(group, plural).is_empty() => {
            format!("{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
        }
        _ => format!("field label not supported: {field}"),
    })
}

impl FieldSelector {
    /// Reads a selector for a resource; an empty text selects everything.
    ///
    /// # Errors
    /// 400 where it is none, or has a field that the kind cannot be selected by.
    pub(in crate::sandbox::api) fn parse(text: &str, group: &str, plural: &str) -> Result<Self, ApiError> {
        let mut terms = Vec::new();
        for part in split(text) {
            let (field, equal, value) = term(&part).ok_or_else(|| {
                ApiError::bad_request(format!("invalid selector: '{text}'; can't understand '{part}'"))
            })?;
            // An old name of namespaces' names.
            let field = if plural == "namespaces" && field == "name" { "metadata.name" } else { field };
            let known =
                matches!(field, "metadata.name" | "metadata.namespace") || fields_of(group, plural).contains(&field);
            if !known {
                return Err(unknown(group, plural, field));
            }
            terms.push(Term { field: field.to_owned(), value: unescape(value), equal });
        }
        Ok(Self(terms))
    }

    /// Whether everything is selected.
    pub(in crate::sandbox::api) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds that a field must have a value.
    pub(in crate::sandbox::api) fn require(&mut self, field: &str, value: &str) {
        self.0.push(Term { field: field.to_owned(), value: value.to_owned(), equal: true });
    }

    /// The value that a field must have, where the selector says so.
    pub(in crate::sandbox::api) fn required(&self, field: &str) -> Option<&str> {
        self.0.iter().find(|term| term.equal && term.field == field).map(|term| term.value.as_str())
    }

    /// Whether an object is selected.
    pub(in crate::sandbox::api) fn matches(&self, object: &Object) -> bool {
        let mut fields = Fields::Unread;
        self.0.iter().all(|term| {
            let found: Cow<'_, str> = match term.field.as_str() {
                "metadata.name" => Cow::Borrowed(&object.name),
                "metadata.namespace" => Cow::Borrowed(&object.namespace),
                "spec.nodeName" => Cow::Borrowed(object.node.as_deref().unwrap_or_default()),
                field => {
                    if matches!(fields, Fields::Unread) {
                        fields = Fields::read(object);
                    }
                    Cow::Owned(fields.get(field))
                }
            };
            (found == term.value) == term.equal
        })
    }
}

/// Splits at commas that are not escaped.
fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut escaped = false;
    for c in text.chars() {
        match c {
            ',' if !escaped => parts.push(String::new()),
            _ => {
                if let Some(last) = parts.last_mut() {
                    last.push(c);
                }
            }
        }
        escaped = c == '\\' && !escaped;
    }
    parts.retain(|part| !part.is_empty());
    parts
}

fn term(part: &str) -> Option<(&str, bool, &str)> {
    let at = part.find('=')?;
    let (left, right) = (&part[..at], &part[at + 1..]);
    Some(match (left.strip_suffix('!'), right.strip_prefix('=')) {
        (Some(field), _) => (field, false, right),
        (None, Some(value)) => (left, true, value),
        (None, None) => (left, true, right),
    })
}

fn unescape(value: &str) -> String {
    let mut plain = String::with_capacity(value.len());
    let mut escaped = false;
    for c in value.chars() {
        if c == '\\' && !escaped {
            escaped = true;
        } else {
            plain.push(c);
            escaped = false;
        }
    }
    plain
}

/// The fields of one object, read when the first of them is needed: of pods no more than those, since there are many.
enum Fields<'a> {
    Unread,
    OfPod(Box<PodFields<'a>>),
    Any(Value),
}

#[derive(Default, Deserialize)]
struct PodFields<'a> {
    #[serde(default, borrow)]
    spec: PodSpecFields<'a>,
    #[serde(default, borrow)]
    status: PodStatusFields<'a>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodSpecFields<'a> {
    #[serde(borrow)]
    restart_policy: Cow<'a, str>,
    #[serde(borrow)]
    scheduler_name: Cow<'a, str>,
    #[serde(borrow)]
    service_account_name: Cow<'a, str>,
    host_network: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodStatusFields<'a> {
    #[serde(borrow)]
    phase: Cow<'a, str>,
    #[serde(borrow, rename = "podIP")]
    pod_ip: Cow<'a, str>,
    #[serde(borrow)]
    nominated_node_name: Cow<'a, str>,
}

impl<'a> Fields<'a> {
    fn read(object: &'a Object) -> Self {
        if object.kind.plural == "pods" {
            return Self::OfPod(Box::new(serde_json::from_slice(object.bytes()).unwrap_or_default()));
        }
        Self::Any(object.value())
    }

    fn get(&self, field: &str) -> String {
        match self {
            Self::Unread => String::new(),
            Self::OfPod(pod) => match field {
                "spec.restartPolicy" => pod.spec.restart_policy.to_string(),
                "spec.schedulerName" => pod.spec.scheduler_name.to_string(),
                "spec.serviceAccountName" => pod.spec.service_account_name.to_string(),
                "spec.hostNetwork" => pod.spec.host_network.to_string(),
                "status.phase" => pod.status.phase.to_string(),
                "status.podIP" | "status.podIPs" => pod.status.pod_ip.to_string(),
                "status.nominatedNodeName" => pod.status.nominated_node_name.to_string(),
                _ => String::new(),
            },
            Self::Any(value) => of_value(value, field),
        }
    }
}

fn of_value(value: &Value, field: &str) -> String {
    let at = |path: &str| path.split('.').fold(value, |value, key| &value[key]);
    let text = |path: &str| at(path).as_str().unwrap_or_default().to_owned();
    match field {
        "spec.unschedulable" => (at(field) == true).to_string(),
        "status.successful" => at("status.succeeded").as_i64().unwrap_or(0).to_string(),
        "status.replicas" => at(field).as_i64().unwrap_or(0).to_string(),
        "source" => {
            let component = text("source.component");
            if component.is_empty() { text("reportingComponent") } else { component }
        }
        "reportingController" => text("reportingComponent"),
        _ => match field.strip_prefix("regarding.") {
            Some(part) => text(&format!("involvedObject.{part}")),
            None => text(field),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sandbox::kinds;

    fn pod() -> Object {
        let value = json!({
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"nodeName": "node-1", "restartPolicy": "Always"},
            "status": {"phase": "Running", "podIP": "127.1.0.2"},
        });
        Object::new(&kinds::POD, value, 1)
    }

    #[test]
    fn pods_are_selected_by_their_fields() {
        let pod = pod();
        let table = [
            ("", true),
            ("spec.nodeName=node-1", true),
            ("spec.nodeName==node-1,status.phase!=Running", false),
            ("status.phase=Running,metadata.namespace=shop", true),
            ("metadata.name!=web", false),
            ("status.podIP=127.1.0.2", true),
            ("spec.hostNetwork=false", true),
            ("spec.serviceAccountName=", true),
            ("metadata.name=we\\,b", false),
        ];
        for (text, expected) in table {
            assert_eq!(FieldSelector::parse(text, "", "pods").unwrap().matches(&pod), expected, "{text}");
        }
    }

    #[test]
    fn other_kinds_have_other_fields() {
        let node = Object::new(&kinds::NODE, json!({"metadata": {"name": "a"}, "spec": {"unschedulable": true}}), 1);
        assert!(FieldSelector::parse("spec.unschedulable=true", "", "nodes").unwrap().matches(&node));
        let event = json!({"metadata": {"name": "e"}, "involvedObject": {"name": "web", "kind": "Pod"},
            "source": {"component": "kubelet"}});
        let event = Object::new(&kinds::EVENT, event, 1);
        assert!(FieldSelector::parse("involvedObject.name=web,source=kubelet", "", "events").unwrap().matches(&event));
    }

    #[test]
    fn an_unknown_field_is_refused() {
        let message = |text, group, plural| FieldSelector::parse(text, group, plural).unwrap_err().message;
        assert_eq!(message("spec.image=a", "", "pods"), "field label not supported: spec.image");
        assert_eq!(
            message("spec.replicas=1", "apps", "deployments"),
            "\"spec.replicas\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
        );
        assert_eq!(message("web", "", "pods"), "invalid selector: 'web'; can't understand 'web'");
    }
}
