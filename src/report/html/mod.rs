//! `report.html`: one file that opens from disk, on a desk, a phone or paper, and that can be sent round.
//!
//! Verdict and causes first, then everything over time on one axis, then the figures as tables. It is whole without
//! its script, which only adds zoom and a read-out. A policy in the page forbids any network and any script but that
//! one, and whatever comes from the record passes [`escape::E`].
//!
//! * [`top`]: verdict, figures, causes, advice.
//! * [`timeline`]: lanes, happenings and pods over time, from [`series`], [`chart`], [`shares`], [`cluster`] and [`strip`] on
//!   one [`axis`]; where the measurement is in doubt, hatched by [`doubt`].
//! * [`tables`]: expectations, requests, steps; [`claims`]: outages, budgets and pods as measured; [`percentiles`]: the
//!   curve.
//! * [`background`]: moments, environment, file and plan, these as [`yaml`].
//! * [`index`]: the page of a suite.

pub mod axis;
pub mod background;
pub mod chart;
pub mod claims;
pub mod cluster;
pub mod doubt;
pub mod escape;
pub mod index;
pub mod percentiles;
pub mod series;
pub mod shares;
pub mod strip;
pub mod tables;
pub mod timeline;
pub mod top;
pub mod yaml;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256};

use self::{axis::Axis, escape::E};
use crate::{judge::verdict::Verdict, record::Record, report::story::Story};

const CSS: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// The page for one run: at most 1.5 MB, however long the run was.
#[must_use]
pub fn render(record: &Record, verdict: &Verdict) -> String {
    let story = Story::of(&record.events);
    let axis = Axis::of(verdict, &record.events, &record.intervals);
    let mut body = String::new();
    top::write(&mut body, record, verdict);
    timeline::write(&mut body, axis, record, verdict, &story);
    tables::write(&mut body, verdict);
    percentiles::write(&mut body, &record.intervals, verdict.counted_from_ms());
    claims::write(&mut body, verdict);
    background::write(&mut body, record, &story);
    let title = format!("{}: {}", verdict.verdict.as_str(), verdict.experiment);
    page(&title, &body, SCRIPT)
}

/// A whole page around a body, with the policy that keeps it to itself. The title is escaped here.
fn page(title: &str, body: &str, script: &str) -> String {
    let scripts = if script.is_empty() {
        "script-src 'none'".to_owned()
    } else {
        format!("script-src 'sha256-{}'", STANDARD.encode(Sha256::digest(script)))
    };
    let script = if script.is_empty() { String::new() } else { format!("<script>{script}</script>") };
    format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; {scripts}; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta name="color-scheme" content="light dark">
<title>{}</title>
<style>
{CSS}</style>
</head>
<body>
<main>
{body}
</main>
{script}
</body>
</html>
"#,
        E(title)
    )
}

#[cfg(test)]
mod tests;
