//! The older object follows the same pods.

use serde_json::json;
use tokio::task::JoinSet;

use super::*;
use crate::sandbox::fixture::{self, create, running, set_ready, settle, value};

#[tokio::test(start_paused = true)]
async fn ready_and_unready_pods_are_apart_and_terminating_ones_are_gone() {
    let registry = fixture::registry();
    let service = json!({"metadata": {"name": "api"}, "spec": {"clusterIP": "127.96.1.1", "selector": {"app": "api"},
        "ports": [{"port": 80, "targetPort": 8080}]}});
    create(&registry, &kinds::SERVICE, "shop", &service);
    let mut tasks = JoinSet::new();
    super::super::run(&mut tasks, &registry, Arc::new(EndpointsController::new(Arc::clone(&registry))));
    settle(10).await;
    let now = || value(&registry, &kinds::ENDPOINTS, "shop", "api");
    assert!(now()["subsets"].is_null() && now().is_object());
    running(&registry, "a", "n1", 1, true, &json!({}));
    running(&registry, "b", "n1", 2, false, &json!({}));
    running(&registry, "c", "n1", 3, true, &json!({}));
    registry.remove::<Pod>("shop", "c", &DeleteOptions::default()).unwrap();
    settle(10).await;
    let subset = now()["subsets"][0].clone();
    assert_eq!(subset["ports"], json!([{"port": 8080, "protocol": "TCP"}]));
    let names = |field: &str| {
        let all = subset[field].as_array().cloned().unwrap_or_default();
        all.iter().map(|one| one["targetRef"]["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!((names("addresses"), names("notReadyAddresses")), (vec!["a".to_owned()], vec!["b".to_owned()]));
    set_ready(&registry, "b", true);
    settle(10).await;
    assert_eq!(now()["subsets"][0]["addresses"].as_array().unwrap().len(), 2);
    registry.remove::<Service>("shop", "api", &DeleteOptions::default()).unwrap();
    settle(10).await;
    assert!(now().is_null());
}

#[test]
fn beyond_a_thousand_addresses_the_object_is_cut() {
    let address = |number: usize| EndpointAddress { ip: number.to_string(), ..EndpointAddress::default() };
    let subset = |ready: usize, not: usize| EndpointSubset {
        addresses: Some((0..ready).map(address).collect()),
        not_ready_addresses: Some((0..not).map(address).collect()),
        ports: None,
    };
    let (cut, truncated) = truncate(vec![subset(600, 10), subset(300, 500)]);
    let count = |addresses: &Option<Vec<EndpointAddress>>| addresses.as_ref().map_or(0, Vec::len);
    let sizes: Vec<_> = cut.iter().map(|one| (count(&one.addresses), count(&one.not_ready_addresses))).collect();
    assert_eq!((sizes, truncated), (vec![(600, 10), (300, 90)], true));
    assert!(!truncate(vec![subset(600, 400)]).1);
}
