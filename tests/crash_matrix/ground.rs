//! A cluster that survives the run on it, with some workloads, and what is looked at to say that it is as it was.

use std::{
    collections::BTreeMap,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use evenkeel::cluster::{self, On, apply, ready};
use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment, StatefulSet},
    coordination::v1::Lease,
    core::v1::{Namespace, Node, Pod},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Client, Config,
    api::{DeleteParams, ListParams, Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::time::Instant;

/// The namespace of the workloads.
const NAMESPACE: &str = "evenkeel-crash";

/// How long the ground may take to be there.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// How long pods may take to be as many as before, once all else is.
const PODS_WITHIN: Duration = Duration::from_secs(60);

/// A run that is not killed ends in this time, or hangs.
const RUN_WITHIN: Duration = Duration::from_secs(120);

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A cluster with some workloads.
pub struct Ground {
    /// What `--on` says.
    pub on: String,
    /// Its client.
    pub client: Client,
    scratch: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    kubeconfig: Option<PathBuf>,
    sandbox: Option<Child>,
    nodes: Vec<String>,
    runs: u32,
}

/// What must be as it was: everything that a step can change, by what it is of.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot(BTreeMap<String, Value>);

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn executable() -> PathBuf {
    std::env::var_os("EVENKEEL_BIN").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_evenkeel")), PathBuf::from)
}

impl Drop for Ground {
    fn drop(&mut self) {
        if let Some(sandbox) = &mut self.sandbox {
            let _ = kill_process(Pid::from_child(sandbox), Signal::CONT);
            let _ = kill_process(Pid::from_child(sandbox), Signal::INT);
            let _ = sandbox.wait();
        } else {
            let nodes: Api<Node> = Api::all(self.client.clone());
            let open = Patch::Merge(json!({"spec": {"unschedulable": false}}));
            let cordoned = self.nodes.get(2).map(String::as_str).unwrap_or_default();
            let _ = self.runtime.block_on(nodes.patch(cordoned, &PatchParams::default(), &open));
            let namespaces: Api<Namespace> = Api::all(self.client.clone());
            let _ = self.runtime.block_on(namespaces.delete(NAMESPACE, &DeleteParams::default()));
            // The next ground has the same name.
            let deadline = Instant::now() + PODS_WITHIN;
            while self.block_on(namespaces.get_opt(NAMESPACE)).is_ok_and(|left| left.is_some())
                && Instant::now() < deadline
            {
                std::thread::sleep(LOOK_EVERY);
            }
        }
    }
}

impl Ground {
    /// Makes it, ready.
    pub fn new(on: &On, worker: usize) -> Result<Self, String> {
        let scratch = tempfile::tempdir().map_err(words)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(words)?;
        let (sandbox, kubeconfig, client) = if *on == On::Sandbox {
            let path = scratch.path().join(format!("kubeconfig-{worker}"));
            let sandbox = start_sandbox(&path)?;
            let client = runtime.block_on(client_of(&path))?;
            (Some(sandbox), Some(path), client)
        } else {
            let cluster = runtime.block_on(cluster::connect(on)).map_err(words)?;
            (None, None, cluster.client)
        };
        let on = if sandbox.is_some() { "context:evenkeel-sandbox".to_owned() } else { on.to_string() };
        let mut ground = Self { on, client, scratch, runtime, kubeconfig, sandbox, nodes: Vec::new(), runs: 0 };
        ground.furnish()?;
        Ok(ground)
    }

    /// Workloads, a Service that nobody answers on, and a cordoned node.
    fn furnish(&mut self) -> Result<(), String> {
        let client = self.client.clone();
        let nodes = self.block_on(async {
            apply::create_namespace(&client, NAMESPACE).await.map_err(words)?;
            apply::create_objects(&client, NAMESPACE, &objects()).await.map_err(words)?;
            let workloads = ["deployment/web", "statefulset/store"].map(|name| name.parse().unwrap());
            ready::wait_ready(&client, NAMESPACE, &workloads, READY_WITHIN).await.map_err(words)?;
            let api: Api<Node> = Api::all(client.clone());
            let workers = ListParams::default().labels("!node-role.kubernetes.io/control-plane");
            let all = api.list(&workers).await.map_err(words)?;
            let names: Vec<String> = all.items.into_iter().filter_map(|node| node.metadata.name).collect();
            let last = names.get(2).ok_or("three workers are needed")?;
            let cordoned = Patch::Merge(json!({"spec": {"unschedulable": true}}));
            api.patch(last, &PatchParams::default(), &cordoned).await.map_err(words)?;
            Ok::<_, String>(names)
        })?;
        self.nodes = nodes;
        self.equal_after(|snapshot| {
            snapshot.0.iter().any(|(what, node)| what.starts_with("node/") && node.to_string().contains("NoSchedule"))
        })
    }

    /// Runs something on the ground's own runtime.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Waits until the snapshot is so, as right after the ground was furnished.
    fn equal_after(&self, so: impl Fn(&Snapshot) -> bool) -> Result<(), String> {
        let deadline = Instant::now() + PODS_WITHIN;
        loop {
            let now = self.snapshot()?;
            if so(&now) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(format!("the cluster does not get there: {now:?}"));
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// The cluster at this moment.
    pub fn snapshot(&self) -> Result<Snapshot, String> {
        self.block_on(snapshot(&self.client)).map_err(words)
    }

    /// Everything is as it was, at once; but for pods, which need a moment to be ready.
    pub fn equal(&self, before: &Snapshot) -> Result<(), String> {
        let deadline = Instant::now() + PODS_WITHIN;
        loop {
            let now = self.snapshot()?;
            let changed: Vec<String> = before
                .0
                .keys()
                .chain(now.0.keys())
                .filter(|what| before.0.get(*what) != now.0.get(*what))
                .map(|what| format!("{what}: {:?} was {:?}", now.0.get(what), before.0.get(what)))
                .collect();
            if changed.is_empty() {
                return Ok(());
            }
            if changed.iter().any(|what| !what.starts_with("pods/")) || Instant::now() >= deadline {
                return Err(format!("not as before: {}", changed.join("; ")));
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(executable());
        command.args(words).env("XDG_STATE_HOME", self.state()).stdin(Stdio::null());
        if let Some(kubeconfig) = &self.kubeconfig {
            command.env("KUBECONFIG", kubeconfig);
        }
        command
    }

    /// Where the index of ledgers is.
    pub fn state(&self) -> PathBuf {
        self.scratch.path().join("state")
    }

    /// Starts a run of these steps; its folder, and its command, which has not been started.
    pub fn run(&mut self, name: &str, steps: &str) -> Result<(PathBuf, Command), String> {
        self.runs += 1;
        let name = name.to_lowercase();
        let mut steps = steps.to_owned();
        for (letter, node) in ["[A", "[B", "[C", ", B"].into_iter().zip([0, 1, 2, 1]) {
            steps = steps.replace(letter, &format!("{}{}", &letter[..letter.len() - 1], self.nodes[node]));
        }
        let file = self.scratch.path().join(format!("{name}-{}.yaml", self.runs));
        std::fs::write(&file, experiment(&name, &steps)).map_err(words)?;
        let out = self.scratch.path().join(format!("run-{}", self.runs));
        let mut command = self.command(&["run", "--on", &self.on]);
        command.arg(&file).arg("--out").arg(&out);
        Ok((out.join(name), command))
    }

    /// The same on a disk of 256 KiB, where a user may mount one: others see it by [`as_seen_by`] alone.
    pub fn run_on_a_small_disk(&mut self, name: &str, steps: &str) -> Result<Option<(PathBuf, Command)>, String> {
        let (folder, command) = self.run(name, steps)?;
        let out = folder.parent().ok_or("a run's folder lies in another")?.to_owned();
        std::fs::create_dir(&out).map_err(words)?;
        let mut mounted = Command::new("unshare");
        mounted.args(["--user", "--map-root-user", "--mount", "sh", "-c"]);
        let probe = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none"])
            .arg(&out)
            .output();
        if !probe.is_ok_and(|probe| probe.status.success()) {
            return Ok(None);
        }
        mounted.arg(r#"mount -t tmpfs -o size=256k none "$0" && exec "$@""#).arg(&out);
        mounted.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
        for (name, value) in command.get_envs() {
            mounted.env(name, value.unwrap_or_default());
        }
        Ok(Some((folder, mounted)))
    }

    /// The node with the most pods of `slow`: of four over the two nodes that take any, at least two.
    pub fn slowest_node(&self) -> Result<String, String> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), NAMESPACE);
        let slow = self.block_on(pods.list(&ListParams::default().labels("app=slow"))).map_err(words)?;
        let mut of_node: BTreeMap<String, usize> = BTreeMap::new();
        for node in slow.items.into_iter().filter_map(|pod| pod.spec?.node_name) {
            *of_node.entry(node).or_default() += 1;
        }
        let fullest = of_node.into_iter().max_by_key(|(_, pods)| *pods);
        fullest.filter(|(_, pods)| *pods >= 2).map(|(node, _)| node).ok_or_else(|| "no node has two pods".to_owned())
    }

    /// Four pods that take so many seconds to end, and a budget that lets one of them go at a time.
    pub fn slow_pods(&self, seconds: u64) -> Result<(), String> {
        let mut slow = objects().swap_remove(0);
        let text = slow.to_string().replace("\"web\"", "\"slow\"");
        slow = serde_json::from_str(&text).map_err(words)?;
        slow["spec"]["replicas"] = json!(4);
        let pod = &mut slow["spec"]["template"]["spec"];
        pod["terminationGracePeriodSeconds"] = json!(seconds + 2);
        pod["containers"][0]["lifecycle"] = json!({"preStop": {"sleep": {"seconds": seconds}}});
        let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "slow"},
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "slow"}}}});
        self.block_on(async {
            apply::create_objects(&self.client, NAMESPACE, &[slow, budget]).await.map_err(words)?;
            let slow = ["deployment/slow".parse().unwrap()];
            ready::wait_ready(&self.client, NAMESPACE, &slow, READY_WITHIN).await.map_err(words)
        })
    }

    /// Takes those away at once.
    pub fn no_slow_pods(&self) -> Result<(), String> {
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), NAMESPACE);
        let budgets: Api<PodDisruptionBudget> = Api::namespaced(self.client.clone(), NAMESPACE);
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), NAMESPACE);
        self.block_on(async {
            budgets.delete("slow", &DeleteParams::default()).await.map_err(words)?;
            deployments.delete("slow", &DeleteParams::background()).await.map_err(words)?;
            let now = DeleteParams::default().grace_period(0);
            let slow = ListParams::default().labels("app=slow");
            // Until its ReplicaSet is gone too, there may be new ones.
            let deadline = Instant::now() + PODS_WITHIN;
            while !pods.list(&slow).await.map_err(words)?.items.is_empty() {
                if Instant::now() >= deadline {
                    return Err("pods of deployment/slow stay".to_owned());
                }
                pods.delete_collection(&now, &slow).await.map_err(words)?;
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Ok(())
        })
    }

    /// Runs until it kills itself at a point; its folder.
    pub fn run_until_killed(&mut self, name: &str, steps: &str, point: &str) -> Result<PathBuf, String> {
        let (folder, command) = self.run(name, steps)?;
        is_killed_at(point, command).map(|()| folder)
    }

    /// The same with a namespace that the run makes itself.
    pub fn run_own_namespace_until_killed(&mut self, point: &str) -> Result<PathBuf, String> {
        let (folder, command) = self.run("own", "- cordon: {nodes: {names: [A]}}")?;
        let file = self.scratch.path().join(format!("own-{}.yaml", self.runs));
        let apply = serde_json::to_string(&objects()[..1]).map_err(words)?;
        let service = r#"{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"type": "NodePort",
            "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080, "nodePort": 32098}]}}"#;
        let apply = format!("{}, {service}]", apply.trim_end_matches(']'));
        let given = format!("given: {{namespace: {NAMESPACE}");
        let own = format!("given: {{namespace: evenkeel-crash-own, apply: {}", apply.replace('\n', " "));
        let text = std::fs::read_to_string(&file).map_err(words)?.replace(&given, &own);
        std::fs::write(&file, text).map_err(words)?;
        is_killed_at(point, command).map(|()| folder)
    }

    /// Recovers until it kills itself at a point.
    pub fn recover_until_killed(&self, point: &str) -> Result<(), String> {
        is_killed_at(point, self.command(&["recover", "--on", &self.on]))
    }

    /// Recovers, and sees that it says so: exit code 0, complete.
    pub fn recover(&self) -> Result<Value, String> {
        recovered(&self.command(&["recover", "--json", "--on", &self.on]).output().map_err(words)?)
    }

    /// The same without `--on`: whatever the index knows.
    pub fn recover_what_is_known(&self) -> Result<Value, String> {
        recovered(&self.command(&["recover", "--json"]).output().map_err(words)?)
    }

    /// The exit code and the words of `recover`, whatever they are.
    pub fn try_to_recover(&self) -> Result<(Option<i32>, String), String> {
        let output = self.command(&["recover", "--on", &self.on]).output().map_err(words)?;
        Ok((output.status.code(), told(&output)))
    }

    /// The sandbox stands still, as an API server does that hangs, or goes on.
    pub fn stand_still(&self, still: bool) -> Result<(), String> {
        let sandbox = self.sandbox.as_ref().ok_or("only a sandbox can be stopped")?;
        kill_process(Pid::from_child(sandbox), if still { Signal::STOP } else { Signal::CONT }).map_err(words)
    }
}

/// Sees that a command kills itself at a point.
fn is_killed_at(point: &str, mut command: Command) -> Result<(), String> {
    let output = command.env("EVENKEEL_CRASH_AT", point).output().map_err(words)?;
    if output.status.signal() == Some(Signal::KILL.as_raw()) {
        Ok(())
    } else {
        Err(format!("it was not killed at {point}, but ended: {}", told(&output)))
    }
}

fn recovered(output: &Output) -> Result<Value, String> {
    let json: Value = serde_json::from_slice(&output.stdout).map_err(|error| format!("{error}: {}", told(output)))?;
    if output.status.code() == Some(0) && json["complete"] == true {
        Ok(json)
    } else {
        Err(format!("recover failed: {}", told(output)))
    }
}

/// Nothing that was written down has a value of the pods' environment in it.
pub fn no_secret(folder: &Path) -> Result<(), String> {
    for file in ["undo.jsonl", "events.jsonl"] {
        let text = std::fs::read_to_string(folder.join(file)).map_err(words)?;
        if text.contains("hunter2") || text.contains("hunter3") {
            return Err(format!("{file} has a value of the environment in it"));
        }
    }
    Ok(())
}

/// A file of a process that has mounts of its own.
pub fn as_seen_by(child: &Child, path: &Path) -> PathBuf {
    PathBuf::from(format!("/proc/{}/root{}", child.id(), path.display()))
}

/// Whether a file has a line with this in it.
pub fn has_line(file: &Path, part: &str) -> bool {
    std::fs::read_to_string(file).is_ok_and(|text| text.contains(part))
}

/// Waits until a file has a line with this in it, as long as the run that writes it goes on. Where it never has one, the
/// run is ended.
pub fn await_line(run: &mut Child, file: &Path, part: &str) -> Result<(), String> {
    let deadline = Instant::now() + RUN_WITHIN;
    while !has_line(file, part) {
        let ended = run.try_wait().map_err(words)?;
        if ended.is_some() || Instant::now() >= deadline {
            run.kill().and_then(|()| run.wait()).map_err(words)?;
            return Err(format!("{} never had {part:?}; the run had ended: {ended:?}", file.display()));
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

/// All that a command said.
pub fn told(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    format!("{}: {} {}", output.status, text(&output.stderr), text(&output.stdout))
}

/// Ctrl-C.
pub fn interrupt(child: &Child) -> Result<(), String> {
    kill_process(Pid::from_child(child), Signal::INT).map_err(words)
}

/// Its standard output and error go to files: nobody reads them once it is ready.
fn start_sandbox(kubeconfig: &Path) -> Result<Child, String> {
    let said = kubeconfig.with_extension("said");
    let mut child = Command::new(executable())
        .args(["sandbox", "up", "--nodes", "3"])
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(kubeconfig).map_err(words)?)
        .stderr(std::fs::File::create(&said).map_err(words)?)
        .spawn()
        .map_err(words)?;
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        let text = std::fs::read_to_string(&said).map_err(words)?;
        if text.contains("is ready") {
            return Ok(child);
        }
        if child.try_wait().map_err(words)?.is_some() || Instant::now() >= deadline {
            let _ = child.kill();
            return Err(format!("the sandbox did not get ready: {text}"));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

async fn client_of(kubeconfig: &Path) -> Result<Client, String> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).map_err(words)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.map_err(words)?;
    Client::try_from(config).map_err(words)
}

fn objects() -> Vec<Value> {
    let template = |app: &str| {
        json!({
            "metadata": {"labels": {"app": app}},
            "spec": {
                "terminationGracePeriodSeconds": 2,
                "containers": [{
                    "name": "demo", "image": "evenkeel/demo:v1", "args": ["demo"],
                    "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                        {"name": "SECRET", "value": "hunter2"}],
                    "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1},
                }],
            },
        })
    };
    let spec = |app: &str, replicas: u32| json!({"replicas": replicas, "selector": {"matchLabels": {"app": app}}, "template": template(app)});
    let mut store = spec("store", 1);
    store["serviceName"] = json!("store");
    vec![
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec("web", 3)}),
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "store"}, "spec": store}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {
            "type": "NodePort", "selector": {"app": "web"},
            "ports": [{"port": 80, "targetPort": 8080, "nodePort": 32_099}]}}),
    ]
}

/// One request in ten seconds, to a port where nobody listens: what these runs are about is not their load.
fn experiment(name: &str, steps: &str) -> String {
    format!(
        "apiVersion: evenkeel/v1
kind: Experiment
metadata: {{name: {name}}}
spec:
  given: {{namespace: {NAMESPACE}, ready: [deployment/web], within: 20s}}
  load:
    - {{name: outside, from: outside, service: web, rate: 6/m, connections: new}}
  phases: {{before: 100ms, after: 100ms}}
  steps:
    {steps}
  expect:
    - lost: {{atMost: 0}}
"
    )
}

async fn snapshot(client: &Client) -> kube::Result<Snapshot> {
    let all = ListParams::default();
    let mut seen = BTreeMap::new();
    for node in Api::<Node>::all(client.clone()).list(&all).await? {
        let spec = node.spec.unwrap_or_default();
        let taints: Vec<String> =
            spec.taints.iter().flatten().map(|taint| format!("{}:{}", taint.key, taint.effect)).collect();
        let name = node.metadata.name.unwrap_or_default();
        seen.insert(format!("node/{name}"), json!([spec.unschedulable.unwrap_or(false), taints]));
    }
    for namespace in Api::<Namespace>::all(client.clone()).list(&all).await? {
        seen.insert(format!("namespace/{}", namespace.metadata.name.unwrap_or_default()), json!(true));
    }
    for lease in Api::<Lease>::namespaced(client.clone(), "default").list(&all).await? {
        seen.insert(format!("lease/{}", lease.metadata.name.unwrap_or_default()), json!(true));
    }
    for one in Api::<Deployment>::all(client.clone()).list(&all).await? {
        let spec = one.spec.unwrap_or_default();
        let what = format!("deployment/{}", one.metadata.name.unwrap_or_default());
        seen.insert(what, json!([spec.replicas, spec.template]));
    }
    for one in Api::<StatefulSet>::all(client.clone()).list(&all).await? {
        let spec = one.spec.unwrap_or_default();
        let what = format!("statefulset/{}", one.metadata.name.unwrap_or_default());
        seen.insert(what, json!([spec.replicas, spec.template]));
    }
    for one in Api::<DaemonSet>::all(client.clone()).list(&all).await? {
        let what = format!("daemonset/{}", one.metadata.name.unwrap_or_default());
        seen.insert(what, json!(one.spec.unwrap_or_default().template));
    }
    let mut pods: BTreeMap<String, i32> = BTreeMap::new();
    for pod in Api::<Pod>::all(client.clone()).list(&all).await? {
        let conditions = pod.status.and_then(|status| status.conditions).unwrap_or_default();
        let ready = conditions.iter().any(|one| one.type_ == "Ready" && one.status == "True");
        let app = pod.metadata.labels.and_then(|mut labels| labels.remove("app")).unwrap_or_default();
        if ready && pod.metadata.deletion_timestamp.is_none() {
            *pods.entry(format!("pods/{}/{app}", pod.metadata.namespace.unwrap_or_default())).or_default() += 1;
        }
    }
    seen.extend(pods.into_iter().map(|(what, count)| (what, json!(count))));
    Ok(Snapshot(seen))
}
