//! Defaults of pods and pod templates (k/pkg/apis/core/v1/defaults.go, v1.34.4).

use serde_json::{Value, json};

use super::super::json::{default_to, each, object_at, remove, text};

/// The mode of files in volumes, 0644.
const FILE_MODE: i32 = 0o644;

/// What pod specs get wherever they are.
pub(super) fn spec(spec: &mut Value) {
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        each(spec, list).for_each(container);
    }
    each(spec, "volumes").for_each(volume);
    // `serviceAccount` is the former name of the same field; Go writes both.
    let accounts = (text(spec, "serviceAccountName").to_owned(), text(spec, "serviceAccount").to_owned());
    match accounts {
        (name, _) if !name.is_empty() => {
            if let Some(map) = spec.as_object_mut() {
                map.insert("serviceAccount".to_owned(), json!(name));
            }
        }
        (_, former) if !former.is_empty() => default_to(spec, "serviceAccountName", former),
        _ => drop(remove(spec, "serviceAccount")),
    }
    default_to(spec, "dnsPolicy", "ClusterFirst");
    default_to(spec, "restartPolicy", "Always");
    default_to(spec, "securityContext", json!({}));
    default_to(spec, "terminationGracePeriodSeconds", 30);
    default_to(spec, "schedulerName", "default-scheduler");
}

/// What pods get and templates don't.
pub(super) fn pod(pod: &mut Value) {
    let Some(spec) = pod.get_mut("spec").filter(|spec| spec.is_object()) else { return };
    let host_network = spec["hostNetwork"] == true;
    for list in ["containers", "initContainers"] {
        for container in each(spec, list) {
            if let Some(resources) = container.get_mut("resources") {
                requests_from_limits(resources);
            }
            if host_network {
                for port in each(container, "ports") {
                    let number = port["containerPort"].clone();
                    default_to(port, "hostPort", number);
                }
            }
        }
    }
    default_to(spec, "enableServiceLinks", true);
}

fn requests_from_limits(resources: &mut Value) {
    let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() else { return };
    let Some(requests) = object_at(resources, "requests") else { return };
    for (name, amount) in limits {
        default_to(requests, &name, amount);
    }
}

fn container(container: &mut Value) {
    let policy = if is_latest(text(container, "image")) { "Always" } else { "IfNotPresent" };
    default_to(container, "resources", json!({}));
    default_to(container, "imagePullPolicy", policy);
    default_to(container, "terminationMessagePath", "/dev/termination-log");
    default_to(container, "terminationMessagePolicy", "File");
    each(container, "ports").for_each(|port| default_to(port, "protocol", "TCP"));
    for variable in each(container, "env") {
        if let Some(source) = variable.get_mut("valueFrom") {
            field_reference(source);
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.get_mut(name) {
            default_to(probe, "timeoutSeconds", 1);
            default_to(probe, "periodSeconds", 10);
            default_to(probe, "successThreshold", 1);
            default_to(probe, "failureThreshold", 3);
            http_get(probe);
            if let Some(grpc) = probe.get_mut("grpc").and_then(Value::as_object_mut) {
                grpc.entry("service").or_insert_with(|| json!(""));
            }
        }
    }
    for name in ["postStart", "preStop"] {
        if let Some(hook) = container.get_mut("lifecycle").and_then(|lifecycle| lifecycle.get_mut(name)) {
            http_get(hook);
        }
    }
}

fn http_get(around: &mut Value) {
    if let Some(get) = around.get_mut("httpGet") {
        default_to(get, "path", "/");
        default_to(get, "scheme", "HTTP");
    }
}

fn field_reference(around: &mut Value) {
    if let Some(reference) = around.get_mut("fieldRef") {
        default_to(reference, "apiVersion", "v1");
    }
}

/// Whether an image is named by the tag `latest`, or by none and no digest (k/pkg/util/parsers/parsers.go).
fn is_latest(image: &str) -> bool {
    let (name, digest) = image.split_once('@').map_or((image, false), |(name, _)| (name, true));
    let last = name.rsplit('/').next().unwrap_or(name);
    match last.split_once(':') {
        Some((_, tag)) => tag == "latest",
        None => !digest,
    }
}

fn volume(volume: &mut Value) {
    let Some(map) = volume.as_object_mut() else { return };
    if map.keys().all(|key| key == "name") {
        map.insert("emptyDir".to_owned(), json!({}));
    }
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = volume.get_mut(source) {
            default_to(source, "defaultMode", FILE_MODE);
        }
    }
    if let Some(path) = volume.get_mut("hostPath").and_then(Value::as_object_mut) {
        path.entry("type").or_insert_with(|| json!(""));
    }
    if let Some(source) = volume.get_mut("downwardAPI") {
        each(source, "items").for_each(field_reference);
    }
    for source in volume.get_mut("projected").into_iter().flat_map(|projected| each(projected, "sources")) {
        if let Some(token) = source.get_mut("serviceAccountToken") {
            default_to(token, "expirationSeconds", 3600);
        }
        if let Some(source) = source.get_mut("downwardAPI") {
            each(source, "items").for_each(field_reference);
        }
    }
}
