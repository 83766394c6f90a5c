use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;
use crate::{
    fault::{
        ledger::Ledger,
        scripted::{Call, Log, failure, node, not_found, server},
    },
    record::{
        clock::{Clock, Sink},
        event::{UndoState, What},
    },
};

struct Undoing {
    stack: UndoStack,
    log: Log,
    events: tokio::sync::mpsc::UnboundedReceiver<crate::record::event::Event>,
}

fn undoing(answer: impl FnMut(&Call) -> (u16, Value) + Send + 'static) -> Undoing {
    let (client, log) = server(answer);
    let (sink, events) = Sink::new(Clock::start());
    Undoing { stack: UndoStack::new(client, sink, Ledger::nowhere()), log, events }
}

impl Undoing {
    fn recorded(&mut self) -> Vec<(String, UndoState)> {
        let changes = std::iter::from_fn(|| self.events.try_recv().ok()).filter_map(|event| match event.what {
            What::Undo(change) => Some((change.action, change.state)),
            _ => None,
        });
        changes.collect()
    }
}

fn uncordon(node: &str) -> Undo {
    Undo::Uncordon { node: node.into() }
}

fn template_of(workload: &str, namespace: &str) -> Undo {
    Undo::RestoreTemplate {
        workload: workload.parse().unwrap(),
        namespace: namespace.into(),
        template: json!({"spec": {"containers": [{"name": "web", "image": "web:1"}]}}).into(),
    }
}

/// Nodes that start as cordoned and can be patched; anything else is not there.
fn nodes() -> impl FnMut(&Call) -> (u16, Value) + Send + 'static {
    let mut schedulable: Vec<String> = Vec::new();
    move |call| {
        let name = call.path.rsplit('/').next().unwrap_or_default().to_owned();
        match (call.method.as_str(), call.path.contains("/nodes/")) {
            ("PATCH", true) => {
                schedulable.push(name.clone());
                (200, node(&name, false))
            }
            ("GET", true) => (200, node(&name, !schedulable.contains(&name))),
            _ => not_found(),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_newest_is_undone_first_and_each_is_verified_by_a_fresh_look() {
    let mut undoing = undoing(nodes());
    undoing.stack.register(uncordon("a")).await.unwrap();
    undoing.stack.register(uncordon("b")).await.unwrap();
    assert_eq!(undoing.stack.undo_cluster().await, UndoReport { complete: true, failed: vec![] });
    let asked: Vec<String> = undoing.log.of("").iter().map(|call| format!("{} {}", call.method, call.path)).collect();
    let one = |node: &str| ["GET", "PATCH", "GET"].map(|method| format!("{method} /api/v1/nodes/{node}"));
    assert_eq!(asked, [one("b"), one("a")].concat());
    assert_eq!(
        undoing.recorded(),
        [
            ("uncordon node/a".into(), UndoState::Registered),
            ("uncordon node/b".into(), UndoState::Registered),
            ("uncordon node/b".into(), UndoState::Verified),
            ("uncordon node/a".into(), UndoState::Verified),
        ]
    );
    assert!(undoing.stack.undo_all().await.complete, "a second time there is nothing to do");
    assert_eq!(undoing.log.of("").len(), 6);
}

#[tokio::test(start_paused = true)]
async fn an_undo_whose_state_does_not_come_back_is_named_with_the_command_for_it() {
    // The patch is accepted, but something sets the node back.
    let mut undoing = undoing(|_| (200, node("a", true)));
    undoing.stack.register(uncordon("a")).await.unwrap();
    let begun = Instant::now();
    let report = undoing.stack.undo_all().await;
    assert!(begun.elapsed().as_secs() <= 30);
    assert!(!report.complete);
    assert!(report.failed[0].starts_with("uncordon node/a: not as before within 30 s"), "{report:?}");
    assert!(report.failed[0].ends_with("by hand: kubectl uncordon a"), "{report:?}");
    assert_eq!(undoing.recorded().last().unwrap().1, UndoState::Failed);
    assert_eq!(undoing.stack.left(), [uncordon("a")]);
}

#[tokio::test(start_paused = true)]
async fn a_schedulable_node_with_the_taint_of_a_cordon_is_not_yet_as_before() {
    let mut looks = 0;
    let undoing = undoing(move |_| {
        looks += 1;
        let mut node = node("a", false);
        if looks < 5 {
            node["spec"]["taints"] = json!([{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]);
        }
        (200, node)
    });
    undoing.stack.register(uncordon("a")).await.unwrap();
    assert!(undoing.stack.undo_all().await.complete);
    assert_eq!(undoing.log.of("GET").len(), 5);
    assert!(undoing.log.of("PATCH").is_empty(), "a node that is schedulable again needs no patch");
}

#[tokio::test(start_paused = true)]
async fn conflicts_and_a_server_that_restarts_are_put_up_with_but_a_missing_right_is_not() {
    for (code, complete) in [(409, true), (503, true), (504, true), (403, false), (422, false)] {
        let (mut inner, mut failures) = (nodes(), 0);
        let undoing = undoing(move |call| {
            failures += 1;
            if failures <= 3 { failure(code, "no", &[]) } else { inner(call) }
        });
        undoing.stack.register(uncordon("a")).await.unwrap();
        assert_eq!(undoing.stack.undo_all().await.complete, complete, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_lies_in_a_namespace_of_ours_goes_with_it() {
    let mut deleted = false;
    let mut undoing = undoing(move |call| {
        deleted |= call.method == "DELETE";
        if call.path == "/api/v1/namespaces/app" && !deleted {
            return (200, ours());
        }
        not_found()
    });
    undoing.stack.register(Undo::RemoveNamespace { name: "app".into() }).await.unwrap();
    undoing.stack.register(template_of("deployment/shop", "app")).await.unwrap();
    assert!(undoing.stack.undo_cluster().await.complete);
    assert!(undoing.log.of("").is_empty(), "neither is due while load may still run");
    assert!(undoing.stack.undo_all().await.complete);
    assert!(undoing.log.of("deployments/shop").is_empty());
    let last: Vec<_> = undoing.recorded().into_iter().skip(2).collect();
    assert_eq!(
        last,
        [
            ("remove namespace/app".into(), UndoState::Verified),
            ("restore the template of deployment/shop".into(), UndoState::Verified)
        ]
    );
}

fn ours() -> Value {
    json!({"metadata": {"name": "app", "labels": {"app.kubernetes.io/managed-by": "evenkeel"}}})
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_evenkeel_did_not_make_is_left_alone() {
    let undoing = undoing(|_| (200, json!({"metadata": {"name": "app"}})));
    undoing.stack.register(Undo::RemoveNamespace { name: "app".into() }).await.unwrap();
    assert!(undoing.stack.undo_all().await.complete);
    assert!(undoing.log.of("DELETE").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_stays_makes_what_lies_in_it_fail_too() {
    let undoing = undoing(|_| (200, ours()));
    undoing.stack.register(Undo::RemoveNamespace { name: "app".into() }).await.unwrap();
    undoing.stack.register(template_of("deployment/shop", "app")).await.unwrap();
    let report = undoing.stack.undo_all().await;
    assert_eq!(report.failed.len(), 2, "{report:?}");
    assert!(report.failed[0].ends_with("by hand: kubectl delete namespace app"), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_template_is_replaced_as_a_whole_and_its_rollout_waited_for() {
    let mut template = json!({"spec": {"containers": [{"name": "web", "image": "web:2"}]}});
    let mut looks_after = 0;
    let undoing = undoing(move |call| match (call.method.as_str(), call.path.as_str()) {
        ("PATCH", "/apis/apps/v1/namespaces/other/deployments/shop") => {
            assert_eq!(call.body[0]["op"], "replace");
            template = call.body[0]["value"].clone();
            (200, json!({}))
        }
        ("GET", "/apis/apps/v1/namespaces/other/deployments/shop") => {
            looks_after += u32::from(template["spec"]["containers"][0]["image"] == "web:1");
            let observed = if looks_after < 4 { 2 } else { 3 };
            let status = json!({"observedGeneration": observed, "replicas": 1, "updatedReplicas": 1,
                "availableReplicas": 1});
            (
                200,
                json!({"metadata": {"name": "shop", "generation": 3}, "status": status,
                "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "shop"}}, "template": template}}),
            )
        }
        ("GET", "/api/v1/namespaces/other/pods") => (200, json!({"metadata": {}, "items": []})),
        _ => not_found(),
    });
    undoing.stack.register(template_of("deployment/shop", "other")).await.unwrap();
    assert!(undoing.stack.undo_cluster().await.complete);
    assert_eq!(undoing.log.of("PATCH").len(), 1);
    assert_eq!(undoing.log.of("GET /apis").len(), 5, "before, verified, and until the controller has seen it");
}

#[tokio::test(start_paused = true)]
async fn of_one_object_the_first_state_counts() {
    let mut undoing = undoing(nodes());
    undoing.stack.register(Undo::Cordon { node: "a".into() }).await.unwrap();
    undoing.stack.register(uncordon("a")).await.unwrap();
    undoing.stack.register(template_of("deployment/shop", "app")).await.unwrap();
    let mut later = template_of("deployment/shop", "app");
    if let Undo::RestoreTemplate { template, .. } = &mut later {
        *template = json!({}).into();
    }
    undoing.stack.register(later).await.unwrap();
    assert_eq!(undoing.stack.left(), [Undo::Cordon { node: "a".into() }, template_of("deployment/shop", "app")]);
    assert_eq!(undoing.recorded().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_withdrawn_undo_is_not_carried_out() {
    let undoing = undoing(|_| (200, json!({"metadata": {"name": "app"}})));
    let undo = Undo::RemoveNamespace { name: "app".into() };
    undoing.stack.register(undo.clone()).await.unwrap();
    undoing.stack.withdraw(&undo).await;
    assert!(undoing.stack.undo_all().await.complete);
    assert!(undoing.log.of("").is_empty());
}

#[test]
fn an_undo_that_was_written_down_reads_back_as_itself() {
    let all = [
        uncordon("a"),
        Undo::Cordon { node: "a".into() },
        Undo::AwaitPods { namespace: "app".into(), selector: [("app".into(), "shop".into())].into(), ready: 3 },
        Undo::RestoreReplicas { workload: "statefulset/store".parse().unwrap(), namespace: "app".into(), replicas: 3 },
        Undo::RemoveObject {
            api_version: "batch/v1".into(),
            kind: "Job".into(),
            plural: "jobs".into(),
            namespace: "app".into(),
            name: "agent".into(),
        },
        Undo::RemoveNamespace { name: "app".into() },
    ];
    for undo in all {
        let text = serde_json::to_string(&undo).unwrap();
        assert_eq!(serde_json::from_str::<Undo>(&text).unwrap(), undo, "{text}");
    }
}
