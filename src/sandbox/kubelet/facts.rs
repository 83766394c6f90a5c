//! What the kubelet knows about one container of a pod, and its part of the pod's status
//! (`k/pkg/kubelet/kubelet_pods.go` convertToAPIContainerStatuses, v1.34.4).

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{
        Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
        ContainerStatus, Pod, VolumeMountStatus,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::program::normalized;
use crate::sandbox::names;

/// The part that a container plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Runs to its end before the others begin.
    Init,
    /// Begins among the init containers and goes on beside the main ones.
    Sidecar,
    /// What the pod is for.
    Main,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code.
    pub code: i32,
    /// `Completed`, `Error`, `StartError`, …
    pub reason: String,
    /// The end of its log, where the container asks for it.
    pub message: Option<String>,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
    /// Its id.
    pub id: String,
}

/// Where a container is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It does not run, and why.
    Waiting {
        /// Such as `ContainerCreating`.
        reason: String,
        /// More about it.
        message: Option<String>,
    },
    /// It runs.
    Running {
        /// Since when.
        since: Timestamp,
    },
    /// It has ended.
    Ended(Ended),
}

impl State {
    /// Waiting for a reason that needs no more words.
    #[must_use]
    pub fn waiting(reason: &str) -> Self {
        Self::Waiting { reason: reason.to_owned(), message: None }
    }
}

/// What is known about a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its name.
    pub name: String,
    /// Its part.
    pub role: Role,
    /// Where it is.
    pub state: State,
    /// How it ended before.
    pub last: Option<Ended>,
    /// How often it was started again.
    pub restarts: i32,
    /// Its present or latest instance.
    pub id: Option<String>,
    /// It has a startup probe.
    pub has_startup: bool,
    /// The startup probe has succeeded for the present instance.
    pub startup_ok: bool,
    /// It has a readiness probe.
    pub has_readiness: bool,
    /// The readiness probe's latest verdict.
    pub readiness_ok: bool,
}

impl Facts {
    /// A container that has not been created.
    #[must_use]
    pub fn new(container: &Container, role: Role, pod_has_init: bool) -> Self {
        let probed = role != Role::Init;
        Self {
            name: container.name.clone(),
            role,
            state: State::waiting(if pod_has_init { "PodInitializing" } else { "ContainerCreating" }),
            last: None,
            restarts: 0,
            id: None,
            has_startup: probed && container.startup_probe.is_some(),
            startup_ok: false,
            has_readiness: probed && container.readiness_probe.is_some(),
            readiness_ok: false,
        }
    }

    /// Whether it runs.
    #[must_use]
    pub const fn runs(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }

    /// `started`: it runs, and its startup probe, if any, has succeeded.
    #[must_use]
    pub const fn started(&self) -> bool {
        self.runs() && (!self.has_startup || self.startup_ok)
    }

    /// `ready`: started, and its readiness probe, if any, succeeds; an init container when it has succeeded.
    #[must_use]
    pub const fn ready(&self) -> bool {
        match self.role {
            Role::Init => matches!(&self.state, State::Ended(ended) if ended.code == 0),
            Role::Sidecar | Role::Main => self.started() && (!self.has_readiness || self.readiness_ok),
        }
    }

    /// Its part of the pod's status.
    #[must_use]
    pub fn status(&self, container: &Container) -> ContainerStatus {
        let image = container.image.clone().unwrap_or_default();
        let (image, image_id) = match &self.id {
            Some(_) => (normalized(&image), image_id(&image)),
            None => (image, String::new()),
        };
        ContainerStatus {
            name: self.name.clone(),
            state: Some(self.api_state()),
            last_state: Some(self.last.as_ref().map(terminated).unwrap_or_default()),
            ready: self.ready(),
            restart_count: self.restarts,
            image,
            image_id,
            container_id: self.id.clone(),
            started: Some(self.started()),
            allocated_resources: container.resources.as_ref().and_then(|resources| resources.requests.clone()),
            resources: self.id.is_some().then(|| container.resources.clone().unwrap_or_default()),
            volume_mounts: mounts(container),
            ..ContainerStatus::default()
        }
    }

    fn api_state(&self) -> ContainerState {
        match &self.state {
            State::Waiting { reason, message } => ContainerState {
                waiting: Some(ContainerStateWaiting { reason: Some(reason.clone()), message: message.clone() }),
                ..ContainerState::default()
            },
            State::Running { since } => ContainerState {
                running: Some(ContainerStateRunning { started_at: Some(Time(*since)) }),
                ..ContainerState::default()
            },
            State::Ended(ended) => terminated(ended),
        }
    }
}

fn terminated(ended: &Ended) -> ContainerState {
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            container_id: Some(ended.id.clone()).filter(|id| !id.is_empty()),
            exit_code: ended.code,
            finished_at: Some(Time(ended.finished)),
            message: ended.message.clone(),
            reason: Some(ended.reason.clone()),
            signal: None,
            started_at: Some(Time(ended.started)),
        }),
        ..ContainerState::default()
    }
}

fn mounts(container: &Container) -> Option<Vec<VolumeMountStatus>> {
    let mounts = container.volume_mounts.as_ref()?;
    let status = mounts.iter().map(|mount| VolumeMountStatus {
        mount_path: mount.mount_path.clone(),
        name: mount.name.clone(),
        read_only: mount.read_only,
        recursive_read_only: mount.read_only.filter(|only| *only).map(|_| "Disabled".to_owned()),
    });
    Some(status.collect())
}

/// The containers of a pod with their parts, in the order in which they begin.
#[must_use]
pub fn containers(pod: &Pod) -> Vec<(Container, Role)> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let init = spec.init_containers.iter().flatten().map(|container| {
        let sidecar = container.restart_policy.as_deref() == Some("Always");
        (container.clone(), if sidecar { Role::Sidecar } else { Role::Init })
    });
    init.chain(spec.containers.iter().map(|container| (container.clone(), Role::Main))).collect()
}

/// A new container's id.
#[must_use]
pub fn container_id() -> String {
    let hex = format!("{}{}", names::uid(), names::uid()).replace('-', "");
    format!("containerd://{hex}")
}

/// The id of an image: its repository and a digest that stands for the name, since there is no image to have one.
#[must_use]
pub fn image_id(image: &str) -> String {
    let full = normalized(image);
    if full.contains('@') {
        return full;
    }
    let repository = full.rsplit_once(':').map_or(full.as_str(), |(repository, _)| repository);
    let digest: String = (0..4).map(|part| names::digest(&format!("{part}{full}"))).collect();
    format!("{repository}@sha256:{digest}")
}
