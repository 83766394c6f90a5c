//! The cause of a lost request: one of a closed list, from what the client knows of the request and what the cluster
//! did at that time. A cause is never a default. Where nothing fits in time and kind, the answer is `unexplained`.
//!
//! The order in which causes are looked for, first match wins:
//! 1. the peer is known (an answer on the connection named its pod): what became of that pod ([`peer`]);
//! 2. the Service had no ready endpoint: why they were gone ([`gap`], and for each pod [`departure`]);
//! 3. a new connection, or one whose peer is unknown: the pods that new connections could still, or already, be sent
//!    to though nothing listened there ([`candidate`]); the kind that fits best wins, then the nearest in time.

use super::{candidate, gap, peer, timeline::Timeline};
use crate::record::event::{LostRequest, Micros, Outcome};

/// Rules of a Service follow its endpoints by up to this long. kube-proxy syncs at once or, when the last sync is
/// less than a second ago, one second later, on each node for itself; published for 100 nodes: p99 6.8 s, and here on
/// kind 10 ms to 1.2 s. Kubernetes v1.34 `pkg/proxy/runner`; the bound leaves room for a busy small cluster.
pub const PROPAGATION_US: Micros = 5_000_000;

/// By so long after an endpoint is ready the rules have followed it wherever nothing is amiss: kube-proxy's least time
/// between two syncs (`minSyncPeriod`, 1 s), and half of it for the rest. What is lost later has a better explanation in
/// a pod that is known not to listen yet, where there is one.
pub const FOLLOWED_US: Micros = 1_500_000;

/// A client can see the end of something before the watch tells of its beginning, by up to this long.
pub const EARLY_US: Micros = 500_000;

/// A request can end so long after its pod was seen to exit: answers on the way, and the clock of the interval.
pub const LATE_US: Micros = 2_000_000;

/// The kubelet looks at containers every second and then reports: an exit is seen up to so long after it.
pub const EXIT_SEEN_LATE_US: Micros = 3_000_000;

/// A probe is asked every ten seconds unless its pod says otherwise (`periodSeconds`): a process may have been deaf for
/// so long before its probe is seen to fail, and for so long after it was seen to fail last.
pub const PROBE_US: Micros = 10_000_000;

/// A container that began to run less than this ago may not listen yet; without a readiness probe it is an endpoint.
pub const STARTING_US: Micros = 30_000_000;

/// A node that dies in silence is found not ready this much later: 50 s of grace and a period of 5 s
/// (`node-monitor-grace-period`, `node-monitor-period` of v1.34).
pub const NODE_GRACE_US: Micros = 55_000_000;

/// Why a request was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// A pod without a preStop hook was gone before the rules of the Service had followed.
    PrestopMissing,
    /// Its preStop hook ended before the rules had followed.
    PrestopTooShort,
    /// A pod without a readiness probe was an endpoint before it listened.
    ReadinessMissing,
    /// The process ended with connections open or answers unfinished, at SIGTERM.
    ExitsWithoutDraining,
    /// Several replicas were evicted at the same time, and no budget forbade it.
    BudgetMissing,
    /// All replicas were on one node.
    ReplicasOnOneNode,
    /// There was only one replica.
    SingleReplica,
    /// The pod was removed by force, with no time to end.
    ForcedDelete,
    /// Its container ended or was restarted though nobody had deleted the pod.
    ContainerCrashed,
    /// The kubelet restarted its container since its liveness probe failed.
    LivenessRestart,
    /// Its container was killed for want of memory.
    OutOfMemory,
    /// Pods stopped passing their readiness probe while their containers ran on and nobody had deleted them.
    ReadinessLost,
    /// A rollout took the old pods before the new ones were ready.
    RolloutUnavailable,
    /// A rollout took the old pods, and the image of the new ones cannot be pulled.
    ImagePullFailed,
    /// The workload was scaled down until no pod was left.
    ScaledDown,
    /// Pods were deleted, rather than evicted, all at the same time.
    DeletedDirectly,
    /// Several replicas were evicted at the same time, and their budget allowed it.
    BudgetTooWeak,
    /// The cluster itself took the pod: preempted, or evicted under the pressure of its node.
    EvictedByCluster,
    /// The Service's selector and the pods' labels do not meet: ready pods are no endpoints.
    SelectorMismatch,
    /// Its node was gone.
    NodeGone,
    /// A pod that was well answered with an error.
    AnswersErrors,
    /// Nothing that was recorded explains it.
    Unexplained,
}

impl Cause {
    /// All causes.
    pub const ALL: [Self; 22] = [
        Self::PrestopMissing,
        Self::PrestopTooShort,
        Self::ReadinessMissing,
        Self::ExitsWithoutDraining,
        Self::BudgetMissing,
        Self::ReplicasOnOneNode,
        Self::SingleReplica,
        Self::ForcedDelete,
        Self::ContainerCrashed,
        Self::LivenessRestart,
        Self::OutOfMemory,
        Self::ReadinessLost,
        Self::RolloutUnavailable,
        Self::ImagePullFailed,
        Self::ScaledDown,
        Self::DeletedDirectly,
        Self::BudgetTooWeak,
        Self::EvictedByCluster,
        Self::SelectorMismatch,
        Self::NodeGone,
        Self::AnswersErrors,
        Self::Unexplained,
    ];

    /// It says why a Service had no endpoint at all, so that its requests were sent to no pod.
    #[must_use]
    pub const fn is_of_all_endpoints(self) -> bool {
        matches!(
            self,
            Self::BudgetMissing
                | Self::BudgetTooWeak
                | Self::ReplicasOnOneNode
                | Self::SingleReplica
                | Self::RolloutUnavailable
                | Self::ImagePullFailed
                | Self::ScaledDown
                | Self::DeletedDirectly
                | Self::SelectorMismatch
        )
    }

    /// The id in files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PrestopMissing => "prestop-missing",
            Self::PrestopTooShort => "prestop-too-short",
            Self::ReadinessMissing => "readiness-missing",
            Self::ExitsWithoutDraining => "exits-without-draining",
            Self::BudgetMissing => "budget-missing",
            Self::ReplicasOnOneNode => "replicas-on-one-node",
            Self::SingleReplica => "single-replica",
            Self::ForcedDelete => "forced-delete",
            Self::ContainerCrashed => "container-crashed",
            Self::LivenessRestart => "liveness-restart",
            Self::OutOfMemory => "out-of-memory",
            Self::ReadinessLost => "readiness-lost",
            Self::RolloutUnavailable => "rollout-unavailable",
            Self::ImagePullFailed => "image-pull-failed",
            Self::ScaledDown => "scaled-down",
            Self::DeletedDirectly => "deleted-directly",
            Self::BudgetTooWeak => "budget-too-weak",
            Self::EvictedByCluster => "evicted-by-cluster",
            Self::SelectorMismatch => "selector-mismatch",
            Self::NodeGone => "node-gone",
            Self::AnswersErrors => "answers-errors",
            Self::Unexplained => "unexplained",
        }
    }
}

/// A cause with the pod that it was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribution<'a> {
    /// The cause.
    pub cause: Cause,
    /// The uid of the pod, where it is about one.
    pub uid: Option<&'a str>,
}

impl Attribution<'_> {
    /// No cause.
    pub const UNEXPLAINED: Self = Self { cause: Cause::Unexplained, uid: None };
}

/// The cause of one lost request of a Service. On a timeline that contradicts itself there is none.
#[must_use]
pub fn attribute<'a>(timeline: &Timeline<'a>, service: &str, lost: &LostRequest) -> Attribution<'a> {
    if timeline.contradicts_itself {
        return Attribution::UNEXPLAINED;
    }
    let found = match &lost.pod {
        Some(name) => peer::known(timeline, name, lost),
        None if is_answer(lost.outcome) => {
            peer::answered(timeline, service, lost).or_else(|| gap::no_endpoint(timeline, service, lost))
        }
        None if on_new_connection(lost) => gap::no_endpoint(timeline, service, lost)
            .or_else(|| candidate::unreached(timeline, service, lost))
            .or_else(|| peer::unknown(timeline, service, lost)),
        None => peer::unknown(timeline, service, lost),
    };
    found.unwrap_or(Attribution::UNEXPLAINED)
}

/// The service said something, though not what was asked for.
pub(super) const fn is_answer(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::ServerError | Outcome::OtherStatus | Outcome::WrongBody | Outcome::Malformed)
}

/// Lost while connecting, or before the first byte on a connection that was new. A connection through a forwarder is
/// accepted and then reset where it would have been refused, so these kinds are looked at together.
fn on_new_connection(lost: &LostRequest) -> bool {
    let connecting = matches!(lost.outcome, Outcome::Refused | Outcome::Unreachable | Outcome::ConnectTimeout);
    let unanswered = matches!(lost.outcome, Outcome::ResetBeforeByte | Outcome::TlsFailed | Outcome::RequestTimeout);
    connecting || (unanswered && lost.connection_uses == 0)
}

/// Lost in silence: nothing came back at all.
pub(super) const fn is_silence(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::ConnectTimeout | Outcome::RequestTimeout | Outcome::Unreachable)
}
