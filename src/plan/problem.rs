//! Why an experiment cannot be carried out on a cluster as it is.

use super::{guards::GuardProblem, pick::PickProblem};

/// What keeps a plan from being carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanProblem {
    /// The namespace is to be created, and is there.
    #[error(
        "namespace {namespace} exists already, but `apply` would create it and remove it in the end; choose another \
         name, or remove it with `kubectl delete namespace {namespace}`"
    )]
    NamespaceExists {
        /// The namespace.
        namespace: String,
    },
    /// The namespace is to stand, and is not there.
    #[error("namespace {namespace} does not exist; create it, or give the objects under `apply`")]
    NamespaceMissing {
        /// The namespace.
        namespace: String,
    },
    /// Something the file refers to is not in the namespace.
    #[error("{needed_by} needs {object}, which is not in namespace {namespace}; it has {have}")]
    Missing {
        /// What refers to it, such as `lane new` or `step 2 (roll)`.
        needed_by: String,
        /// The object, such as `service/shop`.
        object: String,
        /// The namespace.
        namespace: String,
        /// What there is of that kind.
        have: String,
    },
    /// A lane cannot reach its Service.
    #[error("lane {lane} cannot ask service/{service}: {why}")]
    Unreachable {
        /// The lane.
        lane: String,
        /// The Service.
        service: String,
        /// Why, and what to change.
        why: String,
    },
    /// Nodes or pods cannot be picked.
    #[error("step {step}: {problem}")]
    Pick {
        /// The step's place and name, such as `1 (drain)`.
        step: String,
        /// Why not.
        problem: PickProblem,
    },
    /// A guard does not let it pass.
    #[error("{place}{problem}")]
    Guard {
        /// The step's place and name with a colon, such as `step 1 (drain): `; empty for the whole experiment.
        place: String,
        /// Why not.
        problem: GuardProblem,
    },
    /// A rule asks for more than there can be.
    #[error("step {step} asks for {wanted} {rule}, but there are at most {most}; lower `count`{or_else}")]
    TooFew {
        /// The step's place and name.
        step: String,
        /// How many it asks for.
        wanted: u32,
        /// The rule in words.
        rule: String,
        /// How many there can be.
        most: usize,
        /// What else helps.
        or_else: String,
    },
    /// The rights for an object cannot be told.
    #[error(
        "{kind}/{name} is of {api_version}, which is not of Kubernetes itself, so the rights for it cannot be told; \
         apply it before the run and leave it out of the file"
    )]
    UnknownKind {
        /// `apiVersion`.
        api_version: String,
        /// `kind`.
        kind: String,
        /// `metadata.name`.
        name: String,
    },
    /// Every node may be touched, so the agent pod has no place to stand.
    #[error(
        "the steps may touch every ready node ({nodes}), so there is none for the pod that asks from inside; name the \
         nodes of the steps, or ask from outside"
    )]
    NoSparedNode {
        /// The ready nodes.
        nodes: String,
    },
}
