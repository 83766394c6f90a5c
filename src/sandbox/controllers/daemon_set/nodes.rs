//! Which nodes a `DaemonSet` runs on, and how its pods are tied to them
//! (`k/pkg/controller/daemon/daemon_controller.go` `NodeShouldRunDaemonPod`, `k/pkg/controller/daemon/util/daemonset_util.go`,
//! v1.34.4; `component-helpers/scheduling/corev1/nodeaffinity`, v0.34.4).

use k8s_openapi::api::{
    apps::v1::DaemonSet,
    core::v1::{
        Affinity, Node, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec, Toleration,
    },
};

use super::super::{pods, taint_eviction};
use crate::{
    model::taints::{self, Taint},
    sandbox::scheduler::node_affinity::{self, NAME_FIELD},
};

/// Whether a pod of the set is to run on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// One that isn't there is to be created.
    pub run: bool,
    /// One that is there may stay.
    pub stay: bool,
}

/// Whether a node is to run a pod of the set.
#[must_use]
pub fn wanted(set: &DaemonSet, node: &Node) -> Wanted {
    let never = Wanted { run: false, stay: false };
    let mut spec = template_spec(set);
    let name = node.metadata.name.as_deref().unwrap_or_default();
    if spec.node_name.as_deref().is_some_and(|wanted| !wanted.is_empty() && wanted != name) {
        return never;
    }
    if !node_affinity::NodeAffinity::read(&spec).allows_labels(name, pods::labels(&node.metadata)) {
        return never;
    }
    tolerate_what_daemons_do(&mut spec);
    let tolerations = taint_eviction::tolerations_of(spec.tolerations.as_deref());
    let mut taints = taint_eviction::taints_of(node);
    let repelled = |taints: &[Taint]| taints::first_untolerated(taints, &tolerations).is_some();
    if repelled(&taints) {
        taints.retain(|taint| taint.effect == "NoExecute");
        return Wanted { run: false, stay: !repelled(&taints) };
    }
    Wanted { run: true, stay: true }
}

fn template_spec(set: &DaemonSet) -> PodSpec {
    set.spec.as_ref().and_then(|spec| spec.template.spec.clone()).unwrap_or_default()
}

/// Adds what all daemons tolerate: trouble of the node that must not drive them away
/// (`AddOrUpdateDaemonPodTolerations`).
pub fn tolerate_what_daemons_do(spec: &mut PodSpec) {
    let mut all = vec![
        ("node.kubernetes.io/not-ready", "NoExecute"),
        ("node.kubernetes.io/unreachable", "NoExecute"),
        ("node.kubernetes.io/disk-pressure", "NoSchedule"),
        ("node.kubernetes.io/memory-pressure", "NoSchedule"),
        ("node.kubernetes.io/pid-pressure", "NoSchedule"),
        ("node.kubernetes.io/unschedulable", "NoSchedule"),
    ];
    if spec.host_network == Some(true) {
        all.push(("node.kubernetes.io/network-unavailable", "NoSchedule"));
    }
    let tolerations = spec.tolerations.get_or_insert_default();
    for (key, effect) in all {
        let toleration = Toleration {
            key: Some(key.to_owned()),
            operator: Some("Exists".to_owned()),
            effect: Some(effect.to_owned()),
            ..Toleration::default()
        };
        let same = |one: &Toleration| {
            one.key == toleration.key
                && one.effect == toleration.effect
                && one.operator == toleration.operator
                && one.value.as_deref().unwrap_or_default().is_empty()
        };
        match tolerations.iter_mut().find(|one| same(one)) {
            Some(known) => *known = toleration,
            None => tolerations.push(toleration),
        }
    }
}

/// Ties a pod to a node, so that the scheduler binds it there (`ReplaceDaemonSetPodNodeNameNodeAffinity`).
pub fn pin(spec: &mut PodSpec, node: &str) {
    let term = NodeSelectorTerm {
        match_fields: Some(vec![NodeSelectorRequirement {
            key: NAME_FIELD.to_owned(),
            operator: "In".to_owned(),
            values: Some(vec![node.to_owned()]),
        }]),
        match_expressions: None,
    };
    let affinity: &mut Affinity = spec.affinity.get_or_insert_default();
    let affinity: &mut NodeAffinity = affinity.node_affinity.get_or_insert_default();
    affinity.required_during_scheduling_ignored_during_execution =
        Some(NodeSelector { node_selector_terms: vec![term] });
}

/// The node that a pod is on or tied to (`GetTargetNodeName`).
#[must_use]
pub fn target(pod: &Pod) -> Option<&str> {
    let spec = pod.spec.as_ref()?;
    if let Some(node) = spec.node_name.as_deref().filter(|node| !node.is_empty()) {
        return Some(node);
    }
    let affinity = spec.affinity.as_ref()?.node_affinity.as_ref()?;
    let terms = &affinity.required_during_scheduling_ignored_during_execution.as_ref()?.node_selector_terms;
    let fields = terms.iter().flat_map(|term| term.match_fields.iter().flatten());
    let mut named = fields.filter(|field| field.key == NAME_FIELD && field.operator == "In");
    named.find_map(|field| match field.values.as_deref()? {
        [one] => Some(one.as_str()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn set(spec: &Value) -> DaemonSet {
        serde_json::from_value(json!({"spec": {"selector": {}, "template": {"spec": spec}}})).unwrap()
    }

    fn node(taints: &Value) -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": "one", "labels": {"disk": "ssd", "cpus": "8"}}, "spec": {"taints": taints},
        }))
        .unwrap()
    }

    fn requirement(key: &str, operator: &str, values: &[&str]) -> Value {
        json!({"key": key, "operator": operator, "values": values})
    }

    fn affinity(terms: &Value) -> Value {
        let required = json!({"nodeSelectorTerms": terms});
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}})
    }

    #[test]
    fn selectors_affinity_and_names_choose_nodes() {
        let term = |of: Value| affinity(&json!([{"matchExpressions": [of]}]));
        let table = [
            (json!({}), true),
            (json!({"nodeSelector": {"disk": "ssd"}}), true),
            (json!({"nodeSelector": {"disk": "hdd"}}), false),
            (json!({"nodeName": "one"}), true),
            (json!({"nodeName": "two"}), false),
            (term(requirement("disk", "In", &["ssd", "x"])), true),
            (term(requirement("disk", "NotIn", &["ssd"])), false),
            (term(requirement("gpu", "Exists", &[])), false),
            (term(requirement("gpu", "DoesNotExist", &[])), true),
            (term(requirement("cpus", "Gt", &["4"])), true),
            (term(requirement("cpus", "Lt", &["8"])), false),
            (term(requirement("disk", "Gt", &["4"])), false),
            (affinity(&json!([{"matchFields": [requirement("metadata.name", "In", &["one"])]}])), true),
            (affinity(&json!([{"matchFields": [requirement("metadata.name", "In", &["two"])]}])), false),
            (affinity(&json!([{}])), false),
        ];
        for (spec, run) in table {
            assert_eq!(wanted(&set(&spec), &node(&json!([]))), Wanted { run, stay: run }, "{spec}");
        }
    }

    #[test]
    fn trouble_of_the_node_does_not_drive_daemons_away_but_a_taint_of_ones_own_does() {
        let taint = |key: &str, effect: &str| json!([{"key": key, "effect": effect}]);
        let own = json!({"tolerations": [{"key": "own", "operator": "Exists"}]});
        let host = json!({"hostNetwork": true});
        let network = "node.kubernetes.io/network-unavailable";
        let table = [
            (json!({}), taint("node.kubernetes.io/unreachable", "NoExecute"), (true, true)),
            (json!({}), taint("node.kubernetes.io/unschedulable", "NoSchedule"), (true, true)),
            (json!({}), taint(network, "NoSchedule"), (false, true)),
            (host, taint(network, "NoSchedule"), (true, true)),
            (json!({}), taint("own", "NoSchedule"), (false, true)),
            (json!({}), taint("own", "NoExecute"), (false, false)),
            (json!({}), taint("own", "PreferNoSchedule"), (true, true)),
            (own, taint("own", "NoExecute"), (true, true)),
        ];
        for (spec, taints, (run, stay)) in table {
            assert_eq!(wanted(&set(&spec), &node(&taints)), Wanted { run, stay }, "{spec} {taints}");
        }
    }

    #[test]
    fn a_pinned_pod_has_its_node_as_the_target_before_it_is_bound() {
        let mut spec: PodSpec = serde_json::from_value(affinity(&json!([
            {"matchExpressions": [requirement("disk", "In", &["ssd"])]}])))
        .unwrap();
        pin(&mut spec, "two");
        let mut pod = Pod { spec: Some(spec), ..Pod::default() };
        assert_eq!(target(&pod), Some("two"));
        pod.spec.as_mut().unwrap().node_name = Some("three".into());
        assert_eq!(target(&pod), Some("three"));
        assert_eq!(target(&Pod::default()), None);
    }

    #[test]
    fn a_toleration_that_is_there_already_is_not_added_again() {
        let mut spec = PodSpec::default();
        tolerate_what_daemons_do(&mut spec);
        let once = spec.clone();
        tolerate_what_daemons_do(&mut spec);
        assert_eq!((spec.tolerations.as_ref().map(Vec::len), &spec), (Some(6), &once));
    }
}
