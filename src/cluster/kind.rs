//! kind clusters, through kind's own command line and the container engine under it.
//!
//! kind is driven from outside, as a person would, so any version and any node image serves. What only a node can do
//! (forgetting tracked connections) is done by a command in its container.

use std::{env, ffi::OsStr, future::Future, path::Path, time::Duration};

use futures::future::try_join_all;
use serde::Deserialize;
use tokio::time::sleep;

use command::{Output, Program};

mod command;
mod error;
mod ready;

#[cfg(test)]
mod tests;

pub use command::CommandError;
pub use error::KindError;

/// The environment variable that names the node image when no flag does.
pub const NODE_IMAGE_VARIABLE: &str = "EVENKEEL_NODE_IMAGE";
/// The name of a cluster that neither a flag nor its configuration names.
pub const DEFAULT_NAME: &str = "evenkeel";

/// How kind names the container of the load balancer that it puts before several control planes.
const LOAD_BALANCER_SUFFIX: &str = "-external-load-balancer";

/// Queries and single commands in a node take a fraction of a second; this is for a machine with much else to do.
const QUICK: Duration = Duration::from_secs(30);
/// Creating takes 20 to 60 s with the node image on the machine, minutes when it has to be pulled.
const CREATE: Duration = Duration::from_secs(600);
/// How long kind itself waits for the control plane, as its `--wait` has it.
const CONTROL_PLANE_WAIT: &str = "120s";
/// Workers follow the control plane by some seconds.
const NODES_READY: Duration = Duration::from_secs(180);
/// The archive goes to each node in turn, a second or two each.
const LOAD: Duration = Duration::from_secs(180);
/// Deleting takes 1 to 5 s.
const DELETE: Duration = Duration::from_secs(120);
/// How often a deletion is tried. While the engine still starts a container whose `docker run` was ended, kind says that
/// it deleted it and did not; seen for 1 to 3 s.
const DELETE_TRIES: u32 = 30;
/// The pause between two deletions. The engine offers nothing to wait for: the container may not be made yet.
const DELETE_PAUSE: Duration = Duration::from_secs(1);
/// How many looks in a row must find nothing of a cluster that was stopped half-way, since a container of it may still
/// appear after the first.
const HALF_MADE_LOOKS: u32 = 3;
/// A packet on its way may bring an entry back, so a deletion is looked at and repeated.
const FORGET_TRIES: u32 = 5;

/// How far making a cluster has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// `kind create cluster` runs.
    Creating,
    /// The control plane answers; nodes become ready.
    NodesReady {
        /// How many are.
        ready: usize,
        /// How many there will be.
        of: usize,
    },
    /// The image archive goes to the nodes.
    LoadingImages,
}

/// kind's command line and the container engine's.
#[derive(Debug, Clone)]
pub struct Kind {
    cli: Program,
    engine: Program,
    delete_pause: Duration,
}

impl Kind {
    /// Both as found on the `PATH`. The engine is the one that kind was told to use (`KIND_EXPERIMENTAL_PROVIDER`), or
    /// else Docker.
    #[must_use]
    pub fn from_env() -> Self {
        let engine = env::var("KIND_EXPERIMENTAL_PROVIDER").ok().filter(|name| !name.is_empty());
        Self {
            cli: Program::new("kind"),
            engine: Program::new(engine.as_deref().unwrap_or("docker")),
            delete_pause: DELETE_PAUSE,
        }
    }

    /// Makes a cluster of a configuration, waits until all its nodes are ready, and loads an image archive. If that
    /// fails, or `stop` ends first, what was made is deleted; a cluster that was there before is never touched.
    ///
    /// `node_image` is the `--image` of `kind create cluster`; without it kind's own.
    pub async fn up(
        &self,
        config: &Path,
        name: &str,
        node_image: Option<&str>,
        archive: &Path,
        stop: impl Future<Output = ()>,
        mut progress: impl FnMut(Progress),
    ) -> Result<(), KindError> {
        for path in [config, archive] {
            tokio::fs::File::open(path).await.map_err(|source| KindError::Read { path: path.to_owned(), source })?;
        }
        if self.clusters().await?.iter().any(|known| known == name) {
            return Err(KindError::AlreadyThere { name: name.to_owned() });
        }
        let made = tokio::select! {
            biased;
            () = stop => Err(KindError::Stopped { name: name.to_owned() }),
            made = self.make(config, name, node_image, archive, &mut progress) => made,
        };
        let Err(failure) = made else { return Ok(()) };
        match self.delete(name, HALF_MADE_LOOKS).await {
            Ok(()) => Err(failure),
            Err(source) => Err(KindError::LeftBehind {
                name: name.to_owned(),
                failure: Box::new(failure),
                source: Box::new(source),
            }),
        }
    }

    async fn make(
        &self,
        config: &Path,
        name: &str,
        node_image: Option<&str>,
        archive: &Path,
        progress: &mut impl FnMut(Progress),
    ) -> Result<(), KindError> {
        progress(Progress::Creating);
        let mut create = words(&["create", "cluster", "--name", name, "--wait", CONTROL_PLANE_WAIT, "--config"]);
        create.push(config.as_os_str());
        if let Some(image) = node_image {
            create.extend(words(&["--image", image]));
        }
        self.cli
            .run(&create, CREATE)
            .await
            .map_err(|failure| KindError::not_created(failure, error::inotify_instances()))?;

        let (nodes, kubeconfig) = (self.nodes(name).await?, self.kubeconfig(name).await?);
        ready::all(name, &kubeconfig, nodes, NODES_READY, progress).await?;

        progress(Progress::LoadingImages);
        let mut load = words(&["load", "image-archive", "--name", name]);
        load.push(archive.as_os_str());
        self.cli.run(&load, LOAD).await?;
        Ok(())
    }

    /// Deletes a cluster; afterwards kind no longer lists it.
    pub async fn down(&self, name: &str) -> Result<(), KindError> {
        let known = self.clusters().await?;
        if !known.iter().any(|cluster| cluster == name) {
            return Err(KindError::NoSuchCluster { name: name.to_owned(), known });
        }
        self.delete(name, 1).await
    }

    /// Deletes a cluster until kind no longer lists it, at a given number of looks in a row.
    async fn delete(&self, name: &str, looks: u32) -> Result<(), KindError> {
        let mut looks_without_it = 0;
        let mut failure = None;
        for attempt in 0..DELETE_TRIES {
            if attempt > 0 {
                sleep(self.delete_pause).await;
            }
            match self.cli.run(&words(&["delete", "cluster", "--name", name]), DELETE).await {
                Ok(_) => {}
                // The engine also refuses for a moment to remove what it is about to start.
                Err(error @ CommandError::Failed { .. }) => failure = Some(error),
                Err(error) => return Err(error.into()),
            }
            let listed = self.clusters().await?.iter().any(|known| known == name);
            looks_without_it = if listed { 0 } else { looks_without_it + 1 };
            if looks_without_it >= looks {
                return Ok(());
            }
        }
        Err(failure.map_or_else(|| KindError::NotDeleted { name: name.to_owned() }, KindError::from))
    }

    /// The names of the clusters that there are, also of those whose nodes are stopped.
    pub async fn clusters(&self) -> Result<Vec<String>, KindError> {
        Ok(lines(&self.cli.run(&words(&["get", "clusters"]), QUICK).await?))
    }

    /// The nodes of a cluster, which are also the names of their containers. kind's load balancer is not one.
    pub async fn nodes(&self, name: &str) -> Result<Vec<String>, KindError> {
        let mut nodes = lines(&self.cli.run(&words(&["get", "nodes", "--name", name]), QUICK).await?);
        if nodes.is_empty() {
            return Err(KindError::NoSuchCluster { name: name.to_owned(), known: self.clusters().await? });
        }
        nodes.retain(|node| !node.ends_with(LOAD_BALANCER_SUFFIX));
        Ok(nodes)
    }

    /// A kubeconfig that reaches a cluster from this machine, with `kind-NAME` as its only context.
    pub async fn kubeconfig(&self, name: &str) -> Result<String, KindError> {
        Ok(self.cli.run(&words(&["get", "kubeconfig", "--name", name]), QUICK).await?.stdout)
    }

    /// Makes nodes forget the TCP connections that they track to a port as clients see it (a `NodePort`, or a Service's
    /// port inside the cluster), and returns how many there were. Afterwards none is left.
    ///
    /// A connection that was lost leaves an entry behind which still maps its client's port to a pod that may be gone; a
    /// new connection from the same port would follow it into nowhere. So this belongs between two runs, with no load.
    pub async fn forget_connections(&self, nodes: &[String], port: u16) -> Result<u64, KindError> {
        let forgotten = try_join_all(nodes.iter().map(|node| self.forget_on(node, port))).await?;
        Ok(forgotten.into_iter().sum())
    }

    async fn forget_on(&self, node: &str, port: u16) -> Result<u64, KindError> {
        let (mut forgotten, mut left) = (0, 0);
        for _ in 0..FORGET_TRIES {
            forgotten += self.conntrack(node, "-D", port).await?;
            left = self.conntrack(node, "-L", port).await?;
            if left == 0 {
                return Ok(forgotten);
            }
        }
        Err(KindError::ConnectionsLeft { node: node.to_owned(), port, left })
    }

    /// Runs conntrack in a node and returns the number of entries that it deleted (`-D`) or listed (`-L`).
    async fn conntrack(&self, node: &str, command: &str, port: u16) -> Result<u64, KindError> {
        let port = port.to_string();
        let args = ["exec", node, "conntrack", command, "-p", "tcp", "--orig-port-dst", &port];
        let said = match self.engine.run(&words(&args), QUICK).await {
            Ok(output) => output.stderr,
            // Nothing to delete is a failure to conntrack, with the same words.
            Err(CommandError::Failed { stderr, .. }) if flow_entries(&stderr) == Some(0) => stderr,
            Err(error) => return Err(error.into()),
        };
        flow_entries(&said).ok_or_else(|| KindError::Conntrack { node: node.to_owned(), said })
    }
}

/// The name that a cluster gets: the one given, or its configuration's `name:`, or `evenkeel`.
pub fn cluster_name(config: &Path, given: Option<&str>) -> Result<String, KindError> {
    #[derive(Deserialize)]
    struct Named {
        name: Option<String>,
    }
    if let Some(name) = given {
        return Ok(name.to_owned());
    }
    let text = std::fs::read_to_string(config).map_err(|source| KindError::Read { path: config.to_owned(), source })?;
    let named: Named = serde_saphyr::from_str(&text)
        .map_err(|error| KindError::Config { path: config.to_owned(), problem: error.to_string() })?;
    Ok(named.name.unwrap_or_else(|| DEFAULT_NAME.to_owned()))
}

/// The number in conntrack's "conntrack v1.4.7 (conntrack-tools): 3 flow entries have been deleted."
fn flow_entries(said: &str) -> Option<u64> {
    let (before, _) = said.split_once(" flow entries have been ")?;
    before.rsplit(' ').next()?.parse().ok()
}

fn words<'a>(words: &[&'a str]) -> Vec<&'a OsStr> {
    words.iter().map(|word| OsStr::new(*word)).collect()
}

fn lines(output: &Output) -> Vec<String> {
    output.stdout.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}
