//! Whatever a record holds, judging it doesn't panic, and the counts add up.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*, sample::select};

use super::builder::{Scene, interval};
use crate::{
    experiment::schema::Phase,
    judge::{judge, verdict::Requests},
    record::{
        Record,
        event::{
            ContainerSeen, EndReason, Ended, EndpointSeen, Event, EvictionAnswer, EvictionSeen, LaneInterval,
            LostRequest, Micros, Note, NoteKind, Outcome, PodSeen, PreStop, RetrySafe, SlowRequest, StepChange,
            StepState, What,
        },
    },
};

const OUTCOMES: [Outcome; 13] = [
    Outcome::Ok,
    Outcome::Refused,
    Outcome::Unreachable,
    Outcome::ConnectTimeout,
    Outcome::ResetBeforeByte,
    Outcome::CutMidAnswer,
    Outcome::ReusedConnectionClosed,
    Outcome::RequestTimeout,
    Outcome::ServerError,
    Outcome::OtherStatus,
    Outcome::WrongBody,
    Outcome::Malformed,
    Outcome::NotSent,
];

/// Mostly times of a run, and now and then one at the edge of what fits.
fn time() -> impl Strategy<Value = Micros> {
    prop_oneof![20 => -5_000_000_i64..35_000_000, 1 => select(vec![i64::MIN, i64::MAX, 0])]
}

fn lane() -> impl Strategy<Value = String> {
    select(vec!["new", "reused", "other"]).prop_map(str::to_owned)
}

fn pod_name() -> impl Strategy<Value = String> {
    select(vec!["shop-7d9f-a", "shop-7d9f-b", "shop-7d9f-c", "shop-7d9f-z"]).prop_map(str::to_owned)
}

fn lost() -> impl Strategy<Value = What> {
    (lane(), select(OUTCOMES.to_vec()), [time(), time(), time()], 0..3_u32, proptest::option::of(pod_name()), time())
        .prop_map(|(lane, outcome, [intended_us, sent_us, ended_us], connection_uses, pod, connection_age_us)| {
            What::Lost(Box::new(LostRequest {
                lane,
                outcome,
                intended_us,
                sent_us,
                ended_us,
                connection_uses,
                connection_age_us,
                bytes_out: 0,
                bytes_in: 0,
                reached: None,
                local: None,
                peer: None,
                status: None,
                pod,
                retry_safe: RetrySafe::No,
                error: String::new(),
            }))
        })
}

fn slow() -> impl Strategy<Value = What> {
    let connected = proptest::option::of(time());
    (lane(), [time(), time(), time()], connected, proptest::option::of(pod_name()), time()).prop_map(
        |(lane, [intended_us, sent_us, ended_us], connected_us, pod, connection_age_us)| {
            What::Slow(Box::new(SlowRequest {
                lane,
                intended_us,
                sent_us,
                connected_us,
                ended_us,
                connection_age_us,
                pod,
                ..SlowRequest::default()
            }))
        },
    )
}

fn load() -> impl Strategy<Value = What> {
    let counts = vec((select(OUTCOMES.to_vec()), prop_oneof![9 => 0..20_u64, 1 => Just(u64::MAX)]), 0..4);
    (lane(), time(), time(), counts, time()).prop_map(|(lane, start_us, length_us, counts, send_lag_max_us)| {
        let by_outcome: BTreeMap<_, _> = counts.into_iter().collect();
        What::Load(LaneInterval { lane, start_us, length_us, by_outcome, send_lag_max_us, ..LaneInterval::default() })
    })
}

fn pod() -> impl Strategy<Value = What> {
    let container = select(vec![
        ContainerSeen::None,
        ContainerSeen::Running { started_at: "2026-01-01T00:00:00Z".to_owned() },
        ContainerSeen::Running { started_at: "not a time".to_owned() },
        ContainerSeen::Terminated {
            exit_code: 1,
            reason: String::new(),
            started_at: String::new(),
            finished_at: String::new(),
        },
    ]);
    let hook = select(vec![
        None,
        Some(PreStop::Sleep(u64::MAX)),
        Some(PreStop::Exec("sleep 1".to_owned())),
        Some(PreStop::Http),
    ]);
    (pod_name(), any::<[bool; 4]>(), container, hook, 0..3_i32, prop_oneof![Just(30), Just(i64::MAX), Just(i64::MIN)])
        .prop_map(
            |(
                name,
                [ready, terminating, gone, has_readiness_probe],
                container,
                pre_stop,
                restarts,
                spec_grace_seconds,
            )| {
                What::Pod(Box::new(PodSeen {
                    namespace: "shop".to_owned(),
                    uid: name.clone(),
                    name,
                    phase: "Running".to_owned(),
                    owner: Some("replicaset/shop-7d9f".to_owned()),
                    node: Some("n1".to_owned()),
                    ready,
                    terminating,
                    gone,
                    has_readiness_probe,
                    container,
                    pre_stop,
                    restarts,
                    spec_grace_seconds,
                    ..PodSeen::default()
                }))
            },
        )
}

fn other() -> impl Strategy<Value = What> {
    let endpoint = (pod_name(), any::<[bool; 4]>()).prop_map(|(pod, [ready, serving, terminating, gone])| {
        let (service, address) = ("shop".to_owned(), String::new());
        What::Endpoint(EndpointSeen { service, pod, address, ready, serving, terminating, gone })
    });
    let answer = select(vec![EvictionAnswer::Accepted, EvictionAnswer::BudgetExhausted { message: String::new() }]);
    let eviction = (pod_name(), answer).prop_map(|(pod, answer)| {
        What::Eviction(EvictionSeen { pod, node: String::new(), attempt: 1, took_us: 1, answer })
    });
    let step = (select(vec!["1", "2", "9.x", ""]), select(vec![StepState::Begun, StepState::Done, StepState::Failed]))
        .prop_map(|(path, state)| {
            let (path, name, detail) = (path.to_owned(), "drain".to_owned(), String::new());
            What::Step(StepChange { path, name, state, detail, targets: vec![] })
        });
    let note = select(vec![NoteKind::Info, NoteKind::Taint, NoteKind::Error])
        .prop_map(|kind| What::Note(Note { kind, text: String::new() }));
    let end = select(vec![EndReason::Completed, EndReason::StepFailed])
        .prop_map(|reason| What::Ended(Ended { reason, undo_complete: false }));
    let phase = select(Phase::ALL.to_vec()).prop_map(|phase| What::Phase { phase });
    prop_oneof![4 => endpoint, 1 => eviction, 1 => step, 1 => note, 1 => end, 1 => phase]
}

fn record() -> impl Strategy<Value = Record> {
    let what = prop_oneof![3 => lost(), 3 => slow(), 3 => load(), 3 => pod(), 3 => other()];
    let events = vec((time(), what).prop_map(|(at_us, what)| Event { at_us, what }), 0..120);
    let expect = serde_json::json!([
        { "lost": { "atMost": 0 } },
        { "latency": { "percentile": "p99", "atMost": "1s" } },
        { "outage": { "atMost": "1s" } },
        { "budget": { "name": "shop" } },
        { "finished": { "step": "drain", "within": "1s" } },
        { "recovered": { "within": "1s" } },
        { "finding": { "id": "drain-blocked" } },
    ]);
    (events, any::<bool>()).prop_map(move |(more, with_scene)| {
        let mut scene = Scene::three_pods().expecting(&expect);
        scene.end = 0.5;
        scene.budget(-5.0, 3, 2);
        let mut record = scene.record();
        if !with_scene {
            record.events.clear();
        }
        record.events.extend(more);
        record.events.sort_by_key(|event| event.at_us);
        record.intervals.push(interval("new", 3));
        record
    })
}

fn assert_adds_up(requests: &Requests) {
    let sum = |counts: Vec<u64>| counts.into_iter().fold(0_u64, u64::saturating_add);
    assert_eq!(requests.sent, requests.ok.saturating_add(requests.lost));
    assert_eq!(requests.lost, sum(requests.by_kind.values().copied().collect()));
    assert_eq!(requests.lost, sum(requests.by_cause.values().copied().collect()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_record_can_be_judged_and_its_counts_add_up(record in record()) {
        let verdict = judge(&record);
        assert_adds_up(&verdict.requests);
        verdict.lanes.values().for_each(|lane| assert_adds_up(&lane.requests));
        verdict.phases.values().for_each(|phase| assert_adds_up(&phase.requests));
        let of_lanes = verdict.lanes.values().fold(0_u64, |sum, lane| sum.saturating_add(lane.requests.lost));
        prop_assert_eq!(of_lanes, verdict.requests.lost);
        let of_phases = verdict.phases.values().fold(0_u64, |sum, phase| sum.saturating_add(phase.requests.lost));
        prop_assert!(of_phases <= verdict.requests.lost, "{} of {}", of_phases, verdict.requests.lost);
        for lane in verdict.slow.lanes.values() {
            let of_reasons: u64 = lane.by_reason.values().sum();
            prop_assert_eq!(of_reasons + lane.tainted, lane.described);
            prop_assert!(lane.described <= lane.answered_late);
        }
        let text = serde_json::to_string(&verdict).unwrap();
        prop_assert!(serde_json::from_str::<crate::judge::verdict::Verdict>(&text).is_ok());
    }
}
