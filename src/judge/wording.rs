//! The words of the findings: what each cause claims, and what to change.

use super::cause::Cause;

/// One line on what a cause says.
#[must_use]
pub const fn claim(cause: Cause) -> &'static str {
    match cause {
        Cause::PrestopMissing => "pods without a preStop hook were gone before the cluster had stopped sending to them",
        Cause::PrestopTooShort => "the preStop hook ended before the cluster had stopped sending to the pod",
        Cause::ReadinessMissing => "pods without a readiness probe got requests before they listened",
        Cause::ExitsWithoutDraining => "pods that were told to stop closed connections that were in use",
        Cause::BudgetMissing => "several pods were evicted at the same time, and no disruption budget forbade it",
        Cause::ReplicasOnOneNode => "all replicas stood on the node that went",
        Cause::SingleReplica => "there was only one replica, and it went",
        Cause::ForcedDelete => "pods were removed by force, with all that they were doing",
        Cause::ContainerCrashed => "containers ended by themselves while they served",
        Cause::NodeGone => "a node was gone, and requests to its pods got no answer",
        Cause::AnswersErrors => "the service itself answered with errors",
        Cause::Unexplained => "nothing that was recorded explains these losses",
    }
}

/// What to change, where no number was measured for it.
#[must_use]
pub const fn advice(cause: Cause) -> &'static str {
    match cause {
        Cause::PrestopMissing | Cause::PrestopTooShort => {
            "add a preStop sleep that outlasts the time in which the Service's rules follow"
        }
        Cause::ReadinessMissing => {
            "add a readinessProbe that succeeds only once the service answers; a pod without one is sent requests as \
             soon as its container runs"
        }
        Cause::ExitsWithoutDraining => {
            "on SIGTERM answer `Connection: close`, finish what is in flight, close idle connections, and only then exit"
        }
        Cause::BudgetMissing => {
            "add a PodDisruptionBudget that selects these pods, with maxUnavailable: 1 or a minAvailable below the \
             number of replicas"
        }
        Cause::ReplicasOnOneNode => {
            "spread the replicas: podAntiAffinity or topologySpreadConstraints on kubernetes.io/hostname"
        }
        Cause::SingleReplica => "run at least two replicas on different nodes, with a PodDisruptionBudget",
        Cause::ForcedDelete => {
            "delete with the pod's own grace period; a removal by force gives neither the process nor the Service's \
             rules any time"
        }
        Cause::ContainerCrashed => "find out why the container ended: its exit code and its last log lines say so",
        Cause::NodeGone => {
            "requests are lost until the node is found gone; let clients time out early and try again, and keep \
             replicas on several nodes"
        }
        Cause::AnswersErrors => "look at what the service logged at these times",
        Cause::Unexplained => {
            "look at the lost requests in events.jsonl beside the cluster's events, and at what stands between client \
             and service that is not watched"
        }
    }
}
