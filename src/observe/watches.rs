//! All watches of a run together: begun, waited for, and ended.

use std::{sync::Arc, time::Duration};

use kube::Api;
use tokio::{sync::watch as signal, task::JoinSet, time::timeout};

use super::{
    book::Latest,
    budgets::Budgets,
    endpoints::Endpoints,
    follow::{Line, Unlisted, follow},
    heartbeat::heartbeat,
    kube_events::KubeEvents,
    nodes::Nodes,
    pods::Pods,
    workloads::{DaemonSets, Deployments, ReplicaSets, StatefulSets},
};
use crate::{
    cluster::Cluster,
    record::{clock::Sink, event::Micros},
};

/// How long the first lists may take, all of them together.
const LISTED_WITHIN: Duration = Duration::from_secs(30);

/// Watches that have not listed in time, so that the run would be blind to what they are about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not listed within {} s: {}", LISTED_WITHIN.as_secs(), which.join(", "))]
pub struct NotListed {
    /// What is watched, in the plural, each with its last failure where it has one.
    pub which: Vec<String>,
}

/// The watches of a run. Dropped, they end.
#[derive(Debug)]
pub struct Watches {
    tasks: JoinSet<()>,
    unlisted: signal::Receiver<Unlisted>,
}

/// Begins to watch, within a tokio runtime: nodes of the whole cluster; pods, endpoints, budgets, workloads and Events
/// of the namespace; and whether the API server answers.
#[must_use]
pub fn watch(cluster: &Cluster, namespace: &str, sink: Sink) -> Watches {
    let mut begun = Begun::new(sink);
    let client = &cluster.client;
    begun.tasks.spawn(heartbeat(client.clone(), begun.sink.clone(), begun.silent_since.clone()));
    macro_rules! in_namespace {
        ($($name:literal: $book:expr;)*) => {
            $( let line = begun.line($name);
               begun.tasks.spawn(follow(Api::namespaced(client.clone(), namespace), $book, line)); )*
        };
    }
    in_namespace! {
        "pods": Latest::<Pods>::new();
        "endpointslices": Endpoints::default();
        "poddisruptionbudgets": Latest::<Budgets>::new();
        "deployments": Latest::<Deployments>::new();
        "replicasets": Latest::<ReplicaSets>::new();
        "statefulsets": Latest::<StatefulSets>::new();
        "daemonsets": Latest::<DaemonSets>::new();
        "events": KubeEvents::default();
    }
    let line = begun.line("nodes");
    begun.tasks.spawn(follow(Api::all(client.clone()), Latest::<Nodes>::new(), line));
    Watches { unlisted: begun.unlisted.subscribe(), tasks: begun.tasks }
}

/// What is being put together.
struct Begun {
    sink: Sink,
    tasks: JoinSet<()>,
    unlisted: Arc<signal::Sender<Unlisted>>,
    silent_since: signal::Sender<Micros>,
}

impl Begun {
    fn new(sink: Sink) -> Self {
        let unlisted = Arc::new(signal::Sender::new(Unlisted::new()));
        Self { sink, tasks: JoinSet::new(), unlisted, silent_since: signal::Sender::new(0) }
    }

    /// A line for one more watch, which has not listed yet.
    fn line(&self, name: &'static str) -> Line {
        self.unlisted.send_modify(|unlisted| drop(unlisted.insert(name, String::new())));
        Line {
            name,
            sink: self.sink.clone(),
            unlisted: Arc::clone(&self.unlisted),
            silent_since: self.silent_since.subscribe(),
        }
    }
}

impl Watches {
    /// Waits until every watch has listed once: from here on nothing is missed.
    ///
    /// # Errors
    /// When that takes longer than 30 s, with the watches that have not, and why.
    pub async fn synced(&self) -> Result<(), NotListed> {
        let mut unlisted = self.unlisted.clone();
        if let Ok(Ok(_)) = timeout(LISTED_WITHIN, unlisted.wait_for(Unlisted::is_empty)).await {
            return Ok(());
        }
        let unlisted = self.unlisted.borrow();
        let which = unlisted.iter().map(|(name, failure)| match failure.as_str() {
            "" => (*name).to_owned(),
            failure => format!("{name} ({failure})"),
        });
        Err(NotListed { which: which.collect() })
    }

    /// Ends all watches, and waits until none of them records any more.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}
