//! How the lanes of a generator speak.

use std::{cell::RefCell, collections::HashSet};

use tokio::sync::mpsc::UnboundedSender;

use super::{classify::Shortage, message::LoadMessage};
use crate::record::event::{Note, NoteKind};

/// The way out for messages. Each kind of taint is told only once.
pub(super) struct Voice {
    messages: UnboundedSender<LoadMessage>,
    tainted: RefCell<HashSet<Shortage>>,
}

impl Voice {
    /// Speaks through `messages`.
    pub(super) fn new(messages: UnboundedSender<LoadMessage>) -> Self {
        Self { messages, tainted: RefCell::default() }
    }

    /// Sends a message. One that nobody waits for is dropped: the generator then only runs to its end.
    pub(super) fn say(&self, message: LoadMessage) {
        drop(self.messages.send(message));
    }

    /// Says that a request of `lane` was not sent, unless a request was not sent for this reason before.
    pub(super) fn taint(&self, lane: &str, shortage: Shortage, error: &str) {
        if self.tainted.borrow_mut().insert(shortage) {
            let text = format!("lane `{lane}`: a request was not sent: {}: {error}", shortage.advice());
            self.say(LoadMessage::Note(Note { kind: NoteKind::Taint, text }));
        }
    }
}

impl Shortage {
    fn advice(self) -> &'static str {
        match self {
            Self::Ports => "no local port is left towards the address; lower the rate or reuse connections",
            Self::Descriptors => "no file descriptor is left; raise the limit of open files (ulimit -n)",
            Self::Buffers => "the system has no memory left for sockets; lower the rate",
            Self::OpenRequests => "too many requests are open; lower the rate or the timeout",
            Self::Time => "the load generator was stopped or starved; give it more CPU or lower the rate",
            Self::Other => "the system refused the connection attempt itself",
        }
    }
}
