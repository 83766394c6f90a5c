//! Requests that are answered late are told one by one, with where their time went; others are not, nor too many.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpSocket,
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::timeout,
};

use super::{
    Heard, PATIENCE, assert_consistent, finish, lane, run_until,
    server::{Act, GOOD, Server},
    take,
};
use crate::{
    experiment::schema::Connections,
    load::{
        lane::{LaneOptions, LaneSpec},
        message::LoadMessage,
        start,
    },
    record::event::INTERVAL_US,
};

const SLOW_US: i64 = 300_000;

fn slow_from(slow_us: Option<i64>) -> LaneOptions {
    LaneOptions { slow_us, ..LaneOptions::default() }
}

/// Requests that the intervals count as slower; one in a thousand is a histogram's resolution.
fn counted_over(heard: &Heard, lane: &str, micros: i64) -> u64 {
    let over = u64::try_from(micros).unwrap();
    let of_lane = heard.intervals.iter().filter(|interval| interval.counts.lane == lane);
    of_lane
        .flat_map(|interval| interval.response.iter_recorded())
        .filter(|value| value.value_iterated_to() > over)
        .map(|value| value.count_at_value())
        .sum()
}

/// Runs lanes against a server that answers, then keeps all answers back until those of the first are slow twice over,
/// and then answers again.
async fn through_a_stall(lanes: Vec<LaneSpec>, server: &Server) -> Heard {
    let (messages, mut inbox) = unbounded_channel();
    let mut running = start(lanes, messages).expect("lanes that can run");
    running.begin().expect("the first begin");
    let mut heard = Heard::default();
    hear(&mut inbox, &mut heard, |heard| heard.sent() >= 20).await;
    server.set_stalled(true);
    tokio::time::sleep(2 * Duration::from_micros(SLOW_US.unsigned_abs())).await;
    server.set_stalled(false);
    hear(&mut inbox, &mut heard, |heard| !heard.slow.is_empty()).await;
    finish(running, inbox, heard).await
}

async fn hear(inbox: &mut UnboundedReceiver<LoadMessage>, heard: &mut Heard, is_enough: impl Fn(&Heard) -> bool) {
    while !is_enough(heard) {
        take(heard, timeout(PATIENCE, inbox.recv()).await.expect("a message").expect("a generator that runs"));
    }
}

#[tokio::test]
async fn the_answers_of_a_server_that_is_slow_are_told_with_their_evidence_and_fast_ones_are_not() {
    let server = Server::start(&[Act::Say(GOOD)]).await;
    let told = lane("told", server.address, Connections::Reused(4));
    let lanes = vec![
        LaneSpec { options: slow_from(Some(SLOW_US)), ..told.clone() },
        LaneSpec {
            name: "new".to_owned(),
            connections: Connections::New,
            options: slow_from(Some(SLOW_US)),
            ..told.clone()
        },
        LaneSpec { name: "not told".to_owned(), ..told },
    ];
    let heard = through_a_stall(lanes, &server).await;
    assert_consistent(&heard);
    for name in ["told", "new"] {
        let of_lane = || heard.slow.iter().filter(|slow| slow.lane == name);
        // At 100/s there are 10 in an interval, all of which are told.
        let (least, most) = (counted_over(&heard, name, SLOW_US + 1_000), counted_over(&heard, name, SLOW_US - 1_000));
        assert!((least..=most).contains(&(of_lane().count() as u64)), "{name}: {least} to {most}: {:?}", heard.slow);
        assert!(of_lane().count() >= 10, "{name}");
        for slow in of_lane() {
            assert!(slow.took_us() > SLOW_US, "{slow:?}");
            let written = slow.written_us.unwrap();
            assert!(
                slow.intended_us <= slow.sent_us && slow.sent_us <= written && written <= slow.ended_us,
                "{slow:?}"
            );
            assert_eq!(
                (slow.status, slow.pod.as_deref(), slow.peer),
                (Some(200), Some("cart-0"), Some(server.address))
            );
            assert_eq!(slow.bytes_in, GOOD.len() as u64);
            assert!(slow.bytes_out > 0 && slow.local.is_some(), "{slow:?}");
            let is_new = slow.connection_uses == 0 && slow.connection_age_us == 0;
            assert_eq!(slow.connected_us.is_some(), is_new, "{slow:?}");
            assert!(is_new || name == "told", "{slow:?}");
            assert!(slow.connected_us.is_none_or(|at| slow.sent_us <= at && at <= written), "{slow:?}");
        }
    }
    assert!(counted_over(&heard, "not told", SLOW_US) > 0, "they are slow, too");
    assert!(heard.slow.iter().all(|slow| slow.lane != "not told"));
}

#[tokio::test]
async fn no_more_than_twenty_slow_requests_of_an_interval_are_told() {
    let server = Server::start(&[Act::Say(GOOD)]).await;
    let spec = LaneSpec {
        rate_per_second: 1_000.0,
        options: slow_from(Some(SLOW_US)),
        ..lane("main", server.address, Connections::New)
    };
    let heard = through_a_stall(vec![spec], &server).await;
    let mut told: BTreeMap<i64, usize> = BTreeMap::new();
    for slow in &heard.slow {
        *told.entry(slow.intended_us / INTERVAL_US).or_default() += 1;
    }
    assert_eq!(told.values().max(), Some(&20));
    assert!(counted_over(&heard, "main", SLOW_US) > heard.slow.len() as u64, "the intervals count them all");
}

/// A server whose queue holds one connection, and which accepts none for most of each second: a first packet that finds
/// the queue full is dropped, and the system sends another after a second.
fn deaf_at_times() -> SocketAddr {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(700)).await;
            while let Ok(Ok((mut stream, _))) = timeout(Duration::from_millis(300), listener.accept()).await {
                tokio::spawn(async move {
                    drop(stream.read(&mut [0; 1_024]).await);
                    drop(stream.write_all(GOOD.as_bytes()).await);
                });
            }
        }
    });
    address
}

#[tokio::test]
async fn a_first_packet_that_was_sent_again_shows_in_when_the_connection_stood() {
    let spec = LaneSpec {
        rate_per_second: 50.0,
        options: slow_from(Some(900_000)),
        ..lane("main", deaf_at_times(), Connections::New)
    };
    let again = |heard: &Heard| heard.slow.iter().any(|slow| slow.connecting_us() >= Some(990_000));
    let heard = run_until(vec![spec], again).await;
    let slow = heard.slow.iter().find(|slow| slow.connecting_us() >= Some(990_000)).unwrap();
    assert!(slow.connecting_us().is_some_and(|connecting| connecting * 2 > slow.took_us()), "{slow:?}");
}
