use serde_json::{Value, json};

use super::*;
use crate::sandbox::{
    kinds,
    registry::{Part, WriteOptions, admission::Allocator},
    store::Store,
};

/// A kubelet whose containers have used what the test says.
#[derive(Default)]
struct Told(Mutex<Vec<Reading>>);

impl Source for Told {
    fn readings(&self, _: &str, pod: &str) -> Vec<Reading> {
        if pod == "web" { self.0.lock().unwrap().clone() } else { Vec::new() }
    }
}

struct Bench {
    sampler: Sampler,
    told: Arc<Told>,
}

impl Bench {
    fn new() -> Self {
        let registry = Arc::new(Registry::new(Arc::new(Store::new(kinds::ALL)), Allocator::default()));
        let options = WriteOptions::default();
        registry.create(&kinds::NAMESPACE, "", json!({"metadata": {"name": "shop"}}), &options).unwrap();
        for node in ["one", "two"] {
            registry.create(&kinds::NODE, "", json!({"metadata": {"name": node}}), &options).unwrap();
        }
        for pod in ["web", "status-only"] {
            let value = json!({
                "metadata": {"name": pod, "labels": {"app": pod}},
                "spec": {"nodeName": "one", "containers": [{"name": "main", "image": "demo"}]},
            });
            registry.create(&kinds::POD, "shop", value, &options).unwrap();
            let running = |mut value: Value| {
                value["status"]["phase"] = json!("Running");
                Ok(value)
            };
            registry.change(&kinds::POD, "shop", pod, Part::Status, &options, running).unwrap();
        }
        let told = Arc::new(Told::default());
        let source: Arc<dyn Source> = Arc::clone(&told) as _;
        Self { sampler: Sampler::new(registry, source), told }
    }

    fn sample(&self, readings: &[(&str, u64, u64)]) {
        let reading = |(container, millis, memory_bytes): &(&str, u64, u64)| Reading {
            container: (*container).to_owned(),
            cpu: Duration::from_millis(*millis),
            memory_bytes: *memory_bytes,
        };
        *self.told.0.lock().unwrap() = readings.iter().map(reading).collect();
        self.sampler.sample();
    }
}

async fn pass(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn two_readings_make_a_rate_and_one_does_not() {
    let bench = Bench::new();
    bench.sample(&[("side", 0, 1_024), ("main", 1_000, 1_000)]);
    assert_eq!(bench.sampler.usage("shop", "web"), None);
    pass(10).await;
    bench.sample(&[("side", 10, 2_048), ("main", 3_500, 3_145_728)]);
    let usage = bench.sampler.usage("shop", "web").unwrap();
    let of = |container: &str, cpu_nanos, memory_bytes| ContainerUsage {
        container: container.to_owned(),
        cpu_nanos,
        memory_bytes,
    };
    assert_eq!(usage.containers, [of("main", 250_000_000, 3_145_728), of("side", 1_000_000, 2_048)]);
    assert_eq!(usage.window, Duration::from_secs(10));
    assert_eq!(bench.sampler.usage("shop", "status-only"), None);
}

#[tokio::test(start_paused = true)]
async fn a_container_that_was_started_again_has_no_rate_until_the_next_reading() {
    let bench = Bench::new();
    bench.sample(&[("main", 9_000, 1)]);
    pass(10).await;
    bench.sample(&[("main", 100, 1)]);
    assert_eq!(bench.sampler.usage("shop", "web"), None);
    pass(10).await;
    bench.sample(&[("main", 200, 1)]);
    assert_eq!(bench.sampler.usage("shop", "web").unwrap().containers[0].cpu_nanos, 10_000_000);
    bench.sample(&[]);
    assert_eq!(bench.sampler.usage("shop", "web"), None, "one that no longer runs is forgotten");
}
