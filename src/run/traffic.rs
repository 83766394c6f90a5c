//! The load of a run: lanes resolved to addresses, started here or in agent pods, and stopped so that nothing is lost.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use tokio::{sync::mpsc, task::JoinHandle};

use super::RunError;
use crate::{
    agent::client::{self as agent, Place},
    cluster::{
        Cluster,
        dial::{Dial, Hop, Target},
    },
    experiment::{
        schema::{Lane, Spec, Vantage},
        units::Span,
    },
    load::{
        self,
        lane::{Destination, LaneOptions, LaneSpec, Route, RoutedLane, Shape, Share, StreamSpec, TlsSpec},
        message::LoadMessage,
    },
    plan::{
        ClusterFacts,
        facts::{ServiceFact, ServicePortFact},
    },
    record::{
        clock::Sink,
        event::{Note, NoteKind, What},
    },
    run::recorder::forward_local,
};

/// The load while it runs.
pub struct Traffic {
    local: Option<(load::Running, JoinHandle<()>)>,
    agents: Option<agent::Agents>,
}

impl Traffic {
    /// Starts every lane: those from outside in this process, those from inside in fresh agent pods.
    pub async fn start(
        experiment: &Spec,
        facts: &ClusterFacts,
        cluster: &Cluster,
        place: Option<Place>,
        sink: &Sink,
        messages: &mpsc::UnboundedSender<LoadMessage>,
    ) -> Result<Self, RunError> {
        let (lanes, namespace) = (&experiment.load, experiment.given.namespace.as_str());
        let specs = |vantage: Vantage| -> Result<Vec<LaneSpec>, RunError> {
            lanes.iter().filter(|lane| lane.from == vantage).map(|lane| resolve(lane, facts, experiment)).collect()
        };
        let mut traffic = Self { local: None, agents: None };
        if let Some(dial) = &cluster.dial {
            let routed = lanes.iter().map(|lane| route(lane, facts, experiment, dial, place.as_ref()));
            traffic.begin_local(routed.collect::<Result<_, _>>()?, sink, messages)?;
            return Ok(traffic);
        }
        let (outside, inside) = (specs(Vantage::Outside)?, specs(Vantage::Inside)?);
        if !inside.is_empty() {
            let place = place.ok_or(RunError::NoPlaceForAgent)?;
            let (client, sink, messages) = (cluster.client.clone(), sink.clone(), messages.clone());
            traffic.agents = Some(agent::start(client, namespace, &place, &inside, sink, messages).await?);
        }
        if !outside.is_empty() {
            forget_old_connections(&outside, cluster, sink).await?;
            traffic.begin_local(outside.into_iter().map(RoutedLane::from).collect(), sink, messages)?;
        }
        Ok(traffic)
    }

    fn begin_local(
        &mut self,
        lanes: Vec<RoutedLane>,
        sink: &Sink,
        messages: &mpsc::UnboundedSender<LoadMessage>,
    ) -> Result<(), RunError> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut running = load::start(lanes, sender)?;
        let forward = forward_local(sink.clone(), running.origin(), receiver, messages.clone());
        running.begin()?;
        self.local = Some((running, tokio::spawn(forward)));
        Ok(())
    }

    /// Opens the connections of all lanes anew, now that the cluster's rules have followed its endpoints.
    pub fn renew_connections(&self) {
        if let Some((running, _)) = &self.local {
            running.renewer().renew();
        }
        if let Some(agents) = &self.agents {
            agents.renew_connections();
        }
    }

    /// Stops every lane; requests in flight end by themselves, and all that was measured has been handed on.
    pub async fn stop(self) -> Result<(), RunError> {
        let agents = async {
            match self.agents {
                Some(agents) => agents.stop().await.map_err(RunError::from),
                None => Ok(()),
            }
        };
        let local = async {
            match self.local {
                Some((running, forward)) => {
                    running.stop().await?;
                    // It ends when the generator's last sender is gone.
                    drop(forward.await);
                    Ok(())
                }
                None => Ok(()),
            }
        };
        let (agents, local) = futures::join!(agents, local);
        agents.and(local)
    }
}

/// A connection that was lost in an earlier run can leave an entry in a node's NAT table that still maps its port to a
/// pod that is gone; a new connection from the same port would fall into it and look like a loss of the service's.
async fn forget_old_connections(lanes: &[LaneSpec], cluster: &Cluster, sink: &Sink) -> Result<(), RunError> {
    let mut ports: Vec<u16> = lanes.iter().map(|lane| lane.address.port()).collect();
    ports.sort_unstable();
    ports.dedup();
    for port in ports {
        let text = match cluster.forget_connections(port).await? {
            Some(0) => continue,
            Some(forgotten) => format!("removed {forgotten} old entries for port {port} from the nodes' NAT tables"),
            None => format!("the nodes' NAT tables for port {port} are out of reach: old entries cannot be ruled out"),
        };
        sink.record(What::Note(Note { kind: NoteKind::Info, text }));
    }
    Ok(())
}

/// A lane whose connections are dialled by the cluster's own rules: those of the node through which connections come
/// in, or of the first node on which an agent pod would stand.
fn route(
    lane: &Lane,
    facts: &ClusterFacts,
    experiment: &Spec,
    dial: &Arc<dyn Dial>,
    place: Option<&Place>,
) -> Result<RoutedLane, RunError> {
    let node = match lane.from {
        Vantage::Outside => dial.way_in().to_owned(),
        Vantage::Inside => place.and_then(|place| place.nodes.first()).ok_or(RunError::NoPlaceForAgent)?.clone(),
    };
    let spec = resolve(lane, facts, experiment)?;
    let port = service_port(lane, facts)?.port;
    let target = Target { namespace: experiment.given.namespace.clone(), service: lane.service.clone(), port };
    let dial = Arc::clone(dial);
    let route = Route::new(move || match dial.dial(&node, &target) {
        Hop::To(address, delay) => Destination::Address { address, delay },
        Hop::Refused => Destination::Refused,
        Hop::Silent => Destination::Silent,
    });
    Ok(RoutedLane { spec, route })
}

fn refuse(lane: &Lane, why: &str) -> RunError {
    RunError::LaneTarget { lane: lane.name.clone(), service: lane.service.clone(), why: why.to_owned() }
}

fn service<'a>(lane: &Lane, facts: &'a ClusterFacts) -> Result<&'a ServiceFact, RunError> {
    let found = facts.services.iter().find(|service| service.name == lane.service);
    found.ok_or_else(|| refuse(lane, "there is no such Service"))
}

fn service_port<'a>(lane: &Lane, facts: &'a ClusterFacts) -> Result<&'a ServicePortFact, RunError> {
    let service = service(lane, facts)?;
    match lane.port {
        Some(wanted) => service.ports.iter().find(|port| port.port == wanted),
        None => service.ports.first().filter(|_| service.ports.len() == 1),
    }
    .ok_or_else(|| refuse(lane, "say which of its ports with `port`"))
}

fn resolve(lane: &Lane, facts: &ClusterFacts, experiment: &Spec) -> Result<LaneSpec, RunError> {
    let namespace = &experiment.given.namespace;
    let (service, port) = (service(lane, facts)?, service_port(lane, facts)?);
    let address = match lane.from {
        Vantage::Inside => {
            let ip: IpAddr =
                service.cluster_ip.as_deref().and_then(|ip| ip.parse().ok()).ok_or_else(|| {
                    refuse(lane, "it has no cluster IP; a headless Service cannot be asked from inside")
                })?;
            SocketAddr::new(ip, port.port)
        }
        Vantage::Outside => {
            let node_port =
                port.node_port.ok_or_else(|| refuse(lane, "it has no nodePort; make it `type: NodePort`"))?;
            SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), node_port)
        }
    };
    Ok(LaneSpec {
        name: lane.name.clone(),
        address,
        host: format!("{}.{namespace}", lane.service),
        path: lane.path.clone(),
        rate_per_second: lane.rate.per_second(),
        connections: lane.connections,
        connect_timeout_us: lane.connect_timeout.micros(),
        timeout_us: lane.timeout.micros(),
        status: lane.status,
        body_contains: lane.body_contains.clone(),
        options: options(lane, namespace, experiment.slow(lane)),
    })
}

fn options(lane: &Lane, namespace: &str, slow: Span) -> LaneOptions {
    let tls = lane.tls.as_ref().map(|tls| TlsSpec {
        server_name: tls.server_name.clone().unwrap_or_else(|| format!("{}.{namespace}", lane.service)),
        verify: tls.verify,
    });
    LaneOptions {
        shape: lane.shape.as_ref().map_or(Shape::Constant, Shape::from),
        share: Share::default(),
        protocol: lane.protocol,
        send: lane.send.clone(),
        for_us: None,
        tls,
        requests_per_connection: lane.requests_per_connection,
        connection_age_us: lane.connection_age.map(Span::micros),
        body_length: lane.body_length,
        body_sha256: lane.body_sha256.clone(),
        slow_us: Some(slow.micros()),
        stream: lane.stream.map(|stream| StreamSpec { for_us: stream.r#for.micros(), idle_us: stream.idle.micros() }),
    }
}
