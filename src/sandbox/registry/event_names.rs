//! The names of Events: the object's name and the moment in nanoseconds, in hexadecimal, so that a list of them by name
//! is in the order in which they happened (client-go/tools/record/event.go `makeEvent`, v0.34.4). Which event stands for
//! which text is remembered, so that a repeated one is counted (client-go/tools/record/events_cache.go).

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use crate::sandbox::names;

/// Texts that are remembered. One that is forgotten is told by a new event when it comes again, as upstream's are.
const REMEMBERED_MAX: usize = 65_536;

/// The events that have been recorded.
#[derive(Debug, Default)]
pub struct EventNames(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    by_text: HashMap<String, String>,
    oldest: VecDeque<String>,
    last: i128,
}

impl EventNames {
    /// The event that stands for a text.
    #[must_use]
    pub fn of(&self, text: &str) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).by_text.get(text).cloned()
    }

    /// A new name for the event that stands for a text about an object: later than all before.
    #[must_use]
    pub fn fresh(&self, text: &str, object: &str) -> String {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.last = names::now().as_nanosecond().max(known.last + 1);
        let name = format!("{object}.{:x}", known.last);
        if known.by_text.insert(text.to_owned(), name.clone()).is_none() {
            known.oldest.push_back(text.to_owned());
        }
        if known.oldest.len() > REMEMBERED_MAX
            && let Some(forgotten) = known.oldest.pop_front()
        {
            known.by_text.remove(&forgotten);
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_the_order_of_time_and_found_again() {
        let names = EventNames::default();
        let made: Vec<String> = (0..100).map(|number| names.fresh(&format!("text {number}"), "web")).collect();
        assert!(made.is_sorted_by(|one, other| one < other), "{made:?}");
        // As long as upstream's: sixteen digits until the year 2554.
        assert_eq!(made[0].len(), "web.".len() + 16);
        assert_eq!(names.of("text 7").as_ref(), Some(&made[7]));
        assert_eq!(names.of("text"), None);
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let names = EventNames::default();
        for number in 0..=REMEMBERED_MAX {
            drop(names.fresh(&number.to_string(), "web"));
        }
        assert_eq!((names.of("0"), names.of("1").is_some()), (None, true));
    }
}
