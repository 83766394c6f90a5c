//! Each pod's share of a lane's answers over time, and of its new connections, as areas that lie on each other: where
//! traffic went before a pod left, and when a new one got its part.
//!
//! Only pods that name themselves (header `x-evenkeel-pod`) are seen.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use super::{
    axis::{Axis, ms},
    escape::E,
    series,
};
use crate::{
    record::event::{Event, PodAnswers, What},
    report::wording::{count, cut},
};

/// Bins of a chart: shares of fewer requests than these have are noise.
const MOST_BINS: f64 = 120.0;
/// Pods with a colour of their own; beyond that colours are not told apart, and the rest is one grey area.
const MOST_PODS: usize = 8;
/// Longest name of a pod in characters.
const MOST_CHARS: usize = 60;

/// The pods of a record that answered, each with its colour: those that answered most, by name, and then all others.
#[derive(Debug)]
pub struct Palette<'a> {
    pods: Vec<&'a str>,
    others: usize,
}

/// What of a pod's answers is drawn.
type Reading = fn(&PodAnswers) -> u64;

impl<'a> Palette<'a> {
    /// The pods that answered any lane.
    #[must_use]
    pub fn of(events: &'a [Event]) -> Self {
        let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
        for event in events {
            let What::Load(load) = &event.what else { continue };
            for (pod, answers) in &load.by_pod {
                let sum = sums.entry(pod).or_default();
                *sum = sum.saturating_add(answers.answered);
            }
        }
        let mut pods: Vec<(&str, u64)> = sums.into_iter().filter(|(_, sum)| *sum > 0).collect();
        pods.sort_by_key(|(_, sum)| std::cmp::Reverse(*sum));
        let others = pods.len().saturating_sub(MOST_PODS);
        pods.truncate(MOST_PODS);
        let mut pods: Vec<&str> = pods.into_iter().map(|(pod, _)| pod).collect();
        pods.sort_unstable();
        Self { pods, others }
    }

    /// Which colour is whose; nothing where no pod named itself.
    pub fn write_legend(&self, out: &mut String) {
        if self.pods.is_empty() {
            return;
        }
        out.push_str(r#"<p class="legend">answers by pod:"#);
        for (at, pod) in self.pods.iter().enumerate() {
            let _ = write!(out, r#" <i class="seg pod{at}"></i>{}"#, E(&cut(pod, MOST_CHARS)));
        }
        if self.others > 0 {
            let _ = write!(out, r#" <i class="seg others"></i>{} more"#, count(self.others as u64));
        }
        out.push_str("</p>");
    }

    /// The rows of a lane; nothing where no pod that answered it named itself.
    pub fn write_lane(&self, out: &mut String, axis: Axis, lane: &str, events: &[Event]) {
        let (answered, new): (Reading, Reading) = (|pod| pod.answered, |pod| pod.new_connections);
        let answers = self.shares(axis, lane, events, answered);
        write_row(out, axis, "share of requests by pod", &answers);
        // Where each request has a connection of its own, the two are the same.
        let connections = self.shares(axis, lane, events, new);
        if connections.bins != answers.bins {
            write_row(out, axis, "share of new connections", &connections);
        }
    }

    fn shares(&self, axis: Axis, lane: &str, events: &[Event], reading: Reading) -> Shares {
        let finest = series::bin_width(axis);
        let width_ms = finest * (axis.span_ms() / finest / MOST_BINS).ceil().max(1.0);
        let mut shares = Shares { width_ms, bins: Vec::new(), pods: 0 };
        let mut pods = BTreeSet::new();
        for event in events {
            let What::Load(load) = &event.what else { continue };
            let at_ms = ms(load.start_us);
            if load.lane != lane || !axis.has(at_ms) {
                continue;
            }
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "bounded by the bins of an axis"
            )]
            let bin = ((at_ms - axis.from_ms) / width_ms).floor() as usize;
            for (pod, answers) in &load.by_pod {
                let n = reading(answers);
                if n == 0 {
                    continue;
                }
                pods.insert(pod.as_str());
                if shares.bins.len() <= bin {
                    shares.bins.resize(bin + 1, vec![0; self.pods.len() + 1]);
                }
                let place = self.pods.binary_search(&pod.as_str()).unwrap_or(self.pods.len());
                if let Some(sum) = shares.bins.get_mut(bin).and_then(|bin| bin.get_mut(place)) {
                    *sum = sum.saturating_add(n);
                }
            }
        }
        shares.pods = pods.len();
        shares
    }
}

/// What is drawn in one row.
struct Shares {
    width_ms: f64,
    /// For each bin a number for each pod, and one for all others.
    bins: Vec<Vec<u64>>,
    /// How many pods there are in it.
    pods: usize,
}

fn write_row(out: &mut String, axis: Axis, title: &str, shares: &Shares) {
    if shares.pods == 0 {
        return;
    }
    let total = shares.bins.iter().flatten().fold(0_u64, |sum, n| sum.saturating_add(*n));
    let _ = write!(
        out,
        r#"<div class="row shares"><div class="label"><span>{title}</span><small>{}, {} {}</small></div><div class="plot"><svg viewBox="0 0 {:.0} 100" preserveAspectRatio="none" aria-hidden="true">"#,
        count(total),
        count(shares.pods as u64),
        if shares.pods == 1 { "pod" } else { "pods" },
        axis.span_ms(),
    );
    let places = shares.bins.first().map_or(0, Vec::len);
    // From the last to the first, each painted over those that reach higher.
    for place in (0..places).rev() {
        let path = outline(shares, place);
        if !path.is_empty() {
            let class = if place + 1 == places { "others".to_owned() } else { format!("pod{place}") };
            let _ = write!(out, r#"<path class="{class}" d="{path}"/>"#);
        }
    }
    out.push_str("</svg></div></div>");
}

/// The area under the shares of all places up to one; nothing where that place has none.
fn outline(shares: &Shares, place: usize) -> String {
    let of = |bin: &Vec<u64>, to: usize| bin.iter().take(to).fold(0_u64, |sum, n| sum.saturating_add(*n));
    if shares.bins.iter().all(|bin| bin.get(place).copied().unwrap_or_default() == 0) {
        return String::new();
    }
    let mut path = "M0 100".to_owned();
    let mut last = String::new();
    for (at, bin) in shares.bins.iter().enumerate() {
        let all = of(bin, bin.len()).max(1);
        let top = format!("V{:.0}", 100.0 - of(bin, place + 1) as f64 / all as f64 * 100.0);
        if top != last {
            let _ = write!(path, "H{:.0}{top}", at as f64 * shares.width_ms);
            last = top;
        }
    }
    let _ = write!(path, "H{:.0}V100z", shares.bins.len() as f64 * shares.width_ms);
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::event::LaneInterval;

    const AXIS: Axis = Axis { from_ms: 0.0, to_ms: 300.0 };

    /// Intervals of a lane: for each the pods with their answers, and of these those on new connections.
    fn events(intervals: &[&[(&str, u64, u64)]]) -> Vec<Event> {
        let event = |(at, pods): (usize, &&[(&str, u64, u64)])| {
            let start_us = i64::try_from(at).unwrap() * 100_000;
            let answers = |answered, new_connections| PodAnswers { answered, new_connections, ..PodAnswers::default() };
            let by_pod = pods.iter().map(|(pod, n, new)| ((*pod).to_owned(), answers(*n, *new))).collect();
            let lane = "new".to_owned();
            Event {
                at_us: start_us,
                what: What::Load(LaneInterval {
                    lane,
                    start_us,
                    length_us: 100_000,
                    by_pod,
                    ..LaneInterval::default()
                }),
            }
        };
        intervals.iter().enumerate().map(event).collect()
    }

    fn written(events: &[Event]) -> String {
        let palette = Palette::of(events);
        let mut out = String::new();
        palette.write_legend(&mut out);
        palette.write_lane(&mut out, AXIS, "new", events);
        out
    }

    #[test]
    fn the_areas_of_a_bin_are_the_shares_of_its_answers() {
        let out = written(&events(&[&[("a", 3, 3), ("b", 1, 1)], &[("b", 4, 4)], &[("a", 1, 1), ("b", 1, 1)]]));
        // The first pod's area has its share; the second is painted below it, up to all of it.
        assert!(out.contains(r#"<path class="pod0" d="M0 100H0V25H100V100H200V50H300V100z"/>"#), "{out}");
        assert!(out.contains(r#"<path class="pod1" d="M0 100H0V0H300V100z"/>"#), "{out}");
        assert!(out.find("class=\"pod1\" d").unwrap() < out.find("class=\"pod0\" d").unwrap(), "{out}");
        assert!(!out.contains("new connections"), "they are the same: {out}");
    }

    #[test]
    fn new_connections_have_a_row_where_they_go_elsewhere_than_requests() {
        let out = written(&events(&[&[("a", 5, 2), ("b", 5, 0)]]));
        let (requests, connections) = out.split_once("share of new connections").unwrap();
        assert!(requests.contains("<small>10, 2 pods</small>") && requests.contains("V50"), "{out}");
        assert!(connections.contains("<small>2, 1 pod</small>") && connections.contains("V0H100V100z"), "{out}");
    }

    #[test]
    fn a_gap_is_a_gap_and_without_names_there_is_nothing() {
        let out = written(&events(&[&[("a", 5, 5)], &[], &[("a", 5, 5)]]));
        assert!(out.contains("M0 100H0V0H100V100H200V0H300V100z"), "{out}");
        assert_eq!(written(&events(&[&[], &[]])), "");
        assert_eq!(written(&[]), "");
    }

    #[test]
    fn pods_beyond_the_colours_are_one_area_and_are_counted() {
        let names: Vec<String> = (0..MOST_PODS + 3).map(|n| format!("pod-{n:02}")).collect();
        let pods: Vec<(&str, u64, u64)> = names.iter().rev().map(|name| (name.as_str(), 1, 1)).collect();
        let out = written(&events(&[&pods]));
        assert!(out.contains("<i class=\"seg others\"></i>3 more") && out.contains("class=\"others\" d"), "{out}");
        assert!(out.contains("<small>11, 11 pods</small>"), "{out}");
    }

    #[test]
    fn a_hostile_name_is_escaped() {
        let out = written(&events(&[&[("\"><script>alert(1)</script>", 1, 1)]]));
        assert!(!out.contains("<script") && out.contains("&lt;script&gt;"), "{out}");
    }

    /// Every bin differs from the one before it, and pods come and go, as in no run.
    #[test]
    fn the_rows_of_a_long_run_of_many_pods_and_lanes_stay_small() {
        let mut record = crate::report::sample::record();
        for at in 0..7_200_u64 {
            let answers = |n: u64| PodAnswers {
                answered: 1 + (at / 60 * 7 + n * n) % 11,
                new_connections: (at / 60 + n) % 3,
                ..PodAnswers::default()
            };
            let interval = LaneInterval {
                lane: format!("lane-{}", at % 12),
                start_us: i64::try_from(at / 12).unwrap() * 100_000,
                by_pod: (0..20).map(|n| (format!("pod-{n}"), answers(n))).collect(),
                ..LaneInterval::default()
            };
            record.events.push(Event { at_us: interval.start_us, what: What::Load(interval) });
        }
        let palette = Palette::of(&record.events);
        let mut out = String::new();
        palette.write_lane(&mut out, Axis { from_ms: 0.0, to_ms: 60e3 }, "lane-3", &record.events);
        assert!(out.contains("share of requests by pod") && out.contains("share of new connections"), "{out}");
        assert!(out.len() < 30_000, "{} bytes", out.len());
        let html = crate::report::html::render(&record, &crate::report::sample::broken());
        assert!(html.contains("answers by pod:") && html.len() < 1_500_000, "{} bytes", html.len());
    }
}
