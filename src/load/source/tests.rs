use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
    time::Duration,
};

use futures::FutureExt;
use tokio::{
    net::TcpListener,
    time::{Instant, advance},
};

use super::{LOOPBACK_SERVES, Loopback, REST, Sources, Turns, loopback_address, ours, range};

const AT_NOON: Duration = Duration::from_secs(43_200);

fn next_ports(turns: &mut Turns, count: usize) -> Vec<u16> {
    (0..count).map(|_| turns.next(Instant::now()).port).collect()
}

#[test]
fn the_systems_range_is_read_and_a_range_that_is_none_is_not() {
    assert_eq!(range("32768\t60999\n"), Some(32_768..=60_999));
    for text in ["", "32768", "a b", "9 8", "1 65536"] {
        assert_eq!(range(text), None, "{text}");
    }
}

#[test]
fn the_ports_that_the_system_gives_out_are_left_to_others_or_half_of_them_at_least() {
    assert_eq!(ours(&(32_768..=60_999)), 10_000..=29_999);
    assert_eq!(ours(&(1_024..=9_999)), 10_000..=29_999);
    assert_eq!(ours(&(1_024..=65_535)), 33_279..=65_535);
    assert_eq!(ours(&(15_000..=61_000)), 38_000..=61_000);
}

#[tokio::test(start_paused = true)]
async fn every_port_has_its_turn_before_one_comes_again() {
    let mut turns = Turns::new(32_768..=60_999, Duration::new(0, 20_000));
    let round = turns.ports.len();
    let first = next_ports(&mut turns, round);
    assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), round);
    assert_eq!(first[0], 32_768 + 20_000);
    assert!(turns.all_taken());
    assert_eq!(next_ports(&mut turns, round), first);
}

#[tokio::test(start_paused = true)]
async fn a_port_that_rests_is_passed_over_until_it_has_rested() {
    let mut turns = Turns::new(10..=13, Duration::ZERO);
    turns.rest(11, Instant::now() + REST);
    assert_eq!(next_ports(&mut turns, 6), [10, 12, 13, 10, 12, 13]);
    advance(REST).await;
    assert_eq!(next_ports(&mut turns, 4), [10, 11, 12, 13]);
}

#[tokio::test(start_paused = true)]
async fn where_all_ports_rest_the_next_is_taken_all_the_same() {
    let mut turns = Turns::new(65_534..=65_535, Duration::ZERO);
    for port in 65_534..=65_535 {
        turns.rest(port, Instant::now() + REST);
    }
    assert!(turns.next(Instant::now()).tired);
    assert_eq!(next_ports(&mut turns, 3), [65_535, 65_534, 65_535]);
}

#[tokio::test(start_paused = true)]
async fn towards_loopback_the_address_changes_with_each_round_but_not_too_often() {
    let mut loopback = Loopback {
        address: loopback_address(AT_NOON),
        since: Instant::now(),
        turns: Turns::new(10..=12, Duration::ZERO),
    };
    let began = Instant::now();
    let mut next = || loopback.next(Instant::now(), AT_NOON + (Instant::now() - began));
    let first = next().0;
    let soon: BTreeSet<_> = (0..6).map(|_| next().0).collect();
    assert_eq!(soon, BTreeSet::from([first]), "a published port has only so many ports");
    advance(LOOPBACK_SERVES).await;
    let later: BTreeSet<_> = (0..3).map(|_| next()).collect();
    assert_eq!(later.len(), 3);
    assert!(later.iter().all(|(address, _)| *address != first), "{later:?}");
}

#[tokio::test(start_paused = true)]
async fn towards_loopback_the_address_changes_at_once_when_all_its_ports_rest() {
    let mut loopback =
        Loopback { address: Ipv4Addr::LOCALHOST, since: Instant::now(), turns: Turns::new(10..=11, Duration::ZERO) };
    for port in 10..=11 {
        loopback.turns.rest(port, Instant::now() + REST);
    }
    assert_eq!(loopback.next(Instant::now(), AT_NOON), (loopback_address(AT_NOON), 10));
}

#[test]
fn moments_have_addresses_of_their_own_and_none_is_one_that_others_use() {
    let seconds = 0..4 * 3_600;
    let all: BTreeSet<Ipv4Addr> = seconds.clone().map(|second| loopback_address(Duration::from_secs(second))).collect();
    assert_eq!(all.len(), seconds.count());
    let edges = [Duration::ZERO, Duration::from_millis((254 << 16) - 1)].map(loopback_address);
    assert_eq!(edges, [Ipv4Addr::new(127, 1, 0, 0), Ipv4Addr::new(127, 254, 255, 255)]);
}

/// Connects once and returns the source that the server sees.
async fn seen(listener: &TcpListener, sources: &Rc<Sources>, ends_well: bool) -> SocketAddr {
    let to = listener.local_addr().expect("an address");
    let (connected, accepted) = tokio::join!(sources.connect(to), listener.accept());
    let (stream, source) = connected.expect("a connection");
    // Leaves nothing in TIME_WAIT, so that the port can come again at once.
    stream.set_zero_linger().expect("an option that all have");
    if ends_well {
        source.expect("a source").ended_well();
    }
    accepted.expect("a connection").1
}

#[tokio::test]
async fn a_port_from_which_a_connection_was_lost_does_not_come_again_and_one_that_ended_well_does() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let sources = Sources::with_ports(Some(20_000..=20_003));
    let mut first = Vec::new();
    for nth in 0..4 {
        first.push(seen(&listener, &sources, nth != 1).await);
    }
    assert!(first.iter().all(|from| from.ip().is_loopback() && from.ip() != Ipv4Addr::LOCALHOST), "{first:?}");
    let mut again = Vec::new();
    for _ in 0..3 {
        again.push(seen(&listener, &sources, true).await);
    }
    assert_eq!(again, [first[0], first[2], first[3]]);
}

#[tokio::test]
async fn a_connection_that_is_refused_or_given_up_makes_its_port_rest() {
    let sources = Sources::with_ports(Some(20_010..=20_019));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let closed = listener.local_addr().expect("an address");
    drop(listener);
    sources.connect(closed).await.expect_err("nobody listens");
    assert_eq!(sources.resting(), 1);

    // An address for documentation: whether it is silent or out of reach, no one answers for it.
    drop(sources.connect(([192, 0, 2, 1], 80).into()).now_or_never());
    assert_eq!(sources.resting(), 2);
}
