//! The summary after a run: what a person needs in order to act, in 20 lines.
//!
//! Verdict first, then what was lost and why, then what to change; the rest is in the report that the last line names.

use std::{
    collections::BTreeMap,
    env,
    fmt::Write as _,
    io::{self, IsTerminal as _},
};

use crate::{
    experiment::schema::Phase,
    judge::verdict::{Answer, Finding, Latency, Verdict},
    report::{
        live::Shown,
        wording::{count, counted, cut, duration, loss, moment, outcome, plain, why},
    },
};

/// How to write for a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// With colours.
    pub colour: bool,
    /// Characters in a line; at least 40 are used.
    pub width: usize,
}

/// Where a terminal's width is not known: as wide as a line of a CI log is read without scrolling.
pub const USUAL_WIDTH: usize = 100;

/// Narrower than this, a label and a word of text don't fit beside each other.
const LEAST_WIDTH: usize = 40;
/// Columns of the labels on the left.
const LABEL: usize = 12;
/// Findings behind the first, failed expectations and further reasons that are shown; the report has all.
const MOST_OTHERS: usize = 2;
const MOST_FAILED: usize = 2;
const MOST_REASONS: usize = 2;
/// Lines of one row.
const MOST_LINES: usize = 2;
/// Longest text of a finding, a reason or an advice: two to three lines.
const MOST_CHARS: usize = 240;
/// Longer lines than this are hard to read, however wide the terminal is.
const WIDEST: usize = 120;

pub(super) const RED: &str = "31";
pub(super) const GREEN: &str = "32";
pub(super) const YELLOW: &str = "33";
pub(super) const BOLD: &str = "1";
pub(super) const DIM: &str = "2";

impl Style {
    /// How standard output can be written to: the summary's place.
    #[must_use]
    pub fn of_stdout() -> Self {
        let out = io::stdout();
        Self::of(out.is_terminal(), || rustix::termios::tcgetwinsize(&out).map_or(0, |size| size.ws_col))
    }

    /// How standard error can be written to, and whether lines can stay in place there: the live view's place.
    #[must_use]
    pub fn of_stderr() -> (Self, Shown) {
        let out = io::stderr();
        let style = Self::of(out.is_terminal(), || rustix::termios::tcgetwinsize(&out).map_or(0, |size| size.ws_col));
        let in_place = out.is_terminal() && !is_dumb(env::var("TERM").ok().as_deref());
        (style, if in_place { Shown::InPlace } else { Shown::Lines })
    }

    fn of(terminal: bool, columns: impl FnOnce() -> u16) -> Self {
        let width = if terminal { usize::from(columns()) } else { 0 };
        Self {
            colour: terminal && may_colour(env::var("NO_COLOR").ok().as_deref(), env::var("TERM").ok().as_deref()),
            width: if width == 0 { USUAL_WIDTH } else { width.min(WIDEST) },
        }
    }
}

/// A set and not empty `NO_COLOR` (no-color.org) forbids colours, and a dumb terminal has none.
fn may_colour(no_color: Option<&str>, term: Option<&str>) -> bool {
    no_color.is_none_or(str::is_empty) && !is_dumb(term)
}

fn is_dumb(term: Option<&str>) -> bool {
    term == Some("dumb")
}

/// The summary of one verdict. `report` is where the report lies, as a person would open it.
#[must_use]
pub fn summary(verdict: &Verdict, report: &str, style: Style) -> String {
    let mut page = Page { out: String::new(), style };
    headline(&mut page, verdict);
    requests(&mut page, verdict);
    findings(&mut page, &verdict.findings);
    failed_expectations(&mut page, verdict);
    outages(&mut page, verdict);
    latency(&mut page, verdict);
    undo(&mut page, verdict);
    page.labelled("report", DIM, &plain(report), "");
    page.out
}

fn headline(page: &mut Page, verdict: &Verdict) {
    let colour = colour(verdict.verdict);
    let scenario = verdict.scenario.as_ref().map(|id| format!(" ({})", plain(id))).unwrap_or_default();
    let title = format!("{}{scenario}: {}", plain(&verdict.experiment), short(&why(verdict)));
    page.labelled(&verdict.verdict.as_str().to_uppercase(), &format!("1;{colour}"), &title, BOLD);
    // A reason that names a finding is told with it, below.
    let told = |reason: &str| verdict.findings.iter().any(|finding| reason.contains(&format!("({})", finding.id)));
    let more: Vec<&String> = verdict.reasons.iter().skip(1).filter(|reason| !told(reason)).collect();
    for reason in more.iter().take(MOST_REASONS - 1) {
        page.row("", &format!("and {}", short(reason)), "");
    }
    if more.len() >= MOST_REASONS {
        let hidden = more.len() - (MOST_REASONS - 1);
        page.row("", &format!("and {}", counted(hidden as u64, "further reason")), DIM);
    }
}

fn requests(page: &mut Page, verdict: &Verdict) {
    let all = &verdict.requests;
    let mut text = loss(all);
    if all.unsent > 0 {
        let _ = write!(text, "; {} never sent, for a reason of ours", count(all.unsent));
    }
    if all.lost_tainted > 0 {
        let _ = write!(text, "; {} of them while the measurement was in doubt", count(all.lost_tainted));
    }
    page.row("requests", &text, if all.lost > 0 { RED } else { "" });
    if all.lost > 0 {
        page.row("by kind", &largest_first(&all.by_kind, |kind| outcome(*kind).to_owned()), "");
        page.row("by cause", &largest_first(&all.by_cause, |cause| plain(cause)), "");
    } else {
        slow(page, verdict);
    }
}

/// The answers that were late, by reason: where something was lost there are weightier things to tell.
fn slow(page: &mut Page, verdict: &Verdict) {
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    let mut answered_late: u64 = 0;
    for lane in verdict.slow.lanes.values() {
        answered_late = answered_late.saturating_add(lane.answered_late);
        for (reason, number) in &lane.by_reason {
            let sum = reasons.entry(reason).or_default();
            *sum = sum.saturating_add(*number);
        }
    }
    if answered_late > 0 {
        let described = if reasons.is_empty() { "" } else { ", of them described: " };
        let text = format!("{} answered late{described}", count(answered_late));
        page.line("slow", &format!("{text}{}", largest_first(&reasons, |reason| plain(reason))), "");
    }
}

/// `118 connection refused · 25 reset before a byte`, the largest first.
fn largest_first<K>(counts: &BTreeMap<K, u64>, name: impl Fn(&K) -> String) -> String {
    let mut counts: Vec<(&K, u64)> = counts.iter().map(|(key, n)| (key, *n)).filter(|(_, n)| *n > 0).collect();
    counts.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    let parts: Vec<String> = counts.into_iter().map(|(key, n)| format!("{} {}", count(n), name(key))).collect();
    parts.join(" · ")
}

/// The phase before the fault and the fault: what there is to compare. The report has all.
fn latency(page: &mut Page, verdict: &Verdict) {
    let mut label = "latency";
    let compared = verdict.phases.iter().filter(|(phase, _)| matches!(phase, Phase::Before | Phase::Fault));
    for (phase, summary) in compared.filter(|(_, summary)| summary.requests.sent > 0) {
        let lost =
            if summary.requests.lost > 0 { format!("   {} lost", count(summary.requests.lost)) } else { String::new() };
        page.row(label, &format!("{:<7} {}{lost}", phase.as_str(), percentiles(summary.latency_ms)), "");
        label = "";
    }
}

fn percentiles(latency: Latency) -> String {
    let Latency { p50, p99, max, .. } = latency;
    format!("p50 {:<8} p99 {:<8} max {:<8}", duration(p50), duration(p99), duration(max)).trim_end().to_owned()
}

fn outages(page: &mut Page, verdict: &Verdict) {
    let longest = verdict.outages.iter().max_by(|a, b| (a.end_ms - a.start_ms).total_cmp(&(b.end_ms - b.start_ms)));
    let Some(longest) = longest else { return };
    let text = format!(
        "{}; the longest {} in lane {} from {}, {} ({})",
        count(verdict.outages.len() as u64),
        duration(longest.end_ms - longest.start_ms),
        plain(&longest.lane),
        moment(longest.start_ms),
        format_args!("{} lost", count(longest.lost)),
        plain(&longest.cause),
    );
    page.row("outages", &text, "");
}

fn failed_expectations(page: &mut Page, verdict: &Verdict) {
    let failed: Vec<_> = verdict.expectations.iter().filter(|e| e.held != Some(true)).collect();
    let mut label = "expected";
    for one in failed.iter().take(MOST_FAILED) {
        let (mark, colour) = if one.held.is_none() { ("?", YELLOW) } else { ("✗", RED) };
        let text = format!("{mark} {}: {}, allowed {}", one.name, one.measured, one.allowed);
        page.row(label, &short(&text), colour);
        label = "";
    }
    let held = verdict.expectations.len() - failed.len();
    let hidden = failed.len().saturating_sub(MOST_FAILED);
    match (held, hidden) {
        (0, 0) => {}
        (held, 0) if failed.is_empty() => page.row(label, &format!("✓ all {held} held"), GREEN),
        (held, 0) => page.row(label, &format!("✓ {held} more held"), DIM),
        (held, hidden) => page.row(label, &format!("{hidden} more did not hold, {held} held"), DIM),
    }
}

/// The weightiest finding with what to change; of the next ones only that they are there.
fn findings(page: &mut Page, findings: &[Finding]) {
    let claim = |finding: &Finding| {
        let explains = if finding.lost > 0 { format!(" ({} lost)", count(finding.lost)) } else { String::new() };
        short(&format!("{}: {}{explains}", finding.id, finding.claim))
    };
    let Some((first, others)) = findings.split_first() else { return };
    page.row("why", &claim(first), "");
    if !first.advice.is_empty() {
        page.row("", &format!("→ {}", short(&first.advice)), BOLD);
    }
    if let Some(patch) = &first.patch {
        page.command(&patch.command);
    }
    for finding in others.iter().take(MOST_OTHERS) {
        page.line("", &claim(finding), "");
    }
    if let Some(more) = others.len().checked_sub(MOST_OTHERS).filter(|more| *more > 0) {
        page.row("", &format!("{} in the report", counted(more as u64, "further finding")), DIM);
    }
}

fn undo(page: &mut Page, verdict: &Verdict) {
    if verdict.undo.complete && verdict.undo.failed.is_empty() {
        page.row("undo", "everything is as it was before", DIM);
        return;
    }
    page.row("undo", "NOT everything could be put back:", RED);
    for failed in verdict.undo.failed.iter().take(MOST_FAILED) {
        page.row("", &short(failed), "");
    }
    if let Some(more) = verdict.undo.failed.len().checked_sub(MOST_FAILED).filter(|more| *more > 0) {
        page.row("", &format!("{more} more in the report"), DIM);
    }
}

fn short(text: &str) -> String {
    cut(&plain(text), MOST_CHARS)
}

struct Page {
    out: String,
    style: Style,
}

impl Page {
    /// A row of at most so many lines, cut where it is longer.
    fn row(&mut self, label: &str, text: &str, colour: &str) {
        let mut text = text.to_owned();
        let room = self.room();
        while wrap(&text, room).len() > MOST_LINES {
            text = cut(&text, text.chars().count().saturating_sub(LABEL));
        }
        self.labelled(label, DIM, &text, colour);
    }

    /// A command in one line of its own, whatever its length: it is there to be copied.
    fn command(&mut self, command: &str) {
        self.out.push_str(&" ".repeat(LABEL + 1));
        self.paint(&plain(command), "");
        self.out.push('\n');
    }

    /// A row of one line, cut where it is longer.
    fn line(&mut self, label: &str, text: &str, colour: &str) {
        self.row(label, &cut(text, self.room()), colour);
    }

    fn room(&self) -> usize {
        self.style.width.max(LEAST_WIDTH) - LABEL - 1
    }

    /// A label and its text, wrapped at words with the text's edge kept.
    fn labelled(&mut self, label: &str, label_colour: &str, text: &str, colour: &str) {
        for (at, line) in wrap(text, self.room()).iter().enumerate() {
            let label = if at == 0 { label } else { "" };
            let padding = " ".repeat((LABEL + 1).saturating_sub(label.chars().count()).max(1));
            self.paint(label, label_colour);
            self.out.push_str(&padding);
            self.paint(line, colour);
            self.out.truncate(self.out.trim_end_matches(' ').len());
            self.out.push('\n');
        }
    }

    fn paint(&mut self, text: &str, colour: &str) {
        self.out.push_str(&paint(self.style, text, colour));
    }
}

/// The colour of an answer.
pub(crate) const fn colour(answer: Answer) -> &'static str {
    match answer {
        Answer::Held => GREEN,
        Answer::Broken | Answer::Error => RED,
        Answer::Inconclusive => YELLOW,
    }
}

/// The text in a colour (numbers of SGR, as `1;31`), where the style has colours.
pub(crate) fn paint(style: Style, text: &str, colour: &str) -> String {
    if style.colour && !colour.is_empty() && !text.is_empty() {
        format!("\x1b[{colour}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// Breaks a text at spaces into lines of at most so many characters; a longer word is broken where it must be.
/// Runs of spaces inside a line stay, since they align columns.
fn wrap(text: &str, room: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest: Vec<char> = text.chars().collect();
    while rest.len() > room {
        let at = rest[..=room].iter().rposition(|c| *c == ' ').filter(|at| *at > 0).unwrap_or(room);
        let tail = rest.split_off(at);
        lines.push(rest.iter().collect::<String>().trim_end().to_owned());
        rest = tail.into_iter().skip_while(|c| *c == ' ').collect();
    }
    lines.push(rest.into_iter().collect());
    lines
}

#[cfg(test)]
mod tests;
