//! The kubelet of every node of the sandbox: pods as processes of this machine, each on a loopback address of its own,
//! with probes, hooks, restarts and termination as Kubernetes has them.
//!
//! * [`options`], [`power`]: what it is started with, and power over its nodes.
//! * [`launcher`], [`process`], [`log`]: processes that never outlive the harness, and what they write.
//! * [`program`], [`env`]: which program a container runs, and its environment.
//! * `feed`, [`pod_worker`], `start`, `termination`: one pod from its binding to its removal.
//! * [`probe`], [`tally`], [`http_get`], [`hook`], [`exec`]: what is asked of a running container.
//! * [`facts`], [`status`], [`back_off`]: the pure parts.
//! * `node`, `status_only`, [`address`], [`pods`]: nodes' heartbeats, pods on paper, addresses, who has what.

pub mod address;
pub mod back_off;
pub mod env;
pub mod exec;
pub mod facts;
mod feed;
pub mod hook;
pub mod http_get;
pub mod launcher;
pub mod log;
mod node;
pub mod options;
pub mod pod_worker;
pub mod pods;
pub mod power;
pub mod probe;
pub mod process;
pub mod program;
pub mod recorder;
pub mod shared;
mod start;
pub mod status;
mod status_only;
pub mod tally;
mod termination;

#[cfg(test)]
mod tests;

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tokio::{task::JoinSet, time::timeout};

pub use log::{LogOptions, LogReader};
pub use options::{KubeletOptions, NodeSpec, Programs};
pub use power::{NoSuchNode, NodePower};
pub use process::{Exit, Process, Stdio3, Usage};

use self::{address::AddressError, pods::PodHandle, power::Node, shared::Shared};
use super::{error::ApiError, kinds, names, registry::Registry};

/// How long the end of the sandbox waits for killed processes; a kernel that needs longer has other troubles.
const REAP_WITHIN: Duration = Duration::from_secs(10);

/// The time as objects have it.
fn time_now() -> Time {
    Time(jiff::Timestamp::from_second(names::now().as_second()).unwrap_or_default())
}

/// The kubelet of all nodes.
pub struct Kubelet {
    shared: Arc<Shared>,
}

impl Kubelet {
    /// Starts the kubelets of the nodes and registers these. Its tasks end with `tasks`; its processes with
    /// [`Self::shutdown`], with the last holder of what this returns, or with the thread that runs the tasks.
    ///
    /// # Errors
    /// When a node cannot have an address of its own, or be registered.
    pub fn start(
        tasks: &mut JoinSet<()>,
        registry: Arc<Registry>,
        options: KubeletOptions,
    ) -> Result<Arc<Self>, KubeletError> {
        let shared = Arc::new(Shared::new(registry, options));
        for spec in shared.options.nodes.clone() {
            add_node(&shared, spec)?;
        }
        if shared.options.status_only {
            tasks.spawn(status_only::run(Arc::clone(&shared)));
        } else {
            tasks.spawn(feed::run(Arc::clone(&shared)));
        }
        tasks.spawn(node::run(Arc::clone(&shared)));
        Ok(Arc::new(Self { shared }))
    }

    /// Adds a node.
    ///
    /// # Errors
    /// When it cannot have an address, or be registered.
    pub fn add_node(&self, spec: NodeSpec) -> Result<(), KubeletError> {
        add_node(&self.shared, spec)
    }

    /// Power over the nodes.
    #[must_use]
    pub fn power(&self) -> NodePower {
        NodePower { shared: Arc::clone(&self.shared) }
    }

    /// Kills all processes and waits until they are gone. The tasks should have been dropped before: a living worker
    /// would start its containers again.
    pub async fn shutdown(&self) {
        self.shared.live.kill_all();
        if timeout(REAP_WITHIN, self.shared.live.all_gone()).await.is_err() {
            tracing::error!(left = self.shared.live.count(), "killed processes are still there");
        }
    }

    /// A pod's address, while it has one.
    #[must_use]
    pub fn pod_address(&self, namespace: &str, pod: &str) -> Option<Ipv4Addr> {
        self.shared.pods.find(namespace, pod)?.address()
    }

    /// The node of a pod that the kubelet has taken on.
    #[must_use]
    pub fn pod_node(&self, namespace: &str, pod: &str) -> Option<String> {
        self.shared.pods.find(namespace, pod).map(|pod| pod.node.clone())
    }

    /// What each running container of a pod uses, from its start on.
    #[must_use]
    pub fn usage(&self, namespace: &str, pod: &str) -> Vec<(String, Usage)> {
        self.shared.pods.find(namespace, pod).map(|pod| pod.usage()).unwrap_or_default()
    }

    /// How many processes there are.
    #[must_use]
    pub fn processes(&self) -> usize {
        self.shared.live.count()
    }

    /// A container's log.
    ///
    /// # Errors
    /// As the API answers for `pods/log`: a pod that isn't here, a container that it does not have or that has not
    /// begun, an instance that there was not.
    pub fn logs(
        &self,
        namespace: &str,
        pod: &str,
        container: Option<&str>,
        options: LogOptions,
    ) -> Result<LogReader, ApiError> {
        let (handle, container) = self.container(namespace, pod, container)?;
        let seat = handle.seat(&container).unwrap_or_default();
        let log = if options.previous { seat.previous_log } else { seat.log };
        match log {
            Some(log) => Ok(LogReader::new(log, options)),
            None if options.previous => Err(ApiError::bad_request(format!(
                "previous terminated container {container:?} in pod {pod:?} not found"
            ))),
            None => {
                let reason = if seat.waiting.is_empty() { "ContainerCreating" } else { &seat.waiting };
                Err(ApiError::bad_request(format!(
                    "container {container:?} in pod {pod:?} is waiting to start: {reason}"
                )))
            }
        }
    }

    /// Whether [`Self::exec`] would start a command.
    ///
    /// # Errors
    /// As [`Self::exec`].
    pub fn may_exec(
        &self,
        namespace: &str,
        pod: &str,
        container: Option<&str>,
        command: &[String],
    ) -> Result<(), ApiError> {
        let (handle, container) = self.container(namespace, pod, container)?;
        exec::check(&self.shared, &handle, &container, command).map_err(|error| refusal(error, &container))
    }

    /// Starts a command in a container, for `pods/exec` without a terminal. Dropping the process kills it.
    ///
    /// # Errors
    /// A pod or container that isn't here or does not run; a command that may not run here.
    pub async fn exec(
        &self,
        namespace: &str,
        pod: &str,
        container: Option<&str>,
        command: &[String],
    ) -> Result<(Process, Stdio3), ApiError> {
        let (handle, container) = self.container(namespace, pod, container)?;
        let started = exec::start(&self.shared, &handle, &container, command).await;
        started.map_err(|error| refusal(error, &container))
    }

    /// Why there is nothing of a pod here.
    fn not_here(&self, namespace: &str, pod: &str, container: Option<&str>) -> ApiError {
        if self.shared.registry.store().get(&kinds::POD, namespace, pod).is_none() {
            return ApiError::not_found("", "pods", pod);
        }
        if self.shared.options.status_only {
            return ApiError::not_in_the_sandbox("logs and programs of pods that run nothing (--status-only)");
        }
        // It is bound, and its kubelet has yet to hear of it.
        let container = container.unwrap_or_default();
        ApiError::bad_request(format!("container {container:?} in pod {pod:?} is waiting to start: ContainerCreating"))
    }

    /// A container of a pod: the named one, or the only one.
    fn container(
        &self,
        namespace: &str,
        pod: &str,
        container: Option<&str>,
    ) -> Result<(Arc<PodHandle>, String), ApiError> {
        let handle = self.shared.pods.find(namespace, pod).ok_or_else(|| self.not_here(namespace, pod, container))?;
        let names = &handle.containers;
        let name = match (container.filter(|name| !name.is_empty()), names.as_slice()) {
            (Some(name), all) if all.iter().any(|known| known == name) => name.to_owned(),
            (Some(name), _) => {
                return Err(ApiError::bad_request(format!("container {name} is not valid for pod {pod}")));
            }
            (None, [only]) => only.clone(),
            (None, all) => {
                let all = all.join(" ");
                return Err(ApiError::bad_request(format!(
                    "a container name must be specified for pod {pod}, choose one of: [{all}]"
                )));
            }
        };
        Ok((handle, name))
    }
}

fn refusal(error: exec::ExecError, container: &str) -> ApiError {
    match error {
        exec::ExecError::NotRunning(_) => ApiError::bad_request(format!("container not found ({container:?})")),
        exec::ExecError::Program(program::NoProgram::NotAllowed(program)) => {
            ApiError::not_in_the_sandbox(format!("exec of {program:?} without --host-programs"))
        }
        error => ApiError::internal(error),
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.shared.live.kill_all();
    }
}

/// Why a kubelet did not start.
#[derive(Debug, thiserror::Error)]
pub enum KubeletError {
    /// A node got no address.
    #[error("a node of the sandbox got no address")]
    Address(#[from] AddressError),
    /// A node could not be registered.
    #[error("a node of the sandbox could not be registered: {0}")]
    Register(#[from] ApiError),
}

fn add_node(shared: &Shared, spec: NodeSpec) -> Result<(), KubeletError> {
    let address = match spec.address {
        Some(address) => address,
        None => shared.node_addresses.take_usable()?,
    };
    let node = Arc::new(Node::new(spec, address));
    shared.nodes.insert(Arc::clone(&node));
    Ok(node::register(shared, &node)?)
}
