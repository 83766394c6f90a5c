use serde_json::{Value, json};

use super::*;
use crate::{
    fault::{
        run_steps,
        scripted::{self, Call, Setting, budget_exhausted, failure, list, not_found, pod, setting},
    },
    record::event::{Note, NoteKind, What},
};

/// A cluster of two workers, the first with these pods; evictions are answered by `evict`, after which a pod is gone.
fn cluster(
    pods: Vec<Value>,
    mut evict: impl FnMut(&str) -> (u16, Value) + Send + 'static,
) -> impl FnMut(&Call) -> (u16, Value) + Send + 'static {
    let mut cordoned: Vec<String> = Vec::new();
    move |call| {
        let parts: Vec<&str> = call.path.trim_start_matches('/').split('/').collect();
        match (call.method.as_str(), parts.as_slice()) {
            ("GET", ["api", "v1", "nodes"]) => list(&[scripted::node("w1", false), scripted::node("w2", false)]),
            ("GET", ["api", "v1", "nodes", name]) => {
                (200, scripted::node(name, cordoned.iter().any(|one| one == name)))
            }
            ("PATCH", ["api", "v1", "nodes", name]) => {
                cordoned.push((*name).to_owned());
                (200, scripted::node(name, true))
            }
            ("GET", ["api", "v1", "pods"]) if call.query.contains("w1") => list(&pods),
            ("GET", ["api", "v1", "pods"]) => list(&[]),
            ("POST", [.., name, "eviction"]) => evict(name),
            ("GET", ["apis", "apps", ..]) => (200, json!({"metadata": {"name": "agent"}, "spec": null})),
            ("DELETE", _) => (200, json!({"kind": "Status", "status": "Success"})),
            _ => not_found(),
        }
    }
}

async fn drain(setting: &Setting, more: &str) -> Result<(), StepError> {
    let mut step = json!({"drain": {"nodes": {"names": ["w1", "w2"]}, "timeout": "30s"}});
    let more: Value = serde_json::from_str(more).unwrap();
    step["drain"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    run_steps(&[serde_json::from_value(step).unwrap()], &setting.stage).await
}

fn lines(setting: &Setting, parts: &[&str]) -> Vec<String> {
    let calls = setting.log.of("").into_iter().map(|call| format!("{} {}", call.method, call.path));
    calls.filter(|line| parts.iter().any(|part| line.contains(part))).collect()
}

fn accepted(_: &str) -> (u16, Value) {
    (201, json!({"kind": "Status", "status": "Success"}))
}

#[tokio::test(start_paused = true)]
async fn all_nodes_are_cordoned_before_the_first_pod_is_evicted() {
    let setting = setting(cluster(vec![pod("a", "1", "w1"), pod("b", "2", "w1")], accepted));
    drain(&setting, "{}").await.unwrap();
    assert_eq!(
        lines(&setting, &["PATCH", "POST"]),
        [
            "PATCH /api/v1/nodes/w1",
            "PATCH /api/v1/nodes/w2",
            "POST /api/v1/namespaces/app/pods/a/eviction",
            "POST /api/v1/namespaces/app/pods/b/eviction",
        ]
    );
    assert_eq!(setting.log.of("GET /api/v1/pods")[0].query, "&fieldSelector=spec.nodeName%3Dw1&limit=500");
}

#[tokio::test(start_paused = true)]
async fn the_undo_of_a_cordon_is_registered_before_it() {
    let mut setting = setting(cluster(Vec::new(), accepted));
    let (sink, stack) = (setting.stage.sink.clone(), setting.stage.undo.clone());
    // The record has no line for a request, so one is made at the moment of the first PATCH.
    let mut inner = cluster(Vec::new(), accepted);
    let (client, _) = scripted::server(move |call| {
        if call.method == "PATCH" {
            let text = format!("patch with {} registered", stack.left().len());
            sink.record(What::Note(Note { kind: NoteKind::Info, text }));
        }
        inner(call)
    });
    setting.stage.client = client;
    drain(&setting, "{}").await.unwrap();
    let notes: Vec<String> = setting
        .recorded()
        .into_iter()
        .filter_map(|what| match what {
            What::Note(note) => Some(note.text),
            _ => None,
        })
        .collect();
    assert_eq!(notes, ["patch with 1 registered", "patch with 2 registered"]);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_a_filter_refuses_keeps_its_whole_node_from_being_evicted() {
    let mut bare = pod("bare", "2", "w1");
    bare["metadata"]["ownerReferences"] = json!([]);
    let setting = setting(cluster(vec![pod("a", "1", "w1"), bare], accepted));
    let error = drain(&setting, "{}").await.unwrap_err();
    assert!(error.to_string().contains("nothing was evicted, since pod app/bare: it has no controller"), "{error}");
    assert!(lines(&setting, &["POST"]).is_empty());
    assert_eq!(setting.stage.undo.left().len(), 2, "it stays cordoned until the undo");
}

#[tokio::test(start_paused = true)]
async fn a_pod_of_a_daemonset_is_left_where_it_is() {
    let mut agent = pod("agent-1", "2", "w1");
    agent["metadata"]["ownerReferences"][0]["kind"] = json!("DaemonSet");
    let setting = setting(cluster(vec![pod("a", "1", "w1"), agent], accepted));
    drain(&setting, r#"{"ignoreDaemonsets": true}"#).await.unwrap();
    assert_eq!(lines(&setting, &["POST"]), ["POST /api/v1/namespaces/app/pods/a/eviction"]);
}

#[tokio::test(start_paused = true)]
async fn two_budgets_over_one_pod_fail_that_pod_while_the_others_go_on() {
    let two = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
    let mut asked = 0;
    let evict = move |name: &str| match name {
        "a" => failure(500, two, &[]),
        // The other is refused once, so it goes on well after the first has failed.
        _ if asked == 0 => {
            asked += 1;
            budget_exhausted()
        }
        _ => accepted(name),
    };
    let setting = setting(cluster(vec![pod("a", "1", "w1"), pod("b", "2", "w1")], evict));
    let error = drain(&setting, "{}").await.unwrap_err().to_string();
    assert_eq!(setting.log.of("pods/a/eviction").len(), 1);
    assert_eq!(setting.log.of("pods/b/eviction").len(), 2);
    assert!(error.contains("1 pod left: pod app/a") && error.contains("take one of the budgets away"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_never_allows_ends_the_step_by_its_time_and_is_named() {
    let setting = setting(cluster(vec![pod("a", "1", "w1")], |_| budget_exhausted()));
    let begun = Instant::now();
    let error = drain(&setting, "{}").await.unwrap_err().to_string();
    assert!(begun.elapsed() <= Duration::from_secs(35), "{:?}", begun.elapsed());
    assert!(error.contains("refused 6 times by the disruption budget `shop`, which needs 3 healthy pods"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_hangs_does_not_hold_the_step_beyond_its_time() {
    let setting = setting(cluster(vec![pod("a", "1", "w1")], accepted));
    let begun = Instant::now();
    let client = tower::service_fn({
        let client = setting.stage.client.clone();
        move |request: hyper::Request<kube::client::Body>| {
            let client = client.clone();
            async move {
                if request.uri().path().ends_with("eviction") {
                    std::future::pending::<()>().await;
                }
                client.send(request).await
            }
        }
    });
    let stage = Stage { client: kube::Client::new(client, "default"), ..setting.stage.clone() };
    let step = json!({"drain": {"nodes": {"names": ["w1"]}, "timeout": "3s"}});
    let error = run_steps(&[serde_json::from_value(step).unwrap()], &stage).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    assert!(error.to_string().contains("answered too late"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn nodes_at_once_overlap_and_nodes_in_turn_do_not() {
    for (order, expected_seconds) in [("inTurn", 10), ("atOnce", 5)] {
        let mut asked = std::collections::BTreeMap::new();
        let evict = move |name: &str| {
            let times: &mut u32 = asked.entry(name.to_owned()).or_default();
            *times += 1;
            if *times == 1 { budget_exhausted() } else { accepted(name) }
        };
        let mut inner = cluster(vec![pod("a", "1", "w1")], evict);
        let setting = setting(move |call| {
            let on_w2 = call.path == "/api/v1/pods" && call.query.contains("w2");
            if on_w2 { list(&[pod("b", "2", "w2")]) } else { inner(call) }
        });
        let begun = Instant::now();
        drain(&setting, &format!(r#"{{"order": "{order}"}}"#)).await.unwrap();
        assert_eq!(begun.elapsed().as_secs(), expected_seconds, "{order}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_eviction_pods_are_deleted_and_no_budget_is_asked() {
    let setting = setting(cluster(vec![pod("a", "1", "w1"), pod("b", "2", "w1")], |_| budget_exhausted()));
    drain(&setting, r#"{"disableEviction": true, "gracePeriod": "1500ms"}"#).await.unwrap();
    assert_eq!(
        lines(&setting, &["POST", "DELETE"]),
        ["DELETE /api/v1/namespaces/app/pods/a", "DELETE /api/v1/namespaces/app/pods/b"]
    );
    assert_eq!(setting.log.of("DELETE")[0].body["gracePeriodSeconds"], 2);
}
