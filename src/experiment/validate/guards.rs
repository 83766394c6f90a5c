//! Guards and conditions to stop: what they name must exist, and what they ask must be something that can be asked.

use super::{Validator, listed, spec};
use crate::experiment::{
    guards::{AbortPrometheus, AbortWhen, Guards},
    tree::Path,
};

impl Validator<'_> {
    pub(super) fn guards(&mut self) {
        let path = spec().key("guards");
        let Some(guards) = self.part::<Guards>(&path) else { return };
        for (index, node) in guards.protected_nodes.iter().enumerate() {
            self.object_name(&path.key("protectedNodes").index(index), node);
        }
        for (index, workload) in guards.quorum.iter().enumerate() {
            self.applied_workload(&path.key("quorum").index(index), workload);
        }
    }

    pub(super) fn abort(&mut self) {
        let lanes = self.lane_names();
        for (path, when) in self.items::<AbortWhen>(&spec().key("abort")) {
            match &when {
                AbortWhen::Lost(lost) => {
                    let body = path.key("lost");
                    self.above_zero(&body, "over");
                    self.lane_of(&body, lost.lane.as_deref(), lanes.as_deref());
                }
                AbortWhen::Latency(latency) => {
                    let body = path.key("latency");
                    self.above_zero(&body, "over");
                    self.lane_of(&body, latency.lane.as_deref(), lanes.as_deref());
                }
                AbortWhen::Http(http) => {
                    let body = path.key("http");
                    self.above_zero(&body, "every");
                    self.url(&body, &http.url);
                }
                AbortWhen::Prometheus(query) => self.query(&path.key("prometheus"), query),
            }
        }
    }

    fn query(&mut self, path: &Path, query: &AbortPrometheus) {
        self.above_zero(path, "every");
        self.url(path, &query.url);
        self.exactly_one(path, "prometheus", &[("above", query.above.is_some()), ("below", query.below.is_some())]);
        if query.query.trim().is_empty() {
            self.problem(&path.key("query"), "there is no query", "write one in PromQL, such as up{job=\"shop\"}");
        }
    }

    fn url(&mut self, path: &Path, url: &str) {
        let rest = url.strip_prefix("http://").unwrap_or_default();
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if host.is_empty() || host.contains('@') || url.chars().any(|c| c.is_whitespace() || c.is_control()) {
            // A password in a URL would be in the plan, and so in the record.
            let what = format!("{url:?} is not an address that can be asked");
            self.problem(&path.key("url"), what, "write one such as http://127.0.0.1:9090, without a user");
        }
    }

    /// The lane that is named there exists.
    pub(super) fn lane_of(&mut self, path: &Path, lane: Option<&str>, lanes: Option<&[String]>) {
        if let (Some(lane), Some(lanes)) = (lane, lanes)
            && !lanes.iter().any(|known| known == lane)
        {
            let instead = format!("write one of {}", listed(lanes.iter().map(String::as_str)));
            self.problem(&path.key("lane"), format!("there is no lane {lane}"), instead);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::experiment::read;

    const FILE: &str = "
apiVersion: evenkeel/v1
kind: Experiment
metadata: {name: x}
spec:
  given: {namespace: shop, ready: [deployment/shop]}
  load:
    - {name: new, from: inside, service: shop, rate: 1/s, connections: new}
  steps:
    - wait: {time: 1s}
  expect:
    - lost: {atMost: 0}
";

    #[test]
    fn guards_and_conditions_that_can_be_meant_are_taken() {
        let good = "  guards: {maxNodes: 1, maxZones: 1, maxPods: 2, protectedNodes: [a], quorum: [statefulset/store]}
  abort:
    - lost: {above: 20%, lane: new}
    - latency: {percentile: p99, above: 2s, over: 10s}
    - http: {url: 'http://shop.example/healthz'}
    - prometheus: {url: 'http://prometheus:9090', query: up, below: 1}
";
        let experiment = read("x.yaml", &format!("{FILE}{good}")).unwrap();
        assert_eq!((experiment.spec.abort.len(), experiment.spec.guards.max_pods), (4, Some(2)));
    }

    #[test]
    fn what_cannot_be_asked_or_is_not_there_is_told_with_its_line() {
        let table = [
            ("  guards: {maxNodes: 0}", "maxNodes"),
            ("  guards: {protectedNodes: ['a/b']}", "is not the name of an object"),
            ("  abort: [{lost: {above: 20%, lane: old}}]", "there is no lane old"),
            ("  abort: [{latency: {percentile: p99, above: 2s, over: 0s}}]", "`over` is no time at all"),
            ("  abort: [{http: {url: 'https://shop'}}]", "is not an address that can be asked"),
            ("  abort: [{http: {url: 'http://user:pw@shop'}}]", "without a user"),
            ("  abort: [{prometheus: {url: 'http://p', query: up}}]", "`prometheus` says nothing to go by"),
            ("  abort: [{prometheus: {url: 'http://p', query: up, above: 1, below: 0}}]", "exactly one of"),
        ];
        for (line, expected) in table {
            let problems = read("x.yaml", &format!("{FILE}{line}\n")).unwrap_err().to_string();
            assert!(problems.contains(expected) && problems.contains("x.yaml:13"), "{line}: {problems}");
        }
    }
}
