//! What each lane measured over time, in as few bins as can be told apart on a screen.
//!
//! Percentiles of a bin come from the merged histograms of its intervals, never from averaged percentiles.

use std::collections::BTreeMap;

use super::axis::{Axis, ms};
use crate::record::{
    RecordedInterval,
    event::{Event, Outcome, What},
    samples::Samples,
};

/// More bins than this are finer than a screen's pixels, and make the file large.
const MOST_BINS: f64 = 600.0;
/// Widths of bins, in milliseconds; the finest is the interval that is recorded.
const WIDTHS_MS: [f64; 10] = [100.0, 200.0, 500.0, 1e3, 2e3, 5e3, 10e3, 30e3, 60e3, 300e3];
/// Lanes that are drawn; all of them are in the tables.
pub const MOST_LANES: usize = 12;

/// One lane over time.
#[derive(Debug, Clone, PartialEq)]
pub struct LaneSeries {
    /// Its name.
    pub name: String,
    /// Its bins in order; the first begins where the axis does.
    pub bins: Vec<Bin>,
}

/// What fell due in one bin.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Bin {
    /// Requests that were sent.
    pub sent: u64,
    /// Requests that were lost.
    pub lost: u64,
    /// Requests that were never sent.
    pub unsent: u64,
    /// Response times in milliseconds; nothing where nothing ended.
    pub times: Option<Times>,
}

/// Response times of one bin in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Times {
    /// Half of the requests.
    pub p50: f64,
    /// 99 of 100.
    pub p99: f64,
    /// The slowest.
    pub max: f64,
}

/// The width of the bins over an axis, in milliseconds.
#[must_use]
pub fn bin_width(axis: Axis) -> f64 {
    let coarsest = (axis.span_ms() / MOST_BINS / 300e3).ceil() * 300e3;
    WIDTHS_MS.into_iter().find(|width| axis.span_ms() / width <= MOST_BINS).unwrap_or(coarsest)
}

/// The lanes over an axis, by name.
#[must_use]
pub fn lanes(axis: Axis, events: &[Event], intervals: &[RecordedInterval]) -> Vec<LaneSeries> {
    let mut names: Vec<&str> = events
        .iter()
        .filter_map(|event| if let What::Load(load) = &event.what { Some(load.lane.as_str()) } else { None })
        .chain(intervals.iter().map(|one| one.lane.as_str()))
        .collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().take(MOST_LANES).map(|name| lane(name, axis, events, intervals)).collect()
}

fn lane(name: &str, axis: Axis, events: &[Event], intervals: &[RecordedInterval]) -> LaneSeries {
    let width = bin_width(axis);
    let bin_of = |start_us| bin_index(ms(start_us), axis, width);
    let mut bins = vec![Bin::default(); bin_index(axis.to_ms - 1e-3, axis, width).map_or(1, |last| last + 1)];
    for event in events {
        let What::Load(load) = &event.what else { continue };
        if load.lane != name {
            continue;
        }
        let Some(bin) = bin_of(load.start_us).and_then(|at| bins.get_mut(at)) else { continue };
        for (outcome, n) in &load.by_outcome {
            match outcome {
                Outcome::NotSent => bin.unsent += n,
                outcome if outcome.is_lost() => (bin.sent, bin.lost) = (bin.sent + n, bin.lost + n),
                _ => bin.sent += n,
            }
        }
    }
    let mut by_bin: BTreeMap<usize, Vec<&Samples>> = BTreeMap::new();
    for one in intervals.iter().filter(|one| one.lane == name && !one.response.is_empty()) {
        if let Some(at) = bin_of(one.start_us) {
            by_bin.entry(at).or_default().push(&one.response);
        }
    }
    for (at, samples) in by_bin {
        if let Some(bin) = bins.get_mut(at) {
            bin.times = Some(times(&Samples::merged(samples.into_iter())));
        }
    }
    LaneSeries { name: name.to_owned(), bins }
}

fn bin_index(at_ms: f64, axis: Axis, width: f64) -> Option<usize> {
    let index = ((at_ms - axis.from_ms) / width).floor();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded by the bins of an axis")]
    (axis.has(at_ms) && index >= 0.0).then_some(index as usize)
}

fn times(samples: &Samples) -> Times {
    let at = |quantile| samples.value_at_quantile(quantile) as f64 / 1e3;
    Times { p50: at(0.5), p99: at(0.99), max: at(1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{event::LaneInterval, samples::empty_histogram};

    const AXIS: Axis = Axis { from_ms: 1_000.0, to_ms: 121_000.0 };

    fn interval(start_us: i64, values: &[u64]) -> RecordedInterval {
        let mut histogram = empty_histogram().unwrap();
        for value in values {
            histogram.record(*value).unwrap();
        }
        RecordedInterval { lane: "new".to_owned(), start_us, length_us: 100_000, response: Samples::from(&histogram) }
    }

    #[test]
    fn bins_are_at_most_600_and_never_finer_than_what_is_recorded() {
        for (span, width) in [(5e3, 100.0), (60e3, 100.0), (61e3, 200.0), (1_800e3, 5_000.0), (1e9, 1_800e3)] {
            assert!((bin_width(Axis { from_ms: 0.0, to_ms: span }) - width).abs() < 1e-9, "{span}");
        }
    }

    #[test]
    fn a_bin_has_the_counts_and_the_merged_percentiles_of_its_intervals() {
        let load = |start_us, by_outcome: &[(Outcome, u64)]| Event {
            at_us: start_us,
            what: What::Load(LaneInterval {
                lane: "new".to_owned(),
                start_us,
                by_outcome: by_outcome.iter().copied().collect(),
                ..LaneInterval::default()
            }),
        };
        let events = [
            load(1_000_000, &[(Outcome::Ok, 9), (Outcome::Refused, 1)]),
            load(1_100_000, &[(Outcome::Ok, 8), (Outcome::NotSent, 2)]),
            load(1_200_000, &[(Outcome::Ok, 10)]),
            load(500_000, &[(Outcome::Ok, 77)]),
        ];
        let intervals =
            [interval(1_000_000, &[1_000; 10]), interval(1_100_000, &[9_000; 30]), interval(1_200_000, &[2_000])];
        let lanes = lanes(AXIS, &events, &intervals);
        assert_eq!(lanes.len(), 1);
        let [first, second, third, ..] = lanes[0].bins.as_slice() else { panic!("three bins") };
        assert_eq!((first.sent, first.lost, first.unsent), (18, 1, 2));
        let times = first.times.unwrap();
        assert!((times.p50 - 9.0).abs() < 0.02 && (times.max - 9.0).abs() < 0.02, "{times:?}");
        assert_eq!(second.sent, 10);
        assert_eq!(third.times, None);
    }
}
