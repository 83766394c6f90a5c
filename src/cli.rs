//! The command line as types: what can be said, and the help that teaches it. What it does is in `commands`.

use std::{ffi::OsString, path::PathBuf, str::FromStr};

use clap::{Args, Parser, Subcommand};

use crate::{
    agent::server::AgentOptions,
    cluster::On,
    demo::options::DemoOptions,
    experiment::{
        traffic::RateJump,
        units::{Percent, Rate, Span, UnitError},
    },
    image::AGENT_IMAGE,
};

const AFTER_HELP: &str = "\
Exit codes:
    0  held                            4  set-up failed (cluster, rights, workload)
    1  broken                          5  something could not be undone
    2  bad file or flags, not started  70 a fault of evenkeel's own
    3  inconclusive                    130 interrupted, and everything undone

Start with:
    evenkeel run experiments/drain/b1-one-node.yaml

and the same on a real cluster:
    evenkeel kind up kind-configs/three-workers.yaml
    evenkeel run experiments/drain/b1-one-node.yaml --on kind:evenkeel";

/// Proves that a service stays up while Kubernetes moves under it.
#[derive(Debug, Parser)]
#[command(name = "evenkeel", version, about, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What evenkeel can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run experiments: faults under load on a cluster, and a verdict.
    Run(RunArgs),
    /// Say all that `run` would do, and touch nothing.
    Plan(PlanArgs),
    /// Undo what an interrupted run left behind.
    Recover(RecoverArgs),
    /// Print the roles that experiments need, and no more.
    Rbac(RbacArgs),
    /// Load a URL, and say what became of every request.
    Load(Box<LoadArgs>),
    /// Judge a kept record again.
    Judge(RecordArgs),
    /// Write the report of a kept record again.
    Report(RecordArgs),
    /// Hold two runs of an experiment, or of a suite, against each other: better, the same or worse.
    Compare(CompareArgs),
    /// Make and remove kind clusters that experiments run on as they are.
    #[command(subcommand)]
    Kind(KindCommand),
    /// Start an embedded cluster to play with.
    #[command(subcommand)]
    Sandbox(SandboxCommand),
    /// Write evenkeel's own container image as an archive, without a container engine.
    Image(ImageArgs),
    /// Print the JSON Schema of experiment files, for editors.
    Schema,
    /// The sample service, for use inside a cluster.
    Demo(DemoOptions),
    /// A preStop hook for images without a shell: wait, then end.
    #[command(hide = true)]
    DemoSleep {
        /// How long.
        span: Span,
    },
    /// What stands before each process of a sandbox, so that none outlives it.
    #[command(hide = true)]
    SandboxProcess(LauncherArgs),
    /// The load agent, for use inside a cluster.
    #[command(hide = true)]
    Agent(AgentOptions),
}

/// Which cluster, and with what.
#[derive(Debug, Clone, Args)]
pub struct ClusterArgs {
    /// The cluster: sandbox (where left out), kind:NAME, or context:NAME of your kubeconfig. Never the current context
    /// by itself.
    #[arg(long, value_name = "CLUSTER")]
    pub on: Option<On>,
}

/// `evenkeel run`.
#[derive(Debug, Args)]
#[command(after_help = "\
Several files or folders make a suite; every file is checked before the first is run. In folders, files of \
kind Experiment are taken, and folders whose name begins with `_` are left out.

Ctrl-C stops the run, undoes everything, and exits 130.")]
pub struct RunArgs {
    /// Experiment files, or folders of them.
    #[arg(required = true, value_name = "FILE_OR_DIR")]
    pub files: Vec<PathBuf>,
    /// Where it runs.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// The folder for records and reports; it is made, and must be empty or absent. [default: runs/TIME]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// How many experiments run side by side, each in a sandbox of its own. [default: 4, as far as their load leaves room]
    #[arg(short, long, value_name = "N", value_parser = jobs)]
    pub jobs: Option<usize>,
    /// Run each experiment so many times, and count the answers: a verdict that flips is a finding of its own.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub repeat: u16,
    /// The image of the load agent, for lanes from inside the cluster.
    #[arg(long, value_name = "IMAGE", default_value = AGENT_IMAGE)]
    pub agent_image: String,
}

fn jobs(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(jobs @ 1..=64) => Ok(jobs),
        _ => Err("write a number from 1 to 64".to_owned()),
    }
}

/// `evenkeel plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The experiment file.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Where it would run.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Print JSON, as in plan.json.
    #[arg(long)]
    pub json: bool,
}

/// `evenkeel recover`.
#[derive(Debug, Args)]
#[command(after_help = "\
A run writes down what it is about to change before it changes it: in its own folder, and in lease default/evenkeel of \
the cluster. Either is enough. Without --on, every cluster is looked at on which a run of this machine was interrupted; \
with it, that cluster's lease as well, whichever machine the run was on.

Exits 0 when everything is as it was, also when there was nothing to do, and 5 when something is not.")]
pub struct RecoverArgs {
    /// The cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Print what was done as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `evenkeel rbac`.
#[derive(Debug, Args)]
#[command(after_help = "\
    evenkeel rbac experiments/drain | kubectl apply -f -
    kubectl create clusterrolebinding evenkeel --clusterrole=evenkeel --user=NAME")]
pub struct RbacArgs {
    /// Experiment files, or folders of them.
    #[arg(required = true, value_name = "FILE_OR_DIR")]
    pub files: Vec<PathBuf>,
    /// What the roles are called.
    #[arg(long, value_name = "NAME", default_value = "evenkeel")]
    pub name: String,
}

/// `evenkeel load`.
#[derive(Debug, Args)]
#[command(after_help = "\
Open loop: a request is due when the rate says so, whatever became of the ones before, and its time counts from then. \
With --rate max each connection sends its next request when it has the answer to the last one.

Exit codes: 0 every request was answered as asked, 1 some were lost, 3 it cannot be told (the load generator itself \
was held up or short of something), 4 the name has no address.

Besides http and https, a URL may begin with grpc or grpcs (unary calls: grpc://HOST:PORT/package.Service/Method), ws or \
wss (a message there and one back), and tcp (a line there and one back: tcp://HOST:PORT).

    evenkeel load http://127.0.0.1:8080/ --rate 500/s --duration 30s --json load.json")]
pub struct LoadArgs {
    /// What to ask, such as <http://127.0.0.1:8080/cart>. Where it has {id}, each request sends its number there, and must
    /// find it in the answer.
    #[arg(value_name = "URL")]
    pub url: String,
    /// Requests per time, such as 200/s or 600/m, or `max`.
    #[arg(short, long, value_name = "RATE", default_value = "200/s")]
    pub rate: LoadRate,
    /// For how long requests fall due.
    #[arg(short, long, value_name = "DURATION", default_value = "10s")]
    pub duration: Span,
    /// Connections that are kept open; when all are busy, further ones are opened.
    #[arg(short, long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=16_384))]
    pub connections: u16,
    /// A new connection for each request.
    #[arg(long, conflicts_with = "connections")]
    pub new_connections: bool,
    /// Close a connection after so many requests.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub requests_per_connection: Option<u32>,
    /// Close a connection that is so old.
    #[arg(long, value_name = "DURATION")]
    pub connection_age: Option<Span>,
    /// Reach the rate evenly from --from within this time.
    #[arg(long, value_name = "DURATION", conflicts_with_all = ["saw_tooth", "step"])]
    pub ramp: Option<Span>,
    /// Rise evenly from --from to the rate within this time, again and again.
    #[arg(long, value_name = "DURATION", conflicts_with = "step")]
    pub saw_tooth: Option<Span>,
    /// Where --ramp and --saw-tooth begin. [default: nothing]
    #[arg(long, value_name = "RATE")]
    pub from: Option<Rate>,
    /// Jump to another rate after a time, such as 10s=500/s; may be given several times, in order.
    #[arg(long, value_name = "TIME=RATE", value_parser = jump)]
    pub step: Vec<RateJump>,
    /// Speak HTTP/2, without TLS with prior knowledge.
    #[arg(long)]
    pub http2: bool,
    /// The text of a message (ws) or line (tcp), in which {id} is the request's number and must come back; the base64 of a
    /// call's message (grpc), in which {id______} is the number in as many digits. [default: evenkeel {id}, or an empty
    /// message]
    #[arg(long, value_name = "TEXT")]
    pub send: Option<String>,
    /// How long a request may take from the moment it is due, connecting included.
    #[arg(long, value_name = "DURATION", default_value = "2s")]
    pub timeout: Span,
    /// How long connecting may take.
    #[arg(long, value_name = "DURATION", default_value = "1s")]
    pub connect_timeout: Span,
    /// The status that an answer must have.
    #[arg(long, value_name = "CODE", default_value_t = 200, value_parser = clap::value_parser!(u16).range(200..=599))]
    pub status: u16,
    /// Text that each body must contain.
    #[arg(long, value_name = "TEXT")]
    pub body_contains: Option<String>,
    /// Bytes that each body must have.
    #[arg(long, value_name = "N")]
    pub body_length: Option<u64>,
    /// The SHA-256 that each body must have, in hexadecimal digits.
    #[arg(long, value_name = "SUM")]
    pub body_sha256: Option<String>,
    /// Take each answer for a stream that does not end by itself, and listen to it for so long (HTTP/1.1).
    #[arg(long, value_name = "DURATION", conflicts_with_all = ["connections", "http2", "body_length", "body_sha256"])]
    pub stream_for: Option<Span>,
    /// The longest time between two pieces of a stream.
    #[arg(long, value_name = "DURATION", default_value = "1s", requires = "stream_for")]
    pub stream_idle: Span,
    /// With https: do not check the server's certificate.
    #[arg(long)]
    pub insecure: bool,
    /// Write the result as JSON, to standard output where FILE is `-`.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the histograms of each tenth of a second as an interval log (V2) that the tools of `HdrHistogram` read.
    #[arg(long, value_name = "FILE")]
    pub hlog: Option<PathBuf>,
    /// Write the response times as a table of percentiles that the tools of `HdrHistogram` plot, in milliseconds.
    #[arg(long, value_name = "FILE")]
    pub hgrm: Option<PathBuf>,
}

/// A rate, or none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LoadRate {
    /// As fast as the connections allow.
    Max,
    /// Requests per second.
    Rate(Rate),
}

impl FromStr for LoadRate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        let rate: Result<Rate, UnitError> = text.parse();
        rate.map(Self::Rate).map_err(|error| format!("{error}, or `max`"))
    }
}

/// A jump of the rate as the command line has it: `10s=500/s`.
fn jump(text: &str) -> Result<RateJump, String> {
    let (at, rate) =
        text.split_once('=').ok_or_else(|| format!("cannot read `{text}`; write one such as 10s=500/s"))?;
    let words = |error: UnitError| error.to_string();
    Ok(RateJump { at: at.parse().map_err(words)?, rate: rate.parse().map_err(words)? })
}

/// `evenkeel judge` and `evenkeel report`.
#[derive(Debug, Args)]
pub struct RecordArgs {
    /// The folder of one experiment in a run's output, the one with events.jsonl.
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// Print the verdict as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `evenkeel compare`.
#[derive(Debug, Args)]
#[command(after_help = "\
Each side is the folder of one run, a folder with several (a suite, or --repeat), or a verdict.json that is kept, in git \
for example. Runs of the same experiment are taken together. Losses are compared by an exact test at 1 %, times by their \
medians.

Exit codes: 0 better or the same, 1 worse, 2 nothing to compare, 3 a side is inconclusive.")]
pub struct CompareArgs {
    /// The earlier run, or the baseline.
    #[arg(value_name = "BEFORE")]
    pub before: PathBuf,
    /// The later run.
    #[arg(value_name = "AFTER")]
    pub after: PathBuf,
    /// The share by which a time may grow.
    #[arg(long, value_name = "PERCENT", default_value = "20%")]
    pub tolerance: Percent,
    /// Print the comparison as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `evenkeel kind`.
#[derive(Debug, Subcommand)]
pub enum KindCommand {
    /// Make a cluster and load evenkeel's image into it.
    Up {
        /// A kind configuration, such as kind-configs/three-workers.yaml.
        config: PathBuf,
        /// The cluster's name. [default: the configuration's name, or evenkeel]
        #[arg(long)]
        name: Option<String>,
        /// The node image, where kind's own default cannot be pulled.
        #[arg(long, env = "EVENKEEL_NODE_IMAGE", value_name = "IMAGE")]
        node_image: Option<String>,
        /// A static evenkeel to load instead of this one.
        #[arg(long, env = "EVENKEEL_STATIC", value_name = "FILE")]
        executable: Option<PathBuf>,
    },
    /// Remove a cluster.
    Down {
        /// The cluster's name.
        name: String,
    },
}

/// `evenkeel sandbox`.
#[derive(Debug, Subcommand)]
pub enum SandboxCommand {
    /// Start an embedded cluster, print its kubeconfig on standard output, and stay until Ctrl-C.
    Up(SandboxArgs),
}

/// `evenkeel sandbox up`.
#[derive(Debug, Args)]
#[command(after_help = "\
Pods are processes of this machine on loopback addresses of their own; docs/sandbox-fidelity.md says what is real, \
modelled or absent.

    evenkeel sandbox up >sandbox.kubeconfig &
    kubectl --kubeconfig sandbox.kubeconfig get nodes")]
pub struct SandboxArgs {
    /// Nodes that run pods.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub nodes: u16,
    /// Nodes of the control plane.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=7))]
    pub control_planes: u16,
    /// Zones that the nodes are spread over; without it no node has a zone.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    pub zones: Option<u16>,
    /// Images that run as the sample service, such as `nginx:*`; may be given several times.
    #[arg(long = "stand-in", value_name = "PATTERN")]
    pub stand_ins: Vec<String>,
    /// Let containers whose command is a program of this machine run it, with your own rights.
    #[arg(long)]
    pub host_programs: bool,
    /// Run nothing: every pod is ready as soon as it has a node. For clusters of thousands of pods.
    #[arg(long)]
    pub status_only: bool,
    /// The port of the API on 127.0.0.1; a free one where left out.
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
}

/// `evenkeel sandbox-process`.
#[derive(Debug, Args)]
pub struct LauncherArgs {
    /// The process that the program is tied to.
    #[arg(long, value_name = "PID")]
    pub parent: u32,
    /// Stay beside the program, since it may fork.
    #[arg(long)]
    pub supervise: bool,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    pub program: Vec<OsString>,
}

/// `evenkeel image`.
#[derive(Debug, Args)]
pub struct ImageArgs {
    /// The archive to write.
    #[arg(value_name = "FILE", default_value = "evenkeel-image.tar")]
    pub out: PathBuf,
    /// A static evenkeel to pack instead of this one.
    #[arg(long, env = "EVENKEEL_STATIC", value_name = "FILE")]
    pub executable: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
