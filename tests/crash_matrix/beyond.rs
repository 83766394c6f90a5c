//! What goes beyond one step and one kill: either copy alone, an API server that stands still, two runs at once, Ctrl-C
//! at each second of a drain, a disk that gets full.

use std::{
    process::{Child, Stdio},
    time::Duration,
};

use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;

use crate::{
    Case,
    ground::{Ground, as_seen_by, await_line, has_line, interrupt, no_secret, told},
};

/// How long the API server stands still: longer than a renewal of the Lease, shorter than its end.
const STILL_FOR: Duration = Duration::from_secs(7);

/// A step that leaves something to undo, and then nothing happens.
const CORDON_AND_WAIT: &str = "- cordon: {nodes: {names: [A]}}\n    - wait: {time: 100s}";

/// A drain takes so many seconds at least, since each of its pods does. How soon the budget lets the next one go hangs
/// on chance: two evictions that meet are tried again after half a second by the API server, which is no 429.
const DRAIN_S: u64 = 12;

/// A drain's Ctrl-C, second by second.
pub fn drain_cases() -> impl Iterator<Item = Case> {
    let end = Case::new("Ctrl-C right after a drain", |on| drained_for(on, None));
    let case =
        |second| Case::new(format!("Ctrl-C at second {second} of a drain"), move |on| drained_for(on, Some(second)));
    std::iter::once(end).chain((0..DRAIN_S).rev().map(case))
}

/// All of them but the drain's.
pub fn cases() -> Vec<Case> {
    vec![
        Case::new("a disk that gets full", full_disk),
        Case::new("an API server that stands still during recover", still_during_recover),
        Case::new("an API server that stands still during the undo", still_during_undo),
        Case::new("the copy in the cluster alone", cluster_alone),
        Case::new("the copy on disk alone", disk_alone),
        Case::new("two runs at once", two_at_once),
        Case::new("a run after a crash", run_after_crash),
        Case::new("killed while it recovers", killed_while_it_recovers),
        Case::new("an interrupted drain of two nodes", interrupted_drain),
        Case::new("a namespace of our own", own_namespace),
        Case::new("Ctrl-C twice", interrupted_twice),
        Case::new("a condition to stop", condition_to_stop),
        Case::new("more than a guard allows", more_than_allowed),
    ]
}

fn lease(ground: &Ground) -> Api<Lease> {
    Api::namespaced(ground.client.clone(), "default")
}

/// A run that has cordoned a node and waits.
fn waiting(ground: &mut Ground) -> Result<Child, String> {
    let (folder, mut command) = ground.run("waiting", CORDON_AND_WAIT)?;
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
    await_line(&mut child, &folder.join("events.jsonl"), "\"path\":\"2\"")?;
    Ok(child)
}

/// Ctrl-C, and that it ends as it should.
fn ends_well(child: Child) -> Result<(), String> {
    interrupt(&child)?;
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    if output.status.code() == Some(130) { Ok(()) } else { Err(told(&output)) }
}

fn still_during_recover(ground: &mut Ground) -> Result<(), String> {
    let before = ground.snapshot()?;
    ground.run_until_killed("still", "- cordon: {nodes: {names: [A]}}", "effective")?;
    ground.stand_still(true)?;
    let tried = ground.try_to_recover();
    ground.stand_still(false)?;
    let (code, text) = tried?;
    if code != Some(4) {
        return Err(format!("without an API server: {text}"));
    }
    ground.recover()?;
    ground.equal(&before)
}

fn still_during_undo(ground: &mut Ground) -> Result<(), String> {
    let before = ground.snapshot()?;
    let child = waiting(ground)?;
    ground.stand_still(true)?;
    interrupt(&child)?;
    // It is the fault's length; what is awaited is the end of the run.
    std::thread::sleep(STILL_FOR);
    ground.stand_still(false)?;
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    if output.status.code() != Some(130) {
        return Err(told(&output));
    }
    ground.equal(&before)
}

fn cluster_alone(ground: &mut Ground) -> Result<(), String> {
    let before = ground.snapshot()?;
    let steps = "- cordon: {nodes: {names: [A]}}\n    - rollingUpdate: {workload: deployment/web, env: {X: y}}\n    - \
                 cordon: {nodes: {names: [B]}}\n    - wait: {time: 100s}";
    let (folder, mut command) = ground.run("cluster-alone", steps)?;
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().map_err(|error| error.to_string())?;
    await_line(&mut child, &folder.join("events.jsonl"), "\"path\":\"4\"")?;
    child.kill().and_then(|()| child.wait()).map_err(|error| error.to_string())?;
    for folder in [&folder, &ground.state()] {
        std::fs::remove_dir_all(folder).map_err(|error| error.to_string())?;
    }
    // Nothing on this machine says that the run is over, so it is waited for; a shorter lease is waited for less.
    let short = Patch::Merge(json!({"spec": {"leaseDurationSeconds": 1}}));
    let patched = ground.block_on(lease(ground).patch("evenkeel", &PatchParams::default(), &short));
    patched.map_err(|error| error.to_string())?;
    let recovered = ground.recover()?;
    if recovered["runs"][0]["from"] != json!(["cluster"]) {
        return Err(format!("it found more than the cluster's copy: {recovered}"));
    }
    ground.equal(&before)
}

fn disk_alone(ground: &mut Ground) -> Result<(), String> {
    let before = ground.snapshot()?;
    ground.run_until_killed("disk-alone", "- scale: {workload: deployment/web, replicas: 4}", "effective")?;
    let deleted = ground.block_on(lease(ground).delete("evenkeel", &DeleteParams::default()));
    deleted.map_err(|error| error.to_string())?;
    let recovered = ground.recover_what_is_known()?;
    if recovered["runs"][0]["from"] != json!(["disk"]) {
        return Err(format!("it found more than the copy on disk: {recovered}"));
    }
    ground.equal(&before)
}

fn two_at_once(ground: &mut Ground) -> Result<(), String> {
    let before = ground.snapshot()?;
    let first = waiting(ground)?;
    let (_, mut second) = ground.run("second", CORDON_AND_WAIT)?;
    let output = second.output().map_err(|error| error.to_string())?;
    let text = told(&output);
    if output.status.code() != Some(4) || !text.contains("is at work on this cluster") || !text.contains("waiting") {
        return Err(format!("the second run: {text}"));
    }
    let (code, text) = ground.try_to_recover()?;
    if code != Some(4) || !text.contains("still under way") {
        return Err(format!("recovering from a run that lives: {text}"));
    }
    ends_well(first)?;
    ground.equal(&before)
}

fn run_after_crash(ground: &mut Ground) -> Result<(), String> {
    let before = ground.snapshot()?;
    ground.run_until_killed("crashed", "- cordon: {nodes: {names: [A]}}", "effective")?;
    let long_ago = Patch::Merge(json!({"spec": {"renewTime": "2026-01-01T00:00:00.000000Z"}}));
    let patched = ground.block_on(lease(ground).patch("evenkeel", &PatchParams::default(), &long_ago));
    patched.map_err(|error| error.to_string())?;
    let (_, mut next) = ground.run("next", CORDON_AND_WAIT)?;
    let output = next.output().map_err(|error| error.to_string())?;
    let (text, advice) = (told(&output), format!("evenkeel recover --on {}", ground.on));
    if output.status.code() != Some(4) || !text.contains("was interrupted") || !text.contains(&advice) {
        return Err(format!("the next run: {text}"));
    }
    ground.recover()?;
    ground.equal(&before)
}

fn killed_while_it_recovers(ground: &mut Ground) -> Result<(), String> {
    let before = ground.snapshot()?;
    let steps = "- cordon: {nodes: {names: [A]}}\n    - scale: {workload: deployment/web, replicas: 4}\n    - cordon: \
                 {nodes: {names: [B]}}\n    - wait: {time: 100s}";
    let (folder, mut command) = ground.run("twice", steps)?;
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().map_err(|error| error.to_string())?;
    await_line(&mut child, &folder.join("events.jsonl"), "\"path\":\"4\"")?;
    child.kill().and_then(|()| child.wait()).map_err(|error| error.to_string())?;
    ground.recover_until_killed("undone")?;
    // The first recover's lease is not of a run that this machine knows as over.
    let short = Patch::Merge(json!({"spec": {"leaseDurationSeconds": 1}}));
    let patched = ground.block_on(lease(ground).patch("evenkeel", &PatchParams::default(), &short));
    patched.map_err(|error| error.to_string())?;
    ground.recover()?;
    ground.equal(&before)
}

/// Ctrl-C at moments of a drain, from its first eviction on.
fn interrupted_drain(ground: &mut Ground) -> Result<(), String> {
    let before = ground.snapshot()?;
    let steps = "- drain: {nodes: {names: [A, B]}, ignoreDaemonsets: true, deleteEmptydirData: true, timeout: 60s}\n    \
                 - wait: {time: 100s}\n  guards: {allowLastReplica: true}";
    for moment in ["\"phase\":\"fault\"", "\"state\":\"registered\"", "\"state\":\"effective\""] {
        let (folder, mut command) = ground.run("drained", steps)?;
        let mut child =
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
        await_line(&mut child, &folder.join("events.jsonl"), moment)?;
        ends_well(child).map_err(|error| format!("Ctrl-C at {moment}: {error}"))?;
        ground.equal(&before).map_err(|error| format!("Ctrl-C at {moment}: {error}"))?;
    }
    Ok(())
}

/// Ctrl-C so many seconds after the fault began, or when the drain is over.
fn drained_for(ground: &mut Ground, second: Option<u64>) -> Result<(), String> {
    let bare = ground.snapshot()?;
    ground.slow_pods(DRAIN_S)?;
    let before = ground.snapshot()?;
    let steps = format!(
        "- drain: {{nodes: {{names: [{}]}}, ignoreDaemonsets: true, deleteEmptydirData: true, timeout: 60s}}\n    - \
         wait: {{time: 100s}}\n  guards: {{allowLastReplica: true}}",
        ground.slowest_node()?
    );
    let (folder, mut command) = ground.run("second", &steps)?;
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
    let events = folder.join("events.jsonl");
    await_line(&mut child, &events, "\"phase\":\"fault\"")?;
    let over = "\"path\":\"2\"";
    match second {
        // The moment is what the case is about.
        Some(second) => std::thread::sleep(Duration::from_secs(second)),
        None => await_line(&mut child, &events, over)?,
    }
    ends_well(child)?;
    if second.is_some() && has_line(&events, over) {
        return Err("the drain was over, so it was not interrupted".to_owned());
    }
    ground.equal(&before)?;
    ground.no_slow_pods()?;
    ground.equal(&bare)
}

/// The disk of the run's folder gets full while it waits with a cordoned node: the run ends, says so, and everything
/// has been undone, although nothing of that could be written down.
fn full_disk(ground: &mut Ground) -> Result<(), String> {
    let before = ground.snapshot()?;
    let steps = format!("{CORDON_AND_WAIT}\n    - wait: {{time: 100s}}");
    let Some((folder, mut command)) = ground.run_on_a_small_disk("full", &steps)? else {
        println!("a disk that gets full: SKIPPED: this system lets nobody mount a file system of their own");
        return Ok(());
    };
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
    let folder = as_seen_by(&child, &folder);
    await_line(&mut child, &folder.join("events.jsonl"), "\"path\":\"2\"")?;
    let mut filler = std::fs::File::create(folder.join("filler")).map_err(|error| error.to_string())?;
    while std::io::Write::write(&mut filler, &[0; 64]).is_ok() {}
    // There is something to write down.
    ground.slow_pods(1)?;
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    let text = told(&output);
    if output.status.code() != Some(4) || !text.contains("free some space") {
        return Err(text);
    }
    ground.no_slow_pods()?;
    ground.equal(&before)?;
    let again = ground.recover_what_is_known()?;
    if again["runs"].as_array().is_some_and(|runs| !runs.is_empty()) {
        return Err(format!("there was something left to recover: {again}"));
    }
    Ok(())
}

/// While the undo cannot go on, whoever insists is let go, and told what stays and how to go on.
fn interrupted_twice(ground: &mut Ground) -> Result<(), String> {
    let before = ground.snapshot()?;
    let mut child = waiting(ground)?;
    ground.stand_still(true)?;
    let ended = loop {
        interrupt(&child)?;
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(_) => break child.wait_with_output().map_err(|error| error.to_string()),
            // Signals that come at once are one signal.
            None => std::thread::sleep(Duration::from_millis(100)),
        }
    };
    ground.stand_still(false)?;
    let output = ended?;
    let (text, advice) = (told(&output), format!("evenkeel recover --on {}", ground.on));
    if output.status.code() != Some(5) || !text.contains("kubectl uncordon") || !text.contains(&advice) {
        return Err(text);
    }
    ground.recover()?;
    ground.equal(&before)
}

fn condition_to_stop(ground: &mut Ground) -> Result<(), String> {
    let before = ground.snapshot()?;
    // Nobody listens on port 1.
    let steps = format!("{CORDON_AND_WAIT}\n  abort:\n    - http: {{url: 'http://127.0.0.1:1/', every: 200ms}}");
    let (folder, mut command) = ground.run("condition", &steps)?;
    let output = command.output().map_err(|error| error.to_string())?;
    let text = told(&output);
    if output.status.code() != Some(4) || !text.contains("stopped by a condition of `abort`") {
        return Err(text);
    }
    if !has_line(&folder.join("events.jsonl"), "uncordon node/") {
        return Err("the record does not say that the node was uncordoned".to_owned());
    }
    ground.equal(&before)
}

fn more_than_allowed(ground: &mut Ground) -> Result<(), String> {
    let before = ground.snapshot()?;
    let steps = "- cordon: {nodes: {names: [A, B]}}\n  guards: {maxNodes: 1}";
    let (folder, mut command) = ground.run("guarded", steps)?;
    let output = command.output().map_err(|error| error.to_string())?;
    let text = told(&output);
    if output.status.code() != Some(2) || !text.contains("guards.maxNodes allows 1") || folder.exists() {
        return Err(text);
    }
    ground.equal(&before)
}

/// With `apply`, what is undone is the namespace itself.
fn own_namespace(ground: &mut Ground) -> Result<(), String> {
    let before = ground.snapshot()?;
    let run = ground.run_own_namespace_until_killed("effective")?;
    if ground.snapshot()? == before {
        return Err("the crash left nothing behind".to_owned());
    }
    ground.recover()?;
    ground.equal(&before)?;
    no_secret(&run)
}
