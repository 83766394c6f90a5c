//! Charts as SVG drawn by hand: time in milliseconds across, 0 to 100 down, stretched to whatever room there is.
//!
//! Strokes don't stretch with them (`vector-effect`), text stands beside as HTML; so the same chart serves a desk, a
//! phone, paper, and a zoom that only changes `viewBox`.

use std::fmt::Write as _;

use super::{
    axis::Axis,
    series::{Bin, LaneSeries, Times},
};
use crate::report::wording;

/// A bin with a loss is at least this high, in hundredths of the chart: one lost request of many must be seen.
const LEAST_BAR: f64 = 6.0;
/// Upper ends of the scale of lost requests, in percent.
const SHARES: [f64; 9] = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 25.0, 50.0];

/// A mark on the vertical axis: its place from the top in percent, and its text.
pub struct Mark {
    /// From the top, in percent.
    pub top: f64,
    /// What is written there.
    pub text: String,
}

/// A chart: its SVG, and the marks to write beside its lines.
pub struct Chart {
    /// The SVG element.
    pub svg: String,
    /// Marks of the vertical axis.
    pub marks: Vec<Mark>,
}

/// The share of lost requests, a bar for each bin; nothing where none was lost.
#[must_use]
pub fn lost(lane: &LaneSeries, axis: Axis, width_ms: f64) -> Option<Chart> {
    let share = |bin: &Bin| if bin.sent == 0 { 0.0 } else { bin.lost as f64 / bin.sent as f64 * 100.0 };
    let most = lane.bins.iter().map(share).fold(0.0, f64::max);
    if most <= 0.0 {
        return None;
    }
    let top = SHARES.into_iter().find(|top| *top >= most).unwrap_or(100.0);
    let mut path = String::new();
    for (at, bin) in lane.bins.iter().enumerate().filter(|(_, bin)| bin.lost > 0) {
        let height = (share(bin) / top * 100.0).max(LEAST_BAR);
        let _ = write!(path, "M{} 100V{:.1}h{width_ms}V100z", at as f64 * width_ms, 100.0 - height);
    }
    let marks = vec![Mark { top: 0.0, text: format!("{top} %") }, Mark { top: 50.0, text: format!("{} %", top / 2.0) }];
    Some(Chart { svg: svg(axis, &lines(&marks, axis), &format!(r#"<path class="lost" d="{path}"/>"#)), marks })
}

/// Response times on a logarithmic scale: a band from p50 to p99, and the slowest above it; nothing without any.
#[must_use]
pub fn latency(lane: &LaneSeries, axis: Axis, width_ms: f64) -> Option<Chart> {
    let times = || lane.bins.iter().filter_map(|bin| bin.times);
    let scale = LogScale::of(times())?;
    let point = |at: usize, value: f64| format!("{} {:.1}", (at as f64 + 0.5) * width_ms, scale.top(value));
    let mut body = String::new();
    let (mut band, mut p50, mut p99, mut max) = (String::new(), String::new(), String::new(), String::new());
    for run in runs(&lane.bins) {
        let path = |value: fn(&Times) -> f64| {
            let points: Vec<String> = run.iter().map(|(at, times)| point(*at, value(times))).collect();
            // A single point gets a length, or it would not be seen.
            let tail = if run.len() == 1 { format!("h{}", width_ms / 2.0) } else { String::new() };
            format!("M{}{tail}", points.join(" "))
        };
        let back: Vec<String> = run.iter().rev().map(|(at, times)| point(*at, times.p50)).collect();
        let there: Vec<String> = run.iter().map(|(at, times)| point(*at, times.p99)).collect();
        let _ = write!(band, "M{} {}z", there.join(" "), back.join(" "));
        p50 += &path(|times| times.p50);
        p99 += &path(|times| times.p99);
        max += &path(|times| times.max);
    }
    for (class, d) in [("band", band), ("max", max), ("p99", p99), ("p50", p50)] {
        let _ = write!(body, r#"<path class="{class}" d="{d}"/>"#);
    }
    let marks = scale.marks();
    Some(Chart { svg: svg(axis, &lines(&marks, axis), &body), marks })
}

/// Stretches of bins that have response times, with their places.
fn runs(bins: &[Bin]) -> Vec<Vec<(usize, Times)>> {
    let mut runs: Vec<Vec<(usize, Times)>> = Vec::new();
    let mut open = false;
    for (at, bin) in bins.iter().enumerate() {
        match (bin.times, runs.last_mut()) {
            (Some(times), Some(run)) if open => run.push((at, times)),
            (Some(times), _) => runs.push(vec![(at, times)]),
            (None, _) => {}
        }
        open = bin.times.is_some();
    }
    runs
}

fn lines(marks: &[Mark], axis: Axis) -> String {
    marks.iter().fold(String::new(), |mut lines, mark| {
        let _ = write!(lines, r#"<path class="grid" d="M0 {:.1}H{:.0}"/>"#, mark.top, axis.span_ms());
        lines
    })
}

fn svg(axis: Axis, grid: &str, body: &str) -> String {
    let span = axis.span_ms();
    format!(r#"<svg viewBox="0 0 {span:.0} 100" preserveAspectRatio="none" aria-hidden="true">{grid}{body}</svg>"#)
}

/// Whole decades of milliseconds.
pub(super) struct LogScale {
    low: f64,
    high: f64,
}

impl LogScale {
    /// A hundredth of a millisecond: what is faster is drawn there.
    const FLOOR_MS: f64 = 0.01;

    pub(super) fn of(times: impl Iterator<Item = Times>) -> Option<Self> {
        let (low, high) = times.fold((f64::INFINITY, 0.0_f64), |(low, high), t| (low.min(t.p50), high.max(t.max)));
        if !low.is_finite() {
            return None;
        }
        let low = low.max(Self::FLOOR_MS).log10().floor();
        let high = high.max(Self::FLOOR_MS).log10().ceil().max(low + 1.0);
        Some(Self { low, high })
    }

    pub(super) fn top(&self, ms: f64) -> f64 {
        let place = (ms.max(Self::FLOOR_MS).log10() - self.low) / (self.high - self.low);
        (100.0 - place * 100.0).clamp(0.0, 100.0)
    }

    pub(super) fn marks(&self) -> Vec<Mark> {
        let mark = |ms: f64| Mark { top: self.top(ms), text: short_duration(ms) };
        let decades = || (0..=8).map(|n| self.low + f64::from(n)).take_while(|decade| *decade <= self.high + 1e-9);
        let mut marks: Vec<Mark> = decades().map(|decade| mark(10_f64.powf(decade))).collect();
        if self.high - self.low < 1.5 {
            marks.push(mark(3.0 * 10_f64.powf(self.low)));
        }
        marks
    }
}

/// `0.1 ms`, `10 ms`, `1 s`: durations of the scale are round.
fn short_duration(ms: f64) -> String {
    if ms >= 999.5 {
        return format!("{} s", (ms / 1e3).round());
    }
    if ms >= 0.995 { format!("{} ms", ms.round()) } else { wording::duration(ms) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AXIS: Axis = Axis { from_ms: 0.0, to_ms: 500.0 };

    fn lane(bins: &[(u64, u64, Option<f64>)]) -> LaneSeries {
        let bin = |(sent, lost, p50): &(u64, u64, Option<f64>)| Bin {
            sent: *sent,
            lost: *lost,
            unsent: 0,
            times: p50.map(|p50| Times { p50, p99: p50 * 2.0, max: p50 * 4.0 }),
        };
        LaneSeries { name: "new".to_owned(), bins: bins.iter().map(bin).collect() }
    }

    #[test]
    fn a_lane_without_losses_has_no_chart_of_them() {
        assert!(lost(&lane(&[(10, 0, None), (0, 0, None)]), AXIS, 100.0).is_none());
        let chart = lost(&lane(&[(10, 0, None), (1_000, 1, None)]), AXIS, 100.0).unwrap();
        assert!(chart.svg.contains("M100 100V0.0h100V100z"), "{}", chart.svg);
        assert_eq!(chart.marks[0].text, "0.1 %");
    }

    #[test]
    fn a_gap_in_the_load_is_a_gap_in_the_line() {
        let gap = lane(&[(1, 0, Some(1.0)), (1, 0, Some(1.0)), (0, 0, None), (1, 0, Some(1.0))]);
        let svg = latency(&gap, AXIS, 100.0).unwrap().svg;
        let p50 = svg.split_once(r#"class="p50" d=""#).unwrap().1.split_once('"').unwrap().0;
        assert_eq!(p50, "M50 100.0 150 100.0M350 100.0h50");
    }

    #[test]
    fn the_scale_spans_whole_decades() {
        let scale = LogScale::of([Times { p50: 2.1, p99: 212.0, max: 2_001.0 }].into_iter()).unwrap();
        let texts: Vec<String> = scale.marks().into_iter().map(|mark| mark.text).collect();
        assert_eq!(texts, ["1 ms", "10 ms", "100 ms", "1 s", "10 s"]);
        assert!((scale.top(100.0) - 50.0).abs() < 1e-9);
        assert!(LogScale::of(std::iter::empty()).is_none());
    }
}
