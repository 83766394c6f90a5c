//! Each refusal with upstream's exact words.

use serde_json::{Value, json};

use super::*;
use crate::sandbox::{kinds, registry::defaults};

/// An object with its defaults.
fn with_defaults(kind: &Kind, mut value: Value) -> Value {
    crate::sandbox::registry::shape::normalise(kind, &mut value).unwrap();
    defaults::apply(kind, &mut value);
    value
}

/// What is wrong with a new object, in words.
fn refusals(kind: &Kind, value: Value) -> Vec<String> {
    create(kind, &with_defaults(kind, value)).iter().map(ToString::to_string).collect()
}

/// What is wrong with a change, in words.
fn change(kind: &Kind, old: Value, edit: impl FnOnce(&mut Value)) -> Vec<String> {
    let old = with_defaults(kind, old);
    let mut new = old.clone();
    edit(&mut new);
    update(kind, Part::Main, &with_defaults(kind, new), &old).iter().map(ToString::to_string).collect()
}

fn metadata() -> Value {
    json!({"name": "a", "namespace": "n"})
}

fn container() -> Value {
    json!({"name": "c", "image": "i:1"})
}

fn pod(spec: Value) -> Value {
    let mut all = json!({"containers": [container()]});
    merge(&mut all, spec);
    json!({"metadata": metadata(), "spec": all})
}

fn merge(into: &mut Value, more: Value) {
    let Value::Object(more) = more else { panic!("not an object") };
    for (key, value) in more {
        into[key] = value;
    }
}

fn template() -> Value {
    json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [container()]}})
}

fn workload(spec: Value) -> Value {
    let mut all = json!({"selector": {"matchLabels": {"app": "a"}}, "template": template()});
    merge(&mut all, spec);
    json!({"metadata": metadata(), "spec": all})
}

fn assert_table(kind: &Kind, table: Vec<(Value, Vec<&str>)>) {
    for (value, expected) in table {
        assert_eq!(refusals(kind, value.clone()), expected, "{value}");
    }
}

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
fn names_follow_the_kind() {
    let subdomain = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
    let named = |name: &str| json!({"metadata": {"name": name, "namespace": "n"}});
    assert_table(
        &kinds::CONFIG_MAP,
        vec![(named("a.b"), vec![]), (named("A"), vec![&format!("metadata.name: Invalid value: \"A\": {subdomain}")])],
    );
    let set = |name: &str| {
        let mut set = workload(json!({}));
        set["metadata"]["name"] = json!(name);
        set
    };
    assert_table(
        &kinds::STATEFUL_SET,
        vec![(set("a.b"), vec!["metadata.name: Invalid value: \"a.b\": must not contain dots"])],
    );
    let budget = |name: &str| json!({"metadata": {"name": name, "namespace": "n"}, "spec": {}});
    assert_table(
        &kinds::POD_DISRUPTION_BUDGET,
        vec![
            (budget("Any"), vec![]),
            (budget("a/b"), vec!["metadata.name: Invalid value: \"a/b\": may not contain '/'"]),
        ],
    );
    let generated = json!({"metadata": {"name": "a-x", "generateName": "A-", "namespace": "n"}});
    assert_eq!(
        refusals(&kinds::CONFIG_MAP, generated),
        [format!("metadata.generateName: Invalid value: \"A-\": {subdomain}")]
    );
}

#[test]
fn metadata_is_checked() {
    let with = |more: Value| {
        let mut all = metadata();
        merge(&mut all, more);
        json!({"metadata": all})
    };
    let name_part = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
    assert_table(
        &kinds::CONFIG_MAP,
        vec![
            (
                with(json!({"labels": {"a b": "c"}})),
                vec![&format!("metadata.labels: Invalid value: \"a b\": {name_part}")],
            ),
            (
                with(json!({"labels": {"a": "x".repeat(64)}})),
                vec![&format!(
                    "metadata.labels: Invalid value: \"{}\": must be no more than 63 characters",
                    "x".repeat(64)
                )],
            ),
            (
                with(json!({"annotations": {"a": "x".repeat(256 * 1024)}})),
                vec!["metadata.annotations: Too long: may not be more than 262144 bytes"],
            ),
            (
                with(json!({"finalizers": ["mine"]})),
                vec![
                    "metadata.finalizers[0]: Invalid value: \"mine\": name is neither a standard finalizer name nor is it fully qualified",
                ],
            ),
            (
                with(json!({"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "", "uid": "u"}]})),
                vec!["metadata.ownerReferences.name: Invalid value: \"\": must not be empty"],
            ),
        ],
    );
    let deleted = json!({"metadata": {"name": "a", "namespace": "n", "deletionTimestamp": "2026-01-01T00:00:00Z"}});
    assert_eq!(
        change(&kinds::CONFIG_MAP, deleted, |map| map["metadata"]["finalizers"] = json!(["a/b"])),
        [
            "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{\"a/b\"}"
        ]
    );
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
            pod["spec"]["tolerations"] = json!([{"key": "b", "operator": "Exists"}, {"key": "a", "operator": "Exists"}])
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

#[test]
fn services_are_checked() {
    let service = |spec: Value| json!({"metadata": metadata(), "spec": spec});
    assert_table(
        &kinds::SERVICE,
        vec![
            (service(json!({})), vec!["spec.ports: Required value"]),
            (
                service(json!({"ports": [{"port": 1}, {"port": 1, "name": "b", "targetPort": "-"}]})),
                vec![
                    "spec.ports[0].name: Required value",
                    "spec.ports[1].targetPort: Invalid value: \"-\": must contain at least one letter (a-z)",
                    "spec.ports[1].targetPort: Invalid value: \"-\": must not begin or end with a hyphen",
                    "spec.ports[1]: Duplicate value: {\"Name\":\"\",\"Protocol\":\"TCP\",\"AppProtocol\":null,\"Port\":1,\"TargetPort\":0,\"NodePort\":0}",
                ],
            ),
            (
                service(json!({"type": "Magic", "ports": [{"port": 0}]})),
                vec![
                    "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                    "spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive",
                    "spec.type: Unsupported value: \"Magic\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\"",
                ],
            ),
            (
                service(json!({"ports": [{"port": 1, "nodePort": 30000}], "externalTrafficPolicy": "Local"})),
                vec![
                    "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
                    "spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services",
                ],
            ),
            (service(json!({"type": "ExternalName"})), vec!["spec.externalName: Required value"]),
        ],
    );
    let error = refusals(
        &kinds::SERVICE,
        json!({"metadata": {"name": "1a", "namespace": "n"}, "spec": {"ports": [{"port": 1}]}}),
    );
    assert!(
        error[0].starts_with("metadata.name: Invalid value: \"1a\": a DNS-1035 label must consist of"),
        "{error:?}"
    );
}

#[test]
fn stored_data_is_checked() {
    let map = |more: Value| {
        let mut all = json!({"metadata": metadata()});
        merge(&mut all, more);
        all
    };
    assert_table(
        &kinds::CONFIG_MAP,
        vec![
            (
                map(json!({"data": {"a": "b"}, "binaryData": {"a": "YQ=="}})),
                vec!["data[a]: Invalid value: \"a\": duplicate of key present in binaryData"],
            ),
            (
                map(json!({"data": {"a": "x".repeat(1024 * 1024 + 1)}})),
                vec!["[]: Too long: may not be more than 1048576 bytes"],
            ),
        ],
    );
    assert_table(
        &kinds::SECRET,
        vec![(
            map(json!({"type": "kubernetes.io/tls"})),
            vec!["data[tls.crt]: Required value", "data[tls.key]: Required value"],
        )],
    );
    for kind in [&kinds::CONFIG_MAP, &kinds::SECRET] {
        let sealed = map(json!({"immutable": true, "data": {"a": "YQ=="}}));
        assert_eq!(
            change(kind, sealed.clone(), |map| map["data"]["a"] = json!("Yg==")),
            ["data: Forbidden: field is immutable when `immutable` is set"]
        );
        assert_eq!(
            change(kind, sealed, |map| map["immutable"] = json!(false)),
            ["immutable: Forbidden: field is immutable when `immutable` is set"]
        );
    }
    assert_eq!(
        change(&kinds::SECRET, map(json!({})), |secret| secret["type"] = json!("other/type")),
        ["type: Invalid value: \"other/type\": field is immutable"]
    );
}

#[test]
fn other_kinds_are_checked() {
    let lease = |spec: Value| json!({"metadata": metadata(), "spec": spec});
    assert_table(
        &kinds::LEASE,
        vec![(
            lease(json!({"leaseDurationSeconds": 0, "leaseTransitions": -1})),
            vec![
                "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
                "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0",
            ],
        )],
    );
    let slice = |kind: &str, address: &str| json!({"metadata": metadata(), "addressType": kind, "endpoints": [{"addresses": [address]}]});
    assert_table(
        &kinds::ENDPOINT_SLICE,
        vec![
            (slice("IPv4", "127.0.0.1"), vec![]),
            (
                slice("IPv4", "x"),
                vec![
                    "endpoints[0].addresses[0]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
                ],
            ),
            (
                slice("IPv6", "10.0.0.1"),
                vec!["endpoints[0].addresses: Invalid value: \"10.0.0.1\": must be an IPv6 address"],
            ),
            (
                json!({"metadata": metadata(), "endpoints": [{}]}),
                vec![
                    "addressType: Required value",
                    "endpoints[0].addresses: Required value: must contain at least 1 address",
                ],
            ),
        ],
    );
    assert_eq!(
        change(
            &kinds::ENDPOINT_SLICE,
            json!({"metadata": metadata(), "addressType": "IPv4"}),
            |slice| slice["addressType"] = json!("IPv6")
        ),
        ["addressType: Invalid value: \"IPv6\": field is immutable"]
    );
    let node = json!({"metadata": {"name": "n"}, "spec": {"taints": [{"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoSchedule"}, {"key": "b", "effect": "No"}]}});
    assert_table(
        &kinds::NODE,
        vec![(
            node,
            vec![
                "metadata.taints[1]: Duplicate value: {\"effect\":\"NoSchedule\",\"key\":\"a\"}: taints must be unique by key and effect pair",
                "metadata.taints[2].effect: Unsupported value: \"No\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"",
            ],
        )],
    );
    let event = |of: &str| json!({"metadata": metadata(), "involvedObject": {"namespace": of}});
    assert_table(
        &kinds::EVENT,
        vec![
            (event("n"), vec![]),
            (event("m"), vec!["involvedObject.namespace: Invalid value: \"m\": does not match event.namespace"]),
        ],
    );
    let revision = |data: Value| json!({"metadata": metadata(), "revision": 1, "data": data});
    assert_table(
        &kinds::CONTROLLER_REVISION,
        vec![(revision(json!({})), vec![]), (revision(json!(null)), vec!["data: Required value: data is mandatory"])],
    );
}

#[test]
fn no_json_makes_it_panic() {
    let strange = [
        json!(null),
        json!(1),
        json!([[1]]),
        json!("a"),
        json!({"containers": 1, "template": [1], "selector": "x", "ports": {}, "rollingUpdate": 1, "volumes": [1, null]}),
        json!({"template": {"spec": {"containers": [1], "affinity": 1, "tolerations": {}, "volumes": [{"name": 1}]}}}),
    ];
    for kind in kinds::ALL {
        for value in &strange {
            for object in [value.clone(), json!({"spec": value}), json!({"metadata": value}), json!({"data": value})] {
                let _ = (create(kind, &object), update(kind, Part::Main, &object, &json!({})));
                let _ = update(kind, Part::Status, &json!({}), &object);
            }
        }
    }
}
