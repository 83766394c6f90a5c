//! Further runs with the cause that all their losses must have: those in which no node and no budget had a part.

use super::{
    builder::Scene,
    causes::{Case, crashed, evicted, verdict_of},
};
use crate::{
    judge::cause::Cause,
    record::event::{ContainerSeen, LastExit, Outcome, PodSeen, What},
};

pub const PODS: [&str; 3] = ["shop-7d9f-a", "shop-7d9f-b", "shop-7d9f-c"];

const PROBE: &str = "Readiness probe failed: Get \"http://10.0.0.7:8080/readyz\": context deadline exceeded";

/// All pods fail their readiness probe from 10 s to 20 s.
pub fn readiness_lost() -> Scene {
    let mut scene = Scene::three_pods();
    for pod in PODS {
        scene.told(9.0, pod, "Unhealthy", PROBE);
        scene.told(9.9, pod, "Unhealthy", PROBE);
        scene.pod(10.0, pod, |seen| seen.ready = false);
        scene.endpoint(10.1, pod, false, false, false);
        scene.pod(20.0, pod, |seen| seen.ready = true);
        scene.endpoint(20.1, pod, true, false, false);
    }
    scene.lose_many(Outcome::Refused, 10.2, 200);
    scene.lose_reused(Outcome::RequestTimeout, PODS[0], 9.4);
    scene.lose(Outcome::ConnectTimeout, 9.5);
    scene
}

fn liveness_restart() -> Scene {
    let mut scene = crashed();
    scene.told(9.0, PODS[0], "Unhealthy", "Liveness probe failed: HTTP probe failed with statuscode: 503");
    scene.told(9.1, PODS[0], "Killing", "Container web failed liveness probe, will be restarted");
    scene
}

fn change_pods(scene: &mut Scene, change: impl Fn(&mut PodSeen)) {
    for event in &mut scene.events {
        if let What::Pod(pod) = &mut event.what {
            change(pod);
        }
    }
}

fn out_of_memory() -> Scene {
    let mut scene = crashed();
    change_pods(&mut scene, |pod| {
        if let ContainerSeen::Terminated { reason, .. } = &mut pod.container {
            "OOMKilled".clone_into(reason);
        }
    });
    scene
}

/// All three pods are deleted gracefully at 10 s and have ended at 15.2 s.
fn all_go(scene: &mut Scene) {
    for pod in PODS {
        scene.delete(pod, 10.0, [15.2, 16.5], false);
    }
    scene.lose_many(Outcome::Refused, 15.3, 80);
}

fn successors(scene: &mut Scene, owner: &str) {
    scene.template(|pod| pod.owner = Some(format!("replicaset/{owner}")));
    for (pod, node) in ["x", "y", "z"].into_iter().zip(["n1", "n2", "n3"]) {
        scene.start(&format!("{owner}-{pod}"), node, [10.2, 12.0, 20.0]);
    }
}

fn rollout_takes_all() -> Scene {
    let mut scene = Scene::three_pods();
    scene.new_template(9.9);
    all_go(&mut scene);
    successors(&mut scene, "shop-8c1e");
    scene
}

fn image_cannot_be_pulled() -> Scene {
    let mut scene = Scene::three_pods();
    scene.new_template(9.9);
    all_go(&mut scene);
    scene.template(|pod| {
        pod.owner = Some("replicaset/shop-8c1e".to_owned());
        "evenkeel/demo:v9".clone_into(&mut pod.image);
    });
    for (pod, node) in [("shop-8c1e-x", "n1"), ("shop-8c1e-y", "n2"), ("shop-8c1e-z", "n3")] {
        scene.pod(10.2, pod, |_| ());
        scene.pod(10.3, pod, |seen| seen.node = Some(node.to_owned()));
        for (when, reason) in [(10.4, "ContainerCreating"), (11.0, "ErrImagePull"), (12.0, "ImagePullBackOff")] {
            scene.pod(when, pod, |seen| seen.container = ContainerSeen::Waiting { reason: reason.to_owned() });
        }
        scene.told(11.0, pod, "Failed", "Failed to pull image \"evenkeel/demo:v9\": not found");
    }
    scene
}

fn scaled_to_zero() -> Scene {
    let mut scene = Scene::three_pods();
    scene.workload(9.9, 0, 3);
    all_go(&mut scene);
    scene
}

fn deleted_directly() -> Scene {
    let mut scene = Scene::three_pods();
    all_go(&mut scene);
    successors(&mut scene, "shop-7d9f");
    scene
}

fn preempted() -> Scene {
    let mut scene = deleted_directly();
    change_pods(&mut scene, |pod| {
        if pod.terminating {
            pod.disruption_reason = Some("PreemptionByScheduler".to_owned());
        }
    });
    scene
}

/// The Service's selector changes at 10 s, and back at 18 s.
fn selector_changes() -> Scene {
    let mut scene = Scene::three_pods();
    for pod in PODS {
        scene.endpoint(10.0, pod, false, false, true);
        scene.endpoint(18.0, pod, true, false, false);
    }
    scene.lose_many(Outcome::Refused, 10.1, 200);
    scene
}

/// All nodes are found not ready at 10 s: the node controller takes the pods' readiness, not a probe.
fn nodes_lost() -> Scene {
    let mut scene = Scene::three_pods();
    for (pod, node) in PODS.into_iter().zip(["n1", "n2", "n3"]) {
        scene.node(10.0, node, false, false);
        scene.pod(10.1, pod, |seen| seen.ready = false);
        scene.endpoint(10.2, pod, false, false, false);
    }
    scene.lose_many(Outcome::Refused, 10.3, 100);
    scene
}

#[test]
fn pods_whose_nodes_are_lost_are_lost_with_them() {
    assert_eq!(verdict_of(&nodes_lost()).requests.by_cause.into_keys().collect::<Vec<_>>(), ["node-gone"]);
}

pub fn cases() -> Vec<Case> {
    let case = |name, cause, scene| Case { name, cause, scene };
    vec![
        case("a liveness probe that fails", Cause::LivenessRestart, liveness_restart()),
        case("a container without memory", Cause::OutOfMemory, out_of_memory()),
        case("a readiness probe that fails everywhere", Cause::ReadinessLost, readiness_lost()),
        case("a rollout that takes all pods", Cause::RolloutUnavailable, rollout_takes_all()),
        case("a rollout to an image that is not there", Cause::ImagePullFailed, image_cannot_be_pulled()),
        case("scaled to zero", Cause::ScaledDown, scaled_to_zero()),
        case("all pods deleted", Cause::DeletedDirectly, deleted_directly()),
        case("a budget that allows all", Cause::BudgetTooWeak, evicted(["n1", "n2"], true)),
        case("preempted", Cause::EvictedByCluster, preempted()),
        case("a selector that meets no pod", Cause::SelectorMismatch, selector_changes()),
    ]
}

/// Near the case of that cause, but it must not be named.
pub fn twins() -> Vec<(&'static str, Cause, Scene)> {
    let mut ready_again = Scene::three_pods();
    ready_again.events = readiness_lost().events;
    ready_again.events.retain(|event| !matches!(event.what, What::Lost(_)));
    let mut later = ready_again.clone();
    later.lose_many(Outcome::Refused, 27.0, 20);
    let mut one_unready = Scene::three_pods();
    one_unready.pod(10.0, PODS[0], |seen| seen.ready = false);
    one_unready.endpoint(10.1, PODS[0], false, false, false);
    one_unready.lose_reused(Outcome::RequestTimeout, PODS[1], 10.0);
    vec![
        ("the pods were evicted", Cause::ReadinessLost, evicted(["n1", "n2"], false)),
        ("the pods had long been ready again", Cause::ReadinessLost, later),
        ("another pod failed its probe", Cause::ReadinessLost, one_unready),
        ("no probe was told to fail", Cause::LivenessRestart, crashed()),
        ("the exit had another reason", Cause::OutOfMemory, crashed()),
        ("there was no new template", Cause::RolloutUnavailable, deleted_directly()),
        ("the new pods only boot slowly", Cause::ImagePullFailed, rollout_takes_all()),
        ("as many replicas were wanted as before", Cause::ScaledDown, deleted_directly()),
        ("the pods were not wanted any more", Cause::DeletedDirectly, scaled_to_zero()),
        ("there was no budget", Cause::BudgetTooWeak, evicted(["n1", "n2"], false)),
        ("somebody asked for the eviction", Cause::EvictedByCluster, evicted(["n1", "n2"], false)),
        ("the pods were not ready", Cause::SelectorMismatch, readiness_lost()),
    ]
}

#[test]
fn a_restart_between_two_looks_still_tells_that_memory_ran_out() {
    let mut scene = Scene::three_pods();
    scene.pod(10.0, PODS[0], |seen| {
        seen.restarts = 1;
        seen.ready = false;
        seen.container = ContainerSeen::Running { started_at: "2026-01-01T00:01:00Z".to_owned() };
        seen.last_exit = Some(LastExit { exit_code: 137, reason: "OOMKilled".to_owned() });
    });
    scene.endpoint(10.1, PODS[0], false, false, false);
    scene.lose_many(Outcome::Refused, 9.5, 30);
    let verdict = verdict_of(&scene);
    assert_eq!(verdict.requests.by_cause.keys().collect::<Vec<_>>(), ["out-of-memory"]);
    assert!(verdict.findings[0].evidence.iter().any(|text| text.contains("exited with 137 (OOMKilled)")));
}

#[test]
fn a_service_that_never_had_an_endpoint_does_not_select_the_ready_pods() {
    let mut scene = Scene::three_pods();
    scene.events.retain(|event| !matches!(event.what, What::Endpoint(_)));
    scene.lose_many(Outcome::Refused, 6.0, 30);
    assert_eq!(verdict_of(&scene).requests.by_cause.into_keys().collect::<Vec<_>>(), ["selector-mismatch"]);
    let mut unready = scene.clone();
    unready.events.retain(|event| !matches!(&event.what, What::Pod(pod) if pod.ready));
    assert_eq!(verdict_of(&unready).requests.by_cause.into_keys().collect::<Vec<_>>(), ["unexplained"]);
}

#[test]
fn where_pods_went_for_several_reasons_the_last_to_go_is_the_cause() {
    let mut scene = Scene::three_pods();
    scene.crash(PODS[0], 10.0);
    scene.force(PODS[1], 10.5);
    scene.pod(11.0, PODS[2], |seen| seen.ready = false);
    scene.endpoint(11.1, PODS[2], false, false, false);
    scene.lose_many(Outcome::Refused, 11.7, 40);
    let verdict = verdict_of(&scene);
    assert_eq!(verdict.requests.by_cause.keys().collect::<Vec<_>>(), ["readiness-lost"]);
    let gap = verdict.findings[0].evidence.iter().find(|text| text.contains("no ready endpoint")).unwrap();
    for pod in PODS {
        assert!(gap.contains(pod), "{gap}");
    }
}

#[test]
fn a_lost_readiness_is_told_with_its_times_and_the_words_of_the_probe() {
    let evidence = verdict_of(&readiness_lost()).findings.remove(0).evidence.join("\n");
    for words in
        ["no ready endpoint from 10.10 s to 20.10 s", "not ready from 10.00 s to 20.00 s", PROBE, "told 2 times"]
    {
        assert!(evidence.contains(words), "{words}: {evidence}");
    }
}
