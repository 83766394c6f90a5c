//! A suite: experiment files found, every one checked before the first is run, then run one after another, each with
//! its own folder, and one verdict for all.

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::{Path, PathBuf},
};

use tokio::time::Instant;

use super::{
    conductor::{self, Order, RunEnd},
    signals::Signals,
};
use crate::{
    cli::RunArgs,
    cluster::{self, Cluster, On, rights::AccessQuestion},
    exit_code::ExitCode,
    experiment::{
        self,
        schema::{Experiment, RunsOn},
    },
    failure::chain,
    judge::{
        self,
        verdict::{Answer, Verdict},
    },
    plan::{self, Plan, PlanProblem, Right},
    record::{event::EndReason, reader},
    report::{self, live::Live, suite::SuiteCase, terminal::Style},
};

/// `evenkeel run`: what to tell people goes to standard error, the summaries to standard output.
pub async fn run(args: RunArgs) -> ExitCode {
    let Some(on) = args.cluster.on else {
        eprintln!("{WITHOUT_A_CLUSTER}");
        return ExitCode::Usage;
    };
    let experiments = match find(&args.files, &on) {
        Ok(experiments) => experiments,
        Err(problems) => {
            eprint!("{problems}");
            return ExitCode::Usage;
        }
    };
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
    let cluster = match cluster::connect(&on).await {
        Ok(cluster) => cluster,
        Err(error) => {
            eprintln!("error: {}", chain(&error));
            return ExitCode::Setup;
        }
    };
    let suite = Suite { out: &out, cluster: &cluster, agent_image: &args.agent_image, signals: &signals };
    tokio::select! {
        code = suite.run(&experiments) => code,
        // The second Ctrl-C: whoever insists is let go, and told what may be left.
        () = signals.asked(2) => {
            eprintln!("stopped at once; what was registered and not yet undone stays: see {}/*/events.jsonl", out.display());
            ExitCode::NotUndone
        }
    }
}

/// What is said when `--on` is missing.
const WITHOUT_A_CLUSTER: &str = "\
error: no cluster is named; evenkeel never takes the current context by itself
  write --on kind:NAME      for a kind cluster (evenkeel kind up kind-configs/three-workers.yaml makes kind:evenkeel)
  or    --on context:NAME   for a context of your kubeconfig";

/// The folder of a suite: new or empty, so that no earlier record is mixed with this one.
fn make_folder(out: &Path) -> Result<(), String> {
    let told = |error: std::io::Error| format!("failed to make the output folder {}: {error}", out.display());
    std::fs::create_dir_all(out).map_err(told)?;
    if std::fs::read_dir(out).map_err(told)?.next().is_some() {
        return Err(format!("the output folder {} is not empty; name another with --out", out.display()));
    }
    Ok(())
}

/// All experiments of the given files and folders, or every problem of every file as text.
fn find(paths: &[PathBuf], on: &On) -> Result<Vec<Experiment>, String> {
    let mut files = Vec::new();
    let mut problems: Vec<String> = Vec::new();
    for path in paths {
        match gather(path, true) {
            Ok(found) if found.is_empty() => {
                problems.push(format!("error: {}: no experiment in this folder\n", path.display()));
            }
            Ok(found) => files.extend(found),
            Err(problem) => problems.push(format!("error: {problem}\n")),
        }
    }
    let mut experiments: Vec<Experiment> = Vec::new();
    let mut seen: BTreeMap<String, PathBuf> = BTreeMap::new();
    for (file, text) in files {
        match experiment::read(&file.display().to_string(), &text) {
            Ok(experiment) => {
                let name = experiment.metadata.name.clone();
                if let Some(other) = seen.insert(name.clone(), file.clone()) {
                    problems.push(format!(
                        "error: {} and {} have the same name `{name}`; each names a folder of the record\n",
                        other.display(),
                        file.display()
                    ));
                }
                if let (RunsOn::Sandbox, _) | (RunsOn::Kind, On::Context(_)) = (experiment.metadata.runs_on, on) {
                    problems.push(format!(
                        "error: {}: written for {:?} (metadata.where), and cannot run on {on}\n",
                        file.display(),
                        experiment.metadata.runs_on
                    ));
                }
                experiments.push(experiment);
            }
            Err(found) => problems.push(format!("{found}\n")),
        }
    }
    if problems.is_empty() { Ok(experiments) } else { Err(problems.concat()) }
}

/// A file as it is; of a folder, its files of `kind: Experiment`, sorted, without folders that begin with `_`.
fn gather(path: &Path, named: bool) -> Result<Vec<(PathBuf, String)>, String> {
    let told = |error: std::io::Error| format!("failed to read {}: {error}", path.display());
    if !path.is_dir() {
        return Ok(vec![(path.to_owned(), std::fs::read_to_string(path).map_err(told)?)]);
    }
    let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('_'));
    if hidden && !named {
        return Ok(Vec::new());
    }
    let mut entries: Vec<PathBuf> = std::fs::read_dir(path)
        .map_err(told)?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<_, _>>()
        .map_err(told)?;
    entries.sort();
    let mut found = Vec::new();
    for entry in entries {
        if entry.is_dir() {
            found.extend(gather(&entry, false)?);
        } else if entry.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            let file = gather(&entry, false)?;
            found.extend(file.into_iter().filter(|(_, text)| experiment::is_experiment(text)));
        }
    }
    Ok(found)
}

/// What all runs of a suite share.
struct Suite<'a> {
    out: &'a Path,
    cluster: &'a Cluster,
    agent_image: &'a str,
    signals: &'a Signals,
}

impl Suite<'_> {
    async fn run(&self, experiments: &[Experiment]) -> ExitCode {
        let mut cases: Vec<SuiteCase> = Vec::new();
        let mut worst = ExitCode::Held;
        for (index, experiment) in experiments.iter().enumerate() {
            if self.signals.stopped() {
                worst = worst.worst(ExitCode::Interrupted);
                break;
            }
            if experiments.len() > 1 {
                eprintln!("[{}/{}] {}", index + 1, experiments.len(), experiment.metadata.name);
            }
            let started = Instant::now();
            let (code, verdict) = self.one(experiment).await;
            worst = worst.worst(code);
            let verdict = verdict.unwrap_or_else(|reason| Verdict::not_run(experiment, reason));
            let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            let folder = experiment.metadata.name.clone();
            cases.push(SuiteCase { verdict, duration_ms, folder, exit_code: code });
        }
        if let Err(error) = self.write_summaries(&cases) {
            eprintln!("error: failed to write the summary to {}: {error}", self.out.display());
            worst = worst.worst(ExitCode::Setup);
        }
        worst
    }

    /// Plans, checks and runs one experiment. The text is why there is no verdict.
    async fn one(&self, experiment: &Experiment) -> (ExitCode, Result<Verdict, String>) {
        let plan = match prepare(experiment, self.cluster).await {
            Ok(plan) => plan,
            Err((code, problem)) => {
                eprintln!("error: {problem}");
                return (code, Err(problem));
            }
        };
        let folder = self.out.join(&experiment.metadata.name);
        let lanes: Vec<String> = experiment.spec.load.iter().map(|lane| lane.name.clone()).collect();
        let (style, shown) = Style::of_stderr();
        let live = Live::new(shown, style, &experiment.metadata.name, &lanes);
        let order = Order {
            experiment,
            plan: &plan,
            cluster: self.cluster,
            agent_image: self.agent_image,
            folder: &folder,
            signals: self.signals,
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
        let name = self.cluster.on.to_string();
        let junit = report::junit::render(&name, cases).map_err(std::io::Error::other)?;
        std::fs::write(self.out.join("junit.xml"), junit)?;
        std::fs::write(self.out.join("summary.json"), report::suite::summary_json(cases)?)?;
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

/// Judges a record from its folder alone and writes `verdict.json` and `report.html` into it.
pub fn conclude(folder: &Path) -> Result<Verdict, String> {
    let record = reader::read(folder).map_err(|error| chain(&error))?;
    let verdict = judge::judge(&record);
    let json = serde_json::to_string_pretty(&verdict).map_err(|error| error.to_string())?;
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|error| format!("failed to write {}: {error}", path.display()))
    };
    write("verdict.json", &json)?;
    write("report.html", &report::html::render(&record, &verdict))?;
    Ok(verdict)
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
