use serde_json::json;

use super::*;

const IMAGE: &str = "evenkeel:0.1.0";

/// The rules of the restricted profile that can concern a pod without volumes and host ports, from
/// <https://kubernetes.io/docs/concepts/security/pod-security-standards/>.
fn violations(template: &PodTemplateSpec) -> Vec<&'static str> {
    let spec = template.spec.clone().unwrap_or_default();
    let of_pod = spec.security_context.clone().unwrap_or_default();
    let of_container = spec.containers[0].security_context.clone().unwrap_or_default();
    let capabilities = of_container.capabilities.unwrap_or_default();
    let rules = [
        ("privilege escalation", of_container.allow_privilege_escalation == Some(false)),
        ("capabilities", capabilities.drop == Some(vec!["ALL".to_owned()]) && capabilities.add.is_none()),
        ("non-root", of_pod.run_as_non_root == Some(true) && of_pod.run_as_user != Some(0)),
        ("seccomp", of_pod.seccomp_profile.is_some_and(|profile| profile.type_ == "RuntimeDefault")),
        ("host namespaces", spec.host_network.is_none() && spec.host_pid.is_none() && spec.host_ipc.is_none()),
        ("volumes", spec.volumes.is_none()),
        ("host ports", spec.containers[0].ports.iter().flatten().all(|port| port.host_port.is_none())),
    ];
    rules.into_iter().filter(|(_, kept)| !kept).map(|(rule, _)| rule).collect()
}

#[test]
fn the_template_passes_the_restricted_profile_and_a_bare_pod_does_not() {
    let good = template("evenkeel-agent-bcdfghjk", &["worker".to_owned()], IMAGE);
    assert_eq!(violations(&good), [""; 0]);
    let mut bad = good;
    if let Some(spec) = &mut bad.spec {
        spec.security_context = None;
        spec.containers[0].security_context = None;
    }
    assert_eq!(violations(&bad), ["privilege escalation", "capabilities", "non-root", "seccomp"]);
}

fn pod_with_status(status: &serde_json::Value) -> Pod {
    serde_json::from_value(
        json!({ "metadata": {}, "spec": { "nodeName": "worker", "containers": [] }, "status": status }),
    )
    .unwrap()
}

fn waiting(reason: &str) -> Pod {
    pod_with_status(
        &json!({ "phase": "Pending", "containerStatuses": [{ "name": "agent", "image": IMAGE, "imageID": "",
        "ready": false, "restartCount": 0, "state": { "waiting": { "reason": reason, "message": "words" } } }] }),
    )
}

#[test]
fn each_state_of_the_pod_means_what_it_means() {
    let unschedulable = pod_with_status(&json!({ "phase": "Pending", "conditions": [
        { "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/4 nodes are available" }] }));
    let ready = pod_with_status(&json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] }));
    let no_image = "the image evenkeel:0.1.0 is not on node worker and cannot be pulled (ImagePullBackOff): `evenkeel \
                    kind up` loads it into a kind cluster; elsewhere push it to a registry that the nodes reach";
    let table = vec![
        (pod_with_status(&json!({})), Progress::Waiting("it is without a phase".into())),
        (ready, Progress::Ready),
        (
            unschedulable,
            Progress::Unschedulable("it cannot be scheduled where no step touches it: 0/4 nodes are available".into()),
        ),
        (waiting("ContainerCreating"), Progress::Waiting("its container waits (ContainerCreating) words".into())),
        // The first attempt failed; the kubelet says BackOff when it has failed for good, or again.
        (waiting("ErrImagePull"), Progress::Waiting("its container waits (ErrImagePull) words".into())),
        (waiting("ImagePullBackOff"), Progress::Failed(no_image.into())),
        (
            waiting("CreateContainerConfigError"),
            Progress::Failed("its container cannot be made (CreateContainerConfigError): words".into()),
        ),
        (
            pod_with_status(&json!({ "phase": "Failed", "reason": "Evicted", "message": "no memory" })),
            Progress::Failed("the pod has ended (Evicted) no memory".into()),
        ),
    ];
    for (pod, expected) in table {
        assert_eq!(progress(&pod, IMAGE), expected);
    }
}

#[test]
fn a_container_that_ended_tells_its_last_words() {
    let pod = pod_with_status(&json!({ "phase": "Failed", "containerStatuses": [{ "name": "agent", "image": IMAGE,
        "imageID": "", "ready": false, "restartCount": 0, "state": { "terminated": { "exitCode": 137,
        "reason": "OOMKilled", "message": "last words\n" } } }] }));
    assert_eq!(ended(&pod).unwrap(), "its container ended with exit code 137 (OOMKilled): last words");
    assert_eq!(ended(&waiting("ContainerCreating")), None);
}
