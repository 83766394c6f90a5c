//! What pods and nodes use, as metrics-server tells it: two readings of each container make a rate
//! (metrics-server v0.8: pkg/storage/{pod,node,types}.go, pkg/api/{pod,node}.go).
//!
//! [`Sampler`] takes readings and keeps the last two of each container; `api::metrics` writes what comes of them.

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::{names, registry::Registry};

/// How often metrics-server takes readings (`--metric-resolution`, as its manifests set it).
pub const RESOLUTION: Duration = Duration::from_secs(15);

/// Two readings that are nearer than this give no rate.
const NEAREST: Duration = Duration::from_millis(1);

/// What a container has used up to now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// Its name.
    pub container: String,
    /// CPU time since its start.
    pub cpu: Duration,
    /// Resident memory.
    pub memory_bytes: u64,
}

/// Who knows what containers use: the kubelet.
pub trait Source: Send + Sync {
    /// What each running container of a pod has used since its start; none for a pod that isn't known or does not run.
    fn readings(&self, namespace: &str, pod: &str) -> Vec<Reading>;
}

/// What a container uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerUsage {
    /// Its name.
    pub container: String,
    /// CPU, in billionths of a core.
    pub cpu_nanos: i64,
    /// Memory.
    pub memory_bytes: i64,
}

/// What a pod uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodUsage {
    /// When the window ended.
    pub at: Timestamp,
    /// The window that the CPU is of.
    pub window: Duration,
    /// Its containers, by name.
    pub containers: Vec<ContainerUsage>,
}

/// Who tells what a pod uses, to the autoscaler.
pub trait PodMetrics: Send + Sync {
    /// What a pod uses, once there have been two readings of all its containers.
    fn usage(&self, namespace: &str, pod: &str) -> Option<PodUsage>;
}

/// A reading at its time.
#[derive(Debug, Clone)]
struct Point {
    at: Timestamp,
    readings: Vec<Reading>,
}

/// The last two readings of one pod.
#[derive(Debug, Clone)]
struct Points {
    uid: String,
    before: Option<Point>,
    last: Point,
}

/// Takes readings, keeps them, tells what they mean.
pub struct Sampler {
    registry: Arc<Registry>,
    source: Arc<dyn Source>,
    points: Mutex<HashMap<(String, String), Points>>,
}

impl Sampler {
    /// A sampler of the pods of this registry.
    #[must_use]
    pub fn new(registry: Arc<Registry>, source: Arc<dyn Source>) -> Self {
        Self { registry, source, points: Mutex::default() }
    }

    /// Takes readings for ever, one round each `resolution`.
    pub async fn run(self: Arc<Self>, resolution: Duration) {
        let mut rounds = tokio::time::interval(resolution);
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            rounds.tick().await;
            self.sample();
        }
    }

    /// Takes one round of readings. Pods that are gone are forgotten.
    pub fn sample(&self) {
        let mut seen = HashMap::new();
        for pod in self.registry.all::<Pod>(None) {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            if phase != Some("Running") {
                continue;
            }
            let (namespace, name) = (pod.metadata.namespace.clone(), pod.metadata.name.clone());
            let place = (namespace.unwrap_or_default(), name.unwrap_or_default());
            let mut readings = self.source.readings(&place.0, &place.1);
            if readings.is_empty() {
                continue;
            }
            readings.sort_by(|one, other| one.container.cmp(&other.container));
            let last = Point { at: names::now(), readings };
            seen.insert(place, Points { uid: pod.metadata.uid.clone().unwrap_or_default(), before: None, last });
        }
        let mut points = self.points();
        for (place, new) in &mut seen {
            let known = points.remove(place).filter(|known| known.uid == new.uid);
            new.before = known.and_then(|known| follows(&known, &new.last));
        }
        *points = seen;
    }

    fn points(&self) -> MutexGuard<'_, HashMap<(String, String), Points>> {
        self.points.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reading before a new one: not one of a container that has been started again in between, whose time begins anew.
fn follows(known: &Points, new: &Point) -> Option<Point> {
    let window = Duration::try_from(new.at.duration_since(known.last.at)).unwrap_or_default();
    let is_same = |(one, other): (&Reading, &Reading)| one.container == other.container && other.cpu >= one.cpu;
    let same =
        known.last.readings.len() == new.readings.len() && known.last.readings.iter().zip(&new.readings).all(is_same);
    (same && window >= NEAREST).then(|| known.last.clone())
}

impl PodMetrics for Sampler {
    fn usage(&self, namespace: &str, pod: &str) -> Option<PodUsage> {
        let points = self.points();
        let Points { before, last, .. } = points.get(&(namespace.to_owned(), pod.to_owned()))?;
        let before = before.as_ref()?;
        let window = Duration::try_from(last.at.duration_since(before.at)).ok()?;
        let usage = |(one, other): (&Reading, &Reading)| {
            let rate = other.cpu.saturating_sub(one.cpu).as_secs_f64() / window.as_secs_f64();
            #[expect(clippy::cast_possible_truncation, reason = "a conversion from float saturates")]
            let cpu_nanos = (rate * 1e9) as i64;
            let memory_bytes = i64::try_from(other.memory_bytes).unwrap_or(i64::MAX);
            ContainerUsage { container: other.container.clone(), cpu_nanos, memory_bytes }
        };
        let containers = before.readings.iter().zip(&last.readings).map(usage).collect();
        Some(PodUsage { at: last.at, window, containers })
    }
}
