use k8s_openapi::api::{apps::v1::ControllerRevision, core::v1::Pod};
use serde_json::{Value, json};

use super::{
    super::{
        bench::{Bench, NAMESPACE, pass},
        revisions::{self, POD_REVISION},
    },
    *,
};

fn is_going(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

fn bench(nodes: &[&str], spec: &Value) -> (Bench, DaemonSets) {
    let bench = Bench::new();
    for node in nodes {
        bench.create(&kinds::NODE, &json!({"metadata": {"name": node, "labels": {"zone": node}}, "spec": {}}));
    }
    let mut whole = json!({
        "selector": {"matchLabels": {"app": "agent"}},
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}},
        "template": template("one"),
    });
    for (key, value) in spec.as_object().unwrap() {
        whole[key] = value.clone();
    }
    bench.create(&kinds::DAEMON_SET, &json!({"metadata": {"name": "agent"}, "spec": whole}));
    let controller = DaemonSets::new(Arc::clone(&bench.registry));
    (bench, controller)
}

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "agent"}}, "spec": {"containers": [{"name": "main", "image": image}]}})
}

fn set_image(bench: &Bench, image: &str) {
    bench.change(&kinds::DAEMON_SET, "agent", |set| set["spec"]["template"] = template(image));
}

/// Binds each pod to the node that it is tied to, and lets it be ready.
fn schedule(bench: &Bench) {
    for pod in bench.pods() {
        let name = pod.metadata.name.as_deref().unwrap();
        if !is_going(&pod) && !pods::is_ready(&pod) {
            bench.start(name, nodes::target(&pod).unwrap());
            bench.ready(name);
        }
    }
}

/// Node and image of each living pod, sorted.
fn where_what(bench: &Bench) -> Vec<(String, String)> {
    let pods = bench.pods();
    let living = pods.iter().filter(|pod| !is_going(pod));
    let mut found: Vec<(String, String)> = living
        .map(|pod| {
            let image = pod.spec.as_ref().unwrap().containers[0].image.clone().unwrap();
            (nodes::target(pod).unwrap().to_owned(), image)
        })
        .collect();
    found.sort();
    found
}

fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|(node, image)| ((*node).to_owned(), (*image).to_owned())).collect()
}

#[test]
fn each_node_gets_a_pod_that_is_tied_to_it_and_the_status_counts() {
    let (bench, controller) = bench(&["a", "b"], &json!({}));
    bench.settle(&controller, "agent");
    assert_eq!(where_what(&bench), pairs(&[("a", "one"), ("b", "one")]));
    let pod = &bench.pods()[0];
    assert!(pod.spec.as_ref().unwrap().node_name.is_none(), "binding is the scheduler's");
    assert!(pods::labels(&pod.metadata).contains_key(POD_REVISION));
    assert_eq!(pod.spec.as_ref().unwrap().tolerations.as_ref().unwrap().len(), 6);
    schedule(&bench);
    bench.settle(&controller, "agent");
    let status = bench.status(&kinds::DAEMON_SET, "agent");
    assert_eq!(
        status,
        json!({"currentNumberScheduled": 2, "desiredNumberScheduled": 2, "numberAvailable": 2, "numberMisscheduled": 0,
            "numberReady": 2, "observedGeneration": 1, "updatedNumberScheduled": 2}),
    );
}

#[test]
fn a_node_that_comes_gets_a_pod_and_one_that_no_longer_matches_loses_it() {
    let mut chosen = template("one");
    chosen["spec"]["nodeSelector"] = json!({"zone": "a"});
    let (bench, controller) = bench(&["a", "b"], &json!({"template": chosen}));
    bench.settle(&controller, "agent");
    assert_eq!(where_what(&bench), pairs(&[("a", "one")]));
    bench.change(&kinds::NODE, "b", |node| node["metadata"]["labels"]["zone"] = json!("a"));
    bench.settle(&controller, "agent");
    assert_eq!(where_what(&bench), pairs(&[("a", "one"), ("b", "one")]));
    schedule(&bench);
    bench.change(&kinds::NODE, "a", |node| node["metadata"]["labels"]["zone"] = json!("x"));
    bench.settle(&controller, "agent");
    assert_eq!(where_what(&bench), pairs(&[("b", "one")]));
    let status = bench.status(&kinds::DAEMON_SET, "agent");
    assert_eq!((&status["numberMisscheduled"], &status["desiredNumberScheduled"]), (&json!(1), &json!(1)));
}

#[test]
fn only_news_of_a_node_concern_the_sets() {
    let (bench, controller) = bench(&["a"], &json!({}));
    let before = bench.registry.get(&kinds::NODE, "", "a").unwrap();
    let change = || {
        let object = bench.registry.get(&kinds::NODE, "", "a").unwrap();
        Change { op: Op::Modified, object, before: Some(Arc::clone(&before)) }
    };
    bench.change(&kinds::NODE, "a", |node| node["metadata"]["annotations"] = json!({"beat": "1"}));
    assert!(controller.keys(&change()).is_empty());
    bench.change(&kinds::NODE, "a", |node| node["spec"]["taints"] = json!([{"key": "x", "effect": "NoExecute"}]));
    assert_eq!(controller.keys(&change()), [Key::new(NAMESPACE, "agent")]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_pod_is_replaced_and_the_next_failure_has_to_wait() {
    let (bench, controller) = bench(&["a"], &json!({}));
    bench.settle(&controller, "agent");
    let first = bench.living()[0].clone();
    bench.start(&first, "a");
    bench.finish(&first, 1);
    bench.settle(&controller, "agent");
    let second = bench.living()[0].clone();
    assert_ne!(first, second);
    let message = format!("Found failed daemon pod shop/{first} on node a, will try to kill it");
    assert!(bench.told("FailedDaemonPod", &message));
    bench.start(&second, "a");
    bench.finish(&second, 1);
    assert_eq!(bench.settle(&controller, "agent"), Next::After(Duration::from_secs(1)));
    assert_eq!(bench.living(), std::slice::from_ref(&second));
    pass(1).await;
    bench.settle(&controller, "agent");
    assert_ne!(bench.living(), [second]);
}

#[test]
fn an_update_replaces_one_node_after_another() {
    let (bench, controller) = bench(&["a", "b", "c"], &json!({}));
    bench.settle(&controller, "agent");
    schedule(&bench);
    set_image(&bench, "two");
    bench.settle(&controller, "agent");
    assert_eq!(where_what(&bench), pairs(&[("b", "one"), ("c", "one")]), "the old pod on a is going");
    bench.all_gone();
    bench.settle(&controller, "agent");
    assert_eq!(where_what(&bench), pairs(&[("a", "two"), ("b", "one"), ("c", "one")]));
    bench.settle(&controller, "agent");
    assert!(bench.leaving().is_empty(), "the new pod on a is not available");
    for _ in 0..6 {
        schedule(&bench);
        bench.settle(&controller, "agent");
        bench.all_gone();
    }
    assert_eq!(where_what(&bench), pairs(&[("a", "two"), ("b", "two"), ("c", "two")]));
    assert_eq!(bench.status(&kinds::DAEMON_SET, "agent")["updatedNumberScheduled"], 3);
}

#[test]
fn an_update_with_surge_creates_first() {
    let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}});
    let (bench, controller) = bench(&["a", "b"], &json!({"updateStrategy": strategy}));
    bench.settle(&controller, "agent");
    schedule(&bench);
    set_image(&bench, "two");
    bench.settle(&controller, "agent");
    assert_eq!(where_what(&bench), pairs(&[("a", "one"), ("a", "two"), ("b", "one")]));
    assert!(bench.leaving().is_empty());
    schedule(&bench);
    bench.settle(&controller, "agent");
    assert_eq!(bench.leaving().len(), 1);
    assert!(where_what(&bench).contains(&("a".to_owned(), "two".to_owned())));
}

#[test]
fn on_delete_waits_for_someone_to_delete() {
    let (bench, controller) = bench(&["a", "b"], &json!({"updateStrategy": {"type": "OnDelete"}}));
    bench.settle(&controller, "agent");
    schedule(&bench);
    set_image(&bench, "two");
    bench.settle(&controller, "agent");
    assert_eq!(where_what(&bench), pairs(&[("a", "one"), ("b", "one")]));
    let on_a = bench.pods().iter().find(|pod| nodes::target(pod) == Some("a")).unwrap().metadata.name.clone().unwrap();
    bench.delete(&on_a);
    bench.all_gone();
    bench.settle(&controller, "agent");
    assert_eq!(where_what(&bench), pairs(&[("a", "two"), ("b", "one")]));
}

#[test]
fn going_back_to_an_old_template_makes_its_revision_the_latest_again() {
    let (bench, controller) = bench(&["a"], &json!({"revisionHistoryLimit": 1}));
    let numbers = |bench: &Bench| {
        let mut all = bench.registry.all::<ControllerRevision>(Some(NAMESPACE));
        revisions::sort(&mut all);
        all.iter().map(|one| (one.revision, revisions::name_of(one).to_owned())).collect::<Vec<_>>()
    };
    bench.settle(&controller, "agent");
    let first = numbers(&bench)[0].clone();
    set_image(&bench, "two");
    bench.settle(&controller, "agent");
    set_image(&bench, "one");
    bench.settle(&controller, "agent");
    let now = numbers(&bench);
    assert_eq!((first.0, now.len(), &now[1]), (1, 2, &(3, first.1)));
    set_image(&bench, "three");
    bench.settle(&controller, "agent");
    schedule(&bench);
    bench.settle(&controller, "agent");
    assert_eq!(numbers(&bench).iter().map(|(number, _)| *number).collect::<Vec<_>>(), [3, 4]);
}

#[test]
fn of_two_revisions_of_one_template_the_later_stays_and_takes_the_pods() {
    let (bench, controller) = bench(&["a"], &json!({}));
    bench.settle(&controller, "agent");
    let mut double = bench.registry.all::<ControllerRevision>(Some(NAMESPACE))[0].as_ref().clone();
    double.metadata.name = Some("agent-double".to_owned());
    double.metadata.resource_version = None;
    double.metadata.labels.as_mut().unwrap().insert(POD_REVISION.to_owned(), "double".to_owned());
    double.revision = 2;
    bench.registry.create_as(&double).unwrap();
    bench.settle(&controller, "agent");
    let left = bench.registry.all::<ControllerRevision>(Some(NAMESPACE));
    assert_eq!(left.iter().map(|one| revisions::name_of(one)).collect::<Vec<_>>(), ["agent-double"]);
    assert_eq!(pods::labels(&bench.pods()[0].metadata)[POD_REVISION], "double");
}

#[test]
fn a_set_that_selects_everything_does_nothing_but_say_so() {
    let (bench, controller) = bench(&["a"], &json!({}));
    bench.force(&kinds::DAEMON_SET, "agent", |set| set["spec"]["selector"] = json!({}));
    controller.reconcile(&Key::new(NAMESPACE, "agent")).unwrap();
    assert!(bench.pods().is_empty());
    assert!(bench.events().iter().any(|(reason, _)| reason == "SelectingAll"));
}
