//! The crash matrix: for each kind of step, evenkeel is ended by SIGKILL before the act, after it and during its undo,
//! and `recover` must make the cluster equal to the snapshot from before. Then what goes beyond one step: either copy
//! of the ledger alone, an API server that stands still, two runs at once, Ctrl-C at each second of a drain, a full
//! disk.
//!
//! On sandboxes of their own process, which survive the run; with `EVENKEEL_TEST_ON` (kind:NAME) once per kind of step,
//! and each second of a drain, on a real cluster. `EVENKEEL_TEST_ONLY` takes cases whose name contains it. A kind of
//! step that has no line here fails the test.

mod beyond;
mod ground;

use std::{
    collections::BTreeSet,
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use evenkeel::{cluster::On, experiment};
use ground::{Ground, no_secret};

/// Sandboxes side by side: each mostly waits.
const SIDE_BY_SIDE: usize = 3;

/// One line of the matrix.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    /// What it shows, as the key of a step.
    verb: &'static str,
    /// What tells it from another line of that step.
    name: &'static str,
    /// The steps; `A`, `B` and `C` are nodes, of which the last is cordoned beforehand.
    steps: &'static str,
    /// The moments at which it is killed.
    points: &'static [&'static str],
    /// What it changes stays changed until it is undone.
    stays: bool,
}

/// Before the act, after it, and during the undo.
const ALL: &[&str] = &["intent", "effective", "undo"];

const MATRIX: &[Line] = &[
    Line {
        verb: "drain",
        name: "drain",
        // What went before may have put the only pod of the StatefulSet there.
        steps: "- drain: {nodes: {names: [A]}, ignoreDaemonsets: true, deleteEmptydirData: true, timeout: 60s}\n  guards: \
                {allowLastReplica: true}",
        points: &["begun", "intent", "effective", "undo", "undone"],
        stays: true,
    },
    Line {
        verb: "cordon",
        name: "cordon",
        steps: "- cordon: {nodes: {names: [A, B]}}",
        points: &["begun", "intent", "effective", "undo", "undone"],
        stays: true,
    },
    Line { verb: "uncordon", name: "uncordon", steps: "- uncordon: {nodes: {names: [C]}}", points: ALL, stays: true },
    Line {
        verb: "deletePods",
        name: "deletePods",
        steps: "- deletePods: {selector: {app: web}, count: 2}",
        points: ALL,
        stays: false,
    },
    Line {
        verb: "rollingUpdate",
        name: "rollingUpdate-deployment",
        steps: "- rollingUpdate: {workload: deployment/web, env: {SECRET: hunter3}}",
        points: ALL,
        stays: true,
    },
    Line {
        verb: "rollingUpdate",
        name: "rollingUpdate-statefulset",
        steps: "- rollingUpdate: {workload: statefulset/store, restart: true}",
        points: &["effective"],
        stays: true,
    },
    Line {
        verb: "scale",
        name: "scale",
        steps: "- scale: {workload: deployment/web, replicas: 4}",
        points: ALL,
        stays: true,
    },
    Line {
        verb: "wait",
        name: "wait",
        steps: "- wait: {podsReady: {selector: {app: web}, count: 1}}",
        points: &["begun", "effective"],
        stays: false,
    },
    Line {
        verb: "parallel",
        name: "parallel",
        steps: "- parallel: [{cordon: {nodes: {names: [A]}}}, {scale: {workload: deployment/web, replicas: 4}}]",
        points: ALL,
        stays: true,
    },
    Line {
        verb: "sequence",
        name: "sequence",
        steps: "- parallel: [{sequence: [{cordon: {nodes: {names: [A]}}}, {cordon: {nodes: {names: [B]}}}]}, {wait: \
                {time: 100ms}}]",
        points: ALL,
        stays: true,
    },
];

/// The keys of all kinds of step that a file can have, from the schema.
fn verbs() -> BTreeSet<String> {
    let schema: serde_json::Value = serde_json::from_str(&experiment::schema_json()).unwrap();
    let kinds = schema["$defs"]["Step"]["oneOf"].as_array().unwrap();
    kinds.iter().flat_map(|kind| kind["properties"].as_object().unwrap().keys().cloned()).collect()
}

/// What is done on a ground.
type Check = Box<dyn Fn(&mut Ground) -> Result<(), String> + Send + Sync>;

/// One case: a name, and what to do on a ground.
pub struct Case {
    name: String,
    check: Check,
}

impl Case {
    /// A case.
    pub fn new(
        name: impl Into<String>,
        check: impl Fn(&mut Ground) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), check: Box::new(check) }
    }
}

fn cases(on: &On) -> Vec<Case> {
    if *on != On::Sandbox {
        let lines = MATRIX.iter().map(|line| (line, "effective"));
        let lines = lines.map(|(line, point)| Case::new(name(line, point), move |on| crash(on, line, point)));
        return beyond::drain_cases().chain(lines).collect();
    }
    let points = MATRIX.iter().flat_map(|line| line.points.iter().map(move |point| (line, *point)));
    let matrix = points.map(|(line, point)| Case::new(name(line, point), move |on| crash(on, line, point)));
    // The longest first, so that none of them is begun last.
    beyond::drain_cases().chain(beyond::cases()).chain(matrix).collect()
}

fn name(line: &Line, point: &str) -> String {
    format!("{}: killed at {point}", line.name)
}

/// Killed at a point of a line; then recovered.
fn crash(ground: &mut Ground, line: &Line, point: &str) -> Result<(), String> {
    let before = ground.snapshot()?;
    let run = ground.run_until_killed(line.name, line.steps, point)?;
    if line.stays && point == "effective" && ground.snapshot()? == before {
        return Err("the crash left nothing behind, so recovering from it shows nothing".to_owned());
    }
    let recovered = ground.recover()?;
    ground.equal(&before)?;
    if point != "begun" && line.verb != "wait" && recovered["runs"][0]["undone"].as_array().is_none_or(Vec::is_empty) {
        return Err(format!("it does not say what it undid: {recovered}"));
    }
    no_secret(&run)?;
    let again = ground.recover()?;
    if again["runs"].as_array().is_some_and(|runs| !runs.is_empty()) {
        return Err(format!("a second time there was something to do: {again}"));
    }
    Ok(())
}

fn main() -> ExitCode {
    let on: On = std::env::var("EVENKEEL_TEST_ON")
        .map_or(On::Sandbox, |on| on.parse().unwrap_or_else(|error| panic!("EVENKEEL_TEST_ON: {error}")));
    let only = std::env::var("EVENKEEL_TEST_ONLY").unwrap_or_default();
    let known: BTreeSet<String> = MATRIX.iter().map(|line| line.verb.to_owned()).collect();
    if known != verbs() {
        println!("the matrix has lines for {known:?}, and there are the steps {:?}", verbs());
        return ExitCode::FAILURE;
    }
    let cases: Vec<Case> = cases(&on).into_iter().filter(|case| case.name.contains(&only)).collect();
    let queue = Mutex::new(cases.into_iter());
    let (passed, failed) = (AtomicU32::new(0), AtomicU32::new(0));
    let workers = if on == On::Sandbox { SIDE_BY_SIDE } else { 1 };
    std::thread::scope(|scope| {
        for worker in 0..workers {
            let (queue, passed, failed, on) = (&queue, &passed, &failed, &on);
            scope.spawn(move || {
                let mut ground: Option<Ground> = None;
                loop {
                    let Some(case) = queue.lock().unwrap().next() else { return };
                    let result = match ground.take().map_or_else(|| Ground::new(on, worker), Ok) {
                        Ok(mut made) => {
                            let result = (case.check)(&mut made);
                            // After a failure nothing is known of the ground.
                            ground = result.is_ok().then_some(made);
                            result
                        }
                        Err(error) => Err(error),
                    };
                    match result {
                        Ok(()) => println!("{}: ok", case.name),
                        Err(error) => println!("{}: FAILED: {error}", case.name),
                    }
                    let count = if ground.is_some() { passed } else { failed };
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let (passed, failed) = (passed.into_inner(), failed.into_inner());
    println!("{passed} passed, {failed} failed");
    if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
