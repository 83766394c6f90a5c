//! Which changes might help a pod for which there was no node: the queueing hints of upstream's plugins
//! (k/pkg/scheduler/framework/plugins/*, `isSchedulableAfter…`, v1.34.4).

use super::{cache::Cache, node, node::NodeInfo, plugin::Plugin, pod::PodInfo, queue::Waiting, resources};

/// A change of the cluster.
#[derive(Debug, Clone, Copy)]
pub(super) enum Event<'a> {
    /// A node is new or has changed; what it was before.
    Node(Option<&'a NodeInfo>, &'a NodeInfo),
    /// A node is gone.
    NodeGone,
    /// A pod has left its node.
    PodGone(&'a PodInfo),
    /// A volume claim is new or has changed: its namespace and name.
    Claim(&'a str, &'a str),
    /// A pod has come to a node, or has other labels there.
    PodCame(&'a PodInfo),
}

/// Whether a pod might find a node now.
pub(super) fn helps(cache: &Cache, event: Event<'_>, waiting: &Waiting) -> bool {
    // Without a rule that kept it away it was something else, such as that there was no node at all.
    waiting.failed.is_empty() || waiting.failed.iter().any(|plugin| might(*plugin, cache, event, &waiting.pod))
}

fn might(plugin: Plugin, cache: &Cache, event: Event<'_>, pod: &PodInfo) -> bool {
    match (plugin, event) {
        (_, Event::Node(before, now)) => by_node(plugin, before, now, pod),
        (Plugin::PodTopologySpread, Event::NodeGone) | (Plugin::Fit, Event::PodGone(_)) => true,
        (Plugin::NodePorts, Event::PodGone(gone)) => {
            pod.host_ports.iter().any(|port| gone.host_ports.iter().any(|other| port.conflicts(other)))
        }
        (Plugin::InterPodAffinity, Event::PodGone(gone)) => {
            let repelled = |one: &PodInfo, other: &PodInfo| {
                one.affinity.anti_required.iter().any(|term| term.is_about(cache, other))
            };
            repelled(pod, gone) || repelled(gone, pod)
        }
        (Plugin::InterPodAffinity, Event::PodCame(new)) => {
            pod.affinity.required.iter().any(|term| term.is_about(cache, new))
        }
        (Plugin::PodTopologySpread, Event::PodGone(other) | Event::PodCame(other)) => {
            let about = |one: &super::spread::Constraint| {
                one.selector.as_ref().is_some_and(|selector| selector.matches(&other.labels))
            };
            other.namespace == pod.namespace && pod.spread.iter().any(about)
        }
        (Plugin::VolumeBinding, Event::Claim(namespace, name)) => {
            pod.namespace == namespace && pod.claims.iter().any(|claim| claim == name)
        }
        _ => false,
    }
}

fn by_node(plugin: Plugin, before: Option<&NodeInfo>, now: &NodeInfo, pod: &PodInfo) -> bool {
    // A node that did before what it does now does not help.
    let turned = |does: &dyn Fn(&NodeInfo) -> bool| does(now) && !before.is_some_and(does);
    match plugin {
        Plugin::NodeUnschedulable => turned(&|node| node::filter_unschedulable(pod, node).is_none()),
        Plugin::TaintToleration => turned(&|node| node::filter_taints(pod, node).is_none()),
        Plugin::NodeAffinity => turned(&|node| pod.node_affinity.allows(node)),
        Plugin::NodePorts | Plugin::VolumeBinding => before.is_none(),
        Plugin::Fit => {
            resources::could_fit(pod, now) && before.is_none_or(|before| before.allocatable != now.allocatable)
        }
        Plugin::PodTopologySpread | Plugin::InterPodAffinity => {
            before.is_none_or(|before| before.labels != now.labels || before.taints != now.taints)
        }
    }
}
