//! Waits until the nodes of a new cluster are ready: kind itself waits for the control plane alone.

use std::{collections::BTreeSet, pin::pin, time::Duration};

use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, Client, Config, ResourceExt,
    config::{KubeConfigOptions, Kubeconfig},
    runtime::{WatchStreamExt, watcher},
};
use tokio::time::timeout;

use super::{
    KindError, Progress,
    error::{hint_on_inotify, inotify_instances},
};

/// Returns when every one of the nodes is ready at the same time.
pub(super) async fn all(
    name: &str,
    kubeconfig: &str,
    nodes: Vec<String>,
    at_most: Duration,
    progress: &mut impl FnMut(Progress),
) -> Result<(), KindError> {
    let client = client(kubeconfig).await.map_err(|source| KindError::Api { name: name.to_owned(), source })?;
    let mut waiting = Waiting { of: nodes.len(), missing: nodes.into_iter().collect() };
    progress(waiting.progress());

    let seen = async {
        let mut nodes =
            pin!(watcher(Api::<Node>::all(client), watcher::Config::default()).default_backoff().applied_objects());
        while !waiting.missing.is_empty() {
            match nodes.try_next().await {
                Ok(Some(node)) => {
                    if waiting.see(&node) {
                        progress(waiting.progress());
                    }
                }
                Ok(None) => break,
                // The API server of a new cluster may go away once more; the watch is taken up again by itself.
                Err(error) => tracing::debug!(%error, "watching the nodes of a new cluster"),
            }
        }
    };
    // Whether it ended or ran out of time, what is missing says it all.
    _ = timeout(at_most, seen).await;
    if waiting.missing.is_empty() {
        return Ok(());
    }
    Err(KindError::NotReady {
        name: name.to_owned(),
        nodes: waiting.missing.into_iter().collect(),
        waited: at_most,
        hint: hint_on_inotify(inotify_instances()),
    })
}

async fn client(kubeconfig: &str) -> Result<Client, Box<dyn std::error::Error + Send + Sync>> {
    let kubeconfig = Kubeconfig::from_yaml(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// The nodes that are not ready yet, of how many.
struct Waiting {
    of: usize,
    missing: BTreeSet<String>,
}

impl Waiting {
    /// Takes in a node's state; says whether that changed anything.
    fn see(&mut self, node: &Node) -> bool {
        let name = node.name_any();
        if is_ready(node) { self.missing.remove(&name) } else { self.missing.insert(name) }
    }

    fn progress(&self) -> Progress {
        Progress::NodesReady { ready: self.of.saturating_sub(self.missing.len()), of: self.of }
    }
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True"))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{Node, NodeCondition, NodeStatus};

    use super::{Progress, Waiting};

    fn node(name: &str, ready: Option<&str>) -> Node {
        let condition = |status: &str| NodeCondition {
            type_: "Ready".to_owned(),
            status: status.to_owned(),
            ..NodeCondition::default()
        };
        let mut node = Node {
            status: Some(NodeStatus { conditions: ready.map(|s| vec![condition(s)]), ..NodeStatus::default() }),
            ..Node::default()
        };
        node.metadata.name = Some(name.to_owned());
        node
    }

    #[test]
    fn nodes_are_waited_for_until_all_are_ready_together() {
        let mut waiting = Waiting { of: 2, missing: ["a", "b"].map(str::to_owned).into() };
        assert!(!waiting.see(&node("a", None)));
        assert!(!waiting.see(&node("a", Some("Unknown"))));
        assert!(waiting.see(&node("a", Some("True"))));
        assert_eq!(waiting.progress(), Progress::NodesReady { ready: 1, of: 2 });
        assert!(waiting.see(&node("a", Some("False"))), "a node that falls back is waited for again");
        assert!(waiting.see(&node("a", Some("True"))));
        assert!(waiting.see(&node("b", Some("True"))));
        assert_eq!(waiting.progress(), Progress::NodesReady { ready: 2, of: 2 });
    }
}
