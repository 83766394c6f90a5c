//! Containers: names, images, ports, environment, probes and hooks.

use serde_json::Value;

use super::{
    super::{
        field::{Errors, Field, complain, non_negative, one_of},
        syntax,
    },
    resources,
    volumes::{self, Volumes},
};

/// What `fieldRef` of an environment variable may name.
const ENV_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// What `resourceFieldRef` may name.
const RESOURCE_FIELDS: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

/// `spec.containers`.
pub(super) fn containers(spec: &Field<'_>, volumes: &Volumes, errors: &mut Errors) {
    let list = spec.child("containers");
    if list.is_empty() {
        errors.push(list.required(""));
        return;
    }
    let mut names: Vec<&str> = Vec::new();
    list.each(|_, container| {
        common(&container, volumes, errors);
        unique_name(&container, &mut names, list.value(), errors);
        hooks_and_probes(&container, spec, errors);
        let policy = container.child("restartPolicy");
        if policy.is_set() {
            errors.push(policy.forbidden("may not be set for non-init containers"));
        }
    });
    host_ports(&list, errors);
}

/// `spec.initContainers`.
pub(super) fn init_containers(spec: &Field<'_>, volumes: &Volumes, errors: &mut Errors) {
    let regular = spec.child("containers");
    let mut names: Vec<&str> = name_list(regular.value());
    let list = spec.child("initContainers");
    list.each(|_, container| {
        common(&container, volumes, errors);
        let policy = container.child("restartPolicy");
        if policy.is_set() && policy.text() != "Always" {
            errors.push(policy.not_supported(&["Always"]));
        }
        unique_name(&container, &mut names, list.value(), errors);
        if policy.text() == "Always" {
            hooks_and_probes(&container, spec, errors);
            return;
        }
        for name in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
            let field = container.child(name);
            if field.is_set() {
                errors.push(field.forbidden("may not be set for init containers without restartPolicy=Always"));
            }
        }
    });
}

fn name_list(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(|container| container["name"].as_str()).collect()
}

fn unique_name<'a>(container: &Field<'_>, names: &mut Vec<&'a str>, list: &'a Value, errors: &mut Errors) {
    let name = container.child("name");
    if names.contains(&name.text()) {
        errors.push(name.duplicate());
    } else if let Some(known) = name_list(list).into_iter().find(|one| *one == name.text() && !one.is_empty()) {
        names.push(known);
    }
}

fn common(container: &Field<'_>, volumes: &Volumes, errors: &mut Errors) {
    let name = container.child("name");
    if name.text().is_empty() {
        errors.push(name.required(""));
    } else {
        complain(&name, syntax::dns_label(name.text()), errors);
    }
    let image = container.child("image");
    if image.text().is_empty() {
        errors.push(image.required(""));
    }
    one_of(&container.child("terminationMessagePolicy"), &["File", "FallbackToLogsOnError"], errors);
    ports(&container.child("ports"), errors);
    environment(&container.child("env"), errors);
    environment_from(&container.child("envFrom"), errors);
    volumes::mounts(container, volumes, errors);
    one_of(&container.child("imagePullPolicy"), &["Always", "IfNotPresent", "Never"], errors);
    resources::requirements(&container.child("resources"), errors);
}

fn ports(ports: &Field<'_>, errors: &mut Errors) {
    let mut names = Vec::new();
    ports.each(|_, port| {
        let name = port.child("name");
        if !name.text().is_empty() {
            let complaints = syntax::port_name(name.text());
            if !complaints.is_empty() {
                complain(&name, complaints, errors);
            } else if names.contains(&name.text().to_owned()) {
                errors.push(name.duplicate());
            } else {
                names.push(name.text().to_owned());
            }
        }
        let number = port.child("containerPort");
        if number.int() == 0 {
            errors.push(number.required(""));
        } else {
            errors.extend(syntax::port_number(number.int()).into_iter().map(|detail| number.invalid(detail)));
        }
        let host = port.child("hostPort");
        if host.int() != 0 {
            errors.extend(syntax::port_number(host.int()).into_iter().map(|detail| host.invalid(detail)));
        }
        one_of(&port.child("protocol"), &["SCTP", "TCP", "UDP"], errors);
    });
}

fn host_ports(list: &Field<'_>, errors: &mut Errors) {
    let mut taken = Vec::new();
    list.each(|_, container| {
        container.child("ports").each(|_, port| {
            let host = port.child("hostPort");
            if host.int() == 0 {
                return;
            }
            let (protocol, address) = (port.child("protocol"), port.child("hostIP"));
            let key = format!("{}/{}/{}", protocol.text(), address.text(), host.int());
            if taken.contains(&key) {
                errors.push(host.with(&Value::from(key)).duplicate());
            } else {
                taken.push(key);
            }
        });
    });
}

fn environment(list: &Field<'_>, errors: &mut Errors) {
    list.each(|_, variable| {
        let name = variable.child("name");
        if name.text().is_empty() {
            errors.push(name.required(""));
        } else {
            complain(&name, syntax::env_name(name.text()), errors);
        }
        let source = variable.child("valueFrom");
        if source.is_set() {
            value_source(&source, !variable.child("value").text().is_empty(), errors);
        }
    });
}

fn value_source(source: &Field<'_>, has_value: bool, errors: &mut Errors) {
    let present = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef"]
        .iter()
        .filter(|name| source.child(name).is_set())
        .count();
    let reference = source.child("fieldRef");
    if reference.is_set() {
        field_reference(&reference, &ENV_FIELDS, errors);
    }
    let reference = source.child("resourceFieldRef");
    if reference.is_set() {
        resource_reference(&reference, false, errors);
    }
    for name in ["configMapKeyRef", "secretKeyRef"] {
        let reference = source.child(name);
        if reference.is_set() {
            key_reference(&reference, errors);
        }
    }
    let why = match present {
        0 => "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`",
        _ if has_value => "may not be specified when `value` is not empty",
        1 => return,
        _ => "may not have more than one field specified at a time",
    };
    errors.push(source.with(&Value::from("")).invalid(why));
}

fn key_reference(reference: &Field<'_>, errors: &mut Errors) {
    let (name, key) = (reference.child("name"), reference.child("key"));
    complain(&name, syntax::dns_subdomain(name.text()), errors);
    if key.text().is_empty() {
        errors.push(key.required(""));
    } else {
        complain(&key, syntax::config_key(key.text()), errors);
    }
}

/// A reference to a field of the pod.
pub(super) fn field_reference(reference: &Field<'_>, fields: &[&str], errors: &mut Errors) {
    let path = reference.child("fieldPath");
    if path.text().is_empty() {
        errors.push(path.required(""));
        return;
    }
    let subscript = path.text().strip_suffix("']").and_then(|text| text.split_once("['"));
    match subscript {
        Some(("metadata.annotations", key)) => {
            complain(&reference.with(&Value::from(key)), syntax::qualified_name(&key.to_lowercase()), errors);
        }
        Some(("metadata.labels", key)) => {
            complain(&reference.with(&Value::from(key)), syntax::qualified_name(key), errors);
        }
        Some((of, _)) => errors.push(reference.with(&Value::from(of)).invalid("does not support subscript")),
        None if !fields.contains(&path.text()) => errors.push(path.not_supported(fields)),
        None => {}
    }
}

/// A reference to a container's resource.
pub(super) fn resource_reference(reference: &Field<'_>, in_volume: bool, errors: &mut Errors) {
    let (container, resource) = (reference.child("containerName"), reference.child("resource"));
    if in_volume && container.text().is_empty() {
        errors.push(container.required(""));
    } else if resource.text().is_empty() {
        errors.push(resource.required(""));
    } else if !RESOURCE_FIELDS.contains(&resource.text()) && !resource.text().contains(".hugepages-") {
        errors.push(resource.not_supported(&RESOURCE_FIELDS));
    }
    let divisor = reference.child("divisor");
    let divisors: &[&str] = match resource.text().split_once('.') {
        Some((_, "cpu")) => &["1m", "1"],
        _ => &["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"],
    };
    let known = ["", "0"].contains(&divisor.text()) || divisors.contains(&divisor.text());
    if !known {
        let detail = match resource.text().split_once('.') {
            Some((_, "cpu")) => "only divisor's values 1m and 1 are supported with the cpu resource",
            _ => {
                "only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the \
                 memory resource"
            }
        };
        errors.push(divisor.with(resource.value()).invalid_text(detail));
    }
}

fn environment_from(list: &Field<'_>, errors: &mut Errors) {
    list.each(|_, source| {
        let prefix = source.child("prefix");
        complain(&prefix, syntax::env_name(prefix.text()), errors);
        let mut present = 0;
        for name in ["configMapRef", "secretRef"] {
            let reference = source.child(name);
            if reference.is_set() {
                present += 1;
                let name = reference.child("name");
                if name.text().is_empty() {
                    errors.push(name.required(""));
                } else {
                    complain(&name, syntax::dns_subdomain(&syntax::as_prefix(name.text())), errors);
                }
            }
        }
        let why = match present {
            0 => "must specify one of: `configMapRef` or `secretRef`",
            1 => return,
            _ => "may not have more than one field specified at a time",
        };
        errors.push(list.with(&Value::from("")).invalid(why));
    });
}

fn hooks_and_probes(container: &Field<'_>, spec: &Field<'_>, errors: &mut Errors) {
    let grace = spec.child("terminationGracePeriodSeconds").some_int();
    let lifecycle = container.child("lifecycle");
    for name in ["postStart", "preStop"] {
        let hook = lifecycle.child(name);
        if hook.is_set() {
            handler(&hook, &["exec", "httpGet", "tcpSocket", "sleep"], grace, errors);
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let field = container.child(name);
        if !field.is_set() {
            continue;
        }
        probe(&field, errors);
        let grace = field.child("terminationGracePeriodSeconds");
        if name == "readinessProbe" {
            if grace.is_set() {
                errors.push(grace.invalid("must not be set for readinessProbes"));
            }
            continue;
        }
        let threshold = field.child("successThreshold");
        if threshold.int() != 1 {
            errors.push(threshold.invalid("must be 1"));
        }
    }
}

fn probe(probe: &Field<'_>, errors: &mut Errors) {
    handler(probe, &["exec", "httpGet", "tcpSocket", "grpc"], None, errors);
    for name in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
        non_negative(&probe.child(name), errors);
    }
    let grace = probe.child("terminationGracePeriodSeconds");
    if grace.some_int().is_some_and(|seconds| seconds <= 0) {
        errors.push(grace.invalid("must be greater than 0"));
    }
}

/// Exactly one way to ask or to tell a container something.
fn handler(around: &Field<'_>, kinds: &[&str], grace: Option<i64>, errors: &mut Errors) {
    let mut first = true;
    for name in kinds {
        let field = around.child(name);
        if !field.is_set() {
            continue;
        }
        if !first {
            errors.push(field.forbidden("may not specify more than 1 handler type"));
            continue;
        }
        first = false;
        match *name {
            "exec" => {
                let command = field.child("command");
                if command.is_empty() {
                    errors.push(command.required(""));
                }
            }
            "httpGet" => http_get(&field, errors),
            "sleep" => sleep(&field, grace, errors),
            _ => port(&field.child("port"), errors),
        }
    }
    if first {
        errors.push(around.required("must specify a handler type"));
    }
}

fn http_get(get: &Field<'_>, errors: &mut Errors) {
    let path = get.child("path");
    if path.text().is_empty() {
        errors.push(path.required(""));
    }
    port(&get.child("port"), errors);
    let scheme = get.child("scheme");
    if !["HTTP", "HTTPS"].contains(&scheme.text()) {
        errors.push(scheme.not_supported(&["HTTP", "HTTPS"]));
    }
    let headers = get.child("httpHeaders");
    headers.each(|_, header| {
        let name = header.child("name");
        complain(&headers.with(name.value()), syntax::header_name(name.text()), errors);
    });
}

fn sleep(sleep: &Field<'_>, grace: Option<i64>, errors: &mut Errors) {
    let seconds = sleep.child("seconds");
    if let Some(grace) = grace.filter(|grace| !(0..=*grace).contains(&seconds.int())) {
        let detail = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
        errors.push(sleep.with(&Value::from(seconds.int())).invalid(detail));
    }
}

/// A port by its number or its name.
pub(in super::super) fn port(port: &Field<'_>, errors: &mut Errors) {
    if let Value::String(name) = port.value() {
        complain(port, syntax::port_name(name), errors);
        return;
    }
    let number = Value::from(port.int());
    errors.extend(syntax::port_number(port.int()).into_iter().map(|detail| port.with(&number).invalid(detail)));
}
