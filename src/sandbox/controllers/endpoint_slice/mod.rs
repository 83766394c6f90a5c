//! The `EndpointSlice` controller: which pods are behind a Service, and in what state
//! (k/pkg/controller/endpointslice, endpointslice/{reconciler,utils,endpointset}.go, v1.34.4).
//!
//! * [`backend`]: pods and Services as the two endpoint controllers read them.
//! * [`pack`]: how endpoints are spread over slices, pure.

pub(super) mod backend;
mod pack;

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::{
        core::v1::{Node, ObjectReference, Pod, Service},
        discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};

use self::pack::Slice;
use super::{Controller, Key, Next, events, pace::Pace};
use crate::sandbox::{
    error::ApiError,
    kinds::{self, Kind},
    registry::{DeleteOptions, Registry},
    store::{Change, Object, Op},
};

/// The label that names the Service.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The label that names who keeps the slice.
pub const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";

/// This controller in that label.
pub const MANAGER: &str = "endpointslice-controller.k8s.io";

/// The label of slices of headless Services.
const HEADLESS: &str = "service.kubernetes.io/headless";

const COMPONENT: &str = "endpoint-slice-controller";

/// The label of nodes with their zone.
const ZONE: &str = "topology.kubernetes.io/zone";

/// The controller.
pub struct EndpointSlices {
    registry: Arc<Registry>,
    pace: Pace,
}

impl EndpointSlices {
    /// The controller of this cluster.
    #[must_use]
    pub fn new(registry: Arc<Registry>) -> Self {
        Self { registry, pace: Pace::default() }
    }

    fn sync(&self, key: &Key) -> Result<Next, ApiError> {
        let Some(service) = self.registry.find::<Service>(&key.namespace, &key.name) else {
            return Ok(Next::Settled);
        };
        let spec = service.spec.clone().unwrap_or_default();
        if spec.selector.is_none() || spec.type_.as_deref() == Some("ExternalName") {
            return Ok(Next::Settled);
        }
        let pods = backend::pods_of(&self.registry, &service);
        self.pace.looked(key, pods.len());
        let mut missing_node = None;
        let mut wanted: BTreeMap<pack::Ports, Vec<Endpoint>> = BTreeMap::new();
        for pod in pods.iter().filter(|pod| backend::is_endpoint(pod, true)) {
            let node = backend::node_of(pod);
            let found = self.registry.find::<Node>("", node);
            if found.is_none() && spec.publish_not_ready_addresses != Some(true) {
                missing_node = Some(node.to_owned());
                continue;
            }
            let ports = pack::Ports::of(backend::ports_of(&service, pod).into_iter().map(port).collect());
            wanted.entry(ports).or_default().push(endpoint(&service, pod, found.as_deref()));
        }
        self.write(&service, wanted)?;
        match missing_node {
            // The pod may be seen before its node; it is added when both are there.
            Some(node) => Err(ApiError::not_found("", "nodes", &node)),
            None => Ok(Next::Settled),
        }
    }

    fn write(&self, service: &Service, wanted: BTreeMap<pack::Ports, Vec<Endpoint>>) -> Result<(), ApiError> {
        let existing = self.slices_of(service);
        let slices = existing.iter().map(|slice| Slice {
            name: slice.metadata.name.clone().unwrap_or_default(),
            ports: pack::Ports::of(slice.ports.clone().unwrap_or_default()),
            endpoints: slice.endpoints.clone(),
        });
        let plan = pack::plan(slices.collect(), wanted);
        let labels = labels(service);
        for slice in &existing {
            let name = slice.metadata.name.as_deref().unwrap_or_default();
            let update = plan.update.iter().find(|update| update.name == name);
            let kept = slice.metadata.labels.as_ref() == Some(&labels);
            if plan.delete.iter().any(|gone| gone == name) {
                let namespace = slice.metadata.namespace.as_deref().unwrap_or_default();
                self.registry.remove::<EndpointSlice>(namespace, name, &DeleteOptions::default())?;
            } else if update.is_some() || !kept {
                let mut new = (**slice).clone();
                new.metadata.labels = Some(labels.clone());
                if let Some(update) = update {
                    new.endpoints.clone_from(&update.endpoints);
                    new.ports = Some(update.ports.list().to_vec());
                }
                self.registry.update_as(&new)?;
            }
        }
        for new in plan.create {
            self.registry.create_as(&EndpointSlice {
                metadata: metadata(service, labels.clone()),
                address_type: "IPv4".to_owned(),
                endpoints: new.endpoints,
                ports: Some(new.ports.list().to_vec()),
            })?;
        }
        Ok(())
    }

    fn slices_of(&self, service: &Service) -> Vec<Arc<EndpointSlice>> {
        let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
        let name = service.metadata.name.as_deref().unwrap_or_default();
        let all = self.registry.store().list(&kinds::ENDPOINT_SLICE, Some(namespace)).1;
        let own = all.iter().filter(|slice| {
            slice.labels.get(SERVICE_NAME).is_some_and(|of| of == name)
                && slice.labels.get(MANAGED_BY).is_some_and(|by| by == MANAGER)
        });
        own.filter_map(|slice| slice.typed::<EndpointSlice>())
            .filter(|slice| slice.address_type == "IPv4" && slice.metadata.deletion_timestamp.is_none())
            .collect()
    }
}

impl Controller for EndpointSlices {
    fn name(&self) -> &'static str {
        "endpoint-slice"
    }

    fn watches(&self) -> &'static [&'static Kind] {
        static WATCHES: &[&Kind] = &[&kinds::SERVICE, &kinds::POD, &kinds::ENDPOINT_SLICE, &kinds::NODE];
        WATCHES
    }

    fn keys(&self, change: &Change) -> Vec<Key> {
        let object = &change.object;
        match object.kind.kind {
            "Service" => vec![Key::of(object)],
            "Pod" => backend::services_to_sync(&self.registry, change),
            "EndpointSlice" => {
                let ours = object.labels.get(MANAGED_BY).is_some_and(|by| by == MANAGER);
                let name = object.labels.get(SERVICE_NAME).filter(|_| ours);
                name.map(|name| Key::new(&object.namespace, name)).into_iter().collect()
            }
            _ => self.of_node(change),
        }
    }

    fn reconcile(&self, key: &Key) -> Result<Next, ApiError> {
        if let Some(left) = self.pace.wait(key) {
            return Ok(Next::After(left));
        }
        let result = self.sync(key);
        if let Err(error) = &result
            && !error.is_conflict()
            && let Some(service) = self.registry.store().get(&kinds::SERVICE, &key.namespace, &key.name)
        {
            let message =
                format!("Error updating Endpoint Slices for Service {}/{}: {}", key.namespace, key.name, error.message);
            let reason = "FailedToUpdateEndpointSlices";
            events::record(&self.registry, &service, events::Severity::Warning, COMPONENT, reason, &message);
        }
        result
    }
}

impl EndpointSlices {
    /// A node that comes, goes or changes its zone concerns the Services of its pods.
    fn of_node(&self, change: &Change) -> Vec<Key> {
        let zone = |object: &Arc<Object>| object.labels.get(ZONE).cloned();
        if change.op == Op::Modified && change.before.as_ref().map(zone) == Some(zone(&change.object)) {
            return Vec::new();
        }
        let pods = self.registry.store().pods_on(&change.object.name);
        pods.iter().flat_map(|pod| backend::services_for(&self.registry, &pod.namespace, &pod.labels)).collect()
    }
}

fn port(port: backend::Port) -> EndpointPort {
    EndpointPort {
        app_protocol: port.app_protocol,
        // An unnamed port has the empty name, not none.
        name: Some(port.name),
        port: Some(port.number),
        protocol: Some(port.protocol),
    }
}

/// A pod as an endpoint (`podToEndpoint`).
fn endpoint(service: &Service, pod: &Pod, node: Option<&Node>) -> Endpoint {
    let publish = service.spec.as_ref().is_some_and(|spec| spec.publish_not_ready_addresses == Some(true));
    let serving = super::disruption::is_ready(pod);
    let terminating = pod.metadata.deletion_timestamp.is_some();
    let ready = publish || (serving && !terminating);
    let zone = node.and_then(|node| node.metadata.labels.as_ref()?.get(ZONE).cloned());
    Endpoint {
        addresses: backend::address_of(pod).map(str::to_owned).into_iter().collect(),
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: backend::hostname_of(service, pod),
        node_name: Some(backend::node_of(pod).to_owned()).filter(|name| !name.is_empty()),
        target_ref: Some(target_ref(pod)),
        zone,
        ..Endpoint::default()
    }
}

/// A reference to a pod, as endpoints have it.
pub(super) fn target_ref(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".to_owned()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    labels.insert(SERVICE_NAME.to_owned(), service.metadata.name.clone().unwrap_or_default());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    if backend::is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels
}

fn metadata(service: &Service, labels: BTreeMap<String, String>) -> ObjectMeta {
    let name = service.metadata.name.clone().unwrap_or_default();
    ObjectMeta {
        generate_name: Some(format!("{name}-")),
        namespace: service.metadata.namespace.clone(),
        labels: Some(labels),
        owner_references: Some(vec![OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Service".to_owned(),
            name,
            uid: service.metadata.uid.clone().unwrap_or_default(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }]),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests;
