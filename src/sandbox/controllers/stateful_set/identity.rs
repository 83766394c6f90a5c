//! What makes a pod a `StatefulSet`'s: its ordinal, name, labels and volumes
//! (`k/pkg/controller/statefulset/stateful_set_utils.go`, v1.34.4).

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, PodTemplateSpec, Volume},
};

use super::super::{pods, revisions::POD_REVISION};

/// The label with the pod's own name.
pub const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";

/// The label with its ordinal.
pub const POD_INDEX: &str = "apps.kubernetes.io/pod-index";

/// The name of the set that a pod's name is of, and its ordinal; without one where the number is too large.
#[must_use]
pub fn parent_and_ordinal(pod: &str) -> Option<(&str, Option<i32>)> {
    let (parent, digits) = pod.rsplit_once('-')?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| (parent, digits.parse().ok()))
}

/// The name of an object, empty where it has none yet.
#[must_use]
pub fn name_of(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

/// A pod's ordinal.
#[must_use]
pub fn ordinal_of(pod: &Pod) -> Option<i32> {
    parent_and_ordinal(name_of(pod))?.1
}

/// The name of a set.
#[must_use]
pub fn set_name(set: &StatefulSet) -> &str {
    set.metadata.name.as_deref().unwrap_or_default()
}

/// Whether a pod's name says that it is of this set.
#[must_use]
pub fn is_member(set: &StatefulSet, pod: &Pod) -> bool {
    parent_and_ordinal(name_of(pod)).is_some_and(|(parent, _)| parent == set_name(set))
}

/// The first ordinal.
#[must_use]
pub fn first_ordinal(set: &StatefulSet) -> i32 {
    let ordinals = set.spec.as_ref().and_then(|spec| spec.ordinals.as_ref());
    ordinals.and_then(|ordinals| ordinals.start).unwrap_or(0)
}

/// The number of pods asked for.
#[must_use]
pub fn replicas(set: &StatefulSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1).max(0)
}

/// The place of a pod among those asked for; nothing for one that is too many.
#[must_use]
pub fn slot_of(set: &StatefulSet, ordinal: i32) -> Option<usize> {
    let slot = i64::from(ordinal) - i64::from(first_ordinal(set));
    usize::try_from(slot).ok().filter(|_| slot < i64::from(replicas(set)))
}

/// The name of the pod with an ordinal.
#[must_use]
pub fn pod_name(set: &StatefulSet, ordinal: i32) -> String {
    format!("{}-{ordinal}", set_name(set))
}

/// The name of the revision that a pod is of.
#[must_use]
pub fn revision_of(pod: &Pod) -> &str {
    pods::labels(&pod.metadata).get(POD_REVISION).map_or("", String::as_str)
}

/// Whether a pod's name and labels say who it is.
#[must_use]
pub fn matches(set: &StatefulSet, pod: &Pod) -> bool {
    let Some((parent, Some(ordinal))) = parent_and_ordinal(name_of(pod)) else { return false };
    parent == set_name(set)
        && name_of(pod) == pod_name(set, ordinal)
        && pod.metadata.namespace == set.metadata.namespace
        && pods::labels(&pod.metadata).get(POD_NAME).is_some_and(|label| label == name_of(pod))
}

/// Writes a pod's identity into it.
pub fn write(set: &StatefulSet, pod: &mut Pod) {
    let Some(ordinal) = ordinal_of(pod) else { return };
    let name = pod_name(set, ordinal);
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(POD_NAME.to_owned(), name.clone());
    labels.insert(POD_INDEX.to_owned(), ordinal.to_string());
    pod.metadata.name = Some(name);
    pod.metadata.namespace.clone_from(&set.metadata.namespace);
}

/// A new pod with an ordinal, at a revision.
#[must_use]
pub fn new_pod(set: &StatefulSet, template: &PodTemplateSpec, ordinal: i32, revision: &str) -> Pod {
    let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
    let mut pod = pods::from_template(template, namespace, pods::controller_ref(set));
    pod.metadata.generate_name = None;
    pod.metadata.name = Some(pod_name(set, ordinal));
    write(set, &mut pod);
    let spec = pod.spec.get_or_insert_default();
    // Neither can be changed later on.
    spec.hostname.clone_from(&pod.metadata.name);
    spec.subdomain = set.spec.as_ref().and_then(|spec| spec.service_name.clone());
    write_volumes(set, &mut pod);
    pod.metadata.labels.get_or_insert_default().insert(POD_REVISION.to_owned(), revision.to_owned());
    pod
}

/// The name of the claim that a pod has for a claim template.
#[must_use]
pub fn claim_name(set: &StatefulSet, template: &PersistentVolumeClaim, ordinal: i32) -> String {
    format!("{}-{}-{ordinal}", template.metadata.name.as_deref().unwrap_or_default(), set_name(set))
}

/// The claim templates of a set.
pub fn claim_templates(set: &StatefulSet) -> impl Iterator<Item = &PersistentVolumeClaim> {
    set.spec.iter().flat_map(|spec| spec.volume_claim_templates.iter().flatten())
}

/// The claims of a pod.
#[must_use]
pub fn claims(set: &StatefulSet, ordinal: i32) -> Vec<PersistentVolumeClaim> {
    let selected = set.spec.as_ref().and_then(|spec| spec.selector.match_labels.clone()).unwrap_or_default();
    let claim = |template: &PersistentVolumeClaim| {
        let mut claim = template.clone();
        claim.metadata.name = Some(claim_name(set, template, ordinal));
        claim.metadata.namespace.clone_from(&set.metadata.namespace);
        claim.metadata.labels.get_or_insert_default().extend(selected.clone());
        claim.status = None;
        claim
    };
    claim_templates(set).map(claim).collect()
}

/// Whether a pod's volumes are its claims.
#[must_use]
pub fn volumes_match(set: &StatefulSet, pod: &Pod) -> bool {
    let Some(ordinal) = ordinal_of(pod) else { return false };
    let volumes = || pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    claim_templates(set).all(|template| {
        let volume = volumes().find(|volume| Some(&volume.name) == template.metadata.name.as_ref());
        let claim = volume.and_then(|volume| volume.persistent_volume_claim.as_ref());
        claim.is_some_and(|claim| claim.claim_name == claim_name(set, template, ordinal))
    })
}

/// Writes a pod's claims into its volumes, in place of others with the same names.
pub fn write_volumes(set: &StatefulSet, pod: &mut Pod) {
    let Some(ordinal) = ordinal_of(pod) else { return };
    let mut volumes: Vec<Volume> = claim_templates(set)
        .map(|template| Volume {
            name: template.metadata.name.clone().unwrap_or_default(),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: claim_name(set, template, ordinal),
                read_only: None,
            }),
            ..Volume::default()
        })
        .collect();
    let spec = pod.spec.get_or_insert_default();
    let others = spec.volumes.take().unwrap_or_default();
    let kept = others.into_iter().filter(|other| volumes.iter().all(|volume| volume.name != other.name));
    let kept: Vec<Volume> = kept.collect();
    volumes.extend(kept);
    spec.volumes = (!volumes.is_empty()).then_some(volumes);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set() -> StatefulSet {
        serde_json::from_value(json!({
            "metadata": {"name": "db", "namespace": "shop", "uid": "u"},
            "spec": {
                "replicas": 3, "serviceName": "heads", "ordinals": {"start": 2},
                "selector": {"matchLabels": {"app": "db"}},
                "template": {
                    "metadata": {"labels": {"app": "db"}},
                    "spec": {"containers": [{"name": "main"}], "volumes": [
                        {"name": "data", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}]},
                },
                "volumeClaimTemplates": [{"metadata": {"name": "data", "labels": {"disk": "fast"}}}],
            },
        }))
        .unwrap()
    }

    #[test]
    fn an_ordinal_is_what_stands_after_the_last_dash() {
        let table = [
            ("db-0", Some(("db", Some(0)))),
            ("my-db-12", Some(("my-db", Some(12)))),
            ("db-99999999999", Some(("db", None))),
            ("db-", None),
            ("db", None),
            ("db-1a", None),
        ];
        for (name, wanted) in table {
            assert_eq!(parent_and_ordinal(name), wanted, "{name}");
        }
    }

    #[test]
    fn ordinals_begin_where_the_set_says() {
        let set = set();
        let slots: Vec<_> = (1..6).map(|ordinal| slot_of(&set, ordinal)).collect();
        assert_eq!(slots, [None, Some(0), Some(1), Some(2), None]);
    }

    #[test]
    fn a_new_pod_knows_who_it_is_and_has_its_claims() {
        let set = set();
        let template = &set.spec.as_ref().unwrap().template;
        let pod = new_pod(&set, template, 2, "db-rev");
        assert!(matches(&set, &pod) && volumes_match(&set, &pod) && is_member(&set, &pod));
        let labels = pods::labels(&pod.metadata);
        assert_eq!((labels[POD_NAME].as_str(), labels[POD_INDEX].as_str(), revision_of(&pod)), ("db-2", "2", "db-rev"));
        let spec = pod.spec.as_ref().unwrap();
        assert_eq!((spec.hostname.as_deref(), spec.subdomain.as_deref()), (Some("db-2"), Some("heads")));
        let volumes: Vec<&str> = spec.volumes.iter().flatten().map(|volume| volume.name.as_str()).collect();
        assert_eq!(volumes, ["data", "tmp"]);
        let claim = &claims(&set, 2)[0];
        assert_eq!(claim.metadata.name.as_deref(), Some("data-db-2"));
        assert_eq!(serde_json::to_value(&claim.metadata.labels).unwrap(), json!({"app": "db", "disk": "fast"}));
    }

    #[test]
    fn a_pod_without_its_label_or_claim_does_not_match() {
        let set = set();
        let mut pod = new_pod(&set, &set.spec.as_ref().unwrap().template, 2, "db-rev");
        pod.metadata.labels.as_mut().unwrap().remove(POD_NAME);
        pod.spec.as_mut().unwrap().volumes.as_mut().unwrap()[0].persistent_volume_claim = None;
        assert!(!matches(&set, &pod) && !volumes_match(&set, &pod));
        write(&set, &mut pod);
        write_volumes(&set, &mut pod);
        assert!(matches(&set, &pod) && volumes_match(&set, &pod));
    }
}
