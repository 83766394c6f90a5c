//! Objects that scenarios start from.

use serde_json::{Value, json};

/// A pod template of the sample service with label `app`, ready after its first probe, ending at once.
pub fn template(app: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": app}},
        "spec": {
            "terminationGracePeriodSeconds": 5,
            "containers": [{
                "name": "shop",
                "image": "evenkeel/demo:v1",
                "imagePullPolicy": "IfNotPresent",
                "args": ["demo"],
                "ports": [{"containerPort": 8080}],
                "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1},
                "resources": {"requests": {"cpu": "1m", "memory": "4Mi"}},
            }],
        },
    })
}

/// A pod of the sample service; `change` is merged into its spec.
pub fn pod(name: &str, change: &Value) -> Value {
    let mut pod = template(name);
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"]["name"] = json!(name);
    merge(&mut pod["spec"], change);
    pod
}

/// A pod whose container gets these keys.
pub fn pod_with(name: &str, container: &Value, spec: &Value) -> Value {
    let mut pod = pod(name, spec);
    merge(&mut pod["spec"]["containers"][0], container);
    pod
}

/// A Deployment of the sample service; `change` is merged into its spec.
pub fn deployment(name: &str, replicas: u32, change: &Value) -> Value {
    workload("Deployment", name, replicas, change)
}

/// A workload of a kind of `apps/v1`.
pub fn workload(kind: &str, name: &str, replicas: u32, change: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template(name)},
    });
    if kind == "DaemonSet" {
        object["spec"].as_object_mut().unwrap().remove("replicas");
    }
    merge(&mut object["spec"], change);
    object
}

/// A budget for pods with label `app`.
pub fn budget(name: &str, app: &str, demand: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": app}}},
    });
    merge(&mut object["spec"], demand);
    object
}

/// A Service for pods with label `app`.
pub fn service(name: &str, app: &str, change: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": app}, "ports": [{"port": 80, "targetPort": 8080}]},
    });
    merge(&mut object["spec"], change);
    object
}

/// A JSON merge patch.
pub fn merge(into: &mut Value, patch: &Value) {
    match patch {
        Value::Object(keys) => {
            if !into.is_object() {
                *into = json!({});
            }
            for (key, value) in keys {
                if value.is_null() {
                    into.as_object_mut().unwrap().remove(key);
                } else {
                    merge(&mut into[key], value);
                }
            }
        }
        other => *into = other.clone(),
    }
}
