//! From a cluster's name to a client of it.
//!
//! kube's own retries are off: they would hide each 429 of an eviction behind minutes of silent repetition, and a
//! fault that the client papers over is a fault that nobody measured.

use std::{sync::Arc, time::Duration};

use hyper::header::{HeaderValue, USER_AGENT};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

use super::{
    dial::Dial,
    error::{ApiFailure, ClusterError},
    kind::{Kind, KindError},
    on::{On, contexts, kind_clusters},
};
use crate::failure::chain;

/// How long connecting to the API server may take: more than a lost SYN and its first two repetitions.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// How long the first answer may take, connecting included.
const FIRST_ANSWER_WITHIN: Duration = Duration::from_secs(8);

/// Hexadecimal digits of a cluster's identity: two clusters with the same are not to be met.
const IDENTITY_DIGITS: usize = 32;

/// How this client names itself to the API server, and so in its audit log.
const AGENT: &str = concat!("evenkeel/", env!("CARGO_PKG_VERSION"));

/// A cluster that has answered. Cheap to clone: copies share connections.
#[derive(Clone)]
pub struct Cluster {
    /// The client, without retries of its own.
    pub client: Client,
    /// What it is called.
    pub on: On,
    /// The API server's version, such as `v1.34.4`.
    pub server_version: String,
    /// What tells this cluster from another of the same name: a digest of the authority that its API server's
    /// certificate is checked by, or of its address where there is none. A cluster that is made anew has another.
    pub identity: String,
    /// How load reaches Services; nothing where the machine's own network leads there.
    pub dial: Option<Arc<dyn Dial>>,
}

impl Cluster {
    /// Makes the nodes forget the TCP connections that they track to a port as clients see it, and returns how many
    /// there were; nothing where the nodes' NAT tables are out of reach, as on any cluster but a kind one.
    ///
    /// # Errors
    /// When the container engine cannot be asked, or entries stay.
    pub async fn forget_connections(&self, port: u16) -> Result<Option<u64>, KindError> {
        let name = match &self.on {
            On::Kind(name) => name,
            // No connection of it is translated by anybody.
            On::Sandbox => return Ok(Some(0)),
            On::Context(_) => return Ok(None),
        };
        let kind = Kind::from_env();
        let nodes = kind.nodes(name).await?;
        kind.forget_connections(&nodes, port).await.map(Some)
    }
}

/// Connects to a cluster and asks its version, so that what comes back has answered.
///
/// A kind cluster is reached by a kubeconfig from the kind command line, so that no kubeconfig file need know it.
///
/// # Errors
/// When there is no such cluster, its kubeconfig is unusable, or it does not answer within 8 s.
pub async fn connect(on: &On) -> Result<Cluster, ClusterError> {
    let mut config = config_of(on).await?;
    harness(&mut config);
    let server = config.cluster_url.to_string();
    let identity = identity_of(&config);
    let failed = |source| ClusterError::Client { on: on.clone(), source };
    let client = Client::try_from(config).map_err(|error| failed(error.into()))?;
    let answer = match timeout(FIRST_ANSWER_WITHIN, client.apiserver_version()).await {
        Ok(answer) => answer.map_err(ApiFailure::from),
        Err(_) => Err(ApiFailure::no_answer_within(FIRST_ANSWER_WITHIN)),
    };
    match answer {
        Ok(version) => {
            Ok(Cluster { client, on: on.clone(), server_version: version.git_version, identity, dial: None })
        }
        Err(source) => Err(ClusterError::Unreachable { on: on.clone(), server, next: next_step(on, &source), source }),
    }
}

fn identity_of(config: &Config) -> String {
    let mut digest = Sha256::new();
    match config.root_cert.as_deref() {
        Some(certificates) if !certificates.is_empty() => certificates.iter().for_each(|one| digest.update(one)),
        _ => digest.update(config.cluster_url.to_string()),
    }
    let mut hex = format!("{:x}", digest.finalize());
    hex.truncate(IDENTITY_DIGITS);
    hex
}

/// Sets what a harness needs of a client: every answer as it came, and watches that last.
fn harness(config: &mut Config) {
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT_WITHIN);
    // A watch is silent for as long as nothing happens; requests have limits of their own.
    config.read_timeout = None;
    config.headers.push((USER_AGENT, HeaderValue::from_static(AGENT)));
}

fn next_step(on: &On, failure: &ApiFailure) -> String {
    match (failure.is_refusal(), on) {
        (_, On::Sandbox) => "this is a fault of evenkeel's own".to_owned(),
        (true, On::Kind(name)) => format!("make it anew: kind delete cluster --name {name}, then kind create cluster"),
        (true, On::Context(name)) => format!("log in again, and try kubectl --context {name} version"),
        (false, On::Kind(name)) => format!("is it running? docker ps shows {name}-control-plane when it is"),
        (false, On::Context(name)) => format!("can you reach it? try kubectl --context {name} version"),
    }
}

async fn config_of(on: &On) -> Result<Config, ClusterError> {
    let unusable = |source: KubeconfigError| ClusterError::Kubeconfig { on: on.clone(), source: source.into() };
    let (kubeconfig, context) = match on {
        On::Kind(name) => {
            let text = kind_kubeconfig(name).await?;
            (Kubeconfig::from_yaml(&text).map_err(unusable)?, format!("kind-{name}"))
        }
        On::Sandbox => return Err(ClusterError::NotStarted),
        On::Context(name) => {
            let kubeconfig = Kubeconfig::read().map_err(unusable)?;
            if !kubeconfig.contexts.iter().any(|context| context.name == *name) {
                return Err(ClusterError::Unknown { on: on.clone(), known: contexts() });
            }
            (kubeconfig, name.clone())
        }
    };
    let options = KubeConfigOptions { context: Some(context), ..KubeConfigOptions::default() };
    Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(unusable)
}

/// The kubeconfig of a kind cluster, as the kind command line writes it to standard output.
async fn kind_kubeconfig(name: &str) -> Result<String, ClusterError> {
    let on = || On::Kind(name.to_owned());
    let error = match Kind::from_env().kubeconfig(name).await {
        Ok(text) => return Ok(text),
        Err(error) => error,
    };
    let known = kind_clusters().await;
    if known.contains(&on()) {
        return Err(ClusterError::Kind { on: on(), said: chain(&error) });
    }
    Err(ClusterError::Unknown { on: on(), known })
}

#[cfg(test)]
mod tests;
