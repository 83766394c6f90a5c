use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{
    api_server::{ApiServer, Script},
    rig::{agent, lease_until, options, scripted},
    *,
};
use crate::{
    agent::{
        client::{Agents, Place, start},
        error::AgentError,
        job::new_name,
    },
    record::{
        clock::{Clock, Sink},
        event::{Event, What},
    },
};

fn waiting(reason: &str) -> Value {
    json!({ "phase": "Pending", "containerStatuses": [{ "name": "agent", "image": "i", "imageID": "", "ready": false,
        "restartCount": 0, "state": { "waiting": { "reason": reason } } }] })
}

fn ready() -> Value {
    json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] })
}

fn pods_go(statuses: Vec<Value>) -> Script {
    Script { statuses, ..Script::default() }
}

struct Ends {
    messages: mpsc::UnboundedReceiver<LoadMessage>,
    events: mpsc::UnboundedReceiver<Event>,
}

impl Ends {
    fn notes(&mut self) -> Vec<String> {
        let mut notes = Vec::new();
        while let Ok(event) = self.events.try_recv() {
            if let What::Note(note) = event.what {
                notes.push(note.text);
            }
        }
        notes
    }
}

/// Starts so many agents with one lane.
async fn started(client: kube::Client, agents: u32) -> (Result<Agents, AgentError>, Ends) {
    let (sink, events) = Sink::new(Clock::start());
    let (sender, messages) = mpsc::unbounded_channel();
    let place = Place {
        name: new_name(),
        agents: agents.try_into().unwrap(),
        nodes: vec!["worker".to_owned()],
        image: "evenkeel:0.1.0".to_owned(),
        lease_until: lease_until(),
    };
    let begun = start(client, "shop", &place, &[lane("new", 10.0)], sink, sender).await;
    (begun, Ends { messages, events })
}

#[tokio::test]
async fn a_job_is_created_its_pods_followed_through_the_proxy_and_all_is_gone_at_the_end() {
    let load = || scripted(vec![interval("new", 0, 3)], vec![interval("new", 100_000, 4)]);
    let rigs = [agent(options(), load()).await, agent(options(), load()).await];
    let statuses = vec![waiting("ContainerCreating"), ready()];
    let (server, client) = ApiServer::serve(pods_go(statuses), &rigs.each_ref().map(|rig| rig.address)).await;
    let (begun, mut ends) = started(client, 2).await;
    let agents = begun.unwrap();
    assert_eq!((server.count("jobs"), server.count("pods")), (1, 2));
    let LoadMessage::Interval(first) = ends.messages.recv().await.unwrap() else { panic!("not an interval") };
    assert_eq!(first.counts.by_outcome, BTreeMap::from([(Outcome::Ok, 6)]), "of both agents");
    agents.stop().await.unwrap();
    let LoadMessage::Interval(last) = ends.messages.try_recv().unwrap() else { panic!("not an interval") };
    assert_eq!(last.counts.by_outcome, BTreeMap::from([(Outcome::Ok, 8)]), "what came after the stop has come");
    assert!(ends.messages.try_recv().is_err());
    assert_eq!((server.count("jobs"), server.count("pods")), (0, 0));
    let notes = ends.notes();
    let of_clocks = notes.iter().filter(|note| note.contains("the clock of the load agent evenkeel-agent-"));
    assert_eq!((of_clocks.count(), notes.len()), (2, 2), "{notes:?}");
    assert_eq!(server.asked("POST /api/v1/namespaces/shop/pods/evenkeel-agent-"), 4, "start and stop by the proxy");
    assert_eq!(server.asked("POST /apis/batch/v1/namespaces/shop/jobs"), 1);
}

#[tokio::test]
async fn a_pod_whose_image_is_missing_is_named_and_all_are_removed() {
    let rig = agent(options(), scripted(vec![], vec![])).await;
    let script = pods_go(vec![waiting("ImagePullBackOff")]);
    let (server, client) = ApiServer::serve(script, &[rig.address; 2]).await;
    let (begun, _ends) = started(client, 2).await;
    let error = begun.err().unwrap().to_string();
    assert!(error.contains("the image evenkeel:0.1.0 is not on node worker"), "{error}");
    assert_eq!(server.count("pods"), 0);
    assert_eq!(server.asked("DELETE"), 1);
}

#[tokio::test]
async fn a_job_that_the_server_refuses_is_an_error_that_says_what_to_try_and_nothing_is_removed() {
    let refusal = Some((403, "jobs.batch is forbidden: User \"u\" cannot create resource".to_owned()));
    let (server, client) = ApiServer::serve(Script { refusal, ..Script::default() }, &[]).await;
    let (begun, _ends) = started(client, 1).await;
    let error = begun.err().unwrap().to_string();
    assert!(error.contains("the right to create jobs in shop"), "{error}");
    assert_eq!(server.asked("DELETE"), 0);
}

/// The Job stands and none of its pods: only its controller knows why.
#[tokio::test]
async fn pods_that_may_not_be_made_are_an_error_at_once_in_the_controllers_words() {
    let refused_pods = Some("Error creating: pods \"a\" is forbidden: exceeded quota: small".to_owned());
    let (server, client) = ApiServer::serve(Script { refused_pods, ..Script::default() }, &[]).await;
    let begun = tokio::time::timeout(Duration::from_secs(20), started(client, 1)).await.expect("at once").0;
    let error = begun.err().unwrap().to_string();
    assert!(
        error.contains("a ResourceQuota of namespace shop has no room for it") && error.contains("small"),
        "{error}"
    );
    assert_eq!(server.count("jobs"), 0);
}

#[tokio::test]
async fn when_one_agent_cannot_be_talked_to_all_are_removed() {
    let good = agent(options(), scripted(vec![], vec![])).await;
    let bad = agent(options(), Box::new(|_, _, _| Err("no".to_owned()))).await;
    let (server, client) = ApiServer::serve(pods_go(vec![ready()]), &[good.address, bad.address]).await;
    let (begun, _ends) = started(client, 2).await;
    let error = begun.err().unwrap().to_string();
    assert!(error.contains("-1-x") && error.contains("the agent refused: failed to start the lanes: no"), "{error}");
    assert_eq!((server.count("jobs"), server.count("pods")), (0, 0));
}

#[tokio::test]
async fn a_start_that_is_broken_off_leaves_nothing() {
    let (server, client) = ApiServer::serve(pods_go(vec![waiting("ContainerCreating")]), &[]).await;
    tokio::select! {
        _ = started(client, 2) => panic!("the pods are not ready"),
        () = tokio::time::sleep(Duration::from_millis(300)) => {}
    }
    tokio::time::timeout(Duration::from_secs(5), server.all_is_gone()).await.expect("it is removed");
}

#[tokio::test]
async fn agents_that_are_dropped_leave_nothing() {
    let rig = agent(options(), scripted(vec![], vec![])).await;
    let (server, client) = ApiServer::serve(pods_go(vec![ready()]), &[rig.address]).await;
    let (begun, _ends) = started(client, 1).await;
    drop(begun.unwrap());
    tokio::time::timeout(Duration::from_secs(5), server.all_is_gone()).await.expect("it is removed");
}

#[tokio::test]
async fn a_container_that_was_killed_is_named_in_the_taint_at_once() {
    let rigs = [agent(options(), scripted(vec![], vec![])).await, agent(options(), scripted(vec![], vec![])).await];
    let (server, client) = ApiServer::serve(pods_go(vec![ready()]), &rigs.each_ref().map(|rig| rig.address)).await;
    let (begun, mut ends) = started(client, 2).await;
    let agents = begun.unwrap();
    let [_, killed] = rigs;
    killed.ended.abort();
    let killed = json!({ "phase": "Failed", "containerStatuses": [{ "name": "agent", "image": "i", "imageID": "",
        "ready": false, "restartCount": 0, "state": { "terminated": { "exitCode": 137, "reason": "OOMKilled" } } }] });
    server.set_status(1, &killed);
    let event = tokio::time::timeout(Duration::from_secs(5), ends.events.recv()).await.expect("in time").unwrap();
    let What::Note(note) = event.what else { panic!("not a note") };
    let words = "-1-x ended: its container ended with exit code 137 (OOMKilled)";
    assert!(note.text.contains(words), "{}", note.text);
    agents.stop().await.unwrap();
    assert_eq!((server.count("jobs"), server.count("pods")), (0, 0));
}
