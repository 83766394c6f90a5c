//! The selector of those that a pod belongs to: its Services, and the set that controls it
//! (k/pkg/scheduler/framework/plugins/helper/spread.go `DefaultSelector`, v1.34.4).

use k8s_openapi::{
    api::{
        apps::v1::{ReplicaSet, StatefulSet},
        core::v1::Service,
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector as Selector,
};

use super::pod::PodInfo;
use crate::{
    model::selector::{LabelSelector, Operator, Requirement, contains_all},
    sandbox::{kinds, registry::Registry, selectors},
};

/// The selector; nothing for a pod that belongs to nothing.
pub(super) fn of_owners(registry: &Registry, pod: &PodInfo) -> Option<LabelSelector> {
    let mut selector = LabelSelector::default();
    for service in registry.store().list(&kinds::SERVICE, Some(&pod.namespace)).1 {
        let own = service.typed::<Service>().and_then(|service| service.spec.as_ref()?.selector.clone());
        if let Some(own) = own.filter(|own| contains_all(&pod.labels, own)) {
            selector.match_labels.extend(own);
        }
    }
    if let Some(own) = of_controller(registry, pod).and_then(|own| selectors::read(Some(&own))) {
        let equal = |(key, value)| Requirement { key, operator: Operator::In, values: vec![value] };
        selector.match_expressions.extend(own.match_labels.into_iter().map(equal));
        selector.match_expressions.extend(own.match_expressions);
    }
    let empty = selector.match_labels.is_empty() && selector.match_expressions.is_empty();
    (!empty).then_some(selector)
}

fn of_controller(registry: &Registry, pod: &PodInfo) -> Option<Selector> {
    let (api_version, kind, name) = pod.controller.as_ref()?;
    match (api_version.as_str(), kind.as_str()) {
        ("apps/v1", "ReplicaSet") => {
            Some(registry.find::<ReplicaSet>(&pod.namespace, name)?.spec.as_ref()?.selector.clone())
        }
        ("apps/v1", "StatefulSet") => {
            Some(registry.find::<StatefulSet>(&pod.namespace, name)?.spec.as_ref()?.selector.clone())
        }
        _ => None,
    }
}
