//! The sample service, the workload of the experiments.
//!
//! A small server (HTTP/1.1, HTTP/2, gRPC, WebSocket, lines over TCP) each of whose habits around starting and stopping
//! can be set, so that an experiment and its known-bad twin differ by one setting. It names its pod in every answer,
//! needs no shell, and is made to be PID 1.
//!
//! * [`options`]: every knob, as a flag and as an environment variable.
//! * [`server`]: its life, from boot to the end of draining; `connection`: one connection, and its goodbye.
//! * `answer`: what each path says; `grpc`: calls; `speech`: streams, web sockets and lines.

mod answer;
mod connection;
mod grpc;
pub mod options;
pub mod server;
mod speech;

#[cfg(test)]
mod tests;

pub use options::{DemoOptions, DrainStyle};
pub use server::{DemoError, pause, reserve, serve, serve_on};
