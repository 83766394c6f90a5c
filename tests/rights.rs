//! What `evenkeel rbac` prints is enough for a run, and not too much: on a sandbox that denies all else, an experiment
//! with every kind of step goes through; with one right less it is refused before anything is touched.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use evenkeel::{
    experiment,
    model::kinds,
    plan::rights,
    sandbox::{Options, Sandbox, api::Denied},
};
use kube::{Api, api::ListParams};

const VERBS: [&str; 8] = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];

/// What lies under an object and has rights of its own.
const UNDER: [(&str, &str); 6] = [
    ("", "pods/eviction"),
    ("", "pods/proxy"),
    ("", "pods/log"),
    ("apps", "deployments/scale"),
    ("apps", "statefulsets/scale"),
    ("", "nodes/proxy"),
];

const EXPERIMENT: &str = "
apiVersion: evenkeel/v1
kind: Experiment
metadata: {name: rights}
spec:
  given:
    namespace: shop
    apply:
      - apiVersion: apps/v1
        kind: Deployment
        metadata: {name: web}
        spec:
          replicas: 3
          selector: {matchLabels: {app: web}}
          template:
            metadata: {labels: {app: web}}
            spec: {containers: [{name: demo, image: 'evenkeel/demo:v1'}]}
      - apiVersion: v1
        kind: Service
        metadata: {name: web}
        spec: {type: NodePort, selector: {app: web}, ports: [{port: 80, nodePort: 32097}]}
    ready: [deployment/web]
    within: 30s
  load:
    - {name: outside, from: outside, service: web, rate: 6/m, connections: new}
  phases: {before: 100ms, after: 100ms}
  steps:
    - drain: {nodes: {withPods: {app: web}, count: 1}, ignoreDaemonsets: true, deleteEmptydirData: true, timeout: 60s}
    - cordon: {nodes: {names: [sandbox-worker]}}
    - uncordon: {nodes: {names: [sandbox-worker]}}
    - wait: {podsReady: {selector: {app: web}, count: 3}}
    - deletePods: {selector: {app: web}, count: 1}
    - rollingUpdate: {workload: deployment/web, env: {A: b}}
    - wait: {rollout: deployment/web}
    - parallel: [{scale: {workload: deployment/web, replicas: 4}}, {sequence: [{wait: {time: 100ms}}]}]
  expect:
    - lost: {atMost: 1000000}
";

/// A right: namespace (empty for the whole cluster), group, resource, verb.
type One = (String, String, String, String);

fn granted() -> BTreeSet<One> {
    let experiment = experiment::read("rights.yaml", EXPERIMENT).unwrap_or_else(|problems| panic!("{problems}"));
    let mut all = BTreeSet::new();
    for right in rights::needed(&experiment).unwrap() {
        let namespace = right.namespace.unwrap_or_default();
        for verb in right.verbs {
            all.insert((namespace.clone(), right.api_group.clone(), right.resource.clone(), verb));
        }
    }
    all
}

/// Everything that is not granted. What is granted in one namespace is denied in the others that there are.
fn denied(granted: &BTreeSet<One>) -> Vec<Denied> {
    let of_kinds = kinds::KINDS.iter().map(|kind| (kind.group, kind.resource));
    let mut all = Vec::new();
    for (group, resource) in of_kinds.chain(UNDER) {
        for verb in VERBS {
            let of = |namespace: &str| {
                granted.contains(&(namespace.to_owned(), group.to_owned(), resource.to_owned(), verb.to_owned()))
            };
            if of("") {
                continue;
            }
            let deny = |namespace: &str| Denied {
                verb: verb.to_owned(),
                group: group.to_owned(),
                resource: resource.to_owned(),
                namespace: namespace.to_owned(),
            };
            let inside: Vec<&str> = ["shop", "default"].into_iter().filter(|namespace| of(namespace)).collect();
            if inside.is_empty() {
                all.push(deny(""));
            } else {
                let others = ["shop", "default", "kube-system"].into_iter().filter(|name| !inside.contains(name));
                all.extend(others.map(deny));
            }
        }
    }
    all
}

struct Try {
    output: Output,
    cordoned: usize,
    leases: usize,
}

impl Try {
    fn told(&self) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        format!("{}: {}{}", self.output.status, text(&self.output.stderr), text(&self.output.stdout))
    }
}

/// Runs the experiment on a sandbox that denies this.
async fn run(denied: Vec<Denied>, scratch: &Path) -> Try {
    std::fs::create_dir_all(scratch).unwrap();
    let executable = PathBuf::from(env!("CARGO_BIN_EXE_evenkeel"));
    let options = Options { status_only: true, serve: Some(0), denied, ..Options::new(executable.clone()) };
    let sandbox = Sandbox::start(options).await.unwrap();
    let kubeconfig = scratch.join("kubeconfig");
    std::fs::write(&kubeconfig, sandbox.kubeconfig().unwrap()).unwrap();
    let file = scratch.join("rights.yaml");
    std::fs::write(&file, EXPERIMENT).unwrap();
    let mut command = Command::new(executable);
    command.args(["run", "--on", "context:evenkeel-sandbox"]).arg(&file).arg("--out").arg(scratch.join("out"));
    command.env("KUBECONFIG", &kubeconfig).env("XDG_STATE_HOME", scratch).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let client = sandbox.client();
    let nodes: Api<k8s_openapi::api::core::v1::Node> = Api::all(client.clone());
    let nodes = nodes.list(&ListParams::default()).await.unwrap();
    let cordoned = nodes.iter().filter(|node| node.spec.as_ref().is_some_and(|spec| spec.unschedulable == Some(true)));
    let cordoned = cordoned.count();
    let leases: Api<k8s_openapi::api::coordination::v1::Lease> = Api::namespaced(client, "default");
    let leases = usize::from(leases.get_opt("evenkeel").await.unwrap().is_some());
    sandbox.stop().await;
    Try { output, cordoned, leases }
}

#[tokio::test]
async fn what_rbac_prints_is_enough_for_every_kind_of_step() {
    let scratch = tempfile::tempdir().unwrap();
    let tried = run(denied(&granted()), scratch.path()).await;
    let told = tried.told();
    // Pods of this sandbox only say that they are ready, so what the load finds says nothing.
    assert!(matches!(tried.output.status.code(), Some(0 | 1 | 3)), "{told}");
    assert!(!told.contains("forbidden"), "{told}");
    assert_eq!((tried.cordoned, tried.leases), (0, 0), "{told}");
}

#[tokio::test]
async fn one_right_less_is_told_before_anything_is_touched() {
    let mut granted = granted();
    let missing = ("shop".to_owned(), "apps".to_owned(), "deployments/scale".to_owned(), "patch".to_owned());
    assert!(granted.remove(&missing));
    let scratch = tempfile::tempdir().unwrap();
    let tried = run(denied(&granted), scratch.path()).await;
    let told = tried.told();
    assert_eq!(tried.output.status.code(), Some(4), "{told}");
    assert!(told.contains("patch deployments.apps/scale in namespace shop"), "{told}");
    assert!(!scratch.path().join("out/rights").exists(), "{told}");
    assert_eq!((tried.cordoned, tried.leases), (0, 0), "{told}");
}
