//! `index.html` of a run of several experiments: a line for each, the worst first, linked to its report.

use std::{cmp::Reverse, fmt::Write as _};

use super::{escape::E, page, top::sign};
use crate::{
    judge::verdict::Answer,
    report::{
        suite::SuiteCase,
        wording::{count, counted, cut, duration, loss, time_of, why},
    },
};

/// Longest reason in characters.
const MOST_CHARS: usize = 300;

/// The page. `name` is the run's.
#[must_use]
pub fn render(name: &str, cases: &[SuiteCase]) -> String {
    let mut body = String::new();
    let _ = write!(body, r#"<header class="suite"><h1>{}</h1><p>"#, E(name));
    for one in [Answer::Error, Answer::Broken, Answer::Inconclusive, Answer::Held] {
        let n = cases.iter().filter(|case| case.verdict.verdict == one).count();
        if n > 0 {
            let _ = write!(body, r#"<span class="badge {0}">{1} {n} {0}</span>"#, one.as_str(), sign(one));
        }
    }
    let took = cases.iter().map(|case| case.duration_ms as f64).sum::<f64>();
    let _ = write!(
        body,
        r#"<small>{} in {}</small></p></header><div class="cases">"#,
        counted(cases.len() as u64, "experiment"),
        duration(took)
    );
    let mut sorted: Vec<&SuiteCase> = cases.iter().collect();
    sorted.sort_by_key(|case| Reverse(badness(case.verdict.verdict)));
    for case in sorted {
        write_case(&mut body, case);
    }
    body.push_str("</div>");
    page(&format!("{name}: {}", counted(cases.len() as u64, "experiment")), &body, "")
}

const fn badness(answer: Answer) -> u8 {
    match answer {
        Answer::Held => 0,
        Answer::Inconclusive => 1,
        Answer::Broken => 2,
        Answer::Error => 3,
    }
}

fn write_case(out: &mut String, case: &SuiteCase) {
    let verdict = &case.verdict;
    let word = verdict.verdict.as_str();
    let scenario =
        verdict.scenario.as_ref().map(|id| format!(r#" <span class="chip">{}</span>"#, E(id))).unwrap_or_default();
    let _ = write!(
        out,
        r#"<a class="case {word}" href="{}/report.html"><span class="badge {word}">{} {word}</span><div><h2>{}{scenario}</h2><p>{}</p>"#,
        E(&address(&case.folder)),
        sign(verdict.verdict),
        E(&verdict.experiment),
        E(&cut(&why(verdict), MOST_CHARS)),
    );
    if let Some(finding) = verdict.findings.first() {
        let _ = write!(out, "<p><code>{}</code> {}</p>", E(&finding.id), E(&cut(&finding.claim, MOST_CHARS)));
    }
    let _ = write!(
        out,
        "<small>{} · p99 {} · {} · took {}</small></div></a>",
        E(&loss(&verdict.requests)),
        time_of(&verdict.requests, verdict.latency_ms.p99),
        if verdict.outages.is_empty() {
            "no outage".to_owned()
        } else {
            format!("{} outages", count(verdict.outages.len() as u64))
        },
        duration(case.duration_ms as f64),
    );
}

/// A folder's name as a relative address: everything but what names are made of is percent-encoded, so that a name
/// such as `javascript:…` or `//elsewhere` stays a name.
fn address(folder: &str) -> String {
    folder.bytes().fold("./".to_owned(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{exit_code::ExitCode, report::sample};

    fn case(verdict: crate::judge::verdict::Verdict, folder: &str) -> SuiteCase {
        SuiteCase { verdict, duration_ms: 60_000, folder: folder.to_owned(), exit_code: ExitCode::Held }
    }

    #[test]
    fn the_worst_stand_first_and_each_is_linked_to_its_report() {
        let html =
            render("nightly", &[case(sample::held(), "a"), case(sample::broken(), "b"), case(sample::error(), "c")]);
        let places: Vec<usize> =
            ["c", "b", "a"].map(|folder| html.find(&format!("href=\"./{folder}/report.html\"")).unwrap()).into();
        assert!(places.is_sorted(), "{places:?}");
    }

    #[test]
    fn a_folder_can_neither_leave_the_page_nor_run_anything() {
        assert_eq!(address("javascript:alert(1)"), "./javascript%3Aalert%281%29");
        assert_eq!(address("//evil/\"x"), "./%2F%2Fevil%2F%22x");
        let mut bad = sample::broken();
        bad.experiment = "<script>alert(1)</script>".to_owned();
        let html = render("<b>", &[case(bad, "x")]);
        assert!(!html.contains("<script>alert") && !html.contains("<b>:"));
    }
}
