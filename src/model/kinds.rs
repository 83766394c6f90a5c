//! The kinds of object that Kubernetes itself serves: the name that each has in URLs and in rights, and whether it
//! lives in a namespace. The API reference of v1.34; a plural is never guessed, since rights are asked for by it.

/// A kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KindFact {
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The kind, such as `Deployment`.
    pub kind: &'static str,
    /// The resource, such as `deployments`.
    pub resource: &'static str,
    /// Whether it lives in a namespace.
    pub namespaced: bool,
}

const fn inside(group: &'static str, kind: &'static str, resource: &'static str) -> KindFact {
    KindFact { group, kind, resource, namespaced: true }
}

const fn cluster_wide(group: &'static str, kind: &'static str, resource: &'static str) -> KindFact {
    KindFact { group, kind, resource, namespaced: false }
}

/// The kinds that are known.
pub const KINDS: &[KindFact] = &[
    inside("", "ConfigMap", "configmaps"),
    inside("", "Endpoints", "endpoints"),
    inside("", "LimitRange", "limitranges"),
    cluster_wide("", "Namespace", "namespaces"),
    cluster_wide("", "Node", "nodes"),
    cluster_wide("", "PersistentVolume", "persistentvolumes"),
    inside("", "PersistentVolumeClaim", "persistentvolumeclaims"),
    inside("", "Pod", "pods"),
    inside("", "PodTemplate", "podtemplates"),
    inside("", "ReplicationController", "replicationcontrollers"),
    inside("", "ResourceQuota", "resourcequotas"),
    inside("", "Secret", "secrets"),
    inside("", "Service", "services"),
    inside("", "ServiceAccount", "serviceaccounts"),
    inside("apps", "ControllerRevision", "controllerrevisions"),
    inside("apps", "DaemonSet", "daemonsets"),
    inside("apps", "Deployment", "deployments"),
    inside("apps", "ReplicaSet", "replicasets"),
    inside("apps", "StatefulSet", "statefulsets"),
    inside("autoscaling", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
    inside("batch", "CronJob", "cronjobs"),
    inside("batch", "Job", "jobs"),
    inside("coordination.k8s.io", "Lease", "leases"),
    inside("discovery.k8s.io", "EndpointSlice", "endpointslices"),
    inside("networking.k8s.io", "Ingress", "ingresses"),
    cluster_wide("networking.k8s.io", "IngressClass", "ingressclasses"),
    inside("networking.k8s.io", "NetworkPolicy", "networkpolicies"),
    inside("policy", "PodDisruptionBudget", "poddisruptionbudgets"),
    cluster_wide("rbac.authorization.k8s.io", "ClusterRole", "clusterroles"),
    cluster_wide("rbac.authorization.k8s.io", "ClusterRoleBinding", "clusterrolebindings"),
    inside("rbac.authorization.k8s.io", "Role", "roles"),
    inside("rbac.authorization.k8s.io", "RoleBinding", "rolebindings"),
    cluster_wide("scheduling.k8s.io", "PriorityClass", "priorityclasses"),
    cluster_wide("storage.k8s.io", "StorageClass", "storageclasses"),
];

/// The group of an `apiVersion`: what stands before the slash, empty in `v1`.
#[must_use]
pub fn group_of(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// The kind of an object by its `apiVersion` and `kind`; nothing for kinds that Kubernetes does not serve itself.
#[must_use]
pub fn find(api_version: &str, kind: &str) -> Option<&'static KindFact> {
    let group = group_of(api_version);
    KINDS.iter().find(|known| known.group == group && known.kind == kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_known_by_its_group_and_not_by_its_name_alone() {
        assert_eq!(find("apps/v1", "Deployment").map(|kind| kind.resource), Some("deployments"));
        assert_eq!(find("v1", "Service").map(|kind| (kind.resource, kind.namespaced)), Some(("services", true)));
        assert_eq!(find("v1", "Namespace").map(|kind| kind.namespaced), Some(false));
        assert_eq!(find("v1", "Deployment"), None);
        assert_eq!(find("serving.knative.dev/v1", "Service"), None);
    }
}
