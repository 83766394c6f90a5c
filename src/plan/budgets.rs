//! Budgets and rollouts worked out for the pods that the run will meet, in numbers and in words.

use serde::{Deserialize, Serialize};

use super::{
    facts::{BudgetFact, WorkloadFact},
    world::{World, counted, replicas},
};
use crate::{
    experiment::units::WorkloadKind,
    model::{
        disruption::{Demand, Selected, allowance},
        int_or_percent::IntOrPercent,
        rollout::{DEFAULT_FENCEPOST, Fenceposts, daemon_set_fenceposts, fenceposts},
    },
};

/// A budget, worked out with all its pods healthy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetPlan {
    /// The `PodDisruptionBudget`.
    pub name: String,
    /// Pods that it counts against.
    pub expected_pods: i32,
    /// How many must stay healthy.
    pub desired_healthy: i32,
    /// Evictions that it lets through at a time.
    pub disruptions_allowed: i32,
    /// The calculation in words.
    pub words: String,
}

/// The bounds of a rolling update that a step makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutPlan {
    /// The workload, such as `deployment/shop`.
    pub workload: String,
    /// The fewest pods that are available meanwhile.
    pub at_least: i32,
    /// The most pods that exist meanwhile, without those that are terminating.
    pub at_most: i32,
    /// The calculation in words.
    pub words: String,
}

/// A budget over the pods of its workloads. Nothing where it demands nothing.
pub(super) fn budget(world: &World<'_>, budget: &BudgetFact) -> Option<BudgetPlan> {
    let demand = match (budget.min_available, budget.max_unavailable) {
        (Some(least), None) => Demand::MinAvailable(least),
        (None, Some(most)) => Demand::MaxUnavailable(most),
        _ => return None,
    };
    let pods = replicas(&world.selected_by(budget));
    let of = allowance(demand, Selected { pods, replicas: pods, healthy: pods });
    let (key, value) = match demand {
        Demand::MinAvailable(value) => ("minAvailable", value),
        Demand::MaxUnavailable(value) => ("maxUnavailable", value),
    };
    let rounded = match value {
        IntOrPercent::Percent(percent) if i64::from(percent) * i64::from(pods) % 100 != 0 => " (rounded up)",
        _ => "",
    };
    let allowed = match (of.disruptions_allowed, pods) {
        (_, 0) => "it selects no pod, so it holds nothing back".to_owned(),
        (0, _) => "no eviction is allowed: a drain of these pods cannot end".to_owned(),
        (several, _) => format!("{} allowed at a time", counted(several, "eviction")),
    };
    let kept = match demand {
        Demand::MaxUnavailable(most) if !rounded.is_empty() => {
            let most = most.of(pods, crate::model::int_or_percent::Round::Up);
            format!("at most {most} away{rounded}, at least {} healthy", of.desired_healthy)
        }
        _ => format!("at least {} healthy{rounded}", of.desired_healthy),
    };
    Some(BudgetPlan {
        name: budget.name.clone(),
        expected_pods: of.expected_pods,
        desired_healthy: of.desired_healthy,
        disruptions_allowed: of.disruptions_allowed,
        words: format!("{key} {value} of {} → {kept}; {allowed}", counted(pods, "pod")),
    })
}

/// The evictions that the budgets over a workload's pods let through at a time; nothing where none covers them.
pub(super) fn evictions_at_a_time(world: &World<'_>, fact: &WorkloadFact) -> Option<i32> {
    let covers = |one: &&BudgetFact| one.selector.as_ref().is_some_and(|of| of.matches(&fact.template.labels));
    let plans = world.budgets.iter().filter(covers).filter_map(|one| budget(world, one));
    plans.map(|plan| plan.disruptions_allowed).min()
}

/// The bounds of a workload's rolling update; all of its pods at once for `Recreate`.
pub(super) fn bounds(fact: &WorkloadFact) -> Fenceposts {
    let (surge, unavailable) = (fact.strategy.max_surge, fact.strategy.max_unavailable);
    match (fact.workload.kind, fact.strategy.kind.as_str()) {
        (WorkloadKind::Deployment, "Recreate") => Fenceposts { surge: 0, unavailable: fact.replicas },
        (WorkloadKind::Deployment, _) => fenceposts(fact.replicas, surge, unavailable),
        (WorkloadKind::StatefulSet, _) => Fenceposts { surge: 0, unavailable: 1 },
        (WorkloadKind::DaemonSet, _) => daemon_set_fenceposts(fact.replicas, surge, unavailable),
    }
}

/// The rolling update of a workload.
pub(super) fn rollout(fact: &WorkloadFact) -> RolloutPlan {
    let of = bounds(fact);
    let at_least = fact.replicas.saturating_sub(of.unavailable).max(0);
    let at_most = fact.replicas.saturating_add(of.surge);
    let pods = counted(fact.replicas, "pod");
    let rule = match (fact.workload.kind, fact.strategy.kind.as_str()) {
        (_, "OnDelete") => format!("{pods}, strategy OnDelete: nothing is replaced until it is deleted"),
        (_, "Recreate") => format!("{pods}, strategy Recreate: all old pods go before the first new one comes"),
        (WorkloadKind::Deployment, _) => {
            let surge = fact.strategy.max_surge.unwrap_or(DEFAULT_FENCEPOST);
            let unavailable = fact.strategy.max_unavailable.unwrap_or(DEFAULT_FENCEPOST);
            format!(
                "{pods}, maxSurge {surge} → {} (rounded up), maxUnavailable {unavailable} → {} (rounded down)",
                of.surge, of.unavailable
            )
        }
        (WorkloadKind::StatefulSet, _) => format!("{pods}, one after another from the highest ordinal"),
        (WorkloadKind::DaemonSet, _) => {
            format!("{pods}, maxUnavailable → {} and maxSurge → {} (both rounded up)", of.unavailable, of.surge)
        }
    };
    RolloutPlan {
        workload: fact.workload.to_string(),
        at_least,
        at_most,
        words: format!("{rule}: at least {at_least} available, at most {at_most} there"),
    }
}
