//! Takes pods on: each pod that is bound to one of our nodes gets a worker, which hears of every change of its object.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use k8s_openapi::api::core::v1::Pod;
use tokio::{
    sync::watch,
    task::{Id, JoinSet},
};

use super::{
    pod_worker::{Seen, Worker},
    pods::PodHandle,
    shared::Shared,
};
use crate::sandbox::{
    kinds,
    store::{Object, Op},
};

/// The workers of pods. Dropping it ends them, and their processes.
struct Workers {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
    uids: HashMap<Id, String>,
    seen: HashMap<String, watch::Sender<Seen>>,
}

/// Takes on pods until it is dropped.
pub(super) async fn run(shared: Arc<Shared>) {
    let store = Arc::clone(shared.registry.store());
    let mut workers = Workers { shared, tasks: JoinSet::new(), uids: HashMap::new(), seen: HashMap::new() };
    loop {
        let (version, objects) = store.list(&kinds::POD, None);
        let there: HashSet<&str> = objects.iter().map(|object| object.uid.as_str()).collect();
        workers.forget_all_but(&there);
        for object in &objects {
            workers.take(object, false);
        }
        let Ok(mut watcher) = store.watch(&kinds::POD, version) else { continue };
        loop {
            tokio::select! {
                changes = watcher.next() => {
                    let Ok(changes) = changes else { break };
                    for change in changes {
                        workers.take(&change.object, change.op == Op::Deleted);
                    }
                }
                Some(ended) = workers.tasks.join_next_with_id() => {
                    let id = match ended {
                        Ok((id, ())) => id,
                        Err(error) => {
                            tracing::error!(%error, "the worker of a pod ended; its processes end with it");
                            error.id()
                        }
                    };
                    workers.ended(id);
                }
            }
        }
    }
}

impl Workers {
    fn take(&mut self, object: &Object, gone: bool) {
        if let Some(seen) = self.seen.get(&object.uid) {
            if let Some(pod) = object.typed::<Pod>() {
                seen.send_replace(Seen { pod, gone });
            }
            return;
        }
        let node = object.node.as_deref().and_then(|name| self.shared.nodes.get(name));
        let (Some(node), false) = (node, gone) else { return };
        let Some(pod) = object.typed::<Pod>() else { return };
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        if matches!(phase, Some("Succeeded" | "Failed")) {
            return;
        }
        let handle = Arc::new(PodHandle::new(&pod, &node.spec.name));
        self.shared.pods.insert(Arc::clone(&handle));
        let (sender, updates) = watch::channel(Seen { pod, gone: false });
        self.seen.insert(object.uid.clone(), sender);
        let worker = Worker::new(Arc::clone(&self.shared), node, handle, updates);
        let id = self.tasks.spawn(worker.run()).id();
        self.uids.insert(id, object.uid.clone());
    }

    /// After falling behind: pods that are not listed any more are gone.
    fn forget_all_but(&self, there: &HashSet<&str>) {
        for (uid, seen) in &self.seen {
            if !there.contains(uid.as_str()) {
                seen.send_modify(|seen| seen.gone = true);
            }
        }
    }

    fn ended(&mut self, id: Id) {
        let Some(uid) = self.uids.remove(&id) else { return };
        self.seen.remove(&uid);
        let Some(pod) = self.shared.pods.remove(&uid) else { return };
        // After an ordinary end there are none.
        pod.kill_processes();
        if let Some(address) = pod.address() {
            self.shared.addresses.give_back(address);
        }
    }
}
