//! What a client must be allowed to do for an experiment: no more than its steps, lanes, objects and watches need.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::problem::PlanProblem;
use crate::{
    experiment::{
        manifests,
        schema::{Drain, Experiment, Step, Vantage},
        steps::with_places,
        units::WorkloadKind,
    },
    model::kinds,
};

/// Verbs on one resource, as a rule of a Role or a `ClusterRole` has them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Right {
    /// The namespace; nothing for the whole cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The API group; empty for the core group.
    pub api_group: String,
    /// The resource, with its subresource after a slash: `pods`, `pods/eviction`.
    pub resource: String,
    /// The verbs, sorted.
    pub verbs: Vec<String>,
}

const WATCH: &[&str] = &["get", "list", "watch"];

/// The namespace of the Lease by which a run holds its cluster.
pub const LEASE_NAMESPACE: &str = "default";

/// The resource of a workload's kind.
const fn resource_of(kind: WorkloadKind) -> &'static str {
    match kind {
        WorkloadKind::Deployment => "deployments",
        WorkloadKind::StatefulSet => "statefulsets",
        WorkloadKind::DaemonSet => "daemonsets",
    }
}

#[derive(Default)]
struct Needs {
    namespace: String,
    verbs: BTreeMap<(Option<String>, &'static str, String), BTreeSet<&'static str>>,
}

impl Needs {
    fn add(&mut self, namespace: Option<String>, group: &'static str, resource: &str, verbs: &[&'static str]) {
        self.verbs.entry((namespace, group, resource.to_owned())).or_default().extend(verbs);
    }

    fn inside(&mut self, group: &'static str, resource: &str, verbs: &[&'static str]) {
        self.add(Some(self.namespace.clone()), group, resource, verbs);
    }

    fn cluster(&mut self, group: &'static str, resource: &str, verbs: &[&'static str]) {
        self.add(None, group, resource, verbs);
    }
}

/// All rights that an experiment needs, sorted: cluster-wide ones first. The problems are objects of kinds whose
/// resource is not known.
pub fn needed(experiment: &Experiment) -> Result<Vec<Right>, Vec<PlanProblem>> {
    let spec = &experiment.spec;
    let mut needs = Needs { namespace: spec.given.namespace.clone(), ..Needs::default() };
    observed(&mut needs);
    // One Lease keeps two runs apart and carries what is to be undone.
    needs.add(
        Some(LEASE_NAMESPACE.to_owned()),
        "coordination.k8s.io",
        "leases",
        &["create", "delete", "get", "update"],
    );
    let problems = applied(&mut needs, experiment);
    if spec.load.iter().any(|lane| lane.from == Vantage::Inside) {
        needs.inside("batch", "jobs", &["create", "delete", "get", "list", "watch"]);
        needs.inside("", "pods/proxy", &["create", "get"]);
    }
    for (_, step) in with_places(&spec.steps) {
        acted(&mut needs, step);
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let rights = needs.verbs.into_iter().map(|((namespace, group, resource), verbs)| Right {
        namespace,
        api_group: group.to_owned(),
        resource,
        verbs: verbs.into_iter().map(str::to_owned).collect(),
    });
    Ok(rights.collect())
}

/// What is watched in every run, and listed for the plan.
fn observed(needs: &mut Needs) {
    needs.cluster("", "nodes", WATCH);
    for (group, resources) in [
        ("", &["pods", "events"][..]),
        ("apps", &["deployments", "statefulsets", "daemonsets", "replicasets"]),
        ("discovery.k8s.io", &["endpointslices"]),
        ("policy", &["poddisruptionbudgets"]),
    ] {
        for resource in resources {
            needs.inside(group, resource, WATCH);
        }
    }
    needs.inside("", "services", &["get", "list"]);
}

fn applied(needs: &mut Needs, experiment: &Experiment) -> Vec<PlanProblem> {
    let given = &experiment.spec.given;
    if given.apply.is_empty() {
        needs.inside("", "namespaces", &["get"]);
        return Vec::new();
    }
    needs.cluster("", "namespaces", &["create", "delete", "get"]);
    let mut problems = Vec::new();
    for object in &given.apply {
        let (api_version, kind) = (manifests::api_version(object), manifests::kind(object));
        match kinds::find(api_version, kind) {
            Some(known) if known.namespaced => {
                needs.inside(known.group, known.resource, &["create", "delete", "get"]);
            }
            Some(known) => needs.cluster(known.group, known.resource, &["create", "delete", "get"]),
            None => problems.push(PlanProblem::UnknownKind {
                api_version: api_version.to_owned(),
                kind: kind.to_owned(),
                name: manifests::name(object).to_owned(),
            }),
        }
    }
    problems
}

/// What a step does itself, and what its undo does.
fn acted(needs: &mut Needs, step: &Step) {
    match step {
        Step::Drain(drain) => drained(needs, drain),
        Step::Cordon(_) | Step::Uncordon(_) => needs.cluster("", "nodes", &["get", "patch"]),
        Step::DeletePods(_) => needs.inside("", "pods", &["get", "list", "delete"]),
        Step::RollingUpdate(update) => {
            needs.inside("apps", resource_of(update.workload.kind), &["get", "patch"]);
            // After a crash the template from before is found in the workload's history.
            if update.workload.kind != WorkloadKind::Deployment {
                needs.inside("apps", "controllerrevisions", &["list"]);
            }
        }
        Step::Scale(scale) => {
            let resource = resource_of(scale.workload.kind);
            needs.inside("apps", resource, &["get"]);
            needs.inside("apps", &format!("{resource}/scale"), &["patch"]);
        }
        Step::Wait(_) | Step::Parallel(_) | Step::Sequence(_) => {}
    }
}

/// A drain takes pods of all namespaces, as kubectl's does.
fn drained(needs: &mut Needs, drain: &Drain) {
    needs.cluster("", "nodes", &["get", "patch"]);
    needs.cluster("", "pods", &["get", "list"]);
    needs.cluster("apps", "daemonsets", &["get"]);
    if drain.disable_eviction {
        needs.cluster("", "pods", &["delete"]);
    } else {
        needs.cluster("", "pods/eviction", &["create"]);
    }
}
