//! Two runs held against each other.

use super::{builder::Scene, causes::verdict_of};
use crate::{
    judge::{
        compare::{Change, Comparison, compare},
        verdict::{Answer, Verdict},
    },
    record::event::Outcome,
};

const TOLERANCE: f64 = 0.2;

fn losing(count: u32) -> Verdict {
    let mut scene = Scene::three_pods();
    scene.lose_many(Outcome::Refused, 10.0, count);
    verdict_of(&scene)
}

fn compared(before: &Verdict, after: &Verdict) -> Comparison {
    compare("scene", &[before], &[after], TOLERANCE)
}

fn change_of(comparison: &Comparison, what: &str) -> Change {
    comparison.items.iter().find(|item| item.what == what).unwrap_or_else(|| panic!("{what}")).change
}

#[test]
fn a_run_is_the_same_as_itself() {
    for verdict in [losing(0), losing(20)] {
        let comparison = compared(&verdict, &verdict);
        assert_eq!(comparison.change, Change::Same);
        assert!(comparison.items.iter().all(|item| item.change == Change::Same), "{comparison:?}");
    }
}

#[test]
fn losses_that_chance_does_not_explain_are_worse_and_their_lack_is_better() {
    let worse = compared(&losing(0), &losing(20));
    assert_eq!((worse.change, change_of(&worse, "verdict")), (Change::Worse, Change::Worse));
    assert_eq!(change_of(&worse, "lost requests in lane new"), Change::Worse);
    assert_eq!(change_of(&worse, "lost requests in lane reused"), Change::Same);
    assert_eq!(change_of(&worse, "expected: lost requests"), Change::Worse);
    assert_eq!(compared(&losing(20), &losing(0)).change, Change::Better);
    // 20 against 24 is chance.
    assert_eq!(change_of(&compared(&losing(20), &losing(24)), "lost requests"), Change::Same);
    assert_eq!(change_of(&compared(&losing(20), &losing(60)), "lost requests"), Change::Worse);
}

#[test]
fn times_are_worse_beyond_the_tolerance() {
    let before = losing(0);
    let with = |factor: f64| {
        let mut after = before.clone();
        after.phases.values_mut().for_each(|phase| phase.latency_ms.p99 *= factor);
        after
    };
    assert_eq!(change_of(&compared(&before, &with(1.1)), "p99 fault"), Change::Same);
    assert_eq!(change_of(&compared(&before, &with(1.5)), "p99 fault"), Change::Worse);
    assert_eq!(change_of(&compared(&with(1.5), &before), "p99 fault"), Change::Better);
    assert_eq!(compare("scene", &[&before], &[&with(1.5)], 0.6).change, Change::Same);
}

#[test]
fn a_run_that_cannot_be_told_is_no_ground_for_a_comparison() {
    let mut unknown = losing(0);
    unknown.verdict = Answer::Inconclusive;
    let comparison = compared(&losing(0), &unknown);
    assert_eq!((comparison.change, comparison.items.len()), (Change::Unknown, 1));
}

#[test]
fn several_runs_are_taken_together() {
    let (held, broken) = (losing(0), losing(20));
    let flips = compare("scene", &[&held, &held, &held], &[&held, &broken, &held], TOLERANCE);
    assert_eq!((flips.change, flips.runs), (Change::Worse, (3, 3)));
    assert_eq!(flips.items[0].after, "2 held, 1 broken");
    // The median of the outages is that of the runs without one.
    assert_eq!(change_of(&flips, "longest outage"), Change::Same);
}
