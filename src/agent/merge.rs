//! The streams of several agents as one: an interval of a lane goes on when all of them have told of it, and is the sum
//! of what each counted. Exact, since they began at one moment and so have the same intervals.
//!
//! Of an agent that died, what it did not tell of is not sent. It holds nothing back: the others go on.

use std::collections::BTreeMap;

use tokio::sync::mpsc;

use super::unsent::Dues;
use crate::{
    load::{
        lane::LaneSpec,
        message::{ClosedInterval, LoadMessage},
    },
    record::{
        event::{INTERVAL_US, LaneInterval, Micros, Note, NoteKind, Outcome},
        samples::empty_histogram,
    },
};

/// What is heard of an agent, in times of the run's clock.
#[derive(Debug)]
pub(super) enum Said {
    /// Its load said so.
    Load(LoadMessage),
    /// It died: nothing more comes of it, though its load goes on falling due.
    Died,
    /// Its load has ended, or would have: nothing falls due after this.
    Over {
        /// When.
        at_us: Micros,
    },
}

/// Where a follower says what it hears of its agent.
#[derive(Debug)]
pub(super) struct Ear {
    /// Which of the agents.
    pub(super) agent: usize,
    /// To whom.
    pub(super) merging: mpsc::UnboundedSender<(usize, Said)>,
}

impl Ear {
    /// Says it.
    pub(super) fn hear(&self, said: Said) {
        // Nobody takes it when the run is being broken off.
        drop(self.merging.send((self.agent, said)));
    }
}

/// How an agent stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Alive,
    Died,
    Over,
}

/// The one stream of several agents.
#[derive(Debug)]
pub(super) struct Merger {
    fates: Vec<Fate>,
    lanes: BTreeMap<String, Lane>,
    begin_us: Micros,
    // When the load of agents that died would have ended.
    end_us: Micros,
    messages: mpsc::UnboundedSender<LoadMessage>,
}

#[derive(Debug)]
struct Lane {
    // Of each agent.
    parts: Vec<Part>,
    // Sums that wait for an agent that has not told of them yet, by their start.
    waiting: BTreeMap<Micros, ClosedInterval>,
    // The end of the last one that went on.
    passed_us: Micros,
}

#[derive(Debug)]
struct Part {
    dues: Dues,
    // Up to when it has told what became of its requests.
    told_us: Micros,
}

impl Merger {
    /// Of agents with these lanes each, all of which begin at `begin_us`.
    pub(super) fn new(
        agents: &[Vec<LaneSpec>],
        begin_us: Micros,
        messages: mpsc::UnboundedSender<LoadMessage>,
    ) -> Self {
        let mut lanes: BTreeMap<String, Lane> = BTreeMap::new();
        for specs in agents {
            for (index, spec) in specs.iter().enumerate() {
                let none = || Lane { parts: Vec::new(), waiting: BTreeMap::new(), passed_us: begin_us };
                let part = Part { dues: Dues::of(spec, index, specs.len(), begin_us), told_us: begin_us };
                lanes.entry(spec.name.clone()).or_insert_with(none).parts.push(part);
            }
        }
        Self { fates: vec![Fate::Alive; agents.len()], lanes, begin_us, end_us: begin_us, messages }
    }

    /// Takes in what is heard until all followers have ended, and passes on what is left.
    pub(super) async fn merge(mut self, mut heard: mpsc::UnboundedReceiver<(usize, Said)>) {
        while let Some((agent, said)) = heard.recv().await {
            self.take(agent, said);
        }
        self.finish();
    }

    fn take(&mut self, agent: usize, said: Said) {
        match said {
            Said::Load(LoadMessage::Interval(interval)) => {
                let Some(lane) = self.lanes.get_mut(&interval.counts.lane) else { return };
                let added = lane.add(agent, *interval);
                let passed = lane.pass(&self.fates);
                self.send(added.err().into_iter().chain(passed));
            }
            Said::Load(message) => self.send([message]),
            Said::Died => self.befall(agent, Fate::Died),
            Said::Over { at_us } if self.fates[agent] == Fate::Died => self.end_us = self.end_us.max(at_us),
            Said::Over { .. } => self.befall(agent, Fate::Over),
        }
    }

    fn befall(&mut self, agent: usize, fate: Fate) {
        self.fates[agent] = fate;
        let passed: Vec<LoadMessage> = self.lanes.values_mut().flat_map(|lane| lane.pass(&self.fates)).collect();
        self.send(passed);
    }

    /// What waited for a follower that broke off goes on without it, and what the dead did not send to the very end.
    fn finish(mut self) {
        for fate in self.fates.iter_mut().filter(|fate| **fate == Fate::Alive) {
            *fate = Fate::Over;
        }
        let mut passed = Vec::new();
        for (name, lane) in &mut self.lanes {
            let mut start_us = self.begin_us;
            while start_us < self.end_us {
                if start_us >= lane.passed_us {
                    lane.wait_for(name, start_us, INTERVAL_US.min(self.end_us - start_us));
                }
                start_us += INTERVAL_US;
            }
            passed.extend(lane.pass(&self.fates));
        }
        self.send(passed);
    }

    fn send(&self, messages: impl IntoIterator<Item = LoadMessage>) {
        for message in messages {
            // Nobody takes it when the run is being broken off.
            drop(self.messages.send(message));
        }
    }
}

impl Lane {
    /// Adds what an agent counted in an interval to what the others did; else what to note.
    fn add(&mut self, agent: usize, interval: ClosedInterval) -> Result<(), LoadMessage> {
        let LaneInterval { start_us, length_us, .. } = interval.counts;
        let part = &mut self.parts[agent];
        part.told_us = part.told_us.max(start_us + length_us);
        let Some(sum) = self.waiting.get_mut(&start_us) else {
            self.waiting.insert(start_us, interval);
            return Ok(());
        };
        sum.add(&interval).map_err(|error| {
            let text = format!("an interval of lane {} is missing in part: {error}", interval.counts.lane);
            LoadMessage::Note(Note { kind: NoteKind::Taint, text })
        })
    }

    /// Makes sure that there is an interval which waits there, so that what the dead did not send in it is told.
    fn wait_for(&mut self, name: &str, start_us: Micros, length_us: i64) {
        let Ok(none) = empty_histogram() else { return };
        let nothing = || ClosedInterval {
            counts: LaneInterval { lane: name.to_owned(), start_us, length_us, ..LaneInterval::default() },
            response: none.clone(),
            service: none,
        };
        let sum = self.waiting.entry(start_us).or_insert_with(nothing);
        sum.counts.length_us = sum.counts.length_us.max(length_us);
    }

    /// The intervals, in order, that wait for no agent any more.
    fn pass(&mut self, fates: &[Fate]) -> Vec<LoadMessage> {
        let mut passed = Vec::new();
        while let Some(first) = self.waiting.first_entry() {
            let start_us = *first.key();
            let tells_later = |(part, fate): (&Part, &Fate)| *fate == Fate::Alive && part.told_us <= start_us;
            if self.parts.iter().zip(fates).any(tells_later) {
                break;
            }
            let mut sum = first.remove();
            let end_us = start_us + sum.counts.length_us;
            let dead = self.parts.iter().zip(fates).filter(|(_, fate)| **fate == Fate::Died).map(|(part, _)| part);
            let unsent: u64 = dead.map(|part| part.dues.between(part.told_us.max(start_us), end_us)).sum();
            if unsent > 0 {
                *sum.counts.by_outcome.entry(Outcome::NotSent).or_default() += unsent;
            }
            self.passed_us = end_us;
            passed.push(LoadMessage::Interval(Box::new(sum)));
        }
        passed
    }
}

#[cfg(test)]
mod tests;
