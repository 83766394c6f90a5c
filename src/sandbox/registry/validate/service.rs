//! Services, Endpoints and `EndpointSlices` (k/pkg/apis/{core,discovery}/validation/validation.go, v1.34.4).
//!
//! One rule of upstream's is left out: endpoints may be in the loopback range, where the sandbox's pods are.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::{
    field::{Errors, Field, complain, immutable, one_of},
    metadata, pod, syntax,
};

const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

/// The longest that a client may stay with its endpoint.
const AFFINITY_MAX: i64 = 86_400;

/// The most endpoints of a slice.
const ENDPOINTS_MAX: usize = 1000;

/// The most addresses of an endpoint.
const ADDRESSES_MAX: usize = 100;

/// A Service's spec.
pub(super) fn service(object: &Field<'_>, old: Option<&Field<'_>>, errors: &mut Errors) {
    let spec = object.child("spec");
    if let Some(old) = old {
        kept_addresses(&spec, &old.child("spec"), errors);
    }
    let (kind, ports) = (spec.child("type"), spec.child("ports"));
    let headless = is_headless(&spec);
    if ports.is_empty() && !headless && kind.text() != "ExternalName" {
        errors.push(ports.required(""));
    }
    of_type(&spec, headless, errors);
    let mut seen = Vec::new();
    let several = ports.len() > 1;
    ports.each(|_, port| service_port(&port, several, &mut seen, errors));
    metadata::labels(&spec.child("selector"), errors);
    affinity(&spec, errors);
    addresses(&spec, errors);
    one_of(&kind, &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"], errors);
    unique_ports(&ports, kind.text(), errors);
    policies(&spec, errors);
}

fn is_headless(spec: &Field<'_>) -> bool {
    let all = spec.child("clusterIPs");
    all.len() == 1 && all.item(0).text() == "None"
}

fn of_type(spec: &Field<'_>, headless: bool, errors: &mut Errors) {
    let kind = spec.child("type");
    let (all, families, policy) = (spec.child("clusterIPs"), spec.child("ipFamilies"), spec.child("ipFamilyPolicy"));
    match kind.text() {
        "LoadBalancer" | "NodePort" if headless => {
            let detail = format!("may not be set to 'None' for {} services", kind.text());
            errors.push(all.item(0).invalid(detail));
        }
        "ExternalName" => {
            for field in [&all, &families, &policy] {
                if field.is_set() {
                    errors.push(field.forbidden("may not be set for ExternalName services"));
                }
            }
            let name = spec.child("externalName");
            let without_dot = name.text().strip_suffix('.').unwrap_or(name.text());
            if without_dot.is_empty() {
                errors.push(name.required(""));
            } else {
                complain(&name, syntax::dns_subdomain(without_dot), errors);
            }
        }
        _ => {}
    }
}

fn service_port(port: &Field<'_>, several: bool, seen: &mut Vec<String>, errors: &mut Errors) {
    let name = port.child("name");
    if !name.text().is_empty() {
        complain(&name, syntax::dns_label(name.text()), errors);
        if seen.contains(&name.text().to_owned()) {
            errors.push(name.duplicate());
        } else {
            seen.push(name.text().to_owned());
        }
    } else if several {
        errors.push(name.required(""));
    }
    let number = port.child("port");
    let shown = Value::from(number.int());
    errors.extend(syntax::port_number(number.int()).into_iter().map(|detail| number.with(&shown).invalid(detail)));
    one_of(&port.child("protocol"), &PROTOCOLS, errors);
    pod::port(&port.child("targetPort"), errors);
    let protocol = port.child("appProtocol");
    if protocol.is_set() {
        complain(&protocol, syntax::qualified_name(protocol.text()), errors);
    }
}

fn affinity(spec: &Field<'_>, errors: &mut Errors) {
    let affinity = spec.child("sessionAffinity");
    one_of(&affinity, &["ClientIP", "None"], errors);
    let config = spec.child("sessionAffinityConfig");
    match affinity.text() {
        "ClientIP" => {
            let client = config.child("clientIP");
            let timeout = client.child("timeoutSeconds");
            if !(1..=AFFINITY_MAX).contains(&timeout.int()) {
                let detail = format!("must be greater than 0 and less than {AFFINITY_MAX}");
                errors.push(timeout.invalid(detail));
            }
        }
        "None" if config.is_set() => errors.push(config.forbidden("must not be set when session affinity is None")),
        _ => {}
    }
}

fn addresses(spec: &Field<'_>, errors: &mut Errors) {
    if spec.child("type").text() == "ExternalName" {
        return;
    }
    let (one, all) = (spec.child("clusterIP"), spec.child("clusterIPs"));
    if one.text().is_empty() {
        if !all.is_empty() {
            errors.push(all.invalid("must be empty when `clusterIP` is not specified"));
        }
    } else if all.is_empty() {
        errors.push(all.required(""));
    } else if all.item(0).text() != one.text() {
        errors.push(all.invalid("first value must match `clusterIP`"));
    }
    let families = spec.child("ipFamilies");
    let mut seen = Vec::new();
    families.each(|_, family| {
        one_of(&family, &["IPv4", "IPv6"], errors);
        if seen.contains(&family.text().to_owned()) {
            errors.push(family.duplicate());
        }
        seen.push(family.text().to_owned());
    });
    let policy = spec.child("ipFamilyPolicy");
    if policy.is_set() {
        one_of(&policy, &["PreferDualStack", "RequireDualStack", "SingleStack"], errors);
    }
    all.each(|index, address| {
        if address.text() != "None" {
            ip(&address, errors);
        } else if index > 0 || all.len() > 1 {
            errors.push(all.invalid("'None' must be the first and only value"));
        }
    });
    if all.len() > 2 {
        errors.push(all.invalid("may only hold up to 2 values"));
    }
}

fn ip(address: &Field<'_>, errors: &mut Errors) {
    if address.text().parse::<IpAddr>().is_err() {
        errors.push(address.invalid_text("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"));
    }
}

fn unique_ports(ports: &Field<'_>, kind: &str, errors: &mut Errors) {
    let (mut node_ports, mut numbers) = (Vec::new(), Vec::new());
    ports.each(|_, port| {
        let (node_port, number) = (port.child("nodePort"), port.child("port"));
        let protocol = port.child("protocol").text().to_owned();
        if node_port.int() != 0 {
            if kind == "ClusterIP" {
                errors.push(node_port.forbidden("may not be used when `type` is 'ClusterIP'"));
            }
            let key = (protocol.clone(), node_port.int());
            if node_ports.contains(&key) {
                errors.push(node_port.duplicate());
            }
            node_ports.push(key);
        }
        let key = (protocol, number.int());
        if numbers.contains(&key) {
            // Upstream shows its internal type here.
            let shown = json!({"Name": "", "Protocol": key.0, "AppProtocol": null, "Port": key.1, "TargetPort": 0,
                "NodePort": 0});
            let mut error = port.duplicate();
            error.value = Some(shown.to_string());
            errors.push(error);
        }
        numbers.push(key);
    });
}

fn policies(spec: &Field<'_>, errors: &mut Errors) {
    let kind = spec.child("type");
    let balanced = kind.text() == "LoadBalancer";
    let only_balanced = ["allocateLoadBalancerNodePorts", "loadBalancerClass"];
    for name in only_balanced {
        let field = spec.child(name);
        if field.is_set() && !balanced {
            errors.push(field.forbidden("may only be used when `type` is 'LoadBalancer'"));
        }
    }
    let ranges = spec.child("loadBalancerSourceRanges");
    if !ranges.is_empty() && !balanced {
        // Upstream's path has the capital.
        errors.push(spec.child("LoadBalancerSourceRanges").forbidden("may only be used when `type` is 'LoadBalancer'"));
    }
    let outside =
        balanced || kind.text() == "NodePort" || (kind.text() == "ClusterIP" && !spec.child("externalIPs").is_empty());
    let external = spec.child("externalTrafficPolicy");
    if outside {
        one_of(&external, &["Cluster", "Local"], errors);
    } else if external.is_set() {
        errors.push(external.invalid("may only be set for externally-accessible services"));
    }
    let check = spec.child("healthCheckNodePort");
    if check.int() != 0 && !(balanced && external.text() == "Local") {
        errors.push(
            check.invalid("may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"),
        );
    }
    let internal = spec.child("internalTrafficPolicy");
    if internal.is_set() && !["Cluster", "Local"].contains(&internal.text()) {
        errors.push(internal.not_supported(&["Cluster", "Local"]));
    }
    let distribution = spec.child("trafficDistribution");
    if distribution.is_set() && distribution.text() != "PreferClose" {
        errors.push(distribution.not_supported(&["PreferClose"]));
    }
}

/// Addresses stay once they are given.
fn kept_addresses(spec: &Field<'_>, before: &Field<'_>, errors: &mut Errors) {
    if [spec, before].iter().any(|spec| spec.child("type").text() == "ExternalName") {
        return;
    }
    let (new, old) = (spec.child("clusterIPs"), before.child("clusterIPs"));
    if is_headless(spec) && is_headless(before) {
        return;
    }
    if new.is_empty() && !old.is_empty() {
        errors.push(new.item(0).with(&json!([])).invalid("primary clusterIP can not be unset"));
        return;
    }
    for index in 0..old.len().min(new.len()) {
        if old.item(index).value() != new.item(index).value() {
            errors.push(new.item(index).with(new.value()).invalid("may not change once set"));
        }
    }
    let (new, old) = (spec.child("ipFamilies"), before.child("ipFamilies"));
    if is_headless(spec) == is_headless(before)
        && !new.is_empty()
        && !old.is_empty()
        && new.item(0).value() != old.item(0).value()
    {
        errors.push(new.item(0).with(new.value()).invalid("may not change once set"));
    }
}

/// Endpoints.
pub(super) fn endpoints(object: &Field<'_>, errors: &mut Errors) {
    object.child("subsets").each(|_, subset| {
        let (ready, waiting, ports) =
            (subset.child("addresses"), subset.child("notReadyAddresses"), subset.child("ports"));
        if ready.is_empty() && waiting.is_empty() {
            errors.push(subset.required("must specify `addresses` or `notReadyAddresses`"));
        }
        for list in [&ready, &waiting] {
            list.each(|_, address| {
                ip(&address.child("ip"), errors);
                let host = address.child("hostname");
                if !host.text().is_empty() {
                    complain(&host, syntax::dns_label(host.text()), errors);
                }
            });
        }
        let named = ports.len() > 1;
        ports.each(|_, port| {
            let (name, number) = (port.child("name"), port.child("port"));
            if !name.text().is_empty() {
                complain(&name, syntax::dns_label(name.text()), errors);
            } else if named {
                errors.push(name.required(""));
            }
            errors.extend(syntax::port_number(number.int()).into_iter().map(|detail| number.invalid(detail)));
            one_of(&port.child("protocol"), &PROTOCOLS, errors);
        });
    });
}

/// An `EndpointSlice`.
pub(super) fn slice(object: &Field<'_>, old: Option<&Field<'_>>, errors: &mut Errors) {
    let kind = object.child("addressType");
    one_of(&kind, &["FQDN", "IPv4", "IPv6"], errors);
    let mut names = Vec::new();
    object.child("ports").each(|_, port| {
        let name = port.child("name");
        if !name.text().is_empty() {
            complain(&name, syntax::dns_label(name.text()), errors);
        }
        if names.contains(&name.text().to_owned()) {
            errors.push(name.duplicate());
        } else {
            names.push(name.text().to_owned());
        }
        one_of(&port.child("protocol"), &PROTOCOLS, errors);
    });
    let endpoints = object.child("endpoints");
    if endpoints.len() > ENDPOINTS_MAX {
        let mut error = endpoints.invalid(format!("must have at most {ENDPOINTS_MAX} items"));
        error.value = Some(endpoints.len().to_string());
        errors.push(error);
        return;
    }
    endpoints.each(|_, endpoint| slice_endpoint(&endpoint, kind.text(), errors));
    if let Some(old) = old {
        immutable(&kind, &old.child("addressType"), errors);
    }
}

fn slice_endpoint(endpoint: &Field<'_>, kind: &str, errors: &mut Errors) {
    let addresses = endpoint.child("addresses");
    if addresses.is_empty() {
        errors.push(addresses.required("must contain at least 1 address"));
    } else if addresses.len() > ADDRESSES_MAX {
        let mut error = addresses.invalid(format!("must have at most {ADDRESSES_MAX} items"));
        error.value = Some(addresses.len().to_string());
        errors.push(error);
    }
    addresses.each(|_, address| {
        if kind == "FQDN" {
            complain(&address, syntax::dns_subdomain(address.text()), errors);
            return;
        }
        match address.text().parse::<IpAddr>() {
            Ok(parsed) if parsed.is_ipv4() != (kind == "IPv4") => {
                errors.push(addresses.with(address.value()).invalid(format!("must be an {kind} address")));
            }
            Ok(parsed) if parsed.is_unspecified() => {
                errors.push(address.invalid(format!("may not be unspecified ({parsed})")));
            }
            Ok(_) => {}
            Err(_) => ip(&address, errors),
        }
    });
    let (node, host) = (endpoint.child("nodeName"), endpoint.child("hostname"));
    if node.is_set() {
        complain(&node, syntax::dns_subdomain(node.text()), errors);
    }
    if host.is_set() {
        complain(&host, syntax::dns_label(host.text()), errors);
    }
}
