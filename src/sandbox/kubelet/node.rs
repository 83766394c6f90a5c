//! Nodes as their kubelets tell of them: registration, leases, status (`k/pkg/kubelet/{kubelet_node_status,nodestatus}.go`,
//! component-helpers lease controller, v1.34.4).
//!
//! One task renews for all nodes, each at its own moment within the ten seconds.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{options::NodeSpec, power::Node, shared::Shared};
use crate::sandbox::{
    controllers::events::{self, Severity},
    error::ApiError,
    kinds, names,
    registry::{Part, WriteOptions},
};

/// A lease holds so long (`nodeLeaseDurationSeconds`).
const LEASE_SECONDS: i64 = 40;

/// A lease is renewed, and the status looked at, so often.
const RENEWAL: Duration = Duration::from_secs(10);

/// A status without news is written so often (`nodeStatusReportFrequency`).
const REPORT: Duration = Duration::from_secs(300);

/// How finely renewals are spread.
const STEP: Duration = Duration::from_millis(100);

/// So many steps are in a renewal's period.
const STEPS: usize = 100;

/// The namespace of nodes' leases.
const LEASES: &str = "kube-node-lease";

/// A node's beats.
struct Beat {
    node: Arc<Node>,
    /// Whether its kubelet worked when it was last looked at, and in which boot that was.
    worked: bool,
    boots: u64,
    next: Instant,
    reported: Instant,
}

/// Registers nodes and renews their leases until it is dropped.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut beats: Vec<Beat> = Vec::new();
    let mut steps = interval(STEP);
    steps.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        steps.tick().await;
        let now = Instant::now();
        for node in shared.nodes.from(beats.len()) {
            renew_or_say(&shared, &node);
            // Each has its own moment, as if they had been started one after another.
            let steps = u32::try_from(beats.len() % STEPS).unwrap_or_default();
            let next = now + STEP * (steps + 1);
            let boots = node.power().boots;
            beats.push(Beat { node, worked: true, boots, next, reported: now });
        }
        for beat in &mut beats {
            beat.step(&shared, now);
        }
    }
}

impl Beat {
    fn step(&mut self, shared: &Shared, now: Instant) {
        let power = self.node.power();
        let works = power.works();
        // A boot that is over between two looks is a beginning too.
        let begins = works && (!self.worked || self.boots != power.boots);
        (self.worked, self.boots) = (works, power.boots);
        if !works || (now < self.next && !begins) {
            return;
        }
        self.next = now + RENEWAL;
        let done = if begins { self.begin(shared, now) } else { self.renew(shared, now) };
        say(&self.node, done);
    }

    fn begin(&mut self, shared: &Shared, now: Instant) -> Result<(), ApiError> {
        register(shared, &self.node)?;
        self.reported = now;
        renew_lease(shared, &self.node)
    }

    fn renew(&mut self, shared: &Shared, now: Instant) -> Result<(), ApiError> {
        renew_lease(shared, &self.node)?;
        let name = &self.node.spec.name;
        let is_ready = shared.registry.get(&kinds::NODE, "", name)?.value()["status"]["conditions"]
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"));
        if is_ready && now.duration_since(self.reported) < REPORT {
            return Ok(());
        }
        self.reported = now;
        write_status(shared, &self.node)
    }
}

fn renew_or_say(shared: &Shared, node: &Node) {
    say(node, renew_lease(shared, node));
}

/// A heartbeat that fails is followed by the next one; upstream logs it too.
fn say(node: &Node, done: Result<(), ApiError>) {
    if let Err(error) = done {
        tracing::debug!(node = node.spec.name, %error, "a node did not tell of itself");
    }
}

/// Makes the node's object, or takes over one that is there; then tells its status.
pub(super) fn register(shared: &Shared, node: &Node) -> Result<(), ApiError> {
    let name = &node.spec.name;
    if shared.registry.store().get(&kinds::NODE, "", name).is_none() {
        let mut labels = json!({
            "beta.kubernetes.io/arch": go_architecture(),
            "beta.kubernetes.io/os": "linux",
            "kubernetes.io/arch": go_architecture(),
            "kubernetes.io/hostname": name,
            "kubernetes.io/os": "linux",
        });
        for (key, value) in &node.spec.labels {
            labels[key] = json!(value);
        }
        let object = json!({
            "metadata": {"name": name, "labels": labels},
            "spec": {},
            "status": status(node, &Value::Null),
        });
        let created = shared.registry.create(&kinds::NODE, "", object, &WriteOptions::default());
        match created {
            Err(error) if !error.is_already_exists() => return Err(error),
            _ => {}
        }
    }
    write_status(shared, node)?;
    let involved = json!({"kind": "Node", "name": name, "uid": name, "apiVersion": "v1"});
    let tell = |severity, reason: &str, message: &str| {
        events::record_about(&shared.registry, &involved, severity, "kubelet", reason, message);
    };
    let boots = node.power().boots;
    if boots > 1 {
        let message = format!("Node {name} has been rebooted, boot id: {}", boot_id(&node.spec, boots));
        tell(Severity::Warning, "Rebooted", &message);
    }
    tell(Severity::Normal, "Starting", "Starting kubelet.");
    Ok(())
}

fn write_status(shared: &Shared, node: &Node) -> Result<(), ApiError> {
    let change = |mut value: Value| {
        value["status"] = status(node, &value["status"]);
        Ok(value)
    };
    let name = &node.spec.name;
    shared.registry.change(&kinds::NODE, "", name, Part::Status, &WriteOptions::default(), change).map(drop)
}

fn renew_lease(shared: &Shared, node: &Node) -> Result<(), ApiError> {
    let name = &node.spec.name;
    let now = names::now_micros();
    let renewed =
        shared.registry.change(&kinds::LEASE, LEASES, name, Part::Main, &WriteOptions::default(), |mut lease| {
            lease["spec"]["renewTime"] = json!(now);
            Ok(lease)
        });
    match renewed {
        Err(error) if error.is_not_found() => {}
        renewed => return renewed.map(drop),
    }
    let uid = shared.registry.get(&kinds::NODE, "", name).map(|node| node.uid.clone())?;
    let lease = json!({
        "metadata": {
            "name": name,
            "namespace": LEASES,
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid}],
        },
        "spec": {"holderIdentity": name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": now},
    });
    shared.registry.create(&kinds::LEASE, LEASES, lease, &WriteOptions::default()).map(drop)
}

/// The status of a node whose kubelet works.
fn status(node: &Node, before: &Value) -> Value {
    let spec = &node.spec;
    let resources = json!({
        "cpu": spec.cpu.to_string(),
        "ephemeral-storage": "100Gi",
        "memory": format!("{}Mi", spec.memory_mib),
        "pods": spec.pods.to_string(),
    });
    let mut status = if before.is_object() { before.clone() } else { json!({}) };
    status["addresses"] = json!([
        {"type": "InternalIP", "address": node.address.to_string()},
        {"type": "Hostname", "address": spec.name},
    ]);
    // What an administrator's patch added, such as extended resources, stays.
    for field in ["capacity", "allocatable"] {
        if !status[field].is_object() {
            status[field] = json!({});
        }
        for (name, quantity) in resources.as_object().into_iter().flatten() {
            status[field][name] = quantity.clone();
        }
    }
    status["conditions"] = conditions(&status["conditions"]);
    // Nothing listens there: logs and exec are served by the API itself.
    status["daemonEndpoints"] = json!({"kubeletEndpoint": {"Port": 10250}});
    status["nodeInfo"] = json!({
        "architecture": go_architecture(),
        "bootID": boot_id(spec, node.power().boots),
        "containerRuntimeVersion": concat!("evenkeel://", env!("CARGO_PKG_VERSION")),
        "kernelVersion": std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
        "kubeProxyVersion": "",
        "kubeletVersion": "v1.34.4",
        "machineID": names::digest(&spec.name),
        "operatingSystem": "linux",
        "osImage": "evenkeel sandbox",
        "systemUUID": names::digest(&format!("system {}", spec.name)),
    });
    status
}

fn conditions(before: &Value) -> Value {
    let now = names::now_seconds();
    let own = [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ];
    let before = before.as_array().cloned().unwrap_or_default();
    let others = before.iter().filter(|one| !own.iter().any(|(type_, ..)| one["type"] == *type_)).cloned();
    let mine = own.iter().map(|(type_, status, reason, message)| {
        let old = before.iter().find(|one| one["type"] == *type_ && one["status"] == *status);
        let since = old.map_or_else(|| json!(now), |old| old["lastTransitionTime"].clone());
        json!({
            "type": type_,
            "status": status,
            "reason": reason,
            "message": message,
            "lastHeartbeatTime": now,
            "lastTransitionTime": since,
        })
    });
    others.chain(mine).collect()
}

fn boot_id(spec: &NodeSpec, boots: u64) -> String {
    names::digest(&format!("boot {boots} of {}", spec.name))
}

const fn go_architecture() -> &'static str {
    if cfg!(target_arch = "x86_64") {
        "amd64"
    } else if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        std::env::consts::ARCH
    }
}
