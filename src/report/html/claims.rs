//! What was measured of pods, budgets and outages, as tables: promises on the left, what became of them on the right.

use std::{collections::BTreeSet, fmt::Write as _};

use super::escape::E;
use crate::{
    experiment::schema::Phase,
    judge::verdict::{PodClaim, Verdict},
    report::wording::{count, counted, cut, duration, moment},
};

/// Rows of one table; all of them are in `verdict.json`.
const MOST_ROWS: usize = 100;
/// Longest text of a cell in characters.
const MOST_CHARS: usize = 120;

/// Writes all tables that have a row.
pub fn write(out: &mut String, verdict: &Verdict) {
    outages(out, verdict);
    budgets(out, verdict);
    pods(out, verdict);
    shares(out, verdict);
}

/// Who answered how much, by phase.
fn shares(out: &mut String, verdict: &Verdict) {
    let pods: Vec<&PodClaim> = verdict.pods.iter().filter(|claim| !claim.answered.is_empty()).collect();
    if pods.is_empty() {
        return;
    }
    let phases: BTreeSet<Phase> = pods.iter().flat_map(|claim| claim.answered.keys().copied()).collect();
    let all = |phase: Phase| {
        pods.iter().filter_map(|claim| claim.answered.get(&phase)).fold(0_u64, |sum, n| sum.saturating_add(*n))
    };
    let mut columns = vec!["pod", "first answer", "last answer"];
    columns.extend(phases.iter().map(|phase| phase.as_str()));
    head(out, "shares", "Who answered", &columns);
    for one in pods.iter().take(MOST_ROWS) {
        let _ = write!(
            out,
            "<tr><th>{}</th><td>{}</td><td>{}</td>",
            E(&cut(&one.pod, MOST_CHARS)),
            one.first_answer_ms.map_or("–".to_owned(), moment),
            one.last_answer_after_ms.map_or("–".to_owned(), |after| {
                // A pod may have had nothing to answer in its last moments.
                format!("{}{}", if after < 0.0 { '−' } else { '+' }, duration(after.abs()))
            }),
        );
        for phase in &phases {
            let part = one.answered.get(phase).copied().unwrap_or(0);
            let percent = part as f64 * 100.0 / all(*phase).max(1) as f64;
            let _ = write!(
                out,
                r#"<td class="share"><i style="width:{percent:.1}%"></i>{} ({percent:.1}&nbsp;%)</td>"#,
                count(part)
            );
        }
        out.push_str("</tr>");
    }
    foot(out, pods.len());
}

fn head(out: &mut String, id: &str, title: &str, columns: &[&str]) {
    let _ = write!(out, r#"<section id="{id}"><h2>{title}</h2><div class="scroll"><table class="num"><thead><tr>"#);
    for column in columns {
        let _ = write!(out, "<th>{column}</th>");
    }
    out.push_str("</tr></thead><tbody>");
}

fn foot(out: &mut String, rows: usize) {
    out.push_str("</tbody></table></div>");
    if rows > MOST_ROWS {
        let _ = write!(
            out,
            r#"<p class="more">and {} in verdict.json</p>"#,
            counted((rows - MOST_ROWS) as u64, "more row")
        );
    }
    out.push_str("</section>");
}

fn outages(out: &mut String, verdict: &Verdict) {
    if verdict.recoveries.is_empty() {
        return;
    }
    head(
        out,
        "outages",
        "Outages",
        &["lane and phase", "outages", "lost", "longest", "together", "detected after", "recovered after"],
    );
    for one in verdict.recoveries.iter().take(MOST_ROWS) {
        let _ = write!(
            out,
            r#"<tr><th>{} {}</th><td>{}</td><td class="bad">{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>"#,
            E(&cut(&one.lane, MOST_CHARS)),
            one.phase.as_str(),
            count(one.outages),
            count(one.lost),
            duration(one.longest_ms),
            duration(one.total_ms),
            one.detected_after_ms.map_or("never".to_owned(), duration),
            duration(one.recovered_after_ms),
        );
    }
    foot(out, verdict.recoveries.len());
}

fn budgets(out: &mut String, verdict: &Verdict) {
    if verdict.budgets.is_empty() {
        return;
    }
    head(
        out,
        "budgets",
        "Budgets as measured",
        &["budget", "healthy at the least", "asked for", "at", "short", "evictions refused"],
    );
    for one in verdict.budgets.iter().take(MOST_ROWS) {
        let short = match (one.short_from_ms, one.short_to_ms) {
            (Some(from), Some(to)) => format!(r#"<b class="bad">{} to {}</b>"#, moment(from), moment(to)),
            _ => "never".to_owned(),
        };
        let _ = write!(
            out,
            "<tr><th>{}</th><td>{}</td><td>{}</td><td>{}</td><td>{short}</td><td>{}</td></tr>",
            E(&cut(&one.budget, MOST_CHARS)),
            one.lowest_healthy,
            one.desired_healthy,
            moment(one.lowest_at_ms),
            count(one.evictions_refused),
        );
    }
    foot(out, verdict.budgets.len());
}

/// Pods that began or ended in the run; of those that only stood there, there is nothing to tell.
fn pods(out: &mut String, verdict: &Verdict) {
    let moved = |claim: &&PodClaim| {
        claim.deleted_ms.is_some() || claim.boot_ms.is_some() || claim.restarts > 0 || claim.unready_ms > 0.0
    };
    let pods: Vec<&PodClaim> = verdict.pods.iter().filter(moved).collect();
    if pods.is_empty() {
        return;
    }
    head(
        out,
        "pods",
        "Pods as measured",
        &[
            "pod",
            "running to ready",
            "preStop",
            "grace",
            "gone by",
            "at",
            "SIGTERM",
            "endpoint off",
            "last loss",
            "exit",
            "code",
            "not ready",
        ],
    );
    let time = |time: Option<f64>| time.map_or("–".to_owned(), duration);
    let after = |time: Option<f64>| time.map_or("–".to_owned(), |time| format!("+{}", duration(time)));
    for one in pods.iter().take(MOST_ROWS) {
        let code = one.exit_code.map_or("–".to_owned(), |code| code.to_string());
        let killed = if one.killed { " bad" } else { "" };
        let _ = write!(
            out,
            r#"<tr><th>{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td class="{}">{}</td><td>{}</td><td class="{killed}">{code}</td><td>{}</td></tr>"#,
            E(&cut(&one.pod, MOST_CHARS)),
            time(one.boot_ms),
            one.prestop_ms.map_or("unknown".to_owned(), duration),
            duration(one.grace_ms),
            E(&cut(one.how.as_deref().unwrap_or("–"), MOST_CHARS)),
            one.deleted_ms.map_or("–".to_owned(), moment),
            after(one.sigterm_after_ms),
            after(one.endpoint_off_after_ms),
            if one.last_loss_after_ms.is_some() { "bad" } else { "" },
            after(one.last_loss_after_ms),
            after(one.exit_after_ms),
            if one.unready_ms > 0.0 { duration(one.unready_ms) } else { "–".to_owned() },
        );
    }
    foot(out, pods.len());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn what_was_measured_of_pods_budgets_and_outages_has_its_rows() {
        let mut out = String::new();
        write(&mut out, &sample::broken());
        assert!(out.contains("shop-7d9f6c5b8-x2lqp</th>") && out.contains("<td>+1.90 s</td>"), "{out}");
        assert!(out.contains("<td>never</td><td>3</td>"), "{out}");
        assert!(out.contains("<th>new fault</th><td>3</td>"), "{out}");
        assert!(out.contains("</i>300 (75.0&nbsp;%)</td>") && out.contains("</i>0 (0.0&nbsp;%)</td>"), "{out}");
        let mut early = sample::broken();
        early.pods[0].last_answer_after_ms = Some(-4.7);
        early.pods[1].last_answer_after_ms = Some(71.6);
        let mut out = String::new();
        write(&mut out, &early);
        assert!(out.contains("<td>−4.7 ms</td>") && out.contains("<td>+72 ms</td>"), "{out}");
        let mut quiet = String::new();
        write(&mut quiet, &sample::held());
        assert_eq!(quiet, "");
    }
}
