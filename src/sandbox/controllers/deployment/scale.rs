//! The sizes of a Deployment's `ReplicaSets` outside of a rollout's steps: when it is scaled or paused
//! (k/pkg/controller/deployment/sync.go `sync`, `scale`, `isScalingEvent`, v1.34.4).

use std::{cmp::Reverse, sync::Arc};

use k8s_openapi::api::apps::v1::ReplicaSet;

use super::{
    Work, available, is_rolling, sets,
    sets::{Sets, by_age, desired_replicas, max_replicas},
    total_wanted, wanted,
};
use crate::{
    model::rollout::{Share, proportional_sizes},
    sandbox::{
        controllers::{Next, events::Severity},
        error::ApiError,
    },
};

impl Work<'_> {
    /// Whether the Deployment's replicas have changed since its sets got their sizes.
    pub(super) fn is_scaled(&mut self) -> Result<bool, ApiError> {
        let sets = self.look_at_sets(false)?;
        let replicas = self.replicas();
        let active = sets.all().filter(|set| wanted(set) > 0);
        Ok(active.filter_map(|set| desired_replicas(set)).any(|desired| desired != replicas))
    }

    /// A Deployment that is scaled or paused: sizes and status, no step of a rollout.
    pub(super) fn sync_scale(&mut self) -> Result<Next, ApiError> {
        let sets = self.look_at_sets(false)?;
        self.scale(&sets)?;
        if self.is_paused() {
            self.clean_up(&sets.old)?;
        }
        self.sync_status_of(&sets)
    }

    fn scale(&mut self, sets: &Sets) -> Result<(), ApiError> {
        let replicas = self.replicas();
        if let Some(only) = active_or_latest(sets) {
            self.resize(&only, replicas)?;
            return Ok(());
        }
        if sets.new.as_ref().is_some_and(|new| self.is_saturated(new)) {
            for old in sets.active_old() {
                self.resize(&old, 0)?;
            }
            return Ok(());
        }
        if !is_rolling(&self.deployment) {
            return Ok(());
        }
        let bounds = self.bounds();
        let mut active: Vec<Arc<ReplicaSet>> = sets.all().filter(|set| wanted(set) > 0).cloned().collect();
        let allowed = if replicas > 0 { bounds.max_total() } else { 0 };
        // Of equal sets the newer one grows first, and the older one shrinks first.
        active.sort_by(by_age);
        if allowed > total_wanted(&active) {
            active.reverse();
        }
        active.sort_by_key(|set| Reverse(wanted(set)));
        let shares: Vec<Share> =
            active.iter().map(|set| Share { wanted: wanted(set), max_before: max_replicas(set) }).collect();
        let running = self.status().replicas.unwrap_or(0);
        for (set, size) in active.iter().zip(proportional_sizes(bounds, running, &shares)) {
            self.write_size(set, size)?;
        }
        Ok(())
    }

    /// Whether the new set has all pods, available, and knows the Deployment's replicas (`IsSaturated`).
    fn is_saturated(&self, new: &ReplicaSet) -> bool {
        let replicas = self.replicas();
        wanted(new) == replicas && desired_replicas(new) == Some(replicas) && available(new) == replicas
    }

    /// Gives a set another size, with an event; says whether it had another one (`scaleReplicaSetAndRecordEvent`).
    pub(super) fn resize(&mut self, set: &Arc<ReplicaSet>, size: i32) -> Result<bool, ApiError> {
        if wanted(set) == size { Ok(false) } else { self.write_size(set, size) }
    }

    /// The same, and brings the annotations about sizes up to date in any case (`scaleReplicaSet`).
    fn write_size(&mut self, set: &Arc<ReplicaSet>, size: i32) -> Result<bool, ApiError> {
        let before = wanted(set);
        let bounds = self.bounds();
        let mut copy = (**set).clone();
        let annotated = sets::set_size_annotations(&mut copy, bounds.replicas, bounds.max_total());
        if before == size && !annotated {
            return Ok(false);
        }
        if let Some(spec) = copy.spec.as_mut() {
            spec.replicas = Some(size);
        }
        let written = self.registry.update_as(&copy)?;
        self.replace_set(&written);
        if before == size {
            return Ok(false);
        }
        let way = if before < size { "up" } else { "down" };
        let name = set.metadata.name.as_deref().unwrap_or_default();
        let message = format!("Scaled {way} replica set {name} from {before} to {size}");
        self.record(Severity::Normal, "ScalingReplicaSet", &message);
        Ok(true)
    }
}

/// The only set that wants pods, or the latest where none does; nothing where several do (`FindActiveOrLatest`).
fn active_or_latest(sets: &Sets) -> Option<Arc<ReplicaSet>> {
    let mut active = sets.all().filter(|set| wanted(set) > 0);
    match (active.next(), active.next()) {
        (Some(only), None) => Some(Arc::clone(only)),
        (Some(_), Some(_)) => None,
        (None, _) => sets.new.clone().or_else(|| sets.old.iter().max_by(|one, other| by_age(one, other)).cloned()),
    }
}
