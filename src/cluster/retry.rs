//! How a broken watch is taken up again: soon, and for as long as its owner cares.

use std::time::Duration;

use kube::runtime::utils::Backoff;

/// The pause before a broken watch is taken up again. Short, since a run is blind meanwhile; one request per watch
/// and pause is nothing that an API server in trouble would feel.
pub const RETRY_AFTER: Duration = Duration::from_millis(500);

/// [`RETRY_AFTER`], time and again. kube's own back-off grows to 30 s, which is longer than many a fault.
#[derive(Debug)]
pub struct Retry;

impl Iterator for Retry {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(RETRY_AFTER)
    }
}

impl Backoff for Retry {
    fn reset(&mut self) {}
}
