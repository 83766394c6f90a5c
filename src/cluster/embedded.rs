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
    sandbox::{
        self, Sandbox, SandboxError,
        net::{Link, Route},
    },
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
        pod_start: shape.pod_start.duration(),
        ..sandbox::Options::new(executable.to_owned())
    };
    let sandbox = Sandbox::start(options).await.map_err(|error| ClusterError::Sandbox(Box::new(error)))?;
    let link = Link { delay: shape.link_delay.duration(), loss: shape.link_loss.fraction() };
    for node in sandbox.nodes() {
        sandbox.network().set_link(sandbox.way_in(), &node.name, link);
    }
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;
    use crate::experiment::units::Span;

    async fn post(client: &kube::Client, path: &str, object: &Value) {
        let request = http::Request::post(path).header("content-type", "application/json");
        let answer: Value = client.request(request.body(serde_json::to_vec(object).unwrap()).unwrap()).await.unwrap();
        assert_eq!(answer["metadata"]["name"], object["metadata"]["name"]);
    }

    /// What becomes of a connection to an endpoint on a worker.
    async fn hop_with(shape: SandboxShape) -> Hop {
        // Nothing runs in it.
        let sandbox = start_with(&shape, Path::new("/nonexistent")).await.unwrap();
        let client = &sandbox.cluster.client;
        let service = json!({"metadata": {"name": "shop"}, "spec": {"ports": [{"port": 80}]}});
        post(client, "/api/v1/namespaces/default/services", &service).await;
        let slice = json!({
            "metadata": {"name": "shop", "labels": {"kubernetes.io/service-name": "shop"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["127.0.0.1"], "nodeName": "sandbox-worker", "conditions": {"ready": true}}],
            "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
        });
        post(client, "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", &slice).await;
        let dial = sandbox.cluster.dial.clone().unwrap();
        let target = Target { namespace: "default".to_owned(), service: "shop".to_owned(), port: 80 };
        // Until the tables have followed.
        let follow = async {
            loop {
                match dial.dial(dial.way_in(), &target) {
                    Hop::Refused => tokio::time::sleep(Duration::from_millis(5)).await,
                    hop => return hop,
                }
            }
        };
        let hop = tokio::time::timeout(Duration::from_secs(30), follow).await.expect("the tables follow");
        sandbox.stop().await;
        hop
    }

    #[tokio::test]
    async fn the_links_between_load_and_nodes_take_as_long_as_the_file_says() {
        let shape = |millis| SandboxShape { link_delay: Span::from_millis(millis), ..SandboxShape::default() };
        for millis in [20, 0] {
            let hop = hop_with(shape(millis)).await;
            assert!(matches!(hop, Hop::To(_, delay) if delay == Duration::from_millis(millis)), "{hop:?}");
        }
    }

    #[tokio::test]
    async fn a_link_that_loses_everything_is_silence() {
        let hop = hop_with(SandboxShape { link_loss: "100%".parse().unwrap(), ..SandboxShape::default() }).await;
        assert!(matches!(hop, Hop::Silent), "{hop:?}");
    }
}
