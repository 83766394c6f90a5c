//! What is stored: every object as the bytes that clients get, one counter of versions for all, and per kind a log of
//! the latest changes, from which every watch reads at its own pace.
//!
//! A watcher that has fallen behind the log is told so (410 for clients, a relist for controllers), so nobody's
//! slowness costs memory. Writes are one at a time; reads of an object share it.

mod object;
mod watcher;

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde_json::Value;
use tokio::sync::watch;

pub use object::{Object, Owner, owner_of, text_at};
pub use watcher::{Fallen, Watcher};

use super::kinds::Kind;

/// Changes of one kind that are kept for watchers.
const LOG_MAX: usize = 8_192;

/// So many changes are near a reader.
const NEAR: usize = 64;

/// What a change did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// It is new.
    Added,
    /// It was there in another version.
    Modified,
    /// It is gone.
    Deleted,
}

/// One change.
#[derive(Debug, Clone)]
pub struct Change {
    /// What it did.
    pub op: Op,
    /// The object after the change; of a deletion the last state, with the version of the deletion.
    pub object: Arc<Object>,
    /// The object before it.
    pub before: Option<Arc<Object>>,
}

/// What is to be there after a write.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    /// This, in a new version.
    Put(Value),
    /// What there is, in the version that it has.
    Keep,
    /// Nothing.
    Gone,
}

/// An object's place: its namespace (empty where it has none) and its name.
pub type Place = (String, String);

#[derive(Default)]
struct Stock {
    objects: BTreeMap<Place, Arc<Object>>,
    log: VecDeque<Arc<Change>>,
    /// The version up to which changes have been dropped from the log.
    dropped: u64,
}

#[derive(Default)]
struct Inner {
    version: u64,
    stocks: HashMap<&'static str, Stock>,
    /// Places by the uid of an object's owners.
    owned: HashMap<String, HashSet<(&'static str, Place)>>,
    /// Names of pods by node.
    on_node: HashMap<String, HashSet<Place>>,
    /// Names of pods without a managing controller by namespace.
    orphans: HashMap<String, HashSet<Place>>,
}

/// The store. Cheap to share.
pub struct Store {
    inner: Mutex<Inner>,
    wake: HashMap<&'static str, watch::Sender<u64>>,
}

/// The key of a kind within the store: plurals are unique among the kinds served.
fn stock_key(kind: &Kind) -> &'static str {
    kind.plural
}

impl Store {
    /// An empty store for these kinds.
    #[must_use]
    pub fn new(kinds: &[&'static Kind]) -> Self {
        let inner = Inner {
            version: 1,
            stocks: kinds.iter().map(|kind| (stock_key(kind), Stock::default())).collect(),
            ..Inner::default()
        };
        Self {
            inner: Mutex::new(inner),
            wake: kinds.iter().map(|kind| (stock_key(kind), watch::Sender::new(0))).collect(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic between two lines of a write cannot leave it half done: each is one insertion.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The version of the latest write.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.lock().version
    }

    /// An object.
    #[must_use]
    pub fn get(&self, kind: &Kind, namespace: &str, name: &str) -> Option<Arc<Object>> {
        let inner = self.lock();
        inner.stocks.get(stock_key(kind))?.objects.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    /// All objects of a kind, or those of one namespace, by place, with the version that they are of.
    #[must_use]
    pub fn list(&self, kind: &Kind, namespace: Option<&str>) -> (u64, Vec<Arc<Object>>) {
        let inner = self.lock();
        let Some(stock) = inner.stocks.get(stock_key(kind)) else { return (inner.version, Vec::new()) };
        let found = match namespace {
            None => stock.objects.values().cloned().collect(),
            Some(namespace) => {
                let from = Bound::Included((namespace.to_owned(), String::new()));
                let range = stock.objects.range((from, Bound::Unbounded));
                range.take_while(|((of, _), _)| of == namespace).map(|(_, object)| Arc::clone(object)).collect()
            }
        };
        (inner.version, found)
    }

    /// The objects of a kind that name this uid among their owners.
    #[must_use]
    pub fn owned_by(&self, kind: &Kind, uid: &str) -> Vec<Arc<Object>> {
        let inner = self.lock();
        let Some(stock) = inner.stocks.get(stock_key(kind)) else { return Vec::new() };
        let places = inner.owned.get(uid).into_iter().flatten().filter(|(of, _)| *of == stock_key(kind));
        let mut found: Vec<Arc<Object>> =
            places.filter_map(|(_, place)| stock.objects.get(place)).map(Arc::clone).collect();
        found.sort_by(|one, other| one.place().cmp(&other.place()));
        found
    }

    /// Whatever names this uid among its owners, of any kind.
    #[must_use]
    pub fn dependents(&self, uid: &str) -> Vec<Arc<Object>> {
        let inner = self.lock();
        let places = inner.owned.get(uid).into_iter().flatten();
        places.filter_map(|(of, place)| inner.stocks.get(of)?.objects.get(place)).map(Arc::clone).collect()
    }

    /// Whether something of any kind names this uid among its owners, and is such as is asked for.
    #[must_use]
    pub fn has_dependent(&self, uid: &str, is_such: impl Fn(&Object) -> bool) -> bool {
        let inner = self.lock();
        let places = inner.owned.get(uid).into_iter().flatten();
        let mut found = places.filter_map(|(of, place)| inner.stocks.get(of)?.objects.get(place));
        found.any(|object| is_such(object))
    }

    /// The pods that are bound to a node.
    #[must_use]
    pub fn pods_on(&self, node: &str) -> Vec<Arc<Object>> {
        let inner = self.lock();
        inner.pods_at(inner.on_node.get(node))
    }

    /// The pods of a namespace that no controller manages.
    #[must_use]
    pub fn orphan_pods(&self, namespace: &str) -> Vec<Arc<Object>> {
        let inner = self.lock();
        inner.pods_at(inner.orphans.get(namespace))
    }

    /// Writes in one step: `decide` sees the object as it is and says what is to be there. The `resourceVersion` of what
    /// is written is set here. What there is then comes back; of a removal the last state, and nothing where there was
    /// nothing.
    ///
    /// # Errors
    /// What `decide` refuses; then nothing is written.
    pub fn write<E>(
        &self,
        kind: &'static Kind,
        namespace: &str,
        name: &str,
        decide: impl FnOnce(Option<&Arc<Object>>) -> Result<Wanted, E>,
    ) -> Result<Option<Arc<Object>>, E> {
        let place: Place = (namespace.to_owned(), name.to_owned());
        let mut inner = self.lock();
        let before = inner.stocks.get(stock_key(kind)).and_then(|stock| stock.objects.get(&place)).cloned();
        let wanted = decide(before.as_ref())?;
        let version = inner.version + 1;
        let (op, object) = match (wanted, &before) {
            (Wanted::Keep, _) => return Ok(before),
            (Wanted::Gone, None) => return Ok(None),
            (Wanted::Gone, Some(before)) => (Op::Deleted, Arc::new(before.at_version(version))),
            (Wanted::Put(value), None) => (Op::Added, Arc::new(Object::new(kind, value, version))),
            (Wanted::Put(value), Some(_)) => (Op::Modified, Arc::new(Object::new(kind, value, version))),
        };
        inner.version = version;
        inner.index(before.as_deref(), (op != Op::Deleted).then_some(&*object), &place, kind);
        let stock = inner.stocks.entry(stock_key(kind)).or_default();
        if op == Op::Deleted {
            stock.objects.remove(&place);
        } else {
            stock.objects.insert(place, Arc::clone(&object));
        }
        stock.log.push_back(Arc::new(Change { op, object: Arc::clone(&object), before }));
        if stock.log.len() > LOG_MAX
            && let Some(oldest) = stock.log.pop_front()
        {
            stock.dropped = oldest.object.version;
        }
        drop(inner);
        if let Some(wake) = self.wake.get(stock_key(kind)) {
            wake.send_replace(version);
        }
        Ok(Some(object))
    }

    /// Watches a kind from a version on: what came after it.
    ///
    /// # Errors
    /// When changes since then have been dropped.
    pub fn watch(self: &Arc<Self>, kind: &'static Kind, since: u64) -> Result<Watcher, Fallen> {
        let watcher = Watcher::new(Arc::clone(self), kind, since);
        watcher.check()?;
        Ok(watcher)
    }

    fn wakes(&self, kind: &Kind) -> watch::Receiver<u64> {
        self.wake.get(stock_key(kind)).map_or_else(|| watch::Sender::new(0).subscribe(), watch::Sender::subscribe)
    }

    /// The changes of a kind after a version, at most `most` of them.
    ///
    /// # Errors
    /// When changes since then have been dropped.
    pub fn changes(&self, kind: &Kind, since: u64, most: usize) -> Result<Vec<Arc<Change>>, Fallen> {
        let inner = self.lock();
        let Some(stock) = inner.stocks.get(stock_key(kind)) else { return Ok(Vec::new()) };
        if since < stock.dropped {
            return Err(Fallen { asked: since, oldest: stock.dropped });
        }
        // Readers are rarely far behind: the last few are looked at one by one, which spares a search through all.
        let near = stock.log.iter().rev().take(NEAR + 1).take_while(|change| change.object.version > since).count();
        let first = if near <= NEAR {
            stock.log.len() - near
        } else {
            stock.log.partition_point(|change| change.object.version <= since)
        };
        Ok(stock.log.range(first..).take(most).cloned().collect())
    }
}

impl Inner {
    fn pods_at(&self, places: Option<&HashSet<Place>>) -> Vec<Arc<Object>> {
        let Some(pods) = self.stocks.get("pods") else { return Vec::new() };
        let found = places.into_iter().flatten().filter_map(|place| pods.objects.get(place));
        let mut found: Vec<Arc<Object>> = found.cloned().collect();
        found.sort_by(|one, other| one.place().cmp(&other.place()));
        found
    }

    fn index(&mut self, before: Option<&Object>, after: Option<&Object>, place: &Place, kind: &Kind) {
        let entry = (stock_key(kind), place.clone());
        for owner in before.into_iter().flat_map(|object| &object.owners) {
            if let Some(places) = self.owned.get_mut(&owner.uid) {
                places.remove(&entry);
                if places.is_empty() {
                    self.owned.remove(&owner.uid);
                }
            }
        }
        for owner in after.into_iter().flat_map(|object| &object.owners) {
            self.owned.entry(owner.uid.clone()).or_default().insert(entry.clone());
        }
        if let Some(node) = before.and_then(|object| object.node.as_ref())
            && let Some(places) = self.on_node.get_mut(node)
        {
            places.remove(place);
            if places.is_empty() {
                self.on_node.remove(node);
            }
        }
        if let Some(node) = after.and_then(|object| object.node.as_ref()) {
            self.on_node.entry(node.clone()).or_default().insert(place.clone());
        }
        let is_orphan = |object: Option<&Object>| {
            object.is_some_and(|object| object.kind.kind == "Pod" && object.controller().is_none())
        };
        if is_orphan(before)
            && let Some(places) = self.orphans.get_mut(&place.0)
        {
            places.remove(place);
            if places.is_empty() {
                self.orphans.remove(&place.0);
            }
        }
        if is_orphan(after) {
            self.orphans.entry(place.0.clone()).or_default().insert(place.clone());
        }
    }
}

#[cfg(test)]
mod tests;
