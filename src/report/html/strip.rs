//! A strip: one thing over time as coloured stretches with ticks on them, such as a pod's life.

use std::fmt::Write as _;

use super::{axis::Axis, escape::E};
use crate::report::wording::{cut, duration, moment};

/// Names, notes and tips longer than this are cut: the whole text is in the record.
const MOST_CHARS: usize = 200;
/// Stretches and ticks of one strip; beyond that they lie on each other.
const MOST_PARTS: usize = 300;

/// One strip.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Strip {
    /// What it is about.
    pub label: String,
    /// In small letters beside it, such as a node.
    pub note: String,
    /// Its stretches, in order.
    pub parts: Vec<Part>,
    /// A thin line under the stretches.
    pub under: Vec<Part>,
    /// Moments on it.
    pub ticks: Vec<Tick>,
}

/// A stretch of a strip.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Its beginning, in milliseconds since the run began.
    pub from_ms: f64,
    /// Its end.
    pub to_ms: f64,
    /// The class that colours it: a word of ours.
    pub class: &'static str,
    /// What is written into it where there is room.
    pub text: String,
}

/// A moment on a strip.
#[derive(Debug, Clone, PartialEq)]
pub struct Tick {
    /// When, in milliseconds since the run began.
    pub at_ms: f64,
    /// The class that colours it: a word of ours.
    pub class: &'static str,
    /// What it says when pointed at.
    pub text: String,
}

impl Strip {
    /// Whether any of it lies on the axis.
    #[must_use]
    pub fn is_on(&self, axis: Axis) -> bool {
        self.parts.iter().any(|part| axis.clip(part.from_ms, part.to_ms).is_some())
            || self.ticks.iter().any(|tick| axis.has(tick.at_ms))
    }

    /// The strip as a row of the timeline.
    pub fn write(&self, out: &mut String, axis: Axis) {
        let (label, note) = (cut(&self.label, MOST_CHARS), cut(&self.note, MOST_CHARS));
        let _ = write!(
            out,
            r#"<div class="row strip"><div class="label" title="{0}"><span>{0}</span><small>{1}</small></div><div class="plot">"#,
            E(&label),
            E(&note),
        );
        for part in self.parts.iter().take(MOST_PARTS) {
            write_part(out, axis, part, "seg");
        }
        for part in self.under.iter().take(MOST_PARTS) {
            write_part(out, axis, part, "seg under");
        }
        for tick in self.ticks.iter().filter(|tick| axis.has(tick.at_ms)).take(MOST_PARTS) {
            let _ = write!(
                out,
                r#"<i class="tick {}" data-t="{:.0}" style="left:{:.3}%" title="{} at {}"></i>"#,
                tick.class,
                tick.at_ms - axis.from_ms,
                axis.percent(tick.at_ms),
                E(&cut(&tick.text, MOST_CHARS)),
                moment(tick.at_ms),
            );
        }
        out.push_str("</div></div>");
    }
}

fn write_part(out: &mut String, axis: Axis, part: &Part, kind: &str) {
    let Some((from, to)) = axis.clip(part.from_ms, part.to_ms) else { return };
    let text = cut(&part.text, MOST_CHARS);
    let written = if kind == "seg" { format!("<span>{}</span>", E(&text)) } else { String::new() };
    let _ = write!(
        out,
        r#"<div class="{kind} {}" data-a="{:.0}" data-b="{:.0}" style="left:{:.3}%;width:{:.3}%" title="{}: {} from {}">{written}</div>"#,
        part.class,
        from - axis.from_ms,
        to - axis.from_ms,
        axis.percent(from),
        axis.percent(to) - axis.percent(from),
        E(&text),
        duration(part.to_ms - part.from_ms),
        moment(part.from_ms),
    );
}

/// Turns states at moments into stretches: each lasts until the next, and equal neighbours are one. A state of
/// nothing is a gap; the last one lasts to `end_ms`.
#[must_use]
pub fn stretches(states: &[(f64, Option<(&'static str, String)>)], end_ms: f64) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for (at, (from_ms, state)) in states.iter().enumerate() {
        let Some((class, text)) = state else { continue };
        let to_ms = states.get(at + 1).map_or(end_ms, |(next, _)| *next);
        match parts.last_mut() {
            Some(last) if last.class == *class && last.text == *text && (last.to_ms - from_ms).abs() < 1e-6 => {
                last.to_ms = to_ms;
            }
            _ => parts.push(Part { from_ms: *from_ms, to_ms, class, text: text.clone() }),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_become_stretches_with_equal_neighbours_joined_and_gaps_kept() {
        let state = |class: &'static str| Some((class, class.to_owned()));
        let states = [
            (0.0, state("pending")),
            (5.0, state("ready")),
            (7.0, state("ready")),
            (9.0, None),
            (12.0, state("ready")),
        ];
        let parts: Vec<_> =
            stretches(&states, 20.0).into_iter().map(|part| (part.from_ms, part.to_ms, part.class)).collect();
        assert_eq!(parts, [(0.0, 5.0, "pending"), (5.0, 9.0, "ready"), (12.0, 20.0, "ready")]);
    }

    #[test]
    fn a_hostile_name_is_escaped_in_every_place_of_a_strip() {
        let bad = "\"><script>alert(1)</script>".to_owned();
        let part = Part { from_ms: 0.0, to_ms: 5.0, class: "ready", text: bad.clone() };
        let strip = Strip {
            label: bad.clone(),
            note: bad.clone(),
            under: vec![part.clone()],
            parts: vec![part],
            ticks: vec![Tick { at_ms: 3.0, class: "bad", text: bad }],
        };
        let mut out = String::new();
        strip.write(&mut out, Axis { from_ms: 0.0, to_ms: 10.0 });
        assert!(!out.contains("<script") && out.matches("&lt;script&gt;").count() >= 5);
        assert!(out.contains("left:0.000%;width:50.000%"));
    }
}
