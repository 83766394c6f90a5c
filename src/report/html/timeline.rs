//! The timeline: charts of the lanes and strips of the cluster, one below the other on one time axis.
//!
//! Every element carries its times as `data-a`, `data-b` or `data-t` (milliseconds from the axis' beginning) beside
//! its place in percent: the page is whole without its script, and the script can zoom by moving elements alone.

use std::fmt::Write as _;

use serde::Serialize;

use super::{
    axis::Axis,
    chart::{self, Chart, Mark},
    cluster::{self, Group},
    doubt,
    escape::E,
    series::{self, LaneSeries},
    shares::Palette,
};
use crate::{
    judge::verdict::Verdict,
    record::Record,
    report::{
        story::Moment,
        wording::{connections, count, counted, share, vantage},
    },
};

/// What the script's read-out shows: columns of numbers, a number for each bin.
#[derive(Serialize)]
struct Data<'a> {
    /// Where the axis begins, in milliseconds since the run began.
    from: f64,
    span: f64,
    width: f64,
    lanes: Vec<DataLane<'a>>,
}

#[derive(Serialize)]
struct DataLane<'a> {
    name: &'a str,
    sent: Vec<u64>,
    lost: Vec<u64>,
    /// Empty where all were sent, as in nearly every run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unsent: Vec<u64>,
    p50: Vec<Option<f64>>,
    p99: Vec<Option<f64>>,
    max: Vec<Option<f64>>,
}

/// Writes the section.
pub fn write(out: &mut String, axis: Axis, record: &Record, verdict: &Verdict, story: &[Moment]) {
    let width_ms = series::bin_width(axis);
    let lanes = series::lanes(axis, &record.events, &record.intervals);
    let _ = write!(
        out,
        r#"<section id="timeline"><div class="head"><h2>Over time</h2><p class="hint">Bins of {}. <span class="js">Point for figures, drag to zoom.</span> <button type="button" id="reset" hidden>Whole run</button></p></div>"#,
        crate::report::wording::duration(width_ms),
    );
    let _ = write!(out, r#"<div class="tl" data-series="{}">"#, E(&data(axis, width_ms, &lanes)));
    overlay(out, axis, verdict);
    header(out, axis, verdict);
    let palette = Palette::of(&record.events);
    for (at, lane) in lanes.iter().enumerate() {
        write_lane(out, axis, width_ms, lane, at, (record, verdict));
        palette.write_lane(out, axis, &lane.name, &record.events);
        out.push_str("</div>");
    }
    palette.write_legend(out);
    let all_lanes = verdict.lanes.len();
    if all_lanes > lanes.len() {
        let _ = write!(
            out,
            r#"<p class="more">{} more in the tables below</p>"#,
            counted((all_lanes - lanes.len()) as u64, "lane")
        );
    }
    write_group(out, axis, &cluster::happenings(axis, verdict, &record.events, story), "");
    write_group(out, axis, &cluster::pods(axis, &record.events), POD_LEGEND);
    out.push_str(r#"<div id="readout" hidden></div></div></section>"#);
}

const POD_LEGEND: &str = r#"<span class="legend"><i class="seg pending"></i>pending <i class="seg notready"></i>not ready <i class="seg ready"></i>ready <i class="seg terminating"></i>terminating <i class="seg exited"></i>exited <i class="seg under endpoint"></i>gets new connections</span>"#;

/// Phases as bands and the steps' edges as lines, behind all rows.
fn overlay(out: &mut String, axis: Axis, verdict: &Verdict) {
    out.push_str(r#"<div class="over" aria-hidden="true">"#);
    for (phase, summary) in &verdict.phases {
        if let Some((from, to)) = axis.clip(summary.start_ms, summary.end_ms) {
            place(out, axis, "band", phase.as_str(), from, to, "");
        }
    }
    let edges = verdict.steps.iter().flat_map(|step| [Some(step.start_ms), step.end_ms]).flatten();
    for edge in edges.filter(|at| axis.has(*at)) {
        let _ = write!(
            out,
            r#"<i class="edge" data-t="{:.0}" style="left:{:.3}%"></i>"#,
            edge - axis.from_ms,
            axis.percent(edge)
        );
    }
    out.push_str(r#"<i id="cursor" hidden></i><i id="chosen" hidden></i></div>"#);
}

fn header(out: &mut String, axis: Axis, verdict: &Verdict) {
    out.push_str(r#"<div class="row axis"><div class="label"></div><div class="plot">"#);
    for (phase, summary) in &verdict.phases {
        if let Some((from, to)) = axis.clip(summary.start_ms, summary.end_ms) {
            place(out, axis, "phase", phase.as_str(), from, to, phase.as_str());
        }
    }
    out.push_str(r#"<div id="ticks">"#);
    for (at, text) in axis.ticks() {
        let _ = write!(out, r#"<b style="left:{:.3}%">{text}</b>"#, axis.percent(at));
    }
    out.push_str("</div></div></div>");
}

fn place(out: &mut String, axis: Axis, kind: &str, class: &str, from: f64, to: f64, text: &str) {
    let _ = write!(
        out,
        r#"<div class="{kind} {class}" data-a="{:.0}" data-b="{:.0}" style="left:{:.3}%;width:{:.3}%"><span>{text}</span></div>"#,
        from - axis.from_ms,
        to - axis.from_ms,
        axis.percent(from),
        axis.percent(to) - axis.percent(from),
    );
}

/// The charts of a lane, in an element that is left open.
fn write_lane(
    out: &mut String,
    axis: Axis,
    width_ms: f64,
    lane: &LaneSeries,
    at: usize,
    (record, verdict): (&Record, &Verdict),
) {
    let asked = record.experiment.spec.lane(&lane.name);
    let how = asked
        .map_or(String::new(), |one| format!("{}, {}, {}", one.rate, vantage(one.from), connections(one.connections)));
    // The verdict's own counts, so that the page has one number: the bins also show the load before the first phase,
    // which only waits for the service to be steady.
    let (sent, lost) = verdict.lanes.get(&lane.name).map_or((0, 0), |one| (one.requests.sent, one.requests.lost));
    let hatches = doubt::hatches(axis, width_ms, lane, verdict);
    let legend = if hatches.is_empty() { "" } else { doubt::LEGEND };
    let colour = at % 6;
    let _ = write!(
        out,
        r#"<div class="lane lane{colour}"><h3><i class="dot"></i>lane {}<small>{}</small>{legend}</h3>"#,
        E(&lane.name),
        E(&how)
    );
    let label = format!("<span>lost</span><small>{} of {}, {}</small>", count(lost), count(sent), share(lost, sent));
    match chart::lost(lane, axis, width_ms) {
        Some(chart) => write_chart(out, "losses", &label, &chart, &hatches),
        None => {
            let _ = write!(
                out,
                r#"<div class="row none"><div class="label">{label}</div><div class="plot">{hatches}<em>no request lost</em></div></div>"#
            );
        }
    }
    if let Some(chart) = chart::latency(lane, axis, width_ms) {
        let key = r#"<span>response time</span><small class="key"><i class="k50"></i>p50 <i class="k99"></i>p99 <i class="kmax"></i>max</small>"#;
        write_chart(out, "times", key, &chart, &hatches);
    }
}

fn write_chart(out: &mut String, class: &str, label: &str, chart: &Chart, hatches: &str) {
    let _ = write!(
        out,
        r#"<div class="row {class}"><div class="label">{label}</div><div class="plot">{hatches}{}"#,
        chart.svg
    );
    for Mark { top, text } in &chart.marks {
        // The lowest mark of a scale stands on its line, the highest under it.
        let side = if *top > 90.0 { " up" } else { "" };
        let _ = write!(out, r#"<b class="mark{side}" style="top:{top:.1}%">{text}</b>"#);
    }
    out.push_str("</div></div>");
}

fn write_group(out: &mut String, axis: Axis, group: &Group, legend: &str) {
    if group.strips.is_empty() {
        return;
    }
    let _ = write!(out, r#"<div class="group"><h3>{}{legend}</h3>"#, group.title);
    for strip in &group.strips {
        strip.write(out, axis);
    }
    if group.hidden > 0 {
        let _ = write!(out, r#"<p class="more">and {} more, not shown</p>"#, group.hidden);
    }
    out.push_str("</div>");
}

fn data(axis: Axis, width_ms: f64, lanes: &[LaneSeries]) -> String {
    let data = Data {
        from: axis.from_ms,
        span: axis.span_ms(),
        width: width_ms,
        lanes: lanes.iter().map(DataLane::of).collect(),
    };
    // Only a map with strange keys cannot be JSON; the page is whole without.
    serde_json::to_string(&data).unwrap_or_default()
}

impl<'a> DataLane<'a> {
    fn of(lane: &'a LaneSeries) -> Self {
        let LaneSeries { name, bins } = lane;
        let times = |read: fn(&series::Times) -> f64| {
            bins.iter().map(|bin| bin.times.as_ref().map(|times| three_digits(read(times)))).collect()
        };
        Self {
            name,
            sent: bins.iter().map(|bin| bin.sent).collect(),
            lost: bins.iter().map(|bin| bin.lost).collect(),
            unsent: if bins.iter().any(|bin| bin.unsent > 0) {
                bins.iter().map(|bin| bin.unsent).collect()
            } else {
                Vec::new()
            },
            p50: times(|times| times.p50),
            p99: times(|times| times.p99),
            max: times(|times| times.max),
        }
    }
}

/// What the read-out shows has three digits; more would be half of the file.
fn three_digits(ms: f64) -> f64 {
    let unit = 10_f64.powf((ms.abs().max(1e-3).log10().floor() - 2.0).max(-3.0));
    ((ms / unit).round() * unit * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::html::series::Bin;

    #[test]
    fn the_read_out_tells_of_requests_that_were_never_sent_where_there_are_any() {
        const AXIS: Axis = Axis { from_ms: 0.0, to_ms: 300.0 };
        let lane = |unsent: &[u64]| {
            let bins = unsent.iter().map(|unsent| Bin { sent: 9, unsent: *unsent, ..Bin::default() }).collect();
            LaneSeries { name: "new".to_owned(), bins }
        };
        let quiet = data(AXIS, 100.0, &[lane(&[0, 0, 0])]);
        assert!(!quiet.contains("unsent"), "{quiet}");
        let both = data(AXIS, 100.0, &[lane(&[0, 4, 0]), lane(&[0, 0, 0])]);
        assert_eq!(both.matches(r#""unsent":[0,4,0]"#).count(), 1, "{both}");
        assert_eq!(both.matches("unsent").count(), 1, "{both}");
    }
}
