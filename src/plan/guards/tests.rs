use serde_json::json;

use super::*;
use crate::plan::facts::NodeFact;

fn node(name: &str, zone: &str, control_plane: bool) -> NodeFact {
    let labels = [(ZONE_LABEL.to_owned(), zone.to_owned())].into();
    NodeFact { name: name.to_owned(), labels, ready: true, control_plane, ..NodeFact::default() }
}

fn pod(name: &str, on: &str, ready: bool) -> PodFact {
    PodFact {
        name: name.to_owned(),
        labels: [("app".to_owned(), "store".to_owned())].into(),
        node: Some(on.to_owned()),
        running: true,
        ready,
        owner: Some("statefulset/store".to_owned()),
        ..PodFact::default()
    }
}

fn facts() -> ClusterFacts {
    ClusterFacts {
        nodes: vec![
            node("c1", "a", true),
            node("c2", "b", true),
            node("c3", "c", true),
            node("w1", "a", false),
            node("w2", "b", false),
            node("w3", "b", false),
        ],
        pods: vec![pod("store-0", "w1", true), pod("store-1", "w2", true), pod("store-2", "w3", true)],
        workloads: vec![WorkloadFact {
            workload: "statefulset/store".parse().unwrap(),
            replicas: 3,
            selector: serde_json::from_value(json!({"matchLabels": {"app": "store"}})).unwrap(),
            strategy: crate::plan::facts::Strategy::default(),
            min_ready_seconds: 0,
            template: crate::plan::facts::Template::default(),
        }],
        ..ClusterFacts::default()
    }
}

fn guards(json: serde_json::Value) -> Guards {
    serde_json::from_value(json).unwrap()
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn nodes_are_counted_with_those_that_are_away_already() {
    let two = guards(json!({"maxNodes": 2}));
    let facts = facts();
    assert_eq!(nodes(&two, &names(&["w1"]), &names(&["w2"]), &facts), Ok(()));
    assert_eq!(nodes(&two, &names(&["w1", "w2"]), &names(&["w2"]), &facts), Ok(()), "one node is one node");
    let problem = nodes(&two, &names(&["w1", "w2"]), &names(&["w3"]), &facts).unwrap_err();
    assert!(matches!(problem, GuardProblem::Nodes { count: 3, most: 2, .. }), "{problem}");
}

#[test]
fn zones_are_those_of_the_nodes_and_a_protected_node_is_never_taken() {
    let one_zone = guards(json!({"maxZones": 1, "protectedNodes": ["w1"]}));
    let facts = facts();
    assert_eq!(nodes(&one_zone, &[], &names(&["w2", "w3"]), &facts), Ok(()));
    assert!(matches!(
        nodes(&one_zone, &names(&["c1"]), &names(&["w2"]), &facts),
        Err(GuardProblem::Zones { count: 2, .. })
    ));
    assert!(matches!(nodes(&one_zone, &[], &names(&["w1"]), &facts), Err(GuardProblem::ProtectedNode { .. })));
}

#[test]
fn a_majority_of_the_control_plane_stays_and_a_single_one_may_be_named() {
    let none = Guards::default();
    let mut facts = facts();
    assert_eq!(nodes(&none, &[], &names(&["c1"]), &facts), Ok(()));
    let problem = nodes(&none, &names(&["c1"]), &names(&["c2"]), &facts).unwrap_err();
    assert!(matches!(problem, GuardProblem::ControlPlane { taken: 2, all: 3, .. }), "{problem}");
    facts.nodes.retain(|node| node.name != "c2" && node.name != "c3");
    assert_eq!(nodes(&none, &[], &names(&["c1"]), &facts), Ok(()));
}

#[test]
fn a_quorum_stays_and_unready_pods_do_not_count_for_it() {
    let quorum = guards(json!({"quorum": ["statefulset/store"]}));
    let mut facts = facts();
    let taken = |facts: &ClusterFacts, count: usize| facts.pods.iter().take(count).cloned().collect::<Vec<_>>();
    let check = |facts: &ClusterFacts, count: usize, ours: bool| {
        let taken = taken(facts, count);
        pods(&quorum, &taken.iter().collect::<Vec<_>>(), facts, ours)
    };
    assert_eq!(check(&facts, 1, false), Ok(()));
    assert!(matches!(check(&facts, 2, false), Err(GuardProblem::Quorum { taken: 2, majority: 2, .. })));
    facts.pods[2].ready = false;
    assert!(matches!(check(&facts, 1, true), Err(GuardProblem::Quorum { ready: 2, taken: 1, .. })));
}

#[test]
fn the_last_ready_pod_stays_unless_it_is_ours_or_meant() {
    let mut facts = facts();
    facts.pods.truncate(1);
    let taken = facts.pods.clone();
    let taken: Vec<&PodFact> = taken.iter().collect();
    let none = Guards::default();
    assert!(matches!(pods(&none, &taken, &facts, false), Err(GuardProblem::LastReplica { .. })));
    assert_eq!(pods(&none, &taken, &facts, true), Ok(()));
    assert_eq!(pods(&guards(json!({"allowLastReplica": true})), &taken, &facts, false), Ok(()));
}

#[test]
fn pods_of_a_daemon_set_stay_where_they_are_and_so_are_not_counted() {
    let mut facts = facts();
    facts.pods[0].owner = Some("daemonset/agent".to_owned());
    let on = pods_on(&names(&["w1", "w2"]), &facts);
    assert_eq!(on.iter().map(|pod| pod.name.as_str()).collect::<Vec<_>>(), ["store-1"]);
    let one = guards(json!({"maxPods": 1}));
    assert_eq!(pods(&one, &on, &facts, true), Ok(()));
    let all: Vec<&PodFact> = facts.pods.iter().collect();
    assert!(matches!(pods(&one, &all, &facts, true), Err(GuardProblem::Pods { count: 3, most: 1, .. })));
}
