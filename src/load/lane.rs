//! A lane of load with everything resolved: what a generator needs to know, here or in an agent pod.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

pub use super::{
    rates::{RateStep, Shape},
    share::Share,
};
use crate::experiment::schema::Connections;
pub use crate::experiment::traffic::Protocol;

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
    /// What most lanes do without.
    #[serde(default)]
    pub options: LaneOptions,
}

impl LaneSpec {
    /// This lane as one of several generators has it that send it together.
    #[must_use]
    pub fn shared(&self, share: Share) -> Self {
        let options = LaneOptions { share, ..self.options.clone() };
        Self { connections: share.connections(self.connections), options, ..self.clone() }
    }
}

/// What most lanes do without.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LaneOptions {
    /// How the rate goes over time.
    pub shape: Shape,
    /// Which of the lane's requests this generator sends; its connections are this share's already.
    pub share: Share,
    /// How long its requests fall due, in microseconds; until it is stopped where there is nothing.
    pub for_us: Option<i64>,
    /// What is spoken over its connections.
    pub protocol: Protocol,
    /// The text of a message (WebSocket) or line (TCP), or the base64 of a gRPC call's message. Where it has `{id}`, each
    /// request sends its number there, which must come back; in a call's message as wide as what stands for it, which
    /// may be wider, such as `{id______}`.
    pub send: Option<String>,
    /// TLS on its connections.
    pub tls: Option<TlsSpec>,
    /// A connection that has carried so many requests carries no more.
    pub requests_per_connection: Option<u32>,
    /// A connection that is so old, in microseconds, carries no more requests.
    pub connection_age_us: Option<i64>,
    /// The length that each body must have, in bytes.
    pub body_length: Option<u64>,
    /// The SHA-256 that each body must have, in hexadecimal digits.
    pub body_sha256: Option<String>,
    /// A request that is answered as asked for, and later than so many microseconds after it was due, is told one by
    /// one, up to a bound; none where there is nothing.
    pub slow_us: Option<i64>,
    /// The answer is a stream that does not end by itself, and is listened to for a time.
    pub stream: Option<StreamSpec>,
}

/// How a stream is listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamSpec {
    /// For how long after its head, in microseconds.
    pub for_us: i64,
    /// The longest time between two pieces of it, in microseconds.
    pub idle_us: i64,
}

/// TLS of a lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsSpec {
    /// The name that the server's certificate must be for, which is also sent to it.
    pub server_name: String,
    /// Whether the certificate is checked, against this machine's authorities.
    pub verify: bool,
}

/// Where a connection that is begun now leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// To a socket: what becomes of the connection is the system's own doing.
    Address {
        /// The socket.
        address: SocketAddr,
        /// How much longer the way there is than the system's own; zero as a rule.
        delay: Duration,
    },
    /// Nowhere, and the network says so at once: a Service without endpoints.
    Refused,
    /// Nowhere, and nothing says so: a node that is gone.
    Silent,
}

/// How a lane finds its destination, asked anew for each connection. What it answers is never asked for again for the
/// same connection, as in kube-proxy.
#[derive(Clone)]
pub struct Route(Arc<dyn Fn() -> Destination + Send + Sync>);

impl Route {
    /// Asks `pick` for each connection.
    pub fn new(pick: impl Fn() -> Destination + Send + Sync + 'static) -> Self {
        Self(Arc::new(pick))
    }

    /// Always the same address.
    #[must_use]
    pub fn fixed(address: SocketAddr) -> Self {
        Self::new(move || Destination::Address { address, delay: Duration::ZERO })
    }

    /// Where a connection that is begun now leads.
    #[must_use]
    pub fn pick(&self) -> Destination {
        (self.0)()
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Route")
    }
}

/// A lane with its way to the service.
#[derive(Debug, Clone)]
pub struct RoutedLane {
    /// The lane.
    pub spec: LaneSpec,
    /// Where its connections go; `spec.address` where the system's own routing decides.
    pub route: Route,
}

impl From<LaneSpec> for RoutedLane {
    fn from(spec: LaneSpec) -> Self {
        Self { route: Route::fixed(spec.address), spec }
    }
}
