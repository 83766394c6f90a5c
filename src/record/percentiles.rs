//! The table of percentiles that `HdrHistogram`'s tools print and plot (`.hgrm`): value, quantile, count so far, and
//! 1 / (1 − quantile), with five steps to each halving of the distance to 100 %, as in its Java
//! `outputPercentileDistribution`.

use std::fmt::Write as _;

use hdrhistogram::{CreationError, Histogram};

use super::samples::{Samples, empty_histogram};

/// Steps per halving of what is left; the Java tool's default.
const TICKS_PER_HALF: u32 = 5;

/// The table of `histogram`, its values divided by `unit` (1,000 turns microseconds into milliseconds).
#[must_use]
pub fn hgrm(histogram: &Histogram<u64>, unit: f64) -> String {
    let mut text = format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    for step in histogram.iter_quantiles(TICKS_PER_HALF) {
        let value = step.value_iterated_to() as f64 / unit;
        let quantile = step.quantile_iterated_to();
        let so_far = histogram.count_between(0, step.value_iterated_to());
        // Writing to a String cannot fail.
        _ = if quantile < 1.0 {
            writeln!(text, "{value:12.3} {quantile:2.12} {so_far:10} {:14.2}", 1.0 / (1.0 - quantile))
        } else {
            writeln!(text, "{value:12.3} {quantile:2.12} {so_far:10}")
        };
    }
    let (mean, deviation) = (histogram.mean() / unit, histogram.stdev() / unit);
    _ = writeln!(text, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]");
    let (max, total) = (histogram.max() as f64 / unit, histogram.len());
    _ = writeln!(text, "#[Max     = {max:12.3}, Total count    = {total:12}]");
    let buckets = histogram.buckets();
    let sub_buckets = histogram.distinct_values().checked_div(usize::from(buckets) + 1).unwrap_or_default() * 2;
    _ = writeln!(text, "#[Buckets = {buckets:12}, SubBuckets     = {sub_buckets:12}]");
    text
}

/// The table of what was counted, in milliseconds.
///
/// # Errors
/// Never: the bounds of the histogram are those that the library allows.
pub fn of_samples(samples: &Samples) -> Result<String, CreationError> {
    let mut all = empty_histogram()?;
    for (value, count) in samples.iter() {
        all.saturating_record_n(value, count);
    }
    Ok(hgrm(&all, 1_000.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::samples::empty_histogram;

    #[test]
    fn the_table_has_every_half_of_what_is_left_and_ends_with_the_sums() {
        let mut histogram = empty_histogram().unwrap();
        (1..=1_000).for_each(|value| histogram.record(value * 1_000).unwrap());
        let text = hgrm(&histogram, 1_000.0);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0].split_whitespace().collect::<Vec<_>>(),
            ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
        );
        let row = |quantile: &str| {
            let found = lines.iter().find(|line| line.split_whitespace().nth(1) == Some(quantile));
            found.unwrap_or_else(|| panic!("no {quantile} in\n{text}")).split_whitespace().collect::<Vec<_>>()
        };
        // One in a thousand is the histogram's resolution.
        let close = |value: &str, wanted: f64| (value.parse::<f64>().unwrap() - wanted).abs() <= wanted / 1_000.0;
        let half = row("0.500000000000");
        assert!(close(half[0], 500.0) && half[2] == "500" && half[3] == "2.00", "{half:?}");
        let last = row("1.000000000000");
        assert!(close(last[0], 1_000.0) && last[2] == "1000" && last.len() == 3, "{last:?}");
        assert!(text.contains("Total count    =         1000]"), "{text}");
    }
}
