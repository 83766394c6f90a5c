//! The flow of a lane over time: connections kept, replaced and left, and a stall seen as its clients would see it.

use std::{
    cell::Cell,
    collections::BTreeMap,
    num::NonZeroU32,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use hdrhistogram::Histogram;
use tokio::{
    sync::{Notify, mpsc::unbounded_channel},
    task::LocalSet,
    time::{Instant, timeout},
};

use super::{
    AMPLE_US, Heard, PATIENCE, assert_consistent, due, finish, lane, run, run_until,
    server::{Act, GOOD, Server, closed_port},
    take,
};
use crate::{
    experiment::schema::Connections,
    load::{
        LoadError, LoadTotals,
        body::Check,
        client::Client,
        connection::Way,
        exchange::{Template, Words},
        lane::{Destination, LaneOptions, LaneSpec, Protocol, Route, RoutedLane, Shape, Share},
        source::Sources,
        start, start_at,
        voice::Voice,
    },
    record::event::{LaneInterval, Outcome},
};

/// A send lag that says the machine is too busy to tell.
const LAG_OF_A_STARVED_MACHINE_US: i64 = 50_000;

const POLITE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 8\r\nConnection: keep-alive, Close\r\n\r\nevenkeel";

#[tokio::test]
async fn a_lane_that_reuses_connections_opens_only_those_it_keeps() {
    let server = Server::start(&[Act::Say(GOOD)]).await;
    let spec = LaneSpec { rate_per_second: 50.0, ..lane("main", server.address, Connections::Reused(3)) };
    let heard = run(vec![spec], 20).await;
    assert_consistent(&heard);
    assert_eq!(heard.count(Outcome::Ok), heard.sent());
    // A machine that stalls makes a further connection necessary now and then.
    let opened = heard.totals.lanes[0].connections_opened;
    assert!((3..=3 + heard.sent() / 2).contains(&opened), "{opened} connections");
}

/// A route that leads elsewhere changes nothing for connections that stand, until they are opened anew.
#[tokio::test]
async fn connections_that_are_renewed_follow_the_route_and_lose_nothing() {
    const OTHER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 8\r\nx-evenkeel-pod: cart-1\r\n\r\nevenkeel";
    let (old, new) = (Server::start(&[Act::Say(GOOD)]).await, Server::start(&[Act::Say(OTHER)]).await);
    let (first, second) = (old.address, new.address);
    let moved = Arc::new(AtomicBool::new(false));
    let turn = Arc::clone(&moved);
    let route = Route::new(move || {
        let address = if turn.load(Ordering::SeqCst) { second } else { first };
        Destination::Address { address, delay: Duration::ZERO }
    });
    let spec = LaneSpec { rate_per_second: 50.0, ..lane("main", old.address, Connections::Reused(3)) };
    let (messages, mut inbox) = unbounded_channel();
    let mut running = start(vec![RoutedLane { spec, route }], messages).expect("a lane that can run");
    running.begin().expect("the first begin");
    let mut heard = Heard::default();
    let mut hear = async |heard: &mut Heard, requests: u64| {
        let enough = heard.sent() + requests;
        while heard.sent() < enough {
            take(heard, inbox.recv().await.expect("a generator that runs"));
        }
    };
    let answered = |heard: &Heard, pod: &str| heard.intervals.iter().any(|one| one.counts.by_pod.contains_key(pod));
    timeout(PATIENCE, hear(&mut heard, 10)).await.expect("requests end");
    moved.store(true, Ordering::SeqCst);
    timeout(PATIENCE, hear(&mut heard, 10)).await.expect("requests end");
    // A machine that stalls makes a further connection necessary, and that one follows the route by itself.
    let stayed = heard.intervals.last().is_some_and(|last| last.counts.by_pod.contains_key("cart-0"));
    assert!(stayed, "the connections that stand stay where they are");
    running.renewer().renew();
    // What was on its way is answered by the old one.
    timeout(PATIENCE, hear(&mut heard, 10)).await.expect("requests end");
    let renewed_at = heard.intervals.len();
    timeout(PATIENCE, hear(&mut heard, 10)).await.expect("requests end");
    assert!(answered(&heard, "cart-1"));
    let late: Vec<_> = heard.intervals[renewed_at..].iter().flat_map(|one| one.counts.by_pod.keys()).collect();
    assert!(late.iter().all(|pod| *pod == "cart-1"), "{late:?}");
    let heard = finish(running, inbox, heard).await;
    assert_consistent(&heard);
    assert_eq!(heard.count(Outcome::Ok), heard.sent(), "{:?}", heard.lost.first());
}

#[tokio::test]
async fn an_orderly_goodbye_is_counted_and_loses_nothing() {
    let server = Server::start(&[Act::SayAndClose(POLITE)]).await;
    let heard = run(vec![lane("main", server.address, Connections::Reused(4))], 60).await;
    assert_consistent(&heard);
    assert_eq!(heard.count(Outcome::Ok), heard.sent(), "{:?}", heard.lost.first());
    let polite: u64 = heard.intervals.iter().map(|interval| interval.counts.closed_politely).sum();
    assert_eq!(polite, heard.sent());
}

/// What has been seen closed before a request takes it is no loss; only the moments between are a race.
#[tokio::test]
async fn a_connection_that_is_closed_while_idle_is_replaced() {
    for answer in [GOOD, "HTTP/1.0 200 OK\r\ncontent-length: 8\r\n\r\nevenkeel"] {
        let server = Server::start(Box::leak(Box::new([Act::SayAndClose(answer)]))).await;
        let heard = run(vec![lane("main", server.address, Connections::Reused(4))], 60).await;
        assert_consistent(&heard);
        let (ok, raced) = (heard.count(Outcome::Ok), heard.count(Outcome::ReusedConnectionClosed));
        assert_eq!(ok + raced, heard.sent(), "{:?}", heard.lost.first());
        assert!(ok > heard.sent() / 2, "{ok} of {}: {:?}", heard.sent(), heard.lost.first());
    }
}

#[tokio::test]
async fn lanes_keep_their_accounts_apart() {
    let (good, bad) = (Server::start(&[Act::Say(GOOD)]).await, closed_port().await);
    let lanes = vec![lane("good", good.address, Connections::Reused(2)), lane("bad", bad, Connections::New)];
    let heard = run(lanes, 100).await;
    assert_consistent(&heard);
    assert_eq!(heard.by_outcome("good").into_keys().collect::<Vec<_>>(), [Outcome::Ok]);
    assert_eq!(heard.by_outcome("bad").into_keys().collect::<Vec<_>>(), [Outcome::Refused]);
    assert!(heard.lost.iter().all(|lost| lost.lane == "bad"));
}

/// What fell due is rate × time, whatever became of it.
#[tokio::test]
async fn a_stall_neither_slows_the_plan_nor_hides_in_the_percentiles() {
    const RATE: f64 = 200.0;
    const STALL: Duration = Duration::from_secs(1);
    let server = Server::start(&[Act::Say(GOOD)]).await;
    let spec = LaneSpec { rate_per_second: RATE, ..lane("main", server.address, Connections::Reused(1)) };
    let (messages, mut inbox) = unbounded_channel();
    let mut running = start(vec![spec], messages).expect("a lane that can run");
    running.begin().expect("the first begin");
    let origin = running.origin();
    let mut heard = Heard::default();
    let before = async {
        while heard.intervals.len() < 5 {
            take(&mut heard, inbox.recv().await.expect("a generator that runs"));
        }
    };
    timeout(PATIENCE, before).await.expect("intervals close");
    server.set_stalled(true);
    let stalled_from = Instant::now();
    tokio::time::sleep(STALL).await;
    server.set_stalled(false);
    let stalled_for = stalled_from.elapsed();
    let heard = finish(running, inbox, heard).await;
    assert_consistent(&heard);
    assert_eq!(heard.count(Outcome::Ok), heard.sent(), "{:?}", heard.lost.first());

    // Of a stall of length D, the requests that waited longer than D/2 are those due in its first half.
    let half_us = stalled_for.as_micros() as f64 / 2.0;
    let expected = RATE * half_us / 1e6;
    let slow: u64 = heard.intervals.iter().map(|interval| slower_than(&interval.response, half_us)).sum();
    let share = slow as f64 / expected;
    assert!(share >= 0.8, "{slow} slow requests where {expected} fell due");

    // The twin: what ended before the stall is untouched by it, where the machine itself did not stall.
    let stall_begins_us = stalled_from.duration_since(origin).as_micros() as f64;
    let untouched = |counts: &LaneInterval| {
        ((counts.start_us + counts.length_us) as f64) < stall_begins_us - half_us / 4.0
            && counts.send_lag_max_us < LAG_OF_A_STARVED_MACHINE_US
    };
    for interval in heard.intervals.iter().filter(|interval| untouched(&interval.counts)) {
        assert_eq!(slower_than(&interval.response, half_us), 0, "before the stall, at {}", interval.counts.start_us);
    }
}

fn slower_than(histogram: &Histogram<u64>, limit_us: f64) -> u64 {
    histogram
        .iter_recorded()
        .filter(|step| step.value_iterated_to() as f64 > limit_us)
        .map(|step| step.count_since_last_iteration())
        .sum()
}

#[tokio::test]
async fn intervals_are_told_also_when_nothing_falls_due() {
    let server = Server::start(&[Act::Say(GOOD)]).await;
    let spec = LaneSpec { rate_per_second: 2.0, ..lane("main", server.address, Connections::New) };
    let heard = run(vec![spec], 2).await;
    assert_consistent(&heard);
    assert!(heard.intervals.iter().any(|interval| interval.response.is_empty()));
}

#[tokio::test]
async fn a_generator_that_never_began_has_an_empty_account() {
    let (messages, mut inbox) = unbounded_channel();
    let address = closed_port().await;
    let running = start(vec![lane("main", address, Connections::Reused(2))], messages).expect("a lane");
    let totals = timeout(PATIENCE, running.stop()).await.expect("it ends").expect("an account");
    assert!(totals.lanes[0].by_outcome.is_empty());
    assert!(inbox.recv().await.is_none());
}

#[tokio::test]
async fn lanes_that_cannot_run_are_refused_with_their_name() {
    let address = closed_port().await;
    let valid = || lane("main", address, Connections::New);
    for (spec, wanted) in [
        (LaneSpec { rate_per_second: 0.0, ..valid() }, "0 requests per second"),
        (LaneSpec { path: "cart".to_owned(), ..valid() }, "`cart`"),
        (LaneSpec { path: "/a b".to_owned(), ..valid() }, "`/a b`"),
        (LaneSpec { host: "a\nb".to_owned(), ..valid() }, "Host header"),
        (LaneSpec { timeout_us: 0, ..valid() }, "timeout"),
    ] {
        let error = start(vec![spec], unbounded_channel().0).expect_err("a lane that cannot run");
        let words = error.to_string();
        assert!(words.contains("lane `main`") && words.contains(wanted), "{words}");
    }
}

/// Each connection sends its next request when it has the answer to the last one, so their number is that of the
/// requests open at once, and the service decides how many there are.
#[tokio::test]
async fn a_lane_without_a_rate_keeps_its_connections_busy() {
    let server = Server::start(&[Act::Say(GOOD)]).await;
    let options = LaneOptions { shape: Shape::Max, ..LaneOptions::default() };
    let spec = LaneSpec { options, rate_per_second: 1.0, ..lane("main", server.address, Connections::Reused(3)) };
    let heard = run(vec![spec], 500).await;
    assert_consistent(&heard);
    assert_eq!(heard.count(Outcome::Ok), heard.sent(), "{:?}", heard.lost.first());
    assert_eq!(heard.totals.lanes[0].connections_opened, 3);
}

/// What falls due in a given time is exactly what the rate says, however late the generator is told to stop.
#[tokio::test]
async fn a_lane_with_a_length_lets_exactly_that_much_fall_due() {
    let server = Server::start(&[Act::Say(GOOD)]).await;
    for shape in [Shape::Constant, Shape::SawTooth { from_per_second: 0.0, every_us: 100_000 }] {
        let wanted = if shape == Shape::Constant { 60 } else { 30 };
        let options = LaneOptions { for_us: Some(300_000), shape, ..LaneOptions::default() };
        let spec = LaneSpec { options, rate_per_second: 200.0, ..lane("main", server.address, Connections::New) };
        let heard = run_until(vec![spec], |heard| heard.intervals.len() >= 5).await;
        assert_consistent(&heard);
        assert_eq!(heard.intervals.iter().map(due).sum::<u64>(), wanted);
    }
}

/// A connection that reaches its limit is closed between two requests, so nothing is lost with it.
#[tokio::test]
async fn connections_are_replaced_when_they_have_carried_their_share() {
    let server = Server::start(&[Act::Say(GOOD)]).await;
    let of = |options: LaneOptions| LaneSpec { options, ..lane("main", server.address, Connections::Reused(1)) };
    let counted = LaneOptions { requests_per_connection: Some(4), ..LaneOptions::default() };
    let heard = run(vec![of(counted)], 40).await;
    assert_consistent(&heard);
    assert_eq!(heard.count(Outcome::Ok), heard.sent(), "{:?}", heard.lost.first());
    let opened = heard.totals.lanes[0].connections_opened;
    assert!(opened >= heard.sent() / 4, "{opened} connections for {} requests", heard.sent());
    let aged = LaneOptions { connection_age_us: Some(100_000), ..LaneOptions::default() };
    let heard = run(vec![of(aged)], 60).await;
    assert_eq!(heard.count(Outcome::Ok), heard.sent(), "{:?}", heard.lost.first());
    let opened = heard.totals.lanes[0].connections_opened;
    assert!((4..heard.sent()).contains(&opened), "{opened} connections for {} requests", heard.sent());
}

/// The generator's own thread stands still once, in the middle of opening a connection: that is seen as its own doing.
#[tokio::test]
async fn a_stall_of_ours_is_marked_as_ours() {
    const STALL: Duration = Duration::from_millis(450);
    const AT: u32 = 25;
    let server = Server::start(&[Act::Say(GOOD)]).await;
    let (address, asked) = (server.address, AtomicU32::new(0));
    let route = Route::new(move || {
        if asked.fetch_add(1, Ordering::Relaxed) == AT {
            std::thread::sleep(STALL);
        }
        Destination::Address { address, delay: Duration::ZERO }
    });
    let (messages, mut inbox) = unbounded_channel();
    let lane = RoutedLane { spec: lane("main", address, Connections::New), route };
    let mut running = start(vec![lane], messages).expect("a lane that can run");
    running.begin().expect("the first begin");
    let mut heard = Heard::default();
    let enough = async {
        while heard.intervals.len() < 12 {
            take(&mut heard, inbox.recv().await.expect("a generator that runs"));
        }
    };
    timeout(PATIENCE, enough).await.expect("intervals close");
    let heard = finish(running, inbox, heard).await;
    assert_consistent(&heard);
    assert!(heard.lost.is_empty(), "{:?}", heard.lost.first());
    let marked = heard.intervals.iter().filter(|interval| interval.counts.own_delay_us() > 100_000).count();
    // It covers three whole intervals at least, and the last requests due in it were hardly late.
    assert!((3..heard.intervals.len()).contains(&marked), "{marked} of {}", heard.intervals.len());
    assert!(heard.intervals.iter().any(|interval| interval.counts.own_delay_us() > 300_000));
}

#[tokio::test]
async fn a_load_is_begun_only_once() {
    let mut running = start(Vec::<LaneSpec>::new(), unbounded_channel().0).expect("no lanes");
    running.begin().expect("the first begin");
    assert!(matches!(running.begin(), Err(LoadError::BegunBefore)));
    assert_eq!(timeout(PATIENCE, running.stop()).await.expect("it ends").expect("an account"), LoadTotals::default());
}

/// Each request of the lane is sent by one of them, in intervals that coincide, and none before the moment.
#[tokio::test]
async fn generators_that_share_a_lane_from_one_moment_on_send_it_once_in_the_same_intervals() {
    let server = Server::start(&[Act::Say(GOOD)]).await;
    let spec = LaneSpec { rate_per_second: 90.0, ..lane("main", server.address, Connections::Reused(2)) };
    let moment = Instant::now() + Duration::from_millis(333);
    let mut generators = Vec::new();
    for share in Share::all(NonZeroU32::new(2).expect("two")) {
        let (messages, inbox) = unbounded_channel();
        let mut running = start_at(moment, vec![spec.shared(share)], messages).expect("a lane that can run");
        running.begin().expect("the first begin");
        generators.push((running, inbox));
    }
    tokio::time::sleep_until(moment + Duration::from_millis(550)).await;
    let mut of_slot: BTreeMap<i64, Vec<u64>> = BTreeMap::new();
    for (running, inbox) in generators {
        let begins_us = i64::try_from((moment - running.origin()).as_micros()).expect("a short time");
        let heard = Heard::default();
        let heard = finish(running, inbox, heard).await;
        assert_consistent(&heard);
        for interval in &heard.intervals {
            of_slot.entry(interval.counts.start_us - begins_us).or_default().push(due(interval));
        }
    }
    let whole: Vec<(i64, Vec<u64>)> = of_slot.into_iter().take(5).collect();
    assert_eq!(
        whole.iter().map(|(start_us, _)| *start_us).collect::<Vec<_>>(),
        [0, 100_000, 200_000, 300_000, 400_000]
    );
    for (start_us, due) in whole {
        assert_eq!(due.iter().sum::<u64>(), 9, "at {start_us}: {due:?}");
        assert!(due.len() == 2 && due.iter().all(|one| matches!(one, 4 | 5)), "at {start_us}: {due:?}");
    }
}

/// What is remembered on the way of a connection that was lost must not be met again; one that ended by the book may.
#[tokio::test]
async fn the_port_of_a_lost_request_rests_and_that_of_an_answered_one_does_not() {
    const SOON_US: i64 = 200_000;
    let refused = closed_port().await;
    for (act, timeout_us, rests) in [
        (Act::Say(GOOD), AMPLE_US, 0),
        (Act::SayAndClose(POLITE), AMPLE_US, 0),
        (Act::SayAndReset(""), AMPLE_US, 1),
        (Act::Stall, SOON_US, 1),
    ] {
        let server = Server::start(Box::leak(Box::new([act]))).await;
        let spec = LaneSpec { timeout_us, ..lane("main", server.address, Connections::New) };
        assert_eq!(resting_after_one_request(spec).await, rests, "{act:?}");
    }
    assert_eq!(resting_after_one_request(lane("main", refused, Connections::New)).await, 1, "refused");
}

async fn resting_after_one_request(spec: LaneSpec) -> usize {
    let (ended, sources, origin) = (Rc::new(Notify::new()), Sources::new(), Instant::now());
    let (messages, _inbox) = unbounded_channel();
    let voice = Rc::new(Voice::new(messages));
    let template = Template::new("/cart?id=7", "shop", false, 200, Check::default(), Words::default());
    let way = Way {
        route: Route::fixed(spec.address),
        sources: Rc::clone(&sources),
        tls: None,
        protocol: Protocol::Http1,
        address: String::new(),
        renewed_ns: Arc::default(),
    };
    let wake_ns = Rc::new(Cell::new(u64::MAX));
    let client = Rc::new(Client::new(spec, way, template, origin, Rc::clone(&ended), voice, wake_ns));
    let one_request = async {
        client.begin(0);
        client.send(0);
        let over = origin + client.timeout();
        while client.open() > 0 {
            tokio::select! {
                () = ended.notified() => {}
                () = tokio::time::sleep_until(over) => client.pass_deadlines(u64::MAX),
            }
        }
    };
    let local = LocalSet::new();
    local.run_until(timeout(PATIENCE, one_request)).await.expect("it ends");
    sources.resting()
}
