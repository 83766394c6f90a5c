//! What a Job's policies say: which failures end it, count or don't, and which successes are enough
//! (`k/pkg/controller/job/{pod_failure_policy,success_policy}.go`, v1.34.4).

use k8s_openapi::api::{
    batch::v1::{
        JobSpec, PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyOnPodConditionsPattern,
    },
    core::v1::{ContainerStatus, Pod, PodStatus},
};

use super::indexes::Indexes;

/// What a failed pod means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It counts towards the limit: no rule matches, or a `Count` rule does.
    Counts,
    /// It does not count.
    Ignored,
    /// The index of the pod fails with it, whatever is left of its limit.
    FailsIndex,
    /// The whole Job fails, with this message.
    FailsJob(String),
}

impl Verdict {
    /// Whether the failure counts towards the limit.
    #[must_use]
    pub const fn counts(&self) -> bool {
        !matches!(self, Self::Ignored)
    }
}

/// The verdict of the first rule that matches.
#[must_use]
pub fn of_failure(policy: Option<&PodFailurePolicy>, pod: &Pod) -> Verdict {
    let Some(policy) = policy else { return Verdict::Counts };
    let none = PodStatus::default();
    let status = pod.status.as_ref().unwrap_or(&none);
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    for (at, rule) in policy.rules.iter().enumerate() {
        let message = if let Some(codes) = &rule.on_exit_codes {
            let Some((container, code)) = matching_container(status, codes) else { continue };
            format!(
                "Container {container} for pod {namespace}/{name} failed with exit code {code} matching {} rule at index {at}",
                rule.action
            )
        } else {
            let patterns = rule.on_pod_conditions.as_deref().unwrap_or_default();
            let Some(condition) = matching_condition(status, patterns) else { continue };
            format!("Pod {namespace}/{name} has condition {condition} matching {} rule at index {at}", rule.action)
        };
        match rule.action.as_str() {
            "Ignore" => return Verdict::Ignored,
            "FailIndex" => return Verdict::FailsIndex,
            "FailJob" => return Verdict::FailsJob(message),
            "Count" => return Verdict::Counts,
            // An action that validation does not let through says nothing.
            _ => {}
        }
    }
    Verdict::Counts
}

/// The first terminated container whose exit code is meant, those of the pod before its init containers.
fn matching_container(status: &PodStatus, wanted: &PodFailurePolicyOnExitCodesRequirement) -> Option<(String, i32)> {
    let lists = [&status.container_statuses, &status.init_container_statuses];
    lists.into_iter().flatten().flatten().find_map(|container: &ContainerStatus| {
        let code = container.state.as_ref()?.terminated.as_ref()?.exit_code;
        let named = wanted.container_name.as_ref().is_none_or(|name| *name == container.name);
        let meant = match wanted.operator.as_str() {
            "In" => wanted.values.contains(&code),
            "NotIn" => !wanted.values.contains(&code),
            _ => false,
        };
        (named && code != 0 && meant).then(|| (container.name.clone(), code))
    })
}

fn matching_condition(status: &PodStatus, patterns: &[PodFailurePolicyOnPodConditionsPattern]) -> Option<String> {
    let conditions = status.conditions.iter().flatten();
    let mut matching = conditions.filter(|condition| {
        patterns.iter().any(|pattern| {
            // Where it is not stated, `True` is meant.
            let status = if pattern.status.is_empty() { "True" } else { pattern.status.as_str() };
            pattern.type_ == condition.type_ && status == condition.status
        })
    });
    matching.next().map(|condition| condition.type_.clone())
}

/// Which rule of the success policy is met, in upstream's words.
#[must_use]
pub fn success_met(spec: &JobSpec, succeeded: &Indexes) -> Option<String> {
    let policy = spec.success_policy.as_ref()?;
    if succeeded.is_empty() {
        return None;
    }
    let completions = spec.completions.unwrap_or_default();
    let met = policy.rules.iter().position(|rule| match (&rule.succeeded_indexes, rule.succeeded_count) {
        (Some(wanted), count) => {
            let wanted = Indexes::parse(wanted, completions);
            let shared = wanted.overlap(succeeded);
            !wanted.is_empty() && (shared == wanted.total() || count.is_some_and(|count| shared >= count))
        }
        (None, Some(count)) => succeeded.total() >= count,
        (None, None) => false,
    })?;
    Some(format!("Matched rules at index {met}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(exit_code: i32, condition: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"namespace": "shop", "name": "work-x"},
            "status": {
                "containerStatuses": [{"name": "main", "ready": false, "restartCount": 0, "image": "", "imageID": "",
                    "state": {"terminated": {"exitCode": exit_code}}}],
                "conditions": [{"type": condition, "status": "True"}],
            },
        }))
        .unwrap()
    }

    fn policy(rules: &Value) -> PodFailurePolicy {
        serde_json::from_value(json!({"rules": rules})).unwrap()
    }

    #[test]
    fn the_first_matching_rule_decides() {
        let rules = policy(&json!([
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [3, 42]}},
            {"action": "Count", "onExitCodes": {"operator": "NotIn", "values": [7]}},
            {"action": "FailIndex", "onExitCodes": {"containerName": "main", "operator": "In", "values": [7]}},
        ]));
        let failed = "Container main for pod shop/work-x failed with exit code 42 matching FailJob rule at index 1";
        let table = [
            (42, "DisruptionTarget", Verdict::Ignored),
            (42, "Ready", Verdict::FailsJob(failed.to_owned())),
            (1, "Ready", Verdict::Counts),
            (7, "Ready", Verdict::FailsIndex),
            (0, "Ready", Verdict::Counts),
        ];
        for (code, condition, wanted) in table {
            assert_eq!(of_failure(Some(&rules), &pod(code, condition)), wanted, "{code} {condition}");
        }
        assert_eq!(of_failure(None, &pod(42, "DisruptionTarget")), Verdict::Counts);
    }

    #[test]
    fn a_rule_of_another_container_does_not_match() {
        let rules = policy(&json!([
            {"action": "FailJob", "onExitCodes": {"containerName": "side", "operator": "In", "values": [42]}},
        ]));
        assert_eq!(of_failure(Some(&rules), &pod(42, "Ready")), Verdict::Counts);
        let condition =
            policy(&json!([{"action": "FailJob", "onPodConditions": [{"type": "ConfigIssue", "status": "True"}]}]));
        let message = "Pod shop/work-x has condition ConfigIssue matching FailJob rule at index 0";
        assert_eq!(of_failure(Some(&condition), &pod(1, "ConfigIssue")), Verdict::FailsJob(message.to_owned()));
    }

    #[test]
    fn success_rules_ask_for_indexes_or_for_a_count() {
        let spec = |rules: Value| -> JobSpec {
            serde_json::from_value(json!({"completions": 5, "template": {}, "successPolicy": {"rules": rules}}))
                .unwrap()
        };
        let table = [
            (json!([{"succeededIndexes": "0,2"}]), "0-2", Some(0)),
            (json!([{"succeededIndexes": "0,2"}]), "0,1", None),
            (json!([{"succeededIndexes": "0-3", "succeededCount": 2}]), "1,3", Some(0)),
            (json!([{"succeededIndexes": "0"}, {"succeededCount": 2}]), "3,4", Some(1)),
            (json!([{"succeededCount": 1}]), "", None),
            (json!([{"succeededIndexes": "7"}]), "0", None),
        ];
        for (rules, succeeded, at) in table {
            let met = success_met(&spec(rules.clone()), &Indexes::parse(succeeded, 5));
            assert_eq!(met, at.map(|at: i32| format!("Matched rules at index {at}")), "{rules} {succeeded}");
        }
    }
}
