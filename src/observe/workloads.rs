//! Workloads and `ReplicaSets`: their counts, in one shape for all four kinds.

use k8s_openapi::{
    api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::book::Projection;
use crate::record::event::{What, WorkloadSeen};

/// The four kinds differ only in where their counts stand.
macro_rules! workloads {
    ($($book:ident: $object:ty, $seen:ident;)*) => {$(
        pub(super) struct $book;

        impl Projection for $book {
            type Object = $object;
            type Seen = WorkloadSeen;

            fn key(object: &$object) -> String {
                object.metadata.name.clone().unwrap_or_default()
            }

            fn seen(object: &$object) -> WorkloadSeen {
                $seen(object)
            }

            fn changed(seen: WorkloadSeen) -> What {
                What::Workload(seen)
            }

            fn gone(seen: WorkloadSeen) -> What {
                What::Workload(WorkloadSeen { gone: true, ..seen })
            }
        }
    )*};
}

workloads! {
    Deployments: Deployment, deployment_seen;
    ReplicaSets: ReplicaSet, replica_set_seen;
    StatefulSets: StatefulSet, stateful_set_seen;
    DaemonSets: DaemonSet, daemon_set_seen;
}

/// A workload of no pods yet.
fn named(kind: &str, metadata: &ObjectMeta) -> WorkloadSeen {
    WorkloadSeen {
        workload: format!("{kind}/{}", metadata.name.as_deref().unwrap_or_default()),
        wanted: 0,
        replicas: 0,
        updated: 0,
        ready: 0,
        available: 0,
        generation: metadata.generation.unwrap_or(0),
        observed_generation: 0,
        gone: false,
    }
}

/// A Deployment as it is recorded.
#[must_use]
pub fn deployment_seen(deployment: &Deployment) -> WorkloadSeen {
    let status = deployment.status.clone().unwrap_or_default();
    WorkloadSeen {
        wanted: deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1),
        replicas: status.replicas.unwrap_or(0),
        updated: status.updated_replicas.unwrap_or(0),
        ready: status.ready_replicas.unwrap_or(0),
        available: status.available_replicas.unwrap_or(0),
        observed_generation: status.observed_generation.unwrap_or(0),
        ..named("deployment", &deployment.metadata)
    }
}

/// A `ReplicaSet` as it is recorded. All its pods have its template, so all count as updated.
#[must_use]
pub fn replica_set_seen(set: &ReplicaSet) -> WorkloadSeen {
    let status = set.status.clone().unwrap_or_default();
    WorkloadSeen {
        wanted: set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1),
        replicas: status.replicas,
        updated: status.replicas,
        ready: status.ready_replicas.unwrap_or(0),
        available: status.available_replicas.unwrap_or(0),
        observed_generation: status.observed_generation.unwrap_or(0),
        ..named("replicaset", &set.metadata)
    }
}

/// A `StatefulSet` as it is recorded.
#[must_use]
pub fn stateful_set_seen(set: &StatefulSet) -> WorkloadSeen {
    let status = set.status.clone().unwrap_or_default();
    WorkloadSeen {
        wanted: set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1),
        replicas: status.replicas,
        updated: status.updated_replicas.unwrap_or(0),
        ready: status.ready_replicas.unwrap_or(0),
        available: status.available_replicas.unwrap_or(0),
        observed_generation: status.observed_generation.unwrap_or(0),
        ..named("statefulset", &set.metadata)
    }
}

/// A `DaemonSet` as it is recorded: what it wants is one pod for each node that should run it.
#[must_use]
pub fn daemon_set_seen(set: &DaemonSet) -> WorkloadSeen {
    let status = set.status.clone().unwrap_or_default();
    WorkloadSeen {
        wanted: status.desired_number_scheduled,
        replicas: status.current_number_scheduled,
        updated: status.updated_number_scheduled.unwrap_or(0),
        ready: status.number_ready,
        available: status.number_available.unwrap_or(0),
        observed_generation: status.observed_generation.unwrap_or(0),
        ..named("daemonset", &set.metadata)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn seen(workload: &str) -> WorkloadSeen {
        WorkloadSeen {
            workload: workload.to_owned(),
            wanted: 5,
            replicas: 4,
            updated: 3,
            ready: 2,
            available: 1,
            generation: 7,
            observed_generation: 6,
            gone: false,
        }
    }

    fn object(spec: &Value, status: &Value) -> Value {
        json!({"metadata": {"name": "shop", "generation": 7}, "spec": spec, "status": status})
    }

    #[test]
    fn each_kind_has_its_counts_where_it_keeps_them() {
        let spec = json!({"replicas": 5, "selector": {}, "template": {}, "serviceName": "shop"});
        let counts = json!({"replicas": 4, "updatedReplicas": 3, "readyReplicas": 2, "availableReplicas": 1,
            "observedGeneration": 6});
        let whole = object(&spec, &counts);
        assert_eq!(deployment_seen(&serde_json::from_value(whole.clone()).unwrap()), seen("deployment/shop"));
        assert_eq!(stateful_set_seen(&serde_json::from_value(whole.clone()).unwrap()), seen("statefulset/shop"));
        let of_set = WorkloadSeen { updated: 4, ..seen("replicaset/shop") };
        assert_eq!(replica_set_seen(&serde_json::from_value(whole).unwrap()), of_set);
        let of_daemon = json!({"desiredNumberScheduled": 5, "currentNumberScheduled": 4, "updatedNumberScheduled": 3,
            "numberReady": 2, "numberAvailable": 1, "numberMisscheduled": 0, "observedGeneration": 6});
        let daemon = object(&json!({"selector": {}, "template": {}}), &of_daemon);
        assert_eq!(daemon_set_seen(&serde_json::from_value(daemon).unwrap()), seen("daemonset/shop"));
    }

    #[test]
    fn a_workload_without_a_status_has_no_pods_yet() {
        let new = json!({"metadata": {"name": "shop", "generation": 1}, "spec": {"selector": {}, "template": {}}});
        let seen = deployment_seen(&serde_json::from_value(new).unwrap());
        assert_eq!((seen.wanted, seen.replicas, seen.generation, seen.observed_generation), (1, 0, 1, 0));
    }
}
