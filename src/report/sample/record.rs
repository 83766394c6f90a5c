//! A minute of a made-up cluster that fits the broken verdict: worker2 is drained, with a budget that refuses, then
//! deployment/shop is rolled, and pods exit before their endpoints are gone. The numbers are drawn from a fixed seed.

use std::collections::BTreeMap;

use serde_json::json;

use crate::{
    experiment::schema::{Experiment, Phase},
    record::{
        Record, RecordedInterval,
        event::{
            BudgetSeen, ContainerSeen, EndReason, Ended, EndpointSeen, Event, EvictionAnswer, EvictionSeen,
            KubeEventSeen, LaneInterval, LostRequest, NodeSeen, Note, NoteKind, Outcome, PodSeen, RetrySafe, Started,
            StepChange, StepState, UndoChange, UndoState, What, WorkloadSeen,
        },
        samples::{Samples, empty_histogram},
    },
};

/// A linear congruential generator (Knuth's constants for MMIX): the same numbers each time.
struct Dice(u64);

impl Dice {
    /// A number from 0 to 1.
    fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

struct Maker {
    events: Vec<Event>,
    dice: Dice,
}

impl Maker {
    fn at(&mut self, ms: i64, what: What) {
        self.events.push(Event { at_us: ms * 1_000, what });
    }

    fn step(&mut self, ms: i64, path: &str, name: &str, state: StepState, detail: &str) {
        let (path, name, detail) = (path.to_owned(), name.to_owned(), detail.to_owned());
        self.at(ms, What::Step(StepChange { path, name, state, detail, targets: Vec::new() }));
    }

    fn node(&mut self, ms: i64, name: &str, unschedulable: bool) {
        let zone = Some(format!("zone-{}", &name[name.len() - 1..]));
        self.at(
            ms,
            What::Node(NodeSeen {
                name: name.to_owned(),
                ready: true,
                unschedulable,
                taints: Vec::new(),
                zone,
                gone: false,
            }),
        );
    }

    fn budget(&mut self, ms: i64, current_healthy: i32) {
        let disruptions_allowed = (current_healthy - 5).max(0);
        let selector = BTreeMap::from([("app".to_owned(), "shop".to_owned())]);
        let name = "shop".to_owned();
        self.at(
            ms,
            What::Budget(BudgetSeen {
                name,
                selector,
                current_healthy,
                desired_healthy: 5,
                disruptions_allowed,
                expected_pods: 6,
                observed: true,
            }),
        );
    }

    fn workload(&mut self, ms: i64, generation: i64, updated: i32, available: i32) {
        self.at(
            ms,
            What::Workload(WorkloadSeen {
                workload: "deployment/shop".to_owned(),
                wanted: 6,
                replicas: 6,
                updated,
                ready: available,
                available,
                generation,
                observed_generation: generation,
                gone: false,
            }),
        );
    }

    fn evicted(&mut self, ms: i64, pod: &str, attempt: u32, accepted: bool) {
        let message = "Cannot evict pod as it would violate the pod's disruption budget.".to_owned();
        let answer = if accepted { EvictionAnswer::Accepted } else { EvictionAnswer::BudgetExhausted { message } };
        let pod = format!("shop/{pod}");
        self.at(ms, What::Eviction(EvictionSeen { pod, node: "worker2".to_owned(), attempt, took_us: 4_200, answer }));
    }

    fn pod(&mut self, ms: i64, name: &str, node: &str, change: impl FnOnce(&mut PodSeen)) {
        let app = name.split('-').next().unwrap_or_default();
        let mut pod = PodSeen {
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            uid: format!("uid-{name}"),
            labels: BTreeMap::from([("app".to_owned(), app.to_owned())]),
            owner: Some("replicaset/shop-7d9f6c5b8".to_owned()),
            node: Some(node.to_owned()),
            ip: Some(address(name)),
            phase: "Running".to_owned(),
            ready: true,
            spec_grace_seconds: 30,
            has_readiness_probe: true,
            image: "evenkeel/demo:v1".to_owned(),
            container: ContainerSeen::Running { started_at: "2026-11-20T14:00:00Z".to_owned() },
            ..PodSeen::default()
        };
        change(&mut pod);
        self.at(ms, What::Pod(Box::new(pod)));
    }

    fn endpoint(&mut self, ms: i64, pod: &str, ready: bool, terminating: bool, gone: bool) {
        let (service, pod, address) = ("shop".to_owned(), pod.to_owned(), address(pod));
        self.at(ms, What::Endpoint(EndpointSeen { service, pod, address, ready, serving: ready, terminating, gone }));
    }

    fn born(&mut self, ms: i64, name: &str, node: &str) {
        self.pod(ms, name, node, |pod| {
            (pod.ready, pod.phase, pod.container) = (false, "Pending".to_owned(), ContainerSeen::None);
        });
        self.pod(ms + 900, name, node, |pod| pod.ready = false);
        self.pod(ms + 2_700, name, node, |_| {});
        self.endpoint(ms + 2_750, name, true, false, false);
    }

    fn dies(&mut self, ms: i64, name: &str, node: &str, evicted: bool) {
        let exited = || ContainerSeen::Terminated {
            exit_code: 0,
            reason: "Completed".to_owned(),
            started_at: "2026-11-20T14:00:00Z".to_owned(),
            finished_at: "2026-11-20T14:01:00Z".to_owned(),
        };
        let reason = evicted.then(|| "EvictionByEvictionAPI".to_owned());
        self.pod(ms, name, node, |pod| {
            (pod.terminating, pod.disruption_reason, pod.grace_seconds) = (true, reason.clone(), Some(30));
        });
        self.pod(ms + 240, name, node, |pod| (pod.terminating, pod.container) = (true, exited()));
        self.endpoint(ms + 1_900, name, false, true, false);
        self.pod(ms + 2_000, name, node, |pod| {
            (pod.terminating, pod.ready, pod.container) = (true, false, exited());
        });
        self.pod(ms + 2_600, name, node, |pod| {
            (pod.terminating, pod.ready, pod.gone, pod.container) = (true, false, true, exited());
        });
        self.endpoint(ms + 2_650, name, false, true, true);
    }
}

/// An address for each name.
fn address(pod: &str) -> String {
    let sum = |bytes: &[u8]| bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(*byte));
    format!("10.244.{}.{}", sum(pod.as_bytes()) % 8, sum(pod.as_bytes()))
}

/// The record. It fits [`super::broken`].
pub fn record() -> Record {
    let mut maker = Maker { events: Vec::new(), dice: Dice(42) };
    before(&mut maker);
    drain(&mut maker);
    rollout(&mut maker);
    after(&mut maker);
    let intervals = load(&mut maker);
    maker.events.sort_by_key(|event| event.at_us);
    let plan = json!({"steps": [
        {"path": "1", "does": "drain node/worker2: 2 pods of shop, the budget shop allows 1 at a time"},
        {"path": "2", "does": "set image of deployment/shop, container shop, to evenkeel/demo:v2"},
    ]});
    Record { experiment: experiment(), plan, events: maker.events, intervals, damage: Vec::new() }
}

fn experiment() -> Experiment {
    let experiment = json!({
        "apiVersion": "evenkeel/v1",
        "kind": "Experiment",
        "metadata": {"name": "drain-and-rollout", "scenario": "B2", "where": "kind", "twinOf": "drain-and-rollout-good"},
        "spec": {
            "given": {
                "namespace": "shop",
                "apply": [
                    {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "stringData": {"key": "s3cr3t"}},
                    {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"}, "spec": {"replicas": 6}},
                ],
                "ready": ["deployment/shop"],
            },
            "load": [
                {"name": "new", "from": "outside", "service": "shop", "rate": "100/s", "connections": "new"},
                {"name": "reused", "from": "inside", "service": "shop", "rate": "100/s", "connections": {"reused": 16}},
            ],
            "phases": {"before": "8s", "after": "11s"},
            "steps": [
                {"drain": {"nodes": {"withPods": {"app": "shop"}, "count": 1}, "ignoreDaemonsets": true}},
                {"rollingUpdate": {"workload": "deployment/shop", "image": "evenkeel/demo:v2"}},
                {"wait": {"rollout": "deployment/shop"}},
            ],
            "expect": [{"lost": {"atMost": 0}}, {"budget": {"name": "shop"}}],
        },
    });
    serde_json::from_value(experiment).unwrap()
}

const OLD: [(&str, &str); 6] = [
    ("shop-7d9f6c5b8-x2lqp", "worker2"),
    ("shop-7d9f6c5b8-k8wtz", "worker2"),
    ("shop-7d9f6c5b8-b4nhj", "worker1"),
    ("shop-7d9f6c5b8-fv9rd", "worker1"),
    ("shop-7d9f6c5b8-m7c2s", "worker3"),
    ("shop-7d9f6c5b8-z5gqn", "worker3"),
];

fn before(maker: &mut Maker) {
    maker.at(
        -4_000,
        What::Started(Started {
            format: 1,
            version: "0.1.0".to_owned(),
            experiment: "drain-and-rollout".to_owned(),
            on: "kind:nightly".to_owned(),
            server_version: "v1.34.4".to_owned(),
            wall_clock: "2026-11-20T14:21:07.512Z".to_owned(),
        }),
    );
    for node in ["control-plane0", "worker1", "worker2", "worker3"] {
        maker.node(-3_900, node, false);
    }
    for (name, node) in OLD {
        maker.pod(-3_800, name, node, |_| {});
        maker.endpoint(-3_800, name, true, false, false);
    }
    maker.pod(-3_800, "evenkeel-agent-0", "worker3", |_| {});
    maker.budget(-3_800, 6);
    maker.workload(-3_800, 1, 6, 6);
    for (ms, phase) in [(0, Phase::Before), (8_000, Phase::Fault), (48_000, Phase::Undo), (49_000, Phase::After)] {
        maker.at(ms, What::Phase { phase });
    }
}

fn drain(maker: &mut Maker) {
    let undo = |state| {
        let action = "uncordon node/worker2".to_owned();
        What::Undo(UndoChange { action, state, detail: String::new() })
    };
    maker.step(8_000, "1", "drain", StepState::Begun, "node/worker2");
    maker.at(8_010, undo(UndoState::Registered));
    maker.node(8_060, "worker2", true);
    maker.evicted(8_120, OLD[0].0, 1, true);
    maker.evicted(8_124, OLD[1].0, 1, false);
    maker.step(8_130, "1", "drain", StepState::Effective, "the first eviction was accepted");
    maker.dies(9_100, OLD[0].0, "worker2", true);
    maker.budget(8_140, 5);
    maker.born(9_160, "shop-7d9f6c5b8-q1aaa", "worker1");
    maker.evicted(13_130, OLD[1].0, 2, false);
    maker.budget(11_900, 6);
    maker.evicted(18_140, OLD[1].0, 3, true);
    maker.budget(18_150, 5);
    maker.dies(18_150, OLD[1].0, "worker2", true);
    maker.born(18_220, "shop-7d9f6c5b8-q2bbb", "worker3");
    maker.budget(20_970, 6);
    maker.step(22_200, "1", "drain", StepState::Done, "node/worker2: 2 pods evicted, 2 evictions refused");
    maker.at(48_100, undo(UndoState::Verified));
    maker.node(48_090, "worker2", false);
}

fn rollout(maker: &mut Maker) {
    maker.step(24_200, "2", "rollingUpdate", StepState::Begun, "image of deployment/shop to evenkeel/demo:v2");
    maker.step(24_300, "2", "rollingUpdate", StepState::Done, "image of deployment/shop to evenkeel/demo:v2");
    maker.step(24_300, "3", "wait", StepState::Begun, "rollout of deployment/shop");
    maker.workload(24_320, 2, 0, 6);
    let old =
        [OLD[2], OLD[3], OLD[4], OLD[5], ("shop-7d9f6c5b8-q1aaa", "worker1"), ("shop-7d9f6c5b8-q2bbb", "worker3")];
    for (n, (name, node)) in (0_i32..).zip(old) {
        let at = 24_500 + i64::from(n) * 3_700;
        let new = format!(
            "shop-5c4d8e7f9-{}",
            ["aa1xx", "bb2yy", "cc3zz", "dd4vv", "ee5ww", "ff6uu"][n.unsigned_abs() as usize]
        );
        maker.born(at, &new, if n % 2 == 0 { "worker1" } else { "worker3" });
        maker.workload(at + 2_800, 2, n + 1, 6);
        maker.dies(at + 2_900, name, node, false);
        maker.workload(at + 2_950, 2, n + 1, 5);
        maker.workload(at + 3_300, 2, n + 1, 6);
    }
    let object = "pod/shop-5c4d8e7f9-cc3zz".to_owned();
    let message = "Readiness probe failed: Get \"http://10.244.1.12:8080/ready\": connection refused".to_owned();
    let (reason, severity) = ("Unhealthy".to_owned(), "Warning".to_owned());
    maker.at(33_100, What::KubeEvent(KubeEventSeen { object, reason, message, severity, count: 1 }));
    maker.step(47_900, "3", "wait", StepState::Done, "deployment/shop rolled out, old pods gone");
}

fn after(maker: &mut Maker) {
    let text = "the agent pod's clock is 0.4 ms ahead; its times were moved".to_owned();
    maker.at(2_000, What::Note(Note { kind: NoteKind::Info, text }));
    maker.at(60_000, What::Ended(Ended { reason: EndReason::Completed, undo_complete: true }));
}

/// When requests of a lane are lost, how many of each interval, and how.
const LOSSES: [(&str, i64, i64, u64, Outcome); 8] = [
    ("new", 9_300, 10_500, 4, Outcome::Refused),
    ("new", 28_700, 29_600, 4, Outcome::Refused),
    ("new", 36_900, 37_700, 4, Outcome::Refused),
    ("new", 37_700, 37_800, 2, Outcome::Refused),
    ("reused", 9_300, 9_500, 5, Outcome::ReusedConnectionClosed),
    ("reused", 28_700, 28_800, 6, Outcome::ReusedConnectionClosed),
    ("reused", 36_900, 37_000, 4, Outcome::CutMidAnswer),
    ("reused", 37_000, 37_100, 5, Outcome::ReusedConnectionClosed),
];

fn load(maker: &mut Maker) -> Vec<RecordedInterval> {
    let mut intervals = Vec::new();
    for lane in ["new", "reused"] {
        for start_ms in (0..60_000).step_by(100) {
            let lost = LOSSES.iter().find(|(of, from, to, ..)| *of == lane && (*from..*to).contains(&start_ms));
            let mut histogram = empty_histogram().unwrap();
            let trouble = (9_000..11_500).contains(&start_ms) || (27_000..44_000).contains(&start_ms);
            for _ in 0..10 {
                let base = if lane == "new" { 1_900.0 } else { 900.0 };
                let rare = maker.dice.roll();
                let tail = if trouble && rare > 0.93 {
                    80.0
                } else if rare > 0.97 {
                    4.0
                } else {
                    1.0
                };
                let us = base * (0.8 + maker.dice.roll() * 0.6) * (1.0 + tail * maker.dice.roll());
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "milliseconds of a sample"
                )]
                histogram.record(us as u64).unwrap();
            }
            let n = lost.map_or(0, |(.., n, _)| *n);
            let mut by_outcome = BTreeMap::from([(Outcome::Ok, 10 - n)]);
            if let Some((.., outcome)) = lost {
                by_outcome.insert(*outcome, n);
                for nth in 0..n {
                    lose(maker, lane, start_ms + i64::try_from(nth).unwrap() * 10, *outcome);
                }
            }
            let (lane, start_us) = (lane.to_owned(), start_ms * 1_000);
            let load =
                LaneInterval { lane: lane.clone(), start_us, length_us: 100_000, by_outcome, ..Default::default() };
            maker.at(start_ms + 150, What::Load(load));
            let response = Samples::from(&histogram);
            intervals.push(RecordedInterval { lane, start_us, length_us: 100_000, response });
        }
    }
    intervals
}

fn lose(maker: &mut Maker, lane: &str, ms: i64, outcome: Outcome) {
    let dying = if ms < 20_000 {
        OLD[0].0
    } else if ms < 32_000 {
        OLD[2].0
    } else {
        OLD[4].0
    };
    let reused = outcome != Outcome::Refused;
    maker.at(
        ms + 2,
        What::Lost(Box::new(LostRequest {
            lane: lane.to_owned(),
            outcome,
            intended_us: ms * 1_000,
            sent_us: ms * 1_000 + 40,
            ended_us: ms * 1_000 + 900,
            connection_uses: u32::from(reused) * 57,
            connection_age_us: i64::from(reused) * 8_400_000,
            bytes_out: 0,
            bytes_in: if outcome == Outcome::CutMidAnswer { 310 } else { 0 },
            reached: None,
            local: None,
            peer: None,
            status: None,
            pod: reused.then(|| dying.to_owned()),
            retry_safe: if reused { RetrySafe::Idempotent } else { RetrySafe::Yes },
            error: if reused {
                "connection closed before message completed"
            } else {
                "connection refused (os error 111)"
            }
            .to_owned(),
        })),
    );
}
