//! Slices follow their pods.

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::*;
use crate::sandbox::fixture::{self, create, node, patch, pod, running, set_ready, settle, value};
use crate::sandbox::registry::Part;

fn service(registry: &Registry, spec: &Value) {
    let mut whole = json!({"metadata": {"name": "api", "labels": {"team": "a"}}, "spec": {
        "clusterIP": "127.96.1.1", "selector": {"app": "api"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}});
    fixture::merge(&mut whole["spec"], spec);
    create(registry, &kinds::SERVICE, "shop", &whole);
}

fn start(spec: &Value) -> (Arc<Registry>, JoinSet<()>) {
    let registry = fixture::registry();
    for name in ["n1", "n2"] {
        node(
            &registry,
            name,
            &json!({"metadata": {"labels": {"topology.kubernetes.io/zone": format!("zone-{name}")}}}),
        );
    }
    service(&registry, spec);
    let mut tasks = JoinSet::new();
    super::super::run(&mut tasks, &registry, Arc::new(EndpointSlices::new(Arc::clone(&registry))));
    (registry, tasks)
}

fn slices(registry: &Registry) -> Vec<Value> {
    registry.store().list(&kinds::ENDPOINT_SLICE, Some("shop")).1.iter().map(|slice| slice.value()).collect()
}

/// Pods in slices with their conditions: ready, serving, terminating.
fn conditions(registry: &Registry) -> Vec<(String, [bool; 3])> {
    let mut all = Vec::new();
    for slice in slices(registry) {
        for endpoint in slice["endpoints"].as_array().unwrap() {
            let is = |name: &str| endpoint["conditions"][name] == true;
            let pod = endpoint["targetRef"]["name"].as_str().unwrap().to_owned();
            all.push((pod, [is("ready"), is("serving"), is("terminating")]));
        }
    }
    all.sort();
    all
}

#[tokio::test(start_paused = true)]
async fn a_service_without_pods_has_one_empty_slice() {
    let (registry, _tasks) = start(&json!({}));
    settle(10).await;
    let slices = slices(&registry);
    assert_eq!(slices.len(), 1);
    let slice = &slices[0];
    assert!(slice["metadata"]["name"].as_str().unwrap().starts_with("api-"));
    assert_eq!(slice["metadata"]["generateName"], "api-");
    assert_eq!(
        slice["metadata"]["labels"],
        json!({"endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            "kubernetes.io/service-name": "api", "team": "a"})
    );
    assert_eq!(slice["metadata"]["ownerReferences"][0]["kind"], "Service");
    assert_eq!((&slice["addressType"], slice["endpoints"].as_array().unwrap().len()), (&json!("IPv4"), 0));
}

#[tokio::test(start_paused = true)]
async fn conditions_follow_readiness_and_termination() {
    let (registry, _tasks) = start(&json!({}));
    running(&registry, "a", "n1", 1, true, &json!({}));
    running(&registry, "b", "n2", 2, false, &json!({}));
    create(&registry, &kinds::POD, "shop", &pod("no-address", &json!({})));
    settle(10).await;
    let live = |pod: &str, ready: bool| (pod.to_owned(), [ready, ready, false]);
    assert_eq!(conditions(&registry), [live("a", true), live("b", false)]);
    let slice = &slices(&registry)[0];
    assert_eq!(slice["ports"], json!([{"name": "http", "port": 8080, "protocol": "TCP"}]));
    let first = slice["endpoints"].as_array().unwrap().iter().find(|one| one["targetRef"]["name"] == "a").unwrap();
    assert_eq!(
        (&first["addresses"], &first["nodeName"], &first["zone"], &first["targetRef"]["kind"]),
        (&json!(["127.1.0.1"]), &json!("n1"), &json!("zone-n1"), &json!("Pod"))
    );
    registry.remove::<Pod>("shop", "a", &DeleteOptions::default()).unwrap();
    settle(10).await;
    assert_eq!(conditions(&registry)[0], ("a".to_owned(), [false, true, true]));
    set_ready(&registry, "a", false);
    settle(10).await;
    assert_eq!(conditions(&registry)[0], ("a".to_owned(), [false, false, true]));
    patch(&registry, &kinds::POD, "shop", "a", Part::Status, &json!({"status": {"phase": "Failed"}}));
    settle(10).await;
    assert_eq!(conditions(&registry), [live("b", false)]);
    assert_eq!(slices(&registry).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_service_may_publish_what_is_not_ready() {
    let (registry, _tasks) = start(&json!({"publishNotReadyAddresses": true, "clusterIP": "None"}));
    running(&registry, "a", "n1", 1, false, &json!({}));
    settle(10).await;
    assert_eq!(conditions(&registry), [("a".to_owned(), [true, false, false])]);
    assert_eq!(slices(&registry)[0]["metadata"]["labels"]["service.kubernetes.io/headless"], "");
}

#[tokio::test(start_paused = true)]
async fn pods_that_call_a_port_differently_are_in_different_slices() {
    let (registry, _tasks) = start(&json!({"ports": [{"name": "http", "port": 80, "targetPort": "web"}]}));
    let with_port = |port: i32| {
        json!({"spec": {"containers": [{"name": "main", "image": "demo",
            "ports": [{"name": "web", "containerPort": port}]}]}})
    };
    running(&registry, "a", "n1", 1, true, &with_port(8080));
    running(&registry, "b", "n1", 2, true, &with_port(9090));
    settle(10).await;
    let mut ports: Vec<i64> =
        slices(&registry).iter().map(|slice| slice["ports"][0]["port"].as_i64().unwrap()).collect();
    ports.sort_unstable();
    assert_eq!(ports, [8080, 9090]);
}

#[tokio::test(start_paused = true)]
async fn a_slice_that_someone_deletes_comes_back_and_one_without_a_selector_is_left_alone() {
    let (registry, _tasks) = start(&json!({}));
    running(&registry, "a", "n1", 1, true, &json!({}));
    settle(10).await;
    let name = slices(&registry)[0]["metadata"]["name"].as_str().unwrap().to_owned();
    registry.remove::<EndpointSlice>("shop", &name, &DeleteOptions::default()).unwrap();
    settle(10).await;
    assert_eq!(conditions(&registry).len(), 1);
    patch(&registry, &kinds::SERVICE, "shop", "api", Part::Main, &json!({"spec": {"selector": null}}));
    running(&registry, "b", "n1", 2, true, &json!({}));
    settle(10).await;
    assert_eq!(conditions(&registry).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_added_when_its_node_is_there() {
    let (registry, _tasks) = start(&json!({}));
    running(&registry, "a", "n9", 1, true, &json!({}));
    settle(1000).await;
    assert!(conditions(&registry).is_empty());
    node(&registry, "n9", &json!({}));
    settle(11_000).await;
    assert_eq!(conditions(&registry).len(), 1);
    assert!(value(&registry, &kinds::NODE, "", "n9").is_object());
}
