//! Messages that nobody has acknowledged yet, each with its number, as JSON. Memory is bounded: when nobody fetches
//! for too long, details of slow and then of lost requests are dropped first, since the intervals count those as well.

use std::collections::VecDeque;

use super::protocol::{Dropped, Message, Numbered};

/// Room for all messages, in bytes of JSON: some 2,500 lost requests a second for 30 s, after which an agent that
/// nobody listens to ends.
pub(super) const ROOM: usize = 32 * 1024 * 1024;

/// Unacknowledged messages in order.
#[derive(Debug)]
pub(super) struct Buffer {
    held: VecDeque<String>,
    /// The number of the last acknowledged message.
    acknowledged: u64,
    bytes: usize,
    room: usize,
    dropped: Dropped,
}

/// A request for messages that make no sense: the number asked for isn't between these two.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("messages after {after} were asked for; there are those after {acknowledged}, up to {last}")]
pub(super) struct OutOfRange {
    after: u64,
    acknowledged: u64,
    last: u64,
}

impl Buffer {
    /// An empty buffer with so many bytes of room.
    pub(super) fn new(room: usize) -> Self {
        Self { held: VecDeque::new(), acknowledged: 0, bytes: 0, room, dropped: Dropped::default() }
    }

    /// The number of the last message, 0 before the first.
    pub(super) fn last(&self) -> u64 {
        self.acknowledged + self.held.len() as u64
    }

    /// What had to be dropped so far.
    pub(super) fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// Adds a message, or drops and counts it where there is no room. The end of all always has room.
    pub(super) fn push(&mut self, message: Message) {
        let (is_lost, is_slow) = (matches!(message, Message::Lost { .. }), matches!(message, Message::Slow { .. }));
        let room = match message {
            Message::Done { .. } => usize::MAX,
            // A quarter is kept for intervals, without which nothing can be said at all.
            Message::Lost { .. } => self.room / 4 * 3,
            Message::Slow { .. } => self.room / 2,
            Message::Interval { .. } | Message::Note { .. } => self.room,
        };
        let encoded = serde_json::to_string(&Numbered { seq: self.last() + 1, message });
        match encoded {
            Ok(text) if self.bytes.saturating_add(text.len()) <= room => {
                self.bytes += text.len();
                self.held.push_back(text);
            }
            // Only the first of these are told in any case.
            _ if is_slow => {}
            // A message that has no JSON form is as lost as one without room.
            _ if is_lost => self.dropped.lost += 1,
            _ => self.dropped.others += 1,
        }
    }

    /// Forgets the messages up to a number, which the other side has.
    pub(super) fn acknowledge(&mut self, after: u64) -> Result<(), OutOfRange> {
        if after < self.acknowledged || after > self.last() {
            return Err(OutOfRange { after, acknowledged: self.acknowledged, last: self.last() });
        }
        while self.acknowledged < after {
            self.bytes -= self.held.pop_front().map_or(0, |text| text.len());
            self.acknowledged += 1;
        }
        Ok(())
    }

    /// The first messages, as many as fit in so many bytes but at least one, as the inside of a JSON list; and the
    /// number of the last of them.
    pub(super) fn page(&self, bytes_max: usize) -> (String, u64) {
        let mut page = String::new();
        let mut next = self.acknowledged;
        for text in &self.held {
            if !page.is_empty() {
                if page.len() + text.len() >= bytes_max {
                    break;
                }
                page.push(',');
            }
            page.push_str(text);
            next += 1;
        }
        (page, next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::tests::{interval, lost, slow};

    fn message(of: crate::load::message::LoadMessage) -> Message {
        Message::encode(of).unwrap()
    }

    fn seqs(buffer: &Buffer, bytes_max: usize) -> Vec<u64> {
        let (page, _) = buffer.page(bytes_max);
        let numbered: Vec<Numbered> = serde_json::from_str(&format!("[{page}]")).unwrap();
        numbered.into_iter().map(|one| one.seq).collect()
    }

    #[test]
    fn messages_stay_until_a_higher_number_acknowledges_them() {
        let mut buffer = Buffer::new(ROOM);
        (0..3).for_each(|at| buffer.push(message(interval("new", at * 100_000, 1))));
        assert_eq!(seqs(&buffer, ROOM), [1, 2, 3]);
        assert_eq!(seqs(&buffer, ROOM), [1, 2, 3]);
        buffer.acknowledge(2).unwrap();
        assert_eq!(seqs(&buffer, ROOM), [3]);
        buffer.push(message(lost("new", 5)));
        assert_eq!(seqs(&buffer, ROOM), [3, 4]);
        assert_eq!(buffer.page(ROOM).1, 4);
        buffer.acknowledge(4).unwrap();
        assert_eq!(buffer.bytes, 0);
    }

    #[test]
    fn numbers_that_were_acknowledged_or_never_given_are_refused() {
        let mut buffer = Buffer::new(ROOM);
        (0..3).for_each(|at| buffer.push(message(interval("new", at * 100_000, 1))));
        buffer.acknowledge(2).unwrap();
        assert!(buffer.acknowledge(1).is_err());
        assert!(buffer.acknowledge(4).is_err());
        assert_eq!(seqs(&buffer, ROOM), [3]);
    }

    #[test]
    fn a_page_has_at_least_one_message_and_no_more_than_fit() {
        let mut buffer = Buffer::new(ROOM);
        (0..10).for_each(|at| buffer.push(message(lost("new", at))));
        let one = buffer.page(1).0.len();
        assert_eq!(seqs(&buffer, 1), [1]);
        assert_eq!(seqs(&buffer, one * 3 + 10), [1, 2, 3]);
    }

    #[test]
    fn details_of_slow_requests_leave_room_for_those_of_losses_and_put_nothing_in_doubt() {
        let mut buffer = Buffer::new(20_000);
        (0..100).for_each(|at| buffer.push(message(slow("new", at))));
        let kept = buffer.last();
        assert!((5..100).contains(&kept), "{kept} details were kept");
        buffer.push(message(lost("new", 5)));
        assert_eq!((buffer.last(), buffer.dropped()), (kept + 1, Dropped::default()));
    }

    #[test]
    fn without_room_details_of_losses_are_dropped_before_intervals_and_each_is_counted() {
        let mut buffer = Buffer::new(20_000);
        (0..100).for_each(|at| buffer.push(message(lost("new", at))));
        let kept = buffer.held.len() as u64;
        assert!(kept > 10, "{kept} details were kept");
        assert_eq!(buffer.dropped(), Dropped { lost: 100 - kept, others: 0 });
        buffer.push(message(interval("new", 0, 1)));
        assert_eq!(buffer.last(), kept + 1, "an interval still has room");
        (0..100).for_each(|at| buffer.push(message(interval("new", at, 1))));
        let intervals = buffer.last() - kept;
        assert_eq!(buffer.dropped(), Dropped { lost: 100 - kept, others: 101 - intervals });
        buffer.push(Message::Done { totals: super::super::protocol::Totals::default() });
        assert_eq!(buffer.last(), kept + intervals + 1, "the end always has room");
    }
}
