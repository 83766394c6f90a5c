//! What a lane may have beside its rate and its connections: a rate that changes, connections that are given up, TLS,
//! and bodies that are held against what they must be.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units::{Rate, Span};

/// How the rate of a lane goes over time: exactly one of `ramp`, `sawTooth` and `steps`. Its `rate` is where it ends, or
/// in `steps` where it begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RateShape {
    /// It changes evenly up to `rate`, and then stays.
    Ramp(Ramp),
    /// It changes evenly up to `rate`, again and again.
    SawTooth(SawTooth),
    /// It jumps.
    Steps(#[schemars(length(min = 1))] Vec<RateJump>),
}

impl RateShape {
    /// The highest rate of a lane whose own is `rate`, in requests per second.
    #[must_use]
    pub fn highest(&self, rate: Rate) -> f64 {
        let others: Vec<Rate> = match self {
            Self::Ramp(ramp) => ramp.from.into_iter().collect(),
            Self::SawTooth(teeth) => teeth.from.into_iter().collect(),
            Self::Steps(jumps) => jumps.iter().map(|jump| jump.rate).collect(),
        };
        others.into_iter().map(Rate::per_second).fold(rate.per_second(), f64::max)
    }
}

/// An even change of the rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ramp {
    /// Where it begins; at nothing where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Rate>,
    /// How long it takes.
    pub over: Span,
}

/// An even change of the rate, again and again.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SawTooth {
    /// Where each tooth begins; at nothing where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Rate>,
    /// How long a tooth takes.
    pub every: Span,
}

/// A jump of the rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RateJump {
    /// When, since the lane began; each later than the one before.
    pub at: Span,
    /// The rate from there on.
    pub rate: Rate,
}

/// What a lane speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2, with prior knowledge where there is no TLS. Each connection carries one request at a time.
    Http2,
    /// Unary gRPC calls; `path` is `/package.Service/Method`.
    Grpc,
    /// A message there and a message back, over a WebSocket that `path` gives.
    WebSocket,
    /// A line there and a line back over bare TCP.
    Tcp,
}

impl Protocol {
    /// Whether it is the one that is spoken where nothing is said.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether doing a request twice does no more than doing it once. Over HTTP all are GET (RFC 9110, 9.2.2); what a
    /// call, a message or a line does is for the service to say.
    #[must_use]
    pub fn is_idempotent(self) -> bool {
        matches!(self, Self::Http1 | Self::Http2)
    }
}

/// A stream that does not end by itself, such as server-sent events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LaneStream {
    /// How long each is listened to after its head has come; then the client closes the connection.
    pub r#for: Span,
    /// The longest time between two pieces of it.
    #[serde(default = "a_second")]
    pub idle: Span,
}

fn a_second() -> Span {
    Span::from_millis(1_000)
}

/// TLS on the connections of a lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LaneTls {
    /// The name that the server's certificate must be for, which is also sent to it (SNI); `SERVICE.NAMESPACE` where
    /// left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Whether the certificate is checked, against the authorities of the machine that the lane runs on.
    #[serde(default = "yes")]
    pub verify: bool,
}

fn yes() -> bool {
    true
}
