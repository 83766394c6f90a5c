//! A suite: experiment files found, every one checked before the first is run, then run one after another, each with
//! its own folder, and one verdict for all.

use std::{
    fmt::Write as _,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures::{StreamExt as _, stream};
use tokio::{
    sync::{OnceCell, Semaphore},
    time::Instant,
};

use super::{
    conclude::conclude,
    conductor::{self, Order, RunEnd, Stacks},
    files::find,
    signals::Signals,
};
use crate::{
    cli::RunArgs,
    cluster::{self, Cluster, On, embedded, rights::AccessQuestion},
    exit_code::ExitCode,
    experiment::schema::{Experiment, Lane},
    failure::chain,
    fault::{
        ledger::{Hold, HoldError, hold},
        undo::Undo,
    },
    judge::verdict::{Answer, Verdict},
    plan::{self, Plan, PlanProblem, Right},
    record::event::EndReason,
    report::{
        self,
        live::{Live, Shown, state::ShownLane},
        suite::SuiteCase,
        terminal::Style,
    },
};

/// Requests per second that experiments side by side may send in all: more, and they would disturb each other's
/// measurement on a machine of two cores.
const RATE_SIDE_BY_SIDE_MAX: u32 = 1_500;

/// Experiments in sandboxes that run side by side where `--jobs` does not say how many. Each mostly waits.
const JOBS: usize = 4;

/// `evenkeel run`: what to tell people goes to standard error, the summaries to standard output.
pub async fn run(args: RunArgs) -> ExitCode {
    let on = args.cluster.on.unwrap_or(On::Sandbox);
    let experiments = match find(&args.files, &on) {
        Ok(experiments) => experiments,
        Err(problems) => {
            eprint!("{problems}");
            return ExitCode::Usage;
        }
    };
    if args.jobs.is_some_and(|jobs| jobs > 1) && on != On::Sandbox {
        eprintln!(
            "error: --jobs {} needs a cluster for each experiment; only sandboxes run side by side",
            args.jobs.unwrap_or(1)
        );
        return ExitCode::Usage;
    }
    let out = args
        .out
        .unwrap_or_else(|| PathBuf::from("runs").join(jiff::Zoned::now().strftime("%Y-%m-%dT%H-%M-%S").to_string()));
    if let Err(error) = make_folder(&out) {
        eprintln!("error: {error}");
        return ExitCode::Usage;
    }
    let signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("error: failed to listen for signals: {error}");
            return ExitCode::Internal;
        }
    };
    let place = match &on {
        On::Sandbox => {
            let runs = experiments.len() * usize::from(args.repeat);
            Place::Sandboxes { jobs: args.jobs.unwrap_or(JOBS).min(runs) }
        }
        on => match cluster::connect(on).await {
            Ok(cluster) => Place::Standing(Box::new(cluster)),
            Err(error) => {
                eprintln!("error: {}", chain(&error));
                return ExitCode::Setup;
            }
        },
    };
    let suite = Suite {
        out: &out,
        on: &on,
        place: &place,
        agent_image: &args.agent_image,
        signals: &signals,
        rate: Semaphore::new(RATE_SIDE_BY_SIDE_MAX as usize),
        run: hold::new_run(),
        hold: OnceCell::new(),
        stacks: Stacks::default(),
    };
    let turns = turns(&experiments, args.repeat);
    tokio::select! {
        code = suite.run(&turns) => code,
        // The second Ctrl-C: whoever insists is let go, and told what stays.
        // Looked at while the runs are still there: the other branch's future is gone once this one has won.
        left = async { signals.asked(2).await; suite.stacks.left() } => {
            eprintln!("{}", what_stays(&left, &on));
            ExitCode::NotUndone
        }
    }
}

/// What whoever ends a run at once has to know: what stays, and how to undo it.
fn what_stays(left: &[Undo], on: &On) -> String {
    let mut words = "stopped at once".to_owned();
    match (left, on) {
        ([], _) => words.push_str("; nothing was left to undo"),
        (_, On::Sandbox) => words.push_str("; its sandbox ends with it"),
        (left, on) => {
            words.push_str("; this has not been undone:");
            for undo in left {
                // Writing to a String cannot fail.
                _ = write!(words, "\n  {} (by hand: {})", undo.action(), undo.by_hand());
            }
            _ = write!(words, "\nto undo all of it: evenkeel recover --on {on}");
        }
    }
    words
}

/// The folder of a suite: new or empty, so that no earlier record is mixed with this one.
fn make_folder(out: &Path) -> Result<(), String> {
    let told = |error: std::io::Error| format!("failed to make the output folder {}: {error}", out.display());
    std::fs::create_dir_all(out).map_err(told)?;
    if std::fs::read_dir(out).map_err(told)?.next().is_some() {
        return Err(format!("the output folder {} is not empty; name another with --out", out.display()));
    }
    Ok(())
}

/// One run of one experiment.
struct Turn<'a> {
    experiment: &'a Experiment,
    /// The folder of its record, within the suite's: the experiment's name, numbered where it is run several times.
    folder: String,
}

/// The runs of a suite: each experiment so many times, one whole round after another.
fn turns(experiments: &[Experiment], repeat: u16) -> Vec<Turn<'_>> {
    let turn = |experiment: &'_ Experiment, round: u16| match repeat {
        0 | 1 => experiment.metadata.name.clone(),
        _ => format!("{}-{round}", experiment.metadata.name),
    };
    (1..=repeat.max(1))
        .flat_map(|round| {
            experiments.iter().map(move |experiment| Turn { experiment, folder: turn(experiment, round) })
        })
        .collect()
}

/// Where the experiments of a suite run.
enum Place {
    /// All on one cluster, one after another.
    Standing(Box<Cluster>),
    /// Each in a sandbox of its own, so many side by side.
    Sandboxes { jobs: usize },
}

impl Place {
    const fn jobs(&self) -> usize {
        match self {
            Self::Standing(_) => 1,
            Self::Sandboxes { jobs } => *jobs,
        }
    }
}

/// What all runs of a suite share.
struct Suite<'a> {
    out: &'a Path,
    on: &'a On,
    place: &'a Place,
    agent_image: &'a str,
    signals: &'a Signals,
    /// Requests per second that are still to be had.
    rate: Semaphore,
    /// This run's id.
    run: String,
    /// The standing cluster, held from the first experiment to the end of the last.
    hold: OnceCell<Arc<Hold>>,
    /// What there is to undo.
    stacks: Stacks,
}

impl Suite<'_> {
    async fn run(&self, turns: &[Turn<'_>]) -> ExitCode {
        let total = turns.len();
        let cases = turns.iter().enumerate().map(|(index, turn)| self.case(index + 1, total, turn));
        let cases: Vec<Option<SuiteCase>> = stream::iter(cases).buffered(self.place.jobs()).collect().await;
        let cut_short = cases.iter().any(Option::is_none);
        let cases: Vec<SuiteCase> = cases.into_iter().flatten().collect();
        let begin = if cut_short { ExitCode::Interrupted } else { ExitCode::Held };
        let mut worst = cases.iter().fold(begin, |worst, case| worst.worst(case.exit_code));
        drop(std::io::stdout().lock().write_all(report::suite::tallies(&cases).as_bytes()));
        if let Err(error) = self.write_summaries(&cases) {
            eprintln!("error: failed to write the summary to {}: {error}", self.out.display());
            worst = worst.worst(ExitCode::Setup);
        }
        if let Some(hold) = self.hold.get()
            && let Err(problem) = hold.release().await
        {
            eprintln!("error: {problem}; `evenkeel recover --on {}` tries again", self.on);
            worst = worst.worst(ExitCode::NotUndone);
        }
        worst
    }

    /// The cluster for this run, once all that can be checked without touching it has been.
    async fn hold(&self, cluster: &Cluster) -> Result<Arc<Hold>, HoldError> {
        let on = cluster.on.to_string();
        let take = || Hold::take(&cluster.client, &self.run, &on);
        match self.place {
            Place::Standing(_) => self.hold.get_or_try_init(take).await.cloned(),
            Place::Sandboxes { .. } => take().await,
        }
    }

    /// One experiment of the suite; nothing where the suite was stopped before.
    async fn case(&self, number: usize, total: usize, turn: &Turn<'_>) -> Option<SuiteCase> {
        let Turn { experiment, folder } = turn;
        let wanted = rate_of(experiment).clamp(1, RATE_SIDE_BY_SIDE_MAX);
        // It is never closed, so this only waits.
        let _rate = self.rate.acquire_many(wanted).await.ok();
        if self.signals.stopped() {
            return None;
        }
        if total > 1 {
            eprintln!("[{number}/{total}] {folder}");
        }
        let started = Instant::now();
        let (code, verdict) = self.one(turn).await;
        let verdict = verdict.unwrap_or_else(|reason| Verdict::not_run(experiment, reason));
        let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Some(SuiteCase { verdict, duration_ms, folder: folder.clone(), exit_code: code })
    }

    /// Finds or makes the cluster of one experiment, and runs it there. The text is why there is no verdict.
    async fn one(&self, turn: &Turn<'_>) -> (ExitCode, Result<Verdict, String>) {
        let experiment = turn.experiment;
        match self.place {
            Place::Standing(cluster) => self.on_cluster(turn, cluster).await,
            Place::Sandboxes { .. } => match embedded::start(&experiment.spec.given.sandbox).await {
                Ok(sandbox) => {
                    let ended = self.on_cluster(turn, &sandbox.cluster).await;
                    sandbox.stop().await;
                    ended
                }
                Err(error) => {
                    eprintln!("error: {}: {}", experiment.metadata.name, chain(&error));
                    (ExitCode::Setup, Err(chain(&error)))
                }
            },
        }
    }

    /// Plans, checks and runs one experiment.
    async fn on_cluster(&self, turn: &Turn<'_>, cluster: &Cluster) -> (ExitCode, Result<Verdict, String>) {
        let experiment = turn.experiment;
        let plan = match prepare(experiment, cluster).await {
            Ok(plan) => plan,
            Err((code, problem)) => {
                eprintln!("error: {problem}");
                return (code, Err(problem));
            }
        };
        let hold = match self.hold(cluster).await {
            Ok(hold) => hold,
            Err(error) => {
                let problem = format!("{}: {}", experiment.metadata.name, chain(&error));
                eprintln!("error: {problem}");
                return (ExitCode::Setup, Err(problem));
            }
        };
        let folder = self.out.join(&turn.folder);
        let shown_lane = |lane: &Lane| ShownLane { name: lane.name.clone(), is_control: lane.control };
        let lanes: Vec<ShownLane> = experiment.spec.load.iter().map(shown_lane).collect();
        let (style, shown) = Style::of_stderr();
        // Views of several runs would write over each other.
        let shown = if self.place.jobs() > 1 { Shown::Nowhere } else { shown };
        let live = Live::new(shown, style, &experiment.metadata.name, &lanes);
        let order = Order {
            experiment,
            plan: &plan,
            cluster,
            agent_image: self.agent_image,
            folder: &folder,
            signals: self.signals,
            hold: &hold,
            run: &self.run,
            stacks: &self.stacks,
        };
        let end = match conductor::conduct(&order, live).await {
            Ok(end) => end,
            Err(error) => {
                eprintln!("error: {}", chain(&error));
                return (ExitCode::Setup, Err(chain(&error)));
            }
        };
        if let Some(error) = &end.error {
            eprintln!("error: {}", chain(error));
        }
        match conclude(&folder) {
            Ok(verdict) => {
                let page = folder.join("report.html").display().to_string();
                let summary = report::terminal::summary(&verdict, &page, Style::of_stdout());
                drop(std::io::stdout().lock().write_all(summary.as_bytes()));
                (exit_code(&end, verdict.verdict), Ok(verdict))
            }
            Err(problem) => {
                eprintln!("error: {problem}");
                let code = if end.undo_complete { ExitCode::Setup } else { ExitCode::NotUndone };
                (code, Err(problem))
            }
        }
    }

    fn write_summaries(&self, cases: &[SuiteCase]) -> std::io::Result<()> {
        let name = self.on.to_string();
        let junit = report::junit::render(&name, cases).map_err(std::io::Error::other)?;
        std::fs::write(self.out.join("junit.xml"), junit)?;
        std::fs::write(self.out.join("summary.json"), report::suite::summary_json(cases)?)?;
        std::fs::write(self.out.join("summary.md"), report::markdown::of_suite(cases))?;
        std::fs::write(self.out.join("index.html"), report::suite::index_html(&name, cases))
    }
}

/// All that is checked before anything is touched: the plan on this cluster, and the rights it needs.
pub async fn prepare(experiment: &Experiment, cluster: &Cluster) -> Result<Plan, (ExitCode, String)> {
    let namespace = &experiment.spec.given.namespace;
    let facts = cluster::facts::facts(cluster, namespace).await.map_err(|error| (ExitCode::Setup, chain(&error)))?;
    let plan = plan::make(experiment, &facts).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(|problem| chain(problem)).collect();
        // A file can be right and the cluster not be ready for it; the rest is wrong about any cluster like this one.
        let of_the_cluster = |problem: &PlanProblem| {
            matches!(problem, PlanProblem::NamespaceExists { .. } | PlanProblem::NamespaceMissing { .. })
        };
        let code = if problems.iter().any(of_the_cluster) { ExitCode::Setup } else { ExitCode::Usage };
        (code, format!("{}: {}", experiment.metadata.name, lines.join("\n       ")))
    })?;
    let questions: Vec<AccessQuestion> = plan.rights.iter().flat_map(questions).collect();
    let missing = cluster::rights::missing_rights(&cluster.client, &questions)
        .await
        .map_err(|error| (ExitCode::Setup, chain(&error)))?;
    if !missing.is_empty() {
        let lines: Vec<String> = missing.iter().map(ToString::to_string).collect();
        return Err((
            ExitCode::Setup,
            format!(
                "{}: rights are missing on {}; nothing was touched. \
                 Grant these to this client, or choose another context:\n  {}",
                experiment.metadata.name,
                cluster.on,
                lines.join("\n  ")
            ),
        ));
    }
    Ok(plan)
}

/// A right as the questions that the cluster can be asked, one for each verb.
fn questions(right: &Right) -> Vec<AccessQuestion> {
    let (resource, subresource) = match right.resource.split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
        None => (right.resource.as_str(), None),
    };
    let question = |verb: &String| AccessQuestion {
        group: right.api_group.clone(),
        resource: resource.to_owned(),
        subresource: subresource.clone(),
        verb: verb.clone(),
        namespace: right.namespace.clone(),
    };
    right.verbs.iter().map(question).collect()
}

fn exit_code(end: &RunEnd, answer: Answer) -> ExitCode {
    let code = match (end.reason, answer) {
        (EndReason::Interrupted, _) => ExitCode::Interrupted,
        (_, Answer::Held) => ExitCode::Held,
        (_, Answer::Broken) => ExitCode::Broken,
        (_, Answer::Inconclusive) => ExitCode::Inconclusive,
        (_, Answer::Error) => ExitCode::Setup,
    };
    if end.undo_complete { code } else { code.worst(ExitCode::NotUndone) }
}

/// Requests per second of all lanes of an experiment, rounded up.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a bound; `as` saturates")]
fn rate_of(experiment: &Experiment) -> u32 {
    let highest = |lane: &Lane| lane.shape.as_ref().map_or(lane.rate.per_second(), |shape| shape.highest(lane.rate));
    experiment.spec.load.iter().map(highest).sum::<f64>().ceil() as u32
}
