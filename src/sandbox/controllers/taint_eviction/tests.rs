//! Pods leave tainted nodes when their toleration is over, and not before.

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::*;
use crate::sandbox::fixture::{self, events, node, patch, running, settle, value};

fn taint(registry: &Registry, taints: &Value) {
    patch(registry, &kinds::NODE, "", "n1", Part::Main, &json!({"spec": {"taints": taints}}));
}

fn broken() -> Value {
    json!([{"key": "example.com/broken", "effect": "NoExecute"}])
}

fn tolerating(seconds: &Value) -> Value {
    let mut toleration = json!({"key": "example.com/broken", "operator": "Exists", "effect": "NoExecute"});
    if !seconds.is_null() {
        toleration["tolerationSeconds"] = seconds.clone();
    }
    json!({"spec": {"tolerations": [toleration]}})
}

fn is_leaving(registry: &Registry, name: &str) -> bool {
    !value(registry, &kinds::POD, "shop", name)["metadata"]["deletionTimestamp"].is_null()
}

fn start() -> (Arc<Registry>, JoinSet<()>) {
    let registry = fixture::registry();
    node(&registry, "n1", &json!({}));
    let mut tasks = JoinSet::new();
    super::super::run(&mut tasks, &registry, Arc::new(TaintEviction::new(Arc::clone(&registry))));
    (registry, tasks)
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_deleted_when_its_toleration_ends_and_the_budget_is_not_asked() {
    let (registry, _tasks) = start();
    running(&registry, "at-once", "n1", 1, true, &json!({}));
    running(&registry, "later", "n1", 2, true, &tolerating(&json!(300)));
    running(&registry, "never", "n1", 3, true, &tolerating(&Value::Null));
    settle(100).await;
    taint(&registry, &broken());
    settle(100).await;
    assert!(is_leaving(&registry, "at-once") && !is_leaving(&registry, "later"));
    let pod = value(&registry, &kinds::POD, "shop", "at-once");
    let target = conditions::find(&pod, "DisruptionTarget").unwrap();
    assert_eq!(
        (&target["reason"], &target["message"]),
        (&json!("DeletionByTaintManager"), &json!("Taint manager: deleting due to NoExecute taint"))
    );
    settle(299_000).await;
    assert!(!is_leaving(&registry, "later"));
    settle(1500).await;
    assert!(is_leaving(&registry, "later"));
    settle(3_600_000).await;
    assert!(!is_leaving(&registry, "never"));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_comes_back_in_time_keeps_its_pods_and_the_time_begins_anew() {
    let (registry, _tasks) = start();
    running(&registry, "later", "n1", 2, true, &tolerating(&json!(300)));
    taint(&registry, &broken());
    settle(200_000).await;
    taint(&registry, &json!([]));
    settle(200_000).await;
    assert!(!is_leaving(&registry, "later"));
    let wanted = ("TaintManagerEviction".to_owned(), "Cancelling deletion of Pod shop/later".to_owned());
    assert!(events(&registry, "shop").contains(&wanted));
    taint(&registry, &broken());
    settle(200_000).await;
    assert!(!is_leaving(&registry, "later"));
    settle(101_000).await;
    assert!(is_leaving(&registry, "later"));
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_comes_to_a_tainted_node_leaves_too() {
    let (registry, _tasks) = start();
    taint(&registry, &broken());
    settle(1000).await;
    running(&registry, "new", "n1", 1, true, &json!({}));
    settle(100).await;
    assert!(is_leaving(&registry, "new"));
}
