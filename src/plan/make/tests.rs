use std::fs;

use super::*;
use crate::{
    experiment::read,
    plan::facts::{CONTROL_PLANE_LABEL, NodeFact, PodFact},
};

fn fixture(name: &str) -> String {
    let path = format!("{}/tests/fixtures/experiment/good/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(path).unwrap()
}

fn experiment(text: &str) -> Experiment {
    read("file.yaml", text).unwrap_or_else(|problems| panic!("{problems}"))
}

fn node(name: &str, control_plane: bool) -> NodeFact {
    let mut labels: std::collections::BTreeMap<String, String> =
        [("zone".to_owned(), name[name.len() - 1..].to_owned())].into();
    if control_plane {
        labels.insert(CONTROL_PLANE_LABEL.to_owned(), String::new());
    }
    NodeFact { name: name.to_owned(), ready: true, control_plane, labels, ..NodeFact::default() }
}

fn empty_cluster() -> ClusterFacts {
    ClusterFacts {
        on: "kind:ek".to_owned(),
        server_version: "v1.34.0".to_owned(),
        nodes: vec![
            node("ek-worker3", false),
            node("ek-control-plane", true),
            node("ek-worker", false),
            node("ek-worker2", false),
        ],
        ..ClusterFacts::default()
    }
}

/// The facts of a cluster in which the objects of an experiment stand already.
fn standing(experiment: &Experiment, pods: &[(&str, &str)]) -> ClusterFacts {
    let objects = &experiment.spec.given.apply;
    let workloads: Vec<_> = objects.iter().filter_map(manifests::workload).collect();
    let labels = workloads[0].template.labels.clone();
    ClusterFacts {
        namespace_exists: true,
        pods: pods
            .iter()
            .map(|(name, node)| PodFact {
                name: (*name).to_owned(),
                labels: labels.clone(),
                node: Some((*node).to_owned()),
                running: true,
                ready: true,
                created: "2026-01-01T00:00:00Z".to_owned(),
                ..PodFact::default()
            })
            .collect(),
        workloads,
        budgets: objects.iter().filter_map(manifests::budget).collect(),
        services: objects.iter().filter_map(manifests::service).collect(),
        ..empty_cluster()
    }
}

fn told(problems: &[PlanProblem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn a_plan_for_a_namespace_of_its_own_reads_well() {
    let plan = make(&experiment(&fixture("drain")), &empty_cluster()).unwrap();
    insta::assert_snapshot!("created", plan.to_text());
    let json = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), plan);
}

#[test]
fn a_plan_for_a_service_that_stands_names_what_it_would_pick() {
    let mut experiment = experiment(&fixture("drain"));
    let pods = [("shop-a", "ek-worker2"), ("shop-b", "ek-worker2"), ("shop-c", "ek-worker")];
    let facts = standing(&experiment, &pods);
    experiment.spec.given.apply.clear();
    let extra = serde_json::json!([
        {"deletePods": {"name": "kill", "selector": {"app": "shop"}, "count": 2, "force": true}},
        {"scale": {"workload": "deployment/shop", "replicas": 5}},
        {"cordon": {"nodes": {"selector": {"zone": "r"}}}},
        {"uncordon": {"nodes": {"names": ["ek-worker"]}}},
    ]);
    experiment.spec.steps.extend(serde_json::from_value::<Vec<Step>>(extra).unwrap());
    insta::assert_snapshot!("standing", make(&experiment, &facts).unwrap().to_text());
}

#[test]
fn all_that_stands_in_the_way_is_told_at_once() {
    let mut experiment = experiment(&fixture("drain"));
    let mut facts = standing(&experiment, &[("shop-a", "ek-worker")]);
    assert_eq!(
        told(&make(&experiment, &facts).unwrap_err()),
        ["namespace shop exists already, but `apply` would create it and remove it in the end; choose another name, \
          or remove it with `kubectl delete namespace shop`"]
    );
    experiment.spec.given.apply.clear();
    facts.workloads.clear();
    facts.budgets.clear();
    facts.services[0].kind = "ClusterIP".to_owned();
    facts.pods.clear();
    for node in &mut facts.nodes {
        node.ready = false;
    }
    insta::assert_snapshot!("problems", told(&make(&experiment, &facts).unwrap_err()).join("\n"));
    facts.namespace_exists = false;
    let without = told(&make(&experiment, &facts).unwrap_err());
    assert_eq!(without[0], "namespace shop does not exist; create it, or give the objects under `apply`");
}

#[test]
fn more_than_there_can_be_is_refused_before_anything_is_applied() {
    let text = fixture("drain");
    let table = [
        ("count: 1}", "count: 4}", "step 1 (drain) asks for 4 nodes with pods, but there are at most 3"),
        (
            "- drain:\n        nodes: {withPods: {app: shop}, count: 1}\n        ignoreDaemonsets: true\n        timeout: 3m",
            "- deletePods: {name: drain, selector: {app: shop}, count: 4}",
            "step 1 (drain) asks for 4 pods app=shop, but there are at most 3",
        ),
        (
            "nodes: {withPods: {app: shop}, count: 1}",
            "nodes: {names: [nowhere]}",
            "step 1 (drain): failed to pick nodes",
        ),
    ];
    for (from, to, problem) in table {
        assert!(text.contains(from), "{from}");
        let problems = make(&experiment(&text.replacen(from, to, 1)), &empty_cluster()).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].to_string().starts_with(problem), "{}", problems[0]);
    }
}

#[test]
fn an_object_whose_rights_cannot_be_told_is_refused() {
    let mut experiment = experiment(&fixture("drain"));
    let widget = serde_json::json!({"apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": "w"}});
    experiment.spec.given.apply.push(widget);
    let problems = make(&experiment, &empty_cluster()).unwrap_err();
    assert!(matches!(problems.as_slice(), [PlanProblem::UnknownKind { kind, .. }] if kind == "Widget"));
}

#[test]
fn agents_stand_where_no_step_can_reach_each_on_a_node_of_its_own_while_there_are_some() {
    let table = [
        (r#"{"withPods": {"app": "shop"}}"#, vec!["ek-control-plane"]),
        (r#"{"names": ["ek-worker"]}"#, vec!["ek-worker2", "ek-worker3", "ek-control-plane"]),
        (r#"{"selector": {"zone": "2"}}"#, vec!["ek-worker", "ek-worker3", "ek-control-plane"]),
        (
            r#"{"selector": {"node-role.kubernetes.io/control-plane": ""}}"#,
            vec!["ek-worker", "ek-worker2", "ek-worker3"],
        ),
    ];
    let mut experiment = experiment(&fixture("drain"));
    experiment.spec.agents = 32.try_into().unwrap();
    for (pick, spared) in table {
        let nodes: serde_json::Value = serde_json::from_str(pick).unwrap();
        let steps = serde_json::json!([{"parallel": [{"cordon": {"nodes": nodes}}, {"wait": {"time": "1s"}}]}]);
        experiment.spec.steps = serde_json::from_value(steps).unwrap();
        assert_eq!(agent_nodes(&experiment, &empty_cluster()).unwrap(), spared, "{pick}");
    }
    let spared = ["ek-worker", "ek-worker2", "ek-worker3"];
    for (agents, nodes) in [(1, &spared[..1]), (2, &spared[..2]), (32, &spared[..])] {
        experiment.spec.agents = agents.try_into().unwrap();
        assert_eq!(agent_nodes(&experiment, &empty_cluster()).unwrap(), nodes, "{agents} agents");
    }
    let mut facts = empty_cluster();
    facts.nodes.retain(|node| !node.control_plane);
    experiment.spec.steps =
        serde_json::from_value(serde_json::json!([{"drain": {"nodes": {"withPods": {"app": "shop"}}}}])).unwrap();
    assert_eq!(
        agent_nodes(&experiment, &facts),
        Err(PlanProblem::NoSparedNode { nodes: "ek-worker, ek-worker2, ek-worker3".to_owned() })
    );
}

#[test]
fn an_outside_lane_and_a_wait_need_no_rights_beyond_the_watches_and_the_lease() {
    let mut experiment = experiment(&fixture("drain"));
    experiment.spec.given.apply.clear();
    experiment.spec.load.truncate(1);
    experiment.spec.steps = serde_json::from_value(serde_json::json!([{"wait": {"time": "1s"}}])).unwrap();
    let rights = rights::needed(&experiment).unwrap();
    let reads = ["get", "list", "watch"];
    let beyond: Vec<&str> = rights
        .iter()
        .filter(|right| !right.verbs.iter().all(|verb| reads.contains(&verb.as_str())))
        .map(|right| right.resource.as_str())
        .collect();
    assert_eq!(beyond, ["leases"], "{rights:?}");
    let cluster: Vec<&str> =
        rights.iter().filter(|right| right.namespace.is_none()).map(|right| right.resource.as_str()).collect();
    assert_eq!(cluster, ["nodes"]);
}

#[test]
fn a_step_adds_the_rights_that_it_uses() {
    let table = [
        (
            r#"{"drain": {"nodes": {"names": ["a"]}}}"#,
            vec![" nodes: get list patch watch", " pods: get list", " pods/eviction: create", "apps daemonsets: get"],
        ),
        (
            r#"{"drain": {"nodes": {"names": ["a"]}, "disableEviction": true}}"#,
            vec![" nodes: get list patch watch", " pods: delete get list", "apps daemonsets: get"],
        ),
        (r#"{"deletePods": {"selector": {"app": "shop"}}}"#, vec![" nodes: get list watch"]),
    ];
    let mut experiment = experiment(&fixture("drain"));
    experiment.spec.given.apply.clear();
    for (step, wanted) in table {
        experiment.spec.steps = vec![serde_json::from_str(step).unwrap()];
        let rights = rights::needed(&experiment).unwrap();
        let cluster: Vec<String> = rights
            .iter()
            .filter(|right| right.namespace.is_none())
            .map(|right| format!("{} {}: {}", right.api_group, right.resource, right.verbs.join(" ")))
            .collect();
        assert_eq!(cluster, wanted, "{step}");
    }
    let pods = rights::needed(&experiment).unwrap();
    let pods = pods.iter().find(|right| right.resource == "pods" && right.namespace.is_some()).unwrap();
    assert!(pods.verbs.contains(&"delete".to_owned()));
}

#[test]
fn times_add_up_and_a_budget_that_allows_nothing_takes_all_of_the_timeout() {
    let text = fixture("drain");
    let plan = make(&experiment(&text), &empty_cluster()).unwrap();
    let time = plan.time;
    assert_eq!(time.total_ms(), time.setup_ms + time.before_ms + time.fault_ms + time.undo_ms + time.after_ms);
    assert_eq!((time.before_ms, time.after_ms), (5_000, 10_000));
    // One pod on the node: five seconds of preStop and one to stop. Then two seconds beside the update, whose three
    // rounds of start and probe end with the last old pod's six seconds.
    assert_eq!(time.fault_ms, 1_000 + 6_000 + 2_000 + 3 * 3_000 + 6_000);
    let blocked = text.replace("minAvailable: 50%", "minAvailable: 100%");
    let plan = make(&experiment(&blocked), &empty_cluster()).unwrap();
    assert_eq!(plan.budgets[0].disruptions_allowed, 0);
    assert!(plan.budgets[0].words.ends_with("no eviction is allowed: a drain of these pods cannot end"));
    assert_eq!(plan.time.fault_ms - time.fault_ms, 180_000 - 7_000);
}

#[test]
fn absurd_figures_overflow_nothing() {
    let text = fixture("drain")
        .replace("periodSeconds: 1", "periodSeconds: 9223372036854775807")
        .replace("replicas: 3", "replicas: 2147483647")
        .replace("minAvailable: 50%", "minAvailable: 2147483647%");
    let plan = make(&experiment(&text), &empty_cluster()).unwrap();
    assert!(plan.time.total_ms() > 0 && !plan.to_text().is_empty());
}
