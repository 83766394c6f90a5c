//! What is recorded of a run: one versioned list of events on one clock, as lines of JSON.
//!
//! Facts only: what was seen, when, and by whom. Percentages and opinions are made from it by `judge`.
//! Times are microseconds since the run began, on the harness's own monotonic clock; what happened before that is
//! negative. Times that a cluster stated (they have whole seconds) stay as it stated them, in fields of their own.

use std::{collections::BTreeMap, net::SocketAddr};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

pub use super::slow::SlowRequest;
use crate::experiment::schema::{Labels, Phase};

/// The version of this format; a reader refuses another.
pub const FORMAT: u32 = 1;

/// Microseconds since the run began.
pub type Micros = i64;

/// One line of `events.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When the harness saw it.
    pub at_us: Micros,
    /// What it saw.
    #[serde(flatten)]
    pub what: What,
}

/// What was seen.
///
/// What is large and rare is boxed: of intervals a long record has tens of thousands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    /// The first line: what runs, where, and since when by the calendar.
    Started(Started),
    /// A phase begins; the one before it ends.
    Phase {
        /// The phase that begins.
        phase: Phase,
    },
    /// A step changes its state.
    Step(StepChange),
    /// An undo changes its state.
    Undo(UndoChange),
    /// A pod as it was seen, whole, at each change.
    Pod(Box<PodSeen>),
    /// A Service's endpoint, at each change.
    Endpoint(EndpointSeen),
    /// A `PodDisruptionBudget`, at each change.
    Budget(BudgetSeen),
    /// A node, at each change that matters.
    Node(NodeSeen),
    /// A workload or a `ReplicaSet`, at each change.
    Workload(WorkloadSeen),
    /// An Event object of the cluster.
    KubeEvent(KubeEventSeen),
    /// One eviction request and its answer.
    Eviction(EvictionSeen),
    /// A lane's requests that fell due in one interval of 100 ms; the histogram is in `load.hlog`.
    Load(LaneInterval),
    /// One request that was lost.
    Lost(Box<LostRequest>),
    /// One request that was answered as asked for, and late.
    Slow(Box<SlowRequest>),
    /// Something that makes the measurement doubtful, or that a reader should know.
    Note(Note),
    /// The last line.
    Ended(Ended),
}

/// What runs, and where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Started {
    /// [`FORMAT`].
    pub format: u32,
    /// evenkeel's version.
    pub version: String,
    /// The experiment's name.
    pub experiment: String,
    /// The cluster as `--on` names it, such as `kind:NAME`.
    pub on: String,
    /// The API server's version.
    pub server_version: String,
    /// The calendar time, RFC 3339, at `at_us` 0.
    pub wall_clock: String,
}

/// How a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// It begins to act.
    Begun,
    /// What it set out to do has been seen in the cluster: the injection receipt.
    Effective,
    /// It has finished.
    Done,
    /// It could not be done; the run is broken off.
    Failed,
    /// It was broken off by an abort.
    Aborted,
}

/// A step changes its state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepChange {
    /// Its place in the file, such as `1` or `2.1`.
    pub path: String,
    /// Its name, or its verb.
    pub name: String,
    /// How it stands now.
    pub state: StepState,
    /// What was done to what, with names: for people.
    pub detail: String,
    /// The objects that it acts on, as `kind/name`; nodes and pods by their bare kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
}

/// How an undo stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UndoState {
    /// Known, before the act.
    Registered,
    /// Done and seen to be as it was before.
    Verified,
    /// Could not be done, or the cluster is not as it was.
    Failed,
}

/// An undo changes its state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UndoChange {
    /// What it puts back, such as `uncordon node/worker2`.
    pub action: String,
    /// How it stands now.
    pub state: UndoState,
    /// With `failed`: why, and what to do by hand.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// What a pod's container does before SIGTERM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PreStop {
    /// The kubelet sleeps for so many milliseconds.
    Sleep(u64),
    /// A command is run: its words joined by spaces.
    Exec(String),
    /// An HTTP request is made.
    Http,
}

/// A pod, whole, as one watch event told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PodSeen {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
    /// Its controller as `kind/name` in lower case, such as `replicaset/shop-7d9f`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The node it is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// Its phase: `Pending`, `Running`, `Succeeded`, `Failed`, `Unknown`.
    pub phase: String,
    /// Condition Ready.
    pub ready: bool,
    /// It has a `deletionTimestamp`.
    pub terminating: bool,
    /// The grace period of its deletion, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_seconds: Option<i64>,
    /// The reason of its condition `DisruptionTarget`, such as `EvictionByEvictionAPI`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disruption_reason: Option<String>,
    /// Why it cannot be scheduled, where that is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unschedulable: Option<String>,
    /// The object is gone: this is its last line.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
    /// `terminationGracePeriodSeconds` of its spec.
    pub spec_grace_seconds: i64,
    /// Its main container has a readiness probe.
    pub has_readiness_probe: bool,
    /// Its main container has a liveness probe.
    pub has_liveness_probe: bool,
    /// Its main container's preStop hook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_stop: Option<PreStop>,
    /// Its main (first) container's name; empty in records from before it was kept.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub container_name: String,
    /// The first port that its main container declares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Its main container's image.
    pub image: String,
    /// Restarts of its main container.
    pub restarts: i32,
    /// How its main container ended before its latest start, where it was restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<LastExit>,
    /// How its main container stands.
    pub container: ContainerSeen,
}

/// How a container ended before it was started again. Between two looks of a watch a restart can come and go, and only
/// this is left of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastExit {
    /// Its exit code; 137 is SIGKILL, 143 is SIGTERM.
    pub exit_code: i32,
    /// Why, such as `Error`, `OOMKilled`.
    pub reason: String,
}

/// How a container stands. Calendar times are the cluster's, RFC 3339.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ContainerSeen {
    /// Not started.
    #[default]
    None,
    /// Waiting, such as `ContainerCreating`, `ImagePullBackOff`, `CrashLoopBackOff`.
    Waiting {
        /// Why.
        reason: String,
    },
    /// Running.
    Running {
        /// Since when.
        started_at: String,
    },
    /// Ended.
    Terminated {
        /// Its exit code; 137 is SIGKILL, 143 is SIGTERM.
        exit_code: i32,
        /// Why, such as `Completed`, `Error`, `OOMKilled`.
        reason: String,
        /// Since when it ran.
        started_at: String,
        /// When it ended.
        finished_at: String,
    },
}

/// One endpoint of one Service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EndpointSeen {
    /// The Service.
    pub service: String,
    /// The pod behind it; its address where it has no target.
    pub pod: String,
    /// Its address.
    pub address: String,
    /// Condition ready: gets new connections.
    pub ready: bool,
    /// Condition serving: the pod is ready, terminating or not.
    pub serving: bool,
    /// Condition terminating: the pod is being deleted.
    pub terminating: bool,
    /// The endpoint is no longer listed: this is its last line.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
}

/// A budget's status.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BudgetSeen {
    /// Its name.
    pub name: String,
    /// The labels it selects; empty selects every pod of the namespace.
    pub selector: Labels,
    /// Healthy pods now.
    pub current_healthy: i32,
    /// Healthy pods that must stay.
    pub desired_healthy: i32,
    /// Evictions that would be allowed now.
    pub disruptions_allowed: i32,
    /// Pods counted.
    pub expected_pods: i32,
    /// The controller has seen the newest spec: the counts above are about it.
    pub observed: bool,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeSeen {
    /// Its name.
    pub name: String,
    /// Condition Ready is True.
    pub ready: bool,
    /// It is cordoned.
    pub unschedulable: bool,
    /// Its taints as `key:effect`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taints: Vec<String>,
    /// Its zone, from `topology.kubernetes.io/zone`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The object is gone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
}

/// A workload's or `ReplicaSet`'s counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkloadSeen {
    /// `deployment/shop`, `replicaset/shop-7d9f`, `statefulset/store`.
    pub workload: String,
    /// Replicas asked for.
    pub wanted: i32,
    /// Replicas that exist and aren't terminating.
    pub replicas: i32,
    /// Replicas of the newest template.
    pub updated: i32,
    /// Ready replicas.
    pub ready: i32,
    /// Replicas ready for `minReadySeconds`.
    pub available: i32,
    /// `metadata.generation`.
    pub generation: i64,
    /// `status.observedGeneration`.
    pub observed_generation: i64,
    /// The object is gone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
}

/// An Event object of the cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KubeEventSeen {
    /// What it is about, as `kind/name` in lower case.
    pub object: String,
    /// Its reason, such as `Killing`, `Unhealthy`, `FailedPreStopHook`.
    pub reason: String,
    /// Its message, cut at 500 characters.
    pub message: String,
    /// `Normal` or `Warning`.
    pub severity: String,
    /// How often so far.
    pub count: i32,
}

/// What the API server answers to an eviction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum EvictionAnswer {
    /// The pod is being deleted.
    Accepted,
    /// 429: the budget allows none now.
    BudgetExhausted {
        /// The server's words.
        message: String,
    },
    /// 429 with Retry-After: the budget's status is not up to date.
    StillProcessing {
        /// When to ask again, in seconds.
        retry_after_s: u64,
    },
    /// 404: the pod was gone.
    Gone,
    /// 403: the namespace is being removed, and the pod with it.
    NamespaceTerminating,
    /// Anything else, such as the 500 of two budgets over one pod.
    Refused {
        /// The HTTP status.
        code: u16,
        /// The server's words.
        message: String,
    },
}

/// One eviction request and its answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvictionSeen {
    /// The pod, as `namespace/name`.
    pub pod: String,
    /// Its node.
    pub node: String,
    /// The how-manieth request for this pod, from 1.
    pub attempt: u32,
    /// How long the server took, in microseconds.
    pub took_us: i64,
    /// What it answered.
    #[serde(flatten)]
    pub answer: EvictionAnswer,
}

/// What became of a request. Kinds are never merged: each points at something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The answer asked for, whole and in time.
    Ok,
    /// The connection was refused: nothing listens, or no endpoint is ready.
    Refused,
    /// No route: host or network unreachable.
    Unreachable,
    /// No answer to the connection attempt in time: silence, as from an address that is gone.
    ConnectTimeout,
    /// Connected, and no agreement on TLS: an alert, a certificate that is not believed, or the end of the connection.
    TlsFailed,
    /// A new connection was reset or closed before the first byte of an answer.
    ResetBeforeByte,
    /// The answer broke off in its middle.
    CutMidAnswer,
    /// A reused connection was closed under us before the first byte of an answer: the keep-alive race.
    ReusedConnectionClosed,
    /// Connected, but no whole answer in time.
    RequestTimeout,
    /// A status from 500 to 599.
    ServerError,
    /// Another status than the one asked for.
    OtherStatus,
    /// The right status with the wrong body: short, long, or without what it must contain.
    WrongBody,
    /// Not HTTP.
    Malformed,
    /// Never sent, for a reason of ours: out of ports or descriptors, or too many requests open. Not a loss of the
    /// service's; keeps a run from passing.
    NotSent,
}

impl Outcome {
    /// All of them, in order.
    pub const ALL: [Self; 14] = [
        Self::Ok,
        Self::Refused,
        Self::Unreachable,
        Self::ConnectTimeout,
        Self::TlsFailed,
        Self::ResetBeforeByte,
        Self::CutMidAnswer,
        Self::ReusedConnectionClosed,
        Self::RequestTimeout,
        Self::ServerError,
        Self::OtherStatus,
        Self::WrongBody,
        Self::Malformed,
        Self::NotSent,
    ];

    /// Sent, and lost by the service.
    #[must_use]
    pub const fn is_lost(self) -> bool {
        !matches!(self, Self::Ok | Self::NotSent)
    }

    /// The word in files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::ConnectTimeout => "connect_timeout",
            Self::TlsFailed => "tls_failed",
            Self::ResetBeforeByte => "reset_before_byte",
            Self::CutMidAnswer => "cut_mid_answer",
            Self::ReusedConnectionClosed => "reused_connection_closed",
            Self::RequestTimeout => "request_timeout",
            Self::ServerError => "server_error",
            Self::OtherStatus => "other_status",
            Self::WrongBody => "wrong_body",
            Self::Malformed => "malformed",
            Self::NotSent => "not_sent",
        }
    }
}

/// Whether a client may send a lost request again without risk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetrySafe {
    /// Nothing of it reached the service.
    Yes,
    /// Only where doing it twice does no harm (GET, PUT, DELETE).
    Idempotent,
    /// The service may have acted on it, or has answered.
    No,
}

impl RetrySafe {
    /// Whether a client sends such a request again, where requests are idempotent or are not.
    #[must_use]
    pub fn allows_retry(self, is_idempotent: bool) -> bool {
        match self {
            Self::Yes => true,
            Self::Idempotent => is_idempotent,
            Self::No => false,
        }
    }
}

/// The resolution of a record: how long an interval of a lane is, but for the last one, in microseconds.
pub const INTERVAL_US: Micros = 100_000;

/// The requests of one lane that fell due in one interval.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LaneInterval {
    /// The lane.
    pub lane: String,
    /// Start of the interval.
    pub start_us: Micros,
    /// Its length: [`INTERVAL_US`], or less in the last one.
    pub length_us: i64,
    /// Requests by what became of them; their sum is what fell due.
    pub by_outcome: BTreeMap<Outcome, u64>,
    /// Connections opened in it.
    pub connections_opened: u64,
    /// Answers that said `Connection: close`: an orderly goodbye.
    pub closed_politely: u64,
    /// The largest lag of a send behind its intended moment.
    pub send_lag_max_us: i64,
    /// Requests that were answered as asked for, by the pod that named itself (header `x-evenkeel-pod`).
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub by_pod: IndexMap<String, PodAnswers>,
    /// How long the load generator itself stood still while requests of this interval were open.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub stalled_us: i64,
}

impl LaneInterval {
    /// How late the load generator may have been with any of these requests, whether in sending it or in seeing its
    /// answer: what they show may be its own doing.
    #[must_use]
    pub fn own_delay_us(&self) -> i64 {
        self.send_lag_max_us.max(self.stalled_us)
    }

    /// Adds what another generator counted in the same interval of the same lane. Of what is the largest in one, the
    /// larger counts, and the interval lasts as long as the longer of them.
    pub fn add(&mut self, other: &Self) {
        self.length_us = self.length_us.max(other.length_us);
        for (outcome, count) in &other.by_outcome {
            *self.by_outcome.entry(*outcome).or_default() += count;
        }
        self.connections_opened += other.connections_opened;
        self.closed_politely += other.closed_politely;
        self.send_lag_max_us = self.send_lag_max_us.max(other.send_lag_max_us);
        for (pod, answers) in &other.by_pod {
            self.by_pod.entry(pod.clone()).or_default().add(*answers);
        }
        self.stalled_us = self.stalled_us.max(other.stalled_us);
    }

    /// Moves its times by so much, from one clock onto another.
    pub fn shift(&mut self, by_us: Micros) {
        self.start_us += by_us;
        for answers in self.by_pod.values_mut() {
            for at in [&mut answers.first_us, &mut answers.last_us].into_iter().flatten() {
                *at += by_us;
            }
        }
    }
}

/// What one pod answered of the requests of an interval. Records from before there were times have a number only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "PodAnswersForm")]
pub struct PodAnswers {
    /// Requests that it answered as asked for.
    pub answered: u64,
    /// Those of them that were the first on their connection: connections that were new and led to it.
    #[serde(skip_serializing_if = "is_nothing")]
    pub new_connections: u64,
    /// When the first byte of the earliest of them was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_us: Option<Micros>,
    /// When the last byte of the latest answer came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_us: Option<Micros>,
}

impl PodAnswers {
    /// Adds others of the same pod.
    pub fn add(&mut self, other: Self) {
        self.answered = self.answered.saturating_add(other.answered);
        self.new_connections = self.new_connections.saturating_add(other.new_connections);
        self.first_us = self.first_us.into_iter().chain(other.first_us).min();
        self.last_us = self.last_us.max(other.last_us);
    }
}

impl From<u64> for PodAnswers {
    fn from(answered: u64) -> Self {
        Self { answered, ..Self::default() }
    }
}

/// The two forms of [`PodAnswers`] in files.
#[derive(Deserialize)]
#[serde(untagged)]
enum PodAnswersForm {
    Number(u64),
    Whole {
        answered: u64,
        #[serde(default)]
        new_connections: u64,
        #[serde(default)]
        first_us: Option<Micros>,
        #[serde(default)]
        last_us: Option<Micros>,
    },
}

impl From<PodAnswersForm> for PodAnswers {
    fn from(form: PodAnswersForm) -> Self {
        match form {
            PodAnswersForm::Number(answered) => answered.into(),
            PodAnswersForm::Whole { answered, new_connections, first_us, last_us } => {
                Self { answered, new_connections, first_us, last_us }
            }
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_nothing(count: &u64) -> bool {
    *count == 0
}

/// One lost request, with all that the client knows of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LostRequest {
    /// The lane.
    pub lane: String,
    /// What became of it.
    pub outcome: Outcome,
    /// When it was due.
    pub intended_us: Micros,
    /// When connecting, or on a reused connection sending, began.
    pub sent_us: Micros,
    /// When it was given up or found lost.
    pub ended_us: Micros,
    /// Requests that its connection had carried before.
    pub connection_uses: u32,
    /// Age of its connection when it was sent; 0 for a new one.
    pub connection_age_us: i64,
    /// Bytes that were written to its connection for it, as far as the system took them; the connection's own frames
    /// (HTTP/2, WebSocket) count, what TLS adds does not. Older records do not say.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub bytes_out: u64,
    /// Bytes of the answer that had come.
    pub bytes_in: u64,
    /// How far it had come; nothing in records that do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached: Option<Reached>,
    /// Our end of its connection, where one was established.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<SocketAddr>,
    /// The other end of its connection, or where it was to lead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<SocketAddr>,
    /// The status, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The pod at the other end, where an answer on the connection has named it (header `x-evenkeel-pod`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Whether it could be sent again.
    pub retry_safe: RetrySafe,
    /// The error's own words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// How far a request had come when it was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reached {
    /// Its connection was being established: nobody had answered.
    Connecting,
    /// Its connection stood, and TLS was being agreed on.
    Tls,
    /// Its connection stood, perhaps without agreement on what is spoken, and nothing of the request was written.
    Speech,
    /// Some of it, or all, was written.
    Written,
    /// Some of the answer had come.
    Answering,
}

/// What a note is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoteKind {
    /// For the reader.
    Info,
    /// The measurement itself may be at fault from here on: the run cannot pass.
    Taint,
    /// A step or the set-up failed; the run has no verdict.
    Error,
}

/// Something that a reader or the judge should know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Note {
    /// What it is about.
    pub kind: NoteKind,
    /// In words.
    pub text: String,
}

/// How a run came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// All steps were done.
    Completed,
    /// A step failed.
    StepFailed,
    /// The set-up failed.
    SetupFailed,
    /// Ctrl-C or SIGTERM.
    Interrupted,
}

/// The last line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// How it came to its end.
    pub reason: EndReason,
    /// All that was done has been undone, and seen to be.
    pub undo_complete: bool,
}
