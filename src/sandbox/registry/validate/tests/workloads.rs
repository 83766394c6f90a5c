//! What makes pods, scales them and protects them.

use serde_json::{Value, json};

use super::{assert_table, change, container, merge, metadata, template, workload};
use crate::sandbox::kinds;

#[test]
fn deployments_are_checked() {
    let rolling = |unavailable: Value, surge: Value| {
        workload(json!({"strategy": {"rollingUpdate": {"maxUnavailable": unavailable, "maxSurge": surge}}}))
    };
    let percent = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";
    let mut unselected = workload(json!({}));
    unselected["spec"].as_object_mut().unwrap().shift_remove("selector");
    assert_table(
        &kinds::DEPLOYMENT,
        vec![
            (
                unselected,
                vec![
                    "spec.selector: Required value",
                    "spec.template.metadata.labels: Invalid value: {\"app\":\"a\"}: `selector` does not match template `labels`",
                ],
            ),
            (
                workload(json!({"selector": {}})),
                vec!["spec.selector: Invalid value: {}: empty selector is invalid for deployment"],
            ),
            (
                workload(json!({"selector": {"matchLabels": {"app": "b"}}})),
                vec![
                    "spec.template.metadata.labels: Invalid value: {\"app\":\"a\"}: `selector` does not match template `labels`",
                ],
            ),
            (
                workload(json!({"replicas": -1})),
                vec!["spec.replicas: Invalid value: -1: must be greater than or equal to 0"],
            ),
            (
                rolling(json!(0), json!("0%")),
                vec!["spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"],
            ),
            (
                rolling(json!("101%"), json!("200%")),
                vec![
                    "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%",
                ],
            ),
            (
                rolling(json!("1x"), json!(1)),
                vec![&format!("spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"1x\": {percent}")],
            ),
            (
                workload(json!({"strategy": {"type": "Recreate", "rollingUpdate": {}}})),
                vec!["spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"],
            ),
            (
                workload(json!({"minReadySeconds": 10, "progressDeadlineSeconds": 10})),
                vec!["spec.progressDeadlineSeconds: Invalid value: 10: must be greater than minReadySeconds"],
            ),
            (
                workload(json!({"template": {"metadata": {"labels": {"app": "a"}}, "spec": {
                    "restartPolicy": "Never", "activeDeadlineSeconds": 5, "containers": [container()]}}})),
                vec![
                    "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
                    "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported",
                ],
            ),
        ],
    );
    let other = |object: &mut Value| {
        object["spec"]["selector"] = json!({"matchLabels": {"app": "b"}});
        object["spec"]["template"]["metadata"]["labels"]["app"] = json!("b");
    };
    for kind in [&kinds::DEPLOYMENT, &kinds::REPLICA_SET, &kinds::DAEMON_SET] {
        assert_eq!(
            change(kind, workload(json!({})), other),
            ["spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"b\"}}: field is immutable"]
        );
    }
}

#[test]
fn stateful_and_daemon_sets_are_checked() {
    assert_table(
        &kinds::STATEFUL_SET,
        vec![
            (
                workload(
                    json!({"podManagementPolicy": "Chaos", "serviceName": "A_", "updateStrategy": {"type": "OnDelete", "rollingUpdate": {"partition": 1}}}),
                ),
                vec![
                    "spec.podManagementPolicy: Invalid value: \"Chaos\": must be 'OrderedReady' or 'Parallel'",
                    "spec.updateStrategy.rollingUpdate: Invalid value: {\"partition\":1}: only allowed for updateStrategy 'RollingUpdate'",
                    "spec.serviceName: Invalid value: \"A_\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
                ],
            ),
            (
                workload(json!({"volumeClaimTemplates": [{"metadata": {"name": "d"}, "spec": {}}]})),
                vec![
                    "spec.volumeClaimTemplates[0].spec.accessModes: Required value: at least 1 access mode is required",
                    "spec.volumeClaimTemplates[0].spec.resources[storage]: Required value",
                ],
            ),
        ],
    );
    let claims = json!([{"metadata": {"name": "d"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1"}}}}]);
    let mut mounted = workload(json!({"volumeClaimTemplates": claims}));
    mounted["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "d", "mountPath": "/d"}]);
    assert_table(&kinds::STATEFUL_SET, vec![(mounted, vec![])]);
    let fixed = "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
    assert_eq!(
        change(&kinds::STATEFUL_SET, workload(json!({})), |set| set["spec"]["serviceName"] = json!("b")),
        [fixed]
    );
    assert_eq!(
        change(&kinds::STATEFUL_SET, workload(json!({})), |set| set["spec"]["replicas"] = json!(5)),
        Vec::<String>::new()
    );
    let rolling = |unavailable: Value, surge: Value| {
        workload(json!({"updateStrategy": {"rollingUpdate": {"maxUnavailable": unavailable, "maxSurge": surge}}}))
    };
    assert_table(
        &kinds::DAEMON_SET,
        vec![
            (
                rolling(json!(1), json!(1)),
                vec![
                    "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero",
                ],
            ),
            (
                rolling(json!(0), json!(0)),
                vec![
                    "spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0",
                ],
            ),
            (rolling(json!(0), json!("50%")), vec![]),
        ],
    );
}

fn job(spec: Value) -> Value {
    let mut all = json!({"manualSelector": true, "selector": {"matchLabels": {"app": "a"}}, "template": template()});
    all["template"]["spec"]["restartPolicy"] = json!("Never");
    merge(&mut all, spec);
    json!({"metadata": metadata(), "spec": all})
}

#[test]
fn jobs_are_checked() {
    let rule = |rule: Value| job(json!({"podFailurePolicy": {"rules": [rule]}}));
    let mut always = job(json!({}));
    always["spec"]["template"]["spec"].as_object_mut().unwrap().shift_remove("restartPolicy");
    assert_table(
        &kinds::JOB,
        vec![
            (job(json!({})), vec![]),
            (always, vec!["spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""]),
            (
                job(json!({"completionMode": "Indexed", "parallelism": 1})),
                vec!["spec.completions: Required value: when completion mode is Indexed"],
            ),
            (
                job(json!({"backoffLimitPerIndex": 1})),
                vec!["spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode"],
            ),
            (
                rule(json!({"action": "Ignore"})),
                vec![
                    "spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions is required",
                ],
            ),
            (
                rule(json!({"action": "FailJob", "onExitCodes": {"operator": "In", "values": [2, 1, 0, 2]}})),
                vec![
                    "spec.podFailurePolicy.rules[0].onExitCodes.values[2]: Invalid value: 0: must not be 0 for the In operator",
                    "spec.podFailurePolicy.rules[0].onExitCodes.values[3]: Duplicate value: 2",
                    "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [2,1,0,2]: must be ordered",
                ],
            ),
            (
                job(
                    json!({"completionMode": "Indexed", "completions": 5, "successPolicy": {"rules": [{"succeededIndexes": "0-2,1"}, {"succeededCount": 6}]}}),
                ),
                vec![
                    "spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"0-2,1\": error parsing succeededIndexes: non-increasing order, previous: 2, current: 1",
                    "spec.successPolicy.rules[1].succeededCount: Invalid value: 6: must be less than or equal to 5 (the number of specified completions)",
                ],
            ),
        ],
    );
    assert_eq!(
        change(&kinds::JOB, job(json!({})), |job| job["spec"]["completions"] = json!(3)),
        ["spec.completions: Invalid value: 3: field is immutable"]
    );
    let image = |job: &mut Value| job["spec"]["template"]["spec"]["containers"][0]["image"] = json!("x:2");
    let changed = change(&kinds::JOB, job(json!({})), image);
    assert!(changed.len() == 1 && changed[0].starts_with("spec.template: Invalid value: {"), "{changed:?}");
    assert!(changed[0].ends_with(": field is immutable"), "{changed:?}");
    let places = |job: &mut Value| job["spec"]["template"]["spec"]["nodeSelector"] = json!({"a": "b"});
    assert_eq!(change(&kinds::JOB, job(json!({"suspend": true})), places), Vec::<String>::new());
    assert_eq!(change(&kinds::JOB, job(json!({})), places).len(), 1);
    let tandem = |job: &mut Value| merge(&mut job["spec"], json!({"completions": 4, "parallelism": 4}));
    let indexed = job(json!({"completionMode": "Indexed", "completions": 2, "parallelism": 2}));
    assert_eq!(change(&kinds::JOB, indexed, tandem), Vec::<String>::new());
}

#[test]
fn budgets_are_checked() {
    let budget = |spec: Value| json!({"metadata": metadata(), "spec": spec});
    assert_table(
        &kinds::POD_DISRUPTION_BUDGET,
        vec![
            (budget(json!({"minAvailable": "50%"})), vec![]),
            (
                budget(json!({"minAvailable": 1, "maxUnavailable": "25%", "selector": {"matchLabels": {"a": "b"}}})),
                vec![
                    "spec: Invalid value: {\"MinAvailable\":1,\"Selector\":{\"matchLabels\":{\"a\":\"b\"}},\"MaxUnavailable\":\"25%\",\"UnhealthyPodEvictionPolicy\":null}: minAvailable and maxUnavailable cannot be both set",
                ],
            ),
            (
                budget(json!({"maxUnavailable": "101%", "unhealthyPodEvictionPolicy": "Maybe"})),
                vec![
                    "spec.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%",
                    "spec.unhealthyPodEvictionPolicy: Unsupported value: \"Maybe\": supported values: \"AlwaysAllow\", \"IfHealthyBudget\"",
                ],
            ),
            (
                budget(json!({"minAvailable": -1})),
                vec!["spec.minAvailable: Invalid value: -1: must be greater than or equal to 0"],
            ),
        ],
    );
}

#[test]
fn autoscalers_are_checked() {
    let scaler = |more: Value| {
        let mut spec =
            json!({"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "a", "apiVersion": "apps/v1"}});
        merge(&mut spec, more);
        json!({"metadata": metadata(), "spec": spec})
    };
    assert_table(
        &kinds::HORIZONTAL_POD_AUTOSCALER,
        vec![
            (scaler(json!({"behavior": {"scaleDown": {}}})), vec![]),
            (
                scaler(json!({"minReplicas": 4})),
                vec!["spec.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`"],
            ),
            (
                scaler(json!({"minReplicas": 0, "maxReplicas": 0, "scaleTargetRef": {}})),
                vec![
                    "spec.minReplicas: Invalid value: 0: must be greater than or equal to 1",
                    "spec.maxReplicas: Invalid value: 0: must be greater than 0",
                    "spec.scaleTargetRef.kind: Required value",
                    "spec.scaleTargetRef.name: Required value",
                ],
            ),
            (
                scaler(
                    json!({"metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 0}}}]}),
                ),
                vec!["spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be greater than 0"],
            ),
            (
                scaler(
                    json!({"metrics": [{"type": "Resource", "pods": {"metric": {"name": "m"}, "target": {"type": "AverageValue", "averageValue": "1"}}}]}),
                ),
                vec!["spec.metrics[0].resource: Required value: must populate information for the given metric source"],
            ),
            (
                scaler(
                    json!({"behavior": {"scaleUp": {"stabilizationWindowSeconds": 3601, "policies": [{"type": "Pods", "value": 0, "periodSeconds": 1801}]}}}),
                ),
                vec![
                    "spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600",
                    "spec.behavior.scaleUp.policies[0].value: Invalid value: 0: must be greater than zero",
                    "spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800",
                ],
            ),
        ],
    );
}
