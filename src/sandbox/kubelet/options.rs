//! What a kubelet is started with.

use std::{ffi::OsString, net::Ipv4Addr, path::PathBuf, time::Duration};

use super::launcher;

/// How evenkeel's own executable is started. Both are the beginning of a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// The [`launcher`], as in `[/evenkeel, sandbox-process]`.
    pub launcher: Vec<OsString>,
    /// The executable in the built-in image, `/evenkeel` there: `demo`, `demo-sleep` and their arguments follow.
    pub demo: Vec<OsString>,
}

impl Programs {
    /// Both from one executable, as a rule [`std::env::current_exe`].
    #[must_use]
    pub fn of(executable: impl Into<PathBuf>) -> Self {
        let executable = executable.into().into_os_string();
        Self { launcher: vec![executable.clone(), launcher::SUBCOMMAND.into()], demo: vec![executable] }
    }
}

/// A node that a kubelet runs pods for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeSpec {
    /// Its name.
    pub name: String,
    /// Labels beside those that every kubelet sets (`kubernetes.io/hostname`, `…/os`, `…/arch`).
    pub labels: Vec<(String, String)>,
    /// Its address, which host-network pods have too; without one it gets its own from [`KubeletOptions::node_base`].
    pub address: Option<Ipv4Addr>,
    /// CPUs that it offers.
    pub cpu: u32,
    /// Memory that it offers, in MiB.
    pub memory_mib: u32,
    /// Pods that it takes.
    pub pods: u32,
}

impl NodeSpec {
    /// A node as kind's are on a usual machine, with room for what small clusters hold.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), cpu: 8, memory_mib: 16 * 1024, pods: 110, ..Self::default() }
    }
}

/// What a kubelet is started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubeletOptions {
    /// The nodes.
    pub nodes: Vec<NodeSpec>,
    /// How evenkeel is started.
    pub programs: Programs,
    /// Images that run as the demo service, as patterns with `*`.
    pub stand_ins: Vec<String>,
    /// Programs of this machine may run.
    pub host_programs: bool,
    /// The network (/16) of pods' addresses, such as `127.64.0.0`.
    pub pod_base: Ipv4Addr,
    /// The network (/16) of nodes' addresses, such as `127.63.0.0`.
    pub node_base: Ipv4Addr,
    /// A folder for what programs of the host write; each pod has its own below it, removed with the pod.
    pub scratch: PathBuf,
    /// How long a pod takes to be set up on its node, before its first container starts: its own sandbox and network,
    /// which a real node makes with a runtime and plugins, and which cost nothing here.
    pub pod_start: Duration,
    /// Pods run nothing, and are running and ready at once.
    pub status_only: bool,
}

impl KubeletOptions {
    /// A kubelet of these nodes that runs the built-in image only.
    #[must_use]
    pub fn new(nodes: Vec<NodeSpec>, programs: Programs, scratch: impl Into<PathBuf>) -> Self {
        Self {
            nodes,
            programs,
            stand_ins: Vec::new(),
            host_programs: false,
            pod_base: Ipv4Addr::new(127, 64, 0, 0),
            node_base: Ipv4Addr::new(127, 63, 0, 0),
            scratch: scratch.into(),
            pod_start: Duration::ZERO,
            status_only: false,
        }
    }
}
