//! The agent's requests and their answers, as `protocol` has them.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, header};
use serde::Serialize;

use super::{
    engine::{Engine, EngineError},
    protocol::{CLOCK, ClockReading, MESSAGES, READY, RENEW, Refusal, Renewed, START, STOP, StartRequest, Stopping},
};
use crate::record::event::Micros;

/// The longest a request for messages may wait, in milliseconds; well below the time after which the agent thinks
/// itself abandoned.
const WAIT_MAX_MS: u64 = 10_000;
/// Messages of one answer, in bytes.
const PAGE_MAX: usize = 1024 * 1024;
/// The body of a request, in bytes: hundreds of lanes.
const BODY_MAX: usize = 256 * 1024;
/// Lanes of one agent; more would be a file gone wrong.
const LANES_MAX: usize = 64;
/// How far ahead of a request its lanes may begin, in microseconds.
const BEGIN_WITHIN_US: i64 = 60_000_000;
/// An agent is never thought abandoned sooner, in milliseconds, nor later.
const ABANDONED_AFTER_MS: std::ops::RangeInclusive<u64> = 100..=3_600_000;

/// An answer other than the one asked for.
struct Refused(StatusCode, String);

impl From<EngineError> for Refused {
    fn from(error: EngineError) -> Self {
        let status = match error {
            EngineError::StartedAlready | EngineError::NotStarted => StatusCode::CONFLICT,
            EngineError::TooLate { .. } | EngineError::Load(_) => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self(status, error.to_string())
    }
}

/// Answers a request.
pub(super) async fn answer(
    engine: Arc<Engine>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() == READY {
        // A kubelet that probes is not a harness that listens.
        return Ok(respond(StatusCode::OK, "text/plain", "ok".to_owned()));
    }
    engine.hear();
    let answered = route(&engine, request).await;
    engine.hear();
    Ok(match answered {
        Ok(json) => respond(StatusCode::OK, "application/json", json),
        Err(Refused(status, error)) => {
            tracing::warn!(%status, error, "refused a request");
            respond(status, "application/json", serde_json::json!(Refusal { error }).to_string())
        }
    })
}

async fn route(engine: &Arc<Engine>, request: Request<Incoming>) -> Result<String, Refused> {
    let path = request.uri().path().to_owned();
    let expected = match path.as_str() {
        CLOCK | MESSAGES => Method::GET,
        START | RENEW | STOP => Method::POST,
        _ => return Err(Refused(StatusCode::NOT_FOUND, format!("no {path} here: this agent speaks v1"))),
    };
    if *request.method() != expected {
        let text = format!("{path} takes {expected}, not {}", request.method());
        return Err(Refused(StatusCode::METHOD_NOT_ALLOWED, text));
    }
    match path.as_str() {
        CLOCK => Ok(json(&ClockReading { agent_us: engine.now() })),
        MESSAGES => messages(engine, request.uri().query().unwrap_or_default()).await,
        START => Ok(json(&engine.start(start_request(request, engine.now()).await?)?)),
        RENEW => {
            engine.renew_connections()?;
            Ok(json(&Renewed { agent_us: engine.now() }))
        }
        _ => {
            engine.stop()?;
            Ok(json(&Stopping { agent_us: engine.now() }))
        }
    }
}

async fn messages(engine: &Engine, query: &str) -> Result<String, Refused> {
    let query = MessagesQuery::read(query).map_err(|text| Refused(StatusCode::BAD_REQUEST, text))?;
    if let Some(lease_ms) = query.lease_ms {
        engine.lease_holds_for(Duration::from_millis(lease_ms));
    }
    engine
        .messages(query.after, Duration::from_millis(query.wait_ms), PAGE_MAX)
        .await
        .map_err(|error| Refused(StatusCode::RANGE_NOT_SATISFIABLE, error.to_string()))
}

/// The numbers in `after=SEQ&wait_ms=N&lease_ms=N`.
struct MessagesQuery {
    after: u64,
    /// Without it, the answer comes at once.
    wait_ms: u64,
    /// Without it, no Lease is looked at.
    lease_ms: Option<u64>,
}

impl MessagesQuery {
    fn read(query: &str) -> Result<Self, String> {
        let (mut after, mut wait_ms, mut lease_ms) = (None, 0, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let number = |value: &str| value.parse().map_err(|_| format!("{pair:?} is not a number"));
            match pair.split_once('=') {
                Some(("after", value)) => after = Some(number(value)?),
                Some(("wait_ms", value)) => wait_ms = number(value)?,
                Some(("lease_ms", value)) => lease_ms = Some(number(value)?),
                _ => return Err(format!("{pair:?} is not known; write after=SEQ&wait_ms=N&lease_ms=N")),
            }
        }
        let longest = |name: &str, value: u64, max: u64| {
            if value > max { Err(format!("{name} is {value}; the longest is {max}")) } else { Ok(()) }
        };
        longest("wait_ms", wait_ms, WAIT_MAX_MS)?;
        longest("lease_ms", lease_ms.unwrap_or(0), *ABANDONED_AFTER_MS.end())?;
        Ok(Self { after: after.ok_or("after=SEQ is missing")?, wait_ms, lease_ms })
    }
}

async fn start_request(request: Request<Incoming>, now_us: Micros) -> Result<StartRequest, Refused> {
    let bad = |text: String| Refused(StatusCode::BAD_REQUEST, text);
    let body = Limited::new(request.into_body(), BODY_MAX)
        .collect()
        .await
        .map_err(|error| bad(format!("failed to read the request: {error}")))?
        .to_bytes();
    let request: StartRequest =
        serde_json::from_slice(&body).map_err(|error| bad(format!("not a start request: {error}")))?;
    if request.lanes.is_empty() || request.lanes.len() > LANES_MAX {
        return Err(bad(format!("{} lanes; from 1 to {LANES_MAX} can be started", request.lanes.len())));
    }
    if !ABANDONED_AFTER_MS.contains(&request.abandoned_after_ms) {
        return Err(bad(format!("abandoned_after_ms must be within {ABANDONED_AFTER_MS:?}")));
    }
    if request.begin_us.saturating_sub(now_us) > BEGIN_WITHIN_US {
        return Err(bad(format!("begin_us must lie within {} s from now", BEGIN_WITHIN_US / 1_000_000)));
    }
    Ok(request)
}

fn json<T: Serialize>(value: &T) -> String {
    serde_json::json!(value).to_string()
}

fn respond(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}
