//! The pods that the kubelet has taken on, as others see them: where their processes, logs and addresses are.

use std::{
    collections::{BTreeMap, HashMap},
    net::Ipv4Addr,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::api::core::v1::Pod;
use rustix::process::Signal;

use super::{
    log::Log,
    process::{Process, Usage},
};

/// What a container of a pod has.
#[derive(Debug, Clone, Default)]
pub struct Seat {
    /// Its process, while it runs.
    pub process: Option<Arc<Process>>,
    /// What its present or latest instance has written.
    pub log: Option<Arc<Log>>,
    /// What the one before has written.
    pub previous_log: Option<Arc<Log>>,
    /// Its environment.
    pub env: Vec<(String, String)>,
    /// Where it runs.
    pub cwd: PathBuf,
    /// Why it does not run.
    pub waiting: String,
    /// It is the demo service in the place of another image, at this port.
    pub stand_in_port: Option<u16>,
}

impl Seat {
    /// Whether it runs.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.ended().is_none())
    }
}

#[derive(Debug, Default)]
struct Inner {
    address: Option<Ipv4Addr>,
    seats: BTreeMap<String, Seat>,
}

/// A pod.
#[derive(Debug)]
pub struct PodHandle {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Its node.
    pub node: String,
    /// Its containers, in the order in which they begin.
    pub containers: Vec<String>,
    inner: Mutex<Inner>,
}

impl PodHandle {
    pub(super) fn new(pod: &Pod, node: &str) -> Self {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        Self {
            namespace: text(&pod.metadata.namespace),
            name: text(&pod.metadata.name),
            uid: text(&pod.metadata.uid),
            node: node.to_owned(),
            containers: super::facts::containers(pod).into_iter().map(|(container, _)| container.name).collect(),
            inner: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its address, while it has one.
    #[must_use]
    pub fn address(&self) -> Option<Ipv4Addr> {
        self.lock().address
    }

    pub(super) fn set_address(&self, address: Option<Ipv4Addr>) {
        self.lock().address = address;
    }

    /// What a container has.
    #[must_use]
    pub fn seat(&self, container: &str) -> Option<Seat> {
        self.lock().seats.get(container).cloned()
    }

    pub(super) fn change_seat(&self, container: &str, change: impl FnOnce(&mut Seat)) {
        change(self.lock().seats.entry(container.to_owned()).or_default());
    }

    fn each_process(&self, act: impl Fn(&Process)) {
        let processes: Vec<_> = self.lock().seats.values().filter_map(|seat| seat.process.clone()).collect();
        for process in processes {
            act(&process);
        }
    }

    pub(super) fn stop_processes(&self) {
        self.each_process(Process::stop);
    }

    pub(super) fn continue_processes(&self) {
        self.each_process(Process::cont);
    }

    pub(super) fn kill_processes(&self) {
        self.each_process(|process| process.signal(Signal::KILL));
    }

    /// What each running container uses.
    #[must_use]
    pub fn usage(&self) -> Vec<(String, Usage)> {
        let running: Vec<_> = self
            .lock()
            .seats
            .iter()
            .filter_map(|(name, seat)| {
                Some((name.clone(), seat.process.clone().filter(|process| process.ended().is_none())?))
            })
            .collect();
        running.into_iter().map(|(name, process)| (name, process.usage())).collect()
    }
}

#[derive(Debug, Default)]
struct Table {
    by_uid: HashMap<String, Arc<PodHandle>>,
    /// The latest pod of a name; an older one of the same name may still be ending.
    by_place: HashMap<(String, String), Arc<PodHandle>>,
}

/// The pods.
#[derive(Debug, Default)]
pub struct Pods {
    table: Mutex<Table>,
}

impl Pods {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn insert(&self, pod: Arc<PodHandle>) {
        let mut table = self.lock();
        table.by_place.insert((pod.namespace.clone(), pod.name.clone()), Arc::clone(&pod));
        table.by_uid.insert(pod.uid.clone(), pod);
    }

    pub(super) fn remove(&self, uid: &str) -> Option<Arc<PodHandle>> {
        let mut table = self.lock();
        let pod = table.by_uid.remove(uid)?;
        let place = (pod.namespace.clone(), pod.name.clone());
        if table.by_place.get(&place).is_some_and(|latest| latest.uid == uid) {
            table.by_place.remove(&place);
        }
        Some(pod)
    }

    /// The pod of a name.
    #[must_use]
    pub fn find(&self, namespace: &str, name: &str) -> Option<Arc<PodHandle>> {
        self.lock().by_place.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    /// The pods on a node, those included whose object is gone but whose processes are not.
    #[must_use]
    pub fn on_node(&self, node: &str) -> Vec<Arc<PodHandle>> {
        self.lock().by_uid.values().filter(|pod| pod.node == node).cloned().collect()
    }

    /// All pods.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<PodHandle>> {
        self.lock().by_uid.values().cloned().collect()
    }
}
