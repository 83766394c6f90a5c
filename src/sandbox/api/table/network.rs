//! Services, endpoints, endpoint slices.

use serde_json::{Value, json};

use super::{AGE, NAME, Printer, Text, age, items, labels, name, number, or_none, some, text};

/// Endpoints that are shown; more are counted.
const SHOWN: usize = 3;

pub(super) static SERVICES: Printer = Printer {
    columns: &[
        NAME,
        ("Type", Text, false),
        ("Cluster-IP", Text, false),
        ("External-IP", Text, false),
        ("Port(s)", Text, false),
        AGE,
        ("Selector", Text, true),
    ],
    cells: |object| {
        let spec = &object["spec"];
        let ports: Vec<String> = items(&spec["ports"]).map(port).collect();
        vec![
            name(object),
            json!(text(&spec["type"])),
            or_none(text(&spec["clusterIP"])),
            external(object),
            or_none(ports.join(",")),
            age(object),
            labels(&spec["selector"]),
        ]
    },
};

pub(super) static ENDPOINTS: Printer = Printer {
    columns: &[NAME, ("Endpoints", Text, false), AGE],
    cells: |object| vec![name(object), some(&endpoints(object), SHOWN), age(object)],
};

pub(super) static ENDPOINT_SLICES: Printer = Printer {
    columns: &[NAME, ("AddressType", Text, false), ("Ports", Text, false), ("Endpoints", Text, false), AGE],
    cells: |object| {
        let ports: Vec<String> = items(&object["ports"])
            .map(|port| port["port"].as_i64().map_or_else(|| "*".to_owned(), |port| port.to_string()))
            .collect();
        let addresses: Vec<String> = items(&object["endpoints"])
            .flat_map(|endpoint| items(&endpoint["addresses"]))
            .map(|address| text(address).to_owned())
            .collect();
        let unset = |cell: Value| if cell == "<none>" { json!("<unset>") } else { cell };
        vec![
            name(object),
            json!(text(&object["addressType"])),
            unset(some(&ports, SHOWN)),
            unset(some(&addresses, SHOWN)),
            age(object),
        ]
    },
};

fn port(port: &Value) -> String {
    let (number, protocol) = (number(&port["port"]), port["protocol"].as_str().unwrap_or("TCP"));
    match port["nodePort"].as_i64().filter(|port| *port > 0) {
        Some(node_port) => format!("{number}:{node_port}/{protocol}"),
        None => format!("{number}/{protocol}"),
    }
}

/// `getServiceExternalIP`.
fn external(service: &Value) -> Value {
    let spec = &service["spec"];
    let addresses: Vec<&str> = items(&spec["externalIPs"]).map(text).collect();
    match text(&spec["type"]) {
        "ExternalName" => or_none(text(&spec["externalName"])),
        "LoadBalancer" => {
            let given: Vec<&str> = items(&service["status"]["loadBalancer"]["ingress"])
                .map(|one| one["ip"].as_str().unwrap_or_else(|| text(&one["hostname"])))
                .chain(addresses)
                .collect();
            json!(if given.is_empty() { "<pending>".to_owned() } else { given.join(",") })
        }
        _ => or_none(addresses.join(",")),
    }
}

fn endpoints(object: &Value) -> Vec<String> {
    let mut all = Vec::new();
    for subset in items(&object["subsets"]) {
        let addresses = || items(&subset["addresses"]).map(|one| text(&one["ip"]));
        let mut ports = items(&subset["ports"]).peekable();
        if ports.peek().is_none() {
            all.extend(addresses().map(str::to_owned));
        }
        for port in ports {
            all.extend(addresses().map(|address| format!("{address}:{}", number(&port["port"]))));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_show_where_they_are_reached() {
        let of = |spec: Value| (SERVICES.cells)(&json!({"metadata": {"name": "shop"}, "spec": spec}));
        let cells = of(json!({"type": "NodePort", "clusterIP": "10.0.0.1", "selector": {"app": "shop"},
            "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 81}]}));
        assert_eq!(cells.len(), SERVICES.columns.len());
        assert_eq!(cells[1..5], [json!("NodePort"), json!("10.0.0.1"), json!("<none>"), json!("80:30080/TCP,81/TCP")]);
        assert_eq!(cells[6], "app=shop");
        assert_eq!(of(json!({"type": "LoadBalancer"}))[3], "<pending>");
    }

    #[test]
    fn many_endpoints_are_counted() {
        let slice = json!({"addressType": "IPv4", "ports": [{"port": 8080}], "endpoints":
            (1..6).map(|n| json!({"addresses": [format!("10.0.0.{n}")]})).collect::<Vec<_>>()});
        let cells = (ENDPOINT_SLICES.cells)(&slice);
        assert_eq!(cells[2..4], [json!("8080"), json!("10.0.0.1,10.0.0.2,10.0.0.3 + 2 more...")]);
        assert_eq!((ENDPOINT_SLICES.cells)(&json!({}))[3], "<unset>");
        let endpoints =
            json!({"subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}, {"port": 81}]}]});
        assert_eq!((ENDPOINTS.cells)(&endpoints)[1], "10.0.0.1:80,10.0.0.1:81");
    }
}
