//! Why one pod stopped being an endpoint: what was done to it, or what became of it, at that moment.

use super::{
    cause::{Cause, EARLY_US, EXIT_SEEN_LATE_US, NODE_GRACE_US, PROPAGATION_US},
    endpoint::Service,
    gap::{has_budget, near},
    life::Life,
    timeline::{History, Timeline},
};
use crate::record::event::{ContainerSeen, Micros, PodSeen, WorkloadSeen};

/// The pod and its endpoint are watched apart: one change is seen in both within this long.
const SEEN_APART_US: Micros = 2_000_000;

/// A scale-down is followed by the deletions within this long, even by a busy controller.
const SCALE_TO_DELETION_US: Micros = 60_000_000;

/// Reasons for which a container waits that are about its image (v1.34 `pkg/kubelet/images/types.go`).
const IMAGE_REASONS: [&str; 5] =
    ["ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"];

/// Why a pod's endpoint was off from a moment on; nothing where what was seen of the pod does not say so.
pub(super) fn reason(timeline: &Timeline<'_>, service: &Service<'_>, life: &Life<'_>, off: Micros) -> Option<Cause> {
    let deleted = life.deleted.filter(|at| *at <= off.saturating_add(PROPAGATION_US));
    let node_lost = node_lost(timeline, life, off);
    if !node_lost && life.unready().iter().any(|(from, _)| near(*from, off, SEEN_APART_US)) {
        return Some(Cause::ReadinessLost);
    }
    if let Some(deleted) = deleted {
        return Some(deletion(timeline, life, deleted));
    }
    if let Some(crash) = life.crashes.iter().find(|crash| near(**crash, off, EXIT_SEEN_LATE_US)) {
        return Some(if taken_by_cluster(life) { Cause::EvictedByCluster } else { life.why_ended(*crash) });
    }
    if node_lost {
        return Some(Cause::NodeGone);
    }
    let unlisted = service.endpoint_of(life).is_some_and(|endpoint| endpoint.unlisted_near(off, EARLY_US));
    let ready = |at: Micros| life.at(at).is_some_and(|pod| pod.ready && !pod.terminating && !pod.gone);
    (unlisted && ready(off) && ready(off.saturating_add(SEEN_APART_US))).then_some(Cause::SelectorMismatch)
}

/// Whether the node of a pod was found gone around a moment.
pub(super) fn node_lost(timeline: &Timeline<'_>, life: &Life<'_>, moment: Micros) -> bool {
    life.node().is_some_and(|node| timeline.node_losses(node).any(|at| near(at, moment, NODE_GRACE_US)))
}

/// Who or what deleted a pod.
fn deletion(timeline: &Timeline<'_>, life: &Life<'_>, deleted: Micros) -> Cause {
    let tainted = life.seen.iter().any(|(_, pod)| pod.disruption_reason.as_deref() == Some("DeletionByTaintManager"));
    if taken_by_cluster(life) {
        Cause::EvictedByCluster
    } else if tainted {
        Cause::NodeGone
    } else if life.forced {
        Cause::ForcedDelete
    } else if life.evicted {
        if has_budget(timeline, life.last, deleted) { Cause::BudgetTooWeak } else { Cause::BudgetMissing }
    } else if scaled_down(timeline, life.last, deleted).is_some() {
        Cause::ScaledDown
    } else if rolled(timeline, life, deleted).is_some() {
        if image_waits(timeline, life, deleted).is_some() { Cause::ImagePullFailed } else { Cause::RolloutUnavailable }
    } else {
        Cause::DeletedDirectly
    }
}

/// The condition `DisruptionTarget` says that the scheduler or the kubelet took the pod.
fn taken_by_cluster(life: &Life<'_>) -> bool {
    let reasons = life.seen.iter().filter_map(|(_, pod)| pod.disruption_reason.as_deref());
    reasons.into_iter().any(|reason| matches!(reason, "PreemptionByScheduler" | "TerminationByKubelet"))
}

/// The workload of a pod over time: the Deployment where its `ReplicaSet` has one. With its `kind/name`.
pub(super) fn workload<'t, 'a>(
    timeline: &'t Timeline<'a>,
    pod: &PodSeen,
) -> Option<(&'a str, &'t History<'a, WorkloadSeen>)> {
    let owner = pod.owner.as_deref()?;
    let deployment = owner
        .strip_prefix("replicaset/")
        .and_then(|name| name.rsplit_once('-'))
        .map(|(deployment, _)| format!("deployment/{deployment}"));
    let of = |name: &str| timeline.workloads.get_key_value(name).map(|(name, seen)| (*name, seen));
    deployment.and_then(|name| of(&name)).or_else(|| of(owner))
}

/// When fewer replicas were asked for, shortly before a deletion, and from how many to how many.
pub(super) fn scaled_down(timeline: &Timeline<'_>, pod: &PodSeen, deleted: Micros) -> Option<(Micros, i32, i32)> {
    let (_, seen) = workload(timeline, pod)?;
    let soon = deleted.saturating_sub(SCALE_TO_DELETION_US)..=deleted.saturating_add(PROPAGATION_US);
    let fewer = seen.windows(2).filter(|pair| pair[1].1.wanted < pair[0].1.wanted && soon.contains(&pair[1].0));
    fewer.map(|pair| (pair[1].0, pair[0].1.wanted, pair[1].1.wanted)).next_back()
}

/// When the pod's workload got a new template while the pod was there, before its deletion.
pub(super) fn rolled(timeline: &Timeline<'_>, life: &Life<'_>, deleted: Micros) -> Option<Micros> {
    let (_, seen) = workload(timeline, life.last)?;
    let meanwhile = life.first_seen()..=deleted.saturating_add(PROPAGATION_US);
    let changed = seen.windows(2).filter(|pair| {
        let (before, after) = (pair[0].1, pair[1].1);
        after.generation > before.generation && after.wanted == before.wanted && meanwhile.contains(&pair[1].0)
    });
    changed.map(|pair| pair[1].0).next_back()
}

/// The successor of a deleted pod whose image cannot be pulled, with the reason and when it was seen.
pub(super) fn image_waits<'t, 'a>(
    timeline: &'t Timeline<'a>,
    life: &Life<'_>,
    deleted: Micros,
) -> Option<(Micros, &'t Life<'a>, &'a str)> {
    let (name, _) = workload(timeline, life.last)?;
    let since = deleted.saturating_sub(SCALE_TO_DELETION_US);
    let successors = timeline.lives.iter().filter(|other| {
        other.coherent && other.first_seen() >= since && other.last.uid != life.last.uid && {
            workload(timeline, other.last).is_some_and(|(of, _)| of == name)
        }
    });
    successors
        .filter_map(|other| {
            other.seen.iter().find_map(|(at, pod)| match &pod.container {
                ContainerSeen::Waiting { reason } if IMAGE_REASONS.contains(&reason.as_str()) => {
                    Some((*at, other, reason.as_str()))
                }
                _ => None,
            })
        })
        .min_by_key(|(at, ..)| *at)
}
