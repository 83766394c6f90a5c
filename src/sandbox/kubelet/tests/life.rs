//! A pod's life from its start to its removal.

use tokio::time::Instant;

use super::*;
use crate::sandbox::store::Op;

fn probed() -> Value {
    let mut container = demo(&["demo"]);
    container["readinessProbe"] = json!({"httpGet": {"path": "/readyz", "port": 8080}});
    json!({"containers": [container]})
}

#[tokio::test]
async fn a_pod_becomes_ready_and_goes_with_grace() {
    let rig = Rig::new(|_| {});
    rig.create("shop", probed());
    let pod = rig.until("shop", "ready", |pod| is(pod, "Ready")).await;
    assert_eq!(phase(&pod), "Running");
    let status = container(&pod);
    assert_eq!((status.ready, status.started, status.restart_count), (true, Some(true), 0));
    assert!(status.container_id.unwrap().starts_with("containerd://"));
    assert_eq!(status.image, "docker.io/evenkeel/demo:v1");
    let ip = pod.status.as_ref().unwrap().pod_ip.clone().unwrap();
    assert_eq!(rig.kubelet.pod_address("default", "shop").unwrap().to_string(), ip);
    rig.until_logged("shop", "listening as shop").await;
    for (reason, message) in [
        ("Pulled", "Container image \"evenkeel/demo:v1\" already present on machine"),
        ("Created", "Created container: demo"),
        ("Started", "Started container demo"),
    ] {
        assert!(rig.has_event("shop", reason, message), "{:?}", rig.events("shop"));
    }

    let store = rig.registry.store();
    let mut watcher = store.watch(&kinds::POD, store.version()).unwrap();
    rig.delete("shop", None);
    rig.until_gone("shop").await;
    assert!(rig.has_event("shop", "Killing", "Stopping container demo"));
    let last = loop {
        let changes = watcher.next().await.unwrap();
        if let Some(removal) = changes.iter().find(|change| change.op == Op::Deleted) {
            break removal.before.as_ref().unwrap().typed::<Pod>().unwrap();
        }
    };
    // The final status comes before the removal.
    assert_eq!(phase(&last), "Failed");
    assert_eq!(container(&last).state.unwrap().terminated.unwrap().exit_code, 143);
    assert!(!is(&last, "Ready"));
    rig.end().await;
}

#[tokio::test]
async fn a_pod_that_takes_time_to_set_up_has_no_address_and_runs_nothing_until_then() {
    let start = Duration::from_millis(600);
    let rig = Rig::new(|options| options.pod_start = start);
    let ip = |pod: &Pod| pod.status.as_ref().and_then(|status| status.pod_ip.clone());
    let known = |pod: &Pod| pod.status.as_ref().is_some_and(|status| status.start_time.is_some());
    let began = Instant::now();
    rig.create("slow", probed());
    let pod = rig.until("slow", "known to its kubelet", known).await;
    assert_eq!((phase(&pod), ip(&pod)), ("Pending", None));
    rig.until("slow", "an address", |pod| ip(pod).is_some()).await;
    assert!(began.elapsed() >= start, "after {:?}", began.elapsed());
    rig.until("slow", "ready", |pod| is(pod, "Ready")).await;

    // One that is deleted meanwhile goes at once, and never runs.
    rig.create("gone", probed());
    rig.until("gone", "known to its kubelet", known).await;
    let deleted = Instant::now();
    rig.delete("gone", None);
    rig.until_gone("gone").await;
    assert!(deleted.elapsed() < start, "after {:?}", deleted.elapsed());
    assert!(!rig.events("gone").iter().any(|(reason, _)| reason == "Started"));
    rig.end().await;
}

#[tokio::test]
async fn pre_stop_counts_inside_the_grace_and_two_seconds_are_left_in_any_case() {
    let rig = Rig::with_host_programs();
    let mut container = shell("trap '' TERM; while :; do sleep 0.1; done");
    container["lifecycle"] = json!({"preStop": {"exec": {"command": ["sleep", "30"]}}});
    rig.create("stubborn", json!({"containers": [container], "terminationGracePeriodSeconds": 1}));
    rig.until("stubborn", "running", |pod| phase(pod) == "Running").await;
    let start = Instant::now();
    rig.delete("stubborn", None);
    rig.until_gone("stubborn").await;
    let took = start.elapsed().as_secs_f64();
    // The hook alone would take thirty.
    assert!((3.0..15.0).contains(&took), "{took} s");
    rig.end().await;
}

#[tokio::test]
async fn a_second_delete_shortens_the_grace() {
    let rig = Rig::with_host_programs();
    rig.create("slow", json!({"containers": [shell("trap '' TERM; while :; do sleep 0.1; done")]}));
    rig.until("slow", "running", |pod| phase(pod) == "Running").await;
    rig.delete("slow", Some(60));
    rig.until("slow", "told to stop", |_| rig.has_event("slow", "Killing", "Stopping container sh")).await;
    let start = Instant::now();
    rig.delete("slow", Some(1));
    rig.until_gone("slow").await;
    assert!(start.elapsed().as_secs_f64() < 15.0);
    rig.end().await;
}

#[tokio::test]
async fn readiness_is_probed_on_through_termination() {
    let rig = Rig::new(|_| {});
    let mut container = demo(&["demo"]);
    container["readinessProbe"] =
        json!({"httpGet": {"path": "/once", "port": 8080}, "periodSeconds": 1, "failureThreshold": 1});
    container["lifecycle"] = json!({"preStop": {"sleep": {"seconds": 3}}});
    rig.create("shop", json!({"containers": [container]}));
    rig.until("shop", "ready", |pod| is(pod, "Ready")).await;
    rig.delete("shop", None);
    let pod = rig.until("shop", "unready", |pod| !is(pod, "Ready")).await;
    assert!(pod.metadata.deletion_timestamp.is_some());
    assert_eq!(phase(&pod), "Running");
    rig.until_gone("shop").await;
    rig.end().await;
}

#[tokio::test]
async fn init_containers_run_in_order_and_sidecars_stay_beside_the_main_ones() {
    let rig = Rig::with_host_programs();
    let init = |name: &str, script: &str| json!({"name": name, "image": "busybox", "command": ["sh", "-c", script]});
    let mut sidecar = init("sidecar", "test -e first || exit 1; echo > sidecar; exec sleep 100");
    sidecar["restartPolicy"] = json!("Always");
    sidecar["startupProbe"] = json!({"exec": {"command": ["test", "-e", "sidecar"]}, "periodSeconds": 1});
    rig.create(
        "pod",
        json!({
            "restartPolicy": "Never",
            "initContainers": [
                init("first", "sleep 0.2; echo > first"),
                sidecar,
                init("last", "test -e sidecar"),
            ],
            "containers": [shell("test -e sidecar; sleep 0.3")],
        }),
    );
    let pod =
        rig.until("pod", "initializing", |pod| phase(pod) == "Pending" && waits_for(pod) == "PodInitializing").await;
    assert!(!is(&pod, "Initialized"));
    rig.until("pod", "running", |pod| phase(pod) == "Running" && is(pod, "Initialized")).await;
    let pod = rig.until("pod", "over", |pod| phase(pod) == "Succeeded").await;
    let init = pod.status.as_ref().unwrap().init_container_statuses.clone().unwrap();
    let codes: Vec<i32> = init.iter().map(|one| one.state.clone().unwrap().terminated.unwrap().exit_code).collect();
    assert_eq!(codes, [0, 143, 0]);
    rig.delete("pod", None);
    rig.until_gone("pod").await;
    rig.end().await;
}

#[tokio::test]
async fn a_post_start_hook_holds_the_container_back_and_its_failure_kills_it() {
    let rig = Rig::new(|_| {});
    let mut good = demo(&["demo"]);
    good["lifecycle"] = json!({"postStart": {"httpGet": {"port": 8081, "path": "/bad"}}});
    // An HTTP hook does not look at the status, only at whether somebody answers; at this port nobody ever does.
    rig.create("hooked", json!({"containers": [good], "restartPolicy": "Never", "terminationGracePeriodSeconds": 1}));
    let mut slow = demo(&["demo"]);
    slow["lifecycle"] = json!({"postStart": {"sleep": {"seconds": 1}}});
    rig.create("slow", json!({"containers": [slow]}));
    let start = Instant::now();
    rig.until("hooked", "failed", |pod| phase(pod) == "Failed").await;
    assert!(rig.has_event("hooked", "FailedPostStartHook", "PostStartHook failed"), "{:?}", rig.events("hooked"));
    rig.until("slow", "running", |pod| phase(pod) == "Running").await;
    assert!(start.elapsed().as_secs_f64() >= 0.9);
    rig.end().await;
}

#[tokio::test]
async fn a_deadline_fails_the_pod() {
    let rig = Rig::new(|_| {});
    rig.create("late", json!({"containers": [demo(&["demo"])], "activeDeadlineSeconds": 1}));
    let pod = rig.until("late", "failed", |pod| phase(pod) == "Failed").await;
    assert_eq!(pod.status.as_ref().unwrap().reason.as_deref(), Some("DeadlineExceeded"));
    rig.end().await;
}

#[tokio::test]
async fn pods_on_paper_run_at_once_and_have_no_processes() {
    let rig = Rig::new(|options| options.status_only = true);
    rig.create("paper", probed());
    let pod = rig.until("paper", "ready", |pod| is(pod, "Ready")).await;
    assert_eq!((phase(&pod), rig.kubelet.processes()), ("Running", 0));
    rig.kubelet.power().stop("node-1").unwrap();
    rig.delete("paper", None);
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert!(rig.pod("paper").is_some());
    rig.kubelet.power().start("node-1").unwrap();
    rig.until_gone("paper").await;
    rig.end().await;
}

#[tokio::test]
async fn a_node_registers_and_renews_its_lease_only_while_its_kubelet_works() {
    let rig = Rig::new(|_| {});
    let lease = || rig.registry.get(&kinds::LEASE, "kube-node-lease", "node-1").map(|lease| lease.version);
    let node = rig.registry.get(&kinds::NODE, "", "node-1").unwrap().value();
    assert_eq!(node["metadata"]["labels"]["kubernetes.io/hostname"], "node-1");
    assert!(node["status"]["conditions"].as_array().unwrap().iter().any(|one| one["reason"] == "KubeletReady"));
    let store = rig.registry.store();
    let mut watcher = store.watch(&kinds::LEASE, 1).unwrap();
    watcher.next().await.unwrap();
    let first = lease().unwrap();
    rig.kubelet.power().kubelet_stop("node-1").unwrap();
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(lease().unwrap(), first);
    rig.kubelet.power().kubelet_start("node-1").unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let second = lease().unwrap();
    assert!(second > first);
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert!(lease().unwrap() > second);
    tokio::time::resume();
    rig.end().await;
}
