//! Probes: what they hold back, what they end, and how often it takes.

use serde_json::json;

use crate::{
    Scenario,
    cluster::{Ctx, condition, is_ready, same},
    scenarios,
    shapes::{pod_with, service},
};

pub fn all() -> Vec<Scenario> {
    scenarios![false:
        without_a_readiness_probe_a_running_container_is_ready,
        a_container_is_unready_until_its_first_success,
        readiness_goes_and_comes_back_without_a_restart,
        a_startup_probe_holds_the_others_back,
        a_liveness_probe_that_fails_restarts_the_container,
        a_tcp_probe_asks_only_for_a_connection,
        a_container_that_keeps_ending_backs_off,
        an_image_that_is_nowhere_backs_off_in_pulling,
        the_defaults_of_a_probe_are_filled_in,
    ]
}

async fn without_a_readiness_probe_a_running_container_is_ready(ctx: Ctx) {
    // It does not listen for a minute, and is ready all the same.
    let deaf = json!({"args": ["demo", "--boot", "60s"], "readinessProbe": null});
    ctx.create("pods", pod_with("one", &deaf, &json!({"terminationGracePeriodSeconds": 1}))).await;
    ctx.ready_pods("one", 1, 30).await;
}

async fn a_container_is_unready_until_its_first_success(ctx: Ctx) {
    let slow = json!({"args": ["demo", "--boot", "4s"]});
    ctx.create("pods", pod_with("one", &slow, &json!({}))).await;
    let running = ctx.until_is("pods", "one", 60, |pod| pod["status"]["phase"] == "Running").await;
    same(condition(&running, "Ready")["status"].as_str(), Some("False"));
    same(condition(&running, "Ready")["reason"].as_str(), Some("ContainersNotReady"));
    same(condition(&running, "Ready")["message"].as_str(), Some("containers with unready status: [shop]"));
    same(running["status"]["containerStatuses"][0]["started"].as_bool(), Some(true));
    ctx.until_is("pods", "one", 30, is_ready).await;
}

async fn readiness_goes_and_comes_back_without_a_restart(ctx: Ctx) {
    ctx.create("pods", pod_with("one", &json!({}), &json!({}))).await;
    ctx.ready_pods("one", 1, 60).await;
    ctx.control("one", "unready").await;
    ctx.until_is("pods", "one", 30, |pod| condition(pod, "Ready")["status"] == "False").await;
    ctx.control("one", "heal").await;
    let pod = ctx.until_is("pods", "one", 30, is_ready).await;
    same(pod["status"]["containerStatuses"][0]["restartCount"].as_i64(), Some(0));
    let told = || async { (!ctx.events("one", "Unhealthy").await.is_empty()).then_some(()) };
    ctx.until("the event of the probe", 10, told).await;
}

async fn a_startup_probe_holds_the_others_back(ctx: Ctx) {
    let slow = json!({
        "args": ["demo", "--boot", "4s"],
        "startupProbe": {"httpGet": {"path": "/livez", "port": 8080}, "periodSeconds": 1, "failureThreshold": 30},
        "livenessProbe": {"httpGet": {"path": "/livez", "port": 8080}, "periodSeconds": 1, "failureThreshold": 1},
    });
    ctx.create("pods", pod_with("one", &slow, &json!({}))).await;
    let running = ctx.until_is("pods", "one", 60, |pod| pod["status"]["phase"] == "Running").await;
    same(running["status"]["containerStatuses"][0]["started"].as_bool(), Some(false));
    let pod = ctx.until_is("pods", "one", 30, is_ready).await;
    same(pod["status"]["containerStatuses"][0]["restartCount"].as_i64(), Some(0));
    same(pod["status"]["containerStatuses"][0]["started"].as_bool(), Some(true));
}

async fn a_liveness_probe_that_fails_restarts_the_container(ctx: Ctx) {
    let probe = json!({"httpGet": {"path": "/livez", "port": 8080}, "periodSeconds": 1, "failureThreshold": 2});
    ctx.create("pods", pod_with("one", &json!({"livenessProbe": probe}), &json!({}))).await;
    ctx.ready_pods("one", 1, 60).await;
    ctx.control("one", "fail").await;
    let pod = ctx
        .until_is("pods", "one", 60, |pod| {
            pod["status"]["containerStatuses"][0]["restartCount"].as_i64() >= Some(1) && is_ready(pod)
        })
        .await;
    assert!(!pod["status"]["containerStatuses"][0]["lastState"]["terminated"].is_null());
    let killing = || async { ctx.events("one", "Killing").await.into_iter().next() };
    let event = ctx.until("the event of the restart", 10, killing).await;
    same(event["message"].as_str(), Some("Container shop failed liveness probe, will be restarted"));
}

async fn a_tcp_probe_asks_only_for_a_connection(ctx: Ctx) {
    let probe = json!({"readinessProbe": {"httpGet": null, "tcpSocket": {"port": 8080}, "periodSeconds": 1}});
    ctx.create("pods", pod_with("one", &probe, &json!({}))).await;
    ctx.ready_pods("one", 1, 60).await;
    ctx.control("one", "fail").await;
    ctx.create("services", service("one", "one", &json!({}))).await;
    // Answers with errors now, and is connected to as before.
    same(is_ready(&ctx.get("pods", "one").await.unwrap()), true);
}

async fn a_container_that_keeps_ending_backs_off(ctx: Ctx) {
    let ends = json!({"args": ["demo-sleep", "0s"], "readinessProbe": null});
    ctx.create("pods", pod_with("one", &ends, &json!({}))).await;
    let pod = ctx
        .until_is("pods", "one", 60, |pod| {
            pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "CrashLoopBackOff"
        })
        .await;
    let status = &pod["status"]["containerStatuses"][0];
    same(status["lastState"]["terminated"]["exitCode"].as_i64(), Some(0));
    let message = status["state"]["waiting"]["message"].as_str().unwrap_or_default();
    assert!(message.starts_with("back-off 10s restarting failed container=shop pod=one_"), "{message}");
}

async fn an_image_that_is_nowhere_backs_off_in_pulling(ctx: Ctx) {
    ctx.create("pods", pod_with("one", &json!({"image": "evenkeel/nowhere:1"}), &json!({}))).await;
    ctx.until_is("pods", "one", 90, |pod| {
        let reason = &pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"];
        reason == "ImagePullBackOff" || reason == "ErrImagePull"
    })
    .await;
    same(ctx.get("pods", "one").await.unwrap()["status"]["phase"].as_str(), Some("Pending"));
}

async fn the_defaults_of_a_probe_are_filled_in(ctx: Ctx) {
    let probe = json!({"readinessProbe": {"httpGet": {"port": 8080}, "periodSeconds": null}});
    let pod = ctx.create("pods", pod_with("one", &probe, &json!({}))).await;
    let probe = &pod["spec"]["containers"][0]["readinessProbe"];
    let number = |key: &str| probe[key].as_i64().unwrap_or(-1);
    same((number("timeoutSeconds"), number("periodSeconds")), (1, 10));
    same((number("successThreshold"), number("failureThreshold")), (1, 3));
    same(probe["httpGet"]["scheme"].as_str(), Some("HTTP"));
    same(pod["spec"]["terminationGracePeriodSeconds"].as_i64(), Some(5));
    same(pod["spec"]["restartPolicy"].as_str(), Some("Always"));
    same(pod["status"]["qosClass"].as_str(), Some("Burstable"));
}
