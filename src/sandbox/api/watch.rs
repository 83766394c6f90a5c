//! Watches: what is there, and then what changes, as lines of JSON
//! (`apiserver/pkg/endpoints/handlers/watch.go`, `apiserver/pkg/storage/cacher/{cacher,cache_watcher}.go`, v0.34.4).
//!
//! Nothing is buffered: a body reads the store's log when its client can take more. A client that is so slow that the
//! log has moved on is told 410; one that does not read at all is cut by the server.

use std::{collections::BTreeMap, sync::Arc, time::Duration, vec};

use bytes::{Bytes, BytesMut};
use futures::{FutureExt, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::{StatusCode, body::Frame};
use serde_json::json;
use tokio::time::Instant;

use super::{
    answer::{self, Answer, BoxError},
    catalogue::Resource,
    list,
    negotiate::{Format, Shape, Wanted},
    query::Query,
    selection::Selection,
    show::{EventWriter, Include},
};
use crate::sandbox::{
    error::{ApiError, FieldError},
    names,
    store::{Change, Fallen, Object, Op, Store, Watcher},
};

/// How often a client that wants bookmarks gets one (cacher.go, `bookmarkFrequency`).
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);

/// How long a watch lasts that states no time: so long at least, and up to twice as long (`--min-request-timeout`).
const LASTS: Duration = Duration::from_secs(1_800);

/// The longest a client can ask for.
const LASTS_MAX: u64 = 86_400;

/// The size of the pieces in which the objects that are there at first go out.
const PIECE: usize = 64 * 1024;

/// The annotation of the bookmark that ends the objects that were there at first.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// Where a watch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// With all that is there.
    WithAll,
    /// With what changes from now on.
    Now,
    /// With what changed after a version.
    After(u64),
}

/// One watch.
struct Watch {
    store: Arc<Store>,
    watcher: Option<Watcher>,
    selection: Selection,
    writer: EventWriter,
    initial: vec::IntoIter<Arc<Object>>,
    /// The version of the objects that are there at first, where their end is to be told.
    end_to_tell: Option<u64>,
    bookmarks: bool,
    next_bookmark: Instant,
    deadline: Instant,
    over: bool,
}

/// Answers with a stream of events.
///
/// # Errors
/// 400 and 422 for what the query may not ask. A version that is too old is told within the stream.
pub(super) fn watch(
    store: &Arc<Store>,
    resource: &'static Resource,
    selection: Selection,
    wanted: Wanted,
    query: &Query,
) -> Result<Answer, ApiError> {
    let start = start(query)?;
    let lasts = lasts(query)?;
    let bookmarks = query.flag("allowWatchBookmarks");
    let kind = resource.behind();
    let (version, initial) = match (start, kind) {
        (Start::WithAll, Some(kind)) => {
            let namespace = Some(selection.namespace.as_str()).filter(|namespace| !namespace.is_empty());
            let (version, mut objects) = store.list(kind, namespace);
            objects.retain(|object| selection.matches(object));
            (version, objects)
        }
        (Start::After(version), _) => (version, Vec::new()),
        _ => (store.version(), Vec::new()),
    };
    let include = Include::of(query.get("includeObject"))?;
    let shape = if wanted.format == Format::Yaml { Shape::Plain } else { wanted.shape };
    let now = Instant::now();
    let tell_end = query.flag("sendInitialEvents") && bookmarks;
    let mut watch = Watch {
        store: Arc::clone(store),
        watcher: None,
        selection,
        writer: EventWriter::new(resource, shape, include),
        initial: initial.into_iter(),
        end_to_tell: tell_end.then_some(version),
        bookmarks,
        next_bookmark: now + BOOKMARK_EVERY,
        deadline: now + lasts,
        over: false,
    };
    let mut first = None;
    if let Some(kind) = kind {
        match store.watch(kind, version) {
            Ok(watcher) => watch.watcher = Some(watcher),
            Err(fallen) => first = Some(watch.fail(fallen)),
        }
    }
    let events = stream::unfold((first, watch), |(first, mut watch)| async move {
        let piece = match first {
            Some(piece) => piece,
            None => watch.next().await?,
        };
        Some((Ok::<_, BoxError>(Frame::data(piece)), (None, watch)))
    });
    Ok(answer::with_body(StatusCode::OK, answer::JSON, StreamBody::new(events).boxed_unsync()))
}

fn start(query: &Query) -> Result<Start, ApiError> {
    let refuse = |error: FieldError| Err(ApiError::invalid("meta.k8s.io", "ListOptions", "", &[error]));
    let text = query.get("resourceVersion").unwrap_or_default();
    let matching = query.get("resourceVersionMatch");
    let initial = query.get("sendInitialEvents").is_some();
    if initial && matching != Some("NotOlderThan") {
        let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        return refuse(FieldError::forbidden("resourceVersionMatch", why));
    }
    if initial && !query.flag("sendInitialEvents") && !text.is_empty() && text != "0" {
        return Ok(Start::After(list::version_of(text)?));
    }
    if !initial && matching.is_some() {
        let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
        return refuse(FieldError::forbidden("resourceVersionMatch", why));
    }
    if let Some(token) = query.get("continue") {
        let error = FieldError::invalid("continue", &json!(token), "continue is forbidden for watch");
        return refuse(error);
    }
    let version = list::version_of(text)?;
    Ok(match (initial, query.flag("sendInitialEvents"), version) {
        (true, true, _) | (false, _, 0) => Start::WithAll,
        (true, false, _) => Start::Now,
        (false, _, version) => Start::After(version),
    })
}

fn lasts(query: &Query) -> Result<Duration, ApiError> {
    Ok(match query.number("timeoutSeconds")? {
        Some(seconds) if seconds > 0 => Duration::from_secs(u64::try_from(seconds).unwrap_or(0).min(LASTS_MAX)),
        // Watches that began together do not end together.
        _ => LASTS + LASTS.mul_f64(f64::from(names::letters(1).bytes().next().unwrap_or(b'b') % 32) / 32.0),
    })
}

impl Watch {
    /// The next events, or nothing once the watch is over.
    async fn next(&mut self) -> Option<Bytes> {
        let mut piece = BytesMut::new();
        if self.over {
            return None;
        }
        while piece.len() < PIECE
            && let Some(object) = self.initial.next()
        {
            self.writer.object(&mut piece, "ADDED", &object);
        }
        if !piece.is_empty() {
            return Some(piece.freeze());
        }
        if let Some(version) = self.end_to_tell.take() {
            let end = BTreeMap::from([(INITIAL_EVENTS_END.to_owned(), "true".to_owned())]);
            self.writer.bookmark(&mut piece, version, &end);
            return Some(piece.freeze());
        }
        loop {
            let wake = self.deadline.min(self.next_bookmark);
            tokio::select! {
                biased;
                changes = changes(&mut self.watcher) => match changes {
                    Ok(changes) => changes.iter().for_each(|change| self.write(&mut piece, change)),
                    Err(fallen) => return Some(self.fail(fallen)),
                },
                () = tokio::time::sleep_until(wake) => {
                    if let Err(fallen) = self.mark(&mut piece) {
                        return Some(self.fail(fallen));
                    }
                    self.over = Instant::now() >= self.deadline;
                    if self.over && piece.is_empty() {
                        return None;
                    }
                }
            }
            if !piece.is_empty() {
                return Some(piece.freeze());
            }
        }
    }

    /// Writes a bookmark, after whatever changes have come before it.
    fn mark(&mut self, piece: &mut BytesMut) -> Result<(), Fallen> {
        self.next_bookmark = Instant::now() + BOOKMARK_EVERY;
        if !self.bookmarks {
            return Ok(());
        }
        // Read before the changes are: what has been told then reaches at least so far.
        let version = self.store.version();
        let mut told = version;
        while let Some(changes) = changes(&mut self.watcher).now_or_never() {
            for change in changes? {
                told = told.max(change.object.version);
                self.write(piece, &change);
            }
        }
        self.writer.bookmark(piece, told, &BTreeMap::new());
        Ok(())
    }

    /// Writes a change as those see it who see only what is selected.
    fn write(&mut self, piece: &mut BytesMut, change: &Change) {
        let now = change.op != Op::Deleted && self.selection.matches(&change.object);
        let before = change.before.as_ref().filter(|before| self.selection.matches(before));
        match (before, now) {
            (None, false) => {}
            (None, true) => self.writer.object(piece, "ADDED", &change.object),
            (Some(_), true) => self.writer.object(piece, "MODIFIED", &change.object),
            (Some(_), false) if change.op == Op::Deleted => self.writer.object(piece, "DELETED", &change.object),
            (Some(before), false) => {
                // The last state that was selected, under the version of the change that ended it.
                let last = Arc::new(before.at_version(change.object.version));
                self.writer.object(piece, "DELETED", &last);
            }
        }
    }

    fn fail(&mut self, fallen: Fallen) -> Bytes {
        self.over = true;
        let mut piece = BytesMut::new();
        EventWriter::error(&mut piece, &ApiError::expired(fallen.to_string()));
        piece.freeze()
    }
}

/// The next changes; of what cannot be there, none ever.
async fn changes(watcher: &mut Option<Watcher>) -> Result<Vec<Arc<Change>>, Fallen> {
    match watcher {
        Some(watcher) => watcher.next().await,
        None => std::future::pending().await,
    }
}
