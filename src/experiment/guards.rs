//! Guards, which keep a run from more than is meant, and the conditions on which it stops and undoes by itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    schema::Percentile,
    units::{Percent, Span, WorkloadRef},
};

/// What a run must not do, whatever its steps pick. Checked in the plan, and again before each act.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Guards {
    /// At most so many nodes cordoned or drained, all steps together.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_nodes: Option<u32>,
    /// At most so many zones that these nodes are of.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_zones: Option<u32>,
    /// At most so many pods of the namespace deleted or evicted by one step.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_pods: Option<u32>,
    /// Nodes that no step may touch, also by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub protected_nodes: Vec<String>,
    /// Workloads of which a majority of pods must stay: a step that would take more is refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub quorum: Vec<WorkloadRef>,
    /// Let a step delete or evict the last ready pod of a workload in a namespace that the run did not make.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub allow_last_replica: bool,
    /// Let the experiment be about a namespace of Kubernetes' own, such as kube-system.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub allow_system_namespace: bool,
}

impl Guards {
    /// Whether the file says nothing of them.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A condition on which the run stops at once and undoes everything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum AbortWhen {
    /// More than this share of the requests of the last while is lost.
    Lost(AbortLost),
    /// A percentile of the response time of the last while is longer.
    Latency(AbortLatency),
    /// An address does not answer as it should, several times in a row.
    Http(AbortHttp),
    /// A Prometheus query gives more, or less.
    Prometheus(AbortPrometheus),
}

/// A share of lost requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AbortLost {
    /// More than this share.
    pub above: Percent,
    /// In so long a while.
    #[serde(default = "default_over")]
    pub over: Span,
    /// In this lane; in all of them together where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<String>,
}

/// A percentile of the response time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AbortLatency {
    /// The percentile.
    pub percentile: Percentile,
    /// Longer than this.
    pub above: Span,
    /// In so long a while.
    #[serde(default = "default_over")]
    pub over: Span,
    /// In this lane; in all of them together where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<String>,
}

/// An address that must answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AbortHttp {
    /// Its URL, with `http://`.
    pub url: String,
    /// The status that it must answer with.
    #[serde(default = "default_status")]
    #[schemars(range(min = 100, max = 599))]
    pub status: u16,
    /// How often it is asked.
    #[serde(default = "default_every")]
    pub every: Span,
    /// So many wrong answers in a row, or none at all.
    #[serde(default = "default_failures")]
    #[schemars(range(min = 1))]
    pub failures: u32,
}

/// A query whose value must stay within bounds: one of `above` and `below`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AbortPrometheus {
    /// The address of Prometheus, with `http://`.
    pub url: String,
    /// The query, in `PromQL`; of several values each counts.
    pub query: String,
    /// More than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<f64>,
    /// Less than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<f64>,
    /// How often it is asked.
    #[serde(default = "default_every")]
    pub every: Span,
    /// So many failures to ask in a row; a query without an answer tells nothing, and that is a reason to stop too.
    #[serde(default = "default_failures")]
    #[schemars(range(min = 1))]
    pub failures: u32,
}

fn default_over() -> Span {
    Span::from_millis(5_000)
}

fn default_every() -> Span {
    Span::from_millis(1_000)
}

fn default_status() -> u16 {
    200
}

fn default_failures() -> u32 {
    3
}
