//! Where connections go, and when nodes come to know better.

use serde_json::{Value, json};

use super::*;
use crate::sandbox::{
    fixture::{self, create, merge, node, patch, settle},
    registry::Part,
};

const NODES: [&str; 2] = ["n1", "n2"];

fn endpoint(host: u8, node: &str, ready: bool, terminating: bool) -> Value {
    json!({"addresses": [format!("127.1.0.{host}")], "nodeName": node,
        "conditions": {"ready": ready && !terminating, "serving": ready, "terminating": terminating},
        "targetRef": {"kind": "Pod", "name": format!("p{host}"), "namespace": "shop"}})
}

fn put_endpoints(registry: &Registry, endpoints: &[Value]) {
    let slice = json!({"metadata": {"name": "api-1", "labels": {"kubernetes.io/service-name": "api"}},
        "addressType": "IPv4", "endpoints": endpoints, "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}]});
    if registry.get(&kinds::ENDPOINT_SLICE, "shop", "api-1").is_ok() {
        let new = json!({"endpoints": endpoints});
        patch(registry, &kinds::ENDPOINT_SLICE, "shop", "api-1", Part::Main, &new);
    } else {
        create(registry, &kinds::ENDPOINT_SLICE, "shop", &slice);
    }
}

fn cluster(spec: &Value, endpoints: &[Value]) -> (Arc<Registry>, JoinSet<()>, Arc<ServiceTables>) {
    let registry = fixture::registry();
    for name in NODES {
        node(&registry, name, &json!({}));
    }
    let mut service = json!({"metadata": {"name": "api"}, "spec": {"type": "NodePort", "clusterIP": "127.96.1.1",
        "selector": {"app": "api"}, "ports": [{"name": "http", "port": 80, "nodePort": 30080, "targetPort": 8080}]}});
    merge(&mut service["spec"], spec);
    create(&registry, &kinds::SERVICE, "shop", &service);
    put_endpoints(&registry, endpoints);
    let mut tasks = JoinSet::new();
    let tables = ServiceTables::start(&mut tasks, &registry, Options { seed: 1 });
    (registry, tasks, tables)
}

fn pod_of(route: &Route) -> &str {
    match route {
        Route::To { pod, .. } => pod,
        Route::Refused => "refused",
        Route::Silent => "silent",
    }
}

/// How often each answer comes in 300 connections.
fn picks(pick: impl Fn() -> Route) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..300 {
        *counts.entry(pod_of(&pick()).to_owned()).or_default() += 1;
    }
    counts
}

#[tokio::test(start_paused = true)]
async fn connections_are_spread_over_ready_endpoints_alike() {
    let endpoints = [endpoint(1, "n1", true, false), endpoint(2, "n2", true, false), endpoint(3, "n2", false, false)];
    let (_registry, _tasks, tables) = cluster(&json!({}), &endpoints);
    settle(100).await;
    let counts = picks(|| tables.pick("n1", "shop", "api", 80));
    assert!(counts.len() == 2 && counts.values().all(|count| *count > 110), "{counts:?}");
    let Route::To { address, node, pod, delay } = tables.pick("n1", "shop", "api", 80) else { panic!("a route") };
    assert_eq!((address.port(), delay), (8080, Duration::ZERO));
    assert_eq!(node, if pod == "p1" { "n1" } else { "n2" });
    assert_eq!(picks(|| tables.pick_node_port("n2", 30080)).len(), 2);
    assert_eq!(picks(|| tables.pick_cluster_ip("n2", [127, 96, 1, 1].into(), 80)).len(), 2);
    assert_eq!(tables.pick("n1", "shop", "api", 81), Route::Refused);
    assert_eq!(tables.pick("n1", "shop", "none", 80), Route::Refused);
    assert_eq!(tables.pick("n9", "shop", "api", 80), Route::Silent);
}

#[tokio::test(start_paused = true)]
async fn without_a_ready_endpoint_those_that_drain_are_used_and_without_any_it_is_refused() {
    let endpoints = [endpoint(1, "n1", true, true), endpoint(2, "n2", false, false), endpoint(3, "n2", false, true)];
    let (registry, _tasks, tables) = cluster(&json!({}), &endpoints);
    settle(100).await;
    assert_eq!(picks(|| tables.pick("n2", "shop", "api", 80)), BTreeMap::from([("p1".to_owned(), 300)]));
    put_endpoints(&registry, &endpoints[1..]);
    settle(1500).await;
    assert_eq!(tables.pick("n2", "shop", "api", 80), Route::Refused);
}

#[tokio::test(start_paused = true)]
async fn local_policies_use_the_nodes_own_endpoints_or_drop() {
    let local = json!({"internalTrafficPolicy": "Local", "externalTrafficPolicy": "Local"});
    let (registry, _tasks, tables) = cluster(&local, &[endpoint(1, "n1", true, false)]);
    settle(100).await;
    let ways = |node: &str| [tables.pick(node, "shop", "api", 80), tables.pick_node_port(node, 30080)];
    assert!(ways("n1").iter().all(|route| pod_of(route) == "p1"));
    assert_eq!(ways("n2"), [Route::Silent, Route::Silent]);
    put_endpoints(&registry, &[]);
    settle(1500).await;
    assert_eq!(ways("n2"), [Route::Refused, Route::Refused]);
    let external = json!({"externalTrafficPolicy": "Local"});
    let (_registry, _tasks, tables) = cluster(&external, &[endpoint(1, "n1", true, false)]);
    settle(100).await;
    assert_eq!(pod_of(&tables.pick("n2", "shop", "api", 80)), "p1");
    assert_eq!(tables.pick_node_port("n2", 30080), Route::Silent);
}

#[tokio::test(start_paused = true)]
async fn a_client_stays_with_its_endpoint_until_that_is_gone_or_it_was_away_too_long() {
    let sticky = json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}});
    let both = [endpoint(1, "n1", true, false), endpoint(2, "n2", true, false)];
    let (registry, _tasks, tables) = cluster(&sticky, &both);
    settle(100).await;
    let clients: Vec<String> = (0..20).map(|number| format!("10.0.0.{number}")).collect();
    let pick = |client: &str| pod_of(&tables.pick_for(client, "n1", "shop", "api", 80)).to_owned();
    let first: Vec<String> = clients.iter().map(|client| pick(client)).collect();
    assert!(first.iter().any(|pod| pod == "p1") && first.iter().any(|pod| pod == "p2"));
    for _ in 0..5 {
        settle(50_000).await;
        assert_eq!(clients.iter().map(|client| pick(client)).collect::<Vec<_>>(), first);
    }
    settle(61_000).await;
    assert_ne!(clients.iter().map(|client| pick(client)).collect::<Vec<_>>(), first);
    put_endpoints(&registry, &both[1..]);
    settle(1500).await;
    assert!(clients.iter().all(|client| pick(client) == "p2"));
}

#[tokio::test(start_paused = true)]
async fn each_node_follows_by_itself_and_not_twice_in_a_second() {
    let (registry, _tasks, tables) = cluster(&json!({}), &[endpoint(1, "n1", true, false)]);
    settle(3000).await;
    let knows = |node: &str, pod: &str| pod_of(&tables.pick(node, "shop", "api", 80)) == pod;
    put_endpoints(&registry, &[endpoint(2, "n1", true, false)]);
    assert!(NODES.iter().all(|node| knows(node, "p1")));
    settle(60).await;
    assert!(NODES.iter().all(|node| knows(node, "p2")));
    put_endpoints(&registry, &[endpoint(3, "n1", true, false)]);
    settle(900).await;
    assert!(NODES.iter().all(|node| knows(node, "p2")));
    settle(200).await;
    assert!(NODES.iter().all(|node| knows(node, "p3")));
}

#[tokio::test(start_paused = true)]
async fn a_dark_node_is_silence_and_learns_nothing_until_it_is_back() {
    let (registry, _tasks, tables) =
        cluster(&json!({}), &[endpoint(1, "n1", true, false), endpoint(2, "n2", true, false)]);
    settle(100).await;
    tables.set_node_dark("n2", true);
    let counts = picks(|| tables.pick("n1", "shop", "api", 80));
    assert_eq!(counts.keys().collect::<Vec<_>>(), ["p1", "silent"]);
    assert_eq!(tables.pick("n2", "shop", "api", 80), Route::Silent);
    put_endpoints(&registry, &[endpoint(1, "n1", true, false)]);
    settle(3000).await;
    tables.set_node_dark("n2", false);
    settle(100).await;
    assert_eq!(pod_of(&tables.pick("n2", "shop", "api", 80)), "p1");
}

#[tokio::test(start_paused = true)]
async fn a_link_delays_or_loses_what_goes_over_it() {
    let (_registry, _tasks, tables) = cluster(&json!({}), &[endpoint(2, "n2", true, false)]);
    settle(100).await;
    let slow = Link { delay: Duration::from_millis(40), loss: 0.0 };
    tables.set_link("n1", "n2", slow);
    assert_eq!(tables.link("n1", "n2"), slow);
    let Route::To { delay, .. } = tables.pick("n1", "shop", "api", 80) else { panic!("a route") };
    assert_eq!(delay, slow.delay);
    tables.set_link("n1", "n2", Link { delay: Duration::ZERO, loss: 1.0 });
    assert_eq!(tables.pick("n1", "shop", "api", 80), Route::Silent);
    assert_eq!(pod_of(&tables.pick("n2", "shop", "api", 80)), "p2");
}
