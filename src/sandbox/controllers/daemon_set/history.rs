//! The revisions of a `DaemonSet`: the one of its template, and the older ones up to a limit
//! (`k/pkg/controller/daemon/update.go` `constructHistory`, v1.34.4).

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::api::{
    apps::v1::{ControllerRevision, DaemonSet},
    core::v1::Pod,
};

use super::super::{
    pods,
    revisions::{self, POD_REVISION},
};
use crate::sandbox::{error::ApiError, registry::Registry};

/// Old revisions that are kept (`revisionHistoryLimit` by default).
const LIMIT: i32 = 10;

/// The revisions of a set.
pub(super) struct History {
    /// The hash that pods of the set's template carry.
    pub hash: String,
    old: Vec<Arc<ControllerRevision>>,
}

fn hash_of(revision: &ControllerRevision) -> &str {
    pods::labels(&revision.metadata).get(POD_REVISION).map_or("", String::as_str)
}

/// Finds or makes the revision of the set's template. One that was there before becomes the latest again; of several
/// the latest stays, and the pods of the others are made its own.
pub(super) fn construct(registry: &Registry, set: &DaemonSet, own_pods: &[Arc<Pod>]) -> Result<History, ApiError> {
    let spec = set.spec.clone().unwrap_or_default();
    let selector = pods::selector(&spec.selector)?;
    let all = registry.all::<ControllerRevision>(set.metadata.namespace.as_deref());
    let own = pods::claim(registry, set, all, |revision: &ControllerRevision| {
        selector.matches(pods::labels(&revision.metadata))
    })?;
    let data = revisions::patch_of(&spec.template)?;
    let mut old = Vec::new();
    let mut same = Vec::new();
    for revision in own {
        let revision = if hash_of(&revision).is_empty() { label(registry, &revision)? } else { revision };
        if *revisions::data_of(&revision) == data { same.push(revision) } else { old.push(revision) }
    }
    let number = old.iter().map(|revision| revision.revision).max().unwrap_or(0) + 1;
    revisions::sort(&mut same);
    let Some(current) = same.pop() else {
        let current = create(registry, set, number)?;
        return Ok(History { hash: hash_of(&current).to_owned(), old });
    };
    if !same.is_empty() {
        merge(registry, &current, &same, own_pods)?;
    }
    if current.revision < number {
        revisions::renumber(registry, &current, number)?;
    }
    Ok(History { hash: hash_of(&current).to_owned(), old })
}

fn label(registry: &Registry, revision: &ControllerRevision) -> Result<Arc<ControllerRevision>, ApiError> {
    let name = revisions::name_of(revision);
    let namespace = revision.metadata.namespace.as_deref().unwrap_or_default();
    registry.change_as::<ControllerRevision>(namespace, name, |stored| {
        stored.metadata.labels.get_or_insert_default().insert(POD_REVISION.to_owned(), name.to_owned());
        Ok(())
    })
}

fn create(registry: &Registry, set: &DaemonSet, number: i64) -> Result<Arc<ControllerRevision>, ApiError> {
    let spec = set.spec.clone().unwrap_or_default();
    let reference = pods::controller_ref(set);
    let draft = revisions::Draft {
        owner: &set.metadata,
        reference: &reference,
        template: &spec.template,
        hash_label: POD_REVISION,
    };
    let known = set.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0);
    let mut collisions = known;
    let created = draft.create(registry, number, &mut collisions)?;
    if collisions != known {
        let (namespace, name) = (set.metadata.namespace.as_deref(), set.metadata.name.as_deref());
        registry.change_status::<DaemonSet>(namespace.unwrap_or_default(), name.unwrap_or_default(), |stored| {
            stored.status.get_or_insert_default().collision_count = Some(collisions);
            Ok(())
        })?;
    }
    Ok(created)
}

/// Removes doubles of a revision, after their pods have been given its hash.
fn merge(
    registry: &Registry,
    kept: &ControllerRevision,
    doubles: &[Arc<ControllerRevision>],
    own_pods: &[Arc<Pod>],
) -> Result<(), ApiError> {
    let hashes: BTreeSet<&str> = doubles.iter().map(|revision| hash_of(revision)).collect();
    for pod in own_pods {
        let of = pods::labels(&pod.metadata).get(POD_REVISION).map_or("", String::as_str);
        if !hashes.contains(of) {
            continue;
        }
        let (namespace, name) = (pod.metadata.namespace.as_deref(), pod.metadata.name.as_deref());
        registry.change_as::<Pod>(namespace.unwrap_or_default(), name.unwrap_or_default(), |stored| {
            stored.metadata.labels.get_or_insert_default().insert(POD_REVISION.to_owned(), hash_of(kept).to_owned());
            Ok(())
        })?;
    }
    doubles.iter().try_for_each(|double| revisions::delete(registry, double))
}

impl History {
    /// Deletes the oldest revisions that no pod is of, beyond the limit.
    pub fn truncate(mut self, registry: &Registry, set: &DaemonSet, own_pods: &[Arc<Pod>]) -> Result<(), ApiError> {
        let limit = set.spec.as_ref().and_then(|spec| spec.revision_history_limit).unwrap_or(LIMIT);
        let excess = self.old.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        let live: BTreeSet<&str> = own_pods
            .iter()
            .filter_map(|pod| pods::labels(&pod.metadata).get(POD_REVISION))
            .map(String::as_str)
            .collect();
        self.old.sort_by_key(|revision| revision.revision);
        let dead = self.old.iter().filter(|revision| !live.contains(hash_of(revision)));
        dead.take(excess).try_for_each(|revision| revisions::delete(registry, revision))
    }
}
