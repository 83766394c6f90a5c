//! Owners, finalizers and namespaces: what goes with what.

use serde_json::{Value, json};

use crate::{
    Scenario,
    cluster::{Ctx, name, same, uid},
    scenarios,
    shapes::{deployment, pod},
};

pub fn all() -> Vec<Scenario> {
    scenarios![false:
        dependents_go_after_their_owner,
        in_the_foreground_the_owner_goes_last,
        orphans_stay_without_their_owner,
        a_finalizer_holds_an_object_that_is_being_deleted,
        a_namespace_goes_with_all_that_is_in_it,
        nothing_is_created_in_a_namespace_that_goes,
    ]
}

async fn rolled_out(ctx: &Ctx) -> (String, String) {
    ctx.create("deployments", deployment("shop", 1, &json!({}))).await;
    let pods = ctx.ready_pods("shop", 1, 60).await;
    let set = ctx.list("replicasets", "labelSelector=app%3Dshop").await;
    (name(&set[0]), name(&pods[0]))
}

async fn dependents_go_after_their_owner(ctx: Ctx) {
    let (set, pod) = rolled_out(&ctx).await;
    ctx.delete("deployments", "shop", json!({"propagationPolicy": "Background"})).await.ok();
    assert!(ctx.get("deployments", "shop").await.is_none());
    ctx.until_gone("replicasets", &set, 60).await;
    ctx.until_gone("pods", &pod, 60).await;
}

async fn in_the_foreground_the_owner_goes_last(ctx: Ctx) {
    let (set, pod) = rolled_out(&ctx).await;
    let owner = ctx.delete("deployments", "shop", json!({"propagationPolicy": "Foreground"})).await.ok();
    same(owner["metadata"]["finalizers"][0].as_str(), Some("foregroundDeletion"));
    let look = || async {
        // Its pod keeps its ReplicaSet, which keeps it.
        let there = ctx.get("pods", &pod).await.is_some();
        let gone = ctx.get("deployments", "shop").await.is_none();
        assert!(!(gone && there), "the owner went before its dependents");
        gone.then_some(())
    };
    ctx.until("the owner gone", 60, look).await;
    assert!(ctx.get("replicasets", &set).await.is_none());
}

async fn orphans_stay_without_their_owner(ctx: Ctx) {
    let (set, pod) = rolled_out(&ctx).await;
    ctx.delete("deployments", "shop", json!({"propagationPolicy": "Orphan"})).await.ok();
    ctx.until_gone("deployments", "shop", 30).await;
    let left = ctx
        .until_is("replicasets", &set, 30, |set| {
            set["metadata"]["ownerReferences"].as_array().is_none_or(Vec::is_empty)
        })
        .await;
    assert!(left["metadata"]["deletionTimestamp"].is_null());
    assert!(ctx.get("pods", &pod).await.unwrap()["metadata"]["deletionTimestamp"].is_null());
}

async fn a_finalizer_holds_an_object_that_is_being_deleted(ctx: Ctx) {
    let held = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "held", "finalizers": ["example.com/hold"]},
    });
    ctx.create("configmaps", held).await;
    let going = ctx.delete("configmaps", "held", json!({})).await.ok();
    assert!(!going["metadata"]["deletionTimestamp"].is_null());
    same(uid(&ctx.get("configmaps", "held").await.unwrap()), uid(&going));
    ctx.merge("configmaps", "held", json!({"metadata": {"finalizers": null}})).await.ok();
    assert!(ctx.get("configmaps", "held").await.is_none());
}

/// A namespace beside the scenario's own.
fn beside(ctx: &Ctx) -> Ctx {
    let mut other = ctx.clone();
    other.ns = format!("{}-x", ctx.ns);
    other
}

async fn make(other: &Ctx) {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other.ns}});
    other.create("namespaces", namespace).await;
    other.until("the default service account", 30, || async { other.get("serviceaccounts", "default").await }).await;
}

async fn a_namespace_goes_with_all_that_is_in_it(ctx: Ctx) {
    let other = beside(&ctx);
    make(&other).await;
    other.create("deployments", deployment("shop", 1, &json!({}))).await;
    other.create("configmaps", json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "some"}})).await;
    other.ready_pods("shop", 1, 60).await;
    let going = other.delete("namespaces", &other.ns, json!({})).await.ok();
    same(going["status"]["phase"].as_str(), Some("Terminating"));
    other.until_gone("namespaces", &other.ns, 90).await;
    same(other.list("pods", "").await, Vec::<Value>::new());
    same(other.list("deployments", "").await, Vec::<Value>::new());
}

async fn nothing_is_created_in_a_namespace_that_goes(ctx: Ctx) {
    let other = beside(&ctx);
    make(&other).await;
    let held = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "held", "finalizers": ["example.com/hold"]},
    });
    other.create("configmaps", held).await;
    other.delete("namespaces", &other.ns, json!({})).await.ok();
    let status = other.post("pods", &pod("late", &json!({}))).await.refused(403);
    same(status["details"]["causes"][0]["reason"].as_str(), Some("NamespaceTerminating"));
    let message = status["message"].as_str().unwrap_or_default();
    assert!(message.contains("because it is being terminated"), "{message}");
    other.merge("configmaps", "held", json!({"metadata": {"finalizers": null}})).await.ok();
    other.until_gone("namespaces", &other.ns, 90).await;
}
