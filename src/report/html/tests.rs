use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{escape::Sentence, *};
use crate::{
    exit_code::ExitCode,
    experiment::schema::Phase,
    judge::verdict::Requests,
    record::event::What,
    report::{sample, wording::count},
};

/// The most that a report may have, whatever is in the record.
const MOST_BYTES: usize = 1_500_000;
const BAD: &str = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>&amp;\u{202e}";

fn rendered() -> String {
    render(&sample::record(), &sample::broken())
}

/// Every text of a value that may be any text becomes a hostile one; words of a closed list stay.
fn poisoned<T: Serialize + DeserializeOwned>(value: &T) -> T {
    fn places(value: &Value, at: &str, found: &mut Vec<String>) {
        match value {
            Value::String(_) => found.push(at.to_owned()),
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(n, item)| places(item, &format!("{at}/{n}"), found));
            }
            Value::Object(map) => map.iter().for_each(|(key, item)| {
                places(item, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), found);
            }),
            _ => {}
        }
    }
    let mut json = serde_json::to_value(value).unwrap();
    let mut found = Vec::new();
    places(&json, "", &mut found);
    for place in found {
        let before = json.pointer_mut(&place).unwrap().take();
        *json.pointer_mut(&place).unwrap() = Value::from(format!("{BAD}{}", before.as_str().unwrap()));
        if T::deserialize(&json).is_err() {
            *json.pointer_mut(&place).unwrap() = before;
        }
    }
    serde_json::from_value(json).unwrap()
}

#[test]
fn no_text_of_a_record_or_a_verdict_becomes_markup() {
    let mut record = sample::record();
    record.events.iter_mut().for_each(|event| {
        if !matches!(event.what, What::Load(_) | What::Lost(_)) {
            *event = poisoned(event);
        }
    });
    record.experiment = poisoned(&record.experiment);
    record.plan = poisoned(&record.plan);
    record.damage.push(BAD.to_owned());
    record.intervals.iter_mut().for_each(|interval| interval.lane.insert_str(0, BAD));
    let mut verdict = poisoned(&sample::broken());
    verdict.undo.failed.push(BAD.to_owned());
    for (_, lane) in std::mem::take(&mut verdict.lanes) {
        verdict.lanes.insert(BAD.to_owned(), lane);
    }
    verdict.requests.by_cause.insert(BAD.to_owned(), 7);
    for (_, mut lane) in std::mem::take(&mut verdict.slow.lanes) {
        lane.by_reason.insert(BAD.to_owned(), 7);
        verdict.slow.lanes.insert(BAD.to_owned(), lane);
    }
    let html = render(&record, &verdict);
    assert!(html.matches("&lt;script&gt;alert(1)").count() > 100, "the poison reached the page");
    let own = html.split_once("<body>").unwrap().1.split_once("<script>").unwrap().0;
    for markup in ["<script", "<img", "alert(1)</script>", "\u{202e}"] {
        assert!(!own.contains(markup), "{markup}");
    }
    // The poison would close an attribute with a quote; escaped, no quote of its own is left.
    assert!(!own.contains("\"'>") && !own.contains("'>&lt;script"));
}

#[test]
fn what_the_judge_makes_of_a_record_stands_in_its_report() {
    let record = sample::record();
    let verdict = crate::judge::judge(&record);
    assert_eq!(verdict.findings.first().map(|finding| finding.id.as_str()), Some("prestop-missing"));
    let html = render(&record, &verdict);
    for finding in &verdict.findings {
        assert!(
            html.contains(&Sentence(&finding.claim).to_string())
                && html.contains(&Sentence(&finding.advice).to_string())
        );
    }
    assert!(html.contains("class=\"verdict broken\"") && html.contains("<td class=\"bad\">143</td>"));
}

#[test]
fn late_answers_stand_with_their_reasons_and_what_is_only_counted_of_them() {
    let row = "<th>lane new</th><td>250 ms</td><td>31</td><td>21</td><td>2</td><td>1</td><td>7</td>";
    let html = rendered();
    assert!(html.contains("<th>cold-pod</th><th>unexplained</th><th>held up by evenkeel</th><th>only counted</th>"));
    assert!(html.contains(row), "{}", &html[html.find("Answered late").unwrap()..][..600]);
    assert!(!render(&sample::record(), &sample::held()).contains("Answered late"));
}

#[test]
fn the_page_asks_nothing_of_the_network() {
    let html = rendered();
    for outside in ["http://", "https://", "src=", "@import", "url(", "<link", "fetch(", "XMLHttpRequest"] {
        let own = html.replace("http://10.244.1.12:8080/ready", "");
        assert!(!own.contains(outside), "{outside}");
    }
    assert!(html.contains("default-src 'none'"));
}

#[test]
fn the_policy_allows_this_script_and_no_other() {
    let html = rendered();
    let script = html.rsplit_once("<script>").unwrap().1.split_once("</script>").unwrap().0;
    let digest = STANDARD.encode(Sha256::digest(script));
    assert!(html.contains(&format!("script-src 'sha256-{digest}'")));
    let policy = html.split_once("script-src").unwrap().1.split_once(';').unwrap().0;
    assert!(!policy.contains("unsafe"));
    assert!(SCRIPT.len() < 15_000 && !SCRIPT.contains("innerHTML") && !SCRIPT.contains("eval"));
}

#[test]
fn the_verdict_stands_first_then_causes_then_time() {
    let html = rendered();
    let body = html.split_once("<main>").unwrap().1;
    let places: Vec<usize> = [
        "class=\"verdict broken\"",
        "143 of 12,000 requests were lost",
        "prestop-missing",
        "What to change",
        "id=\"timeline\"",
        "id=\"expectations\"",
        "id=\"requests\"",
        "id=\"steps\"",
        "id=\"moments\"",
        "id=\"environment\"",
    ]
    .map(|text| body.find(text).unwrap_or_else(|| panic!("{text} is missing")))
    .into();
    assert!(places.is_sorted(), "{places:?}");
}

/// The load that only waits for the service to be steady is in the charts, and in no count.
#[test]
fn a_lane_has_the_same_count_wherever_it_stands() {
    let mut record = sample::record();
    for event in &mut record.events {
        if matches!(event.what, What::Phase { phase: Phase::Before }) {
            event.at_us = 2_000_000;
        }
    }
    let verdict = crate::judge::judge(&record);
    let whole = crate::judge::judge(&sample::record()).lanes["new"].requests.sent;
    let Requests { sent, lost, .. } = verdict.lanes["new"].requests;
    assert!(sent < whole, "{sent} of {whole}");
    let html = render(&record, &verdict);
    let row = format!("<th>lane new</th><td>{}</td>", count(sent));
    let label = format!("<small>{} of {}, ", count(lost), count(sent));
    let curve = format!("new, {} requests", count(sent));
    for told in [row, label, curve] {
        assert!(html.contains(&told), "{told}");
    }
    for stale in [format!(" of {}, ", count(whole)), format!("new, {} requests", count(whole))] {
        assert!(!html.contains(&stale), "{stale}");
    }
}

#[test]
fn a_phase_without_a_request_has_no_response_times() {
    let mut verdict = sample::held();
    let row = |verdict: &Verdict| {
        let html = render(&sample::record(), verdict);
        html.split_once("<th>phase undo</th>").unwrap().1.split_once("</tr>").unwrap().0.to_owned()
    };
    assert!(row(&verdict).contains("<td>8.4 ms</td>"), "{}", row(&verdict));
    let undo = verdict.phases.get_mut(&Phase::Undo).unwrap();
    (undo.requests, undo.latency_ms) = Default::default();
    let empty = row(&verdict);
    assert!(!empty.contains(" ms") && empty.matches("<td>–</td>").count() >= 6, "{empty}");
}

#[test]
fn what_is_in_doubt_is_hatched_in_every_chart_of_its_lane_and_explained() {
    let html = render(&sample::record(), &sample::inconclusive());
    // Two lanes with a chart of losses and one of response times each.
    assert_eq!(html.matches("<i class=\"hatch\" data-a=").count(), 4);
    assert_eq!(html.matches("in doubt: evenkeel late or not sending, a note, a control lane in trouble").count(), 2);
    let quiet = render(&sample::record(), &sample::held());
    assert!(!quiet.contains("<i class=\"hatch\"") && !quiet.contains("in doubt"));
}

#[test]
fn elements_are_closed_in_the_order_in_which_they_were_opened() {
    let index = crate::report::suite::index_html("nightly", &[]);
    for html in [rendered(), render(&sample::record(), &sample::inconclusive()), index] {
        let body = html.split_once("<body>").unwrap().1;
        let body = body.split_once("<script>").map_or(body, |(before, _)| before);
        let mut open: Vec<&str> = Vec::new();
        for tag in body.split('<').skip(1) {
            let tag = tag.split_once('>').unwrap().0;
            let name = tag.split([' ', '/']).find(|word| !word.is_empty()).unwrap();
            if tag.starts_with('/') {
                if name != "body" && name != "html" {
                    assert_eq!(open.pop(), Some(name));
                }
            } else if !tag.ends_with('/') {
                open.push(name);
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }
}

#[test]
fn a_long_run_of_many_pods_stays_within_the_size() {
    let mut record = sample::record();
    let (events, intervals) = (record.events.clone(), record.intervals.clone());
    for n in 1..60 {
        let shift = n * 60_000_000;
        record.events.extend(events.iter().cloned().map(|mut event| {
            event.at_us += shift;
            match &mut event.what {
                What::Load(load) => load.start_us += shift,
                What::Pod(pod) => (pod.name, pod.uid) = (format!("{}{n}{BAD}", pod.name), format!("{}{n}", pod.uid)),
                What::KubeEvent(event) => event.message = BAD.repeat(10),
                _ => {}
            }
            event
        }));
        record.intervals.extend(intervals.iter().cloned().map(|mut interval| {
            interval.start_us += shift;
            interval
        }));
    }
    let mut verdict = sample::broken();
    verdict.findings = vec![verdict.findings[0].clone(); 100];
    verdict.outages = vec![verdict.outages[0].clone(); 5_000];
    let html = render(&record, &verdict);
    assert!(html.len() < MOST_BYTES, "{} bytes", html.len());
}

#[test]
fn an_empty_record_still_gives_a_page() {
    let mut record = sample::record();
    record.events.clear();
    record.intervals.clear();
    let mut verdict = sample::error();
    (verdict.lanes, verdict.phases, verdict.steps) = Default::default();
    let html = render(&record, &verdict);
    assert!(html.contains("class=\"verdict error\"") && html.contains("Not everything could be put back"));
    assert!(!html.contains("NaN") && !html.contains("inf%"));
}

fn suite() -> Vec<crate::report::suite::SuiteCase> {
    let case = |verdict: Verdict, exit_code| crate::report::suite::SuiteCase {
        folder: verdict.experiment.clone(),
        verdict,
        duration_ms: 81_000,
        exit_code,
    };
    vec![
        case(sample::held(), ExitCode::Held),
        case(sample::broken(), ExitCode::Broken),
        case(sample::inconclusive(), ExitCode::Inconclusive),
        case(sample::error(), ExitCode::NotUndone),
    ]
}

/// Writes the pages where `EVENKEEL_SHOW` names a folder, to be looked at in a browser.
#[test]
fn pages_can_be_written_out_to_be_looked_at() {
    let pages = [
        ("broken.html", rendered()),
        ("judged.html", render(&sample::record(), &crate::judge::judge(&sample::record()))),
        ("index.html", crate::report::suite::index_html("nightly 2026-11-20", &suite())),
        ("held.html", render(&sample::record(), &sample::held())),
        ("inconclusive.html", render(&sample::record(), &sample::inconclusive())),
        ("error.html", render(&sample::record(), &sample::error())),
    ];
    assert!(pages.iter().all(|(_, html)| html.ends_with("</html>\n")));
    if let Ok(folder) = std::env::var("EVENKEEL_SHOW") {
        for (name, html) in pages {
            std::fs::write(std::path::Path::new(&folder).join(name), html).unwrap();
        }
    }
}
