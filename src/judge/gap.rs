//! Causes of requests that found no ready endpoint: why the Service's endpoints were gone, all at the same time.
//!
//! Kubernetes refuses connections to a Service without endpoints (v1.34 `pkg/proxy/iptables/proxier.go`). Where the
//! reason isn't plain from the pods that had been its endpoints, this says nothing and other rules are tried.

use super::{
    cause::{Attribution, Cause, EARLY_US, EXIT_SEEN_LATE_US, NODE_GRACE_US, PROPAGATION_US},
    endpoint::{Service, Stretch},
    life::Life,
    timeline::Timeline,
};
use crate::record::event::{BudgetSeen, LostRequest, Micros, PodSeen};

/// Pods that went within this long of each other went together: less than a replacement needs to become ready.
const TOGETHER_US: Micros = 30_000_000;

/// The cause of a request that was sent while no endpoint was ready, or before the rules had followed the first new
/// one.
pub(super) fn no_endpoint<'a>(timeline: &Timeline<'a>, service: &str, lost: &LostRequest) -> Option<Attribution<'a>> {
    let service = timeline.services.get(service)?;
    let covers = |(from, to): &&Stretch| {
        from.saturating_sub(EARLY_US) <= lost.sent_us && lost.sent_us <= to.saturating_add(PROPAGATION_US)
    };
    let (began, _) = *service.gaps.iter().rev().find(covers)?;
    let gone = gone_before(timeline, service, began);
    let cause = why(timeline, &gone, began)?;
    Some(Attribution { cause, uid: gone.last().map(|life| life.last.uid.as_str()) })
}

/// The pods whose endpoints went in the time before a gap began, by the time they went.
fn gone_before<'t, 'a>(timeline: &'t Timeline<'a>, service: &Service<'a>, began: Micros) -> Vec<&'t Life<'a>> {
    let since = began.saturating_sub(TOGETHER_US);
    let mut gone: Vec<(Micros, &Life)> = timeline
        .lives
        .iter()
        .filter_map(|life| {
            let endpoint = service.endpoint_of(life)?;
            let off = endpoint.ready.iter().map(|(_, to)| *to).filter(|to| (since..=began).contains(to)).max()?;
            Some((off, life))
        })
        .collect();
    gone.sort_by_key(|(off, _)| *off);
    gone.into_iter().map(|(_, life)| life).collect()
}

fn why(timeline: &Timeline<'_>, gone: &[&Life<'_>], began: Micros) -> Option<Cause> {
    if gone.is_empty() || gone.iter().any(|life| !life.coherent) {
        return None;
    }
    let deleted_by_then = |life: &Life| life.deleted.filter(|at| *at <= began.saturating_add(PROPAGATION_US));
    let all = |wanted: &dyn Fn(&Life) -> bool| gone.iter().all(|life| wanted(life));
    let on_one_node = gone[0].node().is_some_and(|node| all(&|life| life.node() == Some(node)));
    let disrupted = |life: &Life| {
        deleted_by_then(life).is_some_and(|at| {
            life.evicted || life.node().is_some_and(|node| timeline.cordoned(node, at.saturating_add(EARLY_US)))
        })
    };
    let node_lost = |life: &Life| {
        life.node().is_some_and(|node| timeline.node_losses(node).any(|at| near(at, began, NODE_GRACE_US)))
    };
    if gone.len() > 1 && on_one_node && (all(&disrupted) || all(&node_lost)) {
        return Some(Cause::ReplicasOnOneNode);
    }
    let evicted: Vec<_> = gone.iter().filter(|life| life.evicted && deleted_by_then(life).is_some()).collect();
    if evicted.len() > 1 && !evicted.iter().any(|life| has_budget(timeline, life.last, began)) {
        return Some(Cause::BudgetMissing);
    }
    let touched = |life: &Life| deleted_by_then(life).is_some() || node_lost(life) || crashed(life, began);
    if all(&touched) && all(&|life| wanted(timeline, life.last, began) == Some(1)) {
        return Some(Cause::SingleReplica);
    }
    if all(&|life| life.forced && deleted_by_then(life).is_some()) {
        return Some(Cause::ForcedDelete);
    }
    if all(&|life| crashed(life, began)) {
        return Some(Cause::ContainerCrashed);
    }
    all(&node_lost).then_some(Cause::NodeGone)
}

fn near(one: Micros, other: Micros, within: Micros) -> bool {
    one.saturating_sub(other).saturating_abs() <= within
}

fn crashed(life: &Life<'_>, began: Micros) -> bool {
    life.crashes.iter().any(|crash| near(*crash, began, EXIT_SEEN_LATE_US))
}

/// Whether a budget that had been seen by then is about the pod.
fn has_budget(timeline: &Timeline<'_>, pod: &PodSeen, moment: Micros) -> bool {
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
    let owner = pod.owner.as_deref()?;
    let deployment = owner
        .strip_prefix("replicaset/")
        .and_then(|name| name.rsplit_once('-'))
        .map(|(deployment, _)| format!("deployment/{deployment}"));
    let seen =
        deployment.and_then(|name| timeline.workloads.get(name.as_str())).or_else(|| timeline.workloads.get(owner))?;
    seen.iter().rev().find(|(at, _)| *at <= moment).map(|(_, workload)| workload.wanted)
}
