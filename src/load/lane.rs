//! A lane of load with everything resolved: what a generator needs to know, here or in an agent pod.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::experiment::schema::Connections;

/// A lane, ready to run. Serialisable, since an agent pod gets it over the network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LaneSpec {
    /// The lane's name.
    pub name: String,
    /// Where connections go. Resolved once: DNS is not under test here.
    pub address: SocketAddr,
    /// The `Host` header.
    pub host: String,
    /// Path and query.
    pub path: String,
    /// Requests per second.
    pub rate_per_second: f64,
    /// How connections are used.
    pub connections: Connections,
    /// How long connecting may take, in microseconds.
    pub connect_timeout_us: i64,
    /// How long a request may take from its intended send time, in microseconds.
    pub timeout_us: i64,
    /// The status that an answer must have.
    pub status: u16,
    /// Text that the body must contain.
    pub body_contains: Option<String>,
}
