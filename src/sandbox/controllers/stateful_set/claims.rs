//! The claims of a `StatefulSet`'s pods: created with the pod, and owned so that they go when the retention policy says
//! (`k/pkg/controller/statefulset/{stateful_pod_control,stateful_set_utils}.go`, v1.34.4).

use k8s_openapi::{
    Metadata, Resource,
    api::{
        apps::v1::StatefulSet,
        core::v1::{PersistentVolumeClaim, Pod},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};

use super::{
    super::{events::Severity, pods},
    COMPONENT, identity,
};
use crate::sandbox::{error::ApiError, registry::Registry};

/// What becomes of claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Retention {
    /// They go with the set.
    go_with_set: bool,
    /// They go with a pod that is scaled away.
    go_with_pod: bool,
}

fn retention(set: &StatefulSet) -> Retention {
    let policy = set.spec.as_ref().and_then(|spec| spec.persistent_volume_claim_retention_policy.as_ref());
    let goes = |when: Option<&String>| when.is_some_and(|when| when == "Delete");
    Retention {
        go_with_set: policy.is_some_and(|policy| goes(policy.when_deleted.as_ref())),
        go_with_pod: policy.is_some_and(|policy| goes(policy.when_scaled.as_ref())),
    }
}

/// Whether a reference is to this object by name, whatever its uid.
fn refers_to<K: Resource>(reference: &OwnerReference, metadata: &ObjectMeta) -> bool {
    reference.kind == K::KIND
        && reference.api_version == K::API_VERSION
        && Some(&reference.name) == metadata.name.as_ref()
}

fn owners(claim: &PersistentVolumeClaim) -> impl Iterator<Item = &OwnerReference> {
    claim.metadata.owner_references.iter().flatten()
}

fn is_owned_by(claim: &PersistentVolumeClaim, metadata: &ObjectMeta) -> bool {
    owners(claim).any(|owner| Some(&owner.uid) == metadata.uid.as_ref())
}

fn is_stale<K: Resource>(claim: &PersistentVolumeClaim, metadata: &ObjectMeta) -> bool {
    owners(claim).any(|owner| refers_to::<K>(owner, metadata) && Some(&owner.uid) != metadata.uid.as_ref())
}

/// Whether someone else manages the claim, or someone of the same name who is gone.
fn has_another_controller(claim: &PersistentVolumeClaim, set: &StatefulSet, pod: &Pod) -> bool {
    let retention = retention(set);
    if !retention.go_with_set && !retention.go_with_pod {
        return false;
    }
    owners(claim).any(|owner| {
        if refers_to::<StatefulSet>(owner, &set.metadata) {
            Some(&owner.uid) != set.metadata.uid.as_ref()
        } else if refers_to::<Pod>(owner, &pod.metadata) {
            Some(&owner.uid) != pod.metadata.uid.as_ref()
        } else {
            owner.controller == Some(true)
        }
    })
}

fn has_plain_owner(claim: &PersistentVolumeClaim, set: &StatefulSet, pod: &Pod) -> bool {
    let ours = |owner: &&OwnerReference| {
        Some(&owner.uid) == set.metadata.uid.as_ref() || Some(&owner.uid) == pod.metadata.uid.as_ref()
    };
    owners(claim).filter(ours).any(|owner| owner.controller != Some(true))
}

fn is_scaled_away(set: &StatefulSet, pod: &Pod) -> bool {
    identity::ordinal_of(pod).and_then(|ordinal| identity::slot_of(set, ordinal)).is_none()
}

/// Who is to own a claim: the set, the pod, or neither.
fn wanted_owner(set: &StatefulSet, pod: &Pod) -> Option<OwnerReference> {
    let Retention { go_with_set, go_with_pod } = retention(set);
    if go_with_pod && is_scaled_away(set, pod) {
        return Some(pods::controller_ref(pod));
    }
    go_with_set.then(|| pods::controller_ref(set))
}

/// Whether a claim is owned as the policy says (`isClaimOwnerUpToDate`).
fn is_up_to_date(claim: &PersistentVolumeClaim, set: &StatefulSet, pod: &Pod) -> bool {
    if is_stale::<StatefulSet>(claim, &set.metadata) || is_stale::<Pod>(claim, &pod.metadata) {
        return false;
    }
    let (by_set, by_pod) = (is_owned_by(claim, &set.metadata), is_owned_by(claim, &pod.metadata));
    if has_another_controller(claim, set, pod) {
        return !by_set && !by_pod;
    }
    if has_plain_owner(claim, set, pod) {
        return false;
    }
    let wanted = wanted_owner(set, pod);
    let wants = |metadata: &ObjectMeta| wanted.as_ref().is_some_and(|owner| Some(&owner.uid) == metadata.uid.as_ref());
    by_set == wants(&set.metadata) && by_pod == wants(&pod.metadata)
}

/// Writes the owner that the policy says; none where someone else manages the claim.
fn write_owner(claim: &mut PersistentVolumeClaim, set: &StatefulSet, pod: &Pod) {
    let another = has_another_controller(claim, set, pod);
    let mut kept: Vec<OwnerReference> = claim.metadata.owner_references.take().unwrap_or_default();
    kept.retain(|owner| !refers_to::<StatefulSet>(owner, &set.metadata) && !refers_to::<Pod>(owner, &pod.metadata));
    if !another {
        kept.extend(wanted_owner(set, pod));
    }
    claim.metadata.owner_references = (!kept.is_empty()).then_some(kept);
}

fn stored(registry: &Registry, set: &StatefulSet, pod: &Pod) -> Vec<std::sync::Arc<PersistentVolumeClaim>> {
    let Some(ordinal) = identity::ordinal_of(pod) else { return Vec::new() };
    let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
    let names = identity::claim_templates(set).map(|template| identity::claim_name(set, template, ordinal));
    names.filter_map(|name| registry.find(namespace, &name)).collect()
}

/// Whether the claims of a pod are owned as the policy says.
pub(super) fn match_policy(registry: &Registry, set: &StatefulSet, pod: &Pod) -> bool {
    stored(registry, set, pod).iter().all(|claim| is_up_to_date(claim, set, pod))
}

/// Lets the claims of a pod be owned as the policy says.
pub(super) fn apply_policy(registry: &Registry, set: &StatefulSet, pod: &Pod) -> Result<(), ApiError> {
    for claim in stored(registry, set, pod) {
        let name = claim.metadata.name.as_deref().unwrap_or_default();
        if has_another_controller(&claim, set, pod) {
            let message = format!(
                "PersistentVolumeClaim {name} has a conflicting OwnerReference that acts as a manging controller, the retention policy is ignored for this claim"
            );
            pods::record(registry, set, Severity::Warning, COMPONENT, "ConflictingController", &message);
        }
        if is_up_to_date(&claim, set, pod) {
            continue;
        }
        let namespace = claim.metadata.namespace.as_deref().unwrap_or_default();
        registry.change_as::<PersistentVolumeClaim>(namespace, name, |claim| {
            write_owner(claim, set, pod);
            Ok(())
        })?;
    }
    Ok(())
}

/// Whether a claim still belongs to an earlier pod of this name, with which it is to go; until then no new one comes.
pub(super) fn wait_for_an_earlier_pod(registry: &Registry, set: &StatefulSet, pod: &Pod) -> bool {
    retention(set).go_with_pod && stored(registry, set, pod).iter().any(|claim| is_stale::<Pod>(claim, &pod.metadata))
}

/// Creates the claims of a pod that are not there.
pub(super) fn create(registry: &Registry, set: &StatefulSet, pod: &Pod) -> Result<(), ApiError> {
    let Some(ordinal) = identity::ordinal_of(pod) else { return Ok(()) };
    let mut refused = Vec::new();
    for claim in identity::claims(set, ordinal) {
        let name = claim.metadata().name.clone().unwrap_or_default();
        let namespace = claim.metadata.namespace.as_deref().unwrap_or_default();
        let Some(existing) = registry.find::<PersistentVolumeClaim>(namespace, &name) else {
            if let Err(error) = record_create(registry, set, pod, &claim, &name) {
                refused.push(format!("failed to create PVC {name}: {}", error.message));
            }
            continue;
        };
        if existing.metadata.deletion_timestamp.is_some() {
            refused.push(format!("pvc {name} is being deleted"));
        }
    }
    match refused.as_slice() {
        [] => Ok(()),
        [one] => Err(ApiError::internal(one)),
        many => Err(ApiError::internal(format!("[{}]", many.join(", ")))),
    }
}

fn record_create(
    registry: &Registry,
    set: &StatefulSet,
    pod: &Pod,
    claim: &PersistentVolumeClaim,
    name: &str,
) -> Result<(), ApiError> {
    let created = registry.create_as(claim);
    let (pod, set_name) = (identity::name_of(pod), identity::set_name(set));
    match created {
        Ok(_) => {
            let message = format!("create Claim {name} Pod {pod} in StatefulSet {set_name} success");
            pods::record(registry, set, Severity::Normal, COMPONENT, "SuccessfulCreate", &message);
            Ok(())
        }
        Err(error) => {
            let message =
                format!("create Claim {name} for Pod {pod} in StatefulSet {set_name} failed error: {}", error.message);
            pods::record(registry, set, Severity::Warning, COMPONENT, "FailedCreate", &message);
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn set(deleted: &str, scaled: &str) -> StatefulSet {
        serde_json::from_value(json!({
            "metadata": {"name": "db", "namespace": "shop", "uid": "set"},
            "spec": {"replicas": 1, "serviceName": "", "selector": {}, "template": {},
                "persistentVolumeClaimRetentionPolicy": {"whenDeleted": deleted, "whenScaled": scaled}},
        }))
        .unwrap()
    }

    fn pod(ordinal: i32) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": format!("db-{ordinal}"), "uid": "pod"}})).unwrap()
    }

    fn claim(owners: &Value) -> PersistentVolumeClaim {
        serde_json::from_value(json!({"metadata": {"name": "data-db-0", "ownerReferences": owners}})).unwrap()
    }

    #[test]
    fn the_policy_says_who_owns_a_claim() {
        let table = [
            ("Retain", "Retain", 0, None),
            ("Delete", "Retain", 0, Some("set")),
            ("Delete", "Retain", 1, Some("set")),
            ("Retain", "Delete", 0, None),
            ("Retain", "Delete", 1, Some("pod")),
            ("Delete", "Delete", 0, Some("set")),
            ("Delete", "Delete", 1, Some("pod")),
        ];
        for (deleted, scaled, ordinal, owner) in table {
            let (set, pod) = (set(deleted, scaled), pod(ordinal));
            let mut claim = claim(&json!([]));
            assert_eq!(is_up_to_date(&claim, &set, &pod), owner.is_none(), "{deleted} {scaled} {ordinal}");
            write_owner(&mut claim, &set, &pod);
            let owners: Vec<&str> = owners(&claim).map(|owner| owner.uid.as_str()).collect();
            assert_eq!(owners, owner.into_iter().collect::<Vec<_>>(), "{deleted} {scaled} {ordinal}");
            assert!(is_up_to_date(&claim, &set, &pod));
        }
    }

    #[test]
    fn a_claim_that_another_manages_is_let_alone() {
        let (set, pod) = (set("Delete", "Delete"), pod(0));
        let other = json!({"apiVersion": "v1", "kind": "Thing", "name": "x", "uid": "x", "controller": true});
        let mut taken = claim(&json!([other]));
        assert!(has_another_controller(&taken, &set, &pod) && is_up_to_date(&taken, &set, &pod));
        write_owner(&mut taken, &set, &pod);
        assert_eq!(owners(&taken).count(), 1);
    }

    #[test]
    fn a_claim_of_an_earlier_pod_is_stale() {
        let (set, pod) = (set("Retain", "Delete"), pod(0));
        let earlier = claim(&json!([{"apiVersion": "v1", "kind": "Pod", "name": "db-0", "uid": "earlier"}]));
        assert!(is_stale::<Pod>(&earlier, &pod.metadata) && !is_up_to_date(&earlier, &set, &pod));
        let own = claim(&json!([{"apiVersion": "v1", "kind": "Pod", "name": "db-0", "uid": "pod"}]));
        assert!(!is_stale::<Pod>(&own, &pod.metadata));
    }
}
