//! What the cluster did, as strips: steps, outages, nodes, evictions, budgets, workloads, and a strip for each pod.

use std::collections::BTreeMap;

use super::{
    axis::{Axis, ms},
    strip::{Part, Strip, Tick, stretches},
};
use crate::{
    judge::verdict::Verdict,
    record::event::{
        BudgetSeen, ContainerSeen, Event, EvictionAnswer, NodeSeen, PodSeen, StepState, What, WorkloadSeen,
    },
    report::{
        story::{About, Moment, Tone},
        wording::{count, duration},
    },
};

/// Strips of one group; the rest is counted.
pub const MOST_STRIPS: usize = 60;

/// The state of an object: its class and its words; nothing is its absence.
type State = Option<(&'static str, String)>;
/// States of one object in order, with the moments at which they began.
type States = Vec<(f64, State)>;

/// A group of strips under one heading.
pub struct Group {
    /// Its heading.
    pub title: &'static str,
    /// Its strips, at most [`MOST_STRIPS`].
    pub strips: Vec<Strip>,
    /// How many more there are.
    pub hidden: usize,
}

/// Everything but the pods: what was done, what it did to the service, and how nodes, budgets and workloads stood.
#[must_use]
pub fn happenings(axis: Axis, verdict: &Verdict, events: &[Event], story: &[Moment]) -> Group {
    let mut strips = steps(axis, verdict, events);
    strips.extend(outages(verdict));
    strips.extend(objects(axis, events, node));
    strips.extend(evictions(events));
    strips.extend(objects(axis, events, budget));
    strips.extend(objects(axis, events, workload));
    strips.extend(warnings(story));
    group("What happened", strips, axis)
}

/// A strip for each pod: its life, and under it the time in which a Service sends it new connections.
#[must_use]
pub fn pods(axis: Axis, events: &[Event]) -> Group {
    let mut pods: Vec<PodStrip> = Vec::new();
    let mut place: BTreeMap<&str, usize> = BTreeMap::new();
    for event in events {
        let What::Pod(pod) = &event.what else { continue };
        let at = *place.entry(&pod.uid).or_insert_with(|| {
            pods.push(PodStrip { states: Vec::new(), last: pod });
            pods.len() - 1
        });
        if let Some(strip) = pods.get_mut(at) {
            strip.states.push((ms(event.at_us), pod_state(pod)));
            strip.last = pod;
        }
    }
    // Those that changed first: what stood still throughout explains nothing.
    pods.sort_by_key(|pod| pod.states.iter().map(|(_, state)| state.as_ref().map(|s| s.0)).all(|s| s == Some("ready")));
    let (endpoints, evictions) = (endpoints(axis, events), evictions_by_pod(events));
    let strips = pods.into_iter().map(|pod| Strip {
        parts: stretches(&pod.states, axis.to_ms),
        under: endpoints.get(pod.last.name.as_str()).cloned().unwrap_or_default(),
        ticks: evictions.get(pod.last.name.as_str()).cloned().unwrap_or_default(),
        label: pod.last.name.clone(),
        note: String::new(),
    });
    group("Pods", strips.collect(), axis)
}

struct PodStrip<'a> {
    states: States,
    last: &'a PodSeen,
}

fn group(title: &'static str, strips: Vec<Strip>, axis: Axis) -> Group {
    let mut strips: Vec<Strip> = strips.into_iter().filter(|strip| strip.is_on(axis)).collect();
    let hidden = strips.len().saturating_sub(MOST_STRIPS);
    strips.truncate(MOST_STRIPS);
    Group { title, strips, hidden }
}

fn pod_state(pod: &PodSeen) -> State {
    let exited = matches!(pod.container, ContainerSeen::Terminated { .. });
    let (class, text) = match (pod.phase.as_str(), &pod.container) {
        _ if pod.gone => return None,
        ("Succeeded" | "Failed", _) => ("exited", pod.phase.clone()),
        (_, ContainerSeen::Terminated { exit_code, .. }) if exited => ("exited", format!("exited {exit_code}")),
        _ if pod.terminating => ("terminating", "terminating".to_owned()),
        _ if pod.ready => ("ready", "ready".to_owned()),
        _ if pod.unschedulable.is_some() => ("pending", "unschedulable".to_owned()),
        (_, ContainerSeen::Waiting { reason }) if reason != "ContainerCreating" => ("notready", reason.clone()),
        ("Pending", _) => ("pending", "pending".to_owned()),
        _ => ("notready", "not ready".to_owned()),
    };
    let on = pod.node.as_ref().map(|node| format!(" on {node}")).unwrap_or_default();
    Some((class, format!("{text}{on}")))
}

/// For each pod the evictions that were asked for.
fn evictions_by_pod(events: &[Event]) -> BTreeMap<&str, Vec<Tick>> {
    let mut ticks: BTreeMap<&str, Vec<Tick>> = BTreeMap::new();
    for event in events {
        let What::Eviction(eviction) = &event.what else { continue };
        let (class, text) = eviction_tick(&eviction.answer);
        let name = eviction.pod.rsplit('/').next().unwrap_or_default();
        ticks.entry(name).or_default().push(Tick { at_ms: ms(event.at_us), class, text });
    }
    ticks
}

/// For each pod the stretches in which a Service sends it new connections.
fn endpoints(axis: Axis, events: &[Event]) -> BTreeMap<&str, Vec<Part>> {
    let mut states: BTreeMap<(&str, &str), States> = BTreeMap::new();
    for event in events {
        let What::Endpoint(one) = &event.what else { continue };
        let gets = (one.ready && !one.gone)
            .then(|| ("endpoint", format!("{} sends new connections to {}", one.service, one.pod)));
        states.entry((one.pod.as_str(), one.service.as_str())).or_default().push((ms(event.at_us), gets));
    }
    let mut parts: BTreeMap<&str, Vec<Part>> = BTreeMap::new();
    for ((pod, _), states) in states {
        parts.entry(pod).or_default().extend(stretches(&states, axis.to_ms));
    }
    parts
}

fn steps(axis: Axis, verdict: &Verdict, events: &[Event]) -> Vec<Strip> {
    let effective = |path: &str| {
        let tick = |event: &Event| match &event.what {
            What::Step(step) if step.path == path && step.state == StepState::Effective => {
                Some(Tick { at_ms: ms(event.at_us), class: "good", text: format!("has taken effect: {}", step.detail) })
            }
            _ => None,
        };
        events.iter().filter_map(tick).collect()
    };
    let strip = |step: &crate::judge::verdict::StepSummary| Strip {
        label: format!("{} {}", step.path, step.name),
        note: step.end_ms.map_or("never done".to_owned(), |end| duration(end - step.start_ms)),
        parts: vec![Part {
            from_ms: step.start_ms,
            to_ms: step.end_ms.unwrap_or(axis.to_ms).max(step.start_ms + axis.span_ms() / 1e3),
            class: if step.end_ms.is_some() { "step" } else { "bad" },
            text: step.detail.clone(),
        }],
        under: Vec::new(),
        ticks: effective(&step.path),
    };
    verdict.steps.iter().map(strip).collect()
}

fn outages(verdict: &Verdict) -> Vec<Strip> {
    let mut strips: BTreeMap<&str, Strip> = BTreeMap::new();
    for outage in &verdict.outages {
        let strip = strips
            .entry(&outage.lane)
            .or_insert_with(|| Strip { label: format!("outages in {}", outage.lane), ..Strip::default() });
        strip.parts.push(Part {
            from_ms: outage.start_ms,
            to_ms: outage.end_ms.max(outage.start_ms + 1.0),
            class: "outage",
            text: format!("{} lost ({})", count(outage.lost), outage.cause),
        });
    }
    for strip in strips.values_mut() {
        let longest = strip.parts.iter().map(|part| part.to_ms - part.from_ms).fold(0.0, f64::max);
        strip.note = format!("longest {}", duration(longest));
    }
    strips.into_values().collect()
}

/// A strip for each object of a kind that ever was in more than one state.
fn objects(axis: Axis, events: &[Event], read: fn(&What) -> Option<(String, State)>) -> Vec<Strip> {
    let mut order: Vec<String> = Vec::new();
    let mut states: BTreeMap<String, States> = BTreeMap::new();
    for event in events {
        let Some((label, state)) = read(&event.what) else { continue };
        if !states.contains_key(&label) {
            order.push(label.clone());
        }
        states.entry(label).or_default().push((ms(event.at_us), state));
    }
    let mut strips = Vec::new();
    for label in order {
        let parts = states.get(&label).map(|states| stretches(states, axis.to_ms)).unwrap_or_default();
        if parts.len() > 1 {
            strips.push(Strip { label, parts, ..Strip::default() });
        }
    }
    strips
}

fn node(what: &What) -> Option<(String, State)> {
    let What::Node(NodeSeen { name, ready, unschedulable, gone, .. }) = what else { return None };
    let state = match (ready, unschedulable) {
        _ if *gone => None,
        (false, _) => Some(("bad", "not ready".to_owned())),
        (true, true) => Some(("cordoned", "cordoned".to_owned())),
        (true, false) => Some(("calm", "schedulable".to_owned())),
    };
    Some((format!("node {name}"), state))
}

fn budget(what: &What) -> Option<(String, State)> {
    let What::Budget(BudgetSeen { name, current_healthy, desired_healthy, disruptions_allowed, .. }) = what else {
        return None;
    };
    let class = match disruptions_allowed {
        _ if current_healthy < desired_healthy => "bad",
        0 => "caution",
        _ => "calm",
    };
    let text = format!("{current_healthy} healthy, {desired_healthy} wanted, {disruptions_allowed} may go");
    Some((format!("budget {name}"), Some((class, text))))
}

fn workload(what: &What) -> Option<(String, State)> {
    let What::Workload(WorkloadSeen { workload, wanted, updated, available, gone, .. }) = what else { return None };
    if workload.starts_with("replicaset/") {
        return None;
    }
    let class = if available < wanted {
        "caution"
    } else if updated < wanted {
        "step"
    } else {
        "calm"
    };
    let rolled = if updated < wanted { format!(", {updated} new") } else { String::new() };
    let state = (!gone).then(|| (class, format!("{available} of {wanted}{rolled}")));
    Some((workload.clone(), state))
}

fn evictions(events: &[Event]) -> Vec<Strip> {
    let mut strip = Strip { label: "evictions".to_owned(), ..Strip::default() };
    let mut refused = 0_u64;
    for event in events {
        let What::Eviction(eviction) = &event.what else { continue };
        let (class, text) = eviction_tick(&eviction.answer);
        refused += u64::from(class != "good");
        strip.ticks.push(Tick { at_ms: ms(event.at_us), class, text: format!("eviction of {}: {text}", eviction.pod) });
    }
    strip.note = format!("{} asked, {} refused", count(strip.ticks.len() as u64), count(refused));
    if strip.ticks.is_empty() { Vec::new() } else { vec![strip] }
}

fn eviction_tick(answer: &EvictionAnswer) -> (&'static str, String) {
    match answer {
        EvictionAnswer::Accepted => ("good", "evicted".to_owned()),
        EvictionAnswer::Gone | EvictionAnswer::NamespaceTerminating => ("good", "was gone already".to_owned()),
        EvictionAnswer::BudgetExhausted { message } => ("caution", format!("429: {message}")),
        EvictionAnswer::StillProcessing { retry_after_s } => ("caution", format!("429, again in {retry_after_s} s")),
        EvictionAnswer::Refused { code, message } => ("bad", format!("{code}: {message}")),
    }
}

fn warnings(story: &[Moment]) -> Vec<Strip> {
    let tick = |moment: &Moment| Tick {
        at_ms: ms(moment.at_us),
        class: if moment.tone == Tone::Bad { "bad" } else { "caution" },
        text: moment.text.clone(),
    };
    let of = |about| story.iter().filter(move |moment| moment.about == about);
    let warned: Vec<Tick> = of(About::Warning).map(tick).collect();
    let noted: Vec<Tick> =
        of(About::Run).filter(|moment| matches!(moment.tone, Tone::Bad | Tone::Caution)).map(tick).collect();
    let strip = |label: &str, ticks: Vec<Tick>| Strip {
        label: label.to_owned(),
        note: count(ticks.len() as u64),
        ticks,
        ..Strip::default()
    };
    [strip("cluster's warnings", warned), strip("harness's warnings", noted)]
        .into_iter()
        .filter(|strip| !strip.ticks.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AXIS: Axis = Axis { from_ms: 0.0, to_ms: 10_000.0 };

    fn seen(at_ms: i64, what: What) -> Event {
        Event { at_us: at_ms * 1_000, what }
    }

    fn pod(name: &str, ready: bool, terminating: bool, gone: bool) -> What {
        let (name, uid, phase) = (name.to_owned(), name.to_owned(), "Running".to_owned());
        What::Pod(Box::new(PodSeen { name, uid, phase, ready, terminating, gone, ..PodSeen::default() }))
    }

    #[test]
    fn a_pods_strip_ends_when_the_pod_is_gone_and_those_that_changed_come_first() {
        let events = [
            seen(-50, pod("calm", true, false, false)),
            seen(-50, pod("moved", true, false, false)),
            seen(4_000, pod("moved", true, true, false)),
            seen(6_000, pod("moved", false, true, true)),
        ];
        let group = pods(AXIS, &events);
        let labels: Vec<&str> = group.strips.iter().map(|strip| strip.label.as_str()).collect();
        assert_eq!(labels, ["moved", "calm"]);
        let parts: Vec<_> = group.strips[0].parts.iter().map(|part| (part.class, part.to_ms)).collect();
        assert_eq!(parts, [("ready", 4_000.0), ("terminating", 6_000.0)]);
    }

    #[test]
    fn a_node_that_nothing_happened_to_has_no_strip() {
        let node = |name: &str, unschedulable| {
            What::Node(NodeSeen {
                name: name.to_owned(),
                ready: true,
                unschedulable,
                taints: Vec::new(),
                zone: None,
                gone: false,
            })
        };
        let events = [seen(0, node("a", false)), seen(0, node("b", false)), seen(3_000, node("b", true))];
        let strips = objects(AXIS, &events, super::node);
        assert_eq!(strips.len(), 1);
        assert_eq!(strips[0].label, "node b");
        assert_eq!(strips[0].parts[1].class, "cordoned");
    }

    #[test]
    fn more_pods_than_can_be_shown_are_counted() {
        let events: Vec<Event> =
            (0..MOST_STRIPS + 7).map(|n| seen(0, pod(&format!("p{n}"), true, false, false))).collect();
        let group = pods(AXIS, &events);
        assert_eq!((group.strips.len(), group.hidden), (MOST_STRIPS, 7));
    }
}
