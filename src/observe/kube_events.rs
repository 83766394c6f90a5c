//! Event objects of the cluster: those that are news, each time their count grows.
//!
//! The first list is what was there before; it is remembered and not recorded. Counting tells news from it without
//! holding the cluster's clock against ours.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::Event;

use super::book::Book;
use crate::record::event::{KubeEventSeen, What};

/// Characters kept of a message; schedulers and probes may quote whole pages.
const MESSAGE_MAX: usize = 500;

/// How often each Event had happened when it was seen last, by uid.
#[derive(Debug, Default)]
pub(super) struct KubeEvents {
    counts: HashMap<String, i32>,
    listed: Option<Vec<(String, KubeEventSeen)>>,
    listed_before: bool,
}

impl KubeEvents {
    fn news(&mut self, uid: String, seen: KubeEventSeen, out: &mut Vec<What>) {
        let before = self.counts.insert(uid, seen.count);
        if before.is_none_or(|before| before < seen.count) {
            out.push(What::KubeEvent(seen));
        }
    }
}

impl Book for KubeEvents {
    type Object = Event;

    fn applied(&mut self, event: &Event, out: &mut Vec<What>) {
        let (uid, seen) = (event.metadata.uid.clone().unwrap_or_default(), kube_event_seen(event));
        match &mut self.listed {
            Some(listed) => listed.push((uid, seen)),
            None => self.news(uid, seen, out),
        }
    }

    fn deleted(&mut self, event: &Event, _: &mut Vec<What>) {
        // Events go by themselves after an hour, which is no news.
        self.counts.remove(event.metadata.uid.as_deref().unwrap_or_default());
    }

    fn list_begins(&mut self) {
        self.listed = Some(Vec::new());
    }

    fn list_ends(&mut self, out: &mut Vec<What>) {
        let listed = self.listed.take().unwrap_or_default();
        if !std::mem::replace(&mut self.listed_before, true) {
            self.counts = listed.into_iter().map(|(uid, seen)| (uid, seen.count)).collect();
            return;
        }
        let mut before = std::mem::take(&mut self.counts);
        self.counts = listed.iter().filter_map(|(uid, _)| before.remove_entry(uid)).collect();
        for (uid, seen) in listed {
            self.news(uid, seen, out);
        }
    }
}

/// An Event as it is recorded.
#[must_use]
pub fn kube_event_seen(event: &Event) -> KubeEventSeen {
    let about = &event.involved_object;
    let kind = about.kind.as_deref().unwrap_or_default().to_lowercase();
    let in_series = event.series.as_ref().and_then(|series| series.count);
    KubeEventSeen {
        object: format!("{kind}/{}", about.name.as_deref().unwrap_or_default()),
        reason: event.reason.clone().unwrap_or_default(),
        message: event.message.as_deref().unwrap_or_default().chars().take(MESSAGE_MAX).collect(),
        severity: event.type_.clone().unwrap_or_default(),
        count: in_series.or(event.count).unwrap_or(1).max(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(uid: &str, count: i32) -> Event {
        serde_json::from_value(json!({
            "metadata": {"name": uid, "uid": uid}, "involvedObject": {"kind": "Pod", "name": "shop-1"},
            "reason": "Unhealthy", "message": "Readiness probe failed", "type": "Warning", "count": count,
        }))
        .unwrap()
    }

    fn counts(out: &mut Vec<What>) -> Vec<i32> {
        out.drain(..)
            .map(|what| match what {
                What::KubeEvent(seen) => seen.count,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn what_was_there_before_is_no_news_until_it_happens_again() {
        let (mut book, mut out) = (KubeEvents::default(), Vec::new());
        book.list_begins();
        book.applied(&event("old", 3), &mut out);
        book.list_ends(&mut out);
        book.applied(&event("old", 3), &mut out);
        assert_eq!(counts(&mut out), Vec::<i32>::new());
        book.applied(&event("old", 4), &mut out);
        book.applied(&event("new", 1), &mut out);
        assert_eq!(counts(&mut out), [4, 1]);
    }

    #[test]
    fn a_new_list_brings_only_what_happened_meanwhile() {
        let (mut book, mut out) = (KubeEvents::default(), Vec::new());
        book.list_begins();
        book.list_ends(&mut out);
        book.applied(&event("a", 1), &mut out);
        out.clear();
        book.list_begins();
        for (uid, count) in [("a", 1), ("b", 2)] {
            book.applied(&event(uid, count), &mut out);
        }
        book.list_ends(&mut out);
        assert_eq!(counts(&mut out), [2]);
    }

    #[test]
    fn an_event_says_what_it_is_about_and_how_often() {
        let mut long = event("a", 2);
        long.message = Some("ä".repeat(MESSAGE_MAX + 1));
        let seen = kube_event_seen(&long);
        assert_eq!((seen.object.as_str(), seen.message.chars().count(), seen.count), ("pod/shop-1", MESSAGE_MAX, 2));
        let series = json!({"metadata": {}, "involvedObject": {}, "series": {"count": 7}});
        assert_eq!(kube_event_seen(&serde_json::from_value(series).unwrap()).count, 7);
        let scheduled = json!({"metadata": {}, "involvedObject": {}, "count": 0});
        assert_eq!(kube_event_seen(&serde_json::from_value(scheduled).unwrap()).count, 1);
    }
}
