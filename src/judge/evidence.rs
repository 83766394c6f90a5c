//! What a finding rests on, in sentences with numbers, names and times: its losses, the moments at which the Service
//! had nobody, and the lives of the pods.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    cause::{Cause, PROPAGATION_US},
    departure::{image_waits, rolled, scaled_down, workload},
    facts::{Facts, seconds},
    gap::{covering, gone_before},
    life::{Hook, Life},
    tally::Loss,
};
use crate::record::event::{ContainerSeen, KubeEventSeen, Micros, Outcome};

/// Pods, gaps and the like that are named in the evidence of one finding.
pub(super) const NAMED_MAX: usize = 5;

/// Characters of a quoted message of the cluster.
const QUOTED_MAX: usize = 200;

/// How many of which kind, in which lanes.
pub(super) fn counts(losses: &[&Loss<'_>], lost: u64) -> String {
    let mut kinds: BTreeMap<Outcome, usize> = BTreeMap::new();
    for loss in losses {
        *kinds.entry(loss.request.outcome).or_default() += 1;
    }
    let lanes: BTreeSet<&str> = losses.iter().map(|loss| loss.request.lane.as_str()).collect();
    let mut parts: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {}", kind.as_str())).collect();
    let described = losses.len() as u64;
    if lost > described {
        parts.push(format!("{} of which only the number is recorded", lost - described));
    }
    let lanes = lanes.into_iter().collect::<Vec<_>>().join(", ");
    let lanes = if lanes.is_empty() { lanes } else { format!(", lane {lanes}") };
    format!("{lost} lost: {}{lanes}", parts.join(", "))
}

/// From when to when.
pub(super) fn span(losses: &[&Loss<'_>]) -> Option<String> {
    let last = losses.iter().map(|loss| loss.request.ended_us).max()?;
    let first = seconds(losses.first()?.request.intended_us);
    Some(format!("the first was due at {first}, the last ended at {}", seconds(last)))
}

/// How many of the losses without a cause may be our own doing, which is why none was looked for.
pub(super) fn own_doing(cause: Cause, losses: &[&Loss<'_>]) -> Option<String> {
    let ours = losses.iter().filter(|loss| loss.tainted).count();
    (cause == Cause::Unexplained && ours > 0).then(|| {
        format!(
            "{ours} of them fell into times at which evenkeel itself was held up or in doubt, so no cause was looked for"
        )
    })
}

/// The times at which the Services of these losses had no ready endpoint, with the pods that had been theirs.
pub(super) fn gaps(facts: &Facts<'_>, losses: &[&Loss<'_>]) -> Vec<String> {
    let mut found = BTreeSet::new();
    for loss in losses {
        let Some((name, service)) = facts.service_of(&loss.request.lane) else { continue };
        found.extend(covering(service, loss.request).map(|gap| (gap, name)));
    }
    let sentence = |((began, ended), name): &((Micros, Micros), &str)| {
        let service = facts.timeline.services.get(name)?;
        let went = gone_before(&facts.timeline, service, *began);
        let went: Vec<String> =
            went.iter().take(NAMED_MAX).map(|(off, life)| format!("{} at {}", life.last.name, seconds(*off))).collect();
        let until = if *ended == Micros::MAX { "the end".to_owned() } else { seconds(*ended) };
        let from = seconds(*began);
        Some(format!("Service {name} had no ready endpoint from {from} to {until}; it lost {}", went.join(", ")))
    };
    found.iter().take(NAMED_MAX).filter_map(sentence).collect()
}

/// A pod with the losses that were traced to it.
pub(super) type OfPod<'t, 'a> = (&'t Life<'a>, Vec<&'t Loss<'a>>);

/// The losses by the pod they were traced to, most losses first.
pub(super) fn by_pod<'t, 'a>(facts: &'t Facts<'a>, losses: &[&'t Loss<'a>]) -> Vec<OfPod<'t, 'a>> {
    let mut by_uid: BTreeMap<&str, Vec<&Loss>> = BTreeMap::new();
    for loss in losses {
        if let Some(uid) = loss.why.uid {
            by_uid.entry(uid).or_default().push(loss);
        }
    }
    let mut pods: Vec<OfPod> = facts
        .timeline
        .lives
        .iter()
        .filter_map(|life| by_uid.remove(life.last.uid.as_str()).map(|losses| (life, losses)))
        .collect();
    pods.sort_by_key(|(_, losses)| std::cmp::Reverse(losses.len()));
    pods
}

/// A pod's life in one sentence, with the last of the losses that were sent to it.
pub(super) fn told(facts: &Facts<'_>, life: &Life<'_>, losses: &[&Loss<'_>]) -> String {
    let mut parts = Vec::new();
    let mut part = |what: &str, at: Option<Micros>| {
        parts.extend(at.filter(|at| *at < Micros::MAX).map(|at| format!("{what} {}", seconds(at))));
    };
    let off = facts.timeline.services.values().find_map(|service| service.endpoint_of(life)).and_then(|endpoint| {
        let from = life.deleted.or(life.crashes.first().copied())?;
        endpoint.off_after(from.saturating_sub(PROPAGATION_US))
    });
    part("container running at", life.started.filter(|_| !life.last.has_readiness_probe));
    life.crashes.iter().take(NAMED_MAX).for_each(|crash| part("container ended at", Some(*crash)));
    part(&format!("{} at", life.how_it_went()), life.deleted);
    part("SIGTERM at about", life.sigterm().filter(|_| !life.forced && !matches!(life.hook, Hook::Missing)));
    part("endpoint not ready at", off);
    part("exit seen at", life.exited.filter(|_| !life.forced));
    part("last loss sent at", losses.iter().map(|loss| loss.request.sent_us).max());
    let node = life.node().map(|node| format!(" on node {node}")).unwrap_or_default();
    let lost = if losses.is_empty() { String::new() } else { format!("; {} lost", losses.len()) };
    format!("pod {}{node}: {}{lost}", life.last.name, parts.join(", "))
}

/// What only this cause has to tell of a pod.
pub(super) fn particulars(facts: &Facts<'_>, cause: Cause, life: &Life<'_>) -> Vec<String> {
    let name = &life.last.name;
    match cause {
        Cause::ReadinessLost | Cause::LivenessRestart => {
            let unready = life.unready().into_iter().take(NAMED_MAX).map(|(from, to)| {
                let to = if to == Micros::MAX { "the end".to_owned() } else { seconds(to) };
                format!("pod {name} was not ready from {} to {to}, with its container running", seconds(from))
            });
            unready.chain(probe_words(life)).collect()
        }
        Cause::OutOfMemory | Cause::ContainerCrashed => life
            .crashes
            .iter()
            .take(NAMED_MAX)
            .filter_map(|crash| exit_words(life, *crash).map(|words| format!("pod {name} {words}")))
            .collect(),
        Cause::ScaledDown => life
            .deleted
            .and_then(|deleted| scaled_down(&facts.timeline, life.last, deleted))
            .map(|(at, from, to)| {
                let of = workload(&facts.timeline, life.last).map_or("the workload", |(name, _)| name);
                format!("{of} was scaled from {from} to {to} at {}", seconds(at))
            })
            .into_iter()
            .collect(),
        Cause::RolloutUnavailable | Cause::ImagePullFailed => rollout_words(facts, life),
        Cause::EvictedByCluster => life
            .seen
            .iter()
            .find_map(|(at, pod)| pod.disruption_reason.as_ref().map(|reason| (at, reason)))
            .map(|(at, reason)| format!("pod {name} has DisruptionTarget {reason}, seen at {}", seconds(*at)))
            .into_iter()
            .collect(),
        _ => Vec::new(),
    }
}

/// The messages of the probes that failed, each once with how often and when it was told last.
fn probe_words(life: &Life<'_>) -> Vec<String> {
    let mut messages: BTreeMap<&str, (Micros, usize)> = BTreeMap::new();
    for (at, event) in life.probe_failures() {
        let told = messages.entry(&event.message).or_insert((at, 0));
        *told = (told.0.max(at), told.1 + 1);
    }
    let quoted = messages.iter().take(NAMED_MAX).map(|(message, (at, times))| {
        let quote = quote(message);
        format!("pod {}: Unhealthy, told {times} times, the last at {}: {quote}", life.last.name, seconds(*at))
    });
    let killing = life.events.iter().filter(|(_, event)| event.reason == "Killing" && event.message.contains("probe"));
    let killing = killing.take(NAMED_MAX).map(|(at, event)| event_words(life, *at, event));
    quoted.chain(killing).collect()
}

fn event_words(life: &Life<'_>, at: Micros, event: &KubeEventSeen) -> String {
    format!("pod {}: {} at {}: {}", life.last.name, event.reason, seconds(at), quote(&event.message))
}

fn exit_words(life: &Life<'_>, crash: Micros) -> Option<String> {
    let pod = life.at(crash)?;
    let (code, reason) = match (&pod.container, &pod.last_exit) {
        (ContainerSeen::Terminated { exit_code, reason, .. }, _) => (*exit_code, reason),
        (_, Some(exit)) => (exit.exit_code, &exit.reason),
        _ => return None,
    };
    Some(format!("exited with {code} ({reason}), seen at {}, restart {}", seconds(crash), pod.restarts))
}

fn rollout_words(facts: &Facts<'_>, life: &Life<'_>) -> Vec<String> {
    let mut words = Vec::new();
    let Some(deleted) = life.deleted else { return words };
    let of = workload(&facts.timeline, life.last).map_or("the workload", |(name, _)| name);
    if let Some(at) = rolled(&facts.timeline, life, deleted) {
        words.push(format!(
            "{of} got a new template at {}, pod {} went at {}",
            seconds(at),
            life.last.name,
            seconds(deleted)
        ));
    }
    if let Some((at, successor, reason)) = image_waits(&facts.timeline, life, deleted) {
        let image = &successor.last.image;
        words.push(format!("pod {} waits since {}: {reason}, image {image}", successor.last.name, seconds(at)));
        let failed = successor.events.iter().find(|(_, event)| event.reason == "Failed");
        words.extend(failed.map(|(at, event)| event_words(successor, *at, event)));
    }
    words
}

fn quote(message: &str) -> String {
    let cut: String = message.chars().take(QUOTED_MAX).collect();
    if cut.len() < message.len() { format!("\u{201c}{cut}…\u{201d}") } else { format!("\u{201c}{cut}\u{201d}") }
}
