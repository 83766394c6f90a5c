//! Several agents at once, each a server of its own with a clock of its own: begun together, merged, and one of them
//! dead.

use std::time::Duration;

use tokio::sync::mpsc;

use super::{
    rig::{Direct, Fate, Rig, agent, options, talk},
    *,
};
use crate::{
    agent::{
        client::begin,
        engine::{Load, StartLoad},
        server::start_load,
    },
    record::{
        clock::{Clock, Sink},
        event::{NoteKind, What},
    },
};

/// In each second of the whole lane; a multiple of the agents, so that each has as many in each interval.
const RATE: f64 = 60.0;

/// Load that tells, as it becomes due, exactly what its share of the lane is, each request answered.
fn exact() -> Box<StartLoad> {
    Box::new(|moment, lanes, messages| {
        let (stop, mut told) = tokio::sync::oneshot::channel::<()>();
        let said = tokio::spawn(async move {
            let dues = crate::agent::unsent::Dues::of(&lanes[0], 0, 1, 0);
            for start_us in (0..).step_by(100_000) {
                let end = moment + Duration::from_micros(u64::try_from(start_us + 100_000).unwrap());
                tokio::select! {
                    () = tokio::time::sleep_until(end) => {}
                    _ = &mut told => return,
                }
                let due = dues.between(start_us, start_us + 100_000);
                drop(messages.send(interval("new", start_us, due)));
            }
        });
        let stop = Box::pin(async move {
            drop(stop);
            said.await.map_err(|error| error.to_string())
        });
        Ok(Load { origin: moment, stop, renew: Box::new(|| ()) })
    })
}

/// An interval that passed on: start, answered, not sent.
type Passed = (Micros, u64, u64);

async fn three(load: fn() -> Box<StartLoad>) -> Vec<Rig> {
    let mut rigs = Vec::new();
    for _ in 0..3 {
        rigs.push(agent(options(), load()).await);
        // So that no two of their clocks read the same.
        tokio::time::sleep(Duration::from_millis(37)).await;
    }
    rigs
}

fn passed(message: LoadMessage) -> Passed {
    let LoadMessage::Interval(interval) = message else { panic!("not an interval: {message:?}") };
    assert_eq!(interval.response.len(), interval.counts.by_outcome.get(&Outcome::Ok).copied().unwrap_or(0));
    let of = |outcome| interval.counts.by_outcome.get(&outcome).copied().unwrap_or(0);
    (interval.counts.start_us, of(Outcome::Ok), of(Outcome::NotSent))
}

#[tokio::test]
async fn agents_with_clocks_of_their_own_begin_at_one_moment_and_say_together_what_one_would() {
    let rigs = three(exact).await;
    let (sink, mut events) = Sink::new(Clock::start());
    let (sender, mut messages) = mpsc::unbounded_channel();
    // Ways on which requests and answers are lost change nothing of it.
    let lossy = [Fate::Through, Fate::RequestLost, Fate::AnswerLost].into_iter().cycle().take(30);
    let ways = rigs.iter().map(|rig| Direct::to(rig.address).with_fates(lossy.clone()));
    let agents = ways.zip(["a", "b", "c"]).map(|(way, name)| talk(name, way)).collect();
    let following = begin(agents, &[lane("new", RATE)], sink.clone(), sender).await.unwrap();
    let mut came = Vec::new();
    while came.len() < 8 {
        let message = tokio::time::timeout(Duration::from_secs(20), messages.recv()).await.expect("in time").unwrap();
        came.push(passed(message));
    }
    following.finish().await;
    let begin_us = came[0].0;
    let expected: Vec<Passed> = (0..8).map(|n| (begin_us + n * 100_000, 6, 0)).collect();
    assert_eq!(came, expected, "one interval for each slot, and in it what the whole lane sends");
    while let Ok(event) = events.try_recv() {
        let What::Note(note) = event.what else { continue };
        assert_eq!(note.kind, NoteKind::Info, "{}", note.text);
    }
}

/// The known-bad twin of the one before.
#[tokio::test]
async fn when_one_of_three_dies_its_third_is_unsent_and_the_totals_say_so() {
    let mut rigs = three(exact).await;
    let (sink, mut events) = Sink::new(Clock::start());
    let (sender, mut messages) = mpsc::unbounded_channel();
    let ways = rigs.iter().map(|rig| Direct::to(rig.address).with_gone("its container ended with exit code 137"));
    let agents = ways.zip(["a", "b", "c"]).map(|(way, name)| talk(name, way)).collect();
    let following = begin(agents, &[lane("new", RATE)], sink, sender).await.unwrap();
    let mut came = Vec::new();
    let mut died = false;
    while came.iter().filter(|(_, _, unsent)| *unsent > 0).count() < 5 {
        let message = tokio::time::timeout(Duration::from_secs(20), messages.recv()).await.expect("in time").unwrap();
        came.push(passed(message));
        if came.len() == 3 && !std::mem::replace(&mut died, true) {
            rigs.remove(1).ended.abort();
        }
    }
    following.finish().await;
    let begin_us = came[0].0;
    for (n, (start_us, ok, unsent)) in came.iter().enumerate() {
        assert_eq!(*start_us, begin_us + i64::try_from(n).unwrap() * 100_000, "none is missing: {came:?}");
        assert!(matches!((ok, unsent), (6, 0) | (4, 2)), "{came:?}");
    }
    let first = came.iter().position(|(_, _, unsent)| *unsent > 0).unwrap();
    assert!(first >= 3 && came[first..].iter().all(|(_, _, unsent)| *unsent == 2), "from its death on: {came:?}");
    let (ok, unsent) = came.iter().fold((0, 0), |(ok, unsent), one| (ok + one.1, unsent + one.2));
    assert_eq!(ok + unsent, came.len() as u64 * 6, "all that fell due");
    let mut taints = Vec::new();
    while let Ok(event) = events.try_recv() {
        let What::Note(note) = event.what else { continue };
        taints.extend((note.kind == NoteKind::Taint).then_some(note.text));
    }
    assert_eq!(taints, ["the load agent b ended: its container ended with exit code 137"]);
}

#[tokio::test]
async fn an_agent_that_hears_of_the_beginning_too_late_ends_the_start_in_its_words() {
    let rigs = three(exact).await;
    let (sink, _events) = Sink::new(Clock::start());
    let (sender, _messages) = mpsc::unbounded_channel();
    let late = Direct::to(rigs[2].address);
    // Its clock is read; the start comes through only after the moment.
    late.add_fates(std::iter::repeat_n(Fate::Through, 9).chain([Fate::Late]));
    let agents = [("a", Direct::to(rigs[0].address)), ("b", Direct::to(rigs[1].address)), ("c", late)];
    let agents = agents.map(|(name, way)| talk(name, way)).into();
    let why = begin(agents, &[lane("new", RATE)], sink, sender).await.err().unwrap().to_string();
    assert!(why.contains("agent pod c") && why.contains("the lanes were to begin"), "{why}");
}

#[tokio::test]
async fn load_cores_behind_agents_send_each_request_of_the_lane_once() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    let rigs = three(|| Box::new(start_load)).await;
    let (sink, _events) = Sink::new(Clock::start());
    let (sender, mut messages) = mpsc::unbounded_channel();
    let agents = rigs.iter().zip(["a", "b", "c"]).map(|(rig, name)| talk(name, Direct::to(rig.address))).collect();
    let spec = LaneSpec { address: closed, timeout_us: 20_000_000, ..lane("new", RATE) };
    let following = begin(agents, &[spec], sink, sender).await.unwrap();
    let (mut due, mut intended) = (Vec::new(), Vec::new());
    while due.len() < 6 {
        let message = tokio::time::timeout(Duration::from_secs(20), messages.recv()).await.expect("in time").unwrap();
        match message {
            LoadMessage::Interval(interval) => due.push((interval.counts.start_us, interval.counts.by_outcome)),
            LoadMessage::Lost(lost) => intended.push(lost.intended_us),
            LoadMessage::Slow(_) | LoadMessage::Note(_) => {}
        }
    }
    following.finish().await;
    let begin_us = due[0].0;
    for (n, (start_us, by_outcome)) in due.iter().enumerate() {
        assert_eq!(*start_us, begin_us + i64::try_from(n).unwrap() * 100_000);
        assert_eq!(by_outcome.values().sum::<u64>(), 6, "{by_outcome:?}");
    }
    // Nobody listens there, so each request is told one by one, with the moment at which it was due.
    intended.sort_unstable();
    let first: Vec<i64> = intended.iter().take(30).map(|at_us| at_us - begin_us).collect();
    let evenly: Vec<i64> = (0..30).map(|n| n * 1_000_000 / 60).collect();
    let close = first.len() == 30 && first.iter().zip(&evenly).all(|(is, wanted)| (is - wanted).abs() <= 1);
    assert!(close, "evenly spaced: {first:?}");
}
