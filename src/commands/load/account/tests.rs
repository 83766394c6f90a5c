//! What a load comes to, from what a generator says.

use hdrhistogram::Histogram;

use super::*;
use crate::{
    experiment::schema::Connections,
    load::lane::{LaneOptions, Protocol},
    record::event::{LaneInterval, Note},
};

fn account(protocol: Protocol) -> Account {
    let lane = LaneSpec {
        name: "load".to_owned(),
        address: ([127, 0, 0, 1], 80).into(),
        host: "shop.test".to_owned(),
        path: "/".to_owned(),
        rate_per_second: 100.0,
        connections: Connections::New,
        connect_timeout_us: 1_000_000,
        timeout_us: 500_000,
        status: 200,
        body_contains: None,
        options: LaneOptions { protocol, ..LaneOptions::default() },
    };
    Account::new(&lane).expect("a histogram")
}

fn interval(number: i64, by_outcome: &[(Outcome, u64)], send_lag_max_us: i64) -> LoadMessage {
    let mut response = Histogram::new_with_bounds(1, 10_000, 3).expect("bounds");
    for (_, count) in by_outcome {
        response.record_n(2_000, *count).expect("in range");
    }
    let counts = LaneInterval {
        lane: "load".to_owned(),
        start_us: number * INTERVAL_US,
        length_us: INTERVAL_US,
        by_outcome: by_outcome.iter().copied().collect(),
        send_lag_max_us,
        ..LaneInterval::default()
    };
    LoadMessage::Interval(Box::new(ClosedInterval { counts, service: response.clone(), response }))
}

fn lost(outcome: Outcome, at_us: Micros, retry_safe: RetrySafe) -> LoadMessage {
    LoadMessage::Lost(Box::new(LostRequest {
        lane: "load".to_owned(),
        outcome,
        intended_us: at_us,
        sent_us: at_us,
        ended_us: at_us + 1_000,
        connection_uses: 0,
        connection_age_us: 0,
        bytes_out: 0,
        bytes_in: 0,
        reached: None,
        local: None,
        peer: None,
        status: None,
        pod: None,
        retry_safe,
        error: "connection refused".to_owned(),
    }))
}

fn of(messages: &[LoadMessage]) -> Summary {
    over(Protocol::Http1, messages)
}

fn over(protocol: Protocol, messages: &[LoadMessage]) -> Summary {
    let mut account = account(protocol);
    for message in messages {
        account.take(message);
    }
    account.summary("http://shop.test/", SystemTime::UNIX_EPOCH)
}

#[test]
fn a_load_without_a_loss_has_held_and_says_how_much_that_proves() {
    let summary = of(&[interval(5, &[(Outcome::Ok, 10)], 30), interval(6, &[(Outcome::Ok, 20)], 40)]);
    assert_eq!((summary.verdict, summary.requests.sent, summary.requests.lost), (Answer::Held, 30, 0));
    let bound = summary.requests.loss_bound_95.unwrap();
    assert!((bound - (1.0 - 0.05_f64.powf(1.0 / 30.0))).abs() < 1e-9, "{bound}");
    assert!((summary.seconds - 0.2).abs() < 1e-9 && (summary.sent_per_second - 150.0).abs() < 1e-6);
    assert!((summary.latency_ms.p50 - 2.0).abs() < 0.01, "{:?}", summary.latency_ms);
}

#[test]
fn losses_close_to_each_other_are_one_outage() {
    let at = |us| lost(Outcome::Refused, us, RetrySafe::Yes);
    let summary = of(&[interval(5, &[(Outcome::Ok, 10)], 0), at(600_000), at(650_000), at(900_000)]);
    let outages: Vec<_> = summary.outages.iter().map(|one| (one.start_ms, one.end_ms, one.lost)).collect();
    assert_eq!(outages, [(100.0, 151.0, 2), (400.0, 401.0, 1)]);
}

#[test]
fn a_loss_breaks_it_unless_we_were_late_ourselves() {
    let good = interval(5, &[(Outcome::Ok, 10)], 0);
    let bad = |lag| [good.clone(), interval(6, &[(Outcome::Ok, 9), (Outcome::Refused, 1)], lag)];
    assert_eq!(of(&bad(0)).verdict, Answer::Broken);
    let late = of(&bad(SEND_LAG_MAX_US + 1));
    assert_eq!((late.verdict, late.requests.lost), (Answer::Inconclusive, 1));
    let taint = LoadMessage::Note(Note { kind: NoteKind::Taint, text: "no port is left".to_owned() });
    let [first, second] = bad(0);
    assert_eq!(of(&[first, second, taint]).verdict, Answer::Inconclusive);
    assert_eq!(of(&[good, interval(6, &[(Outcome::NotSent, 1)], 0)]).verdict, Answer::Inconclusive);
    assert_eq!(of(&[]).verdict, Answer::Inconclusive);
}

/// The gap is shorter than a client waits in the first row, longer in the second.
#[test]
fn a_client_that_sends_again_sees_only_the_losses_that_outlast_it() {
    let at = |number: i64, outcome| interval(number, &[(outcome, 1)], 0);
    for (protocol, back_at, safe, wanted) in [
        (Protocol::Http1, 4, RetrySafe::Yes, 0),
        (Protocol::Http1, 4, RetrySafe::Idempotent, 0),
        (Protocol::Http1, 4, RetrySafe::No, 1),
        (Protocol::Http1, 9, RetrySafe::Yes, 1),
        (Protocol::Grpc, 4, RetrySafe::Yes, 0),
        (Protocol::Grpc, 4, RetrySafe::Idempotent, 1),
    ] {
        let messages = [at(2, Outcome::Refused), lost(Outcome::Refused, 250_000, safe), at(back_at, Outcome::Ok)];
        let summary = over(protocol, &messages);
        let Requests { lost, lost_after_retry, .. } = summary.requests;
        assert_eq!((lost, lost_after_retry), (1, wanted), "{protocol:?} {back_at} {safe:?}");
        assert_eq!(summary.errors[&Outcome::Refused], "connection refused");
        assert_eq!(summary.began, "1970-01-01T00:00:00.2Z");
    }
}
