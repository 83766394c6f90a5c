//! Commands inside a container, of hooks, probes and `kubectl exec`: its environment, its folder, its network.

use std::sync::Arc;

use tokio::{io::AsyncReadExt as _, time::sleep};

use super::{
    http_get,
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

/// Whether a command may run in a container, without running it.
///
/// # Errors
/// When the container does not run, or the command may not.
pub fn check(shared: &Shared, pod: &PodHandle, container: &str, line: &[String]) -> Result<(), ExecError> {
    let seat = running(pod, container)?;
    if seat.stand_in_port.is_some() && moves_page(line).is_some() {
        return Ok(());
    }
    rules(shared).command(line)?;
    Ok(())
}

fn running(pod: &PodHandle, container: &str) -> Result<Seat, ExecError> {
    pod.seat(container).filter(Seat::runs).ok_or_else(|| ExecError::NotRunning(container.to_owned()))
}

fn rules(shared: &Shared) -> Rules<'_> {
    let options = &shared.options;
    Rules { stand_ins: &options.stand_ins, host_programs: options.host_programs, find: &program::find_on_host }
}

/// Starts a command in a running container, with its standard streams.
///
/// # Errors
/// When the container does not run, or the command may not.
pub async fn start(
    shared: &Shared,
    pod: &PodHandle,
    container: &str,
    line: &[String],
) -> Result<(Process, Stdio3), ExecError> {
    let seat = running(pod, container)?;
    let options = &shared.options;
    let mut line = line.to_vec();
    if let (Some(port), Some(there), Some(address)) = (seat.stand_in_port, moves_page(&line), pod.address()) {
        // A stand-in has no page to move, so it is told what the move is for; what is left to run is nothing.
        let order = if there { "heal" } else { "unready" };
        let told = http_get::Target::control(address, port, order).get().await;
        told.map_err(|why| ExecError::Start(std::io::Error::other(why.into_words())))?;
        line = ["/evenkeel", "demo-sleep", "0ms"].map(str::to_owned).to_vec();
    }
    let program = rules(shared).command(&line)?;
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
    let (process, streams) = start(shared, pod, container, line).await?;
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

/// Whether a command moves a web server's page back to its place (true) or away from it (false): how upstream's tests of
/// `StatefulSets`, which take Apache's image, make a pod ready or unready.
fn moves_page(line: &[String]) -> Option<bool> {
    let script = line.last()?;
    let words: Vec<&str> = script.split_whitespace().take_while(|word| *word != "||").collect();
    let names: Vec<&str> = words.iter().copied().filter(|word| !word.starts_with('-')).collect();
    let ["mv", from, to] = names.as_slice() else { return None };
    let page = |path: &str| path.ends_with("/index.html");
    match (from.starts_with("/tmp/"), to.starts_with("/tmp")) {
        (false, true) if page(from) => Some(false),
        (true, false) if page(from) => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::moves_page;

    #[test]
    fn a_web_servers_page_is_moved_away_and_back() {
        for (script, wanted) in [
            ("mv -v /usr/local/apache2/htdocs/index.html /tmp/ || true", Some(false)),
            ("mv -v /tmp/index.html /usr/local/apache2/htdocs/ || true", Some(true)),
            ("mv /a/b /tmp/", None),
            ("mv /tmp/index.html /tmp/x", None),
            ("ls /usr/local/apache2/htdocs/index.html", None),
            ("", None),
        ] {
            let line = ["/bin/sh", "-x", "-c", script].map(str::to_owned);
            assert_eq!(moves_page(&line), wanted, "{script}");
        }
        assert_eq!(moves_page(&[]), None);
    }
}
