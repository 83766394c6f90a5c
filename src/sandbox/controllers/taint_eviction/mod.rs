//! Taint eviction: pods leave nodes whose `NoExecute` taints they do not tolerate, at once or after their seconds of
//! toleration (`k/pkg/controller/tainteviction/taint_eviction.go`, v1.34.4). They are deleted, not evicted: no budget is
//! asked.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::{Node, Pod};
use tokio::time::Instant;

use super::{Controller, Key, Next, events};
use crate::{
    model::taints::{self, Stay, Taint, Toleration},
    sandbox::{
        error::ApiError,
        kinds::{self, Kind},
        registry::{
            DeleteOptions, Part, Registry, WriteOptions,
            subresources::conditions::{self, Condition},
        },
        store::{Change, Op},
    },
};

const COMPONENT: &str = "taint-eviction-controller";

/// The controller.
pub struct TaintEviction {
    registry: Arc<Registry>,
    /// When pods are to be deleted. Once set, a time stays until the taints are gone, as upstream.
    due: Mutex<HashMap<Key, Due>>,
}

#[derive(Clone)]
struct Due {
    uid: String,
    at: Instant,
}

impl TaintEviction {
    /// The controller of this cluster.
    #[must_use]
    pub fn new(registry: Arc<Registry>) -> Self {
        Self { registry, due: Mutex::default() }
    }

    fn with_due<T>(&self, look: impl FnOnce(&mut HashMap<Key, Due>) -> T) -> T {
        look(&mut self.due.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn cancel(&self, key: &Key) {
        let known = self.with_due(|due| due.remove(key));
        let pod = known.and_then(|_| self.registry.store().get(&kinds::POD, &key.namespace, &key.name));
        if let Some(pod) = pod {
            let message = format!("Cancelling deletion of Pod {}/{}", key.namespace, key.name);
            events::record(&self.registry, &pod, events::Severity::Normal, COMPONENT, "TaintManagerEviction", &message);
        }
    }

    fn sync(&self, key: &Key) -> Result<Next, ApiError> {
        let Some(pod) = self.registry.find::<Pod>(&key.namespace, &key.name) else {
            self.with_due(|due| due.remove(key));
            return Ok(Next::Settled);
        };
        let spec = pod.spec.as_ref();
        let node = spec.and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
        if node.is_empty() || pod.metadata.deletion_timestamp.is_some() {
            self.with_due(|due| due.remove(key));
            return Ok(Next::Settled);
        }
        let taints = self.registry.find::<Node>("", node).map(|node| taints_of(&node)).unwrap_or_default();
        let tolerations = spec.map(|spec| tolerations_of(spec.tolerations.as_deref())).unwrap_or_default();
        if !taints.iter().any(|taint| taint.effect == "NoExecute") {
            self.cancel(key);
            return Ok(Next::Settled);
        }
        match taints::stay(&taints, &tolerations) {
            Stay::Forever => Ok(Next::Settled),
            Stay::NotAtAll => self.delete(key),
            Stay::Seconds(seconds) => {
                let uid = pod.metadata.uid.clone().unwrap_or_default();
                let at = self.with_due(|due| {
                    let new = Due { uid: uid.clone(), at: Instant::now() + Duration::from_secs(seconds) };
                    let known = due.entry(key.clone()).or_insert_with(|| new.clone());
                    if known.uid != uid {
                        *known = new;
                    }
                    known.at
                });
                let left = at.saturating_duration_since(Instant::now());
                if left.is_zero() { self.delete(key) } else { Ok(Next::After(left)) }
            }
        }
    }

    fn delete(&self, key: &Key) -> Result<Next, ApiError> {
        let (namespace, name) = (&key.namespace, &key.name);
        if let Some(pod) = self.registry.store().get(&kinds::POD, namespace, name) {
            let message = format!("Marking for deletion Pod {namespace}/{name}");
            events::record(&self.registry, &pod, events::Severity::Normal, COMPONENT, "TaintManagerEviction", &message);
        }
        let marked =
            self.registry.change(&kinds::POD, namespace, name, Part::Status, &WriteOptions::default(), |mut pod| {
                conditions::set_on_pod(
                    &mut pod,
                    Condition {
                        kind: "DisruptionTarget",
                        status: "True",
                        reason: "DeletionByTaintManager",
                        message: "Taint manager: deleting due to NoExecute taint",
                    },
                );
                Ok(pod)
            });
        let deleted = marked.and_then(|_| self.registry.remove::<Pod>(namespace, name, &DeleteOptions::default()));
        match deleted {
            Err(error) if !error.is_not_found() => Err(error),
            _ => {
                self.with_due(|due| due.remove(key));
                Ok(Next::Settled)
            }
        }
    }
}

impl Controller for TaintEviction {
    fn name(&self) -> &'static str {
        "taint-eviction"
    }

    fn watches(&self) -> &'static [&'static Kind] {
        static WATCHES: &[&Kind] = &[&kinds::POD, &kinds::NODE];
        WATCHES
    }

    fn keys(&self, change: &Change) -> Vec<Key> {
        let (object, before) = (&change.object, change.before.as_ref());
        if object.kind == &kinds::POD {
            let tolerations = |object: &Arc<crate::sandbox::store::Object>| {
                object.typed::<Pod>().and_then(|pod| pod.spec.as_ref().and_then(|spec| spec.tolerations.clone()))
            };
            let same = change.op == Op::Modified
                && before.is_some_and(|before| {
                    before.node == object.node && before.uid == object.uid && tolerations(before) == tolerations(object)
                });
            return if same { Vec::new() } else { vec![Key::of(object)] };
        }
        let taints = |object: &Arc<crate::sandbox::store::Object>| {
            object.typed::<Node>().map(|node| taints_of(&node)).unwrap_or_default()
        };
        let none = Vec::new();
        if before.map_or(none, taints) == taints(object) && change.op != Op::Deleted {
            return Vec::new();
        }
        self.registry.store().pods_on(&object.name).iter().map(Key::of).collect()
    }

    fn reconcile(&self, key: &Key) -> Result<Next, ApiError> {
        self.sync(key)
    }
}

/// The taints of a node.
pub(in crate::sandbox) fn taints_of(node: &Node) -> Vec<Taint> {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    let read = |taint: &k8s_openapi::api::core::v1::Taint| Taint {
        key: taint.key.clone(),
        value: taint.value.clone().unwrap_or_default(),
        effect: taint.effect.clone(),
    };
    taints.iter().map(read).collect()
}

/// The tolerations of a pod.
pub(in crate::sandbox) fn tolerations_of(
    tolerations: Option<&[k8s_openapi::api::core::v1::Toleration]>,
) -> Vec<Toleration> {
    let read = |one: &k8s_openapi::api::core::v1::Toleration| Toleration {
        key: one.key.clone().unwrap_or_default(),
        value: one.value.clone().unwrap_or_default(),
        exists: one.operator.as_deref() == Some("Exists"),
        effect: one.effect.clone().unwrap_or_default(),
        seconds: one.toleration_seconds,
    };
    tolerations.unwrap_or_default().iter().map(read).collect()
}

#[cfg(test)]
mod tests;
