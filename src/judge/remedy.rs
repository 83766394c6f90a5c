//! What to change: the advice with the measured number in it, and the same as a patch that kubectl takes.
//!
//! A patch is made only where a setting cures the finding and all that it needs is known: the object, the container's
//! name, the number. Each is a strategic merge patch, which finds containers by name, or an object that is missing.

use serde_json::{Value, json};

use super::{
    cause::Cause,
    departure::workload,
    evidence::OfPod,
    facts::{Facts, seconds},
    life::{Hook, Life},
    verdict::{Patch, PatchHow},
};
use crate::{
    experiment::schema::Labels,
    record::event::{Micros, PreStop},
};

/// What is put on top of a measured time when a preStop sleep is advised, in seconds: the next run's rules may follow
/// a second later, the shortest interval between two syncs of kube-proxy being 1 s.
const PRESTOP_MARGIN_S: i64 = 2;

/// What is left of the grace period for the process itself, in seconds, when preStop needs more than there is.
pub(super) const GRACE_FOR_PROCESS_S: i64 = 10;

/// The label by which nodes are told apart.
const HOSTNAME: &str = "kubernetes.io/hostname";

/// Under which key of an affinity stand the terms that a scheduler must keep to.
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";

/// Labels that a controller puts on its pods, which differ from one template to the next.
const TEMPLATE_LABELS: [&str; 4] = [
    "pod-template-hash",
    "controller-revision-hash",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
];

/// What to change; the advice only where it has a measured number.
#[derive(Debug, Default)]
pub(super) struct Remedy {
    pub advice: Option<String>,
    pub patch: Option<Patch>,
}

/// What to change for a cause, by what was measured of the pods that lost requests.
pub(super) fn remedy(facts: &Facts<'_>, cause: Cause, pods: &[OfPod<'_, '_>]) -> Remedy {
    let Some((life, _)) = pods.first() else { return Remedy::default() };
    let patch = match cause {
        Cause::PrestopMissing | Cause::PrestopTooShort => return prestop(facts, pods),
        Cause::ReadinessMissing => readiness(facts, life),
        Cause::BudgetMissing => Some(new_budget(facts, life)),
        Cause::BudgetTooWeak => budget_of(facts, life).map(|name| one_at_a_time(facts, name)),
        Cause::ReplicasOnOneNode => spread(facts, life),
        Cause::SingleReplica => merge(facts, life, json!({ "spec": { "replicas": 2 } })),
        Cause::RolloutUnavailable | Cause::ImagePullFailed => surge_first(facts, life),
        _ => None,
    };
    Remedy { advice: None, patch }
}

/// The sleep that would have been long enough, by what was measured.
fn prestop(facts: &Facts<'_>, pods: &[OfPod<'_, '_>]) -> Remedy {
    let measured = pods.iter().filter_map(|pod| Some((after_deletion(pod)?, pod.0)));
    let Some((measured, life)) = measured.max_by_key(|(after, _)| *after) else { return Remedy::default() };
    let whole = measured.saturating_add(999_999) / 1_000_000;
    let sleep = whole.saturating_add(PRESTOP_MARGIN_S);
    let now = match life.hook {
        Hook::Sleeps(length) => format!("the hook now sleeps {}; ", seconds(length)),
        Hook::Failed => "the hook failed, so SIGTERM came at once; ".to_owned(),
        Hook::Unknown | Hook::Missing => String::new(),
    };
    let grace = life.last.spec_grace_seconds;
    let room = if grace > sleep {
        String::new()
    } else {
        format!(
            ", and terminationGracePeriodSeconds: {} (the sleep, and {GRACE_FOR_PROCESS_S} s for the process after it; \
             {grace} now)",
            sleep.saturating_add(GRACE_FOR_PROCESS_S)
        )
    };
    let advice = format!(
        "{now}requests were sent to the pod until {} after its deletion: set lifecycle.preStop.sleep.seconds: {sleep} \
         ({whole} s, rounded up, and {PRESTOP_MARGIN_S} s of margin){room}",
        seconds(measured)
    );
    Remedy { advice: Some(advice), patch: prestop_patch(facts, life, sleep) }
}

/// How long after a pod's deletion the last of its losses was sent.
fn after_deletion((life, losses): &OfPod<'_, '_>) -> Option<Micros> {
    let last = losses.iter().map(|loss| loss.request.sent_us).max()?;
    Some(last.saturating_sub(life.deleted?).max(0))
}

fn prestop_patch(facts: &Facts<'_>, life: &Life<'_>, sleep: i64) -> Option<Patch> {
    // A hook has one handler: the one that is there must go.
    let handler = match life.last.pre_stop {
        Some(PreStop::Exec(_)) => json!({ "exec": null, "sleep": { "seconds": sleep } }),
        Some(PreStop::Http) => json!({ "httpGet": null, "sleep": { "seconds": sleep } }),
        Some(PreStop::Sleep(_)) | None => json!({ "sleep": { "seconds": sleep } }),
    };
    let container = json!({ "name": container(facts, life)?, "lifecycle": { "preStop": handler } });
    let mut spec = json!({ "containers": [container] });
    if life.last.spec_grace_seconds <= sleep {
        spec["terminationGracePeriodSeconds"] = json!(sleep.saturating_add(GRACE_FOR_PROCESS_S));
    }
    merge(facts, life, json!({ "spec": { "template": { "spec": spec } } }))
}

/// A probe that asks what the load asked for: what was measured to answer, and when it did not yet.
fn readiness(facts: &Facts<'_>, life: &Life<'_>) -> Option<Patch> {
    let of_pod =
        |service: &str| facts.timeline.services.get(service).is_some_and(|service| service.endpoint_of(life).is_some());
    let lane = facts.record.experiment.spec.load.iter().find(|lane| of_pod(&lane.service))?;
    let port = life.last.port.or_else(|| declared_port(facts, life))?;
    let probe = if (200..400).contains(&lane.status) {
        json!({ "httpGet": { "path": lane.path, "port": port }, "periodSeconds": 1 })
    } else {
        json!({ "tcpSocket": { "port": port }, "periodSeconds": 1 })
    };
    let container = json!({ "name": container(facts, life)?, "readinessProbe": probe });
    merge(facts, life, json!({ "spec": { "template": { "spec": { "containers": [container] } } } }))
}

fn spread(facts: &Facts<'_>, life: &Life<'_>) -> Option<Patch> {
    let constraint = json!({
        "maxSkew": 1,
        "topologyKey": HOSTNAME,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": { "matchLabels": labels(life) },
    });
    let mut pod = json!({ "topologySpreadConstraints": [constraint] });
    if let Some(required) = manifest(facts, life).and_then(|object| not_to_each_other(object, &labels(life))) {
        pod["affinity"] = json!({ "podAffinity": { REQUIRED: required } });
    }
    merge(facts, life, json!({ "spec": { "template": { "spec": pod } } }))
}

/// What a workload requires of the pods beside its own, without that they stand on each other's node: with both, no pod
/// could be scheduled. Nothing where it does not require that, as far as the file says.
fn not_to_each_other(object: &Value, labels: &Labels) -> Option<Value> {
    let terms = object.pointer(&format!("/spec/template/spec/affinity/podAffinity/{REQUIRED}"))?.as_array()?;
    let own = |term: &&Value| {
        let wanted = term.pointer("/labelSelector/matchLabels").and_then(Value::as_object);
        term["topologyKey"] == HOSTNAME
            && term.pointer("/labelSelector/matchExpressions").is_none()
            && wanted.is_some_and(|wanted| {
                wanted.iter().all(|(key, value)| labels.get(key).map(String::as_str) == value.as_str())
            })
    };
    let others: Vec<&Value> = terms.iter().filter(|term| !own(term)).collect();
    // A strategic merge patch replaces the list as a whole, and null takes it away.
    (others.len() < terms.len()).then(|| if others.is_empty() { Value::Null } else { json!(others) })
}

fn surge_first(facts: &Facts<'_>, life: &Life<'_>) -> Option<Patch> {
    let (name, _) = workload(&facts.timeline, life.last)?;
    let strategy = json!({ "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 0, "maxSurge": 1 } });
    // Only Deployments surge.
    name.starts_with("deployment/")
        .then(|| merge_of(facts, name.to_owned(), json!({ "spec": { "strategy": strategy } })))
}

fn new_budget(facts: &Facts<'_>, life: &Life<'_>) -> Patch {
    let owner = workload(&facts.timeline, life.last).map(|(name, _)| name.rsplit('/').next().unwrap_or(name));
    let name = owner.unwrap_or(&life.last.name);
    let body = json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": { "name": name, "namespace": namespace(facts) },
        "spec": { "maxUnavailable": 1, "selector": { "matchLabels": labels(life) } },
    });
    let command = format!("echo {} | kubectl apply -f -", quoted(&body.to_string()));
    let object = format!("poddisruptionbudget/{name}");
    Patch { object, namespace: namespace(facts).to_owned(), how: PatchHow::Create, body, command }
}

/// A budget that lets one pod go at a time.
pub(super) fn one_at_a_time(facts: &Facts<'_>, budget: &str) -> Patch {
    // A budget has one of the two.
    let body = json!({ "spec": { "maxUnavailable": 1, "minAvailable": null } });
    merge_of(facts, format!("poddisruptionbudget/{budget}"), body)
}

fn budget_of<'a>(facts: &Facts<'a>, life: &Life<'_>) -> Option<&'a str> {
    let budgets = facts.timeline.budgets.iter();
    let mut of_pod = budgets.filter(|(_, seen)| seen.iter().any(|(_, seen)| super::gap::selects(seen, life.last)));
    of_pod.next().map(|(name, _)| *name)
}

pub(super) fn merge(facts: &Facts<'_>, life: &Life<'_>, body: Value) -> Option<Patch> {
    let (object, _) = workload(&facts.timeline, life.last)?;
    // A ReplicaSet by itself would keep its pods as they are.
    (!object.starts_with("replicaset/")).then(|| merge_of(facts, object.to_owned(), body))
}

fn merge_of(facts: &Facts<'_>, object: String, body: Value) -> Patch {
    let namespace = namespace(facts);
    let command = format!(
        "kubectl patch {} -n {} --type strategic -p {}",
        quoted(&object),
        quoted(namespace),
        quoted(&body.to_string())
    );
    Patch { object, namespace: namespace.to_owned(), how: PatchHow::Merge, body, command }
}

/// A word for a shell: in single quotes unless it is plain.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':');
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

fn namespace<'a>(facts: &Facts<'a>) -> &'a str {
    &facts.record.experiment.spec.given.namespace
}

/// The labels that a pod shares with the pods of the templates before and after its own.
fn labels(life: &Life<'_>) -> Labels {
    let kept = life.last.labels.iter().filter(|(key, _)| !TEMPLATE_LABELS.contains(&key.as_str()));
    kept.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// The name of a pod's main container; in an old record, from the manifest that the experiment applied.
fn container(facts: &Facts<'_>, life: &Life<'_>) -> Option<String> {
    let seen = Some(&life.last.container_name).filter(|name| !name.is_empty()).cloned();
    seen.or_else(|| Some(manifest_container(facts, life)?.get("name")?.as_str()?.to_owned()))
}

fn declared_port(facts: &Facts<'_>, life: &Life<'_>) -> Option<u16> {
    let port = manifest_container(facts, life)?.pointer("/ports/0/containerPort")?.as_u64()?;
    u16::try_from(port).ok()
}

fn manifest_container<'a>(facts: &Facts<'a>, life: &Life<'_>) -> Option<&'a Value> {
    manifest(facts, life)?.pointer("/spec/template/spec/containers/0")
}

/// The workload of a pod as the experiment applied it.
fn manifest<'a>(facts: &Facts<'a>, life: &Life<'_>) -> Option<&'a Value> {
    let (name, _) = workload(&facts.timeline, life.last)?;
    let (kind, name) = name.split_once('/')?;
    let is_meant = |object: &&Value| {
        let of = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        of("/kind").eq_ignore_ascii_case(kind) && of("/metadata/name") == name
    };
    facts.record.experiment.spec.given.apply.iter().find(is_meant)
}
