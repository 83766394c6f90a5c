//! The summary of a load, for people: what became of the requests, how long they took, and whether that can be believed.

use std::fmt::Write as _;

use super::account::Summary;
use crate::{
    judge::verdict::{Answer, Latency},
    report::{
        terminal::{Style, colour, paint},
        wording::{count, counted, duration, loss, outcome, plain},
    },
};

/// The text, a line each.
pub(super) fn summary(summary: &Summary, style: Style) -> String {
    let word = match summary.verdict {
        Answer::Held => "every request was answered",
        Answer::Broken => "requests were lost",
        Answer::Inconclusive | Answer::Error => "inconclusive",
    };
    let mut text = String::new();
    let word = paint(style, word, &format!("1;{}", colour(summary.verdict)));
    // Writing to a String cannot fail.
    _ = writeln!(text, "{word}: {}", plain(&summary.url));
    let requests = &summary.requests;
    let mut line = |label: &str, what: String| _ = writeln!(text, "{label:<12}{what}");
    let rate = if summary.sent_per_second < 100.0 {
        format!("{:.1}", summary.sent_per_second)
    } else {
        format!("{:.0}", summary.sent_per_second)
    };
    line("sent", format!("{} in {}, {rate}/s", counted(requests.sent, "request"), duration(summary.seconds * 1e3)));
    line("lost", loss(requests));
    for (kind, number) in &requests.by_kind {
        let words = summary.errors.get(kind).map_or_else(String::new, |words| format!(": {}", plain(words)));
        line("", format!("{} {}{words}", count(*number), outcome(*kind)));
    }
    if requests.lost > 0 {
        line(
            "after retry",
            format!("{} lost to a client that sends again what is safe", count(requests.lost_after_retry)),
        );
    }
    if requests.unsent > 0 {
        line("unsent", counted(requests.unsent, "request"));
    }
    line("response", percentiles(summary.latency_ms));
    line("service", percentiles(summary.service_ms));
    line("connections", count(summary.connections_opened));
    line("send lag", percentiles(summary.send_lag_ms));
    let reasons = summary.reasons.iter().skip(usize::from(summary.verdict == Answer::Broken));
    for reason in reasons {
        line("note", plain(reason));
    }
    text
}

fn percentiles(of: Latency) -> String {
    let at = |label: &str, ms: f64| format!("{label} {}", duration(ms));
    [at("p50", of.p50), at("p90", of.p90), at("p99", of.p99), at("p99.9", of.p999), at("max", of.max)].join(", ")
}
