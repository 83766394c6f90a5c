//! Where the measurement of a lane is in doubt, hatched behind its charts: stretches in which evenkeel itself was late,
//! and bins with requests that it never sent. Nothing there is the service's, neither a loss nor a quiet moment.

use std::fmt::Write as _;

use super::{axis::Axis, escape::E, series::LaneSeries};
use crate::{
    judge::verdict::{Tainted, TaintedBy, Verdict},
    report::wording::{counted, duration, moment},
};

/// What the hatching means, for a lane that has some; nothing for one that has none.
pub const LEGEND: &str = r#"<span class="legend"><i class="hatch"></i>in doubt: evenkeel late or not sending, a note, a control lane in trouble</span>"#;

/// One hatched stretch.
#[derive(Debug, PartialEq)]
struct Hatch {
    from_ms: f64,
    to_ms: f64,
    text: String,
}

/// The hatching of one lane as elements of a plot; empty where nothing is in doubt.
#[must_use]
pub fn hatches(axis: Axis, width_ms: f64, lane: &LaneSeries, verdict: &Verdict) -> String {
    let tainted = verdict.tainted.iter().filter(|stretch| stretch.lane == lane.name).map(tainted);
    let mut out = String::new();
    for Hatch { from_ms, to_ms, text } in tainted.chain(unsent(axis, width_ms, lane)) {
        let Some((from, to)) = axis.clip(from_ms, to_ms) else { continue };
        let _ = write!(
            out,
            r#"<i class="hatch" data-a="{:.0}" data-b="{:.0}" style="left:{:.3}%;width:{:.3}%" title="{}"></i>"#,
            from - axis.from_ms,
            to - axis.from_ms,
            axis.percent(from),
            axis.percent(to) - axis.percent(from),
            E(&text),
        );
    }
    out
}

fn tainted(stretch: &Tainted) -> Hatch {
    let by = match stretch.by {
        TaintedBy::OwnDelay => format!("{}, by up to {}", stretch.by.words(), duration(stretch.delay_ms)),
        TaintedBy::Note | TaintedBy::Control => stretch.by.words().to_owned(),
    };
    let text = format!("in doubt from {} to {}: {by}", moment(stretch.from_ms), moment(stretch.to_ms));
    Hatch { from_ms: stretch.from_ms, to_ms: stretch.to_ms, text }
}

/// Bins with requests that were never sent, those side by side as one.
fn unsent(axis: Axis, width_ms: f64, lane: &LaneSeries) -> Vec<Hatch> {
    let mut runs: Vec<(usize, usize, u64)> = Vec::new();
    for (at, bin) in lane.bins.iter().enumerate().filter(|(_, bin)| bin.unsent > 0) {
        match runs.last_mut() {
            Some((_, end, unsent)) if *end == at => (*end, *unsent) = (at + 1, unsent.saturating_add(bin.unsent)),
            _ => runs.push((at, at + 1, bin.unsent)),
        }
    }
    let place = |bin: usize| axis.from_ms + bin as f64 * width_ms;
    let hatch = |(from, to, unsent): (usize, usize, u64)| Hatch {
        from_ms: place(from),
        to_ms: place(to),
        text: format!("{} never sent, for a reason of evenkeel's own", counted(unsent, "request")),
    };
    runs.into_iter().map(hatch).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::series::Bin, *};
    use crate::report::sample;

    const AXIS: Axis = Axis { from_ms: 9_000.0, to_ms: 11_000.0 };

    fn lane(name: &str, unsent: &[u64]) -> LaneSeries {
        let bins = unsent.iter().map(|unsent| Bin { sent: 10, unsent: *unsent, ..Bin::default() }).collect();
        LaneSeries { name: name.to_owned(), bins }
    }

    #[test]
    fn a_stretch_in_doubt_is_hatched_where_it_was_in_its_own_lane() {
        let verdict = sample::inconclusive();
        let html = hatches(AXIS, 100.0, &lane("new", &[0; 20]), &verdict);
        assert_eq!(html.matches("<i class=\"hatch\"").count(), 1, "{html}");
        assert!(html.contains(r#"data-a="200" data-b="1600" style="left:10.000%;width:70.000%""#), "{html}");
        assert!(
            html.contains("in doubt from 9.200 s to 10.600 s: evenkeel itself was late, by up to 1.31 s"),
            "{html}"
        );
        assert_eq!(hatches(AXIS, 100.0, &lane("other", &[0; 20]), &verdict), "");
        assert_eq!(hatches(AXIS, 100.0, &lane("new", &[0; 20]), &sample::held()), "");
        let elsewhere = Axis { from_ms: 0.0, to_ms: 9_000.0 };
        assert_eq!(hatches(elsewhere, 100.0, &lane("new", &[]), &verdict), "");
    }

    #[test]
    fn bins_with_requests_that_were_never_sent_are_hatched_side_by_side_as_one() {
        let html = hatches(AXIS, 100.0, &lane("new", &[0, 2, 3, 0, 1]), &sample::held());
        assert_eq!(html.matches("<i class=\"hatch\"").count(), 2, "{html}");
        assert!(html.contains(r#"data-a="100" data-b="300""#) && html.contains("5 requests never sent"), "{html}");
        assert!(html.contains(r#"data-a="400" data-b="500""#) && html.contains("1 request never sent"), "{html}");
    }
}
