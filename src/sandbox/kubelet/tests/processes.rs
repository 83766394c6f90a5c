//! Processes themselves: none outlives what started it.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use rustix::process::{Pid, Signal};

use super::{
    super::{
        log::{Log, LogOptions, LogReader},
        process::{Exit, Live, Process, ProcessSpec},
    },
    *,
};

fn spec(script: &str, supervise: bool) -> ProcessSpec {
    ProcessSpec {
        program: ["/bin/sh", "-c", script].map(OsString::from).to_vec(),
        env: vec![("PATH".to_owned(), std::env::var("PATH").unwrap()), ("A".to_owned(), "b".to_owned())],
        cwd: "/".into(),
        supervise,
    }
}

async fn run(script: &str, supervise: bool) -> (Exit, String) {
    let (log, live) = (Arc::new(Log::default()), Arc::new(Live::default()));
    let process = Process::start(&programs().launcher, &spec(script, supervise), Arc::clone(&log), &live).unwrap();
    let exit = process.wait().await;
    live.all_gone().await;
    let mut reader = LogReader::new(log, LogOptions::default());
    let mut text = String::new();
    while let Some(chunk) = reader.next().await {
        text.push_str(&String::from_utf8_lossy(&chunk));
    }
    (exit, text)
}

#[tokio::test]
async fn a_program_has_its_environment_its_log_and_its_code() {
    for supervise in [false, true] {
        let (exit, log) = run("echo $A; echo err >&2; exit 7", supervise).await;
        assert_eq!(exit, Exit::Code(7), "{supervise}: {log}");
        assert!(log.contains("b\n") && log.contains("err\n"), "{log}");
    }
    assert_eq!(run("kill -TERM $$", false).await.0, Exit::Signal(15));
    assert_eq!(run("kill -TERM $$", true).await.0, Exit::Code(143));
}

#[tokio::test]
async fn signals_reach_the_program_and_its_children() {
    for supervise in [false, true] {
        let (log, live) = (Arc::new(Log::default()), Arc::new(Live::default()));
        let script = "trap 'echo told; exit 5' TERM; echo up; while :; do sleep 0.05; done";
        let process = Process::start(&programs().launcher, &spec(script, supervise), Arc::clone(&log), &live).unwrap();
        let mut reader = LogReader::new(Arc::clone(&log), LogOptions { follow: true, ..LogOptions::default() });
        let mut text = String::new();
        while !text.contains("up\n") {
            text.push_str(&String::from_utf8_lossy(&reader.next().await.unwrap()));
        }
        process.signal(Signal::TERM);
        let exit = tokio::time::timeout(PATIENCE, process.wait()).await.unwrap();
        assert_eq!(exit, Exit::Code(5), "{supervise}");
    }
}

#[tokio::test]
async fn what_a_supervised_program_leaves_behind_dies_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pids");
    let script = format!(
        "sleep 1000 & echo $! >> {0}; setsid sh -c 'echo $$ >> {0}; exec sleep 1000' & while [ $(wc -l < {0}) -lt 2 ]; do sleep 0.02; done",
        file.display()
    );
    let (exit, log) = run(&script, true).await;
    assert_eq!(exit, Exit::Code(0), "{log}");
    let pids = std::fs::read_to_string(file).unwrap();
    let left: Vec<&str> = pids.lines().filter(|pid| is_alive(pid.parse().unwrap())).collect();
    assert_eq!((pids.lines().count(), left.len()), (2, 0), "{left:?}");
}

/// Whether a process is there and not just a zombie that nobody has reaped.
fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// The processes whose command line holds a text.
fn with_text(text: &str) -> Vec<i32> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let command = |pid: &i32| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    pids.filter(|pid| String::from_utf8_lossy(&command(pid)).replace('\0', " ").contains(text))
        .filter(|pid| is_alive(*pid))
        .collect()
}

#[tokio::test]
async fn killing_the_harness_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (program, args) = {
        let mut line = this_as("as_harness");
        (line.remove(0), line)
    };
    let mut harness = Command::new(program)
        .args(args)
        .arg(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for(&folder.path().join("pid")).await;
    let sleepers =
        || -> Vec<i32> { (1001..=1005).flat_map(|seconds| with_text(&format!("sleep {seconds}"))).collect() };
    let own = Pid::from_raw(i32::try_from(harness.id()).unwrap()).unwrap();
    let mut all = sleepers();
    let wait = async {
        while !(1001..=1005).all(|seconds| !with_text(&format!("sleep {seconds}")).is_empty()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
    all.extend(sleepers());
    all.extend(launcher::children(own).iter().map(|pid| pid.as_raw_pid()));
    all.sort_unstable();
    all.dedup();
    assert!(all.len() >= 7, "{all:?}");
    rustix::process::kill_process(own, Signal::KILL).unwrap();
    harness.wait().unwrap();
    let gone = async {
        while all.iter().any(|pid| is_alive(*pid)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let result = tokio::time::timeout(PATIENCE, gone).await;
    let left: Vec<_> = all.iter().filter(|pid| is_alive(**pid)).collect();
    assert!(result.is_ok(), "{left:?} are left");
}

async fn wait_for(file: &Path) {
    let wait = async {
        while !file.exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
}

#[tokio::test]
async fn commands_run_in_a_container_with_its_environment() {
    let rig = Rig::with_host_programs();
    let mut container = shell("sleep 100");
    container["env"] = json!([{"name": "COLOUR", "value": "green"}]);
    rig.create("box", json!({"containers": [container]}));
    rig.until("box", "running", |pod| phase(pod) == "Running").await;
    let command = ["sh", "-c", "echo $COLOUR; exit 4"].map(str::to_owned);
    let (process, mut streams) = rig.kubelet.exec("default", "box", None, &command).await.unwrap();
    let mut output = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut streams.stdout, &mut output).await.unwrap();
    assert_eq!(process.wait().await, Exit::Code(4));
    // The launcher of these tests has something to say too.
    assert!(output.ends_with("green\n"), "{output}");
    assert!(!rig.kubelet.usage("default", "box").is_empty());
    assert_eq!(rig.kubelet.exec("default", "box", Some("x"), &command).await.unwrap_err().code, 400);
    rig.end().await;
}
