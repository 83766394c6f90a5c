//! What a reader looks up: what happened moment by moment, where it ran, what the file asked for, the plan.

use std::fmt::Write as _;

use serde_json::Value;

use super::{axis::ms, escape::E, yaml};
use crate::{
    experiment::schema::Experiment,
    record::{
        Record,
        event::{Started, What},
    },
    report::{
        story::{Moment, Tone},
        wording::{counted, cut, duration, moment},
    },
};

/// Moments that are listed; `events.jsonl` has them all.
const MOST_MOMENTS: usize = 400;
/// Longest text of the file and of the plan, in characters.
const MOST_TEXT: usize = 40_000;

/// Writes the sections.
pub fn write(out: &mut String, record: &Record, story: &[Moment]) {
    moments(out, story);
    environment(out, record);
}

fn moments(out: &mut String, story: &[Moment]) {
    let shown = moments_shown(story);
    let _ = write!(
        out,
        r#"<section id="moments"><details open><summary><h2>Moment by moment</h2><small>{}</small></summary><div class="scroll"><table class="moments"><thead><tr><th>at</th><th>about</th><th>what happened</th></tr></thead><tbody>"#,
        counted(story.len() as u64, "moment"),
    );
    for moment_ in &shown {
        let tone = match moment_.tone {
            Tone::Plain => "",
            Tone::Good => "good",
            Tone::Caution => "caution",
            Tone::Bad => "bad",
        };
        let _ = write!(
            out,
            r#"<tr class="{tone}" data-at="{:.0}"><td class="nowrap">{}</td><td>{}</td><td>{}</td></tr>"#,
            ms(moment_.at_us),
            moment(ms(moment_.at_us)),
            moment_.about.as_str(),
            E(&moment_.text),
        );
    }
    out.push_str("</tbody></table></div>");
    if shown.len() < story.len() {
        let _ = write!(
            out,
            r#"<p class="more">{} are not shown; events.jsonl has them all</p>"#,
            counted((story.len() - shown.len()) as u64, "further moment"),
        );
    }
    out.push_str("</details></section>");
}

/// All moments where they are few; otherwise those that are more than plain come first, in the order of time.
fn moments_shown(story: &[Moment]) -> Vec<&Moment> {
    if story.len() <= MOST_MOMENTS {
        return story.iter().collect();
    }
    let mut ranked: Vec<(usize, &Moment)> = story.iter().enumerate().collect();
    ranked.sort_by_key(|(at, moment)| (matches!(moment.tone, Tone::Plain), *at));
    ranked.truncate(MOST_MOMENTS);
    ranked.sort_by_key(|(at, _)| *at);
    ranked.into_iter().map(|(_, moment)| moment).collect()
}

fn environment(out: &mut String, record: &Record) {
    out.push_str(r#"<section id="environment"><h2>Where and how</h2><dl>"#);
    let mut pair = |name: &str, value: &str| {
        let _ = write!(out, "<dt>{name}</dt><dd>{}</dd>", E(&cut(value, 500)));
    };
    if let Some(Started { version, on, server_version, wall_clock, .. }) = started(record) {
        pair("cluster", on);
        pair("Kubernetes", server_version);
        pair("began", wall_clock);
        pair("evenkeel", version);
    }
    if let Some(last) = record.events.last() {
        pair("took", &duration(ms(last.at_us)));
    }
    let experiment = &record.experiment;
    pair("namespace", &experiment.spec.given.namespace);
    if let Some(good) = &experiment.metadata.twin_of {
        pair("known-bad twin of", good);
    }
    let nodes = nodes(record);
    pair(&format!("nodes ({})", nodes.len()), &nodes.join(", "));
    out.push_str("</dl>");
    text(out, "The experiment file", &without_secrets(experiment));
    if !record.plan.is_null() {
        let mut plan = record.plan.clone();
        hide_secrets(&mut plan);
        text(out, "The plan", &as_yaml(&plan));
    }
    out.push_str("</section>");
}

fn started(record: &Record) -> Option<&Started> {
    record.events.iter().find_map(|event| if let What::Started(started) = &event.what { Some(started) } else { None })
}

fn nodes(record: &Record) -> Vec<String> {
    let mut nodes: Vec<String> = Vec::new();
    for event in &record.events {
        let What::Node(node) = &event.what else { continue };
        let text = match &node.zone {
            Some(zone) => format!("{} ({zone})", node.name),
            None => node.name.clone(),
        };
        if !nodes.contains(&text) {
            nodes.push(text);
        }
    }
    nodes.sort();
    nodes
}

fn text(out: &mut String, title: &str, text: &str) {
    let _ = write!(out, "<details><summary>{title}</summary><pre>{}</pre></details>", E(&cut(text, MOST_TEXT)));
}

/// The experiment as it was read, without the contents of Secrets: a report is sent round.
fn without_secrets(experiment: &Experiment) -> String {
    let mut experiment = experiment.clone();
    experiment.spec.given.apply.iter_mut().for_each(hide_secrets);
    as_yaml(&experiment)
}

fn as_yaml(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).map_or_else(|error| error.to_string(), |value| yaml::text(&value))
}

/// Takes the contents out of every Secret in a value, however deep it stands; both come from JSON, whose reader
/// bounds the depth.
fn hide_secrets(value: &mut Value) {
    let secret = value.get("kind").and_then(Value::as_str) == Some("Secret");
    match value {
        Value::Object(map) => {
            for (key, inner) in map.iter_mut() {
                match inner {
                    Value::Object(entries) if secret && matches!(key.as_str(), "data" | "stringData") => {
                        entries.values_mut().for_each(|value| *value = Value::from("(not shown)"));
                    }
                    inner => hide_secrets(inner),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(hide_secrets),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::story::About;

    #[test]
    fn the_contents_of_a_secret_stay_out_of_the_report() {
        let mut secret = serde_json::json!({"undo": [{"kind": "Secret", "stringData": {"password": "hunter2"}}]});
        let mut map = serde_json::json!({"kind": "ConfigMap", "data": {"colour": "blue"}});
        hide_secrets(&mut secret);
        hide_secrets(&mut map);
        assert_eq!(secret["undo"][0]["stringData"]["password"], "(not shown)");
        assert_eq!(map["data"]["colour"], "blue");
    }

    #[test]
    fn of_too_many_moments_the_plain_ones_are_left_out() {
        let moment = |n: i64| Moment {
            at_us: n,
            about: About::Pod,
            tone: if n == 900 { Tone::Bad } else { Tone::Plain },
            text: String::new(),
        };
        let story: Vec<Moment> = (0..1_000).map(moment).collect();
        let shown = moments_shown(&story);
        assert_eq!(shown.len(), MOST_MOMENTS);
        assert_eq!(shown.last().map(|moment| moment.at_us), Some(900));
        assert_eq!(shown[0].at_us, 0);
    }
}
