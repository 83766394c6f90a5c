//! What the sandbox's tests start from: a registry in memory, and objects that are all alike but for what a test is
//! about.

use std::{future::Future, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    kinds::{self, Kind},
    registry::{Part, Registry, WriteOptions, admission::Allocator},
    store::{Object, Store},
};

/// A registry with the namespace `shop` and that of the nodes' leases.
pub(crate) fn registry() -> Arc<Registry> {
    let registry = Arc::new(Registry::new(Arc::new(Store::new(kinds::ALL)), Allocator::default()));
    for name in ["shop", "kube-node-lease"] {
        create(&registry, &kinds::NAMESPACE, "", &json!({"metadata": {"name": name, "labels": {"name": name}}}));
    }
    registry
}

/// Creates an object.
pub(crate) fn create(registry: &Registry, kind: &'static Kind, namespace: &str, value: &Value) -> Arc<Object> {
    registry.create(kind, namespace, value.clone(), &WriteOptions::default()).unwrap()
}

/// Merges a patch into an object, or into its status.
pub(crate) fn patch(registry: &Registry, kind: &'static Kind, namespace: &str, name: &str, part: Part, patch: &Value) {
    let patched = registry.change(kind, namespace, name, part, &WriteOptions::default(), |mut value| {
        merge(&mut value, patch);
        Ok(value)
    });
    patched.unwrap();
}

/// Merges JSON into JSON.
pub(crate) fn merge(into: &mut Value, from: &Value) {
    match from {
        Value::Object(fields) if into.is_object() => {
            for (key, value) in fields {
                merge(&mut into[key], value);
            }
        }
        other => *into = other.clone(),
    }
}

/// A pod of `app: api` in `shop`, with `more` merged in.
pub(crate) fn pod(name: &str, more: &Value) -> Value {
    let mut pod = json!({
        "metadata": {"name": name, "labels": {"app": "api"}},
        "spec": {"containers": [{"name": "main", "image": "demo"}]},
    });
    merge(&mut pod, more);
    pod
}

/// Creates a pod in `shop` that runs and is Ready (or not) on a node, at the address `127.1.0.host`.
pub(crate) fn running(registry: &Registry, name: &str, node: &str, host: u8, ready: bool, more: &Value) -> Arc<Object> {
    let mut value = pod(name, &json!({"spec": {"nodeName": node}}));
    merge(&mut value, more);
    create(registry, &kinds::POD, "shop", &value);
    let status = json!({"status": {
        "phase": "Running",
        "podIP": format!("127.1.0.{host}"),
        "podIPs": [{"ip": format!("127.1.0.{host}")}],
        "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" },
            "lastTransitionTime": "2026-01-01T00:00:00Z", "lastProbeTime": null}],
    }});
    patch(registry, &kinds::POD, "shop", name, Part::Status, &status);
    registry.get(&kinds::POD, "shop", name).unwrap()
}

/// Says whether a pod in `shop` is Ready.
pub(crate) fn set_ready(registry: &Registry, name: &str, ready: bool) {
    let status = json!({"status": {"conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" },
        "lastTransitionTime": "2026-01-01T00:00:00Z", "lastProbeTime": null}]}});
    patch(registry, &kinds::POD, "shop", name, Part::Status, &status);
}

/// Creates a node that is Ready, with 4 CPUs, 8 GiB and room for 110 pods, and `more` merged in.
pub(crate) fn node(registry: &Registry, name: &str, more: &Value) -> Arc<Object> {
    let mut value = json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": {},
        "status": {
            "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady",
                "lastHeartbeatTime": "2026-01-01T00:00:00Z", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        },
    });
    merge(&mut value, more);
    create(registry, &kinds::NODE, "", &value);
    patch(registry, &kinds::NODE, "", name, Part::Status, &json!({"status": value["status"]}));
    registry.get(&kinds::NODE, "", name).unwrap()
}

/// An object's JSON; null where it isn't there.
pub(crate) fn value(registry: &Registry, kind: &Kind, namespace: &str, name: &str) -> Value {
    registry.store().get(kind, namespace, name).map(|object| object.value()).unwrap_or_default()
}

/// The reasons and messages of all events in a namespace.
pub(crate) fn events(registry: &Registry, namespace: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = registry.store().list(&kinds::EVENT, Some(namespace)).1;
    all.iter().map(|event| event.value()).map(|event| (text(&event["reason"]), text(&event["message"]))).collect()
}

/// Waits until something holds, for at most ten minutes of the test's time.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(600), "never: {what}");
        sleep(Duration::from_millis(1)).await;
    }
}

/// Lets everything settle for a while of the test's time.
pub(crate) fn settle(milliseconds: u64) -> impl Future<Output = ()> {
    sleep(Duration::from_millis(milliseconds))
}
