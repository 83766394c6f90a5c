//! A Deployment's `ReplicaSets`: the new one, whose template is the Deployment's, and the old ones; revisions and the
//! other annotations, and the clean-up of history (k/pkg/controller/deployment/sync.go, `util/deployment_util.go`,
//! v1.34.4).

use std::{cmp::Ordering, collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec},
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{Work, template, wanted};
use crate::{
    model::rollout::new_set_size,
    sandbox::{
        controllers::{events::Severity, pods},
        error::ApiError,
        registry::DeleteOptions,
    },
};

/// The number of a rollout, on the Deployment and its `ReplicaSets`.
pub const REVISION: &str = "deployment.kubernetes.io/revision";
/// Earlier numbers of a `ReplicaSet` that was rolled back to.
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// The Deployment's replicas when the `ReplicaSet` got its size.
const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
/// The same and the surge.
const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";
/// Annotations that are not handed down.
const OWN_ANNOTATIONS: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    "deprecated.deployment.rollback.to",
];
/// Longer histories lose their oldest numbers (`maxRevHistoryLengthInChars`).
const REVISION_HISTORY_MAX: usize = 2000;

/// The `ReplicaSets` of a Deployment.
#[derive(Debug, Clone, Default)]
pub(super) struct Sets {
    /// The one whose template is the Deployment's.
    pub new: Option<Arc<ReplicaSet>>,
    /// All others.
    pub old: Vec<Arc<ReplicaSet>>,
}

impl Sets {
    /// The old ones and the new one.
    pub fn all(&self) -> impl Iterator<Item = &Arc<ReplicaSet>> + Clone {
        self.old.iter().chain(&self.new)
    }

    /// The old ones that want pods.
    pub fn active_old(&self) -> Vec<Arc<ReplicaSet>> {
        self.old.iter().filter(|set| wanted(set) > 0).cloned().collect()
    }
}

/// Oldest first; of the same second by name (`ReplicaSetsByCreationTimestamp`).
pub(super) fn by_age(one: &Arc<ReplicaSet>, other: &Arc<ReplicaSet>) -> Ordering {
    let age = |set: &ReplicaSet| set.metadata.creation_timestamp.as_ref().map(|time| time.0);
    age(one).cmp(&age(other)).then_with(|| one.metadata.name.cmp(&other.metadata.name))
}

pub(super) fn annotation<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

fn number(metadata: &ObjectMeta, key: &str) -> Option<i32> {
    annotation(metadata, key)?.parse().ok()
}

/// The replicas that the Deployment had when the set got its size.
pub(super) fn desired_replicas(set: &ReplicaSet) -> Option<i32> {
    number(&set.metadata, DESIRED_REPLICAS)
}

/// The most pods that there were to be when the set got its size.
pub(super) fn max_replicas(set: &ReplicaSet) -> Option<i32> {
    number(&set.metadata, MAX_REPLICAS)
}

fn revision(set: &ReplicaSet) -> Option<i64> {
    annotation(&set.metadata, REVISION).map_or(Some(0), |text| text.parse().ok())
}

/// Sets the annotations about sizes; says whether that changed anything (`SetReplicasAnnotations`).
pub(super) fn set_size_annotations(set: &mut ReplicaSet, desired: i32, max: i32) -> bool {
    let annotations = set.metadata.annotations.get_or_insert_default();
    let mut changed = false;
    for (key, value) in [(DESIRED_REPLICAS, desired), (MAX_REPLICAS, max)] {
        let value = value.to_string();
        if annotations.get(key) != Some(&value) {
            annotations.insert(key.to_owned(), value);
            changed = true;
        }
    }
    changed
}

/// Hands the Deployment's annotations down and gives the set its revision; says whether that changed anything
/// (`SetNewReplicaSetAnnotations`).
fn set_revision_annotations(deployment: &Deployment, set: &mut ReplicaSet, new_revision: i64) -> bool {
    let annotations = set.metadata.annotations.get_or_insert_default();
    let mut changed = false;
    for (key, value) in deployment.metadata.annotations.iter().flatten() {
        if !OWN_ANNOTATIONS.contains(&key.as_str()) && annotations.get(key) != Some(value) {
            annotations.insert(key.clone(), value.clone());
            changed = true;
        }
    }
    let old = annotations.get(REVISION).cloned();
    let old_revision = match old.as_deref() {
        None | Some("") => 0,
        Some(text) => match text.parse::<i64>() {
            Ok(number) => number,
            // Upstream leaves a set whose revision isn't a number as it is, whatever else was handed down.
            Err(_) => return false,
        },
    };
    if old_revision >= new_revision {
        return changed;
    }
    annotations.insert(REVISION.to_owned(), new_revision.to_string());
    // The set is rolled back to: its earlier number becomes history.
    if let Some(old) = old {
        let history = annotations.get(REVISION_HISTORY).cloned().unwrap_or_default();
        if let Some(history) = longer_history(&history, &old) {
            annotations.insert(REVISION_HISTORY.to_owned(), history);
        }
    }
    true
}

/// A history with one more number, without the oldest where it would get too long.
fn longer_history(history: &str, revision: &str) -> Option<String> {
    if history.is_empty() {
        return Some(revision.to_owned());
    }
    let mut rest = history;
    loop {
        if rest.len() + 1 + revision.len() <= REVISION_HISTORY_MAX {
            return Some(format!("{rest},{revision}"));
        }
        match rest.split_once(',') {
            Some((_, younger)) => rest = younger,
            None => return (revision.len() <= REVISION_HISTORY_MAX).then(|| revision.to_owned()),
        }
    }
}

impl Work<'_> {
    fn template(&self) -> PodTemplateSpec {
        self.deployment.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default()
    }

    /// The new set and the old ones, with revisions brought up to date; a new set that is missing is created where
    /// that is wanted (`getAllReplicaSetsAndSyncRevision`).
    pub(super) fn look_at_sets(&mut self, create: bool) -> Result<Sets, ApiError> {
        let template = self.template();
        let mut by_age_all = self.sets.clone();
        by_age_all.sort_by(by_age);
        let found = by_age_all.iter().find(|set| {
            let own = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
            own.is_some_and(|own| template::is_same(own, &template))
        });
        let found = found.cloned();
        let is_new = |set: &ReplicaSet| found.as_ref().is_some_and(|new| new.metadata.uid == set.metadata.uid);
        let old: Vec<Arc<ReplicaSet>> = self.sets.iter().filter(|set| !is_new(set)).cloned().collect();
        let next_revision = old.iter().filter_map(|set| revision(set)).max().unwrap_or(0).max(0) + 1;
        let new = match found {
            Some(found) => Some(self.keep_up(&found, next_revision)?),
            None if create => Some(self.create_set(&template, &old, next_revision)?),
            None => None,
        };
        Ok(Sets { new, old })
    }

    /// Puts a written set in the place of what it was.
    pub(super) fn replace_set(&mut self, written: &Arc<ReplicaSet>) {
        match self.sets.iter_mut().find(|set| set.metadata.uid == written.metadata.uid) {
            Some(place) => *place = Arc::clone(written),
            None => self.sets.push(Arc::clone(written)),
        }
    }

    /// A new set that is there already: its annotations, its `minReadySeconds`, and the Deployment's revision.
    fn keep_up(&mut self, set: &Arc<ReplicaSet>, next_revision: i64) -> Result<Arc<ReplicaSet>, ApiError> {
        let mut copy = (**set).clone();
        let mut changed = set_revision_annotations(&self.deployment, &mut copy, next_revision);
        let min_ready = self.min_ready_seconds();
        if let Some(spec) = copy.spec.as_mut()
            && spec.min_ready_seconds.unwrap_or(0) != min_ready.unwrap_or(0)
        {
            spec.min_ready_seconds = min_ready;
            changed = true;
        }
        if changed {
            let written = self.registry.update_as(&copy)?;
            self.replace_set(&written);
            return Ok(written);
        }
        let revision = annotation(&set.metadata, REVISION).unwrap_or_default().to_owned();
        let mut changed = self.set_revision(revision);
        if self.progress_deadline().is_some() && self.progressing().is_none() {
            let message = format!("Found new replica set {:?}", set.metadata.name.as_deref().unwrap_or_default());
            self.set_progressing("True", "FoundNewReplicaSet", &message);
            changed = true;
        }
        if changed {
            self.write_status()?;
        }
        Ok(Arc::clone(set))
    }

    fn set_revision(&mut self, revision: String) -> bool {
        let annotations = self.deployment.metadata.annotations.get_or_insert_default();
        annotations.insert(REVISION.to_owned(), revision.clone()) != Some(revision)
    }

    /// A new set with its size, its hash in name, labels, selector and template.
    fn new_set(&self, template: &PodTemplateSpec, old: &[Arc<ReplicaSet>], next_revision: i64) -> ReplicaSet {
        let hash = template::hash(template, self.status().collision_count);
        let mut own_template = template.clone();
        let labels: &mut BTreeMap<String, String> =
            own_template.metadata.get_or_insert_default().labels.get_or_insert_default();
        labels.insert(template::HASH_LABEL.to_owned(), hash.clone());
        let labels = labels.clone();
        let mut selector = self.spec_selector();
        selector.match_labels.get_or_insert_default().insert(template::HASH_LABEL.to_owned(), hash.clone());
        let bounds = self.bounds();
        let size = if super::is_rolling(&self.deployment) {
            new_set_size(bounds, 0, super::total_wanted(old))
        } else {
            bounds.replicas
        };
        let mut set = ReplicaSet {
            metadata: ObjectMeta {
                name: Some(format!("{}-{hash}", self.name())),
                namespace: Some(self.namespace().to_owned()),
                labels: Some(labels),
                owner_references: Some(vec![pods::controller_ref(&self.deployment)]),
                ..ObjectMeta::default()
            },
            spec: Some(ReplicaSetSpec {
                replicas: Some(size),
                min_ready_seconds: self.min_ready_seconds(),
                selector,
                template: Some(own_template),
            }),
            status: None,
        };
        set_revision_annotations(&self.deployment, &mut set, next_revision);
        set_size_annotations(&mut set, bounds.replicas, bounds.max_total());
        set
    }

    fn create_set(
        &mut self,
        template: &PodTemplateSpec,
        old: &[Arc<ReplicaSet>],
        next_revision: i64,
    ) -> Result<Arc<ReplicaSet>, ApiError> {
        let set = self.new_set(template, old, next_revision);
        let name = set.metadata.name.clone().unwrap_or_default();
        let (created, is_new) = match self.registry.create_as(&set) {
            Ok(created) => (created, true),
            Err(error) if error.is_already_exists() => (self.own_or_collision(&name, template, error)?, false),
            Err(error) if pods::is_namespace_terminating(&error) => return Err(error),
            Err(error) => {
                let message = format!("Failed to create new replica set {name:?}: {}", error.message);
                if self.progress_deadline().is_some() {
                    self.set_progressing("False", "ReplicaSetCreateError", &message);
                    // The failure of the creation is what matters, and it is what is tried again.
                    let _ = self.write_status();
                }
                self.record(Severity::Warning, "ReplicaSetCreateError", &message);
                return Err(error);
            }
        };
        self.replace_set(&created);
        let size = wanted(&created);
        if is_new && size > 0 {
            let message = format!("Scaled up replica set {name} from 0 to {size}");
            self.record(Severity::Normal, "ScalingReplicaSet", &message);
        }
        let mut changed = self.set_revision(next_revision.to_string());
        if is_new && self.progress_deadline().is_some() {
            let message = format!("Created new replica set {name:?}");
            self.set_progressing("True", "NewReplicaSetCreated", &message);
            changed = true;
        }
        if changed {
            self.write_status()?;
        }
        Ok(created)
    }

    /// A set of the new name is there: it is the Deployment's own, or the hash has collided and the next one differs.
    fn own_or_collision(
        &mut self,
        name: &str,
        template: &PodTemplateSpec,
        error: ApiError,
    ) -> Result<Arc<ReplicaSet>, ApiError> {
        let there = self.registry.read::<ReplicaSet>(self.namespace(), name)?;
        let is_own = pods::controller_of(&there.metadata)
            .is_some_and(|owner| Some(&owner.uid) == self.deployment.metadata.uid.as_ref());
        let its_template = there.spec.as_ref().and_then(|spec| spec.template.as_ref());
        if is_own && its_template.is_some_and(|its| template::is_same(its, template)) {
            return Ok(there);
        }
        let status = self.status_mut();
        status.collision_count = Some(status.collision_count.unwrap_or(0).saturating_add(1));
        self.write_status()?;
        Err(error)
    }

    /// Deletes old sets beyond the limit of history, those of the lowest revisions; never one that has pods
    /// (`cleanupDeployment`).
    pub(super) fn clean_up(&self, old: &[Arc<ReplicaSet>]) -> Result<(), ApiError> {
        let limit = self.deployment.spec.as_ref().and_then(|spec| spec.revision_history_limit);
        let Some(limit) = limit.filter(|limit| *limit != i32::MAX) else { return Ok(()) };
        let mut alive: Vec<&Arc<ReplicaSet>> =
            old.iter().filter(|set| set.metadata.deletion_timestamp.is_none()).collect();
        let Some(surplus) = alive.len().checked_sub(usize::try_from(limit).unwrap_or(0)) else { return Ok(()) };
        alive.sort_by(|one, other| match (revision(one), revision(other)) {
            (Some(first), Some(second)) if first != second => first.cmp(&second),
            _ => by_age(one, other),
        });
        for set in alive.into_iter().take(surplus) {
            let status = set.status.clone().unwrap_or_default();
            let is_unseen = set.metadata.generation.unwrap_or(0) > status.observed_generation.unwrap_or(0);
            if status.replicas != 0 || wanted(set) != 0 || is_unseen {
                continue;
            }
            let name = set.metadata.name.as_deref().unwrap_or_default();
            match self.registry.remove::<ReplicaSet>(self.namespace(), name, &DeleteOptions::default()) {
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_grows_at_its_end_and_loses_its_oldest_numbers() {
        assert_eq!(longer_history("", "1").as_deref(), Some("1"));
        assert_eq!(longer_history("1,3", "5").as_deref(), Some("1,3,5"));
        let full = vec!["123456789"; 200].join(",");
        assert_eq!(full.len(), 1999);
        let longer = longer_history(&format!("7,{}", &full[10..]), "42").unwrap();
        assert!(longer.len() <= REVISION_HISTORY_MAX && longer.starts_with("7,123456789,") && longer.ends_with(",42"));
        let longer = longer_history(&full, "42").unwrap();
        assert!(longer.len() <= REVISION_HISTORY_MAX && longer.ends_with(",42"), "{}", longer.len());
        assert_eq!(longer_history("1", &"9".repeat(2001)), None);
    }
}
