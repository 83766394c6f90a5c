//! Why nodes are not drained: each pod that is left, what holds it, and what to do about it.

use std::fmt;

use super::{api::ApiError, words::count_of_pods};
use crate::failure::chain;

/// Pods named for each node; more do not help.
const PODS_NAMED: usize = 10;

/// Nodes that are not drained. They stay cordoned until the undo.
#[derive(Debug, thiserror::Error)]
pub struct DrainError {
    /// How long the step was given, in seconds.
    pub timeout_s: f64,
    /// Each node, and why.
    pub nodes: Vec<(String, WhyNotDrained)>,
}

/// Why one node is not drained.
#[derive(Debug)]
pub enum WhyNotDrained {
    /// Its pods could not be listed.
    List(ApiError),
    /// Pods that the options do not allow to evict, each as `namespace/name` with the reason: nothing was evicted.
    Filtered(Vec<(String, String)>),
    /// Pods that are left, each as `namespace/name`.
    Left(Vec<(String, WhyLeft)>),
    /// The whole step ran past its time.
    NoAnswer,
}

/// Why a pod is left on its node.
#[derive(Debug)]
pub enum WhyLeft {
    /// Each eviction was refused until the time was up.
    Refused {
        /// How often it was asked for.
        times: u32,
        /// The server's last words.
        last: String,
    },
    /// The request failed in a way that asking again does not change.
    Failed(ApiError),
    /// It was evicted, but was still terminating when the time was up.
    Terminating,
    /// It was evicted, but could no longer be looked at.
    Unseen(ApiError),
    /// An abort was asked for.
    Aborted,
}

/// A budget's figures, from the server's refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetFigures {
    /// The budget.
    pub name: String,
    /// Healthy pods that it needs.
    pub needs: u32,
    /// Healthy pods that it has.
    pub has: u32,
}

impl BudgetFigures {
    /// Reads "The disruption budget X needs N healthy pods and has M currently"
    /// (k/pkg/registry/core/pod/storage/eviction.go v1.34.4) out of a longer text.
    #[must_use]
    pub fn read(words: &str) -> Option<Self> {
        let (_, rest) = words.split_once("disruption budget ")?;
        // The sentence before it ends in "disruption budget." too, without a name.
        let rest = rest.rsplit_once("disruption budget ").map_or(rest, |(_, last)| last);
        let (name, rest) = rest.split_once(" needs ")?;
        let (needs, rest) = rest.split_once(" healthy pods and has ")?;
        let (has, _) = rest.split_once(" currently")?;
        Some(Self { name: name.to_owned(), needs: needs.parse().ok()?, has: has.parse().ok()? })
    }

    /// What to try.
    fn advice(&self) -> String {
        if self.has < self.needs {
            return format!("make {} more of its pods ready first", self.needs - self.has);
        }
        format!("run at least {} replicas, or let the budget allow a disruption", self.needs.saturating_add(1))
    }
}

impl fmt::Display for WhyLeft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { times: 0, .. } => f.write_str("not asked for before the time was up; raise `timeout`"),
            Self::Refused { times, last } => match BudgetFigures::read(last) {
                Some(budget) => write!(
                    f,
                    "refused {times} times by the disruption budget `{}`, which needs {} healthy pods and has {}; {}",
                    budget.name,
                    budget.needs,
                    budget.has,
                    budget.advice()
                ),
                None => write!(f, "refused {times} times: {last}; look at the namespace's disruption budgets"),
            },
            Self::Failed(error) if is_two_budgets(error) => {
                write!(f, "{}; take one of the budgets away", chain(error))
            }
            Self::Failed(error) => write!(f, "its eviction failed: {}", chain(error)),
            Self::Terminating => {
                f.write_str("evicted, but still terminating; raise `timeout`, or lower its grace period or preStop")
            }
            Self::Unseen(error) => write!(f, "evicted, but then not to be seen: {}", chain(error)),
            Self::Aborted => f.write_str("broken off"),
        }
    }
}

/// The API's 500 for a pod that several budgets select.
fn is_two_budgets(error: &ApiError) -> bool {
    matches!(error, ApiError::Refused { code: 500, message, .. } if message.contains("more than one PodDisruptionBudget"))
}

impl fmt::Display for WhyNotDrained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List(error) => write!(f, "its pods could not be listed: {}", chain(error)),
            Self::Filtered(pods) => {
                f.write_str("nothing was evicted, since ")?;
                list(f, pods)
            }
            Self::Left(pods) => {
                write!(f, "{} left: ", count_of_pods(pods.len()))?;
                list(f, pods)
            }
            Self::NoAnswer => f.write_str("the API server answered too late; check that it is up"),
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, pods: &[(String, impl fmt::Display)]) -> fmt::Result {
    for (index, (pod, why)) in pods.iter().take(PODS_NAMED).enumerate() {
        write!(f, "{}pod {pod}: {why}", if index == 0 { "" } else { "; " })?;
    }
    if pods.len() > PODS_NAMED {
        write!(f, "; and {} more", pods.len() - PODS_NAMED)?;
    }
    Ok(())
}

impl fmt::Display for DrainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed to drain within {} s", self.timeout_s)?;
        for (node, why) in &self.nodes {
            write!(f, "; node/{node}: {why}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budgets_figures_are_read_from_the_servers_words() {
        let words = "Cannot evict pod as it would violate the pod's disruption budget. The disruption budget shop needs \
                     3 healthy pods and has 3 currently";
        assert_eq!(BudgetFigures::read(words), Some(BudgetFigures { name: "shop".into(), needs: 3, has: 3 }));
        assert_eq!(BudgetFigures::read("The disruption budget shop is still being processed by the server."), None);
        assert_eq!(BudgetFigures::read("too many requests"), None);
    }

    #[test]
    fn a_drain_that_timed_out_names_pod_budget_figures_and_next_step() {
        let last = "The disruption budget shop needs 3 healthy pods and has 3 currently".to_owned();
        let left = WhyNotDrained::Left(vec![
            ("app/shop-1".into(), WhyLeft::Refused { times: 6, last }),
            ("app/slow-1".into(), WhyLeft::Terminating),
        ]);
        let text = DrainError { timeout_s: 30.0, nodes: vec![("worker2".into(), left)] }.to_string();
        assert_eq!(
            text,
            "failed to drain within 30 s; node/worker2: 2 pods left: pod app/shop-1: refused 6 times by the disruption \
             budget `shop`, which needs 3 healthy pods and has 3; run at least 4 replicas, or let the budget allow a \
             disruption; pod app/slow-1: evicted, but still terminating; raise `timeout`, or lower its grace period or \
             preStop"
        );
    }
}
