//! A pod's status from what is known about its containers: phase, conditions, addresses. Pure
//! (`k/pkg/kubelet/kubelet_pods.go` getPhase and generateAPIPodStatus, k/pkg/kubelet/status/generate.go, v1.34.4).

use k8s_openapi::{
    api::core::v1::{Container, HostIP, Pod, PodCondition, PodIP, PodStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::facts::{Facts, Role, State};

/// Conditions that the kubelet writes; others are left as they are.
const OWN: [&str; 5] = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];

/// The conditions that others have written.
#[must_use]
pub fn foreign(status: Option<&PodStatus>) -> Vec<PodCondition> {
    let all = status.iter().flat_map(|status| status.conditions.iter().flatten());
    all.filter(|condition| !OWN.contains(&condition.type_.as_str())).cloned().collect()
}

/// What is known about a pod besides its containers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodFacts {
    /// Its address, while it has a sandbox.
    pub pod_ip: Option<String>,
    /// Its node's.
    pub host_ip: String,
    /// Nothing of it runs any more, nor will.
    pub over: bool,
    /// Why it failed as a whole, with a message, such as `DeadlineExceeded`.
    pub failed: Option<(String, String)>,
}

/// The phase.
#[must_use]
pub fn phase(facts: &[Facts], restart_policy: &str, over: bool) -> &'static str {
    let (mut pending_init, mut pending_sidecars, mut failed_init) = (0, 0, 0);
    let (mut running, mut waiting, mut stopped, mut succeeded) = (0, 0, 0, 0);
    for one in facts {
        match (one.role, &one.state) {
            (Role::Init, State::Ended(ended)) => failed_init += usize::from(ended.code != 0),
            (Role::Init, State::Waiting { .. }) => match &one.last {
                Some(last) => failed_init += usize::from(last.code != 0),
                None => pending_init += 1,
            },
            (Role::Init, State::Running { .. }) => pending_init += 1,
            (Role::Sidecar, State::Running { .. }) => {
                pending_sidecars += usize::from(!one.started());
                running += 1;
            }
            (Role::Sidecar, State::Waiting { .. }) if one.last.is_none() => {
                pending_sidecars += 1;
                waiting += 1;
            }
            (Role::Sidecar, _) => {}
            (Role::Main, State::Running { .. }) => running += 1,
            (Role::Main, State::Ended(ended)) => {
                stopped += 1;
                succeeded += usize::from(ended.code == 0);
            }
            (Role::Main, State::Waiting { .. }) if one.last.is_some() => stopped += 1,
            (Role::Main, State::Waiting { .. }) => waiting += 1,
        }
    }
    if failed_init > 0 && restart_policy == "Never" {
        return "Failed";
    }
    if pending_init > 0 || (pending_sidecars > 0 && !any_main_started(facts)) || waiting > 0 {
        return "Pending";
    }
    if running > 0 {
        return "Running";
    }
    if stopped == 0 {
        return "Pending";
    }
    match (over, restart_policy) {
        (false, "Always") => "Running",
        _ if stopped == succeeded => "Succeeded",
        (true, _) | (false, "Never") => "Failed",
        // Restarting, with OnFailure.
        (false, _) => "Running",
    }
}

fn any_main_started(facts: &[Facts]) -> bool {
    facts
        .iter()
        .any(|one| one.role == Role::Main && (!matches!(one.state, State::Waiting { .. }) || one.last.is_some()))
}

/// The whole status of a pod. `before` is the status that the API has: what others have written there stays.
#[must_use]
pub fn pod_status(
    pod: &Pod,
    containers: &[Container],
    facts: &[Facts],
    own: &PodFacts,
    before: &PodStatus,
    now: &Time,
) -> PodStatus {
    let restart_policy = pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()).unwrap_or("Always");
    let phase = final_phase(facts, restart_policy, own);
    let statuses = |wanted: fn(Role) -> bool| {
        let chosen = facts.iter().zip(containers).filter(|(one, _)| wanted(one.role));
        let all: Vec<_> = chosen.map(|(one, container)| one.status(container)).collect();
        (!all.is_empty()).then_some(all)
    };
    let (reason, message) = match &own.failed {
        Some((reason, message)) if phase == "Failed" => (Some(reason.clone()), Some(message.clone())),
        _ => (None, None),
    };
    let mut conditions = foreign(Some(before));
    let gates = unmet_gates(pod, &conditions);
    for mut condition in own_conditions(facts, own, phase, &gates) {
        let old = before.conditions.iter().flatten().find(|old| old.type_ == condition.type_);
        let kept = old.filter(|old| old.status == condition.status).and_then(|old| old.last_transition_time.clone());
        condition.last_transition_time = Some(kept.unwrap_or_else(|| now.clone()));
        condition.observed_generation = pod.metadata.generation;
        conditions.push(condition);
    }
    PodStatus {
        phase: Some(phase.to_owned()),
        reason,
        message,
        conditions: Some(conditions),
        container_statuses: statuses(|role| role == Role::Main),
        init_container_statuses: statuses(|role| role != Role::Main),
        host_ip: Some(own.host_ip.clone()),
        host_ips: Some(vec![HostIP { ip: own.host_ip.clone() }]),
        // The address stays in the status of a pod that is over, as upstream's does.
        pod_ip: own.pod_ip.clone().or_else(|| before.pod_ip.clone()),
        pod_ips: own.pod_ip.clone().map(|ip| vec![PodIP { ip }]).or_else(|| before.pod_ips.clone()),
        start_time: before.start_time.clone().or_else(|| Some(now.clone())),
        observed_generation: pod.metadata.generation,
        ..before.clone()
    }
}

fn final_phase(facts: &[Facts], restart_policy: &str, own: &PodFacts) -> &'static str {
    let phase = phase(facts, restart_policy, own.over);
    match (own.over, &own.failed, phase) {
        (true, Some(_), _) | (true, None, "Pending" | "Running") => "Failed",
        // A terminal phase waits until nothing runs any more (status_manager.go mergePodStatus).
        (false, _, "Succeeded" | "Failed") if facts.iter().any(Facts::runs) => "Running",
        (_, _, phase) => phase,
    }
}

/// What keeps a pod from being ready besides its containers.
fn unmet_gates(pod: &Pod, conditions: &[PodCondition]) -> Vec<String> {
    let gates = pod.spec.as_ref().and_then(|spec| spec.readiness_gates.as_deref()).unwrap_or_default();
    let unmet = gates.iter().filter_map(|gate| {
        let name = &gate.condition_type;
        match conditions.iter().find(|condition| &condition.type_ == name) {
            None => Some(format!("corresponding condition of pod readiness gate {name:?} does not exist.")),
            Some(condition) if condition.status != "True" => {
                Some(format!("the status of pod readiness gate {name:?} is not \"True\", but {}", condition.status))
            }
            Some(_) => None,
        }
    });
    unmet.collect()
}

fn condition(type_: &str, problem: Option<(&str, String)>) -> PodCondition {
    let (reason, message) = problem.map_or((None, None), |(reason, message)| {
        (Some(reason.to_owned()), Some(message).filter(|text| !text.is_empty()))
    });
    let status = if reason.is_none() { "True" } else { "False" };
    PodCondition { type_: type_.to_owned(), status: status.to_owned(), reason, message, ..PodCondition::default() }
}

fn own_conditions(facts: &[Facts], own: &PodFacts, phase: &str, gates: &[String]) -> Vec<PodCondition> {
    let mut sandbox = condition("PodReadyToStartContainers", None);
    if own.over || own.pod_ip.is_none() {
        "False".clone_into(&mut sandbox.status);
    }
    let containers_ready = condition("ContainersReady", containers_not_ready(facts, phase));
    let mut ready = if containers_ready.status == "True" {
        condition("Ready", (!gates.is_empty()).then(|| ("ReadinessGatesNotReady", gates.join(", "))))
    } else {
        containers_ready.clone()
    };
    "Ready".clone_into(&mut ready.type_);
    vec![sandbox, initialized(facts, phase), ready, containers_ready, condition("PodScheduled", None)]
}

fn initialized(facts: &[Facts], phase: &str) -> PodCondition {
    if phase == "Succeeded" {
        let mut completed = condition("Initialized", None);
        completed.reason = Some("PodCompleted".to_owned());
        return completed;
    }
    let incomplete = facts.iter().filter(|one| match one.role {
        Role::Init => !one.ready(),
        Role::Sidecar => !one.started(),
        Role::Main => false,
    });
    let incomplete: Vec<&str> = incomplete.map(|one| one.name.as_str()).collect();
    if incomplete.is_empty() || any_main_started(facts) {
        return condition("Initialized", None);
    }
    let message = format!("containers with incomplete status: [{}]", incomplete.join(" "));
    condition("Initialized", Some(("ContainersNotInitialized", message)))
}

fn containers_not_ready(facts: &[Facts], phase: &str) -> Option<(&'static str, String)> {
    match phase {
        "Succeeded" => return Some(("PodCompleted", String::new())),
        "Failed" => return Some(("PodFailed", String::new())),
        _ => {}
    }
    let unready = facts.iter().filter(|one| one.role != Role::Init && !one.ready());
    let unready: Vec<&str> = unready.map(|one| one.name.as_str()).collect();
    if unready.is_empty() {
        return None;
    }
    Some(("ContainersNotReady", format!("containers with unready status: [{}]", unready.join(" "))))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::{Value, from_value, json};

    use super::{super::facts::Ended, *};

    fn ended(code: i32) -> Ended {
        Ended {
            code,
            reason: String::new(),
            message: None,
            started: Timestamp::UNIX_EPOCH,
            finished: Timestamp::UNIX_EPOCH,
            id: String::new(),
        }
    }

    /// `w` waits, `b` waits after an end with 1, `r` runs, a digit has ended with it; a leading `i` or `s` is an init
    /// container or a sidecar.
    fn facts(text: &str) -> Vec<Facts> {
        text.split_whitespace()
            .enumerate()
            .map(|(at, word)| {
                let role = match word.as_bytes()[0] {
                    b'i' => Role::Init,
                    b's' => Role::Sidecar,
                    _ => Role::Main,
                };
                let container: Container = from_value(json!({"name": format!("c{at}")})).unwrap();
                let mut one = Facts::new(&container, role, false);
                match word.trim_start_matches(['i', 's']) {
                    "w" => {}
                    "b" => one.last = Some(ended(1)),
                    "r" => one.state = State::Running { since: Timestamp::UNIX_EPOCH },
                    code => one.state = State::Ended(ended(code.parse().unwrap())),
                }
                one
            })
            .collect()
    }

    #[test]
    fn phases_are_upstreams() {
        for (text, policy, over, wanted) in [
            ("w", "Always", false, "Pending"),
            ("r", "Always", false, "Running"),
            ("r w", "Always", false, "Pending"),
            ("r b", "Always", false, "Running"),
            ("b", "Always", false, "Running"),
            ("0", "Always", false, "Running"),
            ("0", "OnFailure", false, "Succeeded"),
            ("0 1", "OnFailure", false, "Running"),
            ("0 1", "Never", false, "Failed"),
            ("0 0", "Never", false, "Succeeded"),
            ("143", "Always", true, "Failed"),
            ("0", "Always", true, "Succeeded"),
            ("ir w", "Always", false, "Pending"),
            ("i1 w", "Never", false, "Failed"),
            ("ib w", "Never", false, "Failed"),
            ("i1 w", "Always", false, "Pending"),
            ("i0 r", "Always", false, "Running"),
            ("sr w", "Always", false, "Pending"),
            ("sr r", "Always", false, "Running"),
            ("sr 0", "Never", false, "Running"),
            ("s0 0", "Never", false, "Succeeded"),
        ] {
            assert_eq!(phase(&facts(text), policy, over), wanted, "{text} {policy} {over}");
        }
    }

    fn status_of(pod: Value, facts: &[Facts], own: &PodFacts, before: &PodStatus) -> PodStatus {
        let pod: Pod = from_value(pod).unwrap();
        let containers: Vec<Container> =
            facts.iter().map(|one| from_value(json!({"name": one.name})).unwrap()).collect();
        pod_status(&pod, &containers, facts, own, before, &Time(Timestamp::UNIX_EPOCH))
    }

    fn found<'s>(status: &'s PodStatus, type_: &str) -> &'s PodCondition {
        status.conditions.iter().flatten().find(|condition| condition.type_ == type_).unwrap()
    }

    #[test]
    fn readiness_gates_hold_back_ready_but_not_containers_ready() {
        let pod = json!({"metadata": {"generation": 3}, "spec": {"containers": [], "readinessGates": [{"conditionType": "a/b"}]}});
        let own = PodFacts { pod_ip: Some("127.64.1.1".to_owned()), ..PodFacts::default() };
        let without = status_of(pod.clone(), &facts("r"), &own, &PodStatus::default());
        assert_eq!(found(&without, "ContainersReady").status, "True");
        assert_eq!(found(&without, "Ready").reason.as_deref(), Some("ReadinessGatesNotReady"));
        assert_eq!(
            found(&without, "Ready").message.as_deref(),
            Some("corresponding condition of pod readiness gate \"a/b\" does not exist.")
        );
        assert_eq!(found(&without, "Ready").observed_generation, Some(3));
        let before: PodStatus = from_value(json!({"conditions": [{"type": "a/b", "status": "True"}]})).unwrap();
        let with = status_of(pod, &facts("r"), &own, &before);
        assert_eq!(found(&with, "Ready").status, "True");
        assert_eq!(found(&with, "a/b").status, "True");
    }

    #[test]
    fn a_condition_keeps_its_time_while_its_status_stays() {
        let before: PodStatus = from_value(json!({"conditions": [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"},
            {"type": "Ready", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"},
        ]}))
        .unwrap();
        let pod = json!({"spec": {"containers": []}});
        let status = status_of(pod, &facts("w"), &PodFacts::default(), &before);
        let time = |type_| found(&status, type_).last_transition_time.clone().unwrap().0.to_string();
        assert_eq!(time("PodScheduled"), "2020-01-01T00:00:00Z");
        assert_eq!(time("Ready"), "1970-01-01T00:00:00Z");
        assert_eq!(found(&status, "Ready").message.as_deref(), Some("containers with unready status: [c0]"));
    }

    #[test]
    fn a_pod_fails_as_a_whole_only_once_nothing_runs() {
        let pod = json!({"spec": {"containers": [], "restartPolicy": "Never"}});
        let failed = Some(("DeadlineExceeded".to_owned(), "late".to_owned()));
        let own = PodFacts { failed, ..PodFacts::default() };
        let running = status_of(pod.clone(), &facts("r"), &own, &PodStatus::default());
        assert_eq!((running.phase.as_deref(), running.reason), (Some("Running"), None));
        let over = status_of(pod, &facts("0"), &PodFacts { over: true, ..own }, &PodStatus::default());
        assert_eq!((over.phase.as_deref(), over.reason.as_deref()), (Some("Failed"), Some("DeadlineExceeded")));
        assert_eq!(found(&over, "Ready").reason.as_deref(), Some("PodFailed"));
    }

    #[test]
    fn initialized_names_what_is_not_complete() {
        let pod = json!({"spec": {"containers": []}});
        let status = status_of(pod.clone(), &facts("i0 ir w"), &PodFacts::default(), &PodStatus::default());
        let condition = found(&status, "Initialized");
        assert_eq!(condition.message.as_deref(), Some("containers with incomplete status: [c1]"));
        let status = status_of(pod, &facts("i0 sr r"), &PodFacts::default(), &PodStatus::default());
        assert_eq!(found(&status, "Initialized").status, "True");
    }
}
