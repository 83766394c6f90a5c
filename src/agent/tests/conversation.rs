use std::{iter, time::Duration};

use tokio::sync::mpsc;

use super::{
    rig::{Direct, Fate, agent, options, scripted, talk},
    *,
};
use crate::{
    agent::client::begin,
    record::{
        clock::{Clock, Sink},
        event::{Event, Note, NoteKind, What},
    },
};

/// What a conversation has brought.
struct Brought {
    intervals: Vec<(Micros, u64)>,
    lost: Vec<Micros>,
    unsent: u64,
    notes: Vec<Note>,
}

fn brought(mut messages: mpsc::UnboundedReceiver<LoadMessage>, mut events: mpsc::UnboundedReceiver<Event>) -> Brought {
    let mut all = Brought { intervals: Vec::new(), lost: Vec::new(), unsent: 0, notes: Vec::new() };
    while let Ok(message) = messages.try_recv() {
        match message {
            LoadMessage::Interval(interval) => {
                let of = |outcome| interval.counts.by_outcome.get(&outcome).copied();
                all.unsent += of(Outcome::NotSent).unwrap_or(0);
                all.intervals.extend(of(Outcome::Ok).map(|ok| (interval.counts.start_us, ok)));
            }
            LoadMessage::Lost(lost) => all.lost.push(lost.intended_us),
            LoadMessage::Note(note) => all.notes.push(note),
            LoadMessage::Slow(_) => {}
        }
    }
    while let Ok(event) = events.try_recv() {
        if let What::Note(note) = event.what {
            all.notes.push(note);
        }
    }
    all
}

/// Fifty intervals with 1, 2, 3 … requests, a loss after each, and ten more after the stop.
fn script() -> (Vec<LoadMessage>, Vec<LoadMessage>) {
    let both = |n: u64| {
        let at = i64::try_from(n).unwrap() * 100_000;
        [interval("new", at, n + 1), lost("new", at + 7)]
    };
    ((0..50).flat_map(both).collect(), (50..60).flat_map(both).collect())
}

/// Runs the script's load under an agent, over a way with these fates, until all of its first part has come.
async fn converse(fates: impl IntoIterator<Item = Fate>) -> (Brought, Direct) {
    let (during, after_stop) = script();
    let expected = during.len();
    let rig = agent(options(), scripted(during, after_stop)).await;
    let (sink, events) = Sink::new(Clock::start());
    let way = Direct::to(rig.address).with_fates(fates);
    let (sender, mut messages) = mpsc::unbounded_channel();
    let following = begin(vec![talk("a", way.clone())], &[lane("new", 10.0)], sink, sender).await.unwrap();
    let (again, collected) = mpsc::unbounded_channel();
    for _ in 0..expected {
        let message = tokio::time::timeout(Duration::from_secs(20), messages.recv()).await.expect("in time");
        again.send(message.unwrap()).unwrap();
    }
    following.finish().await;
    while let Ok(message) = messages.try_recv() {
        again.send(message).unwrap();
    }
    (brought(collected, events), way)
}

fn assert_all_came_once(all: &Brought) {
    assert_eq!(all.intervals.iter().map(|(_, ok)| *ok).collect::<Vec<_>>(), (1..=60).collect::<Vec<_>>());
    assert_eq!(all.lost.len(), 60);
    let first = all.intervals[0].0;
    for (n, ((start, _), lost)) in all.intervals.iter().zip(&all.lost).enumerate() {
        let at = i64::try_from(n).unwrap() * 100_000;
        assert_eq!((*start - first, *lost - first), (at, at + 7), "the same offset for all");
    }
    assert_eq!(all.unsent, 0);
    let taints: Vec<_> = all.notes.iter().filter(|note| note.kind == NoteKind::Taint).collect();
    assert!(taints.is_empty(), "{taints:?}");
    let infos = all.notes.iter().filter(|note| note.text.contains("the clock of the load agent a")).count();
    assert_eq!(infos, 1);
}

#[tokio::test]
async fn every_message_comes_once_over_a_way_without_failures() {
    let (all, _) = converse([]).await;
    assert_all_came_once(&all);
}

#[tokio::test]
async fn every_message_comes_once_also_when_requests_and_answers_are_lost_in_between() {
    let fates = [Fate::RequestLost, Fate::AnswerLost, Fate::Through, Fate::AnswerLost, Fate::AnswerLost, Fate::Through];
    let (all, way) = converse(fates.into_iter().cycle().take(60)).await;
    assert_eq!(way.fates_left(), 0, "all failures took place");
    assert_all_came_once(&all);
}

#[tokio::test]
async fn times_are_on_the_runs_clock() {
    let rig = agent(options(), scripted(vec![interval("new", 0, 1)], vec![])).await;
    // The agent is older than the run, and so its clock reads more.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (sink, events) = Sink::new(Clock::start());
    let (sender, messages) = mpsc::unbounded_channel();
    let before = sink.clock().now();
    let following =
        begin(vec![talk("a", Direct::to(rig.address))], &[lane("new", 10.0)], sink.clone(), sender).await.unwrap();
    let after = sink.clock().now();
    tokio::time::sleep(Duration::from_millis(50)).await;
    following.finish().await;
    let all = brought(messages, events);
    // The load began between the two; its first interval starts at its beginning, whose offset is off by half a trip.
    let start = all.intervals[0].0;
    assert!((before - 5_000..=after + 5_000).contains(&start), "{before} ≤ {start} ≤ {after}");
}

#[tokio::test]
async fn an_agent_that_dies_taints_the_run_and_what_it_did_not_send_is_unsent_and_not_lost() {
    let rig = agent(options(), scripted(vec![interval("new", 0, 1), lost("new", 7)], vec![])).await;
    let (sink, events) = Sink::new(Clock::start());
    let (sender, messages) = mpsc::unbounded_channel();
    let way = Direct::to(rig.address).with_gone("its container ended with exit code 137 (OOMKilled)");
    let following = begin(vec![talk("a", way)], &[lane("new", 100.0)], sink, sender).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    rig.ended.abort();
    tokio::time::sleep(Duration::from_millis(450)).await;
    following.finish().await;
    let all = brought(messages, events);
    assert_eq!((all.intervals.len(), all.lost.len()), (1, 1));
    // 100 requests a second from the end of the interval of 100 ms to the stop, 500 ms after the start or later.
    assert!((35..200).contains(&all.unsent), "{}", all.unsent);
    let taint = Note {
        kind: NoteKind::Taint,
        text: "the load agent a ended: its container ended with exit code 137 (OOMKilled)".to_owned(),
    };
    assert_eq!(all.notes, [taint]);
}

#[tokio::test]
async fn an_agent_out_of_reach_for_too_long_counts_as_ended_and_for_less_does_not() {
    // With a repetition every 2 ms, 300 ms are fewer than 200 failures, and more than 20.
    for (failures, dies) in [(20, false), (usize::MAX, true)] {
        let rig = agent(options(), scripted(vec![interval("new", 0, 1)], vec![])).await;
        let (sink, events) = Sink::new(Clock::start());
        let (sender, messages) = mpsc::unbounded_channel();
        let way = Direct::to(rig.address);
        let following = begin(vec![talk("a", way.clone())], &[lane("new", 10.0)], sink, sender).await.unwrap();
        way.add_fates(iter::repeat_n(Fate::RequestLost, failures.min(100_000)));
        tokio::time::sleep(Duration::from_millis(700)).await;
        following.finish().await;
        let all = brought(messages, events);
        let died = all.notes.iter().any(|note| note.text.contains("it could not be reached for 300ms"));
        assert_eq!(died, dies, "{failures} failures: {:?}", all.notes);
        assert_eq!(all.unsent > 0, dies, "{failures} failures");
    }
}

#[tokio::test]
async fn load_that_ends_by_itself_taints_the_run() {
    let ends: Box<crate::agent::engine::StartLoad> = Box::new(|moment, _, messages| {
        messages.send(interval("new", 0, 1)).unwrap();
        Ok(crate::agent::engine::Load { origin: moment, stop: Box::pin(async { Ok(()) }), renew: Box::new(|| ()) })
    });
    let rig = agent(options(), ends).await;
    let (sink, events) = Sink::new(Clock::start());
    let (sender, messages) = mpsc::unbounded_channel();
    let following = begin(vec![talk("a", Direct::to(rig.address))], &[lane("new", 10.0)], sink, sender).await.unwrap();
    tokio::time::sleep(Duration::from_millis(250)).await;
    following.finish().await;
    let all = brought(messages, events);
    assert_eq!(all.intervals.len(), 1);
    assert!(all.unsent > 0);
    assert!(all.notes.iter().any(|note| note.text == "the load agent a ended: its load ended before it was told to"));
}

#[tokio::test]
async fn load_without_a_complete_account_taints_the_run() {
    let stuck: Box<crate::agent::engine::StartLoad> = Box::new(|moment, _, messages| {
        let stop = Box::pin(async move {
            drop(messages);
            Err("3 requests did not end".to_owned())
        });
        Ok(crate::agent::engine::Load { origin: moment, stop, renew: Box::new(|| ()) })
    });
    let rig = agent(options(), stuck).await;
    let (sink, events) = Sink::new(Clock::start());
    let (sender, messages) = mpsc::unbounded_channel();
    let following = begin(vec![talk("a", Direct::to(rig.address))], &[lane("new", 10.0)], sink, sender).await.unwrap();
    following.finish().await;
    let notes = brought(messages, events).notes;
    let text = "the load in the agent has no complete account: 3 requests did not end";
    assert!(notes.contains(&Note { kind: NoteKind::Taint, text: text.to_owned() }), "{notes:?}");
}
