//! Lanes: names, times, paths, and the Service that each of them asks.

use std::collections::BTreeMap;

use base64::Engine as _;

use super::{Validator, listed, spec};
use crate::experiment::{
    manifests::ServiceFact,
    schema::{Connections, Lane, Vantage},
    traffic::{Protocol, RateShape},
    tree::{Node, Path},
    units::Span,
};

fn is_base64(text: &str) -> bool {
    base64::engine::general_purpose::STANDARD.decode(text).is_ok()
}

impl Validator<'_> {
    pub(super) fn load(&mut self) {
        let list = spec().key("load");
        let mut first_seen: BTreeMap<String, Path> = BTreeMap::new();
        for (path, lane) in self.items::<Lane>(&list) {
            let name = path.key("name");
            self.dns_label(&name, "lane", &lane.name);
            if let Some(first) = first_seen.get(&lane.name) {
                let what = format!("lane {} exists already, on line {}", lane.name, self.line_of(first));
                self.problem(&name, what, "give each lane a name of its own");
            } else {
                first_seen.insert(lane.name.clone(), name);
            }
            self.request(&path, &lane);
            self.shape(&path, &lane);
            self.limits(&path, &lane);
            self.speech(&path, &lane);
            self.stream(&path, &lane);
            self.target(&path, &lane);
        }
        self.controls(&list);
        self.agents(&list);
    }

    /// A control asks another Service than any lane that is judged, and is not all there is.
    fn controls(&mut self, list: &Path) {
        let lanes: Vec<(Path, Lane)> = self.items(list);
        let judged = || lanes.iter().filter(|(_, lane)| !lane.control);
        if judged().next().is_none() && !lanes.is_empty() {
            self.problem(
                list,
                "every lane is a control, so nothing is judged",
                "leave out `control` where it is not one",
            );
            return;
        }
        for (path, lane) in lanes.iter().filter(|(_, lane)| lane.control) {
            if let Some((_, same)) = judged().find(|(_, other)| other.service == lane.service) {
                let what = format!("control lane {} asks the same Service as lane {}", lane.name, same.name);
                self.problem(&path.key("service"), what, "let it ask a Service that the faults do not touch");
            }
        }
    }

    /// Agents send what is asked from inside, and nothing else.
    fn agents(&mut self, lanes: &Path) {
        let at = spec().key("agents");
        let is_outside = |lane: &Node| lane.get("from").and_then(Node::text) == Some("outside");
        let all_outside = self.root.at(lanes).is_some_and(|lanes| lanes.items().iter().all(is_outside));
        if all_outside && self.root.at(&at).is_some() {
            let what = "agents send the lanes with `from: inside`, and there is none";
            self.problem(&at, what, "leave it out, or write `from: inside` in a lane");
        }
    }

    fn request(&mut self, path: &Path, lane: &Lane) {
        self.above_zero(path, "timeout");
        self.above_zero(path, "connectTimeout");
        if lane.connect_timeout > lane.timeout && lane.timeout != Span::default() {
            let what = format!(
                "connecting may take {}, which is longer than the whole request's {}",
                lane.connect_timeout, lane.timeout
            );
            let instead = format!("write `connectTimeout: {}` or less, or raise `timeout`", lane.timeout);
            let key = if self.root.at(&path.key("connectTimeout")).is_some() { "connectTimeout" } else { "timeout" };
            self.problem(&path.key(key), what, instead);
        }
        if !lane.path.starts_with('/') {
            let instead = format!("write \"/{}\"", lane.path);
            self.problem(&path.key("path"), format!("the path {:?} does not begin with `/`", lane.path), instead);
        } else if let Some(odd) = lane.path.chars().find(|c| !c.is_ascii_graphic() || *c == '#') {
            let what = format!("the path {:?} has {odd:?} in it, which cannot be sent", lane.path);
            self.problem(&path.key("path"), what, "write such a character as `%` and two hexadecimal digits");
        }
        if lane.body_contains.as_deref() == Some("") {
            let instead = "write a text, or leave the key out";
            self.problem(&path.key("bodyContains"), "every body contains the empty text", instead);
        }
    }

    /// A rate that changes takes time, and its jumps are in order.
    fn shape(&mut self, path: &Path, lane: &Lane) {
        let shape = path.key("shape");
        match &lane.shape {
            None => {}
            Some(RateShape::Ramp(_)) => self.above_zero(&shape.key("ramp"), "over"),
            Some(RateShape::SawTooth(_)) => self.above_zero(&shape.key("sawTooth"), "every"),
            Some(RateShape::Steps(jumps)) => {
                let mut before = Span::default();
                for (place, jump) in jumps.iter().enumerate() {
                    if jump.at <= before {
                        let what = format!("the rate jumps at {}, which is not later than {before}", jump.at);
                        let at = shape.key("steps").index(place).key("at");
                        self.problem(&at, what, "write the jumps in order, the first of them after 0s");
                    }
                    before = before.max(jump.at);
                }
            }
        }
    }

    /// What is sent needs a protocol that has a place for it.
    fn speech(&mut self, path: &Path, lane: &Lane) {
        let Some(send) = lane.send.as_deref() else { return };
        let at = path.key("send");
        match lane.protocol {
            Protocol::Http1 | Protocol::Http2 => {
                let what = "a request of this protocol is a GET, which has nothing to send";
                self.problem(&at, what, "leave it out, or write `protocol: webSocket`, `tcp` or `grpc`");
            }
            Protocol::Tcp if send.contains('\n') => {
                self.problem(&at, "a line cannot have a line feed in it", "write one line without its end");
            }
            Protocol::Grpc if !is_base64(send) => {
                self.problem(&at, format!("{send:?} is not base64"), "write the encoded message as base64");
            }
            Protocol::Grpc | Protocol::WebSocket | Protocol::Tcp => {}
        }
    }

    /// A stream takes a connection of its own, and has no end at which its body could be whole.
    fn stream(&mut self, path: &Path, lane: &Lane) {
        if lane.stream.is_none() {
            return;
        }
        let at = path.key("stream");
        self.above_zero(&at, "for");
        self.above_zero(&at, "idle");
        if lane.protocol != Protocol::Http1 {
            let what = "a stream is listened to over HTTP/1.1 only";
            self.problem(&path.key("protocol"), what, "leave it out, or leave out `stream`");
        }
        if lane.connections != Connections::New {
            let what = "each stream takes a connection of its own, which is closed after it";
            self.problem(&path.key("connections"), what, "write `connections: new`");
        }
        for key in ["bodyLength", "bodySha256"] {
            if self.root.at(&path.key(key)).is_some() {
                let what = format!("a stream does not end, so `{key}` says nothing about it");
                self.problem(&path.key(key), what, "leave it out, or write `bodyContains`");
            }
        }
    }

    /// What bounds a connection needs one that is kept.
    fn limits(&mut self, path: &Path, lane: &Lane) {
        self.above_zero(path, "connectionAge");
        if lane.connections != Connections::New {
            return;
        }
        for key in ["requestsPerConnection", "connectionAge"] {
            if self.root.at(&path.key(key)).is_some() {
                let what =
                    format!("`{key}` bounds a connection that is reused, and this lane opens one for each request");
                self.problem(&path.key(key), what, "leave it out, or write `connections: {reused: 4}`");
            }
        }
    }

    fn target(&mut self, path: &Path, lane: &Lane) {
        let at = path.key("service");
        self.object_name(&at, &lane.service);
        if self.applied.is_empty() {
            return;
        }
        let found = self.applied.services.iter().find(|(_, service)| service.name == lane.service);
        let Some((place, service)) = found.cloned() else {
            if !self.applied.is_partial {
                let what = format!("Service {} is not among the applied objects", lane.service);
                let services = listed(self.applied.service_names.iter().map(String::as_str));
                self.problem(&at, what, format!("write one of {services}, or add its manifest to `apply`"));
            }
            return;
        };
        self.port(path, lane, &service);
        if lane.from == Vantage::Inside && service.is_headless() {
            let what = format!("Service {} is headless: it has no address that a lane could ask", lane.service);
            self.problem(&at, what, "ask a Service with an address of its own");
        }
        if lane.from == Vantage::Outside && !service.has_node_ports() {
            let what = format!(
                "lane {} asks from outside, but Service {} (line {}) is of type {}",
                lane.name,
                lane.service,
                self.line_of(&place),
                service.kind
            );
            let instead = "give the Service `type: NodePort` and a `nodePort`, or write `from: inside`";
            self.problem(&path.key("from"), what, instead);
        }
    }

    fn port(&mut self, path: &Path, lane: &Lane, service: &ServiceFact) {
        let ports: Vec<String> = service.ports.iter().map(|port| port.port.to_string()).collect();
        let ports = listed(ports.iter().map(String::as_str));
        let chosen = match (lane.port, service.ports.as_slice()) {
            (None, [only]) => *only,
            (None, []) => {
                let what = format!("Service {} has no ports", service.name);
                return self.problem(&path.key("service"), what, "give it `spec.ports`");
            }
            (None, _) => {
                let what = format!("Service {} has the ports {ports}, and none is chosen", service.name);
                return self.problem(&path.key("service"), what, "add `port:` with one of them");
            }
            (Some(port), known) => {
                let Some(found) = known.iter().find(|one| one.port == port) else {
                    let what = format!("Service {} has no port {port}", service.name);
                    return self.problem(&path.key("port"), what, format!("write one of {ports}"));
                };
                *found
            }
        };
        if lane.from == Vantage::Outside && service.has_node_ports() && chosen.node_port.is_none() {
            let what = format!(
                "port {} of Service {} has no `nodePort`, so lane {} cannot know where to ask",
                chosen.port, service.name, lane.name
            );
            let instead = "add a `nodePort:` that the cluster publishes on 127.0.0.1, such as 30080";
            self.problem(&path.key("service"), what, instead);
        }
    }

    /// The names of all lanes, also of those that have other problems; nothing where one has no name.
    pub(super) fn lane_names(&self) -> Option<Vec<String>> {
        let lanes = self.root.at(&spec().key("load"))?.items();
        lanes.iter().map(|lane| lane.get("name").and_then(Node::text).map(str::to_owned)).collect()
    }
}
