//! Pods of nodes that are gone go too, after a while.

use serde_json::json;
use tokio::task::JoinSet;

use super::*;
use crate::sandbox::fixture::{self, node, patch, running, settle, value};

fn start(registry: &Arc<Registry>, finished_max: usize) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let controller = PodGc { finished_max, ..PodGc::new(Arc::clone(registry)) };
    super::super::run(&mut tasks, registry, Arc::new(controller));
    tasks
}

fn is_there(registry: &Registry, name: &str) -> bool {
    !value(registry, &kinds::POD, "shop", name).is_null()
}

#[tokio::test(start_paused = true)]
async fn pods_of_a_node_that_is_gone_go_after_the_quarantine() {
    let registry = fixture::registry();
    for name in ["n1", "n2"] {
        node(&registry, name, &json!({}));
    }
    running(&registry, "lost", "n1", 1, true, &json!({"metadata": {"finalizers": ["keep/it"]}}));
    running(&registry, "well", "n2", 2, true, &json!({}));
    let _tasks = start(&registry, FINISHED_MAX);
    settle(1000).await;
    registry.remove::<Node>("", "n1", &DeleteOptions::default()).unwrap();
    settle(39_000).await;
    assert!(value(&registry, &kinds::POD, "shop", "lost")["metadata"]["deletionTimestamp"].is_null());
    settle(42_000).await;
    let lost = value(&registry, &kinds::POD, "shop", "lost");
    assert_eq!(lost["status"]["phase"], "Failed");
    let target = conditions::find(&lost, "DisruptionTarget").unwrap();
    assert_eq!(
        (&target["reason"], &target["message"]),
        (&json!("DeletionByPodGC"), &json!("PodGC: node no longer exists"))
    );
    patch(&registry, &kinds::POD, "shop", "lost", Part::Main, &json!({"metadata": {"finalizers": []}}));
    assert!(!is_there(&registry, "lost") && is_there(&registry, "well"));
}

#[tokio::test(start_paused = true)]
async fn the_oldest_finished_pods_go_beyond_the_number() {
    let registry = fixture::registry();
    node(&registry, "n1", &json!({}));
    for name in ["a", "b", "c"] {
        running(&registry, name, "n1", 1, false, &json!({}));
        patch(&registry, &kinds::POD, "shop", name, Part::Status, &json!({"status": {"phase": "Succeeded"}}));
    }
    running(&registry, "d", "n1", 1, true, &json!({}));
    let _tasks = start(&registry, 2);
    settle(25_000).await;
    assert_eq!(["a", "b", "c", "d"].map(|name| is_there(&registry, name)), [false, true, true, true]);
}

#[tokio::test(start_paused = true)]
async fn terminating_pods_go_from_a_node_that_is_out_of_service() {
    let registry = fixture::registry();
    let down = json!({"spec": {"taints": [{"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}]},
        "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}});
    node(&registry, "n1", &down);
    running(&registry, "leaving", "n1", 1, true, &json!({}));
    running(&registry, "staying", "n1", 2, true, &json!({}));
    registry.remove::<Pod>("shop", "leaving", &DeleteOptions::default()).unwrap();
    let _tasks = start(&registry, FINISHED_MAX);
    settle(25_000).await;
    assert!(!is_there(&registry, "leaving") && is_there(&registry, "staying"));
}
