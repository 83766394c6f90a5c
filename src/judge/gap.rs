//! Causes of requests that found no ready endpoint: why the Service's endpoints were gone, all at the same time.
//!
//! Kubernetes refuses connections to a Service without endpoints (v1.34 `pkg/proxy/iptables/proxier.go`). Where the
//! reason isn't plain from the pods that had been its endpoints, this says nothing and other rules are tried.

use super::{
    candidate,
    cause::{Attribution, Cause, EARLY_US, FOLLOWED_US, PROPAGATION_US},
    departure::{self, node_lost},
    endpoint::{Service, Stretch},
    life::Life,
    timeline::Timeline,
};
use crate::record::event::{BudgetSeen, LostRequest, Micros, PodSeen};

/// Pods that went within this long of each other went together: less than a replacement needs to become ready.
const TOGETHER_US: Micros = 30_000_000;

/// A pod whose endpoint went, with when it did.
pub(super) type Gone<'t, 'a> = (Micros, &'t Life<'a>);

/// The cause of a request that was sent while no endpoint was ready, or before the rules had followed the first new
/// one.
pub(super) fn no_endpoint<'a>(timeline: &Timeline<'a>, service: &str, lost: &LostRequest) -> Option<Attribution<'a>> {
    let Some(service) = timeline.services.get(service).filter(|service| service.ever_ready()) else {
        return never_an_endpoint(timeline, lost);
    };
    let (began, over) = covering(service, lost)?;
    if lost.sent_us > over.saturating_add(FOLLOWED_US) && candidate::is_starting(timeline, service, lost) {
        return None;
    }
    let gone = gone_before(timeline, service, began);
    let cause = why(timeline, service, &gone, began)?;
    Some(Attribution { cause, uid: gone.last().map(|(_, life)| life.last.uid.as_str()) })
}

/// The gap in which a request was sent, or shortly after it, while the rules followed.
pub(super) fn covering(service: &Service<'_>, lost: &LostRequest) -> Option<Stretch> {
    let covers = |(from, to): &&Stretch| {
        from.saturating_sub(EARLY_US) <= lost.sent_us && lost.sent_us <= to.saturating_add(PROPAGATION_US)
    };
    service.gaps.iter().rev().find(covers).copied()
}

/// A Service that had no endpoint in the whole run though pods were ready: it does not select them.
fn never_an_endpoint<'a>(timeline: &Timeline<'a>, lost: &LostRequest) -> Option<Attribution<'a>> {
    let was_ready = |life: &&Life| {
        life.coherent && life.at(lost.sent_us).is_some_and(|pod| pod.ready && !pod.terminating && !pod.gone)
    };
    let life = timeline.lives.iter().find(was_ready)?;
    Some(Attribution { cause: Cause::SelectorMismatch, uid: Some(&life.last.uid) })
}

/// The pods whose endpoints went in the time before a gap began, by the time they went.
pub(super) fn gone_before<'t, 'a>(
    timeline: &'t Timeline<'a>,
    service: &Service<'a>,
    began: Micros,
) -> Vec<Gone<'t, 'a>> {
    let since = began.saturating_sub(TOGETHER_US);
    let mut gone: Vec<Gone> = timeline
        .lives
        .iter()
        .filter_map(|life| {
            let endpoint = service.endpoint_of(life)?;
            let off = endpoint.ready.iter().map(|(_, to)| *to).filter(|to| (since..=began).contains(to)).max()?;
            Some((off, life))
        })
        .collect();
    gone.sort_by_key(|(off, _)| *off);
    gone
}

fn why(timeline: &Timeline<'_>, service: &Service<'_>, gone: &[Gone<'_, '_>], began: Micros) -> Option<Cause> {
    if gone.is_empty() || gone.iter().any(|(_, life)| !life.coherent) {
        return None;
    }
    let deleted_by_then = |life: &Life| life.deleted.filter(|at| *at <= began.saturating_add(PROPAGATION_US));
    let all = |wanted: &dyn Fn(&Life) -> bool| gone.iter().all(|(_, life)| wanted(life));
    let on_one_node = gone[0].1.node().is_some_and(|node| all(&|life| life.node() == Some(node)));
    let disrupted = |life: &Life| {
        deleted_by_then(life).is_some_and(|at| {
            life.evicted || life.node().is_some_and(|node| timeline.cordoned(node, at.saturating_add(EARLY_US)))
        })
    };
    if gone.len() > 1 && on_one_node && (all(&disrupted) || all(&|life| node_lost(timeline, life, began))) {
        return Some(Cause::ReplicasOnOneNode);
    }
    let evicted: Vec<_> = gone.iter().filter(|(_, life)| life.evicted && deleted_by_then(life).is_some()).collect();
    if evicted.len() > 1 && !evicted.iter().any(|(_, life)| has_budget(timeline, life.last, began)) {
        return Some(Cause::BudgetMissing);
    }
    let reasons: Vec<Cause> =
        gone.iter().map(|(off, life)| departure::reason(timeline, service, life, *off)).collect::<Option<_>>()?;
    if reasons.iter().all(|cause| spared_by_another(*cause))
        && all(&|life| wanted(timeline, life.last, began) == Some(1))
    {
        return Some(Cause::SingleReplica);
    }
    // Where they went for several reasons, it was the last to go that left the Service with none.
    reasons.last().copied()
}

/// A second replica would have gone on while this happened to one.
const fn spared_by_another(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::ForcedDelete
            | Cause::EvictedByCluster
            | Cause::BudgetMissing
            | Cause::BudgetTooWeak
            | Cause::DeletedDirectly
            | Cause::ContainerCrashed
            | Cause::NodeGone
    )
}

pub(super) fn near(one: Micros, other: Micros, within: Micros) -> bool {
    one.saturating_sub(other).saturating_abs() <= within
}

/// Whether a budget that had been seen by then is about the pod.
pub(super) fn has_budget(timeline: &Timeline<'_>, pod: &PodSeen, moment: Micros) -> bool {
    timeline.budgets.values().any(|seen| {
        let at = seen.iter().rev().find(|(at, _)| *at <= moment.saturating_add(EARLY_US));
        at.is_some_and(|(_, budget)| selects(budget, pod))
    })
}

/// Whether a budget is about a pod; an empty selector is about every pod of the namespace.
pub(super) fn selects(budget: &BudgetSeen, pod: &PodSeen) -> bool {
    budget.selector.iter().all(|(key, value)| pod.labels.get(key) == Some(value))
}

/// How many replicas the pod's workload wanted at a moment: the Deployment's number where its `ReplicaSet` has one.
pub(super) fn wanted(timeline: &Timeline<'_>, pod: &PodSeen, moment: Micros) -> Option<i32> {
    let (_, seen) = departure::workload(timeline, pod)?;
    seen.iter().rev().find(|(at, _)| *at <= moment).map(|(_, workload)| workload.wanted)
}
