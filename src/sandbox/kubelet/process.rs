//! A process of a pod: its start through the [`launcher`](super::launcher), its output, its signals, its end.
//!
//! Whatever happens to the task that owns a [`Process`], the process group dies with it, and a task of its own reaps it.

use std::{
    collections::HashSet,
    ffi::OsString,
    fs, io,
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, ChildStderr, ChildStdin, ChildStdout},
    sync::watch,
    time::timeout,
};

use super::{
    launcher,
    log::{Log, Writer},
};

/// How long output is still read after the end, from pipes that a process has left to others.
const OUTPUT_AFTER_END: Duration = Duration::from_secs(1);

/// The kernel's unit of CPU time in `/proc/PID/stat`, the same on every architecture that Rust knows.
const TICKS_PER_SECOND: u64 = 100;

/// The size of a page in `/proc/PID/statm`.
const PAGE_BYTES: u64 = 4096;

/// Processes of one container that are counted, a bound on a fork bomb's cost to us.
const COUNTED_MAX: usize = 256;

/// What to start.
#[derive(Debug, Clone)]
pub struct ProcessSpec {
    /// The program and its arguments.
    pub program: Vec<OsString>,
    /// Its whole environment.
    pub env: Vec<(String, String)>,
    /// Where it runs.
    pub cwd: PathBuf,
    /// It may fork, so a supervisor is to stay beside it.
    pub supervise: bool,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with a code.
    Code(i32),
    /// By a signal.
    Signal(i32),
}

impl Exit {
    fn of(status: ExitStatus) -> Self {
        status.code().map_or_else(|| Self::Signal(status.signal().unwrap_or_default()), Self::Code)
    }

    /// The code as container runtimes give it: 128 and the signal's number for an end by a signal.
    #[must_use]
    pub const fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

/// What a container uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time since its start.
    pub cpu: Duration,
    /// Resident memory.
    pub memory_bytes: u64,
}

/// The processes that have not been reaped yet, so that the sandbox's end can wait for them.
#[derive(Debug, Default)]
pub struct Live {
    pids: Mutex<HashSet<Pid>>,
    changed: watch::Sender<()>,
}

impl Live {
    fn change(&self, change: impl FnOnce(&mut HashSet<Pid>)) {
        change(&mut self.pids.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.send_replace(());
    }

    fn pids(&self) -> Vec<Pid> {
        self.pids.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.pids().len()
    }

    /// Kills them all.
    pub fn kill_all(&self) {
        for pid in self.pids() {
            _ = kill_process_group(pid, Signal::KILL);
        }
    }

    /// Waits until all are reaped.
    pub async fn all_gone(&self) {
        let mut changed = self.changed.subscribe();
        loop {
            changed.borrow_and_update();
            if self.pids().is_empty() || changed.changed().await.is_err() {
                return;
            }
        }
    }
}

/// The ends of a process's standard streams, where they are not a log's.
#[derive(Debug)]
pub struct Stdio3 {
    /// To write to it.
    pub stdin: ChildStdin,
    /// What it writes.
    pub stdout: ChildStdout,
    /// What it writes as errors.
    pub stderr: ChildStderr,
}

/// A process. Dropping it kills its whole group.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    supervised: bool,
    exit: watch::Receiver<Option<Exit>>,
}

impl Process {
    /// Starts a process whose output goes into a log. To be called on the sandbox's thread, to whose life the process is
    /// tied.
    ///
    /// # Errors
    /// When the launcher cannot be started, as when no process slots are left.
    pub fn start(launcher: &[OsString], spec: &ProcessSpec, log: Arc<Log>, live: &Arc<Live>) -> io::Result<Self> {
        let mut child = spawn(launcher, spec, Stdio::null())?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        Self::adopt(child, spec.supervise, live, async move {
            let out = copy(stdout, Writer::new(Arc::clone(&log), false));
            let err = copy(stderr, Writer::new(Arc::clone(&log), true));
            tokio::join!(out, err);
        })
    }

    /// Starts a process whose standard streams are the caller's.
    ///
    /// # Errors
    /// As for [`Self::start`].
    pub fn start_piped(launcher: &[OsString], spec: &ProcessSpec, live: &Arc<Live>) -> io::Result<(Self, Stdio3)> {
        let mut child = spawn(launcher, spec, Stdio::piped())?;
        let missing = || io::Error::other("a pipe is missing");
        let streams = Stdio3 {
            stdin: child.stdin.take().ok_or_else(missing)?,
            stdout: child.stdout.take().ok_or_else(missing)?,
            stderr: child.stderr.take().ok_or_else(missing)?,
        };
        Ok((Self::adopt(child, spec.supervise, live, std::future::ready(()))?, streams))
    }

    /// Hands the child to a task of its own, which outlives whoever started it, and reaps it.
    fn adopt(
        mut child: Child,
        supervised: bool,
        live: &Arc<Live>,
        output: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<Self> {
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("the process has no id"))?;
        let (ended, exit) = watch::channel(None);
        live.change(|pids| _ = pids.insert(pid));
        let live = Arc::clone(live);
        tokio::spawn(async move {
            let mut output = std::pin::pin!(output);
            let mut read = false;
            let status = loop {
                tokio::select! {
                    status = child.wait() => break status,
                    () = &mut output, if !read => read = true,
                }
            };
            if !read {
                _ = timeout(OUTPUT_AFTER_END, output).await;
            }
            live.change(|pids| _ = pids.remove(&pid));
            ended.send_replace(Some(status.map_or(Exit::Code(i32::from(launcher::NOT_STARTED)), Exit::of)));
        });
        Ok(Self { pid, supervised, exit })
    }

    /// Its process id, which is its group's too.
    #[must_use]
    pub const fn pid(&self) -> i32 {
        self.pid.as_raw_pid()
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn ended(&self) -> Option<Exit> {
        *self.exit.borrow()
    }

    /// Waits for its end.
    pub async fn wait(&self) -> Exit {
        let mut exit = self.exit.clone();
        let ended = exit.wait_for(Option::is_some).await.ok().and_then(|exit| *exit);
        ended.unwrap_or(Exit::Signal(Signal::KILL.as_raw()))
    }

    /// Sends a signal to its whole group; nothing once it has ended.
    pub fn signal(&self, signal: Signal) {
        if self.ended().is_none() {
            // A group that is empty already is as good as told.
            _ = kill_process_group(self.pid, signal);
        }
    }

    /// Stops it where it is, so that it is silence to the network.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn cont(&self) {
        self.signal(Signal::CONT);
    }

    /// What it and its children use, ended ones included.
    #[must_use]
    pub fn usage(&self) -> Usage {
        if self.ended().is_some() {
            return Usage::default();
        }
        let mut usage = Usage::default();
        // The supervisor is ours, not the container's.
        let mut todo = if self.supervised { launcher::children(self.pid) } else { vec![self.pid] };
        let mut counted = 0;
        while let Some(pid) = todo.pop().filter(|_| counted < COUNTED_MAX) {
            counted += 1;
            let own = usage_of(pid);
            usage.cpu += own.cpu;
            usage.memory_bytes += own.memory_bytes;
            todo.extend(launcher::children(pid));
        }
        usage
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_none() {
            _ = kill_process_group(self.pid, Signal::KILL);
            // A stopped supervisor could not clean up.
            _ = kill_process(self.pid, Signal::CONT);
        }
    }
}

fn spawn(launcher: &[OsString], spec: &ProcessSpec, stdin: Stdio) -> io::Result<Child> {
    let command = launcher::command(launcher, spec.supervise, &spec.program, stdin);
    let mut command = command.ok_or_else(|| io::Error::other("there is no launcher"))?;
    command.envs(spec.env.iter().map(|(name, value)| (name, value))).current_dir(&spec.cwd).spawn()
}

async fn copy(from: Option<impl AsyncRead + Unpin>, mut writer: Writer) {
    let Some(mut from) = from else { return };
    let mut buffer = vec![0; 8 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        writer.write(&buffer[..count]);
    }
    writer.finish();
}

fn usage_of(pid: Pid) -> Usage {
    let pid = pid.as_raw_pid();
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let resident: u64 = read("statm").split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    Usage { cpu: cpu_time(&read("stat")), memory_bytes: resident * PAGE_BYTES }
}

/// The CPU time in a `/proc/PID/stat`: utime, stime, cutime, cstime. The name in it may hold anything, so fields are
/// counted from its closing parenthesis.
fn cpu_time(stat: &str) -> Duration {
    let Some((_, fields)) = stat.rsplit_once(')') else { return Duration::ZERO };
    let ticks: u64 = fields.split_whitespace().skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_behind_any_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 100 0 0 0 150 50 30 20 20 0 1 0 100 1000 10";
        assert_eq!(cpu_time(stat), Duration::from_millis(2_500));
        assert_eq!(cpu_time(""), Duration::ZERO);
    }

    #[test]
    fn an_end_by_a_signal_has_the_code_that_runtimes_give_it() {
        assert_eq!((Exit::Signal(9).code(), Exit::Signal(15).code(), Exit::Code(3).code()), (137, 143, 3));
    }

    #[test]
    fn own_usage_is_not_nothing() {
        assert!(usage_of(rustix::process::getpid()).memory_bytes > 0);
    }
}
