//! The client against a server of our own, which counts what is on the wire.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use tokio::net::TcpListener;

use super::*;

/// What a server has been asked so far.
#[derive(Default)]
struct Asked {
    requests: AtomicUsize,
    agents: Mutex<Vec<String>>,
}

/// A server on loopback that answers 429 to the first request and 404 to all later ones.
async fn server_too_busy_once() -> (Config, Arc<Asked>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let asked = Arc::new(Asked::default());
    let counted = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let counted = Arc::clone(&counted);
            let answer = service_fn(move |request: Request<Incoming>| {
                let before = counted.requests.fetch_add(1, Ordering::SeqCst);
                let agent = request.headers().get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or("");
                counted.agents.lock().unwrap().push(agent.to_owned());
                async move {
                    let (code, body) = if before == 0 {
                        (429, r#"{"kind":"Status","status":"Failure","message":"too busy","code":429}"#)
                    } else {
                        (404, r#"{"kind":"Status","status":"Failure","message":"no such pod","code":404}"#)
                    };
                    let body = Full::new(Bytes::from_static(body.as_bytes()));
                    Ok::<_, Infallible>(Response::builder().status(code).body(body).unwrap())
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    });
    (Config::new(url), asked)
}

#[tokio::test]
async fn one_429_on_the_wire_is_one_429_here() {
    let (mut config, asked) = server_too_busy_once().await;
    harness(&mut config);
    let pods: Api<Pod> = Api::namespaced(Client::try_from(config).unwrap(), "shop");
    let failure = ApiFailure::from(pods.get("a").await.unwrap_err());
    assert_eq!((failure.code, failure.words.as_str()), (Some(429), "too busy"));
    assert_eq!(asked.requests.load(Ordering::SeqCst), 1);
    assert_eq!(*asked.agents.lock().unwrap(), [AGENT]);
}

#[tokio::test]
async fn kube_as_it_comes_would_hide_the_429() {
    let (config, asked) = server_too_busy_once().await;
    let pods: Api<Pod> = Api::namespaced(Client::try_from(config).unwrap(), "shop");
    assert_eq!(ApiFailure::from(pods.get("a").await.unwrap_err()).code, Some(404));
    assert_eq!(asked.requests.load(Ordering::SeqCst), 2);
}

#[test]
fn the_next_step_fits_the_cluster_and_the_failure() {
    let refused = ApiFailure { code: Some(401), words: String::new() };
    let silent = ApiFailure::no_answer_within(FIRST_ANSWER_WITHIN);
    let (kind, context) = (On::Kind("dev".to_owned()), On::Context("prod".to_owned()));
    assert!(next_step(&kind, &silent).contains("dev-control-plane"));
    assert!(next_step(&kind, &refused).contains("kind delete cluster --name dev"));
    assert!(next_step(&context, &silent).contains("kubectl --context prod version"));
    assert!(next_step(&context, &refused).contains("log in"));
}
