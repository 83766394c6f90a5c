//! The kinds that the sandbox serves, each with the names that discovery tells (`kubectl api-resources`, v1.34).

/// A served kind.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The version, such as `v1`.
    pub version: &'static str,
    /// The kind, such as `Deployment`.
    pub kind: &'static str,
    /// The resource in URLs, such as `deployments`.
    pub plural: &'static str,
    /// Such as `deployment`.
    pub singular: &'static str,
    /// Such as `deploy`.
    pub short: &'static [&'static str],
    /// Whether it lives in a namespace.
    pub namespaced: bool,
    /// Whether `status` is a subresource: then the main resource ignores it and the subresource everything else.
    pub status: bool,
    /// Whether `scale` is a subresource.
    pub scale: bool,
    /// Whether a change of its spec bumps `metadata.generation`.
    pub generation: bool,
}

impl Kind {
    /// `apiVersion` in objects.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }
}

const PLAIN: Kind = Kind {
    group: "",
    version: "v1",
    kind: "",
    plural: "",
    singular: "",
    short: &[],
    namespaced: true,
    status: false,
    scale: false,
    generation: false,
};

macro_rules! kinds {
    ($($id:ident = $group:literal $version:literal $kind:literal $plural:literal $singular:literal {$($field:ident: $value:expr),*};)*) => {
        $(
            #[doc = concat!("`", $kind, "`.")]
            pub static $id: Kind = Kind {
                group: $group,
                version: $version,
                kind: $kind,
                plural: $plural,
                singular: $singular,
                $($field: $value,)*
                ..PLAIN
            };
        )*
        /// All served kinds, in the order in which discovery lists them.
        pub static ALL: &[&Kind] = &[$(&$id),*];
    };
}

kinds! {
    CONFIG_MAP = "" "v1" "ConfigMap" "configmaps" "configmap" {short: &["cm"]};
    ENDPOINTS = "" "v1" "Endpoints" "endpoints" "endpoints" {short: &["ep"]};
    EVENT = "" "v1" "Event" "events" "event" {short: &["ev"]};
    NAMESPACE = "" "v1" "Namespace" "namespaces" "namespace" {short: &["ns"], namespaced: false, status: true};
    NODE = "" "v1" "Node" "nodes" "node" {short: &["no"], namespaced: false, status: true};
    PERSISTENT_VOLUME_CLAIM = "" "v1" "PersistentVolumeClaim" "persistentvolumeclaims" "persistentvolumeclaim" {short: &["pvc"], status: true};
    POD = "" "v1" "Pod" "pods" "pod" {short: &["po"], status: true, generation: true};
    SECRET = "" "v1" "Secret" "secrets" "secret" {};
    SERVICE_ACCOUNT = "" "v1" "ServiceAccount" "serviceaccounts" "serviceaccount" {short: &["sa"]};
    SERVICE = "" "v1" "Service" "services" "service" {short: &["svc"], status: true};
    CONTROLLER_REVISION = "apps" "v1" "ControllerRevision" "controllerrevisions" "controllerrevision" {};
    DAEMON_SET = "apps" "v1" "DaemonSet" "daemonsets" "daemonset" {short: &["ds"], status: true, generation: true};
    DEPLOYMENT = "apps" "v1" "Deployment" "deployments" "deployment" {short: &["deploy"], status: true, scale: true, generation: true};
    REPLICA_SET = "apps" "v1" "ReplicaSet" "replicasets" "replicaset" {short: &["rs"], status: true, scale: true, generation: true};
    STATEFUL_SET = "apps" "v1" "StatefulSet" "statefulsets" "statefulset" {short: &["sts"], status: true, scale: true, generation: true};
    HORIZONTAL_POD_AUTOSCALER = "autoscaling" "v2" "HorizontalPodAutoscaler" "horizontalpodautoscalers" "horizontalpodautoscaler" {short: &["hpa"], status: true};
    JOB = "batch" "v1" "Job" "jobs" "job" {status: true, generation: true};
    LEASE = "coordination.k8s.io" "v1" "Lease" "leases" "lease" {};
    ENDPOINT_SLICE = "discovery.k8s.io" "v1" "EndpointSlice" "endpointslices" "endpointslice" {generation: true};
    POD_DISRUPTION_BUDGET = "policy" "v1" "PodDisruptionBudget" "poddisruptionbudgets" "poddisruptionbudget" {short: &["pdb"], status: true, generation: true};
}

/// The kind of a resource in a URL.
#[must_use]
pub fn by_plural(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    ALL.iter().copied().find(|kind| kind.group == group && kind.version == version && kind.plural == plural)
}

/// The kind of an object.
#[must_use]
pub fn by_kind(api_version: &str, kind: &str) -> Option<&'static Kind> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    ALL.iter().copied().find(|known| known.group == group && known.version == version && known.kind == kind)
}
