//! The agents of a run from the harness's side: fresh pods, started together, followed, stopped and removed.
//!
//! Fresh, since a fresh address means that no entry which an earlier run left in a node's NAT table can be taken for a
//! loss of this one. Each sends its share of every lane, from one moment of the run's clock on, and what they say is
//! passed on as if there were one.

use std::{num::NonZeroU32, time::Duration};

use futures::future::{join_all, try_join_all};
use kube::Client;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::Instant,
};

use super::{
    error::AgentError,
    follow::{Conversation, Follower, Pace, Progress},
    merge::{Ear, Merger},
    standing::StandingJob,
    transport::{PodProxy, Transport},
};
use crate::{
    load::{
        lane::{LaneSpec, Share},
        message::LoadMessage,
    },
    record::clock::Sink,
};

/// Agents whose lanes run. Dropped without [`Agents::stop`], their Job is removed as far as the process still gets.
pub struct Agents {
    job: StandingJob,
    following: Following,
}

/// How many agents there are, where, as what and for how long they run.
#[derive(Debug, Clone)]
pub struct Place {
    /// The name of their Job, from [`super::job::new_name`]; chosen by the caller, who writes it down before it is
    /// there.
    pub name: String,
    /// How many.
    pub agents: NonZeroU32,
    /// The nodes that they stand on. At least one.
    pub nodes: Vec<String>,
    /// Their image.
    pub image: String,
    /// Until when the Lease holds under which their run stands; the load ends then, unless it is renewed.
    pub lease_until: watch::Receiver<Instant>,
}

/// Creates the Job of the agents, waits until all of them are ready, and has them begin the lanes together; then it
/// returns. Their messages go to `messages` as those of one generator, with times on the run's clock (`sink.clock()`);
/// notes about the agents themselves go to the sink.
///
/// Needs the rights to create, get, list, watch and delete jobs, to get, list and watch pods and events, and to get and
/// create `pods/proxy`. When it fails or is dropped half-way, the Job is removed. The client's default retry must be
/// off, or a dead agent is seen late.
pub async fn start(
    client: Client,
    namespace: &str,
    place: &Place,
    lanes: &[LaneSpec],
    sink: Sink,
    messages: mpsc::UnboundedSender<LoadMessage>,
) -> Result<Agents, AgentError> {
    let job = StandingJob::create(client.clone(), namespace, place).await?;
    let begun = async {
        let talk = |pod: String| {
            let proxy = PodProxy::new(client.clone(), namespace, &pod);
            (pod, Conversation::new(proxy, Pace::RUN, place.lease_until.clone()))
        };
        begin(job.ready().await?.into_iter().map(talk).collect(), lanes, sink, messages).await
    }
    .await;
    match begun {
        Ok(following) => Ok(Agents { job, following }),
        Err(error) => {
            if let Err(left) = job.remove().await {
                tracing::warn!("{left}");
            }
            Err(error)
        }
    }
}

impl Agents {
    /// Has each agent open the connections that its lanes keep anew, as soon as it hears of it; what it does not hear of
    /// is noted.
    pub fn renew_connections(&self) {
        self.following.renew_connections();
    }

    /// Stops the lanes, waits for what is open, passes on the remaining messages, removes the Job, and returns when it
    /// is gone with its pods. That an agent died before is no error here: the sink has it as a taint.
    pub async fn stop(self) -> Result<(), AgentError> {
        self.following.finish().await;
        self.job.remove().await
    }
}

/// Followers at work, one for each agent, and what makes one stream of theirs.
pub(super) struct Following {
    followers: Vec<(oneshot::Sender<()>, JoinHandle<()>)>,
    renew: watch::Sender<()>,
    merging: JoinHandle<()>,
}

impl Following {
    /// Tells each agent to open its connections anew.
    pub(super) fn renew_connections(&self) {
        self.renew.send_replace(());
    }

    /// Stops the agents and waits for their last messages.
    pub(super) async fn finish(mut self) {
        let followed = std::mem::take(&mut self.followers).into_iter().map(|(stop, task)| {
            // It fails only when the follower has ended.
            _ = stop.send(());
            task
        });
        let followed: Vec<JoinHandle<()>> = followed.collect();
        for error in join_all(followed).await.into_iter().filter_map(Result::err) {
            tracing::error!(%error, "following a load agent broke off");
        }
        if let Err(error) = (&mut self.merging).await {
            tracing::error!(%error, "merging what the load agents say broke off");
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.followers.iter().for_each(|(_, task)| task.abort());
        self.merging.abort();
    }
}

/// Sets agents that answer to work, each with its share of the lanes, and returns when they have begun. They are named
/// by their pods. At least one.
pub(super) async fn begin<T: Transport>(
    agents: Vec<(String, Conversation<T>)>,
    lanes: &[LaneSpec],
    sink: Sink,
    messages: mpsc::UnboundedSender<LoadMessage>,
) -> Result<Following, AgentError> {
    let talk = |pod: &str, why: String| AgentError::Talk { pod: pod.to_owned(), why };
    let count = u32::try_from(agents.len()).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
    let shared = |share| lanes.iter().map(|lane| lane.shared(share)).collect();
    let shares: Vec<Vec<LaneSpec>> = Share::all(count).map(shared).collect();

    let sink = &sink;
    let offsets = agents.iter().map(async |(pod, one)| one.offset(sink).await.map_err(|why| talk(pod, why)));
    let offsets = try_join_all(offsets).await?;
    let ahead = agents.iter().map(|(_, one)| one.pace().begin_ahead).max().unwrap_or_default();
    let begin_us = sink.clock().at(Instant::now() + ahead);
    let started = agents.iter().zip(&offsets).zip(&shares).map(async |(((pod, one), offset), lanes)| {
        one.start(lanes.clone(), offset.agent_us(begin_us)).await.map_err(|why| talk(pod, why))
    });
    try_join_all(started).await?;

    let (merging, heard) = mpsc::unbounded_channel();
    let merger = Merger::new(&shares, begin_us, messages);
    let longest_us = lanes.iter().map(|lane| lane.timeout_us.max(lane.connect_timeout_us)).max().unwrap_or(0);
    let open_at_most = Duration::from_micros(u64::try_from(longest_us).unwrap_or(0));
    let renew = watch::Sender::new(());
    let follow = |(agent, ((name, conversation), offset))| {
        let ear = Ear { agent, merging: merging.clone() };
        let (sink, progress) = (sink.clone(), Progress::default());
        let follower = Follower { conversation, name, sink, ear, offset, open_at_most, progress };
        let (stop, told) = oneshot::channel();
        (stop, tokio::spawn(follower.follow(told, renew.subscribe())))
    };
    let followers = agents.into_iter().zip(offsets).enumerate().map(follow).collect();
    let following = Following { followers, renew, merging: tokio::spawn(merger.merge(heard)) };
    // What comes next must find the load under way.
    let begin = u64::try_from(begin_us).map(Duration::from_micros).unwrap_or_default();
    tokio::time::sleep_until(sink.clock().origin() + begin).await;
    Ok(following)
}
