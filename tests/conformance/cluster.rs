//! The cluster that scenarios run on, and the few verbs that they need: raw requests, so that codes and messages are
//! those on the wire.

use std::{fmt::Debug, future::Future, panic::AssertUnwindSafe, time::Duration};

use evenkeel::cluster::{self, Cluster, On, embedded};
use evenkeel::experiment::schema::SandboxShape;
use futures::FutureExt as _;
use kube::client::Body;
use serde_json::{Value, json};

use crate::power::{Deed, Power};

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The sandbox, or a cluster that stands already.
pub enum Arm {
    /// The sandbox.
    Sandbox(Box<embedded::Embedded>),
    /// A real cluster.
    Real(Box<Cluster>),
}

impl Arm {
    /// The cluster that `EVENKEEL_TEST_ON` names, or a fresh sandbox.
    pub async fn from_env() -> Self {
        if let Ok(on) = std::env::var("EVENKEEL_TEST_ON") {
            return Self::Real(Box::new(cluster::connect(&on.parse::<On>().unwrap()).await.unwrap()));
        }
        let executable = std::path::Path::new(env!("CARGO_BIN_EXE_evenkeel"));
        Self::Sandbox(Box::new(embedded::start_with(&SandboxShape::default(), executable).await.unwrap()))
    }

    /// Its name.
    pub fn name(&self) -> String {
        self.cluster().on.to_string()
    }

    /// How many scenarios run at the same time: a real cluster of containers on one machine has more to do for each.
    pub fn side_by_side(&self) -> usize {
        match self {
            Self::Sandbox(_) => 8,
            Self::Real(_) => 4,
        }
    }

    /// Power over its nodes, where anybody here has it: on kind they are containers.
    pub fn power(&self) -> Option<Power> {
        match self {
            Self::Sandbox(embedded) => Some(Power::Sandbox(embedded.nodes().clone())),
            Self::Real(cluster) if matches!(cluster.on, On::Kind(_)) => {
                let engine = std::env::var("KIND_EXPERIMENTAL_PROVIDER");
                Some(Power::Engine(engine.unwrap_or_else(|_| "docker".to_owned())))
            }
            Self::Real(_) => None,
        }
    }

    /// Whether somebody measures what pods use; kind has no metrics-server unless one is installed.
    pub async fn measures(&self) -> bool {
        let request = http::Request::builder().uri("/apis/metrics.k8s.io/v1beta1").body(Body::empty()).unwrap();
        self.cluster().client.send(request).await.is_ok_and(|answer| answer.status().is_success())
    }

    fn cluster(&self) -> &Cluster {
        match self {
            Self::Sandbox(embedded) => &embedded.cluster,
            Self::Real(cluster) => cluster,
        }
    }

    /// Ends a sandbox.
    pub async fn stop(self) {
        if let Self::Sandbox(embedded) = self {
            embedded.stop().await;
        }
    }
}

/// What a scenario has: a client and a namespace of its own.
#[derive(Clone)]
pub struct Ctx {
    cluster: Cluster,
    power: Option<Power>,
    /// Its namespace.
    pub ns: String,
}

/// An answer: the HTTP status and the body.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub code: u16,
    /// The object or the `Status`.
    pub body: Value,
}

impl Answer {
    /// The body of an answer that must be a success.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert!((200..300).contains(&self.code), "{} {}", self.code, self.body);
        self.body
    }

    /// The `Status` of an answer that must have this code.
    #[track_caller]
    pub fn refused(self, code: u16) -> Value {
        assert_eq!(self.code, code, "{}", self.body);
        self.body
    }
}

impl Ctx {
    /// A namespace for this scenario.
    pub async fn new(arm: &Arm, name: &str) -> Self {
        let short: String = name.chars().map(|c| if c == '_' { '-' } else { c }).take(36).collect();
        let unique = format!("{:x}", std::process::id());
        let ns = format!("conf-{}-{unique}", short.trim_end_matches('-'));
        let ctx = Self { cluster: arm.cluster().clone(), power: arm.power(), ns };
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ctx.ns}});
        ctx.send("POST", "/api/v1/namespaces", Some(("application/json", &namespace))).await.ok();
        // Real clusters refuse pods until the namespace has its service account.
        ctx.until("the default service account", 30, || async { ctx.get("serviceaccounts", "default").await }).await;
        ctx
    }

    /// Begins to remove the namespace; a real cluster takes its time over that, and nobody waits for it.
    pub async fn remove_namespace(&self) {
        let now = json!({"gracePeriodSeconds": 0});
        for plural in ["deployments", "replicasets", "statefulsets", "daemonsets", "jobs", "pods"] {
            self.send("DELETE", &self.path(plural), Some(("application/json", &now))).await;
        }
        self.send("DELETE", &format!("/api/v1/namespaces/{}", self.ns), None).await;
    }

    /// One request, and its answer whatever it is.
    pub async fn send(&self, method: &str, path: &str, body: Option<(&str, &Value)>) -> Answer {
        let mut request = http::Request::builder().method(method).uri(path).header("accept", "application/json");
        let bytes = match body {
            None => Vec::new(),
            Some((content_type, value)) => {
                request = request.header("content-type", content_type);
                serde_json::to_vec(value).unwrap()
            }
        };
        let request = request.body(Body::from(bytes)).unwrap();
        let response =
            self.cluster.client.send(request).await.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let code = response.status().as_u16();
        let bytes = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        Answer { code, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) }
    }

    /// The first lines of an answer that goes on, each JSON.
    pub async fn lines(&self, path: &str, count: usize) -> Vec<Value> {
        let request = http::Request::builder().uri(path).header("accept", "application/json");
        let request = request.body(Body::empty()).unwrap();
        let response = self.cluster.client.send(request).await.unwrap();
        assert!(response.status().is_success(), "{path}: {}", response.status());
        let (mut body, mut text, mut lines) = (response.into_body(), Vec::new(), Vec::new());
        while lines.len() < count {
            let Some(frame) = http_body_util::BodyExt::frame(&mut body).await else { break };
            if let Ok(bytes) = frame.unwrap().into_data() {
                text.extend_from_slice(&bytes);
            }
            while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = text.drain(..=end).collect();
                lines.push(serde_json::from_slice(&line).unwrap());
            }
        }
        lines.truncate(count);
        lines
    }

    /// The path of a resource of the namespace.
    pub fn path(&self, plural: &str) -> String {
        let group = match plural {
            "deployments" | "replicasets" | "statefulsets" | "daemonsets" | "controllerrevisions" => "/apis/apps/v1",
            "jobs" => "/apis/batch/v1",
            "poddisruptionbudgets" => "/apis/policy/v1",
            "endpointslices" => "/apis/discovery.k8s.io/v1",
            "horizontalpodautoscalers" => "/apis/autoscaling/v2",
            "leases" => "/apis/coordination.k8s.io/v1",
            _ => "/api/v1",
        };
        if matches!(plural, "nodes" | "namespaces") {
            return format!("{group}/{plural}");
        }
        format!("{group}/namespaces/{}/{plural}", self.ns)
    }

    /// Creates an object.
    pub async fn post(&self, plural: &str, object: &Value) -> Answer {
        self.send("POST", &self.path(plural), Some(("application/json", object))).await
    }

    /// Creates an object, which must succeed.
    #[track_caller]
    pub fn create(&self, plural: &str, object: Value) -> impl Future<Output = Value> {
        let place = std::panic::Location::caller();
        let (ctx, plural) = (self.clone(), plural.to_owned());
        async move {
            let answer = ctx.post(&plural, &object).await;
            assert!((200..300).contains(&answer.code), "{place}: {} {}", answer.code, answer.body);
            answer.body
        }
    }

    /// An object, if it is there.
    pub async fn get(&self, plural: &str, name: &str) -> Option<Value> {
        let answer = self.send("GET", &format!("{}/{name}", self.path(plural)), None).await;
        if answer.code == 404 { None } else { Some(answer.ok()) }
    }

    /// All objects of a resource in the namespace; `query` such as `labelSelector=app%3Dshop`.
    pub async fn list(&self, plural: &str, query: &str) -> Vec<Value> {
        let list = self.send("GET", &format!("{}?{query}", self.path(plural)), None).await.ok();
        list["items"].as_array().cloned().unwrap_or_default()
    }

    /// Changes an object by a merge patch.
    pub async fn merge(&self, plural: &str, name: &str, patch: Value) -> Answer {
        self.patch(plural, name, "application/merge-patch+json", patch).await
    }

    /// Changes an object by a patch of some kind.
    pub async fn patch(&self, plural: &str, name: &str, content_type: &str, patch: Value) -> Answer {
        self.send("PATCH", &format!("{}/{name}", self.path(plural)), Some((content_type, &patch))).await
    }

    /// Deletes an object.
    pub async fn delete(&self, plural: &str, name: &str, options: Value) -> Answer {
        let path = format!("{}/{name}", self.path(plural));
        self.send("DELETE", &path, Some(("application/json", &options))).await
    }

    /// Asks for the eviction of a pod.
    pub async fn evict(&self, pod: &str) -> Answer {
        self.evict_with(pod, json!({})).await
    }

    /// The same with delete options.
    pub async fn evict_with(&self, pod: &str, options: Value) -> Answer {
        let body = json!({
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": self.ns},
            "deleteOptions": options,
        });
        self.send("POST", &format!("{}/{pod}/eviction", self.path("pods")), Some(("application/json", &body))).await
    }

    /// Waits until a look finds something.
    pub async fn until<T, F>(&self, what: &str, seconds: u64, look: impl Fn() -> F) -> T
    where
        F: Future<Output = Option<T>>,
    {
        let found = tokio::time::timeout(Duration::from_secs(seconds), async {
            loop {
                if let Some(found) = look().await {
                    return found;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        found.await.unwrap_or_else(|_| panic!("{what}: not within {seconds} s"))
    }

    /// Waits until an object is as wanted.
    pub async fn until_is(&self, plural: &str, name: &str, seconds: u64, is: impl Fn(&Value) -> bool) -> Value {
        let last = std::sync::Mutex::new(Value::Null);
        let look = || async {
            let found = self.get(plural, name).await?;
            last.lock().unwrap().clone_from(&found);
            is(&found).then_some(found)
        };
        let wait = tokio::time::timeout(Duration::from_secs(seconds), self.until("it", 3_600, look));
        let last_seen = || last.lock().unwrap().clone();
        wait.await.unwrap_or_else(|_| panic!("{plural}/{name} is not as wanted after {seconds} s: {}", last_seen()))
    }

    /// Waits until an object is gone.
    pub async fn until_gone(&self, plural: &str, name: &str, seconds: u64) {
        let look = || async { self.get(plural, name).await.is_none().then_some(()) };
        self.until(&format!("{plural}/{name} gone"), seconds, look).await;
    }

    /// Waits until so many pods with this label are ready, and returns them by name.
    pub async fn ready_pods(&self, app: &str, count: usize, seconds: u64) -> Vec<Value> {
        let query = format!("labelSelector=app%3D{app}");
        let look = || async {
            let pods: Vec<Value> = self.list("pods", &query).await.into_iter().filter(is_ready).collect();
            (pods.len() == count).then_some(pods)
        };
        self.until(&format!("{count} ready pods with app={app}"), seconds, look).await
    }

    /// Gives a pod of the sample service an order: `hang`, `fail`, `unready` or `heal`.
    pub async fn control(&self, pod: &str, order: &str) {
        let path = format!("{}/{pod}:8080/proxy/control/{order}", self.path("pods"));
        self.send("POST", &path, None).await.ok();
    }

    /// Does something to a node while something else goes on, and takes it back afterwards, also when that failed.
    pub async fn while_node<T>(&self, deed: Deed, node: &str, then: impl Future<Output = T>) -> T {
        let power = self.power();
        power.act(deed, node).await;
        let ended = AssertUnwindSafe(then).catch_unwind().await;
        power.act(deed.undo(), node).await;
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Who has power over the nodes.
    pub fn power(&self) -> &Power {
        self.power.as_ref().expect("scenarios that need power over nodes run where there is some")
    }

    /// A node that takes pods of any kind.
    pub async fn worker(&self) -> String {
        let nodes = self.list("nodes", "").await;
        let free = nodes.iter().find(|node| node["spec"]["taints"].as_array().is_none_or(Vec::is_empty));
        name(free.expect("a node without taints"))
    }

    /// The events about an object that have this reason.
    pub async fn events(&self, name: &str, reason: &str) -> Vec<Value> {
        self.list("events", &format!("fieldSelector=involvedObject.name%3D{name},reason%3D{reason}")).await
    }
}

/// Condition Ready is True and it isn't going.
pub fn is_ready(pod: &Value) -> bool {
    condition(pod, "Ready")["status"] == "True" && pod["metadata"]["deletionTimestamp"].is_null()
}

/// A condition of an object's status, or null.
pub fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    let all = object["status"]["conditions"].as_array();
    all.into_iter().flatten().find(|condition| condition["type"] == kind).unwrap_or(&Value::Null)
}

/// An object's name.
pub fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

/// An object's uid.
pub fn uid(object: &Value) -> String {
    object["metadata"]["uid"].as_str().unwrap_or_default().to_owned()
}

/// Checks that something is so, with both sides in the message.
#[track_caller]
pub fn same<T: PartialEq + Debug>(found: T, wanted: T) {
    assert_eq!(found, wanted);
}
