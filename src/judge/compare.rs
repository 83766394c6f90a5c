//! Two sets of runs of one experiment held against each other: better, the same, or worse.
//!
//! Losses are compared by the exact conditional test of two rates, since a few more can be chance; times by how far the
//! medians of the runs lie apart, beyond a tolerance; what was expected, one by one. Runs that cannot be told
//! (inconclusive, or ended in an error) are no ground for either.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{
    confidence::chance_of_more,
    verdict::{Answer, Latency, Verdict},
};
use crate::experiment::schema::Phase;

/// A difference in losses is believed when chance makes one as large in fewer than one of so many pairs of runs.
const CHANCE_MAX: f64 = 0.01;

/// Differences in time below this are the machine's, in milliseconds.
const TIME_LEAST_MS: f64 = 2.0;

/// Differences between outages below this are within what the intervals can tell, in milliseconds.
const OUTAGE_LEAST_MS: f64 = 200.0;

/// With fewer requests in a run, its 99th percentile is one of a handful.
const REQUESTS_FOR_P99: u64 = 1_000;

/// How one thing, or all of them, changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It got better.
    Better,
    /// No difference that is more than chance or tolerance.
    Same,
    /// It got worse.
    Worse,
    /// It cannot be told.
    Unknown,
}

impl Change {
    /// The word in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Same => "same",
            Self::Worse => "worse",
            Self::Unknown => "cannot be told",
        }
    }

    /// All of several: worse where one is, then unknown, then better.
    fn of_all(changes: impl Iterator<Item = Self> + Clone) -> Self {
        let any = |wanted: Self| changes.clone().any(|change| change == wanted);
        [Self::Worse, Self::Unknown, Self::Better].into_iter().find(|change| any(*change)).unwrap_or(Self::Same)
    }
}

/// One thing that was compared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compared {
    /// What, such as `p99 during fault`.
    pub what: String,
    /// As it was, with its unit.
    pub before: String,
    /// As it is.
    pub after: String,
    /// How it changed.
    pub change: Change,
}

/// One experiment, compared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The experiment's name.
    pub experiment: String,
    /// How it changed, all in all.
    pub change: Change,
    /// Runs that were compared, before and after.
    pub runs: (usize, usize),
    /// What was compared, the verdict first.
    pub items: Vec<Compared>,
}

/// Compares the runs of one experiment, at least one on each side. `tolerance` is the share by which a time may grow.
#[must_use]
pub fn compare(experiment: &str, before: &[&Verdict], after: &[&Verdict], tolerance: f64) -> Comparison {
    let mut items = vec![verdicts(before, after)];
    if are_told(before) && are_told(after) {
        items.extend(expectations(before, after));
        items.push(losses("lost requests", before, after, |run| Some((run.requests.lost, run.requests.sent))));
        let judged = before.iter().flat_map(|run| &run.lanes).filter(|(_, lane)| !lane.is_control);
        let lanes: BTreeSet<&String> = judged.map(|(name, _)| name).collect();
        for lane in lanes {
            let of_lane = |run: &Verdict| run.lanes.get(lane).map(|lane| (lane.requests.lost, lane.requests.sent));
            items.push(losses(&format!("lost requests in lane {lane}"), before, after, of_lane));
        }
        items.push(times("longest outage", before, after, tolerance, OUTAGE_LEAST_MS, |run| Some(longest_outage(run))));
        for phase in [Phase::Before, Phase::Fault, Phase::After] {
            items.extend(latencies(phase, before, after, tolerance));
        }
    }
    let change = Change::of_all(items.iter().map(|item| item.change));
    Comparison { experiment: experiment.to_owned(), change, runs: (before.len(), after.len()), items }
}

fn are_told(runs: &[&Verdict]) -> bool {
    runs.iter().all(|run| !matches!(run.verdict, Answer::Inconclusive | Answer::Error))
}

fn verdicts(before: &[&Verdict], after: &[&Verdict]) -> Compared {
    let held = |runs: &[&Verdict]| runs.iter().filter(|run| run.verdict == Answer::Held).count();
    let share = |runs: &[&Verdict]| held(runs) as f64 / runs.len().max(1) as f64;
    let change = if !are_told(before) || !are_told(after) {
        Change::Unknown
    } else if share(after) < share(before) {
        Change::Worse
    } else if share(after) > share(before) {
        Change::Better
    } else {
        Change::Same
    };
    Compared { what: "verdict".to_owned(), before: words(before), after: words(after), change }
}

/// `held`, or `2 held, 1 broken` of several.
fn words(runs: &[&Verdict]) -> String {
    let all = [Answer::Held, Answer::Broken, Answer::Inconclusive, Answer::Error];
    let counted = all.map(|answer| (answer, runs.iter().filter(|run| run.verdict == answer).count()));
    let there = counted.iter().filter(|(_, count)| *count > 0);
    let part = |(answer, count): &(Answer, usize)| match runs {
        [_] => answer.as_str().to_owned(),
        _ => format!("{count} {}", answer.as_str()),
    };
    there.map(part).collect::<Vec<_>>().join(", ")
}

/// What was expected on both sides, where it changed.
fn expectations(before: &[&Verdict], after: &[&Verdict]) -> Vec<Compared> {
    let names: BTreeSet<&str> =
        before.iter().flat_map(|run| &run.expectations).map(|expected| expected.name.as_str()).collect();
    let of = |runs: &[&Verdict], name: &str| -> Option<(bool, String)> {
        let found: Vec<_> =
            runs.iter().flat_map(|run| run.expectations.iter().filter(|expected| expected.name == name)).collect();
        let last = found.last()?;
        Some((found.iter().all(|expected| expected.held == Some(true)), last.measured.clone()))
    };
    let compared = |name: &str| {
        let ((held_before, before), (held_after, after)) = (of(before, name)?, of(after, name)?);
        let change = match (held_before, held_after) {
            (true, false) => Change::Worse,
            (false, true) => Change::Better,
            _ => return None,
        };
        Some(Compared { what: format!("expected: {name}"), before, after, change })
    };
    names.into_iter().filter_map(compared).collect()
}

fn losses(
    what: &str,
    before: &[&Verdict],
    after: &[&Verdict],
    of: impl Fn(&Verdict) -> Option<(u64, u64)>,
) -> Compared {
    let sum = |runs: &[&Verdict]| {
        let counts = runs.iter().filter_map(|run| of(run));
        counts.fold((0_u64, 0_u64), |sum, one| (sum.0.saturating_add(one.0), sum.1.saturating_add(one.1)))
    };
    let (one, other) = (sum(before), sum(after));
    let change = if one.1 == 0 || other.1 == 0 {
        Change::Unknown
    } else if chance_of_more(one, other) < CHANCE_MAX {
        Change::Worse
    } else if chance_of_more(other, one) < CHANCE_MAX {
        Change::Better
    } else {
        Change::Same
    };
    let text = |(lost, sent): (u64, u64)| {
        let share = if sent == 0 { 0.0 } else { lost as f64 * 100.0 / sent as f64 };
        format!("{lost} of {sent} ({share:.3} %)")
    };
    Compared { what: what.to_owned(), before: text(one), after: text(other), change }
}

fn latencies(phase: Phase, before: &[&Verdict], after: &[&Verdict], tolerance: f64) -> Vec<Compared> {
    let there = |runs: &[&Verdict]| {
        runs.iter().all(|run| run.phases.get(&phase).is_some_and(|phase| phase.requests.sent >= REQUESTS_FOR_P99))
    };
    if !there(before) || !there(after) {
        return Vec::new();
    }
    let compared = ["p50", "p99"].map(|name| {
        let of = |latency: &Latency| if name == "p50" { latency.p50 } else { latency.p99 };
        let what = format!("{name} {}", phase.as_str());
        times(&what, before, after, tolerance, TIME_LEAST_MS, |run| {
            run.phases.get(&phase).map(|phase| of(&phase.latency_ms))
        })
    });
    compared.into()
}

/// The medians of a time on both sides.
fn times(
    what: &str,
    before: &[&Verdict],
    after: &[&Verdict],
    tolerance: f64,
    least_ms: f64,
    of: impl Fn(&Verdict) -> Option<f64>,
) -> Compared {
    let median = |runs: &[&Verdict]| {
        let mut all: Vec<f64> = runs.iter().filter_map(|run| of(run)).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied()
    };
    let (one, other) = (median(before), median(after));
    let grew = |one: f64, other: f64| other - one > least_ms && other > one * (1.0 + tolerance);
    let change = match (one, other) {
        (Some(one), Some(other)) if grew(one, other) => Change::Worse,
        (Some(one), Some(other)) if grew(other, one) => Change::Better,
        (Some(_), Some(_)) => Change::Same,
        _ => Change::Unknown,
    };
    let text = |time: Option<f64>| time.map_or_else(|| "not measured".to_owned(), |time| format!("{time:.1} ms"));
    Compared { what: what.to_owned(), before: text(one), after: text(other), change }
}

fn longest_outage(run: &Verdict) -> f64 {
    run.outages.iter().map(|outage| outage.end_ms - outage.start_ms).fold(0.0, f64::max)
}
