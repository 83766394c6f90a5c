//! The scenarios, by what they are about.

mod api;
mod autoscaling;
mod budgets;
mod endpoints;
mod eviction;
mod node_loss;
mod nodes;
mod ownership;
mod probes;
mod replicas;
mod rollout;
mod scheduling;
mod termination;
mod workloads;

use crate::Scenario;

/// All of them.
pub fn all() -> Vec<Scenario> {
    [
        api::all(),
        autoscaling::all(),
        budgets::all(),
        endpoints::all(),
        eviction::all(),
        node_loss::all(),
        nodes::all(),
        ownership::all(),
        probes::all(),
        replicas::all(),
        rollout::all(),
        scheduling::all(),
        termination::all(),
        workloads::all(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
