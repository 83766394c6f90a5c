//! Which endpoints of a Service a node sends new connections to: `CategorizeEndpoints` of k/pkg/proxy/topology.go and
//! what the proxy does without any (k/pkg/proxy/iptables/proxier.go), v1.34.4.

/// What counts about an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// `conditions.ready`; absent counts as ready.
    pub ready: bool,
    /// `conditions.serving`; absent counts as `ready`.
    pub serving: bool,
    /// `conditions.terminating`.
    pub terminating: bool,
    /// It is on the node that asks.
    pub local: bool,
}

/// A Service's traffic policy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TrafficPolicy {
    /// Endpoints of the whole cluster.
    #[default]
    Cluster,
    /// Endpoints of the node that the connection arrives at.
    Local,
}

/// Where new connections go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Targets {
    /// To one of these, by their index, each as likely.
    Any(Vec<usize>),
    /// Nowhere: the Service has no endpoint that could be used, so they are refused at once.
    Reject,
    /// Nowhere: other nodes have endpoints and the policy forbids them, so packets are dropped and the client waits.
    Drop,
}

/// Where a node sends new connections. Ready endpoints come first; only where there is none at all (of the node, under
/// [`TrafficPolicy::Local`]) those that are terminating and still serve. An unready live pod never gets any.
#[must_use]
pub fn targets(policy: TrafficPolicy, endpoints: &[Facts]) -> Targets {
    let usable = |local_only: bool| -> Vec<usize> {
        let of = |wanted: fn(&Facts) -> bool| -> Vec<usize> {
            let all = endpoints.iter().enumerate();
            all.filter(|(_, one)| (!local_only || one.local) && wanted(one)).map(|(index, _)| index).collect()
        };
        let ready = of(|one| one.ready);
        if ready.is_empty() { of(|one| one.serving && one.terminating) } else { ready }
    };
    let anywhere = usable(false);
    match policy {
        _ if anywhere.is_empty() => Targets::Reject,
        TrafficPolicy::Cluster => Targets::Any(anywhere),
        TrafficPolicy::Local => {
            let here = usable(true);
            if here.is_empty() { Targets::Drop } else { Targets::Any(here) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READY: Facts = Facts { ready: true, serving: true, terminating: false, local: false };
    const DRAINING: Facts = Facts { ready: false, serving: true, terminating: true, local: false };
    const UNREADY: Facts = Facts { ready: false, serving: false, terminating: false, local: false };
    const FAILING: Facts = Facts { ready: false, serving: false, terminating: true, local: false };

    const fn here(facts: Facts) -> Facts {
        Facts { local: true, ..facts }
    }

    #[test]
    fn a_node_chooses_as_kube_proxy_does() {
        use TrafficPolicy::{Cluster, Local};
        let table: [(TrafficPolicy, &[Facts], Targets); 10] = [
            (Cluster, &[], Targets::Reject),
            (Cluster, &[READY, UNREADY, READY], Targets::Any(vec![0, 2])),
            (Cluster, &[DRAINING, READY], Targets::Any(vec![1])),
            (Cluster, &[DRAINING, UNREADY, FAILING], Targets::Any(vec![0])),
            (Cluster, &[UNREADY, FAILING], Targets::Reject),
            (Local, &[READY], Targets::Drop),
            (Local, &[READY, here(READY)], Targets::Any(vec![1])),
            (Local, &[READY, here(DRAINING)], Targets::Any(vec![1])),
            (Local, &[READY, here(UNREADY)], Targets::Drop),
            (Local, &[here(UNREADY)], Targets::Reject),
        ];
        for (policy, endpoints, wanted) in table {
            assert_eq!(targets(policy, endpoints), wanted, "{policy:?} {endpoints:?}");
        }
    }
}
