//! What has been recorded of each object, so that only changes are recorded, and objects that vanish unseen get their
//! last line when everything is listed anew.

use std::collections::HashMap;

use crate::record::event::What;

/// One watch's memory: objects in, events out.
pub(super) trait Book: Send {
    /// The kind of object that is watched.
    type Object;

    /// An object was added or changed, or is listed.
    fn applied(&mut self, object: &Self::Object, out: &mut Vec<What>);

    /// An object was deleted.
    fn deleted(&mut self, object: &Self::Object, out: &mut Vec<What>);

    /// All objects are about to be listed. A list that was broken off before is forgotten.
    fn list_begins(&mut self);

    /// All objects have been listed: what was not among them is gone.
    fn list_ends(&mut self, out: &mut Vec<What>);
}

/// What is kept of a kind whose objects stand alone.
pub(super) trait Projection: Send {
    /// The kind of object that is watched.
    type Object;
    /// What is kept of it.
    type Seen: Clone + PartialEq + Send;

    /// What tells two objects apart: the uid where an object made anew under the same name is another one.
    fn key(object: &Self::Object) -> String;

    /// What is kept.
    fn seen(object: &Self::Object) -> Self::Seen;

    /// The event of a change.
    fn changed(seen: Self::Seen) -> What;

    /// The event of its end.
    fn gone(seen: Self::Seen) -> What;
}

/// The last recorded state of each object of a kind.
pub(super) struct Latest<P: Projection> {
    last: HashMap<String, P::Seen>,
    // While everything is listed: held back until the end, so that what is gone is told before what took its place.
    listed: Option<HashMap<String, P::Seen>>,
}

impl<P: Projection> Latest<P> {
    pub(super) fn new() -> Self {
        Self { last: HashMap::new(), listed: None }
    }

    fn record(&mut self, key: String, seen: P::Seen, out: &mut Vec<What>) {
        if self.last.get(&key) != Some(&seen) {
            self.last.insert(key, seen.clone());
            out.push(P::changed(seen));
        }
    }
}

impl<P: Projection> Book for Latest<P> {
    type Object = P::Object;

    fn applied(&mut self, object: &P::Object, out: &mut Vec<What>) {
        let (key, seen) = (P::key(object), P::seen(object));
        match &mut self.listed {
            Some(listed) => drop(listed.insert(key, seen)),
            None => self.record(key, seen, out),
        }
    }

    fn deleted(&mut self, object: &P::Object, out: &mut Vec<What>) {
        self.last.remove(&P::key(object));
        out.push(P::gone(P::seen(object)));
    }

    fn list_begins(&mut self) {
        self.listed = Some(HashMap::new());
    }

    fn list_ends(&mut self, out: &mut Vec<What>) {
        let listed = self.listed.take().unwrap_or_default();
        let (kept, vanished) =
            std::mem::take(&mut self.last).into_iter().partition(|(key, _)| listed.contains_key(key));
        self.last = kept;
        out.extend(in_order(vanished).into_iter().map(|(_, seen)| P::gone(seen)));
        for (key, seen) in in_order(listed) {
            self.record(key, seen, out);
        }
    }
}

/// By key, so that a record of the same list is the same.
fn in_order<T>(map: HashMap<String, T>) -> Vec<(String, T)> {
    let mut entries: Vec<(String, T)> = map.into_iter().collect();
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    entries
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::event::{Note, NoteKind};

    /// A kind of object that is a name and a value, recorded as a note.
    struct Pairs;

    impl Projection for Pairs {
        type Object = (&'static str, u32);
        type Seen = (&'static str, u32);

        fn key(object: &Self::Object) -> String {
            object.0.to_owned()
        }

        fn seen(object: &Self::Object) -> Self::Seen {
            *object
        }

        fn changed(seen: Self::Seen) -> What {
            What::Note(Note { kind: NoteKind::Info, text: format!("{}={}", seen.0, seen.1) })
        }

        fn gone(seen: Self::Seen) -> What {
            What::Note(Note { kind: NoteKind::Info, text: format!("{}={} gone", seen.0, seen.1) })
        }
    }

    fn texts(out: &mut Vec<What>) -> Vec<String> {
        out.drain(..)
            .map(|what| match what {
                What::Note(note) => note.text,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn listed(book: &mut Latest<Pairs>, objects: &[(&'static str, u32)]) -> Vec<String> {
        let mut out = Vec::new();
        book.list_begins();
        for object in objects {
            book.applied(object, &mut out);
        }
        assert!(out.is_empty(), "a list is told at its end");
        book.list_ends(&mut out);
        texts(&mut out)
    }

    #[test]
    fn only_changes_are_recorded() {
        let (mut book, mut out) = (Latest::<Pairs>::new(), Vec::new());
        assert_eq!(listed(&mut book, &[("b", 1), ("a", 1)]), ["a=1", "b=1"]);
        for object in [("a", 1), ("a", 2), ("a", 2), ("c", 1)] {
            book.applied(&object, &mut out);
        }
        assert_eq!(texts(&mut out), ["a=2", "c=1"]);
        book.deleted(&("a", 3), &mut out);
        book.applied(&("a", 3), &mut out);
        assert_eq!(texts(&mut out), ["a=3 gone", "a=3"]);
    }

    #[test]
    fn what_vanished_before_a_new_list_is_told_first() {
        let mut book = Latest::<Pairs>::new();
        listed(&mut book, &[("a", 1), ("b", 1), ("c", 1)]);
        assert_eq!(listed(&mut book, &[("c", 1), ("a", 2), ("d", 1)]), ["b=1 gone", "a=2", "d=1"]);
        assert_eq!(listed(&mut book, &[("a", 2), ("c", 1), ("d", 1)]), Vec::<String>::new());
    }

    #[test]
    fn a_list_that_was_broken_off_says_nothing_of_what_is_gone() {
        let (mut book, mut out) = (Latest::<Pairs>::new(), Vec::new());
        listed(&mut book, &[("a", 1), ("b", 1)]);
        book.list_begins();
        book.applied(&("a", 2), &mut out);
        assert_eq!(listed(&mut book, &[("a", 3), ("b", 1)]), ["a=3"]);
    }
}
