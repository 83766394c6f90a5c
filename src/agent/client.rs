//! An agent from the harness's side: a fresh pod for each run, started, followed, stopped and removed.
//!
//! Fresh, since a fresh address means that no entry which an earlier run left in a node's NAT table can be taken for a
//! loss of this one.

use std::time::Duration;

use kube::Client;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::Instant,
};

use super::{
    error::AgentError,
    follow::{Conversation, Follower, Pace, Progress},
    standing::StandingPod,
    transport::{PodProxy, Transport},
    unsent::Coverage,
};
use crate::{
    load::{lane::LaneSpec, message::LoadMessage},
    record::clock::Sink,
};

/// An agent whose lanes run. Dropped without [`Agent::stop`], its pod is removed as far as the process still gets.
pub struct Agent {
    pod: StandingPod,
    following: Following,
}

/// Where, as what and for how long an agent's pod runs.
#[derive(Debug, Clone)]
pub struct Place {
    /// The pod's name, from [`super::pod::new_name`]; chosen by the caller, who writes it down before it is there.
    pub name: String,
    /// The node that it stands on.
    pub node: String,
    /// Its image.
    pub image: String,
    /// Until when the Lease holds under which its run stands; the load ends then, unless it is renewed.
    pub lease_until: watch::Receiver<Instant>,
}

/// Creates an agent's pod on a node, waits until it is ready, and starts the lanes. Their messages go to `messages`,
/// with times on the run's clock (`sink.clock()`); notes about the agent itself go to the sink.
///
/// Needs the rights to create, get, list, watch and delete pods, and to get and create `pods/proxy`. When it fails or
/// is dropped half-way, the pod is removed. The client's default retry must be off, or a dead agent is seen late.
pub async fn start(
    client: Client,
    namespace: &str,
    place: &Place,
    lanes: Vec<LaneSpec>,
    sink: Sink,
    messages: mpsc::UnboundedSender<LoadMessage>,
) -> Result<Agent, AgentError> {
    let pod = StandingPod::create(client.clone(), namespace, place).await?;
    let begun = async {
        pod.ready().await?;
        let proxy = PodProxy::new(client, namespace, pod.name());
        let talk = |why| AgentError::Talk { pod: pod.full_name(), why };
        let conversation = Conversation::new(proxy, Pace::RUN, place.lease_until.clone());
        begin(conversation, pod.name(), lanes, sink, messages).await.map_err(talk)
    }
    .await;
    match begun {
        Ok(following) => Ok(Agent { pod, following }),
        Err(error) => {
            if let Err(left) = pod.remove().await {
                tracing::warn!("{left}");
            }
            Err(error)
        }
    }
}

impl Agent {
    /// The pod's name, in the namespace it was started in.
    #[must_use]
    pub fn name(&self) -> &str {
        self.pod.name()
    }

    /// Stops the lanes, waits for what is open, passes on the remaining messages, removes the pod, and returns when it
    /// is gone. That the agent died before is no error here: the sink has it as a taint.
    pub async fn stop(self) -> Result<(), AgentError> {
        self.following.finish().await;
        self.pod.remove().await
    }
}

/// A follower at work.
pub(super) struct Following {
    task: JoinHandle<()>,
    stop: Option<oneshot::Sender<()>>,
}

impl Following {
    /// Stops the agent and waits for its last message.
    pub(super) async fn finish(mut self) {
        if let Some(stop) = self.stop.take() {
            // It fails only when the follower has ended.
            let _ = stop.send(());
        }
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "following the load agent broke off");
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Sets an agent that answers to work; in words why not.
pub(super) async fn begin<T: Transport>(
    conversation: Conversation<T>,
    name: &str,
    lanes: Vec<LaneSpec>,
    sink: Sink,
    messages: mpsc::UnboundedSender<LoadMessage>,
) -> Result<Following, String> {
    let offset = conversation.offset(&sink).await?;
    let started = conversation.start(lanes.clone()).await?;
    let coverage = Coverage::from(&lanes, offset.run_us(started.origin_us)).map_err(|error| error.to_string())?;
    let longest_us = lanes.iter().map(|lane| lane.timeout_us.max(lane.connect_timeout_us)).max().unwrap_or(0);
    let follower = Follower {
        conversation,
        name: name.to_owned(),
        sink,
        messages,
        offset,
        coverage,
        open_at_most: Duration::from_micros(u64::try_from(longest_us).unwrap_or(0)),
        progress: Progress::default(),
    };
    let (stop, told) = oneshot::channel();
    Ok(Following { task: tokio::spawn(follower.follow(told)), stop: Some(stop) })
}
