//! What a run of several experiments leaves beside their folders: `summary.json` for scripts, `index.html` for people.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::Serialize;

use crate::{
    exit_code::ExitCode,
    judge::verdict::{Answer, Requests, Verdict},
    report::wording::plain,
};

/// One experiment of a run, judged.
#[derive(Debug, Clone)]
pub struct SuiteCase {
    /// What the judge said.
    pub verdict: Verdict,
    /// How long all of it took, set-up and undo included, in milliseconds.
    pub duration_ms: u64,
    /// The folder of its record, relative to the suite's files.
    pub folder: String,
    /// The exit code that it alone would have given.
    pub exit_code: ExitCode,
}

/// `summary.json`.
#[derive(Debug, Serialize)]
struct Summary<'a> {
    exit_code: u8,
    experiments: Vec<Line<'a>>,
}

/// One experiment in `summary.json`.
#[derive(Debug, Serialize)]
struct Line<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scenario: Option<&'a str>,
    verdict: Answer,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    requests: &'a Requests,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_finding: Option<&'a str>,
    duration_ms: u64,
    folder: &'a str,
    exit_code: u8,
}

/// The exit code of the whole: the worst of all.
#[must_use]
pub fn exit_code(cases: &[SuiteCase]) -> ExitCode {
    cases.iter().fold(ExitCode::Held, |worst, case| worst.worst(case.exit_code))
}

/// How often each experiment that was run several times gave which answer, a line each; nothing where none was.
#[must_use]
pub fn tallies(cases: &[SuiteCase]) -> String {
    let mut by_name: BTreeMap<&str, BTreeMap<&'static str, usize>> = BTreeMap::new();
    for case in cases {
        let counts = by_name.entry(&case.verdict.experiment).or_default();
        *counts.entry(case.verdict.verdict.as_str()).or_default() += 1;
    }
    let mut text = String::new();
    for (name, counts) in by_name {
        let runs: usize = counts.values().sum();
        if runs > 1 {
            let parts: Vec<String> = counts.iter().map(|(answer, count)| format!("{count} {answer}")).collect();
            let flips = if counts.len() > 1 { ": the verdict flips" } else { "" };
            let _ = writeln!(text, "{}: {} of {runs} runs{flips}", plain(name), parts.join(", "));
        }
    }
    text
}

/// `summary.json`: `exit_code` of the whole, and for each of `experiments` its `name`, `scenario`, `verdict`, first
/// `reason`, `requests` as in `verdict.json`, id of the `top_finding`, `duration_ms`, `folder` and `exit_code`.
///
/// # Errors
/// Only where a number is none, which JSON cannot say.
pub fn summary_json(cases: &[SuiteCase]) -> Result<String, serde_json::Error> {
    let summary = Summary { exit_code: exit_code(cases) as u8, experiments: cases.iter().map(Line::of).collect() };
    serde_json::to_string_pretty(&summary).map(|json| json + "\n")
}

impl<'a> Line<'a> {
    fn of(case: &'a SuiteCase) -> Self {
        let verdict = &case.verdict;
        Self {
            name: &verdict.experiment,
            scenario: verdict.scenario.as_deref(),
            verdict: verdict.verdict,
            reason: verdict.reasons.first().map(String::as_str),
            requests: &verdict.requests,
            top_finding: verdict.findings.first().map(|finding| finding.id.as_str()),
            duration_ms: case.duration_ms,
            folder: &case.folder,
            exit_code: case.exit_code as u8,
        }
    }
}

/// `index.html`: the experiments with their verdicts, the worst first, each linked to its report. Self-contained.
#[must_use]
pub fn index_html(name: &str, cases: &[SuiteCase]) -> String {
    super::html::index::render(name, cases)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn a_verdict_that_flips_is_told() {
        let case = |verdict: Verdict, folder: &str| SuiteCase {
            verdict,
            duration_ms: 1,
            folder: folder.to_owned(),
            exit_code: ExitCode::Held,
        };
        let broken = || Verdict { verdict: Answer::Broken, ..sample::held() };
        let name = sample::held().experiment;
        assert_eq!(tallies(&[case(sample::held(), "a-1")]), "");
        let twice = tallies(&[case(sample::held(), "a-1"), case(sample::held(), "a-2")]);
        assert_eq!(twice, format!("{name}: 2 held of 2 runs\n"));
        let flips = tallies(&[case(sample::held(), "a-1"), case(broken(), "a-2"), case(sample::held(), "a-3")]);
        assert_eq!(flips, format!("{name}: 1 broken, 2 held of 3 runs: the verdict flips\n"));
    }

    fn cases() -> Vec<SuiteCase> {
        let case = |verdict: Verdict, exit_code| SuiteCase {
            folder: verdict.experiment.clone(),
            verdict,
            duration_ms: 21_500,
            exit_code,
        };
        vec![
            case(sample::held(), ExitCode::Held),
            case(sample::broken(), ExitCode::Broken),
            case(sample::inconclusive(), ExitCode::Inconclusive),
        ]
    }

    #[test]
    fn the_summary_has_a_line_for_each_experiment_and_the_worst_exit_code() {
        let json: serde_json::Value = serde_json::from_str(&summary_json(&cases()).unwrap()).unwrap();
        assert_eq!(json["exit_code"], 1);
        assert_eq!(json["experiments"][0]["verdict"], "held");
        assert_eq!(json["experiments"][0]["top_finding"], serde_json::Value::Null);
        assert_eq!(json["experiments"][1]["requests"]["by_kind"]["refused"], 118);
        assert_eq!(json["experiments"][1]["top_finding"], "prestop-missing");
        assert_eq!(json["experiments"][1]["folder"], "drain-and-rollout");
        assert_eq!(json["experiments"][2]["exit_code"], 3);
    }

    #[test]
    fn a_suite_of_nothing_but_held_experiments_exits_0() {
        assert_eq!(exit_code(&cases()[..1]), ExitCode::Held);
        assert_eq!(exit_code(&cases()), ExitCode::Broken);
    }
}
