//! `summary.md`: the verdicts as a comment on a pull request: a table of all experiments, and for each that did not
//! hold why, what to change, and the patch to copy.

use std::fmt::Write as _;

use super::{
    suite::SuiteCase,
    wording::{count, counted, cut, duration, plain, share, time_of, why},
};
use crate::{
    experiment::schema::Phase,
    judge::verdict::{Answer, Finding, Verdict},
};

/// Findings of one experiment, sentences of one finding, and experiments that are told: comments have at most 65,536
/// characters on the usual forges.
const MOST_FINDINGS: usize = 5;
const MOST_EVIDENCE: usize = 8;
const MOST_TOLD: usize = 10;
/// Further reasons of one verdict.
const MOST_REASONS: usize = 5;
const MOST_ROWS: usize = 200;
/// Longest sentence in characters.
const MOST_CHARS: usize = 400;
/// Longest command in characters.
const MOST_COMMAND: usize = 2_000;

/// The summary of a whole suite.
#[must_use]
pub fn of_suite(cases: &[SuiteCase]) -> String {
    let mut out = String::new();
    let held = cases.iter().filter(|case| case.verdict.verdict == Answer::Held).count();
    let sign = if held == cases.len() { "✅" } else { "❌" };
    let _ = writeln!(out, "## {sign} evenkeel: {held} of {} held\n", counted(cases.len() as u64, "experiment"));
    table(&mut out, cases.iter().map(|case| (case.folder.as_str(), &case.verdict)));
    let told = cases.iter().filter(|case| case.verdict.verdict != Answer::Held);
    told.take(MOST_TOLD).for_each(|case| tell(&mut out, &case.folder, &case.verdict));
    out
}

/// The summary of one experiment.
#[must_use]
pub fn of_one(verdict: &Verdict) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "## {} {}: {}\n", sign(verdict.verdict), text(&verdict.experiment), verdict.verdict.as_str());
    table(&mut out, std::iter::once((verdict.experiment.as_str(), verdict)));
    tell(&mut out, &verdict.experiment, verdict);
    out
}

const fn sign(answer: Answer) -> &'static str {
    match answer {
        Answer::Held => "✅",
        Answer::Broken => "❌",
        Answer::Inconclusive => "❔",
        Answer::Error => "⚠️",
    }
}

fn table<'v>(out: &mut String, cases: impl Iterator<Item = (&'v str, &'v Verdict)>) {
    out.push_str("| experiment | verdict | requests | lost | longest outage | p99 during fault | first cause |\n");
    out.push_str("|---|---|---:|---:|---:|---:|---|\n");
    for (name, verdict) in cases.take(MOST_ROWS) {
        let all = &verdict.requests;
        let longest = verdict.outages.iter().map(|outage| outage.end_ms - outage.start_ms).fold(0.0, f64::max);
        let fault = verdict.phases.get(&Phase::Fault);
        let fault = fault.map_or("–".to_owned(), |phase| time_of(&phase.requests, phase.latency_ms.p99));
        let cause = verdict.findings.first().map_or("–".to_owned(), |finding| code(&finding.id));
        let lost = match (all.lost, all.loss_bound_95) {
            (0, Some(bound)) => format!("0 (< {:.3} % at 95 %)", bound * 100.0),
            (lost, _) => format!("{} ({})", count(lost), share(lost, all.sent)),
        };
        let _ = writeln!(
            out,
            "| {} | {} {} | {} | {lost} | {} | {fault} | {cause} |",
            text(name),
            sign(verdict.verdict),
            verdict.verdict.as_str(),
            count(all.sent),
            if longest > 0.0 { duration(longest) } else { "–".to_owned() },
        );
    }
}

fn tell(out: &mut String, name: &str, verdict: &Verdict) {
    if verdict.verdict == Answer::Held && verdict.findings.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n### {}\n{}\n", text(name), text(&why(verdict)));
    // Expectations and findings are told below; what is left are doubts about the measurement.
    let told = |reason: &&String| {
        verdict.expectations.iter().any(|expected| reason.starts_with(&expected.name))
            || verdict.findings.iter().any(|finding| reason.contains(&format!("({})", finding.id)))
    };
    for reason in verdict.reasons.iter().skip(1).filter(|reason| !told(reason)).take(MOST_REASONS) {
        let _ = writeln!(out, "- and {}", text(reason));
    }
    for expected in verdict.expectations.iter().filter(|expected| expected.held != Some(true)) {
        let word = if expected.held.is_none() { "cannot be told" } else { "did not hold" };
        let (name, measured, allowed) = (text(&expected.name), text(&expected.measured), text(&expected.allowed));
        let _ = writeln!(out, "- {word}: {name}: **{measured}**, allowed {allowed}");
    }
    for finding in verdict.findings.iter().take(MOST_FINDINGS) {
        write_finding(out, finding);
    }
    if let Some(more) = verdict.findings.len().checked_sub(MOST_FINDINGS).filter(|more| *more > 0) {
        let _ = writeln!(out, "\nand {} in verdict.json", counted(more as u64, "further finding"));
    }
    for failed in &verdict.undo.failed {
        let _ = writeln!(out, "\n⚠️ not put back: {}", text(failed));
    }
}

fn write_finding(out: &mut String, finding: &Finding) {
    let lost = if finding.lost > 0 { format!(", {} lost", count(finding.lost)) } else { String::new() };
    let _ = writeln!(out, "\n**{}** ({}{lost})  ", text(&finding.claim), code(&finding.id));
    let _ = writeln!(out, "{}", text(&finding.advice));
    if let Some(patch) = &finding.patch {
        // A fence longer than any run of backticks inside.
        let command = cut(&plain(&patch.command), MOST_COMMAND);
        let fence = "`".repeat(longest_run(&command).max(2) + 1);
        let _ = writeln!(out, "\n{fence}sh\n{command}\n{fence}");
    }
    if !finding.evidence.is_empty() {
        out.push_str("\n<details><summary>evidence</summary>\n\n");
        for evidence in finding.evidence.iter().take(MOST_EVIDENCE) {
            let _ = writeln!(out, "- {}", text(evidence));
        }
        out.push_str("\n</details>\n");
    }
}

/// A text in which nothing is markup, a link or a mention: everything in a record is foreign.
fn text(foreign: &str) -> String {
    let mut out = String::new();
    for c in cut(&plain(foreign), MOST_CHARS).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            // A word joiner after it keeps people from being called.
            '@' => out.push_str("@\u{2060}"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '!' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

/// An id as code; a record may hold any text in its place.
fn code(id: &str) -> String {
    let plain = id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if plain { format!("`{id}`") } else { text(id) }
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{exit_code::ExitCode, report::sample};

    fn case(verdict: Verdict) -> SuiteCase {
        let folder = verdict.experiment.clone();
        SuiteCase { verdict, duration_ms: 1, folder, exit_code: ExitCode::Held }
    }

    #[test]
    fn a_suite_is_a_table_and_what_did_not_hold_is_told_with_its_patch() {
        let summary = of_suite(&[case(sample::held()), case(sample::broken())]);
        assert!(summary.starts_with("## ❌ evenkeel: 1 of 2 experiments held\n"), "{summary}");
        assert_eq!(summary.lines().filter(|line| line.starts_with("| ")).count(), 3);
        assert!(summary.contains("| ❌ broken | 12,000 | 143 (1.2 %) |"), "{summary}");
        assert!(summary.contains("```sh\nkubectl patch deployment/shop"), "{summary}");
        assert!(summary.contains("(`prestop-missing`, 139 lost)"), "{summary}");
        assert!(of_suite(&[case(sample::held())]).starts_with("## ✅ evenkeel: 1 of 1 experiment held\n"));
    }

    #[test]
    fn every_doubt_about_the_measurement_is_told_and_what_stands_below_is_not_told_twice() {
        let mut verdict = sample::inconclusive();
        verdict.reasons.push("lost requests cannot be told (0 of 8,200): too few".to_owned());
        let summary = of_one(&verdict);
        assert!(summary.contains("\n- and the load generator was held up by up to 1310 ms"), "{summary}");
        assert_eq!(summary.matches("cannot be told").count(), 1, "{summary}");
    }

    #[test]
    fn no_text_of_a_record_becomes_markup() {
        let bad = "<img src=x onerror=alert(1)> [a](http://b) @team `x` | y\n# z";
        let mut verdict = sample::broken();
        bad.clone_into(&mut verdict.experiment);
        bad.clone_into(&mut verdict.reasons[0]);
        verdict.findings[0].evidence = vec![bad.to_owned()];
        bad.clone_into(&mut verdict.findings[0].id);
        verdict.findings[0].patch.as_mut().unwrap().command = "echo '```\n<b>".to_owned();
        let summary = of_one(&verdict);
        for markup in ["<img", "[a](", "@team", "\n# z"] {
            assert!(!summary.contains(markup), "{markup}: {summary}");
        }
        assert!(summary.contains("````sh\n"), "{summary}");
        let row = summary.lines().find(|line| line.contains("❌ broken |")).unwrap();
        assert_eq!(row.replace("\\|", "").matches('|').count(), 8, "{row}");
    }
}
