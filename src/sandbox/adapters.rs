//! Between the parts: the kubelet as the API and the sampler want it, the sampler as the API wants it. Nothing is decided
//! here.

use std::{
    collections::BTreeMap,
    io,
    net::IpAddr,
    sync::{Arc, Weak},
};

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Node;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::mpsc,
};

use super::{
    api::access::{
        ContainerRef, ExecEnd, ExecOutput, ExecRequest, ExecSession, LogOptions, LogStream, Measured, PodAccess, Usage,
        Used,
    },
    controllers::node_lifecycle,
    error::ApiError,
    kinds,
    kubelet::{Kubelet, log},
    metrics::{ContainerUsage, PodMetrics as _, RESOLUTION, Reading, Sampler, Source},
    names,
    registry::Registry,
};

/// Pieces of a program's output that wait for a slow client; then the program waits.
const OUTPUT_PIECES: usize = 64;

/// The kubelet, which the sandbox owns: without it there are no pods.
fn gone() -> ApiError {
    ApiError::internal("the sandbox is ending")
}

/// Pods as the API reaches them.
pub struct Pods {
    kubelet: Weak<Kubelet>,
}

impl Pods {
    /// The pods of a kubelet.
    #[must_use]
    pub fn of(kubelet: &Arc<Kubelet>) -> Self {
        Self { kubelet: Arc::downgrade(kubelet) }
    }
}

impl PodAccess for Pods {
    fn logs<'a>(
        &'a self,
        container: &'a ContainerRef,
        options: &'a LogOptions,
    ) -> BoxFuture<'a, Result<LogStream, ApiError>> {
        async move {
            let kubelet = self.kubelet.upgrade().ok_or_else(gone)?;
            let wanted = log_options(options)?;
            let reader = kubelet.logs(&container.namespace, &container.pod, Some(&container.container), wanted)?;
            let stream: LogStream = reader.into_stream().map(Ok).boxed();
            Ok(stream)
        }
        .boxed()
    }

    fn may_exec(&self, request: &ExecRequest) -> Result<(), ApiError> {
        let kubelet = self.kubelet.upgrade().ok_or_else(gone)?;
        let of = &request.container;
        kubelet.may_exec(&of.namespace, &of.pod, Some(&of.container), &request.command)
    }

    fn exec<'a>(&'a self, request: &'a ExecRequest) -> BoxFuture<'a, Result<ExecSession, ApiError>> {
        async move {
            let kubelet = self.kubelet.upgrade().ok_or_else(gone)?;
            let of = &request.container;
            let (process, streams) =
                kubelet.exec(&of.namespace, &of.pod, Some(&of.container), &request.command).await?;
            let (sender, output) = mpsc::channel(OUTPUT_PIECES);
            let stdout = tokio::spawn(copy(streams.stdout, sender.clone(), ExecOutput::Stdout));
            let stderr = tokio::spawn(copy(streams.stderr, sender, ExecOutput::Stderr));
            let stdin = request.stdin.then(|| feed(streams.stdin));
            let end = async move {
                let exit = process.wait().await;
                // Once it has ended, what it wrote has been handed on, or nobody reads it any more.
                drop(futures::join!(stdout, stderr));
                ExecEnd::Exited(exit.code())
            };
            Ok(ExecSession { stdin, output, end: end.boxed() })
        }
        .boxed()
    }

    fn address(&self, namespace: &str, pod: &str) -> Option<IpAddr> {
        self.kubelet.upgrade()?.pod_address(namespace, pod).map(IpAddr::V4)
    }
}

fn log_options(options: &LogOptions) -> Result<log::LogOptions, ApiError> {
    let since_time = match &options.since_time {
        Some(text) => Some(text.parse().map_err(|_| ApiError::bad_request(format!("sinceTime {text:?} is no time")))?),
        None => None,
    };
    let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    Ok(log::LogOptions {
        follow: options.follow,
        previous: options.previous,
        timestamps: options.timestamps,
        since: options.since_seconds.and_then(ago).or(since_time),
        tail_lines: options.tail_lines.map(size),
        limit_bytes: options.limit_bytes.map(size),
    })
}

/// So many seconds before now.
fn ago(seconds: u64) -> Option<Timestamp> {
    let seconds = i64::try_from(seconds).ok()?;
    names::now().checked_sub(SignedDuration::from_secs(seconds)).ok()
}

async fn copy(
    mut from: impl tokio::io::AsyncRead + Unpin,
    to: mpsc::Sender<ExecOutput>,
    piece: fn(Bytes) -> ExecOutput,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 || to.send(piece(Bytes::copy_from_slice(&buffer[..read]))).await.is_err() {
            return Ok(());
        }
    }
}

fn feed(mut stdin: tokio::process::ChildStdin) -> mpsc::Sender<Bytes> {
    let (sender, mut receiver) = mpsc::channel::<Bytes>(OUTPUT_PIECES);
    tokio::spawn(async move {
        while let Some(bytes) = receiver.recv().await {
            if stdin.write_all(&bytes).await.is_err() {
                return;
            }
        }
    });
    sender
}

/// What containers use, as the sampler reads it.
pub struct Readings {
    kubelet: Weak<Kubelet>,
}

impl Readings {
    /// The containers of a kubelet.
    #[must_use]
    pub fn of(kubelet: &Arc<Kubelet>) -> Self {
        Self { kubelet: Arc::downgrade(kubelet) }
    }
}

impl Source for Readings {
    fn readings(&self, namespace: &str, pod: &str) -> Vec<Reading> {
        let Some(kubelet) = self.kubelet.upgrade() else { return Vec::new() };
        let used = kubelet.usage(namespace, pod).into_iter();
        used.map(|(container, usage)| Reading { container, cpu: usage.cpu, memory_bytes: usage.memory_bytes }).collect()
    }
}

/// Measurements as the API serves them.
pub struct Measurements {
    sampler: Arc<Sampler>,
    registry: Arc<Registry>,
}

impl Measurements {
    /// The measurements of a sampler.
    #[must_use]
    pub fn of(sampler: &Arc<Sampler>, registry: &Arc<Registry>) -> Self {
        Self { sampler: Arc::clone(sampler), registry: Arc::clone(registry) }
    }

    /// Each measured pod with the node it runs on.
    fn by_node(&self, namespace: Option<&str>) -> Vec<(String, Measured)> {
        let (_, pods) = self.registry.store().list(&kinds::POD, namespace);
        let measured = pods.iter().filter_map(|pod| {
            let usage = self.sampler.usage(&pod.namespace, &pod.name)?;
            let containers = usage.containers.iter().map(|one| (one.container.clone(), used(one)));
            let measured = Measured {
                namespace: pod.namespace.clone(),
                name: pod.name.clone(),
                timestamp: in_seconds(usage.at),
                window_ms: u64::try_from(usage.window.as_millis()).unwrap_or(u64::MAX),
                containers: containers.collect(),
            };
            Some((pod.node.clone().unwrap_or_default(), measured))
        });
        measured.collect()
    }
}

/// A time as objects have it.
fn in_seconds(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or_default().to_string()
}

fn used(usage: &ContainerUsage) -> Used {
    let positive = |number: i64| u64::try_from(number).unwrap_or(0);
    Used { cpu_nanocores: positive(usage.cpu_nanos), memory_bytes: positive(usage.memory_bytes) }
}

impl Usage for Measurements {
    /// Nothing runs on a node but its pods; one that is heard of and has none uses nothing.
    fn nodes(&self) -> Vec<Measured> {
        let heard_of = self.registry.all::<Node>(None).into_iter().filter(|node| node_lifecycle::is_ready(node));
        let idle = |name: String| Measured {
            name,
            timestamp: in_seconds(names::now()),
            window_ms: u64::try_from(RESOLUTION.as_millis()).unwrap_or(u64::MAX),
            containers: vec![(String::new(), Used::default())],
            ..Measured::default()
        };
        let mut nodes: BTreeMap<String, Measured> =
            heard_of.filter_map(|node| node.metadata.name.clone()).map(|name| (name.clone(), idle(name))).collect();
        for (node, pod) in self.by_node(None) {
            let entry = nodes.entry(node.clone()).or_insert_with(|| Measured {
                name: node,
                containers: vec![(String::new(), Used::default())],
                ..Measured::default()
            });
            entry.timestamp = pod.timestamp;
            entry.window_ms = pod.window_ms;
            for (_, used) in pod.containers {
                let whole = &mut entry.containers[0].1;
                whole.cpu_nanocores = whole.cpu_nanocores.saturating_add(used.cpu_nanocores);
                whole.memory_bytes = whole.memory_bytes.saturating_add(used.memory_bytes);
            }
        }
        nodes.into_values().collect()
    }

    fn pods(&self, namespace: Option<&str>) -> Vec<Measured> {
        self.by_node(namespace).into_iter().map(|(_, measured)| measured).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::sandbox::fixture;

    /// Each container has used more at each look.
    struct Busy(std::sync::atomic::AtomicU64);

    impl Source for Busy {
        fn readings(&self, _namespace: &str, _pod: &str) -> Vec<Reading> {
            let cpu = Duration::from_millis(self.0.fetch_add(100, std::sync::atomic::Ordering::Relaxed));
            vec![Reading { container: "main".to_owned(), cpu, memory_bytes: 1024 }]
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_uses_what_its_pods_use_and_without_any_nothing() {
        let registry = fixture::registry();
        for name in ["busy", "idle"] {
            fixture::node(&registry, name, &json!({}));
        }
        let unready = json!({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}});
        fixture::node(&registry, "lost", &unready);
        fixture::running(&registry, "a", "busy", 1, true, &json!({}));
        let sampler = Arc::new(Sampler::new(Arc::clone(&registry), Arc::new(Busy(0.into()))));
        sampler.sample();
        tokio::time::advance(Duration::from_secs(10)).await;
        sampler.sample();
        let nodes = Measurements::of(&sampler, &registry).nodes();
        let used: Vec<(&str, u64)> =
            nodes.iter().map(|node| (node.name.as_str(), node.containers[0].1.cpu_nanocores)).collect();
        assert_eq!(used, [("busy", 10_000_000), ("idle", 0)]);
        assert!(nodes.iter().all(|node| node.timestamp.len() == "2026-01-01T00:00:00Z".len()), "{nodes:?}");
    }
}
