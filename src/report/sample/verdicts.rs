//! Verdicts of every kind, as the judge would give them.

use std::collections::BTreeMap;

use crate::{
    experiment::schema::Phase,
    judge::verdict::{
        Answer, BudgetClaim, Expected, Finding, LaneSummary, Latency, Outage, Patch, PatchHow, PhaseSummary, PodClaim,
        Requests, SlowLane, SlowSummary, SlowTold, StepSummary, Tainted, TaintedBy, UndoSummary, Verdict,
    },
    record::event::Outcome,
};

fn requests(sent: u64, by_kind: &[(Outcome, u64)], by_cause: &[(&str, u64)]) -> Requests {
    let lost = by_kind.iter().map(|(_, n)| n).sum();
    Requests {
        sent,
        ok: sent - lost,
        lost,
        lost_after_retry: lost,
        unsent: 0,
        lost_tainted: 0,
        by_kind: by_kind.iter().copied().collect(),
        by_cause: by_cause.iter().map(|(cause, n)| ((*cause).to_owned(), *n)).collect(),
        loss_bound_95: (lost == 0 && sent > 0).then(|| 3.0 / sent as f64),
    }
}

const CALM: Latency = Latency { p50: 2.1, p90: 3.4, p99: 8.4, p999: 12.0, max: 14.2 };
const ROUGH: Latency = Latency { p50: 2.3, p90: 5.8, p99: 212.0, p999: 1_420.0, max: 2_001.0 };

fn expected(name: &str, held: Option<bool>, measured: &str, allowed: &str) -> Expected {
    Expected { name: name.to_owned(), held, measured: measured.to_owned(), allowed: allowed.to_owned() }
}

fn step(path: &str, name: &str, detail: &str, start_ms: f64, end_ms: Option<f64>) -> StepSummary {
    StepSummary { path: path.to_owned(), name: name.to_owned(), detail: detail.to_owned(), start_ms, end_ms }
}

/// All held: two lanes, no loss.
pub fn held() -> Verdict {
    let phase = |start_ms, end_ms, sent, latency_ms| PhaseSummary {
        start_ms,
        end_ms,
        requests: requests(sent, &[], &[]),
        latency_ms,
    };
    let lane = |sent| LaneSummary {
        requests: requests(sent, &[], &[]),
        latency_ms: CALM,
        longest_outage_ms: 0.0,
        send_lag_max_ms: 0.4,
        tainted_ms: 0.0,
        is_control: false,
    };
    Verdict {
        experiment: "drain-one-node".to_owned(),
        scenario: Some("B1".to_owned()),
        verdict: Answer::Held,
        reasons: Vec::new(),
        requests: requests(8_412, &[], &[]),
        latency_ms: CALM,
        lanes: BTreeMap::from([("new".to_owned(), lane(4_206)), ("reused".to_owned(), lane(4_206))]),
        phases: BTreeMap::from([
            (Phase::Before, phase(0.0, 5_000.0, 2_000, CALM)),
            (Phase::Fault, phase(5_000.0, 15_900.0, 4_360, Latency { p99: 9.1, max: 31.0, ..CALM })),
            (Phase::Undo, phase(15_900.0, 16_030.0, 52, CALM)),
            (Phase::After, phase(16_030.0, 21_030.0, 2_000, CALM)),
        ]),
        outages: Vec::new(),
        tainted: Vec::new(),
        tainted_more: 0,
        recoveries: Vec::new(),
        pods: Vec::new(),
        budgets: Vec::new(),
        slow: SlowSummary::default(),
        expectations: vec![
            expected("lost requests", Some(true), "0 of 8,412", "at most 0"),
            expected("p99 during fault", Some(true), "9.1 ms", "at most 250 ms"),
            expected("budget shop never broken", Some(true), "3 healthy at the least, 3 wanted", "never below"),
        ],
        findings: Vec::new(),
        steps: vec![step("1", "drain", "drained node/worker2: 2 pods evicted", 5_000.0, Some(15_880.0))],
        undo: UndoSummary { complete: true, failed: Vec::new() },
    }
}

/// Answers of lane `new` that were late, mostly from a pod that had just become ready.
fn slow() -> SlowSummary {
    let one = |reason: &str, due_ms, took_ms, pod: &str| SlowTold {
        lane: "new".to_owned(),
        reason: reason.to_owned(),
        due_ms,
        took_ms,
        connecting_ms: Some(0.3),
        bytes_in: 320,
        status: Some(200),
        pod: Some(pod.to_owned()),
        phase: Some(Phase::Fault),
        ..SlowTold::default()
    };
    let evidence = Some("pod shop-5c9d-7x became a ready endpoint at 12.10 s".to_owned());
    SlowSummary {
        lanes: BTreeMap::from([(
            "new".to_owned(),
            SlowLane {
                slower_than_ms: 250.0,
                answered_late: 31,
                described: 24,
                tainted: 1,
                by_reason: BTreeMap::from([("cold-pod".to_owned(), 21), ("unexplained".to_owned(), 2)]),
            },
        )]),
        requests: vec![
            SlowTold { evidence, ..one("cold-pod", 12_340.0, 812.0, "shop-5c9d-7x") },
            one("unexplained", 14_020.0, 264.0, "shop-7d9f-b"),
        ],
        more: 22,
    }
}

/// Broken: a drain and a rollout of pods that exit at once on SIGTERM.
pub fn broken() -> Verdict {
    let by_kind = [(Outcome::Refused, 118), (Outcome::ReusedConnectionClosed, 21), (Outcome::CutMidAnswer, 4)];
    let by_cause = [("prestop-missing", 139), ("unexplained", 4)];
    let phase = |start_ms, end_ms, requests, latency_ms| PhaseSummary { start_ms, end_ms, requests, latency_ms };
    Verdict {
        experiment: "drain-and-rollout".to_owned(),
        scenario: Some("B2".to_owned()),
        verdict: Answer::Broken,
        reasons: vec![
            "143 of 12,000 requests were lost while pods of shop were shut down before their endpoints were gone"
                .to_owned(),
            "the longest outage was 1.24 s, 0 s are allowed".to_owned(),
        ],
        requests: requests(12_000, &by_kind, &by_cause),
        latency_ms: ROUGH,
        lanes: BTreeMap::from([
            (
                "new".to_owned(),
                LaneSummary {
                    requests: requests(6_000, &[(Outcome::Refused, 118)], &[("prestop-missing", 118)]),
                    latency_ms: ROUGH,
                    longest_outage_ms: 1_240.0,
                    send_lag_max_ms: 0.4,
                    tainted_ms: 0.0,
                    is_control: false,
                },
            ),
            (
                "reused".to_owned(),
                LaneSummary {
                    requests: requests(
                        6_000,
                        &[(Outcome::ReusedConnectionClosed, 21), (Outcome::CutMidAnswer, 4)],
                        &[("prestop-missing", 21), ("unexplained", 4)],
                    ),
                    latency_ms: CALM,
                    longest_outage_ms: 180.0,
                    send_lag_max_ms: 0.4,
                    tainted_ms: 0.0,
                    is_control: false,
                },
            ),
        ]),
        phases: BTreeMap::from([
            (Phase::Before, phase(0.0, 8_000.0, requests(1_600, &[], &[]), CALM)),
            (Phase::Fault, phase(8_000.0, 48_000.0, requests(8_000, &by_kind, &by_cause), ROUGH)),
            (Phase::Undo, phase(48_000.0, 49_000.0, requests(200, &[], &[]), CALM)),
            (Phase::After, phase(49_000.0, 60_000.0, requests(2_200, &[], &[]), CALM)),
        ]),
        recoveries: crate::judge::outage::recoveries(&outages()),
        outages: outages(),
        tainted: Vec::new(),
        tainted_more: 0,
        pods: vec![
            PodClaim {
                pod: "shop-7d9f6c5b8-x2lqp".to_owned(),
                node: Some("worker2".to_owned()),
                deleted_ms: Some(9_270.0),
                how: Some("evicted".to_owned()),
                sigterm_after_ms: Some(0.0),
                endpoint_off_after_ms: Some(1_900.0),
                last_loss_after_ms: Some(1_280.0),
                exit_after_ms: Some(40.0),
                exit_code: Some(0),
                prestop_ms: Some(0.0),
                grace_ms: 30_000.0,
                answered: BTreeMap::from([(Phase::Before, 300)]),
                ..PodClaim::default()
            },
            PodClaim {
                pod: "shop-7d9f6c5b8-k8s2p".to_owned(),
                grace_ms: 30_000.0,
                answered: BTreeMap::from([(Phase::Before, 100), (Phase::Fault, 4_000)]),
                ..PodClaim::default()
            },
        ],
        budgets: vec![BudgetClaim {
            budget: "shop".to_owned(),
            lowest_healthy: 3,
            desired_healthy: 3,
            lowest_at_ms: 9_270.0,
            evictions_refused: 3,
            ..BudgetClaim::default()
        }],
        slow: slow(),
        expectations: vec![
            expected("lost requests", Some(false), "143 of 12,000 (1.2 %)", "at most 0"),
            expected("longest outage in each lane", Some(false), "1.24 s in lane new", "at most 0 s"),
            expected("p99 during fault", Some(true), "212 ms", "at most 250 ms"),
            expected("budget shop never broken", Some(true), "3 healthy at the least, 3 wanted", "never below"),
            expected("drain finished", Some(true), "14.2 s", "within 60 s"),
        ],
        findings: findings(),
        steps: vec![
            step("1", "drain", "drained node/worker2: 2 pods evicted, 3 evictions refused", 8_000.0, Some(22_200.0)),
            step("2", "rollingUpdate", "set image of deployment/shop to evenkeel/demo:v2", 24_200.0, Some(24_300.0)),
            step("3", "wait", "deployment/shop rolled out, old pods gone", 24_300.0, Some(47_900.0)),
        ],
        undo: UndoSummary { complete: true, failed: Vec::new() },
    }
}

fn outages() -> Vec<Outage> {
    let outage = |lane: &str, start_ms, end_ms, lost, cause: &str| Outage {
        lane: lane.to_owned(),
        start_ms,
        end_ms,
        lost,
        cause: cause.to_owned(),
        phase: Some(Phase::Fault),
        detected_after_ms: Some(120.0),
    };
    vec![
        outage("new", 9_310.0, 10_550.0, 48, "prestop-missing"),
        outage("reused", 9_310.0, 9_490.0, 10, "prestop-missing"),
        outage("new", 28_700.0, 29_600.0, 36, "prestop-missing"),
        outage("reused", 28_720.0, 28_780.0, 6, "prestop-missing"),
        outage("new", 36_900.0, 37_760.0, 34, "prestop-missing"),
        outage("reused", 36_910.0, 37_060.0, 9, "prestop-missing"),
    ]
}

fn findings() -> Vec<Finding> {
    vec![
        Finding {
            id: "prestop-missing".to_owned(),
            claim: "pods of shop exit before their endpoints are gone, so new connections still reach them".to_owned(),
            evidence: vec![
                "shop-7d9f6c5b8-x2lqp exited 40 ms after SIGTERM; its endpoint stopped being ready 1.9 s later.".to_owned(),
                "118 connections were refused between 9.310 s and 37.760 s, all of them at addresses of 5 terminating pods."
                    .to_owned(),
                "No pod of shop has a preStop hook; the grace period is 30 s.".to_owned(),
            ],
            advice: "give the container a preStop hook that sleeps for at least 4 s (measured: endpoints took up to 3.1 s)"
                .to_owned(),
            patch: Some(Patch {
                object: "deployment/shop".to_owned(),
                namespace: "shop".to_owned(),
                how: PatchHow::Merge,
                body: serde_json::json!({ "spec": { "template": { "spec": { "containers": [
                    { "name": "shop", "lifecycle": { "preStop": { "sleep": { "seconds": 6 } } } }
                ] } } } }),
                command: r#"kubectl patch deployment/shop -n shop --type strategic -p '{"spec":{"template":{"spec":{"containers":[{"name":"shop","lifecycle":{"preStop":{"sleep":{"seconds":6}}}}]}}}}'"#
                    .to_owned(),
            }),
            lost: 139,
        },
        Finding {
            id: "budget-blocks-drain".to_owned(),
            claim: "the budget shop refused 3 evictions, which held the drain up for 10 s".to_owned(),
            evidence: vec!["3 of 5 eviction requests were answered 429, the first at 8.120 s.".to_owned()],
            advice: "nothing, if 10 s more for a drain are acceptable; otherwise allow 2 pods to be unavailable".to_owned(),
            patch: None,
            lost: 0,
        },
    ]
}

/// Inconclusive: our own stall.
pub fn inconclusive() -> Verdict {
    let mut verdict = held();
    verdict.verdict = Answer::Inconclusive;
    verdict.reasons = vec![
        "212 requests that were due were never sent, for a reason of ours: lower the rate, or give evenkeel more \
         processor time, ports or descriptors"
            .to_owned(),
        "the load generator was held up by up to 1310 ms in 28 of 420 intervals (9.20 s to 10.60 s): give it more \
         processor time, or lower the rate"
            .to_owned(),
    ];
    for (name, lane) in &mut verdict.lanes {
        (lane.send_lag_max_ms, lane.tainted_ms) = (1_310.0, 1_400.0);
        let by = TaintedBy::OwnDelay;
        verdict.tainted.push(Tainted { lane: name.clone(), from_ms: 9_200.0, to_ms: 10_600.0, delay_ms: 1_310.0, by });
    }
    verdict.requests.sent -= 212;
    verdict.requests.ok -= 212;
    verdict.requests.unsent = 212;
    verdict.expectations[0].held = None;
    "0 of 8,200, and 212 never sent".clone_into(&mut verdict.expectations[0].measured);
    verdict
}

/// An error: a step failed, and something could not be put back.
pub fn error() -> Verdict {
    let mut verdict = held();
    verdict.verdict = Answer::Error;
    verdict.reasons = vec![
        "step 1 (drain) failed: pod shop/bare has no controller and would not come back; delete it or set force: true"
            .to_owned(),
    ];
    verdict.expectations.iter_mut().for_each(|e| {
        e.held = None;
        "not measured".clone_into(&mut e.measured);
    });
    verdict.steps[0].end_ms = None;
    verdict.undo = UndoSummary {
        complete: false,
        failed: vec!["uncordon node/worker2: the API server did not answer; run kubectl uncordon worker2".to_owned()],
    };
    verdict
}
