//! Every experiment and every known-bad twin, run by the real executable: each in a sandbox of its own, some side by
//! side, and one after another on a real cluster where `EVENKEEL_TEST_ON` (kind:NAME) names one that experiments run on
//! as they are. `scripts/on-kind.sh` makes one.
//!
//! `EVENKEEL_TEST_ROUNDS` and `EVENKEEL_TEST_SEED` repeat the suite, each round in another order;
//! `EVENKEEL_TEST_ONLY` takes files whose path contains it; `EVENKEEL_TEST_INTERRUPT=1` sends Ctrl-C in the middle of
//! each instead, and looks at what is left; `EVENKEEL_TEST_HEAL=1` takes the twins alone, and runs each once more with the
//! patch that its first finding names, which must hold.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    sync::atomic::{AtomicU32, AtomicUsize, Ordering},
};

use evenkeel::{
    cluster::{self, On},
    experiment::{
        self,
        schema::{Expectation, Experiment},
    },
    judge::verdict::{Answer, Patch, PatchHow, Requests, Verdict},
};
use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::Api;
use serde_json::Value;

/// Fewer would say nothing about how well losses are seen.
const LEAST_LOST_IN_A_TWIN: u64 = 20;

/// Sandboxes side by side: each mostly waits, and two cores carry their load.
const SIDE_BY_SIDE: usize = 3;

fn main() -> ExitCode {
    let on: On = std::env::var("EVENKEEL_TEST_ON")
        .map_or(On::Sandbox, |on| on.parse().unwrap_or_else(|error| panic!("EVENKEEL_TEST_ON: {error}")));
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (rounds, seed) = (number("EVENKEEL_TEST_ROUNDS", 1), number("EVENKEEL_TEST_SEED", 1));
    let only = std::env::var("EVENKEEL_TEST_ONLY").unwrap_or_default();
    let is_set = |name: &str| std::env::var(name).is_ok_and(|value| value == "1");
    let how = match (is_set("EVENKEEL_TEST_INTERRUPT"), is_set("EVENKEEL_TEST_HEAL")) {
        (true, _) => How::Interrupted,
        (_, true) => How::Healed,
        _ => How::Whole,
    };
    let keep = std::env::var_os("EVENKEEL_TEST_OUT").map(PathBuf::from);
    let scratch = tempfile::tempdir().unwrap();
    let out = keep.unwrap_or_else(|| scratch.path().to_owned());
    let side_by_side = if on == On::Sandbox { SIDE_BY_SIDE } else { 1 };

    let mut files = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments"), &mut files);
    files.sort();
    files.retain(|file| file.to_string_lossy().contains(&only));
    if how == How::Healed {
        files.retain(|file| wanted(&read(file)).is_some());
    }
    let round = Round { on, out, how, again: AtomicU32::new(0) };
    let (passed, failed) = (AtomicU32::new(0), AtomicU32::new(0));
    for number in 1..=rounds {
        shuffle(&mut files, seed + number);
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..side_by_side {
                scope.spawn(|| {
                    while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let count = if round.one(number, file) { &passed } else { &failed };
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
    }
    let (passed, failed) = (passed.into_inner(), failed.into_inner());
    println!("{passed} passed, {failed} failed");
    if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What is done with each file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// It is run to its end.
    Whole,
    /// Ctrl-C in the middle.
    Interrupted,
    /// It is run, and once more with the patch that it brought.
    Healed,
}

/// What the runs of a round share.
struct Round {
    on: On,
    out: PathBuf,
    how: How,
    again: AtomicU32,
}

impl Round {
    /// Runs one file and says whether it is what it should be.
    fn one(&self, number: u64, file: &Path) -> bool {
        let name = file.file_stem().unwrap().to_str().unwrap();
        let folder = self.out.join(format!("{number}-{name}"));
        let run = match self.how {
            How::Whole => run,
            How::Interrupted => interrupted,
            How::Healed => healed,
        };
        let mut result = run(file, &self.on, &folder);
        if let Err(Wrong::Inconclusive(why)) = &result
            && self.again.fetch_add(1, Ordering::Relaxed) < INCONCLUSIVE_MAX
        {
            println!("round {number} {name}: once more: {why}");
            result = run(file, &self.on, &self.out.join(format!("{number}-{name}-again")));
        }
        match result.map_err(Wrong::told).and_then(|told| left_behind(&self.on).map(|()| told)) {
            Ok(told) => println!("round {number} {name}: ok: {told}"),
            Err(why) => {
                println!("round {number} {name}: FAILED: {why}");
                return false;
            }
        }
        true
    }
}

/// Runs in a whole suite that may be repeated since they could not be told, as on a machine that was busy. A verdict
/// that is wrong is never repeated.
const INCONCLUSIVE_MAX: u32 = 2;

/// Why a run is not what it should be.
enum Wrong {
    /// It could not be told.
    Inconclusive(String),
    /// Another verdict or exit code, or none.
    Otherwise(String),
}

impl Wrong {
    fn told(self) -> String {
        match self {
            Self::Inconclusive(why) | Self::Otherwise(why) => why,
        }
    }
}

impl From<String> for Wrong {
    fn from(why: String) -> Self {
        Self::Otherwise(why)
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { collect(&path, files) } else { files.push(path) }
    }
}

/// Fisher and Yates with a linear congruential generator: any order will do, as long as the seed gives it again.
fn shuffle(files: &mut [PathBuf], seed: u64) {
    let mut state = seed;
    for last in (1..files.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        files.swap(last, usize::try_from(state >> 33).unwrap() % (last + 1));
    }
}

fn executable() -> PathBuf {
    std::env::var_os("EVENKEEL_BIN").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_evenkeel")), PathBuf::from)
}

fn read(file: &Path) -> Experiment {
    let text = std::fs::read_to_string(file).unwrap();
    experiment::read(&file.display().to_string(), &text).unwrap_or_else(|problems| panic!("{problems}"))
}

fn run(file: &Path, on: &On, folder: &Path) -> Result<String, Wrong> {
    verdict(file, on, folder).map(|(_, summary)| summary)
}

/// A twin is broken, and holds with the patch of its first finding; where no setting cures it, there is none.
fn healed(file: &Path, on: &On, folder: &Path) -> Result<String, Wrong> {
    let (verdict, summary) = verdict(file, on, folder)?;
    let Some(patch) = verdict.findings.first().and_then(|finding| finding.patch.as_ref()) else {
        return Ok(format!("{summary}, which has no patch"));
    };
    let mut experiment = read(file);
    patched(&mut experiment.spec.given.apply, patch)?;
    experiment.metadata.twin_of = None;
    experiment.spec.expect.retain(|expectation| !matches!(expectation, Expectation::Finding(_)));
    let text = serde_json::to_string_pretty(&experiment).map_err(|error| error.to_string())?;
    let healed = folder.join("healed.yaml");
    std::fs::write(&healed, text).map_err(|error| error.to_string())?;
    let summary = run(&healed, on, &folder.join("healed"))?;
    Ok(format!("{summary} with {}", patch.command))
}

/// Makes the change that a patch is to the manifest of its object.
fn patched(objects: &mut Vec<Value>, patch: &Patch) -> Result<(), String> {
    if patch.how == PatchHow::Create {
        objects.push(patch.body.clone());
        return Ok(());
    }
    let named = |object: &&mut Value| {
        let of = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        format!("{}/{}", of("/kind").to_lowercase(), of("/metadata/name")) == patch.object
    };
    let object = objects.iter_mut().find(named).ok_or_else(|| format!("{} is not in the file", patch.object))?;
    merge(object, &patch.body);
    Ok(())
}

/// A strategic merge as far as these patches go: null removes, and items of lists are merged that have the same name.
fn merge(into: &mut Value, patch: &Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                match value {
                    Value::Null => drop(into.shift_remove(key)),
                    value => merge(into.entry(key).or_insert(Value::Null), value),
                }
            }
        }
        (Value::Array(into), Value::Array(patch)) => {
            for item in patch {
                let same =
                    into.iter_mut().find(|one| item.get("name").is_some() && one.get("name") == item.get("name"));
                match same {
                    Some(one) => merge(one, item),
                    None => into.push(item.clone()),
                }
            }
        }
        (into, Value::Object(patch)) => {
            *into = Value::Object(serde_json::Map::new());
            merge(into, &Value::Object(patch.clone()));
        }
        (into, patch) => patch.clone_into(into),
    }
}

/// The verdict of a whole run, where it is what the file says that it should be, and its summary.
fn verdict(file: &Path, on: &On, folder: &Path) -> Result<(Verdict, String), Wrong> {
    let experiment = read(file);
    let output = Command::new(executable())
        .args([Path::new("run"), file, Path::new("--on"), Path::new(&on.to_string()), Path::new("--out"), folder])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    let told = format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    let path = folder.join(&experiment.metadata.name).join("verdict.json");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}\n{told}", path.display()))?;
    let verdict: Verdict = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let summary = format!(
        "{:?}, {} of {} lost, {}",
        verdict.verdict,
        verdict.requests.lost,
        verdict.requests.sent,
        verdict.findings.first().map_or("no finding", |finding| finding.id.as_str())
    );
    let right = match wanted(&experiment) {
        None => output.status.code() == Some(0) && verdict.verdict == Answer::Held,
        Some(finding) => {
            output.status.code() == Some(1)
                && verdict.verdict == Answer::Broken
                && verdict.requests.lost >= LEAST_LOST_IN_A_TWIN
                && is_explained(&verdict.requests)
                && verdict.findings.first().is_some_and(|first| first.id == finding)
        }
    };
    let undone = verdict.undo.complete;
    let why = || format!("exit {:?}: {summary}\n{told}", output.status.code());
    match verdict.verdict {
        _ if right && undone => Ok((verdict, summary)),
        Answer::Inconclusive => Err(Wrong::Inconclusive(why())),
        _ => Err(Wrong::Otherwise(why())),
    }
}

/// At least 99 of 100 lost requests have a cause, but for those that fell into times at which the generator itself was
/// held up: no cause is looked for then.
fn is_explained(requests: &Requests) -> bool {
    let unexplained = requests.by_cause.get("unexplained").copied().unwrap_or(0);
    let ours = requests.lost_tainted;
    unexplained.saturating_sub(ours) * 100 <= requests.lost.saturating_sub(ours)
}

/// The finding that a twin must produce; nothing for an experiment that must hold.
fn wanted(experiment: &Experiment) -> Option<&str> {
    experiment.metadata.twin_of.as_ref()?;
    experiment.spec.expect.iter().find_map(|expectation| match expectation {
        Expectation::Finding(finding) => Some(finding.id.as_str()),
        _ => None,
    })
}

/// Ctrl-C as soon as the faults begin.
fn interrupted(file: &Path, on: &On, folder: &Path) -> Result<String, Wrong> {
    let mut child = Command::new(executable())
        .args([Path::new("run"), file, Path::new("--on"), Path::new(&on.to_string()), Path::new("--out"), folder])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut told = String::new();
    let mut sent = false;
    for line in lines.map_while(Result::ok) {
        if !sent && line.contains("phase fault") {
            let pid = rustix::process::Pid::from_child(&child);
            rustix::process::kill_process(pid, rustix::process::Signal::INT).map_err(|error| error.to_string())?;
            sent = true;
        }
        told.push_str(&line);
        told.push('\n');
    }
    let code = child.wait().map_err(|error| error.to_string())?.code();
    if sent && code == Some(130) {
        Ok("interrupted, exit 130".to_owned())
    } else {
        Err(format!("exit {code:?}\n{told}").into())
    }
}

/// Processes of our executable whose parent is gone.
fn orphans() -> Vec<u32> {
    let own = executable().canonicalize().unwrap();
    let processes =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let orphaned = |process: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        // After the name in parentheses: the state and the parent.
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1).map(ToOwned::to_owned));
        let ours = std::fs::read_link(format!("/proc/{process}/exe")).is_ok_and(|exe| exe == own);
        ours && parent.as_deref() == Some("1")
    };
    processes.filter(orphaned).collect()
}

/// The cluster as it was: every node schedulable, no namespace of ours. Of a sandbox nothing is left to look at but its
/// processes, which are tied to the run's.
fn left_behind(on: &On) -> Result<(), String> {
    if *on == On::Sandbox {
        let orphans = orphans();
        return if orphans.is_empty() { Ok(()) } else { Err(format!("processes left behind: {orphans:?}")) };
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let cluster = cluster::connect(on).await.map_err(|error| error.to_string())?;
        let nodes: Api<Node> = Api::all(cluster.client.clone());
        let namespaces: Api<Namespace> = Api::all(cluster.client);
        let all = kube::api::ListParams::default();
        let cordoned = nodes.list(&all).await.map_err(|error| error.to_string())?.items.into_iter();
        let cordoned = cordoned.filter(|node| node.spec.as_ref().is_some_and(|spec| spec.unschedulable == Some(true)));
        let left = namespaces.list(&all).await.map_err(|error| error.to_string())?.items.into_iter();
        let left = left.filter(|one| one.metadata.name.as_deref().is_some_and(|name| name.starts_with("evenkeel-")));
        let names: Vec<String> = cordoned
            .map(|node| node.metadata)
            .chain(left.map(|one| one.metadata))
            .filter_map(|meta| meta.name)
            .collect();
        if names.is_empty() { Ok(()) } else { Err(format!("left behind: {}", names.join(", "))) }
    })
}
