//! What the API asks of the nodes: the logs of containers, programs run in them, where pods listen, what they use. The
//! kubelets answer; tests answer themselves.

use std::net::IpAddr;

use bytes::Bytes;
use futures::{future::BoxFuture, stream::BoxStream};
use tokio::sync::mpsc;

use crate::sandbox::error::ApiError;

/// Which container is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerRef {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The pod's uid.
    pub uid: String,
    /// The container.
    pub container: String,
}

/// Which part of a log is wanted (`PodLogOptions`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Go on with what is written from now on.
    pub follow: bool,
    /// The log of the container before the last restart.
    pub previous: bool,
    /// Begin each line with its time.
    pub timestamps: bool,
    /// Nothing that is older than so many seconds.
    pub since_seconds: Option<u64>,
    /// Nothing that is older than this time (RFC 3339).
    pub since_time: Option<String>,
    /// The last so many lines alone.
    pub tail_lines: Option<u64>,
    /// So many bytes at most.
    pub limit_bytes: Option<u64>,
}

/// A log, in pieces.
pub type LogStream = BoxStream<'static, std::io::Result<Bytes>>;

/// A program to run in a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecRequest {
    /// Where.
    pub container: ContainerRef,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Whether it is to have a standard input.
    pub stdin: bool,
    /// Whether it is to have a terminal.
    pub tty: bool,
}

/// What a program writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecOutput {
    /// To its standard output.
    Stdout(Bytes),
    /// To its standard error.
    Stderr(Bytes),
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecEnd {
    /// With this code.
    Exited(i32),
    /// It did not run, or was cut off, for this reason.
    Failed(String),
}

/// A program that runs. Dropping it ends the program.
pub struct ExecSession {
    /// Its standard input, where it has one; dropping this closes it.
    pub stdin: Option<mpsc::Sender<Bytes>>,
    /// What it writes; closed once it has ended and all has been handed on.
    pub output: mpsc::Receiver<ExecOutput>,
    /// How it ended.
    pub end: BoxFuture<'static, ExecEnd>,
}

/// The pods as their kubelets have them.
pub trait PodAccess: Send + Sync {
    /// A container's log.
    ///
    /// # Errors
    /// What the kubelet answers, such as that the container is waiting to start (400).
    fn logs<'a>(
        &'a self,
        container: &'a ContainerRef,
        options: &'a LogOptions,
    ) -> BoxFuture<'a, Result<LogStream, ApiError>>;

    /// Whether a program may run in a container, as far as that can be said without running it.
    ///
    /// # Errors
    /// As [`Self::exec`].
    fn may_exec(&self, request: &ExecRequest) -> Result<(), ApiError>;

    /// Runs a program in a container.
    ///
    /// # Errors
    /// What the kubelet answers, such as that the container is not there.
    fn exec<'a>(&'a self, request: &'a ExecRequest) -> BoxFuture<'a, Result<ExecSession, ApiError>>;

    /// The address at which a pod's ports are reached from this machine; nothing while it does not run.
    fn address(&self, namespace: &str, pod: &str) -> Option<IpAddr>;
}

/// What something uses, as `metrics.k8s.io` tells it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// Billionths of a core.
    pub cpu_nanocores: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
}

/// A measurement of a node or a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Measured {
    /// The namespace; empty for a node.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// When the measurement ended (RFC 3339).
    pub timestamp: String,
    /// Over how many milliseconds it went.
    pub window_ms: u64,
    /// What each container uses; of a node one entry, whose name does not matter.
    pub containers: Vec<(String, Used)>,
}

/// Where measurements come from.
pub trait Usage: Send + Sync {
    /// All nodes that have been measured.
    fn nodes(&self) -> Vec<Measured>;

    /// All pods that have been measured, or those of one namespace.
    fn pods(&self, namespace: Option<&str>) -> Vec<Measured>;
}
