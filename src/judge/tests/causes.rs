//! Each cause on a record that shows it, and a twin that is near it and must not get it.

use super::{
    builder::{Scene, at},
    scenes,
};
use crate::{
    judge::{cause::Cause, judge, verdict::Verdict},
    record::{
        Record,
        event::{Outcome, PreStop, What},
    },
};

/// A run, and the cause that all its losses must have.
pub struct Case {
    pub name: &'static str,
    pub cause: Cause,
    pub scene: Scene,
}

pub fn verdict_of(scene: &Scene) -> Verdict {
    judge(&scene.record())
}

fn causes_of(scene: &Scene) -> Vec<(String, u64)> {
    verdict_of(scene).requests.by_cause.into_iter().collect()
}

/// One pod of three is deleted gracefully at 10 s, and exits so many seconds later.
fn one_goes(change: impl FnOnce(&mut Scene), exits_after: f64) -> Scene {
    let mut scene = Scene::new();
    change(&mut scene);
    let mut three = scene.clone();
    for (pod, node) in [("shop-7d9f-a", "n1"), ("shop-7d9f-b", "n2"), ("shop-7d9f-c", "n3")] {
        three.node(-10.0, node, true, false);
        three.start(pod, node, [-9.0, -8.0, -6.0]);
    }
    three.start("shop-7d9f-d", "n3", [10.0, 11.0, 13.0]);
    three.delete("shop-7d9f-a", 10.0, [10.0 + exits_after, 11.5 + exits_after], false);
    three
}

pub fn without_prestop() -> Scene {
    let mut scene = one_goes(|scene| scene.template(|pod| pod.pre_stop = None), 0.3);
    scene.lose_many(Outcome::Refused, 10.05, 20);
    scene.lose_many(Outcome::RequestTimeout, 10.06, 10);
    scene.lose_many(Outcome::ConnectTimeout, 11.0, 5);
    scene
}

pub fn short_prestop() -> Scene {
    let mut scene = one_goes(|scene| scene.template(|pod| pod.pre_stop = Some(PreStop::Sleep(300))), 0.6);
    scene.lose_many(Outcome::Refused, 10.4, 20);
    scene
}

/// A rolling update: the old pods sleep in preStop, the new ones boot for 4 s.
fn rolls(probe: bool) -> Scene {
    let mut scene = Scene::three_pods();
    scene.template(|pod| {
        pod.owner = Some("replicaset/shop-8c1e".to_owned());
        pod.has_readiness_probe = probe;
    });
    for (old, new, begin) in [("shop-7d9f-a", "shop-8c1e-a", 6.0), ("shop-7d9f-b", "shop-8c1e-b", 8.0)] {
        scene.start(new, "n1", [begin, begin + 1.0, begin + if probe { 5.0 } else { 1.0 }]);
        let deleted = begin + if probe { 5.0 } else { 1.1 };
        scene.delete(old, deleted, [deleted + 5.2, deleted + 6.5], false);
    }
    scene
}

pub fn without_readiness() -> Scene {
    let mut scene = rolls(false);
    scene.lose_many(Outcome::Refused, 7.1, 100);
    scene.lose_many(Outcome::ResetBeforeByte, 9.1, 90);
    scene
}

fn exits_at_once() -> Scene {
    let mut scene = one_goes(|_| (), 5.1);
    for n in 0..20 {
        scene.lose_reused(Outcome::ReusedConnectionClosed, "shop-7d9f-a", 15.0 + 0.001 * f64::from(n));
    }
    scene.lose_reused(Outcome::CutMidAnswer, "shop-7d9f-a", 15.02);
    scene
}

/// Two pods evicted at 10 s, gone at 16 s; the new ones are ready at 20 s.
pub fn evicted(nodes: [&str; 2], budget: bool) -> Scene {
    let mut scene = Scene::new();
    scene.events.retain(|event| !matches!(event.what, What::Workload(_)));
    scene.workload(-5.0, 2, 2);
    for (pod, node) in ["shop-7d9f-a", "shop-7d9f-b"].into_iter().zip(nodes) {
        scene.start(pod, node, [-9.0, -8.0, -6.0]);
        scene.delete(pod, 10.0, [15.2, 16.5], true);
    }
    if budget {
        scene.budget(-5.0, 2, 1);
    }
    scene.start("shop-7d9f-c", "n3", [10.2, 12.0, 20.0]);
    scene.start("shop-7d9f-d", "n4", [10.2, 12.0, 20.0]);
    scene.lose_many(Outcome::Refused, 15.3, 120);
    scene.lose_many(Outcome::Refused, 20.2, 5);
    scene
}

pub fn one_replica() -> Scene {
    let mut scene = Scene::new();
    scene.events.retain(|event| !matches!(event.what, What::Workload(_)));
    scene.workload(-5.0, 1, 1);
    scene.start("shop-7d9f-a", "n1", [-9.0, -8.0, -6.0]);
    scene.delete("shop-7d9f-a", 10.0, [15.2, 16.5], true);
    scene.start("shop-7d9f-b", "n2", [10.2, 12.0, 18.0]);
    scene.lose_many(Outcome::Refused, 15.3, 80);
    scene
}

fn forced() -> Scene {
    let mut scene = Scene::three_pods();
    scene.force("shop-7d9f-a", 10.0);
    scene.lose_many(Outcome::Refused, 10.02, 20);
    scene.lose_reused(Outcome::CutMidAnswer, "shop-7d9f-a", 10.01);
    scene
}

pub fn crashed() -> Scene {
    let mut scene = Scene::three_pods();
    scene.crash("shop-7d9f-a", 10.0);
    scene.lose_many(Outcome::Refused, 9.5, 30);
    scene.lose_reused(Outcome::ReusedConnectionClosed, "shop-7d9f-a", 9.4);
    scene
}

/// The node of one pod dies at 6 s and is found not ready 20 s later.
fn node_died() -> Scene {
    let mut scene = Scene::three_pods();
    scene.node(26.0, "n1", false, false);
    scene.pod(26.0, "shop-7d9f-a", |pod| pod.ready = false);
    scene.endpoint(26.5, "shop-7d9f-a", false, false, false);
    for n in 0..40 {
        scene.lose(Outcome::ConnectTimeout, 6.1 + 0.5 * f64::from(n));
    }
    scene.lose_reused(Outcome::RequestTimeout, "shop-7d9f-a", 6.2);
    scene
}

fn answers_errors() -> Scene {
    let mut scene = Scene::three_pods();
    for n in 0..20 {
        let lost = scene.lose_reused(Outcome::ServerError, "shop-7d9f-b", 10.0 + 0.1 * f64::from(n));
        lost.status = Some(503);
    }
    scene.lose(Outcome::ServerError, 10.5).status = Some(500);
    scene
}

fn cases() -> Vec<Case> {
    let case = |name, cause, scene| Case { name, cause, scene };
    let mut cases = vec![
        case("without a preStop hook", Cause::PrestopMissing, without_prestop()),
        case("with a preStop hook of 0.3 s", Cause::PrestopTooShort, short_prestop()),
        case("without a readiness probe", Cause::ReadinessMissing, without_readiness()),
        case("an app that exits at once", Cause::ExitsWithoutDraining, exits_at_once()),
        case("two nodes drained, no budget", Cause::BudgetMissing, evicted(["n1", "n2"], false)),
        case("both replicas on the drained node", Cause::ReplicasOnOneNode, evicted(["n1", "n1"], false)),
        case("one replica", Cause::SingleReplica, one_replica()),
        case("a forced deletion", Cause::ForcedDelete, forced()),
        case("a container that ends by itself", Cause::ContainerCrashed, crashed()),
    ];
    cases.extend(scenes::cases());
    cases.push(case("a node that dies", Cause::NodeGone, node_died()));
    cases.push(case("a service that answers with errors", Cause::AnswersErrors, answers_errors()));
    cases
}

#[test]
fn each_cause_is_named_on_a_record_that_shows_it() {
    for Case { name, cause, scene } in cases() {
        let verdict = verdict_of(&scene);
        let by_cause: Vec<_> = verdict.requests.by_cause.iter().map(|(id, lost)| (id.as_str(), *lost)).collect();
        assert_eq!(by_cause, [(cause.as_str(), verdict.requests.lost)], "{name}");
        assert!(verdict.requests.lost >= 20, "{name}");
        assert_eq!(verdict.findings[0].id, cause.as_str(), "{name}");
        assert!(verdict.findings[0].evidence.len() > 1, "{name}: {:?}", verdict.findings[0].evidence);
    }
}

#[test]
fn every_cause_has_a_record_that_shows_it() {
    let mut shown: Vec<Cause> = cases().into_iter().map(|case| case.cause).collect();
    shown.push(Cause::Unexplained);
    assert_eq!(shown, Cause::ALL);
}

/// Near the case of that cause, but it must not be named.
fn twins() -> Vec<(&'static str, Cause, Scene)> {
    let with = |mut scene: Scene, change: fn(&mut Scene)| {
        change(&mut scene);
        scene
    };
    vec![
        (
            "refused long before the deletion",
            Cause::PrestopMissing,
            with(one_goes(|scene| scene.template(|pod| pod.pre_stop = None), 0.3), |s| {
                s.lose_many(Outcome::Refused, 8.0, 20);
            }),
        ),
        (
            "refused after the rules had followed",
            Cause::PrestopMissing,
            with(one_goes(|scene| scene.template(|pod| pod.pre_stop = None), 0.3), |s| {
                s.lose_many(Outcome::Refused, 15.5, 20);
            }),
        ),
        (
            "refused in the middle of a long preStop sleep",
            Cause::PrestopTooShort,
            with(one_goes(|_| (), 5.2), |s| s.lose_many(Outcome::Refused, 12.0, 20)),
        ),
        (
            "the new pods have a probe",
            Cause::ReadinessMissing,
            with(rolls(true), |s| s.lose_many(Outcome::Refused, 7.1, 20)),
        ),
        (
            "the pod had answered before",
            Cause::ReadinessMissing,
            with(rolls(false), |s| {
                s.answers = vec![("shop-8c1e-a", 8.0), ("shop-8c1e-b", 9.2)];
                s.lose_many(Outcome::Refused, 12.0, 20);
            }),
        ),
        (
            "deleted by the clean-up, after the load",
            Cause::DeletedDirectly,
            with(Scene::three_pods(), |s| {
                for pod in ["shop-7d9f-a", "shop-7d9f-b", "shop-7d9f-c"] {
                    s.delete(pod, 30.05, [31.0, 32.0], false);
                }
                s.lose_many(Outcome::Refused, 29.7, 5);
            }),
        ),
        (
            "deleted by the clean-up, without a hook",
            Cause::PrestopMissing,
            with(Scene::three_pods(), |s| {
                s.template(|pod| pod.pre_stop = None);
                s.start("shop-7d9f-d", "n3", [10.0, 11.0, 13.0]);
                s.delete("shop-7d9f-d", 30.05, [30.3, 30.5], false);
                s.lose_many(Outcome::Refused, 29.7, 5);
            }),
        ),
        (
            "closed by a pod that nobody had deleted",
            Cause::ExitsWithoutDraining,
            with(one_goes(|_| (), 5.1), |s| {
                s.lose_reused(Outcome::ReusedConnectionClosed, "shop-7d9f-b", 15.0);
            }),
        ),
        (
            "closed while the hook slept",
            Cause::ExitsWithoutDraining,
            with(one_goes(|_| (), 5.1), |s| {
                s.lose_reused(Outcome::ReusedConnectionClosed, "shop-7d9f-a", 12.0);
            }),
        ),
        ("a budget selects the pods", Cause::BudgetMissing, evicted(["n1", "n2"], true)),
        ("the replicas are on two nodes", Cause::ReplicasOnOneNode, evicted(["n1", "n2"], false)),
        ("there are two replicas", Cause::SingleReplica, evicted(["n1", "n2"], true)),
        ("the deletion was graceful", Cause::ForcedDelete, without_prestop()),
        (
            "the crash was another pod's",
            Cause::ContainerCrashed,
            with(Scene::three_pods(), |s| {
                s.crash("shop-7d9f-a", 10.0);
                s.lose_reused(Outcome::ReusedConnectionClosed, "shop-7d9f-b", 9.9);
            }),
        ),
        (
            "refused, so something answered",
            Cause::NodeGone,
            with(node_died(), |s| {
                s.events.retain(|event| !matches!(event.what, What::Lost(_)));
                s.lose_many(Outcome::Refused, 10.0, 20);
            }),
        ),
        (
            "the pod had long been gone",
            Cause::AnswersErrors,
            with(one_goes(|_| (), 5.1), |s| {
                s.lose_reused(Outcome::ServerError, "shop-7d9f-a", 25.0).status = Some(503);
            }),
        ),
    ]
}

#[test]
fn a_near_twin_does_not_get_the_cause() {
    for (name, cause, scene) in twins().into_iter().chain(scenes::twins()) {
        let verdict = verdict_of(&scene);
        assert!(verdict.requests.lost > 0, "{name}");
        assert!(!verdict.requests.by_cause.contains_key(cause.as_str()), "{name}: {:?}", verdict.requests.by_cause);
    }
}

/// Two pods without a readiness probe are evicted at 10 s; the new ones are endpoints at 12 s and do not listen yet.
#[test]
fn a_gap_ends_with_its_endpoints_where_those_do_not_listen_yet() {
    for (probe, expected) in [
        (false, vec![("budget-missing".to_owned(), 50), ("readiness-missing".to_owned(), 60)]),
        // Without anything that is known not to listen, the rules may have taken so long.
        (true, vec![("budget-missing".to_owned(), 110)]),
    ] {
        let mut scene = Scene::new();
        scene.template(|pod| {
            pod.pre_stop = None;
            pod.has_readiness_probe = probe;
        });
        for (pod, node) in [("shop-7d9f-a", "n1"), ("shop-7d9f-b", "n2")] {
            scene.start(pod, node, [-9.0, -8.0, -8.0]);
            scene.delete(pod, 10.0, [10.3, 11.0], true);
        }
        for (pod, node) in [("shop-7d9f-c", "n3"), ("shop-7d9f-d", "n4")] {
            scene.start(pod, node, [10.2, 12.0, 12.0]);
        }
        scene.lose_many(Outcome::Refused, 10.5, 40);
        scene.lose_many(Outcome::Refused, 12.5, 10);
        scene.lose_many(Outcome::Refused, 14.0, 60);
        assert_eq!(causes_of(&scene), expected, "with a probe: {probe}");
    }
}

#[test]
fn a_loss_at_a_time_at_which_nothing_happened_is_unexplained() {
    let mut scene = one_goes(|_| (), 5.1);
    scene.lose_many(Outcome::Refused, 6.0, 7);
    scene.lose_reused(Outcome::ReusedConnectionClosed, "shop-7d9f-b", 7.0);
    assert_eq!(causes_of(&scene), [("unexplained".to_owned(), 8)]);
}

/// Shuffles of each record.
pub const SHUFFLES: u64 = 10;

/// A generator of numbers for shuffles that are the same each time (Knuth's MMIX constants).
fn next(seed: &mut u64) -> usize {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    usize::try_from(*seed >> 33).unwrap()
}

/// A record in which the times of some events have changed places.
pub fn shuffled(record: &Record, mut seed: u64, meant: impl Fn(&What) -> bool) -> Record {
    let mut record = record.clone();
    let places: Vec<usize> = (0..record.events.len()).filter(|n| meant(&record.events[*n].what)).collect();
    for last in (1..places.len()).rev() {
        let (one, two) = (places[last], places[next(&mut seed) % (last + 1)]);
        let (first, second) = (record.events[one].at_us, record.events[two].at_us);
        (record.events[one].at_us, record.events[two].at_us) = (second, first);
    }
    record.events.sort_by_key(|event| event.at_us);
    record
}

/// Whether an event tells of what the cluster was seen to be.
pub fn is_of_cluster(what: &What) -> bool {
    matches!(what, What::Pod(_) | What::Endpoint(_) | What::Node(_) | What::Budget(_))
}

#[test]
fn with_the_event_times_of_a_record_shuffled_every_loss_is_unexplained() {
    for Case { name, scene, .. } in cases() {
        let told = scene.record();
        for seed in 1..=SHUFFLES {
            let record = shuffled(&told, seed, |_| true);
            let causes: Vec<_> = judge(&record).requests.by_cause.into_keys().collect();
            assert_eq!(causes, ["unexplained"], "{name}");
        }
    }
}

#[test]
fn with_only_the_times_of_the_clusters_events_shuffled_every_loss_is_unexplained() {
    for Case { name, scene, .. } in cases() {
        let told = scene.record();
        for seed in 1..=SHUFFLES {
            let record = shuffled(&told, seed, is_of_cluster);
            let causes: Vec<_> = judge(&record).requests.by_cause.into_keys().collect();
            assert_eq!(causes, ["unexplained"], "{name}, {seed}");
        }
    }
}

#[test]
fn with_the_clusters_events_an_hour_away_every_loss_is_unexplained() {
    for Case { name, scene, .. } in cases() {
        let mut record = scene.record();
        for event in &mut record.events {
            if matches!(event.what, What::Pod(_) | What::Endpoint(_) | What::Node(_)) {
                event.at_us += at(3_600.0);
            }
        }
        record.events.sort_by_key(|event| event.at_us);
        let causes: Vec<_> = judge(&record).requests.by_cause.into_keys().collect();
        assert_eq!(causes, ["unexplained"], "{name}");
    }
}

#[test]
fn the_advised_sleep_is_the_measured_time_rounded_up_with_a_margin() {
    let verdict = verdict_of(&short_prestop());
    // The last loss is sent 0.97 s after the deletion: 1 s, and 2 s on top.
    assert!(verdict.findings[0].advice.contains("sleep.seconds: 3"), "{}", verdict.findings[0].advice);
    assert!(verdict.findings[0].advice.contains("now sleeps 0.30 s"), "{}", verdict.findings[0].advice);
    let sum =
        "until 0.97 s after its deletion: set lifecycle.preStop.sleep.seconds: 3 (1 s, rounded up, and 2 s of margin)";
    assert!(verdict.findings[0].advice.ends_with(sum), "{}", verdict.findings[0].advice);
}

#[test]
fn the_findings_that_a_file_may_expect_are_those_that_the_judge_can_name() {
    use crate::judge::{
        finding::{BUDGET_BROKEN, DRAIN_BLOCKED, STEADY_STATE_NOT_MET},
        killed::KILLED_AT_GRACE_END,
        slow::SLOW_REQUESTS,
    };
    let mut named: Vec<&str> = Cause::ALL.into_iter().map(Cause::as_str).collect();
    named.extend([DRAIN_BLOCKED, BUDGET_BROKEN, STEADY_STATE_NOT_MET, SLOW_REQUESTS, KILLED_AT_GRACE_END]);
    let mut known: Vec<&str> = crate::experiment::findings::FINDINGS.iter().map(|(id, _)| *id).collect();
    named.sort_unstable();
    known.sort_unstable();
    assert_eq!(named, known);
}

#[test]
fn every_finding_has_its_page_and_its_row() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let table = std::fs::read_to_string(folder.join("verdicts-and-exit-codes.md")).unwrap();
    let mut pages: Vec<String> = std::fs::read_dir(folder.join("findings"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    for (id, _) in crate::experiment::findings::FINDINGS {
        let page = std::fs::read_to_string(folder.join(format!("findings/{id}.md"))).unwrap_or_default();
        assert!(page.starts_with(&format!("# {id}\n")), "docs/findings/{id}.md");
        for heading in ["What it means", "How evenkeel knows", "What to change", "The patch"] {
            let (_, after) = page.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("{id}: {heading}"));
            assert!(after.lines().next().is_some_and(|line| line.len() >= 5), "{id}: {heading} says nothing");
        }
        assert!(table.contains(&format!("[`{id}`](findings/{id}.md)")), "{id} is not in the table of findings");
        pages.retain(|page| *page != format!("{id}.md"));
    }
    assert_eq!(pages, Vec::<String>::new(), "pages of findings that do not exist");
}
