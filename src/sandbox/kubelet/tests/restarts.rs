//! Containers that end, fail their probes, or cannot begin.

use super::*;

#[tokio::test]
async fn a_failing_container_is_restarted_at_once_and_then_backed_off() {
    let rig = Rig::new(|_| {});
    rig.create("crash", json!({"containers": [demo(&["demo", "exit", "3"])]}));
    let pod = rig.until("crash", "backed off", |pod| waits_for(pod) == "CrashLoopBackOff").await;
    let status = container(&pod);
    assert_eq!((status.restart_count, phase(&pod)), (1, "Running"));
    let last = status.last_state.unwrap().terminated.unwrap();
    assert_eq!((last.exit_code, last.reason.as_deref()), (3, Some("Error")));
    let uid = pod.metadata.uid.clone().unwrap();
    let message = status.state.unwrap().waiting.unwrap().message.unwrap();
    assert_eq!(message, format!("back-off 10s restarting failed container=demo pod=crash_default({uid})"));
    let wanted = format!("Back-off restarting failed container demo in pod crash_default({uid})");
    assert!(rig.has_event("crash", "BackOff", &wanted));
    let previous = super::super::LogOptions { previous: true, ..Default::default() };
    assert!(rig.kubelet.logs("default", "crash", None, previous).is_ok());
    rig.until_logged("crash", "exiting with 3").await;
    rig.delete("crash", None);
    rig.until_gone("crash").await;
    rig.end().await;
}

#[tokio::test]
async fn a_pod_that_is_not_restarted_ends_as_its_containers_did() {
    let rig = Rig::new(|_| {});
    for (code, wanted, policy) in
        [("0", "Succeeded", "Never"), ("3", "Failed", "Never"), ("0", "Succeeded", "OnFailure")]
    {
        let name = format!("job-{code}-{}", policy.to_lowercase());
        rig.create(&name, json!({"containers": [demo(&["demo", "exit", code])], "restartPolicy": policy}));
        let pod = rig.until(&name, "over", |pod| matches!(phase(pod), "Succeeded" | "Failed")).await;
        assert_eq!(phase(&pod), wanted);
        assert!(container(&pod).state.unwrap().terminated.is_some());
        assert!(rig.kubelet.pod_address("default", &name).is_none());
    }
    rig.end().await;
}

#[tokio::test]
async fn a_liveness_failure_restarts_the_container_without_back_off() {
    let rig = Rig::new(|_| {});
    let mut container_ = demo(&["demo"]);
    container_["livenessProbe"] =
        json!({"httpGet": {"path": "/bad", "port": 8080}, "periodSeconds": 1, "failureThreshold": 1});
    rig.create("sick", json!({"containers": [container_]}));
    rig.until("sick", "restarted", |pod| restarts(pod) == 1).await;
    assert!(rig.has_event("sick", "Unhealthy", "Liveness probe failed: HTTP probe failed with statuscode: 503"));
    assert!(rig.has_event("sick", "Killing", "Container demo failed liveness probe, will be restarted"));
    rig.end().await;
}

#[tokio::test]
async fn a_startup_probe_holds_back_readiness() {
    let rig = Rig::new(|_| {});
    let mut container_ = demo(&["demo"]);
    container_["startupProbe"] = json!({"tcpSocket": {"port": 8080}, "periodSeconds": 1});
    container_["readinessProbe"] = json!({"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 100});
    rig.create("slow", json!({"containers": [container_]}));
    let pod = rig.until("slow", "running", |pod| phase(pod) == "Running").await;
    assert_eq!(container(&pod).started, Some(false));
    rig.until("slow", "ready", |pod| is(pod, "Ready") && container(pod).started == Some(true)).await;
    rig.end().await;
}

#[tokio::test]
async fn an_image_that_is_not_here_is_pulled_in_vain() {
    let rig = Rig::new(|_| {});
    rig.create("nginx", json!({"containers": [{"name": "web", "image": "nginx"}]}));
    rig.until("nginx", "waiting", |pod| waits_for(pod) == "ErrImagePull").await;
    let pod = rig.until("nginx", "backed off", |pod| waits_for(pod) == "ImagePullBackOff").await;
    let message = container(&pod).state.unwrap().waiting.unwrap().message.unwrap();
    assert!(message.starts_with("Back-off pulling image \"nginx\""), "{message}");
    for (reason, message) in [
        ("Pulling", "Pulling image \"nginx\""),
        ("Failed", "Failed to pull image \"nginx\": "),
        ("Failed", "Error: ErrImagePull"),
        ("BackOff", "Back-off pulling image \"nginx\""),
        ("Failed", "Error: ImagePullBackOff"),
    ] {
        assert!(rig.has_event("nginx", reason, message), "{reason} {message}");
    }
    rig.delete("nginx", None);
    rig.until_gone("nginx").await;
    rig.end().await;
}

#[tokio::test]
async fn programs_of_the_machine_are_refused_without_leave() {
    let rig = Rig::new(|_| {});
    let mut container_ = demo(&[]);
    container_["command"] = json!(["sh", "-c", "true"]);
    rig.create("shell", json!({"containers": [container_]}));
    let pod = rig.until("shell", "refused", |pod| waits_for(pod) == "CreateContainerError").await;
    let message = container(&pod).state.unwrap().waiting.unwrap().message.unwrap();
    assert!(message.contains("--host-programs"), "{message}");
    rig.end().await;
}

#[tokio::test]
async fn what_the_environment_needs_must_be_there() {
    let rig = Rig::new(|_| {});
    let mut container_ = demo(&["demo", "exit", "0"]);
    container_["env"] = json!([{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}}]);
    rig.create("needs", json!({"containers": [container_]}));
    rig.until("needs", "waiting", |pod| waits_for(pod) == "CreateContainerConfigError").await;
    assert!(rig.has_event("needs", "Failed", "Error: configmap \"c\" not found"));
    rig.end().await;
}

#[tokio::test]
async fn after_a_power_cut_a_node_is_silent_and_after_its_boot_its_pods_start_again() {
    let rig = Rig::new(|_| {});
    rig.create("shop", json!({"containers": [demo(&["demo"])]}));
    rig.create("once", json!({"containers": [demo(&["demo"])], "restartPolicy": "Never"}));
    rig.until("once", "running", |pod| phase(pod) == "Running").await;
    let before = rig.until("shop", "ready", |pod| is(pod, "Ready")).await;
    let power = rig.kubelet.power();
    power.stop("node-1").unwrap();
    assert_eq!(power.is_silent("node-1"), Ok(true));
    rig.create("later", json!({"containers": [demo(&["demo"])]}));
    rig.delete("once", Some(0));
    power.start("node-1").unwrap();
    rig.until("later", "ready", |pod| is(pod, "Ready")).await;
    let after = rig.until("shop", "restarted", |pod| is(pod, "Ready") && restarts(pod) == 1).await;
    let last = container(&after).last_state.unwrap().terminated.unwrap();
    assert_eq!((last.exit_code, last.reason.as_deref()), (255, Some("Unknown")));
    let ip = |pod: &Pod| pod.status.as_ref().unwrap().pod_ip.clone();
    assert_ne!(ip(&before), ip(&after));
    assert!(rig.has_event("shop", "SandboxChanged", "Pod sandbox changed"));
    assert_eq!(power.pause("nowhere"), Err(super::super::NoSuchNode("nowhere".to_owned())));
    rig.end().await;
}
