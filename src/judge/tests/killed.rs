//! Pods whose grace period was over before they had ended, and their near twins.

use serde_json::json;

use super::builder::Scene;
use crate::{
    judge::{
        judge,
        verdict::{Answer, Finding},
    },
    record::event::{ContainerSeen, PreStop, What},
};

/// One pod of three is deleted at 10 s; its container is seen ended so much later.
struct Going {
    grace_s: i64,
    hook: Option<PreStop>,
    exits_after: f64,
    exit_code: i32,
    reason: &'static str,
}

const KILLED: Going = Going { grace_s: 8, hook: None, exits_after: 8.2, exit_code: 137, reason: "Error" };

fn scene(going: &Going) -> Scene {
    let mut scene = Scene::new();
    scene.template(|pod| (pod.spec_grace_seconds, pod.pre_stop) = (going.grace_s, going.hook.clone()));
    for (pod, node) in [("shop-7d9f-a", "n1"), ("shop-7d9f-b", "n2"), ("shop-7d9f-c", "n3")] {
        scene.start(pod, node, [-9.0, -8.0, -6.0]);
    }
    let exited = 10.0 + going.exits_after;
    scene.delete("shop-7d9f-a", 10.0, [exited, exited + 1.0], false);
    for event in &mut scene.events {
        let What::Pod(pod) = &mut event.what else { continue };
        pod.grace_seconds = pod.grace_seconds.map(|_| going.grace_s);
        if let ContainerSeen::Terminated { exit_code, reason, .. } = &mut pod.container {
            *exit_code = going.exit_code;
            going.reason.clone_into(reason);
        }
    }
    scene
}

fn found(scene: &Scene) -> Option<Finding> {
    judge(&scene.record()).findings.into_iter().find(|finding| finding.id == "killed-at-grace-end")
}

#[test]
fn a_pod_that_was_killed_when_its_grace_period_was_over_is_told_and_changes_no_verdict() {
    let verdict = judge(&scene(&KILLED).record());
    assert_eq!(verdict.verdict, Answer::Held, "{:?}", verdict.reasons);
    let [finding] = verdict.findings.as_slice() else { panic!("{:?}", verdict.findings) };
    assert_eq!((finding.id.as_str(), finding.lost), ("killed-at-grace-end", 0));
    let told = "pod shop-7d9f-a: deleted at 10.00 s with a grace period of 8 s; its container was seen ended 8.20 s \
                later, with exit code 137 (SIGKILL)";
    assert_eq!(finding.evidence, [told]);
    assert!(finding.advice.contains("end on SIGTERM: it had 8 s"), "{}", finding.advice);
    assert_eq!(finding.patch, None, "how long it would have needed was not measured");
}

#[test]
fn a_hook_that_used_up_the_grace_period_is_told_with_the_sum_of_what_is_needed() {
    let hook = Some(PreStop::Sleep(8_000));
    for (exits_after, exit_code) in [(8.3, 0), (10.2, 137)] {
        let finding = found(&scene(&Going { hook: hook.clone(), exits_after, exit_code, ..KILLED })).unwrap();
        assert!(finding.claim.contains("hooks used up the grace period"), "{}", finding.claim);
        let sum = "terminationGracePeriodSeconds: 18 (8 s for the hook, and 10 s for the process after it; 8 now)";
        assert!(finding.advice.contains(sum), "{}", finding.advice);
        let patch = finding.patch.unwrap();
        assert_eq!(patch.body, json!({ "spec": { "template": { "spec": { "terminationGracePeriodSeconds": 18 } } } }));
        assert_eq!(patch.object, "deployment/shop");
    }
}

#[test]
fn near_twins_of_a_killed_pod_are_not_told() {
    let sleeps = |ms| Some(PreStop::Sleep(ms));
    let twins = [
        ("it ended by itself just in time", Going { exits_after: 7.9, exit_code: 0, ..KILLED }),
        ("it was killed long before", Going { exits_after: 1.0, ..KILLED }),
        ("it wanted memory", Going { reason: "OOMKilled", ..KILLED }),
        ("a hook left it time", Going { hook: sleeps(7_000), exits_after: 7.8, exit_code: 0, ..KILLED }),
    ];
    for (name, going) in twins {
        assert_eq!(found(&scene(&going)), None, "{name}");
    }
    let mut forced = Scene::three_pods();
    forced.force("shop-7d9f-a", 10.0);
    assert_eq!(found(&forced), None, "removed by force");
    let mut later = scene(&KILLED);
    later.end = 9.0;
    assert_eq!(found(&later), None, "it went in the clean-up");
}
