//! The tables of all nodes, each as old as that node's proxy is, and routes out of them.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    link::Link,
    snapshot::{self, Entry, Snapshot},
    timing::{Due, Timing},
};
use crate::{
    model::endpoints::{self, Facts, Targets, TrafficPolicy},
    sandbox::{
        controllers::endpoint_slice::SERVICE_NAME,
        kinds,
        random::Random,
        registry::Registry,
        store::{Change, Fallen, Object, Op, Watcher},
    },
};

/// Clients whose endpoint is remembered, at most; beyond that the oldest are forgotten.
const AFFINITY_MAX: usize = 10_000;

/// How tables are to behave.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// What all delays and choices follow from.
    pub seed: u64,
}

/// Where a new connection goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// To this address. It is dialled once; whatever comes of it is the answer.
    To {
        /// The pod's address and port.
        address: SocketAddr,
        /// The pod's name; empty for an endpoint that is no pod.
        pod: String,
        /// The node that it is on.
        node: String,
        /// How much later than dialled the connection is to come about.
        delay: Duration,
    },
    /// It is refused at once: nothing serves that port.
    Refused,
    /// No answer ever comes: the packets are dropped, or whoever should answer is off.
    Silent,
}

/// Which way a connection comes in, which decides the policy that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Internal,
    External,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct AffinityKey {
    node: String,
    service: (String, String, u16),
    client: String,
}

struct Inner {
    timing: Timing,
    /// What has been heard of.
    services: HashMap<(String, String), Arc<Service>>,
    slices: HashMap<(String, String), BTreeMap<String, Arc<EndpointSlice>>>,
    entries: HashMap<(String, String), Arc<Entry>>,
    /// All entries as one; made when it is first asked for.
    latest: Option<Arc<Snapshot>>,
    nodes: HashSet<String>,
    in_work: HashMap<String, Arc<Snapshot>>,
    in_force: HashMap<String, Arc<Snapshot>>,
    links: HashMap<(String, String), Link>,
    affinity: HashMap<AffinityKey, (SocketAddr, Instant)>,
}

/// The tables of all nodes.
pub struct ServiceTables {
    registry: Arc<Registry>,
    inner: Mutex<Inner>,
    random: Random,
    /// The timing has changed from outside.
    wake: Notify,
    dark: watch::Sender<HashSet<String>>,
}

impl ServiceTables {
    /// Starts to follow the cluster's nodes, Services and endpoints.
    #[must_use]
    pub fn start(tasks: &mut JoinSet<()>, registry: &Arc<Registry>, options: Options) -> Arc<Self> {
        let inner = Inner {
            timing: Timing::new(options.seed),
            services: HashMap::new(),
            slices: HashMap::new(),
            entries: HashMap::new(),
            latest: None,
            nodes: HashSet::new(),
            in_work: HashMap::new(),
            in_force: HashMap::new(),
            links: HashMap::new(),
            affinity: HashMap::new(),
        };
        let tables = Arc::new(Self {
            registry: Arc::clone(registry),
            inner: Mutex::new(inner),
            random: Random::for_name(options.seed, "service tables"),
            wake: Notify::new(),
            dark: watch::Sender::default(),
        });
        let own = Arc::clone(&tables);
        tasks.spawn(async move {
            loop {
                let Err(fallen) = own.follow().await;
                tracing::debug!(%fallen, "the service tables read everything again");
            }
        });
        tables
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn follow(&self) -> Result<std::convert::Infallible, Fallen> {
        let [mut nodes, mut services, mut slices] = self.read_all()?;
        loop {
            let due = self.lock().timing.next_at();
            let turn = async {
                match due {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let changes = tokio::select! {
                biased;
                changes = nodes.next() => changes?,
                changes = services.next() => changes?,
                changes = slices.next() => changes?,
                () = self.wake.notified() => Vec::new(),
                () = turn => Vec::new(),
            };
            let mut inner = self.lock();
            let off = self.dark.borrow().clone();
            if changes.iter().fold(false, |any, change| inner.take_in(change, &off) | any) {
                inner.latest = None;
                inner.timing.change();
            }
            inner.turn();
        }
    }

    fn read_all(&self) -> Result<[Watcher; 3], Fallen> {
        let store = self.registry.store();
        let (nodes_at, nodes) = store.list(&kinds::NODE, None);
        let (services_at, services) = store.list(&kinds::SERVICE, None);
        let (slices_at, slices) = store.list(&kinds::ENDPOINT_SLICE, None);
        let mut inner = self.lock();
        let off = self.dark.borrow().clone();
        let gone: Vec<String> =
            inner.nodes.iter().filter(|name| !nodes.iter().any(|node| node.name == **name)).cloned().collect();
        for name in gone {
            inner.forget_node(&name);
        }
        inner.services.clear();
        inner.slices.clear();
        inner.entries.clear();
        inner.latest = None;
        for object in nodes.into_iter().chain(services).chain(slices) {
            inner.take_in(&Change { op: Op::Added, object, before: None }, &off);
        }
        inner.timing.change();
        drop(inner);
        Ok([
            store.watch(&kinds::NODE, nodes_at)?,
            store.watch(&kinds::SERVICE, services_at)?,
            store.watch(&kinds::ENDPOINT_SLICE, slices_at)?,
        ])
    }

    /// Where a connection from a node to a Service's port goes, by that node's table as it is now. The node counts as
    /// the client for session affinity.
    pub fn pick(&self, from_node: &str, namespace: &str, service: &str, port: u16) -> Route {
        self.pick_for(from_node, from_node, namespace, service, port)
    }

    /// The same for a client of its own, such as a pod's address, which session affinity goes by.
    pub fn pick_for(&self, client: &str, from_node: &str, namespace: &str, service: &str, port: u16) -> Route {
        let place = (namespace.to_owned(), service.to_owned());
        let find = |table: &Snapshot| {
            let entry = table.services.get(&place)?;
            let at = entry.ports.iter().position(|known| known.number == port)?;
            Some((Arc::clone(entry), at))
        };
        self.route(client, from_node, Way::Internal, find)
    }

    /// Where a connection to a port of the node itself goes.
    pub fn pick_node_port(&self, from_node: &str, port: u16) -> Route {
        self.pick_node_port_for(from_node, from_node, port)
    }

    /// The same for a client of its own.
    pub fn pick_node_port_for(&self, client: &str, from_node: &str, port: u16) -> Route {
        self.route(client, from_node, Way::External, |table| table.node_ports.get(&port).cloned())
    }

    /// Where a connection from a node to a cluster IP goes.
    pub fn pick_cluster_ip(&self, from_node: &str, ip: IpAddr, port: u16) -> Route {
        self.pick_cluster_ip_for(from_node, from_node, ip, port)
    }

    /// The same for a client of its own.
    pub fn pick_cluster_ip_for(&self, client: &str, from_node: &str, ip: IpAddr, port: u16) -> Route {
        self.route(client, from_node, Way::Internal, |table| table.cluster_ips.get(&(ip, port)).cloned())
    }

    fn route(
        &self,
        client: &str,
        from_node: &str,
        way: Way,
        find: impl FnOnce(&Snapshot) -> Option<(Arc<Entry>, usize)>,
    ) -> Route {
        if self.is_dark(from_node) {
            return Route::Silent;
        }
        let mut inner = self.lock();
        if !inner.nodes.contains(from_node) {
            return Route::Silent;
        }
        // A node whose proxy has not worked anything in yet has no rules: nothing listens there.
        let Some((entry, at)) = inner.in_force.get(from_node).and_then(|table| find(table)) else {
            return Route::Refused;
        };
        let Some(port) = entry.ports.get(at) else { return Route::Refused };
        let policy = match way {
            // A headless Service has no table; who asks for it by name gets a ready pod, as from DNS.
            Way::Internal if entry.cluster_ip.is_none() => TrafficPolicy::Cluster,
            Way::Internal => entry.internal,
            Way::External => entry.external,
        };
        let facts: Vec<Facts> = port.endpoints.iter().map(|endpoint| facts(endpoint, from_node)).collect();
        let usable = match endpoints::targets(policy, &facts) {
            Targets::Any(usable) => usable,
            Targets::Reject => return Route::Refused,
            Targets::Drop => return Route::Silent,
        };
        let service = (entry.namespace.clone(), entry.name.clone(), port.number);
        let key = AffinityKey { node: from_node.to_owned(), service, client: client.to_owned() };
        let kept = entry.affinity.and_then(|timeout| inner.kept(&key, timeout));
        let chosen = kept
            .and_then(|address| usable.iter().copied().find(|at| port.endpoints[*at].address == address))
            .unwrap_or_else(|| usable[self.random.below(usable.len())]);
        let endpoint = &port.endpoints[chosen];
        if entry.affinity.is_some() {
            inner.keep(key, endpoint.address);
        }
        let link = inner.links.get(&(from_node.to_owned(), endpoint.node.clone())).copied().unwrap_or_default();
        drop(inner);
        if self.is_dark(&endpoint.node) {
            return Route::Silent;
        }
        match link.connects_after(&self.random) {
            None => Route::Silent,
            Some(delay) => {
                Route::To { address: endpoint.address, pod: endpoint.pod.clone(), node: endpoint.node.clone(), delay }
            }
        }
    }

    /// Turns a node's network off or on. While it is off nothing that is addressed to it is answered, and its table
    /// stays as it is; when it is on again its proxy begins anew.
    pub fn set_node_dark(&self, node: &str, dark: bool) {
        let changed =
            self.dark.send_if_modified(|nodes| if dark { nodes.insert(node.to_owned()) } else { nodes.remove(node) });
        if !changed {
            return;
        }
        let mut inner = self.lock();
        if dark {
            inner.timing.stop(node);
            inner.in_work.remove(node);
        } else if inner.nodes.contains(node) {
            inner.timing.start(node);
        }
        drop(inner);
        self.wake.notify_one();
    }

    /// Whether a node's network is off.
    #[must_use]
    pub fn is_dark(&self, node: &str) -> bool {
        self.dark.borrow().contains(node)
    }

    /// Waits until a node's network is off.
    pub async fn until_dark(&self, node: &str) {
        let mut dark = self.dark.subscribe();
        if dark.wait_for(|nodes| nodes.contains(node)).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Sets what happens on the way from a node to another, for connections that are picked from now on.
    pub fn set_link(&self, from: &str, to: &str, link: Link) {
        self.lock().links.insert((from.to_owned(), to.to_owned()), link);
    }

    /// What happens on the way from a node to another.
    #[must_use]
    pub fn link(&self, from: &str, to: &str) -> Link {
        self.lock().links.get(&(from.to_owned(), to.to_owned())).copied().unwrap_or_default()
    }
}

fn facts(endpoint: &snapshot::Endpoint, node: &str) -> Facts {
    Facts {
        ready: endpoint.ready,
        serving: endpoint.serving,
        terminating: endpoint.terminating,
        local: endpoint.node == node,
    }
}

impl Inner {
    /// Takes in a change; says whether it changes what tables hold.
    fn take_in(&mut self, change: &Change, off: &HashSet<String>) -> bool {
        let object = &change.object;
        let gone = change.op == Op::Deleted;
        match object.kind.kind {
            "Node" if gone => {
                self.forget_node(&object.name);
                false
            }
            "Node" => {
                if self.nodes.insert(object.name.clone()) && !off.contains(&object.name) {
                    self.timing.start(&object.name);
                }
                false
            }
            "Service" => {
                let place = (object.namespace.clone(), object.name.clone());
                match object.typed::<Service>().filter(|_| !gone) {
                    Some(service) => self.services.insert(place.clone(), service),
                    None => self.services.remove(&place),
                };
                self.refresh(&place)
            }
            _ => self.take_in_slice(object, change.before.as_ref(), gone),
        }
    }

    fn take_in_slice(&mut self, object: &Arc<Object>, before: Option<&Arc<Object>>, gone: bool) -> bool {
        let service_of = |object: &Object| object.labels.get(SERVICE_NAME).cloned();
        let mut changed = false;
        // A slice can be given to another Service.
        if let Some(old) =
            before.and_then(|before| service_of(before)).filter(|old| Some(old) != service_of(object).as_ref())
        {
            let place = (object.namespace.clone(), old);
            if let Some(slices) = self.slices.get_mut(&place) {
                slices.remove(&object.name);
            }
            changed |= self.refresh(&place);
        }
        let Some(service) = service_of(object) else { return changed };
        let place = (object.namespace.clone(), service);
        let slices = self.slices.entry(place.clone()).or_default();
        match object.typed::<EndpointSlice>().filter(|slice| !gone && slice.address_type == "IPv4") {
            Some(slice) => slices.insert(object.name.clone(), slice),
            None => slices.remove(&object.name),
        };
        if slices.is_empty() {
            self.slices.remove(&place);
        }
        self.refresh(&place) | changed
    }

    /// Works out a Service's entry again; says whether it is another.
    fn refresh(&mut self, place: &(String, String)) -> bool {
        let Some(service) = self.services.get(place) else { return self.entries.remove(place).is_some() };
        let none = BTreeMap::new();
        let entry = snapshot::entry(service, self.slices.get(place).unwrap_or(&none));
        if self.entries.get(place).is_some_and(|known| **known == entry) {
            return false;
        }
        self.entries.insert(place.clone(), Arc::new(entry));
        true
    }

    fn forget_node(&mut self, name: &str) {
        self.nodes.remove(name);
        self.timing.stop(name);
        self.in_work.remove(name);
        self.in_force.remove(name);
        self.affinity.retain(|key, _| key.node != name);
    }

    /// Does what is due.
    fn turn(&mut self) {
        while let Some((node, due)) = self.timing.next() {
            match due {
                Due::Begins => {
                    let latest = self.latest.get_or_insert_with(|| Arc::new(Snapshot::new(&self.entries)));
                    self.in_work.insert(node, Arc::clone(latest));
                }
                Due::Completes => {
                    if let Some(table) = self.in_work.remove(&node) {
                        self.in_force.insert(node, table);
                    }
                }
            }
        }
    }

    fn kept(&self, key: &AffinityKey, timeout: Duration) -> Option<SocketAddr> {
        let (address, used) = self.affinity.get(key)?;
        (used.elapsed() < timeout).then_some(*address)
    }

    fn keep(&mut self, key: AffinityKey, address: SocketAddr) {
        if self.affinity.len() >= AFFINITY_MAX && !self.affinity.contains_key(&key) {
            let mut times: Vec<Instant> = self.affinity.values().map(|(_, used)| *used).collect();
            times.sort();
            let middle = times[times.len() / 2];
            self.affinity.retain(|_, (_, used)| *used > middle);
        }
        self.affinity.insert(key, (address, Instant::now()));
    }
}

#[cfg(test)]
mod tests;
