//! `metrics.prom`: a verdict in Prometheus' text format, for a push gateway or the node exporter's textfile collector.
//!
//! Everything is a gauge: a run has ended, so nothing counts on. Times are seconds, as Prometheus has them.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::judge::verdict::{Answer, Latency, Requests, Verdict};

/// Lanes, causes and findings that are told: each is a time series.
const MOST: usize = 200;

/// One family: its name, what it is, and its lines.
struct Family {
    name: &'static str,
    help: &'static str,
    lines: Vec<(Vec<(&'static str, String)>, f64)>,
}

impl Family {
    const fn new(name: &'static str, help: &'static str) -> Self {
        Self { name, help, lines: Vec::new() }
    }

    fn add(&mut self, labels: &[(&'static str, &str)], value: f64) {
        self.lines.push((labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(), value));
    }
}

/// The metrics of one verdict.
#[must_use]
pub fn render(verdict: &Verdict) -> String {
    let families = [
        verdict_family(verdict),
        requests_family(verdict),
        lost_by("evenkeel_lost_by_cause", "Lost requests by cause.", "cause", &verdict.requests.by_cause),
        lost_by(
            "evenkeel_lost_by_kind",
            "Lost requests by what the client saw.",
            "kind",
            &verdict.requests.by_kind.iter().map(|(kind, lost)| (kind.as_str().to_owned(), *lost)).collect(),
        ),
        bound_family(verdict),
        latency_family(verdict),
        outage_family(verdict),
        lag_family(verdict),
        tainted_family(verdict),
        expectation_family(verdict),
        finding_family(verdict),
        single(
            "evenkeel_undo_complete",
            "Whether everything was put back.",
            f64::from(u8::from(verdict.undo.complete)),
        ),
    ];
    let mut out = String::new();
    for Family { name, help, lines } in families.iter().filter(|family| !family.lines.is_empty()) {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (labels, value) in lines {
            let mut all = format!("experiment=\"{}\"", escaped(&verdict.experiment));
            for (label, value) in labels {
                let _ = write!(all, ",{label}=\"{}\"", escaped(value));
            }
            let _ = writeln!(out, "{name}{{{all}}} {value}");
        }
    }
    out
}

fn verdict_family(verdict: &Verdict) -> Family {
    let mut family = Family::new("evenkeel_verdict", "1 for the verdict of the run, 0 for the others.");
    for one in [Answer::Held, Answer::Broken, Answer::Inconclusive, Answer::Error] {
        family.add(&[("verdict", one.as_str())], f64::from(u8::from(one == verdict.verdict)));
    }
    family
}

fn requests_family(verdict: &Verdict) -> Family {
    let mut family = Family::new("evenkeel_requests", "Requests by lane and what became of them.");
    for (lane, summary) in verdict.lanes.iter().take(MOST) {
        let Requests { ok, lost, unsent, .. } = summary.requests;
        for (outcome, count) in [("ok", ok), ("lost", lost), ("unsent", unsent)] {
            family.add(&[("lane", lane), ("outcome", outcome)], count as f64);
        }
    }
    family
}

fn lost_by(name: &'static str, help: &'static str, label: &'static str, counts: &BTreeMap<String, u64>) -> Family {
    let mut family = Family::new(name, help);
    counts.iter().take(MOST).for_each(|(key, lost)| family.add(&[(label, key)], *lost as f64));
    family
}

fn bound_family(verdict: &Verdict) -> Family {
    let help = "The loss rate that is not exceeded, at 95 % (one-sided, Clopper and Pearson).";
    let mut family = Family::new("evenkeel_loss_rate_bound", help);
    for (lane, summary) in verdict.lanes.iter().take(MOST) {
        if let Some(bound) = summary.requests.loss_bound_95 {
            family.add(&[("lane", lane)], bound);
        }
    }
    family
}

fn latency_family(verdict: &Verdict) -> Family {
    let mut family = Family::new(
        "evenkeel_response_seconds",
        "Percentiles of the response time from the intended send time, by phase.",
    );
    for (phase, summary) in verdict.phases.iter().filter(|(_, summary)| summary.requests.sent > 0) {
        let Latency { p50, p90, p99, p999, max } = summary.latency_ms;
        for (quantile, ms) in [("0.5", p50), ("0.9", p90), ("0.99", p99), ("0.999", p999), ("1", max)] {
            family.add(&[("phase", phase.as_str()), ("quantile", quantile)], ms / 1_000.0);
        }
    }
    family
}

fn outage_family(verdict: &Verdict) -> Family {
    let mut family = Family::new("evenkeel_longest_outage_seconds", "The longest stretch of lost requests, by lane.");
    for (lane, summary) in verdict.lanes.iter().take(MOST) {
        family.add(&[("lane", lane)], summary.longest_outage_ms / 1_000.0);
    }
    family
}

fn lag_family(verdict: &Verdict) -> Family {
    let help = "How late evenkeel was at most, in sending a request or in seeing its answer, by lane.";
    let mut family = Family::new("evenkeel_send_lag_max_seconds", help);
    for (lane, summary) in verdict.lanes.iter().take(MOST) {
        family.add(&[("lane", lane)], summary.send_lag_max_ms / 1_000.0);
    }
    family
}

fn tainted_family(verdict: &Verdict) -> Family {
    let help = "How long the requests of a lane proved nothing about the service: evenkeel was late, or in doubt.";
    let mut family = Family::new("evenkeel_tainted_seconds", help);
    for (lane, summary) in verdict.lanes.iter().take(MOST) {
        family.add(&[("lane", lane)], summary.tainted_ms / 1_000.0);
    }
    family
}

fn expectation_family(verdict: &Verdict) -> Family {
    let help = "1 where an expectation held, 0 where not, -1 where it cannot be told.";
    let mut family = Family::new("evenkeel_expectation_held", help);
    // Two may have the same words; a series must not come twice, so the worse counts.
    let mut worst: BTreeMap<&str, f64> = BTreeMap::new();
    for expected in &verdict.expectations {
        let value = expected.held.map_or(-1.0, |held| f64::from(u8::from(held)));
        worst.entry(&expected.name).and_modify(|known| *known = known.min(value)).or_insert(value);
    }
    worst.iter().take(MOST).for_each(|(name, value)| family.add(&[("expectation", name)], *value));
    family
}

fn finding_family(verdict: &Verdict) -> Family {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for finding in &verdict.findings {
        let sum = counts.entry(&finding.id).or_default();
        *sum = sum.saturating_add(finding.lost);
    }
    let mut family =
        Family::new("evenkeel_finding_lost", "Lost requests that a finding explains; 0 where it stands alone.");
    counts.iter().take(MOST).for_each(|(id, lost)| family.add(&[("id", id)], *lost as f64));
    family
}

fn single(name: &'static str, help: &'static str, value: f64) -> Family {
    let mut family = Family::new(name, help);
    family.add(&[], value);
    family
}

/// A label's value as the format wants it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::report::sample;

    #[test]
    fn every_line_is_a_sample_of_a_family_that_was_declared_before_and_none_twice() {
        let mut verdict = sample::broken();
        verdict.experiment = "a\"b\\c\nd".to_owned();
        let again = verdict.expectations[0].clone();
        verdict.expectations.push(again);
        let text = render(&verdict);
        let (mut declared, mut seen) = (BTreeSet::new(), BTreeSet::new());
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                assert!(declared.insert(rest.split(' ').next().unwrap()), "{line}");
            } else if !line.starts_with('#') {
                let (series, value) = line.rsplit_once(' ').unwrap();
                assert!(value.parse::<f64>().is_ok() && series.ends_with('}'), "{line}");
                assert!(declared.contains(series.split('{').next().unwrap()), "{line}");
                assert!(series.contains(r#"experiment="a\"b\\c\nd""#), "{line}");
                assert!(seen.insert(series), "{line}");
            }
        }
        assert!(text.contains(r#"verdict="broken"} 1"#) && text.contains(r#"cause="prestop-missing"} 139"#), "{text}");
        assert!(text.contains(r#"phase="fault",quantile="0.99"} 0.212"#), "{text}");
        let text = render(&sample::inconclusive());
        assert!(
            text.contains(r#"evenkeel_send_lag_max_seconds{experiment="drain-one-node",lane="new"} 1.31"#),
            "{text}"
        );
        assert!(text.contains(r#"evenkeel_tainted_seconds{experiment="drain-one-node",lane="new"} 1.4"#), "{text}");
    }
}
