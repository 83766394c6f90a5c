//! For tests of controllers: a registry in memory, and a scheduler and kubelet that do what they are told.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::{Controller, Key, Next};
use crate::sandbox::{
    kinds::{self, Kind},
    names,
    registry::{DeleteOptions, Part, Registry, WriteOptions, admission::Allocator, typed::Served},
    store::{Store, Wanted},
};

/// The namespace of all tests.
pub const NAMESPACE: &str = "shop";

/// Passes after which a controller that still writes has no end.
const PASSES_MAX: usize = 200;

/// A cluster that moves on command only.
pub struct Bench {
    pub registry: Arc<Registry>,
}

impl Bench {
    pub fn new() -> Self {
        let registry = Registry::new(Arc::new(Store::new(kinds::ALL)), Allocator::default());
        let bench = Self { registry: Arc::new(registry) };
        bench.create(&kinds::NAMESPACE, &json!({"metadata": {"name": NAMESPACE}}));
        bench.create(&kinds::SERVICE_ACCOUNT, &json!({"metadata": {"name": "default"}}));
        bench
    }

    pub fn create(&self, kind: &'static Kind, value: &Value) {
        let namespace = if kind.namespaced { NAMESPACE } else { "" };
        self.registry.create(kind, namespace, value.clone(), &WriteOptions::default()).unwrap();
    }

    pub fn change(&self, kind: &'static Kind, name: &str, change: impl FnOnce(&mut Value)) {
        self.write(kind, name, Part::Main, change);
    }

    fn write(&self, kind: &'static Kind, name: &str, part: Part, change: impl FnOnce(&mut Value)) {
        let namespace = if kind.namespaced { NAMESPACE } else { "" };
        let options = WriteOptions::default();
        let changed = self.registry.change(kind, namespace, name, part, &options, |mut value| {
            change(&mut value);
            Ok(value)
        });
        changed.unwrap();
    }

    /// Changes an object past the API's rules, as an older version of it may have left it.
    pub fn force(&self, kind: &'static Kind, name: &str, change: impl FnOnce(&mut Value)) {
        let namespace = if kind.namespaced { NAMESPACE } else { "" };
        let written = self.registry.store().write(kind, namespace, name, |before| {
            let mut value = before.map(|object| object.value()).ok_or(())?;
            change(&mut value);
            Ok::<_, ()>(Wanted::Put(value))
        });
        assert!(written.is_ok(), "{name} is not there");
    }

    fn bind(&self, pod: &str, node: &str) {
        self.force(&kinds::POD, pod, |value| {
            if value["spec"]["nodeName"].is_null() {
                value["spec"]["nodeName"] = json!(node);
            }
        });
    }

    /// Lets a controller look at a key until it writes nothing any more; what it said last.
    pub fn settle(&self, controller: &dyn Controller, name: &str) -> Next {
        let key = Key::new(NAMESPACE, name);
        for _ in 0..PASSES_MAX {
            let before = self.registry.store().version();
            let next = controller.reconcile(&key).unwrap();
            if self.registry.store().version() == before {
                return next;
            }
        }
        panic!("{} never settles on {name}", controller.name());
    }

    pub fn get<K: Served>(&self, name: &str) -> Arc<K> {
        self.registry.read(NAMESPACE, name).unwrap()
    }

    pub fn value(&self, kind: &'static Kind, name: &str) -> Value {
        let namespace = if kind.namespaced { NAMESPACE } else { "" };
        self.registry.get(kind, namespace, name).unwrap().value()
    }

    pub fn status(&self, kind: &'static Kind, name: &str) -> Value {
        self.value(kind, name)["status"].clone()
    }

    /// The pods, by name.
    pub fn pods(&self) -> Vec<Arc<Pod>> {
        self.registry.all(Some(NAMESPACE))
    }

    /// The names of the pods that are not being deleted.
    pub fn living(&self) -> Vec<String> {
        let pods = self.pods();
        let living = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
        living.map(|pod| pod.metadata.name.clone().unwrap()).collect()
    }

    /// The names of the pods that are being deleted.
    pub fn leaving(&self) -> Vec<String> {
        let pods = self.pods();
        let leaving = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_some());
        leaving.map(|pod| pod.metadata.name.clone().unwrap()).collect()
    }

    /// Binds a pod and starts it, without its being ready.
    pub fn start(&self, pod: &str, node: &str) {
        self.bind(pod, node);
        self.report(pod, "Running", false);
    }

    /// Binds a pod, starts it and lets it be ready.
    pub fn ready(&self, pod: &str) {
        self.bind(pod, "one");
        self.report(pod, "Running", true);
    }

    /// Lets all living pods be ready.
    pub fn all_ready(&self) {
        self.living().iter().for_each(|pod| self.ready(pod));
    }

    pub fn unready(&self, pod: &str) {
        self.report(pod, "Running", false);
    }

    fn report(&self, pod: &str, phase: &str, ready: bool) {
        self.write(&kinds::POD, pod, Part::Status, |value| {
            let ready = if ready { "True" } else { "False" };
            if value["status"]["conditions"][0]["status"] != ready {
                let now = names::now_seconds();
                value["status"]["conditions"] = json!([{"type": "Ready", "status": ready, "lastTransitionTime": now}]);
            }
            value["status"]["phase"] = json!(phase);
        });
    }

    /// Lets a pod's only container end.
    pub fn finish(&self, pod: &str, exit_code: i32) {
        self.bind(pod, "one");
        self.write(&kinds::POD, pod, Part::Status, |value| {
            let now = names::now_seconds();
            value["status"] = json!({
                "phase": if exit_code == 0 { "Succeeded" } else { "Failed" },
                "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": now}],
                "containerStatuses": [{
                    "name": "main", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                    "state": {"terminated": {"exitCode": exit_code, "finishedAt": now}},
                }],
            });
        });
    }

    /// Deletes a pod with its grace, as a user would.
    pub fn delete(&self, pod: &str) {
        self.registry.remove::<Pod>(NAMESPACE, pod, &DeleteOptions::default()).unwrap();
    }

    /// Ends a pod that is being deleted, as the kubelet does at the end of its grace.
    pub fn gone(&self, pod: &str) {
        let now = DeleteOptions { grace_seconds: Some(0), ..DeleteOptions::default() };
        self.registry.remove::<Pod>(NAMESPACE, pod, &now).unwrap();
    }

    /// Ends all pods that are being deleted.
    pub fn all_gone(&self) {
        self.leaving().iter().for_each(|pod| self.gone(pod));
    }

    /// The reasons and messages of all events, sorted.
    pub fn events(&self) -> Vec<(String, String)> {
        let (_, events) = self.registry.store().list(&kinds::EVENT, None);
        let mut told: Vec<(String, String)> = events
            .iter()
            .map(|event| event.value())
            .map(|event| {
                let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
                (text("reason"), text("message"))
            })
            .collect();
        told.sort();
        told
    }

    /// Whether there is an event with this reason and message.
    pub fn told(&self, reason: &str, message: &str) -> bool {
        self.events().iter().any(|(one, other)| one == reason && other == message)
    }
}

/// Moves the paused clock.
pub async fn pass(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
}
