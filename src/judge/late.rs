//! The requests that were answered late and are described one by one, each with its reason, or none: what may be our
//! own doing, what is usual for the lane, and what a pod's later answers disprove have no reason of the cluster's.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    slowness::{COLD_US, Explained, Slowness, Trouble, explain},
    tally::{Scope, Tally},
    timeline::Timeline,
};
use crate::{
    experiment::schema::{Lane, Phase},
    record::{
        Record,
        event::{Micros, SlowRequest, What},
    },
};

/// What a request takes is usual for its lane where one in ten took two thirds of it or more before the fault.
const USUAL_QUANTILE: f64 = 0.9;

/// With fewer requests before the fault there is no telling what is usual.
const REQUESTS_FOR_USUAL: u64 = 30;

/// A pod that answered fewer requests when it was warm may still be as fast as any.
const REQUESTS_FOR_WARM: u64 = 10;

/// One request that was answered late, with its reason.
#[derive(Debug, Clone, Copy)]
pub struct Late<'a> {
    /// What the client knows.
    pub request: &'a SlowRequest,
    /// The phase in which it was due.
    pub phase: Option<Phase>,
    /// Its lane is a control.
    pub is_control: bool,
    /// It may be late for a reason of ours; then no other was looked for.
    pub tainted: bool,
    /// How long a request may take by what its lane's took before the fault, in microseconds, where that is known.
    pub usual_us: Option<i64>,
    /// Why it was late.
    pub why: Explained,
}

/// The described requests that were answered late, with their reasons, by when they were due. As for losses, those from
/// before the first phase count for nothing, unless the times of the record contradict each other.
pub(super) fn answered_late<'a>(record: &'a Record, timeline: &Timeline<'a>, tally: &Tally<'a>) -> Vec<Late<'a>> {
    let spec = &record.experiment.spec;
    let lane = |lane: &'a Lane| (lane.name.as_str(), (lane, spec.slow(lane).micros(), usual(tally, &lane.name)));
    let lanes: BTreeMap<&str, (&Lane, i64, Option<i64>)> = spec.load.iter().map(lane).collect();
    let mut late: Vec<Late> = Vec::new();
    for event in &record.events {
        let What::Slow(request) = &event.what else { continue };
        let phase = timeline.phase_at(request.intended_us);
        let Some((lane, slow_us, usual)) = lanes.get(request.lane.as_str()) else { continue };
        if phase.is_none() && !timeline.contradicts_itself {
            continue;
        }
        let tainted = tally.is_tainted(&lane.name, [request.intended_us, request.sent_us, request.ended_us]);
        let why = if tainted || lane.control {
            Explained::UNEXPLAINED
        } else {
            explain(timeline, &lane.service, request, *slow_us, *usual)
        };
        late.push(Late { request, phase, is_control: lane.control, tainted, usual_us: *usual, why });
    }
    disprove_cold(record, &mut late);
    late.sort_by_key(|late| late.request.intended_us);
    late
}

/// What a pod that names itself answered in a lane: how much of it, and how much of that was slow; cold, and then warm.
#[derive(Debug, Clone, Copy, Default)]
struct Warming {
    ready: Micros,
    answered: [u64; 2],
    slow: [u64; 2],
}

impl Warming {
    fn is_warm(&self, moment: Micros) -> usize {
        usize::from(moment.saturating_sub(self.ready) >= COLD_US)
    }

    /// It was at least half as often slow when it was warm, so it was not for being cold.
    fn disproves(&self) -> bool {
        let [slow_cold, slow_warm] = self.slow.map(u128::from);
        let [answered_cold, answered_warm] = self.answered.map(u128::from);
        self.answered[1] >= REQUESTS_FOR_WARM && slow_warm * answered_cold * 2 >= slow_cold * answered_warm
    }
}

/// A pod that stays as slow as it began is slow for another reason than that it was cold.
fn disprove_cold(record: &Record, late: &mut [Late<'_>]) {
    let mut pods: BTreeMap<(&str, &str), Warming> = BTreeMap::new();
    for late in &*late {
        if let (Some((_, Trouble::Cold { ready })), Some(pod)) = (late.why.pod, &late.request.pod) {
            pods.entry((&late.request.lane, pod)).or_default().ready = ready;
        }
    }
    for late in &*late {
        let pod = late.request.pod.as_deref().and_then(|pod| pods.get_mut(&(late.request.lane.as_str(), pod)));
        if let Some(pod) = pod.filter(|pod| late.request.sent_us >= pod.ready) {
            pod.slow[pod.is_warm(late.request.sent_us)] += 1;
        }
    }
    for event in &record.events {
        let What::Load(interval) = &event.what else { continue };
        for (name, answers) in &interval.by_pod {
            let pod = pods.get_mut(&(interval.lane.as_str(), name.as_str()));
            if let Some(pod) = pod.filter(|pod| interval.start_us >= pod.ready) {
                let sum = &mut pod.answered[pod.is_warm(interval.start_us)];
                *sum = sum.saturating_add(answers.answered);
            }
        }
    }
    pods.retain(|_, pod| pod.disproves());
    let of_pod: BTreeSet<(String, String)> =
        pods.into_keys().map(|(lane, pod)| (lane.to_owned(), pod.to_owned())).collect();
    for late in late.iter_mut().filter(|late| late.why.reason == Slowness::ColdPod) {
        let key = late.request.pod.as_ref().map(|pod| (late.request.lane.clone(), pod.clone()));
        if key.is_some_and(|key| of_pod.contains(&key)) {
            late.why = Explained::UNEXPLAINED;
        }
    }
}

/// How long a lane's requests took before the fault, in microseconds, and half as long again.
fn usual(tally: &Tally<'_>, lane: &str) -> Option<i64> {
    let before = tally.response(Scope { lane: Some(lane), phase: Some(Phase::Before), untainted: true });
    let enough = before.len() >= REQUESTS_FOR_USUAL;
    let micros = i64::try_from(before.value_at_quantile(USUAL_QUANTILE)).unwrap_or(i64::MAX);
    enough.then(|| micros.saturating_add(micros / 2))
}
