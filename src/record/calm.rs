//! Which intervals of a lane are held as one: those of long runs in which nothing happened, so that what a record takes
//! in memory does not grow with its length.
//!
//! Only neighbours that nobody could judge differently: of one phase, with no note between them, every request of every
//! lane answered, none so late that it is told by itself, and with no delay of our own. Their histograms are added up,
//! which is exact; the counts of each interval stay in its event.

use std::collections::{BTreeMap, BTreeSet};

use super::event::{Event, INTERVAL_US, LaneInterval, Micros, Outcome, What};

/// How many histograms a lane has at most where all is calm: twice what a chart can show as single points.
const CALM_MAX: i64 = 1_200;

/// So far from a loss, a slow request, one that was not sent or a delay of our own nothing is calm: what happened there
/// may have been due, or have ended, elsewhere.
const NEAR_US: Micros = 10_000_000;

/// A delay of our own that is not worth a look: half of what is held against a measurement.
const DELAY_CALM_US: i64 = 50_000;

/// For each interval, in the order of the events, the first of those that it is held with: its own number where it is
/// held alone.
pub(super) fn stretches(events: &[Event]) -> Vec<usize> {
    let intervals: Vec<&LaneInterval> = events.iter().filter_map(interval).collect();
    let width = width(&intervals);
    let mut restless: BTreeSet<Micros> = events.iter().flat_map(told).collect();
    restless.extend(intervals.iter().filter(|one| !is_calm(one)).map(|one| one.start_us));
    let cuts: BTreeSet<Micros> = events.iter().filter(|event| is_cut(event)).map(|event| event.at_us).collect();
    // Of each lane the first interval of what is held as one, and the end of the last.
    let mut open: BTreeMap<&str, (usize, Micros)> = BTreeMap::new();
    let mut stretches = Vec::with_capacity(intervals.len());
    for (number, one) in intervals.iter().enumerate() {
        let from = one.start_us.saturating_sub(NEAR_US);
        let to = one.start_us.saturating_add(NEAR_US);
        let alone = width <= INTERVAL_US || restless.range(from..=to).next().is_some();
        let end = one.start_us.saturating_add(one.length_us);
        let first = open.get(one.lane.as_str()).filter(|_| !alone).and_then(|(first, over)| {
            let begun = intervals[*first].start_us;
            let joins = *over == one.start_us && begun.div_euclid(width) == one.start_us.div_euclid(width);
            (joins && cuts.range(begun.saturating_add(1)..=one.start_us).next().is_none()).then_some(*first)
        });
        if alone {
            open.remove(one.lane.as_str());
        } else {
            open.insert(&one.lane, (first.unwrap_or(number), end));
        }
        stretches.push(first.unwrap_or(number));
    }
    stretches
}

/// The length of what is held as one: whole intervals, as many as it takes for a lane to have [`CALM_MAX`].
fn width(intervals: &[&LaneInterval]) -> Micros {
    let begin = intervals.iter().map(|one| one.start_us).min().unwrap_or(0);
    let end = intervals.iter().map(|one| one.start_us.saturating_add(one.length_us)).max().unwrap_or(0);
    let most = CALM_MAX * INTERVAL_US;
    let times = end.saturating_sub(begin).saturating_add(most - 1) / most;
    times.saturating_mul(INTERVAL_US)
}

/// What an event says of an interval, where it does.
pub(super) fn interval(event: &Event) -> Option<&LaneInterval> {
    if let What::Load(counts) = &event.what { Some(counts) } else { None }
}

/// When a request that is told by itself was due, and when it ended, which may be as much later as its timeout.
fn told(event: &Event) -> impl Iterator<Item = Micros> {
    let times = match &event.what {
        What::Lost(lost) => Some([lost.intended_us, lost.ended_us]),
        What::Slow(slow) => Some([slow.intended_us, slow.ended_us]),
        _ => None,
    };
    times.into_iter().flatten()
}

fn is_calm(one: &LaneInterval) -> bool {
    one.own_delay_us() <= DELAY_CALM_US
        && one.by_outcome.iter().all(|(kind, count)| *kind == Outcome::Ok || *count == 0)
}

/// From its moment on intervals may be judged otherwise.
fn is_cut(event: &Event) -> bool {
    matches!(event.what, What::Phase { .. } | What::Note(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        experiment::schema::Phase,
        record::event::{Note, NoteKind, SlowRequest},
    };

    const SECOND: Micros = 1_000_000;

    fn load(lane: &str, start_us: Micros, outcome: Outcome) -> Event {
        let counts = LaneInterval {
            lane: lane.to_owned(),
            start_us,
            length_us: INTERVAL_US,
            by_outcome: BTreeMap::from([(outcome, 9)]),
            ..LaneInterval::default()
        };
        Event { at_us: start_us + INTERVAL_US, what: What::Load(counts) }
    }

    /// Two lanes for so many seconds; and how many histograms there are of what is told.
    fn calm(seconds: i64) -> Vec<Event> {
        let starts = (0..seconds * 10).map(|n| n * INTERVAL_US);
        starts.flat_map(|at| [load("new", at, Outcome::Ok), load("reused", at, Outcome::Ok)]).collect()
    }

    fn held(events: &[Event]) -> usize {
        stretches(events).into_iter().collect::<BTreeSet<_>>().len()
    }

    #[test]
    fn a_short_record_is_held_as_it_is() {
        assert_eq!(held(&calm(120)), 2_400);
        assert_eq!(stretches(&calm(3)), (0..60).collect::<Vec<_>>());
    }

    #[test]
    fn a_calm_hour_takes_no_more_than_a_calm_quarter_of_one() {
        for (seconds, each) in [(900, 1_125), (3_600, 1_200)] {
            let events = calm(seconds);
            assert_eq!(held(&events), 2 * each, "{seconds} s");
            for (number, first) in stretches(&events).into_iter().enumerate() {
                let (one, begun) = (interval(&events[number]).unwrap(), interval(&events[first]).unwrap());
                assert_eq!(one.lane, begun.lane);
                assert!(first <= number && one.start_us - begun.start_us < 3 * SECOND, "{number} with {first}");
            }
        }
    }

    #[test]
    fn nothing_near_to_what_happened_is_held_with_another() {
        let happens: [fn(&mut LaneInterval); 3] = [
            |one| one.by_outcome = BTreeMap::from([(Outcome::Ok, 8), (Outcome::Refused, 1)]),
            |one| one.by_outcome = BTreeMap::from([(Outcome::NotSent, 9)]),
            |one| one.stalled_us = DELAY_CALM_US + 1,
        ];
        for happens in happens {
            let mut events = calm(600);
            let What::Load(one) = &mut events[6_000].what else { panic!("an interval") };
            happens(one);
            let at = one.start_us;
            let alone = |start: Micros| (start - at).abs() <= NEAR_US;
            for (number, first) in stretches(&events).into_iter().enumerate() {
                let start = interval(&events[number]).unwrap().start_us;
                assert!(first == number || !alone(start), "{start} is held with another");
            }
            assert!(held(&events) < 3_000);
        }
    }

    #[test]
    fn nothing_near_to_the_begin_or_the_end_of_a_slow_request_is_held_with_another() {
        let mut events = calm(600);
        let (intended_us, ended_us) = (300 * SECOND + 7, 360 * SECOND);
        let slow = SlowRequest { intended_us, ended_us, ..SlowRequest::default() };
        events.push(Event { at_us: ended_us, what: What::Slow(Box::new(slow)) });
        let held_with_another = |at: Micros| {
            let near = at - 5 * SECOND..at + 5 * SECOND;
            let is_near = |number: usize| near.contains(&interval(&events[number]).unwrap().start_us);
            stretches(&events)
                .into_iter()
                .enumerate()
                .filter(|(number, first)| number != first && is_near(*number))
                .count()
        };
        assert_eq!((held_with_another(intended_us), held_with_another(ended_us)), (0, 0));
        assert!(held_with_another(330 * SECOND) > 0, "between the two all is calm");
    }

    #[test]
    fn a_phase_or_a_note_parts_what_is_before_from_what_is_after() {
        let note = Note { kind: NoteKind::Taint, text: String::new() };
        for what in [What::Phase { phase: Phase::Fault }, What::Note(note)] {
            let mut events = calm(600);
            let at_us = 300 * SECOND + 250_000;
            events.push(Event { at_us, what });
            for (number, first) in stretches(&events).into_iter().enumerate() {
                let start = |number: usize| interval(&events[number]).unwrap().start_us;
                assert_eq!(start(number) >= at_us, start(first) >= at_us, "{number} with {first}");
            }
        }
    }

    #[test]
    fn what_does_not_follow_on_the_one_before_is_held_alone() {
        let mut events = calm(600);
        events.reverse();
        assert_eq!(held(&events), events.len());
    }
}
