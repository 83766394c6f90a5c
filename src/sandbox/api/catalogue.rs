//! The resources of the API: the kinds that are stored, those of which there can be none here, and those that are only
//! asked, such as reviews and metrics. Discovery tells them, rights and routes go by them.

use std::{cmp::Reverse, sync::LazyLock};

use crate::sandbox::kinds::{self, Kind};

/// What stands behind a resource.
#[derive(Debug, Clone, Copy)]
pub(super) enum Backing {
    /// Stored objects.
    Stored(&'static Kind),
    /// Core events, in the form of `events.k8s.io`.
    EventsView,
    /// Autoscalers, in the form of `autoscaling/v1`.
    AutoscalersView,
    /// There can be none in the sandbox: lists are empty, creates are refused.
    Absent,
    /// `SelfSubjectAccessReview` and its like.
    AccessReview,
    /// `SelfSubjectRulesReview`.
    RulesReview,
    /// `SelfSubjectReview`.
    SelfReview,
    /// `metrics.k8s.io`.
    Metrics,
}

/// A resource.
#[derive(Debug, Clone, Copy)]
pub(super) struct Resource {
    /// The API group; empty for the core group.
    pub(super) group: &'static str,
    /// The version.
    pub(super) version: &'static str,
    /// Such as `Deployment`.
    pub(super) kind: &'static str,
    /// Such as `deployments`.
    pub(super) plural: &'static str,
    /// Such as `deployment`.
    pub(super) singular: &'static str,
    /// Such as `deploy`.
    pub(super) short: &'static [&'static str],
    /// Whether it lives in a namespace.
    pub(super) namespaced: bool,
    /// What stands behind it.
    pub(super) backing: Backing,
}

/// A part of a resource's objects that has a path of its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subresource {
    /// Such as `scale`.
    pub(super) name: &'static str,
    /// The group of its kind.
    pub(super) group: &'static str,
    /// The version of its kind.
    pub(super) version: &'static str,
    /// Its kind.
    pub(super) kind: &'static str,
    /// The verbs that it takes.
    pub(super) verbs: &'static [&'static str],
}

const READ: &[&str] = &["get", "list", "watch"];
const ALL_VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const CREATE: &[&str] = &["create"];
const LOOK: &[&str] = &["get", "list"];
const CHANGE: &[&str] = &["get", "patch", "update"];

impl Resource {
    /// `apiVersion` of its objects.
    pub(super) fn api_version(&self) -> String {
        api_version(self.group, self.version)
    }

    /// The verbs that it takes.
    pub(super) fn verbs(&self) -> &'static [&'static str] {
        match self.backing {
            // Namespaces go one by one.
            Backing::Stored(kind) if kind.kind == "Namespace" => NAMESPACE_VERBS,
            Backing::Stored(_) | Backing::EventsView | Backing::AutoscalersView => ALL_VERBS,
            Backing::Absent => READ,
            Backing::AccessReview | Backing::RulesReview | Backing::SelfReview => CREATE,
            Backing::Metrics => LOOK,
        }
    }

    /// The categories that it belongs to, such as `all`.
    pub(super) fn categories(&self) -> &'static [&'static str] {
        const IN_ALL: [&str; 9] = [
            "pods",
            "services",
            "replicationcontrollers",
            "daemonsets",
            "deployments",
            "replicasets",
            "statefulsets",
            "horizontalpodautoscalers",
            "jobs",
        ];
        let stands_for_objects = matches!(self.backing, Backing::Stored(_) | Backing::Absent);
        if stands_for_objects && (IN_ALL.contains(&self.plural) || self.plural == "cronjobs") { &["all"] } else { &[] }
    }

    /// Its subresources.
    pub(super) fn subresources(&self) -> Vec<Subresource> {
        let Backing::Stored(kind) = self.backing else { return Vec::new() };
        let own = |name, verbs| Subresource { name, group: self.group, version: self.version, kind: self.kind, verbs };
        let mut all = Vec::new();
        if kind.status {
            all.push(own("status", CHANGE));
        }
        if kind.scale {
            all.push(Subresource { name: "scale", group: "autoscaling", version: "v1", kind: "Scale", verbs: CHANGE });
        }
        match kind.plural {
            "namespaces" => all.push(own("finalize", &["update"])),
            "pods" => all.extend(POD_PARTS),
            "services" => all.push(PROXY_OF_SERVICES),
            "serviceaccounts" => all.push(TOKEN),
            _ => {}
        }
        all.sort_by_key(|part| part.name);
        all
    }

    /// The kind behind it that is stored, under its own name or another.
    pub(super) const fn behind(&self) -> Option<&'static Kind> {
        match self.backing {
            Backing::Stored(kind) => Some(kind),
            Backing::EventsView => Some(&kinds::EVENT),
            Backing::AutoscalersView => Some(&kinds::HORIZONTAL_POD_AUTOSCALER),
            _ => None,
        }
    }

    /// Whether it is this kind of object that is stored.
    pub(super) const fn stored(&self) -> Option<&'static Kind> {
        match self.backing {
            Backing::Stored(kind) => Some(kind),
            _ => None,
        }
    }
}

const NAMESPACE_VERBS: &[&str] = &["create", "delete", "get", "list", "patch", "update", "watch"];
const PROXIED: &[&str] = &["create", "delete", "get", "patch", "update"];
const TOKEN: Subresource =
    Subresource { name: "token", group: "authentication.k8s.io", version: "v1", kind: "TokenRequest", verbs: CREATE };
const PROXY_OF_SERVICES: Subresource =
    Subresource { name: "proxy", group: "", version: "v1", kind: "ServiceProxyOptions", verbs: PROXIED };
const POD_PARTS: [Subresource; 5] = [
    Subresource { name: "binding", group: "", version: "v1", kind: "Binding", verbs: CREATE },
    Subresource { name: "eviction", group: "policy", version: "v1", kind: "Eviction", verbs: CREATE },
    Subresource { name: "exec", group: "", version: "v1", kind: "PodExecOptions", verbs: &["create", "get"] },
    Subresource { name: "log", group: "", version: "v1", kind: "Pod", verbs: &["get"] },
    Subresource { name: "proxy", group: "", version: "v1", kind: "PodProxyOptions", verbs: PROXIED },
];

#[expect(clippy::too_many_arguments, reason = "a row of the table below, column by column")]
const fn other(
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    singular: &'static str,
    short: &'static [&'static str],
    namespaced: bool,
    backing: Backing,
) -> Resource {
    Resource { group, version, kind, plural, singular, short, namespaced, backing }
}

/// What is served beside stored kinds. The absent ones are those that kubectl's commands list on their way.
#[rustfmt::skip]
const OTHERS: [Resource; 27] = [
    other("", "v1", "LimitRange", "limitranges", "limitrange", &["limits"], true, Backing::Absent),
    other("", "v1", "PersistentVolume", "persistentvolumes", "persistentvolume", &["pv"], false, Backing::Absent),
    other("", "v1", "PodTemplate", "podtemplates", "podtemplate", &[], true, Backing::Absent),
    other("", "v1", "ReplicationController", "replicationcontrollers", "replicationcontroller", &["rc"], true, Backing::Absent),
    other("", "v1", "ResourceQuota", "resourcequotas", "resourcequota", &["quota"], true, Backing::Absent),
    other("events.k8s.io", "v1", "Event", "events", "event", &["ev"], true, Backing::EventsView),
    other("authentication.k8s.io", "v1", "SelfSubjectReview", "selfsubjectreviews", "selfsubjectreview", &[], false, Backing::SelfReview),
    other("authorization.k8s.io", "v1", "LocalSubjectAccessReview", "localsubjectaccessreviews", "localsubjectaccessreview", &[], true, Backing::AccessReview),
    other("authorization.k8s.io", "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", "selfsubjectaccessreview", &[], false, Backing::AccessReview),
    other("authorization.k8s.io", "v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews", "selfsubjectrulesreview", &[], false, Backing::RulesReview),
    other("authorization.k8s.io", "v1", "SubjectAccessReview", "subjectaccessreviews", "subjectaccessreview", &[], false, Backing::AccessReview),
    other("autoscaling", "v1", "HorizontalPodAutoscaler", "horizontalpodautoscalers", "horizontalpodautoscaler", &["hpa"], true, Backing::AutoscalersView),
    other("batch", "v1", "CronJob", "cronjobs", "cronjob", &["cj"], true, Backing::Absent),
    other("networking.k8s.io", "v1", "Ingress", "ingresses", "ingress", &["ing"], true, Backing::Absent),
    other("networking.k8s.io", "v1", "IngressClass", "ingressclasses", "ingressclass", &[], false, Backing::Absent),
    other("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", "networkpolicy", &["netpol"], true, Backing::Absent),
    other("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", "clusterrole", &[], false, Backing::Absent),
    other("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings", "clusterrolebinding", &[], false, Backing::Absent),
    other("rbac.authorization.k8s.io", "v1", "Role", "roles", "role", &[], true, Backing::Absent),
    other("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings", "rolebinding", &[], true, Backing::Absent),
    other("storage.k8s.io", "v1", "CSINode", "csinodes", "csinode", &[], false, Backing::Absent),
    other("storage.k8s.io", "v1", "StorageClass", "storageclasses", "storageclass", &["sc"], false, Backing::Absent),
    other("storage.k8s.io", "v1", "VolumeAttachment", "volumeattachments", "volumeattachment", &[], false, Backing::Absent),
    other("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", "priorityclass", &["pc"], false, Backing::Absent),
    other("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses", "runtimeclass", &[], false, Backing::Absent),
    other("metrics.k8s.io", "v1beta1", "NodeMetrics", "nodes", "", &[], false, Backing::Metrics),
    other("metrics.k8s.io", "v1beta1", "PodMetrics", "pods", "", &[], true, Backing::Metrics),
];

/// The groups in the order in which the real server tells them, by which clients prefer one over another.
const GROUPS: [&str; 16] = [
    "",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
    "metrics.k8s.io",
];

static ALL: LazyLock<Vec<Resource>> = LazyLock::new(|| {
    let stored = kinds::ALL.iter().map(|kind| Resource {
        group: kind.group,
        version: kind.version,
        kind: kind.kind,
        plural: kind.plural,
        singular: kind.singular,
        short: kind.short,
        namespaced: kind.namespaced,
        backing: Backing::Stored(kind),
    });
    // A kind that has come to be stored is no longer absent.
    let others = OTHERS.iter().filter(|other| kinds::by_plural(other.group, other.version, other.plural).is_none());
    let mut all: Vec<Resource> = stored.chain(others.copied()).collect();
    let rank = |group: &str| GROUPS.iter().position(|known| *known == group).unwrap_or(GROUPS.len());
    // Of two versions clients prefer the first.
    all.sort_by_key(|resource| (rank(resource.group), Reverse(resource.version), resource.plural));
    all
});

/// All resources, by group, version and name.
pub(super) fn all() -> &'static [Resource] {
    &ALL
}

/// A resource by its path.
pub(super) fn find(group: &str, version: &str, plural: &str) -> Option<&'static Resource> {
    ALL.iter().find(|known| known.group == group && known.version == version && known.plural == plural)
}

/// The groups that are served, each with its versions, in order.
pub(super) fn groups() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for resource in all() {
        match groups.last_mut() {
            Some((group, versions)) if *group == resource.group => {
                if !versions.contains(&resource.version) {
                    versions.push(resource.version);
                }
            }
            _ => groups.push((resource.group, vec![resource.version])),
        }
    }
    groups
}

/// The resources of a group and version.
pub(super) fn of<'a>(group: &'a str, version: &'a str) -> impl Iterator<Item = &'static Resource> + use<'a> {
    all().iter().filter(move |resource| resource.group == group && resource.version == version)
}

/// `apiVersion` as objects have it.
pub(super) fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}
