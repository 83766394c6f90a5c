//! The endpoints of a Service over time: when each was ready, and when none was.

use std::collections::BTreeMap;

use super::{gap::near, life::Life};
use crate::record::event::{EndpointSeen, Micros};

/// A stretch of time from its first moment up to, but not with, its last.
pub type Stretch = (Micros, Micros);

/// One endpoint.
#[derive(Debug, Clone, Default)]
pub struct Endpoint {
    /// When it was ready; the last may end at [`Micros::MAX`].
    pub ready: Vec<Stretch>,
    /// When it was first seen terminating.
    pub terminating: Option<Micros>,
    /// When it was no longer listed.
    pub unlisted: Vec<Micros>,
}

impl Endpoint {
    /// When it was first ready.
    #[must_use]
    pub fn first_ready(&self) -> Option<Micros> {
        self.ready.first().map(|(from, _)| *from)
    }

    /// The first moment at or after `moment` at which it was not ready any more, where it had been ready before.
    #[must_use]
    pub fn off_after(&self, moment: Micros) -> Option<Micros> {
        let stretch = self.ready.iter().find(|(_, to)| *to > moment)?;
        Some(stretch.1)
    }

    /// Whether it was dropped from the list at a moment, give or take `slack`.
    #[must_use]
    pub fn unlisted_near(&self, moment: Micros, slack: Micros) -> bool {
        self.unlisted.iter().any(|at| near(*at, moment, slack))
    }

    /// Whether it was ready at a moment, give or take `slack`.
    #[must_use]
    pub fn ready_near(&self, moment: Micros, slack: Micros) -> bool {
        self.ready.iter().any(|(from, to)| from.saturating_sub(slack) <= moment && moment < to.saturating_add(slack))
    }
}

/// A Service's endpoints.
#[derive(Debug, Clone, Default)]
pub struct Service<'a> {
    /// By pod and address.
    pub endpoints: BTreeMap<(&'a str, &'a str), Endpoint>,
    /// When none was ready, after one had been.
    pub gaps: Vec<Stretch>,
}

impl<'a> Service<'a> {
    /// Takes in one event; they must come in order.
    pub(super) fn push(&mut self, at: Micros, seen: &'a EndpointSeen) {
        let endpoint = self.endpoints.entry((&seen.pod, &seen.address)).or_default();
        let ready = seen.ready && !seen.gone;
        match endpoint.ready.last_mut().filter(|(_, to)| *to == Micros::MAX) {
            Some(open) if !ready => open.1 = at,
            None if ready => endpoint.ready.push((at, Micros::MAX)),
            _ => {}
        }
        if seen.gone {
            endpoint.unlisted.push(at);
        }
        if seen.terminating && endpoint.terminating.is_none() {
            endpoint.terminating = Some(at);
        }
    }

    /// Works out the gaps once all events are in. Those that begin after `end`, when the load is over, are the
    /// clean-up's.
    pub(super) fn settle(&mut self, end: Micros) {
        let mut stretches: Vec<Stretch> = self.endpoints.values().flat_map(|endpoint| endpoint.ready.clone()).collect();
        stretches.sort_unstable();
        let mut covered: Option<Micros> = None;
        for (from, to) in stretches {
            if let Some(until) = covered.filter(|until| *until < from) {
                self.gaps.push((until, from));
            }
            covered = covered.max(Some(to));
        }
        if let Some(until) = covered.filter(|until| *until < Micros::MAX) {
            self.gaps.push((until, Micros::MAX));
        }
        self.gaps.retain(|(from, _)| *from <= end);
    }

    /// A pod's endpoint; where its address is known, the one of that address.
    #[must_use]
    pub fn endpoint_of(&self, life: &Life<'_>) -> Option<&Endpoint> {
        let ip = life.seen.iter().rev().find_map(|(_, pod)| pod.ip.as_deref());
        let of_pod = |((pod, address), _): &(&(&str, &str), &Endpoint)| {
            *pod == life.last.name && ip.is_none_or(|ip| *address == ip || address.is_empty())
        };
        self.endpoints.iter().find(of_pod).map(|(_, endpoint)| endpoint)
    }

    /// Whether it ever had a ready endpoint.
    #[must_use]
    pub fn ever_ready(&self) -> bool {
        self.endpoints.values().any(|endpoint| !endpoint.ready.is_empty())
    }

    /// How many endpoints were ready at a moment.
    #[must_use]
    pub fn ready_at(&self, moment: Micros) -> usize {
        self.endpoints.values().filter(|endpoint| endpoint.ready_near(moment, 0)).count()
    }
}
