//! `EndpointSlices`: conditions of an endpoint in each state of its pod.

use serde_json::{Value, json};

use crate::{
    Scenario,
    cluster::{Ctx, condition, name, same},
    scenarios,
    shapes::{deployment, pod_with, service},
};

pub fn all() -> Vec<Scenario> {
    scenarios![false:
        a_ready_pod_is_a_ready_and_serving_endpoint,
        a_terminating_pod_serves_and_is_not_ready,
        an_unready_pod_stays_as_an_endpoint_that_is_not_ready,
        an_endpoint_goes_with_its_pod,
        publishing_addresses_that_are_not_ready_makes_them_ready,
        a_headless_service_has_endpoints_and_no_address,
        a_named_target_port_is_resolved_per_pod,
        a_service_without_a_selector_gets_no_endpoints,
        node_ports_come_from_their_range_and_are_not_given_twice,
        the_address_of_a_service_cannot_be_changed,
    ]
}

/// The endpoints of a Service with the ports of their slices.
async fn endpoints(ctx: &Ctx, service: &str) -> Vec<Value> {
    let slices = ctx.list("endpointslices", &format!("labelSelector=kubernetes.io/service-name%3D{service}")).await;
    slices.iter().flat_map(|slice| slice["endpoints"].as_array().cloned().unwrap_or_default()).collect()
}

/// Ready, serving and terminating of an endpoint.
fn conditions(endpoint: &Value) -> (bool, bool, bool) {
    let is = |key: &str| endpoint["conditions"][key] == true;
    (is("ready"), is("serving"), is("terminating"))
}

/// Waits until the only endpoint has these conditions.
async fn until(ctx: &Ctx, wanted: (bool, bool, bool)) -> Value {
    let look = || async {
        let all = endpoints(ctx, "shop").await;
        (all.len() == 1 && conditions(&all[0]) == wanted).then(|| all[0].clone())
    };
    ctx.until(&format!("one endpoint with (ready, serving, terminating) = {wanted:?}"), 60, look).await
}

async fn one(ctx: &Ctx, container: &Value, of_service: &Value) {
    ctx.create("services", service("shop", "shop", of_service)).await;
    let mut pod = pod_with("shop", container, &json!({"terminationGracePeriodSeconds": 20}));
    pod["metadata"]["name"] = json!("one");
    ctx.create("pods", pod).await;
}

async fn a_ready_pod_is_a_ready_and_serving_endpoint(ctx: Ctx) {
    one(&ctx, &json!({}), &json!({})).await;
    let endpoint = until(&ctx, (true, true, false)).await;
    let pod = ctx.get("pods", "one").await.unwrap();
    same(endpoint["addresses"][0].as_str(), pod["status"]["podIP"].as_str());
    same(endpoint["nodeName"].as_str(), pod["spec"]["nodeName"].as_str());
    same(endpoint["targetRef"]["name"].as_str(), Some("one"));
    let slices = ctx.list("endpointslices", "").await;
    let slice =
        slices.iter().find(|slice| slice["metadata"]["labels"]["kubernetes.io/service-name"] == "shop").unwrap();
    same(slice["addressType"].as_str(), Some("IPv4"));
    same(slice["ports"][0]["port"].as_i64(), Some(8080));
    same(
        slice["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"].as_str(),
        Some("endpointslice-controller.k8s.io"),
    );
}

async fn a_terminating_pod_serves_and_is_not_ready(ctx: Ctx) {
    one(&ctx, &json!({"lifecycle": {"preStop": {"sleep": {"seconds": 8}}}}), &json!({})).await;
    until(&ctx, (true, true, false)).await;
    ctx.delete("pods", "one", json!({})).await.ok();
    until(&ctx, (false, true, true)).await;
    // Readiness is probed to the end: a pod that says no while it ends does not serve any more.
    ctx.control("one", "unready").await;
    until(&ctx, (false, false, true)).await;
}

async fn an_unready_pod_stays_as_an_endpoint_that_is_not_ready(ctx: Ctx) {
    one(&ctx, &json!({}), &json!({})).await;
    until(&ctx, (true, true, false)).await;
    ctx.control("one", "unready").await;
    until(&ctx, (false, false, false)).await;
    ctx.control("one", "heal").await;
    until(&ctx, (true, true, false)).await;
}

async fn an_endpoint_goes_with_its_pod(ctx: Ctx) {
    one(&ctx, &json!({}), &json!({})).await;
    until(&ctx, (true, true, false)).await;
    ctx.delete("pods", "one", json!({"gracePeriodSeconds": 0})).await.ok();
    let none = || async { endpoints(&ctx, "shop").await.is_empty().then_some(()) };
    ctx.until("no endpoint", 20, none).await;
}

async fn publishing_addresses_that_are_not_ready_makes_them_ready(ctx: Ctx) {
    let never = json!({"readinessProbe": {"httpGet": {"path": "/nothing", "port": 8080}}});
    one(&ctx, &never, &json!({"publishNotReadyAddresses": true})).await;
    until(&ctx, (true, false, false)).await;
    same(condition(&ctx.get("pods", "one").await.unwrap(), "Ready")["status"].as_str(), Some("False"));
}

async fn a_headless_service_has_endpoints_and_no_address(ctx: Ctx) {
    one(&ctx, &json!({}), &json!({"clusterIP": "None"})).await;
    until(&ctx, (true, true, false)).await;
    let service = ctx.get("services", "shop").await.unwrap();
    same(service["spec"]["clusterIP"].as_str(), Some("None"));
    let slices = ctx.list("endpointslices", "labelSelector=service.kubernetes.io/headless").await;
    same(slices.len(), 1);
}

async fn a_named_target_port_is_resolved_per_pod(ctx: Ctx) {
    let named = json!({"ports": [{"name": "web", "containerPort": 8080}]});
    one(&ctx, &named, &json!({"ports": [{"name": "http", "port": 80, "targetPort": "web"}]})).await;
    until(&ctx, (true, true, false)).await;
    let slices = ctx.list("endpointslices", "labelSelector=kubernetes.io/service-name%3Dshop").await;
    let ports = &slices[0]["ports"];
    same((ports[0]["name"].as_str(), ports[0]["port"].as_i64()), (Some("http"), Some(8080)));
}

async fn a_service_without_a_selector_gets_no_endpoints(ctx: Ctx) {
    ctx.create("services", service("bare", "x", &json!({"selector": null}))).await;
    ctx.create("services", service("shop", "shop", &json!({}))).await;
    ctx.create("deployments", deployment("shop", 1, &json!({}))).await;
    ctx.ready_pods("shop", 1, 60).await;
    until(&ctx, (true, true, false)).await;
    same(endpoints(&ctx, "bare").await.len(), 0);
    same(ctx.list("endpointslices", "labelSelector=kubernetes.io/service-name%3Dbare").await.len(), 0);
}

async fn node_ports_come_from_their_range_and_are_not_given_twice(ctx: Ctx) {
    let given = ctx.create("services", service("one", "one", &json!({"type": "NodePort"}))).await;
    let port = given["spec"]["ports"][0]["nodePort"].as_i64().expect("a port is given");
    assert!((30_000..=32_767).contains(&port), "{port}");
    let again = json!({"type": "NodePort", "ports": [{"port": 80, "targetPort": 8080, "nodePort": port}]});
    let status = ctx.post("services", &service("two", "two", &again)).await.refused(422);
    let message = status["message"].as_str().unwrap_or_default();
    assert!(message.contains("provided port is already allocated"), "{message}");
    let outside = json!({"type": "NodePort", "ports": [{"port": 80, "targetPort": 8080, "nodePort": 8080}]});
    let status = ctx.post("services", &service("two", "two", &outside)).await.refused(422);
    let message = status["message"].as_str().unwrap_or_default();
    assert!(message.contains("The range of valid ports is 30000-32767"), "{message}");
}

async fn the_address_of_a_service_cannot_be_changed(ctx: Ctx) {
    let made = ctx.create("services", service("one", "one", &json!({}))).await;
    let own = made["spec"]["clusterIP"].as_str().expect("an address is given");
    let other = own.rsplit_once('.').map(|(rest, last)| format!("{rest}.{}", last.parse::<u8>().unwrap() ^ 1)).unwrap();
    let change = json!({"spec": {"clusterIP": other, "clusterIPs": [other]}});
    let status = ctx.merge("services", &name(&made), change).await.refused(422);
    let message = status["message"].as_str().unwrap_or_default();
    assert!(message.contains("field is immutable") || message.contains("may not change once set"), "{message}");
}
