//! How many pods a budget's pods should be: the replicas of their distinct controllers (`getExpectedScale`).

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference},
};

use crate::sandbox::{kinds, registry::Registry};

/// What the controllers of some pods ask for.
pub(super) struct Expected {
    /// The sum of their replicas.
    pub(super) replicas: i32,
    /// There are pods without a controller, which are in no sum.
    pub(super) unmanaged: bool,
}

/// Adds up the replicas of the pods' controllers; the text says what is wrong with a pod's controller.
pub(super) fn scale(registry: &Registry, pods: &[Arc<Pod>]) -> Result<Expected, String> {
    let mut by_controller: BTreeMap<String, i32> = BTreeMap::new();
    let mut seen: Vec<String> = Vec::new();
    let mut unmanaged = false;
    for pod in pods {
        let owners = pod.metadata.owner_references.as_deref().unwrap_or_default();
        let Some(controller) = owners.iter().find(|owner| owner.controller == Some(true)) else {
            unmanaged = true;
            continue;
        };
        if seen.contains(&controller.uid) {
            continue;
        }
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let Some((uid, replicas)) = controller_and_scale(registry, namespace, controller)? else {
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            return Err(format!("found no controllers for pod {name:?}"));
        };
        seen.push(controller.uid.clone());
        by_controller.insert(uid, replicas);
    }
    let replicas = by_controller.values().fold(0_i32, |sum, replicas| sum.saturating_add(*replicas));
    Ok(Expected { replicas, unmanaged })
}

/// The controller that counts, by uid, and its replicas: of a Deployment's `ReplicaSet` the Deployment.
fn controller_and_scale(
    registry: &Registry,
    namespace: &str,
    reference: &OwnerReference,
) -> Result<Option<(String, i32)>, String> {
    let Some(kind) = kinds::by_kind(&reference.api_version, &reference.kind) else {
        return Err(format!("no matches for kind {:?} in version {:?}", reference.kind, reference.api_version));
    };
    if !kind.scale {
        let resource =
            if kind.group.is_empty() { kind.plural.to_owned() } else { format!("{}.{}", kind.plural, kind.group) };
        return Err(format!("{resource} does not implement the scale subresource"));
    }
    if kind == &kinds::REPLICA_SET
        && let Some(set) = registry.find::<ReplicaSet>(namespace, &reference.name)
        && set.metadata.uid.as_deref() == Some(&reference.uid)
    {
        let owners = set.metadata.owner_references.as_deref().unwrap_or_default();
        let above = owners.iter().find(|owner| owner.controller == Some(true) && owner.kind == "Deployment");
        if let Some(above) = above {
            let deployment = registry.find::<Deployment>(namespace, &above.name);
            if let Some(deployment) = deployment.filter(|found| found.metadata.uid.as_deref() == Some(&above.uid)) {
                let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
                return Ok(Some((above.uid.clone(), replicas)));
            }
        }
    }
    let Ok(scale) = registry.scale(kind, namespace, &reference.name) else { return Ok(None) };
    if scale["metadata"]["uid"] != reference.uid.as_str() {
        return Ok(None);
    }
    let replicas = scale["spec"]["replicas"].as_i64().unwrap_or(0);
    Ok(Some((reference.uid.clone(), i32::try_from(replicas).unwrap_or(i32::MAX))))
}

/// A selector as Go prints it, which is how it stands in an event.
pub(super) fn selector_in_go(selector: Option<&LabelSelector>) -> String {
    let Some(selector) = selector else { return "nil".to_owned() };
    let mut text = "&LabelSelector{MatchLabels:map[string]string{".to_owned();
    for (key, value) in selector.match_labels.iter().flatten() {
        // Writing to a text does not fail.
        let _ = write!(text, "{key}: {value},");
    }
    text.push_str("},MatchExpressions:[]LabelSelectorRequirement{");
    for one in selector.match_expressions.iter().flatten() {
        let values = one.values.as_deref().unwrap_or_default().join(" ");
        let _ =
            write!(text, "LabelSelectorRequirement{{Key:{},Operator:{},Values:[{values}],}},", one.key, one.operator);
    }
    text.push_str("},}");
    text
}
