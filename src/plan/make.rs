//! From an experiment and the facts of a cluster to a plan, or to all that keeps it from being carried out.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{
    budgets::{self, BudgetPlan, RolloutPlan},
    facts::ClusterFacts,
    guards,
    problem::PlanProblem,
    rights::{self, Right},
    spared::agent_nodes,
    steps::{self, StepPlan},
    time::{self, TimePlan},
    world::{World, listed},
};
use crate::experiment::{
    manifests,
    schema::{Connections, Expectation, Experiment, Lane, Phases, Step, Vantage},
    steps::with_places,
    units::{Rate, Span, WorkloadRef},
};

/// All that a run would do. Kept as `plan.json` with the record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The experiment's name.
    pub experiment: String,
    /// Its scenario.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenario: Option<String>,
    /// The cluster as `--on` names it.
    pub on: String,
    /// The API server's version.
    pub server_version: String,
    /// The namespace.
    pub namespace: NamespacePlan,
    /// Objects to apply, in order, as `kind/name` in lower case.
    pub objects: Vec<String>,
    /// The workloads that must be ready before load begins.
    pub ready: Vec<String>,
    /// How long that may take.
    pub ready_within: Span,
    /// The lanes of load.
    pub lanes: Vec<LanePlan>,
    /// The agents that send the lanes from inside, where there are such lanes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agents: Option<AgentsPlan>,
    /// Load before the first step and after the last undo.
    pub phases: Phases,
    /// All steps, each group before its members.
    pub steps: Vec<StepPlan>,
    /// Budgets over the namespace's pods, with all of them healthy.
    pub budgets: Vec<BudgetPlan>,
    /// Rolling updates that the steps make.
    pub rollouts: Vec<RolloutPlan>,
    /// How long it will about take.
    pub time: TimePlan,
    /// What the client must be allowed to do, sorted.
    pub rights: Vec<Right>,
}

/// The namespace of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespacePlan {
    /// Its name.
    pub name: String,
    /// It is created for the run, and removed with all that is in it.
    pub created: bool,
}

/// The agents that send the lanes from inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentsPlan {
    /// How many.
    pub count: u32,
    /// The nodes that they are spread over, which no step touches.
    pub nodes: Vec<String>,
}

/// A lane of load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LanePlan {
    /// Its name.
    pub name: String,
    /// Where its client stands.
    pub from: Vantage,
    /// The Service.
    pub service: String,
    /// It is a control.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub control: bool,
    /// The Service's port.
    pub port: u16,
    /// The port on every node, for a lane from outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_port: Option<u16>,
    /// The path of each request.
    pub path: String,
    /// Requests per second.
    pub rate: Rate,
    /// How connections are used.
    pub connections: Connections,
}

/// Works a plan out. It touches nothing; the error holds all that stands in the way.
pub fn make(experiment: &Experiment, facts: &ClusterFacts) -> Result<Plan, Vec<PlanProblem>> {
    let (metadata, spec) = (&experiment.metadata, &experiment.spec);
    let world = World::new(experiment, facts);
    let mut problems = Vec::new();
    namespace(&world, &mut problems);
    let lanes: Vec<LanePlan> = spec.load.iter().filter_map(|one| lane(one, &world, &mut problems)).collect();
    let mut agents = None;
    if spec.load.iter().any(|lane| lane.from == Vantage::Inside) {
        match agent_nodes(experiment, facts) {
            Ok(nodes) => agents = Some(AgentsPlan { count: spec.agents.get(), nodes }),
            Err(problem) => problems.push(problem),
        }
    }
    // Without the namespace every further problem would be a consequence of that one.
    let standing = world.created || facts.namespace_exists;
    let mut step_problems = Vec::new();
    let steps: Vec<StepPlan> = with_places(&spec.steps)
        .into_iter()
        .map(|(path, step)| steps::step(path, step, &world, &mut step_problems))
        .collect();
    if standing {
        ready(experiment, &world, &mut problems);
        problems.append(&mut step_problems);
        expected_budgets(experiment, &world, &mut problems);
        problems.extend(guards::planned(experiment, facts, world.created));
    }
    let rights = rights::needed(experiment).unwrap_or_else(|unknown| {
        problems.extend(unknown);
        Vec::new()
    });
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Plan {
        experiment: metadata.name.clone(),
        scenario: metadata.scenario.clone(),
        on: facts.on.clone(),
        server_version: facts.server_version.clone(),
        namespace: NamespacePlan { name: world.namespace.to_owned(), created: world.created },
        objects: spec.given.apply.iter().map(object_in_words).collect(),
        ready: spec.given.ready.iter().map(ToString::to_string).collect(),
        ready_within: spec.given.within,
        lanes,
        agents,
        phases: spec.phases,
        steps,
        budgets: world.budgets.iter().filter_map(|one| budgets::budget(&world, one)).collect(),
        rollouts: rolled(experiment, &world),
        time: time::estimate(experiment, &world),
        rights,
    })
}

fn object_in_words(object: &serde_json::Value) -> String {
    format!("{}/{}", manifests::kind(object).to_lowercase(), manifests::name(object))
}

fn namespace(world: &World<'_>, problems: &mut Vec<PlanProblem>) {
    let namespace = world.namespace.to_owned();
    match (world.created, world.facts.namespace_exists) {
        (true, true) => problems.push(PlanProblem::NamespaceExists { namespace }),
        (false, false) => problems.push(PlanProblem::NamespaceMissing { namespace }),
        _ => {}
    }
}

fn missing(world: &World<'_>, needed_by: String, object: String, have: String) -> PlanProblem {
    PlanProblem::Missing { needed_by, object, namespace: world.namespace.to_owned(), have }
}

fn ready(experiment: &Experiment, world: &World<'_>, problems: &mut Vec<PlanProblem>) {
    for workload in &experiment.spec.given.ready {
        if world.workload(workload).is_none() {
            let have = listed(world.workloads.iter().map(|fact| fact.workload.to_string()));
            problems.push(missing(world, "`ready`".to_owned(), workload.to_string(), have));
        }
    }
}

fn expected_budgets(experiment: &Experiment, world: &World<'_>, problems: &mut Vec<PlanProblem>) {
    for expectation in &experiment.spec.expect {
        let Expectation::Budget(expected) = expectation else { continue };
        if !world.budgets.iter().any(|budget| budget.name == expected.name) {
            let object = format!("poddisruptionbudget/{}", expected.name);
            let have = listed(world.budgets.iter().map(|budget| budget.name.as_str()));
            problems.push(missing(world, "`expect`".to_owned(), object, have));
        }
    }
}

fn lane(lane: &Lane, world: &World<'_>, problems: &mut Vec<PlanProblem>) -> Option<LanePlan> {
    if !world.created && !world.facts.namespace_exists {
        return None;
    }
    let Some(service) = world.services.iter().find(|service| service.name == lane.service) else {
        let have = listed(world.services.iter().map(|service| service.name.as_str()));
        let object = format!("service/{}", lane.service);
        problems.push(missing(world, format!("lane {}", lane.name), object, have));
        return None;
    };
    let mut refuse = |why: String| {
        problems.push(PlanProblem::Unreachable { lane: lane.name.clone(), service: service.name.clone(), why });
        None
    };
    let ports = listed(service.ports.iter().map(|port| port.port.to_string()));
    let port = match (lane.port, service.ports.as_slice()) {
        (None, [only]) => only,
        (None, _) => return refuse(format!("it has the ports {ports}; choose one with `port`")),
        (Some(wanted), known) => match known.iter().find(|port| port.port == wanted) {
            Some(found) => found,
            None => return refuse(format!("it has no port {wanted}, only {ports}")),
        },
    };
    match lane.from {
        Vantage::Inside if service.is_headless() => {
            return refuse("it is headless; ask a Service with an address of its own".to_owned());
        }
        Vantage::Outside if !service.has_node_ports() || port.node_port.is_none() => {
            let kind = &service.kind;
            return refuse(format!("it is of type {kind} without a nodePort; give it one, or ask from inside"));
        }
        _ => {}
    }
    Some(LanePlan {
        name: lane.name.clone(),
        from: lane.from,
        service: service.name.clone(),
        control: lane.control,
        port: port.port,
        node_port: port.node_port.filter(|_| lane.from == Vantage::Outside),
        path: lane.path.clone(),
        rate: lane.rate,
        connections: lane.connections,
    })
}

fn rolled(experiment: &Experiment, world: &World<'_>) -> Vec<RolloutPlan> {
    let places = with_places(&experiment.spec.steps);
    let rolled: BTreeSet<&WorkloadRef> = places
        .iter()
        .filter_map(|(_, step)| match step {
            Step::RollingUpdate(update) => Some(&update.workload),
            _ => None,
        })
        .collect();
    rolled.into_iter().filter_map(|workload| world.workload(workload)).map(budgets::rollout).collect()
}

#[cfg(test)]
mod tests;
