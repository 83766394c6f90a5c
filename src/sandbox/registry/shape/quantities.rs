//! Where amounts (`resource.Quantity`) stand in objects. They are stored in their canonical spelling; those of resource
//! lists are rounded up to thousandths (k/pkg/apis/core/v1/defaults.go `SetDefaults_ResourceList`, v1.34.4).

use serde_json::{Value, json};

use super::super::json::{each, pod_spec};
use crate::{
    model::quantity::{NotQuantity, Quantity},
    sandbox::kinds::Kind,
};

/// Brings every amount of an object into its one spelling.
pub(super) fn canonicalise(kind: &Kind, value: &mut Value) -> Result<(), NotQuantity> {
    if let Some(spec) = pod_spec(kind, value) {
        of_pod_spec(spec)?;
    }
    match kind.kind {
        "Pod" => of_pod_status(value),
        "Node" => of_lists(value.get_mut("status"), &["capacity", "allocatable"]),
        "PersistentVolumeClaim" => of_claim(value),
        "StatefulSet" => {
            value.get_mut("spec").map_or(Ok(()), |spec| each(spec, "volumeClaimTemplates").try_for_each(of_claim))
        }
        "HorizontalPodAutoscaler" => of_autoscaler(value),
        _ => Ok(()),
    }
}

fn of_pod_spec(spec: &mut Value) -> Result<(), NotQuantity> {
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for container in each(spec, list) {
            of_lists(container.get_mut("resources"), &["limits", "requests"])?;
            for variable in each(container, "env") {
                of_divisor(variable.get_mut("valueFrom"))?;
            }
        }
    }
    for volume in each(spec, "volumes") {
        if let Some(limit) = volume.get_mut("emptyDir").and_then(|directory| directory.get_mut("sizeLimit")) {
            spell(limit)?;
        }
        if let Some(source) = volume.get_mut("downwardAPI") {
            each(source, "items").try_for_each(|item| of_divisor(Some(item)))?;
        }
        for source in volume.get_mut("projected").into_iter().flat_map(|projected| each(projected, "sources")) {
            if let Some(source) = source.get_mut("downwardAPI") {
                each(source, "items").try_for_each(|item| of_divisor(Some(item)))?;
            }
        }
    }
    of_lists(spec.get_mut("resources"), &["limits", "requests"])?;
    of_lists(Some(spec), &["overhead"])
}

fn of_pod_status(pod: &mut Value) -> Result<(), NotQuantity> {
    let Some(status) = pod.get_mut("status") else { return Ok(()) };
    for list in ["containerStatuses", "initContainerStatuses"] {
        for container in each(status, list) {
            of_lists(container.get_mut("resources"), &["limits", "requests"])?;
            of_lists(Some(container), &["allocatedResources"])?;
        }
    }
    Ok(())
}

fn of_claim(claim: &mut Value) -> Result<(), NotQuantity> {
    of_lists(claim.get_mut("spec").and_then(|spec| spec.get_mut("resources")), &["limits", "requests"])?;
    of_lists(claim.get_mut("status"), &["capacity", "allocatedResources"])
}

fn of_autoscaler(autoscaler: &mut Value) -> Result<(), NotQuantity> {
    for (part, list, of) in [("spec", "metrics", "target"), ("status", "currentMetrics", "current")] {
        let Some(part) = autoscaler.get_mut(part) else { continue };
        for metric in each(part, list) {
            for source in ["resource", "containerResource", "pods", "object", "external"] {
                let Some(target) = metric.get_mut(source).and_then(|source| source.get_mut(of)) else { continue };
                for amount in ["value", "averageValue"] {
                    target.get_mut(amount).map_or(Ok(()), spell)?;
                }
            }
        }
    }
    let behavior = autoscaler.get_mut("spec").and_then(|spec| spec.get_mut("behavior"));
    for rules in behavior.into_iter().filter_map(Value::as_object_mut).flat_map(|map| map.values_mut()) {
        rules.get_mut("tolerance").map_or(Ok(()), spell)?;
    }
    Ok(())
}

/// Go's type always writes the divisor, as `0` where there is none.
fn of_divisor(around: Option<&mut Value>) -> Result<(), NotQuantity> {
    let Some(reference) = around.and_then(|around| around.get_mut("resourceFieldRef")) else { return Ok(()) };
    match reference.as_object_mut() {
        Some(map) => spell(map.entry("divisor").or_insert_with(|| json!("0"))),
        None => Ok(()),
    }
}

fn of_lists(around: Option<&mut Value>, names: &[&str]) -> Result<(), NotQuantity> {
    let Some(around) = around else { return Ok(()) };
    for name in names {
        for amount in around.get_mut(name).and_then(Value::as_object_mut).into_iter().flat_map(|map| map.values_mut()) {
            *amount = json!(read(amount)?.in_millis().to_string());
        }
    }
    Ok(())
}

fn spell(amount: &mut Value) -> Result<(), NotQuantity> {
    *amount = json!(read(amount)?.to_string());
    Ok(())
}

fn read(amount: &Value) -> Result<Quantity, NotQuantity> {
    match amount {
        Value::String(text) => text.parse(),
        other => other.to_string().parse(),
    }
}
