//! How a pod ends: grace, hooks, signals, and what a second deletion does.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    Scenario,
    cluster::{Ctx, same},
    scenarios,
    shapes::{pod, pod_with},
};

pub fn all() -> Vec<Scenario> {
    scenarios![false:
        a_deletion_says_when_its_grace_ends,
        a_deletion_without_grace_removes_the_pod_at_once,
        a_second_deletion_can_only_shorten_the_grace,
        a_pre_stop_sleep_holds_the_pod_for_its_time,
        a_hook_that_hangs_is_cut_at_the_end_of_the_grace,
        a_hook_that_fails_is_told_and_the_pod_ends_all_the_same,
        a_pod_without_a_node_goes_at_once,
        a_pod_that_ignores_sigterm_is_killed_when_its_grace_ends,
        a_deletion_of_another_uid_is_409,
        a_sleep_longer_than_the_grace_is_refused,
        a_finished_pod_goes_without_grace,
        a_pod_that_ends_by_itself_succeeds_or_fails_by_its_exit_code,
    ]
}

async fn running(ctx: &Ctx, container: &Value, spec: &Value) {
    ctx.create("pods", pod_with("one", container, spec)).await;
    ctx.ready_pods("one", 1, 60).await;
}

fn time(object: &Value, key: &str) -> jiff::Timestamp {
    object["metadata"][key].as_str().unwrap().parse().unwrap()
}

/// Deletes the pod and returns how long it took until it was gone.
async fn gone_after(ctx: &Ctx, options: Value, seconds_max: u64) -> Duration {
    let began = tokio::time::Instant::now();
    ctx.delete("pods", "one", options).await.ok();
    ctx.until_gone("pods", "one", seconds_max).await;
    began.elapsed()
}

/// The upper bound leaves a busy real cluster its time, and is far from what the wrong behaviour would take.
#[track_caller]
fn between(found: Duration, least_s: f64, most_s: f64) {
    let seconds = found.as_secs_f64();
    assert!((least_s..most_s).contains(&seconds), "{seconds} s is not within {least_s} to {most_s} s");
}

async fn a_deletion_says_when_its_grace_ends(ctx: Ctx) {
    let hook = json!({"lifecycle": {"preStop": {"sleep": {"seconds": 2}}}});
    running(&ctx, &hook, &json!({"terminationGracePeriodSeconds": 20})).await;
    let before = jiff::Timestamp::now();
    let pod = ctx.delete("pods", "one", json!({})).await.ok();
    same(pod["metadata"]["deletionGracePeriodSeconds"].as_i64(), Some(20));
    let later = time(&pod, "deletionTimestamp").duration_since(before).as_secs_f64();
    assert!((18.0..=22.0).contains(&later), "{later}");
}

async fn a_deletion_without_grace_removes_the_pod_at_once(ctx: Ctx) {
    let hook = json!({"lifecycle": {"preStop": {"sleep": {"seconds": 10}}}});
    running(&ctx, &hook, &json!({"terminationGracePeriodSeconds": 20})).await;
    ctx.delete("pods", "one", json!({"gracePeriodSeconds": 0})).await.ok();
    assert!(ctx.get("pods", "one").await.is_none());
}

async fn a_second_deletion_can_only_shorten_the_grace(ctx: Ctx) {
    let hook = json!({"lifecycle": {"preStop": {"sleep": {"seconds": 25}}}});
    running(&ctx, &hook, &json!({"terminationGracePeriodSeconds": 30})).await;
    let first = ctx.delete("pods", "one", json!({})).await.ok();
    let longer = ctx.delete("pods", "one", json!({"gracePeriodSeconds": 50})).await.ok();
    same(time(&longer, "deletionTimestamp"), time(&first, "deletionTimestamp"));
    let shorter = ctx.delete("pods", "one", json!({"gracePeriodSeconds": 1})).await.ok();
    same(shorter["metadata"]["deletionGracePeriodSeconds"].as_i64(), Some(1));
    assert!(time(&shorter, "deletionTimestamp") < time(&first, "deletionTimestamp"));
    ctx.until_gone("pods", "one", 20).await;
}

async fn a_pre_stop_sleep_holds_the_pod_for_its_time(ctx: Ctx) {
    let hook = json!({"lifecycle": {"preStop": {"sleep": {"seconds": 3}}}});
    running(&ctx, &hook, &json!({"terminationGracePeriodSeconds": 30})).await;
    between(gone_after(&ctx, json!({}), 25).await, 3.0, 15.0);
}

async fn a_hook_that_hangs_is_cut_at_the_end_of_the_grace(ctx: Ctx) {
    let hook = json!({"lifecycle": {"preStop": {"exec": {"command": ["/evenkeel", "demo-sleep", "60s"]}}}});
    running(&ctx, &hook, &json!({"terminationGracePeriodSeconds": 3})).await;
    // SIGTERM at the end of the grace; the sample service follows it at once.
    between(gone_after(&ctx, json!({}), 25).await, 3.0, 15.0);
}

async fn a_hook_that_fails_is_told_and_the_pod_ends_all_the_same(ctx: Ctx) {
    let hook = json!({"lifecycle": {"preStop": {"exec": {"command": ["/no/such/program"]}}}});
    running(&ctx, &hook, &json!({"terminationGracePeriodSeconds": 20})).await;
    between(gone_after(&ctx, json!({}), 25).await, 0.0, 15.0);
    let told = || async { (!ctx.events("one", "FailedPreStopHook").await.is_empty()).then_some(()) };
    ctx.until("the event of the failed hook", 10, told).await;
}

async fn a_pod_without_a_node_goes_at_once(ctx: Ctx) {
    ctx.create("pods", pod("one", &json!({"nodeSelector": {"no": "such-node"}}))).await;
    ctx.delete("pods", "one", json!({})).await.ok();
    assert!(ctx.get("pods", "one").await.is_none());
}

async fn a_pod_that_ignores_sigterm_is_killed_when_its_grace_ends(ctx: Ctx) {
    // It goes on accepting, and so lives, for a minute after SIGTERM.
    let stubborn = json!({"args": ["demo", "--drain", "close", "--accept-late", "60s"]});
    running(&ctx, &stubborn, &json!({"terminationGracePeriodSeconds": 3})).await;
    between(gone_after(&ctx, json!({}), 25).await, 3.0, 15.0);
}

async fn a_deletion_of_another_uid_is_409(ctx: Ctx) {
    ctx.create("pods", pod("one", &json!({}))).await;
    let other = json!({"preconditions": {"uid": "00000000-0000-4000-8000-000000000000"}});
    let status = ctx.delete("pods", "one", other).await.refused(409);
    let message = status["message"].as_str().unwrap_or_default();
    assert!(message.contains("the UID in the precondition") || message.contains("UID in precondition"), "{message}");
}

async fn a_sleep_longer_than_the_grace_is_refused(ctx: Ctx) {
    let hook = json!({"lifecycle": {"preStop": {"sleep": {"seconds": 9}}}});
    let long = pod_with("one", &hook, &json!({"terminationGracePeriodSeconds": 8}));
    let status = ctx.post("pods", &long).await.refused(422);
    let cause = &status["details"]["causes"][0];
    same(cause["field"].as_str(), Some("spec.containers[0].lifecycle.preStop.sleep"));
    let message = cause["message"].as_str().unwrap_or_default();
    assert!(message.contains("must be non-negative and less than terminationGracePeriodSeconds (8)"), "{message}");
}

async fn a_finished_pod_goes_without_grace(ctx: Ctx) {
    let once = json!({"args": ["demo-sleep", "0s"], "readinessProbe": null});
    ctx.create("pods", pod_with("one", &once, &json!({"restartPolicy": "Never"}))).await;
    ctx.until_is("pods", "one", 60, |pod| pod["status"]["phase"] == "Succeeded").await;
    ctx.delete("pods", "one", json!({})).await.ok();
    assert!(ctx.get("pods", "one").await.is_none());
}

async fn a_pod_that_ends_by_itself_succeeds_or_fails_by_its_exit_code(ctx: Ctx) {
    for (name, args, phase, code, reason) in [
        ("good", json!(["demo-sleep", "0s"]), "Succeeded", 0, "Completed"),
        ("bad", json!(["demo", "--no-such-option"]), "Failed", 2, "Error"),
    ] {
        let once = json!({"args": args, "readinessProbe": null});
        ctx.create("pods", pod_with(name, &once, &json!({"restartPolicy": "Never"}))).await;
        let pod = ctx
            .until_is("pods", name, 60, |pod| matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed")))
            .await;
        same(pod["status"]["phase"].as_str(), Some(phase));
        let ended = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
        same((ended["exitCode"].as_i64(), ended["reason"].as_str()), (Some(code), Some(reason)));
    }
}
