//! What the judge says, as `verdict.json` has it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    experiment::schema::{Experiment, Phase},
    record::event::Outcome,
};

/// The four answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// All that was expected held.
    Held,
    /// Something that was expected did not hold.
    Broken,
    /// It cannot be told, and [`Verdict::reasons`] says why.
    Inconclusive,
    /// The run did not come to its end: set-up or a step failed, or it was interrupted.
    Error,
}

impl Answer {
    /// The answer as a word, as `verdict.json` has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Broken => "broken",
            Self::Inconclusive => "inconclusive",
            Self::Error => "error",
        }
    }
}

/// The judgement of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The experiment's name.
    pub experiment: String,
    /// Its scenario.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenario: Option<String>,
    /// The answer.
    pub verdict: Answer,
    /// Why: one sentence each, the most important first. Empty when held.
    pub reasons: Vec<String>,
    /// Requests of all lanes.
    pub requests: Requests,
    /// Response times of all lanes, from the intended send time; lost requests count with the time they took.
    pub latency_ms: Latency,
    /// The same for each lane.
    pub lanes: BTreeMap<String, LaneSummary>,
    /// The same for each phase, all lanes together.
    pub phases: BTreeMap<Phase, PhaseSummary>,
    /// Stretches of time whose requests are lost, in order.
    pub outages: Vec<Outage>,
    /// Stretches of time whose requests prove nothing about the service, in order; at most [`TAINTED_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tainted: Vec<Tainted>,
    /// How many more of them there were.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tainted_more: u64,
    /// How long it took to notice and to get over what was lost, for each lane and phase with a loss.
    #[serde(default)]
    pub recoveries: Vec<Recovery>,
    /// What was measured of each pod.
    #[serde(default)]
    pub pods: Vec<PodClaim>,
    /// What was measured of each budget.
    #[serde(default)]
    pub budgets: Vec<BudgetClaim>,
    /// Requests that were answered as asked for, and late.
    #[serde(default, skip_serializing_if = "SlowSummary::is_empty")]
    pub slow: SlowSummary,
    /// What was expected, and what was measured.
    pub expectations: Vec<Expected>,
    /// What explains the losses or stands out, the weightiest first.
    pub findings: Vec<Finding>,
    /// Steps with their times.
    pub steps: Vec<StepSummary>,
    /// What has been put back.
    pub undo: UndoSummary,
}

impl Verdict {
    /// When requests began to count, in milliseconds since the run began: with the first phase. Before it the load
    /// only waits for the service to be steady. Nothing where the run never came so far.
    #[must_use]
    pub fn counted_from_ms(&self) -> Option<f64> {
        self.phases.values().map(|phase| phase.start_ms).min_by(f64::total_cmp)
    }

    /// The verdict of an experiment of which there is no record, and why.
    #[must_use]
    pub fn not_run(experiment: &Experiment, reason: String) -> Self {
        Self {
            experiment: experiment.metadata.name.clone(),
            scenario: experiment.metadata.scenario.clone(),
            verdict: Answer::Error,
            reasons: vec![reason],
            requests: Requests::default(),
            latency_ms: Latency::default(),
            lanes: BTreeMap::new(),
            phases: BTreeMap::new(),
            outages: Vec::new(),
            tainted: Vec::new(),
            tainted_more: 0,
            recoveries: Vec::new(),
            pods: Vec::new(),
            budgets: Vec::new(),
            slow: SlowSummary::default(),
            expectations: Vec::new(),
            findings: Vec::new(),
            steps: Vec::new(),
            undo: UndoSummary { complete: true, failed: Vec::new() },
        }
    }
}

/// Stretches of time in doubt that a verdict tells one by one.
pub const TAINTED_MAX: usize = 100;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Why the requests of a stretch of time prove nothing about the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaintedBy {
    /// evenkeel itself was late, by more than 100 ms, in sending a request or in seeing its answer.
    OwnDelay,
    /// A note of the run puts the measurement in doubt from some time on.
    Note,
    /// A control lane lost requests at that time.
    Control,
}

impl TaintedBy {
    /// In words, after "in doubt: ".
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::OwnDelay => "evenkeel itself was late",
            Self::Note => "a note of the run says so",
            Self::Control => "a control lane lost requests",
        }
    }
}

/// A stretch of time whose requests prove nothing about the service: what was lost in it is not held against the
/// service, and nothing is held on its word.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tainted {
    /// The lane.
    pub lane: String,
    /// Where its first interval begins, in milliseconds since the run began.
    pub from_ms: f64,
    /// Where its last interval ends.
    pub to_ms: f64,
    /// How late evenkeel may have been with one of its requests, at most, in milliseconds.
    pub delay_ms: f64,
    /// Why.
    pub by: TaintedBy,
}

/// Requests by what became of them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Requests {
    /// Sent: `ok` and `lost`.
    pub sent: u64,
    /// Answered as asked for.
    pub ok: u64,
    /// Sent and lost.
    pub lost: u64,
    /// Lost also to a client that sends again, until its timeout, what is safe to send again. Requests over HTTP
    /// are GET, and safe unless an answer had begun; calls, messages and lines are safe while nothing of them was sent.
    #[serde(default)]
    pub lost_after_retry: u64,
    /// Due, and never sent for a reason of ours.
    pub unsent: u64,
    /// Those of the lost that fell into times at which we were held up or in doubt: they may be our own doing, have no
    /// cause, and are not held against the service.
    #[serde(default)]
    pub lost_tainted: u64,
    /// Lost requests by kind.
    pub by_kind: BTreeMap<Outcome, u64>,
    /// Lost requests by cause: the id of a finding, or `unexplained`.
    pub by_cause: BTreeMap<String, u64>,
    /// The loss rate that is not exceeded, at 95 % (one-sided, Clopper and Pearson; with no loss about 3/n).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_bound_95: Option<f64>,
}

/// Percentiles in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Half of the requests.
    pub p50: f64,
    /// 90 of 100.
    pub p90: f64,
    /// 99 of 100.
    pub p99: f64,
    /// 999 of 1,000.
    pub p999: f64,
    /// The slowest.
    pub max: f64,
}

/// One lane.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LaneSummary {
    /// Its requests.
    pub requests: Requests,
    /// Its response times.
    pub latency_ms: Latency,
    /// Its longest outage in milliseconds; 0 without one, and for a control.
    pub longest_outage_ms: f64,
    /// How late evenkeel was at most, in sending one of its requests or in seeing an answer, in milliseconds.
    #[serde(default)]
    pub send_lag_max_ms: f64,
    /// How long its requests proved nothing about the service, in milliseconds.
    #[serde(default)]
    pub tainted_ms: f64,
    /// It is a control, which counts for nothing else.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_control: bool,
}

/// One phase.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PhaseSummary {
    /// When it began, in milliseconds since the run began.
    pub start_ms: f64,
    /// When it ended.
    pub end_ms: f64,
    /// Requests due in it.
    pub requests: Requests,
    /// Their response times.
    pub latency_ms: Latency,
}

/// A stretch of time in which requests of a lane are lost: from the intended time of the first lost request to the
/// end of the last one, as long as no more than the gap allowed lies between two.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outage {
    /// The lane.
    pub lane: String,
    /// Milliseconds since the run began.
    pub start_ms: f64,
    /// Milliseconds since the run began.
    pub end_ms: f64,
    /// Requests lost in it.
    pub lost: u64,
    /// The cause of most of them: the id of a finding, or `unexplained`.
    pub cause: String,
    /// The phase in which it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// How long after its beginning the Service changed its endpoints, in milliseconds: the cluster's time to detect.
    /// 0 where it had done so before; nothing where it never did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detected_after_ms: Option<f64>,
}

/// The losses of one lane in one phase, as times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recovery {
    /// The lane.
    pub lane: String,
    /// The phase in which its outages began.
    pub phase: Phase,
    /// Outages.
    pub outages: u64,
    /// Requests lost in them.
    pub lost: u64,
    /// The longest outage in milliseconds.
    pub longest_ms: f64,
    /// All outages together, in milliseconds.
    pub total_ms: f64,
    /// The longest time to detect of them, in milliseconds; nothing where one was never detected.
    pub detected_after_ms: Option<f64>,
    /// From the first lost request to the end of the last, in milliseconds: the time to recover.
    pub recovered_after_ms: f64,
}

/// What was measured of one pod. Times are milliseconds since the run began, `..._after_ms` since its deletion; nothing
/// where it was not seen, or lay before the run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PodClaim {
    /// Its name.
    pub pod: String,
    /// Its node.
    pub node: Option<String>,
    /// When it was first seen.
    pub created_ms: Option<f64>,
    /// When its container ran.
    pub running_ms: Option<f64>,
    /// When it was first ready.
    pub ready_ms: Option<f64>,
    /// From running to ready.
    pub boot_ms: Option<f64>,
    /// When a Service first sent to it.
    pub first_endpoint_ms: Option<f64>,
    /// When it was deleted.
    pub deleted_ms: Option<f64>,
    /// How: `evicted`, `deleted`, `removed by force`.
    pub how: Option<String>,
    /// When SIGTERM came, as far as it can be known: after the preStop hook.
    pub sigterm_after_ms: Option<f64>,
    /// When its endpoint was no longer ready.
    pub endpoint_off_after_ms: Option<f64>,
    /// When the last request that was lost to it was sent.
    pub last_loss_after_ms: Option<f64>,
    /// When its container was seen ended.
    pub exit_after_ms: Option<f64>,
    /// With which exit code.
    pub exit_code: Option<i32>,
    /// It had to be ended by SIGKILL (exit code 137) after its grace period.
    pub killed: bool,
    /// How long its preStop hook keeps SIGTERM away; 0 without one, nothing where it is not known.
    pub prestop_ms: Option<f64>,
    /// Its grace period, from the deletion.
    pub grace_ms: f64,
    /// Restarts of its container.
    pub restarts: i32,
    /// How long it was not ready although it ran and nobody had deleted it.
    pub unready_ms: f64,
    /// Requests that it answered as asked for, by phase; empty where it does not name itself.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub answered: BTreeMap<Phase, u64>,
    /// Connections that were new and had their first answer from it, by phase; empty in records that do not say.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub new_connections: BTreeMap<Phase, u64>,
    /// When the first byte of the first request that it answered was written; in records that do not say, to a tenth of
    /// a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_answer_ms: Option<f64>,
    /// When its last answer had come, since its deletion; in records that do not say, to a tenth of a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_answer_after_ms: Option<f64>,
}

/// What was measured of one budget.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BudgetClaim {
    /// Its name.
    pub budget: String,
    /// Healthy pods at the moment with the fewest against what was asked for.
    pub lowest_healthy: i32,
    /// Pods that it asked for then.
    pub desired_healthy: i32,
    /// That moment, in milliseconds since the run began.
    pub lowest_at_ms: f64,
    /// The first moment with fewer than asked for.
    pub short_from_ms: Option<f64>,
    /// The last one.
    pub short_to_ms: Option<f64>,
    /// Evictions that were refused for it.
    pub evictions_refused: u64,
}

/// Requests that were answered as asked for, and late.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SlowSummary {
    /// The lanes that had such; without controls.
    pub lanes: BTreeMap<String, SlowLane>,
    /// The slowest of those that are described one by one, in the order in which they were due; at most [`SLOW_MAX`].
    pub requests: Vec<SlowTold>,
    /// How many more are described in `events.jsonl`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: u64,
}

impl SlowSummary {
    /// Whether no request was answered late.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }
}

/// Slow requests that a verdict tells one by one.
pub const SLOW_MAX: usize = 100;

/// The requests of one lane that were answered late.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SlowLane {
    /// From where on an answer is late: the smallest bound on the response time that is about the lane, or 1,000.
    pub slower_than_ms: f64,
    /// How many took longer, to the resolution of the histograms.
    pub answered_late: u64,
    /// How many of them are described one by one: the first of each interval.
    pub described: u64,
    /// Of the described: those that may be late for a reason of ours. No other reason was looked for.
    pub tainted: u64,
    /// Of the described, without those: how many for which reason, or `unexplained`.
    pub by_reason: BTreeMap<String, u64>,
}

/// One request that was answered late.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SlowTold {
    /// The lane.
    pub lane: String,
    /// The reason, or `unexplained`, or `tainted` where it may be one of ours.
    pub reason: String,
    /// What the reason rests on, with its times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
    /// When it was due, in milliseconds since the run began.
    pub due_ms: f64,
    /// How long after that its answer was whole; of a stream, its head.
    pub took_ms: f64,
    /// How long its connection took to be accepted; nothing where that was there before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connecting_ms: Option<f64>,
    /// Requests that its connection had carried before.
    pub connection_uses: u32,
    /// Age of its connection when it was sent.
    pub connection_age_ms: f64,
    /// Bytes of the answer.
    pub bytes_in: u64,
    /// The status, where the protocol has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The pod that answered, where it names itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The phase in which it was due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
}

/// One expectation, measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    /// In words, such as `lost requests in lane new during fault`.
    pub name: String,
    /// Whether it held; nothing when it could not be measured.
    pub held: Option<bool>,
    /// What was measured, with its unit.
    pub measured: String,
    /// What was allowed, with its unit.
    pub allowed: String,
}

/// Something that explains losses or stands out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// A stable id, such as `prestop-missing`.
    pub id: String,
    /// One line.
    pub claim: String,
    /// Numbers, names and times, one sentence each.
    pub evidence: Vec<String>,
    /// What to change.
    pub advice: String,
    /// The same as a change that kubectl can make, with what was measured in it; where a setting cures it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<Patch>,
    /// Lost requests that it explains.
    pub lost: u64,
}

/// A change of the cluster that cures a finding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Patch {
    /// The object as `kind/name` in lower case, such as `deployment/shop`.
    pub object: String,
    /// Its namespace.
    pub namespace: String,
    /// How it is made.
    pub how: PatchHow,
    /// The patch, or the object.
    pub body: serde_json::Value,
    /// The command that makes it, in one line for a shell.
    pub command: String,
}

/// How a change is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PatchHow {
    /// A strategic merge patch of an object that is there: `kubectl patch`.
    Merge,
    /// An object that is missing: `kubectl apply`.
    Create,
}

/// A step with its times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepSummary {
    /// Its place in the file.
    pub path: String,
    /// Its name, or its verb.
    pub name: String,
    /// What was done.
    pub detail: String,
    /// When it began, in milliseconds since the run began.
    pub start_ms: f64,
    /// When it was done; nothing when it never was.
    pub end_ms: Option<f64>,
}

/// What has been put back.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct UndoSummary {
    /// All of it, and seen to be.
    pub complete: bool,
    /// What could not be put back, and what to do by hand.
    pub failed: Vec<String>,
}
