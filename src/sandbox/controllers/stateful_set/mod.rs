//! `StatefulSet`s: pods with names and claims of their own, created, removed and updated one after another
//! (`k/pkg/controller/statefulset`, v1.34.4).
//!
//! * [`identity`]: ordinals, names, labels, volumes.
//! * `claims`: the claims and who owns them.
//! * `update`: one pass over the pods.

mod claims;
pub mod identity;
#[cfg(test)]
mod tests;
mod update;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use k8s_openapi::api::{
    apps::v1::{ControllerRevision, StatefulSet, StatefulSetStatus},
    core::v1::Pod,
};

use super::{Controller, Key, Next, owned, pods, revisions};
use crate::sandbox::{
    error::ApiError,
    kinds::{self, Kind},
    names,
    registry::Registry,
    store::Change,
};
use update::{Pass, Revision};

/// Who records its events.
const COMPONENT: &str = "statefulset-controller";

/// Old revisions that are kept (`revisionHistoryLimit` by default).
const HISTORY_LIMIT: i32 = 10;

/// The controller.
pub struct StatefulSets {
    registry: Arc<Registry>,
}

impl StatefulSets {
    /// A controller on this registry.
    #[must_use]
    pub fn new(registry: Arc<Registry>) -> Self {
        Self { registry }
    }
}

impl Controller for StatefulSets {
    fn name(&self) -> &'static str {
        "statefulset"
    }

    fn watches(&self) -> &'static [&'static Kind] {
        static WATCHES: [&Kind; 2] = [&kinds::STATEFUL_SET, &kinds::POD];
        &WATCHES
    }

    fn keys(&self, change: &Change) -> Vec<Key> {
        if change.object.kind == &kinds::STATEFUL_SET {
            return vec![Key::of(&change.object)];
        }
        owned::keys::<StatefulSet>(&self.registry, change, |set| Some(&set.spec.as_ref()?.selector))
    }

    fn reconcile(&self, key: &Key) -> Result<Next, ApiError> {
        let Some(set) = self.registry.find::<StatefulSet>(&key.namespace, &key.name) else {
            return Ok(Next::Settled);
        };
        let revisions = self.revisions(&set)?;
        let members = self.pods(&set)?;
        let status = self.sync(&set, &members, revisions)?;
        let spec = set.spec.as_ref();
        let min_ready = spec.and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
        if min_ready > 0 && status.available_replicas != Some(identity::replicas(&set)) {
            // Nobody tells when a ready pod becomes available.
            return Ok(Next::After(Duration::from_secs(u64::try_from(min_ready).unwrap_or(0))));
        }
        Ok(Next::Settled)
    }
}

impl StatefulSets {
    /// The revisions of a set, in order, after those that match and have no owner have been adopted.
    fn revisions(&self, set: &StatefulSet) -> Result<Vec<Arc<ControllerRevision>>, ApiError> {
        let namespace = set.metadata.namespace.as_deref();
        let selector = pods::selector(&set.spec.clone().unwrap_or_default().selector)?;
        let all = self.registry.all::<ControllerRevision>(namespace);
        // Upstream lists by the selector: a revision that no longer matches is left alone.
        let matching = all.into_iter().filter(|revision| selector.matches(pods::labels(&revision.metadata))).collect();
        let mut own = pods::claim(&self.registry, set, matching, |_| true)?;
        revisions::sort(&mut own);
        Ok(own)
    }

    fn pods(&self, set: &StatefulSet) -> Result<Vec<Arc<Pod>>, ApiError> {
        let selector = pods::selector(&set.spec.clone().unwrap_or_default().selector)?;
        let mut candidates = pods::candidates(&self.registry, set);
        candidates.retain(|pod| identity::is_member(set, pod));
        pods::claim(&self.registry, set, candidates, |pod| selector.matches(pods::labels(&pod.metadata)))
    }

    fn sync(
        &self,
        set: &StatefulSet,
        members: &[Arc<Pod>],
        mut history: Vec<Arc<ControllerRevision>>,
    ) -> Result<StatefulSetStatus, ApiError> {
        let mut collisions = set.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0);
        let update = self.update_revision(set, &mut history, &mut collisions)?;
        let recorded = set.status.as_ref().and_then(|status| status.current_revision.clone());
        let current = history.iter().find(|revision| recorded.as_deref() == Some(revisions::name_of(revision)));
        let current = Arc::clone(current.unwrap_or(&update));
        let pass = Pass {
            registry: &self.registry,
            set,
            current: revision_of(&current)?,
            update: revision_of(&update)?,
            now: names::now(),
        };
        let (mut status, refused) = pass.run(members, collisions);
        complete(set, &mut status);
        let written = self.write_status(set, &status);
        let truncated = self.truncate(set, members, &history, [&current, &update]);
        refused.map_or(Ok(()), Err).and(written).and(truncated)?;
        Ok(status)
    }

    /// The revision of the set's template: a new one, the latest, or an older one that becomes the latest again
    /// (`getStatefulSetRevisions`).
    fn update_revision(
        &self,
        set: &StatefulSet,
        history: &mut [Arc<ControllerRevision>],
        collisions: &mut i32,
    ) -> Result<Arc<ControllerRevision>, ApiError> {
        let template = set.spec.clone().unwrap_or_default().template;
        let data = revisions::patch_of(&template)?;
        let number = revisions::next_number(history);
        let equal = history.iter().rposition(|revision| *revisions::data_of(revision) == data);
        match equal {
            Some(at) if at + 1 == history.len() => Ok(Arc::clone(&history[at])),
            Some(at) => {
                history[at] = revisions::renumber(&self.registry, &history[at], number)?;
                Ok(Arc::clone(&history[at]))
            }
            None => {
                let reference = pods::controller_ref(set);
                let draft = revisions::Draft {
                    owner: &set.metadata,
                    reference: &reference,
                    template: &template,
                    hash_label: revisions::REVISION_HASH,
                };
                draft.create(&self.registry, number, collisions)
            }
        }
    }

    fn write_status(&self, set: &StatefulSet, status: &StatefulSetStatus) -> Result<(), ApiError> {
        let known = set.status.clone().unwrap_or_default();
        let conditions = known.conditions.clone();
        if known == (StatefulSetStatus { conditions, ..status.clone() }) {
            return Ok(());
        }
        let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
        let changed = self.registry.change_status::<StatefulSet>(namespace, identity::set_name(set), |stored| {
            if stored.metadata.uid == set.metadata.uid {
                stored.status = Some(status.clone());
            }
            Ok(())
        });
        match changed {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// Deletes the oldest revisions that no pod is of, beyond the limit.
    fn truncate(
        &self,
        set: &StatefulSet,
        members: &[Arc<Pod>],
        history: &[Arc<ControllerRevision>],
        live: [&ControllerRevision; 2],
    ) -> Result<(), ApiError> {
        let mut names: BTreeSet<&str> = live.into_iter().map(revisions::name_of).collect();
        names.extend(members.iter().map(|pod| identity::revision_of(pod)));
        let limit = set.spec.as_ref().and_then(|spec| spec.revision_history_limit).unwrap_or(HISTORY_LIMIT);
        let Ok(limit) = usize::try_from(limit) else { return Ok(()) };
        let old = history.iter().filter(|revision| !names.contains(revisions::name_of(revision)));
        let old: Vec<&Arc<ControllerRevision>> = old.collect();
        for revision in old.iter().take(old.len().saturating_sub(limit)) {
            revisions::delete(&self.registry, revision)?;
        }
        Ok(())
    }
}

fn revision_of(revision: &ControllerRevision) -> Result<Revision, ApiError> {
    let name = revisions::name_of(revision).to_owned();
    Ok(Revision { name, template: revisions::template_of(revision)? })
}

/// A rolling update that has reached all pods makes its revision the current one (`completeRollingUpdate`).
fn complete(set: &StatefulSet, status: &mut StatefulSetStatus) {
    let strategy = set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
    let is_rolling = strategy.and_then(|strategy| strategy.type_.as_deref()) != Some("OnDelete");
    let wanted = identity::replicas(set);
    let all = [status.updated_replicas, status.ready_replicas, Some(status.replicas)];
    if is_rolling && all.iter().all(|count| *count == Some(wanted)) {
        status.current_replicas = status.updated_replicas;
        status.current_revision.clone_from(&status.update_revision);
    }
}
