//! The idle connections of a lane that reuses them.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use super::connection::Connection;

/// How long connections beyond the lane's number are kept after one more was last needed. Opening one costs as much as
/// many requests: a generator that has fallen behind would open them by the thousand, and fall behind for that.
const SURPLUS_KEPT: Duration = Duration::from_secs(1);

/// Idle connections, the one idle longest first; never more than the lane keeps, but for a while after it needed more.
pub(super) struct Pool {
    idle: VecDeque<Connection>,
    size: usize,
    // Open, whether idle or carrying a request, or being opened for the pool.
    live: usize,
    // When there was last none to take.
    short_at: Option<Instant>,
}

impl Pool {
    /// An empty pool that keeps up to `size` idle connections.
    pub(super) fn new(size: usize) -> Self {
        Self { idle: VecDeque::new(), size, live: 0, short_at: None }
    }

    /// Takes the connection that has been idle longest. One that has been closed meanwhile is dropped: it carried no
    /// request, so nothing was lost with it. One that may not go on is closed.
    pub(super) fn take(&mut self, now: Instant, may_go_on: impl Fn(&Connection) -> bool) -> Option<Connection> {
        while let Some(mut connection) = self.idle.pop_front() {
            let open = connection.is_open();
            if open && may_go_on(&connection) {
                return Some(connection);
            }
            if open {
                connection.end_well();
            }
            self.live = self.live.saturating_sub(1);
        }
        self.short_at = Some(now);
        None
    }

    /// Puts a connection back that can carry another request, as the one idle shortest.
    pub(super) fn put(&mut self, connection: Connection, now: Instant) {
        let needed = self.short_at.is_some_and(|at| now.saturating_duration_since(at) < SURPLUS_KEPT);
        if self.idle.len() < self.size || needed {
            self.idle.push_back(connection);
        } else {
            connection.end_well();
            self.forget();
        }
    }

    /// Counts a connection that is being opened.
    pub(super) fn expect(&mut self) {
        self.live += 1;
    }

    /// Counts a connection as gone.
    pub(super) fn forget(&mut self) {
        self.live = self.live.saturating_sub(1);
    }

    /// How many connections are missing from the number that the lane keeps open.
    pub(super) fn missing(&self) -> usize {
        self.size.saturating_sub(self.live)
    }
}
