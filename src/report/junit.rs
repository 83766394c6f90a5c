//! `junit.xml`: a test suite for the run, a test case for each experiment, as CI servers read it.
//!
//! Only what held is a pass. *Inconclusive* is a failure of a type of its own, since CI servers show a skipped test
//! as green; *error* is the format's own error.

use std::{fmt::Write as _, time::Duration};

use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};

use crate::{
    judge::verdict::{Answer, Verdict},
    report::{
        suite::SuiteCase,
        wording::{duration, loss, moment, plain, why},
    },
};

/// Outages that are listed; the report has all.
const MOST_OUTAGES: usize = 20;

/// `junit.xml` could not be made.
#[derive(Debug, thiserror::Error)]
#[error("failed to write the results as JUnit XML")]
pub struct JunitError {
    #[from]
    source: SerializeError,
}

/// The XML of a whole run. `name` is the suite's, such as the run's folder.
pub fn render(name: &str, cases: &[SuiteCase]) -> Result<String, JunitError> {
    let total = Duration::from_millis(cases.iter().map(|case| case.duration_ms).sum());
    let mut suite = TestSuite::new(plain(name));
    suite.set_time(total);
    suite.add_test_cases(cases.iter().map(test_case));
    let mut report = Report::new("evenkeel");
    report.set_time(total);
    report.add_test_suite(suite);
    Ok(report.to_string()?)
}

fn test_case(case: &SuiteCase) -> TestCase {
    let verdict = &case.verdict;
    // The folder is the experiment's name, numbered where it ran several times.
    let mut test = TestCase::new(plain(&case.folder), status(verdict));
    // The class groups a CI server's list: experiments of one scenario stand together.
    test.set_classname(match &verdict.scenario {
        Some(scenario) => format!("evenkeel.{}", plain(scenario)),
        None => "evenkeel".to_owned(),
    });
    test.set_assertions(verdict.expectations.len());
    test.set_time(Duration::from_millis(case.duration_ms));
    test.set_system_out(told(verdict, &case.folder));
    test
}

fn status(verdict: &Verdict) -> TestCaseStatus {
    let kind = match verdict.verdict {
        Answer::Held => return TestCaseStatus::success(),
        Answer::Broken | Answer::Inconclusive => NonSuccessKind::Failure,
        Answer::Error => NonSuccessKind::Error,
    };
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(verdict.verdict.as_str());
    status.set_message(plain(&why(verdict)));
    status.set_description(reasons_and_findings(verdict));
    status
}

fn reasons_and_findings(verdict: &Verdict) -> String {
    let mut text = String::new();
    for reason in &verdict.reasons {
        let _ = writeln!(text, "{}", plain(reason));
    }
    for finding in &verdict.findings {
        let _ = writeln!(text, "\n[{}] {}", plain(&finding.id), plain(&finding.claim));
        for evidence in &finding.evidence {
            let _ = writeln!(text, "  - {}", plain(evidence));
        }
        let _ = writeln!(text, "  what to change: {}", plain(&finding.advice));
        if let Some(patch) = &finding.patch {
            let _ = writeln!(text, "  {}", plain(&patch.command));
        }
    }
    for failed in &verdict.undo.failed {
        let _ = writeln!(text, "\nnot put back: {}", plain(failed));
    }
    text
}

fn told(verdict: &Verdict, folder: &str) -> String {
    let latency = verdict.latency_ms;
    let mut text = format!("requests: {}\n", loss(&verdict.requests));
    if verdict.requests.sent > 0 {
        let (p50, p99, max) = (duration(latency.p50), duration(latency.p99), duration(latency.max));
        let _ = writeln!(text, "latency: p50 {p50}, p99 {p99}, max {max}");
    }
    for expected in &verdict.expectations {
        let mark = match expected.held {
            Some(true) => "held",
            Some(false) => "NOT HELD",
            None => "not measured",
        };
        let (name, measured, allowed) = (plain(&expected.name), plain(&expected.measured), plain(&expected.allowed));
        let _ = writeln!(text, "{mark}: {name}: {measured} (allowed: {allowed})");
    }
    for outage in verdict.outages.iter().take(MOST_OUTAGES) {
        let length = duration(outage.end_ms - outage.start_ms);
        let (lane, from, cause) = (plain(&outage.lane), moment(outage.start_ms), plain(&outage.cause));
        let _ = writeln!(text, "outage: {length} in lane {lane} from {from}, {} lost ({cause})", outage.lost);
    }
    let _ = writeln!(text, "report: {}/report.html", plain(folder));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{exit_code::ExitCode, report::sample};

    fn case(verdict: Verdict, exit_code: ExitCode) -> SuiteCase {
        let folder = verdict.experiment.clone();
        SuiteCase { verdict, duration_ms: 21_500, folder, exit_code }
    }

    #[test]
    fn each_answer_is_told_as_ci_servers_understand_it() {
        let cases = [
            case(sample::held(), ExitCode::Held),
            case(sample::broken(), ExitCode::Broken),
            case(sample::inconclusive(), ExitCode::Inconclusive),
            case(sample::error(), ExitCode::NotUndone),
        ];
        insta::assert_snapshot!(render("nightly", &cases).unwrap());
    }

    #[test]
    fn only_a_held_experiment_passes() {
        for (verdict, passes) in [
            (sample::held(), true),
            (sample::broken(), false),
            (sample::inconclusive(), false),
            (sample::error(), false),
        ] {
            let xml = render("nightly", &[case(verdict, ExitCode::Held)]).unwrap();
            let parsed = Report::deserialize_from_str(&xml).unwrap();
            assert_eq!(parsed.failures + parsed.errors == 0, passes);
            assert_eq!(parsed.test_suites[0].skipped, 0);
        }
    }

    #[test]
    fn hostile_texts_leave_the_xml_well_formed() {
        let mut verdict = sample::broken();
        verdict.experiment = "<script>alert(1)</script>&\"\u{0}".to_owned();
        verdict.findings[0].claim = "]]><testcase name='x'/>\u{b}".to_owned();
        let xml = render("a<b", &[case(verdict, ExitCode::Broken)]).unwrap();
        let parsed = Report::deserialize_from_str(&xml).unwrap();
        assert_eq!(parsed.test_suites[0].test_cases.len(), 1);
        assert!(parsed.test_suites[0].test_cases[0].name.as_str().contains("<script>"));
    }
}
