//! The types of the served kinds, by what is unusual about merging them (see `schema.rs`).
//!
//! Sources: k/staging/src/k8s.io/api/{core/v1,apps/v1,batch/v1,policy/v1,autoscaling/v2}/types.go and
//! apimachinery/pkg/apis/meta/v1/types.go, v0.34.4: the tags `patchStrategy` and `patchMergeKey`, the markers
//! `+listType`, `+listMapKey`, `+mapType` and `+structType`.

use super::schema::{Field, Key, Type, key};

/// A type with nothing unusual.
pub(super) static PLAIN: Type = Type { atomic: false, fields: &[] };

/// A type that is one value.
pub(super) static ATOMIC: Type = Type { atomic: true, fields: &[] };

const fn with(fields: &'static [Field]) -> Type {
    Type { atomic: false, fields }
}

static NAME: [Key; 1] = [key("name")];
static TYPE: [Key; 1] = [key("type")];
static IP: [Key; 1] = [key("ip")];

static META: Type = with(&[
    Field::map("labels"),
    Field::map("annotations"),
    Field::set("finalizers").merged_by(""),
    Field::keyed("ownerReferences", &[key("uid")], &ATOMIC).merged_by("uid"),
]);

const METADATA: Field = Field::always("metadata", &META);
const CONDITIONS: Field = Field::keyed("conditions", &TYPE, &PLAIN).merged_by("type");
const SELECTOR: Field = Field::atomic("selector");
const TEMPLATE: Field = Field::always("template", &POD_TEMPLATE);

static STATUS: Type = with(&[CONDITIONS]);

static RESOURCES: Type = with(&[Field::map("limits"), Field::map("requests"), Field::keyed("claims", &NAME, &PLAIN)]);

static VALUE_FROM: Type = with(&[
    Field::atomic("configMapKeyRef"),
    Field::atomic("fieldRef"),
    Field::atomic("fileKeyRef"),
    Field::atomic("resourceFieldRef"),
    Field::atomic("secretKeyRef"),
]);

static ENV: Type = with(&[Field::one("valueFrom", &VALUE_FROM)]);

static CONTAINER_PORT_KEYS: [Key; 2] = [key("containerPort"), Key { name: "protocol", default: Some("TCP") }];

static CONTAINER: Type = with(&[
    Field::keyed("env", &NAME, &ENV).merged_by("name"),
    Field::keyed("ports", &CONTAINER_PORT_KEYS, &PLAIN).merged_by("containerPort"),
    Field::one("resources", &RESOURCES),
    Field::keyed("volumeDevices", &[key("devicePath")], &PLAIN).merged_by("devicePath"),
    Field::keyed("volumeMounts", &[key("mountPath")], &PLAIN).merged_by("mountPath"),
]);

static CLAIM_RESOURCES: Type = with(&[Field::map("limits"), Field::map("requests")]);

static CLAIM_SPEC: Type = with(&[SELECTOR, Field::always("resources", &CLAIM_RESOURCES), Field::atomic("dataSource")]);

static CLAIM_TEMPLATE: Type = with(&[METADATA, Field::always("spec", &CLAIM_SPEC)]);

static EPHEMERAL: Type = with(&[Field::one("volumeClaimTemplate", &CLAIM_TEMPLATE)]);

/// A volume's source that refers to a secret or has attributes of its own.
static SOURCE: Type = with(&[
    Field::atomic("secretRef"),
    Field::atomic("nodePublishSecretRef"),
    Field::map("volumeAttributes"),
    Field::map("options"),
]);

static VOLUME: Type = with(&[
    Field::one("cephfs", &SOURCE),
    Field::one("cinder", &SOURCE),
    Field::one("csi", &SOURCE),
    Field::one("ephemeral", &EPHEMERAL),
    Field::one("flexVolume", &SOURCE),
    Field::one("iscsi", &SOURCE),
    Field::one("rbd", &SOURCE),
    Field::one("scaleIO", &SOURCE),
    Field::one("storageos", &SOURCE),
]);

static NODE_AFFINITY: Type = with(&[Field::atomic("requiredDuringSchedulingIgnoredDuringExecution")]);

static AFFINITY: Type = with(&[Field::one("nodeAffinity", &NODE_AFFINITY)]);

static SPREAD: Type = with(&[Field::atomic("labelSelector")]);

static POD_SPEC: Type = with(&[
    Field::one("affinity", &AFFINITY),
    Field::keyed("containers", &NAME, &CONTAINER).merged_by("name"),
    Field::keyed("ephemeralContainers", &NAME, &CONTAINER).merged_by("name"),
    Field::keyed("hostAliases", &IP, &PLAIN).merged_by("ip"),
    Field::keyed("imagePullSecrets", &[Key { name: "name", default: Some("") }], &ATOMIC).merged_by("name"),
    Field::keyed("initContainers", &NAME, &CONTAINER).merged_by("name"),
    Field::atomic("nodeSelector"),
    Field::map("overhead"),
    Field::keyed("resourceClaims", &NAME, &PLAIN).merged_by("name"),
    Field::one("resources", &RESOURCES),
    Field::keyed("schedulingGates", &NAME, &PLAIN).merged_by("name"),
    Field::keyed("topologySpreadConstraints", &[key("topologyKey"), key("whenUnsatisfiable")], &SPREAD)
        .merged_by("topologyKey"),
    Field::keyed("volumes", &NAME, &VOLUME).merged_by("name"),
]);

static POD_TEMPLATE: Type = with(&[METADATA, Field::always("spec", &POD_SPEC)]);

/// Merged by patches, but one value for apply.
static POD_STATUS: Type = with(&[
    CONDITIONS,
    Field::one("hostIPs", &PLAIN).merged_by("ip"),
    Field::keyed("podIPs", &IP, &PLAIN).merged_by("ip"),
    Field::keyed("resourceClaimStatuses", &NAME, &PLAIN).merged_by("name"),
]);

static POD: Type = with(&[METADATA, Field::always("spec", &POD_SPEC), Field::always("status", &POD_STATUS)]);

static CONFIG_MAP: Type = with(&[METADATA, Field::map("data"), Field::map("binaryData")]);

static SECRET: Type = with(&[METADATA, Field::map("data"), Field::map("stringData")]);

static SERVICE_ACCOUNT: Type = with(&[METADATA, Field::keyed("secrets", &NAME, &ATOMIC).merged_by("name")]);

static EVENT: Type = with(&[
    METADATA,
    Field { always: true, ..Field::atomic("involvedObject") },
    Field::atomic("related"),
    Field::always("source", &PLAIN),
]);

static NAMESPACE: Type = with(&[METADATA, Field::always("spec", &PLAIN), Field::always("status", &STATUS)]);

static NODE_SPEC: Type = with(&[Field::set("podCIDRs").merged_by("")]);

static NODE_ENDPOINTS: Type = with(&[Field::always("kubeletEndpoint", &PLAIN)]);

static NODE_STATUS: Type = with(&[
    Field::keyed("addresses", &TYPE, &PLAIN).merged_by("type"),
    Field::map("allocatable"),
    Field::map("capacity"),
    CONDITIONS,
    Field::always("daemonEndpoints", &NODE_ENDPOINTS),
    Field::always("nodeInfo", &PLAIN),
]);

static NODE: Type = with(&[METADATA, Field::always("spec", &NODE_SPEC), Field::always("status", &NODE_STATUS)]);

static CLAIM_STATUS: Type = with(&[
    Field::map("allocatedResourceStatuses"),
    Field::map("allocatedResources"),
    Field::map("capacity"),
    CONDITIONS,
]);

static CLAIM: Type = with(&[METADATA, Field::always("spec", &CLAIM_SPEC), Field::always("status", &CLAIM_STATUS)]);

static SERVICE_PORT_KEYS: [Key; 2] = [key("port"), Key { name: "protocol", default: Some("TCP") }];

static SERVICE_SPEC: Type = with(&[Field::keyed("ports", &SERVICE_PORT_KEYS, &PLAIN).merged_by("port"), SELECTOR]);

static SERVICE_STATUS: Type = with(&[CONDITIONS, Field::always("loadBalancer", &PLAIN)]);

static SERVICE: Type =
    with(&[METADATA, Field::always("spec", &SERVICE_SPEC), Field::always("status", &SERVICE_STATUS)]);

static DEPLOYMENT_SPEC: Type = with(&[SELECTOR, Field::always("strategy", &PLAIN), TEMPLATE]);

static DEPLOYMENT: Type = with(&[METADATA, Field::always("spec", &DEPLOYMENT_SPEC), Field::always("status", &STATUS)]);

static REPLICA_SET_SPEC: Type = with(&[SELECTOR, TEMPLATE]);

static REPLICA_SET: Type =
    with(&[METADATA, Field::always("spec", &REPLICA_SET_SPEC), Field::always("status", &STATUS)]);

/// The spec of a `StatefulSet` and of a `DaemonSet`.
static SET_SPEC: Type = with(&[SELECTOR, TEMPLATE, Field::always("updateStrategy", &PLAIN)]);

static SET: Type = with(&[METADATA, Field::always("spec", &SET_SPEC), Field::always("status", &STATUS)]);

static UNCOUNTED: Type = with(&[Field::set("succeeded"), Field::set("failed")]);

/// A Job's conditions are merged by patches, but one value for apply.
static JOB_STATUS: Type =
    with(&[Field::one("conditions", &PLAIN).merged_by("type"), Field::one("uncountedTerminatedPods", &UNCOUNTED)]);

static JOB: Type = with(&[METADATA, Field::always("spec", &REPLICA_SET_SPEC), Field::always("status", &JOB_STATUS)]);

static AUTOSCALER_SPEC: Type = with(&[Field::always("scaleTargetRef", &PLAIN)]);

static AUTOSCALER: Type = with(&[METADATA, Field::always("spec", &AUTOSCALER_SPEC), Field::always("status", &STATUS)]);

static BUDGET_SPEC: Type = with(&[SELECTOR.replaced()]);

static BUDGET_STATUS: Type = with(&[CONDITIONS, Field::map("disruptedPods")]);

static BUDGET: Type = with(&[METADATA, Field::always("spec", &BUDGET_SPEC), Field::always("status", &BUDGET_STATUS)]);

static LEASE: Type = with(&[METADATA, Field::always("spec", &PLAIN)]);

static OTHER: Type = with(&[METADATA]);

/// The type of a kind. `Endpoints`, `EndpointSlice` and `ControllerRevision` have nothing of their own.
pub(super) fn of_kind(kind: &str) -> &'static Type {
    match kind {
        "ConfigMap" => &CONFIG_MAP,
        "Event" => &EVENT,
        "Namespace" => &NAMESPACE,
        "Node" => &NODE,
        "PersistentVolumeClaim" => &CLAIM,
        "Pod" => &POD,
        "Secret" => &SECRET,
        "ServiceAccount" => &SERVICE_ACCOUNT,
        "Service" => &SERVICE,
        "DaemonSet" | "StatefulSet" => &SET,
        "Deployment" => &DEPLOYMENT,
        "ReplicaSet" => &REPLICA_SET,
        "HorizontalPodAutoscaler" => &AUTOSCALER,
        "Job" => &JOB,
        "Lease" => &LEASE,
        "PodDisruptionBudget" => &BUDGET,
        _ => &OTHER,
    }
}
