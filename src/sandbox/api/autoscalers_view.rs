//! `autoscaling/v1`: the stored autoscalers with their CPU target as a single number
//! (k/pkg/apis/autoscaling/v1/conversion.go, v1.34.4). Upstream keeps what v1 has no fields for in annotations; here it
//! stays with the stored object, and a write through v1 leaves it as it is.

use serde_json::{Value, json};

use crate::sandbox::{
    error::ApiError,
    kinds::{self, Kind},
    store::Object,
};

/// What of `spec` v2 has and v1 has not.
const OF_V2: [&str; 2] = ["metrics", "behavior"];

static VIEW: Kind = Kind {
    group: "autoscaling",
    version: "v1",
    kind: "HorizontalPodAutoscaler",
    plural: "horizontalpodautoscalers",
    singular: "horizontalpodautoscaler",
    short: &["hpa"],
    namespaced: true,
    status: true,
    scale: false,
    generation: false,
};

/// A stored autoscaler as `autoscaling/v1` shows it.
pub(super) fn from_v2(autoscaler: &Object) -> Object {
    Object::new(&VIEW, shown(autoscaler.value()), autoscaler.version)
}

/// The same of its JSON.
pub(super) fn shown(mut value: Value) -> Value {
    let percent = |metrics: &Value, of: &str| {
        let mut all = metrics.as_array().into_iter().flatten();
        all.find(|metric| is_cpu(metric)).map(|metric| metric["resource"][of]["averageUtilization"].clone())
    };
    let target = percent(&value["spec"]["metrics"], "target").filter(Value::is_i64);
    let current = percent(&value["status"]["currentMetrics"], "current").filter(Value::is_i64);
    value["apiVersion"] = json!(VIEW.api_version());
    if let Some(spec) = value["spec"].as_object_mut() {
        for name in OF_V2 {
            spec.shift_remove(name);
        }
        spec.extend(target.map(|percent| ("targetCPUUtilizationPercentage".to_owned(), percent)));
    }
    if let Some(status) = value["status"].as_object_mut() {
        for name in ["currentMetrics", "conditions"] {
            status.shift_remove(name);
        }
        status.extend(current.map(|percent| ("currentCPUUtilizationPercentage".to_owned(), percent)));
    }
    value
}

/// An autoscaler of `autoscaling/v1` as it is stored, where it stands for one that is stored already with what v1 does
/// not show of that one.
///
/// # Errors
/// 400 for one of another version.
pub(super) fn to_v2(mut value: Value, before: Option<&Value>) -> Result<Value, ApiError> {
    let own = VIEW.api_version();
    match value["apiVersion"].as_str() {
        None | Some("") => {}
        Some(stated) if stated == own => {}
        Some(stated) => {
            return Err(ApiError::bad_request(format!(
                "the API version in the data ({stated}) does not match the expected API version ({own})"
            )));
        }
    }
    value["apiVersion"] = json!(kinds::HORIZONTAL_POD_AUTOSCALER.api_version());
    let Some(spec) = value["spec"].as_object_mut() else { return Ok(value) };
    let percent = spec.shift_remove("targetCPUUtilizationPercentage").filter(|percent| !percent.is_null());
    for name in OF_V2 {
        spec.shift_remove(name);
    }
    let kept = before.map(|before| &before["spec"]);
    let mut metrics: Vec<Value> = kept.and_then(|spec| spec["metrics"].as_array()).cloned().unwrap_or_default();
    let at = metrics.iter().position(is_cpu);
    let cpu = percent.map(|percent| {
        json!({"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": percent}}})
    });
    match (at, cpu) {
        (Some(at), Some(cpu)) => metrics[at] = cpu,
        (Some(at), None) => drop(metrics.remove(at)),
        (None, Some(cpu)) => metrics.insert(0, cpu),
        (None, None) => {}
    }
    if !metrics.is_empty() {
        spec.insert("metrics".to_owned(), Value::Array(metrics));
    }
    if let Some(behavior) = kept.and_then(|spec| spec.get("behavior")) {
        spec.insert("behavior".to_owned(), behavior.clone());
    }
    Ok(value)
}

/// The fields of a body that only v2 has.
pub(super) fn unknown(value: &Value) -> impl Iterator<Item = String> {
    let spec = &value["spec"];
    OF_V2.into_iter().filter(|name| spec.get(name).is_some()).map(|name| format!("unknown field \"spec.{name}\""))
}

/// Whether a metric is the one that v1 has a field for.
fn is_cpu(metric: &Value) -> bool {
    metric["type"] == "Resource"
        && metric["resource"]["name"] == "cpu"
        && ["target", "current"].iter().any(|of| !metric["resource"][of]["averageUtilization"].is_null())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_target_is_a_number_in_v1_and_a_metric_in_v2() {
        let cpu = json!({"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": 50}}});
        let pods = json!({"type": "Pods", "pods": {"metric": {"name": "queue"},
            "target": {"type": "AverageValue", "averageValue": "3"}}});
        let v2 = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "spec": {"maxReplicas": 3, "metrics": [pods, cpu], "behavior": {"scaleDown": {}}},
            "status": {"currentReplicas": 1, "conditions": [], "currentMetrics": [
                {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 7}}}]}});
        let mut v1 = shown(v2.clone());
        assert_eq!(
            v1,
            json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler",
                "spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 50},
                "status": {"currentReplicas": 1, "currentCPUUtilizationPercentage": 7}})
        );
        assert_eq!(to_v2(v1.clone(), Some(&v2)).unwrap()["spec"], v2["spec"]);
        v1["spec"]["targetCPUUtilizationPercentage"] = json!(60);
        let changed = to_v2(v1.clone(), Some(&v2)).unwrap();
        assert_eq!(changed["spec"]["metrics"][1]["resource"]["target"]["averageUtilization"], 60);
        assert_eq!(changed["spec"]["metrics"].as_array().unwrap().len(), 2);
        let alone = to_v2(v1.clone(), None).unwrap();
        assert_eq!(alone["spec"]["metrics"].as_array().unwrap().len(), 1);
        v1["apiVersion"] = json!("autoscaling/v2");
        assert_eq!(to_v2(v1, None).unwrap_err().code, 400);
    }
}
