//! When failures are worth a note: after 10 s of them the run has been blind for so long that it cannot pass.

use std::fmt;

use crate::record::event::{Micros, Note, NoteKind};

/// Failures for this long are a taint, in microseconds.
const TAINT_AFTER_US: Micros = 10_000_000;

/// Failures further apart than this are not of one trouble, in microseconds: one attempt (5 s to connect) and the
/// pause before it, with room. A watch that works again says so only when something changes, so silence counts as
/// working.
const APART_US: Micros = 10_000_000;

/// The failures of one thing that should work all the time.
#[derive(Debug)]
pub(super) struct Trouble {
    what: String,
    failing: Option<Failing>,
}

/// A trouble that is over.
#[derive(Debug, PartialEq)]
pub(super) struct Over {
    /// When it began.
    pub(super) since: Micros,
    /// It lasted long enough to have been told as a taint.
    pub(super) tainted: bool,
    /// From when to when it lasted.
    pub(super) note: Note,
}

#[derive(Debug)]
struct Failing {
    since: Micros,
    last: Micros,
    told: bool,
}

impl Trouble {
    /// No trouble yet. `what` is what failed, as the beginning of a sentence: `the watch of pods failed`.
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), failing: None }
    }

    /// An attempt failed that began at `began`: a note when that has gone on for 10 s.
    pub(super) fn failed(&mut self, began: Micros, now: Micros, words: &str) -> Option<Note> {
        let failing = match &mut self.failing {
            Some(failing) if began - failing.last <= APART_US => failing,
            other => other.insert(Failing { since: began, last: now, told: false }),
        };
        failing.last = now;
        if failing.told || now - failing.since < TAINT_AFTER_US {
            return None;
        }
        failing.told = true;
        let text = format!("{} from {} on: {words}", self.what, Seconds(failing.since));
        Some(Note { kind: NoteKind::Taint, text })
    }

    /// An attempt succeeded: what is over by that, if anything failed before.
    pub(super) fn succeeded(&mut self, now: Micros) -> Option<Over> {
        let failing = self.failing.take()?;
        let text = format!("{} from {} to {}", self.what, Seconds(failing.since), Seconds(now));
        Some(Over { since: failing.since, tainted: failing.told, note: Note { kind: NoteKind::Info, text } })
    }
}

/// A time of the record, for people: seconds since the run began.
pub(super) struct Seconds(pub(super) Micros);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} s", self.0 as f64 / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Micros = 1_000_000;

    #[test]
    fn ten_seconds_of_failures_are_a_taint_once_and_their_end_is_told() {
        let mut trouble = Trouble::new("the watch of pods failed");
        let notes: Vec<Option<Note>> = (0..30).map(|i| trouble.failed(i * S, i * S, "refused")).collect();
        let told: Vec<usize> = notes.iter().enumerate().filter_map(|(i, note)| note.as_ref().map(|_| i)).collect();
        assert_eq!(told, [10]);
        let text = "the watch of pods failed from 0.0 s on: refused".to_owned();
        assert_eq!(notes[10], Some(Note { kind: NoteKind::Taint, text }));
        let text = "the watch of pods failed from 0.0 s to 31.0 s".to_owned();
        let over = Over { since: 0, tainted: true, note: Note { kind: NoteKind::Info, text } };
        assert_eq!(trouble.succeeded(31 * S), Some(over));
        assert_eq!(trouble.succeeded(32 * S), None);
    }

    #[test]
    fn a_failure_now_and_then_is_no_taint() {
        let mut trouble = Trouble::new("the watch of pods failed");
        for i in 0..10 {
            assert_eq!(trouble.failed(i * 60 * S, i * 60 * S, "reset"), None, "failure {i}");
        }
        for i in 0..20 {
            trouble.succeeded(i * S);
            assert_eq!(trouble.failed(i * S, i * S, "reset"), None, "failure {i}");
            assert!(!trouble.succeeded(i * S).unwrap().tainted);
        }
    }

    #[test]
    fn one_attempt_that_takes_long_counts_from_its_beginning() {
        let mut trouble = Trouble::new("the API server did not answer");
        assert_eq!(trouble.failed(0, 6 * S, "silence"), None);
        assert!(trouble.failed(6 * S, 12 * S, "silence").is_some());
    }
}
