//! What each command does, as calls to the stages; each ends in an exit code.

mod compare;
mod load;

use std::{
    io::{IsTerminal as _, Write as _},
    path::{Path, PathBuf},
};

use tracing_subscriber::EnvFilter;

use crate::{
    agent,
    cli::{
        Cli, Command, ImageArgs, KindCommand, LauncherArgs, PlanArgs, RbacArgs, RecordArgs, RecoverArgs, SandboxArgs,
        SandboxCommand,
    },
    cluster::{
        self, Cluster, On, embedded,
        kind::{self, Kind, KindError},
    },
    demo,
    exit_code::ExitCode,
    experiment::{self, schema::Experiment},
    failure::{chain, printable},
    image,
    judge::verdict::Answer,
    plan,
    report::terminal::{self, Style},
    run::{conclude, files, recover, signals::Signals, suite},
    sandbox::{
        self, Sandbox,
        kubelet::launcher::{self, Launch},
    },
};

/// What is logged where `EVENKEEL_LOG` asks for nothing: that a port of a sandbox could not be published, since who
/// connects to it then reaches somebody else.
const LOGGED: &str = "off,evenkeel::sandbox::net::relay=warn";

/// Does what the command line says.
#[must_use]
pub fn dispatch(cli: Cli) -> std::process::ExitCode {
    match cli.command {
        // Before any runtime: it becomes the program, and ends with the program's own code.
        Command::SandboxProcess(LauncherArgs { parent, supervise, mut program }) => {
            let args = program.split_off(program.len().min(1));
            let program = program.pop().unwrap_or_default();
            launcher::run(&Launch { parent, supervise, program, args }).into()
        }
        command => perform_in_runtime(command).into(),
    }
}

fn perform_in_runtime(command: Command) -> ExitCode {
    // The sample service says when it starts and stops, as services do: that is what `kubectl logs` shows.
    let default = if matches!(command, Command::Demo(_)) { "info" } else { LOGGED };
    let filter = EnvFilter::try_from_env("EVENKEEL_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let ansi = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi).init();
    // One thread conducts; the load core has one of its own.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: failed to start the runtime: {error}");
            return ExitCode::Internal;
        }
    };
    runtime.block_on(perform(command))
}

async fn perform(command: Command) -> ExitCode {
    match command {
        Command::Run(args) => Box::pin(suite::run(args)).await,
        Command::Plan(args) => plan(args).await,
        Command::Recover(args) => recover(args).await,
        Command::Rbac(args) => rbac(&args),
        Command::Load(args) => Box::pin(load::load(*args)).await,
        Command::Judge(args) => judge(&args),
        Command::Report(args) => report(&args),
        Command::Compare(args) => compare::perform(&args),
        Command::Kind(command) => kind(command).await,
        Command::Sandbox(SandboxCommand::Up(args)) => sandbox_up(args).await,
        Command::Image(args) => write_image(&args),
        Command::Schema => print(&experiment::schema_json()),
        Command::Demo(options) => serve(demo::serve(options).await),
        Command::DemoSleep { span } => {
            demo::pause(span).await;
            ExitCode::Held
        }
        // Done before there is a runtime.
        Command::SandboxProcess(_) => ExitCode::Internal,
        Command::Agent(options) => serve(agent::server::serve(options).await),
    }
}

fn print(text: &str) -> ExitCode {
    // A reader that has gone, such as `head`, is not an error.
    drop(std::io::stdout().lock().write_all(text.as_bytes()));
    ExitCode::Held
}

fn refuse(code: ExitCode, problem: impl std::fmt::Display) -> ExitCode {
    eprintln!("error: {problem}");
    code
}

fn serve<E: std::error::Error>(served: Result<(), E>) -> ExitCode {
    match served {
        Ok(()) => ExitCode::Held,
        Err(error) => refuse(ExitCode::Setup, chain(&error)),
    }
}

async fn plan(args: PlanArgs) -> ExitCode {
    let on = args.cluster.on.clone().unwrap_or(On::Sandbox);
    let text = match std::fs::read_to_string(&args.file) {
        Ok(text) => text,
        Err(error) => return refuse(ExitCode::Usage, format!("failed to read {}: {error}", args.file.display())),
    };
    let experiment = match experiment::read(&args.file.display().to_string(), &text) {
        Ok(experiment) => experiment,
        Err(problems) => {
            eprintln!("{problems}");
            return ExitCode::Usage;
        }
    };
    if on == On::Sandbox {
        return match embedded::start(&experiment.spec.given.sandbox).await {
            Ok(sandbox) => {
                let code = print_plan(&args, &experiment, &sandbox.cluster).await;
                sandbox.stop().await;
                code
            }
            Err(error) => refuse(ExitCode::Setup, chain(&error)),
        };
    }
    match cluster::connect(&on).await {
        Ok(cluster) => print_plan(&args, &experiment, &cluster).await,
        Err(error) => refuse(ExitCode::Setup, chain(&error)),
    }
}

async fn print_plan(args: &PlanArgs, experiment: &Experiment, cluster: &Cluster) -> ExitCode {
    match suite::prepare(experiment, cluster).await {
        Ok(plan) if args.json => match serde_json::to_string_pretty(&plan) {
            Ok(json) => print(&(json + "\n")),
            Err(error) => refuse(ExitCode::Internal, error),
        },
        Ok(plan) => print(&plan.to_text()),
        Err((code, problem)) => refuse(code, problem),
    }
}

async fn recover(args: RecoverArgs) -> ExitCode {
    // With --json, progress goes nowhere: what was done is in the answer.
    let tell = |line: &str| {
        if !args.json {
            eprintln!("{}", printable(line));
        }
    };
    let recovered = Box::pin(recover::recover(args.cluster.on, &tell)).await;
    let text = if args.json {
        match serde_json::to_string_pretty(&recovered) {
            Ok(json) => json + "\n",
            Err(error) => return refuse(ExitCode::Internal, error),
        }
    } else {
        recovered.to_text()
    };
    print(&text);
    recovered.exit_code()
}

fn rbac(args: &RbacArgs) -> ExitCode {
    let experiments = match files::find_all(&args.files) {
        Ok(experiments) => experiments,
        Err(problems) => {
            eprint!("{problems}");
            return ExitCode::Usage;
        }
    };
    match plan::rbac::roles(&experiments, &args.name) {
        Ok(roles) => print(&roles),
        Err(problems) => {
            let lines: Vec<String> = problems.iter().map(|problem| chain(problem)).collect();
            refuse(ExitCode::Usage, lines.join("\n       "))
        }
    }
}

fn judge(args: &RecordArgs) -> ExitCode {
    match conclude::conclude(&args.run) {
        Ok(verdict) => {
            let code = match verdict.verdict {
                Answer::Held => ExitCode::Held,
                Answer::Broken => ExitCode::Broken,
                Answer::Inconclusive => ExitCode::Inconclusive,
                Answer::Error => ExitCode::Setup,
            };
            if args.json {
                match serde_json::to_string_pretty(&verdict) {
                    Ok(json) => print(&(json + "\n")),
                    Err(error) => return refuse(ExitCode::Internal, error),
                };
            } else {
                let page = args.run.join("report.html").display().to_string();
                print(&terminal::summary(&verdict, &page, Style::of_stdout()));
            }
            code
        }
        Err(problem) => refuse(ExitCode::Usage, problem),
    }
}

fn report(args: &RecordArgs) -> ExitCode {
    match conclude::conclude(&args.run) {
        Ok(_) => print(&format!("{}\n", args.run.join("report.html").display())),
        Err(problem) => refuse(ExitCode::Usage, problem),
    }
}

async fn kind(command: KindCommand) -> ExitCode {
    match command {
        KindCommand::Up { config, name, node_image, executable } => {
            let name = match kind::cluster_name(&config, name.as_deref()) {
                Ok(name) => name,
                Err(error) => return refuse(ExitCode::Usage, chain(&error)),
            };
            let archive = match pack_aside(executable.as_deref()) {
                Ok(archive) => archive,
                Err(problem) => return refuse(ExitCode::Setup, problem),
            };
            let signals = match Signals::listen() {
                Ok(signals) => signals,
                Err(error) => return refuse(ExitCode::Internal, format!("failed to listen for signals: {error}")),
            };
            let progress = |progress: kind::Progress| match progress {
                kind::Progress::Creating => eprintln!("creating the nodes of kind:{name}"),
                kind::Progress::NodesReady { ready, of } => eprintln!("{ready} of {of} nodes ready"),
                kind::Progress::LoadingImages => eprintln!("loading evenkeel's image into the nodes"),
            };
            let stop = signals.asked(1);
            let made = Kind::from_env().up(&config, &name, node_image.as_deref(), &archive, stop, progress).await;
            drop(std::fs::remove_file(&archive));
            match made {
                Ok(()) => print(&format!("kind:{name} is ready: evenkeel run experiments/drain --on kind:{name}\n")),
                Err(error @ KindError::Stopped { .. }) => refuse(ExitCode::Interrupted, chain(&error)),
                Err(error) => refuse(ExitCode::Setup, chain(&error)),
            }
        }
        KindCommand::Down { name } => match Kind::from_env().down(&name).await {
            Ok(()) => ExitCode::Held,
            Err(error) => refuse(ExitCode::Setup, chain(&error)),
        },
    }
}

async fn sandbox_up(args: SandboxArgs) -> ExitCode {
    let signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return refuse(ExitCode::Internal, format!("failed to listen for signals: {error}")),
    };
    let executable = match std::env::current_exe() {
        Ok(executable) => executable,
        Err(error) => return refuse(ExitCode::Setup, format!("failed to find this executable: {error}")),
    };
    let options = sandbox::Options {
        topology: sandbox::Topology { control_planes: args.control_planes, workers: args.nodes, zones: args.zones },
        stand_ins: args.stand_ins,
        host_programs: args.host_programs,
        status_only: args.status_only,
        serve: Some(args.port.unwrap_or(0)),
        ..sandbox::Options::new(executable)
    };
    let sandbox = match Sandbox::start(options).await {
        Ok(sandbox) => sandbox,
        Err(error) => return refuse(ExitCode::Setup, chain(&error)),
    };
    print(&sandbox.kubeconfig().unwrap_or_default());
    eprintln!("the sandbox is ready; Ctrl-C ends it");
    signals.asked(1).await;
    sandbox.stop().await;
    ExitCode::Held
}

/// The image as an archive in a file of its own, which the caller removes.
fn pack_aside(executable: Option<&Path>) -> Result<PathBuf, String> {
    let path = std::env::temp_dir().join(format!("evenkeel-image-{}.tar", std::process::id()));
    pack(executable, &path).map(|_| path)
}

fn pack(executable: Option<&Path>, out: &Path) -> Result<image::ImageSummary, String> {
    let own = std::env::current_exe().map_err(|error| format!("failed to find this executable: {error}"))?;
    let file = std::fs::File::create(out).map_err(|error| format!("failed to create {}: {error}", out.display()))?;
    image::write_archive(executable.unwrap_or(&own), &image::DEFAULT_TAGS, std::io::BufWriter::new(file)).map_err(
        |error| {
            drop(std::fs::remove_file(out));
            chain(&error)
        },
    )
}

fn write_image(args: &ImageArgs) -> ExitCode {
    match pack(args.executable.as_deref(), &args.out) {
        Ok(summary) => print(&{
            let names: Vec<&str> = summary.images.iter().map(|(name, _)| name.as_str()).collect();
            let megabytes = summary.archive_bytes as f64 / 1e6;
            format!("{}: {megabytes:.1} MB, {}: {}\n", args.out.display(), summary.architecture, names.join(", "))
        }),
        Err(problem) => refuse(ExitCode::Setup, problem),
    }
}
