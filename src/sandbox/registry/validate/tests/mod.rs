//! Each refusal with upstream's exact words.
//!
//! * `pods`, `workloads`: the kinds of that name; the others are here.

mod pods;
mod workloads;

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
    let generated = json!({"metadata": {"name": "a-x", "generateName": "AB-", "namespace": "n"}});
    assert_eq!(
        refusals(&kinds::CONFIG_MAP, generated),
        [format!("metadata.generateName: Invalid value: \"AB-\": {subdomain}")]
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
