//! Services with their endpoints as a node's table holds them. A snapshot is never changed; nodes that know the same
//! share it.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};

use crate::model::endpoints::TrafficPolicy;

/// How long a client stays with an endpoint if nothing else is said (`sessionAffinityConfig.clientIP.timeoutSeconds`).
const AFFINITY_SECONDS: i32 = 10_800;

/// An endpoint of one port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) address: SocketAddr,
    pub(super) pod: String,
    pub(super) node: String,
    pub(super) ready: bool,
    pub(super) serving: bool,
    pub(super) terminating: bool,
}

/// A port of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Port {
    pub(super) number: u16,
    pub(super) on_nodes: Option<u16>,
    pub(super) endpoints: Vec<Endpoint>,
}

/// A Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) namespace: String,
    pub(super) name: String,
    /// Without one the Service is headless.
    pub(super) cluster_ip: Option<IpAddr>,
    pub(super) internal: TrafficPolicy,
    pub(super) external: TrafficPolicy,
    /// Clients stay with their endpoint until they have been away for so long.
    pub(super) affinity: Option<Duration>,
    pub(super) ports: Vec<Port>,
}

/// All Services.
#[derive(Debug, Clone, Default)]
pub(super) struct Snapshot {
    pub(super) services: HashMap<(String, String), Arc<Entry>>,
    /// Places of ports by node port.
    pub(super) node_ports: HashMap<u16, (Arc<Entry>, usize)>,
    /// And by cluster IP.
    pub(super) cluster_ips: HashMap<(IpAddr, u16), (Arc<Entry>, usize)>,
}

impl Snapshot {
    pub(super) fn new(entries: &HashMap<(String, String), Arc<Entry>>) -> Self {
        let mut snapshot = Self { services: entries.clone(), ..Self::default() };
        for entry in entries.values() {
            for (at, port) in entry.ports.iter().enumerate() {
                if let Some(number) = port.on_nodes {
                    snapshot.node_ports.insert(number, (Arc::clone(entry), at));
                }
                if let Some(ip) = entry.cluster_ip {
                    snapshot.cluster_ips.insert((ip, port.number), (Arc::clone(entry), at));
                }
            }
        }
        snapshot
    }
}

fn policy(text: Option<&str>) -> TrafficPolicy {
    if text == Some("Local") { TrafficPolicy::Local } else { TrafficPolicy::Cluster }
}

fn port_number(number: i32) -> Option<u16> {
    u16::try_from(number).ok().filter(|number| *number != 0)
}

/// A Service with the endpoints of its slices. Only TCP: nothing else is dialled here.
pub(super) fn entry(service: &Service, slices: &BTreeMap<String, Arc<EndpointSlice>>) -> Entry {
    let spec = service.spec.clone().unwrap_or_default();
    let affinity = (spec.session_affinity.as_deref() == Some("ClientIP")).then(|| {
        let config = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
        let seconds = config.and_then(|config| config.timeout_seconds).unwrap_or(AFFINITY_SECONDS);
        Duration::from_secs(seconds.unsigned_abs().into())
    });
    let tcp = spec.ports.iter().flatten().filter(|port| port.protocol.as_deref().unwrap_or("TCP") == "TCP");
    let ports = tcp
        .filter_map(|port| {
            let name = port.name.as_deref().unwrap_or_default();
            Some(Port {
                number: port_number(port.port)?,
                on_nodes: port.node_port.and_then(port_number),
                endpoints: slices.values().flat_map(|slice| endpoints(slice, name)).collect(),
            })
        })
        .collect();
    Entry {
        namespace: service.metadata.namespace.clone().unwrap_or_default(),
        name: service.metadata.name.clone().unwrap_or_default(),
        cluster_ip: spec.cluster_ip.as_deref().and_then(|ip| ip.parse().ok()),
        internal: policy(spec.internal_traffic_policy.as_deref()),
        external: policy(spec.external_traffic_policy.as_deref()),
        affinity,
        ports,
    }
}

/// The endpoints of a slice for the port of this name.
fn endpoints(slice: &EndpointSlice, name: &str) -> Vec<Endpoint> {
    let mut ports = slice.ports.iter().flatten();
    let named = ports.find(|port| {
        port.name.as_deref().unwrap_or_default() == name && port.protocol.as_deref().unwrap_or("TCP") == "TCP"
    });
    let Some(port) = named.and_then(|port| port.port).and_then(port_number) else { return Vec::new() };
    let read = |endpoint: &k8s_openapi::api::discovery::v1::Endpoint| {
        let conditions = endpoint.conditions.clone().unwrap_or_default();
        // What is not said counts as ready (k/pkg/proxy/endpointslicecache.go).
        let ready = conditions.ready.unwrap_or(true);
        let address: IpAddr = endpoint.addresses.first()?.parse().ok()?;
        let target = endpoint.target_ref.as_ref();
        Some(Endpoint {
            address: SocketAddr::new(address, port),
            pod: target.and_then(|target| target.name.clone()).unwrap_or_default(),
            node: endpoint.node_name.clone().unwrap_or_default(),
            ready,
            serving: conditions.serving.unwrap_or(ready),
            terminating: conditions.terminating.unwrap_or(false),
        })
    };
    slice.endpoints.iter().filter_map(read).collect()
}
