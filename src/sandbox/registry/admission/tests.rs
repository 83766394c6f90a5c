use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::sandbox::{
    kinds,
    registry::{DeleteOptions, WriteOptions},
    store::{Object, Store},
};

fn registry() -> Registry {
    let registry = Registry::new(Arc::new(Store::new(kinds::ALL)), Allocator::default());
    create(&registry, &kinds::NAMESPACE, json!({"metadata": {"name": "default"}})).unwrap();
    registry
}

fn create(registry: &Registry, kind: &'static Kind, value: Value) -> Result<Value, ApiError> {
    let namespace = if kind.namespaced { "default" } else { "" };
    registry.create(kind, namespace, value, &WriteOptions::default()).map(|object| object.value())
}

fn change(
    registry: &Registry,
    kind: &'static Kind,
    name: &str,
    change: impl FnOnce(&mut Value),
) -> Result<Value, ApiError> {
    let namespace = if kind.namespaced { "default" } else { "" };
    let changed = registry.change(kind, namespace, name, Part::Main, &WriteOptions::default(), |mut value| {
        change(&mut value);
        Ok(value)
    });
    changed.map(|object: Arc<Object>| object.value())
}

fn pod(name: &str, spec: Value) -> Value {
    let mut pod = json!({"metadata": {"name": name, "labels": {"app": "a", "hash": "1"}},
        "spec": {"containers": [{"name": "a", "image": "a:1"}]}});
    for (key, value) in spec.as_object().unwrap() {
        pod["spec"][key] = value.clone();
    }
    pod
}

#[test]
fn a_pod_gets_an_account_a_priority_tolerations_and_a_status() {
    let stored = create(&registry(), &kinds::POD, pod("a", json!({}))).unwrap();
    let spec = &stored["spec"];
    assert_eq!(
        (&spec["serviceAccountName"], &spec["serviceAccount"], &spec["priority"], &spec["preemptionPolicy"]),
        (&json!("default"), &json!("default"), &json!(0), &json!("PreemptLowerPriority"))
    );
    let toleration =
        |key: &str| json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300});
    assert_eq!(
        spec["tolerations"],
        json!([toleration("node.kubernetes.io/not-ready"), toleration("node.kubernetes.io/unreachable")])
    );
    assert_eq!(stored["status"], json!({"phase": "Pending", "qosClass": "BestEffort"}));
    assert_eq!(spec.get("volumes"), None, "no token is mounted");
}

#[test]
fn tolerations_that_are_there_are_left_alone() {
    let own = json!([{"operator": "Exists"}]);
    let stored = create(&registry(), &kinds::POD, pod("a", json!({"tolerations": own}))).unwrap();
    assert_eq!(stored["spec"]["tolerations"], own);
}

#[test]
fn the_class_of_a_pod_follows_its_resources() {
    let both = |cpu: &str, memory: &str| json!({"cpu": cpu, "memory": memory});
    let table = [
        (json!({"limits": both("1", "1Gi")}), "Guaranteed"),
        (json!({"limits": both("1", "1Gi"), "requests": both("1000m", "1024Mi")}), "Guaranteed"),
        (json!({"limits": both("1", "1Gi"), "requests": {"cpu": "500m"}}), "Burstable"),
        (json!({"limits": {"cpu": "1"}}), "Burstable"),
        (json!({"requests": {"memory": "1Mi"}}), "Burstable"),
        (json!({"requests": {"ephemeral-storage": "1Mi"}}), "BestEffort"),
        (json!({}), "BestEffort"),
    ];
    for (resources, class) in table {
        let containers = json!([{"name": "a", "image": "a:1", "resources": resources}]);
        let stored = create(&registry(), &kinds::POD, pod("a", json!({"containers": containers}))).unwrap();
        assert_eq!(stored["status"]["qosClass"], class, "{resources}");
    }
}

#[test]
fn the_servers_own_refusals_have_upstreams_words() {
    let table = [
        (json!({"priorityClassName": "gold"}), "no PriorityClass with name gold was found"),
        (
            json!({"priority": 5}),
            "the integer value of priority (5) must not be provided in pod spec; priority admission controller computed 0 from the given PriorityClass name",
        ),
        (
            json!({"serviceAccountName": "robot"}),
            "error looking up service account default/robot: serviceaccount \"robot\" not found",
        ),
        (json!({"runtimeClassName": "kata"}), "pod rejected: RuntimeClass \"kata\" not found"),
    ];
    for (spec, why) in table {
        let error = create(&registry(), &kinds::POD, pod("a", spec)).unwrap_err();
        assert_eq!((error.code, error.message), (403, format!("pods \"a\" is forbidden: {why}")));
    }
    let registry = registry();
    create(&registry, &kinds::SERVICE_ACCOUNT, json!({"metadata": {"name": "robot"}})).unwrap();
    let known = json!({"serviceAccountName": "robot", "priorityClassName": "system-node-critical"});
    assert_eq!(create(&registry, &kinds::POD, pod("a", known)).unwrap()["spec"]["priority"], 2_000_001_000);
}

#[test]
fn label_keys_become_requirements_on_the_pods_own_labels() {
    let selector = json!({"matchLabels": {"app": "a"}});
    let spec = json!({
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": selector, "matchLabelKeys": ["hash", "absent"]}],
        "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "host", "labelSelector": selector, "mismatchLabelKeys": ["hash"]},
        ]}},
    });
    let registry = registry();
    let stored = create(&registry, &kinds::POD, pod("a", spec)).unwrap();
    let with = |operator: &str| json!({"matchLabels": {"app": "a"}, "matchExpressions": [{"key": "hash", "operator": operator, "values": ["1"]}]});
    assert_eq!(stored["spec"]["topologySpreadConstraints"][0]["labelSelector"], with("In"));
    let terms = &stored["spec"]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    assert_eq!(terms[0]["labelSelector"], with("NotIn"));
    let again = change(&registry, &kinds::POD, "a", |pod| pod["metadata"]["labels"]["new"] = json!("1")).unwrap();
    assert_eq!(again["spec"], stored["spec"], "an update adds nothing twice");
}

#[test]
fn a_gated_pod_says_so() {
    let stored = create(&registry(), &kinds::POD, pod("a", json!({"schedulingGates": [{"name": "g"}]}))).unwrap();
    assert_eq!(stored["status"]["conditions"][0]["reason"], "SchedulingGated");
}

fn service(name: &str, spec: Value) -> Value {
    json!({"metadata": {"name": name}, "spec": spec})
}

#[test]
fn a_service_gets_an_address_and_keeps_it() {
    let registry = registry();
    let ports = json!([{"port": 80}]);
    let first = create(&registry, &kinds::SERVICE, service("a", json!({"ports": ports}))).unwrap();
    let spec = &first["spec"];
    assert_eq!(
        (&spec["clusterIP"], &spec["clusterIPs"], &spec["ipFamilies"], &spec["ipFamilyPolicy"]),
        (&json!("127.96.1.0"), &json!(["127.96.1.0"]), &json!(["IPv4"]), &json!("SingleStack"))
    );
    let replaced = service("a", json!({"ports": [{"port": 81}]}));
    let changed = change(&registry, &kinds::SERVICE, "a", |value| *value = replaced).unwrap();
    assert_eq!(
        (&changed["spec"]["clusterIP"], &changed["spec"]["ports"][0]["port"]),
        (&json!("127.96.1.0"), &json!(81))
    );
    let error = change(&registry, &kinds::SERVICE, "a", |value| value["spec"]["clusterIP"] = json!("127.96.0.9"));
    assert_eq!(
        error.unwrap_err().message,
        "Service \"a\" is invalid: spec.clusterIPs[0]: Invalid value: [\"127.96.0.9\"]: may not change once set"
    );
    let second = create(&registry, &kinds::SERVICE, service("b", json!({"ports": ports}))).unwrap();
    assert_eq!(second["spec"]["clusterIP"], "127.96.1.1");
}

#[test]
fn addresses_that_are_asked_for_are_given_once() {
    let registry = registry();
    let asking = |name: &str, address: &str| service(name, json!({"clusterIP": address, "ports": [{"port": 443}]}));
    create(&registry, &kinds::SERVICE, asking("kubernetes", &Allocator::default().first().to_string())).unwrap();
    let taken = create(&registry, &kinds::SERVICE, asking("b", "127.96.0.1")).unwrap_err();
    assert_eq!(
        (taken.code, taken.message.as_str()),
        (
            422,
            "Service \"b\" is invalid: spec.clusterIPs: Invalid value: [\"127.96.0.1\"]: failed to allocate IP 127.96.0.1: provided IP is already allocated"
        )
    );
    let outside = create(&registry, &kinds::SERVICE, asking("b", "10.0.0.1")).unwrap_err();
    assert_eq!(
        outside.message,
        "Service \"b\" is invalid: spec.clusterIPs: Invalid value: [\"10.0.0.1\"]: failed to allocate IP 10.0.0.1: the provided IP (10.0.0.1) is not in the valid range. The range of valid IPs is 127.96.0.0/20"
    );
    registry.delete(&kinds::SERVICE, "default", "kubernetes", &DeleteOptions::default()).unwrap();
    create(&registry, &kinds::SERVICE, asking("b", "127.96.0.1")).unwrap();
}

#[test]
fn a_small_range_is_used_up_but_for_the_first() {
    let registry = Registry::new(Arc::new(Store::new(kinds::ALL)), Allocator::new([127, 5, 0, 0].into(), 8));
    create(&registry, &kinds::NAMESPACE, json!({"metadata": {"name": "default"}})).unwrap();
    let mut given = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        let stored = create(&registry, &kinds::SERVICE, service(name, json!({"ports": [{"port": 1}]}))).unwrap();
        given.push(stored["spec"]["clusterIP"].as_str().unwrap().to_owned());
    }
    given.sort();
    assert_eq!(given, ["127.5.0.2", "127.5.0.3", "127.5.0.4", "127.5.0.5", "127.5.0.6"]);
    let full = create(&registry, &kinds::SERVICE, service("f", json!({"ports": [{"port": 1}]}))).unwrap_err();
    assert_eq!(
        (full.code, full.message.as_str()),
        (500, "Internal error occurred: failed to allocate a serviceIP: range is full")
    );
}

#[test]
fn headless_and_external_services_get_no_address() {
    let registry = registry();
    let headless =
        create(&registry, &kinds::SERVICE, service("a", json!({"clusterIP": "None", "selector": {"a": "b"}}))).unwrap();
    assert_eq!(
        (&headless["spec"]["clusterIPs"], &headless["spec"]["ipFamilies"]),
        (&json!(["None"]), &json!(["IPv4"]))
    );
    let unselected = create(&registry, &kinds::SERVICE, service("b", json!({"clusterIP": "None"}))).unwrap();
    assert_eq!(
        (&unselected["spec"]["ipFamilies"], &unselected["spec"]["ipFamilyPolicy"]),
        (&json!(["IPv4", "IPv6"]), &json!("RequireDualStack"))
    );
    let named = json!({"type": "ExternalName", "externalName": "example.com"});
    let named = create(&registry, &kinds::SERVICE, service("c", named)).unwrap();
    assert_eq!(
        named["spec"],
        json!({"type": "ExternalName", "externalName": "example.com", "sessionAffinity": "None"})
    );
    let dual = json!({"ipFamilyPolicy": "RequireDualStack", "ports": [{"port": 1}]});
    assert_eq!(
        create(&registry, &kinds::SERVICE, service("d", dual)).unwrap_err().message,
        "Service \"d\" is invalid: spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services"
    );
}

#[test]
fn node_ports_are_given_kept_and_taken_back() {
    let registry = registry();
    let both =
        json!([{"name": "a", "port": 53}, {"name": "b", "port": 53, "protocol": "UDP"}, {"name": "c", "port": 80}]);
    let stored = create(&registry, &kinds::SERVICE, service("a", json!({"type": "NodePort", "ports": both}))).unwrap();
    let ports: Vec<i64> = (0..3).map(|at| stored["spec"]["ports"][at]["nodePort"].as_i64().unwrap()).collect();
    assert_eq!(ports, [30086, 30086, 30087]);
    let asking =
        |name: &str, port: i64| service(name, json!({"type": "NodePort", "ports": [{"port": 1, "nodePort": port}]}));
    let table = [
        (30087, "provided port is already allocated"),
        (80, "provided port is not in the valid range. The range of valid ports is 30000-32767"),
    ];
    for (port, why) in table {
        let error = create(&registry, &kinds::SERVICE, asking("b", port)).unwrap_err();
        let expected = format!("Service \"b\" is invalid: spec.ports[0].nodePort: Invalid value: {port}: {why}");
        assert_eq!((error.code, error.message), (422, expected));
    }
    create(&registry, &kinds::SERVICE, asking("b", 30000)).unwrap();
    let same = change(&registry, &kinds::SERVICE, "a", |value| {
        for port in value["spec"]["ports"].as_array_mut().unwrap() {
            port.as_object_mut().unwrap().shift_remove("nodePort");
        }
    });
    assert_eq!(same.unwrap()["spec"]["ports"], stored["spec"]["ports"], "a client need not repeat them");
    let inner = change(&registry, &kinds::SERVICE, "a", |value| value["spec"]["type"] = json!("ClusterIP")).unwrap();
    assert_eq!((inner["spec"]["ports"][0].get("nodePort"), inner["spec"].get("externalTrafficPolicy")), (None, None));
    create(&registry, &kinds::SERVICE, asking("c", 30087)).unwrap();
    let outer = change(&registry, &kinds::SERVICE, "a", |value| value["spec"]["type"] = json!("NodePort")).unwrap();
    assert_eq!(outer["spec"]["ports"][2]["nodePort"], 30090);
}

#[test]
fn a_balanced_service_with_local_traffic_gets_a_port_for_health_checks() {
    let spec = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ports": [{"port": 80}]});
    let stored = create(&registry(), &kinds::SERVICE, service("a", spec)).unwrap();
    assert_eq!(
        (&stored["spec"]["ports"][0]["nodePort"], &stored["spec"]["healthCheckNodePort"]),
        (&json!(30086), &json!(30087))
    );
}

#[test]
fn a_namespace_gets_its_finalizer_and_keeps_it() {
    let registry = registry();
    let stored = create(&registry, &kinds::NAMESPACE, json!({"metadata": {"name": "a"}})).unwrap();
    assert_eq!((&stored["spec"]["finalizers"], &stored["status"]["phase"]), (&json!(["kubernetes"]), &json!("Active")));
    let changed = change(&registry, &kinds::NAMESPACE, "a", |value| value["spec"] = json!({})).unwrap();
    assert_eq!(changed["spec"]["finalizers"], json!(["kubernetes"]));
    registry.delete(&kinds::NAMESPACE, "", "a", &DeleteOptions::default()).unwrap();
    let gone = change(&registry, &kinds::NAMESPACE, "a", |value| value["spec"] = json!({})).unwrap();
    assert_eq!(gone["spec"].get("finalizers"), None);
    assert!(registry.get(&kinds::NAMESPACE, "", "a").is_err());
}

#[test]
fn namespaces_that_every_cluster_has_stay() {
    let registry = registry();
    let error = registry.delete(&kinds::NAMESPACE, "", "default", &DeleteOptions::default()).unwrap_err();
    assert_eq!(
        (error.code, error.message.as_str()),
        (403, "namespaces \"default\" is forbidden: this namespace may not be deleted")
    );
}

#[test]
fn a_job_gets_labels_and_a_selector() {
    let registry = registry();
    let template = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "a:1"}]}});
    let job = |name: &str| json!({"metadata": {"name": name}, "spec": {"template": template}});
    let stored = create(&registry, &kinds::JOB, job("a")).unwrap();
    let uid = stored["metadata"]["uid"].clone();
    let labels = json!({"job-name": "a", "batch.kubernetes.io/job-name": "a", "controller-uid": uid,
        "batch.kubernetes.io/controller-uid": uid});
    assert_eq!(stored["spec"]["template"]["metadata"]["labels"], labels);
    assert_eq!(stored["metadata"]["labels"], labels);
    assert_eq!(stored["spec"]["selector"], json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}));
    let mut own = job("b");
    own["spec"]["selector"] = json!({"matchLabels": {"app": "a"}});
    own["spec"]["template"]["metadata"] = json!({"labels": {"app": "a"}});
    assert!(create(&registry, &kinds::JOB, own.clone()).unwrap_err().message.contains("`selector` not auto-generated"));
    own["spec"]["manualSelector"] = json!(true);
    let manual = create(&registry, &kinds::JOB, own).unwrap();
    assert_eq!(manual["spec"]["selector"], json!({"matchLabels": {"app": "a"}}));
}

#[test]
fn a_claim_is_bound_at_once_and_grows_at_once() {
    let registry = registry();
    let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    let stored =
        create(&registry, &kinds::PERSISTENT_VOLUME_CLAIM, json!({"metadata": {"name": "a"}, "spec": spec})).unwrap();
    assert_eq!(
        stored["status"],
        json!({"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}})
    );
    assert_eq!(stored["spec"]["volumeName"], format!("pvc-{}", stored["metadata"]["uid"].as_str().unwrap()));
    let grown = change(&registry, &kinds::PERSISTENT_VOLUME_CLAIM, "a", |claim| {
        claim["spec"]["resources"]["requests"]["storage"] = json!("2Gi");
    });
    assert_eq!(grown.unwrap()["status"]["capacity"]["storage"], "2Gi");
    let shrunk = change(&registry, &kinds::PERSISTENT_VOLUME_CLAIM, "a", |claim| {
        claim["spec"]["resources"]["requests"]["storage"] = json!("1Gi");
    });
    assert!(shrunk.unwrap_err().message.ends_with("field can not be less than status.capacity"));
}

#[test]
fn fields_of_features_that_are_off_are_dropped() {
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {
        "hostnameOverride": "x",
        "containers": [{"name": "a", "image": "a:1", "lifecycle": {"stopSignal": "SIGUSR1", "preStop": {"sleep": {"seconds": 1}}}}],
    }});
    let set = json!({"metadata": {"name": "a"}, "spec": {
        "selector": {"matchLabels": {"a": "b"}}, "template": template,
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}},
    }});
    let stored = create(&registry(), &kinds::STATEFUL_SET, set).unwrap();
    assert_eq!(stored["spec"]["updateStrategy"]["rollingUpdate"], json!({"partition": 0}));
    let spec = &stored["spec"]["template"]["spec"];
    assert_eq!(spec.get("hostnameOverride"), None);
    assert_eq!(spec["containers"][0]["lifecycle"], json!({"preStop": {"sleep": {"seconds": 1}}}));
}
