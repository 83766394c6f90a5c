//! Control lanes: the same client at the same moment, at a Service that the faults do not touch. When such a lane loses
//! requests, the harness or the way to the cluster is in trouble, and what other lanes of its vantage lose meanwhile
//! says nothing about their services.

use std::collections::{BTreeMap, HashMap};

use super::{
    facts::{Facts, seconds},
    tally::Scope,
};
use crate::{
    experiment::schema::Vantage,
    record::{
        Record,
        event::{INTERVAL_US, Micros, What},
    },
};

/// When lanes of each vantage cannot be believed.
#[derive(Debug, Default)]
pub struct Trouble {
    // By their begin, none touching the next.
    spans: HashMap<Vantage, Vec<(Micros, Micros)>>,
}

impl Trouble {
    /// From one interval before each request that a control lane lost to one after it: trouble need not meet both lanes
    /// in the same one.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        let controls: BTreeMap<&str, Vantage> = record
            .experiment
            .spec
            .load
            .iter()
            .filter(|lane| lane.control)
            .map(|lane| (lane.name.as_str(), lane.from))
            .collect();
        let mut spans: HashMap<Vantage, Vec<(Micros, Micros)>> = HashMap::new();
        for event in &record.events {
            let (lane, begin, end) = match &event.what {
                What::Lost(lost) if lost.outcome.is_lost() => (&lost.lane, lost.intended_us, lost.ended_us),
                What::Load(counts) if counts.by_outcome.iter().any(|(kind, count)| kind.is_lost() && *count > 0) => {
                    (&counts.lane, counts.start_us, counts.start_us.saturating_add(counts.length_us))
                }
                _ => continue,
            };
            if let Some(vantage) = controls.get(lane.as_str()) {
                let span = (begin.saturating_sub(INTERVAL_US), end.saturating_add(INTERVAL_US));
                spans.entry(*vantage).or_default().push(span);
            }
        }
        spans.values_mut().for_each(join);
        Self { spans }
    }

    /// Whether a lane of this vantage cannot be believed somewhere between two times.
    #[must_use]
    pub fn touches(&self, from: Vantage, begin: Micros, end: Micros) -> bool {
        let Some(spans) = self.spans.get(&from) else { return false };
        let next = spans.partition_point(|(_, over)| *over < begin);
        spans.get(next).is_some_and(|(since, _)| *since <= end)
    }
}

/// Puts spans in order, and those that touch into one.
fn join(spans: &mut Vec<(Micros, Micros)>) {
    spans.sort_unstable();
    let mut joined: Vec<(Micros, Micros)> = Vec::with_capacity(spans.len());
    for (begin, end) in spans.drain(..) {
        match joined.last_mut() {
            Some((_, over)) if begin <= *over => *over = end.max(*over),
            _ => joined.push((begin, end)),
        }
    }
    *spans = joined;
}

/// One sentence for each control lane that lost requests, or did not send some.
pub fn doubts(facts: &Facts<'_>) -> impl Iterator<Item = String> {
    facts.record.experiment.spec.load.iter().filter(|lane| lane.control).filter_map(|lane| {
        let scope = Scope { lane: Some(&lane.name), ..Scope::default() };
        let requests = facts.tally.requests(scope);
        let first = facts.tally.losses(scope).next();
        let since = first.map(|loss| format!(", from {} on", seconds(loss.request.intended_us))).unwrap_or_default();
        (requests.lost + requests.unsent > 0).then(|| {
            format!(
                "control lane {} lost {} and did not send {} of its requests to service/{}{since}: the load generator \
                 or the way to the cluster was in trouble, or that Service is not out of the faults' reach",
                lane.name, requests.lost, requests.unsent, lane.service
            )
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_that_touch_are_one_and_only_what_overlaps_is_touched() {
        let mut spans = vec![(50, 60), (10, 20), (15, 30), (30, 31), (40, 41)];
        join(&mut spans);
        assert_eq!(spans, [(10, 31), (40, 41), (50, 60)]);
        let trouble = Trouble { spans: HashMap::from([(Vantage::Inside, spans)]) };
        for (begin, end, touched) in [(0, 9, false), (0, 10, true), (31, 32, true), (32, 39, false), (61, 99, false)] {
            assert_eq!(trouble.touches(Vantage::Inside, begin, end), touched, "{begin} to {end}");
        }
        assert!(!trouble.touches(Vantage::Outside, 0, 100));
    }
}
