//! Budgets as measured claims: healthy pods against what each budget asks for, at every moment of the load.
//!
//! Healthy is what the disruption controller counts: ready and not being deleted (Kubernetes v1.34
//! `pkg/controller/disruption/disruption.go`). It is counted here from the pods themselves, so a controller that is
//! behind cannot hide a shortfall.

use super::{
    gap::selects,
    timeline::{Timeline, bare},
};
use crate::{
    experiment::schema::Phase,
    record::event::{BudgetSeen, EvictionAnswer, Micros},
};

/// A budget's new number is seen up to so long after the pods that it follows, since it comes through a controller
/// and another watch. A shortfall that the new number takes away is none.
const NUMBER_FOLLOWS_US: Micros = 2_000_000;

/// What was measured of one budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    /// The moment with the fewest healthy pods against what was asked for.
    pub lowest: Moment,
    /// The first and the last moment with fewer than were asked for.
    pub short: Option<(Micros, Micros)>,
    /// Evictions that were refused for it.
    pub refused: usize,
}

/// Healthy pods and those asked for, at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// When.
    pub at_us: Micros,
    /// Pods that were healthy.
    pub healthy: i32,
    /// Pods that the budget asked for.
    pub desired: i32,
}

/// Measures one budget from the phase `before` to the end of the load. Nothing when it was never seen.
#[must_use]
pub fn measure(timeline: &Timeline<'_>, name: &str) -> Option<Measured> {
    let seen = timeline.budgets.get(name)?;
    let begin = timeline.start_of(Phase::Before)?;
    let pods: Vec<_> =
        timeline.lives.iter().filter(|life| seen.iter().any(|(_, budget)| selects(budget, life.last))).collect();
    let in_time = |at: &Micros| (begin..=timeline.end).contains(at);
    let mut moments: Vec<Micros> = pods.iter().flat_map(|life| life.seen.iter().map(|(at, _)| *at)).collect();
    moments.extend(seen.iter().map(|(at, _)| *at));
    moments.push(begin);
    moments.retain(in_time);
    moments.sort_unstable();
    moments.dedup();
    let mut measured: Option<Measured> = None;
    for at_us in moments {
        let Some(budget) = budget_at(seen, at_us) else { continue };
        let healthy = pods
            .iter()
            .filter(|life| {
                life.at(at_us).is_some_and(|pod| pod.ready && !pod.terminating && !pod.gone && selects(budget, pod))
            })
            .count();
        let healthy = i32::try_from(healthy).unwrap_or(i32::MAX);
        let desired = asked_for(seen, at_us, budget);
        let moment = Moment { at_us, healthy, desired };
        let so_far = measured.get_or_insert(Measured { lowest: moment, short: None, refused: 0 });
        if margin(moment) < margin(so_far.lowest) {
            so_far.lowest = moment;
        }
        if healthy < desired {
            so_far.short = Some((so_far.short.map_or(at_us, |(first, _)| first), at_us));
        }
    }
    if let Some(measured) = &mut measured {
        measured.refused = refused(timeline, seen);
    }
    measured
}

fn margin(moment: Moment) -> i64 {
    i64::from(moment.healthy) - i64::from(moment.desired)
}

fn budget_at<'a>(seen: &[(Micros, &'a BudgetSeen)], moment: Micros) -> Option<&'a BudgetSeen> {
    seen.iter().rev().find(|(at, budget)| *at <= moment && budget.observed).map(|(_, budget)| *budget)
}

/// What the budget asks for at a moment: the smallest number that it stated then or shortly after.
fn asked_for(seen: &[(Micros, &BudgetSeen)], moment: Micros, budget: &BudgetSeen) -> i32 {
    let soon = moment..=moment.saturating_add(NUMBER_FOLLOWS_US);
    let stated = seen.iter().filter(|(at, later)| soon.contains(at) && later.observed);
    stated.map(|(_, later)| later.desired_healthy).fold(budget.desired_healthy, i32::min)
}

fn refused(timeline: &Timeline<'_>, seen: &[(Micros, &BudgetSeen)]) -> usize {
    let about = |pod: &str, at: Micros| {
        let life = timeline.life_named(bare(pod), at);
        life.is_some_and(|life| seen.iter().any(|(_, budget)| selects(budget, life.last)))
    };
    let refusals = timeline.evictions.iter().filter(|(at, eviction)| {
        matches!(eviction.answer, EvictionAnswer::BudgetExhausted { .. }) && about(&eviction.pod, *at)
    });
    refusals.count()
}
