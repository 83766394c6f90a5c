//! How fast and how large the sandbox is; each figure on a line of its own, beside its aim.
//!
//! `cargo bench --bench sandbox -- pods|scale|watch` measures one of them in a process of its own, since peak memory is
//! a process's; without an argument, all in turn. `scripts/bench-sandbox.sh` puts kind beside it.

use std::{
    path::PathBuf,
    process::{Command, ExitCode},
    time::Duration,
};

use evenkeel::sandbox::{Options, Sandbox, Topology};
use futures::{StreamExt as _, TryStreamExt as _, future, stream};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Pod},
};
use kube::{
    Api, Client,
    api::{ListParams, PostParams, WatchParams},
};
use serde_json::json;
use tokio::time::Instant;

fn main() -> ExitCode {
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let Some(wanted) = wanted else {
        let own = std::env::current_exe().unwrap();
        let all = ["pods", "scale", "watch"];
        let ok = all.map(|one| Command::new(&own).arg(one).status().is_ok_and(|status| status.success()));
        return if ok == [true; 3] { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match wanted.as_str() {
        "pods" => runtime.block_on(pods()),
        "scale" => runtime.block_on(scale()),
        "watch" => runtime.block_on(watch()),
        other => panic!("no such measurement: {other}; there are pods, scale and watch"),
    }
    ExitCode::SUCCESS
}

fn options(topology: Topology, status_only: bool) -> Options {
    Options { topology, status_only, ..Options::new(PathBuf::from(env!("CARGO_BIN_EXE_evenkeel"))) }
}

fn deployment(name: &str, replicas: u32) -> Deployment {
    serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{
                    "name": "shop",
                    "image": "evenkeel/demo:v1",
                    "args": ["demo"],
                    "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1},
                }]},
            },
        },
    }))
    .unwrap()
}

/// Waits until so many pods of Deployments are available.
async fn available(client: &Client, names: &[String], each: i32) {
    let api: Api<Deployment> = Api::default_namespaced(client.clone());
    let done = |deployment: Option<&Deployment>| {
        deployment.and_then(|deployment| deployment.status.as_ref()?.available_replicas) == Some(each)
    };
    future::join_all(names.iter().map(|name| kube::runtime::wait::await_condition(api.clone(), name, done))).await;
}

/// Peak memory of this process in MB.
fn peak_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

/// Empty to three workers with 30 ready pods, each a process.
async fn pods() {
    let began = Instant::now();
    let sandbox = Sandbox::start(options(Topology::default(), false)).await.unwrap();
    let nodes = began.elapsed();
    let api: Api<Deployment> = Api::default_namespaced(sandbox.client());
    api.create(&PostParams::default(), &deployment("shop", 30)).await.unwrap();
    available(&sandbox.client(), &["shop".to_owned()], 30).await;
    let all = began.elapsed();
    println!("nodes ready after             {:>8.3} s", nodes.as_secs_f64());
    println!("30 process pods ready after   {:>8.3} s   (aim: 1.0)", all.as_secs_f64());
    println!("peak memory without the pods  {:>8.1} MB  (aim: 80)", peak_mb());
    let stop = Instant::now();
    sandbox.stop().await;
    println!("stopped after                 {:>8.3} s", stop.elapsed().as_secs_f64());
}

/// 1,000 nodes and 10,000 pods that run nothing.
async fn scale() {
    let began = Instant::now();
    let topology = Topology { workers: 1_000, ..Topology::default() };
    let sandbox = Sandbox::start(options(topology, true)).await.unwrap();
    let client = sandbox.client();
    let api: Api<Deployment> = Api::default_namespaced(client.clone());
    let names: Vec<String> = (0..100).map(|number| format!("shop-{number}")).collect();
    for name in &names {
        api.create(&PostParams::default(), &deployment(name, 100)).await.unwrap();
    }
    available(&client, &names, 100).await;
    println!("10,000 pods ready after       {:>8.3} s   (aim: 10)", began.elapsed().as_secs_f64());
    let list = Instant::now();
    let pods: Api<Pod> = Api::all(client);
    let count = pods.list_metadata(&ListParams::default()).await.unwrap().items.len();
    let metadata = list.elapsed();
    assert_eq!(count, 10_000);
    let request = http::Request::builder().uri("/api/v1/pods").body(kube::client::Body::empty()).unwrap();
    let list = Instant::now();
    let response = sandbox.client().send(request).await.unwrap();
    let bytes = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    println!(
        "list of all pods              {:>8.3} s   (aim: 0.5; {:.1} MB)",
        list.elapsed().as_secs_f64(),
        bytes.len() as f64 / 1e6
    );
    println!("list of their metadata        {:>8.3} s", metadata.as_secs_f64());
    println!("peak memory                   {:>8.1} MB  (aim: 1000)", peak_mb());
    sandbox.stop().await;
}

/// From a write to each of 100 watchers.
async fn watch() {
    const WATCHERS: usize = 100;
    const WRITES: usize = 500;
    let sandbox = Sandbox::start(options(Topology::default(), false)).await.unwrap();
    let client = sandbox.client();
    let api: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let first: ConfigMap = serde_json::from_value(json!({"metadata": {"name": "x"}, "data": {"n": "0"}})).unwrap();
    let made = api.create(&PostParams::default(), &first).await.unwrap();
    let version = made.metadata.resource_version.unwrap();
    let origin = Instant::now();
    let watchers = (0..WATCHERS).map(|_| {
        let (api, version) = (api.clone(), version.clone());
        tokio::spawn(async move {
            let params = WatchParams::default().fields("metadata.name=x");
            let events = api.watch(&params, &version).await.unwrap();
            let seen = events.try_filter_map(|event| {
                let now = origin.elapsed();
                let sent = match event {
                    kube::api::WatchEvent::Modified(map) => map.data.and_then(|data| data["n"].parse::<u64>().ok()),
                    _ => None,
                };
                future::ready(Ok(sent.map(|sent| now.saturating_sub(Duration::from_nanos(sent)))))
            });
            seen.take(WRITES).try_collect::<Vec<Duration>>().await.unwrap()
        })
    });
    let watchers: Vec<_> = watchers.collect();
    // Each write carries the moment it was sent at; the next follows when it is answered and a little time has passed.
    let mut pace = tokio::time::interval(Duration::from_millis(10));
    for _ in 0..WRITES {
        pace.tick().await;
        let sent = u64::try_from(origin.elapsed().as_nanos()).unwrap();
        let patch = kube::api::Patch::Merge(json!({"data": {"n": sent.to_string()}}));
        api.patch("x", &kube::api::PatchParams::default(), &patch).await.unwrap();
    }
    let lists: Vec<Vec<Duration>> = stream::iter(watchers).then(|task| async { task.await.unwrap() }).collect().await;
    let mut all: Vec<Duration> = lists.into_iter().flatten().collect();
    all.sort_unstable();
    assert_eq!(all.len(), WATCHERS * WRITES);
    let at = |percent: usize| all[all.len() * percent / 100].as_secs_f64() * 1e3;
    println!("write to each of 100 watchers {:>8.3} ms  p99 (aim: 5), p50 {:.3} ms", at(99), at(50));
    sandbox.stop().await;
}
