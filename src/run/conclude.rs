//! What is made of a record once a run is over: the verdict, and every file that is written from it. A record is not
//! trusted: nothing in it names a file outside of its folder.

use std::{collections::BTreeMap, path::Path};

use hdrhistogram::CreationError;

use crate::{
    experiment::schema::Lane,
    failure::chain,
    judge::{self, facts::milliseconds, verdict::Verdict},
    record::{Record, RecordedInterval, load_log::log_tag, load_reader, percentiles, reader, samples::Samples},
    report,
};

/// Judges a record from its folder alone and writes the verdict and all that is made from it into it.
pub fn conclude(folder: &Path) -> Result<Verdict, String> {
    let record = reader::read(folder).map_err(|error| chain(&error))?;
    let verdict = judge::judge(&record);
    let json = serde_json::to_string_pretty(&verdict).map_err(|error| error.to_string())?;
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|error| format!("failed to write {}: {error}", path.display()))
    };
    write("verdict.json", &json)?;
    write("report.html", &report::html::render(&record, &verdict))?;
    write("summary.md", &report::markdown::of_one(&verdict))?;
    write("metrics.prom", &report::prometheus::render(&verdict))?;
    let from_ms = verdict.counted_from_ms();
    let service = load_reader::service_times(folder, from_ms).map_err(|error| chain(&error))?;
    for (name, table) in percentile_tables(&record, from_ms, &service) {
        write(&name, &table.map_err(|error| error.to_string())?)?;
    }
    Ok(verdict)
}

/// The response and service times of each lane, by file; of those that count, as in the report.
fn percentile_tables(
    record: &Record,
    from_ms: Option<f64>,
    service: &BTreeMap<String, Samples>,
) -> Vec<(String, Result<String, CreationError>)> {
    let counts = |one: &&RecordedInterval| from_ms.is_none_or(|from| milliseconds(one.start_us) >= from);
    let both = |(place, lane): (usize, &Lane)| {
        let of_lane = record.intervals.iter().filter(|one| one.lane == lane.name).filter(counts);
        let response = Samples::merged(of_lane.map(|interval| &interval.response));
        let none = Samples::default();
        let service = service.get(&log_tag(&lane.name)).unwrap_or(&none);
        let file = lane_file(&lane.name, place);
        [
            (format!("{file}.response.hgrm"), percentiles::of_samples(&response)),
            (format!("{file}.service.hgrm"), percentiles::of_samples(service)),
        ]
    };
    record.experiment.spec.load.iter().enumerate().flat_map(both).collect()
}

/// A lane's name where it can be part of a file's name whatever the record says, else its place.
fn lane_file(name: &str, place: usize) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if (1..=64).contains(&name.len()) && name.chars().all(is_plain) {
        name.to_owned()
    } else {
        format!("lane{}", place + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lanes_name_is_part_of_a_files_name_only_where_it_cannot_lead_elsewhere() {
        assert_eq!(lane_file("out-side_2", 0), "out-side_2");
        for name in ["", "../../etc/passwd", "a/b", "a.b", "ü", &"x".repeat(65)] {
            assert_eq!(lane_file(name, 2), "lane3", "{name}");
        }
    }
}
