//! Commands inside a container, of hooks, probes and `kubectl exec`: its environment, its folder, its network.

use std::sync::Arc;

use tokio::{io::AsyncReadExt as _, time::sleep};

use super::{
    pods::{PodHandle, Seat},
    process::{Exit, Process, ProcessSpec, Stdio3},
    program::{self, NoProgram, Rules},
    shared::Shared,
};

/// What is kept of a command's output.
const OUTPUT_MAX: u64 = 10 * 1024;

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// How.
    pub exit: Exit,
    /// What it wrote, to both its streams.
    pub output: String,
}

/// Why a command did not run.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The container does not run.
    #[error("container {0:?} is not running")]
    NotRunning(String),
    /// It is not a program that may run.
    #[error(transparent)]
    Program(#[from] NoProgram),
    /// It could not be started.
    #[error("cannot start a process: {0}")]
    Start(#[from] std::io::Error),
}

/// Starts a command in a running container, with its standard streams.
///
/// # Errors
/// When the container does not run, or the command may not.
pub fn start(
    shared: &Shared,
    pod: &PodHandle,
    container: &str,
    line: &[String],
) -> Result<(Process, Stdio3), ExecError> {
    let seat = pod.seat(container).filter(Seat::runs).ok_or_else(|| ExecError::NotRunning(container.to_owned()))?;
    let options = &shared.options;
    let rules =
        Rules { stand_ins: &options.stand_ins, host_programs: options.host_programs, find: &program::find_on_host };
    let program = rules.command(line.to_vec())?;
    let spec = ProcessSpec {
        program: program.line(&options.programs),
        env: seat.env.clone(),
        cwd: seat.cwd.clone(),
        supervise: program.may_fork(),
    };
    Ok(Process::start_piped(&options.programs.launcher, &spec, &shared.live)?)
}

/// Runs a command to its end and collects its output. Dropping it kills the command.
///
/// # Errors
/// When it could not run.
pub async fn run(shared: &Arc<Shared>, pod: &PodHandle, container: &str, line: &[String]) -> Result<Done, ExecError> {
    // Without a process: the usual hook, of images that have `sleep` and of those that do not.
    if let Some(span) = program::parse_sleep(line).filter(|_| pod.seat(container).is_some_and(|seat| seat.runs())) {
        sleep(span).await;
        return Ok(Done { exit: Exit::Code(0), output: String::new() });
    }
    let (process, streams) = start(shared, pod, container, line)?;
    let Stdio3 { stdin, mut stdout, mut stderr } = streams;
    drop(stdin);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let read_out = async {
        _ = (&mut stdout).take(OUTPUT_MAX).read_to_end(&mut out).await;
        // A writer that is not read would wait for ever.
        _ = tokio::io::copy(&mut stdout, &mut tokio::io::sink()).await;
    };
    let read_err = async {
        _ = (&mut stderr).take(OUTPUT_MAX).read_to_end(&mut err).await;
        _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
    };
    let ((), (), exit) = tokio::join!(read_out, read_err, process.wait());
    out.extend(err);
    Ok(Done { exit, output: String::from_utf8_lossy(&out).into_owned() })
}
