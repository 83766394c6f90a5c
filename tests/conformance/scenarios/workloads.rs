//! `StatefulSets`, `DaemonSets` and Jobs.

use serde_json::{Value, json};

use crate::{
    Scenario,
    cluster::{Ctx, condition, is_ready, name, same, uid},
    scenarios,
    shapes::{template, workload},
};

pub fn all() -> Vec<Scenario> {
    scenarios![false:
        a_stateful_set_begins_its_pods_in_order,
        a_stateful_set_ends_its_highest_pod_first,
        a_stateful_pod_comes_back_under_its_name_after_the_old_one_is_gone,
        a_partition_keeps_lower_pods_at_the_old_revision,
        one_unready_pod_stops_the_update_of_a_stateful_set,
        a_daemon_set_has_a_pod_on_each_worker,
        a_daemon_set_updates_one_node_at_a_time,
        a_job_completes_after_its_completions,
        a_job_fails_beyond_its_back_off_limit,
    ]
}

fn stateful(name: &str, replicas: u32, change: &Value) -> Value {
    let mut set = workload("StatefulSet", name, replicas, change);
    set["spec"]["serviceName"] = json!(name);
    set
}

async fn a_stateful_set_begins_its_pods_in_order(ctx: Ctx) {
    ctx.create("statefulsets", stateful("shop", 2, &json!({}))).await;
    let early = std::sync::atomic::AtomicBool::new(false);
    let look = || async {
        // In this order: what is seen second can only have come later.
        let second = ctx.get("pods", "shop-1").await;
        let first = ctx.get("pods", "shop-0").await;
        if second.is_some() && !first.as_ref().is_some_and(is_ready) {
            early.store(true, std::sync::atomic::Ordering::Relaxed);
        }
        second.filter(is_ready)
    };
    let second = ctx.until("the second pod ready", 60, look).await;
    assert!(!early.into_inner(), "shop-1 was there before shop-0 was ready");
    same(second["metadata"]["labels"]["apps.kubernetes.io/pod-index"].as_str(), Some("1"));
    same(second["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"].as_str(), Some("shop-1"));
    same(second["spec"]["hostname"].as_str(), Some("shop-1"));
}

async fn a_stateful_set_ends_its_highest_pod_first(ctx: Ctx) {
    ctx.create("statefulsets", stateful("shop", 3, &json!({"podManagementPolicy": "Parallel"}))).await;
    ctx.ready_pods("shop", 3, 60).await;
    ctx.merge("statefulsets", "shop", json!({"spec": {"replicas": 1}})).await.ok();
    ctx.until_gone("pods", "shop-2", 60).await;
    ctx.until_gone("pods", "shop-1", 60).await;
    assert!(is_ready(&ctx.get("pods", "shop-0").await.unwrap()));
}

async fn a_stateful_pod_comes_back_under_its_name_after_the_old_one_is_gone(ctx: Ctx) {
    let hook = json!({"lifecycle": {"preStop": {"sleep": {"seconds": 2}}}});
    let mut set = stateful("shop", 1, &json!({}));
    crate::shapes::merge(&mut set["spec"]["template"]["spec"]["containers"][0], &hook);
    ctx.create("statefulsets", set).await;
    let old = uid(&ctx.ready_pods("shop", 1, 60).await[0]);
    ctx.delete("pods", "shop-0", json!({})).await.ok();
    ctx.until_is("pods", "shop-0", 60, |pod| uid(pod) != old && is_ready(pod)).await;
}

async fn a_partition_keeps_lower_pods_at_the_old_revision(ctx: Ctx) {
    let change = json!({
        "podManagementPolicy": "Parallel",
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}},
    });
    ctx.create("statefulsets", stateful("shop", 2, &change)).await;
    let old: Vec<String> = ctx.ready_pods("shop", 2, 60).await.iter().map(uid).collect();
    let new = json!({"spec": {"template": {"metadata": {"annotations": {"version": "2"}}}}});
    ctx.merge("statefulsets", "shop", new).await.ok();
    let updated = ctx.until_is("pods", "shop-1", 60, |pod| uid(pod) != old[1] && is_ready(pod)).await;
    let set = ctx.until_is("statefulsets", "shop", 30, |set| set["status"]["updatedReplicas"] == 1).await;
    let revision = "controller-revision-hash";
    same(updated["metadata"]["labels"][revision].as_str(), set["status"]["updateRevision"].as_str());
    let first = ctx.get("pods", "shop-0").await.unwrap();
    same(uid(&first), old[0].clone());
    same(first["metadata"]["labels"][revision].as_str(), set["status"]["currentRevision"].as_str());
}

async fn one_unready_pod_stops_the_update_of_a_stateful_set(ctx: Ctx) {
    ctx.create("statefulsets", stateful("shop", 2, &json!({"podManagementPolicy": "Parallel"}))).await;
    let old: Vec<String> = ctx.ready_pods("shop", 2, 60).await.iter().map(uid).collect();
    let never = json!([
        {"op": "add", "path": "/spec/template/spec/containers/0/readinessProbe/httpGet/path", "value": "/nothing"},
    ]);
    ctx.patch("statefulsets", "shop", "application/json-patch+json", never).await.ok();
    ctx.until_is("pods", "shop-1", 60, |pod| uid(pod) != old[1] && pod["status"]["phase"] == "Running").await;
    let set = ctx.until_is("statefulsets", "shop", 30, |set| set["status"]["readyReplicas"] == 1).await;
    same(set["status"]["updatedReplicas"].as_i64(), Some(1));
    same(uid(&ctx.get("pods", "shop-0").await.unwrap()), old[0].clone());
}

async fn a_daemon_set_has_a_pod_on_each_worker(ctx: Ctx) {
    ctx.create("daemonsets", workload("DaemonSet", "shop", 0, &json!({}))).await;
    let nodes = ctx.list("nodes", "").await;
    let workers = nodes.iter().filter(|node| node["spec"]["taints"].as_array().is_none_or(Vec::is_empty)).count();
    let pods = ctx.ready_pods("shop", workers, 60).await;
    let mut on: Vec<&str> = pods.iter().filter_map(|pod| pod["spec"]["nodeName"].as_str()).collect();
    on.sort_unstable();
    on.dedup();
    same(on.len(), workers);
    let wanted = workers;
    let set = ctx.until_is("daemonsets", "shop", 30, |set| set["status"]["numberReady"] == wanted).await;
    same(set["status"]["desiredNumberScheduled"].as_u64(), Some(workers as u64));
}

async fn a_daemon_set_updates_one_node_at_a_time(ctx: Ctx) {
    // Long enough not to be available for whoever looks ten times a second.
    ctx.create("daemonsets", workload("DaemonSet", "shop", 0, &json!({"minReadySeconds": 2}))).await;
    let first = ctx.until_is("daemonsets", "shop", 60, |set| {
        set["status"]["numberAvailable"].as_i64() > Some(0)
            && set["status"]["numberAvailable"] == set["status"]["desiredNumberScheduled"]
    });
    let all = first.await["status"]["numberAvailable"].as_i64().unwrap();
    let new = json!({"spec": {"template": {"metadata": {"annotations": {"version": "2"}}}}});
    ctx.merge("daemonsets", "shop", new).await.ok();
    let fewest = std::sync::atomic::AtomicI64::new(all);
    let look = || async {
        let set = ctx.get("daemonsets", "shop").await?;
        let available = set["status"]["numberAvailable"].as_i64().unwrap_or(0);
        fewest.fetch_min(available, std::sync::atomic::Ordering::Relaxed);
        (set["status"]["updatedNumberScheduled"] == all
            && available == all
            && set["status"]["observedGeneration"] == set["metadata"]["generation"])
            .then_some(())
    };
    ctx.until("the update", 120, look).await;
    same(fewest.into_inner(), all - 1);
}

fn job(name: &str, args: &Value, change: &Value) -> Value {
    let mut template = template(name);
    template["spec"]["restartPolicy"] = json!("Never");
    crate::shapes::merge(&mut template["spec"]["containers"][0], &json!({"args": args, "readinessProbe": null}));
    let mut job = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"template": template},
    });
    crate::shapes::merge(&mut job["spec"], change);
    job
}

async fn a_job_completes_after_its_completions(ctx: Ctx) {
    let wanted = json!({"completions": 3, "parallelism": 2});
    ctx.create("jobs", job("work", &json!(["demo-sleep", "0s"]), &wanted)).await;
    let done = ctx.until_is("jobs", "work", 90, |job| condition(job, "Complete")["status"] == "True").await;
    same(done["status"]["succeeded"].as_i64(), Some(3));
    assert!(!done["status"]["completionTime"].is_null());
}

async fn a_job_fails_beyond_its_back_off_limit(ctx: Ctx) {
    let args = json!(["demo", "--no-such-option"]);
    ctx.create("jobs", job("work", &args, &json!({"backoffLimit": 0}))).await;
    let done = ctx.until_is("jobs", "work", 90, |job| condition(job, "Failed")["status"] == "True").await;
    same(condition(&done, "Failed")["reason"].as_str(), Some("BackoffLimitExceeded"));
    same(done["status"]["failed"].as_i64(), Some(1));
    same(name(&done), "work".to_owned());
}
