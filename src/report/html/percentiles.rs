//! The percentile curve: response time over how many requests were faster, a line for each lane. Both scales are
//! logarithmic, so that one in a thousand has as much room as one in ten.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{
    axis,
    chart::{LogScale, Mark},
    escape::E,
    series::Times,
};
use crate::{
    record::{RecordedInterval, samples::Samples},
    report::wording::{count, duration},
};

/// Lanes that are drawn: as many as there are colours.
const MOST_LANES: usize = 6;
/// Beyond one in 100,000 a run has no samples.
const MOST_NINES: f64 = 5.0;
/// Points of a line for each nine.
const POINTS_PER_NINE: u32 = 20;
/// Width of the drawing in its own units.
const WIDTH: f64 = 1_000.0;

/// Writes the section; nothing where no request was answered. Intervals before the first phase, in milliseconds since
/// the run began, count here as little as in the tables.
pub fn write(out: &mut String, intervals: &[RecordedInterval], counted_from_ms: Option<f64>) {
    let mut by_lane: BTreeMap<&str, Vec<&Samples>> = BTreeMap::new();
    let counts = |interval: &&RecordedInterval| counted_from_ms.is_none_or(|from| axis::ms(interval.start_us) >= from);
    for interval in intervals.iter().filter(counts) {
        by_lane.entry(&interval.lane).or_default().push(&interval.response);
    }
    let lanes: Vec<(&str, Samples)> = by_lane
        .into_iter()
        .map(|(lane, samples)| (lane, Samples::merged(samples.into_iter())))
        .filter(|(_, samples)| !samples.is_empty())
        .take(MOST_LANES)
        .collect();
    let ms = |micros: u64| micros as f64 / 1_000.0;
    let ends = lanes.iter().map(|(_, samples)| Times {
        p50: ms(samples.value_at_quantile(0.0)),
        p99: ms(samples.value_at_quantile(0.99)),
        max: ms(samples.max()),
    });
    let Some(scale) = LogScale::of(ends) else { return };
    let most = lanes.iter().map(|(_, samples)| samples.len()).max().unwrap_or(1);
    let nines = (most as f64).log10().clamp(1.0, MOST_NINES);
    out.push_str(r#"<section id="percentiles"><h2>Response time by percentile</h2>"#);
    let (mut key, mut body) = (String::new(), String::new());
    for mark in scale.marks() {
        let _ = write!(body, r#"<path class="grid" d="M0 {:.1}H{WIDTH}"/>"#, mark.top);
    }
    for (at, (lane, samples)) in lanes.iter().enumerate() {
        let _ = write!(
            key,
            r#"<small class="lane{at}"><i class="dot"></i> {}, {} requests, slowest {}</small>"#,
            E(lane),
            count(samples.len()),
            duration(ms(samples.max())),
        );
        let _ = write!(body, r#"<path class="curve lane{at}" d="{}"/>"#, line(samples, &scale, nines, ms));
    }
    let _ = write!(
        out,
        r#"<div class="row curve"><div class="label">{key}</div><div class="plot"><svg viewBox="0 0 {WIDTH} 100" preserveAspectRatio="none" aria-hidden="true">{body}</svg>"#
    );
    for Mark { top, text } in scale.marks() {
        let side = if top > 90.0 { " up" } else { "" };
        let _ = write!(out, r#"<b class="mark{side}" style="top:{top:.1}%">{text}</b>"#);
    }
    out.push_str(r#"</div></div><div class="row curve under"><div class="label"></div><div class="plot">"#);
    for (nine, text) in [(0.301, "p50"), (1.0, "p90"), (2.0, "p99"), (3.0, "p99.9"), (4.0, "p99.99"), (5.0, "p99.999")]
    {
        let at = nine / nines * 100.0;
        if at <= 100.0 {
            let side = if at > 95.0 { " class=\"end\"" } else { "" };
            let _ = write!(out, r#"<b{side} style="left:{at:.1}%">{text}</b>"#);
        }
    }
    out.push_str("</div></div></section>");
}

/// From the fastest to where a lane has one sample left.
fn line(samples: &Samples, scale: &LogScale, nines: f64, ms: impl Fn(u64) -> f64) -> String {
    let own = (samples.len() as f64).log10().clamp(0.0, nines);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most five nines")]
    let steps = ((own * f64::from(POINTS_PER_NINE)) as u32).max(1);
    let points: Vec<String> = (0..=steps)
        .map(|step| {
            let nine = own * f64::from(step) / f64::from(steps);
            let value = ms(samples.value_at_quantile(1.0 - 10_f64.powf(-nine)));
            format!("{:.1} {:.1}", nine / nines * WIDTH, scale.top(value))
        })
        .collect();
    format!("M{}", points.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::samples::empty_histogram;

    fn interval(lane: &str, values: impl Iterator<Item = u64>) -> RecordedInterval {
        let mut histogram = empty_histogram().unwrap();
        values.for_each(|value| histogram.record(value).unwrap());
        let response = Samples::from(&histogram);
        RecordedInterval { lane: lane.to_owned(), start_us: 0, length_us: 100_000, response }
    }

    #[test]
    fn each_lane_has_a_line_that_rises_to_its_slowest_request() {
        let mut out = String::new();
        let intervals =
            [interval("<new>", (1..=999).chain([100_000])), interval("reused", 1..=10), interval("reused", 11..=20)];
        write(&mut out, &intervals, None);
        assert_eq!(out.matches(r#"class="curve lane"#).count(), 2);
        assert!(out.contains("&lt;new&gt;, 1,000 requests, slowest 100 ms") && out.contains("reused, 20 requests"));
        let line = out.split_once(r#"class="curve lane0" d="M"#).unwrap().1.split_once('"').unwrap().0;
        let tops: Vec<f64> = line.split(' ').skip(1).step_by(2).map(|top| top.parse().unwrap()).collect();
        assert!(tops.windows(2).all(|pair| pair[1] <= pair[0]), "{tops:?}");
        assert!(out.contains(">p99.9</b>") && !out.contains(">p99.99</b>"));
    }

    #[test]
    fn without_an_answer_there_is_no_curve() {
        let mut out = String::new();
        write(&mut out, &[interval("new", std::iter::empty())], None);
        assert_eq!(out, "");
    }

    #[test]
    fn the_load_before_the_first_phase_does_not_count() {
        let early = interval("new", 1..=50);
        let mut counted = interval("new", 1..=20);
        counted.start_us = 250_000;
        let told = |from: Option<f64>| {
            let mut out = String::new();
            write(&mut out, &[early.clone(), counted.clone()], from);
            out
        };
        assert!(told(Some(200.0)).contains("new, 20 requests"), "{}", told(Some(200.0)));
        assert!(told(Some(0.0)).contains("new, 70 requests"), "{}", told(Some(0.0)));
    }
}
