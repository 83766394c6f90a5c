//! What objects are given that their author left out (k/pkg/apis/*/{v1,v2}/defaults.go, v1.34.4).
//!
//! * [`pod`]: pods and pod templates.
//! * [`workloads`]: what makes pods.
//! * [`core`]: everything else.
//!
//! An object that has its defaults already stays as it is.

mod core;
mod pod;
mod workloads;

use serde_json::{Value, json};

use super::json::pod_spec;
use crate::sandbox::kinds::Kind;

/// Fills in an object's defaults; an object that has them already stays as it is.
pub fn apply(kind: &Kind, value: &mut Value) {
    if let Some(spec) = pod_spec(kind, value) {
        pod::spec(spec);
    }
    match kind.kind {
        "Pod" => pod::pod(value),
        "Deployment" => workloads::deployment(value),
        "ReplicaSet" => workloads::replica_set(value),
        "StatefulSet" => workloads::stateful_set(value),
        "DaemonSet" => workloads::daemon_set(value),
        "Job" => workloads::job(value),
        "HorizontalPodAutoscaler" => workloads::autoscaler(value),
        "Service" => core::service(value),
        "Namespace" => core::namespace(value),
        "Node" => core::node(value),
        "Secret" => core::secret(value),
        "PersistentVolumeClaim" => core::claim(value),
        "Endpoints" => core::endpoints(value),
        "EndpointSlice" => core::endpoint_slice(value),
        _ => {}
    }
    if kind.status && value.get("status").is_none() {
        // Go writes an empty status.
        let empty = if kind.kind == "Service" { json!({"loadBalancer": {}}) } else { json!({}) };
        if let Some(map) = value.as_object_mut() {
            map.insert("status".to_owned(), empty);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sandbox::kinds;

    fn applied(kind: &Kind, mut value: Value) -> Value {
        apply(kind, &mut value);
        let mut again = value.clone();
        apply(kind, &mut again);
        assert_eq!(again, value, "defaults of defaults are the same");
        value
    }

    fn template(container: Value) -> Value {
        json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [container]}})
    }

    #[test]
    fn a_template_gets_what_every_pod_spec_gets() {
        let deployment = applied(
            &kinds::DEPLOYMENT,
            json!({"spec": {"selector": {"matchLabels": {"app": "a"}}, "template": template(json!({
                "name": "a", "image": "nginx", "ports": [{"containerPort": 80}],
                "resources": {"limits": {"cpu": "1"}},
            }))}}),
        );
        assert_eq!(
            deployment["spec"],
            json!({
                "selector": {"matchLabels": {"app": "a"}},
                "template": {
                    "metadata": {"labels": {"app": "a"}},
                    "spec": {
                        "containers": [{
                            "name": "a",
                            "image": "nginx",
                            "ports": [{"containerPort": 80, "protocol": "TCP"}],
                            "resources": {"limits": {"cpu": "1"}},
                            "imagePullPolicy": "Always",
                            "terminationMessagePath": "/dev/termination-log",
                            "terminationMessagePolicy": "File",
                        }],
                        "dnsPolicy": "ClusterFirst",
                        "restartPolicy": "Always",
                        "securityContext": {},
                        "terminationGracePeriodSeconds": 30,
                        "schedulerName": "default-scheduler",
                    },
                },
                "replicas": 1,
                "strategy": {
                    "type": "RollingUpdate",
                    "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
                },
                "revisionHistoryLimit": 10,
                "progressDeadlineSeconds": 600,
            })
        );
        assert_eq!(deployment["status"], json!({}));
    }

    #[test]
    fn a_pod_alone_gets_requests_from_limits_and_service_links() {
        let pod = applied(
            &kinds::POD,
            json!({"spec": {"containers": [{
                "name": "a", "image": "a:1", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1m"}},
            }]}}),
        );
        assert_eq!(pod["spec"]["enableServiceLinks"], true);
        assert_eq!(pod["spec"]["containers"][0]["resources"]["requests"], json!({"cpu": "1m", "memory": "1Gi"}));
    }

    #[test]
    fn the_pull_policy_follows_the_tag() {
        let table = [
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("nginx:1.2", "IfNotPresent"),
            ("registry:5000/nginx", "Always"),
            ("registry:5000/nginx:1", "IfNotPresent"),
            ("nginx@sha256:0000", "IfNotPresent"),
            ("nginx:latest@sha256:0000", "Always"),
        ];
        for (image, policy) in table {
            let pod = applied(&kinds::POD, json!({"spec": {"containers": [{"name": "a", "image": image}]}}));
            assert_eq!(pod["spec"]["containers"][0]["imagePullPolicy"], policy, "{image}");
        }
    }

    #[test]
    fn probes_hooks_and_references_are_completed() {
        let pod = applied(
            &kinds::POD,
            json!({"spec": {"containers": [{
                "name": "a",
                "image": "a:1",
                "livenessProbe": {"httpGet": {"port": 80}},
                "readinessProbe": {"grpc": {"port": 1}, "periodSeconds": 1, "timeoutSeconds": 2, "successThreshold": 3, "failureThreshold": 4},
                "lifecycle": {"preStop": {"httpGet": {"port": 80, "path": "/a", "scheme": "HTTPS"}}, "postStart": {"httpGet": {"port": 1}}},
                "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            }]}}),
        );
        let container = &pod["spec"]["containers"][0];
        assert_eq!(
            container["livenessProbe"],
            json!({"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, "timeoutSeconds": 1, "periodSeconds": 10,
                "successThreshold": 1, "failureThreshold": 3})
        );
        assert_eq!(
            container["readinessProbe"],
            json!({"grpc": {"port": 1, "service": ""}, "periodSeconds": 1, "timeoutSeconds": 2, "successThreshold": 3,
                "failureThreshold": 4})
        );
        assert_eq!(container["lifecycle"]["preStop"]["httpGet"], json!({"port": 80, "path": "/a", "scheme": "HTTPS"}));
        assert_eq!(container["lifecycle"]["postStart"]["httpGet"], json!({"port": 1, "path": "/", "scheme": "HTTP"}));
        assert_eq!(container["env"][0]["valueFrom"]["fieldRef"]["apiVersion"], "v1");
    }

    #[test]
    fn volumes_get_a_source_and_their_modes() {
        let pod = applied(
            &kinds::POD,
            json!({"spec": {"containers": [{"name": "a", "image": "a:1"}], "volumes": [
                {"name": "none"},
                {"name": "secret", "secret": {"secretName": "s"}},
                {"name": "map", "configMap": {"name": "m", "defaultMode": 256}},
                {"name": "path", "hostPath": {"path": "/tmp"}},
                {"name": "down", "downwardAPI": {"items": [{"path": "a", "fieldRef": {"fieldPath": "metadata.name"}}]}},
                {"name": "all", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
            ]}}),
        );
        assert_eq!(
            pod["spec"]["volumes"],
            json!([
                {"name": "none", "emptyDir": {}},
                {"name": "secret", "secret": {"secretName": "s", "defaultMode": 420}},
                {"name": "map", "configMap": {"name": "m", "defaultMode": 256}},
                {"name": "path", "hostPath": {"path": "/tmp", "type": ""}},
                {"name": "down", "downwardAPI": {
                    "items": [{"path": "a", "fieldRef": {"fieldPath": "metadata.name", "apiVersion": "v1"}}],
                    "defaultMode": 420,
                }},
                {"name": "all", "projected": {
                    "sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}}],
                    "defaultMode": 420,
                }},
            ])
        );
    }

    fn spec_of(kind: &Kind, spec: Value) -> Value {
        let mut spec = applied(kind, json!({"spec": spec}))["spec"].clone();
        if let Some(map) = spec.as_object_mut() {
            map.shift_remove("template");
        }
        spec
    }

    #[test]
    fn workloads_get_their_own_defaults() {
        let recreate = spec_of(&kinds::DEPLOYMENT, json!({"replicas": 0, "strategy": {"type": "Recreate"}}));
        assert_eq!((&recreate["replicas"], &recreate["strategy"]), (&json!(0), &json!({"type": "Recreate"})));
        assert_eq!(spec_of(&kinds::REPLICA_SET, json!({})), json!({"replicas": 1}));
        assert_eq!(
            spec_of(&kinds::STATEFUL_SET, json!({"volumeClaimTemplates": [{"metadata": {"name": "d"}, "spec": {}}]})),
            json!({
                "volumeClaimTemplates": [{
                    "metadata": {"name": "d"}, "spec": {"volumeMode": "Filesystem"}, "apiVersion": "v1",
                    "kind": "PersistentVolumeClaim", "status": {"phase": "Pending"},
                }],
                "podManagementPolicy": "OrderedReady",
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
                "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
                "replicas": 1,
                "revisionHistoryLimit": 10,
            })
        );
        let named = spec_of(&kinds::STATEFUL_SET, json!({"updateStrategy": {"type": "RollingUpdate"}}));
        assert_eq!(
            named["updateStrategy"],
            json!({"type": "RollingUpdate"}),
            "only an unnamed strategy gets a partition"
        );
        assert_eq!(
            spec_of(&kinds::DAEMON_SET, json!({})),
            json!({
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}},
                "revisionHistoryLimit": 10,
            })
        );
    }

    #[test]
    fn a_job_completes_once_unless_it_says_how_many_run() {
        let common = json!({"backoffLimit": 6, "completionMode": "NonIndexed", "suspend": false,
            "podReplacementPolicy": "TerminatingOrFailed", "manualSelector": false});
        let with = |more: Value| {
            let mut all = common.clone();
            for (key, value) in more.as_object().unwrap() {
                all[key] = value.clone();
            }
            all
        };
        assert_eq!(spec_of(&kinds::JOB, json!({})), with(json!({"completions": 1, "parallelism": 1})));
        assert_eq!(spec_of(&kinds::JOB, json!({"parallelism": 3})), with(json!({"parallelism": 3})));
        assert_eq!(spec_of(&kinds::JOB, json!({"completions": 3})), with(json!({"completions": 3, "parallelism": 1})));
        let per_index = spec_of(&kinds::JOB, json!({"completions": 3, "backoffLimitPerIndex": 1}));
        assert_eq!(per_index["backoffLimit"], i32::MAX);
        let policy = spec_of(
            &kinds::JOB,
            json!({"podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "A"}]}]}}),
        );
        assert_eq!(policy["podReplacementPolicy"], "Failed");
        assert_eq!(policy["podFailurePolicy"]["rules"][0]["onPodConditions"][0]["status"], "True");
        let labelled = applied(
            &kinds::JOB,
            json!({"spec": {"manualSelector": true, "template": template(json!({"name": "a", "image": "a"}))}}),
        );
        assert_eq!(labelled["metadata"]["labels"], json!({"app": "a"}));
    }

    #[test]
    fn an_autoscaler_aims_at_80_percent_and_completes_its_behavior() {
        assert_eq!(
            spec_of(
                &kinds::HORIZONTAL_POD_AUTOSCALER,
                json!({"maxReplicas": 3, "behavior": {"scaleDown": {"selectPolicy": "Min"}}})
            ),
            json!({
                "maxReplicas": 3,
                "behavior": {
                    "scaleDown": {"selectPolicy": "Min", "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]},
                    "scaleUp": {
                        "stabilizationWindowSeconds": 0,
                        "selectPolicy": "Max",
                        "policies": [
                            {"type": "Pods", "value": 4, "periodSeconds": 15},
                            {"type": "Percent", "value": 100, "periodSeconds": 15},
                        ],
                    },
                },
                "minReplicas": 1,
                "metrics": [{"type": "Resource", "resource": {
                    "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80},
                }}],
            })
        );
        assert!(spec_of(&kinds::HORIZONTAL_POD_AUTOSCALER, json!({})).get("behavior").is_none());
    }

    #[test]
    fn a_service_gets_its_policies_by_its_type() {
        assert_eq!(
            spec_of(
                &kinds::SERVICE,
                json!({"ports": [{"port": 80}, {"port": 81, "targetPort": "web", "protocol": "UDP"}]})
            ),
            json!({
                "ports": [
                    {"port": 80, "protocol": "TCP", "targetPort": 80},
                    {"port": 81, "targetPort": "web", "protocol": "UDP"},
                ],
                "sessionAffinity": "None",
                "type": "ClusterIP",
                "internalTrafficPolicy": "Cluster",
            })
        );
        let node_port = spec_of(&kinds::SERVICE, json!({"type": "NodePort", "sessionAffinity": "ClientIP"}));
        assert_eq!(node_port["externalTrafficPolicy"], "Cluster");
        assert_eq!(node_port["sessionAffinityConfig"], json!({"clientIP": {"timeoutSeconds": 10800}}));
        let balanced = spec_of(&kinds::SERVICE, json!({"type": "LoadBalancer"}));
        assert_eq!(balanced["allocateLoadBalancerNodePorts"], true);
        let named = spec_of(&kinds::SERVICE, json!({"type": "ExternalName", "externalName": "example.com"}));
        assert_eq!(named, json!({"type": "ExternalName", "externalName": "example.com", "sessionAffinity": "None"}));
    }

    #[test]
    fn other_kinds_get_theirs() {
        let secret = applied(
            &kinds::SECRET,
            json!({"metadata": {"name": "a"}, "data": {"old": "YQ=="}, "stringData": {"new": "b"}}),
        );
        assert_eq!(
            secret,
            json!({"metadata": {"name": "a"}, "data": {"old": "YQ==", "new": "Yg=="}, "type": "Opaque"})
        );
        let namespace = applied(&kinds::NAMESPACE, json!({"metadata": {"name": "a"}}));
        assert_eq!(namespace["metadata"]["labels"], json!({"kubernetes.io/metadata.name": "a"}));
        assert_eq!(namespace["status"], json!({"phase": "Active"}));
        let claim = applied(&kinds::PERSISTENT_VOLUME_CLAIM, json!({"metadata": {"name": "a"}, "spec": {}}));
        assert_eq!(
            (&claim["spec"], &claim["status"]),
            (&json!({"volumeMode": "Filesystem"}), &json!({"phase": "Pending"}))
        );
        let node = applied(&kinds::NODE, json!({"metadata": {"name": "a"}, "status": {"capacity": {"cpu": "2"}}}));
        assert_eq!(node["status"]["allocatable"], json!({"cpu": "2"}));
        let slice = applied(&kinds::ENDPOINT_SLICE, json!({"addressType": "IPv4", "ports": [{"port": 80}]}));
        assert_eq!(slice["ports"], json!([{"port": 80, "name": "", "protocol": "TCP"}]));
        let endpoints = applied(&kinds::ENDPOINTS, json!({"subsets": [{"ports": [{"port": 80}]}]}));
        assert_eq!(endpoints["subsets"][0]["ports"], json!([{"port": 80, "protocol": "TCP"}]));
    }

    #[test]
    fn no_json_makes_it_panic() {
        let strange = [
            json!(null),
            json!(1),
            json!([]),
            json!("a"),
            json!([1]),
            json!({"containers": 1, "ports": [1], "template": 1}),
        ];
        for kind in kinds::ALL {
            for value in &strange {
                for mut object in
                    [value.clone(), json!({"spec": value}), json!({"metadata": value, "spec": {"template": value}})]
                {
                    apply(kind, &mut object);
                }
            }
        }
    }
}
