//! The figures behind the charts, as tables: expectations, requests by lane, phase, kind and cause, and steps.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use super::escape::E;
use crate::{
    judge::verdict::{Latency, Requests, Verdict},
    record::event::Outcome,
    report::wording::{count, cut, duration, moment, outcome, share, time_of},
};

/// Rows of one table; all of them are in `verdict.json`.
const MOST_ROWS: usize = 200;
/// Lanes that get a column of their own.
const MOST_COLUMNS: usize = 8;
/// Longest text of a cell in characters.
const MOST_CHARS: usize = 500;

/// Writes all tables.
pub fn write(out: &mut String, verdict: &Verdict) {
    expectations(out, verdict);
    requests(out, verdict);
    steps(out, verdict);
}

fn expectations(out: &mut String, verdict: &Verdict) {
    out.push_str(r#"<section id="expectations"><h2>What was expected</h2><div class="scroll"><table><thead><tr><th></th><th>expectation</th><th>measured</th><th>allowed</th></tr></thead><tbody>"#);
    for expected in verdict.expectations.iter().take(MOST_ROWS) {
        let (class, sign, word) = match expected.held {
            Some(true) => ("good", "✓", "held"),
            Some(false) => ("bad", "✗", "did not hold"),
            None => ("caution", "?", "not measured"),
        };
        let _ = write!(
            out,
            r#"<tr class="{class}"><td class="sign" title="{word}">{sign}</td><td>{}</td><td class="strong">{}</td><td>{}</td></tr>"#,
            E(&cut(&expected.name, MOST_CHARS)),
            E(&cut(&expected.measured, MOST_CHARS)),
            E(&cut(&expected.allowed, MOST_CHARS)),
        );
    }
    out.push_str("</tbody></table></div></section>");
}

fn requests(out: &mut String, verdict: &Verdict) {
    out.push_str(r#"<section id="requests"><h2>Requests</h2>"#);
    table_of_requests(out, verdict);
    let by_kind = |requests: &Requests| -> BTreeMap<String, u64> {
        requests.by_kind.iter().map(|(kind, n)| (outcome(*kind).to_owned(), *n)).collect()
    };
    if verdict.requests.lost > 0 || verdict.requests.by_kind.contains_key(&Outcome::NotSent) {
        matrix(out, "Lost, by what the client saw", verdict, by_kind);
        matrix(out, "Lost, by cause", verdict, |requests| requests.by_cause.clone());
    }
    slow(out, verdict);
    out.push_str("</section>");
}

fn table_of_requests(out: &mut String, verdict: &Verdict) {
    out.push_str(r#"<div class="scroll"><table class="num"><thead><tr><th></th><th>sent</th><th>lost</th><th>share</th><th>never sent</th><th>p50</th><th>p90</th><th>p99</th><th>p99.9</th><th>max</th><th>longest outage</th></tr></thead><tbody>"#);
    let mut row = |class: &str, name: &str, requests: &Requests, latency: Latency, outage: Option<f64>| {
        let Latency { p50, p90, p99, p999, max } = latency;
        let _ = write!(
            out,
            r#"<tr class="{class}"><th>{}</th><td>{}</td><td class="{}">{}</td><td>{}</td><td>{}</td>"#,
            E(name),
            count(requests.sent),
            if requests.lost > 0 { "bad" } else { "" },
            count(requests.lost),
            share(requests.lost, requests.sent),
            count(requests.unsent),
        );
        for time in [p50, p90, p99, p999, max] {
            let _ = write!(out, "<td>{}</td>", time_of(requests, time));
        }
        let _ = write!(out, "<td>{}</td></tr>", outage.map_or("–".to_owned(), duration));
    };
    let longest = verdict.lanes.values().map(|lane| lane.longest_outage_ms).fold(0.0, f64::max);
    row("all", "all", &verdict.requests, verdict.latency_ms, Some(longest));
    for (name, lane) in verdict.lanes.iter().take(MOST_ROWS) {
        let control = if lane.is_control { " (control)" } else { "" };
        row("", &format!("lane {name}{control}"), &lane.requests, lane.latency_ms, Some(lane.longest_outage_ms));
    }
    for (at, (phase, summary)) in verdict.phases.iter().enumerate() {
        let class = if at == 0 { "first" } else { "" };
        row(class, &format!("phase {}", phase.as_str()), &summary.requests, summary.latency_ms, None);
    }
    out.push_str("</tbody></table></div>");
}

/// Counts by something, in all, for each lane and for each phase; the largest first.
fn matrix(out: &mut String, title: &str, verdict: &Verdict, read: impl Fn(&Requests) -> BTreeMap<String, u64>) {
    let all = read(&verdict.requests);
    let mut columns: Vec<(String, BTreeMap<String, u64>)> = vec![("all".to_owned(), all.clone())];
    columns.extend(
        verdict.lanes.iter().take(MOST_COLUMNS).map(|(name, lane)| (format!("lane {name}"), read(&lane.requests))),
    );
    columns.extend(verdict.phases.iter().map(|(phase, one)| (phase.as_str().to_owned(), read(&one.requests))));
    let names: BTreeSet<&String> = columns.iter().flat_map(|(_, counts)| counts.keys()).collect();
    let mut rows: Vec<&String> = names.into_iter().collect();
    rows.sort_by_key(|name| std::cmp::Reverse(all.get(*name).copied().unwrap_or(0)));
    if rows.is_empty() {
        return;
    }
    let _ = write!(out, r#"<h3>{title}</h3><div class="scroll"><table class="num"><thead><tr><th></th>"#);
    for (name, _) in &columns {
        let _ = write!(out, "<th>{}</th>", E(name));
    }
    out.push_str("</tr></thead><tbody>");
    for name in rows.into_iter().take(MOST_ROWS) {
        let _ = write!(out, "<tr><th>{}</th>", E(&cut(name, MOST_CHARS)));
        for (_, counts) in &columns {
            match counts.get(name).copied().unwrap_or(0) {
                0 => out.push_str(r#"<td class="zero">0</td>"#),
                n => {
                    let _ = write!(out, "<td>{}</td>", count(n));
                }
            }
        }
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></div>");
}

/// Answers that were late: a row for each lane, a column for each reason that any of them has.
fn slow(out: &mut String, verdict: &Verdict) {
    let lanes = &verdict.slow.lanes;
    if lanes.is_empty() {
        return;
    }
    let reasons: BTreeSet<&String> = lanes.values().flat_map(|lane| lane.by_reason.keys()).collect();
    let reasons: Vec<&String> = reasons.into_iter().take(MOST_COLUMNS).collect();
    out.push_str(r#"<h3>Answered late, by reason</h3><div class="scroll"><table class="num"><thead><tr><th></th><th>later than</th><th>answers</th>"#);
    for reason in &reasons {
        let _ = write!(out, "<th>{}</th>", E(&cut(reason, MOST_CHARS)));
    }
    out.push_str("<th>held up by evenkeel</th><th>only counted</th></tr></thead><tbody>");
    for (name, lane) in lanes.iter().take(MOST_ROWS) {
        let _ = write!(
            out,
            "<tr><th>lane {}</th><td>{}</td><td>{}</td>",
            E(&cut(name, MOST_CHARS)),
            duration(lane.slower_than_ms),
            count(lane.answered_late)
        );
        let of_reasons = reasons.iter().map(|reason| lane.by_reason.get(*reason).copied().unwrap_or(0));
        for number in of_reasons.chain([lane.tainted, lane.answered_late.saturating_sub(lane.described)]) {
            let class = if number == 0 { r#" class="zero""# } else { "" };
            let _ = write!(out, "<td{class}>{}</td>", count(number));
        }
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></div>");
}

fn steps(out: &mut String, verdict: &Verdict) {
    out.push_str(r#"<section id="steps"><h2>Steps</h2><div class="scroll"><table><thead><tr><th>step</th><th>what was done</th><th>from</th><th>took</th></tr></thead><tbody>"#);
    for step in verdict.steps.iter().take(MOST_ROWS) {
        let took =
            step.end_ms.map_or(r#"<b class="bad">never done</b>"#.to_owned(), |end| duration(end - step.start_ms));
        let _ = write!(
            out,
            r#"<tr><th>{} {}</th><td>{}</td><td class="nowrap">{}</td><td class="nowrap">{took}</td></tr>"#,
            E(&step.path),
            E(&step.name),
            E(&cut(&step.detail, MOST_CHARS)),
            moment(step.start_ms),
        );
    }
    out.push_str("</tbody></table></div>");
    let undone = if verdict.undo.complete && verdict.undo.failed.is_empty() {
        r#"<p class="undo good">✓ Everything was put back, and seen to be as it was before.</p>"#
    } else {
        r#"<p class="undo bad">✗ Not everything could be put back: see the top of the page.</p>"#
    };
    out.push_str(undone);
    out.push_str("</section>");
}
