//! The Deployment controller: brings `ReplicaSets` to where a Deployment wants them, within the bounds of its strategy
//! (`k/pkg/controller/deployment/deployment_controller.go`, v1.34.4).
//!
//! * [`template`]: when two pod templates are the same, and the hash that names a `ReplicaSet`.
//! * `sets`: the new `ReplicaSet` and the old ones, revisions, annotations, clean-up.
//! * `scale`: sizes of `ReplicaSets`, also of a Deployment that is scaled during a rollout.
//! * `rolling`, `recreate`: the two strategies.
//! * `status`: counts, conditions, the progress deadline.

mod recreate;
mod rolling;
mod scale;
mod sets;
mod status;
pub mod template;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentStatus, ReplicaSet},
        core::v1::Pod,
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use super::{Controller, Key, Next, events::Severity, pods};
use crate::{
    model::{int_or_percent::IntOrPercent, rollout::Bounds},
    sandbox::{
        error::ApiError,
        kinds::{self, Kind},
        registry::Registry,
        store::{Change, Object, Op},
    },
};

const COMPONENT: &str = "deployment-controller";

const WATCHED: &[&Kind] = &[&kinds::DEPLOYMENT, &kinds::REPLICA_SET, &kinds::POD];

/// The controller.
pub struct Deployments {
    registry: Arc<Registry>,
}

impl Deployments {
    /// The controller of these objects.
    #[must_use]
    pub const fn new(registry: Arc<Registry>) -> Self {
        Self { registry }
    }

    /// The Deployments that a `ReplicaSet` concerns: its own, or those that could adopt it.
    fn of_set(&self, set: &Object) -> Vec<Key> {
        if let Some(owner) = set.controller() {
            let ours = owner.kind == kinds::DEPLOYMENT.kind;
            return ours.then(|| Key::new(&set.namespace, &owner.name)).into_iter().collect();
        }
        let all = self.registry.all::<Deployment>(Some(&set.namespace));
        let matching = all.iter().filter(|deployment| {
            let selector = deployment.spec.as_ref().and_then(|spec| pods::selector(&spec.selector).ok());
            selector.is_some_and(|selector| selector.matches(&set.labels))
        });
        matching
            .map(|deployment| Key::new(&set.namespace, deployment.metadata.name.as_deref().unwrap_or_default()))
            .collect()
    }

    /// A Deployment that recreates waits for old pods to be gone; of all others `ReplicaSets` tell enough.
    fn of_gone_pod(&self, pod: &Object) -> Option<Key> {
        let owner = pod.controller().filter(|owner| owner.kind == kinds::REPLICA_SET.kind)?;
        let set = self.registry.store().get(&kinds::REPLICA_SET, &pod.namespace, &owner.name)?;
        let owner = set.controller().filter(|owner| owner.kind == kinds::DEPLOYMENT.kind)?;
        let deployment = self.registry.find::<Deployment>(&pod.namespace, &owner.name)?;
        (!is_rolling(&deployment)).then(|| Key::new(&pod.namespace, &owner.name))
    }
}

impl Controller for Deployments {
    fn name(&self) -> &'static str {
        "deployment"
    }

    fn watches(&self) -> &'static [&'static Kind] {
        WATCHED
    }

    fn keys(&self, change: &Change) -> Vec<Key> {
        match change.object.kind.kind {
            "Deployment" => vec![Key::of(&change.object)],
            "Pod" if change.op == Op::Deleted => self.of_gone_pod(&change.object).into_iter().collect(),
            "Pod" => Vec::new(),
            _ => {
                let mut keys = self.of_set(&change.object);
                if let Some(before) = change.before.as_deref().filter(|before| before.owners != change.object.owners) {
                    keys.extend(self.of_set(before));
                }
                keys
            }
        }
    }

    fn reconcile(&self, key: &Key) -> Result<Next, ApiError> {
        let Some(deployment) = self.registry.find::<Deployment>(&key.namespace, &key.name) else {
            return Ok(Next::Settled);
        };
        sync(&self.registry, (*deployment).clone())
    }
}

/// A Deployment while it is brought nearer to its spec, with the `ReplicaSets` that are its own.
struct Work<'a> {
    registry: &'a Registry,
    deployment: Deployment,
    sets: Vec<Arc<ReplicaSet>>,
}

/// `syncDeployment`.
fn sync(registry: &Registry, deployment: Deployment) -> Result<Next, ApiError> {
    let mut work = Work { registry, deployment, sets: Vec::new() };
    if work.deployment.spec.is_none() {
        return Ok(Next::Settled);
    }
    if pods::selector(&work.spec_selector())? == crate::model::selector::LabelSelector::default() {
        let message = "This deployment is selecting all pods. A non-empty selector is required.";
        work.record(Severity::Warning, "SelectingAll", message);
        let generation = work.deployment.metadata.generation;
        if work.status().observed_generation < generation {
            work.status_mut().observed_generation = generation;
            work.write_status()?;
        }
        return Ok(Next::Settled);
    }
    work.sets = work.claim_sets()?;
    if work.deployment.metadata.deletion_timestamp.is_some() {
        work.look_at_sets(false)?;
        return work.sync_status();
    }
    work.check_paused()?;
    if work.is_paused() || work.is_scaled()? {
        return work.sync_scale();
    }
    if is_rolling(&work.deployment) { work.roll() } else { work.recreate() }
}

impl Work<'_> {
    fn name(&self) -> &str {
        self.deployment.metadata.name.as_deref().unwrap_or_default()
    }

    fn namespace(&self) -> &str {
        self.deployment.metadata.namespace.as_deref().unwrap_or_default()
    }

    fn spec_selector(&self) -> LabelSelector {
        self.deployment.spec.as_ref().map(|spec| spec.selector.clone()).unwrap_or_default()
    }

    fn status(&self) -> DeploymentStatus {
        self.deployment.status.clone().unwrap_or_default()
    }

    fn status_mut(&mut self) -> &mut DeploymentStatus {
        self.deployment.status.get_or_insert_default()
    }

    fn is_paused(&self) -> bool {
        self.deployment.spec.as_ref().and_then(|spec| spec.paused) == Some(true)
    }

    fn min_ready_seconds(&self) -> Option<i32> {
        self.deployment.spec.as_ref().and_then(|spec| spec.min_ready_seconds).filter(|seconds| *seconds != 0)
    }

    /// `progressDeadlineSeconds`, where there is one (`HasProgressDeadline`).
    fn progress_deadline(&self) -> Option<i32> {
        self.deployment.spec.as_ref().and_then(|spec| spec.progress_deadline_seconds).filter(|one| *one != i32::MAX)
    }

    fn replicas(&self) -> i32 {
        self.deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
    }

    fn bounds(&self) -> Bounds {
        bounds(&self.deployment)
    }

    fn record(&self, severity: Severity, reason: &str, message: &str) {
        pods::record(self.registry, &self.deployment, severity, COMPONENT, reason, message);
    }

    /// The Deployment's own `ReplicaSets`, after adoption and release by its selector.
    fn claim_sets(&self) -> Result<Vec<Arc<ReplicaSet>>, ApiError> {
        let selector = pods::selector(&self.spec_selector())?;
        let candidates = self.registry.all::<ReplicaSet>(Some(self.namespace()));
        pods::claim(self.registry, &self.deployment, candidates, |set: &ReplicaSet| {
            selector.matches(pods::labels(&set.metadata))
        })
    }

    /// Writes the status (with the annotations), and goes on with what is stored then.
    fn write_status(&mut self) -> Result<(), ApiError> {
        self.deployment = (*self.registry.update_status_as(&self.deployment)?).clone();
        Ok(())
    }

    /// The pods of all of its `ReplicaSets`.
    fn pods_of(&self, set: &ReplicaSet) -> Vec<Arc<Pod>> {
        self.registry.controlled_by(set.metadata.uid.as_deref().unwrap_or_default())
    }
}

/// Whether a Deployment rolls; otherwise it recreates.
fn is_rolling(deployment: &Deployment) -> bool {
    let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    strategy.and_then(|strategy| strategy.type_.as_deref()) != Some("Recreate")
}

/// The bounds of a Deployment's strategy.
#[must_use]
pub fn bounds(deployment: &Deployment) -> Bounds {
    let spec = deployment.spec.as_ref();
    let replicas = spec.and_then(|spec| spec.replicas).unwrap_or(1);
    if !is_rolling(deployment) {
        return Bounds::recreate(replicas);
    }
    let rolling = spec.and_then(|spec| spec.strategy.as_ref()).and_then(|strategy| strategy.rolling_update.as_ref());
    let surge = rolling.and_then(|rolling| rolling.max_surge.as_ref()).and_then(int_or_percent);
    let unavailable = rolling.and_then(|rolling| rolling.max_unavailable.as_ref()).and_then(int_or_percent);
    Bounds::rolling(replicas, surge, unavailable)
}

/// The API's value; nothing for one that validation rules out.
fn int_or_percent(value: &IntOrString) -> Option<IntOrPercent> {
    match value {
        IntOrString::Int(count) => Some(IntOrPercent::Int(*count)),
        IntOrString::String(text) => text.parse().ok(),
    }
}

/// A set's `spec.replicas`.
fn wanted(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// The pods that a set wants, summed up (`GetReplicaCountForReplicaSets`).
fn total_wanted<'a>(sets: impl IntoIterator<Item = &'a Arc<ReplicaSet>>) -> i32 {
    sets.into_iter().fold(0, |sum: i32, set| sum.saturating_add(wanted(set)))
}

/// A set's `status.availableReplicas`.
fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
}
