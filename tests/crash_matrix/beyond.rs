//! What goes beyond one step and one kill: either copy alone, an API server that stands still, two runs at once.

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
    ground::{Ground, await_line, has_line, interrupt, no_secret, told},
};

/// How long the API server stands still: longer than a renewal of the Lease, shorter than its end.
const STILL_FOR: Duration = Duration::from_secs(7);

/// A step that leaves something to undo, and then nothing happens.
const CORDON_AND_WAIT: &str = "- cordon: {nodes: {names: [A]}}\n    - wait: {time: 100s}";

/// All of them.
pub fn cases() -> Vec<Case> {
    vec![
        Case::new("an API server that stands still during recover", still_during_recover),
        Case::new("an API server that stands still during the undo", still_during_undo),
        Case::new("the copy in the cluster alone", cluster_alone),
        Case::new("the copy on disk alone", disk_alone),
        Case::new("two runs at once", two_at_once),
        Case::new("a run after a crash", run_after_crash),
        Case::new("killed while it recovers", killed_while_it_recovers),
        Case::new("an interrupted drain", interrupted_drain),
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
