//! Watches.

use std::time::Duration;

use serde_json::{Value, json};

use super::rig::{Rig, event};
use crate::sandbox::{
    kinds,
    registry::{DeleteOptions, Part, WriteOptions},
    store::Wanted,
};

const MAPS: &str = "/api/v1/namespaces/shop/configmaps";

fn relabel(rig: &Rig, name: &str, labels: &Value) {
    let change = |mut value: Value| {
        value["metadata"]["labels"] = labels.clone();
        Ok(value)
    };
    rig.registry.change(&kinds::CONFIG_MAP, "shop", name, Part::Main, &WriteOptions::default(), change).unwrap();
}

/// Changes `a` more often than changes are kept.
fn outrun_the_log(rig: &Rig) {
    for round in 0..8_300 {
        let value = json!({"metadata": {"name": "a", "namespace": "shop"}, "data": {"round": round.to_string()}});
        rig.registry.store().write::<()>(&kinds::CONFIG_MAP, "shop", "a", |_| Ok(Wanted::Put(value))).unwrap();
    }
}

fn delete(rig: &Rig, name: &str) {
    rig.registry.delete(&kinds::CONFIG_MAP, "shop", name, &DeleteOptions::default()).unwrap();
}

#[tokio::test]
async fn a_watch_without_a_version_begins_with_what_is_there() {
    let rig = Rig::new();
    rig.map("a", json!({}));
    for path in [format!("{MAPS}?watch=1"), format!("{MAPS}?watch=true&resourceVersion=0")] {
        let mut events = rig.watch(&path).await;
        assert_eq!(events.next_name().await, event("ADDED", "a"));
    }
}

#[tokio::test]
async fn a_watch_from_a_version_tells_what_came_after() {
    let rig = Rig::new();
    rig.map("a", json!({}));
    let version = rig.registry.store().version();
    rig.map("b", json!({}));
    let mut events = rig.watch(&format!("{MAPS}?watch=1&resourceVersion={version}")).await;
    assert_eq!(events.next_name().await, event("ADDED", "b"));
    relabel(&rig, "a", &json!({"x": "y"}));
    delete(&rig, "b");
    assert_eq!(events.next_name().await, event("MODIFIED", "a"));
    let deleted = events.next().await.unwrap();
    assert_eq!(deleted["type"], "DELETED");
    assert_eq!(deleted["object"]["metadata"]["resourceVersion"], rig.registry.store().version().to_string());
}

#[tokio::test]
async fn objects_come_and_go_with_what_is_selected() {
    let rig = Rig::new();
    rig.map("a", json!({"app": "x"}));
    let mut events = rig.watch(&format!("{MAPS}?watch=1&labelSelector=app%3Dx")).await;
    assert_eq!(events.next_name().await, event("ADDED", "a"));
    relabel(&rig, "a", &json!({"app": "y"}));
    let gone = events.next().await.unwrap();
    assert_eq!((&gone["type"], &gone["object"]["metadata"]["labels"]["app"]), (&json!("DELETED"), &json!("x")));
    assert_eq!(gone["object"]["metadata"]["resourceVersion"], rig.registry.store().version().to_string());
    relabel(&rig, "a", &json!({"app": "z"}));
    relabel(&rig, "a", &json!({"app": "x"}));
    assert_eq!(events.next_name().await, event("ADDED", "a"));
    delete(&rig, "a");
    assert_eq!(events.next_name().await, event("DELETED", "a"));
}

#[tokio::test]
async fn a_watch_of_one_object_is_about_it_alone() {
    let rig = Rig::new();
    rig.map("a", json!({}));
    rig.map("b", json!({}));
    let mut events = rig.watch(&format!("{MAPS}?watch=1&fieldSelector=metadata.name%3Db")).await;
    assert_eq!(events.next_name().await, event("ADDED", "b"));
    relabel(&rig, "a", &json!({"x": "y"}));
    relabel(&rig, "b", &json!({"x": "y"}));
    assert_eq!(events.next_name().await, event("MODIFIED", "b"));
}

#[tokio::test]
async fn a_version_that_is_not_kept_is_told_as_expired() {
    let rig = Rig::new();
    rig.map("a", json!({}));
    outrun_the_log(&rig);
    let mut events = rig.watch(&format!("{MAPS}?watch=1&resourceVersion=2")).await;
    let error = events.next().await.unwrap();
    assert_eq!((&error["type"], &error["object"]["code"]), (&json!("ERROR"), &json!(410)));
    assert!(error["object"]["message"].as_str().unwrap().starts_with("too old resource version: 2 ("));
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn a_watcher_that_does_not_read_falls_behind_and_is_told_so() {
    let rig = Rig::new();
    rig.map("a", json!({}));
    let mut events = rig.watch(&format!("{MAPS}?watch=1")).await;
    assert_eq!(events.next_name().await, event("ADDED", "a"));
    outrun_the_log(&rig);
    assert_eq!(events.next().await.unwrap()["type"], "ERROR");
    assert_eq!(events.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn bookmarks_tell_how_far_a_watch_has_come() {
    let rig = Rig::new();
    let mut events = rig.watch(&format!("{MAPS}?watch=1&allowWatchBookmarks=true&timeoutSeconds=90")).await;
    // A change of another kind moves the version on.
    rig.store(&kinds::SECRET, "shop", json!({"metadata": {"name": "s"}}));
    let mark = events.next().await.unwrap();
    assert_eq!((&mark["type"], &mark["object"]["kind"]), (&json!("BOOKMARK"), &json!("ConfigMap")));
    assert_eq!(mark["object"]["metadata"]["resourceVersion"], rig.registry.store().version().to_string());
    let started = tokio::time::Instant::now();
    assert_eq!(events.next().await.unwrap()["type"], "BOOKMARK");
    assert_eq!(events.next().await, None);
    assert!(started.elapsed() <= Duration::from_secs(31));
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_when_its_time_is_over() {
    let rig = Rig::new();
    let mut events = rig.watch(&format!("{MAPS}?watch=1&timeoutSeconds=5")).await;
    let started = tokio::time::Instant::now();
    assert_eq!(events.next().await, None);
    assert_eq!(started.elapsed().as_secs(), 5);
}

#[tokio::test]
async fn the_end_of_what_is_there_at_first_is_told_to_those_who_ask() {
    let rig = Rig::new();
    rig.map("a", json!({}));
    let query = "watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan";
    let mut events = rig.watch(&format!("{MAPS}?{query}")).await;
    assert_eq!(events.next_name().await, event("ADDED", "a"));
    let mark = events.next().await.unwrap();
    assert_eq!(mark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    let wrong = rig.get(&format!("{MAPS}?watch=1&sendInitialEvents=true")).await;
    assert_eq!(wrong.status, 422);
}

#[tokio::test]
async fn a_watched_table_tells_its_columns_once() {
    let rig = Rig::new();
    rig.map("a", json!({}));
    rig.map("b", json!({}));
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let mut events = rig.watch_as(&format!("{MAPS}?watch=1"), accept).await;
    let (first, second) = (events.next().await.unwrap(), events.next().await.unwrap());
    assert_eq!(first["object"]["columnDefinitions"].as_array().unwrap().len(), 3);
    assert_eq!(second["object"]["columnDefinitions"].as_array().unwrap().len(), 0);
    assert_eq!(second["object"]["rows"][0]["cells"][0], "b");
}

#[tokio::test]
async fn kube_watches_in_process() {
    use futures::TryStreamExt;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::{Api, runtime::watcher};
    let rig = Rig::new();
    rig.map("a", json!({}));
    let maps: Api<ConfigMap> = Api::namespaced(rig.api.client(), "shop");
    for config in [watcher::Config::default(), watcher::Config::default().streaming_lists()] {
        let mut stream = Box::pin(watcher(maps.clone(), config));
        assert!(matches!(stream.try_next().await.unwrap().unwrap(), watcher::Event::Init));
        assert!(matches!(stream.try_next().await.unwrap().unwrap(), watcher::Event::InitApply(_)));
        assert!(matches!(stream.try_next().await.unwrap().unwrap(), watcher::Event::InitDone));
        relabel(&rig, "a", &json!({"x": crate::sandbox::names::uid()}));
        assert!(matches!(stream.try_next().await.unwrap().unwrap(), watcher::Event::Apply(_)));
    }
}
