//! The experiment file as types: what may be written, in the order things happen.
//!
//! Nothing here reads or checks: `read` turns text into these types and collects every problem with its place,
//! `validate` holds them against each other. The JSON Schema under `schema/` is generated from this file.

use std::{collections::BTreeMap, num::NonZeroU32};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    guards::{AbortWhen, Guards},
    traffic::{LaneStream, LaneTls, Protocol, RateShape},
    units::{Percent, Rate, Span, WorkloadRef},
};

/// Labels that must all be equal, as in `matchLabels`.
pub type Labels = BTreeMap<String, String>;

/// The only `apiVersion` there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApiVersion {
    /// The first version of the format.
    #[serde(rename = "evenkeel/v1")]
    V1,
}

/// The only `kind` there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Kind {
    /// What happens, under which load, and what must hold.
    Experiment,
}

/// One experiment: what happens to a service, under which load, and what must hold meanwhile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Experiment {
    /// The version of this format.
    pub api_version: ApiVersion,
    /// What this document is.
    pub kind: Kind,
    /// Its name and its place among the scenarios.
    pub metadata: Metadata,
    /// What happens, in the order it happens.
    pub spec: Spec,
}

/// What the experiment is called and where it can run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// A name of its own: lower-case letters, digits and `-`. It names the folder of the record.
    pub name: String,
    /// The id of the scenario that it tests, such as `B1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenario: Option<String>,
    /// The clusters it is written for.
    #[serde(default, rename = "where")]
    pub runs_on: RunsOn,
    /// In a known-bad twin: the name of the experiment that it differs from by one setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub twin_of: Option<String>,
}

/// The clusters an experiment is written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RunsOn {
    /// Only the embedded sandbox.
    Sandbox,
    /// Only a kind cluster: it needs the container engine.
    Kind,
    /// Any cluster.
    #[default]
    Any,
}

/// What happens, in the order it happens: given, load, steps, expect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// What stands before the first request: the namespace, what is applied to it, what must be ready.
    pub given: Given,
    /// The lanes of load, all of them at once. At least one.
    #[schemars(length(min = 1))]
    pub load: Vec<Lane>,
    /// From how many agent pods the lanes with `from: inside` are sent: each sends an equal share of each, and together
    /// they send what one would. In the sandbox evenkeel sends them itself.
    #[serde(default = "one_agent", skip_serializing_if = "is_one")]
    #[schemars(range(min = 1, max = 32))]
    pub agents: NonZeroU32,
    /// How long the load runs before the first step and after the last undo.
    #[serde(default)]
    pub phases: Phases,
    /// What the run must not do, whatever its steps pick.
    #[serde(default, skip_serializing_if = "Guards::is_default")]
    pub guards: Guards,
    /// Conditions on which the run stops at once and undoes everything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub abort: Vec<AbortWhen>,
    /// The faults and waits, one after another. At least one.
    #[schemars(length(min = 1))]
    pub steps: Vec<Step>,
    /// What must hold. At least one.
    #[schemars(length(min = 1))]
    pub expect: Vec<Expectation>,
}

impl Spec {
    /// The lane of a name.
    #[must_use]
    pub fn lane(&self, name: &str) -> Option<&Lane> {
        self.load.iter().find(|lane| lane.name == name)
    }

    /// From how long after it was due on an answer is slow in a lane: the smallest bound on the response time that is
    /// about the lane; else [`SLOW`].
    #[must_use]
    pub fn slow(&self, lane: &Lane) -> Span {
        let bounds = self.expect.iter().filter_map(|expectation| match expectation {
            Expectation::Latency(expect) => Some(expect),
            _ => None,
        });
        let about = bounds.filter(|expect| expect.lane.as_ref().map_or(!lane.control, |name| *name == lane.name));
        about.map(|expect| expect.at_most).min_by_key(|bound| bound.micros()).unwrap_or(SLOW)
    }
}

/// An answer is slow from so long on where the experiment bounds nothing: Linux sends the first packet of a connection
/// again after this time when nothing has come back (`TCP_TIMEOUT_INIT`; RFC 6298, section 2).
pub const SLOW: Span = Span::from_millis(1_000);

const fn one_agent() -> NonZeroU32 {
    NonZeroU32::MIN
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_one(agents: &NonZeroU32) -> bool {
    *agents == one_agent()
}

/// What stands before the first request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Given {
    /// The namespace of the service. With `apply` it is created and removed again, and must not exist yet;
    /// without, it must exist.
    pub namespace: String,
    /// Kubernetes objects to apply, in order. Their namespace is `namespace`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<serde_json::Map<String, serde_json::Value>>")]
    pub apply: Vec<serde_json::Value>,
    /// The workloads that must be rolled out and ready before load begins. At least one.
    #[schemars(length(min = 1))]
    pub ready: Vec<WorkloadRef>,
    /// How long that may take.
    #[serde(default = "default_ready_within")]
    pub within: Span,
    /// The sandbox that is made for this experiment; other clusters are as they are.
    #[serde(default, skip_serializing_if = "SandboxShape::is_default")]
    pub sandbox: SandboxShape,
}

/// What the sandbox of an experiment is like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SandboxShape {
    /// Nodes of the control plane, which run no pods that do not tolerate it.
    #[schemars(range(min = 1, max = 7))]
    pub control_planes: u16,
    /// Nodes that run pods.
    #[schemars(range(min = 1, max = 1000))]
    pub workers: u16,
    /// Zones that the workers are spread over, in turn; without it no node has a zone.
    #[schemars(range(min = 1, max = 100))]
    pub zones: Option<u16>,
    /// Images that run as the sample service, as patterns such as `nginx:*`. Any other image but the sample service's
    /// own cannot be pulled.
    pub stand_ins: Vec<String>,
    /// How long a pod takes to be set up on its node before its first container starts. Real nodes take about a second
    /// for its sandbox and network.
    pub pod_start: Span,
    /// How much longer each new connection from outside takes on its way to a node than it does on this machine.
    pub link_delay: Span,
    /// How likely a first packet of a new connection from outside is lost on its way to a node. Each lost one is sent
    /// again after one second, then after two, and so on, until the lane gives up connecting.
    pub link_loss: Percent,
}

impl SandboxShape {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for SandboxShape {
    fn default() -> Self {
        Self {
            control_planes: 1,
            workers: 3,
            zones: None,
            stand_ins: Vec::new(),
            pod_start: Span::default(),
            link_delay: Span::default(),
            link_loss: Percent::default(),
        }
    }
}

fn default_ready_within() -> Span {
    Span::from_millis(120_000)
}

/// One lane of load: open loop, so a request is due when the rate says so, whatever became of the ones before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Lane {
    /// A name of its own, for expectations and reports.
    pub name: String,
    /// Where the client stands.
    pub from: Vantage,
    /// The Service that is asked.
    pub service: String,
    /// A control: its Service is out of the faults' reach, and nothing is expected of it. What it loses says that the
    /// load generator or the way to the cluster is in trouble: what other lanes of its vantage lose meanwhile is not
    /// held against their Services, and the run is inconclusive.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub control: bool,
    /// The Service's port; may be left out where it has only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// The path of each request, with its query. Where it has `{id}`, each request sends its number there, which must
    /// come back in the body.
    #[serde(default = "default_path")]
    pub path: String,
    /// Requests per second, evenly spaced.
    pub rate: Rate,
    /// How the rate goes over time; the same all the time where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<RateShape>,
    /// How connections are used.
    pub connections: Connections,
    /// With reused connections: how many requests each carries before it is closed and replaced; without a bound where
    /// left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub requests_per_connection: Option<u32>,
    /// With reused connections: how old each may be before it is closed and replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_age: Option<Span>,
    /// What is spoken over its connections.
    #[serde(default, skip_serializing_if = "Protocol::is_default")]
    pub protocol: Protocol,
    /// With `webSocket` the text of each message, with `tcp` of each line (`evenkeel {id}` where left out; `{id}` is the
    /// request's number, and must come back), with `grpc` the base64 of each call's message (empty where left out). In
    /// such a message the number has as many digits as what stands for it is wide, `{id}` or wider such as `{id______}`,
    /// with zeros in front, so that no length in the message changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send: Option<String>,
    /// TLS on its connections; none where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<LaneTls>,
    /// How long a connection may take to be established.
    #[serde(default = "default_connect_timeout")]
    pub connect_timeout: Span,
    /// How long a request may take from its intended send time to the end of its answer, connecting included.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
    /// The status that an answer must have.
    #[serde(default = "default_status")]
    #[schemars(range(min = 200, max = 599))]
    pub status: u16,
    /// Text that the body must contain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_contains: Option<String>,
    /// Bytes that the body must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_length: Option<u64>,
    /// The SHA-256 that the body must have, as 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[0-9a-fA-F]{64}$"))]
    pub body_sha256: Option<String>,
    /// Each answer is a stream that does not end by itself, over HTTP/1.1 and a new connection for each. It is good when
    /// its head has the status asked for within `timeout`, and for so long no gap between its pieces is longer than
    /// `idle`. Its response time is that of its head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<LaneStream>,
}

fn default_path() -> String {
    "/".to_owned()
}

fn default_connect_timeout() -> Span {
    Span::from_millis(1_000)
}

fn default_timeout() -> Span {
    Span::from_millis(2_000)
}

fn default_status() -> u16 {
    200
}

/// Where the client of a lane stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Vantage {
    /// Here, through the Service's `NodePort` on 127.0.0.1 (kind publishes it with `extraPortMappings`).
    Outside,
    /// In an agent pod of the cluster, at the Service's own address.
    Inside,
}

/// How a lane uses connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Connections {
    /// A new connection for each request.
    New,
    /// So many connections are kept open; a request takes the one that has been idle longest, and one that was
    /// closed is replaced. When all are busy a further one is opened, and kept for a second after one was last needed.
    Reused(#[schemars(range(min = 1))] u16),
}

/// How long the load runs around the steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Phases {
    /// Load before the first step; a service that loses requests here gives no verdict.
    pub before: Span,
    /// Load after the last undo.
    pub after: Span,
}

impl Default for Phases {
    fn default() -> Self {
        Self { before: Span::from_millis(5_000), after: Span::from_millis(5_000) }
    }
}

/// One thing that is done or waited for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    /// Drain nodes as `kubectl drain` does: cordon all, then evict every pod of a node at once and wait.
    Drain(Drain),
    /// Mark nodes unschedulable.
    Cordon(Cordon),
    /// Mark nodes schedulable again.
    Uncordon(Cordon),
    /// Delete pods.
    DeletePods(DeletePods),
    /// Change a workload's pod template, and so roll it.
    RollingUpdate(RollingUpdate),
    /// Set a workload's number of replicas.
    Scale(Scale),
    /// Wait for a time or for a condition.
    Wait(Wait),
    /// Steps that start together; done when all are done.
    Parallel(#[schemars(length(min = 2))] Vec<Step>),
    /// Steps one after another, for use inside `parallel`.
    Sequence(#[schemars(length(min = 1))] Vec<Step>),
}

/// `kubectl drain`, with its options and their defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Drain {
    /// A name for expectations and reports; the verb where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The nodes.
    pub nodes: NodePick,
    /// Several nodes: one after another, as one `kubectl drain` does, or at once, as several do.
    #[serde(default)]
    pub order: DrainOrder,
    /// Leave the pods of `DaemonSets` where they are; without it they make the drain fail.
    #[serde(default)]
    pub ignore_daemonsets: bool,
    /// Go on although pods use `emptyDir` volumes, whose data is lost.
    #[serde(default)]
    pub delete_emptydir_data: bool,
    /// Go on although pods have no controller and will not come back.
    #[serde(default)]
    pub force: bool,
    /// Grace period for each pod; its own where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_period: Option<Span>,
    /// Only pods with these labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minProperties" = 1))]
    pub pod_selector: Option<Labels>,
    /// Delete instead of evicting, which no budget can refuse.
    #[serde(default)]
    pub disable_eviction: bool,
    /// How long it may take. kubectl's own default is for ever.
    #[serde(default = "default_drain_timeout")]
    pub timeout: Span,
}

fn default_drain_timeout() -> Span {
    Span::from_millis(300_000)
}

/// How several nodes are drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum DrainOrder {
    /// All cordoned first, then drained one after another.
    #[default]
    InTurn,
    /// All cordoned first, then drained at the same time.
    AtOnce,
}

/// Which nodes: exactly one of `names`, `withPods` and `selector`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodePick {
    /// These nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub names: Option<Vec<String>>,
    /// Nodes that run pods of the namespace with these labels, those with most of them first, then by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minProperties" = 1))]
    pub with_pods: Option<Labels>,
    /// Nodes with these labels, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minProperties" = 1))]
    pub selector: Option<Labels>,
    /// How many of them; all where left out, and always with `names`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub count: Option<u32>,
}

/// Nodes to cordon or uncordon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cordon {
    /// A name for expectations and reports; the verb where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The nodes.
    pub nodes: NodePick,
}

/// Pods to delete, the oldest first, then by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeletePods {
    /// A name for expectations and reports; the verb where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The pods' labels.
    #[schemars(extend("minProperties" = 1))]
    pub selector: Labels,
    /// How many of them; one where left out.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub count: u32,
    /// Grace period; each pod's own where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_period: Option<Span>,
    /// Remove the object at once, as `kubectl delete --force --grace-period=0` does.
    #[serde(default)]
    pub force: bool,
}

fn one() -> u32 {
    1
}

/// A change of a workload's pod template: exactly one of `image`, `env` and `restart`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RollingUpdate {
    /// A name for expectations and reports; the verb where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The workload.
    pub workload: WorkloadRef,
    /// The container that `image` or `env` is about; may be left out where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The new image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Environment variables to set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minProperties" = 1))]
    pub env: Option<BTreeMap<String, String>>,
    /// Restart as `kubectl rollout restart` does: by an annotation with the time.
    #[serde(default)]
    pub restart: bool,
}

/// A workload's number of replicas.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scale {
    /// A name for expectations and reports; the verb where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The workload.
    pub workload: WorkloadRef,
    /// How many replicas it gets.
    pub replicas: u32,
}

/// A wait: exactly one of `time`, `rollout`, `podsReady` and `podsGone`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Wait {
    /// A name for expectations and reports; the verb where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// So long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Span>,
    /// Until the workload is rolled out by kubectl's rule and its old and surplus pods are gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<WorkloadRef>,
    /// Until so many pods are ready, and none that isn't terminating is unready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods_ready: Option<PodCount>,
    /// Until no pod of these labels is terminating any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minProperties" = 1))]
    pub pods_gone: Option<Labels>,
    /// How long a condition may take. Not written where it is the usual time, since it must not stand with `time`.
    #[serde(default = "default_wait_within", skip_serializing_if = "is_default_wait_within")]
    #[schemars(extend("default" = "2m"))]
    pub within: Span,
}

fn default_wait_within() -> Span {
    Span::from_millis(120_000)
}

fn is_default_wait_within(within: &Span) -> bool {
    *within == default_wait_within()
}

/// So many pods with these labels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodCount {
    /// The pods' labels.
    #[schemars(extend("minProperties" = 1))]
    pub selector: Labels,
    /// How many must be ready.
    #[schemars(range(min = 1))]
    pub count: u32,
}

/// One thing that must hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Expectation {
    /// A bound on the requests lost.
    Lost(ExpectLost),
    /// A bound on a percentile of the response time, from the intended send time.
    Latency(ExpectLatency),
    /// A bound on the longest outage.
    Outage(ExpectOutage),
    /// Healthy pods never fall below what each budget asks for.
    Budget(ExpectBudget),
    /// A step finishes in time.
    Finished(ExpectFinished),
    /// After the last step, all given workloads are complete and the last loss has passed in time.
    Recovered(ExpectRecovered),
    /// The judge names this finding.
    Finding(ExpectFinding),
}

/// A bound on lost requests: exactly one of `atMost`, `share` and `bound95`. Fewer than 300 requests are inconclusive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExpectLost {
    /// So many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<u64>,
    /// So large a share of those sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<Percent>,
    /// The loss rate that is not exceeded, at 95 % confidence, by what was measured (Clopper and Pearson, one-sided):
    /// `0.1%` needs 2,995 requests without a loss. Too few requests are inconclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound95: Option<Percent>,
    /// In this lane; in all of them together where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<String>,
    /// In this phase; in the whole run where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
}

/// A bound on a percentile. Inconclusive with fewer than three requests beyond it on average: p99 needs 300, p999
/// 3,000, and `max` 300.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExpectLatency {
    /// The percentile.
    pub percentile: Percentile,
    /// The longest it may be.
    pub at_most: Span,
    /// In this lane; in all of them together where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<String>,
    /// In this phase; in the whole run where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
}

/// The percentiles that are reported and can be bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Percentile {
    /// Half of the requests.
    P50,
    /// 90 of 100.
    P90,
    /// 99 of 100.
    P99,
    /// 999 of 1,000.
    P999,
    /// All of them.
    Max,
}

impl Percentile {
    /// The percentile as a quantile from 0 to 1.
    #[must_use]
    pub const fn quantile(self) -> f64 {
        match self {
            Self::P50 => 0.5,
            Self::P90 => 0.9,
            Self::P99 => 0.99,
            Self::P999 => 0.999,
            Self::Max => 1.0,
        }
    }
}

/// A bound on the longest outage: a stretch of time whose requests are lost. Inconclusive where the requests of a lane
/// lie further apart than the bound. `0s` says that nothing is lost, and needs 300 requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExpectOutage {
    /// The longest it may be.
    pub at_most: Span,
    /// In this lane; in each of them where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<String>,
}

/// Budgets that must never be broken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExpectBudget {
    /// The `PodDisruptionBudget`.
    pub name: String,
}

/// A step that must finish in time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExpectFinished {
    /// The step's name, or its verb where it has none.
    pub step: String,
    /// The longest it may take.
    pub within: Span,
}

/// Recovery in time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExpectRecovered {
    /// The longest it may take from the end of the last step.
    pub within: Span,
}

/// A finding that must be there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExpectFinding {
    /// Its id, such as `prestop-missing`.
    pub id: String,
}

/// The phases of every run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Load, and nothing happens.
    Before,
    /// The steps.
    Fault,
    /// What the steps changed is put back.
    Undo,
    /// Load, and nothing happens any more.
    After,
}

impl Phase {
    /// All phases, in order.
    pub const ALL: [Self; 4] = [Self::Before, Self::Fault, Self::Undo, Self::After];

    /// The word in files and reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::Fault => "fault",
            Self::Undo => "undo",
            Self::After => "after",
        }
    }
}
