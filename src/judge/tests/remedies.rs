//! The patches: each names the object and the container that are there, and has the measured number in it.

use serde_json::{Value, json};

use super::{
    builder::Scene,
    causes::{evicted, one_replica, short_prestop, verdict_of, without_prestop, without_readiness},
};
use crate::{
    judge::verdict::{Patch, PatchHow},
    record::event::{PreStop, What},
};

fn patch_of(scene: &Scene, id: &str) -> Patch {
    let finding = verdict_of(scene).findings.into_iter().find(|finding| finding.id == id);
    finding.unwrap_or_else(|| panic!("no {id}")).patch.unwrap_or_else(|| panic!("no patch of {id}"))
}

fn container(patch: &Patch) -> &Value {
    &patch.body["spec"]["template"]["spec"]["containers"][0]
}

#[test]
fn the_advised_sleep_in_the_patch_is_what_was_measured_and_a_margin() {
    let patch = patch_of(&short_prestop(), "prestop-too-short");
    assert_eq!((patch.object.as_str(), patch.namespace.as_str()), ("deployment/shop", "shop"));
    // The last loss is sent 0.97 s after the deletion: 1 s, and 2 s on top.
    assert_eq!(*container(&patch), json!({ "name": "web", "lifecycle": { "preStop": { "sleep": { "seconds": 3 } } } }));
    let command = "kubectl patch deployment/shop -n shop --type strategic -p '{\"spec\":{\"template\":{\"spec\":\
                   {\"containers\":[{\"name\":\"web\",\"lifecycle\":{\"preStop\":{\"sleep\":{\"seconds\":3}}}}]}}}}'";
    assert_eq!(patch.command, command);
}

#[test]
fn a_hook_of_another_kind_is_taken_away_and_a_short_grace_is_raised() {
    let mut scene = short_prestop();
    for event in &mut scene.events {
        if let What::Pod(pod) = &mut event.what {
            pod.pre_stop = Some(PreStop::Exec("sleep 0.3".to_owned()));
            pod.spec_grace_seconds = 2;
        }
    }
    let patch = patch_of(&scene, "prestop-too-short");
    assert_eq!(container(&patch)["lifecycle"]["preStop"], json!({ "exec": null, "sleep": { "seconds": 3 } }));
    assert_eq!(patch.body["spec"]["template"]["spec"]["terminationGracePeriodSeconds"], 13);
    let advice = verdict_of(&scene).findings.remove(0).advice;
    let sum = "terminationGracePeriodSeconds: 13 (the sleep, and 10 s for the process after it; 2 now)";
    assert!(advice.ends_with(sum), "{advice}");
}

#[test]
fn each_setting_that_cures_has_its_patch() {
    let readiness = patch_of(&without_readiness(), "readiness-missing");
    let probe = json!({ "httpGet": { "path": "/", "port": 8080 }, "periodSeconds": 1 });
    assert_eq!(container(&readiness)["readinessProbe"], probe);
    let budget = patch_of(&evicted(["n1", "n2"], false), "budget-missing");
    assert_eq!((budget.how, budget.body["kind"].as_str()), (PatchHow::Create, Some("PodDisruptionBudget")));
    assert_eq!(budget.body["spec"], json!({ "maxUnavailable": 1, "selector": { "matchLabels": { "app": "shop" } } }));
    let weak = patch_of(&evicted(["n1", "n2"], true), "budget-too-weak");
    assert_eq!(weak.object, "poddisruptionbudget/shop");
    let replicas = patch_of(&one_replica(), "single-replica");
    assert_eq!(replicas.body, json!({ "spec": { "replicas": 2 } }));
    let spread = patch_of(&evicted(["n1", "n1"], false), "replicas-on-one-node");
    let constraint = &spread.body["spec"]["template"]["spec"]["topologySpreadConstraints"][0];
    assert_eq!(constraint["labelSelector"]["matchLabels"], json!({ "app": "shop" }));
    assert_eq!(spread.body["spec"]["template"]["spec"].get("affinity"), None);
}

/// With both, no second pod could be scheduled.
#[test]
fn pods_that_are_spread_are_no_longer_required_to_stand_together() {
    let key = "requiredDuringSchedulingIgnoredDuringExecution";
    let term = |topology: &str, app: &str| json!({ "topologyKey": topology, "labelSelector": { "matchLabels": { "app": app } } });
    let (own, zone) = (term("kubernetes.io/hostname", "shop"), term("topology.kubernetes.io/zone", "shop"));
    let other = term("kubernetes.io/hostname", "cache");
    for (required, left) in [
        (json!([own]), Some(json!(null))),
        (json!([own, other, zone]), Some(json!([other, zone]))),
        (json!([other]), None),
    ] {
        let mut scene = evicted(["n1", "n1"], false);
        let pod = json!({ "spec": { "affinity": { "podAffinity": { key: required } }, "containers": [] } });
        let object = json!({ "kind": "Deployment", "metadata": { "name": "shop" }, "spec": { "template": pod } });
        scene.experiment.spec.given.apply.push(object);
        let spread = patch_of(&scene, "replicas-on-one-node");
        let affinity = spread.body.pointer(&format!("/spec/template/spec/affinity/podAffinity/{key}"));
        assert_eq!(affinity, left.as_ref());
    }
}

#[test]
fn an_old_record_without_the_containers_name_takes_it_from_the_manifest_or_has_no_patch() {
    let mut scene = without_prestop();
    for event in &mut scene.events {
        if let What::Pod(pod) = &mut event.what {
            pod.container_name.clear();
        }
    }
    let finding = |scene: &Scene| verdict_of(scene).findings.remove(0);
    assert_eq!(finding(&scene).patch, None);
    let pod = json!({ "spec": { "containers": [{ "name": "from-the-file" }] } });
    let object = json!({ "kind": "Deployment", "metadata": { "name": "shop" }, "spec": { "template": pod } });
    scene.experiment.spec.given.apply.push(object);
    assert_eq!(container(&finding(&scene).patch.unwrap())["name"], "from-the-file");
}

#[test]
fn a_name_cannot_break_out_of_the_command() {
    let mut scene = short_prestop();
    for event in &mut scene.events {
        if let What::Pod(pod) = &mut event.what {
            pod.container_name = "a'; reboot; '".to_owned();
        }
    }
    let command = patch_of(&scene, "prestop-too-short").command;
    assert!(command.contains(r"a'\''; reboot; '\''"), "{command}");
}
