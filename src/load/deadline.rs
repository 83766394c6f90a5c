//! The deadlines of requests, kept by the pacer's one timer.
//!
//! A tokio timer for each request would wake the reactor through a descriptor of its own each time one is set, which
//! costs as much as sending the request. In a lane deadlines come in order, so a queue is enough.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::poll_fn,
    pin::pin,
    rc::Rc,
    task::{Poll, Waker},
};

/// Deadlines in order, the next first. Moments are nanoseconds of the generator's clock.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    queue: RefCell<VecDeque<Rc<Deadline>>>,
}

/// A moment at which somebody gives up. When nobody holds it any more, it is over.
#[derive(Debug)]
pub(super) struct Deadline {
    at_ns: u64,
    passed: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Deadlines {
    /// Adds a deadline, not before the one added last.
    pub(super) fn add(&self, at_ns: u64) -> Rc<Deadline> {
        let deadline = Rc::new(Deadline { at_ns, passed: Cell::new(false), waker: RefCell::default() });
        let mut queue = self.queue.borrow_mut();
        drop_over(&mut queue);
        queue.push_back(Rc::clone(&deadline));
        deadline
    }

    /// When the next one passes.
    pub(super) fn next_ns(&self) -> Option<u64> {
        let mut queue = self.queue.borrow_mut();
        drop_over(&mut queue);
        queue.front().map(|deadline| deadline.at_ns)
    }

    /// Wakes those whose moment has come.
    pub(super) fn pass(&self, now_ns: u64) {
        let mut queue = self.queue.borrow_mut();
        while queue.front().is_some_and(|deadline| deadline.at_ns <= now_ns) {
            let Some(deadline) = queue.pop_front() else { return };
            deadline.passed.set(true);
            if let Some(waker) = deadline.waker.take() {
                waker.wake();
            }
        }
    }
}

fn drop_over(queue: &mut VecDeque<Rc<Deadline>>) {
    while queue.front().is_some_and(|deadline| Rc::strong_count(deadline) == 1) {
        queue.pop_front();
    }
}

impl Deadline {
    /// What `work` comes to, or nothing when the deadline passes first. What is ready counts even if it has passed.
    pub(super) async fn limit<F: Future>(&self, work: F) -> Option<F::Output> {
        let mut work = pin!(work);
        poll_fn(|cx| {
            if let Poll::Ready(output) = work.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            if self.passed.get() {
                return Poll::Ready(None);
            }
            let mut waker = self.waker.borrow_mut();
            match waker.as_mut() {
                Some(waker) => waker.clone_from(cx.waker()),
                None => *waker = Some(cx.waker().clone()),
            }
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures::FutureExt;

    use super::*;

    #[test]
    fn work_that_is_not_done_by_its_deadline_comes_to_nothing() {
        let deadlines = Deadlines::default();
        let (first, second) = (deadlines.add(10), deadlines.add(20));
        assert_eq!(first.limit(pending::<()>()).now_or_never(), None, "it still waits");
        deadlines.pass(10);
        assert_eq!(first.limit(pending::<()>()).now_or_never(), Some(None), "it has passed");
        assert_eq!(first.limit(ready(7)).now_or_never(), Some(Some(7)), "what is ready counts");
        assert_eq!(second.limit(pending::<()>()).now_or_never(), None, "the other still waits");
    }

    #[test]
    fn a_deadline_that_nobody_holds_is_not_waited_for() {
        let deadlines = Deadlines::default();
        let (first, second) = (deadlines.add(10), deadlines.add(20));
        assert_eq!(deadlines.next_ns(), Some(10));
        drop(first);
        assert_eq!(deadlines.next_ns(), Some(20));
        drop(second);
        assert_eq!(deadlines.next_ns(), None);
    }
}
