//! How fast and how large the sandbox is; each figure on a line of its own, beside its aim.
//!
//! `cargo bench --bench sandbox -- pods|scale|watch` measures one of them in a process of its own, since peak memory is
//! a process's; without an argument, all in turn. `scripts/bench-sandbox.sh` puts kind beside it.

use std::{
    path::PathBuf,
    process::{Command, ExitCode},
    sync::Arc,
    time::Duration,
};

use evenkeel::sandbox::{
    Options, Sandbox, Topology,
    api::{Api as ServedApi, ApiOptions, ApiServer},
    kinds,
    registry::{Part, Registry, WriteOptions, admission::Allocator},
    store::Store,
};
use futures::{StreamExt as _, TryStreamExt as _, future, stream};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Pod},
};
use kube::{
    Api, Client,
    api::{ListParams, PostParams, WatchParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;
use tokio::{
    sync::{Barrier, oneshot},
    time::Instant,
};

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

const WATCHERS: usize = 100;
const WRITES: usize = 500;

/// From the moment when a change is in the store to each of 100 watchers, over the API's port with TLS. The API and the
/// writer share a thread, as in a sandbox; the clients have the other.
async fn watch() {
    let registry = Arc::new(Registry::new(Arc::new(Store::new(kinds::ALL)), Allocator::default()));
    let options = WriteOptions::default();
    let namespace = json!({"metadata": {"name": "default"}});
    registry.create(&kinds::NAMESPACE, "", namespace, &options).unwrap();
    let map = json!({"metadata": {"name": "x"}, "data": {"n": "0"}});
    let version = registry.create(&kinds::CONFIG_MAP, "default", map, &options).unwrap().version.to_string();
    let origin = Instant::now();
    let (up, wait) = oneshot::channel();
    let (all_watch, begin) = oneshot::channel();
    let served = Arc::clone(&registry);
    let serve = async move {
        let server = ApiServer::start(ServedApi::new(Arc::clone(&served), ApiOptions::default()), 0).await.unwrap();
        up.send(server.kubeconfig("bench")).unwrap();
        begin.await.unwrap();
        write_in_turn(&served, origin).await;
        server
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = serve.await;
            // Until the last event has been read.
            drop(stopped.await);
            drop(server);
        });
    });
    let kubeconfig = Kubeconfig::from_yaml(&wait.await.unwrap()).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    let ready = Arc::new(Barrier::new(WATCHERS + 1));
    let watchers: Vec<_> = (0..WATCHERS)
        .map(|_| {
            // Each on a connection of its own.
            let client = Client::try_from(config.clone()).unwrap();
            tokio::spawn(latencies(client, version.clone(), origin, Arc::clone(&ready)))
        })
        .collect();
    ready.wait().await;
    all_watch.send(()).unwrap();
    let lists: Vec<Vec<Duration>> = stream::iter(watchers).then(|task| async { task.await.unwrap() }).collect().await;
    let mut all: Vec<Duration> = lists.into_iter().flatten().collect();
    all.sort_unstable();
    assert_eq!(all.len(), WATCHERS * WRITES);
    let at = |percent: usize| all[all.len() * percent / 100].as_secs_f64() * 1e3;
    println!("change to each of 100 watchers{:>8.3} ms  p99 (aim: 5), p50 {:.3} ms", at(99), at(50));
    drop(stop);
    thread.join().unwrap();
}

/// Changes the map again and again; each change carries the moment right before it is stored.
async fn write_in_turn(registry: &Registry, origin: Instant) {
    let mut pace = tokio::time::interval(Duration::from_millis(10));
    // A thread that was held up goes on at its pace: a burst would measure the burst.
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for _ in 0..WRITES {
        pace.tick().await;
        let stamped = |mut map: serde_json::Value| {
            map["data"]["n"] = json!(origin.elapsed().as_nanos().to_string());
            Ok(map)
        };
        let options = WriteOptions::default();
        registry.change(&kinds::CONFIG_MAP, "default", "x", Part::Main, &options, stamped).unwrap();
    }
}

/// How long after its change each event came.
async fn latencies(client: Client, version: String, origin: Instant, ready: Arc<Barrier>) -> Vec<Duration> {
    let api: Api<ConfigMap> = Api::namespaced(client, "default");
    let events = api.watch(&WatchParams::default().fields("metadata.name=x"), &version).await.unwrap();
    ready.wait().await;
    let seen = events.try_filter_map(|event| {
        let now = origin.elapsed();
        let sent = match event {
            kube::api::WatchEvent::Modified(map) => map.data.and_then(|data| data["n"].parse::<u64>().ok()),
            _ => None,
        };
        future::ready(Ok(sent.map(|sent| now.saturating_sub(Duration::from_nanos(sent)))))
    });
    seen.take(WRITES).try_collect().await.unwrap()
}
