//! A sandbox from start to stop: a thread of its own with everything on it, and what the rest of the process holds of
//! it.
//!
//! The thread lives as long as the sandbox: pods' processes are tied to it, so that they end with it even when this
//! process is killed ([`super::kubelet::launcher`]).

use std::{io, net::Ipv4Addr, path::PathBuf, sync::Arc, thread, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};

use super::{
    adapters,
    api::{Api, ApiOptions, ApiServer, Denied, Pace, ServeError},
    block::{Block, SERVICES},
    controllers::{self, start::Sources},
    error::ApiError,
    kinds,
    kubelet::{Kubelet, KubeletError, KubeletOptions, NodeSpec, Programs},
    metrics::{self, Sampler},
    net::{self, ServiceTables},
    nodes::Nodes,
    random::Random,
    registry::{Registry, admission::Allocator},
    scheduler,
    store::Store,
    topology::{self, NodeShape, Topology},
};

/// The Kubernetes version whose behaviour the sandbox has.
pub const VERSION: &str = "v1.34.4";

/// How long stopping may take; the processes are dead long before.
const STOP_WITHIN: Duration = Duration::from_secs(15);

/// What a sandbox is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its nodes.
    pub topology: Topology,
    /// Images that run as the sample service, as patterns.
    pub stand_ins: Vec<String>,
    /// Containers may run programs of this machine.
    pub host_programs: bool,
    /// Pods run nothing, and are ready as soon as they have a node.
    pub status_only: bool,
    /// How long a pod takes to be set up on its node before its first container starts.
    pub pod_start: Duration,
    /// Serve the API on this port of 127.0.0.1 too, 0 for a free one, and relay `NodePort`s.
    pub serve: Option<u16>,
    /// The evenkeel executable that pods run as.
    pub executable: PathBuf,
    /// Chance repeats itself with the same seed.
    pub seed: u64,
    /// How long a node may be silent (`node-monitor-grace-period`).
    pub node_grace: Duration,
    /// What clients may not do, for tests that lack a right.
    pub denied: Vec<Denied>,
}

impl Options {
    /// A small cluster for this process alone.
    #[must_use]
    pub fn new(executable: PathBuf) -> Self {
        Self {
            topology: Topology::default(),
            stand_ins: Vec::new(),
            host_programs: false,
            status_only: false,
            pod_start: Duration::ZERO,
            serve: None,
            executable,
            seed: 1,
            node_grace: controllers::node_lifecycle::NODE_MONITOR_GRACE_PERIOD,
            denied: Vec::new(),
        }
    }
}

/// Why there is no sandbox.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// Another system.
    #[error("the sandbox runs pods as processes in the way of Linux; elsewhere name a cluster with --on kind:NAME")]
    NotLinux,
    /// This executable's path is unknown.
    #[error("failed to find this executable, which pods run as")]
    Executable(#[source] io::Error),
    /// A loopback address cannot be listened on.
    #[error("cannot listen on {address}; the sandbox needs all of 127.0.0.0/8 on the loopback interface")]
    Loopback {
        /// The address.
        address: Ipv4Addr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Too many sandboxes.
    #[error("all {of} blocks of loopback addresses are taken by other sandboxes; end one of them")]
    NoBlock {
        /// How many there are.
        of: usize,
    },
    /// No thread.
    #[error("failed to start the sandbox's thread; check the limit of processes (ulimit -u)")]
    Thread(#[source] io::Error),
    /// No event loop.
    #[error("failed to set up the sandbox's event loop; check the limit of open files (ulimit -n)")]
    Runtime(#[source] io::Error),
    /// The scratch folder.
    #[error("failed to make a folder for pods in {}", std::env::temp_dir().display())]
    Scratch(#[source] io::Error),
    /// The port of the API.
    #[error("failed to serve the sandbox's API")]
    Serve(#[from] ServeError),
    /// The kubelets.
    #[error("failed to start the sandbox's nodes")]
    Kubelet(#[from] KubeletError),
    /// The first objects.
    #[error("failed to create the sandbox's first objects: {0}")]
    Objects(ApiError),
    /// The thread ended.
    #[error("the sandbox's thread ended before it was ready")]
    Died,
}

/// What the thread hands out once everything stands.
struct Handles {
    client: kube::Client,
    tables: Arc<ServiceTables>,
    power: Nodes,
    kubeconfig: Option<String>,
}

/// A running sandbox. Dropped, it ends without being waited for.
pub struct Sandbox {
    handles: Handles,
    way_in: String,
    nodes: Vec<NodeShape>,
    /// Dropping it ends the thread.
    stop: mpsc::Sender<()>,
    ended: oneshot::Receiver<()>,
}

impl Sandbox {
    /// Starts a sandbox. Its nodes are ready when this returns.
    ///
    /// # Errors
    /// When this system cannot run one.
    pub async fn start(options: Options) -> Result<Self, SandboxError> {
        if !cfg!(target_os = "linux") {
            return Err(SandboxError::NotLinux);
        }
        let block = Block::claim()?;
        let nodes = options.topology.nodes();
        let way_in = nodes.iter().find(|node| node.control_plane).or(nodes.first()).map(|node| node.name.clone());
        let (ready, wait) = oneshot::channel();
        let (stop, told) = mpsc::channel(1);
        let (done, ended) = oneshot::channel();
        let run = move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => {
                    // Whoever started it may have given up.
                    _ = ready.send(Err(SandboxError::Runtime(error)));
                    return;
                }
            };
            runtime.block_on(live(options, block, ready, told));
            drop(runtime);
            // Nobody may be waiting.
            _ = done.send(());
        };
        thread::Builder::new().name("sandbox".to_owned()).spawn(run).map_err(SandboxError::Thread)?;
        let handles = wait.await.map_err(|_gone| SandboxError::Died)??;
        Ok(Self { handles, way_in: way_in.unwrap_or_default(), nodes, stop, ended })
    }

    /// A client of its API, in this process.
    #[must_use]
    pub fn client(&self) -> kube::Client {
        self.handles.client.clone()
    }

    /// Where new connections to Services go.
    #[must_use]
    pub fn network(&self) -> Arc<ServiceTables> {
        Arc::clone(&self.handles.tables)
    }

    /// Power over its nodes.
    #[must_use]
    pub const fn power(&self) -> &Nodes {
        &self.handles.power
    }

    /// The node through which connections from outside come in.
    #[must_use]
    pub fn way_in(&self) -> &str {
        &self.way_in
    }

    /// Its nodes, as it was made.
    #[must_use]
    pub fn nodes(&self) -> &[NodeShape] {
        &self.nodes
    }

    /// A kubeconfig for clients of other processes, where it serves them.
    #[must_use]
    pub fn kubeconfig(&self) -> Option<String> {
        self.handles.kubeconfig.clone()
    }

    /// Ends it, and waits until none of its processes is left.
    pub async fn stop(self) {
        let Self { stop, ended, handles, .. } = self;
        drop((stop, handles));
        if tokio::time::timeout(STOP_WITHIN, ended).await.is_err() {
            tracing::error!("the sandbox did not end within {} s", STOP_WITHIN.as_secs());
        }
    }
}

/// The life of the thread: everything is started, then it waits to be told to stop, then everything ends.
async fn live(
    options: Options,
    block: Block,
    ready: oneshot::Sender<Result<Handles, SandboxError>>,
    mut told: mpsc::Receiver<()>,
) {
    let scratch = std::env::temp_dir().join(format!("evenkeel-sandbox-{}-{}", std::process::id(), block.number()));
    let mut tasks = JoinSet::new();
    let started = match std::fs::create_dir_all(&scratch).map_err(SandboxError::Scratch) {
        Ok(()) => assemble(&mut tasks, &options, &block, &scratch).await,
        Err(error) => Err(error),
    };
    let kubelet = match started {
        Ok((handles, kubelet)) => {
            if ready.send(Ok(handles)).is_ok() {
                // Told by the sender's end; nothing is ever sent.
                told.recv().await;
            }
            Some(kubelet)
        }
        Err(error) => {
            drop(ready.send(Err(error)));
            None
        }
    };
    tasks.shutdown().await;
    if let Some(kubelet) = kubelet {
        kubelet.shutdown().await;
    }
    drop(std::fs::remove_dir_all(&scratch));
}

async fn assemble(
    tasks: &mut JoinSet<()>,
    options: &Options,
    block: &Block,
    scratch: &std::path::Path,
) -> Result<(Handles, Arc<Kubelet>), SandboxError> {
    let store = Arc::new(Store::new(kinds::ALL));
    let registry = Arc::new(Registry::new(store, Allocator::new(block.services(), SERVICES)));
    topology::create(&registry, options.topology).map_err(SandboxError::Objects)?;
    let kubelet = Kubelet::start(tasks, Arc::clone(&registry), kubelet_options(options, block, scratch))?;
    let sampler = Arc::new(Sampler::new(Arc::clone(&registry), Arc::new(adapters::Readings::of(&kubelet))));
    tasks.spawn(Arc::clone(&sampler).run(metrics::RESOLUTION));
    let api = Api::new(
        Arc::clone(&registry),
        ApiOptions {
            pods: Some(Arc::new(adapters::Pods::of(&kubelet))),
            usage: Some(Arc::new(adapters::Measurements::of(&sampler, &registry))),
            denied: options.denied.clone(),
            pace: Some(Pace { least_ms: 2, most_ms: 12, chance: Random::for_name(options.seed, "etcd") }),
        },
    );
    let tables = ServiceTables::start(tasks, &registry, net::Options { seed: options.seed });
    let server = match options.serve {
        Some(port) => Some(ApiServer::start(Arc::clone(&api), port).await?),
        None => None,
    };
    let root_ca = server.as_ref().map(|server| server.ca_pem().to_owned()).unwrap_or_default();
    topology::publish_api(&registry, server.as_ref().map(|server| server.address().port()))
        .map_err(SandboxError::Objects)?;
    let sources = Sources { root_ca, metrics: sampler, node_grace: options.node_grace };
    for controller in controllers::start::all(&registry, &sources) {
        controllers::run(tasks, &registry, controller);
    }
    scheduler::start(tasks, &registry, options.seed);
    if server.is_some() {
        let nodes = options.topology.nodes();
        let publisher = nodes.first().map(|node| node.name.clone()).unwrap_or_default();
        net::relay::start(tasks, &registry, &tables, &publisher);
    }
    let kubeconfig = server.as_ref().map(|server| server.kubeconfig("evenkeel-sandbox"));
    if let Some(server) = server {
        // It serves until it is dropped, with the other tasks.
        tasks.spawn(async move {
            std::future::pending::<()>().await;
            drop(server);
        });
    }
    let power = Nodes::new(kubelet.power(), Arc::clone(&tables));
    let handles = Handles { client: api.client(), tables, power, kubeconfig };
    Ok((handles, kubelet))
}

fn kubelet_options(options: &Options, block: &Block, scratch: &std::path::Path) -> KubeletOptions {
    let nodes = (0..)
        .zip(options.topology.nodes())
        .map(|(number, node)| NodeSpec { address: Some(block.node(number)), ..NodeSpec::new(node.name) });
    KubeletOptions {
        stand_ins: options.stand_ins.clone(),
        host_programs: options.host_programs,
        pod_base: block.pods(),
        status_only: options.status_only,
        pod_start: options.pod_start,
        ..KubeletOptions::new(nodes.collect(), Programs::of(&options.executable), scratch)
    }
}
