//! The findings that a judgement can name: a closed list, so that an experiment which expects one that does not exist
//! is refused before it runs.

/// Ids with what each says, in the order in which `judge` weighs them.
pub const FINDINGS: &[(&str, &str)] = &[
    ("forced-delete", "a pod was removed at once, with what it was doing"),
    ("container-crashed", "a container ended by itself while it served"),
    ("out-of-memory", "a container was killed for want of memory"),
    ("liveness-restart", "the kubelet restarted a container whose liveness probe failed"),
    ("node-gone", "a node stopped answering, and the pods on it with it"),
    ("exits-without-draining", "a pod closed connections in use when it was told to stop"),
    ("prestop-missing", "a pod was told to stop before the cluster had stopped sending to it"),
    ("prestop-too-short", "a pod's preStop hook ended before the cluster had stopped sending to it"),
    ("readiness-missing", "a pod got requests before it could answer, for want of a readiness probe"),
    ("budget-missing", "evictions took pods that no budget held back"),
    ("replicas-on-one-node", "all replicas stood on the node that went"),
    ("single-replica", "there was only one replica, and it went"),
    ("budget-too-weak", "evictions took all pods at the same time, and their budget allowed it"),
    ("evicted-by-cluster", "the cluster itself took a pod: preempted, or evicted under the pressure of its node"),
    ("readiness-lost", "pods failed their readiness probe while they ran, and nobody had deleted them"),
    ("rollout-unavailable", "a rollout took the old pods before the new ones were ready"),
    ("image-pull-failed", "a rollout took the old pods, and the image of the new ones cannot be pulled"),
    ("scaled-down", "the workload was scaled down until no pod was left"),
    ("deleted-directly", "all pods were deleted, rather than evicted, which no budget holds back"),
    ("selector-mismatch", "the Service's selector and the pods' labels do not meet"),
    ("drain-blocked", "a budget let no eviction through, so a drain could not end"),
    ("budget-broken", "fewer pods were healthy than a budget asks for"),
    ("steady-state-not-met", "the service lost requests before anything was done to it"),
    ("slow-requests", "more requests than allowed took longer than a bound on the response time"),
    (
        "killed-at-grace-end",
        "a pod was ended by SIGKILL when its grace period was over, or its preStop hook used it up",
    ),
    ("answers-errors", "the service itself answered with an error"),
    ("unexplained", "nothing that was seen explains a loss"),
];

/// Whether a finding of this id exists.
#[must_use]
pub fn is_known(id: &str) -> bool {
    FINDINGS.iter().any(|(known, _)| *known == id)
}
