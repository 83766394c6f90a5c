//! The environment of a container: its own variables, those from `ConfigMaps`, Secrets and the pod's fields, those of the
//! Services there are, and `$(NAME)` in all of them
//! (`k/pkg/kubelet/kubelet_pods.go` makeEnvironmentVariables, k/pkg/kubelet/envvars, v1.34.4).

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{ConfigMap, Container, EnvVarSource, Node, Pod, ResourceFieldSelector, Secret, Service},
    apimachinery::pkg::api::resource::Quantity as Amount,
};

use crate::{model::quantity::Quantity, sandbox::registry::Registry};

/// What the pod's fields can say about where it runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// `status.podIP`.
    pub pod_ip: String,
    /// `status.hostIP`.
    pub host_ip: String,
}

/// The variables of a container, in order.
///
/// # Errors
/// What is missing, in the kubelet's words: `CreateContainerConfigError`.
pub fn variables(
    registry: &Registry,
    pod: &Pod,
    container: &Container,
    place: &Place,
) -> Result<Vec<(String, String)>, String> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let mut services = BTreeMap::new();
    let links = pod.spec.as_ref().and_then(|spec| spec.enable_service_links).unwrap_or(true);
    for service in services_seen_from(registry, namespace, links) {
        services.extend(of_service(&service));
    }
    let mut result: BTreeMap<String, String> = BTreeMap::new();
    from_sources(registry, namespace, container, &mut result)?;
    for variable in container.env.iter().flatten() {
        let value = match (&variable.value, &variable.value_from) {
            (Some(value), _) if !value.is_empty() => {
                expand(value, &|name| result.get(name).or_else(|| services.get(name)).cloned())
            }
            (_, Some(source)) => match from_source(registry, pod, container, source, place)? {
                Some(value) => value,
                None => continue,
            },
            _ => String::new(),
        };
        result.insert(variable.name.clone(), value);
    }
    // A variable of the container wins over a Service's of the same name.
    services.extend(result);
    Ok(services.into_iter().collect())
}

fn from_sources(
    registry: &Registry,
    namespace: &str,
    container: &Container,
    result: &mut BTreeMap<String, String>,
) -> Result<(), String> {
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.clone().unwrap_or_default();
        if let Some(wanted) = &source.config_map_ref {
            match registry.find::<ConfigMap>(namespace, &wanted.name) {
                Some(found) => {
                    let data = found.data.clone().unwrap_or_default();
                    result.extend(data.into_iter().map(|(key, value)| (format!("{prefix}{key}"), value)));
                }
                None if wanted.optional == Some(true) => {}
                None => return Err(format!("configmap {:?} not found", wanted.name)),
            }
        }
        if let Some(wanted) = &source.secret_ref {
            match registry.find::<Secret>(namespace, &wanted.name) {
                Some(found) => {
                    let data = found.data.clone().unwrap_or_default();
                    result.extend(data.into_iter().map(|(key, value)| (format!("{prefix}{key}"), text(&value.0))));
                }
                None if wanted.optional == Some(true) => {}
                None => return Err(format!("secret {:?} not found", wanted.name)),
            }
        }
    }
    Ok(())
}

fn from_source(
    registry: &Registry,
    pod: &Pod,
    container: &Container,
    source: &EnvVarSource,
    place: &Place,
) -> Result<Option<String>, String> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    if let Some(field) = &source.field_ref {
        return field_of(pod, &field.field_path, place).map(Some);
    }
    if let Some(key) = &source.config_map_key_ref {
        let optional = key.optional == Some(true);
        let Some(found) = registry.find::<ConfigMap>(namespace, &key.name) else {
            return if optional { Ok(None) } else { Err(format!("configmap {:?} not found", key.name)) };
        };
        let value = found.data.as_ref().and_then(|data| data.get(&key.key)).cloned();
        return match value {
            None if !optional => Err(format!("couldn't find key {} in ConfigMap {namespace}/{}", key.key, key.name)),
            value => Ok(value),
        };
    }
    if let Some(key) = &source.secret_key_ref {
        let optional = key.optional == Some(true);
        let Some(found) = registry.find::<Secret>(namespace, &key.name) else {
            return if optional { Ok(None) } else { Err(format!("secret {:?} not found", key.name)) };
        };
        let value = found.data.as_ref().and_then(|data| data.get(&key.key)).map(|value| text(&value.0));
        return match value {
            None if !optional => Err(format!("couldn't find key {} in Secret {namespace}/{}", key.key, key.name)),
            value => Ok(value),
        };
    }
    if let Some(wanted) = &source.resource_field_ref {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        let node = node.and_then(|name| registry.find::<Node>("", name));
        let status = node.as_ref().and_then(|node| node.status.as_ref());
        return resource_of(pod, container, wanted, status.and_then(|status| status.allocatable.as_ref())).map(Some);
    }
    Err("the evenkeel sandbox does not serve fileKeyRef in env; see docs/sandbox-fidelity.md".to_owned())
}

/// A container's limit or request in units of the divisor, rounded up; where a limit is absent or nothing, what the
/// node has (k/pkg/api/v1/resource/helpers.go `ExtractContainerResourceValue` and `MergeContainerResourceLimits`,
/// `k/pkg/kubelet/kubelet_resources.go`).
fn resource_of(
    pod: &Pod,
    container: &Container,
    wanted: &ResourceFieldSelector,
    allocatable: Option<&BTreeMap<String, Amount>>,
) -> Result<String, String> {
    let named = wanted.container_name.as_deref().filter(|name| !name.is_empty());
    let container = match (named, &pod.spec) {
        (Some(name), Some(spec)) => spec
            .containers
            .iter()
            .chain(spec.init_containers.iter().flatten())
            .find(|known| known.name == name)
            .ok_or_else(|| format!("container {name} not found"))?,
        _ => container,
    };
    let unsupported = || format!("unsupported container resource : {}", wanted.resource);
    let (list, resource) = wanted.resource.split_once('.').ok_or_else(unsupported)?;
    let of_nodes = matches!(resource, "cpu" | "memory" | "ephemeral-storage");
    if !of_nodes && !resource.starts_with("hugepages-") {
        return Err(unsupported());
    }
    let read = |amount: &Amount| amount.0.parse::<Quantity>().ok();
    let amount_in = |list: Option<&BTreeMap<String, Amount>>| list.and_then(|list| list.get(resource)).and_then(read);
    let resources = container.resources.as_ref();
    let amount = match list {
        "limits" => amount_in(resources.and_then(|resources| resources.limits.as_ref()))
            .filter(|limit| !limit.is_zero())
            .or_else(|| if of_nodes { amount_in(allocatable) } else { None }),
        "requests" => amount_in(resources.and_then(|resources| resources.requests.as_ref())),
        _ => return Err(unsupported()),
    };
    let amount = amount.unwrap_or(Quantity::ZERO);
    let divisor = wanted.divisor.as_ref().and_then(read).filter(|divisor| !divisor.is_zero());
    let divisor = divisor.unwrap_or(Quantity::whole(1));
    let (amount, divisor) = if resource == "cpu" {
        (amount.milli_value(), divisor.milli_value())
    } else {
        (amount.value(), divisor.value())
    };
    // Amounts are not negative, and a divisor that is not nothing is at least one.
    Ok((i128::from(amount) + i128::from(divisor) - 1).div_euclid(i128::from(divisor.max(1))).to_string())
}

/// A field of the pod by its path (k/pkg/fieldpath and podFieldSelectorRuntimeValue).
fn field_of(pod: &Pod, path: &str, place: &Place) -> Result<String, String> {
    let metadata = &pod.metadata;
    let spec = pod.spec.as_ref();
    let of_map = |map: &Option<BTreeMap<String, String>>, key: &str| {
        map.as_ref().and_then(|map| map.get(key)).cloned().unwrap_or_default()
    };
    let subscript = |name: &str| path.strip_prefix(name)?.strip_prefix("['")?.strip_suffix("']");
    if let Some(key) = subscript("metadata.labels") {
        return Ok(of_map(&metadata.labels, key));
    }
    if let Some(key) = subscript("metadata.annotations") {
        return Ok(of_map(&metadata.annotations, key));
    }
    let value = match path {
        "metadata.name" => metadata.name.clone(),
        "metadata.namespace" => metadata.namespace.clone(),
        "metadata.uid" => metadata.uid.clone(),
        "spec.nodeName" => spec.and_then(|spec| spec.node_name.clone()),
        "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.clone()),
        "status.hostIP" | "status.hostIPs" => Some(place.host_ip.clone()),
        "status.podIP" | "status.podIPs" => Some(place.pod_ip.clone()),
        _ => return Err(format!("unsupported fieldPath: {path}")),
    };
    Ok(value.unwrap_or_default())
}

/// The Services that a container hears of: those of its namespace, and the API's own.
fn services_seen_from(registry: &Registry, namespace: &str, links: bool) -> Vec<std::sync::Arc<Service>> {
    let mut seen: Vec<_> = registry.find::<Service>("default", "kubernetes").into_iter().collect();
    if links {
        let own = registry.all::<Service>(Some(namespace)).into_iter();
        seen.extend(
            own.filter(|service| service.metadata.name.as_deref() != Some("kubernetes") || namespace != "default"),
        );
    }
    seen
}

/// The variables that stand for a Service, among them those of Docker's old links.
fn of_service(service: &Service) -> Vec<(String, String)> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let address = match spec.cluster_ip.as_deref() {
        None | Some("" | "None") => return Vec::new(),
        Some(address) => address,
    };
    let ports = spec.ports.as_deref().unwrap_or_default();
    let Some(first) = ports.first() else { return Vec::new() };
    let upper = |text: &str| text.replace('-', "_").to_uppercase();
    let name = upper(service.metadata.name.as_deref().unwrap_or_default());
    let mut all = vec![
        (format!("{name}_SERVICE_HOST"), address.to_owned()),
        (format!("{name}_SERVICE_PORT"), first.port.to_string()),
    ];
    for port in ports {
        if let Some(port_name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            all.push((format!("{name}_SERVICE_PORT_{}", upper(port_name)), port.port.to_string()));
        }
    }
    for (at, port) in ports.iter().enumerate() {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let url = format!("{}://{address}:{}", protocol.to_lowercase(), port.port);
        let prefix = format!("{name}_PORT_{}_{}", port.port, protocol.to_uppercase());
        if at == 0 {
            all.push((format!("{name}_PORT"), url.clone()));
        }
        all.extend([
            (prefix.clone(), url),
            (format!("{prefix}_PROTO"), protocol.to_lowercase()),
            (format!("{prefix}_PORT"), port.port.to_string()),
            (format!("{prefix}_ADDR"), address.to_owned()),
        ]);
    }
    all
}

/// Replaces `$(NAME)` by the variable's value where there is one; `$$` is a dollar sign
/// (`k/third_party/forked/golang/expansion`).
#[must_use]
pub fn expand(text: &str, value: &dyn Fn(&str) -> Option<String>) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        result.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(escaped) = after.strip_prefix('$') {
            result.push('$');
            rest = escaped;
        } else if let Some((name, behind)) = after.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            if let Some(value) = value(name) {
                result.push_str(&value);
            } else {
                result.push_str("$(");
                result.push_str(name);
                result.push(')');
            }
            rest = behind;
        } else {
            result.push('$');
            rest = after;
        }
    }
    result.push_str(rest);
    result
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn names_in_parentheses_are_replaced() {
        let value = |name: &str| (name == "A").then(|| "x".to_owned());
        for (text, wanted) in [
            ("$(A)-$(B)", "x-$(B)"),
            ("$$(A)", "$(A)"),
            ("$A $", "$A $"),
            ("$(A", "$(A"),
            ("$$$(A)", "$x"),
            ("plain", "plain"),
        ] {
            assert_eq!(expand(text, &value), wanted, "{text}");
        }
    }

    #[test]
    fn a_service_gives_its_variables() {
        let service: Service = from_value(json!({
            "metadata": {"name": "my-shop"},
            "spec": {"clusterIP": "10.96.0.7", "ports": [{"name": "web", "port": 80}, {"port": 443}]},
        }))
        .unwrap();
        let all: BTreeMap<String, String> = of_service(&service).into_iter().collect();
        assert_eq!(all["MY_SHOP_SERVICE_HOST"], "10.96.0.7");
        assert_eq!(all["MY_SHOP_SERVICE_PORT"], "80");
        assert_eq!(all["MY_SHOP_SERVICE_PORT_WEB"], "80");
        assert_eq!(all["MY_SHOP_PORT"], "tcp://10.96.0.7:80");
        assert_eq!(all["MY_SHOP_PORT_443_TCP_ADDR"], "10.96.0.7");
        let headless: Service =
            from_value(json!({"metadata": {"name": "h"}, "spec": {"clusterIP": "None", "ports": [{"port": 1}]}}))
                .unwrap();
        assert!(of_service(&headless).is_empty());
    }

    #[test]
    fn resources_are_told_in_units_of_the_divisor_and_rounded_up() {
        let pod: Pod = from_value(json!({
            "metadata": {"name": "p", "namespace": "n"},
            "spec": {
                "initContainers": [{"name": "first", "resources": {"limits": {"memory": "1Gi"}}}],
                "containers": [
                    {"name": "main", "resources": {"requests": {"cpu": "250m"}, "limits": {"cpu": "1500m"}}},
                    {"name": "side", "resources": {"limits": {"memory": "64Mi", "ephemeral-storage": "0"}}},
                ],
            },
        }))
        .unwrap();
        let node: BTreeMap<String, Amount> =
            from_value(json!({"cpu": "4", "memory": "8Gi", "ephemeral-storage": "10Gi"})).unwrap();
        let container = &pod.spec.as_ref().unwrap().containers[0];
        let told = |wanted: serde_json::Value| resource_of(&pod, container, &from_value(wanted).unwrap(), Some(&node));
        for (wanted, value) in [
            (json!({"resource": "limits.cpu"}), "2"),
            (json!({"resource": "limits.cpu", "divisor": "0"}), "2"),
            (json!({"resource": "limits.cpu", "divisor": "1m"}), "1500"),
            (json!({"resource": "requests.cpu", "divisor": "100m"}), "3"),
            (json!({"resource": "requests.memory"}), "0"),
            (json!({"resource": "limits.memory", "divisor": "1Mi"}), "8192"),
            (json!({"resource": "limits.memory", "containerName": "side"}), "67108864"),
            (json!({"resource": "limits.memory", "containerName": "side", "divisor": "1G"}), "1"),
            (json!({"resource": "limits.cpu", "containerName": "side"}), "4"),
            (json!({"resource": "limits.memory", "containerName": "first", "divisor": "1Gi"}), "1"),
            (json!({"resource": "limits.ephemeral-storage", "containerName": "side", "divisor": "1Gi"}), "10"),
            (json!({"resource": "limits.hugepages-2Mi"}), "0"),
        ] {
            assert_eq!(told(wanted.clone()).as_deref(), Ok(value), "{wanted}");
        }
        let missing = told(json!({"resource": "limits.cpu", "containerName": "none"}));
        assert_eq!(missing.unwrap_err(), "container none not found");
        assert!(told(json!({"resource": "limits.pods"})).is_err());
    }

    #[test]
    fn fields_of_the_pod_are_found_by_their_paths() {
        let pod: Pod = from_value(json!({
            "metadata": {"name": "p", "namespace": "n", "labels": {"a/b": "c"}},
            "spec": {"nodeName": "node-1", "containers": []},
        }))
        .unwrap();
        let place = Place { pod_ip: "127.64.1.1".to_owned(), host_ip: "127.63.1.1".to_owned() };
        for (path, wanted) in [
            ("metadata.name", "p"),
            ("metadata.labels['a/b']", "c"),
            ("metadata.annotations['none']", ""),
            ("spec.nodeName", "node-1"),
            ("status.podIP", "127.64.1.1"),
            ("status.hostIP", "127.63.1.1"),
        ] {
            assert_eq!(field_of(&pod, path, &place).as_deref(), Ok(wanted), "{path}");
        }
        assert!(field_of(&pod, "spec.tolerations", &place).is_err());
    }
}
