//! The idle connections of a lane that reuses them.

use std::collections::VecDeque;

use super::connection::Connection;

/// Idle connections, the one idle longest first; never more than the lane keeps.
pub(super) struct Pool {
    idle: VecDeque<Connection>,
    size: usize,
    // Open, whether idle or carrying a request, or being opened for the pool.
    live: usize,
}

impl Pool {
    /// An empty pool that keeps up to `size` idle connections.
    pub(super) fn new(size: usize) -> Self {
        Self { idle: VecDeque::new(), size, live: 0 }
    }

    /// Takes the connection that has been idle longest. One that has been closed meanwhile is dropped: it carried no
    /// request, so nothing was lost with it. One that may not go on is closed.
    pub(super) fn take(&mut self, may_go_on: impl Fn(&Connection) -> bool) -> Option<Connection> {
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
        None
    }

    /// Puts a connection back that can carry another request, as the one idle shortest.
    pub(super) fn put(&mut self, connection: Connection) {
        if self.idle.len() < self.size {
            self.idle.push_back(connection);
        } else {
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
