//! Why a request was answered late: one of a closed list, from what the client knows of it and what the cluster did at
//! that time. As for a loss, a reason is never a default: where nothing fits in time and kind it is `unexplained`.
//!
//! What made a request slow was there before it was slow, so everything that is looked at began before the request had
//! taken as long as is slow for its lane. That a step or a rollout ran is no reason: it makes nothing slow by itself.

use super::{
    cause::{EARLY_US, LATE_US, PROPAGATION_US},
    endpoint::{Endpoint, Service},
    life::{Hook, Life},
    timeline::Timeline,
};
use crate::{
    experiment::schema::Phase,
    record::event::{Micros, SlowRequest},
};

/// A process is cold for so long after its first readiness: caches, pools and compilers fill within seconds.
pub const COLD_US: Micros = 10_000_000;

/// Linux sends the first packet of a connection again after one second without an answer (`TCP_TIMEOUT_INIT`; RFC 6298,
/// section 2); its timer may be a tick of 10 ms early.
pub const SENT_AGAIN_US: Micros = 990_000;

/// Why a request was slow, those that say most first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slowness {
    /// The lane's requests took as long before anything was done.
    SlowBefore,
    /// The first packet of its connection was sent again, while a pod to which it could lead was in trouble.
    SlowConnect,
    /// The container of its pod had been restarted.
    RestartedPod,
    /// Its pod was being shut down.
    TerminatingPod,
    /// Its pod failed its readiness probe, or the node of its pod was not ready.
    UnreadyPod,
    /// Its pod had become a ready endpoint for the first time less than [`COLD_US`] before.
    ColdPod,
    /// Fewer endpoints were ready than when the fault began.
    FewerEndpoints,
    /// Nothing that was recorded explains it.
    Unexplained,
}

impl Slowness {
    /// All reasons.
    pub const ALL: [Self; 8] = [
        Self::SlowBefore,
        Self::SlowConnect,
        Self::RestartedPod,
        Self::TerminatingPod,
        Self::UnreadyPod,
        Self::ColdPod,
        Self::FewerEndpoints,
        Self::Unexplained,
    ];

    /// The word in files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SlowBefore => "slow-before",
            Self::SlowConnect => "slow-connect",
            Self::RestartedPod => "restarted-pod",
            Self::TerminatingPod => "terminating-pod",
            Self::UnreadyPod => "unready-pod",
            Self::ColdPod => "cold-pod",
            Self::FewerEndpoints => "fewer-endpoints",
            Self::Unexplained => "unexplained",
        }
    }
}

/// What was seen of the pod of a slow request, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Its container was seen ended or restarted.
    Restarted {
        /// When.
        ended: Micros,
        /// When it was a ready endpoint again; nothing where it never ceased to be one.
        back: Option<Micros>,
    },
    /// It was being shut down.
    Terminating {
        /// When it was deleted.
        deleted: Micros,
        /// Since when its process may have known: SIGTERM, or a hook whose doing is not known.
        since: Micros,
    },
    /// Its node was not ready.
    NodeUnready {
        /// Since when.
        since: Micros,
    },
    /// It failed its readiness probe, or is known to have done so within one period of the probe.
    Unready {
        /// When that began, at the earliest.
        since: Micros,
        /// When it was over.
        until: Micros,
    },
    /// It had just become a ready endpoint for the first time.
    Cold {
        /// When.
        ready: Micros,
    },
}

impl Trouble {
    const fn reason(self) -> Slowness {
        match self {
            Self::Restarted { .. } => Slowness::RestartedPod,
            Self::Terminating { .. } => Slowness::TerminatingPod,
            Self::NodeUnready { .. } | Self::Unready { .. } => Slowness::UnreadyPod,
            Self::Cold { .. } => Slowness::ColdPod,
        }
    }

    /// Whether packets sent to such a pod at a moment may find nobody. A cold one is slow, and it listens.
    fn loses_packets(self, at: Micros) -> bool {
        match self {
            Self::Restarted { back, .. } => back.is_none_or(|back| at < back),
            Self::Terminating { .. } | Self::NodeUnready { .. } | Self::Unready { .. } => true,
            Self::Cold { .. } => false,
        }
    }

    const fn at(self) -> Micros {
        match self {
            Self::Restarted { ended, .. } => ended,
            Self::Terminating { since, .. } | Self::NodeUnready { since } | Self::Unready { since, .. } => since,
            Self::Cold { ready } => ready,
        }
    }
}

/// A reason, with what it rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explained {
    /// The reason.
    pub reason: Slowness,
    /// The pod, by its place among the lives of the timeline, and what was seen of it, where the reason is about one.
    pub pod: Option<(usize, Trouble)>,
}

impl Explained {
    /// Nothing explains it.
    pub const UNEXPLAINED: Self = Self { reason: Slowness::Unexplained, pod: None };
}

/// Why a request of a Service was slow. `slow_us`: from how long on a request of its lane is; `usual_us`: how long its
/// lane's requests took before anything was done, nothing where that is not known.
#[must_use]
pub fn explain(
    timeline: &Timeline<'_>,
    service: &str,
    slow: &SlowRequest,
    slow_us: i64,
    usual_us: Option<i64>,
) -> Explained {
    if timeline.contradicts_itself {
        return Explained::UNEXPLAINED;
    }
    let alone = |reason: Slowness| Explained { reason, pod: None };
    if usual_us.is_some_and(|usual| slow.took_us() <= usual) {
        return alone(Slowness::SlowBefore);
    }
    let Some(service) = timeline.services.get(service) else { return Explained::UNEXPLAINED };
    let begun_by = slow.intended_us.saturating_add(slow_us).min(slow.ended_us);
    if was_sent_again(slow) {
        let until = slow.connected_us.unwrap_or(slow.ended_us);
        let found = in_trouble(timeline, service, slow, until, |trouble| trouble.loses_packets(slow.sent_us));
        return found.map_or(Explained::UNEXPLAINED, |pod| Explained { reason: Slowness::SlowConnect, pod: Some(pod) });
    }
    if let Some((pod, trouble)) = in_trouble(timeline, service, slow, begun_by, |_| true) {
        return Explained { reason: trouble.reason(), pod: Some((pod, trouble)) };
    }
    let fewer = fewer_endpoints(timeline, service, slow.sent_us).is_some();
    if fewer { alone(Slowness::FewerEndpoints) } else { Explained::UNEXPLAINED }
}

/// Connecting took most of the time, and so long that the first packet must have gone astray.
pub(super) fn was_sent_again(slow: &SlowRequest) -> bool {
    slow.connecting_us()
        .is_some_and(|connecting| connecting >= SENT_AGAIN_US && connecting.saturating_mul(2) >= slow.took_us())
}

/// How many endpoints were ready at a moment and when the fault began, where the former are fewer.
pub(super) fn fewer_endpoints(timeline: &Timeline<'_>, service: &Service<'_>, at: Micros) -> Option<(usize, usize)> {
    let fault = timeline.start_of(Phase::Fault).filter(|fault| *fault <= at)?;
    let (now, usual) = (service.ready_at(at), service.ready_at(fault));
    (now < usual).then_some((now, usual))
}

/// The pod that was in a trouble that fits while the request waited, by what began before `by`: the pod that answered
/// where it has named itself, else one to which its connection can have led; what says most, then the nearest in time.
fn in_trouble(
    timeline: &Timeline<'_>,
    service: &Service<'_>,
    slow: &SlowRequest,
    by: Micros,
    fits: impl Fn(Trouble) -> bool,
) -> Option<(usize, Trouble)> {
    let found = |place: usize| {
        let life = timeline.lives.get(place).filter(|life| life.coherent)?;
        let endpoint = service.endpoint_of(life)?;
        let trouble = trouble(timeline, life, endpoint, (slow.sent_us, by))?;
        fits(trouble).then_some((place, trouble))
    };
    if let Some(name) = &slow.pod {
        return timeline.place_of(name, slow.sent_us).and_then(found);
    }
    let opened = slow.sent_us.saturating_sub(slow.connection_age_us.max(0));
    let led_to = |place: &usize| {
        let life = timeline.lives.get(*place);
        let endpoint = life.and_then(|life| service.endpoint_of(life));
        endpoint.is_some_and(|endpoint| endpoint.ready_near(opened, PROPAGATION_US))
    };
    let nearest = |(_, trouble): &(usize, Trouble)| {
        (trouble.reason(), slow.sent_us.saturating_sub(trouble.at()).saturating_abs())
    };
    (0..timeline.lives.len()).filter(led_to).filter_map(found).min_by_key(nearest)
}

/// What was the matter with a pod somewhere in a time: what began before the end of it, and was not over before.
fn trouble(timeline: &Timeline<'_>, life: &Life<'_>, endpoint: &Endpoint, waited: (Micros, Micros)) -> Option<Trouble> {
    restarted(life, endpoint, waited)
        .or_else(|| terminating(timeline, life, waited))
        .or_else(|| unready(timeline, life, waited))
        .or_else(|| cold(timeline, endpoint, waited))
}

/// Its container ended though nobody had deleted it: until it has been ready again for as long as a process is cold.
fn restarted(life: &Life<'_>, endpoint: &Endpoint, (from, by): (Micros, Micros)) -> Option<Trouble> {
    let before = life.crashes.iter().rev().filter(|crash| crash.saturating_sub(EARLY_US) <= by);
    let mut found = before.filter_map(|&ended| {
        let back = endpoint.ready.iter().map(|(ready, _)| *ready).find(|ready| *ready > ended);
        let warm = back.unwrap_or(ended).saturating_add(COLD_US);
        (from < warm).then_some(Trouble::Restarted { ended, back })
    });
    found.next()
}

/// From SIGTERM until its end. While a hook that only sleeps runs, the process goes on as before.
fn terminating(timeline: &Timeline<'_>, life: &Life<'_>, (from, by): (Micros, Micros)) -> Option<Trouble> {
    let deleted = timeline.deleted(life)?;
    let since = if life.hook == Hook::Unknown { deleted } else { life.sigterm()? };
    let ended = life.exited.map_or(Micros::MAX, |exited| exited.saturating_add(LATE_US));
    (since <= by && from <= ended).then_some(Trouble::Terminating { deleted, since })
}

fn unready(timeline: &Timeline<'_>, life: &Life<'_>, (from, by): (Micros, Micros)) -> Option<Trouble> {
    if life.deleted.is_some_and(|deleted| deleted <= from) {
        return None;
    }
    if let Some(since) = life.node().and_then(|node| timeline.node_unready(node, from, by)) {
        return Some(Trouble::NodeUnready { since });
    }
    life.failing(from, by).map(|(since, until)| Trouble::Unready { since, until })
}

/// Those that were ready before the load began to count are warm.
fn cold(timeline: &Timeline<'_>, endpoint: &Endpoint, (from, _): (Micros, Micros)) -> Option<Trouble> {
    let ready = endpoint.first_ready().filter(|ready| *ready > timeline.begin())?;
    let is_cold = ready.saturating_sub(EARLY_US) <= from && from < ready.saturating_add(COLD_US);
    is_cold.then_some(Trouble::Cold { ready })
}
