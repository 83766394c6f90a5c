//! Outages: stretches of time in which requests of one lane are lost one after another.

use std::collections::BTreeMap;

use super::{
    cause::PROPAGATION_US,
    endpoint::Service,
    tally::Loss,
    timeline::Timeline,
    verdict::{Outage, Recovery},
};
use crate::{
    experiment::{
        schema::{Experiment, Phase},
        traffic::LaneStream,
    },
    record::event::{LostRequest, Micros, Outcome},
};

/// The longest time between two lost requests of one outage, by when they began to be lost. Shorter than what a client
/// notices as two interruptions, longer than the time between requests of a lane of 10 per second.
pub const GAP_US: Micros = 250_000;

/// In a slow lane, two lost requests with at most one request between them are one outage.
const GAP_REQUESTS: f64 = 2.0;

/// The outages of all lanes, by their beginning. An outage begins when its first lost request was due, or where that is
/// a stream, when it broke off; and it ends when the last of its lost requests had ended.
#[must_use]
pub fn outages<'a>(
    experiment: &Experiment,
    timeline: &Timeline<'_>,
    losses: impl Iterator<Item = &'a Loss<'a>>,
) -> Vec<Outage> {
    let mut by_lane: BTreeMap<&str, Vec<(Micros, &Loss)>> = BTreeMap::new();
    for loss in losses {
        let name = loss.request.lane.as_str();
        let stream = experiment.spec.lane(name).and_then(|lane| lane.stream);
        by_lane.entry(name).or_default().push((began(loss.request, stream), loss));
    }
    let mut outages = Vec::new();
    for (name, mut losses) in by_lane {
        losses.sort_by_key(|(began, _)| *began);
        let lane = experiment.spec.lane(name);
        let longest = lane.map_or(GAP_US, |lane| gap(lane.rate.per_second()));
        let service = lane.and_then(|lane| timeline.services.get(lane.service.as_str()));
        let outage = losses.chunk_by(|(one, _), (next, _)| next.saturating_sub(*one) <= longest);
        outages.extend(outage.filter_map(|losses| close(name, timeline, service, losses)));
    }
    outages.sort_by(|one, other| one.start_ms.total_cmp(&other.start_ms).then_with(|| one.lane.cmp(&other.lane)));
    outages
}

/// When a request began to be lost. The service was there for a stream until that broke off: when its connection ended,
/// or when the last of it came, which is known by the silence after it.
fn began(request: &LostRequest, stream: Option<LaneStream>) -> Micros {
    let broke_off = match (stream, request.outcome) {
        (Some(_), Outcome::CutMidAnswer) => Some(request.ended_us),
        (Some(stream), Outcome::RequestTimeout) => Some(request.ended_us.saturating_sub(stream.idle.micros())),
        _ => None,
    };
    // Without a status, its head had not come.
    broke_off.filter(|_| request.status.is_some()).map_or(request.intended_us, |at| at.max(request.intended_us))
}

fn gap(per_second: f64) -> Micros {
    #[expect(clippy::cast_possible_truncation, reason = "a rate is above zero; a float saturates where it is tiny")]
    let slow = (GAP_REQUESTS * 1_000_000.0 / per_second) as Micros;
    slow.max(GAP_US)
}

fn close(
    lane: &str,
    timeline: &Timeline<'_>,
    service: Option<&Service<'_>>,
    losses: &[(Micros, &Loss<'_>)],
) -> Option<Outage> {
    let (first, _) = *losses.first()?;
    let last = losses.iter().map(|(_, loss)| loss.request.ended_us).max()?;
    let mut causes: BTreeMap<&str, u64> = BTreeMap::new();
    for (_, loss) in losses {
        *causes.entry(loss.why.cause.as_str()).or_default() += 1;
    }
    let cause = causes.iter().max_by_key(|(_, count)| **count).map(|(cause, _)| (*cause).to_owned())?;
    Some(Outage {
        lane: lane.to_owned(),
        start_ms: first as f64 / 1_000.0,
        end_ms: last.max(first) as f64 / 1_000.0,
        lost: losses.len() as u64,
        cause,
        phase: timeline.phase_at(first),
        detected_after_ms: service.and_then(|service| detected(service, first, last)),
    })
}

/// How long after its beginning a Service changed its endpoints during an outage. 0 where it had done so shortly before,
/// or had none left: pods that are told to stop go on answering for a Service without any other.
fn detected(service: &Service<'_>, first: Micros, last: Micros) -> Option<f64> {
    if service.gaps.iter().any(|(from, to)| (*from..*to).contains(&first)) {
        return Some(0.0);
    }
    let during = first.saturating_sub(PROPAGATION_US)..=last;
    let offs = service.endpoints.values().flat_map(|endpoint| endpoint.ready.iter().map(|(_, to)| *to));
    let off = offs.filter(|to| *to < Micros::MAX && during.contains(to)).min()?;
    Some(off.saturating_sub(first).max(0) as f64 / 1_000.0)
}

/// The outages of each lane and phase taken together.
#[must_use]
pub fn recoveries(outages: &[Outage]) -> Vec<Recovery> {
    let mut grouped: BTreeMap<(&str, Phase), Vec<&Outage>> = BTreeMap::new();
    for outage in outages {
        if let Some(phase) = outage.phase {
            grouped.entry((&outage.lane, phase)).or_default().push(outage);
        }
    }
    let lengths =
        |outages: &[&Outage]| outages.iter().map(|outage| outage.end_ms - outage.start_ms).collect::<Vec<f64>>();
    grouped
        .into_iter()
        .map(|((lane, phase), outages)| {
            let first = outages.iter().map(|outage| outage.start_ms).fold(f64::INFINITY, f64::min);
            let last = outages.iter().map(|outage| outage.end_ms).fold(first, f64::max);
            let detected: Option<Vec<f64>> = outages.iter().map(|outage| outage.detected_after_ms).collect();
            Recovery {
                lane: lane.to_owned(),
                phase,
                outages: outages.len() as u64,
                lost: outages.iter().fold(0, |sum, outage| sum.saturating_add(outage.lost)),
                longest_ms: lengths(&outages).into_iter().fold(0.0, f64::max),
                total_ms: lengths(&outages).into_iter().sum(),
                detected_after_ms: detected.map(|all| all.into_iter().fold(0.0, f64::max)),
                recovered_after_ms: last - first,
            }
        })
        .collect()
}
