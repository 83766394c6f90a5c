//! What a reader sees first: the verdict, its figures, why it is so, and what to change.

use std::fmt::Write as _;

use super::escape::{E, Sentence};
use crate::{
    judge::{
        cause::Cause,
        verdict::{Answer, Finding, PatchHow, Verdict},
    },
    record::Record,
    report::wording::{count, counted, cut, duration, fraction, share, time_of, why},
};

/// Findings, reasons and sentences of evidence that are shown.
const MOST_FINDINGS: usize = 30;
const MOST_EVIDENCE: usize = 20;
const MOST_REASONS: usize = 8;
/// The judge's word for losses without a cause.
const UNEXPLAINED: &str = Cause::Unexplained.as_str();
/// Longest command in characters; a patch of one container has some hundred.
const MOST_COMMAND: usize = 4_000;
/// Longest sentence of a finding in characters.
const MOST_CHARS: usize = 1_000;

/// Writes heading, figures, causes.
pub fn write(out: &mut String, record: &Record, verdict: &Verdict) {
    headline(out, verdict);
    alarms(out, record, verdict);
    tiles(out, verdict);
    causes(out, verdict);
}

/// The sign beside the answer, so that its colour isn't all that tells it.
#[must_use]
pub const fn sign(answer: Answer) -> &'static str {
    match answer {
        Answer::Held => "✓",
        Answer::Broken => "✗",
        Answer::Inconclusive => "?",
        Answer::Error => "!",
    }
}

fn headline(out: &mut String, verdict: &Verdict) {
    let word = verdict.verdict.as_str();
    let scenario =
        verdict.scenario.as_ref().map(|id| format!(r#" <span class="chip">{}</span>"#, E(id))).unwrap_or_default();
    let _ = write!(
        out,
        r#"<header class="verdict {word}"><p class="answer"><i>{}</i>{word}</p><div><h1>{}{scenario}</h1><p class="why">{}</p>"#,
        sign(verdict.verdict),
        E(&verdict.experiment),
        E(&cut(&why(verdict), MOST_CHARS)),
    );
    let more: Vec<&String> = verdict.reasons.iter().skip(1).take(MOST_REASONS).collect();
    if !more.is_empty() {
        out.push_str("<ul>");
        for reason in more {
            let _ = write!(out, "<li>{}</li>", E(&cut(reason, MOST_CHARS)));
        }
        out.push_str("</ul>");
    }
    out.push_str("</div></header>");
}

/// What must not be overlooked, whatever the verdict: things not put back, a record that is not whole.
fn alarms(out: &mut String, record: &Record, verdict: &Verdict) {
    if !verdict.undo.complete || !verdict.undo.failed.is_empty() {
        out.push_str(r#"<div class="alarm"><h2>Not everything could be put back</h2><ul>"#);
        for failed in verdict.undo.failed.iter().take(MOST_EVIDENCE) {
            let _ = write!(out, "<li>{}</li>", E(&cut(failed, MOST_CHARS)));
        }
        out.push_str("</ul></div>");
    }
    if !record.damage.is_empty() {
        out.push_str(r#"<div class="alarm"><h2>The record is not whole</h2><ul>"#);
        for damage in record.damage.iter().take(MOST_EVIDENCE) {
            let _ = write!(out, "<li>{}</li>", E(&cut(damage, MOST_CHARS)));
        }
        out.push_str("</ul></div>");
    }
}

fn tiles(out: &mut String, verdict: &Verdict) {
    let all = &verdict.requests;
    out.push_str(r#"<div class="tiles">"#);
    let mut tile = |title: &str, figure: &str, note: &str, class: &str| {
        let _ = write!(out, r#"<div class="tile {class}"><h2>{title}</h2><p>{figure}</p><small>{note}</small></div>"#);
    };
    let unsent = if all.unsent > 0 {
        format!("{} more never sent, for a reason of ours", count(all.unsent))
    } else {
        String::new()
    };
    tile("requests", &count(all.sent), &unsent, if all.unsent > 0 { "caution" } else { "" });
    match (all.lost, all.loss_bound_95) {
        (0, Some(bound)) => {
            tile("lost", "0", &format!("less than {} at 95&nbsp;% confidence", fraction(bound)), "good");
        }
        (0, None) => tile("lost", "0", "", ""),
        (lost, _) => {
            let ours = if all.lost_tainted > 0 {
                format!(", {} of them while the measurement was in doubt", count(all.lost_tainted))
            } else {
                String::new()
            };
            tile("lost", &count(lost), &format!("{} of those sent{ours}", share(lost, all.sent)), "bad");
        }
    }
    let longest = verdict.outages.iter().map(|outage| outage.end_ms - outage.start_ms).fold(0.0, f64::max);
    let outages = counted(verdict.outages.len() as u64, "outage");
    tile("longest outage", &duration(longest), &outages, if longest > 0.0 { "bad" } else { "" });
    let latency = verdict.latency_ms;
    let note = format!("p50 {}, slowest {}", time_of(all, latency.p50), time_of(all, latency.max));
    tile("response time, p99", &time_of(all, latency.p99), &note, "");
    let held = verdict.expectations.iter().filter(|expected| expected.held == Some(true)).count();
    let all_held = held == verdict.expectations.len();
    tile(
        "expectations held",
        &format!("{held} of {}", verdict.expectations.len()),
        "",
        if all_held { "good" } else { "bad" },
    );
    out.push_str("</div>");
}

fn causes(out: &mut String, verdict: &Verdict) {
    if verdict.findings.is_empty() && verdict.requests.lost == 0 {
        return;
    }
    out.push_str(r#"<section id="causes"><h2>Why, and what to change</h2>"#);
    for finding in verdict.findings.iter().take(MOST_FINDINGS) {
        write_finding(out, finding, verdict.requests.lost);
    }
    let hidden = verdict.findings.len().saturating_sub(MOST_FINDINGS);
    if hidden > 0 {
        let _ = write!(out, r#"<p class="more">and {} in verdict.json</p>"#, counted(hidden as u64, "further finding"));
    }
    let unexplained = verdict.requests.by_cause.get(UNEXPLAINED).copied().unwrap_or(0);
    if unexplained > 0 && !verdict.findings.iter().any(|finding| finding.id == UNEXPLAINED) {
        let _ = write!(
            out,
            r#"<p class="unexplained"><b>{}</b> lost for a reason that the record does not show.</p>"#,
            counted(unexplained, "request"),
        );
    }
    out.push_str("</section>");
}

fn write_finding(out: &mut String, finding: &Finding, all_lost: u64) {
    let (verb, todo) = if finding.id == UNEXPLAINED { ("", "Where to look") } else { ("explains ", "What to change") };
    let _ = write!(
        out,
        r#"<article class="finding{}"><h3>{}</h3><p class="meta"><code>{}</code>"#,
        if finding.lost > 0 { " loses" } else { "" },
        Sentence(&cut(&finding.claim, MOST_CHARS)),
        E(&finding.id),
    );
    if finding.lost > 0 {
        let part = (finding.lost as f64 / all_lost.max(finding.lost) as f64) * 100.0;
        let _ = write!(
            out,
            r#"<span class="part"><i style="width:{part:.1}%"></i></span>{verb}{} of {}"#,
            count(finding.lost),
            counted(all_lost, "lost request"),
        );
    }
    out.push_str("</p>");
    if !finding.evidence.is_empty() {
        out.push_str("<ul>");
        for evidence in finding.evidence.iter().take(MOST_EVIDENCE) {
            let _ = write!(out, "<li>{}</li>", Sentence(&cut(evidence, MOST_CHARS)));
        }
        out.push_str("</ul>");
    }
    if !finding.advice.is_empty() {
        let _ = write!(out, r#"<p class="advice"><b>{todo}</b>{}</p>"#, Sentence(&cut(&finding.advice, MOST_CHARS)));
    }
    if let Some(patch) = &finding.patch {
        let what = match patch.how {
            PatchHow::Merge => "as a patch of",
            PatchHow::Create => "as a new",
        };
        let _ = write!(
            out,
            r#"<p class="patch">{what} <code>{}</code>:</p><pre class="patch">{}</pre>"#,
            E(&patch.object),
            E(&cut(&patch.command, MOST_COMMAND)),
        );
    }
    out.push_str("</article>");
}
