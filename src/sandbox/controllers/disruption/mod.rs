//! The disruption controller: keeps the status of every `PodDisruptionBudget`, which evictions go by
//! (k/pkg/controller/disruption/disruption.go, v1.34.4).
//!
//! As upstream it hears of budgets and pods only: a changed number of replicas counts with the next change of a pod.
//! The arithmetic is [`crate::model::disruption`].

mod expected;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        core::v1::{Pod, PodCondition},
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use serde_json::{Value, json};

use super::{Controller, Key, Next, events, pace::Pace};
use crate::{
    model::{
        disruption::{self, Demand, Selected},
        int_or_percent::IntOrPercent,
    },
    sandbox::{
        error::ApiError,
        kinds::{self, Kind},
        names,
        registry::{
            Part, Registry, WriteOptions,
            subresources::conditions::{self, Condition},
        },
        selectors,
        store::{Change, Object, Op},
    },
};

/// How long an evicted pod may take until its deletion begins, and how long `DisruptionTarget` stands without one
/// (`DeletionTimeout`, `stalePodDisruptionTimeout`).
const DELETION_TIMEOUT: Duration = Duration::from_secs(120);

/// The name of the component in events.
const COMPONENT: &str = "controllermanager";

/// Keys of pods begin with this, which no budget's name can.
const POD_PREFIX: &str = "pod/";

/// The controller.
pub struct Disruption {
    registry: Arc<Registry>,
    pace: Pace,
}

/// Why a budget's status could not be worked out.
enum Failed {
    /// The API refused; tried again.
    Api(ApiError),
    /// Its pods do not fit it; it lets nothing through until they do.
    Unclear(String),
}

impl Disruption {
    /// The controller of this cluster.
    #[must_use]
    pub fn new(registry: Arc<Registry>) -> Self {
        Self { registry, pace: Pace::default() }
    }

    /// The budget that a pod counts for: of several the first, which is said (`getPdbForPod`).
    fn budget_for(&self, pod: &Object) -> Option<Key> {
        let budgets = self.registry.budgets_of(pod);
        let name = budgets.first()?.metadata.name.clone()?;
        if budgets.len() > 1 {
            let message = format!(
                "Pod {:?}/{:?} matches multiple PodDisruptionBudgets.  Chose {name:?} arbitrarily.",
                pod.namespace, pod.name
            );
            let reason = "MultiplePodDisruptionBudgets";
            events::record(&self.registry, pod, events::Severity::Warning, COMPONENT, reason, &message);
        }
        Some(Key::new(&pod.namespace, name))
    }

    fn sync(&self, key: &Key) -> Result<Next, ApiError> {
        let Some(budget) = self.registry.store().get(&kinds::POD_DISRUPTION_BUDGET, &key.namespace, &key.name) else {
            return Ok(Next::Settled);
        };
        match self.try_sync(key, &budget) {
            Ok(next) => Ok(next),
            Err(Failed::Api(error)) if error.is_conflict() => Err(error),
            Err(Failed::Api(error)) => self.fail_safe(&budget, &error.message),
            Err(Failed::Unclear(message)) => self.fail_safe(&budget, &message),
        }
    }

    fn try_sync(&self, key: &Key, budget: &Arc<Object>) -> Result<Next, Failed> {
        let typed: Arc<PodDisruptionBudget> =
            budget.typed().ok_or_else(|| Failed::Api(ApiError::internal(format!("{budget:?} cannot be read"))))?;
        let spec = typed.spec.clone().unwrap_or_default();
        let pods = self.pods_of(&key.namespace, spec.selector.as_ref());
        self.pace.looked(key, pods.len());
        if pods.is_empty() {
            self.say(budget, events::Severity::Normal, "NoPods", "No matching pods found");
        }
        let demand = demand(spec.max_unavailable.as_ref(), spec.min_available.as_ref());
        let mut selected = Selected { pods: count(pods.len()), ..Selected::default() };
        if !matches!(demand, None | Some(Demand::MinAvailable(IntOrPercent::Int(_)))) {
            let expected = expected::scale(&self.registry, &pods).map_err(|why| {
                let message = format!("Failed to calculate the number of expected pods: {why}");
                self.say(budget, events::Severity::Warning, "CalculateExpectedPodCountFailed", &message);
                Failed::Unclear(why)
            })?;
            selected.replicas = expected.replicas;
            if expected.unmanaged {
                self.say(budget, events::Severity::Warning, "UnmanagedPods", &unmanaged(spec.selector.as_ref()));
            }
        }
        let now = names::now();
        let known = typed.status.as_ref().and_then(|status| status.disrupted_pods.clone()).unwrap_or_default();
        let known: BTreeMap<String, Timestamp> = known.into_iter().map(|(name, time)| (name, time.0)).collect();
        let disrupted = still_disrupted(&pods, &known, now);
        for pod in &disrupted.not_deleted {
            // Upstream's message has the namespace twice.
            let message = format!("Pod was expected by PDB {0}/{0} to be deleted but it wasn't", budget.namespace);
            if let Some(pod) = self.registry.store().get(&kinds::POD, &key.namespace, pod) {
                self.say(&pod, events::Severity::Warning, "NotDeleted", &message);
            }
        }
        selected.healthy = healthy(&pods, &disrupted.waiting);
        let allowance =
            demand.map_or_else(disruption::Allowance::default, |demand| disruption::allowance(demand, selected));
        self.write(budget, allowance, selected.healthy, &disrupted.waiting).map_err(Failed::Api)?;
        Ok(disrupted.recheck.map_or(Next::Settled, Next::After))
    }

    fn pods_of(&self, namespace: &str, selector: Option<&LabelSelector>) -> Vec<Arc<Pod>> {
        let Some(selector) = selectors::read(selector) else { return Vec::new() };
        let all = self.registry.store().list(&kinds::POD, Some(namespace)).1;
        all.iter().filter(|pod| selector.matches(&pod.labels)).filter_map(|pod| pod.typed()).collect()
    }

    fn write(
        &self,
        budget: &Object,
        allowance: disruption::Allowance,
        healthy: i32,
        disrupted: &BTreeMap<String, Timestamp>,
    ) -> Result<(), ApiError> {
        let mut value = budget.value();
        let generation = value["metadata"]["generation"].as_i64().unwrap_or_default();
        let mut status = json!({
            "currentHealthy": healthy,
            "desiredHealthy": allowance.desired_healthy,
            "disruptionsAllowed": allowance.disruptions_allowed,
            "expectedPods": allowance.expected_pods,
            "observedGeneration": generation,
        });
        if !disrupted.is_empty() {
            let times = disrupted.iter().map(|(name, time)| (name.clone(), json!(time.to_string()))).collect();
            status["disruptedPods"] = Value::Object(times);
        }
        let current = value["status"]["conditions"].clone();
        // As upstream, what has not changed is not written, not even a condition that fits no more.
        let up_to_date = conditions::find(&value, "DisruptionAllowed")
            .is_some_and(|condition| condition["observedGeneration"].as_i64().unwrap_or(0) == generation);
        let mut compared = status.clone();
        compared["conditions"] = current.clone();
        if up_to_date && compared.as_object() == value["status"].as_object() {
            return Ok(());
        }
        if current.is_array() {
            status["conditions"] = current;
        }
        value["status"] = status;
        conditions::set_disruption_allowed(&mut value);
        self.put(budget, value)
    }

    /// Lets nothing through while it is unclear what may go.
    fn fail_safe(&self, budget: &Object, why: &str) -> Result<Next, ApiError> {
        let mut value = budget.value();
        if !value["status"].is_object() {
            value["status"] = json!({"currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0});
        }
        value["status"]["disruptionsAllowed"] = json!(0);
        let observed = value["status"]["observedGeneration"].as_i64().unwrap_or_default();
        let failed = Condition { kind: "DisruptionAllowed", status: "False", reason: "SyncFailed", message: why };
        conditions::set_on(&mut value, failed, observed);
        self.put(budget, value).map(|()| Next::Settled)
    }

    fn put(&self, budget: &Object, value: Value) -> Result<(), ApiError> {
        let kind = &kinds::POD_DISRUPTION_BUDGET;
        let options = WriteOptions::default();
        self.registry.update(kind, &budget.namespace, &budget.name, Part::Status, value, &options).map(drop)
    }

    /// Takes back `DisruptionTarget` from a pod that was not deleted after all.
    fn sync_stale(&self, namespace: &str, name: &str) -> Result<Next, ApiError> {
        let Some(pod) = self.registry.find::<Pod>(namespace, name) else { return Ok(Next::Settled) };
        let Some(left) = stale_after(&pod, names::now()) else { return Ok(Next::Settled) };
        if !left.is_zero() {
            return Ok(Next::After(left));
        }
        let options = WriteOptions::default();
        self.registry.change(&kinds::POD, namespace, name, Part::Status, &options, |mut pod| {
            conditions::set_on_pod(
                &mut pod,
                Condition { kind: "DisruptionTarget", status: "False", reason: "", message: "" },
            );
            Ok(pod)
        })?;
        Ok(Next::Settled)
    }

    fn say(&self, about: &Object, severity: events::Severity, reason: &str, message: &str) {
        events::record(&self.registry, about, severity, COMPONENT, reason, message);
    }
}

impl Controller for Disruption {
    fn name(&self) -> &'static str {
        "disruption"
    }

    fn watches(&self) -> &'static [&'static Kind] {
        static WATCHES: &[&Kind] = &[&kinds::POD_DISRUPTION_BUDGET, &kinds::POD];
        WATCHES
    }

    fn keys(&self, change: &Change) -> Vec<Key> {
        let object = &change.object;
        if object.kind == &kinds::POD_DISRUPTION_BUDGET {
            return vec![Key::of(object)];
        }
        let mut keys: Vec<Key> = self.budget_for(object).into_iter().collect();
        if let Some(before) = change.before.as_ref().filter(|before| before.labels != object.labels) {
            keys.extend(self.budget_for(before));
        }
        let marked = object.typed::<Pod>().is_some_and(|pod| disruption_target(&pod).is_some());
        if change.op != Op::Deleted && marked {
            keys.push(Key::new(&object.namespace, format!("{POD_PREFIX}{}", object.name)));
        }
        keys
    }

    fn reconcile(&self, key: &Key) -> Result<Next, ApiError> {
        if let Some(pod) = key.name.strip_prefix(POD_PREFIX) {
            return self.sync_stale(&key.namespace, pod);
        }
        if let Some(left) = self.pace.wait(key) {
            return Ok(Next::After(left));
        }
        self.sync(key)
    }
}

fn count(of: usize) -> i32 {
    i32::try_from(of).unwrap_or(i32::MAX)
}

fn demand(most: Option<&IntOrString>, least: Option<&IntOrString>) -> Option<Demand> {
    let read = |value: &IntOrString| match value {
        IntOrString::Int(number) => Some(IntOrPercent::Int(*number)),
        IntOrString::String(text) => text.parse().ok(),
    };
    // With both, which the API refuses, upstream looks at this one.
    most.and_then(read).map(Demand::MaxUnavailable).or_else(|| least.and_then(read).map(Demand::MinAvailable))
}

/// What became of the pods that evictions have announced.
#[derive(Debug, Default, PartialEq, Eq)]
struct Disrupted {
    /// Their deletion is still to come.
    waiting: BTreeMap<String, Timestamp>,
    /// It did not come in time.
    not_deleted: Vec<String>,
    /// When to look again.
    recheck: Option<Duration>,
}

fn still_disrupted(pods: &[Arc<Pod>], known: &BTreeMap<String, Timestamp>, now: Timestamp) -> Disrupted {
    let mut result = Disrupted::default();
    for pod in pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()) {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let Some(since) = known.get(&name) else { continue };
        let left = left_until(*since, now);
        if left.is_none_or(|left| left.is_zero()) && *since + DELETION_TIMEOUT < now {
            result.not_deleted.push(name);
            continue;
        }
        let left = left.unwrap_or_default();
        result.recheck = Some(result.recheck.map_or(left, |known| known.min(left)));
        result.waiting.insert(name, *since);
    }
    // A look at the very second would still find it in time.
    result.recheck = result.recheck.map(|left| left + Duration::from_millis(1));
    result
}

/// The time that is left of the deletion's timeout.
fn left_until(since: Timestamp, now: Timestamp) -> Option<Duration> {
    Duration::try_from((since + DELETION_TIMEOUT).duration_since(now)).ok()
}

fn healthy(pods: &[Arc<Pod>], disrupted: &BTreeMap<String, Timestamp>) -> i32 {
    let healthy = pods.iter().filter(|pod| {
        let leaving = pod.metadata.name.as_ref().is_some_and(|name| disrupted.contains_key(name));
        pod.metadata.deletion_timestamp.is_none() && !leaving && is_ready(pod)
    });
    count(healthy.count())
}

/// Whether a pod is Ready.
pub(super) fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|ready| ready.status == "True")
}

fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|one| one.type_ == kind)
}

fn disruption_target(pod: &Pod) -> Option<&PodCondition> {
    condition(pod, "DisruptionTarget").filter(|one| one.status == "True")
}

/// When a pod's `DisruptionTarget` is to be taken back, if it may be at all.
fn stale_after(pod: &Pod, now: Timestamp) -> Option<Duration> {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    if pod.metadata.deletion_timestamp.is_some() || matches!(phase, Some("Succeeded" | "Failed")) {
        return None;
    }
    let target = disruption_target(pod).filter(|one| one.reason.as_deref() != Some("TerminationByKubelet"))?;
    let since = target.last_transition_time.as_ref().map_or(now, |time| time.0);
    Some(left_until(since, now).unwrap_or_default())
}

fn unmanaged(selector: Option<&LabelSelector>) -> String {
    format!(
        "Pods selected by this PodDisruptionBudget (selector: {}) were found to be unmanaged. As a result, the status of the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these pods please set \".spec.minAvailable\" field of the PDB to an integer value.",
        expected::selector_in_go(selector)
    )
}

#[cfg(test)]
mod tests;
