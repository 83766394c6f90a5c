//! What each path and method answers, and the process-wide conditions that a fault can switch on: hanging, failing,
//! unready.
//!
//! A condition holds for the probes' paths too, as it would in a process that is stuck; only `/control/` always works,
//! so that the process can be healed.

use std::{convert::Infallible, future, sync::Arc, time::Duration};

use bytes::Bytes;
use hyper::{
    Method, Request, Response, StatusCode, Version,
    body::Incoming,
    header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue},
};
use rustix::time::{ClockId, clock_gettime};
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, sleep},
};

use super::{
    connection::{Stage, Talk},
    grpc::{self, Failure},
    options::DemoOptions,
    server::DemoError,
    speech::{self, Body, whole},
};

/// The header that names the pod which answered.
pub const POD_HEADER: HeaderName = HeaderName::from_static("x-evenkeel-pod");
/// The header that names the version which answered.
pub const VERSION_HEADER: HeaderName = HeaderName::from_static("x-evenkeel-version");

/// The longest answer that `/slow` can be asked for; beyond any grace period in use.
const SLOW_MAX: Duration = Duration::from_secs(600);

/// The most CPU time that one `/burn` can be asked for.
const BURN_MAX: Duration = Duration::from_secs(10);

/// How many requests burn at the same time; others wait for their turn, as for a core.
const BURNING_MAX: usize = 4;

/// How often `/stream` sends an event where the request does not say it.
const STREAM_EVERY: Duration = Duration::from_millis(100);

/// What a body is filled with, over and over.
const BODY_TEXT: &[u8] = b"evenkeel demo\n";

/// What the whole process is made to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Healthy,
    Hanging,
    Failing,
    Unready,
}

/// All that an answer is made from; one for the process, shared by its connections.
pub(super) struct Service {
    options: DemoOptions,
    pod: HeaderValue,
    version: HeaderValue,
    body: Bytes,
    ready_at: Instant,
    condition: watch::Sender<Condition>,
    stage: watch::Receiver<Stage>,
    burning: Arc<Semaphore>,
}

impl Service {
    /// A service that becomes ready at `ready_at`; its options' `boot` has passed by then.
    pub(super) fn new(
        options: DemoOptions,
        ready_at: Instant,
        stage: watch::Receiver<Stage>,
    ) -> Result<Self, DemoError> {
        let pod = options.pod_name.clone().unwrap_or_else(host_name);
        Ok(Self {
            pod: header_value("--pod-name (POD_NAME)", pod)?,
            version: header_value("--as-version (EVENKEEL_DEMO_VERSION)", options.as_version.clone())?,
            body: BODY_TEXT.iter().copied().cycle().take(options.body_bytes as usize).collect(),
            ready_at,
            condition: watch::Sender::new(Condition::Healthy),
            burning: Arc::new(Semaphore::new(BURNING_MAX)),
            stage,
            options,
        })
    }

    /// Answers a request, the `nth` of its connection, counted from 1.
    pub(super) async fn answer(
        self: Arc<Self>,
        mut request: Request<Incoming>,
        nth: u32,
        talk: Arc<Talk>,
    ) -> Result<Response<Body>, Infallible> {
        let mut response = if grpc::is_call(&request) {
            grpc::answer(self.answer_call(&mut request).await)
        } else if let Some(response) = self.spoken(&mut request, &talk) {
            response
        } else {
            self.answer_by_path(&request).await
        };
        let headers = response.headers_mut();
        headers.insert(POD_HEADER, self.pod.clone());
        headers.insert(VERSION_HEADER, self.version.clone());
        headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("text/plain; charset=utf-8"));
        // Asked only now, so that a request which was in flight when the signal came says so too.
        let closing = *self.stage.borrow() != Stage::Serving;
        let used_up = self.options.requests_per_connection.is_some_and(|most| nth >= most.get());
        if closing || used_up {
            match request.version() {
                Version::HTTP_2 => talk.end_after_this(),
                // A connection that has been switched is no longer HTTP.
                _ if response.status() == StatusCode::SWITCHING_PROTOCOLS => {}
                _ => _ = response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close")),
            }
        }
        Ok(response)
    }

    /// The start of a WebSocket, where that is asked for.
    fn spoken(&self, request: &mut Request<Incoming>, talk: &Talk) -> Option<Response<Body>> {
        if request.uri().path() != "/ws" || !self.is_well() || self.options.stand_in {
            return None;
        }
        let response = speech::websocket(request);
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            talk.switch(hyper::upgrade::on(request));
        }
        Some(response)
    }

    /// The message that a gRPC call is answered with.
    async fn answer_call(&self, request: &mut Request<Incoming>) -> Result<Bytes, Failure> {
        let condition = *self.condition.borrow();
        match condition {
            Condition::Hanging => return future::pending().await,
            Condition::Failing => return Err(Failure::unavailable("failing on request")),
            Condition::Unready if self.options.stand_in => return Err(Failure::unavailable("unready on request")),
            Condition::Healthy | Condition::Unready => {}
        }
        let message = grpc::message(request.body_mut()).await?;
        match request.uri().path() {
            grpc::HEALTH_CHECK => grpc::health(&message, self.unready().is_none()),
            // A message of whatever type the service stood in for would send, with nothing in it.
            _ if self.options.stand_in => Ok(Bytes::new()),
            grpc::ECHO => {
                sleep(self.options.answer_in.duration()).await;
                Ok(message)
            }
            _ => Err(Failure::unimplemented("no such method")),
        }
    }

    /// Why it is not ready, where it is not.
    fn unready(&self) -> Option<&'static str> {
        if *self.condition.borrow() == Condition::Unready {
            Some("unready on request")
        } else if Instant::now() < self.ready_at {
            Some("not ready yet")
        } else {
            None
        }
    }

    fn is_well(&self) -> bool {
        matches!(*self.condition.borrow(), Condition::Healthy | Condition::Unready)
    }

    async fn answer_by_path(&self, request: &Request<Incoming>) -> Response<Body> {
        let uri = request.uri();
        if let Some(order) = uri.path().strip_prefix("/control/") {
            return self.control(request.method(), order);
        }
        let condition = *self.condition.borrow();
        match condition {
            Condition::Hanging => return future::pending().await,
            Condition::Failing => return text(StatusCode::INTERNAL_SERVER_ERROR, "failing on request\n"),
            Condition::Healthy | Condition::Unready => {}
        }
        if self.options.stand_in {
            return match condition {
                Condition::Unready => text(StatusCode::SERVICE_UNAVAILABLE, "unready on request\n"),
                _ => text(StatusCode::OK, Bytes::copy_from_slice(self.pod.as_bytes())),
            };
        }
        match uri.path() {
            "/" => {
                sleep(self.options.answer_in.duration()).await;
                text(StatusCode::OK, self.body.clone())
            }
            "/echo" => {
                sleep(self.options.answer_in.duration()).await;
                text(StatusCode::OK, format!("{}\n", parameter(uri.query(), "id").unwrap_or_default()))
            }
            "/livez" => text(StatusCode::OK, "alive\n"),
            "/readyz" => match self.unready() {
                Some(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
                None => text(StatusCode::OK, "ready\n"),
            },
            "/slow" => slow(uri.query()).await,
            "/burn" => self.burn(uri.query()).await,
            "/stream" => stream(uri.query()),
            "/hang" => future::pending().await,
            _ => text(StatusCode::NOT_FOUND, "no such path\n"),
        }
    }

    /// Uses up CPU time beside the event loop, so that other paths answer as before as long as there is a core for them.
    async fn burn(&self, query: Option<&str>) -> Response<Body> {
        let wanted = parameter(query, "ms").and_then(|text| text.parse().ok()).map(Duration::from_millis);
        let Some(wanted) = wanted.filter(|wanted| *wanted <= BURN_MAX) else {
            return text(StatusCode::BAD_REQUEST, "say how much CPU time, as in /burn?ms=500; at most 10000\n");
        };
        let turn = Arc::clone(&self.burning).acquire_owned().await;
        let burnt = tokio::task::spawn_blocking(move || {
            burn(wanted);
            // Held until here, also when the client has gone away before.
            drop(turn);
        });
        match burnt.await {
            Ok(()) => text(StatusCode::OK, "burnt\n"),
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the burning thread ended early\n"),
        }
    }

    /// Switches the process's condition. What hangs already goes on hanging: nothing could still answer it in time.
    fn control(&self, method: &Method, order: &str) -> Response<Body> {
        let condition = match order {
            "hang" => Condition::Hanging,
            "fail" => Condition::Failing,
            "unready" => Condition::Unready,
            "heal" => Condition::Healthy,
            _ => return text(StatusCode::NOT_FOUND, "no such order; there are hang, fail, unready and heal\n"),
        };
        if method != Method::POST {
            let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, "send a POST\n");
            refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return refusal;
        }
        self.condition.send_replace(condition);
        text(StatusCode::OK, format!("{condition:?}\n").to_lowercase())
    }
}

/// Keeps a core busy until this thread has used so much CPU time, however long that takes on a busy machine.
fn burn(wanted: Duration) {
    let began = used();
    while used().saturating_sub(began) < wanted {
        for turn in 0..10_000_u32 {
            std::hint::black_box(turn);
        }
    }
}

/// The CPU time of this thread.
fn used() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

async fn slow(query: Option<&str>) -> Response<Body> {
    let wanted = parameter(query, "ms").and_then(|text| text.parse().ok()).map(Duration::from_millis);
    match wanted {
        Some(wanted) if wanted <= SLOW_MAX => {
            sleep(wanted).await;
            text(StatusCode::OK, "slow\n")
        }
        _ => text(StatusCode::BAD_REQUEST, "say how long, as in /slow?ms=500; at most 600000\n"),
    }
}

fn stream(query: Option<&str>) -> Response<Body> {
    let span = |name| parameter(query, name).and_then(|text| text.parse().ok()).map(Duration::from_millis);
    match (span("ms"), span("every").unwrap_or(STREAM_EVERY)) {
        (Some(length), every) if length <= SLOW_MAX && !every.is_zero() => speech::events(length, every),
        _ => text(
            StatusCode::BAD_REQUEST,
            "say how long and how often, as in /stream?ms=5000&every=100; at most 600000\n",
        ),
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(whole(body));
    *response.status_mut() = status;
    response
}

/// A parameter as it stands in the query, percent signs and all: a client compares what it sent.
fn parameter<'q>(query: Option<&'q str>, name: &str) -> Option<&'q str> {
    query?.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
}

fn header_value(option: &'static str, text: String) -> Result<HeaderValue, DemoError> {
    HeaderValue::try_from(&text).map_err(|_| DemoError::NotAHeader { option, text })
}

/// The host name by the kernel's own file, so that it needs no C library call; the container runtime's variable where
/// there is no such file.
fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| std::env::var("HOSTNAME").ok())
        .map_or_else(|| "unknown".to_owned(), |name| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn burning_takes_cpu_time_and_not_just_time() {
        let began = used();
        burn(Duration::from_millis(30));
        let took = used().saturating_sub(began);
        assert!((30..1_000).contains(&took.as_millis()), "{took:?}");
    }
}
