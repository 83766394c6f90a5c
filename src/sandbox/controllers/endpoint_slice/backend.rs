//! Pods and Services as both endpoint controllers read them (k/pkg/api/v1/endpoints, k/pkg/api/v1/pod `FindPort`,
//! endpointslice/util, v1.34.4).

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::core::v1::{Container, Pod, Service},
    apimachinery::pkg::util::intstr::IntOrString,
};

use crate::{
    model::selector::contains_all,
    sandbox::{
        controllers::{Key, disruption::is_ready},
        kinds,
        registry::Registry,
        store::{Change, Op},
    },
};

/// A port of a Service as one pod has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::sandbox::controllers) struct Port {
    /// The Service port's name; empty without one.
    pub name: String,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// The pod's port.
    pub number: i32,
    /// The Service port's `appProtocol`.
    pub app_protocol: Option<String>,
}

/// The Services of a namespace that select these labels.
pub(in crate::sandbox::controllers) fn services_for(
    registry: &Registry,
    namespace: &str,
    labels: &BTreeMap<String, String>,
) -> Vec<Key> {
    let services = registry.store().list(&kinds::SERVICE, Some(namespace)).1;
    let selecting = services.iter().filter(|service| {
        let selector = service.typed::<Service>().and_then(|service| service.spec.as_ref()?.selector.clone());
        // A Service without a selector selects nothing; its endpoints are kept by hand.
        selector.is_some_and(|selector| contains_all(labels, &selector))
    });
    selecting.map(Key::of).collect()
}

/// The Services to look at after a change of a pod (`GetServicesToUpdateOnPodChange`): those that select it now or did
/// before, if anything has changed that endpoints show.
pub(in crate::sandbox::controllers) fn services_to_sync(registry: &Registry, change: &Change) -> Vec<Key> {
    let object = &change.object;
    let Some(before) = change.before.as_ref().filter(|_| change.op == Op::Modified) else {
        return services_for(registry, &object.namespace, &object.labels);
    };
    let relabelled = before.labels != object.labels;
    if !relabelled
        && let (Some(old), Some(new)) = (before.typed::<Pod>(), object.typed::<Pod>())
        && shown(&old) == shown(&new)
    {
        return Vec::new();
    }
    let mut keys = services_for(registry, &object.namespace, &object.labels);
    if relabelled {
        keys.extend(services_for(registry, &object.namespace, &before.labels));
    }
    keys
}

/// What endpoints show of a pod.
fn shown(pod: &Pod) -> (bool, bool, bool, Option<&str>, &str, Option<&str>) {
    let spec = pod.spec.as_ref();
    (
        is_ready(pod),
        pod.metadata.deletion_timestamp.is_some(),
        is_finished(pod),
        address_of(pod),
        node_of(pod),
        spec.and_then(|spec| spec.hostname.as_deref()),
    )
}

/// The pods that a Service selects.
pub(in crate::sandbox::controllers) fn pods_of(registry: &Registry, service: &Service) -> Vec<Arc<Pod>> {
    let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.clone()).unwrap_or_default();
    let all = registry.store().list(&kinds::POD, Some(namespace)).1;
    all.iter().filter(|pod| contains_all(&pod.labels, &selector)).filter_map(|pod| pod.typed()).collect()
}

/// Whether a pod is an endpoint at all (`ShouldPodBeInEndpoints`).
pub(in crate::sandbox::controllers) fn is_endpoint(pod: &Pod, terminating_too: bool) -> bool {
    !is_finished(pod) && address_of(pod).is_some() && (terminating_too || pod.metadata.deletion_timestamp.is_none())
}

fn is_finished(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// A pod's address.
pub(in crate::sandbox::controllers) fn address_of(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.pod_ip.as_deref().filter(|address| !address.is_empty())
}

/// A pod's node; empty without one.
pub(in crate::sandbox::controllers) fn node_of(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

/// Whether a Service has no address of its own.
pub(in crate::sandbox::controllers) fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().is_some_and(|spec| spec.cluster_ip.as_deref() == Some("None"))
}

/// The name under which a pod is known below a Service (`ShouldSetHostname`).
pub(in crate::sandbox::controllers) fn hostname_of(service: &Service, pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let below = spec.subdomain.as_deref() == service.metadata.name.as_deref();
    let same = pod.metadata.namespace == service.metadata.namespace;
    spec.hostname.clone().filter(|name| !name.is_empty() && below && same)
}

/// The Service's ports on a pod; those that the pod does not name are left out.
pub(in crate::sandbox::controllers) fn ports_of(service: &Service, pod: &Pod) -> Vec<Port> {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    ports
        .iter()
        .filter_map(|port| {
            let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
            let number = match &port.target_port {
                None | Some(IntOrString::Int(0)) => port.port,
                Some(IntOrString::Int(number)) => *number,
                Some(IntOrString::String(name)) => named(pod, name, &protocol)?,
            };
            let name = port.name.clone().unwrap_or_default();
            Some(Port { name, protocol, number, app_protocol: port.app_protocol.clone() })
        })
        .collect()
}

/// A container's port by name: of the ordinary ones, then of init containers that stay.
fn named(pod: &Pod, name: &str, protocol: &str) -> Option<i32> {
    let spec = pod.spec.as_ref()?;
    let staying = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    let sidecars = spec.init_containers.iter().flatten().filter(staying);
    let ports = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    ports
        .into_iter()
        .find(|port| port.name.as_deref() == Some(name) && port.protocol.as_deref().unwrap_or("TCP") == protocol)
        .map(|port| port.container_port)
}
