//! Resources: what pods ask for, whether a node has it, and how evenly it would be used
//! (k/pkg/scheduler/framework/plugins/noderesources, component-helpers/resource/helpers.go, v1.34.4).

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::core::v1::{Container, PodSpec},
    apimachinery::pkg::api::resource::Quantity,
};

use super::{SCORE_MAX, diagnosis::Rejection, node::NodeInfo, plugin::Plugin, pod::PodInfo};
use crate::model::quantity;

/// Pods on a node that states no number.
const PODS_DEFAULT: i64 = 110;

/// What scoring takes a container for that asks for no CPU (`DefaultMilliCPURequest`).
const SCORED_MILLI_CPU: i64 = 100;

/// And for no memory (`DefaultMemoryRequest`).
const SCORED_MEMORY: i64 = 200 * 1024 * 1024;

/// An amount of each resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Resources {
    pub(super) milli_cpu: i64,
    pub(super) memory: i64,
    pub(super) ephemeral: i64,
    /// Pods; only a node has a number.
    pub(super) pods: i64,
    /// Extended resources by name.
    pub(super) scalar: BTreeMap<String, i64>,
}

type List = BTreeMap<String, Quantity>;

impl Resources {
    fn read(list: Option<&List>) -> Self {
        let mut amounts = Self::default();
        for (name, quantity) in list.into_iter().flatten() {
            let whole = || quantity::value(&quantity.0).unwrap_or(0);
            match name.as_str() {
                "cpu" => amounts.milli_cpu = quantity::milli_value(&quantity.0).unwrap_or(0),
                "memory" => amounts.memory = whole(),
                "ephemeral-storage" => amounts.ephemeral = whole(),
                "pods" => amounts.pods = whole(),
                _ => {
                    amounts.scalar.insert(name.clone(), whole());
                }
            }
        }
        amounts
    }

    /// What a node has for pods.
    pub(super) fn of_node(allocatable: Option<&List>) -> Self {
        let mut amounts = Self::read(allocatable);
        if allocatable.is_none_or(|list| !list.contains_key("pods")) {
            amounts.pods = PODS_DEFAULT;
        }
        amounts
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.each(other, i64::saturating_add);
    }

    pub(super) fn subtract(&mut self, other: &Self) {
        self.each(other, i64::saturating_sub);
    }

    fn raise_to(&mut self, other: &Self) {
        self.each(other, i64::max);
    }

    fn each(&mut self, other: &Self, with: fn(i64, i64) -> i64) {
        self.milli_cpu = with(self.milli_cpu, other.milli_cpu);
        self.memory = with(self.memory, other.memory);
        self.ephemeral = with(self.ephemeral, other.ephemeral);
        for (name, amount) in &other.scalar {
            let own = self.scalar.entry(name.clone()).or_default();
            *own = with(*own, *amount);
        }
    }

    fn is_nothing(&self) -> bool {
        self.milli_cpu == 0 && self.memory == 0 && self.ephemeral == 0 && self.scalar.is_empty()
    }
}

/// What a pod asks for, and what scoring takes it for (CPU, memory): the containers and staying init containers
/// together, or the largest that comes before them.
pub(super) fn of_pod(spec: &PodSpec) -> (Resources, (i64, i64)) {
    let asked = total(spec, Resources::read);
    let scored = total(spec, |list| {
        let mut amounts = Resources::read(list);
        let has = |name: &str| list.is_some_and(|list| list.contains_key(name));
        if !has("cpu") {
            amounts.milli_cpu = SCORED_MILLI_CPU;
        }
        if !has("memory") {
            amounts.memory = SCORED_MEMORY;
        }
        amounts
    });
    (asked, (scored.milli_cpu, scored.memory))
}

fn total(spec: &PodSpec, of: impl Fn(Option<&List>) -> Resources) -> Resources {
    let of = |container: &Container| of(container.resources.as_ref().and_then(|wants| wants.requests.as_ref()));
    let mut running = Resources::default();
    for container in &spec.containers {
        running.add(&of(container));
    }
    let (mut staying, mut peak) = (Resources::default(), Resources::default());
    for container in spec.init_containers.iter().flatten() {
        let own = of(container);
        let mut with = staying.clone();
        with.add(&own);
        if container.restart_policy.as_deref() == Some("Always") {
            running.add(&own);
            staying.clone_from(&with);
        }
        peak.raise_to(&with);
    }
    running.raise_to(&peak);
    // Requests of the pod as a whole stand for those of its containers.
    if let Some(list) = spec.resources.as_ref().and_then(|wants| wants.requests.as_ref()) {
        let whole = Resources::read(Some(list));
        if list.contains_key("cpu") {
            running.milli_cpu = whole.milli_cpu;
        }
        if list.contains_key("memory") {
            running.memory = whole.memory;
        }
    }
    running.add(&Resources::read(spec.overhead.as_ref()));
    running
}

/// Whether the node has what the pod asks for.
pub(super) fn filter(pod: &PodInfo, node: &NodeInfo) -> Option<Rejection> {
    let mut reasons = Vec::new();
    // More than a node has altogether is not there even when others leave.
    let mut never = false;
    if i64::try_from(node.pods.len()).unwrap_or(i64::MAX) + 1 > node.allocatable.pods {
        reasons.push("Too many pods".to_owned());
    }
    let asks = &pod.requests;
    if !asks.is_nothing() {
        let (has, used) = (&node.allocatable, &node.requested);
        let mut look = |name: &str, asks: i64, has: i64, used: i64| {
            if asks > 0 && asks > has.saturating_sub(used) {
                reasons.push(format!("Insufficient {name}"));
                never |= asks > has;
            }
        };
        look("cpu", asks.milli_cpu, has.milli_cpu, used.milli_cpu);
        look("memory", asks.memory, has.memory, used.memory);
        look("ephemeral-storage", asks.ephemeral, has.ephemeral, used.ephemeral);
        for (name, amount) in &asks.scalar {
            let of = |amounts: &Resources| amounts.scalar.get(name).copied().unwrap_or(0);
            look(name, *amount, of(has), of(used));
        }
    }
    if reasons.is_empty() {
        return None;
    }
    Some(Rejection { plugin: Plugin::Fit, reasons, unresolvable: never })
}

/// Whether an empty node of this size could have the pod.
pub(super) fn could_fit(pod: &PodInfo, node: &NodeInfo) -> bool {
    let (asks, has) = (&pod.requests, &node.allocatable);
    let scalar: BTreeSet<&String> = asks
        .scalar
        .iter()
        .filter(|(name, amount)| **amount > has.scalar.get(*name).copied().unwrap_or(0))
        .map(|(name, _)| name)
        .collect();
    asks.milli_cpu <= has.milli_cpu && asks.memory <= has.memory && asks.ephemeral <= has.ephemeral && scalar.is_empty()
}

/// `LeastAllocated`: the share that would be left, of CPU and memory alike.
pub(super) fn score_least_allocated(pod: &PodInfo, node: &NodeInfo) -> i64 {
    let parts = [
        (node.scored.0.saturating_add(pod.scored.0), node.allocatable.milli_cpu),
        (node.scored.1.saturating_add(pod.scored.1), node.allocatable.memory),
    ];
    let (mut sum, mut count) = (0, 0);
    for (used, has) in parts.into_iter().filter(|(_, has)| *has > 0) {
        sum += if used > has { 0 } else { wide_share(has - used, has) };
        count += 1;
    }
    if count == 0 { 0 } else { sum / count }
}

fn wide_share(part: i64, whole: i64) -> i64 {
    // Wide numbers are slow, and hardly any amount needs them.
    if let Some(hundredfold) = part.checked_mul(SCORE_MAX) {
        return hundredfold / whole;
    }
    i64::try_from(i128::from(part) * i128::from(SCORE_MAX) / i128::from(whole)).unwrap_or(0)
}

/// `NodeResourcesBalancedAllocation`: how alike the shares of CPU and memory would be. Nothing for a pod that asks for
/// nothing, which changes no balance.
pub(super) fn score_balanced(pod: &PodInfo, node: &NodeInfo) -> i64 {
    if pod.requests.is_nothing() {
        return 0;
    }
    let parts = [
        (node.requested.milli_cpu.saturating_add(pod.requests.milli_cpu), node.allocatable.milli_cpu),
        (node.requested.memory.saturating_add(pod.requests.memory), node.allocatable.memory),
    ];
    let shares: Vec<f64> =
        parts.into_iter().filter(|(_, has)| *has > 0).map(|(used, has)| (used as f64 / has as f64).min(1.0)).collect();
    let deviation = match shares.as_slice() {
        [cpu, memory] => ((cpu - memory) / 2.0).abs(),
        _ => 0.0,
    };
    #[expect(clippy::cast_possible_truncation, reason = "between 0 and 100")]
    let score = ((1.0 - deviation) * SCORE_MAX as f64) as i64;
    score
}
