//! How a process of a pod begins, so that none outlives the harness: the harness starts this executable again as a
//! launcher, which ties its own life to the harness's and only then becomes the program, under the same pid.
//!
//! A program that may fork is supervised instead: the launcher stays beside it, out of reach of the signals to the
//! program's process group, adopts whatever the program leaves behind, and kills it all when the program or the harness
//! ends. The tie is to the *thread* that started the process (prctl(2), `PR_SET_PDEATHSIG`); the sandbox's thread lives
//! as long as the sandbox does.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    process::{Command, ExitStatus, Stdio},
};

use rustix::process::{
    Pid, Signal, WaitOptions, getpgid, getpid, getppid, kill_process, kill_process_group, set_child_subreaper,
    set_parent_process_death_signal, setpgid, waitpid,
};
use tokio::signal::unix::{SignalKind, signal};

/// The hidden subcommand of the executable that leads here.
pub const SUBCOMMAND: &str = "sandbox-process";

/// The exit code of a program that could not be started, as containerd reports it.
pub const NOT_STARTED: u8 = 128;

/// Looks at what is left of a program before giving up on it: each finds the children of those that the last one
/// killed, so this is a bound on the depth of a tree that forks as fast as it is killed.
const SWEEPS_MAX: usize = 200;

/// What to start. The command line is `sandbox-process --parent PID [--supervise] -- PROGRAM ARGS…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// The harness's process id.
    pub parent: u32,
    /// Stay beside the program, since it may fork.
    pub supervise: bool,
    /// The program.
    pub program: OsString,
    /// Its arguments.
    pub args: Vec<OsString>,
}

/// The command line that makes the launcher start a program, without the executable and its subcommand.
#[must_use]
pub fn arguments(supervise: bool, program: &[OsString]) -> Vec<OsString> {
    let mut all: Vec<OsString> = vec!["--parent".into(), getpid().as_raw_pid().to_string().into()];
    if supervise {
        all.push("--supervise".into());
    }
    all.push("--".into());
    all.extend_from_slice(program);
    all
}

/// Starts what the command line says. Of a program that isn't supervised this returns only when it could not be
/// started; what comes back is the exit code to end with.
#[must_use]
pub fn run(launch: &Launch) -> u8 {
    let ended = if launch.supervise { supervise(launch) } else { become_program(launch) };
    ended.unwrap_or_else(|error| {
        let program = launch.program.display();
        // The container's own log is the only place where anyone would look for it.
        let mut stderr = io::stderr().lock();
        _ = io::Write::write_all(&mut stderr, format!("cannot start {program}: {error}\n").as_bytes());
        NOT_STARTED
    })
}

fn harness(launch: &Launch) -> io::Result<Pid> {
    i32::try_from(launch.parent)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "--parent is not a process id"))
}

/// Asks for a signal at the harness's end. It may have ended before we asked: then nobody would ever tell us.
fn tie_to(harness: Pid, end: Signal) -> io::Result<()> {
    set_parent_process_death_signal(Some(end))?;
    if getppid() == Some(harness) {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::BrokenPipe, "the harness is gone"))
}

fn become_program(launch: &Launch) -> io::Result<u8> {
    tie_to(harness(launch)?, Signal::KILL)?;
    Err(Command::new(&launch.program).args(&launch.args).exec())
}

fn supervise(launch: &Launch) -> io::Result<u8> {
    let harness = harness(launch)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let status = runtime.block_on(supervised(harness));
    // Whatever happened, nothing of the program stays behind.
    sweep(getpid());
    let status = status?;
    let code = status.code().or_else(|| status.signal().map(|signal| signal + 128));
    Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(NOT_STARTED))
}

/// Our own command line without `--supervise` and with us as the parent: how the program is started, so that it ends
/// with us should we be killed.
fn plain_command_line(own: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut own = own.peekable();
    let mut all = Vec::new();
    let mut told_parent = false;
    // Options end with the `--` after ours; the launcher's executable may have arguments of its own before them.
    while let Some(argument) = own.next_if(|argument| !(told_parent && argument == OsStr::new("--"))) {
        if argument == OsStr::new("--supervise") {
            continue;
        }
        let is_parent = argument == OsStr::new("--parent");
        all.push(argument);
        if is_parent {
            own.next();
            all.push(getpid().as_raw_pid().to_string().into());
            told_parent = true;
        }
    }
    all.extend(own);
    all
}

async fn supervised(harness: Pid) -> io::Result<ExitStatus> {
    // The handlers come first: SIGTERM is what the harness's end will be told by.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut quit = signal(SignalKind::quit())?;
    let mut child_ended = signal(SignalKind::child())?;
    let own = getpid();
    set_child_subreaper(Some(own))?;
    tie_to(harness, Signal::TERM)?;
    let mut line = plain_command_line(std::env::args_os()).into_iter();
    let launcher = line.next().unwrap_or_default();
    // The executable's own path rather than its name, which need not be on the PATH of the container.
    let launcher = std::env::current_exe().map_or(launcher, Into::into);
    let mut program = tokio::process::Command::new(launcher).args(line).spawn()?;
    let program_pid = program.id();
    // The process group is named after us and belongs to the program: we leave it for the harness's, so that signals
    // to it do not reach us. The terminal's own are the harness's business.
    setpgid(None, Some(getpgid(Some(harness))?))?;
    loop {
        tokio::select! {
            status = program.wait() => return status,
            _ = terminate.recv() => {
                let signal = if getppid() == Some(harness) { Signal::TERM } else { Signal::KILL };
                _ = kill_process_group(own, signal);
            }
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
            _ = quit.recv() => {}
            _ = child_ended.recv() => reap_adopted(own, program_pid),
        }
    }
}

/// Reaps what the program left to us and has ended.
fn reap_adopted(own: Pid, program: Option<u32>) {
    for child in children(own).into_iter().filter(|child| u32::try_from(child.as_raw_pid()).ok() != program) {
        _ = waitpid(Some(child), WaitOptions::NOHANG);
    }
}

/// Kills the group, then everything that had left it, until nothing is left.
fn sweep(own: Pid) {
    _ = kill_process_group(own, Signal::KILL);
    for _ in 0..SWEEPS_MAX {
        let left = children(own);
        if left.is_empty() {
            return;
        }
        for child in left {
            _ = kill_process(child, Signal::KILL);
            _ = waitpid(Some(child), WaitOptions::empty());
        }
    }
}

/// The children of a process, by the kernel's own list.
pub(super) fn children(of: Pid) -> Vec<Pid> {
    let pid = of.as_raw_pid();
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists = threads.flatten().filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|child| child.parse().ok()).collect::<Vec<i32>>())
        .filter_map(Pid::from_raw)
        .collect()
}

/// A command that runs a launcher in a process group of its own, with an environment of its own.
#[must_use]
pub(super) fn command(
    launcher: &[OsString],
    supervise: bool,
    program: &[OsString],
    stdin: Stdio,
) -> Option<tokio::process::Command> {
    let (executable, first) = launcher.split_first()?;
    let mut command = Command::new(executable);
    command
        .args(first)
        .args(arguments(supervise, program))
        .env_clear()
        .process_group(0)
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Some(command.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn a_supervisor_starts_its_program_with_itself_as_the_parent() {
        let own = line("/evenkeel sandbox-process --parent 7 --supervise -- sh --supervise --parent 7 -- x");
        let pid = getpid().as_raw_pid();
        let wanted = line(&format!("/evenkeel sandbox-process --parent {pid} -- sh --supervise --parent 7 -- x"));
        assert_eq!(plain_command_line(own.into_iter()), wanted);
    }

    #[test]
    fn a_launcher_whose_harness_is_gone_starts_nothing() {
        let launch = Launch { parent: 1, supervise: false, program: "/bin/true".into(), args: Vec::new() };
        // Process 1 is not the parent of a test.
        if getppid() != Pid::from_raw(1) {
            assert_eq!(run(&launch), NOT_STARTED);
            set_parent_process_death_signal(None).unwrap();
        }
    }
}
