//! What the real API server takes and the sandbox refuses, because it could not keep what it says: one table for all
//! kinds. Each entry is in docs/sandbox-fidelity.md.
//!
//! Taken although it has no effect, since the programs here are processes and no containers: what only confines
//! (security contexts, `hostPID`, `hostIPC`, `shareProcessNamespace`), what only prepares an image
//! (`imagePullSecrets`), resource limits as limits, `dnsConfig`, mounts of volumes at their paths, and `hostPort` as
//! more than a claim on the node that the scheduler keeps free.

use serde_json::Value;

use super::json::{items, text, way_to_pod_spec};
use crate::sandbox::{error::ApiError, kinds::Kind};

/// The volumes that pods may have.
const VOLUMES: [&str; 7] =
    ["configMap", "downwardAPI", "emptyDir", "hostPath", "persistentVolumeClaim", "projected", "secret"];

/// What of a projected volume is served.
const PROJECTIONS: [&str; 4] = ["configMap", "downwardAPI", "secret", "serviceAccountToken"];

/// Members of pod specs that are refused where they are there at all.
const OF_PODS: [(&str, &str); 3] = [
    ("hostAliases", "hostAliases: names are resolved as on the host"),
    ("resourceClaims", "resourceClaims: there are no devices"),
    ("resources", "resources of whole pods"),
];

/// Members of containers that are refused where they are there at all.
const OF_CONTAINERS: [(&str, &str); 1] = [("volumeDevices", "volumeDevices: there are no block devices")];

/// Members of the specs of other kinds that are refused where they are there at all.
const OF_SPECS: [(&str, &str, &str); 6] = [
    ("PersistentVolumeClaim", "dataSource", "claims with a dataSource"),
    ("PersistentVolumeClaim", "dataSourceRef", "claims with a dataSourceRef"),
    ("PersistentVolumeClaim", "volumeAttributesClassName", "claims with a volumeAttributesClassName"),
    ("Service", "externalIPs", "Services with externalIPs"),
    ("Service", "loadBalancerSourceRanges", "Services with loadBalancerSourceRanges"),
    ("Service", "trafficDistribution", "Services with a trafficDistribution"),
];

/// Values in the specs of other kinds that are refused.
const OF_VALUES: [(&str, &str, &str, &str); 1] =
    [("PersistentVolumeClaim", "volumeMode", "Block", "claims of block devices")];

/// Whether an object asks for something that the sandbox does not serve.
///
/// # Errors
/// 501 with what it is.
pub fn check(kind: &Kind, value: &Value) -> Result<(), ApiError> {
    match first(kind, value) {
        Some(what) => Err(ApiError::not_in_the_sandbox(what)),
        None => Ok(()),
    }
}

fn first(kind: &Kind, value: &Value) -> Option<String> {
    let spec = value.get("spec")?;
    let member = OF_SPECS.iter().find(|(of, name, _)| *of == kind.kind && spec.get(name).is_some());
    let refused = OF_VALUES.iter().find(|(of, name, refused, _)| *of == kind.kind && text(spec, name) == *refused);
    if let Some(what) = member.map(|(.., what)| what).or(refused.map(|(.., what)| what)) {
        return Some((*what).to_owned());
    }
    let claims = items(spec, "volumeClaimTemplates");
    if let Some(what) = claims.iter().find_map(|claim| first(&crate::sandbox::kinds::PERSISTENT_VOLUME_CLAIM, claim)) {
        return Some(what);
    }
    of_pod(way_to_pod_spec(kind)?.iter().try_fold(value, |at, key| at.get(key))?)
}

fn of_pod(spec: &Value) -> Option<String> {
    if let Some((_, what)) = OF_PODS.iter().find(|(name, _)| spec.get(name).is_some()) {
        return Some((*what).to_owned());
    }
    if spec.get("hostNetwork") == Some(&Value::Bool(true)) {
        return Some("hostNetwork: each pod has an address of its own".to_owned());
    }
    if spec["os"]["name"] == "windows" {
        return Some("pods for Windows".to_owned());
    }
    let mut containers = ["initContainers", "containers"].into_iter().flat_map(|list| items(spec, list));
    containers.find_map(of_container).or_else(|| items(spec, "volumes").iter().find_map(of_volume))
}

fn of_container(container: &Value) -> Option<String> {
    if let Some((_, what)) = OF_CONTAINERS.iter().find(|(name, _)| container.get(name).is_some()) {
        return Some((*what).to_owned());
    }
    if items(container, "env").iter().any(|variable| variable["valueFrom"].get("fileKeyRef").is_some()) {
        return Some("fileKeyRef in env: volumes have no contents".to_owned());
    }
    let probes = ["livenessProbe", "readinessProbe", "startupProbe"].map(|probe| &container[probe]);
    if probes.iter().any(|probe| probe.get("grpc").is_some()) {
        return Some("gRPC probes".to_owned());
    }
    let hooks = ["postStart", "preStop"].map(|hook| &container["lifecycle"][hook]);
    let https = probes.iter().chain(&hooks).any(|asks| asks["httpGet"]["scheme"] == "HTTPS");
    https.then(|| "HTTPS probes and hooks".to_owned())
}

fn of_volume(volume: &Value) -> Option<String> {
    let mut sources = volume.as_object()?.keys().filter(|name| *name != "name");
    if let Some(source) = sources.find(|name| !VOLUMES.contains(&name.as_str())) {
        return Some(format!("volumes of the kind {source}"));
    }
    let mut projections = items(&volume["projected"], "sources").iter().filter_map(Value::as_object);
    let unknown = projections.find_map(|source| source.keys().find(|name| !PROJECTIONS.contains(&name.as_str())));
    unknown.map(|name| format!("projected volumes of the kind {name}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sandbox::kinds;

    #[test]
    fn what_would_change_the_outcome_is_refused_by_name() {
        let pod = |spec: Value| (&kinds::POD, spec);
        let template = |spec: Value| (&kinds::DEPLOYMENT, json!({"template": {"spec": spec}}));
        let table = [
            (pod(json!({"hostNetwork": true})), "hostNetwork: each pod has an address of its own"),
            (template(json!({"hostAliases": [{}]})), "hostAliases: names are resolved as on the host"),
            (
                pod(json!({"volumes": [{"name": "a", "emptyDir": {}}, {"name": "b", "nfs": {}}]})),
                "volumes of the kind nfs",
            ),
            (
                template(json!({"volumes": [{"name": "a", "projected": {"sources": [{"clusterTrustBundle": {}}]}}]})),
                "projected volumes of the kind clusterTrustBundle",
            ),
            (pod(json!({"containers": [{"livenessProbe": {"grpc": {"port": 1}}}]})), "gRPC probes"),
            (
                template(json!({"containers": [{"name": "a"}, {"readinessProbe": {"httpGet": {"scheme": "HTTPS"}}}]})),
                "HTTPS probes and hooks",
            ),
            (
                pod(json!({"containers": [{"lifecycle": {"preStop": {"httpGet": {"scheme": "HTTPS"}}}}]})),
                "HTTPS probes and hooks",
            ),
            (
                pod(json!({"containers": [{"env": [{"name": "A", "valueFrom": {"fileKeyRef": {"key": "a"}}}]}]})),
                "fileKeyRef in env",
            ),
            ((&kinds::SERVICE, json!({"externalIPs": ["10.0.0.1"]})), "Services with externalIPs"),
            (
                (&kinds::STATEFUL_SET, json!({"volumeClaimTemplates": [{"spec": {"volumeMode": "Block"}}]})),
                "claims of block devices",
            ),
        ];
        for ((kind, spec), what) in table {
            let error = check(kind, &json!({"spec": spec})).unwrap_err();
            assert_eq!((error.code, error.message.contains(what)), (501, true), "{}", error.message);
        }
    }

    #[test]
    fn what_only_confines_is_taken() {
        let spec = json!({
            "hostPID": true, "shareProcessNamespace": true, "imagePullSecrets": [{"name": "a"}], "hostNetwork": false,
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "a", "securityContext": {"privileged": true}, "ports": [{"hostPort": 80}],
                "readinessProbe": {"httpGet": {"port": 80, "scheme": "HTTP"}}}],
            "volumes": VOLUMES.iter().map(|kind| json!({"name": "a", *kind: {}})).collect::<Vec<_>>(),
        });
        assert_eq!(check(&kinds::POD, &json!({"spec": spec})), Ok(()));
        assert_eq!(check(&kinds::SERVICE, &json!({"spec": {"sessionAffinity": "ClientIP"}})), Ok(()));
        assert_eq!(check(&kinds::CONFIG_MAP, &json!({"data": {}})), Ok(()));
    }
}
