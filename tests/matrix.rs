//! The sandbox against a real cluster, by what evenkeel says of the same experiment on both: 40 cases of budget, probe,
//! preStop, grace and connection kind, a drain of two nodes at once under load.
//!
//! Not part of a plain `cargo test`: it needs a real cluster, named by `EVENKEEL_TEST_ON` (kind:NAME); without it, this
//! says that nothing was run. `EVENKEEL_MATRIX_SAMPLE` and `EVENKEEL_TEST_SEED` take a seeded sample of so many cases;
//! `EVENKEEL_TEST_ONLY` takes cases whose name contains it.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use evenkeel::judge::verdict::Verdict;

/// Of a hundred cases so many may differ: 2 of 40, and none of a small sample.
const DIFFERENT_MAX_PERCENT: usize = 5;

/// One case.
#[derive(Debug, Clone, Copy)]
struct Case {
    budget: bool,
    probe: bool,
    pre_stop_seconds: u32,
    grace_seconds: u32,
    reused: bool,
}

impl Case {
    /// All 40: with no hook, or a short one, and reused connections, a short grace changes nothing.
    ///
    /// The numbers keep away from what decides by a hair: an eviction that is refused comes again after 5 to 6 s, a new
    /// pod is started within 0.5 to 2.7 s on kind and listens 8 s later, tables follow within about a second.
    fn all() -> Vec<Self> {
        let mut cases = Vec::new();
        for (budget, probe) in [(true, true), (true, false), (false, true), (false, false)] {
            for pre_stop_seconds in [0, 3, 15] {
                for (grace_seconds, reused) in [(30, false), (30, true), (16, false), (16, true)] {
                    if pre_stop_seconds < 15 && grace_seconds == 16 && reused {
                        continue;
                    }
                    cases.push(Self { budget, probe, pre_stop_seconds, grace_seconds, reused });
                }
            }
        }
        cases
    }

    fn name(&self) -> String {
        format!(
            "{}-{}-stop{}-grace{}-{}",
            if self.budget { "budget" } else { "nobudget" },
            if self.probe { "probe" } else { "noprobe" },
            self.pre_stop_seconds,
            self.grace_seconds,
            if self.reused { "reused" } else { "new" },
        )
    }

    fn yaml(&self) -> String {
        let name = self.name();
        let mut container = String::new();
        if self.probe {
            container.push_str(
                "\n                  readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1}",
            );
        }
        if self.pre_stop_seconds > 0 {
            let seconds = self.pre_stop_seconds;
            write!(container, "\n                  lifecycle: {{preStop: {{sleep: {{seconds: {seconds}}}}}}}").unwrap();
        }
        let budget = if self.budget {
            "
      - apiVersion: policy/v1
        kind: PodDisruptionBudget
        metadata: {name: shop}
        spec: {minAvailable: 1, selector: {matchLabels: {app: shop}}}"
        } else {
            ""
        };
        // A server that closes an idle connection races with its next request, and one loss in some thousand is a
        // verdict: with connections that are reused, it says `Connection: close` first. Each is replaced every two
        // seconds, so that what becomes of new ones does not hang on the moment at which a pod closes the old ones.
        let (connections, drain) = if self.reused {
            ("{reused: 20}, requestsPerConnection: 20", ", --drain, close, --accept-late, 1500ms")
        } else {
            ("new", "")
        };
        let grace = self.grace_seconds;
        format!(
            "apiVersion: evenkeel/v1
kind: Experiment
metadata: {{name: {name}}}
spec:
  given:
    namespace: evenkeel-matrix
    # What kind takes, in the median, from a pod's making to its container's start.
    sandbox: {{podStart: 1200ms}}
    apply:
      - apiVersion: apps/v1
        kind: Deployment
        metadata: {{name: shop}}
        spec:
          replicas: 2
          selector: {{matchLabels: {{app: shop}}}}
          template:
            metadata: {{labels: {{app: shop}}}}
            spec:
              terminationGracePeriodSeconds: {grace}
              affinity:
                podAntiAffinity:
                  preferredDuringSchedulingIgnoredDuringExecution:
                    - weight: 100
                      podAffinityTerm:
                        topologyKey: kubernetes.io/hostname
                        labelSelector: {{matchLabels: {{app: shop}}}}
              containers:
                - name: shop
                  image: evenkeel/demo:v1
                  args: [demo, --boot, 8s{drain}]
                  env:
                    - {{name: POD_NAME, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}{container}
      - apiVersion: v1
        kind: Service
        metadata: {{name: shop}}
        spec:
          type: NodePort
          selector: {{app: shop}}
          ports: [{{port: 80, targetPort: 8080, nodePort: 30080}}]{budget}
    ready: [deployment/shop]
  load:
    - {{name: outside, from: outside, service: shop, rate: 200/s, connections: {connections}}}
  phases: {{before: 2s, after: 6s}}
  steps:
    - drain:
        nodes: {{withPods: {{app: shop}}, count: 2}}
        order: atOnce
        ignoreDaemonsets: true
        deleteEmptydirData: true
    - wait: {{podsReady: {{selector: {{app: shop}}, count: 2}}}}
  expect:
    - lost: {{atMost: 0}}
"
        )
    }
}

/// What must be the same on both.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    verdict: String,
    findings: Vec<String>,
    top: Option<String>,
}

fn run(bin: &Path, on: Option<&str>, file: &Path, name: &str, out: &Path) -> Result<Told, String> {
    let mut command = Command::new(bin);
    command.arg("run").arg(file).arg("--out").arg(out).stdin(Stdio::null());
    if let Some(on) = on {
        command.args(["--on", on]);
    }
    let output = command.output().map_err(|error| error.to_string())?;
    let path = out.join(name).join("verdict.json");
    let text = std::fs::read_to_string(&path)
        .map_err(|error| format!("{}: {error}\n{}", path.display(), String::from_utf8_lossy(&output.stderr)))?;
    let verdict: Verdict = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let mut findings: Vec<String> = verdict.findings.iter().map(|finding| finding.id.clone()).collect();
    let top = findings.first().cloned();
    findings.sort();
    Ok(Told { verdict: format!("{:?}", verdict.verdict), findings, top })
}

/// A sample that a seed gives again.
fn sample(mut cases: Vec<Case>, count: usize, seed: u64) -> Vec<Case> {
    let mut state = seed;
    while cases.len() > count {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = usize::try_from(state >> 33).unwrap() % cases.len();
        cases.remove(at);
    }
    cases
}

fn main() -> ExitCode {
    let Ok(on) = std::env::var("EVENKEEL_TEST_ON") else {
        println!("matrix: nothing was run, since EVENKEEL_TEST_ON names no cluster (scripts/on-kind.sh makes one)");
        return ExitCode::SUCCESS;
    };
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let only = std::env::var("EVENKEEL_TEST_ONLY").unwrap_or_default();
    let bin =
        std::env::var_os("EVENKEEL_BIN").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_evenkeel")), PathBuf::from);
    let cases: Vec<Case> = Case::all().into_iter().filter(|case| case.name().contains(&only)).collect();
    let count = usize::try_from(number("EVENKEEL_MATRIX_SAMPLE", 40)).unwrap();
    let cases = sample(cases, count, number("EVENKEEL_TEST_SEED", 1));
    let scratch = tempfile::tempdir().unwrap();
    let (mut same, mut different) = (0, 0);
    for case in &cases {
        let name = case.name();
        let file = scratch.path().join(format!("{name}.yaml"));
        std::fs::write(&file, case.yaml()).unwrap();
        let out = |side: &str| scratch.path().join(format!("{name}-{side}"));
        // At the same time: both mostly wait.
        let (here, there) = std::thread::scope(|scope| {
            let here = scope.spawn(|| run(&bin, None, &file, &name, &out("sandbox")));
            let there = run(&bin, Some(&on), &file, &name, &out("real"));
            (here.join().unwrap(), there)
        });
        if here.is_ok() && here == there {
            same += 1;
            println!("{name}: same: {}", tell(&here));
        } else {
            different += 1;
            println!("{name}: DIFFERENT: sandbox {}; {on} {}", tell(&here), tell(&there));
        }
    }
    println!("{same} passed, {different} failed");
    let allowed = cases.len() * DIFFERENT_MAX_PERCENT / 100;
    if different <= allowed && same > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn tell(told: &Result<Told, String>) -> String {
    match told {
        Ok(told) => format!("{}, {}", told.verdict, told.findings.join(" ")),
        Err(error) => format!("no verdict: {error}"),
    }
}
