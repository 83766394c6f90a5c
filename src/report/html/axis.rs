//! The time axis that all rows of the timeline share, in milliseconds since the run began.

use crate::{
    judge::verdict::Verdict,
    record::{
        RecordedInterval,
        event::{Event, What},
    },
    report::wording,
};

/// More ticks than this run into each other on a desk's screen; narrow ones show every other.
const MOST_TICKS: f64 = 12.0;
/// Distances between ticks that people count in, in milliseconds.
const STEPS_MS: [f64; 15] =
    [100.0, 200.0, 500.0, 1e3, 2e3, 5e3, 10e3, 15e3, 30e3, 60e3, 120e3, 300e3, 600e3, 1_800e3, 3_600e3];

/// A stretch of the run's time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Axis {
    /// Its beginning.
    pub from_ms: f64,
    /// Its end, after its beginning.
    pub to_ms: f64,
}

impl Axis {
    /// From the first phase to the end of the last, or as far as load was recorded; without either, all events.
    #[must_use]
    pub fn of(verdict: &Verdict, events: &[Event], intervals: &[RecordedInterval]) -> Self {
        let phases = verdict.phases.values().flat_map(|phase| [phase.start_ms, phase.end_ms]);
        let load = intervals.iter().flat_map(|one| [ms(one.start_us), ms(one.start_us + one.length_us)]);
        let begun = events.iter().filter(|event| matches!(event.what, What::Phase { .. })).map(|e| ms(e.at_us));
        let ended = events.iter().filter(|event| matches!(event.what, What::Ended(_))).map(|e| ms(e.at_us));
        let known = hull(phases.chain(load).chain(begun));
        let (from_ms, to_ms) = known
            .map(|(from, to)| (from, if to > from { to } else { hull(ended).map_or(to, |(_, end)| end) }))
            .or_else(|| hull(events.iter().map(|event| ms(event.at_us))))
            .unwrap_or((0.0, 0.0));
        // An axis without length has no positions.
        Self { from_ms, to_ms: to_ms.max(from_ms + 1.0) }
    }

    /// Its length.
    #[must_use]
    pub fn span_ms(self) -> f64 {
        self.to_ms - self.from_ms
    }

    /// The place of a moment in percent of the axis; not bounded.
    #[must_use]
    pub fn percent(self, at_ms: f64) -> f64 {
        (at_ms - self.from_ms) / self.span_ms() * 100.0
    }

    /// The part of a stretch that lies on the axis; nothing where none does.
    #[must_use]
    pub fn clip(self, from_ms: f64, to_ms: f64) -> Option<(f64, f64)> {
        let (from, to) = (from_ms.max(self.from_ms), to_ms.min(self.to_ms));
        (from < to).then_some((from, to))
    }

    /// Whether a moment lies on the axis.
    #[must_use]
    pub fn has(self, at_ms: f64) -> bool {
        (self.from_ms..=self.to_ms).contains(&at_ms)
    }

    /// Round moments to write on the axis, with their text.
    #[must_use]
    pub fn ticks(self) -> Vec<(f64, String)> {
        let step = STEPS_MS
            .into_iter()
            .find(|step| self.span_ms() / step <= MOST_TICKS)
            .unwrap_or((self.span_ms() / MOST_TICKS / 3_600e3).ceil() * 3_600e3);
        let first = (self.from_ms / step).ceil();
        // The step is chosen so that there are no more; the bound is for axes that no run has.
        (0..100_u8)
            .map(|n| (first + f64::from(n)) * step)
            .take_while(|at| *at <= self.to_ms)
            .map(|at| (at, tick(at)))
            .collect()
    }
}

/// `0.5 s`, `10 s`, `2:30`; as the page's script writes them when it zooms.
fn tick(at_ms: f64) -> String {
    let seconds = at_ms / 1e3;
    if seconds.abs() < 120.0 {
        return format!("{} s", (seconds * 10.0).round() / 10.0);
    }
    let text = wording::moment(at_ms);
    text.strip_suffix(".000").unwrap_or(&text).to_owned()
}

/// Microseconds as milliseconds.
#[must_use]
pub fn ms(micros: i64) -> f64 {
    micros as f64 / 1e3
}

fn hull(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values
        .filter(|v| v.is_finite())
        .fold(None, |hull, v| Some(hull.map_or((v, v), |(low, high): (f64, f64)| (low.min(v), high.max(v)))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        let axis = |from_ms, to_ms| Axis { from_ms, to_ms };
        let texts = |axis: Axis| axis.ticks().into_iter().map(|(_, text)| text).collect::<Vec<_>>();
        assert_eq!(
            texts(axis(3_200.0, 8_100.0)),
            ["3.5 s", "4 s", "4.5 s", "5 s", "5.5 s", "6 s", "6.5 s", "7 s", "7.5 s", "8 s"]
        );
        assert_eq!(texts(axis(0.0, 60_000.0))[..3], ["0 s", "5 s", "10 s"]);
        assert_eq!(texts(axis(100_000.0, 400_000.0))[..2], ["2:00", "2:30"]);
        for span in [1.0, 900.0, 21_000.0, 1e6, 1e8, 1e11] {
            assert!(axis(0.0, span).ticks().len() <= 13, "{span}");
        }
    }

    #[test]
    fn a_stretch_beside_the_axis_is_not_shown() {
        let axis = Axis { from_ms: 1_000.0, to_ms: 2_000.0 };
        assert_eq!(axis.clip(0.0, 1_500.0), Some((1_000.0, 1_500.0)));
        assert_eq!(axis.clip(0.0, 1_000.0), None);
        assert_eq!(axis.clip(2_500.0, 3_000.0), None);
        assert!((axis.percent(1_250.0) - 25.0).abs() < 1e-9);
    }
}
