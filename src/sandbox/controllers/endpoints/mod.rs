//! The Endpoints controller: the older object that says which pods are behind a Service
//! (`k/pkg/controller/endpoint/endpoints_controller.go`, v1.34.4). Nothing in the sandbox goes by it; clients read it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::{
    api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Pod, Service},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{
    Controller, Key, Next,
    disruption::is_ready,
    endpoint_slice::{
        backend::{self, Port},
        target_ref,
    },
    pace::Pace,
};
use crate::sandbox::{
    error::ApiError,
    kinds::{self, Kind},
    registry::{DeleteOptions, Registry},
    store::Change,
};

/// Addresses in an Endpoints object, at most (`maxCapacity`).
const ADDRESSES_MAX: usize = 1000;

/// The annotation of an object that does not have them all.
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";

/// The label that names who keeps the object.
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";

/// The label of headless Services.
const HEADLESS: &str = "service.kubernetes.io/headless";

/// The controller.
pub struct EndpointsController {
    registry: Arc<Registry>,
    pace: Pace,
}

impl EndpointsController {
    /// The controller of this cluster.
    #[must_use]
    pub fn new(registry: Arc<Registry>) -> Self {
        Self { registry, pace: Pace::default() }
    }

    fn sync(&self, key: &Key) -> Result<Next, ApiError> {
        let Some(service) = self.registry.find::<Service>(&key.namespace, &key.name) else {
            let gone = self.registry.remove::<Endpoints>(&key.namespace, &key.name, &DeleteOptions::default());
            return match gone {
                Err(error) if !error.is_not_found() => Err(error),
                _ => Ok(Next::Settled),
            };
        };
        if service.spec.as_ref().is_none_or(|spec| spec.selector.is_none()) {
            return Ok(Next::Settled);
        }
        let pods = backend::pods_of(&self.registry, &service);
        self.pace.looked(key, pods.len());
        let (subsets, truncated) = truncate(subsets(&service, &pods));
        let mut wanted = self.registry.find::<Endpoints>(&key.namespace, &key.name).map_or_else(
            || Endpoints {
                metadata: ObjectMeta {
                    name: Some(key.name.clone()),
                    namespace: Some(key.namespace.clone()),
                    ..ObjectMeta::default()
                },
                subsets: None,
            },
            |known| (*known).clone(),
        );
        let known = wanted.clone();
        wanted.metadata.labels = Some(labels(&service));
        let annotations = wanted.metadata.annotations.get_or_insert_default();
        if truncated {
            annotations.insert(OVER_CAPACITY.to_owned(), "truncated".to_owned());
        } else {
            annotations.remove(OVER_CAPACITY);
        }
        if annotations.is_empty() {
            wanted.metadata.annotations = None;
        }
        wanted.subsets = Some(subsets).filter(|subsets| !subsets.is_empty());
        if known.metadata.resource_version.is_none() {
            self.registry.create_as(&wanted)?;
        } else if known != wanted {
            self.registry.update_as(&wanted)?;
        }
        Ok(Next::Settled)
    }
}

impl Controller for EndpointsController {
    fn name(&self) -> &'static str {
        "endpoints"
    }

    fn watches(&self) -> &'static [&'static Kind] {
        static WATCHES: &[&Kind] = &[&kinds::SERVICE, &kinds::POD, &kinds::ENDPOINTS];
        WATCHES
    }

    fn keys(&self, change: &Change) -> Vec<Key> {
        if change.object.kind == &kinds::POD {
            backend::services_to_sync(&self.registry, change)
        } else {
            vec![Key::of(&change.object)]
        }
    }

    fn reconcile(&self, key: &Key) -> Result<Next, ApiError> {
        if let Some(left) = self.pace.wait(key) {
            return Ok(Next::After(left));
        }
        self.sync(key)
    }
}

fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    labels.insert(MANAGED_BY.to_owned(), "endpoint-controller".to_owned());
    if backend::is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels
}

/// The pods of a Service, grouped by the ports that they have (`RepackSubsets`).
fn subsets(service: &Service, pods: &[Arc<Pod>]) -> Vec<EndpointSubset> {
    let spec = service.spec.clone().unwrap_or_default();
    let publish = spec.publish_not_ready_addresses == Some(true);
    let without_ports = spec.ports.as_ref().is_none_or(Vec::is_empty) && backend::is_headless(service);
    let mut groups: BTreeMap<BTreeSet<Port>, (Vec<EndpointAddress>, Vec<EndpointAddress>)> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| backend::is_endpoint(pod, publish)) {
        let ports: BTreeSet<Port> = backend::ports_of(service, pod).into_iter().collect();
        if ports.is_empty() && !without_ports {
            continue;
        }
        let address = EndpointAddress {
            hostname: backend::hostname_of(service, pod),
            ip: backend::address_of(pod).unwrap_or_default().to_owned(),
            node_name: Some(backend::node_of(pod).to_owned()).filter(|name| !name.is_empty()),
            target_ref: Some(target_ref(pod)),
        };
        let (ready, not_ready) = groups.entry(ports).or_default();
        if publish || is_ready(pod) { ready.push(address) } else { not_ready.push(address) }
    }
    let sorted = |mut addresses: Vec<EndpointAddress>| {
        addresses.sort_by(|one, other| one.ip.cmp(&other.ip));
        Some(addresses).filter(|addresses| !addresses.is_empty())
    };
    let subset = |(ports, (ready, not_ready)): (BTreeSet<Port>, _)| EndpointSubset {
        addresses: sorted(ready),
        not_ready_addresses: sorted(not_ready),
        ports: Some(ports.into_iter().map(port).collect()).filter(|ports: &Vec<EndpointPort>| !ports.is_empty()),
    };
    groups.into_iter().map(subset).collect()
}

fn port(port: Port) -> EndpointPort {
    EndpointPort {
        app_protocol: port.app_protocol,
        name: Some(port.name).filter(|name| !name.is_empty()),
        port: port.number,
        protocol: Some(port.protocol),
    }
}

/// At most a thousand addresses, ready ones first (`truncateEndpoints`; which ones upstream spreads over the subsets,
/// this takes from the front).
fn truncate(mut subsets: Vec<EndpointSubset>) -> (Vec<EndpointSubset>, bool) {
    let mut left = ADDRESSES_MAX;
    let mut truncated = false;
    let mut cut = |addresses: &mut Option<Vec<EndpointAddress>>| {
        if let Some(list) = addresses {
            truncated |= list.len() > left;
            list.truncate(left);
            left -= list.len();
        }
        *addresses = addresses.take().filter(|list| !list.is_empty());
    };
    for subset in &mut subsets {
        cut(&mut subset.addresses);
    }
    for subset in &mut subsets {
        cut(&mut subset.not_ready_addresses);
    }
    subsets.retain(|subset| subset.addresses.is_some() || subset.not_ready_addresses.is_some());
    (subsets, truncated)
}

#[cfg(test)]
mod tests;
