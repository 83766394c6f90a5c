//! A watch's life as kube tells it, without a cluster.

use k8s_openapi::api::core::v1::Node;
use kube::core::Status;
use serde_json::json;
use tokio::sync::mpsc::UnboundedReceiver;

use super::*;
use crate::{
    observe::{book::Latest, nodes::Nodes},
    record::{clock::Clock, event},
};

fn node(name: &str, cordoned: bool) -> Node {
    serde_json::from_value(json!({"metadata": {"name": name, "uid": name}, "spec": {"unschedulable": cordoned}}))
        .unwrap()
}

fn following() -> (Following<Latest<Nodes>>, UnboundedReceiver<event::Event>, watch::Receiver<Unlisted>) {
    let (sink, out) = Sink::new(Clock::start());
    let unlisted = Arc::new(watch::Sender::new(Unlisted::from([("nodes", String::new())])));
    let listed = unlisted.subscribe();
    let line = Line { name: "nodes", sink, unlisted, silent_since: watch::Sender::new(0).subscribe() };
    let following = Following {
        trouble: Trouble::new("the watch of nodes failed"),
        book: Latest::new(),
        line,
        began: 0,
        broken_since: None,
        listed_before: false,
    };
    (following, out, listed)
}

fn gone() -> watcher::Error {
    watcher::Error::WatchError(Status::failure("too old resource version", "Expired").with_code(410).boxed())
}

/// Nodes as `name` or `name gone`, notes by their first words.
fn told(out: &mut UnboundedReceiver<event::Event>) -> Vec<String> {
    std::iter::from_fn(|| out.try_recv().ok())
        .map(|event| match event.what {
            What::Node(seen) => format!("{}{}", seen.name, if seen.gone { " gone" } else { "" }),
            What::Note(note) => note.text.split(':').next().unwrap_or_default().to_owned(),
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn the_first_list_is_the_state_and_no_gap() {
    let (mut following, mut out, listed) = following();
    following.take(Ok(Event::Init));
    following.take(Ok(Event::InitApply(node("a", false))));
    assert!(!listed.borrow().is_empty());
    following.take(Ok(Event::InitDone));
    assert!(listed.borrow().is_empty());
    assert_eq!(told(&mut out), ["a"]);
}

#[test]
fn a_new_list_is_told_as_a_gap_and_what_vanished_is_gone() {
    let (mut following, mut out, _) = following();
    for event in [Event::Init, Event::InitApply(node("a", false)), Event::InitApply(node("b", false)), Event::InitDone]
    {
        following.take(Ok(event));
    }
    following.take(Err(gone()));
    for event in [Event::Init, Event::InitApply(node("b", false)), Event::InitDone] {
        following.take(Ok(event));
    }
    assert_eq!(told(&mut out), ["a", "b", "nodes were listed anew", "a gone"]);
}

#[test]
fn a_watch_that_resumes_where_it_broke_off_says_nothing() {
    let (mut following, mut out, _) = following();
    for event in [Event::Init, Event::InitApply(node("a", false)), Event::InitDone] {
        following.take(Ok(event));
    }
    following.take(Err(watcher::Error::NoResourceVersion));
    following.take(Ok(Event::Apply(node("a", true))));
    following.take(Ok(Event::Delete(node("a", true))));
    assert_eq!(told(&mut out), ["a", "a", "a gone"]);
}

#[test]
fn a_watch_that_cannot_list_says_why() {
    let (mut following, mut out, listed) = following();
    following.take(Ok(Event::Init));
    following.take(Err(gone()));
    assert_eq!(listed.borrow().get("nodes").map(String::as_str), Some("too old resource version"));
    assert_eq!(told(&mut out), Vec::<String>::new());
}
