//! The knobs of the sample service. Each is a flag and an environment variable, since a rolling update changes a pod
//! template's environment more readily than its command line.

use std::{
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU32,
};

use crate::experiment::units::Span;

/// The largest body that can be asked for: 16 MiB, held once in memory however many requests there are.
pub const BODY_BYTES_MAX: i64 = 16 * 1024 * 1024;

/// How the sample service starts, answers and stops.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct DemoOptions {
    /// Address to listen on
    #[arg(long, env = "EVENKEEL_DEMO_ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    pub address: IpAddr,
    /// Port to listen on
    #[arg(long, env = "EVENKEEL_DEMO_PORT", default_value_t = 8080)]
    pub port: u16,
    /// Port at which lines over bare TCP are sent back; none where left out
    #[arg(long, env = "EVENKEEL_DEMO_TCP_PORT", value_name = "PORT")]
    pub tcp_port: Option<u16>,
    /// How long after its start it listens; until then connections are refused
    #[arg(long, env = "EVENKEEL_DEMO_BOOT", default_value = "0s", value_name = "DURATION")]
    pub boot: Span,
    /// How long after it listens /readyz answers 200; until then 503
    #[arg(long, env = "EVENKEEL_DEMO_READY_AFTER", default_value = "0s", value_name = "DURATION")]
    pub ready_after: Span,
    /// How long an answer to / and /echo takes
    #[arg(long, env = "EVENKEEL_DEMO_ANSWER_IN", default_value = "0s", value_name = "DURATION")]
    pub answer_in: Span,
    /// What it does on SIGTERM
    #[arg(long, env = "EVENKEEL_DEMO_DRAIN", value_enum, default_value_t = DrainStyle::Finish)]
    pub drain: DrainStyle,
    /// With --drain close: how long after SIGTERM connections are still accepted
    #[arg(long, env = "EVENKEEL_DEMO_ACCEPT_LATE", default_value = "2s", value_name = "DURATION")]
    pub accept_late: Span,
    /// How long it waits, once it no longer accepts, for idle connections (with --drain close), then for requests in flight
    #[arg(long, env = "EVENKEEL_DEMO_DRAIN_TIMEOUT", default_value = "10s", value_name = "DURATION")]
    pub drain_timeout: Span,
    /// Answers per connection, the last of which says Connection: close (HTTP/2: GOAWAY); without it as many as the
    /// client likes
    #[arg(long, env = "EVENKEEL_DEMO_REQUESTS_PER_CONNECTION", value_name = "N")]
    pub requests_per_connection: Option<NonZeroU32>,
    /// Size of the body of /
    #[arg(
        long,
        env = "EVENKEEL_DEMO_BODY_BYTES",
        default_value_t = 64,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(0..=BODY_BYTES_MAX)
    )]
    pub body_bytes: u32,
    /// Stand in for another service: every path answers 200 with the pod's name, 503 while unready
    #[arg(long, env = "EVENKEEL_DEMO_STAND_IN", hide = true)]
    pub stand_in: bool,
    /// What the header x-evenkeel-version says
    #[arg(long, env = "EVENKEEL_DEMO_VERSION", default_value = env!("CARGO_PKG_VERSION"), value_name = "TEXT")]
    pub as_version: String,
    /// What the header x-evenkeel-pod says; without it the host name, which in a pod is the pod's name
    #[arg(long, env = "POD_NAME", value_name = "TEXT")]
    pub pod_name: Option<String>,
}

/// What the service does when it is told to stop (SIGTERM, or Ctrl-C).
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum DrainStyle {
    /// Exits at once, cutting what is in flight
    Exit,
    /// Stops accepting, closes idle connections, finishes what is in flight, exits
    Finish,
    /// Goes on accepting for --accept-late and says Connection: close in every answer (HTTP/2: GOAWAY on every
    /// connection), then stops accepting, waits for the last request of each open connection, exits
    Close,
}
