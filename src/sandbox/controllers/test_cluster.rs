//! For the controllers' own tests: objects in memory, controllers that run on them, and in place of scheduler and kubelet
//! something that binds pods, makes them ready and ends them after set times. Time is paused in these tests, so they
//! take none.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::{task::JoinSet, time::sleep};

use super::{Controller, run};
use crate::sandbox::{
    kinds::{self, Kind},
    names,
    registry::{DeleteOptions, Part, Registry, WriteOptions, admission::Allocator},
    store::{Object, Op, Store, Wanted},
};

/// Where the tests are; `default` could not be deleted.
pub const NAMESPACE: &str = "shop";
const NODES: usize = 3;

/// How pods fare.
#[derive(Clone, Copy)]
pub struct Kubelet {
    /// From the binding to being ready.
    pub starts: Duration,
    /// From the deletion to being gone.
    pub stops: Duration,
    /// Pods with this label value of `image` never become ready.
    pub broken: &'static str,
}

impl Default for Kubelet {
    fn default() -> Self {
        Self { starts: Duration::from_secs(2), stops: Duration::from_secs(3), broken: "broken" }
    }
}

/// Objects, and what runs on them.
pub struct TestCluster {
    pub registry: Arc<Registry>,
    pub tasks: JoinSet<()>,
}

impl TestCluster {
    /// A cluster with a namespace `shop` and these controllers.
    pub fn start(controllers: impl Fn(&Arc<Registry>) -> Vec<Arc<dyn Controller>>) -> Self {
        let registry = Arc::new(Registry::new(Arc::new(Store::new(kinds::ALL)), Allocator::default()));
        let mut cluster = Self { registry, tasks: JoinSet::new() };
        cluster.create(
            &kinds::NAMESPACE,
            "",
            json!({"metadata": {"name": NAMESPACE}, "spec": {"finalizers": ["kubernetes"]}}),
        );
        if cluster.registry.get(&kinds::SERVICE_ACCOUNT, NAMESPACE, "default").is_err() {
            cluster.create(&kinds::SERVICE_ACCOUNT, NAMESPACE, json!({"metadata": {"name": "default"}}));
        }
        for controller in controllers(&cluster.registry) {
            run(&mut cluster.tasks, &cluster.registry, controller);
        }
        cluster
    }

    /// Runs pods from now on.
    pub fn run_pods(&mut self, kubelet: Kubelet) {
        self.tasks.spawn(run_pods(Arc::clone(&self.registry), kubelet));
    }

    pub fn create(&self, kind: &'static Kind, namespace: &str, value: Value) -> Arc<Object> {
        self.registry.create(kind, namespace, value, &WriteOptions::default()).unwrap()
    }

    /// Changes an object of the namespace `shop`.
    pub fn change(&self, kind: &'static Kind, name: &str, part: Part, change: impl FnOnce(&mut Value)) {
        let options = WriteOptions::default();
        let changed = self.registry.change(kind, NAMESPACE, name, part, &options, |mut value| {
            change(&mut value);
            Ok(value)
        });
        changed.unwrap();
    }

    pub fn delete(&self, kind: &'static Kind, name: &str, options: &DeleteOptions) {
        self.registry.delete(kind, NAMESPACE, name, options).unwrap();
    }

    /// The objects of a kind, as JSON.
    pub fn all(&self, kind: &'static Kind) -> Vec<Value> {
        self.registry.store().list(kind, Some(NAMESPACE)).1.iter().map(|object| object.value()).collect()
    }

    pub fn value(&self, kind: &'static Kind, name: &str) -> Value {
        self.registry.get(kind, NAMESPACE, name).unwrap().value()
    }

    /// Lets everything run that can run at once.
    pub async fn settle(&self) {
        sleep(Duration::from_millis(100)).await;
    }

    /// Waits until something holds.
    pub async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        for _ in 0..20_000 {
            if holds(self) {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("{what}: not within 1000 s");
    }

    /// The messages of the events with a reason, in the order in which they were first recorded.
    pub fn events(&self, reason: &str) -> Vec<String> {
        let mut events: Vec<Value> =
            self.all(&kinds::EVENT).into_iter().filter(|event| event["reason"] == reason).collect();
        events.sort_by_key(|event| event["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap());
        events.iter().map(|event| event["message"].as_str().unwrap().to_owned()).collect()
    }
}

/// Binds a pod to a node, past the rules that forbid others to do so.
pub fn bind(registry: &Registry, name: &str, node: &str) {
    let bound = registry.store().write(&kinds::POD, NAMESPACE, name, |before| {
        let mut value = before.ok_or(())?.value();
        value["spec"]["nodeName"] = json!(node);
        Ok::<_, ()>(Wanted::Put(value))
    });
    drop(bound);
}

/// Makes a pod running, and ready or not.
pub fn set_ready(registry: &Registry, name: &str, ready: bool) {
    let status = json!({
        "phase": "Running",
        "conditions": [{
            "type": "Ready",
            "status": if ready { "True" } else { "False" },
            "lastTransitionTime": names::now_seconds(),
        }],
    });
    let options = WriteOptions::default();
    // A pod that is gone by now is not made ready.
    let _ = registry.change(&kinds::POD, NAMESPACE, name, Part::Status, &options, |mut pod| {
        pod["status"] = status;
        Ok(pod)
    });
}

async fn run_pods(registry: Arc<Registry>, kubelet: Kubelet) {
    let mut tasks = JoinSet::new();
    loop {
        let (version, pods) = registry.store().list(&kinds::POD, Some(NAMESPACE));
        for pod in pods {
            run_pod(&registry, kubelet, &pod, &mut tasks);
        }
        let Ok(mut watcher) = registry.store().watch(&kinds::POD, version) else { continue };
        while let Ok(changes) = watcher.next().await {
            for change in changes.iter().filter(|change| change.op != Op::Deleted) {
                run_pod(&registry, kubelet, &change.object, &mut tasks);
            }
        }
    }
}

/// Begins or ends a pod, if its time has come.
fn run_pod(registry: &Arc<Registry>, kubelet: Kubelet, pod: &Arc<Object>, tasks: &mut JoinSet<()>) {
    let Some(now) = registry.store().get(&kinds::POD, NAMESPACE, &pod.name) else { return };
    let going = now.going;
    let (registry, name, uid) = (Arc::clone(registry), pod.name.clone(), pod.uid.clone());
    if going {
        tasks.spawn(async move {
            sleep(kubelet.stops).await;
            let options = DeleteOptions { grace_seconds: Some(0), uid: Some(uid), ..DeleteOptions::default() };
            // It may be gone by now.
            let _ = registry.delete(&kinds::POD, NAMESPACE, &name, &options);
        });
    } else if now.node.is_none() {
        let node = uid.bytes().map(usize::from).sum::<usize>() % NODES;
        bind(&registry, &name, &format!("n{node}"));
        let broken = now.labels.get("image").is_some_and(|image| image == kubelet.broken);
        tasks.spawn(async move {
            sleep(kubelet.starts).await;
            set_ready(&registry, &name, !broken);
        });
    }
}

/// A pod template with a label `image` beside the labels.
pub fn template(app: &str, image: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": app, "image": image}},
        "spec": {"containers": [{"name": "main", "image": image}], "terminationGracePeriodSeconds": 30},
    })
}

/// Whether a pod counts, and whether it is ready.
pub fn is_active(pod: &Value) -> bool {
    pod["metadata"]["deletionTimestamp"].is_null()
        && !matches!(pod["status"]["phase"].as_str(), Some("Failed" | "Succeeded"))
}

pub fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"))
}
