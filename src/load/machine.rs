//! What the machine under the load generator does to it: packets that its connection tracking drops, processor time
//! that a container limit or a hypervisor takes away.
//!
//! Dropped packets look like a loss of the service's, so they taint the measurement. A connection that could not be
//! tracked may be anybody's (two DNS queries that race are enough) and its attempt is made again, so it is only told.
//! Time taken away shows where it matters, in the send lag and in stalls; here it gets its reason. Where a file cannot
//! be read, nothing is said.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
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

/// Notes of one run; a machine that flickers for hours would fill the record.
const NOTES_MAX: usize = 100;

const CONNTRACK: &str = "/proc/net/stat/nf_conntrack";
const STAT: &str = "/proc/stat";
const OWN_CGROUP: &str = "/proc/self/cgroup";
const OWN_MOUNTS: &str = "/proc/self/mountinfo";
const USUAL_CGROUP: &str = "/sys/fs/cgroup";
const CPU_STAT: &str = "cpu.stat";
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
    stop: Option<Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Watch {
    /// Looks from now on; what it finds goes to `messages`: each stretch of each kind of trouble when it begins, and
    /// when it is over where it lasted for more than a look.
    pub(super) fn start(messages: UnboundedSender<LoadMessage>) -> io::Result<Self> {
        let (stop, stopped) = channel();
        let looking = move || watch(&stopped, &messages);
        let thread = thread::Builder::new().name("load-machine".to_owned()).spawn(looking)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Watch {
    /// Looks a last time, so that what happened in the last second is told before the load's account.
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing to say that is not in its notes.
            drop(thread.join());
        }
    }
}

fn watch(stopped: &Receiver<()>, messages: &UnboundedSender<LoadMessage>) {
    let stat = CpuStat::of(&text(OWN_CGROUP), &text(OWN_MOUNTS));
    let mut stretches = Stretches::default();
    let mut before = Counters::read(&stat);
    loop {
        let is_last = stopped.recv_timeout(LOOK_EVERY) != Err(RecvTimeoutError::Timeout);
        let now = Counters::read(&stat);
        let mut notes = stretches.look(&troubles(before, now));
        if is_last {
            notes.extend(stretches.look(&[]));
        }
        for note in notes {
            if messages.send(LoadMessage::Note(note)).is_err() {
                return;
            }
        }
        if is_last {
            return;
        }
        before = now;
    }
}

fn text(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Where the kernel counts for how long CPU limits stopped this process.
#[derive(Debug, Clone, PartialEq, Eq)]
struct CpuStat {
    // Of its own cgroup and those around it: a limit of any of them stops all that is in it.
    files: Vec<PathBuf>,
}

impl CpuStat {
    /// From the texts of `/proc/self/cgroup` and `/proc/self/mountinfo`: where the `cpu` controller of version 1 is
    /// mounted it counts there, else in the one hierarchy of version 2; where neither is found, at the usual place.
    fn of(cgroup: &str, mounts: &str) -> Self {
        let mut files = Vec::new();
        for (is_legacy, path) in [(true, cgroup_path(cgroup, true)), (false, cgroup_path(cgroup, false))] {
            let Some(path) = path else { continue };
            let Some((root, mount)) = mounts.lines().find_map(|line| cgroup_mount(line, is_legacy)) else { continue };
            // A process may be told of a path outside of what it sees (`/../..`); what it sees is its own then.
            let below = path.strip_prefix(root).map(|below| below.trim_matches('/')).unwrap_or_default();
            let is_plain = below.split('/').all(|part| part != "..");
            let own = if is_plain { Path::new(mount).join(below) } else { PathBuf::from(mount) };
            files.extend(own.ancestors().take_while(|at| at.starts_with(mount)).map(|at| at.join(CPU_STAT)));
            break;
        }
        if files.is_empty() {
            files.push(Path::new(USUAL_CGROUP).join(CPU_STAT));
        }
        Self { files }
    }

    /// Microseconds for which a limit stopped this process or those that it shares the limit with.
    fn throttled_us(&self) -> Option<u64> {
        let all = self.files.iter().filter_map(|file| throttled_us(&text(file)));
        all.fold(None, |sum: Option<u64>, one| Some(sum.unwrap_or_default().saturating_add(one)))
    }
}

/// The path of the process in the hierarchy of the `cpu` controller (version 1), or in the one hierarchy (version 2).
fn cgroup_path(cgroup: &str, is_legacy: bool) -> Option<&str> {
    cgroup.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let is_it = if is_legacy { has(controllers, "cpu") } else { line.starts_with("0::") };
        is_it.then_some(path)
    })
}

/// The root and the place of a mount of that hierarchy, where the line tells of one: its fourth and fifth word, and
/// behind the dash its type, its source and what it was mounted with.
fn cgroup_mount(line: &str, is_legacy: bool) -> Option<(&str, &str)> {
    let (place, kind) = line.split_once(" - ")?;
    let mut kind = kind.split_whitespace();
    let (kind, options) = (kind.next()?, kind.nth(1).unwrap_or_default());
    let is_it = if is_legacy { kind == "cgroup" && has(options, "cpu") } else { kind == "cgroup2" };
    let mut place = place.split_whitespace().skip(3);
    let (root, mount) = (place.next()?, place.next()?);
    is_it.then_some((if root == "/" { "" } else { root }, mount))
}

/// Whether a word stands in a list.
fn has(list: &str, word: &str) -> bool {
    list.split(',').any(|one| one == word)
}

/// Version 2 counts in microseconds, version 1 in nanoseconds.
fn throttled_us(stat: &str) -> Option<u64> {
    keyed(stat, "throttled_usec").or_else(|| Some(keyed(stat, "throttled_time")? / 1_000))
}

impl Counters {
    fn read(stat: &CpuStat) -> Self {
        let (conntrack, processors, pressure) = (text(CONNTRACK), text(STAT), text(PRESSURE));
        Self {
            insert_failed: column(&conntrack, "insert_failed"),
            dropped: column(&conntrack, "drop"),
            throttled_us: stat.throttled_us(),
            stolen_us: stolen_ticks(&processors).map(|ticks| ticks.saturating_mul(TICK_US)),
            waited_us: some_total(&pressure),
        }
    }
}

/// What has happened between two looks, and how much of it: a number of packets or connections, or microseconds.
fn troubles(before: Counters, now: Counters) -> Vec<(Trouble, u64)> {
    let grown = |of: fn(&Counters) -> Option<u64>| match (of(&before), of(&now)) {
        (Some(before), Some(now)) => now.saturating_sub(before),
        _ => 0,
    };
    [
        (Trouble::Dropped, grown(|of| of.dropped), 0),
        (Trouble::NotTakenIn, grown(|of| of.insert_failed), 0),
        (Trouble::Throttled, grown(|of| of.throttled_us), TAKEN_US),
        (Trouble::Stolen, grown(|of| of.stolen_us), TAKEN_US),
        (Trouble::Starved, grown(|of| of.waited_us), MOSTLY_WAITED_US),
    ]
    .into_iter()
    .filter(|(_, amount, most)| amount > most)
    .map(|(trouble, amount, _)| (trouble, amount))
    .collect()
}

/// The stretches of trouble of a run: looks in a row that found the same.
#[derive(Debug, Default)]
struct Stretches {
    // Looks that found it so far, and how much of it there was.
    open: BTreeMap<Trouble, (u64, u64)>,
    // What has been told before.
    known: BTreeSet<Trouble>,
    told: usize,
}

impl Stretches {
    /// What to tell after a look that found this.
    fn look(&mut self, found: &[(Trouble, u64)]) -> Vec<Note> {
        let mut notes = Vec::new();
        let over = |trouble: &Trouble| !found.iter().any(|(found, _)| found == trouble);
        let ended: Vec<Trouble> = self.open.keys().copied().filter(over).collect();
        for trouble in ended {
            let (looks, amount) = self.open.remove(&trouble).unwrap_or_default();
            if looks > 1 {
                notes.push(Note { kind: NoteKind::Info, text: trouble.is_over(looks, amount) });
            }
        }
        for (trouble, amount) in found {
            let (looks, sum) = self.open.entry(*trouble).or_default();
            (*looks, *sum) = (*looks + 1, sum.saturating_add(*amount));
            if *looks == 1 {
                // Once is enough to make a measurement doubtful.
                let is_new = self.known.insert(*trouble);
                let kind = if is_new && *trouble == Trouble::Dropped { NoteKind::Taint } else { NoteKind::Info };
                notes.push(Note { kind, text: trouble.begins(*amount) });
            }
        }
        let left = NOTES_MAX.saturating_sub(self.told);
        self.told += notes.len();
        // A taint is never kept back: each kind is told once.
        let taints = |note: &Note| note.kind == NoteKind::Taint;
        let mut kept: Vec<Note> = notes.iter().take(left).cloned().collect();
        kept.extend(notes.iter().skip(left).filter(|note| taints(note)).cloned());
        if left > 0 && self.told >= NOTES_MAX {
            let text = format!("{NOTES_MAX} troubles of this machine were noted; the rest is not told");
            kept.push(Note { kind: NoteKind::Info, text });
        }
        kept
    }
}

impl Trouble {
    /// What is told at its beginning, with how much of it the first look found.
    fn begins(self, amount: u64) -> String {
        match self {
            Self::Dropped => format!(
                "this machine's connection tracking dropped {amount} packets: losses may be its own; raise \
                 net.netfilter.nf_conntrack_max or lower the rate of new connections"
            ),
            Self::NotTakenIn => format!(
                "this machine's connection tracking could not take in {amount} connections, perhaps somebody else's: \
                 an attempt to connect that took a second longer from here on may have that reason"
            ),
            Self::Throttled | Self::Stolen | Self::Starved => {
                let ms = amount / 1_000;
                format!("{} for {ms} ms of a second; late sends from here on have that reason", self.took())
            }
        }
    }

    /// What is told when it is over, after so many looks in a row that found so much in all.
    fn is_over(self, looks: u64, amount: u64) -> String {
        let seconds = looks * LOOK_EVERY.as_secs();
        match self {
            Self::Dropped => {
                format!(
                    "this machine's connection tracking dropped {amount} packets within {seconds} s, and now no more"
                )
            }
            Self::NotTakenIn => format!(
                "this machine's connection tracking could not take in {amount} connections within {seconds} s, and now \
                 takes them in again"
            ),
            Self::Throttled | Self::Stolen | Self::Starved => {
                format!("{} for {} ms within {seconds} s, and now no more", self.took(), amount / 1_000)
            }
        }
    }

    /// Who took the time.
    fn took(self) -> &'static str {
        match self {
            Self::Throttled => "the container's CPU limit stopped the load generator",
            Self::Stolen => "the hypervisor gave this machine's processors to others",
            _ => "the processors were not enough for all that wanted them",
        }
    }
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
        let found = |now| troubles(quiet, now);
        assert_eq!(found(Counters { dropped: Some(3), ..quiet }), [(Trouble::Dropped, 2)]);
        assert_eq!(found(Counters { insert_failed: Some(8), ..quiet }), [(Trouble::NotTakenIn, 1)]);
        let held_up =
            Counters { throttled_us: Some(300_050), stolen_us: Some(99_000), waited_us: Some(690_000), ..quiet };
        assert_eq!(found(held_up), [(Trouble::Throttled, 300_000)], "the others are the usual");
        let notes = Stretches::default().look(&[(Trouble::Dropped, 2), (Trouble::Throttled, 300_000)]);
        let [dropped, throttled] = notes.as_slice() else { panic!("{notes:?}") };
        assert_eq!((dropped.kind, throttled.kind), (NoteKind::Taint, NoteKind::Info));
        assert!(dropped.text.contains("dropped 2 packets"), "{}", dropped.text);
        assert!(throttled.text.contains("300 ms"), "{}", throttled.text);
    }

    #[test]
    fn each_stretch_is_told_when_it_begins_and_one_that_lasted_when_it_is_over() {
        let mut stretches = Stretches::default();
        let mut told = |found: &[(Trouble, u64)]| {
            stretches.look(found).into_iter().map(|note| (note.kind, note.text)).collect::<Vec<_>>()
        };
        let stolen = [(Trouble::Stolen, 200_000)];
        assert_eq!(told(&stolen).len(), 1);
        assert_eq!((told(&stolen), told(&stolen)), (vec![], vec![]), "it goes on");
        let over = told(&[]);
        assert!(over.len() == 1 && over[0].1.contains("for 600 ms within 3 s"), "{over:?}");
        assert_eq!((told(&[]), told(&stolen).len(), told(&[])), (vec![], 1, vec![]), "told again, and one look is all");
        let dropped = [(Trouble::Dropped, 4)];
        let (first, between, second) = (told(&dropped), told(&[]), told(&dropped));
        assert_eq!((first[0].0, between.len(), second[0].0), (NoteKind::Taint, 0, NoteKind::Info), "tainted once");
    }

    #[test]
    fn a_machine_that_flickers_does_not_fill_the_record_and_its_first_dropped_packet_is_told_all_the_same() {
        let mut stretches = Stretches::default();
        let mut notes = Vec::new();
        for _ in 0..5 * NOTES_MAX {
            notes.extend(stretches.look(&[(Trouble::Starved, 800_000)]));
            notes.extend(stretches.look(&[]));
        }
        assert_eq!(notes.len(), NOTES_MAX + 1);
        assert!(notes.last().is_some_and(|note| note.text.contains("the rest is not told")), "{:?}", notes.last());
        let last = stretches.look(&[(Trouble::Dropped, 1), (Trouble::Stolen, 500_000)]);
        assert!(last.len() == 1 && last[0].kind == NoteKind::Taint, "{last:?}");
    }

    const MOUNTS_V2: &str = "24 30 0:22 / /proc rw,nosuid - proc proc rw\n\
                             29 23 0:26 / /sys/fs/cgroup ro,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
    const MOUNTS_V1: &str = "30 25 0:27 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw\n\
         33 25 0:30 /docker/4a /sys/fs/cgroup/cpuset ro master:12 - cgroup cgroup rw,cpuset\n\
         34 25 0:31 /docker/4a /sys/fs/cgroup/cpu,cpuacct ro master:13 - cgroup cgroup rw,cpu,cpuacct\n";
    const GROUPS_V1: &str = "12:cpuset:/docker/4a\n4:cpu,cpuacct:/docker/4a/load\n0::/docker/4a\n";

    #[test]
    fn the_limits_of_the_process_are_found_in_its_own_cgroup_of_either_version() {
        for (cgroup, mounts, wanted) in [
            // A container with a namespace of its own; a service of systemd; one whose cgroup lies outside.
            ("0::/\n", MOUNTS_V2, vec!["/sys/fs/cgroup"]),
            (
                "0::/system.slice/load.service\n",
                MOUNTS_V2,
                vec!["/sys/fs/cgroup/system.slice/load.service", "/sys/fs/cgroup/system.slice", "/sys/fs/cgroup"],
            ),
            ("0::/../../other\n", MOUNTS_V2, vec!["/sys/fs/cgroup"]),
            // Version 1, of a container that sees the paths of its host; both beside each other.
            (GROUPS_V1, MOUNTS_V1, vec!["/sys/fs/cgroup/cpu,cpuacct/load", "/sys/fs/cgroup/cpu,cpuacct"]),
            ("1:name=systemd:/x\n0::/x\n", MOUNTS_V1, vec!["/sys/fs/cgroup/unified/x", "/sys/fs/cgroup/unified"]),
            // Nothing is known.
            ("", MOUNTS_V2, vec![USUAL_CGROUP]),
            ("0::/x\n", "nonsense", vec![USUAL_CGROUP]),
        ] {
            let wanted: Vec<PathBuf> = wanted.into_iter().map(|dir| Path::new(dir).join("cpu.stat")).collect();
            assert_eq!(CpuStat::of(cgroup, mounts).files, wanted, "{cgroup}");
        }
    }

    #[test]
    fn stopped_time_is_read_from_both_versions_in_one_unit() {
        assert_eq!(throttled_us("usage_usec 9\nnr_throttled 2\nthrottled_usec 1500\n"), Some(1_500));
        assert_eq!(throttled_us("nr_periods 4\nnr_throttled 2\nthrottled_time 1500000\n"), Some(1_500));
        assert_eq!(throttled_us("usage_usec 9\n"), None);
        let dir = tempfile::tempdir().unwrap();
        let files: Vec<PathBuf> = ["own", "around", "missing"].map(|name| dir.path().join(name)).into();
        fs::write(&files[0], "throttled_usec 7\n").unwrap();
        fs::write(&files[1], "throttled_usec 5\n").unwrap();
        assert_eq!(CpuStat { files }.throttled_us(), Some(12));
        assert_eq!(CpuStat { files: Vec::new() }.throttled_us(), None);
    }
}
