//! The record's events told as moments, a sentence each: "pod shop-7d9-x2 is ready".
//!
//! Objects are recorded whole at each change; what a reader wants is what changed. [`Story`] remembers the last sight
//! of each object and tells the difference, the same way for the live view and for the report.

use std::collections::BTreeMap;

use crate::{
    record::{
        LOAD_ENDED,
        event::{
            BudgetSeen, ContainerSeen, EndReason, EndpointSeen, Event, EvictionAnswer, EvictionSeen, KubeEventSeen,
            Micros, NodeSeen, NoteKind, PodSeen, StepState, UndoState, What, WorkloadSeen,
        },
    },
    report::wording::{cut, plain},
};

/// What a moment is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum About {
    /// The run itself: phases, notes, its end.
    Run,
    /// A step or an undo.
    Step,
    /// A pod.
    Pod,
    /// A Service's endpoint.
    Endpoint,
    /// An eviction.
    Eviction,
    /// A node.
    Node,
    /// A workload.
    Workload,
    /// A budget.
    Budget,
    /// A warning Event of the cluster.
    Warning,
}

impl About {
    /// The word in tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Step => "step",
            Self::Pod => "pod",
            Self::Endpoint => "endpoint",
            Self::Eviction => "eviction",
            Self::Node => "node",
            Self::Workload => "workload",
            Self::Budget => "budget",
            Self::Warning => "warning",
        }
    }
}

/// How a moment sounds: what its colour says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it goes.
    Plain,
    /// Something came into order.
    Good,
    /// Something is worth a look.
    Caution,
    /// Something went wrong.
    Bad,
}

/// One thing that happened, in a sentence without control characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// When it was seen.
    pub at_us: Micros,
    /// What it is about.
    pub about: About,
    /// How it sounds.
    pub tone: Tone,
    /// What happened.
    pub text: String,
}

/// Longest text of a moment in characters: a message of the cluster says what it has to say in two lines.
const MOST_CHARS: usize = 240;

/// The last sight of every object; tells what changed.
#[derive(Debug, Default)]
pub struct Story {
    pods: BTreeMap<String, PodSeen>,
    endpoints: BTreeMap<(String, String), EndpointSeen>,
    budgets: BTreeMap<String, BudgetSeen>,
    nodes: BTreeMap<String, NodeSeen>,
    workloads: BTreeMap<String, WorkloadSeen>,
    /// Load has begun; before that no budget can be kept, since its pods are still coming.
    begun: bool,
    /// Load has ended: pods go since evenkeel cleans up, and nobody asks them any more.
    over: bool,
}

type Told = Vec<(About, Tone, String)>;

impl Story {
    /// All moments of a list of events.
    #[must_use]
    pub fn of(events: &[Event]) -> Vec<Moment> {
        let mut story = Self::default();
        events.iter().flat_map(|event| story.tell(event)).collect()
    }

    /// What this event adds to the story; often nothing.
    pub fn tell(&mut self, event: &Event) -> Vec<Moment> {
        let told = match &event.what {
            What::Pod(pod) => self.pod(pod),
            What::Endpoint(endpoint) => self.endpoint(endpoint),
            What::Budget(budget) => self.budget(budget),
            What::Node(node) => self.node(node),
            What::Workload(workload) => self.workload(workload),
            other => {
                self.begun |= matches!(other, What::Phase { .. });
                self.over |= matches!(other, What::Note(note) if note.text == LOAD_ENDED);
                without_memory(other)
            }
        };
        let own_doing = |about: About| self.over && matches!(about, About::Pod | About::Budget | About::Workload);
        let moment = |(about, tone, text): (About, Tone, String)| Moment {
            at_us: event.at_us,
            about,
            tone: if own_doing(about) { Tone::Plain } else { tone },
            text: cut(&plain(&text), MOST_CHARS),
        };
        told.into_iter().map(moment).collect()
    }

    fn pod(&mut self, now: &PodSeen) -> Told {
        let before = self.pods.insert(now.uid.clone(), now.clone());
        if now.gone {
            self.pods.remove(&now.uid);
        }
        let on = now.node.as_ref().map(|node| format!(" on {node}")).unwrap_or_default();
        let mut told = Told::new();
        let mut tell = |tone, text: String| told.push((About::Pod, tone, format!("pod {}{text}", now.name)));
        let Some(before) = before else {
            // What stood before the run is no news.
            if !now.ready && !now.terminating && !now.gone && now.phase == "Pending" {
                tell(Tone::Plain, format!(" was created{on}"));
            }
            return told;
        };
        if now.unschedulable.is_some() && before.unschedulable.is_none() {
            tell(Tone::Caution, format!(" cannot be scheduled: {}", now.unschedulable.as_deref().unwrap_or_default()));
        }
        if now.terminating && !before.terminating {
            let reason = now.disruption_reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
            tell(Tone::Caution, format!("{on} is being deleted{reason}"));
        }
        if now.restarts > before.restarts {
            tell(Tone::Bad, format!("{on} restarted its container, {} so far", now.restarts));
        }
        let exit_before = matches!(before.container, ContainerSeen::Terminated { .. });
        if let (ContainerSeen::Terminated { exit_code, reason, .. }, false) = (&now.container, exit_before) {
            let tone = if *exit_code == 0 || *exit_code == 143 { Tone::Plain } else { Tone::Bad };
            tell(tone, format!("{on} exited with {exit_code} ({reason})"));
        }
        if now.gone {
            tell(Tone::Plain, format!("{on} is gone"));
        } else if now.ready && !before.ready {
            tell(Tone::Good, format!("{on} is ready"));
        } else if !now.ready && before.ready {
            tell(Tone::Caution, format!("{on} is no longer ready"));
        }
        told
    }

    fn endpoint(&mut self, now: &EndpointSeen) -> Told {
        let key = (now.service.clone(), now.address.clone());
        let ready_before = self.endpoints.insert(key.clone(), now.clone()).map(|before| before.ready);
        if now.gone {
            self.endpoints.remove(&key);
        }
        let EndpointSeen { service, pod, .. } = now;
        let text = match (ready_before, now.ready && !now.gone) {
            (Some(false), true) => format!("{service} sends new connections to {pod}"),
            (Some(true), false) => format!("{service} sends no new connections to {pod} any more"),
            _ => return Told::new(),
        };
        vec![(About::Endpoint, Tone::Plain, text)]
    }

    fn budget(&mut self, now: &BudgetSeen) -> Told {
        let before = self.budgets.insert(now.name.clone(), now.clone());
        let Some(before) = before else { return Told::new() };
        let (healthy, wanted, name) = (now.current_healthy, now.desired_healthy, &now.name);
        let below = |budget: &BudgetSeen| budget.current_healthy < budget.desired_healthy;
        let (tone, text) = if !self.begun {
            return Told::new();
        } else if below(now) && !below(&before) {
            (Tone::Bad, format!("budget {name} is broken: {healthy} healthy, {wanted} wanted"))
        } else if !below(now) && below(&before) {
            (Tone::Good, format!("budget {name} is kept again: {healthy} healthy, {wanted} wanted"))
        } else if now.disruptions_allowed == 0 && before.disruptions_allowed > 0 {
            (Tone::Plain, format!("budget {name} allows no further eviction: {healthy} healthy, {wanted} wanted"))
        } else if now.disruptions_allowed > 0 && before.disruptions_allowed == 0 {
            (Tone::Plain, format!("budget {name} allows {} again", evictions(now.disruptions_allowed)))
        } else {
            return Told::new();
        };
        vec![(About::Budget, tone, text)]
    }

    fn node(&mut self, now: &NodeSeen) -> Told {
        let before = self.nodes.insert(now.name.clone(), now.clone());
        let Some(before) = before else { return Told::new() };
        let mut told = Told::new();
        let mut tell = |tone, text: &str| told.push((About::Node, tone, format!("node {} {text}", now.name)));
        match (before.unschedulable, now.unschedulable) {
            (false, true) => tell(Tone::Caution, "is cordoned"),
            (true, false) => tell(Tone::Good, "is schedulable again"),
            _ => {}
        }
        match (before.ready, now.ready) {
            _ if now.gone => tell(Tone::Bad, "is gone"),
            (true, false) => tell(Tone::Bad, "is not ready"),
            (false, true) => tell(Tone::Good, "is ready again"),
            _ => {}
        }
        told
    }

    fn workload(&mut self, now: &WorkloadSeen) -> Told {
        // A ReplicaSet only repeats what its Deployment and its pods say.
        if now.workload.starts_with("replicaset/") {
            return Told::new();
        }
        let before = self.workloads.insert(now.workload.clone(), now.clone());
        let Some(before) = before else { return Told::new() };
        let mut told = Told::new();
        let mut tell = |tone, text: String| told.push((About::Workload, tone, format!("{} {text}", now.workload)));
        if now.gone {
            tell(Tone::Caution, "is gone".to_owned());
        } else if now.wanted != before.wanted {
            tell(Tone::Plain, format!("is scaled from {} to {}", before.wanted, now.wanted));
        } else if now.generation != before.generation {
            tell(Tone::Plain, "has a new template: a rollout begins".to_owned());
        }
        if complete(now) && !complete(&before) {
            tell(Tone::Good, format!("is complete: {} of {} available", now.available, now.wanted));
        }
        told
    }
}

/// kubectl's rule for a finished rollout.
fn complete(workload: &WorkloadSeen) -> bool {
    workload.observed_generation >= workload.generation
        && workload.updated == workload.wanted
        && workload.replicas == workload.wanted
        && workload.available == workload.wanted
}

fn evictions(number: i32) -> String {
    if number == 1 { "1 eviction".to_owned() } else { format!("{number} evictions") }
}

fn without_memory(what: &What) -> Told {
    let told = match what {
        What::Phase { phase } => (About::Run, Tone::Plain, format!("phase {} begins", phase.as_str())),
        What::Step(step) => {
            let (tone, verb) = match step.state {
                StepState::Begun => (Tone::Plain, "begins"),
                StepState::Effective => (Tone::Plain, "has taken effect"),
                StepState::Done => (Tone::Good, "is done"),
                StepState::Failed => (Tone::Bad, "failed"),
                StepState::Aborted => (Tone::Bad, "was broken off"),
            };
            let detail = if step.detail.is_empty() { String::new() } else { format!(": {}", step.detail) };
            (About::Step, tone, format!("step {} {} {verb}{detail}", step.path, step.name))
        }
        What::Undo(undo) => {
            let (tone, verb) = match undo.state {
                UndoState::Registered => return Told::new(),
                UndoState::Verified => (Tone::Good, "is done, and seen to be"),
                UndoState::Failed => (Tone::Bad, "failed"),
            };
            let detail = if undo.detail.is_empty() { String::new() } else { format!(": {}", undo.detail) };
            (About::Step, tone, format!("undo {} {verb}{detail}", undo.action))
        }
        What::Eviction(eviction) => evicted(eviction),
        What::KubeEvent(event) if event.severity == "Warning" => warned(event),
        What::Note(note) => {
            let tone = match note.kind {
                NoteKind::Info => Tone::Plain,
                NoteKind::Taint => Tone::Caution,
                NoteKind::Error => Tone::Bad,
            };
            (About::Run, tone, note.text.clone())
        }
        What::Ended(ended) => match ended.reason {
            EndReason::Completed => (About::Run, Tone::Plain, "the run ends: all steps were done".to_owned()),
            EndReason::StepFailed => (About::Run, Tone::Bad, "the run ends: a step failed".to_owned()),
            EndReason::SetupFailed => (About::Run, Tone::Bad, "the run ends: the set-up failed".to_owned()),
            EndReason::Interrupted => (About::Run, Tone::Bad, "the run ends: it was interrupted".to_owned()),
        },
        _ => return Told::new(),
    };
    vec![told]
}

fn evicted(eviction: &EvictionSeen) -> (About, Tone, String) {
    let pod = eviction.pod.rsplit('/').next().unwrap_or_default();
    let attempt = if eviction.attempt > 1 { format!(", attempt {}", eviction.attempt) } else { String::new() };
    let (tone, answer) = match &eviction.answer {
        EvictionAnswer::Accepted => (Tone::Plain, "was accepted".to_owned()),
        EvictionAnswer::BudgetExhausted { .. } => (Tone::Caution, "was refused by its budget (429)".to_owned()),
        EvictionAnswer::StillProcessing { retry_after_s } => {
            (Tone::Caution, format!("has to wait for its budget's status (429, again in {retry_after_s} s)"))
        }
        EvictionAnswer::Gone => (Tone::Plain, "found no pod any more (404)".to_owned()),
        EvictionAnswer::NamespaceTerminating => (Tone::Plain, "found its namespace being removed (403)".to_owned()),
        EvictionAnswer::Refused { code, message } => (Tone::Bad, format!("was refused ({code}): {message}")),
    };
    (About::Eviction, tone, format!("eviction of {pod}{attempt} {answer}"))
}

fn warned(event: &KubeEventSeen) -> (About, Tone, String) {
    let often = if event.count > 1 { format!(" ({} times)", event.count) } else { String::new() };
    (About::Warning, Tone::Caution, format!("{} {}{often}: {}", event.object, event.reason, event.message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::schema::Phase;

    fn pod(change: impl FnOnce(&mut PodSeen)) -> What {
        let mut pod = PodSeen {
            name: "shop-1".to_owned(),
            uid: "u1".to_owned(),
            node: Some("worker2".to_owned()),
            phase: "Running".to_owned(),
            ready: true,
            ..PodSeen::default()
        };
        change(&mut pod);
        What::Pod(Box::new(pod))
    }

    fn told(whats: Vec<What>) -> Vec<String> {
        let events: Vec<Event> = whats.into_iter().map(|what| Event { at_us: 0, what }).collect();
        Story::of(&events).into_iter().map(|moment| moment.text).collect()
    }

    #[test]
    fn a_pods_life_is_told_change_by_change() {
        let exited = ContainerSeen::Terminated {
            exit_code: 137,
            reason: "Error".to_owned(),
            started_at: String::new(),
            finished_at: String::new(),
        };
        let whats = vec![
            pod(|p| (p.ready, p.phase) = (false, "Pending".to_owned())),
            pod(|_| {}),
            pod(|_| {}),
            pod(|p| (p.terminating, p.disruption_reason) = (true, Some("EvictionByEvictionAPI".to_owned()))),
            pod(|p| (p.terminating, p.ready, p.container) = (true, false, exited.clone())),
            pod(|p| (p.terminating, p.ready, p.container, p.gone) = (true, false, exited.clone(), true)),
        ];
        assert_eq!(
            told(whats),
            [
                "pod shop-1 was created on worker2",
                "pod shop-1 on worker2 is ready",
                "pod shop-1 on worker2 is being deleted (EvictionByEvictionAPI)",
                "pod shop-1 on worker2 exited with 137 (Error)",
                "pod shop-1 on worker2 is no longer ready",
                "pod shop-1 on worker2 is gone",
            ]
        );
    }

    #[test]
    fn what_stood_before_the_run_is_no_news() {
        let node = NodeSeen {
            name: "worker2".to_owned(),
            ready: true,
            unschedulable: true,
            taints: Vec::new(),
            zone: None,
            gone: false,
        };
        assert!(told(vec![pod(|_| {}), What::Node(node)]).is_empty());
    }

    #[test]
    fn a_refused_eviction_and_a_phase_are_told() {
        let eviction = EvictionSeen {
            pod: "shop/shop-1".to_owned(),
            node: "worker2".to_owned(),
            attempt: 2,
            took_us: 900,
            answer: EvictionAnswer::BudgetExhausted { message: "no".to_owned() },
        };
        assert_eq!(
            told(vec![What::Phase { phase: Phase::Fault }, What::Eviction(eviction)]),
            ["phase fault begins", "eviction of shop-1, attempt 2 was refused by its budget (429)"]
        );
    }

    #[test]
    fn what_the_clean_up_does_to_pods_and_budgets_after_the_load_is_not_bad() {
        let budget = |current_healthy| {
            What::Budget(BudgetSeen {
                name: "shop".to_owned(),
                selector: BTreeMap::default(),
                current_healthy,
                desired_healthy: 2,
                disruptions_allowed: 0,
                expected_pods: 3,
                observed: true,
            })
        };
        let note = |text: &str| What::Note(crate::record::event::Note { kind: NoteKind::Info, text: text.to_owned() });
        let killed = |p: &mut PodSeen| {
            p.container = ContainerSeen::Terminated {
                exit_code: 137,
                reason: "Error".to_owned(),
                started_at: String::new(),
                finished_at: String::new(),
            };
        };
        let tones = |marker: &str| {
            let whats =
                [What::Phase { phase: Phase::After }, budget(3), pod(|_| {}), note(marker), budget(0), pod(killed)];
            let events: Vec<Event> = whats.into_iter().map(|what| Event { at_us: 0, what }).collect();
            let told = Story::of(&events).into_iter().filter(|moment| moment.about != About::Run);
            told.map(|moment| (moment.tone, moment.text)).collect::<Vec<_>>()
        };
        let text = ["budget shop is broken: 0 healthy, 2 wanted", "pod shop-1 on worker2 exited with 137 (Error)"]
            .map(str::to_owned);
        assert_eq!(tones(LOAD_ENDED), text.clone().map(|text| (Tone::Plain, text)));
        assert_eq!(tones("load goes on"), text.map(|text| (Tone::Bad, text)));
    }

    #[test]
    fn a_rollout_begins_with_its_generation_and_ends_by_kubectls_rule() {
        let workload = |generation, observed_generation, updated, available| {
            What::Workload(WorkloadSeen {
                workload: "deployment/shop".to_owned(),
                wanted: 3,
                replicas: 3,
                updated,
                ready: 3,
                available,
                generation,
                observed_generation,
                gone: false,
            })
        };
        let whats = vec![workload(1, 1, 3, 3), workload(2, 1, 3, 3), workload(2, 2, 1, 3), workload(2, 2, 3, 3)];
        assert_eq!(
            told(whats),
            ["deployment/shop has a new template: a rollout begins", "deployment/shop is complete: 3 of 3 available"]
        );
    }
}
