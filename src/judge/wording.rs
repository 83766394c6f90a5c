//! The words of the findings: what each cause claims, and what to change.

use super::{cause::Cause, slowness::Slowness};

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
        Cause::LivenessRestart => "the kubelet restarted containers whose liveness probe failed",
        Cause::OutOfMemory => "containers were killed for want of memory",
        Cause::ReadinessLost => "pods failed their readiness probe while they ran, and nobody had deleted them",
        Cause::RolloutUnavailable => "the rollout took the old pods before the new ones were ready",
        Cause::ImagePullFailed => "the rollout took the old pods, and the image of the new ones cannot be pulled",
        Cause::ScaledDown => "the workload was scaled down until no pod was left",
        Cause::DeletedDirectly => "all pods were deleted at the same time, which no disruption budget holds back",
        Cause::BudgetTooWeak => "all pods were evicted at the same time, and their disruption budget allowed it",
        Cause::EvictedByCluster => {
            "the cluster itself took pods: preempted, or evicted under the pressure of their node"
        }
        Cause::SelectorMismatch => "the Service's selector and the labels of the ready pods do not meet",
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
            "on SIGTERM answer `Connection: close` (HTTP/2: send GOAWAY), finish what is in flight, close idle \
             connections, and only then exit"
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
        Cause::LivenessRestart => {
            "give the liveness probe more room (failureThreshold, timeoutSeconds) than the longest time the process may \
             be busy, and let the readiness probe, which only takes the pod out of the Service, fail first"
        }
        Cause::OutOfMemory => "raise resources.limits.memory of the container, or find what it keeps in memory",
        Cause::ReadinessLost => {
            "find out why the probe failed at these times (the message says how): a probe that needs what the pods share, \
             such as a database, fails on all of them at once; ask only whether this process can answer, and give it \
             more than one failure (failureThreshold) and more time (timeoutSeconds)"
        }
        Cause::RolloutUnavailable => {
            "use strategy RollingUpdate with maxUnavailable: 0 and maxSurge: 1, so that an old pod goes only once a new \
             one is ready"
        }
        Cause::ImagePullFailed => {
            "correct the image's name or the right to pull it, and roll with maxUnavailable: 0, so that a rollout that \
             cannot go on stops before it takes a pod"
        }
        Cause::ScaledDown => {
            "keep at least one replica while requests come in; scale up before scaling to zero elsewhere"
        }
        Cause::DeletedDirectly => {
            "evict instead of deleting (kubectl drain, or the eviction API), one after another: only evictions honour a \
             PodDisruptionBudget"
        }
        Cause::BudgetTooWeak => "let the budget allow one pod at a time: maxUnavailable: 1",
        Cause::EvictedByCluster => {
            "give the pods a priorityClass above what displaces them, and requests that cover what they use"
        }
        Cause::SelectorMismatch => {
            "make the Service's spec.selector a part of the labels of the pod template, and change both in two steps: \
             labels first, then selector"
        }
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

/// What a reason for a slow answer says.
#[must_use]
pub const fn slow(reason: Slowness) -> &'static str {
    match reason {
        Slowness::SlowBefore => "the lane's requests took about as long before the fault",
        Slowness::SlowConnect => {
            "connecting took a second or more, so its first packet was sent again, while a pod was in trouble"
        }
        Slowness::RestartedPod => "the container of the pod had been restarted",
        Slowness::TerminatingPod => "the pod was being shut down",
        Slowness::UnreadyPod => "the pod failed its probe, or its node was not ready",
        Slowness::ColdPod => "the pod had become a ready endpoint less than 10 s before",
        Slowness::FewerEndpoints => "fewer endpoints were ready than when the fault began",
        Slowness::Unexplained => "nothing that was seen of the cluster explains it",
    }
}

/// What to change where most answers were slow for a reason.
#[must_use]
pub const fn slow_advice(reason: Slowness) -> &'static str {
    match reason {
        Slowness::SlowBefore => {
            "the service is as slow when nothing is done to it: make it faster, or bound what it can keep"
        }
        Slowness::SlowConnect => {
            "let pods go on accepting until nobody is sent to them any more (a preStop sleep), and become ready only once \
             they accept"
        }
        Slowness::RestartedPod => "look at why the container ended, and let it become ready only once it is warm",
        Slowness::TerminatingPod => {
            "go on serving at full speed after SIGTERM until what is open has been answered: let a preStop sleep keep \
             SIGTERM away until nobody is sent to the pod any more"
        }
        Slowness::UnreadyPod => {
            "look at what kept the pod from passing its probe; a shorter periodSeconds and failureThreshold take it out \
             of the Service sooner"
        }
        Slowness::ColdPod => {
            "let the readiness probe succeed only once the process is warm, or let it warm itself up first"
        }
        Slowness::FewerEndpoints => {
            "the pods that were left were too few for this rate: keep more replicas, or replace before taking away \
             (maxUnavailable: 0, and a budget)"
        }
        Slowness::Unexplained => "look at what the service itself was doing at these times",
    }
}
