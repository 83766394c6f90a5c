//! One watch, from the first list on and through every break, into a book and onto the timeline.

use std::{collections::BTreeMap, fmt::Debug, pin::pin, sync::Arc};

use futures::{Stream, StreamExt};
use kube::{
    Api, Resource,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::{
    book::Book,
    trouble::{Seconds, Trouble},
};
use crate::{
    cluster::{error::ApiFailure, retry::Retry},
    record::{
        clock::Sink,
        event::{Micros, Note, NoteKind, What},
    },
};

/// How long one watch request lasts, in seconds, before it is made anew from where it ended. kube takes a connection
/// for dead 5 s after that: a watch whose server went silent is blind for no longer.
const WATCH_SECONDS: u32 = 30;

/// Objects listed at a time, which bounds the memory that whole objects take.
const PAGE: u32 = 100;

/// Watches that have not listed yet, each with its last failure, empty where it has none.
pub(super) type Unlisted = BTreeMap<&'static str, String>;

/// What all watches share, and the name of one.
#[derive(Clone)]
pub(super) struct Line {
    /// What is watched, in the plural.
    pub(super) name: &'static str,
    /// Onto the timeline.
    pub(super) sink: Sink,
    /// Where this one says that it has listed.
    pub(super) unlisted: Arc<watch::Sender<Unlisted>>,
    /// Changes when the API server is back after a silence, to when that began. Requests from before it may hang for
    /// ever, so the watch begins anew.
    pub(super) silent_since: watch::Receiver<Micros>,
}

/// Watches until it is dropped.
pub(super) async fn follow<B>(api: Api<B::Object>, book: B, mut line: Line)
where
    B: Book,
    B::Object: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut following = Following {
        trouble: Trouble::new(format!("the watch of {} failed", line.name)),
        book,
        line: line.clone(),
        began: line.sink.clock().now(),
        broken_since: None,
        listed_before: false,
    };
    loop {
        let config = watcher::Config::default().timeout(WATCH_SECONDS).page_size(PAGE);
        let events = pin!(watcher(api.clone(), config).backoff(Retry));
        tokio::select! {
            () = following.take_all(events) => {}
            back = line.silent_since.changed() => if back.is_err() { return },
        }
        following.broken_since.get_or_insert(*line.silent_since.borrow_and_update());
    }
}

struct Following<B> {
    book: B,
    line: Line,
    trouble: Trouble,
    /// When the attempt that is under way began.
    began: Micros,
    /// When the watch broke, until all is listed anew or a change is seen.
    broken_since: Option<Micros>,
    listed_before: bool,
}

impl<B: Book> Following<B> {
    async fn take_all<S>(&mut self, mut events: std::pin::Pin<&mut S>)
    where
        S: Stream<Item = watcher::Result<Event<B::Object>>>,
    {
        while let Some(event) = events.next().await {
            self.take(event);
        }
    }

    fn take(&mut self, event: watcher::Result<Event<B::Object>>) {
        let now = self.line.sink.clock().now();
        let mut out = Vec::new();
        match event {
            // Said before the list is asked for, so it is no sign of life.
            Ok(Event::Init) => {
                self.began = now;
                if self.listed_before {
                    self.broken_since.get_or_insert(now);
                }
                self.book.list_begins();
            }
            Ok(Event::InitApply(object)) => self.book.applied(&object, &mut out),
            Ok(Event::InitDone) => {
                self.no_trouble(now, &mut out);
                out.extend(self.listed(now).map(What::Note));
                self.book.list_ends(&mut out);
            }
            Ok(Event::Apply(object)) => {
                self.works(now, &mut out);
                self.book.applied(&object, &mut out);
            }
            Ok(Event::Delete(object)) => {
                self.works(now, &mut out);
                self.book.deleted(&object, &mut out);
            }
            Err(error) => self.broke(now, error, &mut out),
        }
        for what in out {
            self.line.sink.record_at(now, what);
        }
    }

    /// A change was seen, so the watch was resumed where it broke off.
    fn works(&mut self, now: Micros, out: &mut Vec<What>) {
        self.no_trouble(now, out);
        self.broken_since = None;
        self.began = now;
    }

    /// The end of failures that were told is told. That of others would be too late: a watch that works again says so
    /// only with the next change.
    fn no_trouble(&mut self, now: Micros, out: &mut Vec<What>) {
        let over = self.trouble.succeeded(now).filter(|over| over.tainted);
        out.extend(over.map(|over| What::Note(over.note)));
    }

    fn broke(&mut self, now: Micros, error: watcher::Error, out: &mut Vec<What>) {
        let words = in_words(error);
        tracing::debug!(watch = self.line.name, words, "the watch broke");
        self.line.unlisted.send_if_modified(|unlisted| {
            unlisted.get_mut(self.line.name).is_some_and(|last| {
                last.clone_from(&words);
                true
            })
        });
        // A watch that has listed was fine until it broke; a list fails from when it was asked for.
        let began = if self.listed_before && self.broken_since.is_none() { now } else { self.began };
        self.broken_since.get_or_insert(began);
        out.extend(self.trouble.failed(began, now, &words).map(What::Note));
        self.began = now;
    }

    /// All is listed: a note when that was not the first time, since changes may have been missed.
    fn listed(&mut self, now: Micros) -> Option<Note> {
        let broken_since = self.broken_since.take();
        if !std::mem::replace(&mut self.listed_before, true) {
            self.line.unlisted.send_modify(|unlisted| drop(unlisted.remove(self.line.name)));
            return None;
        }
        let since = Seconds(broken_since.unwrap_or(self.began));
        let text = format!(
            "{} were listed anew: what changed between {since} and {} was not seen change by change",
            self.line.name,
            Seconds(now)
        );
        Some(Note { kind: NoteKind::Info, text })
    }
}

fn in_words(error: watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => ApiFailure::from(error).words,
        watcher::Error::WatchError(status) => status.message,
        watcher::Error::NoResourceVersion => "an object came without a resourceVersion".to_owned(),
    }
}

#[cfg(test)]
mod tests;
