//! Pods: how many containers are ready, and the one word for how the pod is (`printPod`).

use serde_json::{Value, json};

use super::{AGE, NAME, Printer, Text, age, items, name, number, or_none, text, time};

pub(super) static PODS: Printer = Printer {
    columns: &[
        NAME,
        ("Ready", Text, false),
        ("Status", Text, false),
        ("Restarts", Text, false),
        AGE,
        ("IP", Text, true),
        ("Node", Text, true),
        ("Nominated Node", Text, true),
        ("Readiness Gates", Text, true),
    ],
    cells: pod,
};

fn pod(pod: &Value) -> Vec<Value> {
    let seen = look(pod);
    let mut restarts = seen.restarts.count.to_string();
    if seen.restarts.count > 0
        && let Some(last) = &seen.restarts.last
    {
        restarts = format!("{restarts} ({} ago)", time::since(Some(last)));
    }
    vec![
        name(pod),
        json!(format!("{}/{}", seen.ready, seen.total)),
        json!(reason(pod, seen.reason)),
        json!(restarts),
        age(pod),
        or_none(text(&pod["status"]["podIPs"][0]["ip"])),
        or_none(text(&pod["spec"]["nodeName"])),
        or_none(text(&pod["status"]["nominatedNodeName"])),
        gates(pod),
    ]
}

/// Restarts and when the last one was.
#[derive(Default)]
struct Restarts {
    count: i64,
    last: Option<String>,
}

impl Restarts {
    fn add(&mut self, status: &Value) {
        self.count += number(&status["restartCount"]);
        let finished = status["lastState"]["terminated"]["finishedAt"].as_str();
        if let Some(finished) = finished.filter(|time| self.last.as_deref().is_none_or(|last| last < *time)) {
            self.last = Some(finished.to_owned());
        }
    }
}

struct Seen {
    ready: usize,
    total: usize,
    reason: String,
    restarts: Restarts,
}

fn look(pod: &Value) -> Seen {
    let (spec, status) = (&pod["spec"], &pod["status"]);
    let sidecars = items(&spec["initContainers"]).filter(|one| one["restartPolicy"] == "Always").count();
    let mut reason = text(&status["phase"]).to_owned();
    if !text(&status["reason"]).is_empty() {
        text(&status["reason"]).clone_into(&mut reason);
    }
    if condition(pod, "PodScheduled").is_some_and(|one| one["reason"] == "SchedulingGated") {
        "SchedulingGated".clone_into(&mut reason);
    }
    let mut seen =
        Seen { ready: 0, total: items(&spec["containers"]).count() + sidecars, reason, restarts: Restarts::default() };
    let (initializing, of_sidecars) = look_at_init(pod, &mut seen);
    if !initializing || condition(pod, "Initialized").is_some_and(|one| one["status"] == "True") {
        seen.restarts = of_sidecars;
        look_at_main(pod, &mut seen);
    }
    seen
}

/// Looks at the init containers up to the first that is not done; says whether there is one, and how often sidecars
/// have been restarted.
fn look_at_init(pod: &Value, seen: &mut Seen) -> (bool, Restarts) {
    let init = &pod["spec"]["initContainers"];
    let is_sidecar = |name: &Value| items(init).any(|one| one["name"] == *name && one["restartPolicy"] == "Always");
    let mut of_sidecars = Restarts::default();
    for (at, status) in items(&pod["status"]["initContainerStatuses"]).enumerate() {
        let sidecar = is_sidecar(&status["name"]);
        seen.restarts.add(status);
        if sidecar {
            of_sidecars.add(status);
        }
        let (terminated, waiting) = (&status["state"]["terminated"], text(&status["state"]["waiting"]["reason"]));
        if !terminated.is_null() && number(&terminated["exitCode"]) == 0 {
            continue;
        }
        if sidecar && status["started"] == true {
            seen.ready += usize::from(status["ready"] == true);
            continue;
        }
        seen.reason = if !terminated.is_null() {
            format!("Init:{}", how_it_ended(terminated))
        } else if !waiting.is_empty() && waiting != "PodInitializing" {
            format!("Init:{waiting}")
        } else {
            format!("Init:{at}/{}", items(init).count())
        };
        return (true, of_sidecars);
    }
    (false, of_sidecars)
}

fn look_at_main(pod: &Value, seen: &mut Seen) {
    let mut running = false;
    let statuses: Vec<&Value> = items(&pod["status"]["containerStatuses"]).collect();
    for status in statuses.iter().rev() {
        seen.restarts.add(status);
        let state = &status["state"];
        let waiting = text(&state["waiting"]["reason"]);
        if !waiting.is_empty() {
            waiting.clone_into(&mut seen.reason);
        } else if !state["terminated"].is_null() {
            seen.reason = how_it_ended(&state["terminated"]);
        } else if status["ready"] == true && !state["running"].is_null() {
            running = true;
            seen.ready += 1;
        }
    }
    if seen.reason == "Completed" && running {
        let ready = condition(pod, "Ready").is_some_and(|one| one["status"] == "True");
        if ready { "Running" } else { "NotReady" }.clone_into(&mut seen.reason);
    }
}

fn how_it_ended(terminated: &Value) -> String {
    match (text(&terminated["reason"]), number(&terminated["signal"])) {
        ("", 0) => format!("ExitCode:{}", number(&terminated["exitCode"])),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

/// The word for a pod that is being deleted stands before all others.
fn reason(pod: &Value, reason: String) -> String {
    if pod["metadata"]["deletionTimestamp"].is_null() {
        return reason;
    }
    let over = matches!(text(&pod["status"]["phase"]), "Succeeded" | "Failed");
    match text(&pod["status"]["reason"]) {
        "NodeLost" => "Unknown".to_owned(),
        _ if over => reason,
        _ => "Terminating".to_owned(),
    }
}

fn condition<'a>(pod: &'a Value, kind: &str) -> Option<&'a Value> {
    items(&pod["status"]["conditions"]).find(|one| one["type"] == kind)
}

fn gates(pod: &Value) -> Value {
    let gates: Vec<&str> = items(&pod["spec"]["readinessGates"]).map(|gate| text(&gate["conditionType"])).collect();
    if gates.is_empty() {
        return or_none("");
    }
    let open = gates.iter().filter(|gate| condition(pod, gate).is_some_and(|one| one["status"] == "True")).count();
    json!(format!("{open}/{}", gates.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(spec: &Value, status: &Value, deleted: bool) -> (String, String, String) {
        let mut value = json!({"metadata": {"name": "web"}, "spec": spec, "status": status});
        if deleted {
            value["metadata"]["deletionTimestamp"] = json!("2024-01-01T00:00:00Z");
        }
        let cells = pod(&value);
        let cell = |at: usize| cells[at].as_str().unwrap().to_owned();
        (cell(1), cell(2), cell(3))
    }

    #[test]
    fn a_pod_is_told_in_one_word() {
        let one = json!({"containers": [{"name": "app"}]});
        let two = json!({"containers": [{"name": "app"}, {"name": "side"}]});
        let with_init = json!({"containers": [{"name": "app"}], "initContainers": [{"name": "a"}, {"name": "b"}]});
        let running = json!({"name": "app", "ready": true, "state": {"running": {}}});
        let ended = |code: i64, reason: &str| json!({"state": {"terminated": {"exitCode": code, "reason": reason}}});
        let table = [
            (&one, json!({"phase": "Pending"}), false, ("0/1", "Pending", "0")),
            (&one, json!({"phase": "Running", "containerStatuses": [running]}), false, ("1/1", "Running", "0")),
            (&one, json!({"phase": "Running", "containerStatuses": [running]}), true, ("1/1", "Terminating", "0")),
            (
                &one,
                json!({"phase": "Running", "containerStatuses":
                    [{"restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}),
                false,
                ("0/1", "CrashLoopBackOff", "3"),
            ),
            (
                &two,
                json!({"phase": "Running", "containerStatuses": [ended(0, "Completed"), running]}),
                false,
                ("1/2", "NotReady", "0"),
            ),
            (&one, json!({"phase": "Failed", "containerStatuses": [ended(3, "")]}), false, ("0/1", "ExitCode:3", "0")),
            (&one, json!({"phase": "Failed", "reason": "Evicted"}), false, ("0/1", "Evicted", "0")),
            (
                &with_init,
                json!({"phase": "Pending", "initContainerStatuses": [ended(0, "Completed"), {"state": {"running": {}}}]}),
                false,
                ("0/1", "Init:1/2", "0"),
            ),
            (
                &with_init,
                json!({"phase": "Pending", "initContainerStatuses": [ended(1, "Error")]}),
                false,
                ("0/1", "Init:Error", "0"),
            ),
            (
                &one,
                json!({"phase": "Succeeded", "containerStatuses": [ended(0, "Completed")]}),
                true,
                ("0/1", "Completed", "0"),
            ),
        ];
        for (spec, status, deleted, (ready, word, restarts)) in table {
            assert_eq!(
                shown(spec, &status, deleted),
                (ready.to_owned(), word.to_owned(), restarts.to_owned()),
                "{status}"
            );
        }
    }

    #[test]
    fn restarts_tell_when_the_last_one_was() {
        let last = (jiff::Timestamp::now() - std::time::Duration::from_secs(30)).to_string();
        let status = json!({"phase": "Running", "containerStatuses": [{
            "restartCount": 2, "ready": true, "state": {"running": {}},
            "lastState": {"terminated": {"finishedAt": last}},
        }]});
        let (_, _, restarts) = shown(&json!({"containers": [{"name": "app"}]}), &status, false);
        assert!(restarts.starts_with("2 (3") && restarts.ends_with("s ago)"), "{restarts}");
    }
}
