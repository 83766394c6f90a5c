//! `Recreate`: all old pods go before the first new one comes (k/pkg/controller/deployment/recreate.go, v1.34.4).

use super::{Work, sets::Sets};
use crate::sandbox::{
    controllers::{Next, pods},
    error::ApiError,
};

impl Work<'_> {
    /// One step: old sets to zero, then wait for their pods, then the new set.
    pub(super) fn recreate(&mut self) -> Result<Next, ApiError> {
        let mut sets = self.look_at_sets(false)?;
        let mut shrunk = false;
        for old in sets.active_old() {
            shrunk |= self.resize(&old, 0)?;
        }
        if shrunk || self.old_pods_run(&sets) {
            return self.sync_rollout_status(&sets);
        }
        if sets.new.is_none() {
            sets = self.look_at_sets(true)?;
        }
        if let Some(new) = sets.new.clone() {
            let replicas = self.replicas();
            self.resize(&new, replicas)?;
        }
        if self.is_complete(&self.status()) {
            self.clean_up(&sets.old)?;
        }
        self.sync_rollout_status(&sets)
    }

    /// Whether a pod of an old set is there that has not ended, be it on its way out.
    fn old_pods_run(&self, sets: &Sets) -> bool {
        let counted = sets.old.iter().any(|set| set.status.as_ref().is_some_and(|status| status.replicas > 0));
        counted || sets.old.iter().any(|set| self.pods_of(set).iter().any(|pod| may_run(pods::phase(pod))))
    }
}

/// Of a pod in the phase Unknown nobody can be sure that it does not run.
fn may_run(phase: &str) -> bool {
    !matches!(phase, "Failed" | "Succeeded")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_pod_that_has_ended_makes_room() {
        let table = [("Pending", true), ("Running", true), ("Unknown", true), ("Failed", false), ("Succeeded", false)];
        for (phase, expected) in table {
            assert_eq!(may_run(phase), expected, "{phase}");
        }
    }
}
