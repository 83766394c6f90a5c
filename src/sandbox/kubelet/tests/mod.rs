//! The kubelet with real processes. The executable of these tests plays evenkeel: started again with the name of one of
//! the functions at the end of this file, it is the launcher, the demo service, or a harness to be killed.

mod life;
mod processes;
mod restarts;

use std::{
    ffi::OsString,
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, TcpListener},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{Kubelet, KubeletOptions, NodeSpec, Programs, launcher};
use crate::sandbox::{
    kinds,
    registry::{DeleteOptions, Registry, WriteOptions, admission::Allocator},
    store::Store,
};

/// What nothing here takes: a test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(20);

fn this_as(function: &str) -> Vec<OsString> {
    let exe = std::env::current_exe().unwrap();
    let name = format!("{}::{function}", module_path!().split_once("::").unwrap().1);
    let mut line = vec![exe.into_os_string()];
    line.extend(["--exact", &name, "--nocapture", "--test-threads=1", "--"].map(OsString::from));
    line
}

fn programs() -> Programs {
    Programs { launcher: this_as("as_launcher"), demo: this_as("as_demo") }
}

struct Rig {
    registry: Arc<Registry>,
    kubelet: Arc<Kubelet>,
    tasks: JoinSet<()>,
    _scratch: tempfile::TempDir,
}

fn registry() -> Arc<Registry> {
    let store = Arc::new(Store::new(kinds::ALL));
    let registry = Arc::new(Registry::new(store, Allocator::default()));
    for name in ["default", "kube-node-lease"] {
        let namespace = json!({"metadata": {"name": name}});
        registry.create(&kinds::NAMESPACE, "", namespace, &WriteOptions::default()).unwrap();
    }
    registry
}

impl Rig {
    fn new(change: impl FnOnce(&mut KubeletOptions)) -> Self {
        // Tests run side by side, and the harness to be killed beside them: each has addresses of its own.
        static NEXT: AtomicU8 = AtomicU8::new(0);
        let scratch = tempfile::tempdir().unwrap();
        let mut options = KubeletOptions::new(vec![NodeSpec::new("node-1")], programs(), scratch.path());
        let first = if arguments().is_empty() { 100 } else { 90 };
        let second = first + NEXT.fetch_add(1, Ordering::Relaxed);
        options.pod_base = Ipv4Addr::new(127, second, 0, 0);
        change(&mut options);
        let registry = registry();
        let mut tasks = JoinSet::new();
        let kubelet = Kubelet::start(&mut tasks, Arc::clone(&registry), options).unwrap();
        Self { registry, kubelet, tasks, _scratch: scratch }
    }

    /// A kubelet that may run programs of the machine.
    fn with_host_programs() -> Self {
        Self::new(|options| {
            options.host_programs = true;
            options.stand_ins = vec!["busybox*".to_owned()];
        })
    }

    fn create(&self, name: &str, mut spec: Value) {
        spec["nodeName"] = json!("node-1");
        let pod = json!({"metadata": {"name": name}, "spec": spec});
        self.registry.create(&kinds::POD, "default", pod, &WriteOptions::default()).unwrap();
    }

    fn pod(&self, name: &str) -> Option<Arc<Pod>> {
        self.registry.find::<Pod>("default", name)
    }

    fn delete(&self, name: &str, grace: Option<i64>) {
        let options = DeleteOptions { grace_seconds: grace, ..DeleteOptions::default() };
        self.registry.remove::<Pod>("default", name, &options).unwrap();
    }

    /// Waits until a pod is as wanted.
    async fn until(&self, name: &str, what: &str, holds: impl Fn(&Pod) -> bool) -> Arc<Pod> {
        let store = self.registry.store();
        let mut watcher = store.watch(&kinds::POD, store.version()).unwrap();
        let wait = async {
            loop {
                if let Some(pod) = self.pod(name).filter(|pod| holds(pod)) {
                    return pod;
                }
                watcher.next().await.unwrap();
            }
        };
        let seen = tokio::time::timeout(PATIENCE, wait).await;
        seen.unwrap_or_else(|_| panic!("{name} never was {what}: {:#?}\n{:#?}", self.pod(name), self.events(name)))
    }

    async fn until_gone(&self, name: &str) {
        let store = self.registry.store();
        let mut watcher = store.watch(&kinds::POD, store.version()).unwrap();
        let wait = async {
            while self.pod(name).is_some() {
                watcher.next().await.unwrap();
            }
        };
        assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "{name} stays: {:#?}", self.pod(name));
    }

    /// Reasons and messages of a pod's events.
    fn events(&self, name: &str) -> Vec<(String, String)> {
        let all = self.registry.all::<Event>(Some("default"));
        let own = all.iter().filter(|event| event.involved_object.name.as_deref() == Some(name));
        own.map(|event| (event.reason.clone().unwrap_or_default(), event.message.clone().unwrap_or_default())).collect()
    }

    fn has_event(&self, name: &str, reason: &str, message: &str) -> bool {
        self.events(name).iter().any(|(own, text)| own == reason && text.contains(message))
    }

    /// Waits until a container's log holds a text.
    async fn until_logged(&self, name: &str, wanted: &str) {
        let options = super::LogOptions { follow: true, ..super::LogOptions::default() };
        let mut reader = self.kubelet.logs("default", name, None, options).unwrap();
        let mut text = String::new();
        let wait = async {
            while !text.contains(wanted) {
                let chunk = reader.next().await.unwrap();
                text.push_str(&String::from_utf8_lossy(&chunk));
            }
        };
        assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "{wanted}");
    }

    async fn end(mut self) {
        self.tasks.shutdown().await;
        self.kubelet.shutdown().await;
        assert_eq!(self.kubelet.processes(), 0);
    }
}

fn demo(args: &[&str]) -> Value {
    json!({"name": "demo", "image": "evenkeel/demo:v1", "args": args})
}

fn shell(script: &str) -> Value {
    json!({"name": "sh", "image": "busybox", "command": ["sh", "-c", script]})
}

fn is(pod: &Pod, condition: &str) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|one| one.type_ == condition && one.status == "True")
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

fn container(pod: &Pod) -> ContainerStatus {
    pod.status.as_ref().and_then(|status| status.container_statuses.clone()).unwrap_or_default().remove(0)
}

fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    statuses.and_then(|all| all.first()).map_or(0, |status| status.restart_count)
}

fn waits_for(pod: &Pod) -> String {
    let state = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref()?.first()?.state.clone());
    state.and_then(|state| state.waiting?.reason).unwrap_or_default()
}

/// The arguments after the first `--`, where this process was started as something else than tests.
fn arguments() -> Vec<String> {
    std::env::args().skip_while(|arg| arg != "--").skip(1).collect()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "here this process is a launcher, which ends with a code")]
fn as_launcher() {
    let args = arguments();
    let [parent_flag, parent, rest @ ..] = args.as_slice() else { return };
    assert_eq!(parent_flag, "--parent");
    let supervise = rest[0] == "--supervise";
    let line = &rest[usize::from(supervise) + 1..];
    let launch = launcher::Launch {
        parent: parent.parse().unwrap(),
        supervise,
        program: line[0].clone().into(),
        args: line[1..].iter().map(OsString::from).collect(),
    };
    std::process::exit(i32::from(launcher::run(&launch)));
}

/// `demo` answers every request with 200, but `/bad` with 503 and `/once` only once with 200; `demo exit N` ends with N; `demo-sleep` sleeps.
#[test]
#[expect(clippy::disallowed_methods, reason = "here this process is a service, which ends with a code")]
fn as_demo() {
    let args = arguments();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => {}
        ["demo", "exit", code] => {
            println!("exiting with {code}");
            std::process::exit(code.parse().unwrap());
        }
        ["demo", ..] => serve(),
        ["demo-sleep", span] => {
            std::thread::sleep(Duration::from_millis(span.trim_end_matches("ms").parse().unwrap()));
            std::process::exit(0);
        }
        other => panic!("{other:?}"),
    }
}

fn serve() {
    let address: IpAddr = std::env::var("EVENKEEL_DEMO_ADDRESS").unwrap().parse().unwrap();
    let port = std::env::var("EVENKEEL_DEMO_PORT").map_or(8080, |port| port.parse().unwrap());
    let listener = TcpListener::bind((address, port)).unwrap();
    let mut once = false;
    println!("listening as {}", std::env::var("POD_NAME").unwrap_or_default());
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let mut asked = [0; 1024];
        let count = stream.read(&mut asked).unwrap_or(0);
        let asked = String::from_utf8_lossy(&asked[..count]).into_owned();
        let bad =
            asked.starts_with("GET /bad") || (asked.starts_with("GET /once") && std::mem::replace(&mut once, true));
        let status = if bad { "503 No" } else { "200 OK" };
        _ = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    }
}

/// A harness with a pod whose program leaves children behind in all ways there are; it says when they run.
#[test]
fn as_harness() {
    let args = arguments();
    let [folder] = args.as_slice() else { return };
    let folder = PathBuf::from(folder);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let rig = Rig::with_host_programs();
        let script = format!(
            "sleep 1001 & setsid sleep 1002 & (setsid sh -c 'sleep 1003 & sleep 1004' &) ; echo $$ > {0}/x; mv {0}/x {0}/pid; sleep 1005",
            folder.display()
        );
        rig.create("forks", json!({"containers": [shell(&script)]}));
        rig.create("demo", json!({"containers": [demo(&["demo"])]}));
        std::future::pending::<()>().await;
    });
}
