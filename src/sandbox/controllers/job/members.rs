//! What a Job asks of its pods, and writes into them: the tracking finalizer, completion indexes, counts of failures
//! (`k/pkg/controller/job/{job_controller,indexed_job_utils,tracking_utils}.go`, v1.34.4).

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::{
    batch::v1::{Job, JobSpec},
    core::v1::{Container, EnvVar, EnvVarSource, ObjectFieldSelector, Pod, PodTemplateSpec},
};

use super::{
    super::pods,
    policy::{self, Verdict},
};

/// The finalizer that keeps a pod until it has been counted.
pub const FINALIZER: &str = "batch.kubernetes.io/job-tracking";

/// The annotation and label with a pod's completion index.
pub const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// The annotation with the number of failures of the index before this pod.
pub const INDEX_FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";

/// The annotation with those of them that a policy ignores.
pub const INDEX_IGNORED: &str = "batch.kubernetes.io/job-index-ignored-failure-count";

/// The environment variable with the completion index.
const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";

/// The longest prefix of a generated name (apiserver/pkg/storage/names/generate.go).
const PREFIX_MAX: usize = 58;

/// A Job's spec as its defaults leave it.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The spec.
    pub spec: JobSpec,
    /// Pods at a time.
    pub parallelism: i32,
    /// Failures that are too many when exceeded.
    pub backoff_limit: i32,
    /// It is suspended.
    pub suspended: bool,
    /// It is indexed, with so many completions.
    pub indexed: Option<i32>,
    /// Failures of an index that are too many when reached.
    pub per_index: Option<i32>,
    /// A pod is replaced only once it has ended.
    pub only_failed: bool,
}

impl Asked {
    /// What a Job asks for.
    #[must_use]
    pub fn of(job: &Job) -> Self {
        let mut spec = job.spec.clone().unwrap_or_default();
        if spec.parallelism.is_none() {
            spec.completions = spec.completions.or(Some(1));
        }
        let per_index = spec.backoff_limit_per_index;
        let is_indexed = spec.completion_mode.as_deref() == Some("Indexed");
        Self {
            parallelism: spec.parallelism.unwrap_or(1),
            backoff_limit: spec.backoff_limit.unwrap_or(if per_index.is_some() { i32::MAX } else { 6 }),
            suspended: spec.suspend == Some(true),
            indexed: is_indexed.then(|| spec.completions.unwrap_or(0)),
            per_index: per_index.filter(|_| is_indexed),
            only_failed: spec.pod_replacement_policy.as_deref() == Some("Failed") || spec.pod_failure_policy.is_some(),
            spec,
        }
    }

    /// Whether a pod counts as failed: it has, or it is being deleted where that is enough.
    #[must_use]
    pub fn is_failed(&self, pod: &Pod) -> bool {
        match pods::phase(pod) {
            "Failed" => true,
            "Succeeded" => false,
            _ => !self.only_failed && pod.metadata.deletion_timestamp.is_some(),
        }
    }

    /// What the pod failure policy says of a failed pod.
    #[must_use]
    pub fn verdict(&self, pod: &Pod) -> Verdict {
        policy::of_failure(self.spec.pod_failure_policy.as_ref(), pod)
    }

    /// Whether a pod has an index that counts: that is not for a Job that has none.
    #[must_use]
    pub fn is_valid(&self, pod: &Pod) -> bool {
        self.indexed.is_none_or(|completions| index_of(pod).is_some_and(|index| index < completions))
    }

    /// Whether the index of a pod fails with it.
    #[must_use]
    pub fn fails_index(&self, pod: &Pod, limit: i32) -> bool {
        if !self.is_failed(pod) {
            return false;
        }
        match self.verdict(pod) {
            Verdict::FailsIndex => true,
            verdict => verdict.counts() && annotated(pod, INDEX_FAILURES) >= limit,
        }
    }
}

/// The completion index of a pod.
#[must_use]
pub fn index_of(pod: &Pod) -> Option<i32> {
    pod.metadata.annotations.as_ref()?.get(INDEX)?.parse().ok().filter(|index| *index >= 0)
}

/// A count in an annotation, zero where it is none.
fn annotated(pod: &Pod, key: &str) -> i32 {
    let text = pod.metadata.annotations.as_ref().and_then(|annotations| annotations.get(key));
    text.and_then(|text| text.parse().ok()).filter(|count| *count >= 0).unwrap_or(0)
}

/// All failures of a pod's index before it.
#[must_use]
pub fn index_failures(pod: &Pod) -> i32 {
    annotated(pod, INDEX_FAILURES).saturating_add(annotated(pod, INDEX_IGNORED))
}

/// Whether a pod has not been counted yet.
#[must_use]
pub fn is_tracked(pod: &Pod) -> bool {
    pod.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER)
}

/// Whether a pod is being deleted and has not ended yet (`IsPodTerminating`).
#[must_use]
pub fn is_terminating(pod: &Pod) -> bool {
    !pods::is_finished(pod) && pod.metadata.deletion_timestamp.is_some()
}

/// A pod's uid.
#[must_use]
pub fn uid_of(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

/// The order in which a Job gives up active pods: unbound, pending, not ready, shortly ready, often restarted, young
/// (`controller.ActivePods`).
#[must_use]
pub fn removal_order(pod: &Pod) -> impl Ord + use<> {
    let bound = pod.spec.as_ref().is_some_and(|spec| spec.node_name.as_deref().is_some_and(|node| !node.is_empty()));
    let phase = match pods::phase(pod) {
        "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    let ready = pods::is_ready(pod);
    let ready_since = pods::ready_since(pod).unwrap_or(Timestamp::MAX);
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let restarts = statuses.map(|container| container.restart_count).max().unwrap_or(0);
    let created = pod.metadata.creation_timestamp.as_ref().map_or(Timestamp::MAX, |time| time.0);
    let newest_first = std::cmp::Reverse;
    (bound, phase, ready, newest_first(ready_since), std::cmp::Reverse(restarts), newest_first(created))
}

/// Gives a template of an Indexed Job the variable with the index, and any template the finalizer.
pub fn prepare(template: &mut PodTemplateSpec, indexed: bool) {
    let finalizers = template.metadata.get_or_insert_default().finalizers.get_or_insert_default();
    if !finalizers.iter().any(|one| one == FINALIZER) {
        finalizers.push(FINALIZER.to_owned());
    }
    if !indexed {
        return;
    }
    let spec = template.spec.get_or_insert_default();
    let init = spec.init_containers.iter_mut().flatten();
    init.chain(&mut spec.containers).for_each(add_index_variable);
}

fn add_index_variable(container: &mut Container) {
    let variables = container.env.get_or_insert_default();
    if variables.iter().any(|variable| variable.name == INDEX_VARIABLE) {
        return;
    }
    let field = ObjectFieldSelector { api_version: None, field_path: format!("metadata.labels['{INDEX}']") };
    variables.push(EnvVar {
        name: INDEX_VARIABLE.to_owned(),
        value: None,
        value_from: Some(EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() }),
    });
}

/// Makes a pod that of an index: its annotation, label, host name and name.
pub fn index(pod: &mut Pod, job: &str, index: i32) {
    let text = index.to_string();
    let set = |map: &mut Option<BTreeMap<String, String>>| {
        map.get_or_insert_default().insert(INDEX.to_owned(), text.clone());
    };
    set(&mut pod.metadata.annotations);
    set(&mut pod.metadata.labels);
    pod.spec.get_or_insert_default().hostname = Some(format!("{job}-{index}"));
    pod.metadata.generate_name = Some(prefix(job, index));
}

/// The prefix of a pod's name, in which the index is never cut off.
fn prefix(job: &str, index: i32) -> String {
    let end = format!("-{index}-");
    let kept = PREFIX_MAX.saturating_sub(end.len());
    let cut = job.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|at| *at <= kept).last().unwrap_or(0);
    format!("{}{end}", &job[..cut])
}

/// Counts the failures of an index on into the pod that replaces a failed one.
pub fn count_failures(pod: &mut Pod, asked: &Asked, replaced: Option<&Pod>) {
    let (mut failures, mut ignored) = (0, 0);
    if let Some(replaced) = replaced {
        let counts = asked.verdict(replaced).counts();
        failures = annotated(replaced, INDEX_FAILURES).saturating_add(i32::from(counts));
        ignored = annotated(replaced, INDEX_IGNORED).saturating_add(i32::from(!counts));
    }
    let annotations = pod.metadata.annotations.get_or_insert_default();
    annotations.insert(INDEX_FAILURES.to_owned(), failures.to_string());
    if ignored > 0 {
        annotations.insert(INDEX_IGNORED.to_owned(), ignored.to_string());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(value: Value) -> Pod {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn pods_in_earlier_stages_are_given_up_first() {
        let ready = |since: &str| json!([{"type": "Ready", "status": "True", "lastTransitionTime": since}]);
        let in_order = [
            json!({"status": {"phase": "Pending"}}),
            json!({"spec": {"nodeName": "a", "containers": []}, "status": {"phase": "Pending"}}),
            json!({"spec": {"nodeName": "a", "containers": []}, "status": {"phase": "Running"}}),
            json!({"spec": {"nodeName": "a", "containers": []},
                "status": {"phase": "Running", "conditions": ready("2025-01-02T00:00:00Z")}}),
            json!({"spec": {"nodeName": "a", "containers": []},
                "status": {"phase": "Running", "conditions": ready("2025-01-01T00:00:00Z")}}),
        ];
        let pods: Vec<Pod> = in_order.into_iter().map(pod).collect();
        assert!(pods.windows(2).all(|two| removal_order(&two[0]) < removal_order(&two[1])));
    }

    #[test]
    fn an_index_goes_into_annotation_label_host_name_and_name() {
        let mut made = pod(json!({}));
        index(&mut made, "work", 3);
        assert_eq!((index_of(&made), made.metadata.generate_name.as_deref()), (Some(3), Some("work-3-")));
        assert_eq!(pods::labels(&made.metadata)[INDEX], "3");
        assert_eq!(made.spec.unwrap().hostname.as_deref(), Some("work-3"));
        assert_eq!(prefix(&"x".repeat(63), 100).len(), 58);
        assert!(prefix(&"x".repeat(63), 100).ends_with("x-100-"));
        assert_eq!(index_of(&pod(json!({"metadata": {"annotations": {INDEX: "-1"}}}))), None);
    }

    #[test]
    fn a_template_gets_its_finalizer_once_and_its_variable_only_when_indexed() {
        let mut template: PodTemplateSpec =
            serde_json::from_value(json!({"spec": {"containers": [{"name": "main"}]}})).unwrap();
        prepare(&mut template, false);
        assert!(template.spec.as_ref().unwrap().containers[0].env.is_none());
        prepare(&mut template, true);
        prepare(&mut template, true);
        assert_eq!(template.metadata.unwrap().finalizers.unwrap(), [FINALIZER]);
        let variable = &serde_json::to_value(&template.spec.unwrap().containers[0].env).unwrap();
        let path = "metadata.labels['batch.kubernetes.io/job-completion-index']";
        assert_eq!(
            *variable,
            json!([{"name": "JOB_COMPLETION_INDEX", "valueFrom": {"fieldRef": {"fieldPath": path}}}])
        );
    }

    #[test]
    fn failures_of_an_index_are_counted_on_and_ignored_ones_apart() {
        let job = |policy: Value| -> Job {
            serde_json::from_value(json!({"spec": {"template": {}, "podFailurePolicy": policy}})).unwrap()
        };
        let failed = pod(json!({
            "metadata": {"annotations": {INDEX_FAILURES: "2"}},
            "status": {"phase": "Failed", "conditions": [{"type": "DisruptionTarget", "status": "True"}]},
        }));
        let ignore = json!({"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]});
        for (policy, failures, ignored) in [(ignore, "2", Some("1")), (json!({"rules": []}), "3", None)] {
            let mut new = pod(json!({}));
            count_failures(&mut new, &Asked::of(&job(policy)), Some(&failed));
            let annotations = new.metadata.annotations.unwrap();
            assert_eq!(annotations[INDEX_FAILURES], failures);
            assert_eq!(annotations.get(INDEX_IGNORED).map(String::as_str), ignored);
        }
    }
}
