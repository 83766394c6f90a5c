//! The record by subject instead of by time: phases, the lives of pods, the endpoints of Services, budgets, nodes,
//! workloads. It also says where the record contradicts itself, since no cause may rest on times that cannot be.

use std::collections::{BTreeMap, HashMap};

use super::{endpoint::Service, life::Life};
use crate::{
    experiment::schema::Phase,
    record::{
        Record,
        event::{
            BudgetSeen, EndReason, Ended, EvictionAnswer, EvictionSeen, KubeEventSeen, Micros, NodeSeen, PodSeen,
            StepChange, StepState, What, WorkloadSeen,
        },
    },
};

/// Two watches tell of one change in either order; this is the most that one may lead.
const WATCH_SKEW_US: Micros = 5_000_000;

/// Contradictions that are put down to chance: fewer than one object in so many.
const CONTRADICTIONS_ONE_IN: usize = 10;

/// What was seen of one subject, in order.
pub type History<'a, T> = Vec<(Micros, &'a T)>;

/// The record by subject.
#[derive(Debug, Default)]
pub struct Timeline<'a> {
    /// Phases with their beginning and end, in order.
    pub phases: Vec<(Phase, Micros, Micros)>,
    /// Pods, by their first event.
    pub lives: Vec<Life<'a>>,
    /// Services by name.
    pub services: BTreeMap<&'a str, Service<'a>>,
    /// Budgets by name.
    pub budgets: BTreeMap<&'a str, History<'a, BudgetSeen>>,
    /// Workloads and `ReplicaSets` by `kind/name`.
    pub workloads: BTreeMap<&'a str, History<'a, WorkloadSeen>>,
    /// Nodes by name.
    pub nodes: BTreeMap<&'a str, History<'a, NodeSeen>>,
    /// Steps by their place in the file.
    pub steps: BTreeMap<&'a str, History<'a, StepChange>>,
    /// Eviction requests.
    pub evictions: History<'a, EvictionSeen>,
    /// When the load ended; what comes later belongs to no phase.
    pub end: Micros,
    /// How the run ended.
    pub ended: Option<&'a Ended>,
    /// The times of the record contradict each other.
    pub contradicts_itself: bool,
}

impl<'a> Timeline<'a> {
    /// Sorts a record's events by subject.
    #[must_use]
    pub fn of(record: &'a Record) -> Self {
        let mut timeline = Self::default();
        let mut pods: BTreeMap<&str, History<PodSeen>> = BTreeMap::new();
        let mut told: HashMap<&str, History<KubeEventSeen>> = HashMap::new();
        let mut evicted: HashMap<&str, Vec<Micros>> = HashMap::new();
        let mut load_end = None;
        for event in &record.events {
            let at = event.at_us;
            match &event.what {
                What::Phase { phase } => timeline.phases.push((*phase, at, Micros::MAX)),
                // A budget without a selector is about every pod of its own namespace, and of no other.
                What::Pod(pod) if pod.namespace != record.experiment.spec.given.namespace => {}
                What::Pod(pod) => pods.entry(&pod.uid).or_default().push((at, pod)),
                What::Endpoint(seen) => timeline.services.entry(&seen.service).or_default().push(at, seen),
                What::Budget(seen) => timeline.budgets.entry(&seen.name).or_default().push((at, seen)),
                What::Node(seen) => timeline.nodes.entry(&seen.name).or_default().push((at, seen)),
                What::Workload(seen) => timeline.workloads.entry(&seen.workload).or_default().push((at, seen)),
                What::Step(seen) => timeline.steps.entry(&seen.path).or_default().push((at, seen)),
                What::Eviction(seen) => {
                    if seen.answer == EvictionAnswer::Accepted {
                        evicted.entry(bare(&seen.pod)).or_default().push(at);
                    }
                    timeline.evictions.push((at, seen));
                }
                What::KubeEvent(seen) => {
                    if let Some(pod) = seen.object.strip_prefix("pod/") {
                        told.entry(pod).or_default().push((at, seen));
                    }
                }
                What::Load(counts) => {
                    load_end = load_end.max(Some(counts.start_us.saturating_add(counts.length_us.max(0))));
                }
                What::Ended(ended) => timeline.ended = Some(ended),
                _ => {}
            }
        }
        let last = record.events.last().map_or(0, |event| event.at_us);
        timeline.end = load_end.unwrap_or(last);
        let starts: Vec<Micros> = timeline.phases.iter().map(|(_, start, _)| *start).collect();
        for (index, (_, start, end)) in timeline.phases.iter_mut().enumerate() {
            *end = starts.get(index + 1).copied().unwrap_or(timeline.end).max(*start);
        }
        timeline.lives = pods
            .into_values()
            .filter_map(|seen| {
                let name = seen.first().map_or("", |(_, pod)| pod.name.as_str());
                let evictions = evicted.get(name).map(Vec::as_slice).unwrap_or_default();
                Life::of(seen, evictions, told.get(name).map(Vec::as_slice).unwrap_or_default())
            })
            .collect();
        timeline.lives.sort_by_key(Life::first_seen);
        let end = timeline.end;
        timeline.services.values_mut().for_each(|service| service.settle(end));
        timeline.note_answers(record);
        timeline.contradicts_itself = timeline.contradictions();
        timeline
    }

    /// The phase of a moment; nothing before the first one.
    #[must_use]
    pub fn phase_at(&self, moment: Micros) -> Option<Phase> {
        self.phases.iter().rev().find(|(_, start, _)| *start <= moment).map(|(phase, ..)| *phase)
    }

    /// When a phase began.
    #[must_use]
    pub fn start_of(&self, wanted: Phase) -> Option<Micros> {
        self.phases.iter().find(|(phase, ..)| *phase == wanted).map(|(_, start, _)| *start)
    }

    /// When the load began to count: the first phase, or the start of the clock.
    #[must_use]
    pub fn begin(&self) -> Micros {
        self.phases.first().map_or(0, |(_, start, _)| *start)
    }

    /// The run came to its end as it should.
    #[must_use]
    pub fn completed(&self) -> bool {
        self.ended.is_some_and(|ended| ended.reason == EndReason::Completed)
    }

    /// When a pod was deleted, where that was before the load ended; what comes later is the clean-up.
    #[must_use]
    pub fn deleted(&self, life: &Life<'_>) -> Option<Micros> {
        life.deleted.filter(|at| *at <= self.end)
    }

    /// The life of the pod of a name that was there at a moment; a `StatefulSet` gives a name again.
    #[must_use]
    pub fn life_named(&self, name: &str, moment: Micros) -> Option<&Life<'a>> {
        self.place_of(name, moment).and_then(|place| self.lives.get(place))
    }

    /// Its place among the lives.
    pub(super) fn place_of(&self, name: &str, moment: Micros) -> Option<usize> {
        let named = self.lives.iter().enumerate().filter(|(_, life)| life.last.name == name);
        let nearest = named.min_by_key(|(_, life)| {
            let early = life.first_seen().saturating_sub(moment).max(0);
            let late = life.gone.map_or(0, |gone| moment.saturating_sub(gone).max(0));
            early.saturating_add(late)
        });
        nearest.map(|(place, _)| place)
    }

    /// Notes by when each pod that names itself had answered a request.
    fn note_answers(&mut self, record: &Record) {
        for event in &record.events {
            let What::Load(interval) = &event.what else { continue };
            let end = interval.start_us.saturating_add(interval.length_us.max(0));
            for (pod, answers) in &interval.by_pod {
                let by = answers.last_us.unwrap_or(end);
                let Some(place) = self.place_of(pod, answers.last_us.unwrap_or(interval.start_us)) else { continue };
                let first = &mut self.lives[place].answered_by;
                *first = Some(first.map_or(by, |first| first.min(by)));
            }
        }
    }

    /// Whether the node of a name was last seen cordoned at a moment.
    #[must_use]
    pub fn cordoned(&self, node: &str, moment: Micros) -> bool {
        let seen = self.nodes.get(node).map(Vec::as_slice).unwrap_or_default();
        seen.iter().rev().find(|(at, _)| *at <= moment).is_some_and(|(_, node)| node.unschedulable)
    }

    /// When a node went from ready to not ready, or was removed.
    pub fn node_losses(&self, node: &str) -> impl Iterator<Item = Micros> + '_ {
        let seen = self.nodes.get(node).map(Vec::as_slice).unwrap_or_default();
        let up = |node: &NodeSeen| node.ready && !node.gone;
        seen.windows(2).filter(move |pair| up(pair[0].1) && !up(pair[1].1)).map(|pair| pair[1].0)
    }

    /// Since when a node was not ready, or removed, in a time; nothing where it was ready throughout, or never seen to
    /// be.
    #[must_use]
    pub fn node_unready(&self, node: &str, from: Micros, to: Micros) -> Option<Micros> {
        let seen = self.nodes.get(node).map(Vec::as_slice).unwrap_or_default();
        let up = |node: &NodeSeen| node.ready && !node.gone;
        let mut lost = seen.windows(2).enumerate().filter(|(_, pair)| up(pair[0].1) && !up(pair[1].1));
        let until = |at: usize| seen[at..].iter().find(|(_, node)| up(node)).map_or(Micros::MAX, |(at, _)| *at);
        lost.find(|(at, pair)| pair[1].0 <= to && from <= until(at + 2)).map(|(_, pair)| pair[1].0)
    }

    /// Whether so many objects are seen in an order that cannot be that the times themselves are wrong. Phases and
    /// steps come from one place, so one contradiction among them is enough.
    fn contradictions(&self) -> bool {
        let phases = self.phases.windows(2).any(|pair| pair[0].0 > pair[1].0);
        let steps = self
            .steps
            .values()
            .any(|changes| changes.windows(2).any(|pair| step_rank(pair[0].1.state) > step_rank(pair[1].1.state)));
        if phases || steps {
            return true;
        }
        let (mut objects, mut contradictory) = (0_usize, 0_usize);
        let mut count = |several: bool, wrong: bool| {
            objects += usize::from(several);
            contradictory += usize::from(wrong);
        };
        for life in &self.lives {
            count(life.seen.len() > 1, !life.coherent || self.endpoint_leads(life));
        }
        for workload in self.workloads.values() {
            let back = |before: &WorkloadSeen, after: &WorkloadSeen| {
                !before.gone
                    && (after.generation < before.generation || after.observed_generation < before.observed_generation)
            };
            count(workload.len() > 1, workload.windows(2).any(|pair| back(pair[0].1, pair[1].1)));
        }
        contradictory > 0 && contradictory * CONTRADICTIONS_ONE_IN >= objects
    }

    /// A Service has an endpoint of the pod ready, or terminating, long before the pod is.
    fn endpoint_leads(&self, life: &Life<'_>) -> bool {
        let leads = |endpoint: Option<Micros>, pod: Option<Micros>| match (endpoint, pod) {
            (Some(endpoint), Some(pod)) => endpoint < pod.saturating_sub(WATCH_SKEW_US),
            _ => false,
        };
        // A pod that was ready or terminating when it was first seen had been so for an unknown time.
        let since = |moment: Option<Micros>| moment.filter(|at| *at > life.first_seen());
        self.services.values().filter_map(|service| service.endpoint_of(life)).any(|endpoint| {
            leads(endpoint.first_ready(), since(life.first_ready())) || leads(endpoint.terminating, since(life.deleted))
        })
    }
}

/// The name in `namespace/name`.
pub(super) fn bare(pod: &str) -> &str {
    pod.rsplit('/').next().unwrap_or(pod)
}

fn step_rank(state: StepState) -> u8 {
    match state {
        StepState::Begun => 0,
        StepState::Effective => 1,
        StepState::Done | StepState::Failed | StepState::Aborted => 2,
    }
}
