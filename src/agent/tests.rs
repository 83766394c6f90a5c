//! An agent's server and the harness's side of it, in conversation over real sockets.

mod api_server;
mod conversation;
mod job_life;
mod load_core;
mod requests;
mod rig;
mod together;
mod wire;

use std::collections::BTreeMap;

use indexmap::IndexMap;

use crate::{
    experiment::schema::Connections,
    load::{
        lane::{LaneOptions, LaneSpec},
        message::{ClosedInterval, LoadMessage},
    },
    record::{
        event::{LaneInterval, LostRequest, Micros, Outcome, PodAnswers, RetrySafe, SlowRequest},
        samples::empty_histogram,
    },
};

/// A lane towards nothing.
pub(super) fn lane(name: &str, rate_per_second: f64) -> LaneSpec {
    LaneSpec {
        name: name.to_owned(),
        address: ([127, 0, 0, 1], 9).into(),
        host: "shop".to_owned(),
        path: "/".to_owned(),
        rate_per_second,
        connections: Connections::New,
        connect_timeout_us: 200_000,
        timeout_us: 500_000,
        status: 200,
        body_contains: None,
        options: LaneOptions::default(),
    }
}

/// A closed interval of 100 ms with so many answered requests of 1,500 µs.
pub(super) fn interval(lane: &str, start_us: Micros, ok: u64) -> LoadMessage {
    let mut response = empty_histogram().unwrap();
    response.record_n(1_500, ok).unwrap();
    let (first_us, last_us) = (Some(start_us + 7), Some(start_us + 80_000));
    let of_pod = PodAnswers { answered: ok, new_connections: ok, first_us, last_us };
    let counts = LaneInterval {
        lane: lane.to_owned(),
        start_us,
        length_us: 100_000,
        by_outcome: BTreeMap::from([(Outcome::Ok, ok)]),
        connections_opened: ok,
        send_lag_max_us: 40,
        by_pod: IndexMap::from([("pod-a".to_owned(), of_pod)]),
        ..LaneInterval::default()
    };
    LoadMessage::Interval(Box::new(ClosedInterval { counts, service: response.clone(), response }))
}

/// A request that was refused.
pub(super) fn lost(lane: &str, intended_us: Micros) -> LoadMessage {
    LoadMessage::Lost(Box::new(LostRequest {
        lane: lane.to_owned(),
        outcome: Outcome::Refused,
        intended_us,
        sent_us: intended_us + 10,
        ended_us: intended_us + 200,
        connection_uses: 0,
        connection_age_us: 0,
        bytes_out: 0,
        bytes_in: 0,
        reached: None,
        local: None,
        peer: None,
        status: None,
        pod: None,
        retry_safe: RetrySafe::Yes,
        error: "connection refused".to_owned(),
    }))
}

/// A request that was answered late, over a connection that was made for it.
pub(super) fn slow(lane: &str, intended_us: Micros) -> LoadMessage {
    LoadMessage::Slow(Box::new(SlowRequest {
        lane: lane.to_owned(),
        intended_us,
        sent_us: intended_us + 10,
        connected_us: Some(intended_us + 1_000_020),
        written_us: Some(intended_us + 1_000_030),
        ended_us: intended_us + 1_000_900,
        pod: Some("pod-a".to_owned()),
        ..SlowRequest::default()
    }))
}
