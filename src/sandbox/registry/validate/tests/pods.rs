//! Pods.

use serde_json::{Value, json};

use super::{assert_table, change, container, merge, metadata, pod, workload};
use crate::sandbox::kinds;

#[test]
fn what_is_in_order_passes() {
    let everything = pod(json!({
        "initContainers": [
            {"name": "i", "image": "i:1"},
            {"name": "s", "image": "i:1", "restartPolicy": "Always", "readinessProbe": {"tcpSocket": {"port": "p"}}},
        ],
        "containers": [{
            "name": "c", "image": "i:1",
            "ports": [{"name": "http", "containerPort": 80}, {"name": "dns", "containerPort": 53, "protocol": "UDP"}],
            "env": [{"name": "A", "value": "b"}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a/b']"}}},
                {"name": "C", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}}],
            "envFrom": [{"configMapRef": {"name": "m"}}],
            "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}},
            "livenessProbe": {"httpGet": {"port": "http"}}, "readinessProbe": {"exec": {"command": ["true"]}, "successThreshold": 2},
            "lifecycle": {"preStop": {"sleep": {"seconds": 30}}, "postStart": {"exec": {"command": ["true"]}}},
            "volumeMounts": [{"name": "v", "mountPath": "/v"}, {"name": "v", "mountPath": "/w", "subPath": "a/b"}],
        }],
        "volumes": [{"name": "v"}, {"name": "w", "configMap": {"name": "m", "items": [{"key": "a", "path": "b/c"}]}}],
        "tolerations": [{"operator": "Exists"}, {"key": "a", "value": "b", "effect": "NoSchedule"}],
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": "a"}}, "matchLabelKeys": ["pod-template-hash"]}],
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}],
             "matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}]}},
            "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 100, "podAffinityTerm": {"topologyKey": "host", "labelSelector": {"matchLabels": {"a": "b"}}}}]}},
    }));
    assert_table(&kinds::POD, vec![(everything, vec![])]);
    for kind in [&kinds::DEPLOYMENT, &kinds::REPLICA_SET, &kinds::DAEMON_SET, &kinds::STATEFUL_SET] {
        assert_table(kind, vec![(workload(json!({})), vec![])]);
    }
}

#[test]
fn containers_are_checked() {
    let with = |more: Value| {
        let mut all = container();
        merge(&mut all, more);
        pod(json!({"containers": [all]}))
    };
    assert_table(
        &kinds::POD,
        vec![
            (json!({"metadata": metadata(), "spec": {}}), vec!["spec.containers: Required value"]),
            (with(json!({"name": ""})), vec!["spec.containers[0].name: Required value"]),
            (with(json!({"image": ""})), vec!["spec.containers[0].image: Required value"]),
            (
                with(json!({"image": "a "})),
                vec!["spec.containers[0].image: Invalid value: \"a \": must not have leading or trailing whitespace"],
            ),
            (
                pod(json!({"containers": [container(), container()]})),
                vec!["spec.containers[1].name: Duplicate value: \"c\""],
            ),
            (
                pod(json!({"initContainers": [container()]})),
                vec!["spec.initContainers[0].name: Duplicate value: \"c\""],
            ),
            (
                with(json!({"imagePullPolicy": "Sometimes"})),
                vec![
                    "spec.containers[0].imagePullPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"IfNotPresent\", \"Never\"",
                ],
            ),
            (
                with(json!({"ports": [{"name": "p", "containerPort": 1}, {"name": "p", "containerPort": 70000}, {}]})),
                vec![
                    "spec.containers[0].ports[1].name: Duplicate value: \"p\"",
                    "spec.containers[0].ports[1].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
                    "spec.containers[0].ports[2].containerPort: Required value",
                ],
            ),
            (
                with(json!({"ports": [{"containerPort": 1, "hostPort": 5}, {"containerPort": 2, "hostPort": 5}]})),
                vec!["spec.containers[0].ports[1].hostPort: Duplicate value: \"TCP//5\""],
            ),
            (
                with(json!({"env": [{"name": "a=b"}, {"name": "A", "valueFrom": {}}]})),
                vec![
                    "spec.containers[0].env[0].name: Invalid value: \"a=b\": a valid environment variable name must consist only of printable ASCII characters other than '='",
                    "spec.containers[0].env[1].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`",
                ],
            ),
            (
                with(json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]})),
                vec!["spec.containers[0].volumeMounts[0].name: Not found: \"v\""],
            ),
            (
                with(json!({"resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1500m"}}})),
                vec![
                    "spec.containers[0].resources.requests: Invalid value: \"1500m\": must be less than or equal to cpu limit of 1",
                ],
            ),
            (
                with(json!({"resources": {"limits": {"gpu": "1", "memory": "-1"}}})),
                vec![
                    "spec.containers[0].resources.limits[gpu]: Invalid value: \"gpu\": must be a standard resource type or fully qualified",
                    "spec.containers[0].resources.limits[gpu]: Invalid value: \"gpu\": must be a standard resource for containers",
                    "spec.containers[0].resources.limits[memory]: Invalid value: \"-1\": must be greater than or equal to 0",
                    "spec.containers[0].resources.requests[gpu]: Invalid value: \"gpu\": must be a standard resource type or fully qualified",
                    "spec.containers[0].resources.requests[gpu]: Invalid value: \"gpu\": must be a standard resource for containers",
                    "spec.containers[0].resources.requests[memory]: Invalid value: \"-1\": must be greater than or equal to 0",
                ],
            ),
            (
                pod(
                    json!({"initContainers": [{"name": "i", "image": "i:1", "livenessProbe": {"exec": {"command": ["a"]}}}]}),
                ),
                vec![
                    "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
                ],
            ),
        ],
    );
}

#[test]
fn probes_and_hooks_are_checked() {
    let with = |more: Value| {
        let mut all = container();
        merge(&mut all, more);
        pod(json!({"containers": [all]}))
    };
    assert_table(
        &kinds::POD,
        vec![
            (
                with(json!({"livenessProbe": {"tcpSocket": {"port": 1}, "successThreshold": 2, "periodSeconds": -1}})),
                vec![
                    "spec.containers[0].livenessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0",
                    "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1",
                ],
            ),
            (
                with(json!({"startupProbe": {"exec": {}, "successThreshold": 2}})),
                vec![
                    "spec.containers[0].startupProbe.exec.command: Required value",
                    "spec.containers[0].startupProbe.successThreshold: Invalid value: 2: must be 1",
                ],
            ),
            (
                with(json!({"readinessProbe": {"terminationGracePeriodSeconds": 5}})),
                vec![
                    "spec.containers[0].readinessProbe: Required value: must specify a handler type",
                    "spec.containers[0].readinessProbe.terminationGracePeriodSeconds: Invalid value: 5: must not be set for readinessProbes",
                ],
            ),
            (
                with(json!({"readinessProbe": {"exec": {"command": ["a"]}, "httpGet": {"port": 0}}})),
                vec!["spec.containers[0].readinessProbe.httpGet: Forbidden: may not specify more than 1 handler type"],
            ),
            (
                with(json!({"readinessProbe": {"httpGet": {"port": 0, "scheme": "GOPHER"}}})),
                vec![
                    "spec.containers[0].readinessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive",
                    "spec.containers[0].readinessProbe.httpGet.scheme: Unsupported value: \"GOPHER\": supported values: \"HTTP\", \"HTTPS\"",
                ],
            ),
            (
                with(json!({"lifecycle": {"preStop": {"sleep": {"seconds": 31}}}})),
                vec![
                    "spec.containers[0].lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)",
                ],
            ),
            (with(json!({"lifecycle": {"preStop": {"sleep": {"seconds": 0}}}})), vec![]),
            (
                with(json!({"lifecycle": {"preStop": {}}})),
                vec!["spec.containers[0].lifecycle.preStop: Required value: must specify a handler type"],
            ),
        ],
    );
}

#[test]
fn volumes_are_checked() {
    assert_table(
        &kinds::POD,
        vec![
            (
                pod(
                    json!({"volumes": [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/a"}}, {"name": "V"}, {"emptyDir": {}}]}),
                ),
                vec![
                    "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type",
                    "spec.volumes[1].name: Invalid value: \"V\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
                    "spec.volumes[2].name: Required value",
                ],
            ),
            (
                pod(json!({"volumes": [{"name": "v"}, {"name": "v"}]})),
                vec!["spec.volumes[1].name: Duplicate value: \"v\""],
            ),
            (
                pod(json!({"volumes": [
                    {"name": "a", "secret": {"defaultMode": 512}}, {"name": "b", "hostPath": {"path": "/a/../b"}},
                    {"name": "c", "persistentVolumeClaim": {}},
                ]})),
                vec![
                    "spec.volumes[0].secret.secretName: Required value",
                    "spec.volumes[0].secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive",
                    "spec.volumes[1].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'",
                    "spec.volumes[2].persistentVolumeClaim.claimName: Required value",
                ],
            ),
        ],
    );
}

#[test]
fn scheduling_is_checked() {
    let spread = |more: Value| {
        let mut all = json!({"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"});
        merge(&mut all, more);
        all
    };
    assert_table(
        &kinds::POD,
        vec![
            (
                pod(
                    json!({"topologySpreadConstraints": [spread(json!({"maxSkew": 0})), spread(json!({"minDomains": 0}))]}),
                ),
                vec![
                    "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
                    "spec.topologySpreadConstraints[1].{topologyKey, whenUnsatisfiable}: Duplicate value: \"{zone, DoNotSchedule}\"",
                    "spec.topologySpreadConstraints[1].minDomains: Invalid value: 0: must be greater than zero",
                ],
            ),
            (
                pod(
                    json!({"topologySpreadConstraints": [spread(json!({"topologyKey": "", "whenUnsatisfiable": "Maybe", "matchLabelKeys": ["a"]}))]}),
                ),
                vec![
                    "spec.topologySpreadConstraints[0].topologyKey: Required value: can not be empty",
                    "spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: \"Maybe\": supported values: \"DoNotSchedule\", \"ScheduleAnyway\"",
                    "spec.topologySpreadConstraints[0].matchLabelKeys: Forbidden: must not be specified when labelSelector is not set",
                ],
            ),
            (
                pod(json!({"tolerations": [{"operator": "Equal"}, {"key": "a", "operator": "Has"},
                    {"key": "a", "operator": "Exists", "value": "b", "effect": "NoSchedule", "tolerationSeconds": 1}]})),
                vec![
                    "spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
                    "spec.tolerations[1].operator: Unsupported value: \"Has\": supported values: \"Equal\", \"Exists\"",
                    "spec.tolerations[2].effect: Invalid value: \"NoSchedule\": effect must be 'NoExecute' when `tolerationSeconds` is set",
                    "spec.tolerations[2].operator: Invalid value: \"b\": value must be empty when `operator` is 'Exists'",
                ],
            ),
            (
                pod(json!({"affinity": {
                    "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                        {"matchExpressions": [{"key": "a", "operator": "In"}, {"key": "a", "operator": "Near"}]}]}},
                    "podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
                        {"weight": 101, "podAffinityTerm": {"topologyKey": "zone"}}]},
                }})),
                vec![
                    "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
                    "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[1].operator: Invalid value: \"Near\": not a valid selector operator",
                    "spec.affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 101: must be in the range 1-100",
                ],
            ),
        ],
    );
}

const POD_MAY_CHANGE: &str = "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n";

#[test]
fn of_a_pod_little_may_change() {
    type Edit = fn(&mut Value);
    let old = || pod(json!({"activeDeadlineSeconds": 10, "tolerations": [{"key": "a", "operator": "Exists"}]}));
    let fine: [Edit; 5] = [
        |pod| pod["spec"]["containers"][0]["image"] = json!("other:2"),
        |pod| pod["spec"]["activeDeadlineSeconds"] = json!(5),
        |pod| {
            pod["spec"]["tolerations"] =
                json!([{"key": "b", "operator": "Exists"}, {"key": "a", "operator": "Exists"}]);
        },
        |pod| pod["metadata"]["labels"] = json!({"a": "b"}),
        |_| {},
    ];
    for edit in fine {
        assert_eq!(change(&kinds::POD, old(), edit), Vec::<String>::new());
    }
    let table: [(Edit, String); 6] = [
        (
            |pod| pod["spec"]["terminationGracePeriodSeconds"] = json!(1),
            format!("{POD_MAY_CHANGE}- terminationGracePeriodSeconds: 30\n+ terminationGracePeriodSeconds: 1\n"),
        ),
        (|pod| pod["spec"]["nodeName"] = json!("n"), format!("{POD_MAY_CHANGE}+ nodeName: \"n\"\n")),
        (
            |pod| pod["spec"]["containers"] = json!([container(), {"name": "d", "image": "i:1"}]),
            "spec.containers: Forbidden: pod updates may not add or remove containers".to_owned(),
        ),
        (
            |pod| pod["spec"]["activeDeadlineSeconds"] = json!(11),
            "spec.activeDeadlineSeconds: Invalid value: 11: must be less than or equal to previous value".to_owned(),
        ),
        (
            |pod| pod["spec"]["tolerations"] = json!([]),
            "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"
                .to_owned(),
        ),
        (
            |pod| pod["spec"]["schedulingGates"] = json!([{"name": "g"}]),
            "spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate 'g'"
                .to_owned(),
        ),
    ];
    for (edit, expected) in table {
        assert_eq!(change(&kinds::POD, old(), edit), [expected]);
    }
    let negative = pod(json!({"terminationGracePeriodSeconds": -1}));
    assert_eq!(
        change(&kinds::POD, negative, |pod| pod["spec"]["terminationGracePeriodSeconds"] = json!(1)),
        Vec::<String>::new()
    );
}
