//! The rolling update: up by what the surge leaves, down by what may be unavailable
//! (k/pkg/controller/deployment/rolling.go, v1.34.4). The arithmetic is `model::rollout`.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::ReplicaSet;

use super::{
    Work, available,
    sets::{Sets, by_age},
    total_wanted, wanted,
};
use crate::{
    model::rollout::{SetSize, new_set_size, shrink_old_sets},
    sandbox::{controllers::Next, error::ApiError},
};

impl Work<'_> {
    /// One step of a rolling update: either up or down, then the status.
    pub(super) fn roll(&mut self) -> Result<Next, ApiError> {
        let sets = self.look_at_sets(true)?;
        let moved = self.grow_new(&sets)? || self.shrink_old(&sets)?;
        if !moved && self.is_complete(&self.status()) {
            self.clean_up(&sets.old)?;
        }
        self.sync_rollout_status(&sets)
    }

    fn grow_new(&mut self, sets: &Sets) -> Result<bool, ApiError> {
        let Some(new) = &sets.new else { return Ok(false) };
        let size = new_set_size(self.bounds(), wanted(new), total_wanted(sets.all()));
        self.resize(new, size)
    }

    fn shrink_old(&mut self, sets: &Sets) -> Result<bool, ApiError> {
        let Some(new) = &sets.new else { return Ok(false) };
        let mut old: Vec<Arc<ReplicaSet>> = sets.active_old();
        if old.is_empty() {
            return Ok(false);
        }
        old.sort_by(by_age);
        let size = |set: &Arc<ReplicaSet>| SetSize { wanted: wanted(set), available: available(set) };
        let sizes: Vec<SetSize> = old.iter().map(size).collect();
        let mut moved = false;
        for (at, size) in shrink_old_sets(self.bounds(), size(new), &sizes) {
            let uid = old[at].metadata.uid.clone();
            // A set may shrink twice, and the second step begins where the first has ended.
            let Some(set) = self.sets.iter().find(|set| set.metadata.uid == uid).cloned() else { continue };
            moved |= self.resize(&set, size)?;
        }
        Ok(moved)
    }
}
