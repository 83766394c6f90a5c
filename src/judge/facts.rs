//! All that is worked out of a record before anything is judged.

use super::{
    endpoint::Service,
    late::{Late, answered_late},
    outage::outages,
    tally::{Scope, Tally},
    timeline::Timeline,
    verdict::Outage,
};
use crate::record::{Record, event::Micros};

/// What the parts of the judgement share.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The record.
    pub record: &'a Record,
    /// Its events by subject.
    pub timeline: Timeline<'a>,
    /// Its requests.
    pub tally: Tally<'a>,
    /// Those of them that were answered late and are described, by when they were due.
    pub late: Vec<Late<'a>>,
}

impl<'a> Facts<'a> {
    /// Works out a record.
    #[must_use]
    pub fn of(record: &'a Record) -> Self {
        let timeline = Timeline::of(record);
        let tally = Tally::of(record, &timeline);
        let late = answered_late(record, &timeline, &tally);
        Self { record, timeline, tally, late }
    }

    /// The Service that a lane asks, with its name, where any of its endpoints was seen.
    #[must_use]
    pub fn service_of(&self, lane: &str) -> Option<(&'a str, &Service<'a>)> {
        let name = self.record.experiment.spec.lane(lane)?.service.as_str();
        Some((name, self.timeline.services.get(name)?))
    }

    /// The outages of all lanes; with `untainted` only those that may be held against the service.
    #[must_use]
    pub fn outages(&self, untainted: bool) -> Vec<Outage> {
        outages(&self.record.experiment, &self.timeline, self.tally.losses(Scope { untainted, ..Scope::default() }))
    }
}

/// A time or a length of time in milliseconds, as files have it.
#[must_use]
pub fn milliseconds(micros: Micros) -> f64 {
    micros as f64 / 1_000.0
}

/// A time or a length of time for people: seconds with two decimals.
#[must_use]
pub fn seconds(micros: Micros) -> String {
    format!("{:.2} s", micros as f64 / 1_000_000.0)
}
