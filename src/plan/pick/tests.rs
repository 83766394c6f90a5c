use super::*;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn node(name: &str) -> NodeFact {
    NodeFact { name: name.to_owned(), ready: true, labels: labels(&[("zone", "a")]), ..NodeFact::default() }
}

fn pod(name: &str, node: &str, created: &str) -> PodFact {
    PodFact {
        name: name.to_owned(),
        labels: labels(&[("app", "shop")]),
        node: Some(node.to_owned()),
        running: true,
        ready: true,
        created: created.to_owned(),
        ..PodFact::default()
    }
}

fn facts() -> ClusterFacts {
    let mut control_plane = node("cp");
    control_plane.control_plane = true;
    control_plane.labels.insert(CONTROL_PLANE_LABEL.to_owned(), String::new());
    ClusterFacts {
        nodes: vec![node("w3"), node("w1"), node("w2"), control_plane],
        pods: vec![
            pod("shop-a", "w2", "2026-01-01T00:00:02Z"),
            pod("shop-b", "w2", "2026-01-01T00:00:01Z"),
            pod("shop-c", "w1", "2026-01-01T00:00:01Z"),
            pod("shop-d", "cp", "2026-01-01T00:00:03Z"),
        ],
        ..ClusterFacts::default()
    }
}

fn pick(json: serde_json::Value) -> NodePick {
    serde_json::from_value(json).unwrap()
}

fn names(picked: Vec<Picked>) -> Vec<String> {
    picked.into_iter().map(|one| one.node).collect()
}

#[test]
fn nodes_with_most_pods_come_first_then_by_name() {
    let picked = pick_nodes(&pick(serde_json::json!({"withPods": {"app": "shop"}})), &facts()).unwrap();
    assert_eq!(picked[0], Picked { node: "w2".into(), why: "runs 2 pods with app=shop".into() });
    assert_eq!(names(picked), ["w2", "w1"]);
}

#[test]
fn equally_full_nodes_are_taken_by_name() {
    let mut facts = facts();
    facts.pods.remove(0);
    let picked = pick_nodes(&pick(serde_json::json!({"withPods": {"app": "shop"}})), &facts).unwrap();
    assert_eq!(names(picked), ["w1", "w2"]);
}

#[test]
fn pods_that_are_terminating_or_not_yet_running_do_not_count() {
    let mut facts = facts();
    facts.pods[0].terminating = true;
    facts.pods[1].running = false;
    let picked = pick_nodes(&pick(serde_json::json!({"withPods": {"app": "shop"}})), &facts).unwrap();
    assert_eq!(names(picked), ["w1"]);
    let all = pick_pods(&labels(&[("app", "shop")]), 2, &facts).unwrap();
    assert_eq!(all.iter().map(|one| one.pod.as_str()).collect::<Vec<_>>(), ["shop-c", "shop-d"]);
}

#[test]
fn the_control_plane_is_taken_only_where_it_is_meant() {
    let table = [
        (serde_json::json!({"selector": {"zone": "a"}}), vec!["w1", "w2", "w3"]),
        (serde_json::json!({"selector": {CONTROL_PLANE_LABEL: ""}}), vec!["cp"]),
        (serde_json::json!({"names": ["cp"]}), vec!["cp"]),
        (serde_json::json!({"selector": {"zone": "a"}, "count": 2}), vec!["w1", "w2"]),
        (serde_json::json!({"names": ["w3", "w1"]}), vec!["w3", "w1"]),
    ];
    for (json, wanted) in table {
        assert_eq!(names(pick_nodes(&pick(json.clone()), &facts()).unwrap()), wanted, "{json}");
    }
}

#[test]
fn too_few_nodes_are_an_error_that_names_those_found() {
    let error = pick_nodes(&pick(serde_json::json!({"withPods": {"app": "shop"}, "count": 3})), &facts()).unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"failed to pick 3 of the nodes with pods app=shop: found ["w2", "w1"]; lower `count` or start more"#
    );
    let none = pick_nodes(&pick(serde_json::json!({"selector": {"zone": "z"}})), &facts()).unwrap_err();
    assert_eq!(none, PickProblem::TooFewNodes { wanted: 1, rule: "with labels zone=z".into(), found: vec![] });
    let unknown = pick_nodes(&pick(serde_json::json!({"names": ["w9"]})), &facts()).unwrap_err();
    assert!(matches!(unknown, PickProblem::NoSuchNode { missing, .. } if missing == ["w9"]));
}

#[test]
fn a_pick_without_a_single_rule_is_refused() {
    for json in [serde_json::json!({}), serde_json::json!({"names": ["w1"], "selector": {"zone": "a"}})] {
        assert_eq!(pick_nodes(&pick(json), &facts()), Err(PickProblem::NoSingleRule));
    }
}

#[test]
fn pods_are_taken_oldest_first_then_by_name() {
    let picked = pick_pods(&labels(&[("app", "shop")]), 3, &facts()).unwrap();
    assert_eq!(picked.iter().map(|one| one.pod.as_str()).collect::<Vec<_>>(), ["shop-b", "shop-c", "shop-a"]);
    assert_eq!(
        pick_pods(&labels(&[("app", "shop")]), 5, &facts()).unwrap_err().to_string(),
        "failed to pick 5 of the running pods with labels app=shop: found [\"shop-b\", \"shop-c\", \"shop-a\", \"shop-d\"]; \
         lower `count` or scale the workload up"
    );
}
