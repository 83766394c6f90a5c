//! A command of another program: bounded in time, its words kept for the error, and ended with all its children when
//! nobody waits for it any more.

use std::{
    ffi::{OsStr, OsString},
    io,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::AsyncReadExt,
    process::{Child, Command},
    time::timeout,
};

/// How much of a failed command's error output an error quotes, from its end: kind's last words say what failed.
const QUOTED_BYTES_MAX: usize = 4_096;

/// Why a command did not do its work. Each carries the command as one would type it.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It could not be started.
    #[error("cannot run `{command}`; is it installed and on the PATH?")]
    Start {
        /// The command line.
        command: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It ended with a failure.
    #[error("`{command}` failed ({status}): {}", if stderr.is_empty() { "it said nothing" } else { stderr })]
    Failed {
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of its error output.
        stderr: String,
    },
    /// It was ended for taking too long.
    #[error("`{command}` did not end within {} s, so it was stopped", limit.as_secs_f64())]
    TooLong {
        /// The command line.
        command: String,
        /// How long it had.
        limit: Duration,
    },
}

/// What a command wrote.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// A program, with arguments that come before all others.
#[derive(Debug, Clone)]
pub(super) struct Program {
    name: OsString,
    leading: Vec<OsString>,
}

impl Program {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.into(), leading: Vec::new() }
    }

    /// Stands in for a program with a shell script that gets the arguments.
    #[cfg(test)]
    pub(super) fn script(name: &str, script: &str) -> Self {
        Self { name: "sh".into(), leading: ["-c", script, name].map(OsString::from).to_vec() }
    }

    /// Runs the program to its end. Dropping the future ends it, with the processes that it started.
    pub(super) async fn run(&self, args: &[&OsStr], limit: Duration) -> Result<Output, CommandError> {
        let command = self.written(args);
        match timeout(limit, self.run_unbounded(args)).await {
            Err(_) => Err(CommandError::TooLong { command, limit }),
            Ok(Err(source)) => Err(CommandError::Start { command, source }),
            Ok(Ok((status, output))) if status.success() => Ok(output),
            Ok(Ok((status, output))) => {
                Err(CommandError::Failed { command, status, stderr: quoted(output.stderr.trim()).to_owned() })
            }
        }
    }

    async fn run_unbounded(&self, args: &[&OsStr]) -> io::Result<(ExitStatus, Output)> {
        let child = Command::new(&self.name)
            .args(&self.leading)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own: it ends as a whole, and Ctrl-C on a terminal reaches only this process.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let mut group = Group(child);
        let (mut out, mut err) = (group.0.stdout.take(), group.0.stderr.take());
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let (status, ..) = tokio::try_join!(
            group.0.wait(),
            async { if let Some(out) = &mut out { out.read_to_end(&mut stdout).await } else { Ok(0) } },
            async { if let Some(err) = &mut err { err.read_to_end(&mut stderr).await } else { Ok(0) } },
        )?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok((status, Output { stdout: text(stdout), stderr: text(stderr) }))
    }

    fn written(&self, args: &[&OsStr]) -> String {
        let words = std::iter::once(self.name.as_os_str()).chain(args.iter().copied());
        words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
    }
}

/// A child that leads a process group of its own. Dropped while it runs, the whole group goes: kind's `docker run`
/// would otherwise go on making the container that is about to be deleted.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // There is an id only until the child has been waited for, so it cannot be anyone else's yet.
        let leader = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(leader) = leader
            && let Err(error) = kill_process_group(leader, Signal::KILL)
        {
            tracing::debug!(%error, "cannot end a command's process group");
        }
    }
}

fn quoted(text: &str) -> &str {
    let mut from = text.len().saturating_sub(QUOTED_BYTES_MAX);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}
