//! A plan for people: what will happen, in the order it happens, on a screen or two.

use std::fmt::Write as _;

use super::{AgentsPlan, LanePlan, Plan, Right, StepPlan, world::listed};
use crate::experiment::{
    schema::{Connections, Vantage},
    units::Span,
};

/// The width of the first column.
const COLUMN: usize = 11;

struct Page(String);

impl Page {
    /// A line, with its heading where it begins a section.
    fn line(&mut self, heading: &str, text: &str) {
        let line = format!("{heading:COLUMN$}{text}");
        self.0.push_str(line.trim_end());
        self.0.push('\n');
    }

    /// Lines under one heading; nothing at all where there are none.
    fn section(&mut self, heading: &str, lines: impl IntoIterator<Item = String>) {
        for (index, line) in lines.into_iter().enumerate() {
            self.line(if index == 0 { heading } else { "" }, &line);
        }
    }
}

impl Plan {
    /// The plan for people, each line ended.
    #[must_use]
    pub fn to_text(&self) -> String {
        let scenario = self.scenario.as_ref().map(|id| format!(" ({id})")).unwrap_or_default();
        let mut page = Page(format!(
            "{}{scenario} on {} ({}): nothing has been changed\n\n",
            self.experiment, self.on, self.server_version
        ));
        let namespace = &self.namespace;
        let fate = if namespace.created { "created for the run, removed after it" } else { "stands, and stays" };
        page.line("namespace", &format!("{}: {fate}", namespace.name));
        if !self.objects.is_empty() {
            page.line("apply", &self.objects.join(", "));
        }
        page.line("ready", &format!("{} within {}", listed(self.ready.iter().map(String::as_str)), self.ready_within));
        page.section("load", lanes(&self.lanes));
        if let Some(AgentsPlan { count, nodes }) = &self.agents {
            let pods = if *count == 1 { "1 pod".to_owned() } else { format!("{count} pods") };
            let nodes: Vec<String> = nodes.iter().map(|node| format!("node/{node}")).collect();
            page.line("agents", &format!("{pods} on {}, which no step touches", nodes.join(", ")));
        }
        page.line("before", &format!("{} of load alone", self.phases.before));
        page.section("steps", self.steps.iter().flat_map(step));
        page.line("after", &format!("{} of load alone", self.phases.after));
        page.section("budgets", self.budgets.iter().map(|one| format!("{}: {}", one.name, one.words)));
        page.section("rollouts", self.rollouts.iter().map(|one| format!("{}: {}", one.workload, one.words)));
        page.line("time", &self.time_in_words());
        page.section("rights", rights(&self.rights));
        page.0
    }

    fn time_in_words(&self) -> String {
        let time = &self.time;
        let parts = [
            ("set-up", time.setup_ms),
            ("before", time.before_ms),
            ("fault", time.fault_ms),
            ("undo", time.undo_ms),
            ("after", time.after_ms),
        ];
        let parts: Vec<String> = parts.iter().map(|(name, ms)| format!("{name} {}", rounded(*ms))).collect();
        format!("about {} ({}); an estimate", rounded(time.total_ms()), parts.join(", "))
    }
}

/// A time to the second: an estimate knows no better.
fn rounded(milliseconds: u64) -> Span {
    Span::from_millis(milliseconds.div_ceil(1_000).saturating_mul(1_000))
}

fn lanes(lanes: &[LanePlan]) -> Vec<String> {
    let widest = lanes.iter().map(|lane| lane.name.chars().count()).max().unwrap_or(0);
    let words = |lane: &LanePlan| {
        let from = match (lane.from, lane.node_port) {
            (Vantage::Inside, _) => "from inside".to_owned(),
            (Vantage::Outside, Some(port)) => format!("from outside, by 127.0.0.1:{port}"),
            (Vantage::Outside, None) => "from outside".to_owned(),
        };
        let connections = match lane.connections {
            Connections::New => "a new connection for each".to_owned(),
            Connections::Reused(number) => format!("{number} reused connections"),
        };
        format!(
            "{:widest$}  {} to service/{}:{}{}, {connections}, {from}{}",
            lane.name,
            lane.rate,
            lane.service,
            lane.port,
            lane.path,
            if lane.control { ", as a control" } else { "" }
        )
    };
    lanes.iter().map(words).collect()
}

fn step(step: &StepPlan) -> Vec<String> {
    let name = if step.name == step.verb { String::new() } else { format!(" ({})", step.name) };
    let depth = step.path.matches('.').count() * 2;
    let indent = " ".repeat(depth + step.path.chars().count() + 2);
    // What it does often begins with its verb, which need not stand there twice.
    let verb = if name.is_empty() && step.does.starts_with(&step.verb) { "" } else { step.verb.as_str() };
    let colon = if verb.is_empty() { "" } else { ": " };
    let mut lines = vec![format!("{:depth$}{}  {verb}{name}{colon}{}", "", step.path, step.does)];
    if let Some(pick) = &step.pick {
        lines.push(format!("{indent}picks {}", pick.rule));
        lines.extend(pick.now.iter().map(|(object, why)| format!("{indent}  now {object}: {why}")));
        if !pick.candidates.is_empty() {
            lines.push(format!("{indent}  from {}", pick.candidates.join(", ")));
        }
    }
    if !step.undo.is_empty() {
        lines.push(format!("{indent}undo: {}", step.undo));
    }
    lines
}

fn rights(rights: &[Right]) -> Vec<String> {
    // Resources with the same verbs share a line.
    let mut lines: Vec<(String, String)> = Vec::new();
    for right in rights {
        let place = right.namespace.as_ref().map_or("cluster".to_owned(), |name| format!("in {name}"));
        let key = format!("{place}: {}", right.verbs.join(" "));
        let group = if right.api_group.is_empty() { String::new() } else { format!(".{}", right.api_group) };
        let (resource, subresource) = right.resource.split_once('/').unwrap_or((&right.resource, ""));
        let mut name = format!("{resource}{group}");
        if !subresource.is_empty() {
            // Writing to a String cannot fail.
            let _ = write!(name, "/{subresource}");
        }
        match lines.iter_mut().find(|(known, _)| *known == key) {
            Some((_, names)) => {
                names.push_str(", ");
                names.push_str(&name);
            }
            None => lines.push((key, name)),
        }
    }
    lines.into_iter().map(|(key, names)| format!("{key} {names}")).collect()
}
