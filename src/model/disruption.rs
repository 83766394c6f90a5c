//! What a `PodDisruptionBudget` allows: the arithmetic of the disruption controller
//! (k/pkg/controller/disruption/disruption.go, v1.34.4).
//!
//! Both percentages round up, so the same 50 % lets four of seven pods go as `maxUnavailable`, and three as
//! `minAvailable`.

use super::int_or_percent::{IntOrPercent, Round};

/// What a budget asks for. Kubernetes refuses both at once, and takes neither for a budget that allows nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// So many must stay healthy.
    MinAvailable(IntOrPercent),
    /// So many may be unhealthy.
    MaxUnavailable(IntOrPercent),
}

/// The pods that a budget selects, counted both ways that the controller counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Selected {
    /// Pods that exist.
    pub pods: i32,
    /// The sum of `spec.replicas` of their distinct controllers.
    pub replicas: i32,
    /// Pods that are Ready, not terminating, and not about to be by an eviction.
    pub healthy: i32,
}

/// What a budget's status says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allowance {
    /// `expectedPods`: the whole that a percentage is of.
    pub expected_pods: i32,
    /// `desiredHealthy`: how many must stay healthy.
    pub desired_healthy: i32,
    /// `disruptionsAllowed`: how many evictions are let through now.
    pub disruptions_allowed: i32,
}

/// The whole that a budget counts against: an integer `minAvailable` counts the pods that are there, all others the
/// replicas that should be (`getExpectedPodCount`).
#[must_use]
pub fn expected_pods(demand: Demand, selected: Selected) -> i32 {
    match demand {
        Demand::MinAvailable(IntOrPercent::Int(_)) => selected.pods,
        _ => selected.replicas,
    }
}

/// How many pods must stay healthy.
#[must_use]
pub fn desired_healthy(demand: Demand, expected_pods: i32) -> i32 {
    match demand {
        Demand::MinAvailable(least) => least.of(expected_pods, Round::Up),
        Demand::MaxUnavailable(most) => expected_pods.saturating_sub(most.of(expected_pods, Round::Up)).max(0),
    }
}

/// How many evictions are let through. Without pods none is, whatever the budget says.
#[must_use]
pub fn disruptions_allowed(expected_pods: i32, desired_healthy: i32, healthy: i32) -> i32 {
    if expected_pods <= 0 { 0 } else { healthy.saturating_sub(desired_healthy).max(0) }
}

/// All of a budget's status for the pods it selects.
#[must_use]
pub fn allowance(demand: Demand, selected: Selected) -> Allowance {
    let expected_pods = expected_pods(demand, selected);
    let desired_healthy = desired_healthy(demand, expected_pods);
    let disruptions_allowed = disruptions_allowed(expected_pods, desired_healthy, selected.healthy);
    Allowance { expected_pods, desired_healthy, disruptions_allowed }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_healthy(pods: i32) -> Selected {
        Selected { pods, replicas: pods, healthy: pods }
    }

    #[test]
    fn a_budget_lets_through_what_the_controller_would() {
        use Demand::{MaxUnavailable, MinAvailable};

        type Row = (fn(IntOrPercent) -> Demand, &'static str, Selected, (i32, i32, i32));
        let table: [Row; 13] = [
            (MaxUnavailable, "50%", all_healthy(7), (7, 3, 4)),
            (MinAvailable, "50%", all_healthy(7), (7, 4, 3)),
            (MinAvailable, "50%", all_healthy(3), (3, 2, 1)),
            (MaxUnavailable, "50%", all_healthy(3), (3, 1, 2)),
            (MaxUnavailable, "1", all_healthy(3), (3, 2, 1)),
            (MaxUnavailable, "0", all_healthy(3), (3, 3, 0)),
            (MaxUnavailable, "1%", all_healthy(3), (3, 2, 1)),
            (MaxUnavailable, "5", all_healthy(3), (3, 0, 3)),
            (MinAvailable, "3", all_healthy(3), (3, 3, 0)),
            (MinAvailable, "5", all_healthy(3), (3, 5, 0)),
            (MinAvailable, "2", all_healthy(0), (0, 2, 0)),
            (MinAvailable, "0", all_healthy(0), (0, 0, 0)),
            (MinAvailable, "100%", all_healthy(1), (1, 1, 0)),
        ];
        for (demand, text, selected, wanted) in table {
            let of = allowance(demand(text.parse().unwrap()), selected);
            assert_eq!(
                (of.expected_pods, of.desired_healthy, of.disruptions_allowed),
                wanted,
                "{text} of {selected:?}"
            );
        }
    }

    #[test]
    fn surge_pods_are_healthy_but_not_expected_so_more_may_go() {
        let in_a_rollout = Selected { pods: 4, replicas: 3, healthy: 4 };
        let percent = Demand::MinAvailable("50%".parse().unwrap());
        assert_eq!(allowance(percent, in_a_rollout).disruptions_allowed, 2);
        assert_eq!(allowance(percent, all_healthy(3)).disruptions_allowed, 1);
    }

    #[test]
    fn unhealthy_pods_use_the_budget_up() {
        let one_down = Selected { pods: 3, replicas: 3, healthy: 2 };
        assert_eq!(allowance(Demand::MaxUnavailable(IntOrPercent::Int(1)), one_down).disruptions_allowed, 0);
    }
}
