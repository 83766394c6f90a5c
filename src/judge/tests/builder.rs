//! Synthetic records, told as scenes: pods that come and go, requests that are lost, times in seconds.

use std::collections::BTreeMap;

use crate::{
    experiment::schema::{Experiment, Phase},
    record::{
        Record, RecordedInterval,
        event::{
            BudgetSeen, ContainerSeen, EndReason, Ended, EndpointSeen, Event, EvictionAnswer, EvictionSeen,
            KubeEventSeen, LaneInterval, LostRequest, Micros, NodeSeen, Note, NoteKind, Outcome, PodSeen, PreStop,
            RetrySafe, SlowRequest, Started, StepChange, StepState, What, WorkloadSeen,
        },
        samples::{Samples, empty_histogram},
    },
};

/// Requests of a lane that fall due in one interval of 100 ms.
pub const PER_INTERVAL: u64 = 10;

/// Seconds as the record's microseconds.
#[expect(clippy::cast_possible_truncation, reason = "tests use small times")]
pub fn at(seconds: f64) -> Micros {
    (seconds * 1e6).round() as Micros
}

/// Two lanes at 100/s to the Service `shop`: `new` with new connections, `reused` with reused ones.
pub fn experiment(expect: &serde_json::Value) -> Experiment {
    let lane = |name: &str, connections: serde_json::Value| serde_json::json!({ "name": name, "from": "inside", "service": "shop", "rate": "100/s", "connections": connections });
    serde_json::from_value(serde_json::json!({
        "apiVersion": "evenkeel/v1",
        "kind": "Experiment",
        "metadata": { "name": "scene", "scenario": "B1" },
        "spec": {
            "given": { "namespace": "shop", "ready": ["deployment/shop"] },
            "load": [lane("new", "new".into()), lane("reused", serde_json::json!({ "reused": 4 }))],
            "steps": [{ "drain": { "nodes": { "count": 1 } } }, { "wait": { "time": "1s" } }],
            "expect": expect,
        }
    }))
    .unwrap()
}

/// A run being told.
#[derive(Debug, Clone)]
pub struct Scene {
    pub experiment: Experiment,
    pub events: Vec<Event>,
    /// Each further observation of a pod begins from its last.
    pods: BTreeMap<String, PodSeen>,
    template: PodSeen,
    /// When the load ends.
    pub end: f64,
    /// The send lag of single intervals, by lane and index.
    pub lags: BTreeMap<(String, i64), i64>,
    pub unsent: u64,
    /// Pods that name themselves in answers, each from a time on.
    pub answers: Vec<(&'static str, f64)>,
}

impl Scene {
    /// Phases before 0 s, fault 5 s, undo 20 s, after 22 s, end 30 s; a Deployment of three; pods with a preStop sleep
    /// of 5 s and a readiness probe.
    pub fn new() -> Self {
        let template = PodSeen {
            namespace: "shop".to_owned(),
            labels: BTreeMap::from([("app".to_owned(), "shop".to_owned())]),
            owner: Some("replicaset/shop-7d9f".to_owned()),
            spec_grace_seconds: 30,
            has_readiness_probe: true,
            pre_stop: Some(PreStop::Sleep(5_000)),
            container_name: "web".to_owned(),
            port: Some(8080),
            image: "evenkeel/demo:v1".to_owned(),
            ..PodSeen::default()
        };
        let mut scene = Self {
            experiment: experiment(&serde_json::json!([{ "lost": { "atMost": 0 } }])),
            events: Vec::new(),
            pods: BTreeMap::new(),
            template,
            end: 30.0,
            lags: BTreeMap::new(),
            unsent: 0,
            answers: Vec::new(),
        };
        scene.see(-12.0, What::Started(started()));
        for (phase, begin) in Phase::ALL.into_iter().zip([0.0, 5.0, 20.0, 22.0]) {
            scene.see(begin, What::Phase { phase });
        }
        scene.step("1", "drain", &[(5.0, StepState::Begun), (5.1, StepState::Effective), (15.0, StepState::Done)]);
        scene.step("2", "wait", &[(15.0, StepState::Begun), (16.0, StepState::Done)]);
        scene.workload(-5.0, 3, 3);
        scene
    }

    /// Three pods on three nodes, ready since before the load.
    pub fn three_pods() -> Self {
        let mut scene = Self::new();
        for (pod, node) in [("shop-7d9f-a", "n1"), ("shop-7d9f-b", "n2"), ("shop-7d9f-c", "n3")] {
            scene.node(-10.0, node, true, false);
            scene.start(pod, node, [-9.0, -8.0, -6.0]);
        }
        scene
    }

    pub fn expecting(mut self, expect: &serde_json::Value) -> Self {
        self.experiment = experiment(expect);
        self
    }

    /// A send of lane `new` in an interval is late.
    pub fn late(&mut self, index: i64, lag_us: i64) {
        self.lags.insert(("new".to_owned(), index), lag_us);
    }

    pub fn template(&mut self, change: impl FnOnce(&mut PodSeen)) {
        change(&mut self.template);
    }

    pub fn see(&mut self, seconds: f64, what: What) {
        self.events.push(Event { at_us: at(seconds), what });
    }

    pub fn step(&mut self, path: &str, name: &str, states: &[(f64, StepState)]) {
        for (seconds, state) in states {
            let (path, name, detail) = (path.to_owned(), name.to_owned(), "did it".to_owned());
            self.see(*seconds, What::Step(StepChange { path, name, state: *state, detail, targets: Vec::new() }));
        }
    }

    pub fn workload(&mut self, seconds: f64, wanted: i32, available: i32) {
        let (replicas, updated, ready) = (wanted, wanted, available);
        self.see(
            seconds,
            What::Workload(WorkloadSeen {
                workload: "deployment/shop".to_owned(),
                wanted,
                replicas,
                updated,
                ready,
                available,
                generation: 1,
                observed_generation: 1,
                gone: false,
            }),
        );
    }

    /// The Deployment gets a new template.
    pub fn new_template(&mut self, seconds: f64) {
        self.workload(seconds, 3, 0);
        if let Some(What::Workload(workload)) = self.events.last_mut().map(|event| &mut event.what) {
            (workload.generation, workload.observed_generation, workload.updated) = (2, 2, 0);
        }
    }

    /// An Event of the cluster about a pod.
    pub fn told(&mut self, seconds: f64, pod: &str, reason: &str, message: &str) {
        let (object, reason, message) = (format!("pod/{pod}"), reason.to_owned(), message.to_owned());
        self.see(
            seconds,
            What::KubeEvent(KubeEventSeen { object, reason, message, severity: "Warning".to_owned(), count: 1 }),
        );
    }

    pub fn node(&mut self, seconds: f64, name: &str, ready: bool, unschedulable: bool) {
        let name = name.to_owned();
        self.see(seconds, What::Node(NodeSeen { name, ready, unschedulable, taints: vec![], zone: None, gone: false }));
    }

    pub fn budget(&mut self, seconds: f64, current_healthy: i32, desired_healthy: i32) {
        self.see(
            seconds,
            What::Budget(BudgetSeen {
                name: "shop".to_owned(),
                selector: BTreeMap::from([("app".to_owned(), "shop".to_owned())]),
                current_healthy,
                desired_healthy,
                disruptions_allowed: (current_healthy - desired_healthy).max(0),
                expected_pods: 3,
                observed: true,
            }),
        );
    }

    pub fn eviction(&mut self, seconds: f64, pod: &str, attempt: u32, answer: EvictionAnswer) {
        let (pod, node) = (format!("shop/{pod}"), "n1".to_owned());
        self.see(seconds, What::Eviction(EvictionSeen { pod, node, attempt, took_us: 3_000, answer }));
    }

    /// Changes a pod as it was last seen.
    pub fn pod(&mut self, seconds: f64, name: &str, change: impl FnOnce(&mut PodSeen)) {
        let template = &self.template;
        let pod = self.pods.entry(name.to_owned()).or_insert_with(|| PodSeen {
            name: name.to_owned(),
            uid: format!("uid-{name}"),
            phase: "Pending".to_owned(),
            ..template.clone()
        });
        change(pod);
        let pod = pod.clone();
        self.see(seconds, What::Pod(Box::new(pod)));
    }

    pub fn endpoint(&mut self, seconds: f64, pod: &str, ready: bool, terminating: bool, gone: bool) {
        let (service, pod, address) = ("shop".to_owned(), pod.to_owned(), String::new());
        let serving = ready || terminating;
        self.see(seconds, What::Endpoint(EndpointSeen { service, pod, address, ready, serving, terminating, gone }));
    }

    /// A pod that is created, whose container runs, that is ready and an endpoint.
    pub fn start(&mut self, pod: &str, node: &str, [created, running, ready]: [f64; 3]) {
        self.pod(created, pod, |_| ());
        self.pod(created + 0.1, pod, |seen| seen.node = Some(node.to_owned()));
        let same = running >= ready;
        self.pod(running, pod, |seen| {
            "Running".clone_into(&mut seen.phase);
            seen.container = ContainerSeen::Running { started_at: "2026-01-01T00:00:00Z".to_owned() };
            seen.ready = same;
        });
        if !same {
            self.pod(ready, pod, |seen| seen.ready = true);
        }
        self.endpoint(ready + 0.05, pod, true, false, false);
    }

    /// A graceful deletion: its endpoint is off 0.1 s later; the container ends and the object goes when said.
    pub fn delete(&mut self, pod: &str, deleted: f64, [exited, gone]: [f64; 2], evicted: bool) {
        self.pod(deleted, pod, |seen| {
            seen.terminating = true;
            seen.grace_seconds = Some(30);
            seen.disruption_reason = evicted.then(|| "EvictionByEvictionAPI".to_owned());
        });
        self.endpoint(deleted + 0.1, pod, false, true, false);
        self.pod(exited, pod, |seen| {
            seen.ready = false;
            seen.container = terminated(0);
        });
        self.pod(gone, pod, |seen| seen.gone = true);
        self.endpoint(gone + 0.1, pod, false, true, true);
    }

    /// A removal by force: the object is gone at once.
    pub fn force(&mut self, pod: &str, deleted: f64) {
        self.pod(deleted, pod, |seen| {
            seen.terminating = true;
            seen.grace_seconds = Some(0);
            seen.gone = true;
        });
        self.endpoint(deleted + 0.1, pod, false, true, true);
    }

    /// The container ends by itself and is restarted and ready again 4 s later.
    pub fn crash(&mut self, pod: &str, when: f64) {
        self.pod(when, pod, |seen| {
            seen.ready = false;
            seen.container = terminated(137);
        });
        self.endpoint(when + 0.1, pod, false, false, false);
        self.pod(when + 2.0, pod, |seen| {
            seen.restarts += 1;
            seen.container = ContainerSeen::Running { started_at: "2026-01-01T00:01:00Z".to_owned() };
        });
        self.pod(when + 4.0, pod, |seen| seen.ready = true);
        self.endpoint(when + 4.1, pod, true, false, false);
    }

    /// A lost request on a new connection, with its outcome, sent when it was due.
    pub fn lose(&mut self, outcome: Outcome, sent: f64) -> &mut LostRequest {
        let took = match outcome {
            Outcome::ConnectTimeout => 1.0,
            Outcome::RequestTimeout => 2.0,
            _ => 0.002,
        };
        let lost = LostRequest {
            lane: "new".to_owned(),
            outcome,
            intended_us: at(sent),
            sent_us: at(sent),
            ended_us: at(sent + took),
            connection_uses: 0,
            connection_age_us: 0,
            bytes_out: 0,
            bytes_in: 0,
            reached: None,
            local: None,
            peer: None,
            status: None,
            pod: None,
            retry_safe: RetrySafe::Yes,
            error: String::new(),
        };
        self.see(sent + took, What::Lost(Box::new(lost)));
        match &mut self.events.last_mut().unwrap().what {
            What::Lost(lost) => lost,
            _ => unreachable!(),
        }
    }

    /// A lost request on a reused connection to a known pod.
    pub fn lose_reused(&mut self, outcome: Outcome, pod: &str, sent: f64) -> &mut LostRequest {
        let lost = self.lose(outcome, sent);
        "reused".clone_into(&mut lost.lane);
        lost.connection_uses = 40;
        lost.connection_age_us = at(2.0);
        lost.pod = Some(pod.to_owned());
        lost
    }

    /// Several lost requests on new connections, 30 ms apart.
    pub fn lose_many(&mut self, outcome: Outcome, from: f64, count: u32) {
        for n in 0..count {
            self.lose(outcome, from + 0.03 * f64::from(n));
        }
    }

    /// A request on a reused connection to a pod that names itself, answered so many seconds after it was sent.
    pub fn slow(&mut self, pod: &str, sent: f64, took: f64) -> &mut SlowRequest {
        let slow = SlowRequest {
            lane: "new".to_owned(),
            intended_us: at(sent),
            sent_us: at(sent),
            written_us: Some(at(sent)),
            ended_us: at(sent + took),
            connection_uses: 40,
            connection_age_us: at(2.0),
            bytes_in: 120,
            status: Some(200),
            pod: Some(pod.to_owned()),
            ..SlowRequest::default()
        };
        self.see(sent + took, What::Slow(Box::new(slow)));
        match &mut self.events.last_mut().unwrap().what {
            What::Slow(slow) => slow,
            _ => unreachable!(),
        }
    }

    pub fn note(&mut self, seconds: f64, kind: NoteKind, text: &str) {
        self.see(seconds, What::Note(Note { kind, text: text.to_owned() }));
    }

    /// The record of a run that came to its end.
    pub fn record(&self) -> Record {
        self.record_ended(Some(EndReason::Completed))
    }

    /// The record with its load: each lane has ten requests in each interval, of which some are lost.
    pub fn record_ended(&self, reason: Option<EndReason>) -> Record {
        let mut scene = self.clone();
        let mut intervals = Vec::new();
        let unsent_at = (scene.unsent > 0).then_some(0);
        for lane in ["new", "reused"] {
            for index in 0..at(self.end) / 100_000 {
                let start_us = index * 100_000;
                let mut by_outcome = BTreeMap::new();
                for event in &self.events {
                    let What::Lost(lost) = &event.what else { continue };
                    if lost.lane == lane && (start_us..start_us + 100_000).contains(&lost.intended_us) {
                        *by_outcome.entry(lost.outcome).or_default() += 1;
                    }
                }
                let lost: u64 = by_outcome.values().sum();
                by_outcome.insert(Outcome::Ok, PER_INTERVAL.saturating_sub(lost));
                if unsent_at == Some(index) {
                    by_outcome.insert(Outcome::NotSent, self.unsent);
                }
                let send_lag_max_us = self.lags.get(&(lane.to_owned(), index)).copied().unwrap_or(300);
                let answering = self.answers.iter().filter(|(_, from)| at(*from) <= start_us);
                let counts = LaneInterval {
                    by_pod: answering.map(|(pod, _)| ((*pod).to_owned(), 1.into())).collect(),
                    lane: lane.to_owned(),
                    start_us,
                    length_us: 100_000,
                    by_outcome,
                    send_lag_max_us,
                    ..LaneInterval::default()
                };
                scene.events.push(Event { at_us: start_us + 110_000, what: What::Load(counts) });
                intervals.push(interval(lane, start_us));
            }
        }
        if let Some(reason) = reason {
            scene.see(self.end + 5.0, What::Ended(Ended { reason, undo_complete: true }));
        }
        scene.events.sort_by_key(|event| event.at_us);
        intervals.sort_by_key(|interval: &RecordedInterval| interval.start_us);
        Record {
            experiment: scene.experiment,
            plan: serde_json::Value::Null,
            events: scene.events,
            intervals,
            damage: Vec::new(),
        }
    }
}

/// An interval's histograms: ten requests from 1 to 10 ms.
pub fn interval(lane: &str, start_us: Micros) -> RecordedInterval {
    let mut histogram = empty_histogram().unwrap();
    (1..=PER_INTERVAL).for_each(|n| histogram.record(n * 1_000).unwrap());
    let response = Samples::from(&histogram);
    RecordedInterval { lane: lane.to_owned(), start_us, length_us: 100_000, response }
}

fn started() -> Started {
    Started {
        format: crate::record::event::FORMAT,
        version: "0.1.0".to_owned(),
        experiment: "scene".to_owned(),
        on: "kind:test".to_owned(),
        server_version: "v1.34.4".to_owned(),
        wall_clock: "2026-01-01T00:00:12Z".to_owned(),
    }
}

fn terminated(exit_code: i32) -> ContainerSeen {
    let time = |second: u8| format!("2026-01-01T00:00:{second:02}Z");
    ContainerSeen::Terminated { exit_code, reason: "Error".to_owned(), started_at: time(0), finished_at: time(30) }
}
