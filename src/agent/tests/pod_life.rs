use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{
    api_server::ApiServer,
    rig::{agent, lease_until, options, scripted},
    *,
};
use crate::{
    agent::{
        client::{Agent, Place, start},
        error::AgentError,
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

async fn started(client: kube::Client) -> (Result<Agent, AgentError>, Ends) {
    let (sink, events) = Sink::new(Clock::start());
    let (sender, messages) = mpsc::unbounded_channel();
    let lanes = vec![lane("new", 10.0)];
    let place = Place {
        name: crate::agent::pod::new_name(),
        node: "worker".to_owned(),
        image: "evenkeel:0.1.0".to_owned(),
        lease_until: lease_until(),
    };
    let begun = start(client, "shop", &place, lanes, sink, sender).await;
    (begun, Ends { messages, events })
}

#[tokio::test]
async fn a_pod_is_created_followed_through_the_proxy_and_gone_at_the_end() {
    let rig = agent(options(), scripted(vec![interval("new", 0, 3)], vec![interval("new", 100_000, 4)])).await;
    let (server, client) = ApiServer::serve(vec![waiting("ContainerCreating"), ready()], None, rig.address).await;
    let (begun, mut ends) = started(client).await;
    let agent = begun.unwrap();
    assert!(agent.name().starts_with("evenkeel-agent-"));
    assert!(server.has_pod());
    ends.messages.recv().await.unwrap();
    agent.stop().await.unwrap();
    assert!(ends.messages.try_recv().is_ok(), "what came after the stop has come");
    assert!(ends.messages.try_recv().is_err());
    assert!(!server.has_pod());
    let notes = ends.notes();
    assert!(notes.len() == 1 && notes[0].contains("the clock of the load agent"), "{notes:?}");
    assert_eq!(server.asked("POST /api/v1/namespaces/shop/pods/evenkeel-agent-"), 2, "start and stop by the proxy");
}

#[tokio::test]
async fn a_pod_whose_image_is_missing_is_named_and_removed() {
    let rig = agent(options(), scripted(vec![], vec![])).await;
    let (server, client) = ApiServer::serve(vec![waiting("ImagePullBackOff")], None, rig.address).await;
    let (begun, _ends) = started(client).await;
    let error = begun.err().unwrap().to_string();
    assert!(error.contains("the image evenkeel:0.1.0 is not on node worker"), "{error}");
    assert!(!server.has_pod());
    assert_eq!(server.asked("DELETE"), 1);
}

#[tokio::test]
async fn a_pod_that_the_server_refuses_is_an_error_that_says_what_to_try_and_nothing_is_removed() {
    let rig = agent(options(), scripted(vec![], vec![])).await;
    let refusal = (403, "pods is forbidden: User \"u\" cannot create resource".to_owned());
    let (server, client) = ApiServer::serve(vec![], Some(refusal), rig.address).await;
    let (begun, _ends) = started(client).await;
    let error = begun.err().unwrap().to_string();
    assert!(error.contains("the right to create pods in shop"), "{error}");
    assert_eq!(server.asked("DELETE"), 0);
}

#[tokio::test]
async fn an_agent_that_cannot_be_talked_to_is_removed() {
    let rig = agent(options(), Box::new(|_, _| Err("no".to_owned()))).await;
    let (server, client) = ApiServer::serve(vec![ready()], None, rig.address).await;
    let (begun, _ends) = started(client).await;
    let error = begun.err().unwrap().to_string();
    assert!(error.contains("the agent refused: failed to start the lanes: no"), "{error}");
    assert!(!server.has_pod());
}

#[tokio::test]
async fn a_start_that_is_broken_off_leaves_no_pod() {
    let rig = agent(options(), scripted(vec![], vec![])).await;
    let (server, client) = ApiServer::serve(vec![waiting("ContainerCreating")], None, rig.address).await;
    tokio::select! {
        _ = started(client) => panic!("the pod is not ready"),
        () = tokio::time::sleep(Duration::from_millis(300)) => {}
    }
    tokio::time::timeout(Duration::from_secs(5), server.pod_is_gone()).await.expect("it is removed");
}

#[tokio::test]
async fn an_agent_that_is_dropped_leaves_no_pod() {
    let rig = agent(options(), scripted(vec![], vec![])).await;
    let (server, client) = ApiServer::serve(vec![ready()], None, rig.address).await;
    let (begun, _ends) = started(client).await;
    drop(begun.unwrap());
    tokio::time::timeout(Duration::from_secs(5), server.pod_is_gone()).await.expect("it is removed");
}

#[tokio::test]
async fn a_container_that_was_killed_is_named_in_the_taint_at_once() {
    let rig = agent(options(), scripted(vec![], vec![])).await;
    let (server, client) = ApiServer::serve(vec![ready()], None, rig.address).await;
    let (begun, mut ends) = started(client).await;
    let agent = begun.unwrap();
    rig.ended.abort();
    server
        .set_status(&json!({ "phase": "Failed", "containerStatuses": [{ "name": "agent", "image": "i", "imageID": "",
        "ready": false, "restartCount": 0, "state": { "terminated": { "exitCode": 137, "reason": "OOMKilled" } } }] }));
    let event = tokio::time::timeout(Duration::from_secs(5), ends.events.recv()).await.expect("in time").unwrap();
    let What::Note(note) = event.what else { panic!("not a note") };
    let words = "ended: its container ended with exit code 137 (OOMKilled)";
    assert!(note.text.contains(words), "{}", note.text);
    agent.stop().await.unwrap();
    assert!(!server.has_pod());
}
