//! What the machine under the load generator does to it: packets that its connection tracking drops, processor time
//! that a container limit or a hypervisor takes away.
//!
//! Dropped packets look like a loss of the service's, so they taint the measurement. A connection that could not be
//! tracked may be anybody's (two DNS queries that race are enough) and its attempt is made again, so it is only told.
//! Time taken away shows where it
//! matters, in the send lag and in stalls; here it gets its reason. Where a file cannot be read, nothing is said.

use std::{
    collections::HashSet,
    fs, io,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::Duration,
};

use tokio::sync::mpsc::UnboundedSender;

use super::message::LoadMessage;
use crate::record::event::{Note, NoteKind};

/// How often the machine is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Time taken away within one look that is worth a word, in microseconds: what the judge calls a stall.
const TAKEN_US: u64 = 100_000;

/// On a busy machine somebody always waits: only above so much in a second is it said, in microseconds.
const MOSTLY_WAITED_US: u64 = 700_000;

/// The kernel's unit in /proc/stat: `USER_HZ`, 100 on every architecture that Linux gives to programs.
const TICK_US: u64 = 10_000;

const CONNTRACK: &str = "/proc/net/stat/nf_conntrack";
const STAT: &str = "/proc/stat";
const CGROUP: &str = "/sys/fs/cgroup/cpu.stat";
const PRESSURE: &str = "/proc/pressure/cpu";

/// Counters that only grow; nothing where the machine does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counters {
    // New connections that connection tracking could not take in, and packets that it dropped.
    insert_failed: Option<u64>,
    dropped: Option<u64>,
    // Microseconds for which a limit of the container stopped its processes.
    throttled_us: Option<u64>,
    // Microseconds, of all processors, that the hypervisor gave to somebody else.
    stolen_us: Option<u64>,
    // Microseconds for which somebody on this machine waited for a processor.
    waited_us: Option<u64>,
}

/// What can happen to a generator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Trouble {
    Dropped,
    NotTakenIn,
    Throttled,
    Stolen,
    Starved,
}

/// A look at the machine once a second, on a thread of its own, until it is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    // Dropping it wakes the thread.
    _stop: Sender<()>,
}

impl Watch {
    /// Looks from now on; what it finds goes to `messages`, each kind of trouble once.
    pub(super) fn start(messages: UnboundedSender<LoadMessage>) -> io::Result<Self> {
        let (stop, stopped) = channel();
        thread::Builder::new().name("load-machine".to_owned()).spawn(move || watch(&stopped, &messages))?;
        Ok(Self { _stop: stop })
    }
}

fn watch(stopped: &Receiver<()>, messages: &UnboundedSender<LoadMessage>) {
    let mut told = HashSet::new();
    let mut before = Counters::read();
    while stopped.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
        let now = Counters::read();
        for (trouble, note) in troubles(before, now) {
            if told.insert(trouble) && messages.send(LoadMessage::Note(note)).is_err() {
                return;
            }
        }
        before = now;
    }
}

impl Counters {
    fn read() -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let (conntrack, stat, cgroup, pressure) = (text(CONNTRACK), text(STAT), text(CGROUP), text(PRESSURE));
        Self {
            insert_failed: column(&conntrack, "insert_failed"),
            dropped: column(&conntrack, "drop"),
            throttled_us: keyed(&cgroup, "throttled_usec"),
            stolen_us: stolen_ticks(&stat).map(|ticks| ticks.saturating_mul(TICK_US)),
            waited_us: some_total(&pressure),
        }
    }
}

/// What has happened between two looks.
fn troubles(before: Counters, now: Counters) -> Vec<(Trouble, Note)> {
    let grown = |of: fn(&Counters) -> Option<u64>| match (of(&before), of(&now)) {
        (Some(before), Some(now)) => now.saturating_sub(before),
        _ => 0,
    };
    let mut found = Vec::new();
    let mut say = |trouble, kind, text: String| found.push((trouble, Note { kind, text }));
    let (failed, dropped) = (grown(|of| of.insert_failed), grown(|of| of.dropped));
    if dropped > 0 {
        let text = format!(
            "this machine's connection tracking dropped {dropped} packets: losses may be its own; raise \
             net.netfilter.nf_conntrack_max or lower the rate of new connections"
        );
        say(Trouble::Dropped, NoteKind::Taint, text);
    }
    if failed > 0 {
        let text = format!(
            "this machine's connection tracking could not take in {failed} connections, perhaps somebody else's: an \
             attempt to connect that took a second longer from here on may have that reason"
        );
        say(Trouble::NotTakenIn, NoteKind::Info, text);
    }
    let waited_us = Some(grown(|of| of.waited_us)).filter(|us| *us > MOSTLY_WAITED_US).unwrap_or_default();
    for (trouble, taken_us, how) in [
        (Trouble::Throttled, grown(|of| of.throttled_us), "the container's CPU limit stopped the load generator"),
        (Trouble::Stolen, grown(|of| of.stolen_us), "the hypervisor gave this machine's processors to others"),
        (Trouble::Starved, waited_us, "the processors were not enough for all that wanted them"),
    ] {
        if taken_us > TAKEN_US {
            let text =
                format!("{how} for {} ms of a second; late sends from here on have that reason", taken_us / 1_000);
            say(trouble, NoteKind::Info, text);
        }
    }
    found
}

/// The sum over all processors of a column of hexadecimal numbers with names in the first line.
fn column(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines();
    let at = lines.next()?.split_whitespace().position(|column| column == name)?;
    lines.map(|line| u64::from_str_radix(line.split_whitespace().nth(at)?, 16).ok()).sum()
}

/// The number behind a key at the start of a line.
fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok())
}

/// The eighth number of the line of all processors.
fn stolen_ticks(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("cpu ")?.split_whitespace().nth(7)?.parse().ok())
}

/// The total behind `some`.
fn some_total(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("some ")?.split_once("total=")?.1.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "entries  clashres found new insert insert_failed drop early_drop\n\
                         00000010 0 0 0 0 0000000a 00000001 0\n00000010 0 0 0 0 00000002 00000000 0\n";

    #[test]
    fn counters_are_found_in_what_the_kernel_writes() {
        assert_eq!(
            (column(TABLE, "insert_failed"), column(TABLE, "drop"), column(TABLE, "none")),
            (Some(12), Some(1), None)
        );
        assert_eq!(column("", "drop"), None);
        assert_eq!(keyed("usage_usec 9\nnr_throttled 2\nthrottled_usec 1500\n", "throttled_usec"), Some(1_500));
        assert_eq!(stolen_ticks("cpu  1 2 3 4 5 6 7 88 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\n"), Some(88));
        assert_eq!(
            some_total("some avg10=0.00 avg60=0.00 avg300=0.00 total=4321\nfull avg10=0.00 total=7\n"),
            Some(4_321)
        );
        for read in [stolen_ticks, some_total] {
            assert_eq!(read("nonsense"), None);
        }
    }

    #[test]
    fn dropped_packets_taint_and_taken_time_explains() {
        let quiet = Counters {
            insert_failed: Some(7),
            dropped: Some(1),
            throttled_us: Some(50),
            stolen_us: Some(9),
            waited_us: Some(0),
        };
        assert!(troubles(quiet, quiet).is_empty());
        assert!(troubles(Counters::default(), quiet).is_empty(), "what was not known before is no news");
        let dropped = troubles(quiet, Counters { dropped: Some(3), ..quiet });
        let [(Trouble::Dropped, note)] = dropped.as_slice() else { panic!("{dropped:?}") };
        assert_eq!(note.kind, NoteKind::Taint);
        assert!(note.text.contains("dropped 2 packets"), "{}", note.text);
        let held_up =
            Counters { throttled_us: Some(300_050), stolen_us: Some(99_000), waited_us: Some(690_000), ..quiet };
        let held_up = troubles(quiet, held_up);
        let [(Trouble::Throttled, note)] = held_up.as_slice() else { panic!("{held_up:?}") };
        assert_eq!(note.kind, NoteKind::Info);
        assert!(note.text.contains("300 ms"), "{}", note.text);
    }
}
