use std::time::Duration;

use hyper::{Method, StatusCode};
use tokio::sync::mpsc;

use super::{
    rig::{Rig, agent, options, scripted, send, watched},
    *,
};
use crate::{
    agent::{
        error::AgentError,
        protocol::{
            CLOCK, ClockReading, MESSAGES, Messages, READY, RENEW, Refusal, START, STOP, StartRequest, Started,
        },
        server::AgentOptions,
    },
    experiment::units::Span,
};

/// A moment that no agent of a test lives to see.
const LATER_US: Micros = 50_000_000;

fn start_body(lanes: Vec<LaneSpec>, abandoned_after_ms: u64) -> String {
    serde_json::to_string(&StartRequest { lanes, begin_us: LATER_US, abandoned_after_ms }).unwrap()
}

async fn ask(rig: &Rig, method: Method, path: &str, body: &str) -> (StatusCode, String) {
    send(rig.address, method, path, body.to_owned()).await.unwrap()
}

async fn messages(rig: &Rig, query: &str) -> Messages {
    let (status, text) = ask(rig, Method::GET, &format!("{MESSAGES}?{query}"), "").await;
    assert_eq!(status, StatusCode::OK, "{text}");
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn an_agent_answers_that_it_is_ready_before_it_is_started() {
    let rig = agent(options(), scripted(vec![], vec![])).await;
    assert_eq!(ask(&rig, Method::GET, READY, "").await, (StatusCode::OK, "ok".to_owned()));
    let (status, first) = ask(&rig, Method::GET, CLOCK, "").await;
    assert_eq!(status, StatusCode::OK);
    let (_, second) = ask(&rig, Method::GET, CLOCK, "").await;
    let [first, second] = [first, second].map(|text| serde_json::from_str::<ClockReading>(&text).unwrap().agent_us);
    assert!(first < second, "the clock goes forward: {first}, {second}");
}

#[tokio::test]
async fn what_is_not_understood_gets_a_4xx_that_says_why() {
    let rig = agent(options(), scripted(vec![], vec![])).await;
    let lanes = vec![lane("new", 10.0)];
    let table = [
        (Method::GET, "/v2/clock", String::new(), 404, "speaks v1"),
        (Method::POST, CLOCK, String::new(), 405, "takes GET"),
        (Method::GET, START, String::new(), 405, "takes POST"),
        (Method::POST, START, "{".to_owned(), 400, "not a start request"),
        (
            Method::POST,
            START,
            r#"{"lanes":[],"begin_us":9,"abandoned_after_ms":1000,"x":1}"#.to_owned(),
            400,
            "unknown field",
        ),
        (Method::POST, START, start_body(vec![], 30_000), 400, "0 lanes"),
        (Method::POST, START, start_body(lanes.clone(), 0), 400, "abandoned_after_ms"),
        (Method::POST, START, "x".repeat(300_000), 400, "length limit"),
        (Method::GET, "/v1/messages", String::new(), 400, "after=SEQ is missing"),
        (Method::GET, "/v1/messages?after=-1", String::new(), 400, "not a number"),
        (Method::GET, "/v1/messages?after=0&wait=1", String::new(), 400, "not known"),
        (Method::GET, "/v1/messages?after=0&wait_ms=99999", String::new(), 400, "the longest is"),
        (Method::GET, "/v1/messages?after=0&lease_ms=x", String::new(), 400, "not a number"),
        (Method::GET, "/v1/messages?after=0&lease_ms=18446744073709551615", String::new(), 400, "the longest is"),
        (Method::GET, "/v1/messages?after=1", String::new(), 416, "up to 0"),
        (Method::POST, RENEW, String::new(), 409, "not been started"),
        (Method::GET, RENEW, String::new(), 405, "takes POST"),
        (Method::POST, STOP, String::new(), 409, "not been started"),
    ];
    for (method, path, body, code, words) in table {
        let (status, text) = ask(&rig, method, path, &body).await;
        assert_eq!(status.as_u16(), code, "{path} {text}");
        let refusal: Refusal = serde_json::from_str(&text).unwrap();
        assert!(refusal.error.contains(words), "{path}: {}", refusal.error);
    }
    // None of that has done anything: the agent can still be started.
    assert_eq!(ask(&rig, Method::POST, START, &start_body(lanes, 30_000)).await.0, StatusCode::OK);
}

#[tokio::test]
async fn the_same_start_again_gets_the_same_answer_and_another_is_refused() {
    let rig = agent(options(), scripted(vec![], vec![])).await;
    let body = start_body(vec![lane("new", 10.0)], 30_000);
    let (_, first) = ask(&rig, Method::POST, START, &body).await;
    let (_, again) = ask(&rig, Method::POST, START, &body).await;
    let [first, again] = [first, again].map(|text| serde_json::from_str::<Started>(&text).unwrap());
    assert_eq!(first, again);
    let (status, text) = ask(&rig, Method::POST, START, &start_body(vec![lane("other", 10.0)], 30_000)).await;
    assert_eq!(status, StatusCode::CONFLICT, "{text}");
}

/// Its requests would be late from the first one on, and its intervals not those of the others.
#[tokio::test]
async fn a_moment_that_has_passed_is_refused_and_the_agent_can_still_be_started() {
    let rig = agent(options(), scripted(vec![], vec![])).await;
    let start = |begin_us| {
        let lanes = vec![lane("new", 10.0)];
        serde_json::to_string(&StartRequest { lanes, begin_us, abandoned_after_ms: 30_000 }).unwrap()
    };
    for begin_us in [0, -5, Micros::MIN] {
        let (status, text) = ask(&rig, Method::POST, START, &start(begin_us)).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{text}");
        assert!(text.contains("the lanes were to begin"), "{text}");
    }
    let (status, text) = ask(&rig, Method::POST, START, &start(Micros::MAX)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{text}");
    assert_eq!(ask(&rig, Method::POST, START, &start(LATER_US)).await.0, StatusCode::OK);
}

#[tokio::test]
async fn lanes_that_the_load_core_refuses_are_refused_with_its_words() {
    let rig = agent(options(), Box::new(|_, _, _| Err("rate 0".to_owned()))).await;
    let (status, text) = ask(&rig, Method::POST, START, &start_body(vec![lane("new", 0.0)], 30_000)).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(text.contains("rate 0"), "{text}");
}

#[tokio::test]
async fn messages_come_again_until_they_are_acknowledged_and_the_last_says_what_there_was() {
    let rig =
        agent(options(), scripted(vec![interval("new", 0, 5), lost("new", 9)], vec![interval("new", 1, 2)])).await;
    ask(&rig, Method::POST, START, &start_body(vec![lane("new", 10.0)], 30_000)).await;
    let mut after = 0;
    while after < 2 {
        after = messages(&rig, &format!("after={after}&wait_ms=5000")).await.next;
    }
    let held = messages(&rig, "after=2&wait_ms=1").await;
    assert_eq!((held.next, held.messages.len()), (2, 0), "nothing in time");
    assert_eq!(ask(&rig, Method::POST, STOP, "").await.0, StatusCode::OK);
    assert_eq!(ask(&rig, Method::POST, STOP, "").await.0, StatusCode::OK);
    let first = loop {
        let came = messages(&rig, "after=2&wait_ms=5000").await;
        if came.messages.len() == 2 {
            break came;
        }
    };
    let again = messages(&rig, "after=2&wait_ms=5000").await;
    assert_eq!(first.messages, again.messages);
    let text = serde_json::to_string(&first.messages[1]).unwrap();
    assert_eq!(text, r#"{"seq":4,"message":"done","totals":{"intervals":2,"requests":7,"lost":1}}"#);
}

#[tokio::test]
async fn sigterm_stops_the_load_and_ends_the_agent_without_an_error() {
    let (stopped, mut seen) = mpsc::unbounded_channel();
    let rig = agent(options(), watched(stopped)).await;
    ask(&rig, Method::POST, START, &start_body(vec![lane("new", 10.0)], 30_000)).await;
    rig.terminate.send(()).unwrap();
    rig.ended.await.unwrap().unwrap();
    assert!(seen.recv().await.is_some(), "the load was stopped");
}

#[tokio::test]
async fn an_agent_that_nobody_asks_stops_its_load_and_ends() {
    let (stopped, mut seen) = mpsc::unbounded_channel();
    let rig = agent(options(), watched(stopped)).await;
    ask(&rig, Method::POST, START, &start_body(vec![lane("new", 10.0)], 300)).await;
    // As long as somebody asks, it lives; a probe is nobody.
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        messages(&rig, "after=0").await;
    }
    assert!(!rig.ended.is_finished());
    assert!(seen.try_recv().is_err(), "the load runs");
    let address = rig.address;
    let probes = tokio::spawn(async move {
        loop {
            drop(send(address, Method::GET, READY, String::new()).await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let ended = tokio::time::timeout(Duration::from_secs(5), rig.ended).await.expect("it ends by itself").unwrap();
    probes.abort();
    assert!(matches!(ended, Err(AgentError::Abandoned { after }) if after == Duration::from_millis(300)), "{ended:?}");
    assert!(seen.recv().await.is_some(), "the load was stopped");
}

#[tokio::test]
async fn an_agent_ends_with_the_lease_however_often_it_is_asked() {
    let (stopped, mut seen) = mpsc::unbounded_channel();
    let rig = agent(options(), watched(stopped)).await;
    let (status, text) = ask(&rig, Method::POST, START, &start_body(vec![lane("new", 10.0)], 30_000)).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    // Renewed twice, and each time it lives on for longer than it would have.
    for _ in 0..2 {
        messages(&rig, "after=0&lease_ms=2000").await;
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        assert!(!rig.ended.is_finished(), "the lease was renewed");
    }
    let end = tokio::time::Instant::now() + Duration::from_millis(200);
    let address = rig.address;
    let asked = tokio::spawn(async move {
        loop {
            let left = end.saturating_duration_since(tokio::time::Instant::now()).as_millis();
            let path = format!("{MESSAGES}?after=0&lease_ms={left}");
            if send(address, Method::GET, &path, String::new()).await.is_err() {
                break;
            }
        }
    });
    let ended = tokio::time::timeout(Duration::from_secs(5), rig.ended).await.expect("it ends by itself").unwrap();
    assert!(matches!(ended, Err(AgentError::LeaseEnded)), "{ended:?}");
    assert!(seen.recv().await.is_some(), "the load was stopped");
    asked.await.unwrap();
}

#[tokio::test]
async fn an_agent_that_is_never_started_ends_too() {
    let options = AgentOptions { abandoned_after: Span::from_millis(50), ..options() };
    let rig = agent(options, scripted(vec![], vec![])).await;
    assert!(matches!(rig.ended.await.unwrap(), Err(AgentError::Abandoned { .. })));
}

#[tokio::test]
async fn an_agent_lives_no_longer_than_it_may_whoever_asks() {
    let options = AgentOptions { max_life: Span::from_millis(200), ..options() };
    let rig = agent(options, scripted(vec![], vec![])).await;
    let address = rig.address;
    let asking = tokio::spawn(async move { while send(address, Method::GET, CLOCK, String::new()).await.is_ok() {} });
    let ended = rig.ended.await.unwrap();
    assert!(matches!(ended, Err(AgentError::TooOld(_))), "{ended:?}");
    asking.await.unwrap();
}
