//! The sandbox as a cluster like any other: a client, a name, and the way of its connections.
//!
//! Beside the command `sandbox up`, which serves one to others, the only place outside `sandbox` that starts one.

use std::{path::Path, sync::Arc};

use super::{
    Cluster, ClusterError, On,
    dial::{Dial, Hop, Target},
};
use crate::{
    experiment::schema::SandboxShape,
    sandbox::{self, Sandbox, SandboxError, net::Route},
};

/// A sandbox and the cluster that it is. Dropped without [`Embedded::stop`], it ends as well, without waiting.
pub struct Embedded {
    /// The cluster.
    pub cluster: Cluster,
    sandbox: Sandbox,
}

/// Starts a sandbox of this shape, whose nodes are ready when this returns.
///
/// # Errors
/// When this system cannot run one: not Linux, no loopback addresses, no process slots.
pub async fn start(shape: &SandboxShape) -> Result<Embedded, ClusterError> {
    let executable =
        std::env::current_exe().map_err(|error| ClusterError::Sandbox(Box::new(SandboxError::Executable(error))))?;
    start_with(shape, &executable).await
}

/// The same, with the evenkeel executable that pods run as, where it isn't this process's own.
///
/// # Errors
/// As for [`start`].
pub async fn start_with(shape: &SandboxShape, executable: &Path) -> Result<Embedded, ClusterError> {
    let options = sandbox::Options {
        topology: sandbox::Topology {
            control_planes: shape.control_planes,
            workers: shape.workers,
            zones: shape.zones,
        },
        stand_ins: shape.stand_ins.clone(),
        ..sandbox::Options::new(executable.to_owned())
    };
    let sandbox = Sandbox::start(options).await.map_err(|error| ClusterError::Sandbox(Box::new(error)))?;
    let dial = Tables { sandbox: sandbox.network(), way_in: sandbox.way_in().to_owned() };
    let cluster = Cluster {
        client: sandbox.client(),
        on: On::Sandbox,
        server_version: sandbox::VERSION.to_owned(),
        identity: "sandbox".to_owned(),
        dial: Some(Arc::new(dial)),
    };
    Ok(Embedded { cluster, sandbox })
}

impl Embedded {
    /// Power over its nodes.
    #[must_use]
    pub const fn nodes(&self) -> &sandbox::Nodes {
        self.sandbox.power()
    }

    /// Ends the sandbox and waits until none of its processes is left.
    pub async fn stop(self) {
        self.sandbox.stop().await;
    }
}

/// The service tables of a sandbox's nodes.
struct Tables {
    sandbox: Arc<sandbox::net::ServiceTables>,
    way_in: String,
}

impl Dial for Tables {
    fn way_in(&self) -> &str {
        &self.way_in
    }

    fn dial(&self, node: &str, target: &Target) -> Hop {
        match self.sandbox.pick(node, &target.namespace, &target.service, target.port) {
            Route::To { address, delay, .. } => Hop::To(address, delay),
            Route::Refused => Hop::Refused,
            Route::Silent => Hop::Silent,
        }
    }
}
