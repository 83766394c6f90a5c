//! Addresses and ports of Services (k/pkg/registry/core/service/storage/{alloc,storage}.go,
//! k/pkg/registry/core/service/strategy.go, v1.34.4). The sandbox has IPv4 alone.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::{
    super::json::{each, is_absent, items, remove, text},
    Holding,
};
use crate::sandbox::error::{ApiError, FieldError};

/// Gives a new Service what it does not name itself.
pub(super) fn on_create(free: &mut Holding<'_>, service: &mut Value) -> Result<(), ApiError> {
    let name = text(&service["metadata"], "name").to_owned();
    let Some(spec) = service.get_mut("spec").filter(|spec| spec.is_object()) else { return Ok(()) };
    if !text(spec, "clusterIP").is_empty() && items(spec, "clusterIPs").is_empty() {
        spec["clusterIPs"] = json!([text(spec, "clusterIP")]);
    }
    families(spec, None, &name)?;
    addresses(free, spec, &name)?;
    if has_node_ports(spec) {
        node_ports(free, spec, &name)?;
    }
    health_check_port(free, spec)
}

fn has_node_ports(spec: &Value) -> bool {
    matches!(text(spec, "type"), "NodePort" | "LoadBalancer")
}

fn has_address(spec: &Value) -> bool {
    text(spec, "type") != "ExternalName"
}

fn is_headless(spec: &Value) -> bool {
    items(spec, "clusterIPs").first().is_some_and(|first| first == "None")
}

fn invalid(name: &str, field: impl Into<String>, value: &Value, why: impl Into<String>) -> ApiError {
    ApiError::invalid("", "Service", name, &[FieldError::invalid(field, value, why)])
}

/// `ipFamilies` and `ipFamilyPolicy`.
fn families(spec: &mut Value, old: Option<&Value>, name: &str) -> Result<(), ApiError> {
    if !has_address(spec) {
        return Ok(());
    }
    let unselected = text(spec, "clusterIP") == "None"
        && spec.get("selector").and_then(Value::as_object).is_none_or(serde_json::Map::is_empty);
    if is_absent(spec.get("ipFamilyPolicy")) {
        let before = old.map(|old| text(old, "ipFamilyPolicy")).filter(|policy| !policy.is_empty());
        let policy = before.unwrap_or(if unselected { "RequireDualStack" } else { "SingleStack" });
        spec["ipFamilyPolicy"] = json!(policy);
    }
    let policy = text(spec, "ipFamilyPolicy").to_owned();
    if policy == "SingleStack" {
        for (member, what) in [("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families")] {
            if items(spec, member).len() == 2 {
                let why = format!("must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified");
                return Err(invalid(name, "spec.ipFamilyPolicy", &json!(policy), why));
            }
        }
    }
    if unselected {
        if items(spec, "ipFamilies").is_empty() {
            spec["ipFamilies"] = json!(["IPv4"]);
        }
        if items(spec, "ipFamilies").len() < 2 && policy != "SingleStack" {
            let first = spec["ipFamilies"][0].clone();
            let other = if first == "IPv4" { "IPv6" } else { "IPv4" };
            spec["ipFamilies"] = json!([first, other]);
        }
        return Ok(());
    }
    if policy == "RequireDualStack" {
        let why = "this cluster is not configured for dual-stack services";
        return Err(invalid(name, "spec.ipFamilyPolicy", &json!(policy), why));
    }
    if let Some(at) = items(spec, "ipFamilies").iter().position(|family| family == "IPv6") {
        return Err(invalid(name, format!("spec.ipFamilies[{at}]"), &json!("IPv6"), "not configured on this cluster"));
    }
    if items(spec, "ipFamilies").is_empty() {
        spec["ipFamilies"] = json!(["IPv4"]);
    }
    Ok(())
}

/// `clusterIP` and `clusterIPs`.
fn addresses(free: &mut Holding<'_>, spec: &mut Value, name: &str) -> Result<(), ApiError> {
    if !has_address(spec) || is_headless(spec) {
        return Ok(());
    }
    let wanted = items(spec, "clusterIPs").first().and_then(Value::as_str).unwrap_or_default().to_owned();
    if wanted.is_empty() {
        let given =
            free.give_address().map_err(|why| ApiError::internal(format!("failed to allocate a serviceIP: {why}")))?;
        spec["clusterIP"] = json!(given.to_string());
        spec["clusterIPs"] = json!([given.to_string()]);
        return Ok(());
    }
    free.take_address(&wanted).map_err(|why| {
        let shown = spec["clusterIPs"].clone();
        invalid(name, "spec.clusterIPs", &shown, format!("failed to allocate IP {wanted}: {why}"))
    })
}

fn wants_node_ports(spec: &Value) -> bool {
    text(spec, "type") != "LoadBalancer" || spec.get("allocateLoadBalancerNodePorts") != Some(&json!(false))
}

/// Node ports of a new Service: the same number for the same port under several protocols.
fn node_ports(free: &mut Holding<'_>, spec: &mut Value, name: &str) -> Result<(), ApiError> {
    let wants = wants_node_ports(spec);
    let requested: Vec<(i64, i64)> = items(spec, "ports")
        .iter()
        .map(|port| (port["port"].as_i64().unwrap_or(0), port["nodePort"].as_i64().unwrap_or(0)))
        .collect();
    let mut given: HashMap<i64, i64> = HashMap::new();
    for (index, port) in each(spec, "ports").enumerate() {
        let own = port["nodePort"].as_i64().unwrap_or(0);
        if own == 0 && !wants {
            continue;
        }
        let number = port["port"].as_i64().unwrap_or(0);
        let take = |free: &mut Holding<'_>, wanted: i64| {
            let field = format!("spec.ports[{index}].nodePort");
            free.take_port(wanted).map_err(|why| invalid(name, field, &json!(wanted), why))
        };
        let node_port = match given.get(&number) {
            None => {
                let asked = requested.iter().find(|(of, asked)| *of == number && *asked != 0).map(|(_, asked)| *asked);
                let node_port = match asked {
                    Some(asked) => take(free, asked).map(|()| asked)?,
                    None => give_port(free)?,
                };
                given.insert(number, node_port);
                node_port
            }
            Some(known) if own == 0 || own == *known => *known,
            Some(_) => take(free, own).map(|()| own)?,
        };
        set(port, "nodePort", node_port);
    }
    Ok(())
}

fn give_port(free: &mut Holding<'_>) -> Result<i64, ApiError> {
    let port = free.give_port().map_err(|why| ApiError::internal(format!("failed to allocate a nodePort: {why}")))?;
    Ok(i64::from(port))
}

fn set(value: &mut Value, key: &str, to: impl Into<Value>) {
    if let Some(map) = value.as_object_mut() {
        map.insert(key.to_owned(), to.into());
    }
}

fn needs_health_check(spec: &Value) -> bool {
    text(spec, "type") == "LoadBalancer" && text(spec, "externalTrafficPolicy") == "Local"
}

fn health_check_port(free: &mut Holding<'_>, spec: &mut Value) -> Result<(), ApiError> {
    if !needs_health_check(spec) {
        return Ok(());
    }
    if let Some(wanted) = spec["healthCheckNodePort"].as_i64().filter(|port| *port != 0) {
        return free.take_port(wanted).map_err(|why| {
            ApiError::internal(format!("failed to allocate requested HealthCheck NodePort {wanted}: {why}"))
        });
    }
    let port = give_port(free)?;
    set(spec, "healthCheckNodePort", port);
    Ok(())
}

/// Keeps what a Service has been given, gives what its new type needs, and takes away what that does not.
pub(super) fn on_update(free: &mut Holding<'_>, old: &Value, service: &mut Value) -> Result<(), ApiError> {
    let name = text(&service["metadata"], "name").to_owned();
    let old = &old["spec"];
    let Some(spec) = service.get_mut("spec").filter(|spec| spec.is_object()) else { return Ok(()) };
    keep(old, spec);
    sync_addresses(old, spec);
    families(spec, Some(old), &name)?;
    if has_address(spec) && !has_address(old) {
        addresses(free, spec, &name)?;
    }
    if has_node_ports(spec) {
        changed_node_ports(free, old, spec, &name)?;
    }
    if !needs_health_check(old) {
        health_check_port(free, spec)?;
    }
    drop_by_type(old, spec);
    if text(spec, "type") != "LoadBalancer" {
        set(service, "status", json!({"loadBalancer": {}}));
    }
    Ok(())
}

/// A client need not repeat what it was given.
fn keep(old: &Value, spec: &mut Value) {
    if has_address(old) && has_address(spec) {
        for member in ["clusterIP", "clusterIPs"] {
            if is_absent(spec.get(member)) && !is_absent(old.get(member)) {
                set(spec, member, old[member].clone());
            }
        }
    }
    if has_node_ports(old) && has_node_ports(spec) {
        let of = |spec: &Value| -> Vec<i64> {
            items(spec, "ports").iter().filter_map(|port| port["nodePort"].as_i64()).filter(|port| *port != 0).collect()
        };
        let (before, now) = (of(old), of(spec));
        let by_name: HashMap<&str, i64> = items(old, "ports")
            .iter()
            .map(|port| (text(port, "name"), port["nodePort"].as_i64().unwrap_or(0)))
            .collect();
        for port in each(spec, "ports").filter(|port| port["nodePort"].as_i64().unwrap_or(0) == 0) {
            let known = by_name.get(text(port, "name")).copied().unwrap_or(0);
            let used = before.contains(&known) && now.contains(&known);
            if known != 0 && !used {
                set(port, "nodePort", known);
            }
        }
    }
    if needs_health_check(old) && needs_health_check(spec) && spec["healthCheckNodePort"].as_i64().unwrap_or(0) == 0 {
        set(spec, "healthCheckNodePort", old["healthCheckNodePort"].clone());
    }
}

/// Of `clusterIP` and `clusterIPs` a client may change one alone (`normalizeClusterIPs`).
fn sync_addresses(old: &Value, spec: &mut Value) {
    let (one, before) = (text(spec, "clusterIP").to_owned(), text(old, "clusterIP"));
    if one == before || items(old, "clusterIPs") != items(spec, "clusterIPs") {
        if !one.is_empty() && items(spec, "clusterIPs").is_empty() {
            set(spec, "clusterIPs", json!([one]));
        }
        return;
    }
    if one.is_empty() {
        remove(spec, "clusterIPs");
    } else {
        set(spec, "clusterIPs", json!([one]));
    }
}

fn changed_node_ports(free: &mut Holding<'_>, old: &Value, spec: &mut Value, name: &str) -> Result<(), ApiError> {
    let wants = wants_node_ports(spec);
    let mut own: Vec<i64> = items(old, "ports").iter().filter_map(|port| port["nodePort"].as_i64()).collect();
    let mut seen: Vec<(String, i64)> = Vec::new();
    for (index, port) in each(spec, "ports").enumerate() {
        let wanted = port["nodePort"].as_i64().unwrap_or(0);
        if wanted == 0 && !wants {
            continue;
        }
        let node_port = if wanted == 0 {
            let given = give_port(free)?;
            set(port, "nodePort", given);
            given
        } else {
            if !own.contains(&wanted) {
                let field = format!("spec.ports[{index}].nodePort");
                free.take_port(wanted).map_err(|why| invalid(name, field, &json!(wanted), why))?;
                own.push(wanted);
            }
            wanted
        };
        let key = (text(port, "protocol").to_owned(), node_port);
        if seen.contains(&key) {
            return Err(ApiError::internal(format!("duplicate nodePort: {{{} {}}}", key.0, key.1)));
        }
        seen.push(key);
    }
    Ok(())
}

/// What the old type had and the new one does not need goes, unless the client changes it too
/// (`dropTypeDependentFields`).
fn drop_by_type(old: &Value, spec: &mut Value) {
    let mut gone = Vec::new();
    if has_address(old) && !has_address(spec) {
        gone.extend(["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"]);
    }
    if text(old, "type") == "LoadBalancer" && text(spec, "type") != "LoadBalancer" {
        gone.extend(["allocateLoadBalancerNodePorts", "loadBalancerClass"]);
    }
    if needs_health_check(old) && !needs_health_check(spec) {
        gone.push("healthCheckNodePort");
    }
    let reachable = |spec: &Value| has_node_ports(spec) || !items(spec, "externalIPs").is_empty();
    if reachable(old) && !reachable(spec) {
        gone.push("externalTrafficPolicy");
    }
    for member in gone {
        if old.get(member) == spec.get(member) {
            remove(spec, member);
        }
    }
    if has_node_ports(old) && !has_node_ports(spec) {
        let before: Vec<&Value> = items(old, "ports").iter().map(|port| &port["nodePort"]).collect();
        let added = items(spec, "ports")
            .iter()
            .map(|port| &port["nodePort"])
            .any(|port| !port.is_null() && !before.contains(&port));
        if !added {
            each(spec, "ports").for_each(|port| drop(remove(port, "nodePort")));
        }
    }
}
