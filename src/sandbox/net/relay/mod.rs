//! Real sockets for clients that know nothing of tables: node ports on 127.0.0.1, cluster IPs on their own (loopback)
//! addresses. Each connection goes by the table of one node, the publishing one, and is relayed.
//!
//! What differs from the real thing, since a listening socket accepts by itself: a client that would have been refused
//! is accepted and reset at once; one that would have got no answer is accepted and then hears nothing.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::Service;
use tokio::{
    io::{AsyncReadExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};

use super::tables::{Route, ServiceTables};
use crate::sandbox::{
    controllers::events,
    kinds,
    registry::Registry,
    store::{Fallen, Object},
};

/// Connections relayed at once, at most; further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 4096;

/// Connections that have been accepted and not yet taken up, at most.
const ACCEPTED_MAX: usize = 64;

/// How long a client without an answer is held: about what Linux would try to connect for.
const SILENCE_MAX: Duration = Duration::from_secs(130);

/// How long a dialled pod may take to accept; on loopback that is at once, or its queue is full.
const DIAL_MAX: Duration = Duration::from_secs(130);

/// After so long a port that was taken is tried again.
const BIND_AGAIN: Duration = Duration::from_secs(5);

/// The pause after the system could not accept, such as without free file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

const COMPONENT: &str = "evenkeel-relay";

/// What a socket stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Front {
    NodePort(u16),
    ClusterIp(IpAddr, u16),
}

/// A connection that has been accepted, with its place among those that there may be.
type Accepted = (TcpStream, SocketAddr, Front, OwnedSemaphorePermit);

/// Starts to publish Services as they come and go, by the table of the node `publisher`. Sockets and connections close
/// with the tasks.
pub fn start(tasks: &mut JoinSet<()>, registry: &Arc<Registry>, tables: &Arc<ServiceTables>, publisher: &str) {
    let relay = Arc::new(Relay {
        registry: Arc::clone(registry),
        tables: Arc::clone(tables),
        publisher: publisher.to_owned(),
        room: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        complained: Mutex::default(),
    });
    tasks.spawn(async move {
        let mut open = Open::default();
        let (accepted, mut incoming) = mpsc::channel(ACCEPTED_MAX);
        loop {
            let Err(fallen) = relay.follow(&mut open, &accepted, &mut incoming).await;
            tracing::debug!(%fallen, "the relay reads all Services again");
        }
    });
}

/// What is open. All of it ends when this is dropped.
#[derive(Default)]
struct Open {
    listeners: HashMap<SocketAddr, AbortHandle>,
    tasks: JoinSet<()>,
}

struct Relay {
    registry: Arc<Registry>,
    tables: Arc<ServiceTables>,
    publisher: String,
    room: Arc<Semaphore>,
    /// Addresses that could not be had, which is said once.
    complained: Mutex<BTreeSet<SocketAddr>>,
}

impl Relay {
    /// Follows the Services. Established connections stay when their listener goes, as under kube-proxy.
    async fn follow(
        self: &Arc<Self>,
        open: &mut Open,
        accepted: &mpsc::Sender<Accepted>,
        incoming: &mut mpsc::Receiver<Accepted>,
    ) -> Result<Infallible, Fallen> {
        loop {
            let (version, services) = self.registry.store().list(&kinds::SERVICE, None);
            let missing = self.publish(open, accepted, fronts(&services)).await;
            let mut watcher = self.registry.store().watch(&kinds::SERVICE, version)?;
            let again = sleep(if missing { BIND_AGAIN } else { Duration::MAX });
            tokio::pin!(again);
            loop {
                tokio::select! {
                    changes = watcher.next() => {
                        changes?;
                        break;
                    }
                    () = &mut again => break,
                    Some((client, peer, front, place)) = incoming.recv() => {
                        let relay = Arc::clone(self);
                        open.tasks.spawn(async move {
                            relay.serve(client, peer, front).await;
                            drop(place);
                        });
                    }
                    // What has ended is of no interest, but it would pile up.
                    Some(_) = open.tasks.join_next() => {}
                }
            }
        }
    }

    /// Opens what is wanted and closes what is not; says whether something could not be opened.
    async fn publish(
        &self,
        open: &mut Open,
        accepted: &mpsc::Sender<Accepted>,
        wanted: BTreeMap<SocketAddr, (Front, Arc<Object>)>,
    ) -> bool {
        open.listeners.retain(|address, task| {
            let keep = wanted.contains_key(address);
            if !keep {
                task.abort();
            }
            keep
        });
        let mut missing = false;
        for (address, (front, service)) in wanted {
            if open.listeners.contains_key(&address) {
                continue;
            }
            match TcpListener::bind(address).await {
                Ok(listener) => {
                    self.complaints(|known| known.remove(&address));
                    let task = accept(listener, front, Arc::clone(&self.room), accepted.clone());
                    open.listeners.insert(address, open.tasks.spawn(task));
                }
                Err(error) => {
                    missing = true;
                    self.complain(address, &service, &error);
                }
            }
        }
        missing
    }

    fn complaints<T>(&self, look: impl FnOnce(&mut BTreeSet<SocketAddr>) -> T) -> T {
        look(&mut self.complained.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn complain(&self, address: SocketAddr, service: &Object, error: &std::io::Error) {
        if self.complaints(|known| known.insert(address)) {
            let message = format!("cannot listen on {address} for clients outside of the sandbox: {error}");
            tracing::warn!(service = %service.name, "{message}");
            let reason = "PortNotPublished";
            events::record(&self.registry, service, events::Severity::Warning, COMPONENT, reason, &message);
        }
    }

    async fn serve(&self, mut client: TcpStream, peer: SocketAddr, front: Front) {
        let from = peer.ip().to_string();
        let route = match front {
            Front::NodePort(port) => self.tables.pick_node_port_for(&from, &self.publisher, port),
            Front::ClusterIp(ip, port) => self.tables.pick_cluster_ip_for(&from, &self.publisher, ip, port),
        };
        match route {
            Route::Refused => reset(&client),
            Route::Silent => hold(&mut client).await,
            Route::To { address, node, delay, .. } => {
                sleep(delay).await;
                let Ok(Ok(mut pod)) = timeout(DIAL_MAX, TcpStream::connect(address)).await else {
                    return reset(&client);
                };
                for stream in [&client, &pod] {
                    // Small writes are to go on as they come; where that cannot be set they merely wait a little.
                    let _ = stream.set_nodelay(true);
                }
                tokio::select! {
                    // Whatever a pod does last on a node that is off, nobody hears of it.
                    biased;
                    () = self.tables.until_dark(&node) => hold(&mut client).await,
                    ended = copy_bidirectional(&mut client, &mut pod) => {
                        if ended.is_err() {
                            reset(&client);
                            reset(&pod);
                        }
                    }
                }
            }
        }
    }
}

/// Lets a connection end with a reset when it is dropped.
fn reset(stream: &TcpStream) {
    if let Err(error) = stream.set_zero_linger() {
        tracing::debug!(%error, "a connection ends without a reset");
    }
}

/// Keeps a client without answering it until it gives up, or for as long as its kernel would have tried.
async fn hold(client: &mut TcpStream) {
    let swallow = async {
        let mut buffer = [0; 1024];
        while matches!(client.read(&mut buffer).await, Ok(read) if read > 0) {}
    };
    if timeout(SILENCE_MAX, swallow).await.is_err() {
        reset(client);
    }
}

/// Accepts for as long as there is room.
async fn accept(listener: TcpListener, front: Front, room: Arc<Semaphore>, accepted: mpsc::Sender<Accepted>) {
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((client, peer)) => {
                if accepted.send((client, peer, front, place)).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::debug!(%error, ?front, "not accepted");
                sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

/// The addresses to listen on.
fn fronts(services: &[Arc<Object>]) -> BTreeMap<SocketAddr, (Front, Arc<Object>)> {
    let mut fronts = BTreeMap::new();
    for object in services {
        let Some(service) = object.typed::<Service>() else { continue };
        let spec = service.spec.clone().unwrap_or_default();
        let ip = spec.cluster_ip.as_deref().and_then(|ip| ip.parse::<IpAddr>().ok());
        for port in spec.ports.iter().flatten() {
            if port.protocol.as_deref().unwrap_or("TCP") != "TCP" {
                continue;
            }
            let number = |port: i32| u16::try_from(port).ok().filter(|port| *port != 0);
            if let Some(node_port) = port.node_port.and_then(number) {
                let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), node_port);
                fronts.insert(address, (Front::NodePort(node_port), Arc::clone(object)));
            }
            // An address that is not this machine's own loopback would be no one's business here.
            if let (Some(ip), Some(port)) = (ip.filter(IpAddr::is_loopback), number(port.port)) {
                fronts.insert(SocketAddr::new(ip, port), (Front::ClusterIp(ip, port), Arc::clone(object)));
            }
        }
    }
    fronts
}

#[cfg(test)]
mod tests;
